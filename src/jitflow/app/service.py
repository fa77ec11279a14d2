"""The use-cases: one method each, the one door for the APIs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from jitflow.app import bulk
from jitflow.app.archive import Archive
from jitflow.app.artifacts import Artifacts
from jitflow.app.deltas import Deltas
from jitflow.app.events import Happening, triggered
from jitflow.app.index import Page, RunIndex
from jitflow.app.logs import LogQuery, LogSink
from jitflow.app.manifests import KnownManifests, Manifest, missing_template, placed_in, prepare, read_unchecked
from jitflow.app.names import check_name, check_namespace
from jitflow.app.naming import TakenNames
from jitflow.app.objects import Objects
from jitflow.app.podlogs import PodLogs
from jitflow.app.ports import Engine
from jitflow.app.present import document
from jitflow.app.provenance import NoWitness, ProvenanceKeeper
from jitflow.app.selectors import FieldSelector, Selection, selector_of
from jitflow.app.spans import timeline_of
from jitflow.app.submit import CLUSTER_TEMPLATE_LABEL, CRON_LABEL, TEMPLATE_LABEL, SubmitOptions, from_resource, resubmission
from jitflow.app.watch import Watch
from jitflow.app.why import why
from jitflow.model import argo, runs
from jitflow.model.bulk import BulkResult, BulkWish, Operation
from jitflow.model.problems import Refused
from jitflow.model.reasons import Why
from jitflow.model.reports import Estimate, RunTimeline, StepData, TransferRecord
from jitflow.objects import ObjectStore
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.dataplane import DataView, Witness
from jitflow.ports.executor import Executor
from jitflow.ports.storage import Reading
from jitflow.ports.store import RunRow, StateStore
from jitflow.telemetry import logger

LATEST = "@latest"
_log = logger("service")
MAX_PAGE = 10_000
"""Workflows of one list; the rest is reached with `continue`."""


class Service:
    """What can be asked of jitflow. `open` must be called once before anything else, `close` ends all streams."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: StateStore,
        executor: Executor,
        view: DataView,
        far: Reading,
        remote_types: Callable[[], Mapping[str, str]],
        clock: Clock,
        ids: Ids,
        objects: ObjectStore,
        namespace: str = "default",
        witness: Witness | None = None,
        version: str = "",
    ) -> None:
        """Hold the parts.

        Args:
            engine: runs workflows.
            store: where they are kept.
            executor: has their logs.
            view: tells where their data stands.
            far: reads what lies in far stores.
            remote_types: the kinds of the configured remotes, by name.
            clock: time.
            ids: names.
            objects: templates and the like.
            namespace: where workflows go that name none.
            witness: who has seen what steps read and wrote.
            version: jitflow's.
        """
        self._engine = engine
        self._store = store
        self._view = view
        self._clock = clock
        self._ids = ids
        self._objects = objects
        self._manifests = KnownManifests(objects)
        self.library = Objects(objects)
        self._index = RunIndex()
        self.artifacts = Artifacts(engine, far, view)
        self._pod_logs = PodLogs(engine, executor, self._index, clock, self.artifacts)
        self._unsubscribe: Callable[[], None] | None = None
        self._names = TakenNames(self._index)
        self.archive = Archive(engine, self._index, clock, self._names)
        self.provenance = ProvenanceKeeper(engine, witness or NoWitness(), version, remote_types)
        self.namespace = namespace
        self.closing = asyncio.Event()

    async def open(self) -> None:
        """Learn what runs there are, and follow the engine from now on."""
        if self._unsubscribe is None:
            self._unsubscribe = self._engine.subscribe(self._index.hear)
            self._index.fill(await self._store.runs())

    async def close(self) -> None:
        """End all streams and stop following the engine."""
        self.closing.set()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    @property
    def known_runs(self) -> RunIndex:
        """The rows of all runs."""
        return self._index

    @property
    def watchers(self) -> int:
        """How many streams follow the runs now."""
        return self._index.listeners

    @property
    def sequence(self) -> int:
        """The sequence of the newest change."""
        return self._index.sequence

    def phases(self) -> dict[str, int]:
        """Return how many workflows there are in each phase."""
        return dict(Counter(row.phase or "Pending" for row in self._index.newest("")))

    # Workflows: make and find.

    async def lint(self, manifest: Manifest, namespace: str = "", *, source: str = "", size_bytes: int = 0) -> argo.Workflow:
        """Return the workflow of a valid manifest, whose parameters may lack values.

        `size_bytes` is the length of the text it came in.
        """
        return await self._read(manifest, namespace, source=source, size_bytes=size_bytes, lint=True)

    async def explain(self, manifest: Manifest, namespace: str = "", *, source: str = "", size_bytes: int = 0) -> Estimate:
        """Return what running a manifest would move and take."""
        workflow = await self._read(manifest, namespace, source=source, size_bytes=size_bytes)
        return await self._engine.check(placed_in(workflow, namespace or self.namespace))

    async def _read(
        self, manifest: Manifest, namespace: str, *, source: str, size_bytes: int, lint: bool = False
    ) -> argo.Workflow:
        namespace = namespace or self.namespace
        return await self._manifests.read(manifest, source=source, size_bytes=size_bytes, namespace=namespace, lint=lint)

    async def create(
        self, manifest: Manifest, namespace: str = "", *, dry_run: bool = False, source: str = "", size_bytes: int = 0
    ) -> argo.Workflow:
        """Take a manifest and let it run; with `dry_run` only say what would be taken.

        Raises:
            Refused: the manifest cannot be used (`invalid`), or the name exists (`conflict`).
        """
        namespace = namespace or self.namespace
        read = await self._manifests.read(manifest, source=source, size_bytes=size_bytes, namespace=namespace)
        return await self.take(read, namespace, dry_run=dry_run)

    async def start(self, workflow: argo.Workflow, namespace: str, *, kept: bool = True) -> argo.Workflow:
        """Let a workflow run that nobody waits for: one that cannot is kept, ended in Error, as Argo's controller does it.

        Raises:
            Refused: the name exists (`conflict`), or cannot be one; or the workflow cannot run and is not to be kept.
        """
        try:
            read = await self._read(msgspec.json.encode(workflow), namespace, source="", size_bytes=0)
        except Refused as error:
            if not kept:
                raise
            missing = missing_template(workflow, namespace, self._objects)
            return await self.take(workflow, namespace, invalid=missing or f"invalid spec: {error}")
        return await self.take(read, namespace)

    async def keep(self, manifest: Mapping[str, Any], namespace: str) -> argo.Workflow:
        """Take a workflow as kubectl would create it: it must be readable; one that cannot run is kept, see `start`.

        Raises:
            Refused: it cannot be read, the name exists (`conflict`), or cannot be one.
        """
        return await self.start(read_unchecked(manifest), namespace)

    async def happened(self, event: Happening) -> None:
        """Let the bindings of a namespace submit what they make of an event."""
        check_namespace(event.namespace)
        for made in triggered(event, self._objects, self._clock.now()):
            try:
                if made.workflow is not None:
                    await self.start(made.workflow, event.namespace)
                elif made.error:
                    _log.warning("event binding failed", binding=made.binding, reason=made.error)
            except Refused as error:
                _log.warning("event binding failed", binding=made.binding, reason=str(error))

    def labelled(self, namespace: str, label: str, value: str) -> list[RunRow]:
        """Return the live runs with a label, newest first."""
        return [row for row in self._index.newest(namespace) if row.labels.get(label) == value]

    def row_of(self, namespace: str, name: str) -> RunRow | None:
        """Return the row of the live run of that name, None if there is none."""
        return self._index.by_name(namespace, name)

    def finished(self, phase: str) -> list[RunRow]:
        """Return the runs that have ended in a phase."""
        return [row for row in self._index.newest("") if row.phase == phase and row.finished_at is not None]

    async def end(self, row: RunRow) -> None:
        """Terminate a run; one that has ended already is left alone."""
        with contextlib.suppress(Refused):
            await self._engine.send(row.uid, runs.ShutdownRequested(strategy="Terminate"))

    async def remove(self, row: RunRow) -> None:
        """Delete a run; one that is gone already is no error."""
        with contextlib.suppress(Refused):
            await self._engine.delete(row.uid)

    async def take(
        self, read: argo.Workflow, namespace: str, *, dry_run: bool = False, invalid: str = "", after: str = ""
    ) -> argo.Workflow:
        """Let a valid workflow run, as `create`; an invalid one is kept, ended in Error. `after`: see `Engine.create`."""
        workflow = prepare(read, namespace, self._ids, is_taken=partial(self._names.has, namespace))
        if dry_run:
            return workflow
        name = (workflow.metadata and workflow.metadata.name) or ""
        with self._names.held(namespace, name):
            row = await self._engine.create(workflow, invalid=invalid, after=after, like=self._like(workflow, namespace))
        made = await self._engine.fetch(row.uid)
        return document(workflow, row) if made is None else document(made, self._index.by_uid(row.uid) or row)

    def _like(self, workflow: argo.Workflow, namespace: str) -> str:
        """Return the uid of the newest run of the same template or schedule that succeeded, empty without one."""
        labels = workflow.metadata.labels if workflow.metadata is not None else {}
        for label in (TEMPLATE_LABEL, CLUSTER_TEMPLATE_LABEL, CRON_LABEL):
            if label in labels:
                found = self._index.newest_success(namespace, label, labels[label])
                return "" if found is None else found.uid
        return ""

    async def submit(self, namespace: str, kind: str, name: str, options: SubmitOptions) -> argo.Workflow:
        """Make a workflow of a template or a schedule and let it run.

        Raises:
            Refused: there is no such object, or what comes of it cannot run.
        """
        workflow = from_resource(self._objects, namespace or self.namespace, kind, name, options, now=self._clock.now())
        read = await self._read(msgspec.json.encode(workflow), namespace, source="", size_bytes=0)
        return await self.take(read, namespace or self.namespace, dry_run=bool(options.dry_run or options.server_dry_run))

    def find(self, namespace: str, name: str, *, uid: str = "", only_live: bool = False) -> RunRow:
        """Return the row of the run of that name (`@latest`: the newest of the namespace), of that uid if one is given.

        One that is there goes before those that only the archive knows (`only_live`: these are not looked for).

        Raises:
            Refused: there is none (code `not_found`), or the name could never be one.
        """
        if name == LATEST:
            row = next(iter(self._index.newest(check_namespace(namespace) if namespace else "")), None)
        else:
            row = self._index.by_name(check_namespace(namespace), check_name(name))
            row = row or self._index.past_by_name(namespace, name)
        if uid and (row is None or row.uid != uid):
            row = self._index.by_uid(uid)
        missing = row is None or (only_live and not row.live)
        if row is None or missing or name not in {LATEST, row.name} or (namespace and row.namespace != namespace):
            raise Refused(f'workflows.argoproj.io "{name}" not found', code="not_found")
        return row

    def of_uid(self, uid: str, namespace: str = "") -> RunRow:
        """Return the row of the run of that uid.

        Raises:
            Refused: there is none (code `not_found`), or it is in another namespace.
        """
        row = self._index.by_uid(uid)
        if row is None or (namespace and row.namespace != namespace):
            raise Refused(f"there is no workflow with uid {uid[:80]!r}", code="not_found")
        return row

    async def get(self, namespace: str, name: str, *, uid: str = "", only_live: bool = False) -> argo.Workflow:
        """Return a workflow with its status (see `find`)."""
        row = self.find(namespace, name, uid=uid, only_live=only_live)
        return await self.document(row) or _gone(row)

    async def document(self, row: RunRow) -> argo.Workflow | None:
        """Return the workflow of a row, None if it was deleted meanwhile."""
        found = await self.halves(row)
        return None if found is None else document(*found)

    async def halves(self, row: RunRow) -> tuple[argo.Workflow, RunRow] | None:
        """Return what a workflow's document is made of, None if it was deleted meanwhile: neither changes, both are replaced."""
        workflow = await self._engine.fetch(row.uid)
        return None if workflow is None else (workflow, self._index.by_uid(row.uid) or row)

    def list(self, selection: Selection, *, limit: int = 0, offset: int = 0) -> Page:
        """Return rows of the selected runs, newest first, those that only the archive knows among them."""
        selects = selector_of(selection)
        known = self._index.newest if selection.only_live else self._index.all
        rows = [row for row in known(selection.namespace) if selects(row)]
        size = min(limit or MAX_PAGE, MAX_PAGE)
        end = offset + size
        remaining = max(len(rows) - end, 0)
        shown = FieldSelector(selection.fields, name_filter=selection.name_filter).show_remaining
        return Page(
            rows=tuple(rows[offset:end]),
            after=end if remaining else 0,
            remaining=remaining if shown else None,
            sequence=self._index.sequence,
        )

    # Workflows: control.

    async def delete(self, namespace: str, name: str, *, uid: str = "", force: bool = False) -> None:
        """Remove a workflow; one that runs is terminated first. `force`: even if its artifacts cannot be deleted."""
        await self._engine.delete(self.find(namespace, name, uid=uid, only_live=True).uid, force=force)

    async def suspend(self, namespace: str, name: str) -> argo.Workflow:
        """Start nothing new in the workflow."""
        return await self._send(namespace, name, runs.SuspendRequested())

    async def resume(self, namespace: str, name: str, *, selector: str = "", message: str = "") -> argo.Workflow:
        """Go on with a suspended workflow or with its suspend nodes."""
        return await self._send(namespace, name, runs.ResumeRequested(selector=selector, message=message))

    async def stop(self, namespace: str, name: str, *, selector: str = "", message: str = "") -> argo.Workflow:
        """End a workflow; its exit handlers still run. With a selector, end only those suspend nodes."""
        event = runs.ShutdownRequested(strategy="Stop", selector=selector, message=message)
        return await self._send(namespace, name, event)

    async def terminate(self, namespace: str, name: str) -> argo.Workflow:
        """End a workflow without its exit handlers."""
        return await self._send(namespace, name, runs.ShutdownRequested(strategy="Terminate"))

    async def retry(
        self, namespace: str, name: str, *, restart_successful: bool = False, selector: str = "", parameters: Sequence[str] = ()
    ) -> argo.Workflow:
        """Run a failed workflow again from where it failed."""
        event = runs.RetryRequested(restart_successful=restart_successful, selector=selector, parameters=tuple(parameters))
        return await self._send(namespace, name, event)

    async def resubmit(
        self, namespace: str, name: str, *, memoized: bool = False, parameters: Sequence[str] = ()
    ) -> argo.Workflow:
        """Run a workflow anew under another name; `memoized`: a failed one, of which what succeeded is kept.

        Raises:
            Refused: there is none, it has not failed (`memoized`), or a parameter is not of the form NAME=VALUE.
        """
        return await self.resubmit_run(self.find(namespace, name), memoized=memoized, parameters=parameters)

    async def resubmit_run(self, row: RunRow, *, memoized: bool = False, parameters: Sequence[str] = ()) -> argo.Workflow:
        """Run a workflow anew under another name (see `resubmit`)."""
        workflow = resubmission(await self.document(row) or _gone(row), parameters)
        read = await self._read(msgspec.json.encode(workflow), row.namespace, source="", size_bytes=0)
        return await self.take(read, row.namespace, after=row.uid if memoized else "")

    async def set_nodes(
        self, namespace: str, name: str, *, selector: str, outputs: str = "", message: str = "", phase: str = ""
    ) -> argo.Workflow:
        """Supply outputs, a JSON object in a text, to suspended nodes; a phase also ends them."""
        event = runs.SuspendedNodesSet(selector=selector, outputs=_outputs(outputs), message=message, phase=phase)
        return await self._send(namespace, name, event)

    async def _send(self, namespace: str, name: str, event: runs.Event) -> argo.Workflow:
        row = self.find(namespace, name, only_live=True)
        await self._engine.send(row.uid, event)
        return await self.document(row) or _gone(row)

    async def bulk(self, operation: Operation, namespace: str, wish: BulkWish) -> BulkResult:
        """Do something to many workflows of a namespace; each has its own outcome.

        Raises:
            Refused: nothing says which, or that cannot be understood.
        """
        check_namespace(namespace)
        selects = selector_of(bulk.selection_of(namespace, wish))
        uids = None if wish.uids is None else frozenset(wish.uids)
        known = self._index.newest(namespace)
        rows = [row for row in known if (uids is None or row.uid in uids) and selects(row)]
        event = bulk.event_of(operation, wish)

        async def act(row: RunRow) -> argo.Workflow | None:
            if event is not None:
                await self._engine.send(row.uid, event)
            elif operation is Operation.RESUBMIT:
                return await self.resubmit_run(row, memoized=wish.memoized, parameters=wish.parameters)
            else:
                await self._engine.delete(row.uid, force=wish.force)
            return None

        return await bulk.perform(operation, rows, wish, act)

    # Workflows: follow.

    def watch(self, selection: Selection, *, after: int | None = None, only_rows: bool = False) -> Watch:
        """Return a view of the selected runs whose `run(sink)` tells of every change."""
        return Watch(
            self._engine,
            self._index,
            namespace=selection.namespace,
            selects=selector_of(selection),
            after=after,
            only_rows=only_rows,
        )

    def deltas(self, selection: Selection, *, after: int | None = None) -> Deltas:
        """Return a view of the selected runs whose `run(sink)` tells what has changed of each."""
        selects = selector_of(selection)
        return Deltas(self._engine, self._index, namespace=selection.namespace, selects=selects, after=after)

    async def logs(self, namespace: str, name: str, query: LogQuery) -> Callable[[LogSink], Coroutine[None, None, None]]:
        """Return the coroutine function that sends the wanted log lines to a sink.

        Raises:
            Refused: there is no such workflow or container, or the query cannot be used.
        """
        return await self._pod_logs.ask(self.find(namespace, name), query)

    # What jitflow knows beyond Argo.

    async def notes(self, namespace: str, name: str) -> Sequence[runs.Note]:
        """Return the history of a run."""
        return await self._engine.notes(self.find(namespace, name).uid)

    async def outlook(self, namespace: str = "", name: str = "") -> Estimate:
        """Return what is left of a workflow that runs; without a name of all that run, together in the primary."""
        return await self._engine.outlook((self.find(namespace, name).uid,) if name else ())

    async def step_data(self, namespace: str, name: str) -> Sequence[StepData]:
        """Return where the data of a workflow's steps stands."""
        return await self._view.step_data(self.find(namespace, name).uid)

    async def why(self, namespace: str, name: str, node: str) -> Why:
        """Return why a node does not run yet, and where its data stands; of one that has begun, what it read.

        Raises:
            Refused: there is no such workflow or node, or several nodes have that name.
        """
        row = self.find(namespace, name)
        if not node:
            raise Refused("which node? give its id, name or display name as node=…")
        found = await self._engine.why(row.uid, node)
        data = await self._view.standing(f"{row.uid}/{found.node_id}") if found.is_pod else None
        return why(row.namespace, row.name, found, data, self._engine.name_of)

    async def timeline(self, *, since: float = 0.0) -> tuple[Sequence[TransferRecord], Sequence[tuple[float, int]]]:
        """Return finished transfers and the primary's fill over time."""
        return await self._view.timeline(since=since)

    async def timeline_of(self, namespace: str, name: str) -> RunTimeline:
        """Return when a workflow's steps ran, and when what they read and wrote was moved.

        Raises:
            Refused: there is no such workflow.
        """
        row = self.find(namespace, name)
        workflow = await self._engine.fetch(row.uid) or _gone(row)
        transfers, _ = await self._view.timeline(since=row.created_at)
        return timeline_of(row, workflow, transfers)


def _outputs(text: str) -> dict[str, str]:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any]) if text.strip() else {}
    except msgspec.DecodeError as error:
        raise Refused(f"unable to parse output parameter set request: outputParameters is no JSON object: {error}") from None
    return {name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in found.items()}


def _gone(row: RunRow) -> argo.Workflow:
    raise Refused(f'workflows.argoproj.io "{row.name}" not found', code="not_found")
