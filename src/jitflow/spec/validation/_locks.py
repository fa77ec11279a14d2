"""Locks and caches: exactly one place for each."""

from __future__ import annotations

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._report import Report
from jitflow.spec.validation._values import check_duration


def check_locks(report: Report, locks: argo.Synchronization | None, path: Path, prefix: str) -> None:
    """Check the mutexes and semaphores of a template or of the workflow: a name, or one place for the limit."""
    if locks is None:
        return
    here = (*path, "synchronization")
    for index, mutex in enumerate(locks.mutexes):
        if not mutex.name:
            name = f"{prefix}.synchronization.mutexes[{index}]"
            report.add((*here, "mutexes", index), f"{name}.name is required", "add `name:`")
    for index, semaphore in enumerate(locks.semaphores):
        name = f"{prefix}.synchronization.semaphores[{index}]"
        spot = (*here, "semaphores", index)
        given = [it for it in (semaphore.config_map_key_ref, semaphore.database) if it is not None]
        if len(given) != 1:
            what = "has both configMapKeyRef and database" if given else "has neither configMapKeyRef nor database"
            report.add(spot, f"{name} {what}", "say in one of them where the limit is")
        elif semaphore.config_map_key_ref is not None and not semaphore.config_map_key_ref.name:
            report.add((*spot, "configMapKeyRef"), f"{name}.configMapKeyRef.name is required", "add `name:`")


def check_memoize(report: Report, memoize: argo.Memoize | None, path: Path, prefix: str) -> None:
    """Check a cache's name and the age up to which its entries count."""
    if memoize is None:
        return
    here = (*path, "memoize")
    if not memoize.cache.config_map.name:
        report.add((*here, "cache"), f"{prefix}.memoize.cache.configMap.name is required", "add `name:`")
    check_duration(report, memoize.max_age or None, (*here, "maxAge"), f"{prefix}.memoize.maxAge")
