"""A small driver for the machine's tests: plays pods, keeps time, checks what must hold after every decision."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import msgspec

from jitflow import machine
from jitflow.machine import phases
from jitflow.machine.state import recount
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.pods import CollectedArtifact, PodEnd
from jitflow.model.runs import (
    Effect,
    Event,
    KillPod,
    LaunchPod,
    OutputsSaved,
    PodEnded,
    PodStarted,
    RetryRequested,
    StartTimer,
    TimerFired,
    WorkflowStarted,
)
from jitflow.spec import load_one

T0 = 1_700_000_000.0


def workflow(text: str, name: str = "wf") -> argo.Workflow:
    """Return the workflow of a manifest's `spec`, written in YAML."""
    metadata = f"{{name: {name}, namespace: default, uid: u1, creationTimestamp: '2026-01-02T03:04:05Z', labels: {{team: blue}}}}"
    head = f"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {metadata}\nspec:\n"
    document = load_one(head + textwrap.indent(textwrap.dedent(text), "  "), kinds=("Workflow",))
    assert isinstance(document.manifest, argo.Workflow)
    return document.manifest


@dataclass
class Run:
    """A workflow under test; `play` says how each pod ends, by the node's name."""

    workflow: argo.Workflow
    checked: bool = True
    now: float = T0
    state: machine.State = field(init=False)
    effects: dict[str, Effect] = field(default_factory=dict)
    launched: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    decisions: int = 0
    objects: Objects = NO_OBJECTS
    archive_logs: bool = False

    def __post_init__(self) -> None:
        """Begin before the first event."""
        self.state = machine.new_state(self.workflow, now=self.now, objects=self.objects, archive_logs=self.archive_logs)

    def begin(self) -> machine.Decision:
        """Start the workflow."""
        return self.send(WorkflowStarted())

    def send(self, event: Event) -> machine.Decision:
        """Deliver an event, keep the effects as a store would, and check the invariants."""
        before = self.state
        decision = machine.decide(before, event, self.now, self.objects)
        self.state = decision.state
        self.decisions += 1
        for effect in decision.effects:
            self.effects[effect.key] = effect
            if isinstance(effect, LaunchPod):
                self.launched.append(effect.node_id)
            if isinstance(effect, KillPod):
                self.killed.append(effect.node_id)
        for key in decision.effects_done:
            self.effects.pop(key, None)
        if isinstance(event, RetryRequested):
            self.seen.clear()
        if self.checked:
            self._check(decision)
        return decision

    def _check(self, decision: machine.Decision) -> None:
        same_counts(decision.state)
        same_status(decision.state, self.now)
        for node in decision.nodes:
            old = self.seen.get(node.id, phases.WAITING)
            assert old == node.phase or node.phase in _reachable(old), f"{node.name}: {old} -> {node.phase}"
            self.seen[node.id] = node.phase
            assert machine.decode_node(machine.encode_node(node)) == node
        for node_id in decision.nodes_removed:
            self.seen.pop(node_id, None)
        for effect in decision.effects:
            msgspec.json.decode(msgspec.json.encode(effect), type=type(effect))

    def node(self, name: str) -> machine.Node:
        """Return a node by its name."""
        return next(node for node in self.state.nodes.values() if node.name == name)

    def phase(self, name: str) -> str:
        """Return a node's phase."""
        return self.node(name).phase

    def names(self) -> list[str]:
        """Return the names of all nodes that show."""
        return sorted(node.name for node in self.state.nodes.values() if not node.is_waiting)

    def live(self) -> list[machine.Node]:
        """Return the nodes whose pods are Pending or Running."""
        nodes = sorted(self.state.nodes.values(), key=lambda node: (node.depth, node.key, node.name))
        return [node for node in nodes if node.type == "Pod" and node.phase in {"Pending", "Running"} and not node.held]

    def open_effects(self) -> set[str]:
        """Return the keys of the open effects, but for kills of pods that never were."""
        return {key for key in self.effects if not key.startswith("kill/")}

    def launch(self, name: str) -> LaunchPod:
        """Return the open launch of a node's pod."""
        effect = self.effects[self.node(name).id]
        assert isinstance(effect, LaunchPod)
        return effect

    def end(self, name: str, exit_code: int | None = 0, **end: Any) -> machine.Decision:
        """End a node's pod."""
        node = self.node(name)
        return self.send(PodEnded(node_id=node.id, end=pod_end(node.id, exit_code, self.now, **end)))

    def save(self, name: str, error: str = "", *, lost: bool = False) -> machine.Decision:
        """Say that a node's outputs are far away."""
        return self.send(OutputsSaved(node_id=self.node(name).id, error=error, lost=lost))

    def fire_next(self) -> bool:
        """Move time to the next timer and fire it."""
        timers = [effect for effect in self.effects.values() if isinstance(effect, StartTimer)]
        if not timers:
            return False
        timer = min(timers, key=lambda timer: (timer.due, timer.key))
        self.now = max(self.now, timer.due)
        self.send(TimerFired(key=timer.key))
        return True

    def play(self, outcome: Callable[[machine.Node, LaunchPod], dict[str, Any]] | None = None, limit: int = 10_000) -> "Run":
        """Begin if need be, then start and end pods until nothing happens any more."""
        if not self.state.run.phase:
            self.begin()
        for _ in range(limit):
            live = self.live()
            if live:
                node = live[0]
                launch = self.launch(node.name)
                self.now += 1
                self.send(PodStarted(node_id=node.id))
                end = {"exit_code": 0} | default_outputs(launch) | (outcome(node, launch) if outcome else {})
                saves = bool(end.get("artifacts"))
                self.end(node.name, **end)
                if saves:
                    self.save(node.name)
            elif self.state.run.finished_at is not None or not self.fire_next():
                return self
        raise AssertionError("the workflow does not end")


def default_outputs(launch: LaunchPod) -> dict[str, Any]:
    """Return what a pod that does everything right leaves behind."""
    outputs = launch.template.outputs or argo.Outputs()
    end: dict[str, Any] = {
        "parameters": {p.name: f"value of {p.name}" for p in outputs.parameters if p.value_from and p.value_from.path},
        "artifacts": tuple(CollectedArtifact(name=a.name, source="/x", size_bytes=1) for a in outputs.artifacts),
    }
    if launch.capture_result:
        end["result"] = "1"
    return end


def pod_end(node_id: str, exit_code: int | None, now: float, **end: Any) -> PodEnd:
    """Return how a pod ended."""
    return PodEnd(key=f"u1.{node_id}", exit_code=exit_code, started_at=now, finished_at=now, **end)


def _reachable(phase: str) -> set[str]:
    """Return the phases that a node may reach within one decision."""
    found = {phase}
    while True:
        more = found | {after for before in found for after in phases.MOVES[before]}
        if more == found:
            return found
        found = more


def same_counts(state: machine.State) -> None:
    """Check that everything counted equals a recount from the nodes."""
    fresh = recount(state.program, state.run, state.nodes.values())
    assert fresh.counts == msgspec.structs.replace(state.counts, seq=fresh.counts.seq)
    for counted, live in ((fresh.frames, state.frames), (fresh.waits, state.waits)):
        assert counted == live, f"counted anew and as kept: {difference(counted, live)}"
    assert {k: dict(v) for k, v in fresh.children.items() if v} == {k: dict(v) for k, v in state.children.items() if v}
    assert queue_order(fresh) == queue_order(state)


def same_status(state: machine.State, now: float) -> None:
    """Check that a status whose nodes need no look is the one that a look at them gives."""
    if len(state.nodes) <= 1:
        with patch("jitflow.machine.report._shows_nodes", return_value=True):
            looked = machine.status(state, now, "here")
        assert machine.status(state, now, "here") == looked


def difference(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return where two mappings differ."""
    keys = set(first) | set(second)
    return {key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}


def queue_order(state: machine.State) -> dict[str, list[str]]:
    """Return what waits where, in order."""
    order: dict[str, list[str]] = {}
    for limiter, queue in state.queues.items():
        entries = [queue.items[place] for place in range(queue.head, queue.tail)]
        live = [node_id for node_id, seq in entries if (n := state.nodes.get(node_id)) and n.is_waiting and n.seq == seq]
        if live:
            order[limiter] = live
    return order
