"""A data service: the data side as a process of its own, which a control service drives over the link."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from jitflow.access import Gate
from jitflow.app.datalink import DataLink
from jitflow.app.tokens import ensure_token
from jitflow.bootstrap.dataparts import DataParts, open_data
from jitflow.bootstrap.front import audit_of, rules_of, verifier_of
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.keys import source_of
from jitflow.bootstrap.rotation import Rotation
from jitflow.bootstrap.stack import Stack
from jitflow.bootstrap.state import open_stores
from jitflow.bootstrap.system import SystemClock
from jitflow.bootstrap.tracing import open_tracing
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import BEHIND_PATIENCE_S, LOOPBACK_HOSTS, Health, make_data_app
from jitflow.data_api import link_routes
from jitflow.engine.tasks import Owner
from jitflow.ports.datalink import DOCUMENTS, PATH, SERVES, Known, RemoteSaid, Served
from jitflow.settings import Settings, SettingsError, resolve_secret
from jitflow.storage.credentials import SentCredentials
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import CustomMetrics, Exposition, Figures

_LEASE_S = 86_400.0
"""A control service that is away may come back to its pods for so long; workflows that have ended let go at once anyway."""
_log = logger("server")


@asynccontextmanager
async def open_data_stack(settings: Settings) -> AsyncGenerator[Stack]:
    """Build and start a data service.

    Raises:
        SettingsError, Refused, PortError, OSError: something cannot be used; nothing is left running.
    """
    if settings.state.share:
        raise SettingsError("state.share: a data service has its state for itself; leave it out there")
    home = Home(Path(settings.home))
    home.make()
    token, link_token = ensure_token(home.token), link_token_of(settings, home)
    async with AsyncExitStack() as stack:
        tracing = open_tracing(settings.telemetry, version("jitflow"), stack)
        store, near = await open_stores(settings, home, stack)
        vault = Vault(source_of(settings.secrets.key, home.key))
        credentials = SentCredentials()
        parts = await open_data(
            settings,
            home,
            stack,
            store=store,
            near=near,
            vault=vault,
            credentials=credentials,
            lease_s=_LEASE_S,
            tracing=tracing,
        )
        side = parts.side()
        clock = SystemClock()
        owner = Owner(lambda name, error: _log.error("task failed", error, task=name))
        stack.push_async_callback(owner.close)

        def know(known: Known) -> None:
            credentials.take(known.origin.name, known.options, known.error)
            parts.stores.notice(known.origin)

        async def keep(served: Served) -> None:
            await store.put(DOCUMENTS, [(SERVES, msgspec.json.encode(served))])

        link = DataLink(
            parts.plane,
            side.view,
            parts.provenance,
            parts.stores,
            remotes=lambda: said(parts),
            know=know,
            near=near_folder(settings, home),
            hidden=[home.root.absolute()],
            clock=clock,
            keep=keep,
            rotate=Rotation(vault, store, near, None).rotate_here,
            traced=tracing.belongs,
            spawn=owner.spawn,
        )
        await link.open()
        stack.push_async_callback(link.close)
        parts.registry.on_change = link.remotes_changed
        health = Health({"state": store.ready, **side.checks}, patience_s=BEHIND_PATIENCE_S)
        meters = CustomMetrics(clock.now)

        def figures() -> Figures:
            return {**side.figures(), **store.figures()}

        audit = audit_of(settings.audit, home, clock.now)
        if audit is not None:
            stack.callback(audit.close)
        app = make_data_app(
            Gate(
                token,
                verifier=verifier_of(settings.oidc, clock) if settings.oidc.issuer else None,
                now=clock.now,
                link=link_token,
            ),
            [*side.routes, *link_routes(link)],
            hosts=(*LOOPBACK_HOSTS, *settings.server.names),
            metrics=Exposition(meters, figures),
            open_metrics=settings.server.open_metrics,
            rules=rules_of(settings.server),
            audit=audit,
            health=health,
        )

        def drain() -> None:
            health.draining = True
            link.end()

        yield Stack(app=tracing.around(app, quiet=PATH), token=token, drain=drain)


def said(parts: DataParts) -> list[RemoteSaid]:
    """Return the remotes as a control service is told of them."""
    return [RemoteSaid(name=name, type=one.type, endpoints=one.endpoints) for name, one in parts.registry.names().items()]


def near_folder(settings: Settings, home: Home) -> Path:
    """Return the directory in which pods find their inputs: the primary, or copies of what is in a remote one."""
    chosen = settings.primary
    own = home.scratch if chosen.remote else home.primary
    return (Path(chosen.path) if chosen.path else own).absolute()


def link_token_of(settings: Settings, home: Home) -> str:
    """Return what a control service has to show: what the settings say, else what is kept in the home.

    Raises:
        SettingsError: it cannot be had. Refused: the file cannot be used.
    """
    given = resolve_secret(settings.data.token, "data.token")
    return given or ensure_token(home.link)
