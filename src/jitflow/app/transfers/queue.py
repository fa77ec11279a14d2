"""The queue of transfer jobs: what waits, what works, and what people do to it.

A job is written down before it is answered for, and what its phase becomes is written down before it is shown. One that was at
work when the server ended begins again with the next life: it looks at both stores, and moves what is not there yet.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final, get_args

from msgspec.structs import replace

from jitflow.app.ours import Guard, nobodys
from jitflow.app.transfers import wishes
from jitflow.app.transfers.keeping import Job, Kept
from jitflow.app.transfers.work import Attempt, BudgetSpent, Live, Unfinished
from jitflow.model.jobs import FileState, JobFiles, JobPage, JobPhase, JobView, JobWish
from jitflow.model.problems import Refused
from jitflow.ports.bulk import Bulk
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.errors import PortError, Retryable
from jitflow.ports.patience import patient_context
from jitflow.ports.spending import NoSpending, Spending
from jitflow.ports.store import StateStore
from jitflow.telemetry import logger

AT_ONCE: Final = 4
TRIES: Final = 4
"""Attempts in a row without progress after which a job has failed."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
KEPT_JOBS: Final = 10_000
"""So many jobs that are over are remembered, the newest."""
MOST_QUEUED: Final = 100_000
MAX_PAGE: Final = 1_000
SHOW_EVERY_S: Final = 0.25
SILENT_S: Final = 15.0

_CURSOR: Final = re.compile(r"[0-9]{1,9}-[0-9]{1,4}")
_STATES: Final[tuple[str, ...]] = get_args(FileState)
_log = logger("transfers")


class TransferJobs:
    """All transfer jobs of a server. `open` it before use."""

    def __init__(
        self,
        bulk: Bulk,
        known: Callable[[str], object],
        store: StateStore,
        clock: Clock,
        ids: Ids,
        *,
        at_once: int = AT_ONCE,
        guard: Guard = nobodys,
        spending: Spending | None = None,
        mark: Callable[[], str] = str,
        ended: Callable[[Job], None] = lambda _: None,
    ) -> None:
        """Hold the parts; `known` raises `Refused` for a remote that is not configured, `guard` for what is not to be written.

        `at_once`: so many jobs work at the same time. `spending`: is told what moves; jobs of a namespace that has used up its
        budget wait. `mark`: says of which trace a request is part. `ended`: told of each job that is over.
        """
        self._spending = spending or NoSpending()
        self._mark = mark
        self._ended = ended
        self._deaf: Callable[[], None] = lambda: None
        self._bulk = bulk
        self._known_remote = known
        self._guard = guard
        self._kept = Kept(store)
        self._clock = clock
        self._ids = ids
        self._at_once = max(1, at_once)
        self._jobs: dict[str, Job] = {}
        self._queue: list[str] = []
        self._working: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, Live] = {}
        self._asked: dict[str, JobPhase] = {}
        """What is to become of jobs at work: paused, or cancelled."""
        self._stirred: dict[str, asyncio.Event] = {}
        self._changing = asyncio.Lock()
        self._closed = False

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Go on with what was queued or at work."""
        jobs = await self._kept.jobs()
        again = [replace(job, phase=JobPhase.QUEUED) for job in jobs if job.phase is JobPhase.RUNNING]
        await self._kept.put(again)
        self._jobs = {job.id: job for job in (*jobs, *again)}
        self._queue = [job.id for job in self._jobs.values() if job.phase is JobPhase.QUEUED]
        self._deaf = self._spending.subscribe(lambda _: self._begin())
        self._begin()

    async def close(self) -> None:
        """End what is at work; the next life goes on with it."""
        self._closed = True
        self._deaf()
        tasks = list(self._working.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for job_id in list(self._stirred):
            self._stir(job_id)

    # -- what people ask ----------------------------------------------------------------------------------------------

    async def make(self, wish: JobWish) -> JobView:
        """Take a job; durable when this returns.

        Raises:
            Refused: it makes no sense, too many wait, or its namespace has used up its budget (`exhausted`).
            PortError: its filters cannot be read, or the store cannot be written.
        """
        order = wishes.read(wish, self._known_remote, self._guard)
        spent = self._spending.used_up(wish.namespace) if _moves(wish) else ""
        if spent:
            raise Refused(f"no new job: {spent}", code="exhausted")
        if order.rules:
            await self._bulk.check(order.rules)
        if len(self._queue) >= MOST_QUEUED:
            raise Refused(f"{MOST_QUEUED:,} transfer jobs wait already; cancel some, or wait", code="unavailable")
        job = Job(id=f"t-{self._ids.uid()}", wish=wish, created_at=self._clock.now(), trace=self._mark())
        await self._put(job)
        self._queue.append(job.id)
        self._begin()
        await self._tidy()
        return self.get(job.id)

    def get(self, job_id: str) -> JobView:
        """Return a job.

        Raises:
            Refused: there is none (`not_found`).
        """
        return self._shown(self._found(job_id))

    def list(self, *, phase: str = "", limit: int = 100, after: str = "") -> JobPage:
        """Return a page of jobs, newest first; `phase`: only those; `after`: `next` of the page before.

        Raises:
            Refused: there is no such phase, or a limit that cannot be.
        """
        if phase and phase not in set(JobPhase):
            raise Refused(f"there is no phase {phase[:40]!r}; there are {', '.join(JobPhase)}")
        if not 1 <= limit <= MAX_PAGE:
            raise Refused(f"limit must be between 1 and {MAX_PAGE:,}")
        ordered = sorted(self._jobs.values(), key=_newest_first)
        if after:
            edge = self._jobs.get(after)
            if edge is None:
                raise Refused(f"{after[:80]!r} is no cursor of a page; begin again without one")
            ordered = [job for job in ordered if _newest_first(job) > _newest_first(edge)]
        found = [job for job in ordered if not phase or job.phase == phase]
        places = {job_id: place for place, job_id in enumerate(self._in_order(), 1)}
        items = tuple(self._shown(job, places) for job in found[:limit])
        return JobPage(items=items, next=items[-1].id if len(found) > limit else "")

    async def files(self, job_id: str, *, state: FileState | str = "", limit: int = MAX_PAGE, after: str = "") -> JobFiles:
        """Return a page of what a job did with each file; `state`: only those in it.

        While a job is at work, files that it has just copied may still be shown as waiting.

        Raises:
            Refused: there is no such job (`not_found`), state or cursor.
        """
        self._found(job_id)
        if state and state not in _STATES:
            raise Refused(f"there is no state {state[:40]!r}; there are {', '.join(_STATES)}")
        if not 1 <= limit <= MAX_PAGE:
            raise Refused(f"limit must be between 1 and {MAX_PAGE:,}")
        if after and not _CURSOR.fullmatch(after):
            raise Refused(f"{after[:80]!r} is no cursor of a page; begin again without one")
        return await self._kept.page(job_id, state=state, after=after, limit=limit)

    async def pause(self, job_id: str) -> JobView:
        """Let a job rest until it is resumed: what is on its way is given up, what has arrived stays.

        Raises:
            Refused: there is none (`not_found`), or it is over (`conflict`).
        """
        return await self._end(job_id, JobPhase.PAUSED)

    async def cancel(self, job_id: str) -> JobView:
        """End a job for good; what has arrived stays.

        Raises:
            Refused: there is none (`not_found`), or it has ended otherwise (`conflict`).
        """
        return await self._end(job_id, JobPhase.CANCELLED)

    async def resume(self, job_id: str) -> JobView:
        """Let a job that rests, or has failed, go on: it moves what is not at its destination.

        Raises:
            Refused: there is none (`not_found`), or it cannot go on (`conflict`).
        """
        async with self._changing:
            job = self._found(job_id)
            if job.phase in {JobPhase.PAUSED, JobPhase.FAILED}:
                await self._put(replace(job, phase=JobPhase.QUEUED, message="", finished_at=None))
                self._queue.append(job_id)
            elif job.phase.is_over:
                raise Refused(f"the job {job_id} is {job.phase}; it cannot go on", code="conflict")
        self._begin()
        return self.get(job_id)

    async def forget(self, job_id: str) -> None:
        """Forget a job that is over.

        Raises:
            Refused: there is none (`not_found`), or it is not over (`conflict`).
        """
        async with self._changing:
            if not self._found(job_id).phase.is_over:
                raise Refused(f"the job {job_id} is not over; cancel it first", code="conflict")
            await self._drop([job_id])

    async def follow(self, job_id: str) -> AsyncGenerator[JobView]:
        """Yield a job whenever it has changed, and now and then when not, until it is over.

        Raises:
            Refused: there is none (`not_found`).
        """
        self._found(job_id)
        while job_id in self._jobs:
            stirred = self._stirred.setdefault(job_id, asyncio.Event())
            view = self.get(job_id)
            yield view
            if view.phase.is_over or self._closed:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await stirred.wait()
                    await asyncio.sleep(SHOW_EVERY_S)

    async def wait(self, job_id: str) -> JobView:
        """Return a job when it is over, or the server ends."""
        async with aclosing(self.follow(job_id)) as views:
            async for view in views:
                if view.phase.is_over:
                    return view
        return self.get(job_id)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _found(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise Refused(f"there is no transfer job {job_id[:80]!r}; `jitflow transfer list` lists them", code="not_found")
        return job

    async def _put(self, job: Job) -> None:
        await self._kept.put([job])
        self._jobs[job.id] = job
        self._stir(job.id)

    def _stir(self, job_id: str) -> None:
        """Wake who follows a job."""
        if (event := self._stirred.pop(job_id, None)) is not None:
            event.set()

    async def _end(self, job_id: str, phase: JobPhase) -> JobView:
        async with self._changing:
            job = self._found(job_id)
            if job.phase is phase:
                return self._shown(job)
            if job.phase.is_over:
                raise Refused(f"the job {job_id} is {job.phase} already", code="conflict")
            task = self._working.get(job_id)
            if task is None:
                await self._settle(job, phase)
                return self.get(job_id)
            self._asked[job_id] = phase
            task.cancel()
            await asyncio.wait([task])
            job = self._jobs[job_id]
            if not job.phase.is_over and job.phase is not phase:  # it had not begun, or was just being written down
                await self._settle(job, phase)
        return self.get(job_id)

    async def _settle(self, job: Job, phase: JobPhase, message: str = "") -> None:
        """Write down what has become of a job that does not work any more."""
        if job.id in self._queue:
            self._queue.remove(job.id)
        finished = self._clock.now() if phase.is_over else None
        settled = replace(job, phase=phase, message=message, finished_at=finished)
        await self._put(settled)
        if phase.is_over:
            self._ended(settled)

    def _place(self, job: Job) -> int:
        turn = _turn(job)
        return 1 + sum(_turn(self._jobs[other]) < turn for other in self._queue)

    def _in_order(self) -> Sequence[str]:
        return sorted(self._queue, key=lambda one: _turn(self._jobs[one]))

    def _begin(self) -> None:
        """Let as many jobs work as may."""
        while not self._closed and self._queue and len(self._working) < self._at_once:
            ready = (one for one in self._queue if not self._waits(self._jobs[one].wish))
            job_id = min(ready, key=lambda one: _turn(self._jobs[one]), default=None)
            if job_id is None:
                return
            self._queue.remove(job_id)
            loop, name = asyncio.get_running_loop(), f"transfer job {job_id}"
            task = loop.create_task(self._work(job_id), name=name, context=patient_context())
            self._working[job_id] = task
            task.add_done_callback(lambda _, job_id=job_id: self._worked(job_id))

    def _waits(self, wish: JobWish) -> str:
        """Return why a job of this wish may not begin now, empty if it may."""
        return self._spending.used_up(wish.namespace) if _moves(wish) else ""

    def _worked(self, job_id: str) -> None:
        self._working.pop(job_id, None)
        job = self._jobs.get(job_id)
        if job is not None and job.phase is JobPhase.QUEUED and job_id not in self._queue:
            self._queue.append(job_id)  # its budget was used up on the way
        self._live.pop(job_id, None)
        self._asked.pop(job_id, None)
        self._stir(job_id)
        self._begin()

    async def _work(self, job_id: str) -> None:
        """Bring a job to its end, in as many attempts as it takes."""
        phase, message = JobPhase.SUCCEEDED, ""
        try:
            await self._attempts(job_id)
        except asyncio.CancelledError:
            asked = self._asked.get(job_id)
            if asked is None:
                raise
            phase = asked
        except BudgetSpent:
            phase = JobPhase.QUEUED
        except (Unfinished, PortError, Refused) as error:
            phase, message = JobPhase.FAILED, str(error)
        except Exception as error:
            _log.error("transfer job failed", error, job=job_id)
            phase, message = JobPhase.FAILED, "internal error; the server's log says more"
        await self._kept_patiently(job_id, phase, message)

    async def _kept_patiently(self, job_id: str, phase: JobPhase, message: str) -> None:
        """Write down how a job ended, as soon as the store can be written."""
        while True:
            try:
                await self._settle(self._with_counts(job_id), phase, message)
            except Retryable as error:
                _log.warning("the end of a transfer job waits for the store", job=job_id, reason=str(error))
                await self._clock.sleep(FIRST_PAUSE_S)
            else:
                return

    def _with_counts(self, job_id: str) -> Job:
        job, live = self._jobs[job_id], self._live.get(job_id)
        return job if live is None else replace(job, counts=live.counts)

    async def _attempts(self, job_id: str) -> None:
        tries, best, pause_s = 0, -1, FIRST_PAUSE_S
        while True:
            job = self._with_counts(job_id)
            order = wishes.read(job.wish, self._known_remote, self._guard)
            started = job.started_at if job.started_at is not None else self._clock.now()
            await self._put(replace(job, phase=JobPhase.RUNNING, started_at=started, attempts=job.attempts + 1, message=""))
            attempt = Attempt(
                job_id, order, self._bulk, self._kept, self._clock, spending=self._spending, stirred=lambda: self._stir(job_id)
            )
            attempt.live.counts = job.counts
            self._live[job_id] = attempt.live
            try:
                await attempt.run(job.counts.moved_bytes)
            except (Unfinished, Retryable) as error:
                done = attempt.live.counts.files_done + attempt.live.counts.deletes_done
                tries = 0 if done > best else tries + 1
                pause_s = FIRST_PAUSE_S if done > best else min(pause_s * 2, LONGEST_PAUSE_S)
                best = max(best, done)
                if tries >= TRIES - 1 or (isinstance(error, Unfinished) and not error.again):
                    raise
                await self._put(replace(self._with_counts(job_id), message=f"tried again soon: {error}"))
                await self._clock.sleep(pause_s)
            else:
                return

    def _shown(self, job: Job, places: dict[str, int] | None = None) -> JobView:
        live = self._live.get(job.id)
        counts = job.counts if live is None else live.counts
        speed = 0.0 if live is None else live.speed_Bps
        left = counts.bytes - counts.bytes_done
        position = None
        if job.phase is JobPhase.QUEUED:
            position = places[job.id] if places is not None and job.id in places else self._place(job)
        return JobView(
            id=job.id,
            phase=job.phase,
            wish=job.wish,
            counts=counts,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            message=self._waits(job.wish) or job.message if job.phase is JobPhase.QUEUED else job.message,
            attempts=job.attempts,
            position=position,
            speed_Bps=speed,
            eta_s=left / speed if speed > 0 else None,
            moving=() if live is None else live.moving,
        )

    async def _tidy(self) -> None:
        """Forget the oldest jobs that are over, where there are too many."""
        over = [job for job in self._jobs.values() if job.phase.is_over]
        if len(over) > KEPT_JOBS * 1.1:
            over.sort(key=_newest_first)
            await self._drop([job.id for job in over[KEPT_JOBS:]])

    async def _drop(self, ids: Sequence[str]) -> None:
        await self._kept.forget(ids)
        for one in ids:
            self._jobs.pop(one, None)
            self._stirred.pop(one, None)


def _moves(wish: JobWish) -> bool:
    """Return whether a job may move bytes: what only looks or deletes costs no budget."""
    return wish.kind not in {"check", "delete"} and not wish.dry_run


def _newest_first(job: Job) -> tuple[float, str]:
    return (-job.created_at, job.id)


def _turn(job: Job) -> tuple[int, float, str]:
    """Return by what jobs take their turns."""
    return (-job.wish.priority, job.created_at, job.id)
