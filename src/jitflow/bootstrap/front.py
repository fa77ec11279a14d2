"""What stands between the outside and the use-cases: who may come in, and the application."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from msgspec import Struct

from jitflow.access import Gate, Limits, Role, Tokens, Verifier
from jitflow.access.audit import AuditLog
from jitflow.agents import HostRules, WebhookSender
from jitflow.app import Service
from jitflow.app.backfills import Backfills
from jitflow.app.foreign import ForeignRuns
from jitflow.app.outbox import Outbox
from jitflow.app.usage import UsageKeeper
from jitflow.app.webhooks import Webhook, Webhooks, checked
from jitflow.bootstrap.dataparts import DataSide
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.rotation import Rotation
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import LOOPBACK_HOSTS, Application, Health, Rules, ServersView, make_app
from jitflow.engine import Engine
from jitflow.engine.tasks import Owner
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.clock import Clock
from jitflow.ports.store import StateStore
from jitflow.settings import (
    AuditSettings,
    EventSettings,
    OidcSettings,
    ServerSettings,
    Settings,
    SettingsError,
    WebhookSettings,
    parse_bytes,
    resolve_secret,
)
from jitflow.telemetry.metrics import Exposition


class Behind(Struct, frozen=True, kw_only=True):
    """What the front needs of the parts behind it."""

    service: Service
    foreign: ForeignRuns
    engine: Engine
    store: StateStore
    near: StateStore
    vault: Vault
    objects: ObjectStore
    clock: Clock
    owner: Owner
    metrics: Exposition
    home: Home
    data: DataSide
    health: Health
    closing: AsyncExitStack
    """What is called when the server stops."""
    servers: ServersView
    peer: str = ""
    """What other servers of the same state show; empty: there are none."""


async def open_front(settings: Settings, token: str, behind: Behind) -> Application:
    """Return the application, which lets in who holds `token` or what the store knows of.

    Raises:
        SettingsError, OSError: something cannot be used.
    """
    tokens = Tokens(behind.store, behind.clock, behind.owner.spawn)
    await tokens.open()
    verifier = verifier_of(settings.oidc, behind.clock) if settings.oidc.issuer else None
    audit = audit_of(settings.audit, behind.home, behind.clock.now)
    if audit is not None:
        behind.closing.callback(audit.close)
    outbox = await open_outbox(settings.events, behind)
    return make_app(
        behind.service,
        Gate(token, tokens=tokens, verifier=verifier, now=behind.clock.now, peer=behind.peer),
        tokens=tokens,
        audit=audit,
        outbox=outbox,
        foreign=behind.foreign,
        backfills=await open_backfills(behind),
        usage=await open_usage(behind),
        rotation=Rotation(behind.vault, behind.store, behind.near, behind.objects, behind.data.rotate_key),
        extra=behind.data.routes,
        hosts=(*LOOPBACK_HOSTS, *settings.server.names),
        metrics=behind.metrics,
        health=behind.health,
        open_metrics=settings.server.open_metrics,
        rules=rules_of(settings.server),
        servers=behind.servers,
        peer=behind.peer,
    )


async def open_backfills(behind: Behind) -> Backfills:
    """Return the backfills of schedules, gone on with."""
    found = Backfills(behind.objects, behind.service, behind.store, behind.clock, behind.owner.spawn)
    await found.open()
    behind.closing.callback(behind.engine.subscribe(found.heard))
    behind.closing.callback(found.close)
    return found


async def open_usage(behind: Behind) -> UsageKeeper:
    """Return what counts what namespaces use, counting."""
    usage = UsageKeeper(
        behind.service.known_runs,
        behind.engine,
        behind.store,
        behind.data.view,
        clock=behind.clock,
        spawn=behind.owner.spawn,
    )
    behind.closing.push_async_callback(usage.save)
    behind.closing.callback(behind.engine.subscribe(usage.hear))
    await usage.open(await behind.store.runs())
    return usage


async def open_outbox(events: EventSettings, behind: Behind) -> Outbox:
    """Return what tells webhooks of workflows, listening.

    Raises:
        SettingsError: a webhook of the settings cannot be used.
    """
    hooks = Webhooks(behind.store, behind.vault, [_webhook(name, hook) for name, hook in events.webhooks.items()])
    await hooks.open()
    sender = WebhookSender(HostRules(events.allowed_hosts, private_hosts=events.private_hosts, settings="events"))
    behind.closing.push_async_callback(sender.close)
    outbox = Outbox(hooks, behind.store, sender, behind.clock, behind.owner.spawn, attempts=events.attempts)
    behind.closing.callback(behind.engine.subscribe(outbox.hear))
    await outbox.open(await behind.store.runs())
    return outbox


def _webhook(name: str, hook: WebhookSettings) -> Webhook:
    secret = resolve_secret(hook.secret, f"events.webhooks.{name}.secret")
    if not secret:
        raise SettingsError(f"events.webhooks.{name}.secret: is empty; receivers could not tell who calls")
    try:
        made = Webhook(name=name, url=hook.url, namespace=hook.namespace, events=hook.events, secret=secret, source="settings")
        return checked(made)
    except Refused as error:
        raise SettingsError(f"events.webhooks.{name}: {error}") from error


def audit_of(audit: AuditSettings, home: Home, now: Callable[[], float]) -> AuditLog | None:
    """Return where it is written down who did what; close it."""
    if not audit.files:
        return None
    return AuditLog(home.audit, file_bytes=parse_bytes(audit.file_size), files=audit.files, now=now)


def rules_of(server: ServerSettings) -> Rules:
    """Return how much may be asked, and by whose pages."""
    limits = Limits(requests_per_s=server.requests_per_s, burst=server.burst, body_bytes=parse_bytes(server.max_body))
    return Rules(limits=limits, body_timeout_s=server.body_timeout_s, cors_origins=server.cors_origins)


def verifier_of(oidc: OidcSettings, clock: Clock) -> Verifier:
    """Return what recognises the issuer's tokens.

    Raises:
        SettingsError: PyJWT is not installed.
    """
    try:
        from jitflow.access.oidc import Issuer, OidcVerifier, RoleRule  # noqa: PLC0415 - only who has an issuer pays for it
    except ImportError as error:
        raise SettingsError("oidc.issuer: tokens of an issuer need PyJWT; install `jitflow[oidc]`") from error
    rules = tuple(
        RoleRule(claim=rule.claim, value=rule.value, role=Role(rule.role), namespaces=rule.namespaces) for rule in oidc.roles
    )
    issuer = Issuer(
        issuer=oidc.issuer,
        audience=oidc.audience,
        rules=rules,
        jwks_url=oidc.jwks_url,
        algorithms=oidc.algorithms,
        leeway_s=oidc.leeway_s,
        subject_claim=oidc.subject_claim,
    )
    return OidcVerifier(issuer, now=clock.now)
