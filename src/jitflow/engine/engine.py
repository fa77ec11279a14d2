"""The engine: takes workflows, drives each by its events, and tells those who watch."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Literal

import msgspec

from jitflow import machine
from jitflow.engine import archive
from jitflow.engine.changes import Change
from jitflow.engine.documents import Documents
from jitflow.engine.expectations import Expectations
from jitflow.engine.garbage import GarbageCollector
from jitflow.engine.images import Images
from jitflow.engine.janitor import Janitor
from jitflow.engine.limits import ClaimKeeper, Memos, NoClaimKeeper, NoMemos
from jitflow.engine.locations import Locator
from jitflow.engine.lookahead import Lookahead, with_names
from jitflow.engine.owned import Owned
from jitflow.engine.performing import Keepers, Performer, Voice
from jitflow.engine.plugins import WorkflowPlugins, keys_of
from jitflow.engine.podkeeper import PodKeeper, PodKeeperConfig, pod_key, step_id
from jitflow.engine.remembering import Remembering
from jitflow.engine.run import LiveRun, Turn, decode_effect, decode_note
from jitflow.engine.runtimes import RunTimes
from jitflow.engine.standing import with_holders, with_pod
from jitflow.engine.taskkeeper import TaskKeeper
from jitflow.engine.tasks import Owner
from jitflow.engine.throttle import POSTPONED, Throttle
from jitflow.engine.timers import Timers
from jitflow.machine.times import rfc3339
from jitflow.model import argo, repositories
from jitflow.model.data import ObjectRef, StepId
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.pods import PodEnd
from jitflow.model.problems import Refused
from jitflow.model.reasons import NodeReason
from jitflow.model.runs import (
    DeleteArtifacts,
    DeletionRequested,
    Event,
    LaunchPod,
    Note,
    OutputsSaved,
    PodEnded,
    RetryRequested,
    ShutdownRequested,
    TimerFired,
    WorkflowPostponed,
    WorkflowStarted,
)
from jitflow.ports.agents import Agent
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.dataplane import DataPlane, Estimate
from jitflow.ports.errors import VersionConflict
from jitflow.ports.executor import Executor
from jitflow.ports.store import RunRow, StateStore
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import CustomMetrics, Figures

Listener = Callable[[Change], None]

MAX_EVENTS = 10_000
"""Lines of history returned at once."""

GC_WAIT_S = 15.0
GC_LOOK_S = 0.05
"""A deletion waits so long for artifacts to be deleted before it is left to go on by itself."""

SETTLE_LOOK_S = 0.02
"""How often it is looked whether a run's events are through."""

_log = logger("engine")


class Engine:
    """Drives every unfinished run of a store. One instance and one event loop per store."""

    def __init__(
        self,
        *,
        store: StateStore,
        executor: Executor,
        dataplane: DataPlane,
        clock: Clock,
        ids: Ids,
        images: Images,
        locator: Callable[[], Locator],
        config: PodKeeperConfig,
        objects: Objects = NO_OBJECTS,
        memos: Memos | None = None,
        claims: ClaimKeeper | None = None,
        agents: Mapping[str, Agent] | None = None,
        meters: CustomMetrics | None = None,
        throttle: Throttle | None = None,
        repository: argo.ArtifactRepositoryRefStatus = repositories.SERVER,
        plugins: WorkflowPlugins | None = None,
        defaults: argo.Workflow | None = None,
        keeps_archive: bool = False,
    ) -> None:
        """Hold the adapters; `open` begins.

        `locator` is asked anew each time: remotes come and go. `keeps_archive`: what has ended is archived.
        """
        self._keeps_archive = keeps_archive
        self._repository = repository
        self._defaults = defaults
        self._store = store
        self._executor = executor
        self._dataplane = dataplane
        self._clock = clock
        self._ids = ids
        self._objects = Remembering(objects, memos or NoMemos())
        self._locator = locator
        self._archive_logs = config.archive_logs
        self._owner = Owner(self._task_failed)
        self._run_times = RunTimes(store, clock, self._owner)
        self._lookahead = Lookahead(
            dataplane,
            locator,
            lambda uid: uid in self._runs,
            objects,
            run_times=self._run_times,
            clock=clock,
            enabled=config.lookahead,
            intermediates=config.intermediates,
        )
        self._claims = claims or NoClaimKeeper()
        self._throttle = throttle or Throttle()
        self._plugins = plugins
        self._garbage = GarbageCollector(store, dataplane, self._owner, locator, self._tell_finished)
        self._janitor = Janitor(store, clock, self._owner, self.delete)
        self._owned = Owned(store, objects, self._delete_quietly)
        self._pods = PodKeeper(
            executor=executor,
            dataplane=dataplane,
            clock=clock,
            images=images,
            owner=self._owner,
            config=config,
            post=self._post,
            note=self._add_note,
        )
        self._timers = Timers(clock, lambda uid, key: self._post(uid, TimerFired(key=key)))
        self._performer = Performer(
            Keepers(
                pods=self._pods,
                tasks=TaskKeeper(self._owner, agents or {}, self._post),
                timers=self._timers,
                objects=self._objects,
                claims=self._claims,
                meters=meters or CustomMetrics(clock.now),
                garbage=self._garbage,
                plugins=plugins,
            ),
            Voice(post=self._post, note=self._add_note, closed=self._closed),
            owner=self._owner,
            clock=clock,
            locator=locator,
        )
        self._expectations = Expectations(self._state_of)
        self._runs: dict[str, LiveRun] = {}
        self._listeners: set[Listener] = set()
        self._documents = Documents(clock.now, config.around.host_name)
        self._early: list[PodEnd] | None = []

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load what has not ended, adopt the pods that survived, and go on."""
        await self._executor.open(self._pod_ended, self._pods.hear_news)
        await self._dataplane.open(self._pods.hear)
        adopted = await self._executor.adopt()
        self._pods.adopted(adopted)
        runs = [run for row in await self._store.runs(unfinished=True) if (run := await self._load(row.uid)) is not None]
        self._runs = {run.uid: run for run in runs}
        if self._plugins is not None:
            self._plugins.adopted(adopted, self._runs.keys())
        await self._janitor.open(self._runs.keys())
        await self._run_times.open()
        await self._owned.open()
        early, self._early = self._early or [], None
        ends = {end.key: end for end in early}
        runs.sort(key=lambda run: run.row.created_at)
        # The whole future first: what is not known to be needed could be evicted for the first step that asks.
        for run in runs:
            self._lookahead.announce(run)
            self._performer.adopt_locks(run)
        for run in runs:
            self._resume(run, ends)
        for end in early:
            self._pod_ended(end)
        self._performer.open_locks()
        self._begin_postponed(runs)
        await self._resume_garbage()
        self.owner_gone()

    def _begin_postponed(self, runs: Sequence[LiveRun]) -> None:
        """Count the workflows that run, then let those begin for which there is a place."""
        for run in runs:
            if not run.state.run.postponed:
                self._throttle.hold(run.uid, run.row.namespace)
        for run in runs:
            priority = run.state.program.spec.priority or 0
            if run.state.run.postponed and self._throttle.ask(
                run.uid, run.row.namespace, priority=priority, created_at=run.row.created_at
            ):
                self._post(run.uid, WorkflowStarted())

    async def close(self) -> None:
        """Stop driving; pods go on and are adopted at the next start."""
        self._timers.close()
        self._janitor.close()
        await self._owner.close()
        await self._run_times.save()
        await self._dataplane.close()
        await self._executor.close()

    async def _load(self, uid: str) -> LiveRun | None:
        stored = await self._store.load(uid)
        if stored is None:
            return None
        state = machine.restore(stored.header, [body for _, body in stored.nodes])
        run = LiveRun(state, stored.row)
        run.has_data = machine.has_data(state, self._objects)
        run.open_effects = {effect.key: decode_effect(effect.body) for effect in stored.effects}
        return run

    def _resume(self, run: LiveRun, ends: Mapping[str, PodEnd]) -> None:
        """Perform the open effects again, in the order in which they need each other.

        Outputs that are not proven yet come first, for steps may wait for them; then the pods that run, whose inputs are pinned;
        then the rest.
        """
        launches = [effect for effect in run.open_effects.values() if isinstance(effect, LaunchPod)]
        ended = [effect for effect in launches if machine.is_ended(run.state, effect.node_id)]
        surviving = [effect for effect in launches if effect not in ended and self._pods.survives(run.uid, effect.node_id)]
        for effect in ended:
            self._performer.perform(run, effect)
            end = ends.get(pod_key(run.uid, effect.node_id))
            awaited = machine.awaits_end(run.state, effect.node_id)
            if awaited and (end is not None or self._pods.survives(run.uid, effect.node_id)):
                continue  # the node hears of the end, and then hands over what it takes
            if end is not None:
                self._pods.ended(run.uid, effect.node_id, end, good=machine.is_good(run.state, effect.node_id))
            else:
                lost = "the pod's directory is gone: its outputs cannot be saved any more"
                self._post(run.uid, OutputsSaved(node_id=effect.node_id, error=lost))
        for effect in surviving:
            self._performer.perform(run, effect)
        for effect in run.open_effects.values():
            if effect not in ended and effect not in surviving:
                self._performer.perform(run, effect)

    # -- use ----------------------------------------------------------------------------------------------------------

    async def create(self, workflow: argo.Workflow, *, invalid: str = "", after: str = "", like: str = "") -> RunRow:
        """Take a validated workflow: give it a uid, look its inputs up, make it durable, and begin.

        Args:
            workflow: the manifest.
            invalid: why it cannot run, if that is known and it is to be kept all the same, ended in Error.
            after: the uid of a failed run whose successes it takes over.
            like: the uid of a run of the same template that succeeded: this one is expected to take as long.

        Raises:
            Refused: an input is missing, a remote refuses, it can never fit, the name is taken (code `conflict`), or the run
                that it comes after has not failed.
        """
        now = self._clock.now()
        own = workflow.metadata or argo.ObjectMeta()
        metadata = msgspec.structs.replace(own, uid=self._ids.uid(), creation_timestamp=own.creation_timestamp or rfc3339(now))
        workflow = msgspec.structs.replace(workflow, metadata=metadata)
        if after:
            old = await self._state_of(after)
            refusal = "the workflow is gone" if old is None else machine.memoization_refusal(old)
            if old is None or refusal:
                raise Refused(refusal)
            state = machine.resubmitted(
                workflow,
                old,
                now=now,
                objects=self._objects,
                repository=self._repository,
                archive_logs=self._archive_logs,
                defaults=self._defaults,
            )
        else:
            state = self._new_state(workflow, invalid)
        if like:
            state = machine.expecting(state, await self._expectations.like(like))
        metadata = state.program.metadata
        has_data = not state.run.invalid and machine.has_data(state, self._objects)
        if has_data:
            steps = self._lookahead.steps(metadata.uid or "", state)
            await self._dataplane.admit(metadata.uid or "", steps)
        namespace, name = metadata.namespace or "default", metadata.name or ""
        turn = Turn(state)
        uid, priority = metadata.uid or "", state.program.spec.priority or 0
        begins = self._throttle.ask(uid, namespace, priority=priority, created_at=now)
        first = WorkflowStarted() if begins else WorkflowPostponed(message=POSTPONED)
        turn.take(machine.decide(turn.state, first, now, self._objects))
        run = LiveRun(turn.state, RunRow(uid=metadata.uid or "", namespace=namespace, name=name, created_at=now))
        run.has_data = has_data
        run.draining = True
        self._runs[run.uid] = run
        try:
            await self._owned.remember(uid, namespace, metadata.owner_references)
            await self._commit(run, turn, machine.encode_header(turn.state), kind="ADDED")
        except BaseException as error:
            self._give_up(uid)
            self._owner.spawn(self._owned.forget(uid), f"forget whose {uid} is")
            if isinstance(error, VersionConflict):
                raise Refused(f'workflows.argoproj.io "{name}" already exists', code="conflict") from error
            raise
        self._lookahead.announce(run)
        self._performer.perform_all(run, turn)
        self._drained(run)
        return run.row

    def _give_up(self, uid: str) -> None:
        """A run has ended, or could not be kept: others may have its place."""
        self._runs.pop(uid, None)
        self._throttle.release(uid)
        for other in self._throttle.admit():
            self._post(other, WorkflowStarted())

    async def send(self, uid: str, event: Event) -> None:
        """Deliver an event to a run and return when it is durable.

        Raises:
            Refused: there is no such run (code `not_found`), or it cannot take the event now.
        """
        run = self._runs.get(uid) or await self._stored(uid)
        refusal = machine.refusal(run.state, event)
        if refusal:
            raise Refused(refusal)
        self._documents.forget(uid)
        self._janitor.forget(uid)
        run = self._runs.setdefault(uid, run)
        if not run.row.live:  # it comes back from the archive
            metadata = run.state.program.metadata
            await self._owned.remember(uid, run.row.namespace, metadata.owner_references)
        if isinstance(event, RetryRequested) and not self._has_place_again(run):
            event = msgspec.structs.replace(event, postponed=POSTPONED)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(run, event, future)
        await future
        if isinstance(event, RetryRequested):
            self._lookahead.announce(run)

    def _has_place_again(self, run: LiveRun) -> bool:
        """Ask for a place for a finished run: it goes on when others have ended, like one that is new."""
        priority = run.state.program.spec.priority or 0
        return self._throttle.ask(run.uid, run.row.namespace, priority=priority, created_at=run.row.created_at)

    async def fetch(self, uid: str) -> argo.Workflow | None:
        """Return the workflow with its status, or None."""
        run = self._runs.get(uid)
        if run is not None:
            return await self._documents.of(run.state)
        kept = self._documents.finished(uid)
        if kept is not None:
            return kept
        stored = await self._store.load(uid)
        return None if stored is None else await self._documents.of_stored(uid, stored)

    async def delete(self, uid: str, *, force: bool = False, from_archive: bool = False) -> None:
        """Remove a run and its logs; one that still runs is terminated first. What is archived stays in the archive.

        The artifacts that it gives up are deleted before; where that takes long, it goes on when this has returned.

        Args:
            uid: the run.
            force: leave artifacts that are not deleted yet where they are.
            from_archive: remove it from the archive, and only there.

        Raises:
            Refused: there is no such run (code `not_found`), or artifacts could not be deleted: then it stays.
        """
        if from_archive:
            await self._leave_archive(uid)
            return
        run = self._runs.get(uid)
        if run is not None and run.state.run.finished_at is None:
            await self.send(uid, ShutdownRequested(strategy="Terminate"))
            while (run := self._runs.get(uid)) is not None and run.state.run.finished_at is None:
                await self._clock.sleep(0.02)
        state = await self._state_of(uid)
        if state is None:
            raise Refused(f"there is no workflow with uid {uid!r}", code="not_found")
        if force or not machine.holds_back(state):
            await self._remove(uid)
            return
        await self._tell_finished(uid, DeletionRequested())
        for _ in range(int(GC_WAIT_S / GC_LOOK_S)):
            if not self._garbage.is_busy(uid):
                break
            await self._clock.sleep(GC_LOOK_S)
        state = await self._state_of(uid)
        if state is not None and state.run.gc_error:
            message = f"workflow {state.program.name} is not deleted, for its artifacts could not be: {state.run.gc_error}"
            raise Refused(f"{message}; delete it again when that is mended, or with force to leave them", code="conflict")

    async def _tell_finished(self, uid: str, event: Event) -> None:
        """Deliver an event to a run that has ended; one that is to be deleted goes when nothing holds it back any more."""
        run = self._runs.get(uid) or await self._load(uid)
        if run is None:
            await self._garbage.forget(uid)
            return
        run = self._runs.setdefault(uid, run)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(run, event, future)
        await future
        self._documents.forget(uid)
        if run.state.run.finished_at is None:
            return
        if not run.inbox:
            self._runs.pop(uid, None)
        if not run.state.run.gc_open:
            await self._garbage.forget(uid)
        if run.state.run.deleting is not None and not machine.holds_back(run.state):
            await self._remove(uid)

    async def _resume_garbage(self) -> None:
        """Go on with the artifacts of finished runs that were being deleted."""
        for uid in await self._garbage.pending():
            run = await self._load(uid)
            effects = [] if run is None else [one for one in run.open_effects.values() if isinstance(one, DeleteArtifacts)]
            for effect in effects:
                self._garbage.start(uid, effect)
            if run is None or (not effects and run.state.run.finished_at is not None):
                await self._garbage.forget(uid)
                if run is not None and run.state.run.deleting is not None and not machine.holds_back(run.state):
                    await self._remove(uid)

    async def _remove(self, uid: str) -> None:
        async with self._settled(uid):
            stored = await self._store.load(uid)
            if stored is None or not stored.row.live:
                return
            row = await archive.without_object(self._store, stored)
            self._runs.pop(uid, None)
        self._documents.forget(uid)
        self._janitor.forget(uid)
        await self._garbage.forget(uid)
        program = machine.restore(stored.header, ()).program
        if program.claims:
            names = [(claim.metadata and claim.metadata.name) or "" for claim in program.claims]
            await self._claims.drop(row.namespace, names)
        own_plugins = keys_of(uid, program.spec.executor_plugins)
        await self._executor.delete_logs([*(pod_key(uid, node_id) for node_id, _ in stored.nodes), *own_plugins])
        await self._owned.forget(uid)
        self._tell(Change(kind="DELETED", row=row))
        self.owner_gone(uid)

    async def _leave_archive(self, uid: str) -> None:
        async with self._settled(uid) as run:
            stored = await self._store.load(uid)
            if stored is None or not stored.row.archived:
                raise Refused(f"there is no archived workflow with uid {uid!r}", code="not_found")
            row = await archive.without_record(self._store, stored)
            if run is not None:
                run.row = row
        self._documents.forget(uid)
        self._tell(Change(kind="MODIFIED" if row.live else "DELETED", row=row))

    @contextlib.asynccontextmanager
    async def _settled(self, uid: str) -> AsyncGenerator[LiveRun | None]:
        """Hold a run's events back, so that its row can be changed beside them; None: the engine does not hold it now."""
        while (run := self._runs.get(uid)) is not None and run.draining:
            await self._clock.sleep(SETTLE_LOOK_S)
        if run is not None:
            run.draining = True
        try:
            yield run
        finally:
            if run is not None:
                self._drained(run)

    def owner_gone(self, uid: str = "") -> None:
        """An object of this uid was deleted (none given: some may have been): the runs that belong to it are deleted too."""
        self._owner.spawn(self._owned.collect(uid), f"delete what belonged to {uid}")

    async def _delete_quietly(self, uid: str) -> None:
        with contextlib.suppress(Refused):  # it is gone already
            await self.delete(uid)

    async def check(self, workflow: argo.Workflow) -> Estimate:
        """Say what running a workflow will take.

        Raises:
            Refused: an input is missing, a remote is unknown or refuses, or it can never fit.
        """
        state = self._new_state(workflow)
        future = self._lookahead.outlook("explain", state)
        return with_names(await self._dataplane.check(future.uid, future.steps), future.names)

    async def outlook(self, uids: Sequence[str] = ()) -> Estimate:
        """Say what is left of runs that have not ended, together in the primary; of all of them if none is given.

        Raises:
            Refused: one of them has ended, or is not there.
        """
        ended = [uid for uid in uids if uid not in self._runs]
        if ended:
            raise Refused("it has ended: nothing of it is still to come", code="conflict")
        found = [self._lookahead.outlook(uid, self._runs[uid].state) for uid in uids or list(self._runs)]
        estimate = await self._dataplane.outlook([(one.uid, one.steps) for one in found])
        plans = tuple(msgspec.structs.replace(plan, workflow=self.name_of(step_id(plan.uid, ""))) for plan in estimate.plans)
        named = {step: name for one in found for step, name in one.names.items()}
        return with_names(msgspec.structs.replace(estimate, plans=plans), named)

    async def locate(self, uid: str, artifact: argo.Artifact) -> ObjectRef | None:
        """Return where an artifact of a run's status lies, None if that is in no store.

        Raises:
            Refused: its remote is not configured (any more), or there is no such run.
        """
        state = await self._state_of(uid)
        if state is None:
            raise Refused(f"there is no workflow with uid {uid!r}", code="not_found")
        namespace = state.program.metadata.namespace or ""
        return self._locator().within(namespace, None if state.run.repository.default else state.run.store).find(artifact)

    def _new_state(self, workflow: argo.Workflow, invalid: str = "") -> machine.State:
        now = self._clock.now()
        return machine.new_state(
            workflow,
            now=now,
            objects=self._objects,
            invalid=invalid,
            repository=self._repository,
            archive_logs=self._archive_logs,
            defaults=self._defaults,
        )

    async def notes(self, uid: str) -> Sequence[Note]:
        """Return the run's history, oldest first: what was noted, and the beginnings and ends that its nodes tell of."""
        noted = [decode_note(body) for _, body in await self._store.events(uid, limit=MAX_EVENTS)]
        state = await self._state_of(uid)
        return machine.history(state, noted) if state is not None else noted

    async def why(self, uid: str, node: str) -> NodeReason:
        """Return a node, named by its id, name or display name, with what stands in its way.

        Raises:
            Refused: there is no such run or node, or several nodes have that name.
        """
        state = await self._state_of(uid)
        if state is None:
            raise Refused(f"there is no workflow with uid {uid!r}", code="not_found")
        found = machine.why(state, node, now=self._clock.now(), objects=self._objects)
        found = with_pod(found, self._pods.standing(uid, found.node_id))
        holders = self._performer.holders(uid, found.node_id)
        return with_holders(found, sorted(self.name_of(step_id(*holder)) for holder in holders))

    def name_of(self, step: StepId) -> str:
        """Return the name of the node that a step is; of an empty node the workflow's, and its id if the run has ended."""
        uid, _, node_id = step.partition("/")
        run = self._runs.get(uid)
        node = run.state.nodes.get(node_id) if run is not None else None
        if node is not None:
            return node.name
        return node_id or (run.row.name if run is not None else uid)

    async def _state_of(self, uid: str) -> machine.State | None:
        run = self._runs.get(uid)
        if run is not None:
            return run.state
        stored = await self._store.load(uid)
        return None if stored is None else machine.restore(stored.header, [body for _, body in stored.nodes])

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every durable change from now on; return how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def figures(self) -> Figures:
        """Return the engine's own gauges: places, and what waits."""
        running, waiting = self._pods.figures()
        return {
            "argo_workflows_pods_gauge": (
                "Pods by phase",
                [((("phase", "Running"),), float(running)), ((("phase", "Pending"),), float(waiting["data"] + waiting["slot"]))],
            ),
            "jitflow_queue_length": (
                "What waits: pods for data or a place, nodes and workflows for locks",
                [
                    ((("queue", name),), float(count))
                    for name, count in (
                        *waiting.items(),
                        ("locks", self._performer.waiting_for_locks),
                        ("workflows", self._throttle.waiting),
                    )
                ],
            ),
            "jitflow_live_workflows": ("Workflows that the engine drives", [((), float(len(self._runs)))]),
        }

    def pod_key(self, uid: str, node_id: str) -> str:
        """Return the executor's key of a node's pod."""
        return pod_key(uid, node_id)

    # -- events -------------------------------------------------------------------------------------------------------

    def _post(self, uid: str, event: Event) -> None:
        run = self._runs.get(uid)
        if run is not None:
            self._enqueue(run, event, None)

    def _enqueue(self, run: LiveRun, event: Event, future: asyncio.Future[None] | None) -> None:
        run.inbox.append((event, future))
        if not run.draining:
            run.draining = True
            self._owner.spawn(self._drain(run), f"drain {run.uid}")

    async def _drain(self, run: LiveRun) -> None:
        try:
            while run.inbox and not run.broken:
                batch, run.inbox = run.inbox, []
                await self._turn(run, batch)
        except Exception as error:
            run.broken = f"{type(error).__name__}: {error}"
            _fail_all(run.inbox, f"the workflow cannot go on: {run.broken}")
            raise
        finally:
            self._drained(run)

    def _drained(self, run: LiveRun) -> None:
        run.draining = False
        if run.inbox and not run.broken:
            run.draining = True
            self._owner.spawn(self._drain(run), f"drain {run.uid}")

    async def _turn(self, run: LiveRun, batch: list[tuple[Event, asyncio.Future[None] | None]]) -> None:
        """Decide on all that has come in, store it as one change, then perform it."""
        turn = Turn(run.state)
        now = self._clock.now()
        try:
            for event, _ in batch:
                turn.take(machine.decide(turn.state, event, now, self._objects))
            if turn.changed or run.notes:
                header = machine.encode_header(turn.state) if machine.header_differs(run.state, turn.state) else None
                await self._commit(run, turn, header, kind="MODIFIED")
        except Exception as error:
            _fail_all(batch, f"the event could not be taken: {error}")
            raise
        # Outputs are handed over before the steps that read them ask for their data.
        self._follow_up(run, batch)
        self._performer.perform_all(run, turn)

    def _follow_up(self, run: LiveRun, batch: list[tuple[Event, asyncio.Future[None] | None]]) -> None:
        """Do what had to wait until the events were durable."""
        learned: set[str] = set()
        for event, future in batch:
            if isinstance(event, PodEnded):
                learned.add(self._run_times.learn(run.state, event.node_id, event.end))
                self._pods.ended(run.uid, event.node_id, event.end, good=machine.is_good(run.state, event.node_id))
            elif isinstance(event, OutputsSaved):
                self._pods.forget(run.uid, event.node_id)
            if future is not None and not future.done():
                future.set_result(None)
        if learned:
            self._lookahead.announce_soon(run, learned)

    async def _commit(self, run: LiveRun, turn: Turn, header: bytes | None, *, kind: Literal["ADDED", "MODIFIED"]) -> None:
        ended = turn.state.run
        ends = ended.finished_at is not None and run.row.finished_at is None
        if any(isinstance(effect, DeleteArtifacts) for effect in turn.effects.values()):
            await self._garbage.remember(run.uid)
        if ends and ended.finished_at is not None:
            await self._janitor.remember(run.uid, turn.state.program.spec, ended.phase, ended.finished_at)
        notes, run.notes = run.notes, []
        row = self._row_of(turn.state, run.row, ends=ends)
        sequence = await self._store.commit(turn.commit(row, header, notes))
        run.row = msgspec.structs.replace(row, sequence=sequence)
        run.state = turn.state
        changed, removed = tuple(turn.nodes), tuple(turn.removed)
        self._tell(Change(kind=kind, row=run.row, ends=ends, nodes=changed, removed=removed, state=run.state))

    def _row_of(self, state: machine.State, row: RunRow, *, ends: bool) -> RunRow:
        summary = machine.summary(state)
        goes_on = summary.finished_at is None  # one of the archive too, when it is retried
        return msgspec.structs.replace(
            row,
            phase=summary.phase,
            message=summary.message,
            started_at=summary.started_at,
            finished_at=summary.finished_at,
            progress=summary.progress,
            labels=summary.labels,
            live=row.live or goes_on,
            archived=not goes_on and (row.archived or (ends and self._keeps_archive)),
            version=row.version + 1,
        )

    def objects_changed(self) -> None:
        """The limit of a semaphore may be another one now."""
        self._performer.serve_locks()

    def _closed(self, run: LiveRun) -> None:
        self._documents.let_go()
        self._give_up(run.uid)

    async def _stored(self, uid: str) -> LiveRun:
        run = await self._load(uid)
        if run is None:
            raise Refused(f"there is no workflow with uid {uid!r}", code="not_found")
        return run

    # -- what comes from below ----------------------------------------------------------------------------------------

    def _pod_ended(self, end: PodEnd) -> None:
        if self._early is not None:
            self._early.append(end)
            return
        if self._plugins is not None and self._plugins.pod_ended(end):
            return
        uid, _, node_id = end.key.partition(".")
        if uid in self._runs:
            self._post(uid, PodEnded(node_id=node_id, end=end))
        else:
            self._pods.ended_late(uid, node_id)

    def _add_note(self, uid: str, note: Note) -> None:
        run = self._runs.get(uid)
        if run is not None:
            run.notes.append(note)

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

    def _task_failed(self, name: str, error: BaseException) -> None:
        _log.error("task failed", error, task=name)


def _fail_all(batch: list[tuple[Event, asyncio.Future[None] | None]], message: str) -> None:
    for _, future in batch:
        if future is not None and not future.done():
            future.set_exception(Refused(message, code="unavailable"))
