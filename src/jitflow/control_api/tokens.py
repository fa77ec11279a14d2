"""Tokens, for administrators: `/api/jit/v1/tokens`."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Tokens, TokenWish
from jitflow.control_api.guards import NOTED, identity_of
from jitflow.control_api.requests import decode
from jitflow.control_api.workflows import answer

_ALL = "/api/jit/v1/tokens"
_ONE = _ALL + "/{id}"


class TokenRoutes:
    """Handlers; each caller sees and revokes only tokens that reach no further than the caller."""

    def __init__(self, tokens: Tokens) -> None:
        """Hold the tokens."""
        self._tokens = tokens

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", _ALL, self.list_all),
            ("POST", _ALL, self.create),
            ("GET", _ONE, self.get),
            ("DELETE", _ONE, self.revoke),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def list_all(self, request: Request) -> Response:
        """List tokens."""
        return answer({"items": self._tokens.list(identity_of(request))})

    async def create(self, request: Request) -> Response:
        """Make a token; the answer is the only place where it can be read."""
        wish = decode(await request.body(), TokenWish)
        info, token = await self._tokens.create(wish, identity_of(request))
        request.scope[NOTED] = {"name": info.name}
        return answer({**msgspec.structs.asdict(info), "token": token})

    async def get(self, request: Request) -> Response:
        """Describe a token."""
        return answer(self._tokens.get(request.path_params["id"], identity_of(request)))

    async def revoke(self, request: Request) -> Response:
        """Revoke a token."""
        return answer(await self._tokens.revoke(request.path_params["id"], identity_of(request)))
