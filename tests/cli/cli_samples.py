"""Workflows as a server answers them, for the tests of this folder."""

from typing import Any

from jitflow.cli import views
from jitflow.cli.views import WorkflowView
from jitflow.model.reports import StepData

START = "2026-01-01T00:00:00Z"
NOW = 1767225600.0 + 30


def node(ident: str, name: str, phase: str = "Running", *, kind: str = "Pod", above: str = "", **more: Any) -> dict[str, Any]:
    """Return a node as in `status.nodes`."""
    return {
        "id": ident,
        "name": name,
        "displayName": more.pop("display", name.rpartition(".")[2]),
        "type": kind,
        "phase": phase,
        "startedAt": START,
        "finishedAt": None,
        "boundaryID": above,
        "templateName": "work",
        "unknownField": [1],
        **more,
    }


def workflow(*nodes: dict[str, Any], phase: str = "Running", name: str = "wf", **status: Any) -> dict[str, Any]:
    """Return a workflow as the server answers it."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "creationTimestamp": START,
            "labels": {"workflows.argoproj.io/completed": "true" if phase in views.FINAL_PHASES else "false"},
        },
        "spec": {"entrypoint": "main", "arguments": {"parameters": [{"name": "year", "value": 2024}]}},
        "status": {
            "phase": phase,
            "startedAt": START,
            "progress": "1/2",
            "nodes": {item["id"]: item for item in nodes},
            **({"finishedAt": "2026-01-01T00:01:05Z"} if phase in views.FINAL_PHASES else {}),
            **status,
        },
    }


def view(*nodes: dict[str, Any], **more: Any) -> WorkflowView:
    """Return a workflow as the command line reads it."""
    return views.workflow(workflow(*nodes, **more))


def data(ident: str, phase: str, **more: Any) -> StepData:
    """Return where a step's data stands."""
    return StepData(step=f"uid-wf/{ident}", phase=phase, **more)


def fan(count: int, phase: str, *, first: int = 0) -> list[dict[str, Any]]:
    """Return the children of the loop `wf.each`."""
    return [
        node(f"wf-{10 + index}", f"wf.each({index}:x)", phase, above="wf", display=f"each({index}:x)")
        for index in range(first, first + count)
    ]


def dag(*children: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a DAG with one loop and its children."""
    group = node("wf-1", "wf.each", kind="TaskGroup", above="wf", display="each")
    return [node("wf", "wf", kind="DAG", display="wf"), group, *children]
