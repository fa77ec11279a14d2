"""Why a node does not run: what its workflow says, and what only the engine knows, places and the holders of locks."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from jitflow.model.reasons import NodeReason, Obstacle

_NAMED = 3


class PodStanding(Struct, frozen=True, kw_only=True):
    """Where a pod is on its way. `before`: how many wait for a place before it; `held` of `places` are taken.

    `obstacle`: why no node can take it. `has_data`: False where a pod takes its place before its data is fetched.
    """

    phase: str
    has_data: bool = True
    obstacle: str = ""
    before: int = 0
    held: int = 0
    places: int = 0


def with_pod(reason: NodeReason, pod: PodStanding | None) -> NodeReason:
    """Add what keeps a pod from running."""
    if pod is None or reason.obstacles:
        return reason
    match pod.phase:
        case "data":
            kind = "machine" if pod.obstacle else "data"
            found = Obstacle(kind=kind, message=pod.obstacle or reason.message or "waits for its data")
        case "slot":
            first = "its data is here; " if pod.has_data else ""
            text = f"{first}waits for a place to run: {pod.held} of {pod.places} are taken, {pod.before} wait before it"
            found = Obstacle(kind="place", message=text)
        case "starting":
            found = Obstacle(kind="starting", message="its data is here; its pod is being started")
        case _:
            return reason
    return replace(reason, obstacles=(found,))


def with_holders(reason: NodeReason, holders: Sequence[str]) -> NodeReason:
    """Say who holds the locks that a node waits for."""
    if not holders:
        return reason
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    text = f"; held by {', '.join(holders[:_NAMED])}{more}"
    told = tuple(replace(one, message=one.message + text) if one.kind == "lock" else one for one in reason.obstacles)
    return replace(reason, obstacles=told)
