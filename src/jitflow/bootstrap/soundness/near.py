"""What lies on this machine's disk: the primary's files and its catalogue, leases, promises, and the pods' directories."""

import asyncio
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from jitflow.bootstrap.soundness.findings import Finding, Mend, Scene, Workflows, finding, removal
from jitflow.dataplane import catalogue, records
from jitflow.dataplane.names import is_location
from jitflow.dataplane.primary import delete, look, measure, same
from jitflow.model.data import Replica
from jitflow.stores import REPAIR

T = TypeVar("T")
Documents = Mapping[str, Sequence[tuple[str, bytes]]]


def near_findings(scene: Scene, documents: Documents, workflows: Workflows) -> Iterator[Finding]:
    """Return what does not fit together of what is near."""
    replicas = dict(_read(documents, records.REPLICA, catalogue.unpack))
    outputs = [
        (key, one, output) for key, one in _read(documents, records.STAGEOUT, _json(records.Obligation)) for output in one.outputs
    ]
    begun = {
        one.location
        for _, one in _read(documents, records.BEGUN, lambda _, body: msgspec.json.decode(body, type=records.BegunDoc))
    }
    promised = {output.location for _, _, output in outputs if output.location}
    if scene.primary is not None:
        yield from _replicas(scene.primary, replicas)
        yield from _files(scene.primary, {row.location for row in replicas.values()} | promised | begun)
        yield from _outputs(scene.primary, outputs)
    yield from _places(replicas)
    total = sum(row.size_bytes for row in replicas.values())
    if scene.capacity_bytes and total > scene.capacity_bytes:
        said = f"the catalogue tells of {total:,} bytes, the capacity is {scene.capacity_bytes:,}"
        yield finding("the primary", said, "let primary.capacity be larger, or start the server: it makes room")
    yield from _leases(documents, workflows)
    if scene.pods is not None:
        yield from _pods(scene.pods, workflows)


def _json(kind: type[T]) -> Callable[[str, bytes], T]:
    decode = msgspec.json.Decoder(kind).decode
    return lambda _, body: decode(body)


def _read(documents: Documents, kind: str, read: Callable[[str, bytes], T]) -> Iterator[tuple[str, T]]:
    """Return the documents of a kind that can be read; of the others it is told elsewhere."""
    for key, body in documents.get(kind, ()):
        try:
            yield key, read(key, body)
        except Exception:
            continue


def _replicas(primary: Path, rows: Mapping[str, Replica]) -> Iterator[Finding]:
    for name, row in rows.items():
        held = look(primary / row.location)
        if same(row, held):
            continue
        said = "its file is gone" if held.size_bytes < 0 else f"its file is not what it was ({held.size_bytes:,} bytes)"
        where = f"replica {name} ({row.location})"
        if row.dirty:
            remedy = "its far store has not got it yet: run the step again, or put the file back; then start the server"
            yield finding(where, said, remedy)
        else:
            yield finding(
                where, said, f"{REPAIR}: it is forgotten, and fetched again when it is needed", _forgetting(name, row.location)
            )


def _forgetting(name: str, location: str) -> Mend:
    async def mend(scene: Scene) -> None:
        assert scene.near is not None
        await scene.near.put(records.REPLICA, [(name, None)])
        if scene.primary is not None and is_location(location):
            await asyncio.to_thread(delete, scene.primary / location)

    return mend


def _places(rows: Mapping[str, Replica]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, row in rows.items():
        other = first.setdefault(row.location, name)
        if other != name and not row.dirty:
            said = f"it is at the place of {other}"
            yield finding(f"replica {name}", said, f"{REPAIR}: it is forgotten", removal(records.REPLICA, name, near=True))


def _files(primary: Path, known: Collection[str]) -> Iterator[Finding]:
    objects = primary / "objects"
    if not objects.is_dir():
        return
    for shelf in sorted(os.listdir(objects)):
        names = os.listdir(objects / shelf) if (objects / shelf).is_dir() else []
        for location in (f"objects/{shelf}/{name}" for name in sorted(names)):
            if location not in known and is_location(location):
                said = f"{measure(primary / location):,} bytes that the catalogue does not know"
                yield finding(f"file {location} of the primary", said, f"{REPAIR}: it is removed", _deleting(location))


def _deleting(location: str) -> Mend:
    async def mend(scene: Scene) -> None:
        assert scene.primary is not None
        await asyncio.to_thread(delete, scene.primary / location)

    return mend


def _outputs(primary: Path, outputs: Sequence[tuple[str, records.Obligation, records.OutputDoc]]) -> Iterator[Finding]:
    for key, _, output in outputs:
        if output.location and not output.is_closed and measure(primary / output.location) < 0:
            said = f"output {output.ref} is to be sent, and its file is gone"
            yield finding(f"promise {key}", said, "run the step again: there is no other copy")


def _leases(documents: Documents, workflows: Workflows) -> Iterator[Finding]:
    for key, lease in _read(documents, records.LEASE, _json(records.LeaseDoc)):
        if workflows.are_done_with(lease.uid):
            said = "it holds objects for a workflow that has ended or is not there"
            yield finding(f"lease {key}", said, f"{REPAIR}: it is given back", removal(records.LEASE, key, near=True))


def _pods(folder: Path, workflows: Workflows) -> Iterator[Finding]:
    for pod in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if workflows.lack(pod.partition(".")[0]) and not _is_alive(folder / pod):
            yield finding(
                f"pod {pod}", "it is of a workflow that is not there", f"{REPAIR}: what it has left is removed", _clearing(pod)
            )


def _is_alive(pod: Path) -> bool:
    try:
        return Path("/proc", os.readlink(pod / "parent").split()[0]).exists()
    except OSError:
        return False


def _clearing(pod: str) -> Mend:
    async def mend(scene: Scene) -> None:
        assert scene.pods is not None
        await asyncio.to_thread(shutil.rmtree, scene.pods / pod, ignore_errors=True)

    return mend
