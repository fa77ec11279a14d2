"""Argo Server's paths as the runner uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from benchmark.conformance.table import Document
from benchmark.service import Server

ABSENT = frozenset({404, 405, 501})
CLUSTER_KINDS = frozenset({"ClusterWorkflowTemplate"})


class NotSupported(Exception):
    """The server has no such path; the message names what it lacks."""


class Refused(Exception):
    """The server refused with another error than "no such path"."""

    def __init__(self, status: int, message: str) -> None:
        """Hold the answer."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Kind:
    """Where documents of a kind are created (`{namespace}` is filled in), and the field that holds one in a body."""

    path: str
    field: str
    has_lint: bool = True


ARGO_KINDS = {
    "Workflow": Kind("/api/v1/workflows/{namespace}", "workflow"),
    "WorkflowTemplate": Kind("/api/v1/workflow-templates/{namespace}", "template"),
    "ClusterWorkflowTemplate": Kind("/api/v1/cluster-workflow-templates", "template"),
    "CronWorkflow": Kind("/api/v1/cron-workflows/{namespace}", "cronWorkflow"),
}
OWN_KINDS = frozenset({"ConfigMap", "Secret", "PersistentVolumeClaim", "WorkflowEventBinding"})
"""Kinds for which Argo Server has no path to create them: with Argo, kubectl does."""


class Api:
    """One server, one namespace. Thread-safe as far as `httpx.Client` is."""

    def __init__(self, server: Server, namespace: str = "argo") -> None:
        """Remember the server."""
        self._server = server
        self.namespace = namespace

    def within(self, namespace: str) -> Api:
        """Return the same server, another namespace."""
        return Api(self._server, namespace)

    # -- documents ----------------------------------------------------------------------------------------------------

    def create(self, document: Document) -> Document:
        """Create a document of any known kind and return the answer.

        Raises:
            NotSupported: the server knows no such kind.
            Refused: it does not take this one.
        """
        name = _kind_name(document)
        if name in OWN_KINDS:
            return self._call("POST", f"/api/jit/v1/objects/{self.namespace}/{name}", self._placed(document))
        kind = self._kind(name)
        path = kind.path.format(namespace=self.namespace)
        return self._call("POST", path, {"namespace": self.namespace, kind.field: self._placed(document)})

    def replace(self, document: Document) -> Document:
        """Write a template or schedule over the one of its name."""
        kind = self._kind(_kind_name(document))
        path = f"{kind.path.format(namespace=self.namespace)}/{document['metadata']['name']}"
        old = self._call("GET", path)
        metadata = {"resourceVersion": old["metadata"].get("resourceVersion"), "uid": old["metadata"].get("uid")}
        placed = self._placed(document)
        placed["metadata"] = placed["metadata"] | {key: value for key, value in metadata.items() if value}
        return self._call("PUT", path, {"namespace": self.namespace, kind.field: placed})

    def lint(self, document: Document) -> None:
        """Have a document validated.

        Raises:
            NotSupported: the server knows no such kind.
            Refused: it is not valid.
        """
        kind = self._kind(_kind_name(document))
        path = f"{kind.path.format(namespace=self.namespace)}/lint"
        self._call("POST", path, {"namespace": self.namespace, kind.field: self._placed(document)})

    def post_text(self, tail: str, text: str) -> int:
        """Send a text as it is to the path of workflows and return the status."""
        return self._server.post_text(f"/api/v1/workflows/{self.namespace}{tail}", text).status_code

    def get_object(self, kind: str, name: str) -> Document:
        """Return one ConfigMap, claim or the like."""
        return self._call("GET", f"/api/jit/v1/objects/{self.namespace}/{kind}/{name}")

    def objects(self, kind: str) -> list[Document]:
        """Return the ConfigMaps, claims or the like of the namespace."""
        return list(self._call("GET", f"/api/jit/v1/objects/{self.namespace}/{kind}").get("items") or [])

    def set_limit(self, config: str, key: str, limit: int) -> None:
        """Set how many may hold a semaphore of the database."""
        body = {"type": "DATABASE", "namespace": self.namespace, "cmName": config, "key": key, "limit": limit}
        self._call("POST", f"/api/v1/sync/{self.namespace}", body)

    # -- workflows ----------------------------------------------------------------------------------------------------

    def workflow(self, name: str) -> Document:
        """Return one workflow."""
        return self._call("GET", f"/api/v1/workflows/{self.namespace}/{name}")

    def exists(self, name: str) -> bool:
        """Return whether there is a workflow of that name; what is in the archive alone was deleted."""
        try:
            found = self.workflow(name)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return found["metadata"]["labels"].get("workflows.argoproj.io/workflow-archiving-status") != "Persisted"

    def workflows(self, label: str = "") -> list[Document]:
        """Return the workflows of the namespace, those with a label if one is given; newest first."""
        query = {"listOptions.labelSelector": label} if label else {}
        return list(self._call("GET", f"/api/v1/workflows/{self.namespace}", **query).get("items") or [])

    def act(self, name: str, action: str, **body: Any) -> Document:
        """`resume`, `stop`, `terminate`, `retry` … a workflow."""
        path = f"/api/v1/workflows/{self.namespace}/{name}/{action}"
        return self._call("PUT", path, {"namespace": self.namespace, "name": name, **body})

    def submit(self, kind: str, name: str, parameters: list[str] | None = None) -> Document:
        """Make a workflow from a registered template or schedule."""
        options = {"parameters": parameters} if parameters else {}
        body = {"namespace": self.namespace, "resourceKind": kind, "resourceName": name, "submitOptions": options}
        return self._call("POST", f"/api/v1/workflows/{self.namespace}/submit", body)

    def send_event(self, payload: Document, discriminator: str = "") -> None:
        """Tell of an event."""
        self._call("POST", f"/api/v1/events/{self.namespace}/{discriminator}", payload)

    def log(self, name: str) -> str:
        """Return what all pods of a workflow wrote."""
        path = f"/api/v1/workflows/{self.namespace}/{name}/log"
        response = self._server.call("GET", path, **{"logOptions.container": "main"})
        lines = [line for line in response.text.splitlines() if line]
        return "\n".join(str((httpx.Response(200, text=line).json().get("result") or {}).get("content", "")) for line in lines)

    def text(self, path: str) -> str:
        """Return what a path answers, as it is."""
        response = self._server.call("GET", path.format(namespace=self.namespace))
        if not response.is_success:
            raise Refused(response.status_code, response.text[:300])
        return response.text

    def delete(self, name: str) -> None:
        """Delete a workflow; one that is gone is no error."""
        self._server.call("DELETE", f"/api/v1/workflows/{self.namespace}/{name}", force="true")

    def forget(self, kind: str, name: str) -> None:
        """Delete a template or schedule."""
        self._server.call("DELETE", f"{self._kind(kind).path.format(namespace=self.namespace)}/{name}")

    # -- calls --------------------------------------------------------------------------------------------------------

    def _kind(self, name: str) -> Kind:
        if name not in ARGO_KINDS:
            raise NotSupported(f"kind {name}")
        return ARGO_KINDS[name]

    def _placed(self, document: Document) -> Document:
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or document.get("kind") in CLUSTER_KINDS:
            return dict(document)
        return document | {"metadata": metadata | {"namespace": self.namespace}}

    def _call(self, method: str, path: str, body: Any = None, **params: Any) -> Document:
        response = self._server.call(method, path, body, **params)
        if response.is_success:
            return response.json() if response.content else {}
        try:
            answer = response.json()
            message = str(answer.get("message") or answer)
        except ValueError:
            message = response.text[:300]
        # A path that is not there has no Argo error in its answer, or says that it is not implemented.
        if response.status_code in ABSENT and (response.status_code != 404 or "code" not in response.text):
            raise NotSupported(f"no {method} {path.replace(self.namespace, '{namespace}')}")
        raise Refused(response.status_code, message)


def _kind_name(document: Document) -> str:
    return str(document.get("kind") or "Workflow")
