"""The key of the stored secrets, for administrators."""

from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.control_api.workflows import answer


class KeyRotation(Protocol):
    """Seals everything that is stored sealed with a new key."""

    async def rotate(self) -> Any:
        """Return how much was sealed anew, and whether the old key is gone; raises `Refused` where it cannot be done."""
        ...


def routes(rotation: KeyRotation) -> list[BaseRoute]:
    """Return the table."""

    async def rotate(_: Request) -> Response:
        return answer(await rotation.rotate())

    return [Route("/api/jit/v1/secrets/rotate-key", rotate, methods=["POST"])]
