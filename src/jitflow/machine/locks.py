"""Mutexes and semaphores: what a node or the workflow must hold before it begins. The engine grants them."""

from collections.abc import Callable

from jitflow.expr import tags
from jitflow.machine import phases
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.model import argo
from jitflow.model.runs import Lock

WANTED, HELD = "wanted", "held"
Lookup = Callable[[str], str | None]


def wanted(source: "tags.Compiled[argo.Synchronization] | None", lookup: Lookup, namespace: str) -> tuple[Lock, ...]:
    """Return the locks that a template or workflow needs, names filled in.

    Raises:
        Problem: a semaphore does not say where its limit is.
    """
    if source is None:
        return ()
    sync = source.render(lookup)
    found = [_mutex(mutex, namespace) for mutex in sync.mutexes]
    found += [_semaphore(semaphore, namespace) for semaphore in sync.semaphores]
    return tuple(dict.fromkeys(found))


def _mutex(mutex: argo.Mutex, namespace: str) -> Lock:
    where = mutex.namespace or namespace
    kind = "DatabaseMutex" if mutex.database else "Mutex"
    return Lock(name=f"{where}/{kind}/{mutex.name or ''}")


def _semaphore(semaphore: argo.SemaphoreRef, namespace: str) -> Lock:
    where = semaphore.namespace or namespace
    if semaphore.database is not None:
        key = semaphore.database.key
        return Lock(name=f"{where}/Database/{key}", namespace=where, key=key, is_semaphore=True)
    reference = semaphore.config_map_key_ref
    if reference is None:
        raise Problem("a semaphore needs configMapKeyRef or database")
    config = reference.name or ""
    return Lock(
        name=f"{where}/ConfigMap/{config}/{reference.key}",
        namespace=where,
        config_map=config,
        key=reference.key,
        is_semaphore=True,
    )


def key_of(node_id: str) -> str:
    """Return the key of the effect that asks for the locks of a node; of the workflow for an empty id."""
    return f"locks/{node_id}"


def waiting(node: Node, locks: tuple[Lock, ...]) -> Node:
    """Return a node that waits for its locks."""
    return changed(node, phase=phases.WAITING, limiter=key_of(node.id), locking=WANTED, locks=tuple(lock.name for lock in locks))


def status(entries: list[tuple[str, str, tuple[str, ...]]]) -> argo.SynchronizationStatus | None:
    """Return what the workflow's status says of locks; `entries`: holder, wanted or held, the locks' names."""
    if not entries:
        return None
    mutexes: dict[str, list[argo.MutexHolding]] = {HELD: [], WANTED: []}
    semaphores: dict[str, dict[str, list[str]]] = {HELD: {}, WANTED: {}}
    for holder, state, names in entries:
        for name in names:
            if "Mutex/" in name:
                mutexes[state].append(argo.MutexHolding(holder=holder, mutex=name))
            else:
                semaphores[state].setdefault(name, []).append(holder)
    holding, waits = (
        tuple(argo.SemaphoreHolding(semaphore=name, holders=tuple(holders)) for name, holders in semaphores[state].items())
        for state in (HELD, WANTED)
    )
    mutex = argo.MutexStatus(holding=tuple(mutexes[HELD]), waiting=tuple(mutexes[WANTED]))
    return argo.SynchronizationStatus(
        mutex=mutex if mutex.holding or mutex.waiting else None,
        semaphore=argo.SemaphoreStatus(holding=holding, waiting=waits) if holding or waits else None,
    )
