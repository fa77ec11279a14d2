"""The engine: takes workflows, drives each by its events, and tells those who watch."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from jitflow import machine
from jitflow.engine.deletion import Deletion
from jitflow.engine.documents import Documents
from jitflow.engine.expectations import Expectations
from jitflow.engine.images import Images
from jitflow.engine.limits import ClaimKeeper, Memos, NoClaimKeeper, NoMemos
from jitflow.engine.locations import Locator
from jitflow.engine.lookahead import Lookahead, with_names
from jitflow.engine.performing import Keepers, Performer, Voice
from jitflow.engine.plugins import WorkflowPlugins, is_plugin
from jitflow.engine.podkeeper import PodKeeper, PodKeeperConfig, pod_key, step_id
from jitflow.engine.remembering import Remembering
from jitflow.engine.run import LiveRun, Turn, decode_note
from jitflow.engine.runs import Listener, Runs
from jitflow.engine.runtimes import RunTimes
from jitflow.engine.standing import with_holders, with_pod
from jitflow.engine.taskkeeper import TaskKeeper
from jitflow.engine.tasks import Owner
from jitflow.engine.throttle import POSTPONED, Throttle
from jitflow.engine.timers import Timers
from jitflow.machine.foreignlife import PREFIX as FOREIGN
from jitflow.machine.times import rfc3339
from jitflow.model import argo, repositories
from jitflow.model.data import ObjectRef, StepId
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.pods import PodEnd
from jitflow.model.problems import Refused
from jitflow.model.reasons import NodeReason
from jitflow.model.reports import Estimate
from jitflow.model.runs import (
    Event,
    LaunchPod,
    Note,
    OutputsSaved,
    PodEnded,
    RetryRequested,
    TimerFired,
    WorkflowPostponed,
    WorkflowStarted,
)
from jitflow.ports.agents import Agent
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.dataplane import DataPlane
from jitflow.ports.errors import PortError, VersionConflict
from jitflow.ports.executor import Executor
from jitflow.ports.store import RunRow, StateStore
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import CustomMetrics, Figures, by, one
from jitflow.telemetry.traces import ANNOTATION

MAX_EVENTS = 10_000
"""Lines of history returned at once."""

_END_PATIENCE_S = 10.0
_END_LOOK_S = 0.02
_RETRY_PATIENCE_S = 30.0
"""So long a retry waits for the pods of the attempt before."""
"""A start waits so long for ends that are known to have been, and looks so often."""

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
        marks: Callable[[], Mapping[str, str]] = dict,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Hold the adapters; `open` begins.

        `locator` is asked anew each time: remotes come and go. `keeps_archive`: what has ended is archived. `marks`: annotations
        that a workflow gets which is made now. `stopwatch` tells how long the engine's own work takes.
        """
        self._repository = repository
        self._defaults = defaults
        self._marks = marks
        self._store = store
        self._executor = executor
        self._dataplane = dataplane
        self._clock = clock
        self._ids = ids
        self._locator = locator
        self._archive_logs = config.archive_logs
        self._grace_s = config.grace_s
        self._objects = Remembering(objects, memos or NoMemos())
        self._owner = Owner(self._task_failed)
        self._documents = Documents(clock.now, config.around.host_name)
        self._runs = Runs(
            store,
            clock,
            self._objects,
            self._owner,
            prepare=self._prepare,
            follow=self._follow,
            archives=keeps_archive,
        )
        self._run_times = RunTimes(store, clock, self._owner)
        self._lookahead = Lookahead(
            dataplane,
            locator,
            lambda uid: uid in self._runs,
            objects,
            run_times=self._run_times,
            clock=clock,
            stopwatch=stopwatch,
            enabled=config.lookahead,
            intermediates=config.intermediates,
        )
        claims = claims or NoClaimKeeper()
        self._throttle = throttle or Throttle()
        self._plugins = plugins
        self._deletion = Deletion(
            self._runs,
            store=store,
            executor=executor,
            dataplane=dataplane,
            clock=clock,
            owner=self._owner,
            locator=locator,
            objects=objects,
            documents=self._documents,
            claims=claims,
        )
        self._pods = PodKeeper(
            executor=executor,
            dataplane=dataplane,
            clock=clock,
            images=images,
            owner=self._owner,
            config=config,
            post=self._pod_told,
            note=self._runs.note,
        )
        self._timers = Timers(clock, lambda uid, key: self._runs.post(uid, TimerFired(key=key)))
        self._performer = Performer(
            Keepers(
                pods=self._pods,
                tasks=TaskKeeper(self._owner, agents or {}, self._runs.post),
                timers=self._timers,
                objects=self._objects,
                claims=claims,
                meters=meters or CustomMetrics(clock.now),
                garbage=self._deletion.garbage,
                plugins=plugins,
            ),
            Voice(post=self._runs.post, note=self._runs.note, closed=self._closed),
            owner=self._owner,
            clock=clock,
            locator=locator,
        )
        self._expectations = Expectations(self._runs.state_of)
        self._early: list[PodEnd] | None = []

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Load what has not ended, adopt the pods that survived, and go on."""
        await self._executor.open(self._pod_ended, self._pods.hear_news)
        await self._dataplane.open(self._pods.hear)
        adopted = await self._executor.adopt()
        self._pods.adopted(adopted)
        runs = await self._runs.unfinished()
        for run in runs:
            self._runs.hold(run)
        if self._plugins is not None:
            self._plugins.adopted(adopted, {run.uid for run in runs})
        await self._deletion.open()
        await self._run_times.open()
        await self._hear_ends(runs)
        early, self._early = self._early or [], None
        ends = {end.key: end for end in early}
        runs.sort(key=lambda run: run.row.created_at)
        # The whole future first: what is not known to be needed could be evicted for the first step that asks.
        for run in runs:
            self._say_whose(run)
            self._lookahead.announce(run)
            self._performer.adopt_locks(run)
        for run in runs:
            self._resume(run, ends)
        for end in early:
            self._pod_ended(end)
        self._performer.open_locks()
        self._begin_postponed(runs)
        await self._withdraw_ended()
        self._owner.spawn(self._end_strays(adopted), "end pods of runs that have ended")
        await self._deletion.resume()

    async def _end_strays(self, adopted: Sequence[str]) -> None:
        """End the pods of runs that have ended: a kill between their end and the pods' would let them run on."""
        for key in adopted:
            uid = key.partition(".")[0]
            if uid in self._runs or is_plugin(key):
                continue
            stored = await self._store.load(uid)
            if uid not in self._runs and (stored is None or stored.row.finished_at is not None):
                await self._executor.terminate(key, self._grace_s)

    async def _withdraw_ended(self) -> None:
        """Tell the data plane of runs that had ended when it could not hear of it any more."""
        for uid in self._dataplane.workflows():
            if uid in self._runs or uid.startswith(FOREIGN):
                continue
            stored = await self._store.load(uid)
            if uid not in self._runs:
                self._dataplane.withdraw(uid, good=stored is None or stored.row.phase == "Succeeded")

    def data_side_is_back(self) -> None:
        """Tell the data plane, which was away, of runs that have ended meanwhile."""
        self._owner.spawn(self._withdraw_ended(), "withdraw runs that have ended")

    async def _hear_ends(self, runs: Sequence[LiveRun]) -> None:
        """Wait for the ends of pods whose nodes have ended already: what they wrote is handed over before others ask for it.

        An executor tells an end when it has been recorded; what takes a sandbox down may still be at work when it is adopted.
        """
        awaited = {
            pod_key(run.uid, effect.node_id)
            for run in runs
            for effect in run.open_effects.values()
            if isinstance(effect, LaunchPod) and machine.is_ended(run.state, effect.node_id)
            if self._pods.survives(run.uid, effect.node_id)
        }
        for _ in range(int(_END_PATIENCE_S / _END_LOOK_S)):
            awaited -= {end.key for end in self._early or ()}
            if not awaited:
                return
            await self._clock.sleep(_END_LOOK_S)

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
                self._runs.post(run.uid, WorkflowStarted())

    async def close(self) -> None:
        """Stop driving; pods go on and are adopted at the next start."""
        self._timers.close()
        self._deletion.close()
        await self._owner.close()
        with contextlib.suppress(PortError):  # what was learned of run times is no loss
            await self._run_times.save()
        await self._dataplane.close()
        await self._executor.close()

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
            elif not self._pods.survives(run.uid, effect.node_id):  # else its end is told again, a little later
                lost = "the pod's directory is gone: its outputs cannot be saved any more"
                self._pods.lost(run.uid, effect.node_id, lost)
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
        uid = self._ids.uid()
        metadata = msgspec.structs.replace(own, uid=uid, creation_timestamp=own.creation_timestamp or rfc3339(now))
        if marks := self._marks():
            metadata = msgspec.structs.replace(metadata, annotations={**own.annotations, **marks})
        workflow = msgspec.structs.replace(workflow, metadata=metadata)
        state = await self._resubmitted(workflow, after) if after else self._new_state(workflow, invalid)
        if like:
            state = machine.expecting(state, await self._expectations.like(like))
        namespace, name = own.namespace or "default", own.name or ""
        has_data = not state.run.invalid and machine.has_data(state, self._objects)
        if has_data:
            await self._dataplane.admit(uid, self._lookahead.steps(uid, state), namespace)
        begins = self._throttle.ask(uid, namespace, priority=state.program.spec.priority or 0, created_at=now)
        first = WorkflowStarted() if begins else WorkflowPostponed(message=POSTPONED)
        turn = Turn(state)
        turn.take(machine.decide(turn.state, first, now, self._objects))
        run = LiveRun(turn.state, RunRow(uid=uid, namespace=namespace, name=name, created_at=now))
        run.has_data = has_data
        try:
            noted = self._deletion.belongs(run)
            if noted is not None:
                await noted
            self._say_whose(run)
            await self._runs.begin(run, turn)
        except BaseException as error:
            self._dataplane.withdraw(uid)
            self._give_up(uid)
            self._deletion.not_stored(uid)
            if isinstance(error, VersionConflict):
                raise Refused(f'workflows.argoproj.io "{name}" already exists', code="conflict") from error
            raise
        return run.row

    def _say_whose(self, run: LiveRun) -> None:
        """Tell the data plane whose a run is, and which request made it."""
        marks = run.state.program.metadata.annotations
        self._dataplane.belongs(run.uid, run.row.namespace, marks.get(ANNOTATION, "") if marks else "")

    async def _resubmitted(self, workflow: argo.Workflow, after: str) -> machine.State:
        old = await self._runs.state_of(after)
        refusal = "the workflow is gone" if old is None else machine.memoization_refusal(old)
        if old is None or refusal:
            raise Refused(refusal)
        return machine.resubmitted(
            workflow,
            old,
            now=self._clock.now(),
            objects=self._objects,
            repository=self._repository,
            archive_logs=self._archive_logs,
            defaults=self._defaults,
        )

    def _give_up(self, uid: str) -> None:
        """A run has ended, or could not be kept: others may have its place."""
        self._runs.drop(uid)
        self._throttle.release(uid)
        for other in self._throttle.admit():
            self._runs.post(other, WorkflowStarted())

    async def send(self, uid: str, event: Event) -> None:
        """Deliver an event to a run and return when it is durable.

        Raises:
            Refused: there is no such run (code `not_found`), or it cannot take the event now.
        """
        run = await self._taking(uid, event)
        if isinstance(event, RetryRequested) and self._pods.lingers(uid):
            await self._let_pods_go(uid)
            run = await self._taking(uid, event)
        self._deletion.forget_end(uid)
        run = self._runs.hold(run)
        if not run.row.live and (noted := self._deletion.belongs(run)) is not None:  # it comes back from the archive
            await noted
        if isinstance(event, RetryRequested):
            self._say_whose(run)
        if isinstance(event, RetryRequested) and not self._has_place_again(run):
            event = msgspec.structs.replace(event, postponed=POSTPONED)
        await self._runs.deliver(run, event)
        if isinstance(event, RetryRequested):
            self._lookahead.announce(run)

    async def _taking(self, uid: str, event: Event) -> LiveRun:
        """Return a run that can take an event."""
        run = await self._runs.find(uid)
        refusal = machine.refusal(run.state, event)
        if refusal:
            raise Refused(refusal)
        return run

    async def _let_pods_go(self, uid: str) -> None:
        """Wait until pods of a run that has ended are gone: the same nodes are to have pods of the same names again."""
        for _ in range(int(_RETRY_PATIENCE_S / _END_LOOK_S)):
            if not self._pods.lingers(uid):
                return
            await self._clock.sleep(_END_LOOK_S)
        raise Refused("pods of the workflow still end, or their outputs are being sent; retry it a little later", code="conflict")

    def _has_place_again(self, run: LiveRun) -> bool:
        """Ask for a place for a finished run: it goes on when others have ended, like one that is new."""
        priority = run.state.program.spec.priority or 0
        return self._throttle.ask(run.uid, run.row.namespace, priority=priority, created_at=run.row.created_at)

    async def fetch(self, uid: str) -> argo.Workflow | None:
        """Return the workflow with its status, or None."""
        run = self._runs.get(uid)
        if run is not None:
            return self._documents.at_once(run.state) or await self._documents.of(run.state)
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
            await self._deletion.leave_archive(uid)
        else:
            await self._deletion.delete(uid, force=force)

    def owner_gone(self, uid: str = "") -> None:
        """An object of this uid was deleted (none given: some may have been): the runs that belong to it are deleted too."""
        self._deletion.owner_gone(uid)

    async def check(self, workflow: argo.Workflow) -> Estimate:
        """Say what running a workflow will take.

        Raises:
            Refused: an input is missing, a remote is unknown or refuses, or it can never fit.
        """
        state = self._new_state(workflow)
        future = self._lookahead.outlook("explain", state)
        namespace = state.program.metadata.namespace or "default"
        return with_names(await self._dataplane.check(future.uid, future.steps, namespace), future.names)

    async def outlook(self, uids: Sequence[str] = ()) -> Estimate:
        """Say what is left of runs that have not ended, together in the primary; of all of them if none is given.

        Raises:
            Refused: one of them has ended, or is not there.
        """
        if any(uid not in self._runs for uid in uids):
            raise Refused("it has ended: nothing of it is still to come", code="conflict")
        found = [self._lookahead.outlook(run.uid, run.state) for run in self._runs if not uids or run.uid in uids]
        estimate = await self._dataplane.outlook([(one.uid, one.steps) for one in found])
        plans = tuple(msgspec.structs.replace(plan, workflow=self.name_of(step_id(plan.uid, ""))) for plan in estimate.plans)
        named = {step: name for one in found for step, name in one.names.items()}
        return with_names(msgspec.structs.replace(estimate, plans=plans), named)

    async def locate(self, uid: str, artifact: argo.Artifact) -> ObjectRef | None:
        """Return where an artifact of a run's status lies, None if that is in no store.

        Raises:
            Refused: its remote is not configured (any more), or there is no such run.
        """
        state = await self._runs.existing(uid)
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
        state = await self._runs.state_of(uid)
        return machine.history(state, noted) if state is not None else noted

    async def why(self, uid: str, node: str) -> NodeReason:
        """Return a node, named by its id, name or display name, with what stands in its way.

        Raises:
            Refused: there is no such run or node, or several nodes have that name.
        """
        state = await self._runs.existing(uid)
        found = machine.why(state, node, now=self._clock.now(), objects=self._objects)
        found = with_pod(found, self._pods.standing(uid, found.node_id))
        holders = self._performer.holders(uid, found.node_id)
        return with_holders(found, sorted(self.name_of(step_id(*holder)) for holder in holders))

    def annotations(self, uid: str) -> Mapping[str, str] | None:
        """Return the annotations that a run was made with; None: it is not driven now."""
        run = self._runs.get(uid)
        return None if run is None else run.state.program.metadata.annotations

    def name_of(self, step: StepId) -> str:
        """Return the name of the node that a step is; of an empty node the workflow's, and its id if the run has ended."""
        uid, _, node_id = step.partition("/")
        run = self._runs.get(uid)
        node = run.state.nodes.get(node_id) if run is not None else None
        if node is not None:
            return node.name
        return node_id or (run.row.name if run is not None else uid)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every durable change from now on; return how to stop that."""
        return self._runs.subscribe(listener)

    @property
    def pods_held(self) -> int:
        """How many pods have a place."""
        return self._pods.figures()[0]

    def figures(self) -> Figures:
        """Return the engine's own gauges: places, and what waits."""
        running, waiting = self._pods.figures()
        queues = (*waiting.items(), ("locks", self._performer.waiting_for_locks), ("workflows", self._throttle.waiting))
        return {
            "argo_workflows_pods_gauge": by("phase", {"Running": running, "Pending": waiting["data"] + waiting["slot"]}),
            "jitflow_queue_length": by("queue", dict(queues)),
            "jitflow_live_workflows": one(len(self._runs)),
            "jitflow_places": by("state", {"held": running, "all": self._pods.places}),
            "jitflow_pods_total": by("outcome", self._pods.outcomes),
            "jitflow_data_wait_seconds_total": one(self._pods.waited_s),
        }

    def hold_pods(self) -> None:
        """Start no pod any more: the server is about to stop. Those that run go on."""
        self._pods.hold()

    def pod_key(self, uid: str, node_id: str) -> str:
        """Return the executor's key of a node's pod."""
        return pod_key(uid, node_id)

    def objects_changed(self) -> None:
        """The limit of a semaphore may be another one now."""
        self._performer.serve_locks()

    # -- turns --------------------------------------------------------------------------------------------------------

    def _prepare(self, run: LiveRun, turn: Turn) -> Awaitable[None] | None:
        return self._deletion.prepare(run, turn)

    def _follow(self, run: LiveRun, events: Sequence[Event], turn: Turn) -> None:
        """Do what had to wait until the events were durable; a run without any is new."""
        if not events:
            self._lookahead.announce(run)
        learned: set[str] = set()
        # Outputs are handed over before the steps that read them ask for their data.
        for event in events:
            if isinstance(event, PodEnded):
                learned.add(self._run_times.learn(run.state, event.node_id, event.end))
                self._pods.ended(run.uid, event.node_id, event.end, good=machine.is_good(run.state, event.node_id))
            elif isinstance(event, OutputsSaved):
                self._pods.forget(run.uid, event.node_id)
        if learned:
            self._lookahead.announce_soon(run, learned)
        self._performer.perform_all(run, turn)

    def _closed(self, run: LiveRun) -> None:
        self._documents.let_go()
        self._give_up(run.uid)

    # -- what comes from below ----------------------------------------------------------------------------------------

    def _pod_ended(self, end: PodEnd) -> None:
        if self._early is not None:
            self._early.append(end)
            return
        if self._plugins is not None and self._plugins.pod_ended(end):
            return
        uid, _, node_id = end.key.partition(".")
        if uid in self._runs:
            self._runs.post(uid, PodEnded(node_id=node_id, end=end))
        else:
            self._pods.ended_late(uid, node_id)

    def _pod_told(self, uid: str, event: Event) -> None:
        if uid in self._runs:
            self._runs.post(uid, event)
        elif isinstance(event, OutputsSaved):  # of a pod that was being killed when its run was closed
            self._pods.forget(uid, event.node_id)

    def _task_failed(self, name: str, error: BaseException) -> None:
        _log.error("task failed", error, task=name)
