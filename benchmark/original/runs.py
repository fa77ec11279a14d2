"""One run of a cell: submitted, followed to its end, and read from the logs of its steps and the service's records."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from benchmark.original import manifests
from benchmark.original.cells import BY_JITFLOW, ORIGINAL, Cell
from benchmark.original.measure import Row, Step, parts
from benchmark.original.replicator import Replicator
from benchmark.original.world import World
from benchmark.service import MeasurementError, Server, checked

_WORKFLOWS = "/api/v1/workflows/default"
_EVENTS = "/api/v1/workflow-events/default"
_FIELDS = "result.type,result.object.metadata.name,result.object.status.phase,result.object.status.message"
_FINAL = {"Succeeded", "Failed", "Error"}


def run(world: World, cell: Cell, *, number: int, order: int, work_s: float) -> Row:
    """Prepare, measure, read.

    Raises:
        MeasurementError: the workflow did not succeed, or its records are not complete.
    """
    world.prepare(cell)
    file_set, server = world.sets[cell.set], world.server(cell.way)
    first = file_set.files[0]
    first_transfer_s = world.probe.seconds(f"{manifests.BUCKET}/{cell.set}/{first.name}")
    document = manifests.manifest(cell, file_set, work_s=work_s)
    with _replicator(world, cell) as replicator:
        name, began_at, ended_at = _follow(server, document, replicator)
    steps = _steps(server, name)
    if len(steps) != len(file_set.files):
        raise MeasurementError(f"{cell}: {len(file_set.files)} steps ran, but the logs tell the times of {len(steps)}")
    moved = _transfers(server, began_at) if cell.way in BY_JITFLOW else []
    split = parts((began_at, ended_at), steps, [interval for interval, _ in moved])
    checked(server.call("DELETE", f"{_WORKFLOWS}/{name}"))
    return Row(
        set=cell.set, mode=cell.mode, way=cell.way, fill=cell.fill, round=number, order=order, steps=len(steps),
        seconds=round(ended_at - began_at, 4), work_s=round(split.work_s, 4), transfer_s=round(split.transfer_s, 4),
        overhead_s=round(split.overhead_s, 4), step_overhead_ms=round(1000 * split.overhead_s / len(steps), 3),
        fetched_bytes=sum(size for _, size in moved), first_transfer_s=round(first_transfer_s, 4),
    )  # fmt: skip


@contextmanager
def _replicator(world: World, cell: Cell) -> Iterator[Replicator | None]:
    acting = (
        Replicator(
            rclone=world.rclone,
            environment=world.environment,
            files=world.sets[cell.set].files,
            far=f"far:{manifests.BUCKET}/{cell.set}",
            near=f"near:{manifests.NEAR_BUCKET}",
        )
        if cell.way == ORIGINAL
        else nullcontext()
    )
    with acting as replicator:
        yield replicator


def _follow(server: Server, document: dict[str, Any], replicator: Replicator | None) -> tuple[str, float, float]:
    """Submit, and return the workflow's name and when it was submitted and had ended."""
    with server.events(_EVENTS, fields=_FIELDS) as events:
        began_at = time.time()
        answer = checked(server.call("POST", _WORKFLOWS, {"namespace": "default", "workflow": document}))
        name = answer["metadata"]["name"]
        for event in events:
            workflow = event.get("object") or {}
            if (workflow.get("metadata") or {}).get("name") != name:
                continue
            if replicator:
                replicator.event()
            status = workflow.get("status") or {}
            if status.get("phase") in _FINAL:
                if status["phase"] != "Succeeded":
                    raise MeasurementError(f"{name} ended as {status['phase']}: {status.get('message')}; see {server.log}")
                return name, began_at, time.time()
    raise MeasurementError(f"the server told of no end of {name}; see {server.log}")


def _steps(server: Server, name: str) -> list[Step]:
    """Read from the logs when each step began, had its file and was done."""
    answer = server.call("GET", f"{_WORKFLOWS}/{name}/log", **{"logOptions.container": "main", "logOptions.timestamps": "true"})
    told: dict[str, dict[str, float]] = {}
    for line in answer.text.splitlines():
        entry = json.loads(line.removeprefix("data:")) if line.strip() else {}
        entry = entry.get("result", entry)
        at, _, word = str(entry.get("content", "")).partition(" ")
        if word in {"began", "here", "done"}:
            told.setdefault(str(entry.get("podName")), {})[word] = seconds(at)
    return [
        Step(began_at=one["began"], here_at=one["here"], done_at=one["done"])
        for one in told.values()
        if one.keys() == {"began", "here", "done"}
    ]


def seconds(text: str) -> float:
    """Return RFC 3339 with nanoseconds as seconds since the epoch."""
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def _transfers(server: Server, since: float) -> list[tuple[tuple[float, float], int]]:
    """Return when the service fetched what since then."""
    records = server.get("/api/jit/v1/timeline", since=since)["transfers"]
    return [
        ((one["started_at"], one["finished_at"]), one["size_bytes"])
        for one in records
        if one["direction"] == "in" and one.get("outcome", "ok") == "ok"
    ]
