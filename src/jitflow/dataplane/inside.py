"""Objects that lie in a directory whose copy is here, or is just being written, are read from that copy."""

from collections.abc import Container
from pathlib import Path

from msgspec.structs import replace

from jitflow.dataplane.core import Core
from jitflow.model.data import FutureStep, ObjectRef, StepId
from jitflow.ports.dataplane import Lease


def parents(ref: ObjectRef) -> list[ObjectRef]:
    """Return the prefixes around an object, the nearest first, the remote's root left out."""
    parts = ref.path.rstrip("/").split("/")[:-1]
    return [ObjectRef(remote=ref.remote, path="/".join(parts[:count]) + "/") for count in range(len(parts), 0, -1)]


def lies_in(ref: ObjectRef, written: Container[ObjectRef]) -> bool:
    """Return whether an object is among those written, or may be below one of them that turns out to be a directory."""
    if ref in written:
        return True
    return any(
        prefix in written or ObjectRef(remote=prefix.remote, path=prefix.path.rstrip("/")) in written for prefix in parents(ref)
    )


class Inside:
    """Asks for the directory instead of what lies in it, and shows each step its own part of the lease."""

    def __init__(self, core: Core) -> None:
        """Look at the catalogue and the planner of `core`."""
        self._core = core
        self._parts: dict[StepId, dict[ObjectRef, ObjectRef]] = {}

    def outer(self, step: FutureStep) -> FutureStep:
        """Return the step with the directories that it really needs."""
        found = {one.ref: prefix for one in step.inputs if (prefix := self._covering(one.ref)) is not None}
        if not found:
            return step
        self._parts[step.id] = found
        inputs = {found.get(one.ref, one.ref): one for one in step.inputs}
        return replace(
            step,
            inputs=tuple(
                replace(one, ref=ref, size_bytes=None if ref in found.values() else one.size_bytes) for ref, one in inputs.items()
            ),
        )

    def shown(self, lease: Lease) -> Lease:
        """Return the lease with the objects that the step asked for."""
        parts = self._parts.get(lease.step)
        if parts is None:
            return lease
        paths, absent = dict(lease.paths), list(lease.absent)
        for ref, prefix in parts.items():
            path = Path(lease.paths.get(prefix, "/nonexistent")) / ref.path.removeprefix(prefix.path)
            if path.exists():
                paths[ref] = str(path)
            else:
                absent.append(ref)
        return replace(lease, paths=paths, absent=tuple(absent))

    def forget(self, step: StepId) -> None:
        """The step needs its lease no more."""
        self._parts.pop(step, None)

    def _covering(self, ref: ObjectRef) -> ObjectRef | None:
        core = self._core
        if ref in core.rows:
            return None
        for prefix in parents(ref):
            item = core.planner.item(prefix)
            if prefix in core.rows or (item is not None and item.uploading):
                return prefix
        return None
