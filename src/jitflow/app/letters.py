"""Events on their way to webhooks: what is kept of each, when it is tried again, and how it is signed."""

import hashlib
import hmac
import random
from typing import Final

from msgspec import Struct

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 900.0


class Letter(Struct, frozen=True, kw_only=True):
    """An event on its way to a webhook. Times in seconds since the epoch."""

    id: str
    webhook: str
    type: str
    body: str
    created_at: float
    attempts: int = 0
    next_at: float = 0.0
    error: str = ""

    @property
    def key(self) -> str:
        """Return under what it is kept."""
        return f"{self.webhook}/{self.id}"


def pause_after(attempts: int) -> float:
    """Return how long to wait after so many attempts: twice as long each time, give or take a quarter, up to a limit."""
    pause_s = min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 30), LONGEST_PAUSE_S)
    return pause_s * random.uniform(0.75, 1.25)


def signed(secret: str, body: bytes, at: int) -> dict[str, str]:
    """Return the headers of an event: HMAC-SHA256 of `<timestamp>.<body>` proves who sends it, and when."""
    mac = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/cloudevents+json; charset=utf-8",
        "user-agent": "jitflow-webhook",
        "x-jitflow-timestamp": str(at),
        "x-jitflow-signature": f"sha256={mac}",
    }
