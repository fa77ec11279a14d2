"""Objects in far stores, and their replicas in the primary."""

from enum import StrEnum

from msgspec import Struct

WorkflowUid = str
StepId = str
"""`<workflow uid>/<node id>`: one step of one workflow, the same before and after it exists as a node."""


class ObjectRef(Struct, frozen=True, kw_only=True, order=True):
    """One object, `remote:path`, or, when `path` ends in `/`, the set of objects below a prefix."""

    remote: str
    path: str

    @property
    def is_prefix(self) -> bool:
        """Whether this names a directory (a set of objects)."""
        return self.path.endswith("/") or not self.path

    def __str__(self) -> str:
        """Return the rclone form, `remote:path`."""
        return f"{self.remote}:{self.path}"


class ObjectInfo(Struct, frozen=True, kw_only=True):
    """What a store says of an object. `version` is any token that changes with the content (ETag, mtime and size)."""

    ref: ObjectRef
    size_bytes: int
    modified: str = ""
    hashes: dict[str, str] = {}
    version: str = ""
    count: int = 1
    """Number of objects: 1, or that of a prefix."""


class ReplicaState(StrEnum):
    """The life of a copy in the primary; the legal moves are in `jitflow.planner.replicas`."""

    ABSENT = "absent"
    QUEUED = "queued"
    TRANSFERRING = "transferring"
    RESIDENT = "resident"
    EVICTING = "evicting"


class Replica(Struct, frozen=True, kw_only=True):
    """A copy of an object in the primary, as the catalogue keeps it.

    `dirty`: an output not yet proven at its secondary; such a replica is never evicted.
    `kept`: somebody asked to keep it (a pin without a step); `keepers`: for which namespaces, an empty name for all.
    `location`: its file or directory below the primary's root.
    `stamp`: what tells that nobody has changed it there since; empty where that cannot be told.
    `content`: hash and size; replicas of equal content are stored once. Empty where no hash is known.
    """

    ref: ObjectRef
    size_bytes: int
    state: ReplicaState
    location: str
    dirty: bool = False
    kept: bool = False
    version: str = ""
    last_used_at: float = 0.0
    stamp: str = ""
    content: str = ""
    keepers: tuple[str, ...] = ()


class FutureInput(Struct, frozen=True, kw_only=True):
    """An object that a step will read. `size_bytes` None: not known yet.

    `late`: it need not exist yet, for a step of which nothing is known yet may write it. `near`: the step reads the object by
    itself, under this name; it is there while the step runs.
    """

    ref: ObjectRef
    size_bytes: int | None = None
    optional: bool = False
    late: bool = False
    near: ObjectRef | None = None


class FutureOutput(Struct, frozen=True, kw_only=True):
    """An object that a step will write; `size_bytes` is what is reserved for it, `expected_bytes` only what is foreseen.

    `transient`: only steps of its workflow read it, or nobody. It lives in the primary until they have or the workflow has ended,
    and reaches its far store only if its room is needed before that; any other output is sent there at once.
    """

    ref: ObjectRef
    size_bytes: int | None = None
    transient: bool = False
    expected_bytes: int | None = None


class FutureStep(Struct, frozen=True, kw_only=True):
    """A step that will run, in the order in which the workflow needs it.

    `after`: steps that must end first. `run_s`: estimated run time in seconds, None when there is no history.
    `certain`: False when the step may not run at all (a `when` not decided yet).
    """

    id: StepId
    inputs: tuple[FutureInput, ...] = ()
    outputs: tuple[FutureOutput, ...] = ()
    after: tuple[StepId, ...] = ()
    run_s: float | None = None
    certain: bool = True
    template: str = ""
    """The template's name: run times and output sizes are learned by it."""
    family: StepId = ""
    """The same for all attempts at one step: what one could not do, a later one may have done. Empty: there is but one."""
