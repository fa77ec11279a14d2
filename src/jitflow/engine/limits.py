"""What the engine asks of the objects: limits of semaphores, a place for memoized outputs, volume claims."""

from collections.abc import Collection, Coroutine
from typing import Any, Protocol

from jitflow.engine.locks import MissingLimit
from jitflow.model import argo
from jitflow.model.objects import ConfigMap, Objects, SyncLimit
from jitflow.model.runs import Lock, SaveMemo


class Memos(Protocol):
    """Keeps memoized outputs."""

    def save(self, effect: SaveMemo) -> Coroutine[Any, Any, None]:
        """Write an entry into the ConfigMap of its cache, which is made if it is not there."""
        ...


class NoMemos:
    """Keeps nothing."""

    async def save(self, effect: SaveMemo) -> None:
        """Forget the entry."""
        del effect


class ClaimKeeper(Protocol):
    """Makes and deletes the volume claims of workflows."""

    async def make(self, namespace: str, claims: Collection[argo.PersistentVolumeClaim]) -> None:
        """Make claims; those that are there already stay."""
        ...

    async def drop(self, namespace: str, names: Collection[str]) -> None:
        """Delete claims with what they hold."""
        ...


class NoClaimKeeper:
    """Makes no claims."""

    async def make(self, namespace: str, claims: Collection[argo.PersistentVolumeClaim]) -> None:
        """Make nothing."""
        del namespace, claims

    async def drop(self, namespace: str, names: Collection[str]) -> None:
        """Delete nothing."""
        del namespace, names


def limit_of(lock: Lock, objects: Objects) -> int:
    """Return how many may hold a lock.

    Raises:
        MissingLimit: a semaphore's limit is not where it should be, or is no number.
    """
    if not lock.is_semaphore:
        return 1
    if not lock.config_map:
        found = objects.find(SyncLimit, lock.namespace, lock.key)
        if found is None:
            how = f"POST /api/v1/sync/{lock.namespace} and type DATABASE"
            raise MissingLimit(f"the semaphore {lock.name} has no limit: set one with {how}")
        return found.limit
    config = objects.find(ConfigMap, lock.namespace, lock.config_map)
    text = None if config is None else config.data.get(lock.key)
    if text is None:
        raise MissingLimit(f"the semaphore {lock.name} has no limit: ConfigMap {lock.config_map!r} has no key {lock.key!r}")
    if not text.strip().isdigit():
        raise MissingLimit(f"the limit of the semaphore {lock.name} is no whole number: {text[:40]!r}")
    return int(text)
