"""Far stores, their objects, the primary, and outputs on their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jitflow.client._calls import Group, S, Stream, call, stream
from jitflow.client._effects import Emit, Script
from jitflow.client._requests import Call, get, listing, remove, send
from jitflow.client._retry import exchange
from jitflow.client.files import Files
from jitflow.client.jobs import Jobs
from jitflow.model.data import ObjectRef, Replica
from jitflow.model.inventory import InventoryPage, InventoryView
from jitflow.model.reports import (
    Adoption,
    BandwidthInfo,
    LinkInfo,
    Listing,
    PinView,
    Primary,
    PrimaryCheck,
    ProviderDetail,
    ProviderInfo,
    QuotaView,
    RemoteInfo,
    Stat,
    Upload,
)
from jitflow.model.spending import BudgetView, Prices, Spent
from jitflow.model.staging import StagingEstimate

_BASE = "/data/v1"
_PRIMARY = _BASE + "/primary"
_REMOTES = _BASE + "/remotes"
_UPLOADS = _BASE + "/uploads"
_PAGE = 10_000
"""Replicas in one answer."""


class Remotes(Group[S]):
    """Far stores. Values of secret options are never told."""

    @call
    def list(self) -> Call[tuple[RemoteInfo, ...]]:
        """List the remotes."""
        return listing(RemoteInfo, _REMOTES)

    @call
    def get(self, name: str) -> Call[RemoteInfo]:
        """Describe a remote."""
        return get(RemoteInfo, _REMOTES, name)

    @call
    def add(self, name: str, kind: str, options: Mapping[str, str]) -> Call[RemoteInfo]:
        """Configure a remote of an rclone type."""
        return send(RemoteInfo, "POST", _REMOTES, body={"name": name, "type": kind, "options": options})

    @call
    def remove(self, name: str) -> Call[None]:
        """Forget a remote; its objects stay."""
        return remove(_REMOTES, name)

    @call
    def change(self, name: str, options: Mapping[str, str | None]) -> Call[RemoteInfo]:
        """Change some options; None takes one away, those not named stay."""
        return send(RemoteInfo, "PATCH", _REMOTES, name, body={"options": options}, repeatable=True)

    @call
    def price(self, name: str, prices: Prices) -> Call[RemoteInfo]:
        """Let a remote ask these prices from now on."""
        return send(RemoteInfo, "PATCH", _REMOTES, name, body={"prices": prices}, repeatable=True)

    @call
    def replace(self, name: str, options: Mapping[str, str], *, kind: str = "") -> Call[RemoteInfo]:
        """Give a remote these options and no others; `***` stands for the secret that there is."""
        return send(RemoteInfo, "PUT", _REMOTES, name, body={"options": options, "type": kind}, repeatable=True)

    @call
    def test(self, name: str, path: str = "") -> Call[dict[str, Any]]:
        """Return when the remote, or a bucket or prefix of it, could be listed."""
        return send(dict[str, Any], "POST", _REMOTES, name, "test", body={"path": path}, repeatable=True)

    @call
    def providers(self) -> Call[tuple[ProviderInfo, ...]]:
        """List the types of far stores."""
        return listing(ProviderInfo, _BASE + "/providers")

    @call
    def provider(self, kind: str) -> Call[ProviderDetail]:
        """Describe a type of far store with its options."""
        return get(ProviderDetail, _BASE + "/providers", kind)


class PrimaryStore(Group[S]):
    """The near store. References are `remote:path`; a path that ends in `/` is everything below it."""

    @call
    def get(self, *, limit: int = 0, cursor: str = "") -> Call[Primary]:
        """Return how full it is, and a page of what it holds; `cursor`: a page's `next`."""
        return get(Primary, _PRIMARY, query={"limit": limit or None, "cursor": cursor})

    @stream
    def replicas(self) -> Stream[Replica]:
        """Yield everything that it holds, page by page."""
        return Stream(_replicas(self._shell.wire.attempts))

    @call
    def stage(self, ref: str) -> Call[Replica]:
        """Fetch an object now, and wait for it."""
        return send(Replica, "POST", _PRIMARY, "stage", body={"ref": ref}, repeatable=True, patient=True)

    @call
    def explain(self, refs: Sequence[str]) -> Call[StagingEstimate]:
        """Say what it would take to have objects near, all at once: bytes, time, room; nothing is fetched."""
        return send(StagingEstimate, "POST", _PRIMARY, "explain", body={"refs": list(refs)}, repeatable=True, patient=True)

    @call
    def pin(self, ref: str, *, namespace: str = "") -> Call[PinView]:
        """Keep an object, or what is or comes below a prefix, until it is unpinned; `namespace`: who pays for it."""
        return send(PinView, "POST", _PRIMARY, "pin", body={"ref": ref, "namespace": namespace}, repeatable=True)

    @call
    def unpin(self, ref: str, *, namespace: str = "") -> Call[PinView]:
        """Take a pin away."""
        return send(PinView, "POST", _PRIMARY, "unpin", body={"ref": ref, "namespace": namespace}, repeatable=True)

    @call
    def evict(self, ref: str) -> Call[dict[str, Any]]:
        """Remove a replica; refused while a step reads it or its far copy is not proven."""
        return send(dict[str, Any], "POST", _PRIMARY, "evict", body={"ref": ref})

    @call
    def check(self, *, remove: bool = False, hashes: bool = False) -> Call[PrimaryCheck]:
        """Compare the catalogue with what is really there; `remove`: what is not jitflow's."""
        return send(PrimaryCheck, "POST", _PRIMARY, "check", body={"remove": remove, "hashes": hashes}, patient=True)

    @call
    def adopt(self, place: str, ref: str, *, move: bool = False) -> Call[Adoption]:
        """Take files that are near for the objects below a prefix."""
        return send(Adoption, "POST", _PRIMARY, "adopt", body={"place": place, "ref": ref, "move": move}, patient=True)


class Uploads(Group[S]):
    """Outputs that are not at their far stores."""

    @call
    def list(self) -> Call[tuple[Upload, ...]]:
        """List them: first what is sent, then what waits, in order."""
        return listing(Upload, _UPLOADS)

    @call
    def retry(self, ref: str = "") -> Call[tuple[ObjectRef, ...]]:
        """Send again one that could not be sent, or all; return which."""
        sent = send(dict[str, Any], "POST", _UPLOADS, "retry", body={"ref": ref})
        return Call(sent.request, listing(ObjectRef, _UPLOADS).reads)

    @call
    def drop(self, ref: str) -> Call[dict[str, Any]]:
        """Delete an output that could not be sent: it is nowhere else."""
        return send(dict[str, Any], "POST", _UPLOADS, "drop", body={"ref": ref})


class Data(Group[S]):
    """Objects of far stores; `remotes`, `primary`, `files`, `jobs` and `uploads` are groups of their own."""

    @property
    def remotes(self) -> Remotes[S]:
        """Far stores."""
        return Remotes(self._shell, self._namespace)

    @property
    def primary(self) -> PrimaryStore[S]:
        """The near store."""
        return PrimaryStore(self._shell, self._namespace)

    @property
    def files(self) -> Files[S]:
        """Files and folders."""
        return Files(self._shell, self._namespace)

    @property
    def jobs(self) -> Jobs[S]:
        """Copies, syncs, moves, checks and deletions."""
        return Jobs(self._shell, self._namespace)

    @property
    def uploads(self) -> Uploads[S]:
        """Outputs on their way."""
        return Uploads(self._shell, self._namespace)

    @call
    def list(self, ref: str, *, recursive: bool = False) -> Call[Listing]:
        """List what lies below a prefix of a remote."""
        return get(Listing, _BASE + "/objects", query={"ref": ref, "recursive": recursive})

    @call
    def stat(self, ref: str) -> Call[Stat]:
        """Return what its store and the catalogue know of an object."""
        return get(Stat, _BASE + "/stat", query={"ref": ref})

    @call
    def pins(self) -> Call[tuple[PinView, ...]]:
        """Return what is pinned."""
        return listing(PinView, _BASE + "/pins")

    @call
    def quotas(self) -> Call[tuple[QuotaView, ...]]:
        """Return what each namespace has in the primary, and may have."""
        return listing(QuotaView, _BASE + "/quotas")

    @call
    def inventories(self) -> Call[tuple[InventoryView, ...]]:
        """Return the listings of far stores that are kept."""
        return listing(InventoryView, _BASE + "/inventories")

    @call
    def inventory(self, ref: str, *, limit: int = 1000, cursor: str = "") -> Call[InventoryPage]:
        """Return a page of the kept listing of a prefix; `cursor`: a page's `next`."""
        return get(InventoryPage, _BASE + "/inventory", query={"ref": ref, "limit": limit, "cursor": cursor})

    @call
    def refresh_inventory(self, ref: str) -> Call[InventoryView]:
        """List everything below a prefix now; return what has changed."""
        body = {"ref": ref}
        return send(InventoryView, "POST", _BASE + "/inventory", "refresh", body=body, repeatable=True, patient=True)

    @call
    def budgets(self) -> Call[tuple[BudgetView, ...]]:
        """Return what each namespace may move and spend in this period, and has moved and spent."""
        return listing(BudgetView, _BASE + "/budgets")

    @call
    def set_budgets(self, budgets: Mapping[str, Mapping[str, Any] | None]) -> Call[dict[str, Any]]:
        """Give namespaces (`*`: each that is not named) budgets: `moved`, `money` by currency, `period`; None: the settings'."""
        return send(dict[str, Any], "PUT", _BASE + "/budgets", body={"budgets": budgets}, repeatable=True)

    @call
    def spending(self, *, namespace: str = "", since: str = "", until: str = "") -> Call[tuple[Spent, ...]]:
        """Return what was moved and spent, by namespace, day and remote; days `2026-11-28`."""
        query = {"namespace": namespace, "since": since, "until": until}
        return listing(Spent, _BASE + "/spending", query=query)

    @call
    def links(self) -> Call[tuple[LinkInfo, ...]]:
        """Return what is known of the links to the far stores."""
        return listing(LinkInfo, _BASE + "/links")

    @call
    def bandwidth(self) -> Call[BandwidthInfo]:
        """Return how much may move over the links."""
        return get(BandwidthInfo, _BASE + "/bandwidth")

    @call
    def limit_bandwidth(self, limits: Mapping[str, str | None], time_zone: str | None = None) -> Call[BandwidthInfo]:
        """Hold other limits from now on, by remote (`*`: all together), in rclone's words; return all."""
        body = {"limits": limits, **({"time_zone": time_zone} if time_zone is not None else {})}
        return send(BandwidthInfo, "PUT", _BASE + "/bandwidth", body=body, repeatable=True)


def _replicas(attempts: int) -> Script[None]:
    cursor = ""
    while True:
        page = yield from exchange(get(Primary, _PRIMARY, query={"limit": _PAGE, "cursor": cursor}), attempts)
        for replica in page.replicas:
            yield Emit(replica)
        cursor = page.next
        if not cursor:
            return
