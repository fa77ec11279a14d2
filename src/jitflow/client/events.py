"""Events in, and Kubernetes Events out."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from jitflow.client._calls import Group, S, Stream, call, stream
from jitflow.client._effects import Request
from jitflow.client._requests import ALL, Call, decode, given, selection, send, tail
from jitflow.client._streams import persistent
from jitflow.model.foreign import Outcome


class KubeEvent(Struct, frozen=True, rename="camel"):
    """What happened to a workflow or a node of it: `WorkflowRunning`, `WorkflowNodeFailed` …"""

    metadata: dict[str, Any] = {}
    involved_object: dict[str, Any] = {}
    reason: str = ""
    message: str = ""
    type: str = ""
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0


class Events(Group[S]):
    """Events."""

    @call
    def send(self, payload: Any, *, namespace: str = "", discriminator: str = "") -> Call[dict[str, Any]]:
        """Give an event to the bindings of a namespace."""
        where = ("/api/v1/events", self._in(namespace), discriminator)
        return send(dict[str, Any], "POST", *where, body=payload)

    @call
    def argo(self, event: Any) -> Call[Outcome]:
        """Give what Argo Events sends of a workflow that another Argo runs."""
        return send(Outcome, "POST", "/events/argo", body=event, repeatable=True)

    @stream
    def watch(
        self, *, namespace: str = "", labels: str = "", fields: str = "", after: str = "", timeout_s: float | None = None
    ) -> Stream[KubeEvent]:
        """Yield what happens to workflows from now on, or after a version, over breaks and restarts of the server."""
        where, base = self._in(namespace), "/api/v1/stream/events"
        path = tail(base + "/") if where == ALL else tail(base, where)

        def request(version: str, left_s: float | None) -> Request:
            limit = None if left_s is None else max(1, int(left_s))
            more = {"listOptions.resourceVersion": version, "listOptions.timeoutSeconds": limit}
            query = given(selection(labels=labels, fields=fields) | more)
            return Request(method="GET", path=path, query=query, repeatable=True)

        def take(raw: msgspec.Raw) -> KubeEvent:
            return decode(raw, KubeEvent)

        def version_of(event: KubeEvent) -> str:
            return str(event.involved_object.get("resourceVersion") or "")

        patience_s = self._shell.wire.patience_s
        return Stream(persistent(request, take, version_of, after=after, timeout_s=timeout_s, patience_s=patience_s))
