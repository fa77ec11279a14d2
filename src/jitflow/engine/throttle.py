"""How many workflows run at once: in all, and in each namespace. The others wait, the higher priority first, then the older."""

from msgspec import Struct

POSTPONED = "Workflow processing has been postponed because too many workflows are already running"


class _Waiting(Struct, frozen=True, kw_only=True):
    uid: str
    namespace: str
    rank: tuple[int, float, str]


class Throttle:
    """Lets workflows begin while there are places. It waits for nobody: `admit` says who may begin now."""

    def __init__(self, limit: int = 0, namespace_limit: int = 0) -> None:
        """Allow so many workflows in all and in each namespace; 0: no limit."""
        self._limit = limit
        self._namespace_limit = namespace_limit
        self._running: dict[str, str] = {}
        self._waiting: dict[str, _Waiting] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def hold(self, uid: str, namespace: str) -> None:
        """Count a workflow that runs already, even beyond the limits."""
        self._waiting.pop(uid, None)
        self._running[uid] = namespace

    def ask(self, uid: str, namespace: str, *, priority: int, created_at: float) -> bool:
        """Return whether a workflow may begin at once; else it waits, and `admit` names it when it may. Harmless to repeat."""
        if uid in self._running:
            return True
        if not (self._waiting and self._waiting_before(namespace)) and self._has_place(namespace):
            self._running[uid] = namespace
            return True
        self._waiting[uid] = _Waiting(uid=uid, namespace=namespace, rank=(-priority, created_at, uid))
        return False

    def release(self, uid: str) -> None:
        """A workflow has ended, or waits no longer; harmless to repeat."""
        self._waiting.pop(uid, None)
        self._running.pop(uid, None)

    def admit(self) -> list[str]:
        """Return the workflows that may begin now; they count as running from now on."""
        admitted: list[str] = []
        for one in sorted(self._waiting.values(), key=lambda it: it.rank):
            if self._has_place(one.namespace):
                self.hold(one.uid, one.namespace)
                admitted.append(one.uid)
        return admitted

    def _has_place(self, namespace: str) -> bool:
        if self._limit and len(self._running) >= self._limit:
            return False
        return not self._namespace_limit or sum(it == namespace for it in self._running.values()) < self._namespace_limit

    def _waiting_before(self, namespace: str) -> bool:
        """Whether somebody waits who could use the same place: nobody passes the queue."""
        return any(it.namespace == namespace or self._has_place(it.namespace) for it in self._waiting.values())
