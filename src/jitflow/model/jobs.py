"""Transfer jobs: what people ask to be copied, synced, moved, checked or deleted between far stores, and how far that is."""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

JobKind = Literal["copy", "sync", "move", "check", "delete"]
FileState = Literal["waiting", "planned", "done", "equal", "differs", "missing", "extra", "skipped", "failed"]
"""What is with a file.

waiting   it is still to be copied or deleted
planned   it would be copied or deleted (a dry run)
done      it was copied (and is proven at the destination) or deleted
equal     it is at the destination already
differs   a check found another file at the destination
missing   a check found nothing at the destination
extra     a check found it at the destination only
skipped   a limit of size or age leaves it out
failed    it could not be copied or deleted; `message` says why
"""

TRANSFERS = 32
MOST_TRANSFERS = 256


class JobPhase(StrEnum):
    """Where a job is in its life."""

    QUEUED = "Queued"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self in {JobPhase.SUCCEEDED, JobPhase.FAILED, JobPhase.CANCELLED}


class JobFilters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which files a job is about: all that are not excluded and, if there are any `include`, are included.

    `include`, `exclude`: rclone's patterns (`*.tif`, `/raw/**`); an exclude goes first. `min_size`, `max_size`: bytes, or
    `10MiB`. `min_age`, `max_age`: seconds, or `36h`: files that were changed before, or after, that long ago.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: str | int = ""
    max_size: str | int = ""
    min_age: str | float = ""
    max_age: str | float = ""


class JobWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job to be done. `source`, `destination`: prefixes `remote:path`; a delete has no destination.

    `files`: only these, as paths below the source. `dry_run`: only say what would be done. `transfers`: files at once.
    `bandwidth`: a limit or time table of the job's own, by the clocks of `time_zone`. `priority`: higher ones begin first.
    `max_delete`: a job that would delete more files than this does nothing. `hashes`: compare by hashes even where a store must
    read its files for that. `namespace`: who the moved bytes are counted for.
    """

    kind: JobKind
    source: str
    destination: str = ""
    files: tuple[str, ...] = ()
    dry_run: bool = False
    filters: JobFilters = JobFilters()
    transfers: int = TRANSFERS
    bandwidth: str = ""
    time_zone: str = "UTC"
    priority: int = 0
    max_delete: int | None = None
    hashes: bool = False
    namespace: str = "default"


class JobCounts(Struct, frozen=True, kw_only=True):
    """Files and bytes of a job. `bytes` and `files`: what is to be copied; `moved_bytes`: what went over the links so far."""

    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    deletes: int = 0
    deletes_done: int = 0
    equal: int = 0
    skipped: int = 0
    failed: int = 0
    differences: int = 0
    moved_bytes: int = 0


class Moving(Struct, frozen=True, kw_only=True):
    """A file on its way."""

    path: str
    size_bytes: int
    done_bytes: int


class JobView(Struct, frozen=True, kw_only=True):
    """A job, as people see it. Times in seconds since the epoch; `eta_s` None: not known.

    `attempts`: how often it was begun, after restarts and failures as well. `position`: its place in the queue, from 1.
    """

    id: str
    phase: JobPhase
    wish: JobWish
    counts: JobCounts
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    message: str = ""
    attempts: int = 0
    position: int | None = None
    speed_Bps: float = 0.0
    eta_s: float | None = None
    moving: tuple[Moving, ...] = ()


class JobFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job did with a file; `path` below the source (or, for `extra` ones and deletions of a sync, the destination).

    `proof`: by what it is known to be the same at both ends: a hash's name, or `size and time`.
    """

    path: str
    action: Literal["copy", "delete", "check", "none"]
    state: FileState
    size_bytes: int = 0
    proof: str = ""
    message: str = ""


class JobFiles(Struct, frozen=True, kw_only=True):
    """A page of a job's files; `next`: the cursor of the page after it, empty for the last."""

    items: tuple[JobFile, ...]
    next: str = ""


class JobPage(Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first; `next`: the cursor of the page after it, empty for the last."""

    items: tuple[JobView, ...]
    next: str = ""
