"""What must hold when everything has come to its end."""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmark.simulate.files import read_tree
from benchmark.simulate.people import People
from benchmark.simulate.server import Site
from benchmark.simulate.workload import Expected
from jitflow import machine
from jitflow.dataplane import records


def unfinished(site: Site, people: People) -> list[str]:
    """Return the workflows that have not ended, or are not there yet."""
    missing = [one.name for one in site.load.workflows if not people.rows(one.name) and one.name not in people.deleted]
    running = [run.row.name for run in site.state._runs.values() if run.row.finished_at is None]
    return missing + running


def at_the_end(site: Site, people: People) -> Iterator[str]:
    """Yield everything that is not as it has to be."""
    for one in site.load.workflows:
        yield from _workflow(site, people, one)
    yield from _machine(site)
    yield from _primary(site)
    yield from _books(site)


def _workflow(site: Site, people: People, one: Expected) -> Iterator[str]:
    rows = [row for row in people.rows(one.name) if row.name == one.name]
    if len(rows) > 1:
        yield f"{one.name} was created {len(rows)} times"
    for row in rows:
        free = one.name in people.steered or site.world.plan.hurt
        if row.phase != one.phase and not (free and row.phase in {"Succeeded", "Failed", "Error"}):
            yield f"{one.name} ended as {row.phase}, not {one.phase}: {_nodes(site, row.uid)}"
        if row.phase == "Succeeded" and one.phase == "Succeeded":
            yield from _outputs(site, one)


def _outputs(site: Site, one: Expected) -> Iterator[str]:
    for ref, expected in one.outputs.items():
        blob = site.stores.objects[ref.remote].get(ref.path)
        found = b"" if blob is None else blob.data + f" {blob.size}".encode()
        if found != expected:
            yield f"{ref} holds {found!r}, not {expected!r}"


def _machine(site: Site) -> Iterator[str]:
    for place in site.places:
        if place is not site.place and (left := place.machine.running):
            yield f"pods run on where nobody leads: {left}"
    for key, pod in site.machine.pods.items():
        yield f"pod {key} is left over, {'running' if pod.end is None else 'ended'}"
    pods = site.place.folder / "pods"
    for entry in os.listdir(pods) if pods.is_dir() else ():
        yield f"a pod's directory is left over: {entry}"


def _primary(site: Site) -> Iterator[str]:
    world = site.world
    dataplane = world.life.dataplane if world.life is not None else None
    if dataplane is None:
        yield "no server runs"
        return
    core = dataplane._core
    root = site.place.folder / "primary"
    there = {str(path.relative_to(root)) for path in (root / "objects").glob("*/*")}
    rows = {row.location: row for row in core.rows.snapshot()}
    for location in sorted(there - rows.keys()):
        yield f"{location} is in the primary, and not in the catalogue"
    for location, row in rows.items():
        if location not in there:
            yield f"{row.ref} is in the catalogue, and not in the primary"
        elif sum(map(_size, read_tree(root / location).values())) != row.size_bytes:
            yield f"{row.ref} has another size in the catalogue than in the primary"
        elif row.dirty and not site.world.plan.hurt:
            yield f"{row.ref} is still dirty"
    begun = {Path(location).name for location in core_begun(dataplane)}
    for name in os.listdir(root / "incoming"):
        if name not in begun:
            yield f"incoming/{name} is left over"
    unsent = site.place.folder / "unsent"
    if unsent.is_dir() and os.listdir(unsent) and not site.world.plan.hurt:
        yield f"unsent outputs are left over: {os.listdir(unsent)}"
    yield from core.planner.audit()


def core_begun(dataplane: object) -> list[str]:
    """Return the locations of objects of which a part has come."""
    return list(dataplane._transfers._begun.values())  # type: ignore[attr-defined]


def _books(site: Site) -> Iterator[str]:
    for run in site.state._runs.values():
        # That it was closed is known by its end, and what was to be killed may have been about to start: both stay.
        if left := sorted(key for key in run.effects if key != "close" and not key.startswith("kill/")):
            yield f"{run.row.name} has ended with open effects: {left}"
    documents = site.place.near._documents
    for key in documents.get(records.LEASE, {}):
        yield f"the lease of {key} was not given back"
    if not site.world.plan.hurt:
        for key in documents.get(records.STAGEOUT, {}):
            yield f"the promise of {key} was not forgotten: {documents[records.STAGEOUT][key]!r}"


def _size(seen: bytes) -> int:
    return int(seen.rpartition(b" ")[2])


def _nodes(site: Site, uid: str) -> str:
    """Return the nodes of a run that did not succeed."""
    nodes = [machine.decode_node(body) for body in site.state._runs[uid].nodes.values()]
    return "; ".join(f"{node.name} {node.phase}: {node.message}" for node in nodes if node.phase not in {"Succeeded", "Omitted"})


def waits(site: Site) -> str:
    """Return what steps wait for, and where nodes stand that have not ended."""
    life = site.world.life
    if life is None or life.dataplane is None:
        return "no server runs"
    plane = life.dataplane
    steps = [f"{step} waits: {plane._progress.reason(step)}" for step in plane._leases._waiting]
    items = [
        f"{item.ref} {item.state} {item.bytes} claims {item.claims} dirty {item.dirty}" for item in plane._core.planner._items
    ]
    nodes = [_nodes(site, run.row.uid) for run in site.state._runs.values() if run.row.finished_at is None]
    return "; ".join([*steps, *items, *nodes, str(plane._core.planner.bytes)])
