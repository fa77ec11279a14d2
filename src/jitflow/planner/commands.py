"""What the planner wants done. Each command is answered by an event of `Planner`; its reason is for people."""

from msgspec import Struct

from jitflow.model.data import ObjectRef, StepId


class Look(Struct, frozen=True, kw_only=True):
    """Find out the size of an object; answered by `size_known`, `missing` or `look_failed`. `urgent`: a step waits for it."""

    ref: ObjectRef
    urgent: bool


class Fetch(Struct, frozen=True, kw_only=True):
    """Begin a transfer into the space that is reserved for it; answered by `arrived` or `fetch_failed`.

    `urgent`: a claimed step waits for it; else it is read ahead. `step`: the first step that reads it. `parts`: in how many
    ranges to move it at once.
    """

    ref: ObjectRef
    size_bytes: int
    urgent: bool
    step: StepId
    reason: str
    parts: int = 1


class Cancel(Struct, frozen=True, kw_only=True):
    """Give a transfer up; answered by `fetch_failed`, or by `arrived` if it was too late."""

    ref: ObjectRef
    reason: str


class Hurry(Struct, frozen=True, kw_only=True):
    """A claimed step waits now for a transfer that was read ahead, which yields no longer; nothing answers."""

    ref: ObjectRef
    step: StepId
    reason: str


class Evict(Struct, frozen=True, kw_only=True):
    """Remove a replica; answered by `evicted` when its bytes are free."""

    ref: ObjectRef
    reason: str


class Forget(Struct, frozen=True, kw_only=True):
    """Remove at once what has come of an object whose transfer was interrupted; nothing answers."""

    ref: ObjectRef
    reason: str


class Store(Struct, frozen=True, kw_only=True):
    """Bring an output that only the primary has to its far store, before others; answered by `uploaded`.

    An `Evict` of it meanwhile says that nobody needs it any more.
    """

    ref: ObjectRef
    size_bytes: int
    reason: str


class Take(Struct, frozen=True, kw_only=True):
    """Take an output into the space that is reserved for it; answered by `taken` or `take_failed`."""

    ref: ObjectRef
    size_bytes: int


class Bypass(Struct, frozen=True, kw_only=True):
    """Send an output to its secondary from where it lies: the primary has no room for it; answered by `uploaded`."""

    ref: ObjectRef
    reason: str


class Grant(Struct, frozen=True, kw_only=True):
    """The step may start: its inputs are resident and pinned, its outputs' space is held."""

    step: StepId
    reason: str = ""


class Refuse(Struct, frozen=True, kw_only=True):
    """The step can never start; the planner has forgotten it."""

    step: StepId
    message: str


Command = Look | Fetch | Hurry | Cancel | Forget | Evict | Store | Take | Bypass | Grant | Refuse
