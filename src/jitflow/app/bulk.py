"""One operation on many workflows: each is tried, and each has its own outcome."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from jitflow.app.selectors import Selection
from jitflow.model import argo, runs
from jitflow.model.bulk import BulkItem, BulkResult, BulkWish, Operation
from jitflow.model.problems import Refused
from jitflow.ports.errors import PortError
from jitflow.ports.store import RunRow

MAX_AT_ONCE: Final = 1_000
"""Workflows of one request."""
_TOGETHER: Final = 16
"""So many are worked on at the same time: others have their turn in between."""

Made = argo.Workflow | None
Act = Callable[[RunRow], Awaitable[Made]]


def selection_of(namespace: str, wish: BulkWish) -> Selection:
    """Return which workflows are meant: live ones of the namespace.

    Raises:
        Refused: nothing says which, or the limit makes no sense.
    """
    texts = (wish.labels, wish.fields, wish.name_filter, wish.created_after, wish.finished_before)
    if not any(texts) and wish.uids is None and not wish.everything:
        wanted = "labels, fields, name_filter, created_after, finished_before, uids"
        raise Refused(f"say which workflows: {wanted}; or everything: true")
    if not 1 <= wish.limit <= MAX_AT_ONCE:
        raise Refused(f"limit must be from 1 to {MAX_AT_ONCE}, not {wish.limit}")
    return Selection(
        namespace=namespace,
        labels=wish.labels,
        fields=wish.fields,
        name_filter=wish.name_filter,
        created_after=wish.created_after,
        finished_before=wish.finished_before,
        only_live=True,
    )


def event_of(operation: Operation, wish: BulkWish) -> runs.Event | None:
    """Return what is told to each workflow, None where it takes more than telling."""
    match operation:
        case Operation.STOP:
            return runs.ShutdownRequested(strategy="Stop", selector=wish.selector, message=wish.message)
        case Operation.TERMINATE:
            return runs.ShutdownRequested(strategy="Terminate")
        case Operation.SUSPEND:
            return runs.SuspendRequested()
        case Operation.RESUME:
            return runs.ResumeRequested(selector=wish.selector, message=wish.message)
        case Operation.RETRY:
            return runs.RetryRequested(
                restart_successful=wish.restart_successful, selector=wish.selector, parameters=wish.parameters
            )
        case Operation.RESUBMIT | Operation.DELETE:
            return None


async def perform(operation: Operation, rows: list[RunRow], wish: BulkWish, act: Act) -> BulkResult:
    """Do it to each of the selected workflows, or in a dry run say to which it would be done."""
    chosen = rows[: wish.limit]
    if wish.dry_run:
        items = [replace(_item(row), outcome="would") for row in chosen]
    else:
        gate = asyncio.Semaphore(_TOGETHER)
        items = await asyncio.gather(*(_one(row, act, gate) for row in chosen))
    return BulkResult(
        operation=operation,
        dry_run=wish.dry_run,
        matched=len(rows),
        done=sum(item.outcome == "done" for item in items),
        refused=sum(item.outcome == "refused" for item in items),
        remaining=len(rows) - len(chosen),
        items=tuple(items),
    )


def _item(row: RunRow) -> BulkItem:
    return BulkItem(namespace=row.namespace, name=row.name, uid=row.uid, phase=row.phase or "Pending", outcome="done")


async def _one(row: RunRow, act: Act, gate: asyncio.Semaphore) -> BulkItem:
    async with gate:
        try:
            made = await act(row)
        except (Refused, PortError) as error:
            return replace(_item(row), outcome="refused", message=str(error))
    name = made.metadata.name if made is not None and made.metadata is not None else None
    return replace(_item(row), made=name or "")
