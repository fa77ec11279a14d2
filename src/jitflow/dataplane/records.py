"""What the data plane writes into the store."""

from typing import Final

import msgspec
from msgspec import Struct

from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid

REPLICA: Final = "replica"
LEASE: Final = "lease"
STAGEOUT: Final = "stageout"
TRANSFER: Final = "transfer"
FILL: Final = "fill"
FETCHED: Final = "fetched"
COUNTERS: Final = "dataplane"
READ: Final = "read"
FREED: Final = "freed"
BEGUN: Final = "begun"
PLAN: Final = "plan"
OWNER: Final = "owner"
"""Whose a workflow is: a namespace."""
PIN: Final = "pin"
NAMED: Final = "named"

LOCAL_KINDS: Final = frozenset(
    {REPLICA, LEASE, STAGEOUT, TRANSFER, FILL, FETCHED, COUNTERS, READ, FREED, BEGUN, PLAN, OWNER, PIN, NAMED}
)
"""All of them: each is about what lies in the primary or is on its way there."""


class BegunDoc(Struct, frozen=True, kw_only=True):
    """A large object on its way: a part of it may be in the primary when this process has been killed."""

    ref: ObjectRef
    size_bytes: int
    location: str


class PinDoc(Struct, frozen=True, kw_only=True):
    """An object, or everything below a prefix, that is to be kept: for a namespace, or (without one) for all."""

    ref: ObjectRef
    namespace: str = ""
    since: float = 0.0


class LeaseDoc(Struct, frozen=True, kw_only=True):
    """A lease that was given and not returned: its pod may outlive this process."""

    uid: WorkflowUid
    step: FutureStep
    reserve_bytes: int = 0
    absent: tuple[ObjectRef, ...] = ()
    asked_at: float = 0.0
    granted_at: float = 0.0


class ReadDoc(Struct, frozen=True, kw_only=True):
    """What a step that has ended had read, and when it asked for it and got it."""

    inputs: tuple[tuple[ObjectRef, int], ...]
    absent: tuple[ObjectRef, ...] = ()
    asked_at: float = 0.0
    granted_at: float = 0.0


class OutputDoc(Struct, kw_only=True):
    """One output to be sent to its secondary. `location`: its replica, if it was taken into the primary.

    `transient`: it need not be sent; then it is `parked` in the primary until its room is needed, or `freed` when it is needed no
    more. `error`: why it could not be sent; it is kept all the same, where it is.
    """

    ref: ObjectRef
    source: str
    size_bytes: int = -1
    location: str = ""
    proven: bool = False
    error: str = ""
    transient: bool = False
    parked: bool = False
    freed: bool = False
    name: str = ""
    """Of the artifact."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is done about it now."""
        return self.proven or self.parked or self.freed or bool(self.error)

    @property
    def is_safe(self) -> bool:
        """Whether steps can have it, whatever becomes of its sending."""
        return self.proven or self.freed or bool(self.location)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is ever to be done about it again."""
        return self.proven or self.freed


class Obligation(Struct, kw_only=True):
    """The outputs of one step that has ended. `orphan`: its workflow has ended too. `good`: the step has succeeded."""

    step: StepId
    uid: WorkflowUid
    outputs: list[OutputDoc]
    orphan: bool = False
    good: bool = True
    family: StepId = ""
    namespace: str = ""
    """Who pays for what is sent; empty: of an earlier version, which did not say."""

    @property
    def finished(self) -> bool:
        """Whether every output is proven, given up, or stays in the primary."""
        return all(one.is_settled for one in self.outputs)

    @property
    def closed(self) -> bool:
        """Whether nothing is ever to be done about it again."""
        return all(one.is_closed for one in self.outputs)

    @property
    def error(self) -> str:
        """What went wrong, for people."""
        return "; ".join(one.error for one in self.outputs if one.error)


class Counters(Struct, kw_only=True):
    """What the primary has seen since ever. `rates`: bytes per second of each remote's link, smoothed."""

    peak_bytes: int = 0
    fetched_bytes: int = 0
    fetched_twice_bytes: int = 0
    stored_bytes: int = 0
    shared_bytes: int = 0
    rates: dict[str, float] = {}


def encode(value: object) -> bytes:
    """Return a document's bytes."""
    return msgspec.json.encode(value)
