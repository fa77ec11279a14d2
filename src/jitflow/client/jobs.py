"""Transfer jobs between far stores."""

from __future__ import annotations

from typing import Any

import msgspec

from jitflow.client._calls import Group, S, Stream, call, stream
from jitflow.client._effects import Emit, Script
from jitflow.client._errors import ServerLost
from jitflow.client._requests import Call, decode, get, remove, send
from jitflow.client._retry import exchange
from jitflow.client._streams import messages, reconnected
from jitflow.model.jobs import JobFile, JobFiles, JobPage, JobView, JobWish

_BASE = "/data/v1/jobs"
_PAGE = 1_000


class Jobs(Group[S]):
    """Durable copies, syncs, moves, checks and deletions. `JobWish` says what is to be done."""

    @call
    def create(self, wish: JobWish) -> Call[JobView]:
        """Take a job; it is durable when this returns."""
        return send(JobView, "POST", _BASE, body=wish)

    @call
    def list(self, *, phase: str = "", limit: int = 0, cursor: str = "") -> Call[JobPage]:
        """Return a page of jobs, newest first; `cursor`: a page's `next`."""
        return get(JobPage, _BASE, query={"phase": phase, "limit": limit or None, "cursor": cursor})

    @call
    def get(self, job: str) -> Call[JobView]:
        """Describe a job."""
        return get(JobView, _BASE, job)

    @stream
    def files(self, job: str, *, state: str = "") -> Stream[JobFile]:
        """Yield what a job did with each file, page by page; `state`: only those in it."""
        return Stream(_files(job, state, self._shell.wire.attempts))

    @stream
    def follow(self, job: str, *, patience_s: float = 60.0) -> Stream[JobView]:
        """Yield a job whenever it has changed, until it is over; `patience_s`: so long the server may be away."""
        return Stream(_follow(job, patience_s))

    @call
    def pause(self, job: str) -> Call[JobView]:
        """Let a job rest: what is on its way is given up, what has arrived stays."""
        return send(JobView, "POST", _BASE, job, "pause", repeatable=True)

    @call
    def resume(self, job: str) -> Call[JobView]:
        """Let a job that rests, or has failed, go on."""
        return send(JobView, "POST", _BASE, job, "resume", repeatable=True)

    @call
    def cancel(self, job: str) -> Call[JobView]:
        """End a job for good; what has arrived stays."""
        return send(JobView, "POST", _BASE, job, "cancel", repeatable=True)

    @call
    def forget(self, job: str) -> Call[None]:
        """Forget a job that is over."""
        return remove(_BASE, job)


def _files(job: str, state: str, attempts: int) -> Script[None]:
    cursor = ""
    while True:
        query: dict[str, Any] = {"state": state, "limit": _PAGE, "cursor": cursor}
        page = yield from exchange(get(JobFiles, _BASE, job, "files", query=query), attempts)
        for file in page.items:
            yield Emit(file)
        cursor = page.next
        if not cursor:
            return


def _follow(job: str, patience_s: float) -> Script[None]:
    over = False

    def take(body: msgspec.Raw) -> JobView:
        nonlocal over
        view = decode(body, JobView)
        over = view.phase.is_over
        return view

    while not over:
        try:
            yield from messages(get(JobView, _BASE, job, "events").request, take)
        except ServerLost as error:
            yield from reconnected(error, patience_s)
