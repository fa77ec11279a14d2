"""One live run: its state, its inbox, and how its rows are written."""

import asyncio
from collections.abc import Sequence

import msgspec

from jitflow import machine
from jitflow.model.runs import (
    CloseWorkflow,
    DeleteArtifacts,
    DropClaims,
    Effect,
    EmitMetrics,
    Event,
    KillPod,
    LaunchPod,
    MakeClaims,
    Note,
    RunTask,
    SaveMemo,
    ServePlugins,
    ShowClocks,
    StartTimer,
    TakeLocks,
)
from jitflow.ports.store import Commit, EffectRow, RunRow

AnyEffect = (
    LaunchPod
    | KillPod
    | StartTimer
    | CloseWorkflow
    | TakeLocks
    | SaveMemo
    | MakeClaims
    | DropClaims
    | RunTask
    | EmitMetrics
    | ShowClocks
    | ServePlugins
    | DeleteArtifacts
)

_encoder = msgspec.json.Encoder()
_effect_decoder = msgspec.json.Decoder(AnyEffect)
_note_decoder = msgspec.json.Decoder(Note)


class LiveRun:
    """A run that has not ended. Only the engine's drain of this run writes it."""

    def __init__(self, state: machine.State, row: RunRow) -> None:
        """Hold the committed state and the row that describes it."""
        self.state = state
        self.row = row
        self.open_effects: dict[str, Effect] = {}
        self.inbox: list[tuple[Event, asyncio.Future[None] | None]] = []
        self.notes: list[Note] = []
        self.draining = False
        self.broken = ""
        self.has_data = False
        self.hidden_steps = False
        self.announcing = False
        self.announce_cost_s = 0.0
        self.estimates: dict[str, float | None] = {}
        """By fingerprint, the run times that were announced."""

    @property
    def uid(self) -> str:
        """The run's uid."""
        return self.row.uid


class Turn:
    """What a batch of events comes to: the new state and everything to be committed with it."""

    def __init__(self, state: machine.State) -> None:
        """Begin at the committed state."""
        self.state = state
        self.nodes: dict[str, bytes] = {}
        self.removed: set[str] = set()
        self.effects: dict[str, Effect] = {}
        self.done: set[str] = set()
        self.notes: list[Note] = []
        self.changed = False

    def take(self, decision: machine.Decision) -> None:
        """Add one decision; later nodes replace earlier ones."""
        self.state = decision.state
        for node in decision.nodes:
            self.nodes[node.id] = machine.encode_node(node)
            self.removed.discard(node.id)
        for node_id in decision.nodes_removed:
            self.nodes.pop(node_id, None)
            self.removed.add(node_id)
        for effect in decision.effects:
            self.effects[effect.key] = effect
            self.done.discard(effect.key)
        for key in decision.effects_done:
            # An effect that began and ended within the batch is still performed (a kill), but never stored.
            self.done.add(key)
        self.notes += decision.notes
        self.changed = self.changed or bool(
            decision.nodes
            or decision.nodes_removed
            or decision.effects
            or decision.effects_done
            or decision.notes
            or decision.header_changed
        )

    def commit(self, row: RunRow, header: bytes | None, extra_notes: Sequence[Note]) -> Commit:
        """Return the change to be stored."""
        stored = [effect for key, effect in self.effects.items() if key not in self.done]
        return Commit(
            row=row,
            header=header,
            nodes=tuple(self.nodes.items()),
            nodes_removed=tuple(self.removed),
            effects=tuple([EffectRow(key=effect.key, body=_encoder.encode(effect)) for effect in stored]),
            effects_done=tuple(self.done - self.effects.keys()),
            events=tuple([_encoder.encode(note) for note in (*self.notes, *extra_notes)]),
        )


def decode_effect(body: bytes) -> Effect:
    """Return a stored effect."""
    return _effect_decoder.decode(body)


def decode_note(body: bytes) -> Note:
    """Return a stored line of history."""
    return _note_decoder.decode(body)
