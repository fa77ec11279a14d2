# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Templates of other objects, hooks, expressions, locks, memoized outputs, claims: what a workflow meets beside its own steps."""

import json
from typing import Any

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.machine import memo
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap
from jitflow.model.runs import (
    DropClaims,
    LocksAwaited,
    LocksRefused,
    LocksTaken,
    MakeClaims,
    PodStarted,
    RetryRequested,
    SaveMemo,
    ShutdownRequested,
    TakeLocks,
)
from jitflow.spec import load_one

pytestmark = pytest.mark.pure

ECHO = "{name: echo, inputs: {parameters: [{name: m, default: d}]}, container: {image: i, args: ['{{inputs.parameters.m}}']}}"


class Objects:
    """Objects by kind and name, for `decide`."""

    def __init__(self, *texts: str) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        for text in texts:
            document = load_one(text)
            metadata = document.manifest.metadata
            assert metadata is not None
            self.known[document.kind, metadata.name or ""] = document.manifest

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        del namespace
        return self.known.get((kind.__name__, name))


LIBRARY = Objects(
    f"""
kind: WorkflowTemplate
metadata: {{name: lib}}
spec:
  entrypoint: outer
  arguments: {{parameters: [{{name: p, value: of-lib}}, {{name: q, value: other}}]}}
  templates:
  - name: outer
    steps: [[{{name: x, template: echo, arguments: {{parameters: [{{name: m, value: "{{{{workflow.parameters.p}}}}"}}]}}}}]]
  - {ECHO}
""",
    f"kind: ClusterWorkflowTemplate\nmetadata: {{name: wide}}\nspec: {{templates: [{ECHO}]}}",
)


def driven(text: str, objects: Any = LIBRARY) -> Run:
    run = Run(workflow(text), objects=objects)
    run.begin()
    return run


def nodes(run: Run) -> dict[str, argo.NodeStatus]:
    status = machine.status(run.state, run.now)
    return {node.name: node for node in status.nodes.values()}


def given(run: Run, name: str) -> str:
    return run.launch(name).template.container.args[0]  # type: ignore[union-attr]


def test_a_template_of_another_object_resolves_names_in_that_object():
    """SEMANTICS Templates by reference: templateRef templates are frozen in status.storedTemplates, resolve in *their* scope."""
    run = driven("""
entrypoint: main
arguments: {parameters: [{name: p, value: mine}]}
templates:
- name: main
  dag:
    tasks:
    - {name: a, templateRef: {name: lib, template: outer}}
    - {name: b, templateRef: {name: wide, template: echo, clusterScope: true}}
""")
    assert given(run, "wf.a[0].x") == "mine"
    shown = nodes(run)
    assert (shown["wf.a"].template_scope, shown["wf.a"].template_name) == ("local/wf", None)
    assert shown["wf.a"].template_ref == argo.TemplateRef(name="lib", template="outer")
    assert (shown["wf.a[0].x"].template_scope, shown["wf.a[0].x"].template_name) == ("namespaced/lib", "echo")
    stored = machine.status(run.state, run.now).stored_templates
    assert set(stored) == {"namespaced/lib/outer", "namespaced/lib/echo", "cluster/wide/echo"}
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_a_template_that_is_not_there_is_an_error_of_its_node():
    for reference, message in (
        ("{name: none, template: x}", '"none" not found'),
        ("{name: lib, template: x}", "lib.x not found"),
    ):
        run = driven(f"entrypoint: m\ntemplates: [{{name: m, steps: [[{{name: a, templateRef: {reference}}}]]}}]")
        assert run.node("wf[0].a").phase == "Error"
        assert message in run.node("wf[0].a").message


def test_the_name_of_a_template_may_hold_tags():
    run = driven(f"""
entrypoint: m
arguments: {{parameters: [{{name: which, value: echo}}]}}
templates:
- {{name: m, steps: [[{{name: a, template: "{{{{workflow.parameters.which}}}}"}}]]}}
- {ECHO}
""")
    assert nodes(run)["wf[0].a"].template_name == "echo"


def test_a_workflow_of_a_template_merges_arguments_by_name():
    """SEMANTICS Templates by reference: effective spec = strategic merge workflow ⊕ template; arguments merge by name."""
    run = driven("workflowTemplateRef: {name: lib}\narguments: {parameters: [{name: p, value: own}]}")
    assert given(run, "wf[0].x") == "own"
    stored = machine.status(run.state, run.now).stored_workflow_template_spec
    assert stored is not None
    assert stored.arguments is not None
    assert {p.name: p.value for p in stored.arguments.parameters} == {"p": "own", "q": "other"}


def test_a_workflow_whose_template_is_gone_ends_in_error():
    run = driven("workflowTemplateRef: {name: gone}")
    assert run.state.run.phase == "Error"
    assert '"gone" not found' in run.state.run.message


def test_a_template_may_name_its_nodes_for_people():
    note = "annotations: {workflows.argoproj.io/display-name: '%s'}"
    text = f"""
entrypoint: m
templates:
- {{name: m, steps: [[{{name: a, template: t, withItems: [one, two words], arguments: {{parameters: [{{name: p, value: "{{{{item}}}}"}}]}}}}]]}}
- {{name: t, {note % "on-{{inputs.parameters.p}}"}, inputs: {{parameters: [{{name: p}}]}}, retryStrategy: {{limit: 1}}, container: {{image: i}}}}
"""
    shown = nodes(driven(text))
    assert shown["wf[0].a(0:one)"].display_name == "on-one"
    assert shown["wf[0].a(1:two words)"].display_name == "a(1:two words)", "no name has a blank"
    assert shown["wf[0].a(0:one)(0)"].display_name == "a(0:one)(0)"


def test_inline_templates_run_without_a_name():
    run = driven("entrypoint: m\ntemplates: [{name: m, steps: [[{name: a, inline: {container: {image: i}}}]]}]")
    assert nodes(run)["wf[0].a"].template_name is None
    assert run.launch("wf[0].a").pod_name.startswith("wf-")


# -- expressions ------------------------------------------------------------------------------------------------------


def test_expression_tags_and_output_expressions():
    """SEMANTICS Templating: `{{=…}}` … result is JSON-marshalled, outer quotes trimmed if string."""
    run = driven(f"""
entrypoint: m
arguments: {{parameters: [{{name: four, value: "4"}}]}}
templates:
- name: m
  outputs: {{parameters: [{{name: o, valueFrom: {{expression: "steps['a-b'].outputs.result + '!'"}}}}]}}
  steps:
  - [{{name: a-b, template: echo, arguments: {{parameters: [{{name: m, value: "{{{{=asInt(workflow.parameters.four) * 10}}}} {{{{=toJson([1, 'x'])}}}}"}}]}}}}]
  - - {{name: c, template: echo, when: "{{{{=steps['a-b'].outputs.result == 'done'}}}}"}}
    - {{name: d, template: echo, when: "{{{{=steps['a-b'].outputs.result != 'done'}}}}"}}
    - {{name: e, template: echo, withParam: "{{{{=toJson(filter([1, 3], {{# > 1}}))}}}}", arguments: {{parameters: [{{name: m, value: "{{{{=item}}}}-{{{{=workflow.gone}}}}"}}]}}}}
- {ECHO}
""")
    assert given(run, "wf[0].a-b") == '40 [1,"x"]'
    run.end("wf[0].a-b", result="done")
    assert run.phase("wf[1].d") == "Skipped"
    assert given(run, "wf[1].e(0:3)") == "3-{{=workflow.gone}}"
    run.play()
    outputs = run.node("wf").outputs
    assert outputs is not None
    assert outputs.parameters[0].value == "done!"


def test_values_come_from_config_maps():
    """SEMANTICS Templating: Argument order … own default → argument value → ConfigMap (its default when not found) → error."""
    config = ConfigMap(metadata=argo.ObjectMeta(name="c"), data={"k": "from-config"})
    objects = Objects()
    objects.known["ConfigMap", "c"] = config
    text = f"""
entrypoint: m
arguments: {{parameters: [{{name: g, valueFrom: {{configMapKeyRef: {{name: c, key: k}}}}}}]}}
templates:
- name: m
  inputs: {{parameters: [{{name: i, valueFrom: {{configMapKeyRef: {{name: "{{{{workflow.parameters.cm}}}}", key: k}}, default: d}}}}]}}
  steps: [[{{name: a, template: echo, arguments: {{parameters: [{{name: m, value: "{{{{workflow.parameters.g}}}} {{{{inputs.parameters.i}}}}"}}]}}}}]]
- {ECHO}
"""
    assert given(driven(text.replace("{{workflow.parameters.cm}}", "c"), objects), "wf[0].a") == "from-config from-config"
    assert given(driven(text.replace("{{workflow.parameters.cm}}", "none"), objects), "wf[0].a") == "from-config d"
    gone = driven(text.replace("name: c, key: k", "name: none, key: k"), objects)
    assert gone.state.run.phase == "Error"


# -- hooks ------------------------------------------------------------------------------------------------------------

HOOKED = f"""
entrypoint: main
hooks: {{started: {{expression: workflow.status == "Running", template: echo}}, exit: {{template: echo}}}}
templates:
- name: main
  dag:
    tasks:
    - name: a
      template: echo
      hooks:
        exit: {{template: echo, arguments: {{parameters: [{{name: m, value: "{{{{tasks.a.status}}}} {{{{tasks.a.outputs.result}}}}"}}]}}}}
        run: {{expression: tasks.a.status == "Running", template: echo}}
        bad: {{expression: tasks.a.status == "Failed", template: echo}}
    - {{name: b, template: echo, depends: a, onExit: echo}}
- {ECHO}
"""


def test_a_task_is_complete_when_its_hooks_are():
    """SEMANTICS Exit handlers and hooks: Step/task completes (for its dependants) only when its hooks complete."""
    run = driven(HOOKED)
    assert "wf.hooks.started" in run.names()
    run.send(PodStarted(node_id=run.node("wf.a").id))
    run.end("wf.a", result="r")
    assert "wf.b" not in run.names()
    assert "wf.a.hooks.run" in run.names()
    assert "wf.a.onExit" not in run.names(), "it begins after the other hooks"
    assert "wf.a.hooks.bad" not in run.names()
    run.end("wf.a.hooks.run")
    assert given(run, "wf.a.onExit") == "Succeeded r"
    assert "wf.b" not in run.names()
    run.end("wf.a.onExit")
    assert "wf.b" in run.names()
    run.play()
    assert run.state.run.phase == "Succeeded"
    assert {"wf.b.onExit", "wf.onExit"} <= set(run.names())
    flag = nodes(run)["wf.a.onExit"].node_flag
    assert flag is not None
    assert flag.hooked


def test_how_a_steps_hook_ends_does_not_fail_the_step():
    run = driven(HOOKED)
    run.play(lambda node, launch: {"exit_code": 1 if node.name == "wf.a.onExit" else 0})
    assert (run.phase("wf.a.onExit"), run.state.run.phase) == ("Failed", "Succeeded")


def test_hooks_run_after_stop_but_not_after_terminate():
    """SEMANTICS Exit handlers and hooks: runs after Stop, not after Terminate."""
    for strategy, expected in (("Stop", True), ("Terminate", False)):
        run = driven(HOOKED)
        run.send(ShutdownRequested(strategy=strategy))
        run.play(lambda node, launch: {"exit_code": 143})
        assert ("wf.a.onExit" in run.names()) is expected
        assert ("wf.onExit" in run.names()) is expected
        assert run.state.run.phase == "Failed"


def test_hooks_run_again_with_their_task_when_the_workflow_is_retried():
    run = driven(HOOKED)
    run.play(lambda node, launch: {"exit_code": int(node.name == "wf.b")})
    assert run.state.run.phase == "Failed"
    run.send(RetryRequested())
    assert "wf.b.onExit" not in run.names()
    run.play()
    assert run.state.run.phase == "Succeeded"
    assert "wf.b.onExit" in run.names()


def test_retries_stop_when_their_expression_says_so():
    """SEMANTICS Retry: Expression scope: lastRetry.{exitCode, status, duration, message}, lastRetry.exitCode is a string."""
    run = driven("""
entrypoint: r
templates:
- name: r
  retryStrategy: {limit: 5, expression: "asInt(lastRetry.exitCode) > 1 && asInt(retries) < 4"}
  container: {image: i, args: ["{{retries}} {{lastRetry.exitCode}} {{lastRetry.status}}"]}
""")
    assert given(run, "wf(0)") == "0 0 "
    run.end("wf(0)", exit_code=2)
    assert given(run, "wf(1)") == "1 2 Failed"
    run.end("wf(1)", exit_code=1)
    assert run.state.run.message == "retryStrategy.expression evaluated to false"


# -- locks ------------------------------------------------------------------------------------------------------------

LOCKED = f"""
entrypoint: main
templates:
- name: main
  steps: [[{{name: a, template: work}}]]
- {{name: work, synchronization: {{mutexes: [{{name: "m-{{{{workflow.name}}}}"}}], semaphores: [{{configMapKeyRef: {{name: c, key: k}}}}]}}, container: {{image: i}}}}
- {ECHO}
"""


def asked(run: Run) -> TakeLocks:
    found = run.effects["locks/" + run.node("wf[0].a").id]
    assert isinstance(found, TakeLocks)
    return found


def test_a_node_waits_for_all_its_locks():
    """SEMANTICS synchronization: waiting node Pending with message `Waiting for …`; releases at fulfilment."""
    run = driven(LOCKED)
    assert [lock.name for lock in asked(run).locks] == ["default/Mutex/m-wf", "default/ConfigMap/c/k"]
    node_id = run.node("wf[0].a").id
    run.send(LocksAwaited(node_id=node_id, message="Waiting for default/Mutex/m-wf lock. Lock status: 0/1"))
    shown = nodes(run)["wf[0].a"]
    assert (shown.phase, shown.message) == ("Pending", "Waiting for default/Mutex/m-wf lock. Lock status: 0/1")
    assert shown.synchronization_status == argo.NodeSynchronizationStatus(waiting="default/Mutex/m-wf")
    run.send(LocksTaken(node_id=node_id))
    status = machine.status(run.state, run.now).synchronization
    assert status is not None
    assert status.mutex is not None
    assert status.mutex.holding == (argo.MutexHolding(holder=f"default/wf/{node_id}", mutex="default/Mutex/m-wf"),)
    run.end("wf[0].a")
    assert f"locks/{node_id}" not in run.open_effects()
    assert run.state.run.phase == "Succeeded"


def test_a_lock_that_cannot_be_is_an_error():
    run = driven(LOCKED)
    run.send(LocksRefused(node_id=run.node("wf[0].a").id, message="no limit"))
    assert (run.phase("wf[0].a"), run.state.run.phase) == ("Error", "Failed")
    assert not run.open_effects() & {"locks/" + run.node("wf[0].a").id}


def test_the_workflows_own_locks_hold_it_in_pending():
    """SEMANTICS synchronization: workflow level: phase Pending."""
    text = "entrypoint: echo\nsynchronization: {mutexes: [{name: w, database: true}]}\ntemplates: [" + ECHO + "]"
    run = driven(text)
    assert run.state.run.phase == ""
    assert machine.summary(run.state).phase == "Pending"
    run.send(LocksTaken())
    run.end("wf")
    assert run.state.run.phase == "Succeeded"
    assert "locks/" not in run.open_effects()
    ended = driven(text)
    ended.send(ShutdownRequested(strategy="Terminate"))
    assert ended.state.run.phase == "Failed"
    assert "locks/" not in ended.open_effects()


def test_stopping_gives_back_what_was_waited_for():
    run = driven(LOCKED)
    run.send(ShutdownRequested(strategy="Stop"))
    assert run.state.run.phase == "Failed"
    assert not any(key.startswith("locks/") for key in run.open_effects())


# -- memoized outputs -------------------------------------------------------------------------------------------------

REMEMBERED = """
entrypoint: work
templates:
- name: work
  memoize: {key: "k-{{inputs.parameters.p}}", maxAge: 1h, cache: {configMap: {name: cache}}}
  inputs: {parameters: [{name: p, default: "1"}]}
  container: {image: i}
  outputs: {parameters: [{name: o, valueFrom: {path: /o}}]}
"""


def test_memoized_outputs_are_saved_and_used():
    """SEMANTICS memoize: hit ⇒ Succeeded node, memoizationStatus{hit,key,cacheName}; no pod."""
    run = driven(REMEMBERED)
    decision = run.end("wf", parameters={"o": "made"})
    (saved,) = [effect for effect in decision.effects if isinstance(effect, SaveMemo)]
    assert (saved.cache, saved.memo_key) == ("cache", "k-1")
    assert nodes(run)["wf"].memoization_status == argo.MemoizationStatus(cache_name="cache", key="k-1", hit=False)
    objects = Objects()
    labels = {TYPE_LABEL: CACHE_TYPE}
    objects.known["ConfigMap", "cache"] = ConfigMap(
        metadata=argo.ObjectMeta(name="cache", labels=labels), data={"k-1": saved.entry}
    )
    again = driven(REMEMBERED, objects)
    assert again.state.run.phase == "Succeeded"
    assert again.open_effects() <= {"close"}
    outputs = again.node("wf").outputs
    assert outputs is not None
    assert outputs.parameters[0].value == "made"
    assert nodes(again)["wf"].memoization_status == argo.MemoizationStatus(cache_name="cache", key="k-1", hit=True)


def test_what_was_saved_a_moment_ago_is_found():
    """Within one decision: a step that follows at once takes the outputs of the one before it."""
    text = (
        REMEMBERED.replace("entrypoint: work", "entrypoint: main")
        + "- name: main\n  steps: [[{name: a, template: work}], [{name: b, template: work}]]\n"
    )
    run = driven(text)
    run.end("wf[0].a", parameters={"o": "made"})
    outputs = run.node("wf[1].b").outputs
    assert outputs is not None
    assert outputs.parameters[0].value == "made"
    assert run.state.run.phase == "Succeeded"


def test_entries_grow_old_and_caches_are_labelled():
    """SEMANTICS memoize: ConfigMap must carry label workflows.argoproj.io/configmap-type=Cache; maxAge Go duration."""
    entry = memo.entry_text("n", None, 1_000.0)
    objects = Objects()
    labels = {TYPE_LABEL: CACHE_TYPE}
    objects.known["ConfigMap", "cache"] = ConfigMap(metadata=argo.ObjectMeta(name="cache", labels=labels), data={"k-1": entry})
    assert driven(REMEMBERED, objects).phase("wf") == "Pending"
    objects.known["ConfigMap", "cache"] = ConfigMap(metadata=argo.ObjectMeta(name="cache"), data={"k-1": entry})
    assert "is no cache" in driven(REMEMBERED, objects).state.run.message


def test_a_key_of_a_cache_has_a_form():
    """SEMANTICS memoize: key regex `^[a-zA-Z0-9][-a-zA-Z0-9]*$`."""
    assert "cache key" in driven(REMEMBERED.replace('"1"', '"a b"')).state.run.message


# -- claims, labels ---------------------------------------------------------------------------------------------------


def test_claims_are_made_and_dropped_after_success():
    text = "entrypoint: work\nvolumeClaimTemplates: [{metadata: {name: d}, spec: {}}]\ntemplates: [{name: work, container: {image: i, volumeMounts: [{name: d, mountPath: /d}]}}]"
    run = driven(text)
    made = run.effects["claims"]
    assert isinstance(made, MakeClaims)
    assert [claim.metadata.name for claim in made.claims if claim.metadata] == ["wf-d"]
    volume = run.launch("wf").workflow_level.volumes[0]
    assert volume.persistent_volume_claim == argo.PersistentVolumeClaimVolumeSource(claim_name="wf-d")
    dropped = run.end("wf", exit_code=1)
    assert not [effect for effect in dropped.effects if isinstance(effect, DropClaims)]
    run.send(RetryRequested())
    dropped = run.end("wf")
    assert [effect.names for effect in dropped.effects if isinstance(effect, DropClaims)] == [("wf-d",)]


@pytest.mark.parametrize(
    ("strategy", "code", "kept"), [("Success", 0, False), ("Success", 1, True), ("Completion", 1, False), ("Nope", 0, True)]
)
def test_the_status_tells_of_claims_while_they_are_there(strategy: str, code: int, kept: bool):
    """SEMANTICS status: persistentVolumeClaims, until volumeClaimGC gives them up; a workflow that runs again has them again."""
    text = (
        f"entrypoint: work\nvolumeClaimGC: {{strategy: OnWorkflow{strategy}}}\n"
        "volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]\n"
        "templates: [{name: work, container: {image: i, volumeMounts: [{name: d, mountPath: /d}]}}]"
    )
    run = driven(text)
    source = argo.PersistentVolumeClaimVolumeSource(claim_name="wf-d")
    there = (argo.Volume(name="d", persistent_volume_claim=source),)
    assert machine.status(run.state, run.now).persistent_volume_claims == there
    run.end("wf", exit_code=code)
    assert machine.status(run.state, run.now).persistent_volume_claims == (there if kept else ())
    if code:
        made = run.send(RetryRequested())
        assert [effect for effect in made.effects if isinstance(effect, MakeClaims)]
        assert machine.status(run.state, run.now).persistent_volume_claims == there


def test_labels_are_worked_out_when_the_workflow_begins():
    """SEMANTICS Templates by reference: workflowMetadata.labels/labelsFrom (expression must be a string)."""
    text = (
        "entrypoint: echo\narguments: {parameters: [{name: p, value: v}]}\nworkflowMetadata: {labelsFrom: {x: {expression: %s}}}\ntemplates: ["
        + ECHO
        + "]"
    )
    run = driven(text % "workflow.parameters.p + '1'")
    assert machine.summary(run.state).labels["x"] == "v1"
    said = driven(
        text.replace(ECHO, "{name: echo, container: {image: i, args: ['{{workflow.labels.x}}']}}") % "workflow.parameters.p + '2'"
    )
    assert given(said, "wf") == "v2"
    whole = text.replace(ECHO, "{name: echo, container: {image: i, args: ['{{workflow.labels.json}}']}}")
    assert json.loads(given(driven(whole % "workflow.parameters.p + '3'"), "wf"))["x"] == "v3"
    assert "must be a string" in driven(text % "1 + 1").state.run.message
