"""Choosing a plan in a process of its own: that costs seconds of computing, in which the server goes on.

The process reads one question from its standard input, and writes plans to its standard output: one that is worth following
while others are tried, if there is one, then the one that is chosen. A question comes in frames, so that to write it never takes
long: a head, then the steps in pieces.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.planner import (
    Beside,
    Effort,
    Link,
    Plan,
    PlannerOptions,
    Setting,
    choose,
    choose_beside,
    plain,
    without_estimates,
)

BUDGET_S, _MOST_S = 2.0, 20.0
"""Processor time of one choice, and of one for a workflow that takes long."""
_SHARE = 0.03
"""So much of the time that a workflow takes at least may be spent on the choice of its plan."""
_PATIENCE = 30
"""A machine that is busy may take so many times as long."""
_PIECE = 250
_HEAD_BYTES = 4
EFFORT = Effort(events=1_000_000, restarts=64, thrift=0.02)
"""More than time allows in a large workflow; in a small one all of it takes a moment."""
_FRESH = 0.02
"""While nothing has come for the sake of an order yet, so much is enough to take another one."""
_ALONE = 0.4
"""Where other workflows run, so much of the time goes to plans as if they did not; the rest to plans beside them."""
MOST_BESIDE = 10_000
"""Steps of the other workflows: beside more of them too few plans could be tried, however long that may take."""
_TRIES = 16
"""So many plans can be tried beside others, or none is."""
_UNTRIED = Effort(events=0)
_EVENTS_PER_S = 8_000
"""So many events are simulated in a second, at best: a workflow that takes longer than the budget is not tried at all."""


class Question(Struct, frozen=True, kw_only=True):
    """What is asked. `blind`: too little is known of run times or links, so sizes alone are to count.

    `current`: the plan that is followed until now, None: the plain order.
    `beside`: the other workflows that run, `weight`: of this one beside them.
    """

    steps: Sequence[FutureStep]
    setting: Setting
    blind: bool = False
    current: Plan | None = None
    beside: Sequence[Beside] = ()
    weight: float = 1.0


class _Other(Struct, frozen=True, kw_only=True):
    """Another workflow without its steps."""

    uid: WorkflowUid
    plan: Plan | None
    came_s: float
    weight: float


class _Head(Struct, frozen=True, kw_only=True):
    """A question without its steps. `barriers`: what steps wait for, each different one once."""

    capacity_bytes: int
    link: Link
    options: PlannerOptions
    run_s: float
    links: dict[str, Link]
    resident: list[tuple[ObjectRef, int]]
    barriers: list[tuple[StepId, ...]]
    blind: bool
    current: Plan | None
    others: list[_Other]
    weight: float
    budget_s: float
    pieces: int


class _Piece(Struct, frozen=True, kw_only=True):
    steps: list[FutureStep]
    behind: list[int]
    """Of each step, the number of its barrier."""
    whose: int
    """0: of the workflow that is asked for; else of so many-th of the others."""


class _Told(Struct, frozen=True, kw_only=True):
    """A part of the answer: the plan that is chosen, or one to follow until then."""

    plan: Plan
    is_chosen: bool


class ChoiceFailed(Exception):
    """No plan came; the message says why."""


class PlanProcess:
    """Answers questions, one after another, each in a new process."""

    def __init__(self, budget_s: float = BUDGET_S) -> None:
        """Spend so much processor time on a plan, and more on that of a workflow that takes long."""
        self._budget_s = budget_s
        self._turn = asyncio.Lock()

    async def choose(self, question: Question, early: Callable[[Plan], object] = lambda _: None) -> Plan:
        """Return the best plan that was found within the budget; `early` gets one that is good, if there is one much sooner.

        Raises:
            ChoiceFailed: the process could not be started, or ended without an answer.
        """
        async with self._turn:
            try:
                return await self._ask(question, early)
            except (OSError, EOFError, msgspec.DecodeError, TimeoutError) as error:
                raise ChoiceFailed(f"no plan was chosen: {str(error) or type(error).__name__}") from error

    async def _ask(self, question: Question, early: Callable[[Plan], object]) -> Plan:
        spend_s = budget_s(question, self._budget_s)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"{__package__}._chooser",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "PATH", "LANG", "LD_"))},
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(spend_s * _PATIENCE):
                for frame in _frames(question, spend_s):
                    process.stdin.write(_framed(frame))
                    await process.stdin.drain()
                    await asyncio.sleep(0)
                process.stdin.close()
                plan, said = await asyncio.gather(_chosen(process.stdout, early), process.stderr.read())
        except BaseException:
            # Only then: who signals a process that has ended takes its end from those who wait for it.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        finally:
            await process.wait()
        if plan is None:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            raise EOFError(f"the process ended with {process.returncode} and no answer: {last or 'it said nothing'}")
        return plan


async def _chosen(source: asyncio.StreamReader, early: Callable[[Plan], object]) -> Plan | None:
    """Return the plan that is chosen, None if none comes; of one that comes before it tell at once."""
    try:
        while True:
            size = int.from_bytes(await source.readexactly(_HEAD_BYTES), "big")
            told = msgspec.msgpack.decode(await source.readexactly(size), type=_Told)
            if told.is_chosen:
                return told.plan
            early(told.plan)
    except EOFError:
        return None


def budget_s(question: Question, least_s: float = BUDGET_S) -> float:
    """Return how much processor time a choice is worth: more than the least where what is to come computes for long."""
    usual_s, workers = question.setting.run_s, max(1, question.setting.options.workers)
    computes_s = sum(usual_s if step.run_s is None else step.run_s for step in question.steps) / workers
    return max(least_s, min(_MOST_S, _SHARE * computes_s))


def _frames(question: Question, budget_s: float) -> Iterator[bytes]:
    """Yield a question, in pieces that are each encoded in a few milliseconds."""
    encoder = msgspec.msgpack.Encoder()
    setting = question.setting
    flows = [question.steps, *(one.steps for one in question.beside)]
    numbers: dict[int, int] = {}
    barriers: list[tuple[StepId, ...]] = []
    for step in (step for steps in flows for step in steps):
        # Steps behind one barrier share a tuple, and go on doing so.
        if id(step.after) not in numbers:
            numbers[id(step.after)] = len(barriers)
            barriers.append(step.after)
    pieces = [(whose, start) for whose, steps in enumerate(flows) for start in range(0, len(steps), _PIECE)]
    yield encoder.encode(
        _Head(
            capacity_bytes=setting.capacity_bytes,
            link=setting.link,
            options=setting.options,
            run_s=setting.run_s,
            links=setting.links,
            resident=list(setting.resident.items()),
            barriers=barriers,
            blind=question.blind,
            current=question.current,
            others=[_Other(uid=one.uid, plan=one.plan, came_s=one.came_s, weight=one.weight) for one in question.beside],
            weight=question.weight,
            budget_s=budget_s,
            pieces=len(pieces),
        )
    )
    for whose, start in pieces:
        steps = flows[whose][start : start + _PIECE]
        behind = [numbers[id(step.after)] for step in steps]
        yield encoder.encode(_Piece(steps=[replace(step, after=()) for step in steps], behind=behind, whose=whose))


def read(source: BinaryIO) -> tuple[Question, float]:
    """Return a question and how much processor time its answer may take.

    Raises:
        EOFError: it is not complete.
    """
    head = msgspec.msgpack.decode(_frame(source), type=_Head)
    flows: list[list[FutureStep]] = [[] for _ in range(len(head.others) + 1)]
    for _ in range(head.pieces):
        piece = msgspec.msgpack.decode(_frame(source), type=_Piece)
        flows[piece.whose] += (replace(step, after=head.barriers[n]) for step, n in zip(piece.steps, piece.behind, strict=True))
    setting = Setting(
        capacity_bytes=head.capacity_bytes,
        link=head.link,
        options=head.options,
        run_s=head.run_s,
        links=head.links,
        resident=dict(head.resident),
    )
    beside = [
        Beside(uid=one.uid, steps=steps, plan=one.plan, came_s=one.came_s, weight=one.weight)
        for one, steps in zip(head.others, flows[1:], strict=True)
    ]
    question = Question(
        steps=flows[0], setting=setting, blind=head.blind, current=head.current, beside=beside, weight=head.weight
    )
    return question, head.budget_s


def write(target: BinaryIO, plan: Plan, *, is_chosen: bool) -> None:
    """Answer with a plan, or tell of one to follow until then."""
    target.write(_framed(msgspec.msgpack.encode(_Told(plan=plan, is_chosen=is_chosen))))
    target.flush()


def _framed(frame: bytes) -> bytes:
    return len(frame).to_bytes(_HEAD_BYTES, "big") + frame


def _frame(source: BinaryIO) -> bytes:
    size = int.from_bytes(source.read(_HEAD_BYTES), "big")
    frame = source.read(size)
    if len(frame) < size or not size:
        raise EOFError("the question is not complete")
    return frame


def answer(question: Question, budget_s: float, early: Callable[[Plan], None] | None = None) -> Plan:
    """Return the best plan that is found within so much processor time, or the one that is followed now.

    `early`: see `jitflow.planner.choose`.
    """
    steps, setting = question.steps, question.setting
    current = question.current or plain(steps)
    begun = question.current is not None or any(one.ref in setting.resident for step in steps for one in step.inputs)
    if question.blind and begun:
        return replace(current, reason=f"{current.name}: kept, for too little is known of run times or of the links")
    if question.blind:
        plan = without_estimates(steps)
        return replace(plan, reason=f"{plan.name}: by sizes alone, for too little is known of run times or of the links")
    moved = {one.ref for step in steps for one in (*step.inputs, *step.outputs)}
    if len(steps) + len(moved) > _EVENTS_PER_S * budget_s:
        plan = current if begun else choose(steps, setting, _UNTRIED)
        return replace(plan, reason=f"{plan.reason or plan.name}; too large a workflow to try several plans")
    effort = EFFORT if begun else replace(EFFORT, steady=_FRESH)
    count = len(steps) + sum(len(one.steps) for one in question.beside)
    beside = question.beside if _TRIES * count <= _EVENTS_PER_S * budget_s else ()
    began, asker = time.process_time(), os.getppid()

    def over(share: float) -> Callable[[], bool]:
        return lambda: time.process_time() >= began + share * budget_s or os.getppid() != asker

    alone = choose(steps, setting, effort, over(_ALONE if beside else 1.0), current=current, early=None if beside else early)
    if begun and alone.makespan_s is None:
        return replace(current, reason=f"{current.name}: kept, for no plan could be tried to its end in time")
    followed = begun and alone.starts == current.starts
    steady = effort.steady if followed else 0.0
    return choose_beside(alone, steps, setting, effort, over(1.0), beside=beside, weight=question.weight, steady=steady)
