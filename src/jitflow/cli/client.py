"""A small typed client of jitflow's HTTP APIs: Argo Server's paths, the extras below `/api/jit/v1`, and `/data/v1`.

Follows (`follow_workflow`, `follow_logs`) outlive a restart of the server: they connect again with growing
pauses and give nothing twice.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from jitflow.cli import views
from jitflow.cli.trust import trust
from jitflow.cli.wire import (
    NOT_FOUND,
    ApiError,
    ArtifactPlace,
    ClientError,
    DirectoryEntry,
    Endpoint,
    Envelope,
    Head,
    Items,
    LogEntry,
    Seen,
    ServerLost,
    WatchEvent,
    check,
    decode,
    lines,
)
from jitflow.model.data import ObjectRef, Replica
from jitflow.model.reasons import Why
from jitflow.model.reports import (
    Adoption,
    BandwidthInfo,
    Estimate,
    LinkInfo,
    PinView,
    PrimaryCheck,
    PrimaryFill,
    QuotaView,
    StepData,
    Upload,
)

T = TypeVar("T")

__all__ = ["ApiError", "Client", "ClientError", "Endpoint", "LogEntry", "ServerLost", "WatchEvent"]

_PAGE = "10000"
"""Replicas in one answer."""
_CONNECT_S = 5.0
_READ_S = 60.0
_STREAM_READ_S = 60.0
"""The server sends a keep-alive every 15 seconds: longer silence is a dead connection."""
_LABELS = "listOptions.labelSelector"
_NOT_DELETED = "workflows.argoproj.io/workflow-archiving-status!=Persisted"
_ARCHIVED = "/api/v1/archived-workflows"
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class Client:
    """One server.

    `relocate` is asked for the endpoint before each new attempt of a follow: a local server may come back on another port.
    `patience_s`: how long a follow keeps trying to reach a server that went away.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        relocate: Callable[[], Endpoint | None] | None = None,
        patience_s: float = 60.0,
        timeout_s: float = _READ_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Remember where the server is; nothing is sent yet."""
        self._endpoint = endpoint
        self._relocate = relocate
        self._patience_s = patience_s
        self._pause = pause
        self._timeout_s = timeout_s
        # Proxies of the environment are for the outside world; a server is named by its own address.
        local = httpx.URL(endpoint.url).host in {"127.0.0.1", "localhost", "::1"}
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        self._http = httpx.Client(timeout=timeout, trust_env=not local, follow_redirects=False, verify=trust(endpoint))

    def another(self, *, timeout_s: float | None = None) -> "Client":
        """Return a client of the same server with connections of its own, for another thread to own and close."""
        return Client(
            self._endpoint,
            relocate=self._relocate,
            patience_s=self._patience_s,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            pause=self._pause,
        )

    @property
    def url(self) -> str:
        """The server's address."""
        return self._endpoint.url

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- workflows

    def create_workflow(self, namespace: str, manifest: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Submit a manifest and return the workflow."""
        body: dict[str, Any] = {"namespace": namespace, "workflow": manifest}
        if dry_run:
            body |= {"serverDryRun": True, "createOptions": {"dryRun": ["All"]}}
        return self._json("POST", _path("workflows", namespace), body=body)

    def submit_from(self, namespace: str, kind: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """Submit a workflow made of a template or a schedule; `options` are Argo's `submitOptions`."""
        body = {"namespace": namespace, "resourceKind": kind, "resourceName": name, "submitOptions": options}
        return self._json("POST", _path("workflows", namespace, "submit"), body=body)

    def apply_object(self, namespace: str, kind: str, name: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Keep an object of any kind but Workflow, new or in place of the one of its name."""
        path = "/api/jit/v1/objects" + _tail(namespace, kind, name)
        return self._json("PUT", path, body=manifest)

    def lint_workflow(self, namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Let the server validate a manifest; nothing is made."""
        return self._json("POST", _path("workflows", namespace, "lint"), body={"namespace": namespace, "workflow": manifest})

    def list_workflows(self, namespace: str, **params: str | int | None) -> dict[str, Any]:
        """Return a list object; `params` are Argo's query parameters (`listOptions.limit`, `fields` …).

        Argo lists archived workflows too; here those that were deleted are left out.
        """
        labels = [str(params.get(_LABELS) or ""), _NOT_DELETED]
        return self._json("GET", _path("workflows", namespace), params=params | {_LABELS: ",".join(filter(None, labels))})

    def get_workflow(self, namespace: str, name: str) -> dict[str, Any]:
        """Return one workflow."""
        return self._json("GET", _path("workflows", namespace, name))

    def delete_workflow(self, namespace: str, name: str, *, force: bool = False) -> None:
        """Delete one workflow; `force`: even if its artifacts cannot be deleted."""
        self._send("DELETE", _path("workflows", namespace, name), params={"force": "true"} if force else None)

    def control_workflow(self, action: str, namespace: str, name: str, **options: Any) -> dict[str, Any]:
        """Send `suspend`, `resume`, `stop`, `terminate` or `retry` and return the workflow."""
        body = {"namespace": namespace, "name": name} | {key: value for key, value in options.items() if value}
        return self._json("PUT", _path("workflows", namespace, name, action), body=body)

    def watch_workflows(self, namespace: str, *, name: str = "", selector: str = "") -> Iterator[WatchEvent]:
        """Yield changes until the connection ends; what exists comes first."""
        params = {
            "listOptions.fieldSelector": f"metadata.name={name}" if name else None,
            "listOptions.labelSelector": selector or None,
        }
        for body in self._stream(_path("workflow-events", namespace), params):
            event = decode(body, WatchEvent)
            if not name or decode(event.object, Head).metadata.get("name") == name:
                yield event

    def follow_workflow(self, namespace: str, name: str) -> Iterator[WatchEvent]:
        """Yield a workflow's states from now on, across restarts of the server, until it is deleted.

        The first event is the present state; stop iterating when the phase is final.

        Raises:
            ApiError: there is no such workflow. ServerLost: the server stayed away longer than the patience.
        """
        seen = False

        def attempt() -> Iterator[WatchEvent]:
            nonlocal seen
            try:
                body = self._send("GET", _path("workflows", namespace, name))
            except ApiError as error:
                if not (seen and error.code == NOT_FOUND):
                    raise
                yield WatchEvent("DELETED", msgspec.Raw(b"{}"))
                return
            yield WatchEvent("MODIFIED" if seen else "ADDED", msgspec.Raw(body))
            seen = True
            yield from self.watch_workflows(namespace, name=name)

        for event in self._persist(attempt):
            yield event
            if event.type == "DELETED":
                return

    # -- archived workflows

    def list_archived(self, **params: str | int | None) -> dict[str, Any]:
        """Return a list object; `params` are Argo's query parameters (`namespace`, `namePrefix`, `listOptions.limit` …)."""
        return self._json("GET", _ARCHIVED, params=params)

    def get_archived(self, uid: str) -> dict[str, Any]:
        """Return one archived workflow."""
        return self._json("GET", _ARCHIVED + _tail(uid))

    def archived_uid(self, namespace: str, name: str) -> str:
        """Return the uid of the newest archived workflow of a name."""
        body = self._send("GET", f"{_ARCHIVED}/", params={"namespace": namespace, "name": name})
        return str(decode(body, Head).metadata.get("uid") or "")

    def delete_archived(self, uid: str) -> None:
        """Remove one workflow from the archive."""
        self._send("DELETE", _ARCHIVED + _tail(uid))

    def renew_archived(self, action: str, uid: str, **options: Any) -> dict[str, Any]:
        """Send `retry` or `resubmit` and return the workflow."""
        body = {"uid": uid} | {key: value for key, value in options.items() if value}
        return self._json("PUT", _ARCHIVED + _tail(uid, action), body=body)

    def archived_labels(self, namespace: str, key: str = "") -> tuple[str, ...]:
        """Return the keys of labels in the archive, or the values of one."""
        params = {"namespace": namespace or None, "listOptions.labelSelector": key or None}
        body = self._send("GET", f"{_ARCHIVED}-label-{'values' if key else 'keys'}", params=params)
        return decode(body, Items[str]).items or ()

    # -- logs

    def logs(
        self,
        namespace: str,
        name: str,
        *,
        pod: str = "",
        follow: bool = False,
        tail: int | None = None,
        grep: str = "",
        container: str = "main",
        timestamps: bool = False,
    ) -> Iterator[LogEntry]:
        """Yield log lines of a workflow, or of one pod, merged by time."""
        params = {
            "logOptions.container": container,
            "logOptions.follow": "true" if follow else None,
            "logOptions.tailLines": tail,
            "logOptions.timestamps": "true" if timestamps else None,
            "podName": pod or None,
            "grep": grep or None,
        }
        for body in self._stream(_path("workflows", namespace, name, "log"), params):
            yield decode(body, LogEntry)

    def follow_logs(
        self,
        namespace: str,
        name: str,
        *,
        pod: str = "",
        tail: int | None = None,
        grep: str = "",
        container: str = "main",
        timestamps: bool = False,
    ) -> Iterator[LogEntry]:
        """Yield log lines until the workflow (or the pod) has ended, across restarts of the server, each line once."""
        seen = Seen()
        connected = False
        turn = 0
        while True:
            try:
                # After a break everything is read again and what was shown is left out: `tail` was for the first time only.
                wanted = None if connected else tail
                for entry in self.logs(
                    namespace, name, pod=pod, follow=True, tail=wanted, grep=grep, container=container, timestamps=True
                ):
                    connected = True
                    turn = 0
                    fresh = seen.admit(entry)
                    if fresh is not None:
                        yield entry if timestamps else fresh
                if self._has_ended(namespace, name, pod):
                    return
                # A server that goes down ends its streams in order.
                self._pause(_PAUSES_S[min(turn, len(_PAUSES_S) - 1)])
                turn += 1
            except ServerLost as error:
                self._reconnect(error)
            connected = True
            seen.restart()

    # -- artifacts

    def save_artifact(self, place: ArtifactPlace, target: Path, path: str = "") -> Iterator[tuple[Path, int]]:
        """Copy an artifact into a directory, made if need be; yield each file that was written and its bytes.

        `path`: the part of a directory that is meant, with a slash at its end.
        """
        url = self.url.rstrip("/") + place.url_path + quote(path)
        headers = self._headers() | {"accept": "application/json"}
        listing = b""
        try:
            with self._http.stream("GET", url, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    check(response.status_code, response.read())
                found = _FILE_NAME.search(response.headers.get("content-disposition", ""))
                if found is None:
                    listing = response.read()
                else:
                    yield _written(target / _safe(path.rpartition("/")[2] or found[1]), response)
                    return
        except httpx.HTTPError as error:
            raise _lost(self.url, error) from error
        for entry in decode(listing, Items[DirectoryEntry]).items or ():
            below = f"{path}{entry.name}" + ("/" if entry.is_directory else "")
            yield from self.save_artifact(place, target / _safe(entry.name) if entry.is_directory else target, below)

    # -- who may do what

    def create_token(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Make a token; the answer's `token` is shown this once."""
        return self._json("POST", "/api/jit/v1/tokens", body=wish)

    def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens that this caller may manage."""
        return list(self._json("GET", "/api/jit/v1/tokens").get("items") or [])

    def revoke_token(self, name: str) -> dict[str, Any]:
        """Revoke a token, named by its id or name."""
        return self._json("DELETE", "/api/jit/v1/tokens" + _tail(name))

    def whoami(self) -> dict[str, Any]:
        """Return who the server takes the caller for."""
        return self._json("GET", "/api/jit/v1/whoami")

    def audit(self, **params: Any) -> list[dict[str, Any]]:
        """Return entries of the audit log, newest first; `params`: since, subject, namespace, action, limit."""
        return list(self._json("GET", "/api/jit/v1/audit", params=params).get("items") or [])

    def rotate_key(self) -> dict[str, Any]:
        """Let the server encrypt all stored secrets with a new key."""
        return decode(self._send("POST", "/api/jit/v1/secrets/rotate-key", patient=True), dict[str, Any])

    # -- workflows of another Argo, backfills

    def foreign_workflows(self, namespace: str = "") -> list[dict[str, Any]]:
        """Return the workflows that another Argo runs; without a namespace those of all."""
        return list(self._json("GET", f"/api/jit/v1/foreign-workflows/{quote(namespace, safe='')}").get("items") or [])

    def foreign_workflow(self, namespace: str, name: str) -> dict[str, Any]:
        """Return one of them with its steps, and where their objects are."""
        return self._json("GET", "/api/jit/v1/foreign-workflows" + _tail(namespace, name))

    def backfills(self, namespace: str, cron: str) -> list[dict[str, Any]]:
        """Return a schedule's backfills, newest first."""
        return list(self._json("GET", _backfills(namespace, cron)).get("items") or [])

    def backfill(self, namespace: str, cron: str, name: str) -> dict[str, Any]:
        """Return a backfill with its runs."""
        return self._json("GET", _backfills(namespace, cron) + _tail(name))

    def make_backfill(self, namespace: str, cron: str, wish: dict[str, Any]) -> dict[str, Any]:
        """Begin a backfill; the same wish again returns the one that there is."""
        return self._json("POST", _backfills(namespace, cron), body=wish)

    def cancel_backfill(self, namespace: str, cron: str, name: str, *, terminate: bool) -> dict[str, Any]:
        """Start nothing more of a backfill."""
        return self._json("PUT", _backfills(namespace, cron) + _tail(name, "cancel"), body={"terminate": terminate})

    def forget_backfill(self, namespace: str, cron: str, name: str) -> None:
        """Forget a backfill that is over."""
        self._send("DELETE", _backfills(namespace, cron) + _tail(name))

    # -- webhooks

    def webhooks(self) -> list[dict[str, Any]]:
        """Return the webhooks that this caller may manage."""
        return list(self._json("GET", "/api/jit/v1/webhooks").get("items") or [])

    def add_webhook(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Make a webhook; the answer's `secret` is shown this once."""
        return self._json("POST", "/api/jit/v1/webhooks", body=wish)

    def remove_webhook(self, name: str) -> None:
        """Forget a webhook and what waits for it."""
        self._send("DELETE", "/api/jit/v1/webhooks" + _tail(name))

    def webhook_failures(self, name: str) -> list[dict[str, Any]]:
        """Return the events that a webhook could not be told."""
        return list(self._json("GET", "/api/jit/v1/webhooks" + _tail(name, "failures")).get("items") or [])

    def replay_webhook(self, name: str, ids: list[str]) -> int:
        """Send failed events again, all if no ids are given; return how many."""
        path = "/api/jit/v1/webhooks" + _tail(name, "replay")
        return int(self._json("POST", path, body={"ids": ids}).get("replayed", 0))

    # -- jitflow's own

    def explain(self, manifest: dict[str, Any]) -> Estimate:
        """Return what running a manifest would take."""
        return decode(self._send("POST", "/api/jit/v1/explain", body={"workflow": manifest}), Estimate)

    def outlook(self, namespace: str = "", name: str = "") -> Estimate:
        """Return what is left of a workflow that runs, without a name of all that run."""
        path = _tail("workflows", namespace, name, "explain") if name else "/explain"
        return decode(self._send("GET", f"/api/jit/v1{path}"), Estimate)

    def workflow_data(self, namespace: str, name: str) -> tuple[StepData, ...]:
        """Return where the data of a workflow's steps stands."""
        body = self._send("GET", f"/api/jit/v1{_tail('workflows', namespace, name, 'data')}")
        return decode(body, Items[StepData]).items or ()

    def why(self, namespace: str, name: str, node: str) -> Why:
        """Return why a node does not run yet, and where its data stands."""
        path = f"/api/jit/v1{_tail('workflows', namespace, name, 'why')}"
        return decode(self._send("GET", path, params={"node": node}), Why)

    def workflow_notes(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return a workflow's history: `at` (seconds since the epoch), `reason`, `message`, `kind`, `node_id`."""
        return list(self._json("GET", f"/api/jit/v1{_tail('workflows', namespace, name, 'notes')}").get("items") or ())

    def warnings(self, namespace: str, name: str) -> list[str]:
        """Return what the workflow's history warns of; nothing from a server that keeps none (an Argo Server)."""
        try:
            notes = self.workflow_notes(namespace, name)
        except ClientError:
            return []
        return [str(note.get("message", "")) for note in notes if note.get("kind") == "Warning"]

    def timeline(self, *, since: float = 0.0) -> dict[str, Any]:
        """Return finished transfers and the primary's fill since a time (seconds since the epoch)."""
        return self._json("GET", "/api/jit/v1/timeline", params={"since": since})

    def version(self) -> dict[str, Any]:
        """Return the server's version."""
        return self._json("GET", "/api/v1/version")

    def healthy(self) -> None:
        """Return when the server answers `/healthz`.

        Raises:
            ClientError: it does not.
        """
        self._send("GET", "/healthz")

    # -- data

    def remotes(self) -> list[dict[str, Any]]:
        """Return the configured remotes, without their secrets."""
        body = self._any("GET", "/data/v1/remotes")
        items = body.get("items") if isinstance(body, dict) else body
        return list(items or ())

    def add_remote(self, name: str, kind: str, options: dict[str, str]) -> dict[str, Any]:
        """Configure a remote."""
        return self._json("POST", "/data/v1/remotes", body={"name": name, "type": kind, "options": options})

    def remove_remote(self, name: str) -> None:
        """Forget a remote."""
        self._send("DELETE", f"/data/v1{_tail('remotes', name)}")

    def test_remote(self, name: str) -> None:
        """Return when the remote could be listed."""
        self._send("POST", f"/data/v1{_tail('remotes', name, 'test')}", body={})

    def objects(self, ref: str) -> list[dict[str, Any]]:
        """Return what lies below a prefix."""
        body = self._any("GET", "/data/v1/objects", params={"ref": ref})
        items = body.get("items") if isinstance(body, dict) else body
        return list(items or ())

    def stat(self, ref: str) -> dict[str, Any]:
        """Return what its store and the catalogue know of an object."""
        return self._json("GET", "/data/v1/stat", params={"ref": ref})

    def replicas(self) -> Iterator[dict[str, Any]]:
        """Yield the primary's replicas, page by page."""
        cursor = ""
        while True:
            page = self._json("GET", "/data/v1/primary", params={"limit": _PAGE, "cursor": cursor})
            yield from page.get("replicas") or ()
            cursor = str(page.get("next") or "")
            if not cursor:
                return

    def fill(self) -> PrimaryFill:
        """Return how full the primary is."""
        body = self._json("GET", "/data/v1/primary", params={"limit": "1"})
        return msgspec.convert(body.get("fill", body), PrimaryFill)

    def primary_action(self, action: str, ref: str) -> Replica | None:
        """`stage` or `evict` an object; returns its replica unless it was evicted."""
        body = self._send("POST", f"/data/v1/primary/{action}", body={"ref": ref}, patient=action == "stage")
        return None if action == "evict" or not body.strip() else decode(body, Replica)

    def pin(self, action: str, ref: str, namespace: str) -> PinView:
        """`pin` or `unpin` an object or a prefix, for a namespace or for all."""
        return decode(self._send("POST", f"/data/v1/primary/{action}", body={"ref": ref, "namespace": namespace}), PinView)

    def pins(self) -> list[PinView]:
        """Return what is pinned."""
        return msgspec.convert(self._json("GET", "/data/v1/pins").get("items") or [], list[PinView])

    def quotas(self) -> list[QuotaView]:
        """Return what namespaces have in the primary, and may have."""
        return msgspec.convert(self._json("GET", "/data/v1/quotas").get("items") or [], list[QuotaView])

    def check_primary(self, *, remove: bool, hashes: bool) -> PrimaryCheck:
        """Compare the catalogue with what is really in the primary."""
        return decode(
            self._send("POST", "/data/v1/primary/check", body={"remove": remove, "hashes": hashes}, patient=True), PrimaryCheck
        )

    def adopt(self, place: str, ref: str, *, move: bool) -> Adoption:
        """Take files that are near the primary for the objects below a prefix."""
        return decode(
            self._send("POST", "/data/v1/primary/adopt", body={"place": place, "ref": ref, "move": move}, patient=True), Adoption
        )

    def links(self) -> list[LinkInfo]:
        """Return what is known of the far stores' links."""
        return msgspec.convert(self._json("GET", "/data/v1/links").get("items") or [], list[LinkInfo])

    def bandwidth(self) -> BandwidthInfo:
        """Return the limits of bandwidth."""
        return decode(self._send("GET", "/data/v1/bandwidth"), BandwidthInfo)

    def limit_bandwidth(self, limits: Mapping[str, str | None], time_zone: str | None) -> BandwidthInfo:
        """Hold other limits from now on; return all."""
        body = {"limits": dict(limits), **({"time_zone": time_zone} if time_zone is not None else {})}
        return decode(self._send("PUT", "/data/v1/bandwidth", body=body), BandwidthInfo)

    def uploads(self) -> list[Upload]:
        """Return the outputs that are not at their far stores."""
        return msgspec.convert(self._json("GET", "/data/v1/uploads").get("items") or [], list[Upload])

    def retry_uploads(self, ref: str) -> list[ObjectRef]:
        """Send one output again that could not be sent, or all; return which."""
        found = self._json("POST", "/data/v1/uploads/retry", body={"ref": ref})
        return msgspec.convert(found.get("items") or [], list[ObjectRef])

    def drop_upload(self, ref: str) -> None:
        """Delete an output that could not be sent."""
        self._send("POST", "/data/v1/uploads/drop", body={"ref": ref})

    # -- transport

    def _has_ended(self, namespace: str, name: str, pod: str) -> bool:
        try:
            view = views.workflow(self._send("GET", _path("workflows", namespace, name)))
        except ApiError as error:
            if error.code == NOT_FOUND:
                return True
            raise
        nodes = [node for node in view.nodes.values() if pod and pod in {node.id, views.pod_name(name, node)}]
        return view.is_done or any(node.is_done for node in nodes)

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        found = self._any(method, path, **more)
        if not isinstance(found, dict):
            raise ApiError(2, f"{self.url} answers {path} with something that is not a jitflow answer", 200)
        return found

    def _any(self, method: str, path: str, **more: Any) -> Any:
        return decode(self._send(method, path, **more), object)

    def _send(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None, patient: bool = False
    ) -> bytes:
        try:
            response = self._http.request(
                method,
                self.url.rstrip("/") + path,
                params=_given(params),
                content=None if body is None else msgspec.json.encode(body),
                headers=self._headers(),
                timeout=httpx.Timeout(None, connect=_CONNECT_S) if patient else httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.HTTPError as error:
            raise _lost(self.url, error) from error
        except httpx.InvalidURL as error:
            raise ServerLost(f"{self.url} is no usable server address: {error}") from error
        check(response.status_code, response.content)
        return response.content

    def _stream(self, path: str, params: dict[str, Any]) -> Iterator[bytes]:
        timeout = httpx.Timeout(_STREAM_READ_S, connect=_CONNECT_S)
        headers = self._headers() | {"accept": "text/event-stream"}
        try:
            with self._http.stream(
                "GET", self.url.rstrip("/") + path, params=_given(params), headers=headers, timeout=timeout
            ) as response:
                if response.status_code != httpx.codes.OK:
                    check(response.status_code, response.read())
                for line in lines(response.iter_bytes()):
                    envelope = decode(line, Envelope)
                    if envelope.error:
                        raise ApiError(envelope.error.grpc_code, envelope.error.message, envelope.error.http_code)
                    body = bytes(envelope.result)
                    if body:
                        yield body
        except httpx.HTTPError as error:
            raise _lost(self.url, error) from error

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json"}
        if self._endpoint.token:
            headers["authorization"] = f"Bearer {self._endpoint.token}"
        return headers

    def _persist(self, attempt: Callable[[], Iterator[T]]) -> Iterator[T]:
        while True:
            try:
                yield from attempt()
            except ServerLost as error:
                self._reconnect(error)
            else:
                # The stream ended in order: the server is going down, or its watch has a time limit.
                self._pause(_PAUSES_S[0])

    def _reconnect(self, error: ServerLost) -> None:
        """Return when the server answers again; raise `error` when it stays away."""
        waited = 0.0
        for turn in range(10_000):
            pause = _PAUSES_S[min(turn, len(_PAUSES_S) - 1)]
            if waited + pause > self._patience_s:
                break
            self._pause(pause)
            waited += pause
            self._endpoint = (self._relocate() if self._relocate else None) or self._endpoint
            try:
                self.healthy()
            except ServerLost:
                continue
            except ApiError as answer:
                if answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
                    continue
            return
        raise error


_FILE_NAME = re.compile(r'filename="([^"]*)"')


def _safe(name: str) -> str:
    """Return a name that stays in its directory, whatever the server says."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ApiError(2, f"the server names a file {name!r}, which cannot be written", 200)
    return name


def _written(target: Path, response: httpx.Response) -> tuple[Path, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        size = sum(file.write(chunk) for chunk in response.iter_bytes())
    return target, size


def _backfills(namespace: str, cron: str) -> str:
    return "/api/jit/v1/cron-workflows" + _tail(namespace, cron, "backfills")


def _tail(*parts: str) -> str:
    return "".join("/" + quote(part, safe="@") for part in parts)


def _path(*parts: str) -> str:
    return "/api/v1" + _tail(*parts)


def _given(params: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (params or {}).items() if value is not None}


def _lost(url: str, error: httpx.HTTPError) -> ServerLost:
    reason = str(error) or type(error).__name__
    return ServerLost(f"the server at {url} does not answer ({reason}); is it running, and is its address right?")
