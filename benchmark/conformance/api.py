"""Argo Server's paths as the runner uses them."""

from dataclasses import dataclass
from typing import Any

import httpx

from benchmark.conformance.table import Document
from benchmark.service import Server

NAMESPACE = "argo"
ABSENT = frozenset({404, 405, 501})


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
    """Where documents of a kind are created and linted, and the name of the field that holds one in a body."""

    path: str
    field: str
    has_lint: bool = True


KINDS = {
    "Workflow": Kind(f"/api/v1/workflows/{NAMESPACE}", "workflow"),
    "WorkflowTemplate": Kind(f"/api/v1/workflow-templates/{NAMESPACE}", "template"),
    "ClusterWorkflowTemplate": Kind("/api/v1/cluster-workflow-templates", "template"),
    "CronWorkflow": Kind(f"/api/v1/cron-workflows/{NAMESPACE}", "cronWorkflow"),
    "WorkflowEventBinding": Kind(f"/api/v1/workflow-event-bindings/{NAMESPACE}", "workflowEventBinding", has_lint=False),
}


class Api:
    """One server. Thread-safe as far as `httpx.Client` is."""

    def __init__(self, server: Server) -> None:
        """Remember the server."""
        self._server = server

    def create(self, document: Document) -> Document:
        """Create a document of any known kind and return the answer.

        Raises:
            NotSupported: the server knows no such kind.
            Refused: it does not take this one.
        """
        kind = _kind(document)
        return self._answer(
            self._server.call("POST", kind.path, {"namespace": NAMESPACE, kind.field: _placed(document)}), kind.path
        )

    def lint(self, document: Document) -> None:
        """Have a document validated.

        Raises:
            NotSupported: the server knows no such kind.
            Refused: it is not valid.
        """
        kind = _kind(document)
        path = f"{kind.path}/lint"
        self._answer(self._server.call("POST", path, {"namespace": NAMESPACE, kind.field: _placed(document)}), path)

    def post_text(self, path: str, text: str) -> int:
        """Send a text as it is and return the status."""
        return self._server.post_text(path, text).status_code

    def workflow(self, name: str) -> Document:
        """Return one workflow."""
        path = f"/api/v1/workflows/{NAMESPACE}/{name}"
        return self._answer(self._server.call("GET", path), path)

    def workflows(self, label: str) -> list[Document]:
        """Return the workflows with a label."""
        path = f"/api/v1/workflows/{NAMESPACE}"
        answer = self._answer(self._server.call("GET", path, **{"listOptions.labelSelector": label}), path)
        return list(answer.get("items") or [])

    def act(self, name: str, action: str, **body: Any) -> Document:
        """`resume`, `stop`, `terminate`, `retry` … a workflow."""
        path = f"/api/v1/workflows/{NAMESPACE}/{name}/{action}"
        return self._answer(self._server.call("PUT", path, {"namespace": NAMESPACE, "name": name, **body}), path)

    def submit(self, kind: str, name: str) -> Document:
        """Make a workflow from a registered template."""
        path = f"/api/v1/workflows/{NAMESPACE}/submit"
        return self._answer(
            self._server.call(
                "POST", path, {"namespace": NAMESPACE, "resourceKind": kind, "resourceName": name, "submitOptions": {}}
            ),
            path,
        )

    def delete(self, name: str) -> None:
        """Delete a workflow; one that is gone is no error."""
        self._server.call("DELETE", f"/api/v1/workflows/{NAMESPACE}/{name}", force="true")

    @staticmethod
    def _answer(response: httpx.Response, path: str) -> Document:
        if response.is_success:
            return response.json()
        try:
            body = response.json()
            message = str(body.get("message") or body)
        except ValueError:
            message = response.text[:300]
        # A path that is not there has no Argo error in its answer, or says that it is not implemented.
        if response.status_code in ABSENT and (response.status_code != 404 or "code" not in response.text):
            raise NotSupported(f"no {path.removeprefix('/api/v1/').replace(NAMESPACE, '{namespace}')}")
        raise Refused(response.status_code, message)


def _kind(document: Document) -> Kind:
    name = str(document.get("kind"))
    if name not in KINDS:
        raise NotSupported(f"kind {name}")
    return KINDS[name]


def _placed(document: Document) -> Document:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or document.get("kind") == "ClusterWorkflowTemplate":
        return document
    return document | {"metadata": metadata | {"namespace": NAMESPACE}}
