"""One node of a workflow: what Argo's status shows of it, and what the machine needs to go on."""

from typing import Any

import msgspec
from msgspec import Struct

from jitflow.machine import phases
from jitflow.model import argo

POD = "Pod"
STEPS = "Steps"
STEP_GROUP = "StepGroup"
DAG = "DAG"
TASK_GROUP = "TaskGroup"
RETRY = "Retry"
SUSPEND = "Suspend"
SKIPPED = "Skipped"
CONTAINER = "Container"
"""A container of a set: shown in the status, no node of its own."""
HTTP = "HTTP"
PLUGIN = "Plugin"

EXECUTABLE = frozenset({POD, HTTP, PLUGIN})
"""Types that do work themselves."""

PROGRESSING = EXECUTABLE | {SUSPEND}
"""Types of which the workflow's progress is the sum."""

COUNTED = frozenset({POD, STEPS, DAG, HTTP, PLUGIN})
"""Types that take one of their boundary's `parallelism` slots."""

HOOK = -2
"""The `task` of a hook's node; its `index` counts the hooks of the node it is about."""

Key = tuple[int, int]
"""Place below the owner: (task, index); see `Node.key`."""


class Node(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A node. Rows are stored by field order: new fields go to the end.

    Children and outbound nodes are not kept here, so that a group's row does not grow with each child: `status` derives them.
    Times are seconds since the epoch.
    """

    id: str
    name: str
    type: str = ""
    phase: str = ""
    message: str = ""
    display_name: str = ""
    template: str = ""
    """Key of the template in the program: its name, or the path of an inline one."""
    scope: str = ""
    boundary: str = ""
    owner: str = ""
    """The node that is told when this one ends; empty for the root and the exit handler."""
    task: int = -1
    """Which task of the boundary's template this is, counted over all step groups."""
    index: int = -1
    """The item of a loop, the attempt of a Retry, or the number of a StepGroup."""
    item: str = ""
    """JSON text of the loop's item."""
    started_at: float | None = None
    finished_at: float | None = None
    inputs: argo.Inputs | None = None
    outputs: argo.Outputs | None = None
    depth: int = 0
    retried: bool = False
    exit_handler: bool = False
    """Belongs to the workflow's exit handler, which runs on after a stop."""
    seq: int = 0
    """Order in the queue of a node that waits for a slot."""
    limiter: str = ""
    """Where a waiting node queues: its boundary's id, or empty for the workflow's queue."""
    saving: bool = False
    """Its output artifacts are not proven at their secondaries yet, or its pod, a daemon's, has not given them yet."""
    held: str = ""
    """The phase that a finished root will have when all outputs are saved."""
    branch: str = ""
    """For an ended DAG task: its phase, or the worst of its dependencies if it did not run."""
    due: float | None = None
    """When a suspension or a backoff ends."""
    killed: str = ""
    """Why its pod was told to end."""
    timeout: float | None = None
    """When a Pending pod is given up."""
    hook: str = ""
    """The name of the hook that this node runs; `exit` for an exit handler of a step or task."""
    hooking: bool = False
    """It has ended, its hooks have not."""
    locking: str = ""
    """`wanted` while it waits for its mutexes and semaphores, `held` when it has them."""
    locks: tuple[str, ...] = ()
    """Names of its mutexes and semaphores."""
    memo: tuple[str, str, bool] | None = None
    """Of a memoized template: the cache, the key, and whether the outputs come from there."""
    containers: tuple[tuple[str, int | None, float, float], ...] = ()
    """Of an ended container set: each container's name, exit code (None: it did not run), start and end."""
    daemoned: bool = False
    """A daemon that was ready once: who waited for it has gone on, whatever becomes of it."""
    ip: str = ""
    """The address at which a daemon is reached."""
    progress: str = ""
    """What the pod has said of its progress, `n/m`; empty: nothing."""
    parts: int = 0
    """How many containers its set has."""

    @property
    def key(self) -> Key:
        """Place below the owner."""
        return (self.task, self.index)

    @property
    def takes_slot(self) -> bool:
        """Whether the node takes one of its boundary's `parallelism` slots while it runs."""
        return bool(self.boundary) and self.type in COUNTED

    @property
    def fails_boundary(self) -> bool:
        """Whether the node has failed as a child of its boundary; of a repeated one only the Retry node counts."""
        if self.hook:
            return False
        return self.is_unsuccessful and (self.type == RETRY or (self.type in COUNTED and not self.retried))

    @property
    def is_waiting(self) -> bool:
        """Whether the node may not start yet."""
        return self.phase == phases.WAITING

    @property
    def is_shown(self) -> bool:
        """Whether the status tells of the node: one that waits for a slot is not there yet."""
        return self.phase != phases.WAITING or bool(self.locking)

    @property
    def is_fulfilled(self) -> bool:
        """Whether the node has ended."""
        return self.phase in phases.FULFILLED

    @property
    def is_hook(self) -> bool:
        """Whether the node hangs below the one it is about; an attempt of a repeated hook hangs below its Retry node."""
        return self.task == HOOK and not self.retried

    @property
    def is_complete(self) -> bool:
        """Whether the node and its hooks have ended, or it is a daemon that was ready: what waits for it may go on."""
        return self.daemoned or (self.is_fulfilled and not self.hooking)

    @property
    def is_daemon(self) -> bool:
        """Whether the node is a ready daemon that still runs (as far as anybody knows)."""
        return self.daemoned and not self.is_fulfilled

    @property
    def could_not_start(self) -> bool:
        """Whether the node ended before it began: what it refers to is not there."""
        return self.type == SKIPPED and self.phase == phases.ERROR

    @property
    def is_unsuccessful(self) -> bool:
        """Whether the node has failed."""
        return self.phase in phases.UNSUCCESSFUL


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Node)


def encode_node(node: Node) -> bytes:
    """Return a node as the row that the store keeps."""
    return _encoder.encode(node)


def decode_node(row: bytes) -> Node:
    """Return the node of a row.

    Raises:
        msgspec.DecodeError: the row is damaged.
    """
    return _decoder.decode(row)


def changed(node: Node, **changes: Any) -> Node:
    """Return a copy of the node with other values."""
    return msgspec.structs.replace(node, **changes)
