"""Many small objects of one remote, fetched by few rclone jobs.

What a copy of its own costs (a call, a job, its statistics) is more than a small object costs to move. Objects that are asked for
at the same time are therefore fetched by one `sync/copy` of a list of names. It is an attempt: an object that such a job does not
deliver, for whatever reason, is fetched on its own afterwards, and what is wrong with it is told then.
"""

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from jitflow.model.data import ObjectInfo
from jitflow.ports.errors import PortError, Stalled
from jitflow.ports.storage import Progress
from jitflow.storage import files, keys, wire
from jitflow.storage.calls import Calls
from jitflow.storage.lookup import config_of
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.staging import disk_error

SMALL_BYTES = 2**20
"""Larger objects gain little from company, and what has come of them is told meanwhile."""
MOST, MOST_BYTES = 256, 32 * 2**20
"""Objects and bytes of one job."""
LOOK_S = 0.08
"""What has come is handed over so often: none waits for the others of its job."""
LOOKED_HERE_BYTES, _COST_BYTES = 2**19, 2**15
"""What comes to so little is read and renamed by the event loop itself, in about a millisecond: a thread would wait for the
interpreter after each of its calls to the system. A file costs as much as the hash of so many bytes."""
THREADS, APART_BYTES = 4, 2 * 2**20
"""So many threads at most compare what has come with its hashes: what is worth less than so many bytes shares one."""
SLOW_LOOK_S, SLOW_FOR_S = 0.02, 60.0
"""Where that took longer, threads do it for a while: the file system is far away, or its disk is at its limits."""
JOBS = 4
"""Jobs at once for each remote: while the last objects of one arrive the next ones use the streams that it needs no more."""
ROUNDS = 4
"""Objects of a job for each of its streams: what a job costs is little beside that, and it ends soon."""
COMPANY = 32
"""While others run, a job waits for so many objects, or for as many as are still to come of those."""
GATHER_S, LINGER_S, LINGER_SHARE = 0.004, 0.03, 1 / 4
"""How long the first of a batch waits for others: when no job runs; when some do, or this share of what the last one took."""


@dataclass(eq=False, kw_only=True)
class _Wish:
    """One object for one caller; `came` is True once `target` is it, False if it has to be fetched on its own."""

    info: ObjectInfo
    path: str
    target: str
    came: asyncio.Future[bool]
    asked_at: float
    progress: Progress
    told: bool = False
    """Whether `progress` was told that all bytes are there."""
    job: "asyncio.Task[None] | None" = None


@dataclass(eq=False, kw_only=True)
class _Job:
    """A job of so many streams; `left` of its objects have not come."""

    wishes: Sequence[_Wish]
    streams: int
    left: int

    @property
    def busy(self) -> int:
        """How many of its streams have something to do."""
        return min(self.streams, self.left)


@dataclass(eq=False, kw_only=True)
class _Group:
    """What is wanted of one remote into one directory. `gathering`: a job waits for more to fetch; `timer`: or will soon."""

    remote: RemoteConfig
    folder: Path
    pending: list[_Wish] = field(default_factory=list["_Wish"])
    jobs: list[_Job] = field(default_factory=list["_Job"])
    gathering: bool = False
    timer: asyncio.TimerHandle | None = None
    took_s: float = 0.0
    """What the last job took."""
    slow_until: float = 0.0
    """Until when the directory is left to threads."""

    @property
    def busy(self) -> int:
        """How many streams of all jobs have something to do."""
        return sum(job.busy for job in self.jobs)


class Batches:
    """Gathers wishes and runs the jobs."""

    def __init__(self, transfers: Calls, at_once: int) -> None:
        """Run the jobs as `transfers`, with so many objects of a remote on their way at once."""
        self._transfers = transfers
        self._at_once = max(1, at_once)
        self._groups: dict[tuple[str, str], _Group] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._closed = False

    @staticmethod
    def takes(info: ObjectInfo) -> bool:
        """Return whether an object may come in a batch: a small one of known hash, with a name that fits a list of names."""
        path = info.ref.path
        if info.size_bytes > SMALL_BYTES or path[:1] == "/" or "\n" in path or "\r" in path:
            return False
        return bool(files.common_hash(info.hashes))

    async def fetch(
        self, remote: RemoteConfig, info: ObjectInfo, target: Path | str, progress: Progress, *, scratch: str = ""
    ) -> bool:
        """Return whether the object has come, verified, and is `target` now; if not, it is to be fetched on its own.

        What is on its way lies in `scratch`, or beside the target. `progress` is told at the latest when this returns True, and
        before where all bytes are there and wait to be compared and handed over.
        When the awaiting task is cancelled, there is nothing of that name when this raises.
        """
        name = str(target)
        folder = scratch or os.path.dirname(name)
        group = self._groups.get((remote.name, folder))
        if group is None:
            group = self._groups[remote.name, folder] = _Group(remote=remote, folder=_absolute(folder))
        group.remote = remote
        loop = asyncio.get_running_loop()
        wish = _Wish(
            info=info, path=info.ref.path, target=name, came=loop.create_future(), asked_at=loop.time(), progress=progress
        )
        group.pending.append(wish)
        self._begin(group)
        try:
            came = await wish.came
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(group, wish))
            raise
        if came and not wish.told:
            progress(info.size_bytes)
        return came

    async def close(self) -> None:
        """End all jobs, and cancel what is still wished for."""
        self._closed = True
        for job in self._jobs:
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)
        for wish in [wish for group in self._groups.values() for wish in group.pending]:
            wish.came.cancel()

    async def _give_up(self, group: _Group, wish: _Wish) -> None:
        """Take a wish back; a job that may be writing for it is ended, and the others of that job begin anew."""
        if wish in group.pending:
            group.pending.remove(wish)
        elif wish.job is not None:
            came = wish.came.done() and not wish.came.cancelled()
            if not came and not wish.job.done():
                wish.job.cancel()
                await asyncio.wait({wish.job})
            await asyncio.to_thread(files.remove, Path(wish.target))

    def _begin(self, group: _Group) -> None:
        """Begin a job if there is something to fetch and streams for it; the first one takes what there is."""
        if group.gathering or self._closed or not group.pending or len(group.jobs) >= JOBS:
            return
        if group.jobs and not self._has_company(group):
            return
        group.gathering = True
        job = asyncio.get_running_loop().create_task(self._run(group), name=f"batch of {group.remote.name}")
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _has_company(self, group: _Group) -> bool:
        """Return whether another job is worth what it costs by now; if only time is missing, it is begun when that has passed."""
        busy = group.busy
        if self._at_once - busy < self._at_once // 4:
            return False
        if len(group.pending) >= min(COMPANY, max(1, busy)):
            return True
        loop = asyncio.get_running_loop()
        left_s = group.pending[0].asked_at + max(LINGER_S, LINGER_SHARE * group.took_s) - loop.time()
        if left_s <= 0:
            return True
        if group.timer is None:
            group.timer = loop.call_later(left_s, self._lingered, group)
        return False

    def _lingered(self, group: _Group) -> None:
        group.timer = None
        self._begin(group)

    async def _gather(self, group: _Group) -> _Job:
        """Wait a little for more to fetch, and take as much as there are streams for."""
        try:
            if len(group.pending) < self._at_once:
                await asyncio.sleep(GATHER_S)
            free = max(1, self._at_once - group.busy)
            if len(group.pending) > 2 * free:  # another one is in full swing when it ends
                free = max(1, min(free, self._at_once // 2))
            wishes = _together(group.pending, min(MOST, ROUNDS * free))
            job = _Job(wishes=wishes, streams=min(free, len(wishes)), left=len(wishes))
            for wish in wishes:
                wish.job = asyncio.current_task()
            group.jobs.append(job)
            return job
        finally:
            group.gathering = False

    async def _run(self, group: _Group) -> None:
        job = await self._gather(group)
        self._begin(group)
        try:
            if len(job.wishes) > 1:
                began = asyncio.get_running_loop().time()
                await self._fetch(group, job)
                group.took_s = asyncio.get_running_loop().time() - began
            for wish in job.wishes:
                _settle(wish, came=False)
        except asyncio.CancelledError:
            # Who did not ask for it is served by the next job.
            group.pending[:0] = [wish for wish in job.wishes if not wish.came.done()]
            raise
        except Exception as error:
            for wish in job.wishes:
                _fail(wish, error)
        finally:
            group.jobs.remove(job)
            self._begin(group)

    async def _fetch(self, group: _Group, work: _Job) -> None:
        wishes = work.wishes
        folder = group.folder / f"{files.PARTIAL_PREFIX}{secrets.token_hex(8)}{files.PARTIAL_SUFFIX}"
        names = group.folder / f"{files.PARTIAL_PREFIX}{secrets.token_hex(8)}{files.PARTIAL_SUFFIX}"
        try:
            if asyncio.get_running_loop().time() >= group.slow_until:
                _write_names(names, wishes)
            else:
                await asyncio.to_thread(_write_names, names, wishes)
            job = asyncio.get_running_loop().create_task(self._copy(group.remote, folder, names, work))
            try:
                await self._hand_over(group, work, job, folder)
                await job
            finally:
                job.cancel()
                await asyncio.wait({job})
            await self._look(group, folder, [wish for wish in wishes if not wish.came.done()])
        finally:
            await asyncio.shield(asyncio.to_thread(_clear, folder, names))

    async def _look(
        self, group: _Group, folder: Path, wishes: Sequence[_Wish], sizes: Mapping[str, int] | None = None
    ) -> set[str]:
        """Hand over what is there and right, then return what else of `sizes` is there in full.

        When cancelled, nothing is renamed any more when this raises.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if began >= group.slow_until and sum(_COST_BYTES + wish.info.size_bytes for wish in wishes) <= LOOKED_HERE_BYTES:
            delivered, there = _looked(folder, wishes, sizes)
            for wish in delivered:
                _settle(wish, came=True)
            if loop.time() - began > SLOW_LOOK_S:
                group.slow_until = loop.time() + SLOW_FOR_S
            return there
        first, *others = _divided(wishes)
        threads = asyncio.gather(
            loop.run_in_executor(None, _looked, folder, first, sizes),
            *(loop.run_in_executor(None, _looked, folder, some, None) for some in others),
        )
        try:
            await asyncio.shield(threads)
        finally:
            while not threads.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({threads})
            answers = threads.result()
            for wish in [wish for delivered, _ in answers for wish in delivered]:
                _settle(wish, came=True)
        return answers[0][1]

    async def _hand_over(self, group: _Group, work: _Job, job: asyncio.Task[None], folder: Path) -> None:
        """Give callers what has come for them while the job runs; the last of them wait until nothing is left of the job."""
        sizes = {wish.path: wish.info.size_bytes for wish in work.wishes}
        seen: set[str] = set()
        left = list(work.wishes)
        ended = False
        while not ended:
            await asyncio.wait({job}, timeout=LOOK_S)
            ended = job.done()
            left = [wish for wish in left if not wish.came.done()]
            # rclone has done with what was there in full a look ago; whether it is right is told by its hash.
            # When it ends, others may begin before all that is left is compared together, which takes its time.
            ready = [] if ended else [wish for wish in left if wish.path in seen]
            if ended or len(ready) < len(left):
                seen = await self._look(group, folder, ready, sizes)
                left = [wish for wish in left if not wish.came.done()]
                self._tell(group, work, left, seen)

    def _tell(self, group: _Group, work: _Job, left: Sequence[_Wish], there: set[str]) -> None:
        """Tell callers whose bytes are all there, and let another job use the streams that are free now."""
        for wish in left:
            if wish.path in there and not wish.told:
                wish.told = True
                wish.progress(wish.info.size_bytes)
        work.left = sum(wish.path not in there for wish in left)
        self._begin(group)

    async def _copy(self, remote: RemoteConfig, folder: Path, names: Path, work: _Job) -> None:
        wishes = work.wishes
        # Sizes and hashes are known: where the store allows it, each object is one request.
        options = "no_head_object=true" if remote.type == "s3" else ""
        source = keys.address(wishes[0].info.ref, options=options).fs
        request = wire.copynames_request(
            source, wire.local(str(folder), bare=True), str(names), config_of(remote), at_once=work.streams
        )
        by_path = {wish.path: wish for wish in wishes}

        def moving(done: Mapping[str, int]) -> None:
            for path, count in done.items():
                wish = by_path.get(path)
                if wish is not None and not wish.told and not wish.came.done():
                    wish.progress(min(count, wish.info.size_bytes))

        try:
            await self._transfers.run("sync/copy", request, subject=f"{len(wishes)} objects of {remote.name}", moving=moving)
        except Stalled:
            raise  # the link stands still: waiting for each object once more would help nobody
        except PortError:
            pass  # what is wrong with an object is said when it is fetched on its own


def _absolute(folder: str) -> Path:
    return Path(os.path.abspath(folder))


def _settle(wish: _Wish, *, came: bool) -> None:
    if not wish.came.done():
        wish.came.set_result(came)


def _fail(wish: _Wish, error: Exception) -> None:
    if not wish.came.done():
        wish.came.set_exception(error)


def _together(pending: list[_Wish], count: int) -> list[_Wish]:
    """Take about so many wishes that one job can fetch: each name once."""
    most = min(MOST, count)
    taken: dict[str, _Wish] = {}
    rest: list[_Wish] = []
    room_bytes = MOST_BYTES
    for wish in pending:
        if len(taken) < most and wish.path not in taken and wish.info.size_bytes <= room_bytes:
            taken[wish.path] = wish
            room_bytes -= wish.info.size_bytes
        else:
            rest.append(wish)
    pending[:] = rest
    return list(taken.values())


def _write_names(path: Path, wishes: Sequence[_Wish]) -> None:
    text = "".join(f"{wish.path}\n" for wish in wishes)
    try:
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise disk_error(error, path) from error


def _there(folder: Path, sizes: Mapping[str, int]) -> set[str]:
    """Return the paths of what lies below a folder in full: few, for what has come is taken away. Blocking."""
    found: set[str] = set()
    pending = [""]
    while pending:
        at = pending.pop()
        try:
            with os.scandir(f"{folder}/{at}") as entries:
                for entry in entries:
                    path = f"{at}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}/")
                    elif entry.stat(follow_symlinks=False).st_size == sizes.get(path):
                        found.add(path)
        except FileNotFoundError:  # nothing has come yet
            continue
    return found


def _divided(wishes: Sequence[_Wish]) -> list[Sequence[_Wish]]:
    """Return the wishes in as many parts, of about the same size, as are worth a thread each; at least one."""
    count = max(1, min(THREADS, sum(wish.info.size_bytes for wish in wishes) // APART_BYTES))
    return [wishes[number::count] for number in range(count)]


def _looked(folder: Path, wishes: Sequence[_Wish], sizes: Mapping[str, int] | None) -> tuple[list[_Wish], set[str]]:
    """Deliver, then look. Blocking."""
    return _delivered(folder, wishes), _there(folder, sizes) if sizes is not None else set()


def _delivered(folder: Path, wishes: Sequence[_Wish]) -> list[_Wish]:
    """Return the wishes whose object is there and right, and give it to them. Blocking."""
    found: list[_Wish] = []
    for wish in wishes:
        path = f"{folder}/{wish.path}"
        try:
            kind = files.common_hash(wish.info.hashes)
            if not files.is_right(path, wish.info.size_bytes, kind, wish.info.hashes[kind]):
                continue
            files.place(path, wish.target)
        except OSError:
            continue
        found.append(wish)
    return found


def _clear(folder: Path, names: Path) -> None:
    files.remove(names)
    files.remove(folder)
