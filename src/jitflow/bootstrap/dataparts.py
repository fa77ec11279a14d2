"""The data side in this process: the rclones, the remotes, the primary, transfer jobs and files, put together."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path, PurePosixPath

from msgspec import Struct
from starlette.routing import BaseRoute

from jitflow.agents import HostRules
from jitflow.app.arrivals import Arrivals
from jitflow.app.dataservice import DataService
from jitflow.app.files import FileService
from jitflow.app.ours import NearStore, OwnHome, both
from jitflow.app.transfers import TransferJobs
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.places import ARTIFACTS
from jitflow.bootstrap.rclones import lanes_of
from jitflow.bootstrap.remotes import Registry, configured
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.bootstrap.tracing import Tracing
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import Check
from jitflow.data_api import routes as data_routes
from jitflow.dataplane import (
    QUEUED_AHEAD,
    Bandwidth,
    Chosen,
    Inventory,
    LocalDataPlane,
    LocalView,
    PlanProcess,
    PrimaryDirectory,
    Provenance,
    RemotePrimary,
    Scratch,
    SpendingKeeper,
    Tuning,
    budget_fault,
)
from jitflow.engine.locations import Locator
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.reports import ALL_REMOTES
from jitflow.model.spending import Budget, Prices
from jitflow.ports.clock import Clock
from jitflow.ports.datalink import Resealed
from jitflow.ports.dataplane import DataView, Quota, SharedDataPlane, Witness
from jitflow.ports.errors import AccessRefused
from jitflow.ports.primary import Primary
from jitflow.ports.storage import Reading
from jitflow.ports.store import StateStore
from jitflow.settings import Settings, SettingsError, parse_bytes, parse_span_s
from jitflow.storage.credentials import Secrets
from jitflow.storage.lanes import Lanes
from jitflow.storage.made import AllStores
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.staging import Staging
from jitflow.storage.whereabouts import Whereabouts
from jitflow.stores import PatientStore
from jitflow.telemetry.metrics import Figures


class DataSide(Struct, frozen=True, kw_only=True):
    """The data side as the control side meets it, in this process or in another one.

    `checks`: what of it has to work for the server to be ready. `routes`: the Data API.
    """

    plane: SharedDataPlane
    view: DataView
    witness: Witness
    far: Reading
    locator: Callable[[], Locator]
    figures: Callable[[], Figures]
    checks: Mapping[str, Check]
    routes: Sequence[BaseRoute]
    rotate_key: Callable[[], Awaitable[Resealed]] | None = None
    """Gives a data side with a key of its own a new one."""


class DataParts(Struct, frozen=True, kw_only=True):
    """The parts of the data side in this process. The plane is opened by who tells it of workflows."""

    lanes: Lanes
    stores: AllStores
    registry: Registry
    provenance: Provenance
    plane: LocalDataPlane
    near: PatientStore
    spending: SpendingKeeper
    service: DataService
    jobs: TransferJobs
    files: FileService

    def side(self) -> DataSide:
        """Return them as the control side meets them."""
        return DataSide(
            plane=self.plane,
            view=LocalView(self.plane, self.spending),
            witness=self.provenance,
            far=self.stores,
            locator=self.registry.locator,
            figures=lambda: {**self.plane.figures(), **self.spending.figures()},
            checks={"near": self.near.ready, "rclone": self.lanes.ready},
            routes=data_routes(self.service, self.jobs, self.files),
        )


async def open_data(
    settings: Settings,
    home: Home,
    stack: AsyncExitStack,
    *,
    store: PatientStore,
    near: PatientStore,
    vault: Vault,
    credentials: Secrets,
    lease_s: float = 600.0,
    tracing: Tracing,
) -> DataParts:
    """Build and start the data side, but for its plane; `stack` stops it.

    `store`: where remotes, jobs, limits and provenance are kept; `near`: the catalogue and the promises. `credentials`: knows the
    secrets of stores that only manifests name. `lease_s`: so long leases of an earlier life are held for who asks again.
    `tracing`: told of what is moved.

    Raises:
        SettingsError, Refused, PortError, OSError: something cannot be used.
    """
    fixed = fixed_remotes(settings, home)
    lanes = lanes_of(settings, home, [config for config, _ in fixed])
    await lanes.open()
    stack.push_async_callback(lanes.close)
    stores = all_stores(settings, home, lanes, credentials)
    registry = Registry(lanes, stores, store, vault, settings, promises=near)
    stack.push_async_callback(registry.close)
    await registry.load(fixed)
    clock = SystemClock()
    bandwidth = await _limited(stack, Bandwidth(limits_of(settings), lanes, store, clock))
    spending = await _charging(stack, spending_of(settings, store, clock))
    provenance = _witness(stack, Provenance(store, checksums=settings.primary.checksums))
    whereabouts = Whereabouts(registry.known)
    own = _own_home(settings, home, whereabouts)
    lanes.own = _Closed(own)
    guard = both(NearStore(near_place(settings, home), whereabouts).guard, own.guard)
    plane = LocalDataPlane(
        primary_of(settings, home, stores),
        parse_bytes(settings.primary.capacity),
        stores,
        near,
        clock,
        transfers=settings.primary.transfers,
        ranges=settings.primary.ranges,
        queued_ahead=QUEUED_AHEAD,
        workers=pods_at_once(settings),
        unsent_dir=home.unsent,
        tuning=Tuning(disk_patience_s=settings.primary.stall_s, check_every_s=settings.primary.check_s, restored_lease_s=lease_s),
        max_objects=settings.primary.max_objects,
        free_floor_bytes=parse_bytes(settings.primary.free_floor),
        chooser=PlanProcess() if settings.primary.plans else None,
        quotas=quotas_of(settings),
        bandwidth=bandwidth,
        provenance=provenance,
        moved=tracing.moved,
        spending=spending,
        inventory=inventory_of(settings, stores, clock),
    )
    jobs = TransferJobs(
        lanes,
        registry.describe,
        store,
        clock,
        RandomIds(),
        at_once=settings.transfers.jobs,
        guard=guard,
        spending=spending,
        mark=tracing.mark,
        ended=tracing.job_ended,
    )
    await _opened(stack, jobs)
    return DataParts(
        lanes=lanes,
        stores=stores,
        registry=registry,
        provenance=provenance,
        plane=plane,
        near=near,
        spending=spending,
        service=DataService(
            primary=plane, storage=stores, remotes=registry, bandwidth=bandwidth, spending=spending, inventory=plane.inventory
        ),
        jobs=jobs,
        files=FileService(lanes, registry.describe, arrivals_of(settings, home, clock), spending, guard),
    )


def fixed_remotes(settings: Settings, home: Home) -> list[tuple[RemoteConfig, tuple[str, ...]]]:
    """Return the remotes of the settings and that of jitflow's own artifacts, each with the endpoints that mean it.

    Raises:
        SettingsError: one cannot be used.
    """
    fixed = [(configured(name, remote), remote.endpoints) for name, remote in settings.remotes.items()]
    if ARTIFACTS in settings.remotes:
        raise SettingsError(f"remotes.{ARTIFACTS}: this name is taken by jitflow's own artifacts; choose another")
    return [*fixed, (RemoteConfig(name=ARTIFACTS, type="local", options={"root": str(home.artifacts)}), ())]


def all_stores(settings: Settings, home: Home, storage: Lanes, credentials: Secrets) -> AllStores:
    """Return the configured remotes with the stores that only manifests name."""
    staging = Staging(home.staging.absolute(), parse_bytes(settings.primary.capacity))
    staging.open()
    return AllStores(storage, credentials, hosts_of(settings), staging, stall_s=settings.primary.stall_s)


def arrivals_of(settings: Settings, home: Home, clock: SystemClock) -> Arrivals:
    """Return where the bodies of uploads arrive."""
    found = Arrivals(home.arrivals, parse_bytes(settings.primary.free_floor), clock, RandomIds())
    found.open()
    return found


def quotas_of(settings: Settings) -> dict[str, Quota]:
    """Return what namespaces may have in the near store."""
    return {
        name: Quota(bytes=parse_bytes(one.quota) if one.quota != "" else None, objects=one.quota_objects)
        for name, one in settings.namespaces.items()
    }


def primary_of(settings: Settings, home: Home, stores: AllStores) -> Primary:
    """Return the near store that the settings choose.

    Raises:
        SettingsError: its remote is not configured.
    """
    chosen = settings.primary
    if not chosen.remote:
        return PrimaryDirectory(Path(chosen.path) if chosen.path else home.primary, stores)
    if chosen.remote not in settings.remotes:
        raise SettingsError(f"primary.remote: the remote {chosen.remote!r} is not configured; add [remotes.{chosen.remote}]")
    scratch = Scratch(Path(chosen.path) if chosen.path else home.scratch, parse_bytes(chosen.scratch or chosen.capacity))
    return RemotePrimary(ObjectRef(remote=chosen.remote, path=chosen.prefix.strip("/")), stores, scratch)


def near_place(settings: Settings, home: Home) -> ObjectRef | PurePosixPath:
    """Return the place that is the near store's alone."""
    chosen = settings.primary
    if chosen.remote:
        return ObjectRef(remote=chosen.remote, path=chosen.prefix.strip("/"))
    return PurePosixPath(os.path.realpath(chosen.path or home.primary))


def _own_home(settings: Settings, home: Home, whereabouts: Whereabouts) -> OwnHome:
    """Return what keeps everybody out of the server's own directory, but for the artifacts and the near store in it."""
    root, artifacts = (PurePosixPath(os.path.realpath(one)) for one in (home.root, home.artifacts))
    near = near_place(settings, home)
    places = whereabouts.places(near) if isinstance(near, ObjectRef) else [near]
    return OwnHome(root, (artifacts, *(one for one in places if isinstance(one, PurePosixPath))), whereabouts)


class _Closed:
    """Implements `jitflow.storage.lanes.Own`."""

    def __init__(self, home: OwnHome) -> None:
        self.concerns = home.concerns
        self._home = home

    def check(self, ref: ObjectRef, *, whole: bool = False) -> None:
        try:
            self._home.guard(ref, whole)
        except Refused as error:
            raise AccessRefused(str(error)) from error


def limits_of(settings: Settings) -> Chosen:
    """Return the limits of bandwidth that the settings name."""
    named = {ALL_REMOTES: settings.transfers.bandwidth}
    named.update((name, remote.bandwidth) for name, remote in settings.remotes.items())
    return Chosen(limits={name: text for name, text in named.items() if text}, time_zone=settings.transfers.time_zone)


def hosts_of(settings: Settings) -> HostRules:
    """Return whom manifests may let the server ask: its own networks only as long as it serves nobody but this machine."""
    private = settings.http.private_hosts
    if private is None:
        private = ("*",) if settings.server.host in {"127.0.0.1", "localhost", "::1"} else ()
    return HostRules(settings.http.allowed_hosts, private_hosts=private)


async def _limited(stack: AsyncExitStack, bandwidth: Bandwidth) -> Bandwidth:
    """Hold the limits of bandwidth until the stack ends."""
    await bandwidth.open()
    stack.push_async_callback(bandwidth.close)
    return bandwidth


def _witness(stack: AsyncExitStack, provenance: Provenance) -> Provenance:
    """Write down what steps read and write until the stack ends."""
    provenance.open()
    stack.push_async_callback(provenance.close)
    return provenance


async def _opened(stack: AsyncExitStack, jobs: TransferJobs) -> TransferJobs:
    """Let transfer jobs work until the stack ends."""
    await jobs.open()
    stack.push_async_callback(jobs.close)
    return jobs


def pods_at_once(settings: Settings) -> int:
    """Return how many pods may run at once: what is set, else one for each processor."""
    return settings.max_pods or len(os.sched_getaffinity(0))


def spending_of(settings: Settings, store: StateStore, clock: Clock) -> SpendingKeeper:
    """Return what counts what namespaces move, by the prices and budgets of the settings.

    Raises:
        SettingsError: one of them cannot be.
    """
    prices: dict[str, Prices] = {}
    for name, remote in settings.remotes.items():
        prices[name] = Prices(
            price_per_GB_down=remote.price_per_GB_down,
            price_per_GB_up=remote.price_per_GB_up,
            price_per_1000_requests=remote.price_per_1000_requests,
            currency=remote.currency,
        )
        if fault := prices[name].fault():
            raise SettingsError(f"remotes.{name}: {fault}")
    budgets: dict[str, Budget] = {}
    for name, one in settings.namespaces.items():
        moved = parse_bytes(one.budget_moved) if one.budget_moved != "" else None
        budget = Budget(moved_bytes=moved, money=one.budget_money, period=one.budget_period)
        if fault := budget_fault(budget):
            raise SettingsError(f"namespaces.{name}: budget: {fault}")
        if budget.is_limited:
            budgets[name] = budget
    return SpendingKeeper(store, clock, prices=prices, budgets=budgets, free=frozenset({ARTIFACTS}))


async def _charging(stack: AsyncExitStack, spending: SpendingKeeper) -> SpendingKeeper:
    """Charge for what moves until the stack ends."""
    await spending.open()
    stack.push_async_callback(spending.close)
    return spending


def inventory_of(settings: Settings, stores: AllStores, clock: Clock) -> Inventory:
    """Return what keeps listings, for as long as the settings say."""
    ages = {name: parse_span_s(one.inventory_age) for name, one in settings.remotes.items() if one.inventory_age != ""}
    kept = settings.inventory
    return Inventory(stores, clock, age_s=parse_span_s(kept.age), ages=ages, most=kept.objects)
