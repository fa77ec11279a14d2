"""What is asked of many workflows at once, and what comes of it for each."""

from enum import StrEnum

from msgspec import Struct


class Operation(StrEnum):
    """What can be asked of many workflows at once."""

    STOP = "stop"
    TERMINATE = "terminate"
    SUSPEND = "suspend"
    RESUME = "resume"
    RETRY = "retry"
    RESUBMIT = "resubmit"
    DELETE = "delete"


class BulkWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which workflows, and how. The texts are those of lists; at least one is needed, or `uids`, or `everything`.

    `uids`: of the selected ones only these, such as a list or a dry run has told.
    `dry_run`: only say which. `limit`: at most so many, the newest first; the rest is told as `remaining`.
    `message` and `selector` (of nodes) are for stop and resume, `restart_successful` and `selector` for retry, `memoized` for
    resubmit, `parameters` (NAME=VALUE) for both, `force` for delete.
    """

    labels: str = ""
    fields: str = ""
    name_filter: str = ""
    created_after: str = ""
    finished_before: str = ""
    uids: tuple[str, ...] | None = None
    everything: bool = False
    dry_run: bool = False
    limit: int = 500
    message: str = ""
    selector: str = ""
    restart_successful: bool = False
    memoized: bool = False
    parameters: tuple[str, ...] = ()
    force: bool = False


class BulkItem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One workflow. `outcome`: `done`, `refused` (`message` says why), or `would` in a dry run.

    `made`: the name of the new workflow that a resubmit has made.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    outcome: str
    message: str = ""
    made: str = ""


class BulkResult(Struct, frozen=True, kw_only=True):
    """What came of it. `remaining`: workflows that were selected too, and are beyond the limit."""

    operation: Operation
    dry_run: bool
    matched: int
    done: int
    refused: int
    remaining: int
    items: tuple[BulkItem, ...]
