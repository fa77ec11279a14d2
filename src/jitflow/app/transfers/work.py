"""One attempt at a job: look, decide, write that down, move, look again."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from jitflow.app.transfers import compare
from jitflow.app.transfers.bill import Bill
from jitflow.app.transfers.compare import Plan, Tree
from jitflow.app.transfers.keeping import Kept
from jitflow.app.transfers.wishes import Order
from jitflow.model.data import ObjectRef
from jitflow.model.jobs import JobCounts, Moving
from jitflow.ports.bulk import Bulk, BulkOrder, BulkProgress
from jitflow.ports.clock import Clock
from jitflow.ports.errors import FixRequest, PortError, Retryable
from jitflow.ports.spending import Spending

LANE_LOOK_S = 30.0
SMALL_BYTES = 2**18
"""Where files to copy are of this size on average, a question about each costs about as much as the file."""


class BudgetSpent(Exception):
    """The job's namespace has used up its budget; what has arrived stays, and the job goes on later. The message says when."""


class Live(Struct, kw_only=True):
    """What an attempt shows while it works."""

    counts: JobCounts = field(default_factory=JobCounts)
    speed_Bps: float = 0.0
    moving: tuple[Moving, ...] = ()
    failed: dict[str, str] = field(default_factory=dict[str, str])


class Unfinished(Exception):
    """An attempt did not do all. `again`: another one may."""

    def __init__(self, message: str, *, again: bool) -> None:
        """Hold why."""
        super().__init__(message)
        self.again = again


class Attempt:
    """One attempt; `live` is kept up to date, `stirred` called when it has changed."""

    def __init__(
        self, job: str, order: Order, bulk: Bulk, kept: Kept, clock: Clock, *, spending: Spending, stirred: Callable[[], None]
    ) -> None:
        """Hold the parts."""
        self._spending = spending
        self._job = job
        self._order = order
        self._bulk = bulk
        self._kept = kept
        self._clock = clock
        self._stirred = stirred
        self._moved_before = 0
        self.live = Live()

    async def run(self, moved_bytes: int) -> JobCounts:
        """Do the job and return what was done; `moved_bytes`: by earlier attempts.

        Raises:
            Unfinished, PortError, BudgetSpent: not everything was done.
        """
        self._moved_before = moved_bytes
        source, target = await self._look()
        wish = self._order.wish
        plan = compare.plan(wish.kind, source, target, self._order.limits_at(self._clock.now()), chosen=frozenset(wish.files))
        plan = compare.resumed(plan, await self._kept.files(self._job), target)
        self._guard(plan, source, target)
        if wish.dry_run:
            compare.planned(plan)
        await self._note(plan)
        if not wish.dry_run and wish.kind != "check":
            async with _Lane(self._job, self._order, self._bulk, self._clock) as lane:
                await self._copy(plan, source, lane)
                await self._remove(plan, lane)
        failed = [file for file in plan.files.values() if file.state == "failed"]
        if failed:
            count, first = len(failed), failed[0]
            raise Unfinished(
                f"{count:,} {'file' if count == 1 else 'files'} failed; {first.path}: {first.message}",
                again=any(file.action != "none" for file in failed),  # what is not at the source will not come by asking again
            )
        return self.live.counts

    async def _look(self) -> tuple[Tree, Tree]:
        """Return both trees."""
        refs = [ref for ref in (self._order.source, self._order.destination) if ref is not None]
        try:
            async with asyncio.TaskGroup() as group:
                looks = [group.create_task(self._tree(ref)) for ref in refs]
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group
        trees = [look.result() for look in looks]
        return trees[0], trees[1] if len(trees) > 1 else {}

    async def _tree(self, prefix: ObjectRef) -> Tree:
        infos = await self._bulk.tree(prefix, self._order.rules, hashes=self._order.wish.hashes)
        return compare.below(prefix, infos)

    def _guard(self, plan: Plan, source: Tree, target: Tree) -> None:
        """Refuse what would delete more than was foreseen."""
        wish = self._order.wish
        if wish.kind in {"copy", "move"} and not source and not plan.files:
            raise FixRequest(f"{self._order.source}: there is nothing below this prefix that the filters let through")
        if wish.kind not in {"sync", "delete"} or wish.dry_run:
            return
        count = sum(file.action == "delete" for file in plan.files.values())
        if wish.max_delete is not None and count > wish.max_delete:
            raise FixRequest(f"{count:,} files would be deleted, more than max_delete ({wish.max_delete:,}); nothing was done")
        if wish.kind == "sync" and wish.max_delete is None and target and not source:
            raise FixRequest(
                f"{self._order.source} is empty: all {count:,} files at the destination would be deleted; "
                "say max_delete if that is meant"
            )

    async def _copy(self, plan: Plan, source: Tree, lane: str) -> None:
        order = self._order
        if not plan.copies or order.destination is None:
            return
        paths = None if plan.whole else tuple(plan.copies)
        reason = await self._perform(
            BulkOrder(
                source=order.source,
                destination=order.destination,
                paths=paths,
                rules=order.rules,
                transfers=order.wish.transfers,
                lane=lane,
                small=compare.mean_bytes(plan) <= SMALL_BYTES,
            )
        )
        proven = compare.copied(
            plan,
            source,
            await self._tree(order.destination),
            self.live.failed,
            str(reason or ""),
            then="waiting" if order.wish.kind == "move" else "done",
        )
        if isinstance(reason, BudgetSpent) and len(proven) < len(plan.copies):
            compare.waits(plan, plan.copies)
            await self._note(plan)
            raise reason
        await self._note(plan)
        if order.wish.kind == "move":
            plan.removes += proven
        elif isinstance(reason, PortError):
            raise Unfinished(str(reason), again=isinstance(reason, Retryable) or bool(proven))

    async def _remove(self, plan: Plan, lane: str) -> None:
        """Delete what is to go: nothing, where a sync could not copy all."""
        order = self._order
        where = order.source if order.wish.kind in {"move", "delete"} else order.destination
        if not plan.removes or where is None:
            return
        if order.wish.kind == "sync" and any(file.state == "failed" for file in plan.files.values()):
            return
        gone = BulkOrder(source=where, paths=tuple(plan.removes), transfers=order.wish.transfers, lane=lane)
        reason = await self._perform(gone)
        compare.removed(plan, plan.removes, await self._tree(where), self.live.failed, str(reason or ""))
        await self._note(plan)

    async def _perform(self, order: BulkOrder) -> PortError | BudgetSpent | None:
        """Copy or delete; return what went wrong, or that the namespace may move no more: what was under way is given up."""
        before, moved = self.live.counts, self._moved_before
        self.live.failed = {}
        bill = Bill(self._spending, self._order.wish.namespace, order)

        def report(progress: BulkProgress) -> None:
            bill.pay(progress)
            if bill.spent and not copying.done():
                copying.cancel()
            self.live.failed.update(progress.failed)
            self.live.speed_Bps, self.live.moving = progress.speed_Bps, progress.moving
            self._moved_before = moved + (progress.moved_bytes if order.destination is not None else 0)
            self.live.counts = _advanced(before, progress, self._moved_before, copying=order.destination is not None)
            self._stirred()

        copying = asyncio.get_running_loop().create_task(self._bulk.perform(order, report), name="a bulk transfer")
        try:
            await asyncio.wait([copying])
            await copying
        except PortError as error:
            return error
        except asyncio.CancelledError:
            copying.cancel()
            await asyncio.wait([copying])
            if not bill.spent:
                raise
            return BudgetSpent(bill.spent)
        finally:
            self.live.speed_Bps, self.live.moving = 0.0, ()
        return None

    async def _note(self, plan: Plan) -> None:
        await self._kept.put_files(self._job, plan.files)
        self.live.counts = compare.counts(plan.files.values(), moved_bytes=self._moved_before)
        self._stirred()


def _advanced(before: JobCounts, progress: BulkProgress, moved: int, *, copying: bool) -> JobCounts:
    """Return counts with what is under way, as far as can be told before the stores were asked."""
    if not copying:
        return replace(before, deletes_done=min(before.deletes, before.deletes_done + progress.files_done))
    return replace(
        before,
        files_done=min(before.files, before.files_done + progress.files_done),
        bytes_done=min(before.bytes, before.bytes_done + progress.moved_bytes),
        moved_bytes=moved,
    )


class _Lane:
    """The limit of a job's own while it works: gives its lane's name, and follows its time table."""

    def __init__(self, job: str, order: Order, bulk: Bulk, clock: Clock) -> None:
        self._name = f"job-{job}"
        self._order = order
        self._bulk = bulk
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> str:
        table = self._order.table
        if table is None or table.is_free:
            return ""
        self._lane = self._bulk.lane(self._name, table.at(self._clock.now(), self._order.zone))
        change = await self._lane.__aenter__()

        async def follow() -> None:
            while True:
                now = self._clock.now()
                due = table.changes(now, self._order.zone)
                if due is None:
                    return
                await self._clock.sleep(min(LANE_LOOK_S, due - now))
                change(table.at(self._clock.now(), self._order.zone))

        self._task = asyncio.get_running_loop().create_task(follow(), name=f"limit of {self._name}")
        return self._name

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._lane.__aexit__(None, None, None)
