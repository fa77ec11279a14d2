"""Workflows, and what is left of them in the archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from jitflow.client import _logs
from jitflow.client._calls import Group, S, Stream, call, script, stream
from jitflow.client._effects import Emit, Pause, Request, Script, ask, now
from jitflow.client._errors import NotFound, ServerLost, WaitTimeout, check
from jitflow.client._later import Later
from jitflow.client._requests import ALL, Call, Page, body_of, decode, get, given, listing, page, remove, selection, send, tail
from jitflow.client._retry import exchange, pause_s
from jitflow.client._streams import drained, messages, persistent, reconnected
from jitflow.model.bulk import BulkResult, BulkWish, Operation
from jitflow.model.foreign import ForeignView
from jitflow.model.logs import LogEntry
from jitflow.model.reasons import Why
from jitflow.model.reports import Estimate, RunTimeline, StepData

if TYPE_CHECKING:
    from jitflow.model.argo import Workflow
    from jitflow.model.following import Delta
    from jitflow.model.runs import Note

    Manifest = Workflow | Mapping[str, Any]
else:
    Workflow = Later("jitflow.model.argo", "Workflow")
    Delta = Later("jitflow.model.following", "Delta")
    Note = Later("jitflow.model.runs", "Note")

_BASE = "/api/v1/workflows"
_OWN = "/api/jit/v1/workflows"
_ARCHIVED = "/api/v1/archived-workflows"
_FINAL = frozenset({"Succeeded", "Failed", "Error"})
_DRY = {"serverDryRun": True, "createOptions": {"dryRun": ["All"]}}

Parameters = Mapping[str, Any] | Sequence[str]
"""Names and values; or texts `name=value`."""


class Metadata(Struct, frozen=True, rename="camel"):
    """Of an object's metadata only what tells it from others."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Status(Struct, frozen=True):
    phase: str = ""


class Head(Struct, frozen=True):
    """Of an object only its name and phase."""

    metadata: Metadata = Metadata()
    status: _Status = _Status()


class WatchEvent(Struct, frozen=True):
    """A change of a workflow: `ADDED`, `MODIFIED` or `DELETED`, and the workflow, which is read when it is asked for."""

    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def workflow(self) -> Workflow:
        """The workflow after the change."""
        return decode(self.object, Workflow)

    @property
    def head(self) -> Head:
        """Its name and phase, read quickly."""
        return decode(self.object, Head)

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come."""
        return self.type == "DELETED" or self.head.status.phase in _FINAL


class Workflows(Group[S]):
    """Workflows. `namespace`: the client's own if it is not given, `*` for all where that makes sense."""

    @call
    def create(self, manifest: Manifest, *, namespace: str = "", dry_run: bool = False) -> Call[Workflow]:
        """Submit a manifest and return the workflow; `dry_run`: let the server check it, make nothing."""
        where = self._in(namespace)
        body: dict[str, Any] = {"namespace": where, "workflow": manifest}
        return send(Workflow, "POST", _BASE, where, body=body | (_DRY if dry_run else {}))

    @call
    def submit(
        self,
        kind: str,
        name: str,
        *,
        namespace: str = "",
        parameters: Parameters = (),
        entrypoint: str = "",
        generate_name: str = "",
        workflow_name: str = "",
        labels: str = "",
        annotations: str = "",
        service_account: str = "",
        priority: int | None = None,
        dry_run: bool = False,
    ) -> Call[Workflow]:
        """Submit a workflow of a template or schedule: `workflowtemplate`, `clusterworkflowtemplate`, `cronwf` or `workflow`."""
        options = body_of(
            parameters=assigned(parameters), entryPoint=entrypoint, generateName=generate_name, name=workflow_name, labels=labels,
            annotations=annotations, serviceAccount=service_account, priority=priority, dryRun=dry_run,
        )  # fmt: skip
        where = self._in(namespace)
        body = {"namespace": where, "resourceKind": kind, "resourceName": name, "submitOptions": options}
        return send(Workflow, "POST", _BASE, where, "submit", body=body)

    @call
    def lint(self, manifest: Manifest, *, namespace: str = "") -> Call[Workflow]:
        """Let the server validate a manifest; nothing is made."""
        where = self._in(namespace)
        return send(Workflow, "POST", _BASE, where, "lint", body={"namespace": where, "workflow": manifest}, repeatable=True)

    @call
    def list(
        self,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        name_filter: Literal["", "Exact", "Prefix", "Contains"] = "",
        created_after: str = "",
        finished_before: str = "",
        only: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Call[Page[Workflow]]:
        """List workflows, the newest first; also archived ones, as Argo does, with little more than their names.

        `labels`, `fields`: selectors; `name_filter`: how `metadata.name=` in `fields` is meant. `only`: the fields that are
        wanted, as `items.metadata.name`; then read the answer into a smaller type. `after`: a page's, for the next part.
        """
        query = selection(
            labels=labels, fields=fields, name_filter=name_filter, created_after=created_after, finished_before=finished_before,
            only=only, limit=limit, after=after,
        )  # fmt: skip
        return page(Workflow, *_place(_BASE, self._in(namespace)), query=query)

    @call
    def get(self, name: str, *, namespace: str = "", uid: str = "", only: str = "") -> Call[Workflow]:
        """Return one workflow; `@latest`: the newest. `only`: the fields that are wanted, as `status.phase`."""
        return get(Workflow, _BASE, self._in(namespace), name, query={"uid": uid, "fields": only})

    @call
    def delete(self, name: str, *, namespace: str = "", force: bool = False) -> Call[None]:
        """Delete one workflow; `force`: even if its artifacts cannot be deleted."""
        return remove(_BASE, self._in(namespace), name, query={"force": force})

    @call
    def many(self, operation: Operation | str, wish: BulkWish, *, namespace: str = "") -> Call[BulkResult]:
        """Stop, retry, delete … all workflows that a wish selects, in one request; `wish.dry_run`: only say which."""
        return send(BulkResult, "POST", "/api/jit/v1/bulk", self._in(namespace), str(operation), body=wish, patient=True)

    @call
    def suspend(self, name: str, *, namespace: str = "") -> Call[Workflow]:
        """Start no new steps."""
        return self._put(name, namespace, "suspend")

    @call
    def resume(self, name: str, *, namespace: str = "", selector: str = "", message: str = "") -> Call[Workflow]:
        """Go on; `selector`: only these suspended nodes."""
        return self._put(name, namespace, "resume", nodeFieldSelector=selector, message=message)

    @call
    def stop(self, name: str, *, namespace: str = "", selector: str = "", message: str = "") -> Call[Workflow]:
        """End; exit handlers still run. `selector`: only these nodes, which fail."""
        return self._put(name, namespace, "stop", nodeFieldSelector=selector, message=message)

    @call
    def terminate(self, name: str, *, namespace: str = "") -> Call[Workflow]:
        """End at once; no exit handlers."""
        return self._put(name, namespace, "terminate")

    @call
    def retry(
        self,
        name: str,
        *,
        namespace: str = "",
        parameters: Parameters = (),
        restart_successful: bool = False,
        selector: str = "",
    ) -> Call[Workflow]:
        """Run a failed workflow again from where it failed; `restart_successful`: also the steps of `selector`."""
        options = {"restartSuccessful": restart_successful, "nodeFieldSelector": selector}
        return self._put(name, namespace, "retry", parameters=assigned(parameters), **options)

    @call
    def resubmit(self, name: str, *, namespace: str = "", parameters: Parameters = (), memoized: bool = False) -> Call[Workflow]:
        """Run a workflow anew, under another name; `memoized`: keep what succeeded."""
        return self._put(name, namespace, "resubmit", parameters=assigned(parameters), memoized=memoized)

    @call
    def set(
        self,
        name: str,
        selector: str,
        *,
        namespace: str = "",
        outputs: Mapping[str, Any] | None = None,
        message: str = "",
        phase: str = "",
    ) -> Call[Workflow]:
        """Supply output parameters to the suspended nodes of a selector; with a `phase`, end them."""
        given_ = msgspec.json.encode(outputs).decode() if outputs else ""
        options = {"outputParameters": given_, "message": message, "phase": phase}
        return self._put(name, namespace, "set", nodeFieldSelector=selector, **options)

    @stream
    def watch(
        self,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        only: str = "",
        after: str = "",
        timeout_s: float | None = None,
    ) -> Stream[WatchEvent]:
        """Yield each change of workflows, what exists first, over breaks and restarts of the server.

        `after`: begin after a version that a list or an event has told. `only`: fields, as `result.object.metadata`; keep
        `result.object.metadata.resourceVersion` among them, or a break tells everything again.
        """
        path = tail(*_place("/api/v1/workflow-events", self._in(namespace)))
        return Stream(_watching(path, selection(labels=labels, fields=fields, only=only), after, timeout_s, self._patience))

    @stream
    def follow(self, name: str, *, namespace: str = "", timeout_s: float | None = None) -> Stream[WatchEvent]:
        """Yield the present state of one workflow and each later one, over restarts of the server, until it is deleted.

        Raises:
            NotFound: there is no such workflow. ServerLost: the server stayed away longer than the patience.
        """
        return Stream(_following(self._in(namespace), name, timeout_s, self._patience))

    @script
    def wait(self, name: str, *, namespace: str = "", timeout_s: float | None = None) -> Script[Workflow]:
        """Return a workflow when it has ended.

        Raises:
            WaitTimeout: it has not ended in time. NotFound: there is none, or it was deleted.
        """
        return _waiting(self._in(namespace), name, timeout_s, self._patience)

    @stream
    def deltas(
        self,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        after: str = "",
        timeout_s: float | None = None,
    ) -> Stream[Delta]:
        """Yield what changes of workflows: the cost does not grow with their size."""
        path = tail(*_place("/api/jit/v1/workflow-deltas", self._in(namespace)))
        query = selection(labels=labels, fields=fields)

        def request(version: str, left_s: float | None) -> Request:
            return _stream_request(path, query, version, left_s)

        def version_of(delta: Delta) -> str:
            return str(delta.sequence)

        def take(raw: msgspec.Raw) -> Delta:
            return decode(raw, Delta)

        return Stream(persistent(request, take, version_of, after=after, timeout_s=timeout_s, patience_s=self._patience))

    @stream
    def logs(
        self,
        name: str,
        *,
        namespace: str = "",
        pod: str = "",
        follow: bool = False,
        container: str = "main",
        tail: int | None = None,
        grep: str = "",
        selector: str = "",
        since_s: int | None = None,
        previous: bool = False,
        timestamps: bool = False,
    ) -> Stream[LogEntry]:
        """Yield log lines of a workflow, or of one pod, merged by time.

        `follow`: until the workflow or pod has ended, over restarts of the server, each line once.
        """
        wish = _logs.LogWish(
            namespace=self._in(namespace), name=name, pod=pod, container=container, tail=tail, grep=grep, selector=selector,
            since_s=since_s, previous=previous, timestamps=timestamps,
        )  # fmt: skip
        return Stream(_logs.follow(wish, self._patience) if follow else _logs.read(wish))

    @stream
    def pod_logs(
        self, name: str, pod: str, *, namespace: str = "", container: str = "main", tail: int | None = None
    ) -> Stream[LogEntry]:
        """Yield the log lines of one pod that are there, by Argo's older path for it."""
        query = {"logOptions.container": container, "logOptions.tailLines": tail}
        found = get(LogEntry, _BASE, self._in(namespace), name, pod, "log", query=query)
        return Stream(messages(found.request, _logs.entry))

    @call
    def notes(self, name: str, *, namespace: str = "") -> Call[tuple[Note, ...]]:
        """Return a workflow's history, oldest first."""
        return listing(Note, _OWN, self._in(namespace), name, "notes")

    @call
    def provenance(self, name: str, *, namespace: str = "", uid: str = "") -> Call[dict[str, Any]]:
        """Return where a workflow's results come from: an RO-Crate's JSON-LD. `uid`: of an archived one."""
        return get(dict[str, Any], _OWN, self._in(namespace), name, "provenance", query={"uid": uid})

    @call
    def crate(self, name: str, *, namespace: str = "", uid: str = "") -> Call[bytes]:
        """Return the same with the manifest beside it, as a zip."""
        path = tail(_OWN, self._in(namespace), name, "provenance")
        query = given({"format": "zip", "uid": uid})
        return Call(Request(method="GET", path=path, query=query, accept="application/zip", repeatable=True), bytes)

    @call
    def data(self, name: str, *, namespace: str = "") -> Call[tuple[StepData, ...]]:
        """Return where the data of a workflow's steps stands."""
        return listing(StepData, _OWN, self._in(namespace), name, "data")

    @call
    def timeline(self, name: str, *, namespace: str = "") -> Call[RunTimeline]:
        """Return when a workflow's steps ran, and when what they read and wrote was moved."""
        return get(RunTimeline, _OWN, self._in(namespace), name, "timeline")

    @call
    def why(self, name: str, node: str, *, namespace: str = "") -> Call[Why]:
        """Return why a node does not run yet, and where its data stands."""
        return get(Why, _OWN, self._in(namespace), name, "why", query={"node": node})

    @call
    def outlook(self, name: str, *, namespace: str = "") -> Call[Estimate]:
        """Return what is left of a workflow that runs."""
        return get(Estimate, _OWN, self._in(namespace), name, "explain")

    @property
    def _patience(self) -> float:
        return self._shell.wire.patience_s

    def _put(self, name: str, namespace: str, action: str, **options: Any) -> Call[Workflow]:
        where = self._in(namespace)
        body = {"namespace": where, "name": name} | body_of(**options)
        return send(Workflow, "PUT", _BASE, where, name, action, body=body)


class Archived(Group[S]):
    """Workflows that have ended, also deleted ones."""

    @call
    def list(
        self,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        name_filter: str = "",
        prefix: str = "",
        limit: int = 0,
        after: str = "",
    ) -> Call[Page[Workflow]]:
        """List archived workflows, those first that were started last."""
        where = self._in(namespace)
        query = selection(labels=labels, fields=fields, name_filter=name_filter, limit=limit, after=after)
        return page(Workflow, _ARCHIVED, query={"namespace": "" if where == ALL else where, "namePrefix": prefix} | query)

    @call
    def get(self, uid: str) -> Call[Workflow]:
        """Return one archived workflow."""
        return get(Workflow, _ARCHIVED, uid)

    @call
    def find(self, name: str, *, namespace: str = "") -> Call[Workflow]:
        """Return the newest archived workflow of a name."""
        return get(Workflow, _ARCHIVED + "/", query={"namespace": self._in(namespace), "name": name})

    @call
    def delete(self, uid: str) -> Call[None]:
        """Remove one workflow from the archive."""
        return remove(_ARCHIVED, uid)

    @call
    def retry(
        self, uid: str, *, parameters: Parameters = (), restart_successful: bool = False, selector: str = ""
    ) -> Call[Workflow]:
        """Let a deleted workflow that had failed be there again and go on from where it failed."""
        options = {"restartSuccessful": restart_successful, "nodeFieldSelector": selector}
        body = {"uid": uid} | body_of(parameters=assigned(parameters), **options)
        return send(Workflow, "PUT", _ARCHIVED, uid, "retry", body=body)

    @call
    def resubmit(self, uid: str, *, parameters: Parameters = (), memoized: bool = False) -> Call[Workflow]:
        """Run an archived workflow anew, under another name."""
        body = {"uid": uid} | body_of(parameters=assigned(parameters), memoized=memoized)
        return send(Workflow, "PUT", _ARCHIVED, uid, "resubmit", body=body)

    @call
    def label_keys(self, *, namespace: str = "") -> Call[tuple[str, ...]]:
        """Return the labels that archived workflows have."""
        return listing(str, _ARCHIVED + "-label-keys", query={"namespace": self._in(namespace)})

    @call
    def label_values(self, key: str, *, namespace: str = "") -> Call[tuple[str, ...]]:
        """Return the values of a label of archived workflows."""
        query = {"namespace": self._in(namespace), "listOptions.labelSelector": key}
        return listing(str, _ARCHIVED + "-label-values", query=query)


class Foreign(Group[S]):
    """Workflows that another Argo runs, and where their data is."""

    @call
    def list(self, *, namespace: str = "") -> Call[tuple[ForeignView, ...]]:
        """List those of which events have come, the newest first."""
        return listing(ForeignView, *_place("/api/jit/v1/foreign-workflows", self._in(namespace)))

    @call
    def get(self, name: str, *, namespace: str = "") -> Call[ForeignView]:
        """Return one, by name or uid, with its steps and where their objects are."""
        return get(ForeignView, "/api/jit/v1/foreign-workflows", self._in(namespace), name)


def assigned(parameters: Parameters) -> list[str]:
    """Return parameters as the API takes them, `name=value`; values that are no texts become JSON."""
    if isinstance(parameters, Mapping):
        return [
            f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
            for name, value in parameters.items()
        ]
    return list(parameters)


def _place(base: str, namespace: str) -> tuple[str, ...]:
    return (base + "/",) if namespace == ALL else (base, namespace)


def _stream_request(path: str, query: dict[str, Any], version: str, left_s: float | None) -> Request:
    more = {"listOptions.resourceVersion": version, "listOptions.timeoutSeconds": None if left_s is None else max(1, int(left_s))}
    return Request(method="GET", path=path, query=given(query | more), repeatable=True)


def _event(raw: msgspec.Raw) -> WatchEvent:
    return decode(raw, WatchEvent)


def _version(event: WatchEvent) -> str:
    return event.head.metadata.resource_version


def _watching(path: str, query: dict[str, Any], after: str, timeout_s: float | None, patience_s: float) -> Script[None]:
    def request(version: str, left_s: float | None) -> Request:
        return _stream_request(path, query, version, left_s)

    return persistent(request, _event, _version, after=after, timeout_s=timeout_s, patience_s=patience_s)


_FIRST_S = 3.0
"""So long a server may be away that has not answered yet: its address may be wrong, and somebody wants to know."""


def _following(namespace: str, name: str, timeout_s: float | None, patience_s: float) -> Script[None]:
    found, began = get(Workflow, _BASE, namespace, name).request, (yield from now())
    path = tail("/api/v1/workflow-events", namespace)
    query = selection(fields=f"metadata.name={name}")
    version, deleted, seen = "", False, False

    def of_this(raw: msgspec.Raw) -> WatchEvent | None:
        event = _event(raw)
        return event if event.head.metadata.name == name else None

    def told(event: WatchEvent) -> None:
        nonlocal version, deleted
        version, deleted = _version(event), event.type == "DELETED"

    while not deleted:
        left_s = None if timeout_s is None else timeout_s - ((yield from now()) - began)
        if left_s is not None and left_s <= 0:
            return
        try:
            answer = yield from ask(found)
            check(answer.status, answer.body, where=found.name)
            event = WatchEvent("MODIFIED" if seen else "ADDED", msgspec.Raw(answer.body))
            if not version or _version(event) != version:
                told(event)
                yield Emit(event)
            seen = True
            yield from messages(_stream_request(path, query, version, left_s), of_this, told)
            if not deleted:
                yield Pause(pause_s(0))  # it ended in order: its time is over, or the server goes down
        except ServerLost as error:
            yield from reconnected(error, patience_s if seen else min(patience_s, _FIRST_S))
        except NotFound:
            if not seen:
                raise
            yield Emit(WatchEvent("DELETED"))
            return


def _waiting(namespace: str, name: str, timeout_s: float | None, patience_s: float) -> Script[Workflow]:
    last: list[WatchEvent] = []

    def take(event: WatchEvent) -> bool:
        last[:] = [event]
        return event.is_final

    yield from drained(_following(namespace, name, timeout_s, patience_s), take)
    if last and last[0].type == "DELETED":
        raise NotFound(5, f"workflow {name} was deleted", 404)
    if not last or not last[0].is_final:
        raise WaitTimeout(f"workflow {name} has not ended within {timeout_s:g} s; it goes on")
    return (yield from exchange(get(Workflow, _BASE, namespace, name), 1))
