"""Who may do what, who did what, and who is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jitflow.client._calls import Group, S, call
from jitflow.client._requests import Call, get, listing, remove, send
from jitflow.model.access import AuditEntry, NewToken, TokenInfo
from jitflow.model.webhooks import ALL, Failed, NewWebhook, WebhookInfo

_TOKENS = "/api/jit/v1/tokens"
_HOOKS = "/api/jit/v1/webhooks"


class Tokens(Group[S]):
    """Tokens, as far as the caller may manage them; named by id or name."""

    @call
    def create(
        self,
        name: str,
        grants: Mapping[str, str],
        *,
        scopes: Sequence[str] = (),
        expires_in_s: float = 0.0,
        requests_per_s: float = 0.0,
        burst: int = 0,
        body_bytes: int = 0,
    ) -> Call[NewToken]:
        """Make a token; the answer's `token` is told this once. `grants`: namespace or `*` -> `viewer`, `operator`, `admin`."""
        limits = {"requests_per_s": requests_per_s, "burst": burst, "body_bytes": body_bytes}
        body = {"name": name, "grants": grants, "scopes": scopes, "expires_in_s": expires_in_s, "limits": limits}
        return send(NewToken, "POST", _TOKENS, body=body)

    @call
    def list(self) -> Call[tuple[TokenInfo, ...]]:
        """List tokens, never their texts."""
        return listing(TokenInfo, _TOKENS)

    @call
    def get(self, name: str) -> Call[TokenInfo]:
        """Describe a token."""
        return get(TokenInfo, _TOKENS, name)

    @call
    def revoke(self, name: str) -> Call[TokenInfo]:
        """Revoke a token: it opens nothing from now on."""
        return send(TokenInfo, "DELETE", _TOKENS, name)


class Webhooks(Group[S]):
    """Who is told of workflows."""

    @call
    def add(self, name: str, url: str, *, namespace: str = ALL, events: Sequence[str] = (), secret: str = "") -> Call[NewWebhook]:
        """Tell somebody from now on; the answer's `secret` is told this once."""
        body: dict[str, Any] = {"name": name, "url": url, "namespace": namespace, "events": events}
        return send(NewWebhook, "POST", _HOOKS, body=body | ({"secret": secret} if secret else {}))

    @call
    def list(self) -> Call[tuple[WebhookInfo, ...]]:
        """List webhooks, and how many events wait or have failed."""
        return listing(WebhookInfo, _HOOKS)

    @call
    def get(self, name: str) -> Call[WebhookInfo]:
        """Describe a webhook."""
        return get(WebhookInfo, _HOOKS, name)

    @call
    def remove(self, name: str) -> Call[None]:
        """Forget a webhook and what waits for it."""
        return remove(_HOOKS, name)

    @call
    def failures(self, name: str) -> Call[tuple[Failed, ...]]:
        """List the events that a webhook did not take."""
        return listing(Failed, _HOOKS, name, "failures")

    @call
    def replay(self, name: str, ids: Sequence[str] = ()) -> Call[int]:
        """Send failed events again, all if none is named; return how many."""
        sent = send(dict[str, Any], "POST", _HOOKS, name, "replay", body={"ids": ids})
        return Call(sent.request, lambda body: int(sent.reads(body).get("replayed", 0)))


class Audit(Group[S]):
    """Who changed what, and who was refused; for administrators."""

    @call
    def list(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        subject: str = "",
        namespace: str = "",
        action: str = "",
        limit: int | None = None,
    ) -> Call[tuple[AuditEntry, ...]]:
        """Return entries, newest first. Times in seconds since the epoch; `action`: a permission, or its first part."""
        query = {
            "since": since, "until": until, "subject": subject, "namespace": namespace, "action": action, "limit": limit,
        }  # fmt: skip
        return listing(AuditEntry, "/api/jit/v1/audit", query=query)
