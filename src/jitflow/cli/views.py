"""What the command line reads of a workflow's JSON: only the fields it shows, unknown ones skipped.

Reading these instead of the full types keeps a live tree of 10,000 nodes cheap, and a newer server readable.
"""

from typing import Any

import msgspec
from msgspec import Struct, field

from jitflow.cli.errors import CliError
from jitflow.cli.formats import elapsed
from jitflow.client import pod_name as named

FINAL_PHASES = frozenset({"Succeeded", "Failed", "Error"})
DONE_PHASES = frozenset({"Succeeded", "Failed", "Error", "Skipped", "Omitted"})
FAILED_PHASES = frozenset({"Failed", "Error"})
_GROUP_TYPES = frozenset({"Steps", "StepGroup", "DAG", "TaskGroup", "Retry"})


class ParameterView(Struct, frozen=True):
    """A parameter: JSON value or None."""

    name: str
    value: Any = None


class OutputsView(Struct, frozen=True, rename="camel"):
    """What a node or a workflow gave."""

    parameters: tuple[ParameterView, ...] | None = None
    artifacts: tuple[dict[str, Any], ...] | None = None
    result: str | None = None
    exit_code: str | None = None


class NodeView(Struct, frozen=True, rename="camel"):
    """One node of `status.nodes`."""

    id: str
    name: str = ""
    display_name: str = ""
    type: str = ""
    phase: str = ""
    message: str = ""
    template_name: str = ""
    boundary_id: str = field(default="", name="boundaryID")
    started_at: str | None = None
    finished_at: str | None = None
    outputs: OutputsView | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether this is a unit of work, not a group of them."""
        return self.type not in _GROUP_TYPES

    @property
    def is_done(self) -> bool:
        """Whether the node's phase is final."""
        return self.phase in DONE_PHASES

    @property
    def label(self) -> str:
        """The name people see."""
        return self.display_name or self.name or self.id

    def run_s(self, now: float) -> float | None:
        """Return how long the node has run, in seconds."""
        return elapsed(self.started_at, self.finished_at, now)


class MetadataView(Struct, frozen=True, rename="camel"):
    """Name and labels."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None


class ArgumentsView(Struct, frozen=True):
    """The arguments of a workflow."""

    parameters: tuple[ParameterView, ...] | None = None


class SpecView(Struct, frozen=True, rename="camel"):
    """What is shown of a workflow's spec."""

    arguments: ArgumentsView | None = None
    suspend: bool | None = None
    shutdown: str | None = None
    entrypoint: str | None = None


class StatusView(Struct, frozen=True, rename="camel"):
    """What is shown of a workflow's status."""

    phase: str = ""
    message: str = ""
    progress: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    nodes: dict[str, NodeView] | None = None
    outputs: OutputsView | None = None


class WorkflowView(Struct, frozen=True):
    """A workflow as its API object."""

    metadata: MetadataView = MetadataView()
    spec: SpecView = SpecView()
    status: StatusView = StatusView()

    @property
    def nodes(self) -> dict[str, NodeView]:
        """The nodes by id."""
        return self.status.nodes or {}

    @property
    def is_done(self) -> bool:
        """Whether the workflow has ended."""
        return self.status.phase in FINAL_PHASES

    @property
    def phase(self) -> str:
        """The phase, `Pending` before there is one; with a note when it is suspended."""
        phase = self.status.phase or "Pending"
        return f"{phase} (Suspended)" if self.spec.suspend and not self.is_done else phase

    def run_s(self, now: float) -> float | None:
        """Return how long the workflow has run, in seconds."""
        return elapsed(self.status.started_at, self.status.finished_at, now)


class WorkflowListView(Struct, frozen=True):
    """A list of workflows."""

    items: tuple[WorkflowView, ...] | None = None


def workflow(body: bytes | dict[str, Any] | msgspec.Raw) -> WorkflowView:
    """Return the view of a workflow given as JSON text or as its decoded form.

    Raises:
        CliError: it is no workflow.
    """
    try:
        return msgspec.convert(body, WorkflowView) if isinstance(body, dict) else _WORKFLOW.decode(body)
    except msgspec.MsgspecError as error:
        raise CliError(f"the server's answer is no workflow: {error}") from error


def pod_name(workflow_name: str, node: NodeView) -> str:
    """Return the name of a node's pod as Argo forms it: `<workflow>-<template>-<hash>`, long prefixes cut."""
    return named(workflow_name, node.id, node.template_name)


def repository_key(artifact: dict[str, Any]) -> str:
    """Return the key of an artifact that lies in the default repository; empty for all others."""
    for kind in ("s3", "gcs", "oss"):
        place = artifact.get(kind)
        if isinstance(place, dict) and place.get("key") and not place.get("bucket"):
            return str(place["key"])
    return ""


def location(artifact: dict[str, Any], repository: str = "") -> str:
    """Return where an artifact is, as people write it; empty when its status does not say.

    `repository`: what to write before the key of an artifact in the default repository, if that is known.
    """
    if repository and repository_key(artifact):
        return repository + repository_key(artifact)
    for kind, describe in _LOCATIONS.items():
        place = artifact.get(kind)
        if isinstance(place, dict):
            return describe(place)
    return ""


def _bucket(scheme: str, place: dict[str, Any], endpoint: str = "") -> str:
    bucket, key = place.get("bucket"), place.get("key", "")
    if not bucket:
        return f"{key} (default artifact repository)"
    return f"{scheme}://{bucket}/{key}" + (f" at {endpoint}" if endpoint else "")


def _azure(place: dict[str, Any]) -> str:
    parts = (str(place.get("endpoint", "")).rstrip("/"), place.get("container", ""), place.get("blob", ""))
    return "/".join(part for part in parts if part)


_LOCATIONS = {
    "plugin": lambda place: str(place.get("key", "")),
    "s3": lambda place: _bucket("s3", place, str(place.get("endpoint", ""))),
    "gcs": lambda place: _bucket("gs", place),
    "oss": lambda place: _bucket("oss", place, str(place.get("endpoint", ""))),
    "azure": _azure,
    "hdfs": lambda place: str(place.get("path", "")),
    "http": lambda place: str(place.get("url", "")),
    "artifactory": lambda place: str(place.get("url", "")),
    "git": lambda place: str(place.get("repo", "")),
    "raw": lambda _: "in the manifest",
}

_WORKFLOW = msgspec.json.Decoder(WorkflowView)
