"""The use-cases of the Data API that end at once: remotes, objects, the primary, uploads, bandwidth."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from jitflow.app.names import check_namespace
from jitflow.app.ports import Remotes
from jitflow.app.refs import parse_ref
from jitflow.model.data import ObjectInfo, ObjectRef, Replica
from jitflow.model.inventory import InventoryPage, InventoryView
from jitflow.model.origins import is_made
from jitflow.model.problems import Refused
from jitflow.model.reports import (
    ALL_REMOTES,
    Adoption,
    BandwidthInfo,
    LinkInfo,
    Listing,
    PinView,
    PrimaryCheck,
    PrimaryFill,
    ProviderDetail,
    ProviderInfo,
    QuotaView,
    RemoteInfo,
    ReplicaPage,
    Upload,
)
from jitflow.model.spending import Budget, BudgetView, Prices, Spent
from jitflow.model.staging import StagingEstimate
from jitflow.ports.dataplane import Bandwidths, PrimaryAdmin
from jitflow.ports.inventory import Inventories
from jitflow.ports.spending import SpendingAdmin
from jitflow.ports.storage import Reading

MAX_OBJECTS = 10_000
"""Entries of a listing of a far store; longer ones say that they were cut."""
MAX_REPLICAS = 10_000
REPLICAS_A_PAGE = 1000
EACH = "*"
"""Stands for each namespace of which nothing else is said."""


class DataService:
    """What can be asked of the data side by people and programs; each method is one use-case."""

    def __init__(
        self,
        *,
        primary: PrimaryAdmin,
        storage: Reading,
        remotes: Remotes,
        bandwidth: Bandwidths,
        spending: SpendingAdmin,
        inventory: Inventories,
    ) -> None:
        """Hold the parts."""
        self._primary = primary
        self._storage = storage
        self._remotes = remotes
        self._bandwidth = bandwidth
        self._spending = spending
        self._inventory = inventory

    async def objects(self, ref: str, *, recursive: bool = False, most: int = MAX_OBJECTS) -> Listing:
        """Return what lies below a prefix of a far store; so many at most."""
        parsed = parse_ref(ref if ref.endswith((":", "/")) else f"{ref}/")
        items: list[ObjectInfo] = []
        async for info in self._storage.list(parsed, recursive=recursive):
            if len(items) == most:
                return Listing(items=tuple(items), truncated=True)
            items.append(info)
        return Listing(items=tuple(items))

    async def stat(self, ref: str) -> tuple[ObjectInfo, Replica | None]:
        """Return what the far store knows of an object, and its replica if there is one."""
        parsed = parse_ref(ref)
        info = await self._storage.stat(parsed)
        return info, self._primary.replica(parsed)

    async def primary(self, *, cursor: str = "", limit: int = REPLICAS_A_PAGE) -> tuple[PrimaryFill, ReplicaPage]:
        """Return how full the primary is, and a page of its replicas: so many, from a `next` of the page before on."""
        if not 0 < limit <= MAX_REPLICAS:
            raise Refused(f"limit must be between 1 and {MAX_REPLICAS}")
        return self._primary.fill(), await self._primary.replicas(after=cursor, limit=limit)

    async def stage(self, ref: str) -> Replica:
        """Fetch an object and return when it is resident."""
        return await self._primary.stage(parse_ref(ref))

    async def explain(self, refs: Sequence[str]) -> StagingEstimate:
        """Say what it would take to have objects near, all at once.

        Raises:
            Refused: none is named, too many are, or one cannot be had.
        """
        if not 0 < len(refs) <= MAX_OBJECTS:
            raise Refused(f"refs has {len(refs):,} objects; name 1 to {MAX_OBJECTS:,}, or a prefix, remote:path/")
        parsed = [parse_ref(ref) for ref in refs]
        for remote in {one.remote for one in parsed if not is_made(one.remote)}:
            self._remotes.describe(remote)
        return await self._primary.explain(parsed)

    async def pin(self, ref: str, namespace: str = "") -> PinView:
        """Keep a replica, or everything below a prefix, until `unpin`; `namespace`: which pays for it."""
        parsed = parse_ref(ref)
        if parsed.is_prefix and not is_made(parsed.remote):  # of an object its replica is asked for
            self._remotes.describe(parsed.remote)
        return await self._primary.pin(parsed, namespace)

    async def unpin(self, ref: str, namespace: str = "") -> PinView:
        """Take a pin away."""
        return await self._primary.unpin(parse_ref(ref), namespace)

    def pins(self) -> Sequence[PinView]:
        """Return what is pinned."""
        return self._primary.pins()

    def quotas(self) -> Sequence[QuotaView]:
        """Return what each namespace has in the primary, and may have."""
        return self._primary.quotas()

    async def evict(self, ref: str) -> None:
        """Remove a replica."""
        await self._primary.evict(parse_ref(ref))

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Compare the catalogue with what is really in the primary."""
        return await self._primary.compare(remove=remove, hashes=hashes)

    async def adopt(self, place: str, ref: str, *, move: bool = False) -> Adoption:
        """Take the files at a place near the primary for the objects below a prefix."""
        return await self._primary.adopt(place, parse_ref(ref if ref.endswith((":", "/")) else f"{ref}/"), move=move)

    def uploads(self) -> Sequence[Upload]:
        """Return the outputs that are not at their far stores."""
        return self._primary.uploads()

    def retry_uploads(self, ref: str = "") -> Sequence[ObjectRef]:
        """Send again what could not be sent, one object or all; return which."""
        return self._primary.retry_uploads(parse_ref(ref) if ref else None)

    async def drop_upload(self, ref: str) -> None:
        """Delete an output that could not be sent."""
        await self._primary.drop_upload(parse_ref(ref))

    def remotes(self) -> Sequence[RemoteInfo]:
        """Return the configured remotes."""
        return [self._priced(one) for one in self._remotes.list()]

    def _priced(self, remote: RemoteInfo) -> RemoteInfo:
        prices = self._spending.prices(remote.name)
        return remote if prices.is_free else replace(remote, prices=prices)

    def remote(self, name: str) -> RemoteInfo:
        """Return one configured remote."""
        return self._priced(self._remotes.describe(name))

    async def add_remote(self, name: str, kind: str, options: Mapping[str, str]) -> RemoteInfo:
        """Configure a new remote."""
        return self._priced(await self._remotes.add(name, kind, options))

    async def remove_remote(self, name: str) -> None:
        """Forget a remote, its limit and its prices."""
        await self._remotes.remove(name)
        await self._spending.set_prices(name, None)
        if any(limit.remote == name for limit in self._bandwidth.shown().limits):
            await self._bandwidth.change({name: None})

    def links(self) -> Sequence[LinkInfo]:
        """Return what is known of the far stores' links."""
        return self._primary.links()

    def bandwidth(self) -> BandwidthInfo:
        """Return the limits of bandwidth."""
        return self._bandwidth.shown()

    async def limit_bandwidth(self, limits: Mapping[str, str | None], time_zone: str | None = None) -> BandwidthInfo:
        """Hold other limits from now on, of remotes or (`*`) of all together; what is not named stays as it is."""
        for remote in limits:
            if remote != ALL_REMOTES:
                self._remotes.describe(remote)
        return await self._bandwidth.change(limits, time_zone)

    async def test_remote(self, name: str, path: str = "") -> None:
        """Return when the remote, or a bucket or prefix of it, could be listed."""
        if path.strip("/"):
            parse_ref(f"{name}:{path.strip('/')}/")
        await self._remotes.test(name, path)

    async def change_remote(self, name: str, kind: str, options: Mapping[str, str | None], *, whole: bool) -> RemoteInfo:
        """Give a remote other options; see `Remotes.change`."""
        return self._priced(await self._remotes.change(name, kind, options, whole=whole))

    async def set_prices(self, name: str, prices: Prices) -> None:
        """Let a remote ask these prices from now on."""
        self._remotes.describe(name)
        await self._spending.set_prices(name, prices)

    def inventories(self) -> Sequence[InventoryView]:
        """Return the listings of far stores that are kept."""
        return self._inventory.kept()

    def inventory(self, ref: str, *, after: str = "", limit: int = 1000) -> InventoryPage:
        """Return a page of one.

        Raises:
            Refused: none is kept for this prefix (`not_found`), or a limit that cannot be.
        """
        if not 1 <= limit <= MAX_OBJECTS:
            raise Refused(f"limit must be between 1 and {MAX_OBJECTS:,}")
        return self._inventory.page(self._prefix(ref), after=after, limit=limit)

    async def refresh_inventory(self, ref: str) -> InventoryView:
        """List everything below a prefix now, and mark what is near and has changed."""
        return await self._inventory.refresh(self._prefix(ref))

    def _prefix(self, text: str) -> ObjectRef:
        ref = parse_ref(text if text.endswith((":", "/")) else f"{text}/")
        self._remotes.describe(ref.remote)
        return ref

    def budgets(self) -> Sequence[BudgetView]:
        """Return what each namespace may spend, and has spent in this period."""
        return self._spending.budgets()

    async def set_budgets(self, budgets: Mapping[str, Budget | None]) -> Sequence[BudgetView]:
        """Give namespaces other budgets.

        Raises:
            Refused: a name is none of a namespace, or a budget cannot be.
        """
        for namespace in budgets:
            if namespace != EACH:
                check_namespace(namespace)
        return await self._spending.set_budgets(budgets)

    def spent(self, *, namespace: str = "", since: str = "", until: str = "") -> Sequence[Spent]:
        """Return what namespaces have moved and spent, by day and remote."""
        return self._spending.spent(namespace=namespace, since=since, until=until)

    async def providers(self) -> Sequence[ProviderInfo]:
        """Return the types of far stores that there can be."""
        return await self._remotes.providers()

    async def provider(self, kind: str) -> ProviderDetail:
        """Return a type of far store with its options."""
        return await self._remotes.provider(kind)
