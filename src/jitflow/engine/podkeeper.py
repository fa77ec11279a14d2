"""The pods of all live runs: from the decision to launch one to its outputs' proof far away.

A pod's way: data (its inputs are fetched) -> slot (it waits for a place) -> starting -> running -> saving -> gone. Without
look-ahead a pod gets its place first and fetches its inputs while holding it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import msgspec

from jitflow.engine.addresses import address_of, pod_key
from jitflow.engine.images import Images
from jitflow.engine.locations import Locator
from jitflow.engine.losses import Losses
from jitflow.engine.pods import PodPlan, build_pod, plan_pod, step_id
from jitflow.engine.readiness import commands_of, probes_of, until_ready
from jitflow.engine.slots import Slots
from jitflow.engine.standing import PodStanding
from jitflow.engine.surroundings import Surroundings, unschedulable
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.pods import PodEnd, PodNews
from jitflow.model.problems import Refused
from jitflow.model.runs import (
    Event,
    KillPod,
    LaunchPod,
    Note,
    OutputsSaved,
    PodEnded,
    PodProgressed,
    PodReady,
    PodRefused,
    PodStarted,
    PodWaits,
)
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataEvent, DataPlane, Lease, LeaseRefused, OutputObject, StagedOut, Waiting
from jitflow.ports.errors import PortError
from jitflow.ports.executor import Executor
from jitflow.telemetry import bind

_LOOK_EVERY_S = 0.05
"""How often a daemon whose readiness its pod tells is looked at."""


class PodPhase(StrEnum):
    """Where a pod is on its way."""

    DATA = "data"
    SLOT = "slot"
    STARTING = "starting"
    RUNNING = "running"
    SAVING = "saving"


class _LivePod(msgspec.Struct, kw_only=True):
    uid: str
    node_id: str
    plan: PodPlan
    phase: PodPhase
    lease: Lease | None = None
    kill_after: float | None = None
    obstacle: str = ""
    """Why no node can take it."""
    asked_at: float = 0.0

    @property
    def priority(self) -> int:
        """The workflow's: among those that wait for a place, the higher comes first."""
        return self.plan.launch.workflow_level.priority


class PodKeeperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How pods are run: places, look-ahead, the environment that host-root images see, the default grace.

    `marks`: what the pod of a node finds in its environment besides.

    `archive_logs`: whether the logs of all pods are kept as artifacts. `intermediates`: `keep` or `when-needed`, for artifacts
    that steps hand on to each other.
    """

    max_pods: int
    lookahead: bool
    environment: Mapping[str, str]
    grace_s: float
    around: Surroundings = Surroundings()
    archive_logs: bool = False
    intermediates: str = "keep"
    marks: Callable[[str, str], Mapping[str, str]] = lambda _uid, _node_id: {}


class PodKeeper:
    """Performs what runs decide about pods, and tells them what became of it through `post`."""

    def __init__(
        self,
        *,
        executor: Executor,
        dataplane: DataPlane,
        clock: Clock,
        images: Images,
        owner: Owner,
        config: PodKeeperConfig,
        post: Callable[[str, Event], None],
        note: Callable[[str, Note], None],
    ) -> None:
        """Keep what is needed; nothing starts before `adopted` and `launch`."""
        self._executor = executor
        self._dataplane = dataplane
        self._clock = clock
        self._images = images
        self._owner = owner
        self._config = config
        self._post = post
        self._note = note
        self._slots = Slots(config.max_pods)
        self._pods: dict[str, _LivePod] = {}
        self._known: set[str] = set()
        self._news: dict[str, PodNews] = {}
        self._held: dict[str, asyncio.Event] = {}
        self._warned: set[tuple[str, str]] = set()
        self._losses = Losses()
        self._forgetting: set[str] = set()
        self.outcomes = {"good": 0, "bad": 0, "refused": 0}
        """How many pods have ended how, since the start."""
        self.waited_s = 0.0
        """How long pods have waited for their data, since the start."""

    def adopted(self, keys: Sequence[str]) -> None:
        """Take note of the pods that survived a restart; launching one of them again does not start it again."""
        self._known = set(keys)

    def survives(self, uid: str, node_id: str) -> bool:
        """Return whether the node's pod was there before this process."""
        return pod_key(uid, node_id) in self._known

    def figures(self) -> tuple[int, dict[str, int]]:
        """Return how many pods hold a place, and how many wait for what: `data`, `slot`."""
        phases = [pod.phase for pod in self._pods.values()]
        return self._slots.held, {phase.value: phases.count(phase) for phase in (PodPhase.DATA, PodPhase.SLOT)}

    @property
    def places(self) -> int:
        """How many pods may run at once."""
        return self._slots.limit

    def hold(self) -> None:
        """Start no pod any more; those that run go on."""
        self._slots.pause()

    def standing(self, uid: str, node_id: str) -> PodStanding | None:
        """Return where a node's pod is on its way, None if it has none now."""
        key = pod_key(uid, node_id)
        pod = self._pods.get(key)
        if pod is None:
            return None
        slots = self._slots
        phase, before = (PodPhase.SLOT, slots.before(key)) if slots.waits(key) else (pod.phase, 0)
        return PodStanding(
            phase=phase,
            has_data=pod.lease is not None,
            obstacle=pod.obstacle,
            before=before,
            held=slots.held,
            places=slots.limit,
        )

    def launch(self, uid: str, effect: LaunchPod, locator: Locator, *, name: str = "", ended: bool = False) -> None:
        """Get the pod's data, then run it. Harmless to repeat.

        `name`: the node's. `ended`: it ran, only its outputs are to be saved.
        """
        key = pod_key(uid, effect.node_id)
        if key in self._pods:
            return
        try:
            plan = plan_pod(uid, effect, locator, self._images, name)
            probes_of(plan.launch.template, address_of(key))
        except Refused as error:
            self._post(uid, PodRefused(node_id=effect.node_id, message=str(error)))
            return
        if not ended and self._has_lost(uid, plan):
            return
        self._warn_of_image(uid, plan)
        pod = _LivePod(uid=uid, node_id=effect.node_id, plan=plan, phase=PodPhase.DATA, asked_at=self._clock.now())
        self._pods[key] = pod
        pod.obstacle = "" if ended or key in self._known else unschedulable(effect, self._config.around)
        if pod.obstacle:
            # As in Kubernetes, it stays Pending: a node that fits may come, or the deadline.
            self._post(uid, PodWaits(node_id=effect.node_id, message=pod.obstacle))
        elif ended:
            # Its outputs were not all proven when the server stopped: its end, told again, hands them over again.
            pod.phase = PodPhase.RUNNING
        elif key in self._known:
            pod.phase = PodPhase.RUNNING
            self._slots.hold(key)
            self._dataplane.acquire(uid, plan.step)
            self._pass_on(key)
            self._await_ready(key, pod)
        elif self._config.lookahead:
            self._dataplane.acquire(uid, plan.step)
        else:
            self._slots.request(key, lambda: self._dataplane.acquire(uid, plan.step), pod.priority)

    def _has_lost(self, uid: str, plan: PodPlan) -> bool:
        """Refuse a pod that would read something else for what another node has written; return whether it was refused."""
        runs = pod_key(uid, plan.launch.node_id) in self._known  # and reads what was there
        lost = None if runs else self._losses.among(uid, (ref for _, ref in plan.inputs))
        if lost is None:
            self._losses.write(uid, (ref for _, ref in plan.outputs))
            return False
        message = (
            f"input {lost}: it was written on a machine that is gone, or removed there before it was saved; retry the workflow"
        )
        self._post(uid, PodRefused(node_id=plan.launch.node_id, message=message))
        return True

    def kill(self, uid: str, effect: KillPod) -> None:
        """End the node's pod, or take it out of the queues if it does not run yet."""
        key = pod_key(uid, effect.node_id)
        pod = self._pods.get(key)
        if pod is not None and pod.phase in (PodPhase.DATA, PodPhase.SLOT):
            self._drop(key, pod)
            now = self._clock.now()
            end = PodEnd(key=key, exit_code=None, started_at=now, finished_at=now, terminated=True)
            self._post(uid, PodEnded(node_id=effect.node_id, end=end))
        elif pod is not None and pod.phase is PodPhase.STARTING:
            pod.kill_after = effect.grace_s
        else:
            self._owner.spawn(self._executor.terminate(key, effect.grace_s), f"kill {key}")

    def hear(self, event: DataEvent) -> None:
        """Take what the data plane says."""
        uid, _, node_id = event.step.partition("/")
        key = pod_key(uid, node_id)
        pod = self._pods.get(key)
        if isinstance(event, StagedOut):
            self._saved(uid, node_id, key, event.error)
        elif pod is None or pod.phase is not PodPhase.DATA:
            return
        elif isinstance(event, Lease):
            self._leased(key, pod, event)
        elif isinstance(event, LeaseRefused):
            self._drop(key, pod)
            self.outcomes["refused"] += 1
            self._post(uid, PodRefused(node_id=node_id, message=event.message))
        elif isinstance(event, Waiting):
            self._post(uid, PodWaits(node_id=node_id, message=event.message))

    def hear_news(self, news: PodNews) -> None:
        """Take what is known of a pod that runs; before its run is known, it waits until the pod is launched again."""
        self._news[news.key] = news
        self._pass_on(news.key)

    def _pass_on(self, key: str) -> None:
        pod, news = self._pods.get(key), self._news.get(key)
        if pod is not None and news is not None and news.progress:
            self._post(pod.uid, PodProgressed(node_id=pod.node_id, progress=news.progress))

    def ended(self, uid: str, node_id: str, end: PodEnd, *, good: bool) -> None:
        """The end is in the store: free the place, hand the outputs over. `good`: the node has succeeded."""
        key = pod_key(uid, node_id)
        self._slots.free(key)
        pod = self._pods.get(key)
        if pod is None:
            self.forget(uid, node_id)
            return
        if pod.phase is PodPhase.SAVING:
            return
        pod.phase = PodPhase.SAVING
        self.outcomes["good" if good else "bad"] += 1
        outputs = _collected(pod.plan, end)
        self._losses.write(uid, (ref for _, ref in pod.plan.outputs))
        self._dataplane.release(pod.plan.step.id, outputs, good=good)
        if not outputs:
            self._saved(uid, node_id, key, "")

    def lost(self, uid: str, node_id: str, error: str) -> None:
        """What an ended pod has written is not there any more: it holds nothing, and the node may be run again."""
        key = pod_key(uid, node_id)
        if (pod := self._pods.get(key)) is not None:
            self._losses.lose(uid, (ref for _, ref in pod.plan.outputs))
            self._drop(key, pod)
        self._post(uid, OutputsSaved(node_id=node_id, error=error, lost=True))

    def ended_late(self, uid: str, node_id: str) -> None:
        """A pod of a run that is closed already has ended (it was being killed): give back what it held."""
        key = pod_key(uid, node_id)
        pod = self._pods.pop(key, None)
        self._slots.free(key)
        if pod is not None and pod.phase is not PodPhase.SAVING:
            self._dataplane.release(pod.plan.step.id, (), good=False)
        self.forget(uid, node_id)

    def forget(self, uid: str, node_id: str) -> None:
        """The node needs its pod no more, and the store knows: remove what the executor keeps of it, but the log."""
        key = pod_key(uid, node_id)
        self._known.discard(key)
        self._news.pop(key, None)
        self._forgetting.add(key)
        self._owner.spawn(self._forget(key), f"forget {key}")

    async def _forget(self, key: str) -> None:
        try:
            await self._executor.forget(key)
        finally:
            self._forgetting.discard(key)

    def lingers(self, uid: str) -> bool:
        """Return whether a pod of a run is still on its way out: it is being killed, its outputs are saved, or it is removed."""
        return any(pod.uid == uid for pod in self._pods.values()) or any(key.startswith(f"{uid}.") for key in self._forgetting)

    def hold_back(self, uid: str) -> None:
        """Start no pod of a run until `let_go`: something that they need is being made."""
        self._held[uid] = asyncio.Event()

    def let_go(self, uid: str) -> None:
        """What the pods of a run need is there, or cannot be made."""
        if (held := self._held.pop(uid, None)) is not None:
            held.set()

    def close_run(self, uid: str, *, good: bool) -> None:
        """A run has ended: its future is withdrawn. `good`: it has succeeded."""
        self._warned = {entry for entry in self._warned if entry[0] != uid}
        self._losses.close(uid)
        self._dataplane.withdraw(uid, good=good)

    def _leased(self, key: str, pod: _LivePod, lease: Lease) -> None:
        pod.lease = lease
        self.waited_s += max(0.0, self._clock.now() - pod.asked_at)
        if self._config.lookahead:
            pod.phase = PodPhase.SLOT
            self._slots.request(key, lambda: self._begin(key, pod), pod.priority)
        else:
            self._begin(key, pod)

    def _begin(self, key: str, pod: _LivePod) -> None:
        pod.phase = PodPhase.STARTING
        self._owner.spawn(self._start(key, pod), f"start {key}")

    async def _start(self, key: str, pod: _LivePod) -> None:
        assert pod.lease is not None, "a pod starts with a lease"
        config = self._config
        bind(run=pod.uid, node=pod.node_id)
        if (held := self._held.get(pod.uid)) is not None:
            await held.wait()
        try:
            built = build_pod(
                key,
                pod.plan,
                pod.lease,
                environment={**config.environment, **config.marks(pod.uid, pod.node_id)},
                grace_s=config.grace_s,
                now=self._clock.now(),
                around=config.around,
            )
            await self._executor.start(built)
        except Exception as error:
            self._drop(key, pod)
            self._post(pod.uid, PodRefused(node_id=pod.node_id, message=f"the pod could not be started: {error}"))
            if not isinstance(error, Refused | PortError | OSError):
                raise  # a fault of ours: the node is in Error, and the owner of the task reports it
            return
        if pod.phase is PodPhase.STARTING:
            pod.phase = PodPhase.RUNNING
        self._post(pod.uid, PodStarted(node_id=pod.node_id, host=config.around.host_name))
        self._await_ready(key, pod)
        if pod.kill_after is not None:
            await self._executor.terminate(key, pod.kill_after)

    def _await_ready(self, key: str, pod: _LivePod) -> None:
        if pod.plan.launch.template.daemon:
            self._owner.spawn(self._ready(key, pod), f"readiness of {key}")

    async def _ready(self, key: str, pod: _LivePod) -> None:
        """Tell when a daemon is ready. From then on it holds no place: those that it serves need them."""

        def wanted() -> bool:
            return self._pods.get(key) is pod and pod.phase is PodPhase.RUNNING

        address, template = address_of(key), pod.plan.launch.template
        await until_ready(probes_of(template, address), self._clock, wanted)
        commands = commands_of(template)
        while wanted() and not commands <= self._told_ready(key):
            await self._clock.sleep(_LOOK_EVERY_S)
        if wanted():
            self._slots.free(key)
            self._post(pod.uid, PodReady(node_id=pod.node_id, address=address))

    def _told_ready(self, key: str) -> frozenset[str]:
        news = self._news.get(key)
        return frozenset() if news is None else frozenset(news.ready)

    def _drop(self, key: str, pod: _LivePod) -> None:
        self._pods.pop(key, None)
        self._slots.free(key)
        self._dataplane.release(pod.plan.step.id, (), good=False)

    def _saved(self, uid: str, node_id: str, key: str, error: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.phase is not PodPhase.SAVING:
            # Told of an attempt before: an output that could not be sent then, and is sent while the node has its next pod.
            return
        del self._pods[key]
        self._post(uid, OutputsSaved(node_id=node_id, error=error))

    def _warn_of_image(self, uid: str, plan: PodPlan) -> None:
        for part in plan.parts:
            name = part.image.name
            if part.mapped or (uid, name) in self._warned:
                continue
            self._warned.add((uid, name))
            message = (
                f"the image {name!r} is not mapped: its pods see the host's root; "
                f'map it in the settings file under [images."{name}"]'
            )
            self._note(uid, Note(at=self._clock.now(), kind="Warning", reason="ImageNotMapped", message=message))


def _collected(plan: PodPlan, end: PodEnd) -> tuple[OutputObject, ...]:
    by_name = {artifact.name: artifact for artifact in end.artifacts}
    outputs: list[OutputObject] = []
    for artifact, ref in (*plan.outputs, *plan.logs):
        found = by_name.get(artifact.name)
        if found is None:
            continue
        if found.is_directory and not ref.is_prefix:
            ref = ObjectRef(remote=ref.remote, path=ref.path + "/")  # noqa: PLW2901 - a directory's key ends in a slash
        outputs.append(OutputObject(ref=ref, artifact=found))
    return tuple(outputs)


__all__ = ["PodKeeper", "PodKeeperConfig", "PodPhase", "pod_key", "step_id"]
