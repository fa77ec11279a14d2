"""Pods that live in the world and outlive the server: they read their inputs, take their time, write their outputs, end."""

import asyncio
import hashlib
import json
import math
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from msgspec import Struct

from benchmark.simulate.far import LEFT
from benchmark.simulate.files import read_tree, write_file
from benchmark.simulate.world import Life, World
from jitflow.model.pods import CollectedArtifact, LogLine, Pod, PodEnd, PodKey, PodNews
from jitflow.ports.errors import Broken, FixRequest
from jitflow.ports.executor import EndListener, NewsListener


class Work(Struct, kw_only=True):
    """What a simulated command does, as its last argument says in JSON.

    `lasts_s`: how long it runs; `fails`: so many attempts end with 1; `attempt`: which one this is; `label`: goes into its
    outputs; `sizes`: bytes of each output artifact.
    """

    label: str = ""
    lasts_s: float = 1.0
    fails: int = 0
    attempt: str = "0"
    sizes: dict[str, int] = {}


class SimPod:
    """A pod and its parent."""

    def __init__(self, pod: Pod, started_at: float) -> None:
        self.pod = pod
        self.started_at = started_at
        self.end: PodEnd | None = None
        self.reads: dict[str, dict[str, bytes]] = {}
        self.lines: list[str] = []
        self.news: PodNews | None = None


Done = Callable[[SimPod], None]


LOOK_S = 0.5
"""How often a pod's parent looks whether the lease is over under which it runs."""


class Machine:
    """The machine's pods. `reading` names the files of the primary that running pods read, and how many do."""

    def __init__(self, world: World, folder: Path | None = None, skew_s: float = 0.0) -> None:
        self._world = world
        self._skew_s = skew_s
        self._folder = folder or world.folder / "pods"
        self.until = math.inf
        """Pods end at this time, as if they had never been started."""
        self.pods: dict[PodKey, SimPod] = {}
        self.logs: dict[PodKey, list[LogLine]] = {}
        self.reading: dict[str, int] = {}
        self.executor: SimExecutor | None = None
        self.started: dict[PodKey, int] = {}
        self.good: dict[PodKey, Pod] = {}
        """Pods that have ended well."""
        self.allow_again: Callable[[PodKey], bool] = lambda _: False
        self.runs_on: Callable[[PodKey], bool] = lambda _: False
        self.before_start: Callable[[PodKey], None] = lambda _: None

    @property
    def running(self) -> list[PodKey]:
        """The pods that have not ended."""
        return [key for key, one in self.pods.items() if one.end is None]

    def wall(self) -> float:
        """Return the time of day, as the machine's clock shows it."""
        return self._world.wall() + self._skew_s

    def start(self, pod: Pod) -> None:
        """Put a pod under its parent's care."""
        world = self._world
        if not pod.command and not pod.containers:
            raise FixRequest(f"pod {pod.name}: no command")
        if pod.key in self.pods:
            return
        if pod.key in self.good and not self.allow_again(pod.key):
            world.never(f"pod {pod.key} is started again, though it had ended well")
        self.before_start(pod.key)
        one = self.pods[pod.key] = SimPod(pod, self.wall())
        self.started[pod.key] = self.started.get(pod.key, 0) + 1
        self.logs.setdefault(pod.key, [])
        world.tell(f"pod {pod.key} begins")
        for item in pod.inputs:
            one.reads[item.name] = read_tree(Path(item.source))
            if not one.reads[item.name]:
                world.never(f"pod {pod.key}: its input {item.name} is not there: {item.source}")
            if any(data.startswith(LEFT) for data in one.reads[item.name].values()):
                world.never(f"pod {pod.key}: its input {item.name} is what a failed upload has left")
            self.reading[item.source] = self.reading.get(item.source, 0) + 1
        work = work_of(pod)
        if work is not None:
            fails = int(work.attempt or 0) < work.fails
            world.after(work.lasts_s, lambda: self._work_done(one, 1 if fails else 0))
        if self.until < math.inf:
            self._look_later(one)

    def _work_done(self, one: SimPod, exit_code: int) -> None:
        if self.pods.get(one.pod.key) is one:
            self.finish(one.pod.key, exit_code=exit_code)

    # -- the lease ---------------------------------------------------------------------------------------------------------

    def let_run(self, until: float) -> None:
        """Let pods run until a time."""
        self.until = until

    def _look_later(self, one: SimPod) -> None:
        """Let a pod's parent look at the lease; what it sees before the time that was written does not matter."""
        world = self._world
        world.at(max(world.now, self.until) + LOOK_S * world.chance(), lambda: self._look(one))

    def _look(self, one: SimPod) -> None:
        if one.end is not None or self.pods.get(one.pod.key) is not one:
            return
        if self._world.now < self.until:
            self._look_later(one)
            return
        self._world.tell(f"pod {one.pod.key} ends with its lease")
        self.vanish(one)

    def vanish(self, one: SimPod) -> None:
        """Let a pod be as if it had never been started; who watches it sees that its parent is gone."""
        key = one.pod.key
        if one.end is None:
            self._let_go(one)
        del self.pods[key]
        shutil.rmtree(self.folder(key), ignore_errors=True)
        if self.executor is not None:
            self.executor.lose(key)

    def discard(self) -> None:
        """Forget all pods, and what became of them."""
        for one in list(self.pods.values()):
            self.vanish(one)
        self.good.clear()

    def stop(self) -> None:
        """Stop the machine: what runs is lost, and what has ended stays."""
        for key in self.running:
            self.finish(key, exit_code=None, error="the machine was stopped")

    def _let_go(self, one: SimPod) -> None:
        for item in one.pod.inputs:
            self.reading[item.source] -= 1
            if not self.reading[item.source]:
                del self.reading[item.source]

    def finish(self, key: PodKey, *, exit_code: int | None = 0, terminated: bool = False, error: str = "") -> None:
        """End a pod that runs."""
        one = self.pods.get(key)
        if one is None or one.end is not None:
            return
        world, pod = self._world, one.pod
        if not terminated and self.runs_on(key):
            world.never(f"pod {key} ran on though its workflow had ended")
        for item in pod.inputs:
            if read_tree(Path(item.source)) != one.reads[item.name]:
                world.never(f"pod {key}: its input {item.name} changed while it ran: {item.source}")
        self._let_go(one)
        lost = world.plan.takes("pod lost", world.now)
        if lost is not None and exit_code == 0:
            world.injected["pod lost"] += 1
            exit_code, error = None, "the pod's parent is gone"
        artifacts = self._write(one) if exit_code == 0 else ()
        lines = "\n".join(one.lines)
        one.end = PodEnd(
            key=key,
            exit_code=exit_code,
            error=error,
            started_at=one.started_at,
            finished_at=self.wall(),
            terminated=terminated,
            artifacts=artifacts,
            missing=() if exit_code == 0 else tuple(output.name for output in pod.outputs),
            result=lines if pod.capture_result else None,
        )
        if exit_code == 0:
            self.good[key] = pod
        world.tell(f"pod {key} ends with {exit_code}")
        if self.executor is not None:
            self.executor.hear(one)

    def _write(self, one: SimPod) -> tuple[CollectedArtifact, ...]:
        pod, work = one.pod, work_of(one.pod)
        assert work is not None, "who ends by itself has work"
        inputs = {name: b"|".join(files.values()) for name, files in one.reads.items()}
        written: list[CollectedArtifact] = []
        for output in pod.outputs:
            target = self.folder(pod.key) / "outputs" / output.name
            size = work.sizes.get(output.name, 100)
            write_file(target, made(work.label, output.name, inputs), size)
            written.append(CollectedArtifact(name=output.name, source=str(target), size_bytes=size))
        return tuple(written)

    def folder(self, key: PodKey) -> Path:
        """Return a pod's directory."""
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    def forget(self, key: PodKey) -> None:
        """Remove an ended pod but its log."""
        one = self.pods.get(key)
        if one is not None and one.end is not None:
            del self.pods[key]
            if os.path.isdir(self.folder(key)):
                shutil.rmtree(self.folder(key))


def made(label: str, output: str, inputs: dict[str, bytes]) -> bytes:
    """Return what the output of a step begins with: it follows from the step and what that has read."""
    digest = hashlib.sha256(f"{label} {output}".encode())
    for name in sorted(inputs):
        digest.update(name.encode() + b"\0" + inputs[name])
    return b"made " + digest.hexdigest().encode()


def work_of(pod: Pod) -> Work | None:
    """Return what a pod does by itself; None: it runs until it is told to end, or is no pod of a simulated workflow."""
    if len(pod.command) < 3 or pod.command[0] != "sim":
        env = dict(pod.env)
        return None if "CONTRACT_LONG" in env else Work(lasts_s=0.01)
    work = Work(**json.loads(pod.command[1]))
    work.attempt = pod.command[2]
    return work


class SimExecutor:
    """The executor of one process, over a machine that outlives it."""

    def __init__(self, world: World, life: Life, machine: Machine) -> None:
        self._world = world
        self._life = life
        self._machine = machine
        self._on_end: EndListener | None = None
        self._on_news: NewsListener | None = None
        self._known: set[PodKey] = set()
        self.on_lost: Callable[[Life], None] = lambda _: None
        """Told of each process that hears that a pod came to no end of its own."""
        machine.executor = self

    async def open(self, on_end: EndListener, on_news: NewsListener | None = None) -> None:
        self._on_end, self._on_news = on_end, on_news

    async def close(self) -> None:
        self._on_end = self._on_news = None
        self._known.clear()

    async def adopt(self) -> Sequence[PodKey]:
        return await self._world.effect(self._life, "pods.adopt", self._adopt)

    def _adopt(self) -> Sequence[PodKey]:
        for key in self._machine.pods:
            self._take(key)
        return list(self._machine.pods)

    def _take(self, key: PodKey) -> None:
        if key in self._known:
            return
        self._known.add(key)
        one = self._machine.pods[key]
        if one.end is not None:
            self.hear(one)

    async def start(self, pod: Pod) -> None:
        await self._world.effect(self._life, f"pods.start {pod.key}", lambda: self._start(pod), 0.1)

    def _start(self, pod: Pod) -> None:
        if self._world.plan.takes("pod not started", self._world.now):
            self._world.injected["pod not started"] += 1
            raise Broken("the pod's parent could not be started")
        if pod.key in self._machine.pods:
            self._take(pod.key)
            return
        if self._machine.until <= self._world.now:  # the parent sees it, and the pod has never been
            self._known.add(pod.key)
            self.lose(pod.key)
            return
        if self._world.life is not self._life:
            self._world.never(f"[{self._life.number}] starts pod {pod.key} and does not lead")
        self._machine.start(pod)
        self._known.add(pod.key)

    async def terminate(self, key: PodKey, grace_s: float | None = None) -> None:
        await self._world.effect(self._life, f"pods.terminate {key}", lambda: self._terminate(key))

    def _terminate(self, key: PodKey) -> None:
        self._world.after(self._world.latency(1.0), lambda: self._machine.finish(key, exit_code=143, terminated=True))

    async def forget(self, key: PodKey) -> None:
        await self._world.effect(self._life, f"pods.forget {key}", lambda: self._machine.forget(key))
        self._known.discard(key)

    def hear(self, one: SimPod) -> None:
        """A pod has ended: tell the process, a moment later, if it lives then."""
        if not self._life.alive or self._on_end is None or one.pod.key not in self._known or one.end is None:
            return
        times = 1
        if self._world.plan.takes("end told twice", self._world.now):
            self._world.injected["end told twice"] += 1
            times = 2
        for _ in range(times):
            self._life.loop.call_later(self._world.latency(0.2), self._tell, one.end)

    def _tell(self, end: PodEnd) -> None:
        if self._on_end is None:
            return
        if end.exit_code is None:
            self.on_lost(self._life)
        self._on_end(end)

    def lose(self, key: PodKey) -> None:
        """A pod's parent is gone without a word."""
        if not self._life.alive or self._on_end is None or key not in self._known:
            return
        now = self._machine.wall()
        end = PodEnd(key=key, exit_code=None, error="the pod's parent is gone", started_at=now, finished_at=now)
        self._life.loop.call_later(self._world.latency(0.2), self._tell, end)

    async def logs(self, key: PodKey, *, container: str = "main", follow: bool = False) -> AsyncIterator[LogLine]:
        del container
        at = 0
        while True:
            one = self._machine.pods.get(key)
            lines = self._machine.logs.get(key, [])
            for line in lines[at:]:
                yield line
            at = len(lines)
            if not follow or one is None or one.end is not None:
                return
            await asyncio.sleep(0.1)

    async def delete_logs(self, keys: Sequence[PodKey]) -> None:
        for key in keys:
            self._machine.logs.pop(key, None)
