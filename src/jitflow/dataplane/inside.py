"""Directories and what lies in them: parts are read from the whole's copy, wholes wait for their parts."""

from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from msgspec.structs import replace

from jitflow.dataplane.core import Core
from jitflow.model.data import FutureStep, ObjectRef, Replica, StepId, WorkflowUid
from jitflow.ports.dataplane import Lease


def parents(ref: ObjectRef) -> list[ObjectRef]:
    """Return the prefixes around an object, the nearest first, the remote's root left out."""
    parts = ref.path.rstrip("/").split("/")[:-1]
    return [ObjectRef(remote=ref.remote, path="/".join(parts[:count]) + "/") for count in range(len(parts), 0, -1)]


@lru_cache(4096)
def _around(remote: str, folder: str) -> tuple[ObjectRef, ...]:
    """Return the prefixes around what lies in a folder, the nearest first."""
    return tuple(parents(ObjectRef(remote=remote, path=f"{folder}/x")))


def lies_below(ref: ObjectRef, prefix: ObjectRef) -> bool:
    """Return whether an object is part of a directory."""
    return ref.remote == prefix.remote and ref.path.startswith(prefix.path)


def lies_in(ref: ObjectRef, written: Container[ObjectRef]) -> bool:
    """Return whether an object is among those written, or may be below one of them that turns out to be a directory."""
    if ref in written:
        return True
    return any(
        prefix in written or ObjectRef(remote=prefix.remote, path=prefix.path.rstrip("/")) in written for prefix in parents(ref)
    )


def below(ref: ObjectRef) -> ObjectRef:
    """Return the prefix of everything below an object's name."""
    return ObjectRef(remote=ref.remote, path=ref.path.rstrip("/") + "/")


class Gathered:
    """Directories that steps of a workflow write into and others read as a whole.

    Such an input is not fetched ahead and not taken from an older copy: it is looked up when its reader asks, and only when
    everything that was written below it so far is proven far away.
    """

    def __init__(self, core: Core, pending: Callable[[], Iterable[ObjectRef]], send: Callable[[ObjectRef], None]) -> None:
        """`pending` gives the outputs that are not proven yet; `send` wants one to be, though it may stay in the primary."""
        self._core = core
        self._pending = pending
        self._send = send
        self._written: dict[WorkflowUid, set[ObjectRef]] = {}
        self._held: dict[StepId, tuple[WorkflowUid, FutureStep]] = {}

    def announced(self, uid: WorkflowUid, steps: Sequence[FutureStep]) -> Sequence[FutureStep]:
        """Return the steps without the inputs that other steps of the workflow still write into, or have written into."""
        around = {prefix for step in steps for output in step.outputs for prefix in parents(output.ref)}
        around |= self._written.get(uid, set())
        if not around:
            return steps
        return [
            replace(step, inputs=tuple(one for one in step.inputs if below(one.ref) not in around))
            if any(below(one.ref) in around for one in step.inputs)
            else step
            for step in steps
        ]

    def wrote(self, uid: WorkflowUid, outputs: Iterable[ObjectRef]) -> None:
        """A step of the workflow has written these."""
        self._written.setdefault(uid, set()).update(prefix for ref in outputs for prefix in parents(ref))

    def holds(self, uid: WorkflowUid, step: FutureStep) -> bool:
        """Return whether the step must wait for outputs below its inputs; what is known of those inputs is forgotten."""
        written = self._written.get(uid, set())
        gathered = [one.ref for one in step.inputs if below(one.ref) in written]
        if not gathered:
            return False
        prefixes = {below(ref) for ref in gathered}
        awaited = [ref for ref in self._pending() if any(prefix in prefixes for prefix in parents(ref))]
        if awaited:
            for ref in awaited:
                self._send(ref)
            self._held[step.id] = (uid, step)
            return True
        written -= prefixes
        for ref in gathered:
            self._core.infos.pop(ref, None)
            if ref in self._core.rows:
                self._core.planner.changed(ref)
        return False

    def waits(self, step: StepId) -> bool:
        """Return whether a step is held."""
        return step in self._held

    def released(self) -> list[tuple[WorkflowUid, FutureStep]]:
        """Return the held steps, to be asked for again, for something was proven."""
        held, self._held = list(self._held.values()), {}
        return held

    def forget(self, step: StepId) -> None:
        """The step needs its lease no more."""
        self._held.pop(step, None)

    def withdraw(self, uid: WorkflowUid) -> None:
        """The workflow has ended."""
        self._written.pop(uid, None)
        for step in [step for step, (owner, _) in self._held.items() if owner == uid]:
            del self._held[step]


class Inside:
    """Objects that lie in a directory whose copy is here, or is just being written, are read from that copy.

    Asks for the directory instead of what lies in it, and shows each step its own part of the lease.
    """

    def __init__(self, core: Core) -> None:
        """Look at the catalogue and the planner of `core`."""
        self._core = core
        self._parts: dict[StepId, dict[ObjectRef, ObjectRef]] = {}
        self._asked: dict[StepId, frozenset[ObjectRef]] = {}
        """What the steps above have asked for themselves."""

    def outer(self, step: FutureStep) -> FutureStep:
        """Return the step with the directories that it really needs."""
        found: dict[ObjectRef, ObjectRef] = {}
        for one in step.inputs:
            if one.near is None and (prefix := self._covering(one.ref)) is not None:
                found[one.ref] = prefix
        if not found:
            return step
        self._parts[step.id] = found
        self._asked[step.id] = frozenset(one.ref for one in step.inputs)
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

    def read(self, step: StepId, row: Replica, path: str) -> tuple[list[tuple[Replica, str]], list[ObjectRef]]:
        """Return what a step reads of a replica that lies at a path, and what of it is not there.

        Of a directory that it has not asked for: the files that it did ask for, as they lie in it. The far store's version of
        those is not known: it told one of the directory.
        """
        own = [ref for ref, prefix in self._parts.get(step, {}).items() if prefix == row.ref]
        if not own or any(ref.is_prefix for ref in own):
            return [(row, path)], []
        found = [(row, path)] if row.ref in self._asked[step] else []
        absent: list[ObjectRef] = []
        for ref in own:
            name = ref.path.removeprefix(row.ref.path)
            try:
                size = Path(path, name).stat().st_size
            except OSError:
                absent.append(ref)
                continue
            # Its place is told apart from those that it had in earlier versions of the directory.
            place = f"{row.location}@{row.version}/{name}"
            part = Replica(ref=ref, size_bytes=size, state=row.state, location=place)
            found.append((part, str(Path(path, name))))
        return found, absent

    def forget(self, step: StepId) -> None:
        """The step needs its lease no more."""
        self._parts.pop(step, None)
        self._asked.pop(step, None)

    def _covering(self, ref: ObjectRef) -> ObjectRef | None:
        core = self._core
        if ref in core.rows:
            return None
        folder = ref.path.rstrip("/").rpartition("/")[0]
        for prefix in _around(ref.remote, folder) if folder else ():
            item = core.planner.item(prefix)
            # An output is dirty from when it is taken in until it is proven; it has no row yet while it is moved.
            if prefix in core.rows or (item is not None and (item.uploading or item.dirty)):
                return prefix
        return None
