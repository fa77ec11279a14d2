"""Sources that have changed since their replicas came: noticed before a step of a newer workflow reads the replica."""

import logging
from collections.abc import Sequence

from jitflow.dataplane.core import Core
from jitflow.dataplane.lookups import stat_all
from jitflow.model.data import FutureStep, ObjectInfo, ObjectRef, ReplicaState, WorkflowUid
from jitflow.ports.errors import ObjectMissing

log = logging.getLogger("jitflow.dataplane")

_KEPT = 100_000


class Freshness:
    """A workflow reads an object as it was when the workflow was submitted, or later.

    What a workflow reads is looked up when it is submitted. What is known only later may have been brought by an earlier one: it
    is looked up again when a step asks for it. Workflows that were submitted before a restart take what is here.
    """

    def __init__(self, core: Core) -> None:
        """Look at the catalogue of `core`."""
        self._core = core
        self._began: dict[WorkflowUid, float] = {}

    def begin(self, uid: WorkflowUid) -> None:
        """A workflow is being submitted."""
        self._began[uid] = self._core.clock.now()
        if len(self._began) > _KEPT:
            del self._began[next(iter(self._began))]

    def end(self, uid: WorkflowUid) -> None:
        """The workflow has ended."""
        self._began.pop(uid, None)

    def doubtful(self, uid: WorkflowUid, step: FutureStep) -> list[ObjectRef]:
        """Return the inputs whose replicas are older than the workflow and were not looked up since it began."""
        core = self._core
        began = self._began.get(uid)
        if began is None:
            return []
        found: list[ObjectRef] = []
        for one in step.inputs:
            row, view = core.rows.get(one.ref), core.planner.item(one.ref)
            if row is None or row.dirty or view is None or view.state is not ReplicaState.RESIDENT:
                continue
            if core.seen_at.get(one.ref, float("-inf")) < began:
                found.append(one.ref)
        return found

    async def look(self, refs: Sequence[ObjectRef]) -> None:
        """Look at the sources; replicas of others than these are given to nobody any more.

        What cannot be asked now is taken as it is here: a far store that is away stops nothing that is near.
        """
        core = self._core
        for ref, answer in (await stat_all(core, refs)).items():
            row = core.rows.get(ref)
            if isinstance(answer, ObjectInfo):
                core.know(ref, answer)
                if row is not None and not row.dirty and differs(row.version, row.size_bytes, answer):
                    core.planner.changed(ref)
            elif isinstance(answer, ObjectMissing):
                core.infos.pop(ref, None)
                core.planner.changed(ref)
            else:
                log.warning("%s could not be looked up, its replica is read as it is: %s", ref, answer)


def differs(version: str, size_bytes: int, answer: ObjectInfo) -> bool:
    """Return whether a replica of this version and size is not what its source is now."""
    return size_bytes != answer.size_bytes or bool(version and answer.version and version != answer.version)
