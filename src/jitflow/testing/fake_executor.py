"""An executor in memory: pods end as a script says, or when the test says so."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec import Struct

from jitflow.model.pods import LogLine, Pod, PodEnd, PodKey, PodNews
from jitflow.ports.errors import FixRequest
from jitflow.ports.executor import EndListener, NewsListener


class ScriptedEnd(Struct, frozen=True, kw_only=True):
    """How a pod of the fake goes: it prints `lines` to stdout and ends with `exit_code`; `end` replaces the whole end."""

    lines: tuple[str, ...] = ()
    exit_code: int = 0
    end: PodEnd | None = None


Script = Callable[[Pod], ScriptedEnd | None]
"""Says how a pod goes, or None: it runs until `finish` or `terminate`."""


class _FakePod:
    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.started_at = time.time()
        self.end: PodEnd | None = None
        self.news: PodNews | None = None


class FakeMachine:
    """What outlives a fake executor: its pods and their logs. `started` counts the starts of each key."""

    def __init__(self) -> None:
        self.pods: dict[PodKey, _FakePod] = {}
        self.logs: dict[PodKey, list[LogLine]] = {}
        self.started: dict[PodKey, int] = {}


class FakeExecutor:
    """Implements the executor port in memory.

    Args:
        script: how each pod goes; without one, pods run until `finish` or `terminate`.
        machine: where pods live on when the executor is closed; give two executors the same to restart one.
    """

    def __init__(self, script: Script | None = None, machine: FakeMachine | None = None) -> None:
        self.machine = machine or FakeMachine()
        self._script = script
        self._listener: EndListener | None = None
        self._news_listener: NewsListener | None = None
        self._known: set[PodKey] = set()
        self._changed: asyncio.Event | None = None

    async def open(self, on_end: EndListener, on_news: NewsListener | None = None) -> None:
        """Begin to deliver ends and news."""
        self._listener, self._news_listener = on_end, on_news
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Stop listening; pods stay as they are."""
        self._listener = self._news_listener = None
        self._known.clear()

    async def adopt(self) -> Sequence[PodKey]:
        """Return the keys of all pods not forgotten; deliver those that have ended."""
        for key in list(self.machine.pods):
            self._take(key)
        return list(self.machine.pods)

    async def start(self, pod: Pod) -> None:
        """Start the pod as the script says, once for each key."""
        if not pod.command and not pod.containers:
            raise FixRequest(f"pod {pod.name}: no command")
        if pod.key in self.machine.pods:
            self._take(pod.key)
            return
        self.machine.pods[pod.key] = _FakePod(pod)
        self.machine.logs.setdefault(pod.key, [])
        self.machine.started[pod.key] = self.machine.started.get(pod.key, 0) + 1
        self._known.add(pod.key)
        scripted = self._script(pod) if self._script is not None else None
        if scripted is not None:
            self.print(pod.key, *scripted.lines)
            asyncio.get_running_loop().call_soon(self._finish_scripted, pod.key, scripted)

    async def terminate(self, key: PodKey, grace_s: float | None = None) -> None:
        """End the pod with 143, as TERM would."""
        running = self.machine.pods.get(key)
        if running is not None and running.end is None:
            asyncio.get_running_loop().call_soon(lambda: self.finish(key, exit_code=143, terminated=True))

    async def forget(self, key: PodKey) -> None:
        """Remove an ended pod but its log."""
        found = self.machine.pods.get(key)
        if found is not None and found.end is not None:
            del self.machine.pods[key]
            self._known.discard(key)

    async def logs(self, key: PodKey, *, container: str = "main", follow: bool = False) -> AsyncIterator[LogLine]:
        """Yield what was printed (a fake prints for all containers at once); with `follow`, until the pod has ended."""
        at = 0
        while True:
            found = self.machine.pods.get(key)
            ended = found is None or found.end is not None
            lines = self.machine.logs.get(key, [])
            while at < len(lines):
                at += 1
                yield lines[at - 1]
            if ended or not follow or self._changed is None:
                return
            self._changed.clear()
            await self._changed.wait()

    async def delete_logs(self, keys: Sequence[PodKey]) -> None:
        """Remove the logs of these pods."""
        for key in keys:
            self.machine.logs.pop(key, None)

    def print(self, key: PodKey, *lines: str) -> None:
        """Let a pod print lines to stdout."""
        for line in lines:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
            self.machine.logs.setdefault(key, []).append(LogLine(time=stamp, stream="stdout", content=line))
        self._wake()

    def tell(self, news: PodNews) -> None:
        """Let something new be known of a pod that runs."""
        found = self.machine.pods.get(news.key)
        if found is None or found.end is not None:
            return
        found.news = news
        if self._news_listener is not None and news.key in self._known:
            self._news_listener(news)

    def finish(self, key: PodKey, *, exit_code: int | None = 0, terminated: bool = False, end: PodEnd | None = None) -> None:
        """End a pod that runs; does nothing if it has ended."""
        found = self.machine.pods.get(key)
        if found is None or found.end is not None:
            return
        lines = [line.content for line in self.machine.logs.get(key, []) if line.stream == "stdout"]
        found.end = end or PodEnd(
            key=key,
            exit_code=exit_code,
            started_at=found.started_at,
            finished_at=time.time(),
            terminated=terminated,
            result="\n".join(lines) if found.pod.capture_result else None,
        )
        self._wake()
        if self._listener is not None and key in self._known:
            self._listener(found.end)

    def _finish_scripted(self, key: PodKey, scripted: ScriptedEnd) -> None:
        self.finish(key, exit_code=scripted.exit_code, end=scripted.end)

    def _take(self, key: PodKey) -> None:
        """Watch a pod of an earlier life; deliver its end if it has one."""
        if key in self._known:
            return
        self._known.add(key)
        found = self.machine.pods[key]
        if found.end is not None and self._listener is not None:
            asyncio.get_running_loop().call_soon(self._listener, found.end)
        elif found.news is not None and self._news_listener is not None:
            asyncio.get_running_loop().call_soon(self._news_listener, found.news)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
