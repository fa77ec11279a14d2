"""Webhooks as the APIs tell of them."""

from typing import Any, Final

from msgspec import Struct

ALL: Final = "*"


class WebhookWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook that somebody wants; without a secret one is made."""

    name: str
    url: str
    namespace: str = ALL
    events: tuple[str, ...] = ()
    secret: str = ""


class WebhookInfo(Struct, frozen=True, kw_only=True):
    """A webhook as administrators see it, with what waits to be sent and what could not be."""

    name: str
    url: str
    namespace: str
    events: tuple[str, ...]
    source: str
    waiting: int = 0
    failed: int = 0


class NewWebhook(WebhookInfo, frozen=True, kw_only=True):
    """A webhook with its secret, which is shown this once."""

    secret: str


class Failed(Struct, frozen=True):
    """An event that could not be sent: when it was made (seconds since the epoch), how often it was tried, and why not."""

    id: str
    type: str
    created_at: float
    attempts: int
    error: str
    event: Any
