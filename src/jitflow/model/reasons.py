"""Why a node does not run yet, and what the data of its step has to do with it: values for the APIs."""

from msgspec import Struct

from jitflow.model.data import StepId


class Obstacle(Struct, frozen=True, kw_only=True):
    """One thing that stands in a node's way. `nodes`: names of those it waits for.

    `kind`: `parents`, `lock`, `parallelism`, `place`, `data`, `suspended`, `backoff`, `steps`, `hooks`, `saving`, `postponed`,
    `condition`, `machine` (no place here fits it) or `starting`.
    """

    kind: str
    message: str
    nodes: tuple[str, ...] = ()


class NodeReason(Struct, frozen=True, kw_only=True):
    """A node and what stands in its way. `phase` is empty for one that is not there yet; times in seconds since the epoch.

    `is_pod`: it has a pod, or will have one, whose data the data plane looks after.
    """

    node_id: str
    name: str
    display_name: str
    phase: str = ""
    type: str = ""
    template: str = ""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    is_pod: bool = False
    obstacles: tuple[Obstacle, ...] = ()


class ObjectStanding(Struct, frozen=True, kw_only=True):
    """Where one input of a step stands. `expected_s`: seconds until it is here, None when that is not known.

    `state`: that of its replica, or `missing`. `queue`: its place among those that wait for a transfer, 0 for none.
    """

    ref: str
    state: str
    message: str
    size_bytes: int | None = None
    done_bytes: int = 0
    queue: int = 0
    rate_Bps: float | None = None
    expected_s: float | None = None


class ObjectRead(Struct, frozen=True, kw_only=True):
    """One input of a step that has begun: where it came from. `transfer_s`: how long its own transfer took, if it had one.

    `source`: `waited` (fetched while the step waited), `ahead` (fetched before), `near` (was in the primary), `step` (written by
    a step into the primary), or `none` (an optional one that does not exist).
    """

    ref: str
    source: str
    message: str
    size_bytes: int = 0
    transfer_s: float | None = None


class StepStanding(Struct, frozen=True, kw_only=True):
    """What the data plane knows of one step. `phase` is empty for a step that it does not know.

    `phase`: `waiting`, `fetching`, `ready`, `running`, `done`. `reason`: why it waits. `expected_s`: seconds until all its
    objects are here. `waited_s`: from its asking for its data until it had them, or until now. `plan`: its place in the order.
    """

    step: StepId
    phase: str = ""
    reason: str = ""
    objects: tuple[ObjectStanding, ...] = ()
    read: tuple[ObjectRead, ...] = ()
    expected_s: float | None = None
    waited_s: float | None = None
    plan: str = ""


class Why(Struct, frozen=True, kw_only=True):
    """The whole answer: a node, one line that says it all, and the data of its step."""

    workflow: str
    namespace: str
    node: NodeReason
    summary: str
    data: StepStanding | None = None
