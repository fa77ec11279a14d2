"""Whether all is as if nothing had gone wrong."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.chaos.shapes import BUCKET, Case
from benchmark.chaos.world import CAPACITY_BYTES, World
from benchmark.service import checked

WORKFLOWS = "/api/v1/workflows/default"


@dataclass
class Attempts:
    """The marks of one step: pods that began (each as often as it did), those that did their work, those that were to fail."""

    begun: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])
    first_line: int = 0
    last_line: int = 0


def attempts_of(marks: Path) -> dict[str, Attempts]:
    """Return the steps of a workflow that have left marks."""
    found: dict[str, Attempts] = defaultdict(Attempts)
    lines = marks.read_text().splitlines() if marks.exists() else []
    for number, line in enumerate(lines, start=1):
        what, step, pod = line.split()
        one = found[step]
        {"begin": one.begun, "end": one.ended, "fail": one.failed}[what].append(pod)
        if what == "begin":
            one.first_line = one.first_line or number
        elif what == "end":
            one.last_line = number
    return found


def steps_wrong(case: Case, found: dict[str, Attempts], killed: set[str]) -> Iterator[str]:
    """Say which steps ran more often than they had to, too early, or not at all. `killed`: numbers of pods that were killed."""
    for step in sorted(case.steps - found.keys()):
        yield f"{case.name}: step {step} has never run"
    for step in sorted(found.keys() - case.steps):
        yield f"{case.name}: step {step} has run, and should not"
    for step, one in found.items():
        twice = sorted({pod for pod in one.begun if one.begun.count(pod) > 1})
        if twice:
            yield f"{case.name}: step {step}: {', '.join(twice)} was started twice"
        alive = [pod for pod in one.begun if pod.rpartition("-")[2] not in killed]
        wasted = [pod for pod in alive if pod not in one.ended and pod not in one.failed]
        if case.phase == "Succeeded" and wasted:
            yield f"{case.name}: step {step}: {', '.join(wasted)} began, was not killed, and did not do its work"
        done = [pod for pod in one.ended if pod in alive]
        if len(done) > 1:
            yield f"{case.name}: step {step} was done by {', '.join(done)}, once would have been enough"
        if step not in case.fails and not one.ended:
            yield f"{case.name}: step {step} was never done"
        for before in case.after.get(step, ()):
            if before in found and one.first_line < _first_done(found[before]):
                yield f"{case.name}: step {step} began before {before} was done"


def _first_done(one: Attempts) -> int:
    return one.last_line if len(one.ended) == 1 else 0


def workflow_wrong(world: World, case: Case) -> Iterator[str]:
    """Say what is not as it has to be of one workflow that has ended."""
    answer = world.server.call("GET", f"{WORKFLOWS}/{case.name}")
    if answer.status_code != 200:
        yield f"{case.name}: it is lost: {answer.text[:200]}"
        return
    phase = answer.json()["status"].get("phase")
    if phase != case.phase:
        yield f"{case.name}: ended as {phase}, has to end as {case.phase}: {answer.json()['status'].get('message')}"
    for key, wanted in case.outputs.items():
        path = world.root / "far" / BUCKET / key
        if not path.is_file():
            yield f"{case.name}: its output {key} is not in the far store"
        elif path.read_bytes() != wanted:
            yield f"{case.name}: its output {key} is wrong"
    # The number at the end of a pod's name is that at the end of its node's id.
    killed = {key.rpartition("-")[2] for key in world.killed_pods}
    found = attempts_of(world.marks / case.name)
    yield from steps_wrong(case, found, killed)
    meant = killed | {pod.rpartition("-")[2] for one in found.values() for pod in one.failed}
    for node in answer.json()["status"]["nodes"].values():
        number = node["id"].rpartition("-")[2]
        if node["type"] == "Pod" and node["phase"] in {"Failed", "Error"} and number not in meant:
            yield f"{case.name}: {node['name']} ended as {node['phase']} and was not killed: {node.get('message')}"


def primary_wrong(world: World) -> Iterator[str]:
    """Say where the primary and its catalogue differ, and what is in it that should not be."""
    _compare(world)  # what was spoilt and was not read since is found now
    found: dict[str, Any] = _compare(world)
    for what in ("changed", "unproven", "strangers"):
        if found[what]:
            yield f"the primary and the catalogue differ: {what}: {found[what]}"
    fill: dict[str, int] = _resting(world)
    for what in ("dirty_bytes", "pinned_bytes", "strangers_bytes"):
        if fill[what]:
            yield f"{fill[what]} {what} are left in the primary, though nothing runs"
    really = world.used_bytes()
    if not fill["used_bytes"] == fill["resident_bytes"] == really:
        yield f"the primary holds {really} bytes, the catalogue says {fill['used_bytes']} used, {fill['resident_bytes']} resident"
    if fill["peak_bytes"] > CAPACITY_BYTES:
        yield f"the primary held {fill['peak_bytes']} bytes, it may hold {CAPACITY_BYTES}"
    if left := os.listdir(world.primary / "incoming"):
        yield f"unfinished transfers are left: {left}"


def _compare(world: World) -> dict[str, Any]:
    return checked(world.server.call("POST", "/data/v1/primary/check", {"hashes": True}))


def _resting(world: World) -> dict[str, int]:
    """Return how full the primary is once nothing moves any more."""
    until = time.monotonic() + 20
    while True:
        fill = world.server.get("/data/v1/primary")["fill"]
        if time.monotonic() > until or not (fill["dirty_bytes"] or fill["used_bytes"] != fill["resident_bytes"]):
            return fill
        time.sleep(0.2)


def leftovers(world: World) -> Iterator[str]:
    """Say which pods and processes are left; the server has been stopped."""
    if pods := os.listdir(world.home / "executor" / "pods"):
        yield f"pods are left below {world.home / 'executor'}: {pods}"
    until = time.monotonic() + 5
    while (strays := world.strays()) and time.monotonic() < until:
        time.sleep(0.1)
    for stray in strays:
        yield f"a process is left: {stray}"


def all_wrong(world: World, cases: Sequence[Case]) -> list[str]:
    """Return all that is wrong while the server runs."""
    return [*(one for case in cases for one in workflow_wrong(world, case)), *primary_wrong(world)]
