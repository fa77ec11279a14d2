"""What traces are made of, without any library: ids that follow from names, the W3C's `traceparent`, and the table of spans.

The span of a step has the same id whoever tells of it: the server that began the step, the one that saw its end after a restart,
and the pod, which is given it before it starts.
"""

import hashlib
import re
from typing import Final

from msgspec import Struct

ANNOTATION: Final = "jitflow.io/traceparent"
"""Where a workflow keeps the request that made it."""
PARENT_HEADER: Final = b"traceparent"
PARENT_VARIABLE: Final = "TRACEPARENT"
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class Place(Struct, frozen=True):
    """A span within its trace. `sampled`: whether it is told at all, and so what lies below it."""

    trace_id: int
    span_id: int
    sampled: bool = True

    @property
    def text(self) -> str:
        """Return it as a `traceparent`."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


def place_of(text: str) -> Place | None:
    """Return what a `traceparent` says, None if it is none."""
    found = _PARENT.fullmatch(text.strip())
    return Place(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & 1)) if found else None


def trace_id_of(uid: str) -> int:
    """Return the trace of a workflow that no request has made."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:16])


def span_id_of(*names: str) -> int:
    """Return the id of the span that has these names, the same each time."""
    return int.from_bytes(hashlib.sha256("\0".join(names).encode()).digest()[:8])


class KnownSpan(Struct, frozen=True, kw_only=True):
    """A kind of span: its name, when there is one, and its attributes with their meanings."""

    name: str
    kind: str
    help: str
    attributes: tuple[tuple[str, str], ...]


_WORKFLOW: Final = (("jitflow.workflow.uid", "of the workflow"),)

SPANS: Final = (
    KnownSpan(
        name="METHOD route",
        kind="server",
        help="A request, until its answer has been sent; those for health and metrics are left out",
        attributes=(
            ("http.request.method", "its method"),
            ("http.route", "the pattern of its path"),
            ("url.path", "its path"),
            ("http.response.status_code", "the status of the answer"),
        ),
    ),
    KnownSpan(
        name="workflow NAMESPACE/NAME",
        kind="internal",
        help="A workflow, from when it was taken until it ended",
        attributes=(
            *_WORKFLOW,
            ("jitflow.workflow.name", "its name"),
            ("jitflow.workflow.namespace", "its namespace"),
            ("jitflow.phase", "how it ended"),
        ),
    ),
    KnownSpan(
        name="TYPE NAME",
        kind="internal",
        help="A node of it: a pod, or a group of nodes; below the node that it belongs to",
        attributes=(
            *_WORKFLOW,
            ("jitflow.node.id", "as the workflow's status has it"),
            ("jitflow.node.type", "Pod, DAG, Steps, StepGroup, Retry …"),
            ("jitflow.node.template", "its template"),
            ("jitflow.phase", "how it ended"),
        ),
    ),
    KnownSpan(
        name="fetch REMOTE, store REMOTE",
        kind="client",
        help="One attempt to bring one object near, or to send it to its far store; below the step for which it was moved",
        attributes=(
            *_WORKFLOW,
            ("jitflow.remote", "the far store"),
            ("jitflow.object", "`remote:path`"),
            ("jitflow.bytes", "of the object; 0 where an equal object was near"),
            ("jitflow.attempt", "which attempt it was, from 1"),
            ("jitflow.outcome", "ok, failed or cancelled"),
            ("jitflow.reason", "why it was moved"),
        ),
    ),
    KnownSpan(
        name="commit",
        kind="client",
        help="One change of a workflow, until it is durable; below the request that waits for it, else below the workflow",
        attributes=(
            *_WORKFLOW,
            ("jitflow.version", "of the workflow that it made, from 1"),
            ("jitflow.nodes", "how many nodes it changed"),
            ("jitflow.effects", "how many effects it began or ended"),
        ),
    ),
    KnownSpan(
        name="KIND job",
        kind="internal",
        help="A transfer job, from when it was taken until it was over; below the request that made it",
        attributes=(
            ("jitflow.job.id", "its id"),
            ("jitflow.job.source", "from where"),
            ("jitflow.job.destination", "and to where; empty for a delete"),
            ("jitflow.namespace", "for whom its bytes are counted"),
            ("jitflow.phase", "how it ended"),
            ("jitflow.bytes", "that went over links"),
            ("jitflow.files", "that are done"),
            ("jitflow.job.attempts", "how often it was begun"),
            ("jitflow.job.queued_ms", "how long it waited for its first attempt"),
        ),
    ),
)
