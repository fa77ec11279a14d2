# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of running a workflow again: retry and resubmission.

1. A retry keeps name and uid. Only a workflow that Failed or is in Error can be retried; one that Succeeded only from chosen nodes, if
   that is asked for. Pods that failed and all that came after them are gone, unless something succeeded after them; what encloses
   them runs again; what succeeded stays; the exit handler is gone. Parameters may be given anew: then the loops that run again are
   expanded anew. The workflow is Running and not finished, no longer labelled as completed.
2. A resubmission is a new workflow: its name is made of the same generateName, or of the old name; it is labelled with where it comes
   from, keeps labels and annotations, and knows nothing of a stop. A memoized one is possible for what Failed or is in Error: pods that
   did not fail are Skipped there, say `original pod: <old id>` and have their outputs; all else runs again, the exit handler too.
"""

from typing import Any

import pytest
from machine_driver import Run
from msgspec.structs import replace
from semantics_kit import FAILED, begun, end_of, ending, output, phases, played, received, shown

from jitflow import machine
from jitflow.app.submit import resubmission
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.problems import Refused
from jitflow.model.runs import RetryRequested, ShutdownRequested

pytestmark = pytest.mark.pure


def failed(main: str, *bad: str, **more: Any) -> Run:
    """Return a run in which the named nodes have failed, and what was launched forgotten."""
    run = played(main, ends=dict.fromkeys(bad, FAILED), **more)
    assert end_of(run)[0] in {"Failed", "Error"}, phases(run)
    run.launched.clear()
    return run


def retried(run: Run, **request: Any) -> list[str]:
    """Retry a workflow, play it to a good end, and return the names of the pods that ran."""
    event = RetryRequested(**request)
    assert machine.refusal(run.state, event) == ""
    run.send(event)
    names = {node.id: node.name for node in run.state.nodes.values()}
    run.play()
    assert end_of(run)[0] == "Succeeded", phases(run)
    names |= {node.id: node.name for node in run.state.nodes.values()}
    return [names[launched] for launched in run.launched]


def resubmitted(run: Run) -> Run:
    """Return a workflow that is submitted anew with memoization, under the name `again`; it has not begun."""
    source = run.workflow
    assert source.metadata is not None
    metadata = argo.ObjectMeta(
        name="again", namespace=source.metadata.namespace, uid="u2", creation_timestamp="2026-01-03T00:00:00Z"
    )
    found = argo.Workflow(metadata=metadata, spec=source.spec)
    new = Run(found)
    new.state = machine.resubmitted(found, run.state, now=run.now, objects=NO_OBJECTS)
    new.seen = {node.id: node.phase for node in new.state.nodes.values()}
    return new


@pytest.mark.parametrize(
    ("phase", "event", "message"),
    [
        ("Running", RetryRequested(), "Cannot retry a workflow in phase Running"),
        ("Succeeded", RetryRequested(), "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector"),
        (
            "Succeeded",
            RetryRequested(restart_successful=True),
            "To retry a succeeded workflow, set the options restartSuccessful and nodeFieldSelector",
        ),
        ("Succeeded", RetryRequested(restart_successful=True, selector="displayName=a"), ""),
        ("Failed", RetryRequested(), ""),
        ("Error", RetryRequested(), ""),
        ("Failed", RetryRequested(parameters=("p",)), "expected parameter of the form: NAME=VALUE. Received: p"),
    ],
)
def test_again_1_which(phase: str, event: RetryRequested, message: str) -> None:
    """Again 1: what Failed or is in Error can be retried, what Succeeded only from chosen nodes."""
    run = begun("steps: [[{name: a, template: echo}]]")
    if phase != "Running":
        run.end("wf[0].a", {"Succeeded": 0, "Failed": 1, "Error": 1}[phase])
        run.state = run.state if phase != "Error" else _with_phase(run.state, "Error")
    assert machine.refusal(run.state, event) == message


def _with_phase(state: machine.State, phase: str) -> machine.State:
    return replace(state, run=replace(state.run, phase=phase))


def test_again_1_the_workflow_itself() -> None:
    """Again 1: name and uid stay, the workflow is Running and not finished, and no longer labelled as completed."""
    run = failed("steps: [[{name: a, template: echo}]]", "wf[0].a")
    before = machine.workflow_document(run.state, run.now)
    assert before.metadata is not None
    assert before.metadata.labels["workflows.argoproj.io/completed"] == "true"
    run.send(RetryRequested())
    after = machine.workflow_document(run.state, run.now)
    assert (after.metadata is not None, after.status is not None) == (True, True)
    assert (after.metadata.name, after.metadata.uid) == (before.metadata.name, before.metadata.uid)  # type: ignore[union-attr]
    assert (after.status.phase, after.status.finished_at, after.status.message) == ("Running", None, None)  # type: ignore[union-attr]
    assert after.metadata.labels["workflows.argoproj.io/completed"] == "false"  # type: ignore[union-attr]
    assert after.metadata.labels["workflows.argoproj.io/phase"] == "Running"  # type: ignore[union-attr]


STEPS = "steps: [[{name: a, template: echo}, {name: b, template: echo}], [{name: c, template: echo}]]"
DAG = "dag: {tasks: [{name: a, template: echo}, {name: b, template: echo, depends: a}, {name: c, template: echo, depends: a}, {name: d, template: echo, depends: b && c}]}"


@pytest.mark.parametrize(
    ("main", "bad", "ran"),
    [
        ("container: {image: busybox}", ["wf"], ["wf"]),
        (STEPS, ["wf[0].b"], ["wf[0].b", "wf[1].c"]),
        (STEPS, ["wf[1].c"], ["wf[1].c"]),
        (DAG, ["wf.a"], ["wf.a", "wf.b", "wf.c", "wf.d"]),
        (DAG, ["wf.c"], ["wf.c", "wf.d"]),
        ("steps: [[{name: a, template: echo, withItems: [1, 2, 3]}]]", ["wf[0].a(1:2)"], ["wf[0].a(1:2)"]),
        (
            "dag: {tasks: [{name: a, template: echo, withItems: [1, 2, 3]}, {name: b, template: echo, depends: a}]}",
            ["wf.a(1:2)"],
            ["wf.a(1:2)", "wf.b"],
        ),
    ],
)
def test_again_1_what_runs_again(main: str, bad: list[str], ran: list[str]) -> None:
    """Again 1: what failed and what came after it runs again; what succeeded stays."""
    run = failed(main, *bad)
    kept = {name: node.id for name in run.names() if (node := run.node(name)).phase == "Succeeded" and node.type == "Pod"}
    assert retried(run) == ran
    assert all(run.node(name).id == node_id for name, node_id in kept.items())


def test_again_1_nested() -> None:
    """Again 1: steps, DAGs, loops and groups around what failed run again, and nothing beside them."""
    extra = """
- {name: inner, inputs: {parameters: [{name: m}]}, dag: {tasks: [{name: x, template: echo}, {name: z, template: echo, depends: x, arguments: {parameters: [{name: m, value: "{{inputs.parameters.m}}"}]}}]}}
- {name: outer, steps: [[{name: s, template: inner, arguments: {parameters: [{name: m, value: "{{item}}"}]}, withItems: [p, q]}]]}
"""
    main = "steps: [[{name: one, template: outer}, {name: two, template: outer}], [{name: end, template: echo}]]"
    run = failed(main, "wf[0].two[0].s(1:q).z", extra=extra)
    run.send(RetryRequested())
    assert {name for name, phase in phases(run).items() if phase == "Running"} == {
        "wf",
        "wf[0]",
        "wf[0].two",
        "wf[0].two[0]",
        "wf[0].two[0].s(1:q)",
    }
    run.play()
    assert run.launched == [run.node("wf[0].two[0].s(1:q).z").id, run.node("wf[1].end").id]


def test_again_1_forgiven_failures_stay_if_something_succeeded_after_them() -> None:
    """Again 1: a failed pod after which something succeeded is left alone; one after which nothing did runs again."""
    main = "dag: {tasks: [{name: a, template: echo}, {name: b, template: echo, depends: a.Failed}, {name: c, template: echo}]}"
    run = failed(main, "wf.a", "wf.c")
    assert retried(run) == ["wf.c"]
    main = "steps: [[{name: a, template: echo, continueOn: {failed: true}}], [{name: b, template: echo}], [{name: c, template: echo}]]"
    run = failed(main, "wf[0].a", "wf[2].c")
    assert retried(run) == ["wf[2].c"]
    main = "steps: [[{name: a, template: echo, continueOn: {failed: true}}], [{name: b, template: echo}]]"
    run = failed(main, "wf[0].a", "wf[1].b")
    assert retried(run) == ["wf[0].a", "wf[1].b"]


def test_again_1_what_a_forgiven_failure_stands_in_stays() -> None:
    """Again 1: a loop of which an item failed stays as it is if something succeeded after it; so do nested DAGs with omitted tasks."""
    main = "dag: {tasks: [{name: a, template: echo, withItems: [1, 2]}, {name: b, template: echo, depends: a.AnySucceeded}, {name: c, template: inner}, {name: d, template: echo, depends: c}]}"
    extra = "- {name: inner, dag: {tasks: [{name: x, template: echo}, {name: z, template: echo, depends: x.Failed}]}}"
    run = failed(main, "wf.a(1:2)", "wf.d", extra=extra)
    assert (run.phase("wf.a"), run.phase("wf.c.z")) == ("Failed", "Omitted")
    assert retried(run) == ["wf.d"]
    assert (run.phase("wf.a"), run.phase("wf.c.z")) == ("Failed", "Omitted")


def test_again_1_repeated_pods() -> None:
    """Again 1: of a template with a retry strategy the whole node runs again, its attempts counted from none; what an attempt mended stays."""
    extra = "- {name: r, retryStrategy: {limit: 1}, container: {image: busybox, args: ['{{retries}}']}}"
    run = failed(
        "steps: [[{name: a, template: r}, {name: b, template: r}]]", "wf[0].a(0)", "wf[0].a(1)", "wf[0].b(0)", extra=extra
    )
    assert retried(run) == ["wf[0].a(0)"]
    assert run.phase("wf[0].b(1)") == "Succeeded"


def test_again_1_exit_handlers() -> None:
    """Again 1: the exit handler is gone and runs anew; the exit handlers of what runs again too."""
    main = "steps: [[{name: a, template: echo, onExit: echo}, {name: b, template: echo, onExit: echo}]]"
    run = failed(main, "wf[0].b", spec="onExit: echo")
    run.send(RetryRequested())
    assert run.names() == ["wf", "wf[0]", "wf[0].a", "wf[0].a.onExit", "wf[0].b"]
    run.play()
    assert (end_of(run)[0], run.phase("wf[0].b.onExit"), run.phase("wf.onExit")) == ("Succeeded",) * 3


def test_again_1_only_the_exit_handler_failed() -> None:
    """Again 1: a workflow that failed for its exit handler alone runs just that again."""
    run = failed("steps: [[{name: a, template: echo}]]", "wf.onExit", spec="onExit: echo")
    assert retried(run) == ["wf.onExit"]


def test_again_1_chosen_nodes() -> None:
    """Again 1: nodes that succeeded run again where they are chosen, and what came after them."""
    run = played(STEPS)
    run.launched.clear()
    assert retried(run, restart_successful=True, selector="displayName=b") == ["wf[0].b", "wf[1].c"]
    run = played(DAG)
    run.launched.clear()
    assert retried(run, restart_successful=True, selector="name=wf.b") == ["wf.b", "wf.d"]
    run = failed(DAG, "wf.d")
    assert retried(run, restart_successful=True, selector="displayName=c") == ["wf.c", "wf.d"]
    run = failed(DAG, "wf.d")
    assert retried(run, selector="displayName=c") == ["wf.d"], "without restartSuccessful a selector chooses nothing"


@pytest.mark.parametrize("kind", ["steps", "dag"])
def test_again_1_parameters(kind: str) -> None:
    """Again 1: parameters given anew are read by what runs again, whose loops are expanded anew; what succeeded keeps its own."""
    task = "{name: a, template: echo, withParam: '{{workflow.parameters.list}}', arguments: {parameters: [{name: m, value: '{{item}}-{{workflow.parameters.p}}'}]}}"
    main = (
        f"steps: [[{{name: first, template: echo, withItems: [1]}}], [{task}]]"
        if kind == "steps"
        else f"dag: {{tasks: [{{name: first, template: echo, withItems: [1]}}, {task}]}}"
    )
    prefix, first = ("wf[1].a", "wf[0].first(0:1)") if kind == "steps" else ("wf.a", "wf.first(0:1)")
    run = failed(main, f"{prefix}(1:2)", spec="arguments: {parameters: [{name: list, value: '[1, 2]'}, {name: p, value: old}]}")
    ran = retried(run, parameters=("list=[7, 8]", "p=new"))
    assert ran == [f"{prefix}(0:7)", f"{prefix}(1:8)"]
    assert (received(run, f"{prefix}(0:7)"), run.phase(first)) == ("7-new", "Succeeded")


def test_again_1_after_a_stop() -> None:
    """Again 1: a workflow that was stopped goes on where it was."""
    run = begun(STEPS)
    run.end("wf[0].a")
    run.send(ShutdownRequested(strategy="Terminate"))
    assert end_of(run)[0] == "Failed"
    run.launched.clear()
    assert retried(run) == ["wf[0].b", "wf[1].c"]
    assert machine.workflow_document(run.state, run.now).spec.shutdown is None


def test_again_1_after_a_deadline() -> None:
    """Again 1: a workflow whose deadline had passed gets the same time anew."""
    run = begun(STEPS, spec="activeDeadlineSeconds: 60")
    run.end("wf[0].a")
    run.now += 59
    run.fire_next()
    assert (end_of(run)[0], run.phase("wf[0].b")) == ("Failed", "Failed")
    run.launched.clear()
    run.send(RetryRequested())
    assert [effect.due - run.now for key, effect in run.effects.items() if key == "deadline"] == [60]  # type: ignore[union-attr]
    run.play()
    assert end_of(run)[0] == "Succeeded"


def document(**metadata: Any) -> argo.Workflow:
    """Return a failed workflow as clients see it."""
    run = failed("container: {image: busybox}", "wf")
    found = machine.workflow_document(run.state, run.now)
    assert found.metadata is not None
    labels = {**found.metadata.labels, "team": "blue"}
    new = argo.ObjectMeta(name="wf", namespace="default", uid="u1", labels=labels, annotations={"note": "x"}, **metadata)
    return argo.Workflow(metadata=new, spec=found.spec, status=found.status)


@pytest.mark.parametrize(("generate", "expected"), [(None, "wf-"), ("mine-", "mine-")])
def test_again_2_resubmission(generate: str | None, expected: str) -> None:
    """Again 2: a new name by generateName or by the old name; labels and annotations are kept, those of the end are not."""
    made = resubmission(document(generate_name=generate))
    metadata = made.metadata
    assert metadata is not None
    assert (metadata.name, metadata.uid, metadata.generate_name, made.status) == (None, None, expected, None)
    assert metadata.labels == {"team": "blue", "workflows.argoproj.io/resubmitted-from-workflow": "wf"}
    assert metadata.annotations == {"note": "x"}


def test_again_2_a_stop_is_forgotten() -> None:
    """Again 2: the new workflow knows nothing of the stop of the old one, and may have other parameters."""
    run = begun("container: {image: busybox}", spec="arguments: {parameters: [{name: p, value: old}, {name: q, value: same}]}")
    run.send(ShutdownRequested(strategy="Stop"))
    old = machine.workflow_document(run.state, run.now)
    assert old.spec.shutdown == "Stop"
    made = resubmission(old, ["p=new"])
    assert (made.spec.shutdown, made.spec.arguments is not None) == (None, True)
    assert [(p.name, p.value) for p in made.spec.arguments.parameters] == [("p", "new"), ("q", "same")]  # type: ignore[union-attr]
    with pytest.raises(Refused, match="NAME=VALUE"):
        resubmission(old, ["p"])


def test_again_2_memoized_only_after_a_failure() -> None:
    """Again 2: only what Failed or is in Error can be taken up."""
    assert machine.memoization_refusal(played(STEPS).state) == "workflow must be Failed/Error to resubmit in memoized mode"
    assert machine.memoization_refusal(begun(STEPS).state) != ""
    assert machine.memoization_refusal(failed(STEPS, "wf[1].c").state) == ""


WRITES = "steps: [[{name: a, template: write}], [{name: b, template: echo, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.parameters.p}}'}]}}]]"


def test_again_2_memoized() -> None:
    """Again 2: pods that did not fail are Skipped with their outputs, under new names and ids; the others run."""
    old = failed(WRITES, "wf[1].b", spec="onExit: echo")
    new = resubmitted(old)
    new.begin()
    kept = new.node("again[0].a")
    assert (kept.type, kept.phase, kept.message) == ("Skipped", "Skipped", f"original pod: {old.node('wf[0].a').id}")
    assert kept.id == machine.node_id("again", "again[0].a")
    assert output(new, "again[0].a") == "value of p"
    assert received(new, "again[1].b") == "value of p"
    assert "again.onExit" not in new.names()
    new.play()
    names = {node.id: node.name for node in new.state.nodes.values()}
    assert [names[launched] for launched in new.launched] == ["again[1].b", "again.onExit"]
    assert end_of(new) == ("Succeeded", "")
    assert {node.boundary_id for node in shown(new).nodes.values()} == {None, "again"}


def test_again_2_memoized_runs_forgiven_failures_again() -> None:
    """Again 2: a pod whose failure was forgiven has failed, and runs again."""
    main = (
        "steps: [[{name: a, template: echo, continueOn: {failed: true}}, {name: k, template: echo}], [{name: b, template: echo}]]"
    )
    new = resubmitted(failed(main, "wf[0].a", "wf[1].b"))
    new.play()
    names = {node.id: node.name for node in new.state.nodes.values()}
    assert [names[launched] for launched in new.launched] == ["again[0].a", "again[1].b"]
    assert (new.phase("again[0].k"), end_of(new)[0]) == ("Skipped", "Succeeded")


@pytest.mark.parametrize(
    ("main", "bad", "ran"),
    [
        (DAG, "wf.c", ["again.c", "again.d"]),
        ("steps: [[{name: a, template: echo, withItems: [1, 2, 3]}]]", "wf[0].a(1:2)", ["again[0].a(1:2)"]),
        (
            "dag: {tasks: [{name: a, template: echo, withItems: [1, 2]}, {name: b, template: echo, depends: a}]}",
            "wf.a(1:2)",
            ["again.a(1:2)", "again.b"],
        ),
    ],
)
def test_again_2_memoized_dags_and_loops(main: str, bad: str, ran: list[str]) -> None:
    """Again 2: DAGs and loops go on with what is missing."""
    new = resubmitted(failed(main, bad))
    new.play(ending({}))
    names = {node.id: node.name for node in new.state.nodes.values()}
    assert ([names[launched] for launched in new.launched], end_of(new)[0]) == (ran, "Succeeded")
