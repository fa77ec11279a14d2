"""Corners of the language where features meet: hooks by reference, expressions in deadlines and sequences, memoized repeats."""

from typing import Any

import msgspec
import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap
from jitflow.model.runs import LaunchPod, SaveMemo
from jitflow.spec import load_one, validate

pytestmark = pytest.mark.pure

LIBRARY = """
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: lib, namespace: default}
spec:
  templates:
  - name: note
    inputs: {parameters: [{name: msg, default: none}]}
    container: {image: i, command: [note, "{{inputs.parameters.msg}}"]}
"""


class Kept:
    """A WorkflowTemplate and the ConfigMaps of caches."""

    def __init__(self) -> None:
        self.caches: dict[str, ConfigMap] = {}

    def find(self, kind: type, namespace: str, name: str) -> Any:
        del namespace
        if kind is argo.WorkflowTemplate and name == "lib":
            return load_one(LIBRARY).manifest
        return self.caches.get(name) if kind is ConfigMap else None

    def save(self, effect: SaveMemo) -> None:
        metadata = argo.ObjectMeta(name=effect.cache, labels={TYPE_LABEL: CACHE_TYPE})
        found = self.caches.get(effect.cache, ConfigMap(metadata=metadata))
        self.caches[effect.cache] = msgspec.structs.replace(found, data={**found.data, effect.memo_key: effect.entry})


class Played(Run):
    """A run that keeps what it is to remember, and the pods it launched."""

    def send(self, event: Any) -> machine.Decision:
        decision = super().send(event)
        for effect in decision.effects:
            if isinstance(effect, SaveMemo):
                self.objects.save(effect)  # pyright: ignore[reportAttributeAccessIssue]
            elif isinstance(effect, LaunchPod):
                self.__dict__.setdefault("pods", {})[effect.node_id] = effect
        return decision

    def pod(self, name: str) -> LaunchPod:
        return self.__dict__["pods"][self.node(name).id]


def played(text: str, outcome: Any = None, *, objects: Kept | None = None, later: float = 0.0) -> Played:
    manifest, objects = workflow(text), objects or Kept()
    validate(manifest, objects=objects)
    run = Played(manifest, objects=objects)
    run.now += later
    run.play(outcome)
    return run


def inputs(run: Run, name: str) -> list[str]:
    node = run.node(name)
    return [str(parameter.value) for parameter in (node.inputs or argo.Inputs()).parameters]


def test_hooks_may_name_templates_of_other_objects() -> None:
    run = played("""
    entrypoint: main
    hooks:
      exit: {templateRef: {name: lib, template: note}, arguments: {parameters: [{name: msg, value: "{{workflow.status}}"}]}}
      running: {expression: workflow.status == "Running", templateRef: {name: lib, template: note}}
    templates:
    - name: main
      steps:
      - - name: a
          template: leaf
          hooks:
            exit:
              templateRef: {name: lib, template: note}
              arguments: {parameters: [{name: msg, value: "{{steps.a.status}} {{steps.a.exitCode}}"}]}
            running: {expression: steps.a.status == "Running", templateRef: {name: lib, template: note}}
    - {name: leaf, container: {image: i, command: [c]}}
    """)
    assert run.state.run.phase == "Succeeded"
    assert inputs(run, "wf.onExit") == ["Succeeded"]
    assert inputs(run, "wf.hooks.running") == ["none"]
    assert inputs(run, "wf[0].a.onExit") == ["Succeeded 0"]
    assert inputs(run, "wf[0].a.hooks.running") == ["none"]
    shown = machine.status(run.state, run.now)
    assert list(shown.stored_templates) == ["namespaced/lib/note"]


@pytest.mark.parametrize(("code", "runs"), [(0, False), (1, True)])
def test_the_exit_hook_of_a_task_may_have_a_condition(code: int, runs: bool) -> None:
    run = played(
        """
    entrypoint: main
    templates:
    - name: main
      dag:
        tasks: [{name: a, template: leaf, hooks: {exit: {template: note, expression: tasks.a.status == "Failed"}}}]
    - {name: leaf, container: {image: i, command: [c]}}
    - {name: note, container: {image: i, command: [n]}}
    """,
        lambda node, launch: {"exit_code": 0 if "onExit" in node.name else code},
    )
    assert ("wf.a.onExit" in run.names()) is runs


def test_a_deadline_may_be_worked_out() -> None:
    run = played("""
    entrypoint: main
    arguments: {parameters: [{name: d, value: "7"}]}
    templates:
    - name: main
      steps:
      - - {name: a, template: plain, arguments: {parameters: [{name: d, value: "{{workflow.parameters.d}}"}]}}
        - {name: b, template: worked, arguments: {parameters: [{name: d, value: "{{workflow.parameters.d}}"}]}}
    - name: plain
      inputs: {parameters: [{name: d}]}
      activeDeadlineSeconds: "{{inputs.parameters.d}}"
      container: {image: i, command: [c]}
    - name: worked
      inputs: {parameters: [{name: d}]}
      activeDeadlineSeconds: "{{=asInt(inputs.parameters.d) * 2 + 1}}"
      container: {image: i, command: [c]}
    """)
    assert (run.pod("wf[0].a").deadline_s, run.pod("wf[0].b").deadline_s) == (7.0, 15.0)


def test_a_sequence_may_be_worked_out() -> None:
    run = played("""
    entrypoint: main
    templates:
    - name: main
      inputs: {parameters: [{name: num, default: "2"}]}
      steps:
      - - name: a
          template: leaf
          arguments: {parameters: [{name: x, value: "{{item}}"}]}
          withSequence: {count: "{{=asInt(inputs.parameters.num) * 2}}"}
      - - name: b
          template: leaf
          arguments: {parameters: [{name: x, value: "{{item}}"}]}
          withSequence:
            start: "{{=asInt(inputs.parameters.num) + 1}}"
            end: "{{=asInt(inputs.parameters.num) - 1}}"
            format: n%02d
    - {name: leaf, inputs: {parameters: [{name: x}]}, container: {image: i, command: [c]}}
    """)
    assert [name for name in run.names() if "(" in name] == [
        *(f"wf[0].a({n}:{n})" for n in range(4)),
        *("wf[1].b(0:n03)", "wf[1].b(1:n02)", "wf[1].b(2:n01)"),
    ]


@pytest.mark.parametrize("kind", ["steps: [[{name: a, template: leaf}]]", "dag: {tasks: [{name: a, template: leaf}]}"])
def test_steps_and_dags_are_remembered_until_they_are_too_old(kind: str) -> None:
    objects = Kept()
    output = "{{steps.a.outputs.parameters.o}}" if kind.startswith("steps") else "{{tasks.a.outputs.parameters.o}}"
    text = f"""
    entrypoint: main
    templates:
    - name: main
      {kind}
      memoize: {{key: k, maxAge: 10s, cache: {{configMap: {{name: c}}}}}}
      outputs: {{parameters: [{{name: o, valueFrom: {{parameter: "{output}"}}}}]}}
    - name: leaf
      outputs: {{parameters: [{{name: o, valueFrom: {{path: /o}}}}]}}
      container: {{image: i, command: [c]}}
    """
    first, again = played(text, objects=objects), played(text, objects=objects)
    later = played(text, objects=objects, later=100)
    assert [len(run.launched) for run in (first, again, later)] == [1, 0, 1]
    outputs = again.node("wf").outputs
    assert outputs is not None
    assert outputs.parameters[0].value == "value of o"
    status = machine.status(again.state, again.now).nodes["wf"].memoization_status
    assert status == argo.MemoizationStatus(cache_name="c", hit=True, key="k")


def test_what_was_repeated_is_remembered_by_its_retry_node() -> None:
    objects = Kept()
    text = """
    entrypoint: leaf
    templates:
    - name: leaf
      retryStrategy: {limit: 2}
      memoize: {key: r, cache: {configMap: {name: c}}}
      outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}
      container: {image: i, command: [c]}
    """
    first = played(text, lambda node, launch: {"exit_code": 0 if node.name == "wf(1)" else 1}, objects=objects)
    again = played(text, objects=objects)
    assert [len(run.launched) for run in (first, again)] == [2, 0]
    assert (again.node("wf").type, again.names()) == ("Retry", ["wf"])


@pytest.mark.parametrize("name", ["@", "@x", "@cluster:", "@cluster:a", "@namespaced:a:b", "@cluster:a:b:c"])
def test_names_that_look_like_keys_of_templates_are_only_names(name: str) -> None:
    """A hook's template, or one whose name is worked out, may be called anything: it is not found then, and nothing else."""
    echo = "{name: echo, container: {image: i, command: [x]}}"
    hook = f'{{name: a, template: echo, hooks: {{exit: {{template: "{name}"}}}}}}'
    hooked = Run(workflow(f"entrypoint: main\ntemplates: [{{name: main, steps: [[{hook}]]}}, {echo}]"))
    hooked.begin()
    hooked.end("wf[0].a")
    assert hooked.state.run.finished_at is not None
    item = f"{{name: a, template: '{{{{item}}}}', withItems: ['{name}']}}"
    named = Run(workflow(f"entrypoint: main\ntemplates: [{{name: main, steps: [[{item}]]}}]"))
    named.begin()
    assert named.state.run.phase in {"Error", "Failed"}


def test_what_json_cannot_say_is_an_error_of_the_expression() -> None:
    """A function, or a map that holds some: a tag that gives one stays as it is, a parameter that gives one is an error."""
    echo = "{name: echo, inputs: {parameters: [{name: x}]}, container: {image: i, command: [x]}}"

    def steps(value: str) -> Run:
        step = f"{{name: a, template: echo, arguments: {{parameters: [{{name: x, {value}}}]}}}}"
        run = Run(workflow(f"entrypoint: main\ntemplates: [{{name: main, steps: [[{step}]]}}, {echo}]"), checked=False)
        run.begin()
        return run

    assert steps('value: "{{=sprig}}"').state.run.phase == "Running"
    for source in ("sprig", "[sprig.trim]", "{'a': asInt}"):
        failed = steps(f'valueFrom: {{expression: "{source}"}}')
        assert failed.state.run.phase in {"Error", "Failed"}
