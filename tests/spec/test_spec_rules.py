# ruff: noqa: E501 - a rule is one manifest, written on few lines
"""The rules of Argo's validation, one by one: what it accepts is accepted, what it refuses is refused, with a place."""

import textwrap

import pytest

from jitflow import spec
from jitflow.model.problems import Problem, Refused

pytestmark = pytest.mark.pure

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w, labels: {team: x}, annotations: {note: y}}\n"
STOCK = """
- {name: work, inputs: {parameters: [{name: m, default: x}]}, container: {image: i}}
- {name: need, inputs: {parameters: [{name: m}]}, container: {image: i}}
- {name: take, inputs: {artifacts: [{name: d, path: /d}]}, container: {image: i}}
- {name: make, container: {image: i}, outputs: {parameters: [{name: p, valueFrom: {path: /p}}], artifacts: [{name: a, path: /a}]}}
- {name: serve, daemon: true, container: {image: i}}
- {name: manage, resource: {action: get}, outputs: {parameters: [{name: r, valueFrom: {jsonPath: "{.a}"}}]}}
- {name: wait, suspend: {}}
- {name: share, container: {image: i}, outputs: {parameters: [{name: p, globalName: g, valueFrom: {path: /p}}], artifacts: [{name: a, path: /a, globalName: ga}]}}
"""


def manifest(main: str, more: str = "") -> str:
    """A workflow whose entrypoint has a body; `more` are fields of its spec."""
    body = textwrap.indent(textwrap.dedent(main).strip("\n"), "  ")
    templates = textwrap.indent(f"- name: main\n{body}\n{STOCK}", "  ")
    return f"{HEAD}spec:\n  entrypoint: main\n{textwrap.indent(textwrap.dedent(more), '  ')}\n  templates:\n{templates}"


def problems(text: str) -> tuple[Problem, ...]:
    try:
        spec.validate_document(spec.load_one(text))
    except Refused as error:
        return tuple(problem for problem in error.problems if problem.code != "unsupported")
    return ()


def one(step: str) -> str:
    return f"steps: [[{{name: s, {step}}}]]"


def two(first: str, second: str) -> str:
    return f"steps:\n- [{{name: a, {first}}}]\n- [{{name: b, {second}}}]"


def tasks(*lines: str, more: str = "") -> str:
    return f"dag:\n  {more}\n  tasks:\n" + "\n".join(f"  - {{{line}}}" for line in lines)


def says(value: str) -> str:
    return f"arguments: {{parameters: [{{name: m, value: '{value}'}}]}}"


ACCEPTED = {
    # References
    "tags of other languages are left alone": ("container: {image: i, args: ['{{user.name}} {{node.name}} {{x}} {{=nonsense(}}']}", ""),
    "blanks in tags": ("container: {image: i, args: ['{{ workflow.name }}']}", ""),
    "all variables of the workflow": ("container: {image: i, args: ['{{workflow.name}} {{workflow.namespace}} {{workflow.uid}} {{workflow.serviceAccountName}} {{workflow.mainEntrypoint}} {{workflow.status}} {{workflow.duration}} {{workflow.creationTimestamp}} {{workflow.creationTimestamp.RFC3339}} {{workflow.scheduledTime}} {{workflow.labels}} {{workflow.labels.json}} {{workflow.labels.team}} {{workflow.annotations}} {{workflow.annotations.json}} {{workflow.annotations.note}}']}", ""),
    "priority that is set": ("container: {image: i, args: ['{{workflow.priority}}']}", "priority: 3"),
    "parameters, one and all": ("container: {image: i, args: ['{{workflow.parameters}} {{workflow.parameters.json}} {{workflow.parameters.p}}']}", "arguments: {parameters: [{name: p, value: 1}]}"),
    "labels that an expression gives": ("container: {image: i, args: ['{{workflow.labels.l}}']}", "workflowMetadata: {labelsFrom: {l: {expression: 'workflow.name'}}}"),
    "pod.name in pods": ("script: {image: i, source: '{{pod.name}}'}", ""),
    "pod.name in resources": ("resource: {action: get, flags: ['{{pod.name}}']}", ""),
    "own outputs, for metrics": ("container: {image: i, args: ['{{outputs.result}} {{outputs.parameters.x}}']}", ""),
    "retries without a strategy": ("container: {image: i, args: ['{{retries}} {{lastRetry.exitCode}}']}", ""),
    "status and times of earlier steps": (two("template: work", "template: work, " + says("{{steps.a.status}}{{steps.a.id}}{{steps.a.startedAt}}{{steps.a.finishedAt}}{{steps.a.hostNodeName}}")), ""),
    "status of a step of the same group": ("steps: [[{name: a, template: work}, {name: b, template: work, when: '{{steps.a.status}} == x'}]]", ""),
    "outputs of a step before it in the same group": ("steps: [[{name: a, template: make}, {name: b, template: work, " + says("{{steps.a.outputs.parameters.p}}") + "}]]", ""),
    "a step's own status": (one("template: work, when: '{{steps.s.status}} == x'"), ""),
    "result and exit code of a pod": (two("template: make", "template: work, " + says("{{steps.a.outputs.result}}{{steps.a.exitCode}}{{steps.a.outputs.parameters.p}}")), ""),
    "address of a daemon": (two("template: serve", "template: work, " + says("{{steps.a.ip}}")), ""),
    "all outputs of a loop": (two("template: make, withItems: [1]", "template: work, withParam: '{{steps.a.outputs.parameters}}'"), ""),
    "items of every form": (one("template: work, withItems: [{a: 1}, [2], 3, true], " + says("{{item}}{{item.a}}{{item.[0]}}")), ""),
    "any item of a parameter": (one("template: work, withParam: '[]', " + says("{{item.any}}")), ""),
    "items of an earlier step": (two("template: work, withItems: [{a: 1}]", "template: work, " + says("{{item.a}}")), ""),
    "global outputs of what ran before": (two("template: share", "template: work, " + says("{{workflow.outputs.parameters.g}}")), ""),
    "global outputs of an earlier task, whatever the order of the text": (tasks("name: b, template: work, dependencies: [a], " + says("{{workflow.outputs.parameters.g}}"), "name: a, template: share"), ""),
    "outputs of any task, not first in a text": (tasks("name: a, template: make", "name: b, template: work, " + says("x{{tasks.a.outputs.result}}")), ""),
    "a parameter with an inner tag that is known": ("inputs: {parameters: [{name: q}]}\ncontainer: {image: i, args: ['{{workflow.parameters.{{inputs.parameters.q}}}}']}", "arguments: {parameters: [{name: q, value: p}, {name: p, value: 1}]}"),
    # Templates and calls
    "a template by a parameter's value": (one("template: '{{workflow.parameters.t}}'"), "arguments: {parameters: [{name: t, value: work}]}"),
    "a template of another object, not known here": (one("templateRef: {name: lib, template: t}"), ""),
    "an inline template": (one("inline: {container: {image: i}}"), ""),
    "an inline template with inputs of its own": (one("inline: {inputs: {parameters: [{name: z}]}, container: {image: i, args: ['{{inputs.parameters.z}}']}}, arguments: {parameters: [{name: z, value: 1}]}"), ""),
    "arguments that nobody asked for": (one("template: work, arguments: {parameters: [{name: other, value: 1}]}"), ""),
    "an argument from a ConfigMap": (one("template: need, arguments: {parameters: [{name: m, valueFrom: {configMapKeyRef: {name: c, key: k}}}]}"), ""),
    "an input from a ConfigMap": ("inputs: {parameters: [{name: z, valueFrom: {configMapKeyRef: {name: c, key: k}}}]}\ncontainer: {image: i}", ""),
    "an empty value": (one("template: need, " + says("")), ""),
    "an optional artifact that nobody gives": ("inputs: {artifacts: [{name: d, path: /d, optional: true}]}\ncontainer: {image: i}", ""),
    "an artifact with a location of its own": ("inputs: {artifacts: [{name: d, path: /d, raw: {data: ''}}]}\ncontainer: {image: i}", ""),
    "an artifact from an earlier step": (two("template: make", "template: take, arguments: {artifacts: [{name: d, from: '{{steps.a.outputs.artifacts.a}}'}]}"), ""),
    "names with inputs in them": ("inputs: {parameters: [{name: z}]}\nsteps: [[{name: 's-{{inputs.parameters.z}}', template: work}]]", "arguments: {parameters: [{name: z, value: 1}]}"),
    "images that templateDefaults give": ("container: {args: [a]}", "templateDefaults: {container: {image: i}}"),
    "a value that is of its enum": (one("template: work"), "arguments: {parameters: [{name: e, value: a, enum: [a, b]}]}"),
    "limits of an argo variable": ("inputs: {parameters: [{name: z}]}\nactiveDeadlineSeconds: '{{inputs.parameters.z}}'\ncontainer: {image: i}", "arguments: {parameters: [{name: z, value: 5}]}"),
    "a timeout on a request": ("timeout: 5s\nhttp: {url: 'http://x'}", ""),
    "no time limit": ("activeDeadlineSeconds: 0\ncontainer: {image: i}", ""),
    # Hooks
    "an exit hook without an expression": (one("template: work, hooks: {exit: {template: work, " + says("{{steps.s.outputs.result}}") + "}}"), ""),
    "another hook with one": (one("template: work, hooks: {running: {template: work, expression: 'steps.s.status == \"Running\"'}}"), ""),
    "a hook whose template is not there": (one("template: work, hooks: {exit: {template: gone}}"), ""),
    "the outputs of an old exit hook": (one("template: make, onExit: work"), ""),
    # Tasks
    "a digit first, without dependencies": (tasks("name: 1a, template: work"), ""),
    "targets by value": (tasks("name: a, template: work", more="target: '{{workflow.parameters.t}}'"), "arguments: {parameters: [{name: t, value: a}]}"),
    "results of loops": (tasks("name: a, template: work, withItems: [1]", "name: b, template: work, depends: a.AnySucceeded || a.AllFailed"), ""),
    "results of a sequence": (tasks("name: a, template: work, withSequence: {count: 2}", "name: b, template: work, depends: a.AllFailed"), ""),
    "status of every ancestor": (tasks("name: a, template: work", "name: b, template: work, dependencies: [a]", "name: c, template: work, dependencies: [b], when: '{{tasks.a.status}} == x'"), ""),
    "a task's own status, with a hook": (tasks("name: a, template: work, hooks: {exit: {template: work, " + says("{{tasks.a.status}}") + "}}"), ""),
    # Outputs
    "outputs by expression": (one("template: make") + "\noutputs: {parameters: [{name: o, valueFrom: {expression: \"steps.s.outputs.parameters.p\"}}]}", ""),
    "outputs that are given": ("suspend: {}\noutputs: {parameters: [{name: o, valueFrom: {supplied: {}, default: d}}]}", ""),
    "outputs with a value": ("container: {image: i}\noutputs: {parameters: [{name: o, value: v}]}", ""),
    "outputs of a resource": ("resource: {action: get}\noutputs: {parameters: [{name: o, valueFrom: {jqFilter: .a}}, {name: u, valueFrom: {jsonPath: '{.a}'}}]}", ""),
    "outputs in the working directory": ("container: {image: i, workingDir: /w}\noutputs: {parameters: [{name: o, valueFrom: {path: o.txt}}], artifacts: [{name: a, path: ./out/a}]}", ""),
    "inputs and mounts below the root": ("inputs: {artifacts: [{name: a, path: in/a, raw: {data: x}}]}\nvolumes: [{name: v}]\ncontainer: {image: i, volumeMounts: [{name: v, mountPath: v}]}", ""),
    "global names by value": ("inputs: {parameters: [{name: z, value: q}]}\ncontainer: {image: i}\noutputs: {parameters: [{name: o, globalName: '{{inputs.parameters.z}}', valueFrom: {path: /o}}]}", ""),
    # Kinds
    "a set of containers": ("containerSet: {containers: [{name: main, image: i}, {name: b, image: i, dependencies: [main]}]}\noutputs: {parameters: [{name: o, valueFrom: {path: /o}}]}", ""),
    "a set without main, without outputs": ("containerSet: {containers: [{name: a, image: i}]}", ""),
    "a resource to be made": ("resource: {action: create, manifest: \"a: {{=asInt(workflow.parameters.x)}}\\nb: '{{workflow.name}}'\"}", ""),
    "a resource with tags inside braces": ("resource: {action: create, manifest: \"a: {b: {c: {{=asInt('1')}}}, d: '{{workflow.name}}'}\"}", ""),
    "a resource by an artifact": ("inputs: {artifacts: [{name: f, path: /f, raw: {data: x}}]}\nresource: {action: apply, manifestFrom: {artifact: {name: f}}}", ""),
    "an action by value": ("inputs: {parameters: [{name: z}]}\nresource: {action: '{{inputs.parameters.z}}', manifest: 'a: 1'}", "arguments: {parameters: [{name: z, value: apply}]}"),
    "a plugin": ("plugin: {hello: {}}", ""),
    "init containers with names": ("container: {image: i}\ninitContainers: [{name: a, image: i}]", ""),
    "a patch by value": ("container: {image: i}\npodSpecPatch: '{{workflow.name}}'", ""),
    "a patch in YAML and in JSON": ("container: {image: i}\npodSpecPatch: '{\"hostname\": \"a\"}'", "podSpecPatch: 'hostname: a'"),
    "a daemon that is asked": ("daemon: true\ncontainer: {image: i, readinessProbe: {httpGet: {path: /, port: 80}}}", ""),
    "locks in lists": ("container: {image: i}\nsynchronization: {mutexes: [{name: a}, {name: '{{workflow.name}}', database: true}], semaphores: [{configMapKeyRef: {name: c, key: k}}, {database: {key: k}}]}", ""),
    "a cache": ("container: {image: i}\nmemoize: {key: '{{workflow.name}}', maxAge: 10s, cache: {configMap: {name: c}}}", ""),
    # The workflow
    "priorities of pods in Argo 3": ("priority: 3\n" + one("template: work"), "podPriority: 2"),
    "which pods are deleted": (one("template: work"), "podGC: {strategy: OnPodSuccess, labelSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: Exists}]}}"),
    "artifacts of the workflow": (one("template: work"), "arguments: {artifacts: [{name: a, s3: {key: k}}, {name: b, raw: {data: ''}}]}"),
    "a hook of the workflow": (one("template: work"), "hooks: {exit: {template: work}, running: {template: work, expression: 'workflow.status == \"Running\"'}}"),
}  # fmt: skip


@pytest.mark.parametrize("rule", ACCEPTED)
def test_what_argo_accepts_is_accepted(rule: str):
    main, more = ACCEPTED[rule]
    assert [str(problem) for problem in problems(manifest(main, more))] == []


UNRESOLVED = "failed to resolve"
REFUSED = {
    # References
    "an unknown input": ("container: {image: i, args: ['{{inputs.parameters.z}}']}", "", UNRESOLVED),
    "an unknown input artifact": ("container: {image: i, args: ['{{inputs.artifacts.z.path}}']}", "", UNRESOLVED),
    "blanks do not hide a tag": ("container: {image: i, args: ['{{  workflow.nothing  }}']}", "", UNRESOLVED),
    "an unknown variable of the workflow": ("container: {image: i, args: ['{{workflow.nothing}}']}", "", UNRESOLVED),
    "priority that is not set": ("container: {image: i, args: ['{{workflow.priority}}']}", "", UNRESOLVED),
    "parameters when there are none": ("container: {image: i, args: ['{{workflow.parameters.json}}']}", "", UNRESOLVED),
    "an unknown parameter": ("container: {image: i, args: ['{{workflow.parameters.q}}']}", "arguments: {parameters: [{name: p, value: 1}]}", UNRESOLVED),
    "an unknown label": ("container: {image: i, args: ['{{workflow.labels.q}}']}", "", UNRESOLVED),
    "an unknown annotation": ("container: {image: i, args: ['{{workflow.annotations.q}}']}", "", UNRESOLVED),
    "failures outside the exit handler": ("container: {image: i, args: ['{{workflow.failures}}']}", "", UNRESOLVED),
    "pod.name where there is no pod": ("http: {url: 'http://{{pod.name}}'}", "", UNRESOLVED),
    "steps of another template": ("container: {image: i, args: ['{{steps.a.id}}']}", "", UNRESOLVED),
    "status of a later step": (two("template: work, " + says("{{steps.b.status}}"), "template: work"), "", UNRESOLVED),
    "an output that a template has not": (two("template: make", "template: work, " + says("{{steps.a.outputs.parameters.q}}")), "", UNRESOLVED),
    "result of a resource": (two("template: manage", "template: work, " + says("{{steps.a.outputs.result}}")), "", UNRESOLVED),
    "exit code of a resource": (two("template: manage", "template: work, " + says("{{steps.a.exitCode}}")), "", UNRESOLVED),
    "result of a pause": (two("template: wait", "template: work, " + says("{{steps.a.outputs.result}}")), "", UNRESOLVED),
    "address of what is no daemon": (two("template: work", "template: work, " + says("{{steps.a.ip}}")), "", UNRESOLVED),
    "all outputs of what is no loop": (two("template: make", "template: work, " + says("{{steps.a.outputs.parameters}}")), "", UNRESOLVED),
    "an item's field that no item has": (one("template: work, withItems: [{a: 1}], " + says("{{item.b}}")), "", UNRESOLVED),
    "an item's field of plain items": (one("template: work, withItems: [1, 2], " + says("{{item.b}}")), "", UNRESOLVED),
    "an item's field of a sequence": (one("template: work, withSequence: {count: 2}, " + says("{{item.b}}")), "", UNRESOLVED),
    "global outputs before they are made": (two("template: work, " + says("{{workflow.outputs.parameters.g}}"), "template: share"), "", UNRESOLVED),
    "own status without a hook": (tasks("name: a, template: work, " + says("x{{tasks.a.status}}")), "", UNRESOLVED),
    "status of a task that is no ancestor": (tasks("name: a, template: work", "name: b, template: work, " + says("x{{tasks.a.status}}")), "", UNRESOLVED),
    "an unknown target by input": (tasks("name: a, template: work", more="target: '{{inputs.parameters.t}}'"), "", UNRESOLVED),
    "a parameter with an inner tag that is not known": (one("template: deep, " + says("p")) + "\n", "", UNRESOLVED),
    "what an inline template has not": (one("inline: {container: {image: i, args: ['{{inputs.parameters.z}}']}}"), "", UNRESOLVED),
    "tags in known values": ("container: {image: i, args: ['{{workflow.parameters.p}}']}", "arguments: {parameters: [{name: p, value: '{{workflow.nothing}}'}]}", UNRESOLVED),
    # Templates and calls
    "no template": (one("arguments: {}"), "", "template name is required"),
    "a template that is not there": (one("template: gone"), "", "template name 'gone' undefined"),
    "a template by a value that names none": (one("template: '{{workflow.parameters.t}}'"), "arguments: {parameters: [{name: t, value: gone}]}", "template name 'gone' undefined"),
    "a template and a reference": (one("template: work, templateRef: {name: a, template: b}"), "", "template name cannot be specified with templateRef."),
    "a reference without a name": (one("templateRef: {template: b}"), "", "templateRef.name is required"),
    "a reference without a template": (one("templateRef: {name: b}"), "", "templateRef.template is required"),
    "an exit handler that is not there": (one("template: work"), "onExit: gone", "template name 'gone' undefined"),
    "an exit handler that is not given its input": (one("template: work"), "onExit: need", "templates.need inputs.parameters.m was not supplied"),
    "an input that nobody gives": (one("template: need"), "", "inputs.parameters.m was not supplied"),
    "an input that is to be supplied later": ("inputs: {parameters: [{name: z, valueFrom: {supplied: {}}}]}\ncontainer: {image: i}", "", "inputs.parameters.z was not supplied"),
    "an argument without a value": (one("template: work, arguments: {parameters: [{name: m}]}"), "", "arguments.m.value or"),
    "an argument from a file": (one("template: work, arguments: {parameters: [{name: m, valueFrom: {path: /x}}]}"), "", "valueFrom only allows: default, configMapKeyRef and supplied"),
    "an argument by expression": (one("template: work, arguments: {parameters: [{name: m, valueFrom: {expression: x}}]}"), "", "valueFrom only allows: default, configMapKeyRef and supplied"),
    "an artifact that nobody gives": (one("template: take"), "", "inputs.artifacts.d was not supplied"),
    "an artifact argument without anything": (one("template: take, arguments: {artifacts: [{name: d}]}"), "", "from, artifact location, or key is required"),
    "an artifact argument that is only optional": (one("template: take, arguments: {artifacts: [{name: d, optional: true}]}"), "", "from, artifact location, or key is required"),
    "an artifact argument without a key": (one("template: take, arguments: {artifacts: [{name: d, s3: {bucket: b}}]}"), "", "from, artifact location, or key is required"),
    "artifact arguments twice": (one("template: take, arguments: {artifacts: [{name: d, raw: {data: x}}, {name: d, raw: {data: x}}]}"), "", "name 'd' is not unique"),
    "names with items in them": (one("template: work").replace("name: s", "name: 's-{{item}}'"), "", "is invalid: name must consist of"),
    "a name by a value that is none": ("inputs: {parameters: [{name: z}]}\nsteps: [[{name: '{{inputs.parameters.z}}', template: work}]]", "arguments: {parameters: [{name: z, value: a b}]}", "is invalid: name must consist of"),
    "images that other defaults give": ("script: {source: a}", "templateDefaults: {container: {image: i}}", "templates.main.script.image may not be empty"),
    "a value that is not of its enum": (one("template: work"), "arguments: {parameters: [{name: e, value: c, enum: [a, b]}]}", "should be present in spec.arguments.e.enum list"),
    "an enum without a value": (one("template: work"), "arguments: {parameters: [{name: e, enum: [a], valueFrom: {configMapKeyRef: {name: c, key: k}}}]}", "spec.arguments.e.value is required"),
    "a timeout by a value without a unit": ("inputs: {parameters: [{name: z}]}\ntimeout: '{{inputs.parameters.z}}'\ncontainer: {image: i}", "arguments: {parameters: [{name: z, value: 10}]}", "has invalid duration format in timeout"),
    "a timeout by an argument without a unit": ("steps: [[{name: s, template: timed, arguments: {parameters: [{name: z, value: '10'}]}}]]", "", "has invalid duration format in timeout"),
    "a pending timeout of a pause": ("pendingTimeout: 5s\nsuspend: {}", "", "Suspend template doesn't support pendingTimeout field"),
    "a pending timeout that is none": ("pendingTimeout: soon\ncontainer: {image: i}", "", 'pendingTimeout: invalid duration "soon"'),
    "a timeout of a pause": ("timeout: 5s\nsuspend: {}", "", "Suspend template doesn't support timeout field"),
    "a negative limit": ("activeDeadlineSeconds: -1\ncontainer: {image: i}", "", "activeDeadlineSeconds must be a whole number, 0 or more"),
    "parallelism of a pod": ("parallelism: 1\ncontainer: {image: i}", "", "parallelism is only valid for steps and dag templates"),
    # Hooks
    "a hook without an expression": (one("template: work, hooks: {running: {template: work}}"), "", "steps[0].s.running Expression required"),
    "a task's hook without an expression": (tasks("name: a, template: work, hooks: {running: {template: work}}"), "", "tasks.a.running Expression required"),
    "the workflow's hook without an expression": (one("template: work"), "hooks: {running: {template: work}}", "hooks.running Expression required"),
    "outputs in a hook that is not for the end": (one("template: make, hooks: {h: {template: work, expression: 'true', " + says("{{steps.s.outputs.result}}") + "}}"), "", UNRESOLVED),
    # Loops
    "two loops": (one("template: work, withItems: [1], withSequence: {count: 1}"), "", "only one of withItems, withParam, withSequence can be specified"),
    "count and end": (one("template: work, withSequence: {count: 1, end: 2}"), "", "only one of count or end can be defined in withSequence"),
    "an item that is nothing": (one("template: work, withItems: [~]"), "", "unsupported withItems type"),
    # Tasks
    "no tasks": ("dag: {tasks: []}", "", "must have at least one task"),
    "a task by two names": (tasks("name: a, template: work", "name: a, template: work"), "", "name 'a' is not unique"),
    "a cycle": (tasks("name: a, template: work, dependencies: [b]", "name: b, template: work, dependencies: [a]"), "", "cycle detected"),
    "a dependency that is not there": (tasks("name: a, template: work, depends: b.Succeeded"), "", "dependency 'b' not defined"),
    "a result that is none": (tasks("name: a, template: work", "name: b, template: work, depends: a.Finished"), "", "task result 'Finished' for task 'a' is invalid"),
    "results of loops, of what is none": (tasks("name: a, template: work", "name: b, template: work, depends: a.AnySucceeded"), "", "does not contain any items"),
    "depends and dependencies": (tasks("name: a, template: work", "name: b, template: work, depends: a", "name: c, template: work, dependencies: [a]"), "", "cannot use both 'depends' and 'dependencies'"),
    "depends and continueOn": (tasks("name: a, template: work, continueOn: {failed: true}", "name: b, template: work, depends: a"), "", "cannot use 'continueOn' when using 'depends'"),
    "a digit first, with dependencies": (tasks("name: 1a, template: work", "name: b, template: work, depends: 1a"), "", "name cannot begin with a digit"),
    "a target that is not there": (tasks("name: a, template: work", more="target: b"), "", "target 'b' is not defined"),
    "a target by value that is not there": (tasks("name: a, template: work", more="target: '{{workflow.parameters.t}}'"), "arguments: {parameters: [{name: t, value: b}]}", "target 'b' is not defined"),
    "a parameter of a task that is no ancestor": (tasks("name: a, template: make", "name: b, template: work, " + says("{{tasks.a.outputs.result}}")), "", "missing dependency 'a' for parameter 'm'"),
    "an artifact of a task that is no ancestor": (tasks("name: a, template: make", "name: b, template: take, arguments: {artifacts: [{name: d, from: '{{tasks.a.outputs.artifacts.a}}'}]}"), "", "missing dependency 'a' for artifact 'd'"),
    # Inputs and outputs
    "an input artifact from somewhere": ("inputs: {artifacts: [{name: d, path: /d, from: '{{workflow.name}}'}]}\ncontainer: {image: i}", "", "from not valid in inputs"),
    "an input artifact without a path": ("inputs: {artifacts: [{name: d, raw: {data: x}}]}\ncontainer: {image: i}", "", "did not specify a path"),
    "a path where no pod is": (one("template: work") + "\ninputs: {artifacts: [{name: d, path: /d, raw: {data: x}}]}", "", "path only valid in container/script templates"),
    "an output path where no pod is": (one("template: work") + "\noutputs: {artifacts: [{name: d, path: /d}]}", "", "path only valid in container/script templates"),
    "an output without a source": ("container: {image: i}\noutputs: {parameters: [{name: o}]}", "", "does not have valueFrom or value specified"),
    "an output with a default only": ("container: {image: i}\noutputs: {parameters: [{name: o, valueFrom: {default: x}}]}", "", "valueFrom type unspecified"),
    "an output with two sources": ("container: {image: i}\noutputs: {parameters: [{name: o, valueFrom: {path: /a, jqFilter: .a}}]}", "", "multiple valueFrom types specified"),
    "a value and a source": ("container: {image: i}\noutputs: {parameters: [{name: o, value: x, valueFrom: {path: /a}}]}", "", "has both valueFrom and value specified"),
    "a resource's output from a file": ("resource: {action: get}\noutputs: {parameters: [{name: o, valueFrom: {path: /a}}]}", "", ".jqFilter or jsonPath must be specified for Resource templates"),
    "a script's output by expression": ("script: {image: i, source: x}\noutputs: {parameters: [{name: o, valueFrom: {expression: x}}]}", "", "path must be specified for Script templates"),
    "an output of a step that is not there": (one("template: work") + "\noutputs: {parameters: [{name: o, valueFrom: {parameter: '{{steps.t.outputs.result}}'}}]}", "", UNRESOLVED),
    "an output name that is none": ("container: {image: i}\noutputs: {parameters: [{name: 'o}', valueFrom: {path: /o}}]}", "", "is invalid: Parameter/Artifact name"),
    "a global name that is none": ("container: {image: i}\noutputs: {parameters: [{name: o, globalName: a.b, valueFrom: {path: /o}}]}", "", "globalName: Parameter/Artifact name"),
    "an artifact where a volume is": ("inputs: {artifacts: [{name: d, path: /v, raw: {data: x}}]}\ncontainer: {image: i, volumeMounts: [{name: v, mountPath: /v}]}", "", "already mounted in container.volumeMounts.v"),
    # Kinds
    "no kind": ("inputs: {}", "", "template type unspecified"),
    "two kinds": ("container: {image: i}\nscript: {image: i, source: x}", "", "multiple template types specified"),
    "no containers": ("containerSet: {containers: []}", "", "containerSet.containers must have at least one container"),
    "a container by two names": ("containerSet: {containers: [{name: a, image: i}, {name: a, image: i}]}", "", "containers[1].name 'a' is not unique"),
    "a container after one that is not there": ("containerSet: {containers: [{name: a, image: i, dependencies: [b]}]}", "", "containers.a dependency 'b' not defined"),
    "containers in a circle": ("containerSet: {containers: [{name: a, image: i, dependencies: [b]}, {name: b, image: i, dependencies: [a]}]}", "", "dependency cycle detected: a->b->a"),
    "two mounts at one place": ("containerSet: {containers: [{name: a, image: i}], volumeMounts: [{name: v, mountPath: /v}, {name: u, mountPath: /v}]}", "", "already mounted in volumeMounts.v"),
    "inputs without main": ("inputs: {artifacts: [{name: d, path: /d, raw: {data: x}}]}\ncontainerSet: {containers: [{name: a, image: i}]}", "", 'must have a container named "main" for input or output'),
    "outputs without main": ("containerSet: {containers: [{name: a, image: i}]}\noutputs: {parameters: [{name: o, valueFrom: {path: /o}}]}", "", 'must have a container named "main" for input or output'),
    "result of a set without main": (two("inline: {containerSet: {containers: [{name: a, image: i}]}}", "template: work, " + says("{{steps.a.outputs.result}}")), "", UNRESOLVED),
    "an action that is none": ("resource: {action: make, manifest: 'a: 1'}", "", "resource.action must be one of: get, create, apply, delete, replace, patch"),
    "an action by a value that is none": ("resource: {action: '{{workflow.parameters.z}}', manifest: 'a: 1'}", "arguments: {parameters: [{name: z, value: make}]}", "resource.action must be one of"),
    "nothing to make": ("resource: {action: create}", "", "either templates.main.resource.manifest or templates.main.resource.manifestFrom must be specified"),
    "a manifest twice": ("inputs: {artifacts: [{name: f, path: /f, raw: {data: x}}]}\nresource: {action: create, manifest: 'a: 1', manifestFrom: {artifact: {name: f}}}", "", "shouldn't have both `manifest` and `manifestFrom`"),
    "a manifest from an artifact that is not there": ("resource: {action: create, manifestFrom: {artifact: {name: f}}}", "", "artifact f in `manifestFrom` refer to a non-exist artifact"),
    "a manifest that is no YAML": ("resource: {action: create, manifest: \"line\\na: 1\"}", "", "resource.manifest must be a valid yaml"),
    "a way to merge that is none": ("resource: {action: patch, mergeStrategy: best, manifest: 'a: 1'}", "", "mergeStrategy 'best' is unknown"),
    "two plugins": ("plugin: {a: {}, b: {}}", "", "expected exactly one key, got 2"),
    "a retry policy that is none": ("container: {image: i}\nretryStrategy: {retryPolicy: Sometimes}", "", "Sometimes is not a valid RetryPolicy"),
    "a lock without a name": ("container: {image: i}\nsynchronization: {mutexes: [{}]}", "", "mutexes[0].name is required"),
    "a semaphore without a limit": ("container: {image: i}\nsynchronization: {semaphores: [{}]}", "", "has neither configMapKeyRef nor database"),
    "a semaphore with two limits": ("container: {image: i}\nsynchronization: {semaphores: [{configMapKeyRef: {name: c, key: k}, database: {key: k}}]}", "", "has both configMapKeyRef and database"),
    "a cache that ages by no duration": ("container: {image: i}\nmemoize: {key: k, maxAge: soon, cache: {configMap: {name: c}}}", "", "memoize.maxAge: invalid duration"),
    "a patch that is no YAML": ("container: {image: i}\npodSpecPatch: 'containers: ['", "", "podSpecPatch must be a valid yaml"),
    "a patch that names nothing": ("container: {image: i}\npodSpecPatch: hello", "", "podSpecPatch must be an object"),
    "the workflow's patch that names nothing": ("container: {image: i}", "podSpecPatch: '[1]'", "spec.podSpecPatch must be an object"),
    "a probe that asks nothing": ("daemon: true\ncontainer: {image: i, readinessProbe: {periodSeconds: 1}}", "", "readinessProbe has no way to ask"),
    "a probe that asks twice": ("daemon: true\ncontainer: {image: i, readinessProbe: {httpGet: {port: 1}, tcpSocket: {port: 1}}}", "", "readinessProbe has several ways to ask"),
    "data from nowhere": ("data: {source: {}, transformation: []}", "", "data.source.artifactPaths is required"),
    # The workflow
    "a selector of pods that is none": (one("template: work"), "podGC: {labelSelector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}}", '"Like" is not a valid label selector operator'),
    "a selector without values": (one("template: work"), "podGC: {labelSelector: {matchExpressions: [{key: a, operator: In}]}}", "In needs values"),
    "an artifact of the workflow without a location": (one("template: work"), "arguments: {artifacts: [{name: a}]}", "from, artifact location, or key is required"),
}  # fmt: skip
EXTRA = """
- {name: deep, inputs: {parameters: [{name: m}]}, container: {image: i, args: ["{{workflow.parameters.{{inputs.parameters.m}}}}"]}}
- {name: timed, inputs: {parameters: [{name: z}]}, timeout: "{{inputs.parameters.z}}", container: {image: i}}
"""


@pytest.mark.parametrize("rule", REFUSED)
def test_what_argo_refuses_is_refused(rule: str):
    main, more, message = REFUSED[rule]
    extra = textwrap.indent(EXTRA, "  ") if "deep" in main or "timed" in main else ""
    found = problems(manifest(main, more) + extra)
    assert [problem for problem in found if message in problem.message], [str(problem) for problem in found]
    assert all(problem.place is not None and problem.place.line and problem.remedy for problem in found)
