"""Outputs that nobody needs after the run: they need not leave the primary.

Such are artifacts that are deleted when the workflow has ended, and, where people want no others kept than results, artifacts
that steps only hand on to each other. Results are what the workflow exports, what has a location of its own, and what no step
reads.
"""

import re

import msgspec
from msgspec import Struct

from jitflow.machine import garbage, locations
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.program import Program
from jitflow.machine.reach import reached
from jitflow.machine.state import Run, State
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS, Objects

ANNOTATION = "jitflow.io/intermediates"
"""Of a workflow: `keep` or `when-needed`, instead of what the settings say."""
KEEP, WHEN_NEEDED = "keep", "when-needed"

_UNSEEN_READERS = frozenset({"data", "plugin", "resource", "http"})
_ATTEMPT = re.compile(r"\(\d+\)(?=[.\[]|$)")


class Passing(Struct, frozen=True, gc=False):
    """Names of a step's outputs that need not leave the primary: `unread` ones even if no step reads them, `read` ones if one
    does.
    """

    unread: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()


NOTHING = Passing()


class Policy:
    """Which outputs of one workflow may stay in the primary."""

    def __init__(self, program: Program, run: Run, intermediates: str) -> None:
        """`intermediates`: what the settings say of the server's own repository."""
        self._spec = program.spec
        said = (program.metadata.annotations or {}).get(ANNOTATION, "")
        by_settings = intermediates == WHEN_NEEDED and run.repository.default
        self._when_needed = said == WHEN_NEEDED or (by_settings and said != KEEP)

    def of(self, template: CompiledTemplate, written: tuple[argo.Artifact, ...]) -> Passing:
        """Return which of a pod's outputs may stay."""
        if not written:
            return NOTHING
        strategy = garbage.strategy_of
        deleted = [artifact.name for artifact in written if strategy(self._spec, artifact) == garbage.COMPLETION]
        read: list[str] = []
        if self._when_needed and template.archive_location is None:
            own = (template.source.outputs or argo.Outputs()).artifacts
            read = [one.name for one in own if not locations.is_placed(one) and not one.global_name]
        return Passing(frozenset(deleted), frozenset(read)) if deleted or read else NOTHING


def place_of(artifact: argo.Artifact) -> bytes:
    """Return where an artifact lies, to be compared."""
    store = locations.store_of(artifact)
    return store.encode() + msgspec.json.encode(getattr(artifact, store)) if store else b""


def is_foreseeable(state: State, objects: Objects = NO_OBJECTS) -> bool:
    """Return whether all that reads artifacts of the workflow is foreseen.

    Arguments of hooks, templates without pods that read artifacts, and caches of outputs are not.
    """
    program = state.program
    if any(hook.arguments.artifacts for hook in program.hooks.values()):
        return False
    for template in reached(program, objects):
        if template is None:
            return False
        source = template.source
        reads = bool(source.inputs and source.inputs.artifacts) or source.data is not None
        if source.memoize is not None or (template.kind in _UNSEEN_READERS and reads):
            return False
        if any(hook.arguments.artifacts for task in template.tasks for hook in task.hooks.values()):
            return False
    return True


def family_of(name: str) -> str:
    """Return a node's name without the numbers of attempts: what all attempts at one thing have in common."""
    return _ATTEMPT.sub("", name)
