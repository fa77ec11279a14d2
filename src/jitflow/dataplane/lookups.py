"""Finding out what objects are: sizes and versions, one listing for objects that share a directory, one queue per remote."""

import asyncio
from collections.abc import Callable, Sequence

from jitflow.dataplane.core import Core, advice, remedy
from jitflow.model.data import ObjectInfo, ObjectRef, StepId
from jitflow.model.origins import is_made
from jitflow.planner import Look
from jitflow.ports.errors import ObjectMissing, Retryable, Unreachable

_BATCH = 2048
_PIECE = 128
"""So many answers are told to the planner at once."""

Answers = dict[ObjectRef, ObjectInfo | Exception]


async def stat_all(core: Core, refs: Sequence[ObjectRef], *, fresh: bool = False) -> Answers:
    """Look objects of any remotes up at the same time; a remote that does not answer in time is `Unreachable`.

    `fresh`: ask the stores, whatever listing is kept.
    """
    by_remote: dict[str, list[ObjectRef]] = {}
    for ref in refs:
        by_remote.setdefault(ref.remote, []).append(ref)
    answers: Answers = {}
    async with asyncio.TaskGroup() as group:
        for remote, some in by_remote.items():
            group.create_task(_stat_remote(core, remote, some, answers, fresh=fresh))
    return answers


async def _stat_remote(core: Core, remote: str, refs: Sequence[ObjectRef], answers: Answers, *, fresh: bool = False) -> None:
    limit = core.tuning.look_timeout_s
    try:
        async with asyncio.timeout(limit):
            answers.update(await core.inventory.stat_many(refs, fresh=fresh))
            await _try_directories(core, refs, answers)
    except TimeoutError:
        error = Unreachable(f"remote {remote} did not answer within {limit:g} s; check its address and the network")
        answers.update((ref, error) for ref in refs if ref not in answers)
    except Exception as error:
        answers.update((ref, error) for ref in refs if ref not in answers)


async def _try_directories(core: Core, refs: Sequence[ObjectRef], answers: Answers) -> None:
    """Take a key that names no object for a directory, as Argo does: what lies below it is the answer."""
    wanted = {
        ObjectRef(remote=ref.remote, path=f"{ref.path}/"): ref
        for ref in refs
        if isinstance(answers.get(ref), ObjectMissing) and not ref.is_prefix
    }
    if not wanted:
        return
    for prefix, answer in (await core.storage.stat_many(list(wanted))).items():
        if isinstance(answer, ObjectInfo):
            answers[wanted[prefix]] = answer


async def stat_one(core: Core, ref: ObjectRef) -> ObjectInfo:
    """Look one object up.

    Raises:
        PortError: as `Storage.stat`.
    """
    answer = (await stat_all(core, [ref], fresh=True))[ref]
    if isinstance(answer, Exception):
        raise answer
    return answer


class Lookups:
    """Answers the planner's `Look` commands."""

    def __init__(self, core: Core, refuse: Callable[[StepId, str], None]) -> None:
        """Tell `refuse` of steps whose inputs cannot be had."""
        self._core = core
        self._refuse = refuse
        self._queues: dict[str, dict[ObjectRef, bool]] = {}
        self._attempts: dict[ObjectRef, int] = {}
        self.errors: dict[ObjectRef, str] = {}
        """What went wrong last with an object that is tried again."""

    def look(self, command: Look) -> None:
        """Answer at once from what is known, or ask the remote."""
        info = self._core.infos.get(command.ref)
        if info is not None:
            self._core.planner.size_known(command.ref, info.size_bytes)
            self._core.heard()
            return
        self._enqueue(command.ref, urgent=command.urgent)

    def _enqueue(self, ref: ObjectRef, *, urgent: bool) -> None:
        queue = self._queues.get(ref.remote)
        if queue is None:
            queue = self._queues[ref.remote] = {}
            self._core.owner.start(self._serve(ref.remote, queue), f"look at {ref.remote}")
        queue[ref] = urgent

    async def _serve(self, remote: str, queue: dict[ObjectRef, bool]) -> None:
        """Look up what is queued for one remote, the urgent first, until nothing is left."""
        await asyncio.sleep(0)
        while queue:
            batch = sorted(queue, key=lambda ref: not queue[ref])[:_BATCH]
            urgent = {ref: queue.pop(ref) for ref in batch}
            answers: Answers = {}
            await _stat_remote(self._core, remote, batch, answers)
            for first in range(0, len(batch), _PIECE):
                for ref in batch[first : first + _PIECE]:
                    self._answered(ref, answers.get(ref) or ObjectMissing(f"{ref} does not exist"), urgent=urgent[ref])
                self._core.pump()
                await asyncio.sleep(0)  # what is known now begins to move while the rest is gone through
        del self._queues[remote]

    def _answered(self, ref: ObjectRef, answer: ObjectInfo | Exception, *, urgent: bool) -> None:
        planner = self._core.planner
        if isinstance(answer, ObjectInfo):
            self._attempts.pop(ref, None)
            self.errors.pop(ref, None)
            self._core.know(ref, answer)
            planner.size_known(ref, answer.size_bytes)
            return
        attempt = self._attempts.pop(ref, 0) + 1
        if isinstance(answer, Retryable) and attempt < self._core.tuning.attempts:
            self._attempts[ref] = attempt
            self.errors[ref] = advice(answer)
            self._core.owner.start(self._later(ref, attempt, urgent=urgent), f"look again at {ref}")
            return
        self.errors.pop(ref, None)
        absent = isinstance(answer, ObjectMissing)
        for step in planner.missing(ref, absent=absent):
            self._refuse(step, refusal(self._core, ref, answer))

    async def _later(self, ref: ObjectRef, attempt: int, *, urgent: bool) -> None:
        await self._core.clock.sleep(self._core.tuning.backoff(attempt))
        self._enqueue(ref, urgent=urgent)


def refusal(core: Core, ref: ObjectRef, error: Exception) -> str:
    """Return why an object cannot be had, naming it, its remote and what to do."""
    text = advice(error)
    name = str(ref)
    writer = core.freed_output_of(ref)
    if writer and isinstance(error, ObjectMissing):
        return (
            f"input {name}: it was handed on between steps and let go when it had been read; retry from the node that writes it "
            f"(--restart-successful --node-field-selector id={writer.partition('/')[2]}), or submit the workflow again"
        )
    if isinstance(error, ObjectMissing):
        advised = "check its name, or put it there, and submit again"
    elif isinstance(error, Retryable) and not is_made(ref.remote):
        advised = f"see whether remote {ref.remote} works (jitflow remote test {ref.remote}) and retry"
    else:
        advised = remedy(ref.remote, "retry")
    return f"input {name}: {text}; {advised}" if name not in text else f"{text}; {advised}"
