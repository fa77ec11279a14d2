"""Webhooks, for administrators: `/api/jit/v1/webhooks`."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from jitflow.access import Permission
from jitflow.app.outbox import Letter, Outbox
from jitflow.app.webhooks import Webhook
from jitflow.control_api.guards import NOTED, identity_of, require
from jitflow.control_api.requests import decode
from jitflow.control_api.workflows import answer
from jitflow.model.problems import Refused
from jitflow.model.webhooks import WebhookWish

_ALL = "/api/jit/v1/webhooks"
_ONE = _ALL + "/{name}"


class ReplayBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which failed events are to be sent again; none: all."""

    ids: tuple[str, ...] = ()


class WebhookRoutes:
    """Handlers; each caller sees and changes only webhooks of namespaces that he administers."""

    def __init__(self, outbox: Outbox) -> None:
        """Hold the outbox and its webhooks."""
        self._outbox = outbox

    def routes(self) -> list[BaseRoute]:
        """Return the table."""
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", _ALL, self.list_all),
            ("POST", _ALL, self.add),
            ("GET", _ONE, self.get),
            ("DELETE", _ONE, self.remove),
            ("GET", _ONE + "/failures", self.failures),
            ("POST", _ONE + "/replay", self.replay),
        ]
        return [Route(path, handler, methods=[method]) for method, path, handler in table]

    async def list_all(self, request: Request) -> Response:
        """List webhooks."""
        identity = identity_of(request)
        hooks = [hook for hook in self._outbox.webhooks.all() if identity.may(Permission.WEBHOOKS_READ, hook.namespace)]
        return answer({"items": [self._outbox.describe(hook) for hook in sorted(hooks, key=lambda hook: hook.name)]})

    async def add(self, request: Request) -> Response:
        """Make a webhook; the answer is the only place where its secret can be read."""
        wish = decode(await request.body(), WebhookWish)
        require(request, Permission.WEBHOOKS_WRITE, wish.namespace)
        hook = await self._outbox.add(wish)
        request.scope[NOTED] = {"name": hook.name}
        return answer({**msgspec.structs.asdict(self._outbox.describe(hook)), "secret": hook.secret})

    async def get(self, request: Request) -> Response:
        """Describe a webhook."""
        return answer(self._outbox.describe(self._found(request, Permission.WEBHOOKS_READ)))

    async def remove(self, request: Request) -> Response:
        """Forget a webhook and what waits for it."""
        await self._outbox.remove(self._found(request, Permission.WEBHOOKS_WRITE).name)
        return answer({})

    async def failures(self, request: Request) -> Response:
        """List the events that could not be sent."""
        hook = self._found(request, Permission.WEBHOOKS_READ)
        return answer({"items": [_shown(letter) for letter in self._outbox.failures(hook.name)]})

    async def replay(self, request: Request) -> Response:
        """Send again what could not be sent."""
        hook = self._found(request, Permission.WEBHOOKS_WRITE)
        body = await request.body()
        wanted = decode(body, ReplayBody) if body.strip() else ReplayBody()
        return answer({"replayed": await self._outbox.replay(hook.name, wanted.ids)})

    def _found(self, request: Request, permission: Permission) -> Webhook:
        """Return the webhook of the path; one that the caller may not see does not exist for him."""
        name = request.path_params["name"]
        hook = self._outbox.webhooks.find(name)
        if hook is None or not identity_of(request).may(permission, hook.namespace):
            raise Refused(f"there is no webhook {name[:80]!r}", code="not_found")
        return hook


def _shown(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "type": letter.type,
        "created_at": letter.created_at,
        "attempts": letter.attempts,
        "error": letter.error,
        "event": msgspec.Raw(letter.body.encode()),
    }
