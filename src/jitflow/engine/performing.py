"""What is done about a decision once it is stored: effects, performed at their keepers."""

from collections.abc import Callable

from msgspec import Struct

from jitflow import machine
from jitflow.engine.garbage import GarbageCollector
from jitflow.engine.limits import ClaimKeeper, limit_of
from jitflow.engine.locations import Locator
from jitflow.engine.locks import LockTable
from jitflow.engine.plugins import WorkflowPlugins
from jitflow.engine.podkeeper import PodKeeper
from jitflow.engine.remembering import Remembering
from jitflow.engine.run import LiveRun, Turn
from jitflow.engine.taskkeeper import TaskKeeper
from jitflow.engine.tasks import Owner
from jitflow.engine.timers import Timers
from jitflow.model.runs import (
    CloseWorkflow,
    DeleteArtifacts,
    DropClaims,
    Effect,
    EmitMetrics,
    Event,
    KillPod,
    LaunchPod,
    Lock,
    LocksAwaited,
    LocksRefused,
    LocksTaken,
    MakeClaims,
    Note,
    RunTask,
    SaveMemo,
    ServePlugins,
    ShowClocks,
    StartTimer,
    TakeLocks,
)
from jitflow.ports.clock import Clock
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import CustomMetrics, MetricsError

_AT_ONCE = KillPod | CloseWorkflow | SaveMemo | DropClaims | EmitMetrics
"""Performed even if the same change closes them again."""

_log = logger("engine")


class Keepers(Struct, frozen=True, kw_only=True):
    """Who performs effects."""

    pods: PodKeeper
    tasks: TaskKeeper
    timers: Timers
    objects: Remembering
    claims: ClaimKeeper
    meters: CustomMetrics
    garbage: GarbageCollector
    plugins: WorkflowPlugins | None


class Voice(Struct, frozen=True, kw_only=True):
    """How a run hears of what was done: events, lines of its history, and that it is closed."""

    post: Callable[[str, Event], None]
    note: Callable[[str, Note], None]
    closed: Callable[[LiveRun], None]


class Performer:
    """Performs effects. Each is keyed, and performing one again is harmless."""

    def __init__(self, keepers: Keepers, voice: Voice, *, owner: Owner, clock: Clock, locator: Callable[[], Locator]) -> None:
        """Hand effects to `keepers`, answer with `voice`."""
        self._keepers = keepers
        self._voice = voice
        self._owner = owner
        self._clock = clock
        self._locator = locator
        self._locks = LockTable(self._limit)
        self._locks_wait = True

    @property
    def waiting_for_locks(self) -> int:
        """How many nodes and workflows wait for locks."""
        return self._locks.waiting

    def holders(self, uid: str, node_id: str) -> list[tuple[str, str]]:
        """Return who holds the locks that a node (the workflow for an empty id) waits for: uids and nodes' ids."""
        return self._locks.holders((uid, node_id))

    def perform_all(self, run: LiveRun, turn: Turn) -> None:
        """Close what a change closes, and perform what it asks for."""
        for key in turn.done:
            self._close(run, key)
        for effect in turn.effects.values():
            if effect.key not in turn.done:
                run.open_effects[effect.key] = effect
                self.perform(run, effect)
            elif isinstance(effect, _AT_ONCE):
                self.perform(run, effect)

    def _close(self, run: LiveRun, key: str) -> None:
        effect = run.open_effects.pop(key, None)
        if isinstance(effect, TakeLocks):
            self._locks.release((run.uid, effect.node_id))
            self.serve_locks()
        elif isinstance(effect, ShowClocks):
            self._keepers.meters.stop_clock(run.uid, key)
        elif isinstance(effect, ServePlugins) and self._keepers.plugins is not None:
            self._keepers.plugins.close(run.uid)
        self._keepers.timers.cancel(run.uid, key)
        self._keepers.tasks.cancel(run.uid, key)

    def perform(self, run: LiveRun, effect: Effect) -> None:
        """Perform one effect."""
        keepers = self._keepers
        match effect:
            case LaunchPod():
                node = run.state.nodes.get(effect.node_id)
                ended = machine.is_ended(run.state, effect.node_id)
                keepers.pods.launch(run.uid, effect, self._locator(), name=node.name if node else "", ended=ended)
            case KillPod():
                keepers.pods.kill(run.uid, effect)
            case RunTask():
                keepers.tasks.start(run.uid, effect)
            case StartTimer():
                keepers.timers.start(run.uid, effect.key, effect.due)
            case CloseWorkflow():
                self._close_run(run)
            case TakeLocks():
                self._take_locks(run, effect)
            case _:
                self._perform_aside(run, effect)

    def _perform_aside(self, run: LiveRun, effect: Effect) -> None:
        """Do what no node waits for."""
        keepers = self._keepers
        match effect:
            case EmitMetrics() | ShowClocks():
                self._meter(run, effect)
            case DeleteArtifacts():
                keepers.garbage.start(run.uid, effect)
            case MakeClaims():
                keepers.pods.hold_back(run.uid)
                self._owner.spawn(self._make_claims(run.uid, effect), f"make the claims of {run.uid}")
            case DropClaims():
                self._owner.spawn(keepers.claims.drop(effect.namespace, effect.names), f"drop the claims of {run.uid}")
            case ServePlugins():
                if keepers.plugins is not None:
                    keepers.plugins.serve(run.uid, effect)
            case SaveMemo():
                self._owner.spawn(keepers.objects.save(effect), f"remember {effect.memo_key} in {effect.cache}")
            case _:
                raise TypeError(f"no effect: {effect!r}")

    def _meter(self, run: LiveRun, effect: EmitMetrics | ShowClocks) -> None:
        """Take values of custom metrics; one that cannot be taken is told in the history and hurts nobody."""
        meters = self._keepers.meters
        for sample in effect.samples if isinstance(effect, EmitMetrics) else effect.gauges:
            try:
                if isinstance(effect, ShowClocks):
                    meters.start_clock(run.uid, effect.key, sample, effect.since)
                else:
                    meters.take(sample)
            except MetricsError as error:
                _log.warning("metric not taken", workflow=run.row.name, reason=str(error))
                note = Note(at=self._clock.now(), kind="Warning", reason="MetricsError", message=str(error))
                self._voice.note(run.uid, note)

    async def _make_claims(self, uid: str, effect: MakeClaims) -> None:
        try:
            await self._keepers.claims.make(effect.namespace, effect.claims)
        finally:
            self._keepers.pods.let_go(uid)

    def _close_run(self, run: LiveRun) -> None:
        self._keepers.timers.cancel_all(run.uid)
        self._keepers.pods.close_run(run.uid, good=run.state.run.phase == "Succeeded")
        self._keepers.tasks.close_run(run.uid)
        self._keepers.meters.forget_clocks(run.uid)
        self._voice.closed(run)

    # -- locks --------------------------------------------------------------------------------------------------------

    def adopt_locks(self, run: LiveRun) -> None:
        """Learn at the start which locks a run holds. Nobody gets one before `open_locks`."""
        for effect in run.open_effects.values():
            if isinstance(effect, TakeLocks) and machine.holds_locks(run.state, effect.node_id):
                self._locks.adopt((run.uid, effect.node_id), effect.locks)

    def open_locks(self) -> None:
        """All that hold locks are known: serve those that wait from now on."""
        self._locks_wait = False
        self.serve_locks()

    def _take_locks(self, run: LiveRun, effect: TakeLocks) -> None:
        if not machine.holds_locks(run.state, effect.node_id):
            holder = (run.uid, effect.node_id)
            self._locks.ask(holder, effect.locks, priority=effect.priority, created_at=effect.created_at)
            self.serve_locks()

    def serve_locks(self) -> None:
        """Tell those that wait for locks who has them now. Limits of semaphores may have changed."""
        if self._locks_wait:
            return
        for request, message, possible in self._locks.serve():
            uid, node_id = request.holder
            if not possible:
                self._voice.post(uid, LocksRefused(node_id=node_id, message=message))
            elif message:
                self._voice.post(uid, LocksAwaited(node_id=node_id, message=message))
            else:
                self._voice.post(uid, LocksTaken(node_id=node_id))

    def _limit(self, lock: Lock) -> int:
        return limit_of(lock, self._keepers.objects)
