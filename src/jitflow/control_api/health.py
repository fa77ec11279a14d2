"""`/livez` and `/readyz`: whether the process lives, and whether work may be sent to it; `/health`: an older name."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.control_api.workflows import answer
from jitflow.telemetry import logger

LIVE, READY, OLDER = "/livez", "/readyz", "/health"
PATIENCE_S = 2.0
BEHIND_PATIENCE_S = 1.5
"""That of a server which another one asks: it has to say which part fails before it counts as failed itself."""
_log = logger("health")

Check = Callable[[], Awaitable[Mapping[str, str] | None]]
"""Returns when a part can be used now, else raises; of a part that is a server itself, with those of its own that cannot be."""


class Health:
    """What has to work for the server to be of use, and whether it is about to stop."""

    def __init__(self, checks: Mapping[str, Check] | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """Ask these, by name; one that takes longer than `patience_s` has failed."""
        self._checks = dict(checks or {})
        self._patience_s = patience_s
        self.draining = False

    async def problems(self) -> dict[str, str]:
        """Return which parts cannot be used, with what for people to look at; the reasons are in the log."""
        if self.draining:
            return {"server": "draining"}
        answers = await asyncio.gather(*(self._ask(name, check) for name, check in self._checks.items()))
        return {name: problem for found in answers for name, problem in found.items()}

    async def _ask(self, name: str, check: Check) -> dict[str, str]:
        try:
            async with asyncio.timeout(self._patience_s):
                inner = await check()
        except TimeoutError:
            return {name: "no answer"}
        except Exception as error:  # whatever it is, the server is not ready
            _log.warning("not ready", part=name, reason=str(error))
            return {name: "failed"}
        return {f"{name}.{part}": problem for part, problem in (inner or {}).items()}


def routes(health: Health) -> list[BaseRoute]:
    """Return the table. The paths need no token: they tell names of parts only."""

    async def live(_: Request) -> Response:
        return answer({"status": "ok"})

    async def ready(_: Request) -> Response:
        problems = await health.problems()
        if not problems:
            return answer({"status": "ok"})
        return Response(msgspec.json.encode({"status": "unavailable", "parts": problems}), 503, media_type="application/json")

    async def healthy(_: Request) -> Response:
        problems = await health.problems()
        if not problems:
            return answer({"status": "healthy"})
        told = {"status": "unhealthy", "error": "; ".join(f"{part}: {problem}" for part, problem in problems.items())}
        return Response(msgspec.json.encode(told), 503, media_type="application/json")

    table = {LIVE: live, READY: ready, OLDER: healthy}
    return [Route(path, handler, methods=["GET"]) for path, handler in table.items()]
