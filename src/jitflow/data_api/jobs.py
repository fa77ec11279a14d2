"""The routes of transfer jobs, `/data/v1/jobs`."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from jitflow.app.transfers import TransferJobs
from jitflow.data_api.answers import answer, encode, number, read
from jitflow.model.jobs import JobView, JobWish

_EVENT_STREAM = "text/event-stream"
_JOB = "/data/v1/jobs/{id}"


class JobRoutes:
    """Handlers; each reads the request, calls one use-case and maps the answer."""

    def __init__(self, jobs: TransferJobs) -> None:
        """Hold the use-cases."""
        self._jobs = jobs

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("POST", "/data/v1/jobs", self.make),
            ("GET", "/data/v1/jobs", self.list),
            ("GET", _JOB, self.get),
            ("DELETE", _JOB, self.forget),
            ("GET", _JOB + "/files", self.files),
            ("GET", _JOB + "/events", self.follow),
            ("POST", _JOB + "/pause", self.pause),
            ("POST", _JOB + "/resume", self.resume),
            ("POST", _JOB + "/cancel", self.cancel),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def make(self, request: Request) -> Response:
        """Take a job."""
        return answer(await self._jobs.make(await read(request, JobWish)))

    async def list(self, request: Request) -> Response:
        """List jobs."""
        query = request.query_params
        return answer(
            self._jobs.list(phase=query.get("phase", ""), limit=number(request, "limit", 100), after=query.get("cursor", ""))
        )

    async def get(self, request: Request) -> Response:
        """Describe a job."""
        return answer(self._jobs.get(request.path_params["id"]))

    async def forget(self, request: Request) -> Response:
        """Forget a job that is over."""
        await self._jobs.forget(request.path_params["id"])
        return answer({})

    async def files(self, request: Request) -> Response:
        """Say what a job did with each file, a page at a time."""
        query = request.query_params
        page = await self._jobs.files(
            request.path_params["id"],
            state=query.get("state", ""),
            limit=number(request, "limit", 1000),
            after=query.get("cursor", ""),
        )
        return answer(page)

    async def follow(self, request: Request) -> Response:
        """Tell of a job whenever it has changed, until it is over."""
        self._jobs.get(request.path_params["id"])
        events = _EVENT_STREAM in request.headers.get("accept", "")
        lines = _lines(self._jobs.follow(request.path_params["id"]), events=events)
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(lines, media_type=_EVENT_STREAM if events else "application/json", headers=headers)

    async def pause(self, request: Request) -> Response:
        """Let a job rest."""
        return answer(await self._jobs.pause(request.path_params["id"]))

    async def resume(self, request: Request) -> Response:
        """Let a job go on."""
        return answer(await self._jobs.resume(request.path_params["id"]))

    async def cancel(self, request: Request) -> Response:
        """End a job."""
        return answer(await self._jobs.cancel(request.path_params["id"]))


async def _lines(views: AsyncGenerator[JobView], *, events: bool) -> AsyncGenerator[bytes]:
    async with aclosing(views):
        async for view in views:
            line = b'{"result":' + encode(view) + b"}"
            yield b"data: " + line + b"\n\n" if events else line + b"\n"
