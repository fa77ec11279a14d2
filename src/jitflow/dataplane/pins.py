"""What people want to keep in the primary: objects, and everything below prefixes, each for a namespace or for all.

A pin stands until it is taken away, over restarts and whatever becomes of the replica: what comes again is kept again, and so is
what comes below a pinned prefix later. What a namespace keeps it pays for, within its quota.
"""

import logging
from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from jitflow.dataplane import records
from jitflow.dataplane.core import Core
from jitflow.dataplane.inside import lies_below, parents
from jitflow.model.data import ObjectRef, Replica, ReplicaState
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import PinView
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")


class Pins:
    """All pins, and what they hold."""

    def __init__(self, core: Core) -> None:
        """Keep replicas of `core`."""
        self._core = core
        self._pins: dict[ObjectRef, dict[str, records.PinDoc]] = {}

    async def load(self, store: StateStore, earlier: Iterable[Replica]) -> None:
        """Read the pins; `earlier`: rows that an earlier version has marked as kept."""
        for _, body in await store.items(records.PIN):
            doc = msgspec.json.decode(body, type=records.PinDoc)
            self._pins.setdefault(doc.ref, {})[doc.namespace] = doc
        for row in earlier:
            for namespace in row.keepers or ("",):
                self._enter(row.ref, namespace)
            self._core.put_row(replace(row, kept=False, keepers=()))

    def refs(self) -> dict[ObjectRef, tuple[str, ...]]:
        """Return the replicas that are to be kept, and for whom."""
        core = self._core
        found: dict[ObjectRef, tuple[str, ...]] = {}
        for ref in self._pins:
            for one in (ref, *(core.rows.below(ref) if ref.is_prefix else ())):
                if one in core.rows:
                    found[one] = self.keepers(one)
        return found

    def keepers(self, ref: ObjectRef) -> tuple[str, ...]:
        """Return for whom an object is to be kept: by its own pins, and by those of the prefixes around it."""
        if not self._pins:
            return ()
        around = (ref, *parents(ref), ObjectRef(remote=ref.remote, path=""))
        return tuple(sorted({namespace for one in around for namespace in self._pins.get(one, ())}))

    def came(self, ref: ObjectRef) -> None:
        """Keep an object that has come, if it is to be kept."""
        for namespace in self.keepers(ref):
            why = self._core.planner.keep(ref, namespace)
            if why:
                log.warning("%s is pinned%s, and not kept: %s", ref, f" for {namespace}" if namespace else "", why)

    # -- by hand -----------------------------------------------------------------------------------------------------------

    async def add(self, ref: ObjectRef, namespace: str) -> PinView:
        """Pin an object that is here, or a prefix (see `PrimaryAdmin.pin`)."""
        core = self._core
        if not ref.is_prefix and not self._is_here(ref):
            raise Refused(Problem(message=f"{ref} is not in the primary", remedy="stage it first", code="not_found"))
        refused = {one: why for one in self._held(ref) if (why := core.planner.keep(one, namespace))}
        if refused and not ref.is_prefix:
            message = f"{ref} cannot be kept now: {refused[ref]}"
            raise Refused(Problem(message=message, remedy="try again later, or unpin something else", code="conflict"))
        self._enter(ref, namespace)
        core.changes += 1
        core.pump()
        await core.journal.durable()
        return self._view(self._pins[ref][namespace], next((f"{one}: {why}" for one, why in refused.items()), ""))

    async def remove(self, ref: ObjectRef, namespace: str) -> PinView:
        """Take a pin away (see `PrimaryAdmin.unpin`)."""
        core = self._core
        doc = self._pins.get(ref, {}).pop(namespace, None)
        if doc is None and not self._is_here(ref):
            raise Refused(Problem(message=f"{ref} is not pinned", remedy="`jitflow data pins` lists what is", code="not_found"))
        if not self._pins.get(ref, True):
            del self._pins[ref]
        core.journal.put(records.PIN, _key(ref, namespace), None)
        for one in self._held(ref):
            if namespace not in self.keepers(one):
                core.planner.unkeep(one, namespace)
        core.changes += 1
        core.pump()
        await core.journal.durable()
        return PinView(ref=ref, namespace=namespace, kept=False)

    def listed(self) -> Iterator[PinView]:
        """Yield the pins, by object and namespace."""
        for _, pins in sorted(self._pins.items()):
            for _, doc in sorted(pins.items()):
                yield self._view(doc)

    def _enter(self, ref: ObjectRef, namespace: str) -> None:
        doc = records.PinDoc(ref=ref, namespace=namespace, since=self._core.clock.now())
        doc = self._pins.setdefault(ref, {}).setdefault(namespace, doc)
        self._core.journal.put(records.PIN, _key(ref, namespace), records.encode(doc))

    def _is_here(self, ref: ObjectRef) -> bool:
        view = self._core.planner.item(ref)
        return ref in self._core.rows and view is not None and view.state is ReplicaState.RESIDENT

    def _held(self, ref: ObjectRef) -> list[ObjectRef]:
        """Return the replicas that a pin of an object or prefix is about."""
        below = self._core.rows.below(ref) if ref.is_prefix else []
        return [one for one in dict.fromkeys((ref, *below)) if self._is_here(one)]

    def _view(self, doc: records.PinDoc, why: str = "") -> PinView:
        count = size = 0
        for view in self._core.planner.kept():
            if doc.namespace in view.keepers and (view.ref == doc.ref or (doc.ref.is_prefix and lies_below(view.ref, doc.ref))):
                count += 1
                size += view.size_bytes or 0
        return PinView(
            ref=doc.ref, namespace=doc.namespace, since=doc.since, kept=True, objects=count, size_bytes=size, message=why
        )


def _key(ref: ObjectRef, namespace: str) -> str:
    return f"{namespace}/{ref}"
