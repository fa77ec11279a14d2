"""Executors run pods."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from jitflow.model.pods import LogLine, Pod, PodEnd, PodKey, PodNews

EndListener = Callable[[PodEnd], None]
"""Called on the event loop, once for each pod that ends while the executor is open."""

NewsListener = Callable[[PodNews], None]
"""Called on the event loop when something new is known of a pod that runs; each time with all that is known."""


class Executor(Protocol):
    """Runs pods that survive this process.

    Each pod is supervised by a small parent of its own that outlives the server and records the end atomically. Ends are
    delivered to the listener at least once: an end that was recorded while nobody listened is delivered by `adopt`.
    """

    async def open(self, on_end: EndListener, on_news: NewsListener | None = None) -> None:
        """Start what the executor needs; must be called once before anything else.

        News may come late or not at all, and the end has the last of it; `adopt` tells again what was known of a pod that runs.
        """
        ...

    async def adopt(self) -> Sequence[PodKey]:
        """Return the keys of all pods known here, running or ended and not forgotten, and watch those that run.

        The listener is called for each pod that has ended already; a pod whose parent is gone without a record ends with
        `exit_code=None` and an error that says so.
        """
        ...

    async def start(self, pod: Pod) -> None:
        """Start the pod, or do nothing if its key is known already (then its end is or will be delivered).

        Returns when the pod is under its parent's care: from then on it survives a kill of this process.

        Raises:
            FixRequest: the pod cannot run here (says why and what to do); nothing is left behind.
        """
        ...

    async def terminate(self, key: PodKey, grace_s: float | None = None) -> None:
        """Send TERM, and KILL after the grace; return at once. Unknown or ended pods are ignored."""
        ...

    async def forget(self, key: PodKey) -> None:
        """Remove everything of an ended pod but its log; harmless to repeat."""
        ...

    def logs(self, key: PodKey, *, container: str = "main", follow: bool = False) -> AsyncIterator[LogLine]:
        """Yield a container's output in order; with `follow`, wait for more until the pod has ended."""
        ...

    async def delete_logs(self, keys: Sequence[PodKey]) -> None:
        """Remove the logs of these pods."""
        ...

    async def close(self) -> None:
        """Stop listening; running pods go on."""
        ...
