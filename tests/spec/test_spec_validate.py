# ruff: noqa: E501 - a case is one manifest, written on one line
"""What a workflow may not be, each with its message, its line and what to do."""

import time

import pytest

from jitflow import spec
from jitflow.model import argo
from jitflow.model.problems import Problem, Refused
from jitflow.spec.validation._report import MAX_PROBLEMS

pytestmark = pytest.mark.pure

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n"
WORK = "  - name: work\n    inputs: {parameters: [{name: m, default: x}]}\n    container: {image: i}\n"


def problems(text: str, *, head: str = HEAD, lint: bool = False) -> tuple[Problem, ...]:
    document = spec.load_one(head + text)
    try:
        spec.validate_document(document, lint=lint)
    except Refused as error:
        return error.problems
    return ()


def messages(text: str) -> list[str]:
    return [problem.message for problem in problems(text)]


def leaf(fields: str) -> str:
    """A workflow of one container template with more fields."""
    return f"  entrypoint: a\n  templates:\n  - name: a\n    container: {{image: i}}\n{fields}"


def container(fields: str, more: str = "") -> str:
    return f"  entrypoint: a\n  templates:\n  - name: a\n    container: {{image: i, {fields}}}\n{more}"


def artifact(fields: str, side: str = "inputs") -> str:
    return leaf(f"    {side}: {{artifacts: [{{name: d, {fields}}}]}}\n")


def steps(text: str, more: str = "") -> str:
    return f"  entrypoint: main\n  templates:\n{WORK}  - name: main\n{more}    steps:\n{text}"


def dag(text: str, more: str = "") -> str:
    return f"  entrypoint: main\n  templates:\n{WORK}  - name: main\n    dag:\n{more}      tasks:\n{text}"


GOOD = {
    "leaf": leaf(""),
    "script": "  entrypoint: a\n  templates:\n  - name: a\n    script: {image: i, source: 'echo {{pod.name}}'}\n",
    "steps": steps(
        "    - [{name: a, template: work}]\n"
        "    - - {name: b, template: work, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.result}}{{steps.a.exitCode}}'}]}}\n"
        "      - {name: c, template: work, when: '{{steps.a.status}} == Succeeded', withItems: [{k: 1}, [2], s]}\n"
        "      - {name: d, template: work, when: '{{steps.a.exitCode}} > 0', withParam: '{{steps.a.outputs.result}}',"
        " arguments: {parameters: [{name: m, value: '{{item.any}} {{item}}'}]}}\n"
        "      - {name: e, template: work, withSequence: {count: '{{workflow.parameters.num}}'}, continueOn: {failed: true}}\n"
        "  arguments: {parameters: [{name: num, value: 3}]}\n"
    ),
    "dag": dag(
        "      - {name: a, template: work}\n"
        "      - {name: b, template: work, dependencies: [a], arguments: {parameters: [{name: m, value: '{{tasks.a.outputs.result}}'}]}}\n"
        "      - {name: c, template: work, dependencies: [b], when: '{{tasks.a.status}} == Succeeded'}\n",
        "      target: a {{workflow.parameters.num}}\n",
    )
    + "  arguments: {parameters: [{name: num, value: c}]}\n",
    "depends": dag(
        "      - {name: a, template: work, withItems: [1, 2]}\n"
        "      - {name: b, template: work, depends: a.AnySucceeded && !a.Omitted}\n"
        "      - {name: c, template: work, depends: b}\n"
    ),
    "recursion": "  entrypoint: a\n  templates:\n  - name: a\n    steps: [[{name: again, template: a, when: 'x == y'}]]\n",
    "suspend": "  entrypoint: a\n  templates:\n  - name: a\n    suspend: {duration: 20}\n"
    "    outputs: {parameters: [{name: o, valueFrom: {supplied: {}}}]}\n",
    "globals": steps(
        "    - [{name: s, template: make}]\n"
        "  - name: make\n    container: {image: i}\n    outputs: {parameters: [{name: o, globalName: g, valueFrom: {path: /o}}]}\n"
        "  - name: e\n    container: {image: i, args: ['{{workflow.outputs.parameters.g}} {{workflow.status}} {{workflow.failures}}']}\n"
    )
    + "  onExit: e\n",
    "any global": leaf(
        "    outputs: {artifacts: [{name: 'o-{{inputs.parameters.x}}', globalName: '{{inputs.parameters.x}}', path: /o}]}\n"
    )
    + "    inputs: {parameters: [{name: x, value: 1}]}\n  - name: e\n    container: {image: '{{workflow.outputs.artifacts.free}}'}\n  onExit: e\n",
    "metadata": leaf(
        "    retryStrategy: {limit: 2, retryPolicy: Always, backoff: {duration: 1s, factor: 2, cap: 1m, maxDuration: '60'}}\n"
    )
    + "  workflowMetadata: {labels: {l: '{{workflow.name}}'}, annotations: {an: x}}\n  podGC: {strategy: OnPodSuccess}\n",
    "label tags": container("args: ['{{workflow.labels.l}} {{workflow.annotations.an}} {{workflow.priority}}']").replace(
        "{{workflow.priority}}", ""
    )
    + "  workflowMetadata: {labels: {l: b}, annotations: {an: x}}\n",
    "volumes": container(
        "volumeMounts: [{name: v, mountPath: /v, subPath: s}, {name: w, mountPath: /w}]", "    volumes: [{name: w}]\n"
    )
    + "  volumes: [{name: v, emptyDir: {sizeLimit: 10Mi}}, {name: u, emptyDir: {sizeLimit: '{{workflow.name}}'}}]\n",
    "artifacts": leaf(
        "    inputs:\n      artifacts:\n"
        "      - {name: a, path: /a, s3: {endpoint: e, bucket: b, key: 'k/{{workflow.name}}/'}, mode: 0644}\n"
        "      - {name: b, path: /b, raw: {data: hello}}\n"
        "      - {name: c, path: '/c/{{workflow.name}}', plugin: {name: rclone, key: 'far:a/b'}, archive: {none: {}}}\n"
        "      - {name: d, path: /d, plugin: {name: rclone, key: '{{workflow.name}}'}, optional: true, subPath: x}\n"
        "    outputs:\n      artifacts:\n"
        "      - {name: o, path: /o, s3: {endpoint: e, bucket: b}, archive: {tar: {compressionLevel: 9}}}\n"
    ),
    "passing": steps(
        "    - [{name: a, template: make}]\n"
        "    - [{name: b, template: use, arguments: {artifacts: [{name: d, from: '{{steps.a.outputs.artifacts.o}}'}]}}]\n"
        "  - name: make\n    container: {image: i}\n    outputs: {artifacts: [{name: o, path: /o}]}\n"
        "  - name: use\n    container: {image: i, args: ['{{inputs.artifacts.d.path}}']}\n    inputs: {artifacts: [{name: d, path: /d}]}\n",
        "    outputs: {artifacts: [{name: x, from: '{{steps.a.outputs.artifacts.o}}'}], parameters: [{name: y, valueFrom: {parameter: '{{steps.b.id}}'}}]}\n",
    ),
    "custom tags": container("args: ['{{whatever}} {{user.thing}} {{item}} {{retries}} {{user.{{workflow.name}}}}']"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_workflows_pass(name: str):
    assert [str(problem) for problem in problems(GOOD[name])] == []


BAD = [
    # The workflow
    ("  templates: []\n", 4, "spec.entrypoint is required"),
    ("  entrypoint: b\n  templates:\n" + WORK, 5, "template name 'b' undefined"),
    ("  entrypoint: work\n  onExit: gone\n  templates:\n" + WORK, 6, "template name 'gone' undefined"),
    ("  entrypoint: work\n  templates:\n" + WORK + WORK, 10, "spec.templates[1].name 'work' is not unique"),
    ("  entrypoint: work\n  templates:\n" + WORK + "  - container: {image: i}\n", 10, "spec.templates[1].name is required"),
    (
        "  entrypoint: a_b\n  templates:\n  - name: a_b\n    container: {image: i}\n",
        7,
        "spec.templates[0].name: 'a_b' is invalid: name must consist of",
    ),
    (leaf("").replace("a\n", "x" * 129 + "\n"), 7, "must be no more than 128 characters"),
    (leaf("  parallelism: 0\n"), 9, "spec.parallelism must be 1 or more, got 0"),
    (leaf("  activeDeadlineSeconds: -1\n"), 9, "spec.activeDeadlineSeconds must not be negative"),
    (leaf("  podGC: {strategy: Never}\n"), 9, "podGC.strategy unknown strategy 'Never'"),
    (leaf("  retryStrategy: {limit: -1}\n"), 9, "spec.retryStrategy.limit must be a whole number, 0 or more"),
    (
        leaf("  workflowMetadata: {labels: {a: '{{workflow.nme}}'}}\n"),
        9,
        "spec.workflowMetadata failed to resolve {{workflow.nme}}",
    ),
    (leaf("  arguments: {parameters: [{name: a}]}\n"), 9, "spec.arguments.a.value or spec.arguments.a.valueFrom is required"),
    (
        leaf("  arguments: {parameters: [{name: a, valueFrom: {path: /x}}]}\n"),
        9,
        "spec.arguments.a.valueFrom only allows: default, configMapKeyRef and supplied",
    ),
    (
        leaf("  arguments: {parameters: [{name: a, value: 1, enum: [2, 3]}]}\n"),
        9,
        "spec.arguments.a.value should be present in spec.arguments.a.enum list",
    ),
    (
        leaf("  arguments: {parameters: [{name: a, value: 1}, {name: a, value: 1}]}\n"),
        9,
        "spec.arguments.parameters[1].name 'a' is not unique",
    ),
    (
        leaf("  arguments: {parameters: [{name: a.b, value: 1}]}\n"),
        9,
        "spec.arguments.parameters[0].name: 'a.b' is invalid: Parameter/Artifact name",
    ),
    (leaf("  arguments: {artifacts: [{name: a}]}\n"), 9, "spec.arguments.a.from, artifact location, or key is required"),
    (
        leaf("  workflowTemplateRef: {name: x}\n"),
        6,
        "Templates is invalid field in spec if workflow referred WorkflowTemplate reference",
    ),
    # Kinds and limits
    ("  entrypoint: a\n  templates:\n  - name: a\n", 7, "templates.a template type unspecified."),
    (leaf("    suspend: {}\n"), 7, "templates.a multiple template types specified."),
    (leaf("    timeout: 10\n"), 9, "templates.a: a has invalid duration format in timeout."),
    (leaf("    timeout: soon\n"), 9, 'templates.a.timeout: invalid duration "soon"'),
    (leaf("    timeout: -1s\n"), 9, 'templates.a.timeout: "-1s" is negative'),
    (
        steps("    - [{name: s, template: work}]\n", "    timeout: 1s\n"),
        11,
        "templates.main: Steps template doesn't support timeout field.",
    ),
    (
        steps("    - [{name: s, template: work}]\n", "    activeDeadlineSeconds: 1\n"),
        11,
        "templates.main.activeDeadlineSeconds is only valid for leaf templates",
    ),
    (
        leaf("    activeDeadlineSeconds: x\n"),
        9,
        "templates.a.activeDeadlineSeconds must be a whole number, 0 or more, or an argo variable; got 'x'",
    ),
    (leaf("    parallelism: 1\n"), 9, "templates.a.parallelism is only valid for steps and dag templates"),
    (leaf("    retryStrategy: {retryPolicy: Sometimes}\n"), 9, "templates.a Sometimes is not a valid RetryPolicy"),
    (leaf("    retryStrategy: {limit: few}\n"), 9, "templates.a.retryStrategy.limit must be a whole number"),
    (leaf("    retryStrategy: {backoff: {factor: 2}}\n"), 9, "no base duration specified for retryStrategy"),
    (
        leaf("    retryStrategy: {backoff: {duration: x}}\n"),
        9,
        'templates.a.retryStrategy.backoff.duration: invalid duration "x"',
    ),
    (
        "  entrypoint: a\n  templates:\n  - {name: a, suspend: {duration: x}}\n",
        7,
        'templates.a.suspend.duration: invalid duration "x"',
    ),
    (
        "  entrypoint: a\n  templates:\n  - {name: a, suspend: {duration: '{{inputs.parameters.x}}'}}\n",
        7,
        "templates.a: failed to resolve {{inputs.parameters.x}}",
    ),
    # Pods
    ("  entrypoint: a\n  templates:\n  - name: a\n    container: {}\n", 8, "templates.a.container.image may not be empty"),
    ("  entrypoint: a\n  templates:\n  - name: a\n    script: {source: x}\n", 8, "templates.a.script.image may not be empty"),
    (container("args: ['{{inputs.parameters.x}}']"), 8, "templates.a: failed to resolve {{inputs.parameters.x}}"),
    (container("args: ['{{ steps.a.id }}']"), 8, "templates.a: failed to resolve {{ steps.a.id }}"),
    (
        container("args: ['{{workflow.outputs.parameters.g}}']"),
        8,
        "templates.a: failed to resolve {{workflow.outputs.parameters.g}}",
    ),
    (container("args: ['{{workflow.failures}}']") + "  onExit: a\n", 8, "templates.a: failed to resolve {{workflow.failures}}"),
    (container("args: ['{{item.x}}']"), 8, "templates.a: failed to resolve {{item.x}}"),
    (container("env: [{name: 'A=B', value: x}]"), 8, "templates.a.container.env[0].name 'A=B' is invalid"),
    (
        container("volumeMounts: [{name: v, mountPath: v/../w}]", "    volumes: [{name: v}]\n"),
        8,
        "volumeMounts[0].mountPath 'v/../w' must not have a `..` segment",
    ),
    (
        container("volumeMounts: [{name: v, mountPath: /v, subPath: ../x}]", "    volumes: [{name: v}]\n"),
        8,
        "subPath '../x' must be a relative path without `..`",
    ),
    (
        container("volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /v}]", "    volumes: [{name: v}]\n"),
        8,
        "templates.a.container.volumeMounts[1].mountPath '/v' already mounted in container.volumeMounts.v",
    ),
    (
        container(
            "volumeMounts: [{name: v, mountPath: /v}]",
            "    volumes: [{name: v}]\n    inputs: {artifacts: [{name: d, path: /v, raw: {data: x}}]}\n",
        ),
        10,
        "templates.a.inputs.artifacts[0].path '/v' already mounted in container.volumeMounts.v",
    ),
    (leaf("    volumes: [{name: v}, {name: v}]\n"), 9, "templates.a.volumes[1].name 'v' is not unique"),
    (leaf("    volumes: [{name: V_}]\n"), 9, "templates.a.volumes[0].name 'V_' must be a lowercase RFC 1123 label"),
    (
        leaf("    volumes: [{name: v, emptyDir: {sizeLimit: big}}]\n"),
        9,
        "templates.a.volumes[0].emptyDir.sizeLimit: quantities must match",
    ),
    (leaf("    volumes: [{name: v, emptyDir: {sizeLimit: 0}}]\n"), 9, "emptyDir.sizeLimit must be greater than zero"),
    # Inputs and outputs
    (leaf("    inputs: {parameters: [{name: a}, {name: a}]}\n"), 9, "templates.a.inputs.parameters[1].name 'a' is not unique"),
    (leaf("    inputs: {parameters: [{name: a}]}\n"), 5, "templates.a inputs.parameters.a was not supplied"),
    (artifact("path: /d"), 5, "templates.a inputs.artifacts.d was not supplied"),
    (artifact("raw: {data: x}"), 9, "error in templates.a.inputs.artifacts.d: Artifact 'd' did not specify a path"),
    (artifact("path: ., raw: {data: x}"), 9, "error in templates.a.inputs.artifacts.d: path '.' must not be the root directory"),
    (artifact("path: /, raw: {data: x}"), 9, "path '/' must not be the root directory"),
    (artifact("path: /a/../b, raw: {data: x}"), 9, "Directory traversal is not permitted"),
    (artifact('path: "/a\\n", raw: {data: x}'), 9, "must not have control characters"),
    (artifact("path: /d, from: '{{a}}'"), 9, "templates.a.inputs.artifacts.d.from not valid in inputs"),
    (artifact("path: /d, raw: {data: x}, s3: {key: k}"), 9, "templates.a.inputs.artifacts.d has several locations: raw, s3"),
    (artifact("path: /d, s3: {key: a/../b}"), 9, "templates.a.inputs.artifacts.d.s3.key must not have a `..` segment"),
    (artifact("path: /d, s3: {key: /a}"), 9, "s3.key must not begin with /"),
    (artifact("path: /d, s3: {key: 'a\\b'}"), 9, "s3.key must not have a backslash"),
    (artifact('path: /d, s3: {key: "a\\0"}'), 9, "s3.key must not have control characters"),
    (artifact("path: /d, s3: {bucket: b}"), 5, "templates.a inputs.artifacts.d was not supplied"),
    (artifact("path: /d, http: {url: ''}"), 5, "templates.a inputs.artifacts.d was not supplied"),
    (artifact("path: /d, s3: {bucket: a/b, key: k}"), 9, "s3.bucket 'a/b' is not a bucket's name"),
    (artifact("path: /d, plugin: {name: rclone, key: a/b}"), 9, "plugin.key 'a/b' does not name a remote"),
    (artifact("path: /d, plugin: {name: rclone, key: ':local:/etc'}"), 9, "plugin.key ':local:/etc' does not name a remote"),
    (artifact("path: /d, plugin: {name: rclone, key: 'far:../x'}"), 9, "plugin.key: the path must not have a `..` segment"),
    (artifact("path: /d, plugin: {name: rclone, key: 'far:'}"), 9, "plugin.key: the path is required"),
    (artifact("path: /d, raw: {data: x}, subPath: ../x"), 9, "subPath must not have a `..` segment"),
    (artifact("path: /d, raw: {data: x}, mode: 644"), 9, "mode must be between 0000 and 0777 (octal), got 644"),
    (artifact("path: /d, raw: {data: x}, archive: {none: {}, zip: {}}"), 9, "archive has several strategies: none, zip"),
    (
        artifact("path: /d, raw: {data: x}, archive: {tar: {compressionLevel: 10}}"),
        9,
        "compressionLevel must be between -2 and 9, got 10",
    ),
    (artifact("s3: {key: k}", "outputs"), 9, "error in templates.a.outputs.artifacts.d: Artifact 'd' did not specify a path"),
    (artifact("path: /d, from: '{{a.b}}'", "outputs"), 9, "templates.a.outputs.artifacts.d.from not valid in outputs of a pod"),
    (artifact("path: /d, globalName: a.b", "outputs"), 9, "templates.a.outputs.artifacts.d.globalName: Parameter/Artifact name"),
    (
        leaf("    outputs: {parameters: [{name: o}]}\n"),
        9,
        "templates.a.outputs.parameters.o does not have valueFrom or value specified",
    ),
    (
        leaf("    outputs: {parameters: [{name: o, value: x, valueFrom: {path: /o}}]}\n"),
        9,
        "has both valueFrom and value specified. Choose one.",
    ),
    (leaf("    outputs: {parameters: [{name: o, valueFrom: {}}]}\n"), 9, "valueFrom type unspecified. choose one of"),
    (
        leaf("    outputs: {parameters: [{name: o, valueFrom: {path: /o, parameter: x}}]}\n"),
        9,
        "multiple valueFrom types specified. choose one of",
    ),
    (
        leaf("    outputs: {parameters: [{name: o, valueFrom: {parameter: x}}]}\n"),
        9,
        "templates.a.outputs.parameters.o.path must be specified for Container templates",
    ),
    (
        leaf("    outputs: {parameters: [{name: o, valueFrom: {path: ../o}}]}\n"),
        9,
        "templates.a.outputs.parameters.o.path '../o' must not have a `..` segment",
    ),
    (
        "  entrypoint: a\n  templates:\n  - {name: a, suspend: {}, outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}}\n",
        7,
        "templates.a.outputs.parameters.o.supplied must be specified for Suspend templates",
    ),
    (
        steps("    - [{name: s, template: work}]\n", "    outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}\n"),
        11,
        "templates.main.outputs.parameters.o.parameter or expression must be specified for Steps templates",
    ),
    (
        steps(
            "    - [{name: s, template: work}]\n",
            "    outputs: {parameters: [{name: o, valueFrom: {parameter: '{{steps.t.id}}'}}]}\n",
        ),
        11,
        "templates.main.outputs failed to resolve {{steps.t.id}}",
    ),
    (
        steps("    - [{name: s, template: work}]\n", "    outputs: {artifacts: [{name: o, path: /o}]}\n"),
        11,
        "templates.main.outputs.artifacts.o.path only valid in container/script templates",
    ),
    (
        steps("    - [{name: s, template: work}]\n", "    outputs: {artifacts: [{name: o}]}\n"),
        11,
        "templates.main.outputs.artifacts.o.from is required in steps and dag templates",
    ),
    # Steps
    (steps("    - [{template: work}]\n"), 12, "templates.main.steps[0].name is required"),
    (steps("    - [{name: s.t, template: work}]\n"), 12, "templates.main.steps[0].name 's.t' is invalid"),
    (
        steps("    - [{name: s, template: work}]\n    - [{name: s, template: work}]\n"),
        13,
        "templates.main.steps[1].name 's' is not unique",
    ),
    (steps("    - [{name: s, template: wrk}]\n"), 12, "templates.main.steps[0].s template name 'wrk' undefined"),
    (steps("    - [{name: s}]\n"), 12, "templates.main.steps[0].s template name is required"),
    (
        steps("    - [{name: s, template: work, templateRef: {name: a, template: b}}]\n"),
        12,
        "template name cannot be specified with templateRef.",
    ),
    (
        steps("    - [{name: s, template: work, arguments: {parameters: [{name: m}]}}]\n"),
        12,
        "templates.main.steps[0].s.arguments.m.value or templates.main.steps[0].s.arguments.m.valueFrom is required",
    ),
    (
        steps(
            "    - [{name: s, template: need}]\n  - name: need\n    inputs: {parameters: [{name: m}]}\n    container: {image: i}\n"
        ),
        12,
        "templates.main.steps[0].s templates.need inputs.parameters.m was not supplied",
    ),
    (
        steps("    - [{name: s, template: work, withItems: [1], withParam: '[]'}]\n"),
        12,
        "templates.main.steps[0].s only one of withItems, withParam, withSequence can be specified",
    ),
    (
        steps("    - [{name: s, template: work, withItems: [~]}]\n"),
        12,
        "templates.main.steps[0].s unsupported withItems type: null",
    ),
    (
        steps("    - [{name: s, template: work, withSequence: {count: 1, end: 2}}]\n"),
        12,
        "only one of count or end can be defined in withSequence",
    ),
    (
        steps("    - [{name: s, template: work, withSequence: {start: 1}}]\n"),
        12,
        "must have either count or end defined in withSequence",
    ),
    (
        steps("    - [{name: s, template: work, withSequence: {count: -1}}]\n"),
        12,
        "withSequence.count must be a whole number, 0 or more",
    ),
    (steps("    - [{name: s, template: work, withSequence: {end: x}}]\n"), 12, "withSequence.end must be a whole number"),
    (
        steps("    - [{name: s, template: work, when: 'a ='}]\n"),
        12,
        "templates.main.steps[0].s Invalid 'when' expression 'a =': Invalid token: '='",
    ),
    (
        steps("    - [{name: s, template: work, when: '{{steps.t.status}} == x'}]\n"),
        12,
        "templates.main.steps[0].s failed to resolve {{steps.t.status}}",
    ),
    (
        steps(
            "    - [{name: s, template: work, withItems: [{a: 1}], arguments: {parameters: [{name: m, value: '{{item.b}}'}]}}]\n"
        ),
        12,
        "templates.main.steps[0].s failed to resolve {{item.b}}",
    ),
    (
        steps(
            "    - [{name: s, template: work}]\n    - [{name: t, template: work, withParam: '{{steps.s.outputs.parameters.zzz}}'}]\n"
        ),
        13,
        "templates.main.steps[1].t failed to resolve {{steps.s.outputs.parameters.zzz}}",
    ),
    (
        steps("    - [{name: s, template: work, arguments: {artifacts: [{name: d, from: steps.a}]}}]\n"),
        12,
        "from 'steps.a' is no reference",
    ),
    (
        steps("    - [{name: s, template: work, arguments: {artifacts: [{name: d, from: '{{a.b}}', raw: {data: x}}]}}]\n"),
        12,
        "has both from and raw",
    ),
    (
        steps("    - [{name: s, template: work, arguments: {artifacts: [{name: d, from: '{{a.b}}', fromExpression: x}]}}]\n"),
        12,
        "shouldn't have both `from` and `fromExpression` in Artifact",
    ),
    # Tasks
    (dag("        []\n"), 11, "templates.main must have at least one task"),
    (
        dag("      - {name: a, template: work}\n      - {name: a, template: work}\n"),
        14,
        "templates.main.tasks[1].name 'a' is not unique",
    ),
    (dag("      - {name: a, template: work, dependencies: [b]}\n"), 13, "templates.main.tasks.a dependency 'b' not defined"),
    (dag("      - {name: a, template: work, depends: b.Failed}\n"), 13, "templates.main.tasks.a dependency 'b' not defined"),
    (dag("      - {name: a, template: work, depends: 'a b'}\n"), 13, "templates.main.tasks.a unexpected 'b' in depends 'a b'"),
    (
        dag("      - {name: a, template: work}\n      - {name: b, template: work, depends: a.Done}\n"),
        14,
        "task result 'Done' for task 'a' is invalid",
    ),
    (
        dag("      - {name: a, template: work}\n      - {name: b, template: work, depends: a.AllFailed}\n"),
        14,
        "dependency 'a' uses an items-based condition such as .AnySucceeded or .AllFailed but does not contain any items",
    ),
    (
        dag(
            "      - {name: a, template: work, depends: b}\n      - {name: b, template: work, depends: c}\n      - {name: c, template: work, depends: a}\n"
        ),
        13,
        "templates.main.tasks dependency cycle detected: a->b->c->a",
    ),
    (
        dag("      - {name: x, template: work, dependencies: [a]}\n      - {name: a, template: work, dependencies: [a]}\n"),
        14,
        "dependency cycle detected: a->a",
    ),
    (
        dag(
            "      - {name: a, template: work}\n      - {name: b, template: work, depends: a}\n      - {name: c, template: work, dependencies: [a, b]}\n"
        ),
        15,
        "templates.main cannot use both 'depends' and 'dependencies' in the same DAG template",
    ),
    (
        dag("      - {name: a, template: work, continueOn: {failed: true}}\n      - {name: b, template: work, depends: a}\n"),
        13,
        "templates.main cannot use 'continueOn' when using 'depends'.",
    ),
    (
        dag("      - {name: 1a, template: work}\n      - {name: b, template: work, depends: 1a}\n"),
        13,
        "templates.main.tasks.1a name cannot begin with a digit when using either 'depends' or 'dependencies'",
    ),
    (dag("      - {name: a, template: work}\n", "      target: a z\n"), 12, "templates.main.targets: target 'z' is not defined"),
    (
        dag("      - {name: a, template: work}\n", "      target: '{{inputs.parameters.z}}'\n"),
        12,
        "templates.main.targets failed to resolve {{inputs.parameters.z}}",
    ),
    (
        dag(
            "      - {name: a, template: work}\n      - {name: b, template: work, arguments: {parameters: [{name: m, value: '{{tasks.a.outputs.result}}'}]}}\n"
        ),
        14,
        "templates.main.tasks.b missing dependency 'a' for parameter 'm'",
    ),
    (
        dag(
            "      - {name: a, template: work}\n      - {name: b, template: work, arguments: {artifacts: [{name: m, from: '{{tasks.a.id}}'}]}}\n"
        ),
        14,
        "templates.main.tasks.b missing dependency 'a' for artifact 'm'",
    ),
    (
        dag("      - {name: a, template: work}\n      - {name: b, template: work, when: '{{tasks.a.status}} == x'}\n"),
        14,
        "templates.main.tasks.b failed to resolve {{tasks.a.status}}",
    ),
]


@pytest.mark.parametrize(("text", "line", "message"), BAD, ids=range(len(BAD)))
def test_bad_workflows_are_refused_with_place_and_remedy(text: str, line: int, message: str):
    found = [problem for problem in problems(text) if message in problem.message]
    assert found, [str(problem) for problem in problems(text)]
    place = found[0].place
    assert place is not None
    assert place.line == line
    assert found[0].remedy
    assert found[0].code in {"invalid", "too_large"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{}", "metadata.name: name or generateName is required"),
        ("{name: A_b}", 'metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain'),
        ("{name: " + "a" * 64 + "}", "must not be more than 63 characters long (currently 64)"),
        ("{generateName: A-}", 'metadata.generateName: Invalid value: "A-"'),
        ("{name: a, namespace: B}", 'metadata.namespace: Invalid value: "B"'),
        ("{name: a, labels: {'a b': c}}", 'metadata.labels: Invalid value: "a b": not a label key'),
        ("{name: a, labels: {a: 'b c'}}", 'metadata.labels: Invalid value: "b c": not a label value'),
    ],
)
def test_metadata_obeys_kubernetes(metadata: str, message: str):
    head = HEAD.replace("{name: w}", metadata)
    assert message in str(problems(leaf(""), head=head)[0])


@pytest.mark.parametrize(
    "metadata", ["{generateName: my-, namespace: team-1}", "{name: a.b-1, labels: {workflows.argoproj.io/x: ''}}"]
)
def test_good_metadata_passes(metadata: str):
    assert problems(leaf(""), head=HEAD.replace("{name: w}", metadata)) == ()


def test_all_problems_are_told_in_the_order_of_the_text_and_mistakes_first():
    text = "  resourceClaims: [{name: x}]\n" + container(
        "args: ['{{inputs.parameters.x}}']", "    resourceClaims: [{name: s}]\n    timeout: 1\n"
    )
    found = problems(text)
    assert [(problem.code, problem.place.line if problem.place else 0) for problem in found] == [
        ("invalid", 9),
        ("invalid", 11),
        ("unsupported", 5),
        ("unsupported", 10),
    ]
    many = steps("".join(f"    - [{{name: s{i}, template: gone}}]\n" for i in range(200)))
    assert len(problems(many)) == MAX_PROBLEMS


def test_did_you_mean():
    found = problems(steps("    - [{name: s, template: wrk}]\n"))
    assert found[0].remedy == "did you mean 'work'?"
    assert problems(container("args: ['{{workflow.nme}}']"))[0].remedy == "did you mean 'workflow.name'?"


def test_lint_allows_arguments_without_values():
    text = leaf("    inputs: {parameters: [{name: p}]}\n  arguments: {parameters: [{name: p}]}\n")
    assert [problem.message for problem in problems(text)] == ["spec.arguments.p.value or spec.arguments.p.valueFrom is required"]
    assert problems(text, lint=True) == ()


def test_templates_are_checked_without_a_caller():
    head = HEAD.replace("kind: Workflow", "kind: WorkflowTemplate")
    text = "spec:\n  templates:\n  - name: a\n    inputs: {parameters: [{name: m}]}\n    container: {image: i, args: ['{{workflow.parameters.any}} %s']}\n"
    spec.validate_document(spec.load_one(head.partition("spec:")[0] + text % "{{inputs.parameters.m}}"))
    with pytest.raises(Refused, match=r"failed to resolve \{\{inputs\.parameters\.n}}"):
        spec.validate_document(spec.load_one(head.partition("spec:")[0] + text % "{{inputs.parameters.n}}"))


def test_schedules_are_checked_where_they_stand():
    text = "kind: CronWorkflow\nmetadata: {name: c}\nspec:\n  schedules: ['1 2 3', '@daily']\n  timezone: Mars/Base\n  concurrencyPolicy: Never\n  workflowSpec:\n    entrypoint: b\n    templates: [{name: a, container: {image: i}}]\n"
    with pytest.raises(Refused) as caught:
        spec.validate_document(spec.load_one(text))
    assert [(p.place.line, p.message[:24]) for p in caught.value.problems if p.place] == [
        (5, "cron workflow: unknown t"), (6, "'Never' is not a valid c"), (8, "template name 'b' undefi"),
    ]  # fmt: skip
    with pytest.raises(Refused, match="expected exactly 5 fields, found 3"):
        spec.validate_document(spec.load_one(text.replace("Mars/Base", "Europe/Berlin")))


def test_without_a_text_problems_have_paths():
    with pytest.raises(Refused) as caught:
        spec.validate(argo.Workflow(metadata=argo.ObjectMeta(name="a"), spec=argo.WorkflowSpec(entrypoint="x")))
    assert str(caught.value) == "$.spec.entrypoint: template name 'x' undefined; add a template with that name"


def test_hooks_see_the_outputs_of_their_step():
    text = (
        steps(
            "    - [{name: s, template: work, hooks: {exit: {template: work, arguments: {parameters: [{name: m, value: '{{steps.s.exitCode}}'}]}}}}]\n"
        ),
        dag(
            "      - {name: s, template: work, hooks: {exit: {template: work, arguments: {parameters: [{name: m, value: '{{tasks.s.status}}'}]}}}}\n"
        ),
    )
    for each in text:
        assert problems(each) == ()


def test_a_long_chain_that_looks_far_back_is_checked_fast():
    ref = "arguments: {parameters: [{name: m, value: '{{tasks.t0.outputs.result}}'}]}"
    tasks = "      - {name: t0, template: work}\n" + "".join(
        f"      - {{name: t{i}, template: work, dependencies: [t{i - 1}], {ref}}}\n" for i in range(1, 3000)
    )
    before = time.process_time()
    assert problems(dag(tasks)) == ()
    assert time.process_time() - before < 20


def test_a_dag_has_bounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("jitflow.spec.validation._dag.MAX_TASKS", 2)
    tasks = "".join(f"      - {{name: t{i}, template: work}}\n" for i in range(3))
    assert messages(dag(tasks)) == ["templates.main has 3 tasks, more than 2"]
