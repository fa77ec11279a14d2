"""One run of the demo's workflow on a server of its own, watched from outside."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from benchmark.demo.measure import Run, Step, Transfer
from benchmark.service import MeasurementError, Server, checked

NAMESPACE = "default"
FINAL = {"Succeeded", "Failed", "Error"}
SAMPLE_S = 0.03
STANDSTILL_S = 60.0
"""A run without an ended step for so long is given up."""
_DONE = re.compile(r"(\S+Z) \w+ done, ([\d.]+) s since the process started")


class Sampler:
    """Walks a directory again and again and keeps the most bytes that its files had together."""

    def __init__(self, folder: Path) -> None:
        """Watch a folder that may not be there yet."""
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, size_of(self._folder))


def size_of(folder: Path | str) -> int:
    """Return the bytes of all files below a folder, a file with several names once; what vanishes meanwhile does not count."""
    sizes: dict[int, int] = {}
    todo = [str(folder)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            stat = entry.stat(follow_symlinks=False)
                            sizes[stat.st_ino] = stat.st_size
        except FileNotFoundError:
            continue
    return sum(sizes.values())


@dataclass(kw_only=True)
class Plan:
    """How to run: the settings, the manifest with its parameters, and after how many ended steps the server is killed."""

    label: str
    home: Path
    settings: dict[str, Any]
    manifest: Path
    results: str
    bucket: Path
    kill_after_steps: int | None = None
    tell: Callable[[str], None] = field(default=print)


def run(plan: Plan) -> Run:
    """Run the workflow to its end, and read what the service recorded.

    Raises:
        MeasurementError: it did not succeed.
    """
    shutil.rmtree(plan.home, ignore_errors=True)
    server = Server(plan.home, plan.settings)
    watcher = _Watcher(plan, server)
    with Sampler(plan.home / "primary") as sampler, server:
        watcher.watch()
    began = watcher.began_at
    steps = [replace(step, asked_at=max(0, step.asked_at - began), **_moved(step, began)) for step in watcher.steps]
    transfers = sorted(
        (replace(each, **_moved(each, began)) for each in watcher.transfers.values()), key=lambda each: each.started_at
    )
    inbound = [transfer for transfer in transfers if transfer.direction == "in"]
    sizes = {transfer.name: transfer.size_bytes for transfer in inbound}
    twice = sum(transfer.size_bytes for transfer in inbound) - sum(sizes.values())
    fill = watcher.fill_at_end
    return Run(
        label=plan.label,
        began_at=began,
        makespan_s=watcher.ended_at - began,
        steps=steps,
        transfers=transfers,
        fill=sorted((at - began, used) for at, used in watcher.fill.items()),
        capacity_bytes=int(fill["capacity_bytes"]),
        service_peak_bytes=int(fill["peak_bytes"]),
        sampled_peak_bytes=sampler.peak_bytes,
        fetched_bytes=sum(transfer.size_bytes for transfer in inbound),
        fetched_twice_bytes=max(twice, int(fill["fetched_twice_bytes"])),
        killed_at=watcher.killed_at and watcher.killed_at - began,
        restarted_at=watcher.restarted_at and watcher.restarted_at - began,
        results=_digests(plan.bucket / plan.results),
    )


class _Watcher:
    """Submits the workflow and follows it over HTTP; kills and restarts the server in between if asked to."""

    def __init__(self, plan: Plan, server: Server) -> None:
        self._plan = plan
        self._server = server
        self.steps: list[Step] = []
        self.began_at = self.ended_at = 0.0
        self.killed_at: float | None = None
        self.restarted_at: float | None = None
        self.transfers: dict[tuple[str, str, float], Transfer] = {}
        self.fill: dict[float, int] = {}
        self.fill_at_end: dict[str, Any] = {}

    def watch(self) -> None:
        manifest = yaml.safe_load(self._plan.manifest.read_text())
        manifest["spec"]["arguments"]["parameters"] = [{"name": "results", "value": self._plan.results}]
        self._server.get("/api/v1/version")
        self.began_at = time.time()
        body = {"namespace": NAMESPACE, "workflow": manifest}
        answer = checked(self._server.call("POST", f"/api/v1/workflows/{NAMESPACE}", body))
        name = answer["metadata"]["name"]
        try:
            self._follow(name)
        except BaseException:
            # Pods outlive the server: they are ended before it.
            self._terminate(name)
            raise

    def _follow(self, name: str) -> None:
        path = f"/api/v1/workflows/{NAMESPACE}/{name}"
        told = last = -1
        moved_at = time.time()
        while True:
            status = self._server.get(path, fields="status.phase,status.progress,status.message").get("status") or {}
            now = time.time()
            done = int(str(status.get("progress") or "0/0").partition("/")[0])
            if done // 10 != told // 10:
                told = done
                self._plan.tell(f"{self._plan.label}: {now - self.began_at:5.1f} s, {done} steps done")
            if status.get("phase") in FINAL:
                break
            if done != last:
                last, moved_at = done, now
            if now - moved_at > STANDSTILL_S:
                raise MeasurementError(f"no step ended for {STANDSTILL_S:.0f} s; see {self._server.log}")
            if self._plan.kill_after_steps is not None and self.killed_at is None and done >= self._plan.kill_after_steps:
                self._kill_and_restart()
            time.sleep(0.1)
        self.ended_at = now
        self._collect()
        self.fill_at_end = self._primary()
        if status["phase"] != "Succeeded":
            raise MeasurementError(f"the workflow ended as {status['phase']}: {status.get('message')}; see {self._server.log}")
        self.steps = _steps(self._server, name, self._server.get(path)["status"]["nodes"])

    def _kill_and_restart(self) -> None:
        # What the service has recorded so far is read first: nothing of it may be lost, and that is compared afterwards.
        self._collect()
        before = len(self.transfers)
        self._server.kill()
        self.killed_at = time.time()
        self._plan.tell(f"{self._plan.label}: the server is killed (SIGKILL) …")
        self._server.start()
        self.restarted_at = time.time()
        self._plan.tell(f"{self._plan.label}: … and up again after {self.restarted_at - self.killed_at:.1f} s")
        self._collect()
        if len(self.transfers) < before:
            raise MeasurementError("records of transfers were lost")

    def _collect(self) -> None:
        timeline = self._server.get("/api/jit/v1/timeline", since=self.began_at - 1)
        for row in timeline["transfers"]:
            if row.get("outcome", "ok") != "ok":
                continue
            ref = row["ref"]
            name = ref if isinstance(ref, str) else f"{ref['remote']}:{ref['path']}"
            transfer = Transfer(
                name=name,
                direction=row["direction"],
                size_bytes=row["size_bytes"],
                started_at=row["started_at"],
                finished_at=row["finished_at"],
            )
            self.transfers[name, transfer.direction, transfer.started_at] = transfer
        for at, used in timeline["fill"]:
            self.fill[at] = used

    def _primary(self) -> dict[str, Any]:
        answer = self._server.get("/data/v1/primary")
        return answer.get("fill", answer)

    def _terminate(self, name: str) -> None:
        try:
            self._server.call("PUT", f"/api/v1/workflows/{NAMESPACE}/{name}/terminate", {"namespace": NAMESPACE, "name": name})
        except (httpx.HTTPError, OSError):
            return
        time.sleep(0.5)


def _steps(server: Server, name: str, nodes: dict[str, Any]) -> list[Step]:
    """Read when each pod ran from its log: the last line of a step tells how long its process has lived."""
    by_pod = {_pod_name(name, node): node for node in nodes.values() if node.get("type") == "Pod"}
    path = f"/api/v1/workflows/{NAMESPACE}/{name}/log"
    answer = server.call("GET", path, **{"logOptions.container": "main", "logOptions.timestamps": "true"})
    found: list[Step] = []
    for line in answer.text.splitlines():
        entry = json.loads(line.removeprefix("data:")) if line.strip() else {}
        entry = entry.get("result", entry)
        told = _DONE.match(str(entry.get("content", "")))
        node = by_pod.get(str(entry.get("podName", "")))
        if told and node:
            ended = _seconds(told[1])
            started = ended - float(told[2])
            found.append(
                Step(name=node["name"], template=node["templateName"], asked_at=0.0, started_at=started, finished_at=ended)
            )
    if len(found) != len(by_pod):
        raise MeasurementError(f"{len(by_pod)} pods ran, but the logs tell the times of {len(found)}")
    found.sort(key=lambda step: step.started_at)
    return [replace(step, asked_at=_asked_at(step, found)) for step in found]


def _pod_name(workflow: str, node: dict[str, Any]) -> str:
    """Return the pod's name as Argo's clients make it: the node's id with the template's name before its hash."""
    return f"{workflow}-{node['templateName']}-{node['id'].rpartition('-')[2]}"


def _seconds(text: str) -> float:
    """Return RFC 3339 with nanoseconds as seconds since the epoch."""
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def _asked_at(step: Step, steps: list[Step]) -> float:
    """Return when the last step ended that this one depends on: those of its own year, site or workflow that come before it."""
    scope = step.name.rpartition(".")[0]
    before = {"growth": "scene", "trend": "growth", "atlas": "trend"}.get(step.template)
    ends = [other.finished_at for other in steps if other.template == before and other.name.startswith(scope)]
    return max(ends, default=0.0)


def _moved(bar: Step | Transfer, began: float) -> dict[str, float]:
    return {"started_at": bar.started_at - began, "finished_at": bar.finished_at - began}


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
