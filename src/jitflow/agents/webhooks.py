"""Sends events to webhooks: one POST each, to the address that was checked, no redirects."""

from collections.abc import Mapping

import httpx

from jitflow.agents.hosts import CheckedTransport, HostRules
from jitflow.app.webhooks import Sent

TIMEOUT_S = 10.0
_MAX_RETRY_AFTER_S = 86_400.0
_READ_BYTES = 4_096


class WebhookSender:
    """Implements `jitflow.app.webhooks.Sender`; connections are kept for a while."""

    def __init__(self, rules: HostRules, *, timeout_s: float = TIMEOUT_S) -> None:
        """Ask only whom the rules allow. Nothing is opened before the first event."""
        self._rules = rules
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None

    def check(self, host: str) -> None:
        """Refuse a host that can never be asked; see `Sender`."""
        self._rules.check_written(host)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Send and return what was answered; see `Sender`."""
        if self._client is None:
            transport = CheckedTransport(self._rules)
            self._client = httpx.AsyncClient(
                transport=transport, timeout=self._timeout_s, follow_redirects=False, trust_env=False
            )
        try:
            async with self._client.stream("POST", url, headers=dict(headers), content=body) as response:
                # A short answer is read, so that the connection can be used again; a long one is not worth it.
                length = response.headers.get("content-length", "")
                if length.isdigit() and int(length) <= _READ_BYTES:
                    await response.aread()
                return Sent(status=response.status_code, retry_after_s=_seconds(response.headers.get("retry-after", "")))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise OSError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


def _seconds(text: str) -> float:
    return min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 18 else 0.0
