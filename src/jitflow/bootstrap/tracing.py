"""Traces of a server: what its requests, workflows, steps and transfers are as spans. Where none are asked for, none are made."""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from jitflow.app.transfers.keeping import Job
from jitflow.bootstrap.system import SystemClock
from jitflow.engine.changes import Change
from jitflow.machine import Node
from jitflow.model.jobs import JobPhase
from jitflow.model.reports import TransferRecord
from jitflow.ports.store import Commit
from jitflow.settings import SettingsError, TelemetrySettings
from jitflow.stores import PatientStore
from jitflow.telemetry import logger
from jitflow.telemetry.traces import ANNOTATION, PARENT_HEADER, PARENT_VARIABLE, Place, place_of, span_id_of, trace_id_of

if TYPE_CHECKING:
    from jitflow.engine import Engine
    from jitflow.telemetry.otel import Spans

_KEPT = 10_000
"""Of so many workflows it is remembered where their traces are."""
_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_GOOD = {"Succeeded", "Skipped", "Omitted"}
_log = logger("server")


class Tracing:
    """Tells of what happens, where somebody wants to know; otherwise each call costs nothing."""

    def __init__(self, spans: "Spans | None") -> None:
        """Tell by `spans`; None: nobody wants to know."""
        self._spans = spans
        self._clock = SystemClock()
        self._engine: Engine | None = None
        self._homes: dict[str, tuple[Place, Place | None]] = {}
        """Of workflows: their span, and the one that it lies below."""
        self._told: dict[str, set[str]] = {}
        """Of workflows that go on: the nodes whose ends were told."""
        self._attempts: Counter[tuple[str, str]] = Counter()

    def follow(self, engine: "Engine", stack: AsyncExitStack) -> None:
        """Tell of an engine's workflows from now on."""
        self._engine = engine
        if self._spans is not None:
            stack.callback(engine.subscribe(self._changed))

    def watch(self, store: PatientStore) -> None:
        """Tell of what is committed to a store from now on."""
        if self._spans is not None:
            store.on_commit = self._committed

    def around(self, app: ASGIApp, *, quiet: str = "") -> ASGIApp:
        """Return an application that tells of its requests; below the path `quiet` only of those that senders trace."""
        return app if self._spans is None else self._spans.around(app, quiet)

    def mark(self) -> str:
        """Return the request that is being answered, as a `traceparent`; empty: none is, or nobody traces."""
        here = None if self._spans is None else self._spans.here()
        return "" if here is None else here.text

    def headers(self) -> Mapping[str, str]:
        """Return what a request to others carries that is made for the one that is being answered."""
        mark = self.mark()
        return {PARENT_HEADER.decode(): mark} if mark else {}

    def belongs(self, uid: str, trace: str) -> None:
        """Know which request made a workflow that is driven elsewhere (see `DataPlane.belongs`)."""
        if self._spans is not None:
            self._keep(uid, self._found(uid, trace))

    def annotations(self) -> Mapping[str, str]:
        """Return what a workflow that is made now is to keep."""
        mark = self.mark()
        return {ANNOTATION: mark} if mark else {}

    def variables(self, uid: str, node_id: str) -> Mapping[str, str]:
        """Return what a pod finds in its environment."""
        if self._spans is None:
            return {}
        return {PARENT_VARIABLE: self._at(uid, node_id).text}

    def moved(self, record: TransferRecord) -> None:
        """Tell of an attempt to move an object."""
        if self._spans is None:
            return
        step = record.steps[0] if record.steps else ""
        uid, _, node_id = step.partition("/")
        key = (step, str(record.ref))
        self._attempts[key] += 1
        attempt = self._attempts[key]
        if record.outcome != "failed":
            del self._attempts[key]
        parent = self._at(uid, node_id) if node_id else self._home(step)[0]
        place = Place(parent.trace_id, span_id_of(step, str(record.ref), f"{record.started_at}"), parent.sampled)
        self._spans.tell(
            f"{'fetch' if record.direction == 'in' else 'store'} {record.ref.remote}",
            place,
            parent,
            (record.started_at, record.finished_at),
            {
                "jitflow.workflow.uid": uid,
                "jitflow.remote": record.ref.remote,
                "jitflow.object": str(record.ref),
                "jitflow.bytes": record.size_bytes,
                "jitflow.attempt": attempt,
                "jitflow.outcome": record.outcome,
                "jitflow.reason": record.reason,
            },
            kind=self._spans.CLIENT,
            error=record.error or ("it failed" if record.outcome == "failed" else ""),
        )

    def job_ended(self, job: Job) -> None:
        """Tell of a transfer job that is over."""
        if self._spans is None:
            return
        place, parent = self._found(job.id, job.trace)
        ended = job.finished_at or job.created_at
        counts = job.counts
        self._spans.tell(
            f"{job.wish.kind} job",
            place,
            parent,
            (job.created_at, ended),
            {
                "jitflow.job.id": job.id,
                "jitflow.job.source": job.wish.source,
                "jitflow.job.destination": job.wish.destination,
                "jitflow.namespace": job.wish.namespace,
                "jitflow.phase": str(job.phase),
                "jitflow.bytes": counts.moved_bytes,
                "jitflow.files": counts.files_done + counts.deletes_done,
                "jitflow.job.attempts": job.attempts,
                "jitflow.job.queued_ms": int(1000 * ((job.started_at or ended) - job.created_at)),
            },
            error=job.message or "it failed" if job.phase is JobPhase.FAILED else "",
        )

    def _committed(self, commit: Commit, seconds: float, why: str) -> None:
        """Tell of a change that is durable now, or could not be made."""
        assert self._spans is not None
        uid = commit.row.uid
        parent = self._spans.here() or self._home(uid)[0]
        place = Place(parent.trace_id, span_id_of(uid, "commit", str(commit.row.version)), parent.sampled)
        now = self._clock.now()
        self._spans.tell(
            "commit",
            place,
            parent,
            (now - seconds, now),
            {
                "jitflow.workflow.uid": uid,
                "jitflow.version": commit.row.version,
                "jitflow.nodes": len(commit.nodes),
                "jitflow.effects": len(commit.effects) + len(commit.effects_done),
            },
            kind=self._spans.CLIENT,
            error=why,
        )

    # -- workflows -----------------------------------------------------------------------------------------------------------

    def _home(self, uid: str) -> tuple[Place, Place | None]:
        """Return the span of a workflow and that of the request that made it, if one did."""
        known = self._homes.get(uid)
        if known is not None:
            return known
        said = self._engine.annotations(uid) if self._engine is not None else None
        found = self._found(uid, (said or {}).get(ANNOTATION, ""))
        if said is not None:
            self._keep(uid, found)
        return found

    def _found(self, uid: str, trace: str) -> tuple[Place, Place | None]:
        """Return what `_home` does, by the request that made the workflow as a `traceparent`."""
        assert self._spans is not None
        parent = place_of(trace)
        trace_id = trace_id_of(uid) if parent is None else parent.trace_id
        sampled = self._spans.is_sampled(trace_id) if parent is None else parent.sampled
        return Place(trace_id, span_id_of(uid), sampled), parent

    def _keep(self, uid: str, home: tuple[Place, Place | None]) -> None:
        self._homes[uid] = home
        if len(self._homes) > _KEPT:
            del self._homes[next(iter(self._homes))]

    def _at(self, uid: str, node_id: str) -> Place:
        home = self._home(uid)[0]
        return Place(home.trace_id, span_id_of(uid, node_id), home.sampled)

    def _changed(self, change: Change) -> None:
        uid, state = change.row.uid, change.state
        if state is None or change.kind == "DELETED":
            return
        self._home(uid)
        told = self._told.setdefault(uid, set())
        told.difference_update(change.removed)
        for node_id in change.nodes:
            node = state.nodes.get(node_id)
            if node is None or node.finished_at is None:
                told.discard(node_id)  # it was taken up again
            elif node_id not in told:
                told.add(node_id)
                self._tell_node(uid, node)
        if change.ends:
            self._told.pop(uid, None)
            self._tell_workflow(change)

    def _tell_node(self, uid: str, node: Node) -> None:
        assert self._spans is not None
        parent = self._at(uid, node.boundary) if node.boundary else self._home(uid)[0]
        ended = node.finished_at or 0.0
        self._spans.tell(
            f"{node.type} {node.display_name or node.name}",
            self._at(uid, node.id),
            parent,
            (ended if node.started_at is None else node.started_at, ended),
            {
                "jitflow.workflow.uid": uid,
                "jitflow.node.id": node.id,
                "jitflow.node.type": node.type,
                "jitflow.node.template": node.template,
                "jitflow.phase": node.phase,
            },
            error="" if node.phase in _GOOD else node.message or node.phase,
        )

    def _tell_workflow(self, change: Change) -> None:
        assert self._spans is not None
        row = change.row
        place, parent = self._home(row.uid)
        self._spans.tell(
            f"workflow {row.namespace}/{row.name}",
            place,
            parent,
            (row.created_at, row.finished_at or row.created_at),
            {
                "jitflow.workflow.uid": row.uid,
                "jitflow.workflow.name": row.name,
                "jitflow.workflow.namespace": row.namespace,
                "jitflow.phase": row.phase,
            },
            error="" if row.phase in _GOOD else row.message or row.phase,
        )


def open_tracing(settings: TelemetrySettings, version: str, stack: AsyncExitStack) -> Tracing:
    """Return what tells of traces: to the collector of the settings, else to that of OpenTelemetry's own variables, else to none.

    Raises:
        SettingsError: the settings name a collector, and the libraries are not installed, or the variables make no sense.
    """
    asked = any(os.environ.get(name) for name in _ADDRESSES) and os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "otlp"
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or not (settings.otlp or asked):
        return Tracing(None)
    try:
        from jitflow.telemetry.otel import Spans  # noqa: PLC0415 - only who traces pays for it
    except ImportError as error:
        if settings.otlp:
            raise SettingsError("telemetry.otlp: traces need OpenTelemetry; install `jitflow[otel]`") from error
        _log.warning("traces are asked for by OTEL_EXPORTER_OTLP_ENDPOINT, but `jitflow[otel]` is not installed")
        return Tracing(None)
    try:
        spans = Spans(settings.otlp, version)
    except ValueError as error:
        raise SettingsError(f"telemetry.otlp: a variable OTEL_… makes no sense: {error}") from error
    stack.push_async_callback(asyncio.to_thread, spans.close)
    return Tracing(spans)
