"""Outputs that live in the primary only as long as steps of their workflow need them: who still reads which."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from jitflow.dataplane.core import Core, workflow_of
from jitflow.dataplane.inside import parents
from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid


def plain(ref: ObjectRef) -> ObjectRef:
    """Return an object's name without the slash that tells a directory: it is known only when it is there."""
    return ObjectRef(remote=ref.remote, path=ref.path.rstrip("/")) if ref.path.endswith("/") else ref


@dataclass(kw_only=True)
class _Flow:
    """One workflow. Readers go by their family: what one attempt could not do, a later one may have done."""

    may: set[ObjectRef] = field(default_factory=set)
    """Outputs that need not be sent."""
    open_ended: bool = True
    """Whether steps may come that are not known yet."""
    readers: dict[ObjectRef, set[StepId]] = field(default_factory=dict)
    """Of each output, those who have not read it yet."""
    reads: dict[StepId, frozenset[ObjectRef]] = field(default_factory=dict)
    begun: set[StepId] = field(default_factory=set)
    """Families that have asked, or failed: an announcement that leaves them out says nothing of them."""
    read: set[ObjectRef] = field(default_factory=set)
    """Outputs that somebody has read, or was to read."""
    kept: dict[ObjectRef, ObjectRef] = field(default_factory=dict)
    """Outputs that are in the primary and nowhere else, by their plain names."""


class Transients:
    """Lets an output go when all steps that read it have succeeded, and none that may come reads it.

    A step that fails holds what it has read until another attempt succeeds or the workflow ends: it can be retried.
    """

    def __init__(self, core: Core) -> None:
        """Tell the planner of `core`."""
        self._core = core
        self._flows: dict[WorkflowUid, _Flow] = {}

    # -- the future --------------------------------------------------------------------------------------------------------

    def announced(self, uid: WorkflowUid, steps: Sequence[FutureStep], *, open_ended: bool) -> list[ObjectRef]:
        """Take the steps to come; return outputs in the primary that have to be sent after all, for they are read as parts."""
        may = {plain(output.ref) for step in steps for output in step.outputs if output.transient}
        flow = self._flows.get(uid)
        if flow is None and not may:
            return []
        flow = self._flows.setdefault(uid, _Flow())
        tracked = may | flow.may | flow.kept.keys()
        gathered = sorted(_gathered(tracked, steps))
        flow.may, flow.open_ended = (flow.may | may).difference(gathered), open_ended
        for name in [name for name in flow.reads if name not in flow.begun]:
            self._drop(flow, name)
        for step in steps:
            self._enter(flow, step, tracked)
        self._sweep(flow, list(flow.kept))
        for ref in gathered:
            self._core.planner.export(ref)
        return [flow.kept[ref] for ref in gathered if ref in flow.kept]

    def _enter(self, flow: _Flow, step: FutureStep, tracked: Iterable[ObjectRef]) -> StepId:
        name = step.family or step.id
        reads = frozenset(ref for one in step.inputs for ref in _around(one.ref) if ref in tracked)
        if reads:
            flow.reads[name] = flow.reads.get(name, frozenset()) | reads
            flow.read |= reads
            for ref in reads:
                flow.readers.setdefault(ref, set()).add(name)
        return name

    def _drop(self, flow: _Flow, name: StepId) -> frozenset[ObjectRef]:
        reads = flow.reads.pop(name, frozenset())
        for ref in reads:
            flow.readers[ref].discard(name)
        return reads

    # -- steps -------------------------------------------------------------------------------------------------------------

    def marked(self, uid: WorkflowUid, step: FutureStep) -> FutureStep:
        """A step asks for its lease: return it with its outputs marked as they were announced."""
        flow = self._flows.get(uid)
        if flow is None:
            return step
        flow.begun.add(self._enter(flow, step, flow.may | flow.kept.keys()))
        if not any(plain(one.ref) in flow.may for one in step.outputs):
            return step
        outputs = tuple(replace(one, transient=plain(one.ref) in flow.may) for one in step.outputs)
        return replace(step, outputs=outputs)

    def ended(self, step: StepId, family: StepId, *, good: bool) -> None:
        """A step has ended, and what it wrote is safe."""
        flow = self._flows.get(workflow_of(step))
        if flow is None or not good:
            return
        name = family or step
        flow.begun.discard(name)
        self._sweep(flow, sorted(self._drop(flow, name)))  # in the same order in every process

    def is_read_by(self, uid: WorkflowUid, ref: ObjectRef, families: Collection[StepId]) -> bool:
        """Return whether an output goes as soon as the last of these has succeeded."""
        flow = self._flows.get(uid)
        if flow is None or flow.open_ended or plain(ref) not in flow.kept:
            return False
        readers = flow.readers.get(plain(ref))
        return bool(readers) and readers.issubset(families)

    def _sweep(self, flow: _Flow, refs: Iterable[ObjectRef]) -> None:
        """Let outputs go that were read by all who read them."""
        if flow.open_ended:
            return
        for ref in refs:
            if ref in flow.kept and ref in flow.read and not flow.readers.get(ref):
                self._core.planner.let_go(flow.kept[ref])

    # -- outputs -----------------------------------------------------------------------------------------------------------

    def is_transient(self, uid: WorkflowUid, ref: ObjectRef) -> bool:
        """Return whether an output that a step has just written need not be sent."""
        flow = self._flows.get(uid)
        return flow is not None and plain(ref) in flow.may

    def keep(self, uid: WorkflowUid, ref: ObjectRef) -> None:
        """An output is, or will be, in the primary and nowhere else: let the planner keep it until it is let go."""
        self._flows.setdefault(uid, _Flow()).kept[plain(ref)] = ref
        self._core.planner.retain(ref)

    def forget(self, uid: WorkflowUid, ref: ObjectRef) -> None:
        """An output is gone, or is at its far store too."""
        flow = self._flows.get(uid)
        if flow is not None:
            flow.kept.pop(plain(ref), None)

    def withdraw(self, uid: WorkflowUid, *, good: bool) -> list[ObjectRef]:
        """The workflow has ended. Let its outputs go; return those that a retry would read, if it has not succeeded."""
        flow = self._flows.pop(uid, None)
        if flow is None:
            return []
        wanted = [] if good else [ref for name, ref in flow.kept.items() if flow.open_ended or flow.readers.get(name)]
        spared = set(wanted)
        for ref in flow.kept.values():
            if ref not in spared:
                self._core.planner.let_go(ref)
        return wanted


def _around(ref: ObjectRef) -> list[ObjectRef]:
    """Return an object's plain name, and those of the directories around it."""
    return [plain(ref), *(plain(prefix) for prefix in parents(ref))]


def _gathered(tracked: set[ObjectRef], steps: Sequence[FutureStep]) -> set[ObjectRef]:
    """Return those outputs that steps read by reading a directory around them."""
    if not tracked:
        return set()
    around: dict[ObjectRef, set[ObjectRef]] = {}
    for ref in tracked:
        for prefix in parents(ref):
            around.setdefault(plain(prefix), set()).add(ref)
    return {ref for step in steps for one in step.inputs for ref in around.get(plain(one.ref), ())}
