"""Webhooks: who is told of which events. Registrations are kept sealed; what is to be sent waits in the outbox."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.app.cloudevents import WORKFLOW_TYPES, check_types
from jitflow.app.names import check_namespace
from jitflow.model.problems import Refused
from jitflow.model.webhooks import ALL, WebhookWish
from jitflow.objects.store import Sealer
from jitflow.ports.store import StateStore

DOCUMENTS: Final = "webhook"
_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_MAX_URL_CHARS: Final = 2_000
_MAX_HOOKS: Final = 1_000
_SECRET_BYTES: Final = 24


class Webhook(Struct, frozen=True, kw_only=True):
    """Who is told. `namespace` `*`: of all; `events`: types of CloudEvents; `secret`: signs what is sent."""

    name: str
    url: str
    namespace: str = ALL
    events: tuple[str, ...] = WORKFLOW_TYPES
    secret: str = ""
    source: str = "api"


class Sent(Struct, frozen=True, kw_only=True):
    """What became of an attempt: HTTP's status, and in how many seconds the receiver wants the next one (0: it does not say)."""

    status: int
    retry_after_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


class Sender(Protocol):
    """Sends one request. Redirects are not followed, and hosts that may not be asked are not."""

    def check(self, host: str) -> None:
        """Say, without asking anybody, whether a host may be asked; of a name that has to be looked up it is found out later.

        Raises:
            Refused: it may not.
        """
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Send and return what was answered.

        Raises:
            Refused: this host may not be asked. OSError: it cannot be reached, or gave no answer in time.
        """
        ...


class Webhooks:
    """The registrations: those of the settings, and those made over the API."""

    def __init__(self, store: StateStore, sealer: Sealer, fixed: Sequence[Webhook] = ()) -> None:
        """`fixed` are those of the settings; `open` reads the others."""
        self._store = store
        self._sealer = sealer
        self._hooks: dict[str, Webhook] = {hook.name: hook for hook in fixed}

    async def open(self) -> None:
        """Read what is kept; the settings go before it."""
        for name, sealed in await self._store.items(DOCUMENTS):
            self._hooks.setdefault(name, msgspec.json.decode(self._sealer.open(sealed), type=Webhook))

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self._hooks)

    def all(self) -> list[Webhook]:
        """Return all webhooks."""
        return list(self._hooks.values())

    def wanting(self, namespace: str, kind: str) -> list[Webhook]:
        """Return who is to be told of an event of a type in a namespace."""
        return [hook for hook in self._hooks.values() if kind in hook.events and hook.namespace in {ALL, namespace}]

    def find(self, name: str) -> Webhook | None:
        """Return a webhook, None if there is none of that name."""
        return self._hooks.get(name)

    def get(self, name: str) -> Webhook:
        """Return a webhook.

        Raises:
            Refused: there is none of that name (`not_found`).
        """
        found = self._hooks.get(name)
        if found is None:
            raise Refused(f"there is no webhook {name[:80]!r}", code="not_found")
        return found

    async def add(self, wish: WebhookWish, check: Callable[[str], None]) -> Webhook:
        """Keep a new webhook; `check` refuses hosts that may not be asked.

        Raises:
            Refused: it cannot be used, or there is one of that name (`conflict`).
        """
        hook = checked(Webhook(name=wish.name, url=wish.url, namespace=wish.namespace, events=wish.events, secret=wish.secret))
        check(urlsplit(hook.url).hostname or "")
        if hook.name in self._hooks:
            raise Refused(f"there is a webhook {hook.name!r} already; remove it first, or choose another name", code="conflict")
        if len(self._hooks) >= _MAX_HOOKS:
            raise Refused(f"there are {_MAX_HOOKS} webhooks already")
        if not hook.secret:
            hook = replace(hook, secret=secrets.token_urlsafe(_SECRET_BYTES))
        await self._store.put(DOCUMENTS, [(hook.name, self._sealer.seal(msgspec.json.encode(hook)))])
        self._hooks[hook.name] = hook
        return hook

    async def remove(self, name: str) -> None:
        """Forget a webhook.

        Raises:
            Refused: there is none of that name (`not_found`), or the settings name it.
        """
        if self.get(name).source == "settings":
            raise Refused(f"the webhook {name!r} is in the settings file; remove it there")
        await self._store.put(DOCUMENTS, [(name, None)])
        del self._hooks[name]


def checked(hook: Webhook) -> Webhook:
    """Return a webhook with the whole names of its events.

    Raises:
        Refused: it cannot be used.
    """
    if not _NAME.fullmatch(hook.name):
        raise Refused(f"{hook.name[:80]!r} is no name for a webhook; use at most 63 lower-case letters, digits and -")
    if hook.namespace != ALL:
        check_namespace(hook.namespace)
    parts = _split(hook.url)
    if parts is None or parts[0] not in {"http", "https"} or not parts[1]:
        raise Refused(f"{hook.url[:200]!r} is no URL that can be called; write https://host/path")
    if "@" in parts[2]:
        raise Refused("the URL of a webhook must hold no user or password: they would be shown; the signature proves who calls")
    try:
        return replace(hook, events=check_types(hook.events) or WORKFLOW_TYPES)
    except ValueError as error:
        raise Refused(str(error)) from None


def _split(url: str) -> tuple[str, str, str] | None:
    """Return scheme, host and network location of a URL, None for text that is none."""
    if len(url) > _MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname or "", parts.netloc
