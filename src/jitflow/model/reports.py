"""What is told of data: estimates, transfers, the primary, remotes. Sizes in bytes, times in seconds since the epoch."""

from collections.abc import Sequence

from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.model.spending import Prices


class PlanNote(Struct, frozen=True, kw_only=True):
    """The plan by which a workflow is gone through, and why that one. `makespan_s`: what was simulated, alone in the primary.

    `steps`: how many were to come when it was chosen, at `chosen_at`; `timed`: of how many of them a run time was known.
    """

    uid: WorkflowUid
    name: str
    reason: str
    makespan_s: float | None = None
    steps: int = 0
    timed: int = 0
    chosen_at: float = 0.0
    workflow: str = ""
    """Its name, if that is known."""


class Estimate(Struct, frozen=True, kw_only=True):
    """What `explain` says of a manifest before it runs. Bytes and seconds.

    `unknown`: how many inputs have no known size or name yet. `expected_s`: None when nothing is known of the link.
    """

    objects: int
    distinct_bytes: int
    resident_bytes: int
    to_move_bytes: int
    peak_bytes: int
    capacity_bytes: int
    smallest_capacity_bytes: int
    unknown: int = 0
    link_Bps: float | None = None
    transfer_s: float | None = None
    expected_s: float | None = None
    rows: tuple[tuple[str, int | None, str, int], ...] = ()
    """For each object: its reference, size, state here, number of steps that read it."""
    steps: int = 0
    timed: int = 0
    """How many steps are to come, and of how many of them a run time was learned; the others are taken for average ones."""
    on_demand_s: float | None = None
    """What is expected if every step took a place first and fetched its inputs while it held it."""
    compute_s: float = 0.0
    """The longest chain of run times, and the steps on it."""
    compute_chain: tuple[StepId, ...] = ()
    chain_s: float | None = None
    """The longest chain of transfers that no step of it can do without, and the steps on it that have any."""
    transfer_chain: tuple[StepId, ...] = ()
    too_large: bool = False
    """The workflow is too large to be simulated here: of its time is said what adding up, and the choice of a plan, give."""
    quota_bytes: int | None = None
    """What the workflow's namespace may have in the primary, None where that is not limited."""
    money: dict[str, float] = {}
    """What moving its inputs, and its outputs as far as their sizes are declared, is expected to cost, by currency."""
    plans: tuple[PlanNote, ...] = ()
    """The plans of the workflows that have one, or, of what does not run, the plan that would be chosen for it now."""


class StepData(Struct, frozen=True, kw_only=True):
    """Where a step's data stands. `phase`: `waiting`, `fetching`, `ready`, `staging-out` or `done`.

    `bytes_done` of `bytes_total` are here (or, staging out, there); `rate_Bps` and `eta_s` are None when not known.
    `objects`: (reference, state, bytes done, size, queue position or 0) of each object that is still missing.
    """

    step: StepId
    phase: str
    bytes_total: int = 0
    bytes_done: int = 0
    rate_Bps: float | None = None
    eta_s: float | None = None
    reason: str = ""
    objects: tuple[tuple[str, str, int, int | None, int], ...] = ()


class TransferRecord(Struct, frozen=True, kw_only=True):
    """A finished transfer, kept for time lines. `direction`: `in` or `out`; `outcome`: `ok`, `failed` or `cancelled`."""

    ref: ObjectRef
    direction: str
    size_bytes: int
    started_at: float
    finished_at: float
    outcome: str = "ok"
    reason: str = ""
    error: str = ""
    steps: tuple[StepId, ...] = ()


class Upload(Struct, frozen=True, kw_only=True):
    """An output that is not at its secondary. `step`: who wrote it.

    `state`: `sending`, `queued` (at `place`, 0 while it is taken in), `failed` (it is kept), or `here`: steps hand it on, and it
    need not be sent. `message` says why.
    """

    ref: ObjectRef
    step: StepId
    state: str
    size_bytes: int = 0
    done_bytes: int = 0
    rate_Bps: float | None = None
    place: int = 0
    message: str = ""


class PrimaryFill(Struct, frozen=True, kw_only=True):
    """How full the primary is. `used_bytes` = resident + reserved by transfers and outputs under way; `peak_bytes` since ever."""

    capacity_bytes: int
    used_bytes: int
    resident_bytes: int
    pinned_bytes: int
    dirty_bytes: int
    peak_bytes: int
    fetched_bytes: int
    fetched_twice_bytes: int
    stored_bytes: int
    strangers_bytes: int = 0
    """What is in the primary and is not jitflow's; it counts as used."""
    objects: int = 0
    """How many objects are used, and how many may be, where that is limited."""
    max_objects: int = 0
    kept_bytes: int = 0
    """What people have pinned; `pinned_bytes` is what steps read now or are about to."""
    shared_bytes: int = 0
    """What had not to be fetched so far, for an object of equal content was here."""


class QuotaView(Struct, frozen=True, kw_only=True):
    """What a namespace pays for in the primary, and may at most (`quota_bytes` None, `quota_objects` 0: any amount).

    `used_bytes` = `held_bytes` (cannot be freed now; some of it is `pinned_bytes`) + `idle_bytes` (can). What several namespaces
    hold they pay for in equal parts. `waiting_steps`: steps that could start but for the quota.
    """

    namespace: str
    quota_bytes: int | None
    quota_objects: int
    used_bytes: int
    held_bytes: int
    idle_bytes: int
    pinned_bytes: int
    objects: int
    waiting_steps: int


class PinView(Struct, frozen=True, kw_only=True):
    """A pin, and what it keeps now. `namespace` empty: for all.

    `kept`: it stands. `message`: why it does not keep all that it should.
    """

    ref: ObjectRef
    namespace: str = ""
    since: float = 0.0
    kept: bool = True
    objects: int = 0
    size_bytes: int = 0
    message: str = ""


class ReplicaPage(Struct, frozen=True, kw_only=True):
    """Rows of the catalogue. `next`: the name after which the next page begins, empty if this is the last one."""

    items: tuple[Replica, ...] = ()
    next: str = ""


class PrimaryCheck(Struct, frozen=True, kw_only=True):
    """What a comparison of the catalogue with the primary has shown.

    `changed`: replicas that somebody has changed or removed: they are fetched anew when they are needed. `unproven`: such outputs
    that have not reached their far store. `strangers`: what jitflow did not put there, with its bytes; `removed`: those that were
    removed; `strangers_bytes`: what the others take of the capacity.
    """

    replicas: int
    changed: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    strangers: dict[str, int] = {}
    strangers_bytes: int = 0
    removed: tuple[str, ...] = ()


class Adoption(Struct, frozen=True, kw_only=True):
    """What was adopted, and by name why the other files were not; the first thousand of each are named."""

    adopted: int
    adopted_bytes: int
    skipped: int
    refs: tuple[str, ...] = ()
    reasons: dict[str, str] = {}


class LinkInfo(Struct, frozen=True, kw_only=True):
    """What is known of a far store's link.

    `rate_Bps`: what it gave when it was busy last, None if that is not known; `latency_s`: of a request. `streams`: how many fill
    it, of `most_streams`; `active`: under way now. `stalls`: how often a transfer stood still, since the start of the server.
    `up_Bps` and `down_Bps`: the limits in force, None where there is none.
    """

    remote: str
    rate_Bps: float | None
    latency_s: float | None
    streams: int
    most_streams: int
    active: int
    stalls: int
    up_Bps: int | None = None
    down_Bps: int | None = None
    fill_bytes: int = 0
    """On their way, they keep it busy."""
    part_bytes: int = 0
    """A range of an object is no smaller."""


class BandwidthLimit(Struct, frozen=True, kw_only=True):
    """A limit, of one `remote` or (`*`) of all together, in rclone's words.

    `source`: `settings` (a file), or `api`. `up_Bps` and `down_Bps`: what of it is in force now, None: no limit; `changes_at`:
    when something else will be (seconds since the epoch), None: never.
    """

    remote: str
    limit: str
    source: str
    up_Bps: int | None
    down_Bps: int | None
    changes_at: float | None


class BandwidthInfo(Struct, frozen=True, kw_only=True):
    """All limits, and by the clocks of which time zone their time tables are meant."""

    time_zone: str
    limits: tuple[BandwidthLimit, ...]


ALL_REMOTES = "*"
"""Stands for all remotes together where limits are named."""


class RemoteInfo(Struct, frozen=True, kw_only=True):
    """A configured remote as people may see it: values of secret options are replaced by `***`.

    `source`: `settings` (a file; read-only here) or `api`.
    """

    name: str
    type: str
    options: dict[str, str] = {}
    source: str = "settings"
    prices: Prices | None = None
    """What moving bytes from and to it costs; None: nothing."""


class ProviderInfo(Struct, frozen=True, kw_only=True):
    """A type of far store."""

    type: str
    about: str = ""


class OptionInfo(Struct, frozen=True, kw_only=True):
    """An option of a type of far store. `values`: what it may be, or examples; `makers`: whose stores have it, empty: all.

    `is_exclusive`: nothing but `values` is possible. `is_password`: its value is kept encrypted and never shown.
    """

    name: str
    type: str = "string"
    about: str = ""
    default: str = ""
    is_required: bool = False
    is_password: bool = False
    is_advanced: bool = False
    is_exclusive: bool = False
    makers: str = ""
    values: tuple[str, ...] = ()


class ProviderDetail(Struct, frozen=True, kw_only=True):
    """A type of far store with its options."""

    type: str
    about: str = ""
    options: tuple[OptionInfo, ...] = ()


class Listing(Struct, frozen=True, kw_only=True):
    """Objects below a prefix; `truncated` when there are more."""

    items: tuple[ObjectInfo, ...]
    truncated: bool = False


class Stat(ObjectInfo, frozen=True, kw_only=True):
    """An object, and its replica if there is one."""

    replica: Replica | None


class Primary(Struct, frozen=True):
    """How full the primary is, and of what. `next`: the cursor of the next page, empty if this is the last one."""

    fill: PrimaryFill
    replicas: Sequence[Replica]
    next: str = ""


class Timeline(Struct, frozen=True):
    """Finished transfers; `fill`: (seconds since the epoch, bytes used)."""

    transfers: Sequence[TransferRecord]
    fill: Sequence[tuple[float, int]]


class StepSpan(Struct, frozen=True, kw_only=True):
    """When a node of a workflow began and ended; None: not yet."""

    id: str
    name: str
    type: str
    template: str
    phase: str
    started_at: float | None
    finished_at: float | None


class RunTimeline(Struct, frozen=True, kw_only=True):
    """A workflow's steps and the transfers for them, each in the order of their beginnings.

    The `steps` of a transfer are the ids of this workflow's nodes that read or wrote the object.
    """

    namespace: str
    name: str
    uid: WorkflowUid
    phase: str
    steps: tuple[StepSpan, ...] = ()
    transfers: tuple[TransferRecord, ...] = ()
