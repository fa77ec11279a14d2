"""Workflows that another Argo runs: told by events, their data near while they run.

An event becomes a view of a workflow; what is known of it is the newest view (`machine.foreignlife`), kept in the store before
the event is answered. What follows from that for the data plane is brought about by one task for each workflow, which compares
what is wanted with what is held: doing that twice changes nothing, so a restart simply does it again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow import spec
from jitflow.app.names import check_name, check_namespace
from jitflow.engine.locations import Locator
from jitflow.engine.pods import inputs_named
from jitflow.machine import foreign, foreignlife
from jitflow.model import argo, repositories
from jitflow.model.data import FutureInput, ObjectRef, Replica, ReplicaState, StepId
from jitflow.model.foreign import DONE, ForeignObject, ForeignRun, ForeignStep, ForeignStepView, ForeignView, Outcome, Version
from jitflow.model.objects import Objects
from jitflow.model.origins import Origin
from jitflow.model.problems import Problem, Refused
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataEvent, DataView, Lease, LeaseRefused, SharedDataPlane
from jitflow.ports.errors import PortError
from jitflow.ports.store import StateStore
from jitflow.spec import announcements
from jitflow.telemetry import logger

DOCUMENTS: Final = "foreign"
MAX_RUNS: Final = 10_000
"""So many are known at once; of those that have ended, the oldest give way."""
LOOK_EVERY_S: Final = 30.0
"""How often it is looked which were not heard of for long."""
_UID_CHARS: Final = 128
_PROBLEMS_KEPT: Final = 20
_LARGE_BYTES: Final = 64 * 1024

_log = logger("foreign")
Spawn = Callable[[Coroutine[Any, Any, Any], str], None]


class Mirror(Struct, frozen=True, kw_only=True):
    """Two prefixes that stand for each other: steps look at `near`, the objects come from `far`."""

    near: ObjectRef
    far: ObjectRef

    def of(self, ref: ObjectRef) -> tuple[ObjectRef, ObjectRef] | None:
        """Return an object's far and near names, None if it lies below neither prefix."""
        for prefix in (self.far, self.near):
            if ref.remote == prefix.remote and ref.path.startswith(prefix.path):
                rest = ref.path.removeprefix(prefix.path)
                return _below(self.far, rest), _below(self.near, rest)
        return None


def _below(prefix: ObjectRef, rest: str) -> ObjectRef:
    return ObjectRef(remote=prefix.remote, path=f"{prefix.path}{rest}")


class ForeignRules(Struct, frozen=True, kw_only=True):
    """How such workflows are treated. Seconds.

    `ahead`: of so many steps that do not run yet the objects are held. `silence_s`: a workflow that nobody has spoken of for so
    long has ended (0: never). `kept_s`: what has ended is remembered for so long, for late events.
    """

    ahead: int = 16
    silence_s: float = 86_400.0
    kept_s: float = 604_800.0
    mirrors: tuple[Mirror, ...] = ()


class _Live:
    """A workflow, and what the data plane was told of it."""

    def __init__(self, run: ForeignRun) -> None:
        self.run = run
        self.key = foreignlife.data_uid(run.namespace, run.uid)
        self.asked: dict[StepId, bool] = {}
        """What holds objects or asks for them, and whether it has them."""
        self.parts: foreignlife.Parts = foreignlife.NOTHING
        self.refused: dict[StepId, str] = {}
        self.settled = False
        """It has ended, and the data plane knows."""
        self.looked_at: set[ObjectRef] = set()
        """Objects that were looked up."""
        self.busy = False
        self.again = False

    def holding(self) -> set[str]:
        """Return the nodes of the steps that have all that is known of what they read."""
        waiting = {_node_of(part) for part, given in self.asked.items() if not given}
        return {_node_of(part) for part in self.asked} - waiting


class ForeignRuns:
    """The driver: one for each server."""

    def __init__(
        self,
        *,
        store: StateStore,
        dataplane: SharedDataPlane,
        view: DataView,
        objects: Objects,
        locator: Callable[[], Locator],
        clock: Clock,
        spawn: Spawn,
        rules: ForeignRules = ForeignRules(),  # noqa: B008 - a frozen value
    ) -> None:
        """Hold the parts. `objects`: where ConfigMaps and the Secrets of manifests' stores are found."""
        self._store = store
        self._dataplane = dataplane
        self._data_view = view
        self._objects = objects
        self._locator = locator
        self._clock = clock
        self._spawn = spawn
        self._rules = rules
        self._live: dict[str, _Live] = {}
        self._closed = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Go on with what an earlier life knew."""
        self._dataplane.share(foreignlife.PREFIX, self._hear)
        for _, body in await self._store.items(DOCUMENTS):
            run = msgspec.json.decode(body, type=ForeignRun)
            for origin in run.origins:
                self._locator().notice(origin)
            live = _Live(run)
            self._live[live.key] = live
        for live in list(self._live.values()):
            self._bring_about(live)
        self._spawn(self._look(), "workflows of another Argo that fell silent")

    def close(self) -> None:
        """Tell the data plane nothing any more; what is held stays for the next life."""
        self._closed = True

    async def _look(self) -> None:
        while not self._closed:
            await self._clock.sleep(LOOK_EVERY_S)
            await self.tidy()

    async def tidy(self) -> None:
        """End what was not heard of for long, and forget what ended long ago."""
        now = self._clock.now()
        over = [live for live in self._live.values() if self._ending(live.run)]
        for live in over:
            if not live.settled:
                self._bring_about(live)
        over.sort(key=lambda live: live.run.heard_at)
        many = len(self._live) - MAX_RUNS
        old = [live for number, live in enumerate(over) if number < many or now - live.run.heard_at >= self._rules.kept_s]
        gone = [live.key for live in old if not live.asked and not live.busy]
        if gone:
            await self._store.put(DOCUMENTS, [(key, None) for key in gone])
            for key in gone:
                self._live.pop(key, None)

    def _ending(self, run: ForeignRun) -> str:
        return foreignlife.ending(run, self._clock.now(), self._rules.silence_s)

    # -- events -------------------------------------------------------------------------------------------------------

    async def read(self, body: bytes) -> announcements.Announced:
        """Return what an event says; a long one is read in a thread.

        Raises:
            Refused: it cannot be understood.
        """
        found = announcements.read(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(announcements.read, body)
        metadata = found.workflow.metadata or argo.ObjectMeta()
        uid = metadata.uid or ""
        if not uid or len(uid) > _UID_CHARS or not all(char.isalnum() or char in "-._" for char in uid):
            remedy = "send events of workflows that a Kubernetes has"
            raise Refused(Problem(message=f"metadata.uid {uid[:40]!r} is not the uid of a workflow", remedy=remedy))
        check_namespace(metadata.namespace or "")
        check_name(metadata.name or "")
        return found

    async def take(self, event: announcements.Announced) -> Outcome:
        """Take what an event says; durable when this returns, and its data follows.

        Raises:
            Refused: too many workflows are known already.
        """
        metadata = event.workflow.metadata or argo.ObjectMeta()
        key = foreignlife.data_uid(metadata.namespace or "", metadata.uid or "")
        deleted = event.type == announcements.DELETED
        version = foreign.version_of(event.workflow, deleted=deleted)
        live = self._live.get(key)
        if live is not None and (live.run.deleted or (version <= live.run.version and not deleted)):
            return await self._known(live, version)
        if live is None and len(self._live) >= MAX_RUNS and not any(self._ending(one.run) for one in self._live.values()):
            raise Refused(f"{MAX_RUNS} workflows of another Argo are known already; end some", code="conflict")
        view = await self._view(event, version)
        live = self._live.setdefault(key, _Live(foreignlife.joined(view, view)))
        live.run = foreignlife.joined(live.run, view)
        await self._store.put(DOCUMENTS, [(key, _kept(live.run))])
        self._bring_about(live)
        return _outcome(live.run, "taken", _told(live.run))

    async def _known(self, live: _Live, version: Version) -> Outcome:
        """Take an event that says nothing new; that it was sent again shows that its workflow is not forgotten."""
        if version == live.run.version and not live.run.deleted:
            live.run = replace(live.run, heard_at=max(live.run.heard_at, self._clock.now()))
            await self._store.put(DOCUMENTS, [(live.key, _kept(live.run))])
            if live.settled and not self._ending(live.run):
                self._bring_about(live)
        return _outcome(live.run, "known", "this event says nothing new")

    async def _view(self, event: announcements.Announced, version: Version) -> ForeignRun:
        """Return the workflow as an event shows it, its steps read in a thread if there may be many."""
        workflow, now = event.workflow, self._clock.now()
        metadata = workflow.metadata or argo.ObjectMeta()
        run = ForeignRun(
            uid=metadata.uid or "",
            namespace=metadata.namespace or "",
            name=metadata.name or "",
            version=version,
            phase=foreign.phase_of(workflow),
            deleted=event.type == announcements.DELETED,
            first_heard_at=now,
            heard_at=now,
            finished_at=foreign.finished_at(workflow),
        )
        if run.has_ended:
            return run
        seen = await asyncio.to_thread(foreign.seen, workflow, _validate, self._objects)
        return self._placed(run, seen)

    def _placed(self, run: ForeignRun, seen: foreign.Seen) -> ForeignRun:
        """Return the workflow with its steps, each artifact's object found."""
        origins: dict[str, Origin] = {}
        plain = self._locator()

        def notice(origin: Origin) -> None:
            plain.notice(origin)
            # What must not be shown is not written down either: such a store is known again by the next event.
            if not origin.hidden or not any(origin.options.get(name) for name in origin.hidden):
                origins[origin.name] = origin

        locator = replace(plain.within(run.namespace, seen.repository), notice=notice)
        problems = list(seen.problems)
        place = _Placing(locator, seen.repository, self._rules.mirrors, problems)
        steps = tuple(place.step(step) for step in seen.steps)
        return replace(
            run, steps=steps, origins=tuple(origins.values()), problems=tuple(dict.fromkeys(problems))[:_PROBLEMS_KEPT]
        )

    # -- the data plane -----------------------------------------------------------------------------------------------

    def _hear(self, event: DataEvent) -> None:
        live = self._live.get(event.step.partition("/")[0])
        if live is None or event.step not in live.asked:
            return
        if isinstance(event, Lease):
            live.asked[event.step] = True
        elif isinstance(event, LeaseRefused):
            del live.asked[event.step]
            live.refused[event.step] = event.message
            _log.warning("objects of a foreign step cannot be near", workflow=live.run.name, reason=event.message)

    def _bring_about(self, live: _Live) -> None:
        live.again = True
        if not live.busy and not self._closed:
            live.busy = True
            self._spawn(self._follow(live), f"data of {live.run.name}")

    async def _follow(self, live: _Live) -> None:
        try:
            while live.again and not self._closed:
                live.again = False
                if self._ending(live.run):
                    self._let_go(live)
                else:
                    await self._follow_one(live)
        finally:
            live.busy = False

    async def _follow_one(self, live: _Live) -> None:
        wanted = foreignlife.wanted(live.run, self._rules.ahead, live.parts)
        new = [step for step in wanted.coming if any(one.ref not in live.looked_at for one in step.inputs)]
        if new:
            try:
                await self._dataplane.admit(live.key, new)
            except (Refused, PortError) as error:
                # A step's own lease says what is wrong with it; the others have their objects all the same.
                _log.warning("not everything of a foreign workflow can be near", workflow=live.run.name, reason=str(error)[:500])
            live.looked_at.update(one.ref for step in new for one in step.inputs)
            if live.again or self._closed:
                return
        self._dataplane.belongs(live.key, live.run.namespace)
        self._dataplane.announce(live.key, wanted.coming)
        live.settled = False
        live.parts = wanted.parts
        for step in wanted.coming:
            if step.id in wanted.held and step.id not in live.asked and step.id not in live.refused:
                live.asked[step.id] = False
                self._dataplane.acquire(live.key, step)
        for step in [step for step in live.asked if step not in wanted.held]:
            del live.asked[step]
            self._dataplane.release(step, [])

    def _let_go(self, live: _Live) -> None:
        asked = [*live.asked]
        live.asked.clear()
        live.parts = foreignlife.NOTHING
        live.refused.clear()
        live.looked_at.clear()
        for step in asked:
            self._dataplane.release(step, [])
        # Leases of an earlier life go too.
        self._dataplane.withdraw(live.key)
        live.settled = True

    # -- what people see ----------------------------------------------------------------------------------------------

    async def list(self, namespace: str = "", *, visible: Iterable[str] | None = None) -> Sequence[ForeignView]:
        """Return the workflows of a namespace (of all that are `visible` without one), newest first."""
        seen = None if visible is None else frozenset(visible)
        runs = [
            live
            for live in self._live.values()
            if (not namespace or live.run.namespace == namespace) and (seen is None or live.run.namespace in seen)
        ]
        runs.sort(key=lambda live: (-live.run.first_heard_at, live.run.name))
        refs = {one.ref for live in runs for step in live.run.steps for one in step.inputs}
        replicas = await self._data_view.replicas_of(refs) if refs else {}
        return [self._shown(live, replicas) for live in runs]

    async def get(self, namespace: str, name: str) -> ForeignView:
        """Return the newest workflow of that name, or of that uid, with its steps and where their objects are.

        Raises:
            Refused: there is none (code `not_found`).
        """
        found = [
            live for live in self._live.values() if live.run.namespace == namespace and name in {live.run.name, live.run.uid}
        ]
        if not found:
            raise Refused(f"no workflow {name[:80]!r} of another Argo is known in namespace {namespace[:80]!r}", code="not_found")
        live = max(found, key=lambda one: one.run.first_heard_at)
        holding = live.holding()
        refs = {one.ref for step in live.run.steps for one in step.inputs}
        replicas = await self._data_view.replicas_of(refs) if refs else {}
        steps = tuple(self._step(live, step, replicas, held=step.id in holding) for step in live.run.steps)
        return replace(self._shown(live, replicas), steps=steps)

    def _shown(self, live: _Live, replicas: Mapping[ObjectRef, Replica]) -> ForeignView:
        run = live.run
        refs = {one.ref for step in run.steps for one in step.inputs}
        near = sum(1 for ref in refs if (one := replicas.get(ref)) is not None and one.state is ReplicaState.RESIDENT)
        return ForeignView(
            namespace=run.namespace,
            name=run.name,
            uid=run.uid,
            phase=run.phase,
            ended=self._ending(run),
            first_heard_at=run.first_heard_at,
            heard_at=run.heard_at,
            objects=len(refs),
            near=near,
            held_steps=len(live.holding()),
            open_steps=sum(1 for step in run.steps if step.state != DONE),
            problems=run.problems,
        )

    def _step(self, live: _Live, step: ForeignStep, replicas: Mapping[ObjectRef, Replica], *, held: bool) -> ForeignStepView:
        refused = [message for part, message in live.refused.items() if _node_of(part) == step.id]
        return ForeignStepView(
            name=step.name,
            template=step.template,
            state=step.state,
            held=held,
            objects=tuple(_object(one, replicas.get(one.ref), held=held) for one in step.inputs),
            message="; ".join(refused),
        )


def _node_of(part: StepId) -> str:
    return part.rpartition("/")[2].rpartition("+")[0]


class _Placing:
    """Finds the objects of steps' artifacts; what cannot be found is a problem for people to read, not an error."""

    def __init__(
        self, locator: Locator, repository: argo.ArtifactRepository | None, mirrors: Sequence[Mirror], problems: list[str]
    ) -> None:
        self._locator = locator
        self._repository = repository
        self._mirrors = mirrors
        self._problems = problems

    def step(self, step: foreign.SeenStep) -> ForeignStep:
        """Return a step with its objects."""
        refs = (self._find(artifact) for artifact in step.inputs)
        try:
            named = inputs_named(step.named, self._locator)
        except Refused as error:
            named = ()
            self._problems.append(str(error))
        inputs = {one.ref: one for one in (*(self._input(ref) for ref in refs if ref is not None), *named)}
        outputs = (self._find(artifact) for artifact in step.outputs)
        return ForeignStep(
            id=step.id,
            name=step.name,
            template=step.template,
            state=step.state,
            inputs=tuple(inputs.values()),
            outputs=tuple(ref for ref in outputs if ref is not None),
            after=step.after,
            certain=step.certain,
        )

    def _find(self, artifact: argo.Artifact) -> ObjectRef | None:
        if self._repository is None and not repositories.is_placed(artifact):
            self._problems.append(f"artifact {artifact.name}: it is not known yet in which repository it lies")
            return None
        try:
            return self._locator.find(artifact)
        except Refused as error:
            self._problems.append(str(error))
            return None

    def _input(self, ref: ObjectRef) -> FutureInput:
        """Return an input as the data plane takes it. It may be missing: that is for the step itself to say."""
        for mirror in self._mirrors:
            if (pair := mirror.of(ref)) is not None:
                return FutureInput(ref=pair[0], near=pair[1], optional=True)
        return FutureInput(ref=ref, optional=True)


def _object(one: FutureInput, replica: Replica | None, *, held: bool) -> ForeignObject:
    return ForeignObject(
        object=str(one.ref),
        state=replica.state.value if replica is not None else ReplicaState.ABSENT.value,
        size_bytes=replica.size_bytes if replica is not None else one.size_bytes,
        near=str(one.near) if one.near is not None and held else "",
    )


def _validate(workflow: argo.Workflow, objects: Objects) -> None:
    spec.validate(workflow, spec.Places(), objects=objects)


def _kept(run: ForeignRun) -> bytes:
    return msgspec.json.encode(run)


def _outcome(run: ForeignRun, outcome: str, message: str) -> Outcome:
    return Outcome(outcome=outcome, message=message, namespace=run.namespace, name=run.name, uid=run.uid, phase=run.phase)


def _told(run: ForeignRun) -> str:
    if run.has_ended:
        return "the workflow has ended; its objects are let go"
    objects = len({one.ref for step in run.steps for one in step.inputs})
    if not objects:
        return "the workflow names no objects that are known here"
    return f"the workflow's objects ({objects}) are brought near"
