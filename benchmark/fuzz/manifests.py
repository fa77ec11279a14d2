"""Odd manifests: valid ones with parts changed, moved, left out, or put in as the schema has them."""

import copy
import functools
import json
import re
from importlib import resources
from typing import Any

import yaml

from benchmark.fuzz.choices import Choices
from benchmark.fuzz.texts import expression, snippet

Tree = Any
Path = tuple[Any, ...]

MAX_CHANGES = 8
MAX_DEPTH = 6

_BASE = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: a-, labels: {a: b}}
spec:
  entrypoint: main
  onExit: work
  arguments: {parameters: [{name: p, value: "1"}], artifacts: [{name: f, raw: {data: x}}]}
  volumes: [{name: v, emptyDir: {sizeLimit: 1Gi}}]
  templates:
  - name: work
    inputs:
      parameters: [{name: m, default: x}]
      artifacts: [{name: d, path: /d, optional: true, s3: {key: a/b}}]
    container: {image: i, command: [sh, -c], args: ["{{inputs.parameters.m}}"], volumeMounts: [{name: v, mountPath: /v}]}
    outputs:
      parameters: [{name: o, valueFrom: {path: /o, default: z}}]
      artifacts: [{name: o, path: /o, archive: {none: {}}}]
    retryStrategy: {limit: 2, backoff: {duration: 1s, factor: 2}}
  - name: main
    dag:
      target: b
      tasks:
      - {name: a, template: work, withItems: [1, {k: 2}]}
      - {name: b, template: loop, depends: a.AnySucceeded || a, when: "{{tasks.a.status}} == Succeeded"}
  - name: loop
    parallelism: 2
    steps:
    - [{name: s, template: work, withSequence: {count: 3}}]
    - [{name: t, template: work, arguments: {parameters: [{name: m, value: "{{steps.s.outputs.parameters.o}}"}]}}]
    - - name: u
        template: work
        withParam: '[1, 2]'
        continueOn: {failed: true}
        arguments: {parameters: [{name: m, value: "{{item}}"}]}
  - name: wait
    suspend: {duration: 10s}
---
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: b}
spec:
  entrypoint: main
  arguments: {parameters: [{name: p, value: "1", enum: ["1", x]}, {name: t, value: set}]}
  hooks: {exit: {template: set}, running: {template: ask, expression: workflow.status == "Running"}}
  synchronization: {mutexes: [{name: "{{workflow.parameters.p}}"}]}
  podGC: {strategy: OnPodSuccess, labelSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}}
  templates:
  - name: main
    steps:
    - - {name: s, template: "{{workflow.parameters.t}}", hooks: {h: {template: set, expression: steps.s.status == "Running"}}}
      - name: n
        inline: {inputs: {parameters: [{name: z}]}, container: {image: i, args: ["{{inputs.parameters.z}}"]}}
        arguments: {parameters: [{name: z, value: "{{=asInt(workflow.parameters.p) + 1}}"}]}
    - [{name: r, templateRef: {name: lib, template: a, clusterScope: true}, onExit: set}]
    outputs: {parameters: [{name: o, valueFrom: {expression: "steps.n.outputs.result ?? 'x'"}}]}
  - name: set
    containerSet:
      volumeMounts: [{name: v, mountPath: /v}]
      containers: [{name: main, image: i}, {name: b, image: i, dependencies: [main]}]
    outputs: {parameters: [{name: o, globalName: "g", valueFrom: {path: /o}}]}
    synchronization: {semaphores: [{configMapKeyRef: {name: c, key: k}}]}
    memoize: {key: "{{inputs.parameters.k}}", maxAge: 1h, cache: {configMap: {name: c}}}
    inputs: {parameters: [{name: k, default: k}]}
    metrics: {prometheus: [{name: m, help: h, when: "{{status}} == Failed", gauge: {value: "{{duration}}", realtime: true}}]}
  - name: ask
    http: {url: "http://x/{{workflow.parameters.p}}", successCondition: response.statusCode == 200}
  - name: list
    data: {source: {artifactPaths: {name: a, s3: {key: k}}}, transformation: [{expression: "filter(data, {# endsWith '.csv'})"}]}
  - name: make
    resource: {action: create, manifest: "a: {{=1 + 1}}", successCondition: status.phase == Succeeded}
    outputs: {parameters: [{name: j, valueFrom: {jsonPath: "{.metadata.name}"}}, {name: q, valueFrom: {jqFilter: .a}}]}
  - name: serve
    daemon: true
    container: {image: i, readinessProbe: {httpGet: {port: 80}}}
    initContainers: [{name: one, image: i}]
  - {name: ext, plugin: {hello: {}}}
---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: t}
spec:
  entrypoint: work
  templates: [{name: work, script: {image: i, command: [sh], source: echo}}]
---
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: c}
spec:
  schedules: ["* * * * *"]
  timezone: Europe/Berlin
  concurrencyPolicy: Forbid
  workflowSpec:
    entrypoint: work
    templates: [{name: work, container: {image: i}}]
---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowEventBinding
metadata: {name: e}
spec:
  event: {selector: payload.a == 1}
  submit:
    workflowTemplateRef: {name: t}
    arguments: {parameters: [{name: p, valueFrom: {event: payload.b}}]}
"""


@functools.cache
def bases() -> tuple[Tree, ...]:
    """Return the manifests to begin with."""
    return tuple(yaml.safe_load_all(_BASE))


@functools.cache
def _schema() -> dict[str, dict[str, Any]]:
    text = resources.files("jitflow.spec").joinpath("argo_schema.json").read_text()
    return json.loads(text)


def manifest(choices: Choices) -> Tree:
    """Return a manifest with some of its parts changed."""
    tree = copy.deepcopy(bases()[choices.below(len(bases()))])
    for _ in range(1 + choices.below(MAX_CHANGES)):
        _change(choices, tree)
    return tree


def _spots(value: Tree, path: Path = ()) -> list[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(spot for key, inner in items for spot in _spots(inner, (*path, key)))]


def _change(choices: Choices, tree: Tree) -> None:
    path = choices.one_of(_spots(tree)[1:] or [()])
    if not path:
        return
    parent = functools.reduce(lambda value, key: value[key], path[:-1], tree)
    last = path[-1]
    match choices.below(6):
        case 0:
            parent[last] = _junk(choices)
        case 1:
            del parent[last]
        case 2 if isinstance(parent, dict):
            parent[choices.one_of(_names())] = parent.pop(last)
        case 3:
            parent[last] = copy.deepcopy(functools.reduce(lambda value, key: value[key], choices.one_of(_spots(tree)), tree))
        case _ if isinstance(parent[last], dict):
            _add_field(choices, parent[last], _type_at(tree, path))
        case _:
            parent[last] = _junk(choices)


@functools.cache
def _names() -> tuple[str, ...]:
    return tuple(sorted({name for kind in _schema().values() for name in kind["fields"]}))


def _type_at(tree: Tree, path: Path) -> str:
    """Return the schema's type of a place, empty when it is not known."""
    kind = str(tree.get("kind"))
    for key in path:
        if isinstance(key, int):
            continue
        fields = _schema().get(kind, {}).get("fields", {})
        found = re.findall(r"[A-Za-z0-9]+", str(fields.get(key, "")))
        kind = next((name for name in found if name in _schema()), "WorkflowStep" if "ParallelSteps" in found else "")
    return kind


def _add_field(choices: Choices, target: dict[str, Any], kind: str) -> None:
    fields = _schema().get(kind, {}).get("fields", {})
    if fields:
        name = choices.one_of(sorted(fields))
        target[name] = _value(choices, fields[name], MAX_DEPTH)


def _value(choices: Choices, kind: str, depth: int) -> Tree:
    """Return a value of a type of the schema."""
    if depth <= 0 or choices.is_over:
        return _junk(choices)
    if inner := re.fullmatch(r"tuple\[(.+), \.\.\.\]", kind):
        return [_value(choices, inner[1], depth - 1) for _ in range(choices.below(3))]
    if inner := re.fullmatch(r"dict\[str, (.+)\]", kind):
        return {choices.text(6): _value(choices, inner[1], depth - 1) for _ in range(choices.below(3))}
    if kind in _schema():
        described = _schema()[kind]
        chosen = [name for name in sorted(described["fields"]) if name in described["required"] or choices.below(4) == 1]
        return {name: _value(choices, described["fields"][name], depth - 1) for name in chosen}
    match kind.partition(" ")[0]:
        case "bool":
            return bool(choices.below(2))
        case "int" | "float":
            return choices.one_of((0, 1, 3, -1, 2**31, 2**63, 1.5))
        case _:
            return choices.one_of((_TEXTS[choices.below(len(_TEXTS))], snippet(choices), "{{=" + expression(choices) + "}}"))


_TEXTS = (
    "work", "main", "loop", "a", "b", "s", "t", "wait", "v", "m", "o", "d", "1", "10s", "2m", "/tmp/x", "../x", "far:x/y",
    "a.Succeeded && !b", "* * * * *", "@daily", "Always", "OnFailure", "Europe/Berlin", "Stop", "[]", "[1]", "{}", "1Gi",
)  # fmt: skip


def _junk(choices: Choices) -> Tree:
    match choices.below(10):
        case 0:
            return None
        case 1:
            return bool(choices.below(2))
        case 2:
            return choices.one_of((0, 1, -1, 2**31, 2**64, 1e300, float("inf")))
        case 3:
            return []
        case 4:
            return {}
        case 5:
            return [choices.text()]
        case 6:
            return {choices.one_of(_names()): choices.text()}
        case 7:
            return snippet(choices)
        case 8:
            return choices.one_of(_TEXTS)
        case _:
            return choices.text()
