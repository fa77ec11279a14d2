"""The life of a workflow that another Argo runs, as its events tell it: a pure state machine.

`joined` is all there is to a state: of two views the newer one. It is commutative, associative and idempotent, so that events may
come repeated, late and in any order: the end is the same. What is to be near follows from the state alone (`wanted`).
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from jitflow.machine.names import fnv1a32
from jitflow.model.data import FutureInput, FutureStep, StepId
from jitflow.model.foreign import ACTIVE, DONE, ForeignRun

DELETED, SILENT = "Deleted", "Silent"
PREFIX = "foreign:"
"""Begins what the data plane calls such a workflow; no workflow of our own is called so."""


NOTHING: Final[Mapping[str, Any]] = {}
Parts = Mapping[str, tuple[tuple[FutureInput, ...], ...]]
"""What steps hold, by node: all that was known at first, and what became known later, for a lease never changes."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What the data plane is to know: all that is to come, in order of need, and which of it holds its objects now (`held`)."""

    coming: tuple[FutureStep, ...] = ()
    held: frozenset[StepId] = frozenset()
    parts: Parts = NOTHING


def joined(one: ForeignRun, other: ForeignRun) -> ForeignRun:
    """Return what two views of the same workflow come to."""
    newer, older = (other, one) if _is_newer(other, one) else (one, other)
    heard_at = newer.heard_at if newer.version > older.version else max(one.heard_at, other.heard_at)
    deleted = one.deleted or other.deleted
    return replace(
        newer,
        deleted=deleted,
        first_heard_at=min(one.first_heard_at, other.first_heard_at),
        heard_at=heard_at,
        steps=() if deleted or newer.has_ended else newer.steps,
        origins=() if deleted or newer.has_ended else newer.origins,
    )


def _is_newer(one: ForeignRun, other: ForeignRun) -> bool:
    """Order views; between two of one version, which never differ in truth, anything decides that is the same each time."""
    own, others = (one.version, one.phase, one.finished_at), (other.version, other.phase, other.finished_at)
    return own > others or (own == others and one.steps != other.steps and repr(one.steps) > repr(other.steps))


def ending(run: ForeignRun, now: float, silence_s: float) -> str:
    """Return how a workflow has ended: its phase, `Deleted`, `Silent` (not heard of for so long); empty if it has not."""
    if run.has_ended:
        return run.phase if not run.deleted else DELETED
    return SILENT if silence_s and now - run.heard_at >= silence_s else ""


def data_uid(namespace: str, uid: str) -> str:
    """Return what the data plane calls the workflow: who may speak for one namespace never speaks of another's."""
    return f"{PREFIX}{namespace}:{uid}"


def wanted(run: ForeignRun, ahead: int, parts: Parts = NOTHING) -> Wanted:
    """Return what is to be near.

    Steps with a pod hold what they read, and the next `ahead` that will run; so does what is held already (`parts`), until its
    step is done. What another step has still to write is not there yet and not waited for.
    """
    uid, steps = data_uid(run.namespace, run.uid), [step for step in run.steps if step.state != DONE]
    steps.sort(key=lambda step: step.state != ACTIVE)
    written = {ref for step in steps for ref in step.outputs}
    coming: list[FutureStep] = []
    holding: dict[str, tuple[tuple[FutureInput, ...], ...]] = {}
    ids: dict[str, tuple[StepId, ...]] = {}
    left = ahead
    for step in steps:
        inputs = tuple(one for one in step.inputs if one.ref not in written and one.near not in written)
        holds = step.state == ACTIVE or step.id in parts
        if inputs and not holds and left > 0:
            left -= 1
            holds = True
        groups = _groups(inputs, parts.get(step.id, ())) if holds else ()
        if groups:
            holding[step.id] = groups
        ids[step.id] = tuple(_part_id(uid, step.id, group) for group in groups) or (f"{uid}/{step.id}",)
        after = tuple(other for name in step.after for other in ids.get(name, ()))
        for part, group in zip(ids[step.id], groups or (inputs,), strict=True):
            coming.append(FutureStep(id=part, inputs=group, after=after, certain=step.certain, template=step.template))
    held = frozenset(part for node in holding for part in ids[node])
    return Wanted(coming=tuple(coming), held=held, parts=holding)


def _groups(inputs: tuple[FutureInput, ...], parts: tuple[tuple[FutureInput, ...], ...]) -> tuple[tuple[FutureInput, ...], ...]:
    """Return what a step holds already, and what has become known since as a part of its own."""
    have = {one.ref for part in parts for one in part}
    rest = tuple(one for one in inputs if one.ref not in have)
    return (*parts, rest) if rest else parts


def _part_id(uid: str, node: str, group: tuple[FutureInput, ...]) -> StepId:
    """Return a name for what a step holds that says what that is: another life calls the same thing the same."""
    return f"{uid}/{node}+{fnv1a32(chr(0).join(sorted(str(one.ref) for one in group)))}"
