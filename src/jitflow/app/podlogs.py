"""The logs of a workflow's pods: which pods and containers are meant, and where each of their lines comes from."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial

from jitflow.app.artifacts import Artifacts, File, Wanted
from jitflow.app.containers import MAIN, check_container, pod_labels
from jitflow.app.index import RunIndex
from jitflow.app.logs import LineFilter, LogQuery, LogSink, Merge, PodLog
from jitflow.app.names import pod_name
from jitflow.app.ports import Change, Engine
from jitflow.app.present import is_finished
from jitflow.app.selectors import label_selector
from jitflow.model import argo
from jitflow.model.pods import LogLine
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock
from jitflow.ports.executor import Executor
from jitflow.ports.store import RunRow

_POD_LOOK_S = 0.5
_MAX_LINE_BYTES = 1024 * 1024
_HAS_OUTPUT = frozenset({"Running", "Succeeded", "Failed", "Error"})


class PodLogs:
    """Finds and merges the logs that a query asks for."""

    def __init__(self, engine: Engine, executor: Executor, index: RunIndex, clock: Clock, artifacts: Artifacts) -> None:
        """Hold the parts; `artifacts` gives the logs that were archived."""
        self._artifacts = artifacts
        self._engine = engine
        self._executor = executor
        self._index = index
        self._clock = clock

    async def ask(self, row: RunRow, query: LogQuery) -> Callable[[LogSink], Coroutine[None, None, None]]:
        """Return the coroutine function that sends the wanted log lines to a sink.

        Raises:
            Refused: the query cannot be used, or no pod of the workflow has such a container.
        """
        wanted = LineFilter(query, self._clock.now())
        selects = _selector(query)
        if query.previous:
            raise Refused(
                f'previous terminated container "{query.container}" not found: containers are not restarted in place; '
                "each attempt of a retryStrategy is a node with a log of its own"
            )
        if query.container != MAIN:
            workflow = await self._engine.fetch(row.uid)
            if workflow is not None:
                check_container(workflow, query.container, finished=is_finished(row))
        return partial(self._send, _Request(row, query, wanted, selects))

    async def _send(self, request: "_Request", sink: LogSink) -> None:
        async def send(batch: Sequence[tuple[str, LogLine]]) -> None:
            await sink([request.wanted.entry(pod, line) for pod, line in batch])

        merge = Merge(send, follow=request.query.follow)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(merge.run())
                await self._add_pods(request, merge)
                merge.seal()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _add_pods(self, request: "_Request", merge: Merge) -> None:
        """Give the merge the log of each pod that has begun; with `follow`, of each that will, until the workflow ends."""
        row, query = request.row, request.query
        added: set[str] = set()
        changed = asyncio.Event()

        def hear(change: Change) -> None:
            if change.row.uid == row.uid:
                changed.set()

        stop = self._index.listen(hear)
        try:
            while True:
                changed.clear()
                newest = self._index.by_uid(row.uid)
                workflow = await self._engine.fetch(row.uid) if newest is not None else None
                nodes = workflow.status.nodes if workflow is not None and workflow.status is not None else {}
                for node in nodes.values():
                    if workflow is not None and node.id not in added and request.wants(workflow, node):
                        added.add(node.id)
                        merge.add(self._pod_log(request, node))
                if not query.follow or newest is None or is_finished(newest) or (query.pod and added):
                    return
                await changed.wait()
                await asyncio.sleep(_POD_LOOK_S)
        finally:
            stop()

    def _pod_log(self, request: "_Request", node: argo.NodeStatus) -> PodLog:
        def open_log(*, follow: bool) -> AsyncIterator[LogLine]:
            return self._lines(request.row, node, request.query.container, follow=follow)

        return PodLog(
            pod=pod_name(request.row.name, node),
            started_at=node.started_at or "",
            lines=lambda: request.wanted.read(open_log),
        )

    async def _lines(self, row: RunRow, node: argo.NodeStatus, container: str, *, follow: bool) -> AsyncGenerator[LogLine]:
        """Yield a log of this machine, or the archived one if there is none here (any more)."""
        found = False
        lines = self._executor.logs(self._engine.pod_key(row.uid, node.id), container=container, follow=follow)
        try:
            async for line in lines:
                found = True
                yield line
        finally:
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()
        wanted = Wanted(node=node.id, name=f"{container}-logs")
        archived = next((one for one in (node.outputs or argo.Outputs()).artifacts if one.name == wanted.name), None)
        if found or archived is None or archived.deleted or node.finished_at is None:
            return
        file = await self._artifacts.open(row, wanted)
        if isinstance(file, File):
            async for text in _texts(file):
                yield LogLine(time=node.finished_at, stream="stdout", content=text)


async def _texts(file: File) -> AsyncGenerator[str]:
    """Yield the lines of a file, long ones in pieces."""
    rest = b""
    async with aclosing(file.read()) as chunks:
        async for chunk in chunks:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            if len(rest) > _MAX_LINE_BYTES:
                lines.append(rest)
                rest = b""
            for line in lines:
                yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


class _Request:
    """A query about the logs of a run."""

    def __init__(self, row: RunRow, query: LogQuery, wanted: LineFilter, selects: Callable[[dict[str, str]], bool]) -> None:
        self.row = row
        self.query = query
        self.wanted = wanted
        self._selects = selects

    def wants(self, workflow: argo.Workflow, node: argo.NodeStatus) -> bool:
        """Return whether the log of a node's pod is asked for, and may have begun."""
        if node.type != "Pod" or node.phase not in _HAS_OUTPUT:
            return False
        pod = self.query.pod
        if pod and pod not in {node.id, pod_name(self.row.name, node)}:
            return False
        return not self.query.selector or self._selects(pod_labels(self.row, workflow, node))


def _selector(query: LogQuery) -> Callable[[dict[str, str]], bool]:
    return label_selector(query.selector) if query.selector else lambda _: True


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
