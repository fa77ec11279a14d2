"""The plans that workflows follow, kept over a restart: what is here and on its way is here for their sake."""

import logging

import msgspec
from msgspec import Struct

from jitflow.dataplane import records
from jitflow.dataplane.core import Core
from jitflow.model.data import StepId, WorkflowUid
from jitflow.planner import Plan
from jitflow.ports.store import StateStore

log = logging.getLogger("jitflow.dataplane")


class Basis(Struct, frozen=True, kw_only=True):
    """What a plan was chosen from, in a few numbers."""

    steps: frozenset[StepId]
    run_s: dict[StepId, float]
    rates: dict[str, float]
    capacity_bytes: int
    blind: bool


class KeptPlan(Struct, frozen=True, kw_only=True):
    """A plan, from what it was chosen, and when."""

    plan: Plan
    basis: Basis
    chosen_at: float


_decode = msgspec.msgpack.Decoder(KeptPlan).decode
_encode = msgspec.msgpack.Encoder().encode


class KeptPlans:
    """Plans by workflow, in the state store."""

    def __init__(self, core: Core) -> None:
        """Write with the journal of `core`."""
        self._core = core
        self._earlier: dict[WorkflowUid, KeptPlan] = {}

    async def load(self, store: StateStore) -> None:
        """Read the plans of an earlier life; those that nobody asks for are removed after a while."""
        for uid, body in await store.items(records.PLAN):
            try:
                self._earlier[uid] = _decode(body)
            except (msgspec.DecodeError, msgspec.ValidationError):
                log.warning("the plan of %s cannot be read any more; another one will be chosen", uid)
                self._core.journal.put(records.PLAN, uid, None)
        if self._earlier:
            self._core.owner.start(self._tidy(), "remove plans that nobody follows")

    async def _tidy(self) -> None:
        await self._core.clock.sleep(self._core.tuning.restored_lease_s)
        for uid in list(self._earlier):
            self.drop(uid)

    def take(self, uid: WorkflowUid) -> KeptPlan | None:
        """Return the plan that a workflow followed in an earlier life, once."""
        return self._earlier.pop(uid, None)

    def keep(self, uid: WorkflowUid, kept: KeptPlan) -> None:
        """Keep a workflow's plan from now on."""
        self._core.journal.put(records.PLAN, uid, _encode(kept))

    def drop(self, uid: WorkflowUid) -> None:
        """The workflow follows no plan any more."""
        self._earlier.pop(uid, None)
        self._core.journal.put(records.PLAN, uid, None)
