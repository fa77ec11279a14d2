"""Whose workflows are, and what each namespace may have in the primary."""

from collections.abc import Mapping, Sequence

from jitflow.dataplane import records
from jitflow.dataplane.core import NOBODY, Core
from jitflow.model.data import WorkflowUid
from jitflow.model.reports import QuotaView
from jitflow.ports.dataplane import Quota
from jitflow.ports.store import StateStore

ALL = "*"
"""Stands for each namespace of which nothing else is said."""


class Quotas:
    """Tells the planner who pays for what; remembered over a restart, for leases and outputs are there before the engine is."""

    def __init__(self, core: Core, quotas: Mapping[str, Quota]) -> None:
        """Let each namespace have no more than its quota says."""
        self._core = core
        self._quotas = quotas
        self._owners: dict[WorkflowUid, str] = {}
        self._kept: set[WorkflowUid] = set()
        """Of those the planner knows the owner, and it is written down."""
        core.namespace_of = self.namespace_of
        for namespace, quota in quotas.items():
            if namespace != ALL:
                core.planner.set_quota(namespace, quota.bytes, quota.objects)

    async def load(self, store: StateStore) -> None:
        """Read whose the workflows of an earlier life are."""
        for uid, body in await store.items(records.OWNER):
            self._owners[uid] = body.decode()
            self._tell(uid)
            self._kept.add(uid)

    def belongs(self, uid: WorkflowUid, namespace: str) -> None:
        """A workflow is of a namespace; after a restart it is said again of each that goes on."""
        if self._owners.get(uid) != namespace:
            self._owners[uid] = namespace
            self._kept.discard(uid)

    def keep(self, uid: WorkflowUid) -> None:
        """Tell whose a workflow is, and write it down, before anything is that it pays for: most workflows never have any."""
        if uid not in self._kept and uid in self._owners:
            self._kept.add(uid)
            self._tell(uid)
            self._core.journal.put(records.OWNER, uid, self._owners[uid].encode())

    def _tell(self, uid: WorkflowUid) -> None:
        namespace = self._owners[uid]
        usual = self._quotas.get(ALL)
        if usual is not None and namespace not in self._quotas:
            self._core.planner.set_quota(namespace, usual.bytes, usual.objects)
        self._core.planner.belong(uid, namespace)
        self.budget_changed(namespace)

    def budget_changed(self, namespace: str) -> None:
        """A namespace may have used its budget up, or may go on again."""
        self._core.planner.shut(namespace, bool(self._core.spending.used_up(namespace)))

    def namespace_of(self, uid: WorkflowUid) -> str:
        """Return who pays for a workflow."""
        return self._owners.get(uid, NOBODY)

    def workflows(self) -> Sequence[WorkflowUid]:
        """Return the workflows that have an owner."""
        return tuple(self._owners)

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended."""
        self._owners.pop(uid, None)
        if uid in self._kept:
            self._kept.discard(uid)
            self._core.planner.leave(uid)
            self._core.journal.put(records.OWNER, uid, None)

    def of(self, namespace: str) -> Quota:
        """Return what a namespace may have."""
        return self._quotas.get(namespace) or self._quotas.get(ALL) or Quota()

    def of_workflow(self, uid: WorkflowUid) -> Quota:
        """Return what a workflow's namespace may have."""
        return self.of(self._owners[uid]) if uid in self._owners else Quota()

    def views(self) -> Sequence[QuotaView]:
        """Return what each namespace has and may have, by name."""
        return tuple(
            QuotaView(
                namespace=one.name,
                quota_bytes=one.quota_bytes,
                quota_objects=one.quota_objects,
                used_bytes=one.held_bytes + one.idle_bytes,
                held_bytes=one.held_bytes,
                idle_bytes=one.idle_bytes,
                pinned_bytes=one.kept_bytes,
                objects=one.held_objects + one.idle_objects,
                waiting_steps=one.waiting,
            )
            for one in self._core.planner.accounts()
        )
