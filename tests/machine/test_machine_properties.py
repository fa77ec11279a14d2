"""Random workflows driven to their end with random outcomes: what must hold whatever happens.

`MACHINE_EXAMPLES=500` looks longer.
"""

import os
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from machine_driver import Run, default_outputs, pod_end

from jitflow import machine
from jitflow.model import argo
from jitflow.model.runs import (
    Event,
    LaunchPod,
    OutputsSaved,
    PodEnded,
    PodStarted,
    PodWaits,
    ResumeRequested,
    RetryRequested,
    ShutdownRequested,
    SuspendRequested,
    TimerFired,
)

pytestmark = pytest.mark.pure

LEAVES = ("work", "again", "late", "pause", "data")


def leaf_templates() -> tuple[argo.Template, ...]:
    """Return templates without steps: a pod, one that is retried, one with backoff, a pause, one with artifacts."""
    container = argo.Container(image="busybox", command=("true",))
    inputs = argo.Inputs(parameters=(argo.Parameter(name="x", default="0"),))
    backoff = argo.Backoff(duration="10", factor=2, max_duration="1h")
    artifact = argo.Artifact(name="out", path="/tmp/out")
    outputs = argo.Outputs(parameters=(argo.Parameter(name="p", value_from=argo.ValueFrom(path="/p", default="d")),))
    return (
        argo.Template(name="work", inputs=inputs, container=container, outputs=outputs),
        argo.Template(name="again", inputs=inputs, container=container, retry_strategy=argo.RetryStrategy(limit="2")),
        argo.Template(
            name="late",
            inputs=inputs,
            container=container,
            timeout="1h",
            retry_strategy=argo.RetryStrategy(limit="1", backoff=backoff, retry_policy="Always"),
        ),
        argo.Template(name="pause", inputs=inputs, suspend=argo.SuspendTemplate(duration="30")),
        argo.Template(name="data", inputs=inputs, container=container, outputs=argo.Outputs(artifacts=(artifact,))),
    )


@st.composite
def tasks(draw: st.DrawFn, number: int, templates: list[str]) -> dict[str, Any]:
    """Return the fields that steps and tasks share."""
    task: dict[str, Any] = {"name": f"t{number}", "template": draw(st.sampled_from(templates))}
    if draw(st.integers(0, 3)) == 0:
        task["with_items"] = tuple(draw(st.lists(st.sampled_from(["a", "b(c)", 3, {"k": "v"}]), min_size=1, max_size=4)))
        task["arguments"] = argo.Arguments(parameters=(argo.Parameter(name="x", value="{{item}}"),))
    if draw(st.integers(0, 5)) == 0:
        task["when"] = draw(st.sampled_from(["true", "1 > 2", "'{{item}}' == a" if "with_items" in task else "a == a"]))
    return task


@st.composite
def composite(draw: st.DrawFn, name: str, templates: list[str]) -> argo.Template:
    """Return a steps or DAG template."""
    limits: dict[str, Any] = {}
    if draw(st.booleans()):
        limits["parallelism"] = draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 0:
        limits["fail_fast"] = True
    if draw(st.integers(0, 4)) == 0:
        limits["retry_strategy"] = argo.RetryStrategy(limit="1")
    count = draw(st.integers(1, 6))
    if draw(st.booleans()):
        groups: list[list[argo.WorkflowStep]] = [[]]
        for number in range(count):
            if groups[-1] and draw(st.booleans()):
                groups.append([])
            goes_on = argo.ContinueOn(failed=True, error=draw(st.booleans())) if draw(st.integers(0, 3)) == 0 else None
            groups[-1].append(argo.WorkflowStep(**draw(tasks(number, templates)), continue_on=goes_on))
        return argo.Template(name=name, steps=tuple(tuple(group) for group in groups), **limits)
    made: list[argo.DAGTask] = []
    logic = draw(st.booleans())
    for number in range(count):
        fields = draw(tasks(number, templates))
        before = draw(st.lists(st.sampled_from([t.name for t in made]), max_size=3, unique=True)) if made else []
        if before and logic:
            results = ["", ".Succeeded", ".Failed", ".Skipped", ".Omitted"]
            terms = [f"{one}{draw(st.sampled_from(results))}" for one in before]
            fields["depends"] = draw(st.sampled_from([" && ", " || "])).join(terms)
        else:
            fields["dependencies"] = tuple(before)
        if not logic and draw(st.integers(0, 3)) == 0:
            fields["continue_on"] = argo.ContinueOn(failed=True)
        made.append(argo.DAGTask(**fields))
    fail_fast = draw(st.sampled_from([None, True, False]))
    return argo.Template(name=name, dag=argo.DAGTemplate(tasks=tuple(made), fail_fast=fail_fast), **limits)


@st.composite
def workflows(draw: st.DrawFn) -> argo.Workflow:
    """Return a workflow of up to three levels."""
    templates = list(LEAVES)
    made: list[argo.Template] = []
    for name in ("low", "mid", "main"):
        made.append(draw(composite(name, list(templates))))
        templates.append(name)
    spec = argo.WorkflowSpec(
        entrypoint=draw(st.sampled_from(["main", "main", "mid", "again", "data"])),
        templates=(*leaf_templates(), *made),
        parallelism=draw(st.sampled_from([None, None, 1, 2])),
        on_exit=draw(st.sampled_from([None, None, "work", "low"])),
        active_deadline_seconds=draw(st.sampled_from([None, None, None, 200])),
    )
    return argo.Workflow(metadata=argo.ObjectMeta(name="wf", namespace="default", uid="u1"), spec=spec)


class Chaos:
    """Chooses what happens next: pods start, wait, end well or badly, timers fire, people interfere."""

    def __init__(self, run: Run, seed: int, *, failures: float, people: float) -> None:
        """Use one seed, so that a failing history can be played again."""
        self.run = run
        self.rng = random.Random(seed)
        self.failures = failures
        self.people = people
        self.history: list[tuple[Event, float]] = []
        self.saving: list[str] = []

    def send(self, event: Event) -> None:
        """Deliver and write down an event."""
        self.history.append((event, self.run.now))
        self.run.send(event)

    def step(self) -> bool:
        """Let one thing happen; return whether anything could."""
        self.run.now += self.rng.choice([0, 1, 5])
        if self.rng.random() < self.people:
            self.send(self._person())
            return True
        live = self.run.live()
        choices = [*live, *self.saving]
        timers = [key for key in self.run.effects if "/" in key and not key.startswith("kill/")]
        if self.rng.random() < 0.05 or not choices:
            if timers:
                return self.run.fire_next()
            if not choices:
                return False
        chosen = self.rng.choice(choices)
        if isinstance(chosen, str):
            self.saving.remove(chosen)
            error = "no space far away" if self.rng.random() < self.failures / 3 else ""
            self.send(OutputsSaved(node_id=chosen, error=error))
        else:
            self._pod(chosen)
        return True

    def _person(self) -> Event:
        strategies = [
            SuspendRequested(),
            ResumeRequested(),
            ShutdownRequested(strategy="Stop"),
            ShutdownRequested(strategy="Terminate", message="enough"),
            TimerFired(key="timeout/nobody"),
            PodStarted(node_id="nobody"),
        ]
        return self.rng.choice(strategies)

    def _pod(self, node: machine.Node) -> None:
        if node.phase == "Pending" and self.rng.random() < 0.5:
            self.send(PodStarted(node_id=node.id) if self.rng.random() < 0.8 else PodWaits(node_id=node.id, message="queued"))
            return
        launch = self.run.effects[node.id]
        assert isinstance(launch, LaunchPod)
        end = {"exit_code": 0} | default_outputs(launch)
        if node.killed:
            end |= {"exit_code": 143, "terminated": True}
        elif self.rng.random() < self.failures:
            end |= self.rng.choice(
                [{"exit_code": 1}, {"exit_code": None, "error": "lost"}, {"timed_out": True, "exit_code": 143}]
            )
        if self.rng.random() < 0.1:
            end["artifacts"] = ()
        self.send(PodEnded(node_id=node.id, end=pod_end(node.id, now=self.run.now, **end)))
        if end["artifacts"]:
            self.saving.append(node.id)

    def to_end(self, limit: int = 3000) -> None:
        """Go on until the workflow has ended."""
        self.run.begin()
        for _ in range(limit):
            if self.run.state.run.finished_at is not None:
                return
            if not self.step():
                assert self.run.state.run.suspended, f"stuck: {[(n.name, n.phase) for n in self.run.state.nodes.values()]}"
                self.send(ResumeRequested())
        raise AssertionError("the workflow does not end")


common = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@common
@given(workflows(), st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.03]))
def test_every_workflow_ends_with_all_nodes_ended_and_no_pod_launched_twice(
    manifest: argo.Workflow, seed: int, failures: float, people: float
) -> None:
    run = Run(manifest)
    chaos = Chaos(run, seed, failures=failures, people=people)
    chaos.to_end()
    assert all(node.is_fulfilled for node in run.state.nodes.values())
    assert len(run.launched) == len(set(run.launched))
    assert run.open_effects() == {"close"}
    assert run.state.run.phase in {"Succeeded", "Failed", "Error"}
    if not failures and not people and manifest.spec.active_deadline_seconds is None:
        assert run.state.run.phase == "Succeeded" or any("depends" in n.message or n.message for n in run.state.nodes.values())
    status = machine.status(run.state, run.now)
    for node in status.nodes.values():
        assert all(child in status.nodes for child in (*node.children, *node.outbound_nodes))
    msgspec.json.decode(msgspec.json.encode(machine.workflow_document(run.state, run.now)), type=argo.Workflow)


@common
@given(workflows(), st.integers(0, 2**32), st.sampled_from([0.2, 0.5]))
def test_a_restored_state_goes_on_identically(manifest: argo.Workflow, seed: int, failures: float) -> None:
    run = Run(manifest, checked=False)
    chaos = Chaos(run, seed, failures=failures, people=0.02)
    states = [run.state]
    original = run.send

    def recording(event: Event) -> machine.Decision:
        decision = original(event)
        states.append(decision.state)
        decisions.append((event, run.now, decision))
        return decision

    decisions: list[tuple[Event, float, machine.Decision]] = []
    run.send = recording  # type: ignore[method-assign]
    chaos.to_end()
    cut = random.Random(seed).randrange(len(decisions))
    state = states[cut]
    state = machine.restore(machine.encode_header(state), [machine.encode_node(node) for node in state.nodes.values()])
    for event, now, expected in decisions[cut:]:
        decision = machine.decide(state, event, now)
        assert decision.effects == expected.effects
        assert sorted(decision.effects_done) == sorted(expected.effects_done)
        assert {n.id: _without_order(n) for n in decision.nodes} == {n.id: _without_order(n) for n in expected.nodes}
        assert decision.notes == expected.notes
        state = decision.state


def _without_order(node: machine.Node) -> machine.Node:
    return msgspec.structs.replace(node, seq=0)


@common
@given(workflows())
def test_forecast_names_every_pod_that_runs_when_all_goes_well(manifest: argo.Workflow) -> None:
    run = Run(manifest, checked=False)
    run.begin()
    for _ in range(2000):
        before = machine.forecast(run.state)
        ids = {step.node_id for step in before}
        certain = all(step.certain for step in before)
        if not run.live():
            if not run.fire_next():
                break
            continue
        assert {node.id for node in run.live()} <= ids
        node = run.live()[0]
        known = len(run.launched)
        run.end(node.name, **default_outputs(run.launch(node.name)))
        if run.state.nodes[node.id].saving:
            run.save(node.name)
        if any(node.is_unsuccessful for node in run.state.nodes.values()):
            return  # not all goes well: an item makes of its `when` what is no condition
        if certain:
            assert set(run.launched[known:]) <= ids
    assert run.state.run.finished_at is not None
    assert machine.forecast(run.state) == ()


@common
@given(workflows(), st.integers(0, 2**32))
def test_a_failed_workflow_can_be_retried_until_it_succeeds(manifest: argo.Workflow, seed: int) -> None:
    run = Run(manifest)
    chaos = Chaos(run, seed, failures=0.5, people=0.0)
    chaos.to_end()
    for _ in range(20):
        if run.state.run.phase == "Succeeded":
            return
        chaos.failures = 0.0
        assert machine.refusal(run.state, RetryRequested()) == ""
        run.launched.clear()
        decision = run.send(RetryRequested())
        assert decision.header_changed
        assert not set(decision.nodes_removed) & set(decision.state.nodes)
        for _ in range(2000):
            if run.state.run.finished_at is not None or not chaos.step():
                break
        assert run.state.run.finished_at is not None, [(n.name, n.phase, n.message) for n in run.state.nodes.values()]
        return
