"""Why a node does not run, in one line: what its workflow says, joined with what the data plane knows of its step. Pure."""

import re
from collections.abc import Callable

from msgspec.structs import replace

from jitflow.model.data import StepId
from jitflow.model.reasons import NodeReason, Obstacle, StepStanding, Why

_ENDED = frozenset({"Succeeded", "Failed", "Error", "Skipped", "Omitted"})
_STEP = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/[\w.-]+")
"""A step's id in a message: a workflow's uid and a node's id."""


def why(
    namespace: str, workflow: str, node: NodeReason, data: StepStanding | None, name_of: Callable[[StepId], str] = str
) -> Why:
    """Return the whole answer, in which steps have the names that `name_of` gives them."""
    data = _named(data, name_of) if data is not None and data.phase else None
    node = _with_data(node, data)
    return Why(workflow=workflow, namespace=namespace, node=node, summary=summary(node, data), data=data)


def _named(data: StepStanding, name_of: Callable[[StepId], str]) -> StepStanding:
    def text(message: str) -> str:
        return _STEP.sub(lambda found: name_of(found[0]), message)

    return replace(
        data,
        reason=text(data.reason),
        objects=tuple(replace(one, message=text(one.message)) for one in data.objects),
        read=tuple(replace(one, message=text(one.message)) for one in data.read),
    )


def _with_data(node: NodeReason, data: StepStanding | None) -> NodeReason:
    """Let the data plane say why a step waits for data: its word is newer than the node's message."""
    if data is None or not data.reason:
        return node
    told = tuple(replace(one, message=data.reason) if one.kind == "data" else one for one in node.obstacles)
    return replace(node, obstacles=told)


def summary(node: NodeReason, data: StepStanding | None) -> str:
    """Return a line that says where a node stands, and why."""
    waited = f"; waited {data.waited_s:.1f} s for its data" if data is not None and data.read and data.waited_s else ""
    if node.phase in _ENDED:
        took = node.finished_at - node.started_at if node.finished_at is not None and node.started_at is not None else None
        after = f" after {took:.1f} s" if took is not None and node.phase not in {"Skipped", "Omitted"} else ""
        more = f": {node.message}" if node.message else ""
        still = "".join(f"; {one.message}" for one in node.obstacles)
        return f"{node.name} has ended, {node.phase}{after}{more}{waited}{still}"
    if node.obstacles:
        return f"{node.name} {_joined(node.obstacles)}{_soon(data)}"
    if node.phase == "Running":
        return f"{node.name} runs{waited}"
    return f"{node.name} is about to start"


def _joined(obstacles: tuple[Obstacle, ...]) -> str:
    verbs = ("waits", "works", "is ", "has ", "may ", "its ", "the ")
    texts = [one.message if one.message.startswith(verbs) else f"does not run: {one.message}" for one in obstacles]
    return "; ".join(f"does not run: {text}" if text.startswith(("its ", "the ")) else text for text in texts)


def _soon(data: StepStanding | None) -> str:
    if data is None or data.phase not in {"fetching"} or data.expected_s is None:
        return ""
    return f"; all of its data is expected in about {data.expected_s:.0f} s"
