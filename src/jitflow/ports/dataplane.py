"""The data side as the engine sees it: announce the future, take a lease, give results back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from jitflow.model.data import FutureStep, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.pods import CollectedArtifact
from jitflow.model.provenance import StepSeen
from jitflow.model.reasons import StepStanding
from jitflow.model.reports import (
    Adoption,
    BandwidthInfo,
    Estimate,
    LinkInfo,
    PinView,
    PrimaryCheck,
    PrimaryFill,
    QuotaView,
    ReplicaPage,
    StepData,
    TransferRecord,
    Upload,
)
from jitflow.model.spending import Spent
from jitflow.model.staging import StagingEstimate


class Lease(Struct, frozen=True, kw_only=True):
    """A step may start: its inputs are resident and pinned, its outputs' space is held.

    `paths`: input -> file or directory of the host, to be read only until `release`. `sizes`: bytes of each.
    `absent`: optional inputs that do not exist.
    """

    step: StepId
    paths: dict[ObjectRef, str] = {}
    sizes: dict[ObjectRef, int] = {}
    absent: tuple[ObjectRef, ...] = ()


class LeaseRefused(Struct, frozen=True, kw_only=True):
    """A step can never start: an input is missing, a remote refuses, it cannot fit. `message` is for people."""

    step: StepId
    message: str


class StagedOut(Struct, frozen=True, kw_only=True):
    """All outputs of a step are proven at their secondaries, or one cannot be (then `error` says why)."""

    step: StepId
    error: str = ""


class Waiting(Struct, frozen=True, kw_only=True):
    """Why a step does not start yet, for people; told when it changes."""

    step: StepId
    message: str


DataEvent = Lease | LeaseRefused | StagedOut | Waiting
DataListener = Callable[[DataEvent], None]


class OutputObject(Struct, frozen=True, kw_only=True):
    """An output artifact of a pod that has ended, to be taken into the primary and sent to `ref`."""

    ref: ObjectRef
    artifact: CollectedArtifact


class Quota(Struct, frozen=True, kw_only=True):
    """What a namespace may have in the primary. `bytes` None, `objects` 0: any amount."""

    bytes: int | None = None
    objects: int = 0


class DataPlane(Protocol):
    """Moves objects so that each step finds its inputs near. Events come to the listener on the event loop.

    Everything is keyed by step and harmless to repeat: after a restart the engine announces each running workflow again, asks
    again for the leases of steps that have not ended, and gives the outputs of ended ones again.
    """

    async def open(self, listener: DataListener) -> None:
        """Load the catalogue, compare it with the disk, go on with what was under way."""
        ...

    def belongs(self, uid: WorkflowUid, namespace: str, trace: str = "") -> None:
        """Say whose a workflow is, before anything else of it and again after a restart: its namespace pays for what it needs.

        `trace`: the request that made it as a W3C `traceparent`, for who tells of transfers as parts of its trace; empty: none.
        """
        ...

    def workflows(self) -> Collection[WorkflowUid]:
        """Return the workflows that were not withdrawn yet, as far as something of them is kept over restarts.

        One may have ended just before a restart that kept `withdraw` from being heard: whoever drives workflows looks after that.
        """
        ...

    async def admit(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> None:
        """Look the workflow's inputs up before it begins; nothing is fetched, nothing foreseen.

        Raises:
            Refused: an input does not exist, a remote is unknown or refuses, a step can never fit (says the smallest capacity
                that would do).
        """
        ...

    async def check(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> Estimate:
        """Look the workflow's inputs up and say what running it will take; nothing is fetched.

        Raises:
            Refused: as `admit`.
        """
        ...

    async def outlook(self, workflows: Sequence[tuple[WorkflowUid, Sequence[FutureStep]]]) -> Estimate:
        """Say what is still to come of workflows that run, together in the primary as it is now; nothing is looked up."""
        ...

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep], *, open_ended: bool = False, priority: int = 0) -> None:
        """Say what a workflow will read and write from now on, in order of need; replaces what was said before.

        `open_ended`: steps may come that are not known yet. `priority`: the workflow's; the results of a higher one go first, and
        it has a larger share beside others. With run times the data plane can choose a plan that is better than this order.
        """
        ...

    def acquire(self, uid: WorkflowUid, step: FutureStep) -> None:
        """Ask for a step's lease; a `Lease` or `LeaseRefused` follows, `Waiting` before it where it takes time."""
        ...

    def release(self, step: StepId, outputs: Sequence[OutputObject], *, good: bool = True) -> None:
        """The step has ended: unpin its inputs, take its outputs in, send them out. `StagedOut` follows if there are any.

        Outputs that were announced as transient stay in the primary where they fit, and that is told as `StagedOut`. What a step
        has read that was not `good` is kept for another attempt.

        The sources of the outputs may be moved; they belong to the data plane until `StagedOut`.
        """
        ...

    async def discard(self, ref: ObjectRef) -> None:
        """Delete an object (everything below a prefix) in its far store, with patience, and forget its replica.

        What is not there is no error; a replica that a step reads goes when it has ended.

        Raises:
            PortError: it could not be deleted.
        """
        ...

    def withdraw(self, uid: WorkflowUid, *, good: bool = True) -> None:
        """The workflow ended or was cancelled: forget its future, give up waiting leases; stage-outs go on.

        Its transient outputs go; if it was not `good`, those are sent to their far stores that a retry would read.
        """
        ...

    async def close(self) -> None:
        """Stop transfers (they resume at the next start) and write the catalogue."""
        ...


class Witness(Protocol):
    """What steps have read and written, as it was then; kept as long as their workflow is known, in the archive too."""

    async def of(self, uid: WorkflowUid) -> Sequence[StepSeen]:
        """Return what the steps of a workflow have read and written."""
        ...

    async def forget(self, uid: WorkflowUid) -> None:
        """A workflow is gone, from the archive too."""
        ...


class SharedDataPlane(DataPlane, Protocol):
    """A data plane that somebody beside the engine announces workflows to."""

    def share(self, prefix: str, listener: DataListener) -> None:
        """Tell `listener` of steps of workflows whose uid begins with `prefix`, instead of the listener of `open`."""
        ...


class Bandwidths(Protocol):
    """The limits of bandwidth, which may be changed at any time and are kept over restarts."""

    def shown(self) -> BandwidthInfo:
        """Return the limits there are."""
        ...

    async def change(self, limits: Mapping[str, str | None], time_zone: str | None = None) -> BandwidthInfo:
        """Hold other limits from now on; what is not named stays as it is. Return all.

        Args:
            limits: remote, or `*` -> limit or time table; None: as the settings file says.
            time_zone: by whose clocks time tables are meant (IANA name); empty: as the settings file says.

        Raises:
            Refused: one cannot be read, or the limits cannot be held now; nothing was changed.
        """
        ...


class Whereabouts(Struct, frozen=True, kw_only=True):
    """Where an object can be read beside its far store, as it was when that was asked.

    `local`: the file or directory of the primary that holds it, or the part of a directory's replica; `near`: the object of a
    near remote that does; `freed_by`: the step that wrote it, if it was let go without a copy elsewhere. Empty, None: none.
    """

    local: str = ""
    near: ObjectRef | None = None
    freed_by: StepId = ""


class DataView(Protocol):
    """What whoever drives workflows asks of the data side, beside what it tells it. Raises `PortError` while that is away."""

    async def step_data(self, uid: WorkflowUid) -> Sequence[StepData]:
        """See `PrimaryAdmin.step_data`."""
        ...

    async def standing(self, step: StepId) -> StepStanding:
        """See `PrimaryAdmin.standing`."""
        ...

    async def read_bytes(self, steps: Sequence[StepId]) -> int:
        """Return how many bytes of objects these steps had read near, all together (see `PrimaryAdmin.read_bytes`)."""
        ...

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """See `PrimaryAdmin.timeline`."""
        ...

    async def replicas_of(self, refs: Collection[ObjectRef]) -> Mapping[ObjectRef, Replica]:
        """Return the rows of those of these objects that are here or coming."""
        ...

    async def whereabouts(self, ref: ObjectRef) -> Whereabouts:
        """Return where an object can be read near."""
        ...

    async def spent(self, namespace: str, *, since: str, until: str) -> Sequence[Spent]:
        """Return what was moved and spent for a namespace (see `Ledger.spent`)."""
        ...


class PrimaryAdmin(Protocol):
    """What people do with the primary by hand, and what they see of it."""

    def fill(self) -> PrimaryFill:
        """Return how full the primary is now."""
        ...

    async def replicas(self, *, after: str = "", limit: int = 1000) -> ReplicaPage:
        """Return so many rows of the catalogue, by name, with what is under way and queued; those after the name `after`."""
        ...

    def replica(self, ref: ObjectRef) -> Replica | None:
        """Return an object's row in the catalogue, None if it is neither here nor coming."""
        ...

    def step_data(self, uid: WorkflowUid) -> Sequence[StepData]:
        """Return where the data of a workflow's announced or running steps stands."""
        ...

    def standing(self, step: StepId) -> StepStanding:
        """Return where each input of a step stands and when it is expected, or, once the step has begun, where it came from.

        Known of the last steps that had data, also over a restart; a step that is not known has no phase.
        """
        ...

    def read_bytes(self, step: StepId) -> int:
        """Return how many bytes of objects a step that has ended had read near; 0 if that is not known (any more)."""
        ...

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """Return finished transfers and the primary's fill (time, used bytes) since a time; bounded, newest kept."""
        ...

    def local(self, ref: ObjectRef) -> Path | None:
        """Return the file or directory of the primary that holds an object, or the part of a directory's replica; else None.

        It is to be read only, and may be evicted at any time: a file that was opened stays readable.
        """
        ...

    def near(self, ref: ObjectRef) -> ObjectRef | None:
        """Return the object of a remote that holds an object, or the part of a directory's replica, in the primary; else None."""
        ...

    def freed_output_of(self, ref: ObjectRef) -> StepId:
        """Return which step wrote an output that was let go without a copy elsewhere; empty if that is not known of it."""
        ...

    def uploads(self) -> Sequence[Upload]:
        """Return the outputs that are not at their secondaries: first what is sent, then what waits, in order."""
        ...

    def retry_uploads(self, ref: ObjectRef | None = None) -> Sequence[ObjectRef]:
        """Send again what could not be sent: one object, or all; return which.

        Raises:
            Refused: there is no such output (`not_found`).
        """
        ...

    def links(self) -> Sequence[LinkInfo]:
        """Return what is known of the far stores' links, by remote."""
        ...

    async def drop_upload(self, ref: ObjectRef) -> None:
        """Delete an output that could not be sent.

        Raises:
            Refused: there is no such output (`not_found`).
        """
        ...

    async def stage(self, ref: ObjectRef) -> Replica:
        """Fetch an object now and return its replica when it is resident.

        Raises:
            Refused: it does not exist, does not fit, or its remote refuses.
        """
        ...

    async def explain(self, refs: Sequence[ObjectRef]) -> StagingEstimate:
        """Look objects up and say what it would take to have all of them near at once; nothing is fetched.

        Raises:
            Refused: one cannot be had.
        """
        ...

    async def pin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Keep a resident replica, or everything that is or comes below a prefix, until told otherwise.

        `namespace`: which pays for it, within its quota; empty: none, it is kept for all.

        Raises:
            Refused: the object is not here (`not_found`), or there is no room to keep it (`conflict`).
        """
        ...

    async def unpin(self, ref: ObjectRef, namespace: str = "") -> PinView:
        """Take a pin away; other pins of the same object stand.

        Raises:
            Refused: it is not pinned (`not_found`).
        """
        ...

    def pins(self) -> Sequence[PinView]:
        """Return what is pinned, by reference."""
        ...

    def quotas(self) -> Sequence[QuotaView]:
        """Return what each namespace has in the primary and may have, by name."""
        ...

    async def compare(self, *, remove: bool = False, hashes: bool = False) -> PrimaryCheck:
        """Compare the catalogue with what is really there; it follows.

        `remove`: remove what jitflow did not put there. `hashes`: read every replica and compare it with its far store.

        Raises:
            Refused: the primary cannot be looked at.
        """
        ...

    async def adopt(self, place: str, prefix: ObjectRef, *, move: bool = False) -> Adoption:
        """Take the files at a place near the primary for the objects of the same names below a prefix.

        They must have their size, and their hash or (where there is none) their time. `move`: they have no other name afterwards.

        Raises:
            Refused: one of the places cannot be used.
        """
        ...

    async def evict(self, ref: ObjectRef) -> None:
        """Remove a replica.

        Raises:
            Refused: a step reads it, it is kept, or it is an output that is not proven far away yet.
        """
        ...
