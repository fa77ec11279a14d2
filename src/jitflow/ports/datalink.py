"""What the control side and the data side say to each other when they are processes of their own, as JSON.

The control side *joins* and is given a session. In it it sends **commands**, numbered from 1, each of which takes effect once and
in order, however often it is sent; it hears **sayings**, numbered too, which are kept until it has asked for later ones; and it
**asks** what is answered at once and may be asked again. A session ends with the data side's process, or when somebody joins
anew: then the control side joins again and says everything that still holds, as after a restart of its own (see `DataPlane`).
"""

from typing import Final, Protocol

from msgspec import Struct

from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.model.origins import Origin
from jitflow.model.problems import Problem
from jitflow.model.reports import TransferRecord
from jitflow.ports.dataplane import DataEvent, DataPlane, Lease, LeaseRefused, OutputObject, StagedOut, Waiting

PATH: Final = "/link/v1"
"""What the paths of the link begin with."""
FAILED: Final = 422
"""The status of an answer that is a `Failed`."""
BEHALF: Final = "x-jitflow-behalf"
"""The header that says, beside the link's token, for whom a request is handed on."""
DOCUMENTS: Final = "datalink"
"""Kind of the documents of both ends."""
JOINED: Final = "joined"
"""Under which name a control side keeps what the data side told when it was joined: a `Joined`."""
SERVES: Final = "serves"
"""Under which name a data side keeps whom it serves: a `Served`."""
LISTEN_S: Final = 20.0
"""So long the data side waits for something to say before it answers that there is nothing."""
SILENT_S: Final = 30.0
"""A control side that was not heard of for so long has gone: another one may join."""


class DrivenDataPlane(DataPlane, Protocol):
    """A data plane that lives on when whoever drives workflows is started anew."""

    def doubt(self) -> None:
        """Hold leases, and what steps have asked for, only if somebody asks again: whoever did may know no more of them."""
        ...

    async def settled(self) -> None:
        """Return when what was said so far outlasts a kill."""
        ...


# -- commands ----------------------------------------------------------------------------------------------------------


class Known(Struct, frozen=True, kw_only=True, tag="known"):
    """A store that only a manifest names, its options with the values of its secrets; `error`: why one cannot be had."""

    origin: Origin
    options: dict[str, str] = {}
    error: str = ""


class Belongs(Struct, frozen=True, kw_only=True, tag="belongs"):
    """See `DataPlane.belongs`."""

    uid: WorkflowUid
    namespace: str
    trace: str = ""


class Announce(Struct, frozen=True, kw_only=True, tag="announce"):
    """See `DataPlane.announce`."""

    uid: WorkflowUid
    steps: tuple[FutureStep, ...]
    open_ended: bool = False
    priority: int = 0


class Acquire(Struct, frozen=True, kw_only=True, tag="acquire"):
    """See `DataPlane.acquire`."""

    uid: WorkflowUid
    step: FutureStep


class Release(Struct, frozen=True, kw_only=True, tag="release"):
    """See `DataPlane.release`."""

    step: StepId
    outputs: tuple[OutputObject, ...] = ()
    good: bool = True


class Withdraw(Struct, frozen=True, kw_only=True, tag="withdraw"):
    """See `DataPlane.withdraw`."""

    uid: WorkflowUid
    good: bool = True


class ForgetSeen(Struct, frozen=True, kw_only=True, tag="forgetSeen"):
    """See `Witness.forget`."""

    uid: WorkflowUid


Command = Known | Belongs | Announce | Acquire | Release | Withdraw | ForgetSeen


class Batch(Struct, frozen=True, kw_only=True):
    """Commands of a session, of which the first has this number."""

    first: int
    commands: tuple[Command, ...]


class Taken(Struct, frozen=True, kw_only=True):
    """All commands up to this number have taken effect."""

    last: int


# -- joining -----------------------------------------------------------------------------------------------------------


class Join(Struct, frozen=True, kw_only=True):
    """A control side that wants to drive. `control`: the same for all that may take each other's place; `host`: for people.

    `probe`: a file that it has just made where outputs of pods are, with `mark` in it.
    """

    control: str
    host: str
    probe: str
    mark: str


class Served(Struct, frozen=True, kw_only=True):
    """Which control side has joined a data side last: its workflows are not in the data side's own state."""

    control: str = ""
    host: str = ""


class RemoteSaid(Struct, frozen=True, kw_only=True):
    """A configured remote, as far as manifests are matched with it."""

    name: str
    type: str
    endpoints: tuple[str, ...] = ()


class Joined(Struct, frozen=True, kw_only=True):
    """The session. `workflows`: see `DataPlane.workflows`. `probe`: a file where leases' inputs are, with `mark` in it.

    `hidden`: directories of the data side that no pod may see.
    """

    session: str
    remotes: tuple[RemoteSaid, ...]
    workflows: tuple[WorkflowUid, ...]
    probe: str
    mark: str
    hidden: tuple[str, ...] = ()


# -- sayings -----------------------------------------------------------------------------------------------------------


class Near(Struct, frozen=True, kw_only=True):
    """An input of a lease: where it lies, and its size."""

    ref: ObjectRef
    path: str
    size_bytes: int


class Leased(Struct, frozen=True, kw_only=True, tag="leased"):
    """See `Lease`."""

    step: StepId
    inputs: tuple[Near, ...] = ()
    absent: tuple[ObjectRef, ...] = ()


class Refusal(Struct, frozen=True, kw_only=True, tag="refused"):
    """See `LeaseRefused`."""

    step: StepId
    message: str


class Sent(Struct, frozen=True, kw_only=True, tag="stagedOut"):
    """See `StagedOut`."""

    step: StepId
    error: str = ""


class Waits(Struct, frozen=True, kw_only=True, tag="waiting"):
    """See `Waiting`."""

    step: StepId
    message: str


class RemotesChanged(Struct, frozen=True, kw_only=True, tag="remotes"):
    """The remotes that are configured from now on."""

    remotes: tuple[RemoteSaid, ...]


Saying = Leased | Refusal | Sent | Waits | RemotesChanged


class Said(Struct, frozen=True, kw_only=True):
    """A saying and its number."""

    number: int
    saying: Saying


class Heard(Struct, frozen=True, kw_only=True):
    """What there is to hear, in order."""

    sayings: tuple[Said, ...]


def said(event: DataEvent) -> Saying:
    """Return an event as it is sent."""
    if isinstance(event, Lease):
        inputs = tuple(Near(ref=ref, path=path, size_bytes=event.sizes.get(ref, 0)) for ref, path in event.paths.items())
        return Leased(step=event.step, inputs=inputs, absent=event.absent)
    if isinstance(event, LeaseRefused):
        return Refusal(step=event.step, message=event.message)
    if isinstance(event, StagedOut):
        return Sent(step=event.step, error=event.error)
    return Waits(step=event.step, message=event.message)


def event_of(saying: Leased | Refusal | Sent | Waits) -> DataEvent:
    """Return the event that was sent."""
    if isinstance(saying, Leased):
        return Lease(
            step=saying.step,
            paths={one.ref: one.path for one in saying.inputs},
            sizes={one.ref: one.size_bytes for one in saying.inputs},
            absent=saying.absent,
        )
    if isinstance(saying, Refusal):
        return LeaseRefused(step=saying.step, message=saying.message)
    if isinstance(saying, Sent):
        return StagedOut(step=saying.step, error=saying.error)
    return Waiting(step=saying.step, message=saying.message)


# -- what is asked -----------------------------------------------------------------------------------------------------


class Admit(Struct, frozen=True, kw_only=True, tag="admit"):
    """See `DataPlane.admit`; answered with nothing."""

    uid: WorkflowUid
    steps: tuple[FutureStep, ...]
    namespace: str = ""


class Check(Struct, frozen=True, kw_only=True, tag="check"):
    """See `DataPlane.check`."""

    uid: WorkflowUid
    steps: tuple[FutureStep, ...]
    namespace: str = ""


class Coming(Struct, frozen=True, kw_only=True):
    """What is still to come of a workflow."""

    uid: WorkflowUid
    steps: tuple[FutureStep, ...]


class OutlookOf(Struct, frozen=True, kw_only=True, tag="outlook"):
    """See `DataPlane.outlook`."""

    workflows: tuple[Coming, ...]


class Discard(Struct, frozen=True, kw_only=True, tag="discard"):
    """See `DataPlane.discard`; answered with nothing."""

    ref: ObjectRef


class StepDataOf(Struct, frozen=True, kw_only=True, tag="stepData"):
    """See `DataView.step_data`."""

    uid: WorkflowUid


class StandingOf(Struct, frozen=True, kw_only=True, tag="standing"):
    """See `DataView.standing`."""

    step: StepId


class ReadBytesOf(Struct, frozen=True, kw_only=True, tag="readBytes"):
    """See `DataView.read_bytes`."""

    steps: tuple[StepId, ...]


class TimelineSince(Struct, frozen=True, kw_only=True, tag="timeline"):
    """See `DataView.timeline`; answered with a `Timeline`."""

    since: float = 0.0


class Timeline(Struct, frozen=True, kw_only=True):
    """Finished transfers, and the primary's fill over time."""

    transfers: tuple[TransferRecord, ...]
    fill: tuple[tuple[float, int], ...]


class ReplicasOf(Struct, frozen=True, kw_only=True, tag="replicas"):
    """See `DataView.replicas_of`; answered with the rows."""

    refs: tuple[ObjectRef, ...]


class WhereaboutsOf(Struct, frozen=True, kw_only=True, tag="whereabouts"):
    """See `DataView.whereabouts`."""

    ref: ObjectRef


class SpentOf(Struct, frozen=True, kw_only=True, tag="spent"):
    """See `DataView.spent`; answered with the rows."""

    namespace: str
    since: str
    until: str


class SeenOf(Struct, frozen=True, kw_only=True, tag="seen"):
    """See `Witness.of`."""

    uid: WorkflowUid


class StatOf(Struct, frozen=True, kw_only=True, tag="stat"):
    """See `Storage.stat`."""

    ref: ObjectRef


class RotateKey(Struct, frozen=True, kw_only=True, tag="rotateKey"):
    """Seal what is stored sealed with a new key; answered with a `Resealed`."""


class Resealed(Struct, frozen=True, kw_only=True):
    """How much was sealed anew, and whether the old key is gone from where keys are kept."""

    resealed: int
    old_key_removed: bool


class RemotesNow(Struct, frozen=True, kw_only=True, tag="remotesNow"):
    """Which remotes there are; answered with `RemoteSaid` rows."""


Ask = (
    Admit
    | Check
    | OutlookOf
    | Discard
    | StepDataOf
    | StandingOf
    | ReadBytesOf
    | TimelineSince
    | ReplicasOf
    | WhereaboutsOf
    | SpentOf
    | SeenOf
    | StatOf
    | RotateKey
    | RemotesNow
)


class Failed(Struct, frozen=True, kw_only=True):
    """Why something was not done. `kind`: a class of `jitflow.ports.errors`, `Refused`, or `NoSession`."""

    kind: str
    message: str
    problems: tuple[Problem, ...] = ()


NO_SESSION: Final = "NoSession"
