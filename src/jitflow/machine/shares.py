"""How far a workflow is: what each node says of itself as `n/m`, and the sum of all."""

from jitflow.machine import node as types
from jitflow.machine import phases
from jitflow.machine.node import Node
from jitflow.model import argo

ANNOTATION = "workflows.argoproj.io/progress"
"""Template annotation: the progress that its pods begin with."""

_NONE = (0, 0)
_DEFAULT = (0, 1)
_MAX_DIGITS = 18


def parse(text: str) -> tuple[int, int] | None:
    """Return `n/m` as two numbers, None if it is no progress."""
    done, slash, total = text.partition("/")
    numbers = (done, total)
    if not slash or not all(number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS for number in numbers):
        return None
    found = (int(done), int(total))
    return found if found[0] <= found[1] and found[1] > 0 else None


def own(node: Node) -> tuple[int, int]:
    """Return how far a node is that does work itself, nothing of nothing for any other. One that succeeded is done."""
    if node.type not in types.PROGRESSING or node.phase == phases.WAITING:
        return _NONE
    done, total = parse(node.progress) or _DEFAULT
    return (total, total) if node.phase == phases.SUCCEEDED else (done, total)


def of(node: Node) -> tuple[int, int]:
    """Return what a node adds to the workflow's progress; the containers of a set count beside their pod, as in Argo."""
    done, total = own(node)
    if not node.parts:
        return done, total
    ended = node.parts if node.phase == phases.SUCCEEDED else sum(code == 0 for _, code, _, _ in node.containers)
    return done + ended, total + node.parts


def first(template: argo.Template) -> str:
    """Return the progress that a template's pods begin with."""
    annotations = template.metadata.annotations if template.metadata is not None else {}
    text = annotations.get(ANNOTATION, "")
    return text if parse(text) else ""
