"""What streams tell of workflows."""

from typing import Any

from msgspec import Struct

from jitflow.model import argo


class Delta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has changed of one run since the client was last told of it.

    `type`: `ADDED`, `MODIFIED` or `DELETED`. `workflow`: metadata and status without nodes. `nodes`: those that changed, by id,
    without what follows from others (children, sums). `complete`: `nodes` are all that there are; forget others. `removed`: ids.
    `sequence`: begin after it to go on from here.
    """

    type: str
    sequence: int
    workflow: dict[str, Any]
    nodes: dict[str, argo.NodeStatus] = {}
    removed: tuple[str, ...] = ()
    complete: bool = False
