"""Everything of one server, put together: the only place that names concrete adapters."""

import asyncio
import math
import os
import platform
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from starlette.types import ASGIApp

from jitflow.agents import DataAgent, HttpAgent, Plugin, PluginAgent, ResourceAgent
from jitflow.app import Service
from jitflow.app.ports import Change
from jitflow.app.retention import Retention
from jitflow.app.schedules import Scheduler
from jitflow.app.tokens import ensure_token
from jitflow.bootstrap.claims import ClaimDirectories
from jitflow.bootstrap.dataparts import hosts_of, open_data, pods_at_once
from jitflow.bootstrap.defaults import workflow_defaults
from jitflow.bootstrap.foreign import open_foreign
from jitflow.bootstrap.front import Behind, open_front
from jitflow.bootstrap.gauges import Gauges
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.keys import source_of
from jitflow.bootstrap.linked import open_link
from jitflow.bootstrap.state import SETTLED, open_stores, start_over
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.bootstrap.tracing import open_tracing
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import Health, ServersView
from jitflow.datalink import LinkedDataPlane
from jitflow.engine import Engine, Images
from jitflow.engine.changes import Change as RunChange
from jitflow.engine.plugins import WorkflowPlugins
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.engine.surroundings import Surroundings
from jitflow.engine.tasks import Owner
from jitflow.engine.throttle import Throttle
from jitflow.executors import ProcessExecutor, SandboxExecutor, write_lease
from jitflow.model import argo
from jitflow.model.pods import PodImage
from jitflow.model.servers import ServerInfo
from jitflow.objects import Change as ObjectChange
from jitflow.objects import MemoStore, ObjectStore
from jitflow.ports.dataplane import Witness
from jitflow.ports.executor import Executor
from jitflow.ports.store import StateStore
from jitflow.settings import RetentionSettings, Settings, parse_span_s
from jitflow.storage.credentials import Credentials
from jitflow.stores import Lease, PatientStore
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import CustomMetrics, Exposition

ANYWHERE = "anywhere"
CONTROL, DATA = "control", "data"
"""What `jitflow server --only` may say."""
PODS_EARLIER_S = 2.0
"""So much earlier than the lease of their server pods end: who takes over must not find them running."""

_PODS_EVERY_S = 0.5

_log = logger("server")


class Stack(Struct, frozen=True, kw_only=True):
    """A server's parts that its front needs: the ASGI application, and the token that opens it.

    `drain`: ends its streams, says that it is not ready any more and lets no pod begin.
    """

    app: ASGIApp
    token: str
    drain: Callable[[], None]
    ended: asyncio.Event | None = None
    """Set when this server cannot go on; None: that is never known before it stops."""


class Sharing(Struct, frozen=True, kw_only=True):
    """What a server knows that shares its state: the lease under which it leads, what peers show, and who they are."""

    lease: Lease
    peer: str
    members: ServersView


@asynccontextmanager
async def open_stack(settings: Settings, sharing: Sharing | None = None, *, only: str = "") -> AsyncGenerator[Stack]:
    """Build and start everything; stop it in the opposite order. Pods that run go on.

    `only`: `control` to use a data service elsewhere, empty to be one too.

    Raises:
        SettingsError, Refused, PortError, OSError: something cannot be used; nothing is left running.
    """
    home = Home(Path(settings.home))
    home.make()
    token = ensure_token(home.token)
    async with AsyncExitStack() as stack:
        tracing = open_tracing(settings.telemetry, version("jitflow"), stack)
        store, near = await _open_state(settings, home, stack, sharing)
        tracing.watch(store)
        vault = Vault(source_of(settings.secrets.key, home.key))
        clock = SystemClock()
        objects = ObjectStore(store, vault, clock, RandomIds())
        await objects.open()
        linked: LinkedDataPlane | None = None
        if only == CONTROL:
            mark = vault.token_of("mark of a control service")[:16]
            data, linked = await open_link(settings, home, stack, store=store, objects=objects, control=mark, tracing=tracing)
        else:
            data = (
                await open_data(
                    settings,
                    home,
                    stack,
                    store=store,
                    near=near,
                    vault=vault,
                    credentials=Credentials(objects),
                    tracing=tracing,
                )
            ).side()
        claims = ClaimDirectories(home.volumes, objects)
        memos = MemoStore(objects)
        executor = make_executor(settings, home)
        meters = CustomMetrics(clock.now)
        resources = ResourceAgent(objects)
        images = images_of(settings)
        config = PodKeeperConfig(
            max_pods=pods_at_once(settings),
            lookahead=settings.primary.lookahead,
            environment={"PATH": os.environ.get("PATH", os.defpath)},
            grace_s=settings.grace_s,
            archive_logs=settings.archive_logs,
            intermediates=settings.artifact_repository.intermediates,
            marks=tracing.variables,
            around=Surroundings(
                objects=objects, claims=claims, node_labels=node_labels(settings.node_labels), host_name=platform.node()
            ),
        )
        owner = Owner(lambda name, error: _log.error("task failed", error, task=name))
        stack.push_async_callback(owner.close)
        own_plugins = WorkflowPlugins(
            executor=executor, clock=clock, images=images, config=config, owner=owner, token_of=vault.token_of
        )
        engine = Engine(
            store=store,
            executor=executor,
            dataplane=data.plane,
            clock=clock,
            ids=RandomIds(),
            objects=memos,
            memos=memos,
            claims=claims,
            agents={
                "http": HttpAgent(objects, hosts_of(settings)),
                "resource": resources,
                "data": DataAgent(data.far, data.locator),
                "plugin": PluginAgent(
                    {name: Plugin(url=plugin.url, token=plugin.token) for name, plugin in settings.plugins.items()}, own_plugins
                ),
            },
            meters=meters,
            throttle=Throttle(settings.parallelism, settings.namespace_parallelism),
            images=images,
            repository=repository_of(settings),
            locator=data.locator,
            config=config,
            plugins=own_plugins,
            defaults=workflow_defaults(settings.workflow_defaults),
            keeps_archive=settings.archive,
            marks=tracing.annotations,
        )
        tracing.follow(engine, stack)
        stack.push_async_callback(_stop, engine, own_plugins)
        stack.callback(objects.subscribe(lambda change: _object_changed(change, engine)))
        if linked is not None:
            await _join(linked, engine, executor)
        else:
            await engine.open()
        if sharing is not None:
            stack.callback(let_go, sharing.lease, engine)
        service = Service(
            engine=engine,
            store=store,
            executor=executor,
            view=data.view,
            far=data.far,
            remote_types=lambda: {name: one.type for name, one in data.locator().remotes.items()},
            clock=clock,
            ids=RandomIds(),
            objects=objects,
            witness=data.witness,
            version=version("jitflow"),
        )
        await service.open()
        stack.push_async_callback(service.close)
        resources.open(service, engine)
        scheduler = _scheduled(stack, Scheduler(objects, service, clock, owner.spawn))
        retention = _keep_tidy(settings, service, owner)
        stack.callback(engine.subscribe(partial(_deleted, resources, data.witness, owner)))
        stack.callback(engine.subscribe(partial(_ended, scheduler, retention)))
        health = Health({"state": store.ready, **data.checks})
        behind = Behind(
            service=service,
            foreign=await open_foreign(
                settings.foreign,
                store=store,
                dataplane=data.plane,
                view=data.view,
                objects=objects,
                locator=data.locator,
                clock=clock,
                owner=owner,
            ),
            engine=engine,
            store=store,
            near=near,
            vault=vault,
            objects=objects,
            clock=clock,
            owner=owner,
            metrics=Exposition(meters, Gauges(service, engine, data.figures, store, health).figures),
            home=home,
            data=data,
            closing=stack,
            health=health,
            servers=servers_view(home, service, sharing),
            peer=sharing.peer if sharing else "",
        )
        stack.callback(behind.foreign.close)
        yield Stack(
            app=tracing.around(await open_front(settings, token, behind)),
            token=token,
            drain=lambda: _drain(service, engine, health),
        )


def _scheduled(stack: AsyncExitStack, scheduler: Scheduler) -> Scheduler:
    """Let schedules begin workflows until the stack ends."""
    scheduler.open()
    stack.callback(scheduler.close)
    return scheduler


async def _join(linked: LinkedDataPlane, engine: Engine, executor: Executor) -> None:
    """Open the engine over a data service, which may be away, and let it hear when that is back."""
    if isinstance(executor, SandboxExecutor):
        linked.on_hidden = executor.hide
    await linked.load()
    linked.on_joined = engine.data_side_is_back
    await engine.open()


def _keep_tidy(settings: Settings, service: Service, owner: Owner) -> Retention:
    """Begin to remove workflows that are too many or too old, and return what has to be told of those that end."""
    retention = Retention(kept(settings.retention), service, owner.spawn)
    retention.open()
    kept_s = parse_span_s(settings.archive_ttl) or math.inf
    owner.spawn(service.archive.keep_tidy(kept_s), "remove archived workflows that are too old")
    return retention


def _drain(service: Service, engine: Engine, health: Health) -> None:
    """Take nothing new on: the server is about to stop."""
    health.draining = True
    engine.hold_pods()
    service.closing.set()


async def _open_state(
    settings: Settings, home: Home, stack: AsyncExitStack, sharing: Sharing | None
) -> tuple[PatientStore, PatientStore]:
    """Open the stores (see `open_stores`); where other machines share the state, pods live only as long as the lease."""
    if sharing is None:
        return await open_stores(settings, home, stack)
    store, near = await open_stores(settings, home, stack, sharing.lease)
    await settle_in(sharing.lease, near, lambda: start_over(home, near), partial(write_lease, home.pods))
    return store, near


async def settle_in(
    lease: Lease, near: StateStore, start_over: Callable[[], Awaitable[None]], let_run: Callable[[float], None]
) -> None:
    """Begin to lead with a home, before anything in it is used.

    Args:
        lease: under which the server leads.
        near: the store of what lies in the home.
        start_over: forgets what the home had promised; called where a server with another home has led since the last one of this
            home that came so far. One that was killed before has changed nothing here.
        let_run: lets the home's pods run until a time of the lease's clock.
    """
    if lease.share != ANYWHERE:
        return
    settled = await near.get(SETTLED, "epoch")
    if not lease.continues or int(settled or 0) < lease.since:
        await start_over()
    await near.put(SETTLED, [("epoch", str(lease.epoch).encode())])
    lease.on_renewal(PodLease(lease, let_run).renewed)


class PodLease:
    """Lets pods run as long as the lease of their server, a little less."""

    def __init__(self, lease: Lease, let_run: Callable[[float], None]) -> None:
        """Tell `let_run` until when."""
        self._lease = lease
        self._let_run = let_run
        self._written = 0.0

    def renewed(self) -> None:
        """The lease lasts longer; that is written now and then. If it cannot be, pods end: nobody must be told that it was."""
        if self._lease.until - self._written < _PODS_EVERY_S:
            return
        try:
            self._let_run(self._lease.until - PODS_EARLIER_S)
        except OSError as error:
            _log.error("the lease of pods cannot be written", error)
        else:
            self._written = self._lease.until


async def _stop(engine: Engine, plugins: WorkflowPlugins) -> None:
    await plugins.finish()
    await engine.close()


def let_go(lease: Lease, engine: Engine) -> None:
    """Decide whether the lead is given back when this server ends, or runs out; the engine knows its pods once it is open.

    Where pods go on that another machine's server could not adopt, that one waits until they end with the lease.
    """
    if lease.share == ANYWHERE:
        lease.keeps = engine.pods_held > 0


def servers_view(home: Home, service: Service, sharing: Sharing | None) -> ServersView:
    """Return what tells of the servers of this state, of which this one leads."""

    async def view() -> Sequence[ServerInfo]:
        drives = sum(count for phase, count in service.phases().items() if phase in {"Pending", "Running"})
        if sharing is not None:
            return [replace(one, drives=drives) if one.leads else one for one in await sharing.members()]
        info = home.find_server()
        url = info.url if info is not None else ""
        return [ServerInfo(url=url, host=platform.node(), pid=os.getpid(), version=version("jitflow"), leads=True, drives=drives)]

    return view


def _object_changed(change: ObjectChange, engine: Engine) -> None:
    engine.objects_changed()
    if change.action == "DELETED" and change.value.metadata is not None:
        engine.owner_gone(change.value.metadata.uid or "-")


def _deleted(resources: ResourceAgent, witness: Witness, owner: Owner, change: RunChange) -> None:
    if change.kind == "DELETED" and not change.row.archived:
        owner.spawn(witness.forget(change.row.uid), "forget what a workflow read and wrote")
    if change.kind == "DELETED":
        owner.spawn(resources.owner_changed(change), "delete what a workflow owned")


def _ended(scheduler: Scheduler, retention: Retention, change: Change) -> None:
    if change.ends:
        scheduler.run_ended(change.row)
        retention.run_ended(change.row)


def kept(retention: RetentionSettings) -> dict[str, int]:
    """Return how many finished workflows of each phase are kept."""
    return {"Succeeded": retention.completed, "Failed": retention.failed, "Error": retention.errored}


def make_executor(settings: Settings, home: Home) -> Executor:
    """Return the executor that the settings choose. The home is hidden from sandboxed pods."""
    guarded = settings.state.share == ANYWHERE
    if settings.executor == "process":
        return ProcessExecutor(home.pods, guarded=guarded)
    return SandboxExecutor(home.pods, hidden=[home.root], guarded=guarded)


def node_labels(own: Mapping[str, str]) -> dict[str, str]:
    """Return what node selectors are matched against: Kubernetes' well-known labels of this machine, and the settings' own."""
    machine = platform.machine()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    system = platform.system().lower()
    known = {"kubernetes.io/arch": arch, "kubernetes.io/os": system, "kubernetes.io/hostname": platform.node()}
    return {**known, "beta.kubernetes.io/arch": arch, "beta.kubernetes.io/os": system, **own}


def repository_of(settings: Settings) -> argo.ArtifactRepositoryRefStatus:
    """Return the repository of workflows that name none, as their status tells it."""
    own = argo.S3ArtifactRepository(key_format=settings.artifact_repository.key_format or None)
    return argo.ArtifactRepositoryRefStatus(default=True, artifact_repository=argo.ArtifactRepository(s3=own))


def images_of(settings: Settings) -> Images:
    """Return the settings' image mapping."""
    return Images(
        {
            name: PodImage(
                name=name,
                root=image.root,
                files=image.files,
                entrypoint=image.entrypoint,
                cmd=image.cmd,
                env=image.env,
                working_dir=image.working_dir,
            )
            for name, image in settings.images.items()
        }
    )
