"""What stands between the outside and the use-cases: who may come in, and the application."""

from msgspec import Struct
from starlette.applications import Starlette

from jitflow.access import Gate, Tokens
from jitflow.app import Service
from jitflow.control_api import LOOPBACK_HOSTS, make_app
from jitflow.data_api import routes as data_routes
from jitflow.engine.tasks import Owner
from jitflow.ports.clock import Clock
from jitflow.ports.store import StateStore
from jitflow.settings import Settings
from jitflow.telemetry.metrics import Exposition


class Behind(Struct, frozen=True, kw_only=True):
    """What the front needs of the parts behind it."""

    service: Service
    store: StateStore
    clock: Clock
    owner: Owner
    metrics: Exposition


async def open_front(settings: Settings, token: str, behind: Behind) -> Starlette:
    """Return the application, which lets in who holds `token` or what the store knows of."""
    tokens = Tokens(behind.store, behind.clock, behind.owner.spawn)
    await tokens.open()
    return make_app(
        behind.service,
        Gate(token, tokens=tokens, now=behind.clock.now),
        tokens=tokens,
        extra=data_routes(behind.service),
        hosts=(*LOOPBACK_HOSTS, *settings.server.names),
        metrics=behind.metrics,
        open_metrics=settings.server.open_metrics,
    )
