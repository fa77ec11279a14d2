"""How fast remotes give large objects: what is here in a moment need not be read in ranges.

Ranges come through this process, so that each that is finished is known and kept; that costs half as much again of a processor
as rclone takes to write an object by itself. Over a fast link the processor may be what the object waits for, and all that could
be kept is the work of a moment.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from jitflow.model.data import ObjectInfo
from jitflow.ports.storage import RANGED_BYTES, Progress

FAST_BPS, MOMENT_S = 30 * 10**6, 5.0
"""A link is fast that gives so much; what comes over it in this time is not worth keeping."""


@dataclass
class _Remote:
    rate_Bps: float = 0.0
    moved_bytes: int = 0


class Speeds:
    """What was measured with each remote, all its transfers of large objects together."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._remotes: dict[str, _Remote] = {}

    def is_quick(self, info: ObjectInfo) -> bool:
        """Return whether an object is here in a moment over a fast link, as far as is known."""
        remote = self._remotes.get(info.ref.remote)
        return remote is not None and remote.rate_Bps >= FAST_BPS and info.size_bytes <= remote.rate_Bps * MOMENT_S

    @contextmanager
    def measured(self, info: ObjectInfo, progress: Progress, *, resumed: bool) -> Generator[Progress]:
        """Give what to tell of the transfer of an object; `resumed`: what is told first had come before."""
        if info.size_bytes < RANGED_BYTES:
            yield progress
            return
        remote = self._remotes.setdefault(info.ref.remote, _Remote())
        began, before = time.monotonic(), remote.moved_bytes
        done = None if resumed else 0

        def told(count: int) -> None:
            nonlocal done
            remote.moved_bytes += max(0, count - (count if done is None else done))
            done = count
            progress(count)

        yield told
        remote.rate_Bps = (remote.moved_bytes - before) / max(time.monotonic() - began, 1e-6)
