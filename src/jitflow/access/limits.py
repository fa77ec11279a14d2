"""How much one caller may ask for: a bucket of requests for each."""

from collections import OrderedDict
from typing import Final

from jitflow.access.roles import Identity
from jitflow.model.access import Limits

_MAX_BUCKETS: Final = 10_000


class Buckets:
    """Token buckets: each caller's fills with `requests_per_s` up to `burst`, and every request takes one out."""

    def __init__(self, limits: Limits) -> None:
        """`limits` hold for who has none of his own; 0 requests a second: no limit."""
        self._limits = limits
        self._full: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, identity: Identity, now: float) -> float:
        """Take one request out; return 0, or after how many seconds there will be one."""
        rate = identity.limits.requests_per_s or self._limits.requests_per_s
        if rate <= 0:
            return 0.0
        size = max(float(identity.limits.burst or self._limits.burst or rate), 1.0)
        key = (identity.issuer, identity.token or identity.subject)
        left, at = self._full.pop(key, (size, now))
        left = min(left + max(now - at, 0.0) * rate, size)
        enough = left >= 1.0
        self._full[key] = (left - 1.0 if enough else left, now)
        while len(self._full) > _MAX_BUCKETS:
            self._full.popitem(last=False)
        return 0.0 if enough else (1.0 - left) / rate

    def limits(self, identity: Identity) -> bool:
        """Return whether there is a limit to somebody's requests."""
        return (identity.limits.requests_per_s or self._limits.requests_per_s) > 0

    def body_bytes(self, identity: Identity) -> int:
        """Return how long a body may be."""
        return identity.limits.body_bytes or self._limits.body_bytes
