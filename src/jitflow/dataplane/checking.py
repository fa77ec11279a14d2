"""Before a workflow runs: do its inputs exist, can it ever fit, what will it take."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from jitflow.dataplane.core import Core, advice, remedy
from jitflow.dataplane.foreseeing import foreseen
from jitflow.dataplane.inside import below, lies_in, parents
from jitflow.dataplane.lookups import Answers, stat_all
from jitflow.dataplane.planning import Planning
from jitflow.dataplane.worlds import Worlds
from jitflow.model.data import FutureInput, FutureStep, ObjectInfo, ObjectRef, ReplicaState, WorkflowUid
from jitflow.model.origins import is_open
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import Estimate
from jitflow.planner import Plan, footprint
from jitflow.ports.dataplane import Quota
from jitflow.ports.errors import FixRequest, ObjectMissing

_STEPS_NAMED = 5


async def admit(
    core: Core, steps: Sequence[FutureStep], namespace: str, quota: Quota
) -> tuple[list[FutureStep], dict[ObjectRef, bool], Answers]:
    """Look everything up that comes from outside the workflow; return the steps with sizes, what was looked up, the answers.

    Raises:
        Refused: an input cannot be had, or a step can never fit.
    """
    sized, external, answers = await looked_up(core, steps)
    _refuse_too_large(core, sized)
    _refuse_over_quota(sized, namespace, quota)
    return sized, external, answers


async def looked_up(core: Core, steps: Sequence[FutureStep]) -> tuple[list[FutureStep], dict[ObjectRef, bool], Answers]:
    """Do as `admit`, but for what fits.

    Raises:
        Refused: an input cannot be had.
    """
    external = _external(steps)
    answers = await stat_all(core, [ref for ref in external if not _dirty(core, ref)])
    _refuse_missing(core, answers, external)
    _note(core, answers)
    return [_sized(core, step, answers) for step in steps], external, answers


async def check(
    core: Core, uid: WorkflowUid, steps: Sequence[FutureStep], planning: Planning, worlds: Worlds, *, namespace: str, quota: Quota
) -> Estimate:
    """Do as `admit`, and say what the workflow will take, by the plan that would be chosen for it.

    Raises:
        Refused: as `admit`.
    """
    sized, external, answers = await admit(core, steps, namespace, quota)
    estimate = summed(core, worlds, sized, external, answers)
    sized = worlds.expecting(sized)
    plan, note = await planning.foresee(uid, sized, quota)
    estimate = replace(estimate, plans=(note,) if note is not None else (), quota_bytes=quota.bytes)
    return await foreseen(core, estimate, [(uid, sized)], worlds, {uid: plan} if plan is not None else None)


async def outlook(
    core: Core, workflows: Sequence[tuple[WorkflowUid, Sequence[FutureStep]]], plans: Mapping[WorkflowUid, Plan], worlds: Worlds
) -> Estimate:
    """Say what is still to come of workflows that run, by their plans, from what is known of their objects."""
    together = [step for _, steps in workflows for step in steps]
    external = _external(together)
    answers: Answers = {ref: core.infos[ref] for ref in external if ref in core.infos}
    rows = (core.rows[ref] for ref in external if ref in core.rows)
    answers.update((row.ref, ObjectInfo(ref=row.ref, size_bytes=row.size_bytes)) for row in rows)
    sized = [(uid, [_sized(core, step, answers) for step in steps]) for uid, steps in workflows]
    estimate = summed(core, worlds, [step for _, steps in sized for step in steps], external, answers)
    return await foreseen(core, estimate, [(uid, worlds.expecting(steps)) for uid, steps in sized], worlds, plans)


def _external(steps: Sequence[FutureStep]) -> dict[ObjectRef, bool]:
    """Return what comes from outside these steps, and whether all of them can do without it for now."""
    produced = {output.ref for step in steps for output in step.outputs}
    around = {prefix for ref in produced for prefix in parents(ref)}
    external: dict[ObjectRef, bool] = {}
    for step in steps:
        for one in step.inputs:
            if not lies_in(one.ref, produced) and below(one.ref) not in around:
                external[one.ref] = external.get(one.ref, True) and (one.optional or one.late)
    return external


def _dirty(core: Core, ref: ObjectRef) -> bool:
    """Return whether an object is an output that has not reached its secondary yet: it is here all the same."""
    row = core.rows.get(ref)
    return row is not None and row.dirty


def _refuse_missing(core: Core, answers: Answers, optional: dict[ObjectRef, bool]) -> None:
    problems: list[Problem] = []
    by_remote: dict[str, int] = {}
    for ref, answer in answers.items():
        if isinstance(answer, ObjectInfo) or (isinstance(answer, ObjectMissing) and optional[ref]):
            continue
        if is_open(ref.remote):
            # As in Argo, such a workflow begins: an earlier step may make what is not there yet.
            core.infos.pop(ref, None)
            continue
        if not isinstance(answer, ObjectMissing):
            by_remote[ref.remote] = by_remote.get(ref.remote, 0) + 1
            if by_remote[ref.remote] > 1:
                continue
        problems.append(_problem(ref, answer))
    if problems:
        raise Refused(problems)


def _problem(ref: ObjectRef, error: Exception) -> Problem:
    text = advice(error)
    message = text if str(ref) in text else f"input {ref}: {text}"
    if isinstance(error, ObjectMissing):
        return Problem(message=message, remedy="check its name, or put it there first", code="not_found")
    code = "invalid" if isinstance(error, FixRequest) else "unavailable"
    return Problem(message=message, remedy=remedy(ref.remote, "submit again"), code=code)


def _note(core: Core, answers: Answers) -> None:
    """Remember what was learned; replicas of other versions are of no use any more."""
    for ref, answer in answers.items():
        if not isinstance(answer, ObjectInfo):
            continue
        core.know(ref, answer)
        row = core.rows.get(ref)
        if row is not None and not row.dirty:
            other = bool(row.version and answer.version and row.version != answer.version)
            if other or row.size_bytes != answer.size_bytes:
                core.planner.changed(ref)
    core.pump()


def _sized(core: Core, step: FutureStep, answers: Answers) -> FutureStep:
    inputs: list[FutureInput] = []
    for one in step.inputs:
        answer = answers.get(one.ref)
        if isinstance(answer, ObjectInfo):
            inputs.append(replace(one, size_bytes=answer.size_bytes))
        elif answer is None:
            row = core.rows.get(one.ref)
            inputs.append(replace(one, size_bytes=row.size_bytes) if row is not None and row.dirty else one)
    return replace(step, inputs=tuple(inputs)) if inputs or step.inputs else step


def _refuse_too_large(core: Core, steps: Sequence[FutureStep]) -> None:
    _refuse_too_many(core, steps)
    capacity = core.planner.bytes.limit
    needs = [(footprint(step), step) for step in steps]
    smallest = max((need for need, _ in needs), default=0)
    if smallest <= capacity:
        return
    large = sorted((one for one in needs if one[0] > capacity), key=lambda one: -one[0])
    problems = [
        Problem(
            message=f"step {step.id} needs {need:,} bytes in the primary at once, which has {capacity:,}",
            remedy=f"the smallest capacity that would do is {smallest:,} bytes",
            code="too_large",
        )
        for need, step in large[:_STEPS_NAMED]
    ]
    raise Refused(problems)


def _refuse_too_many(core: Core, steps: Sequence[FutureStep]) -> None:
    most = core.planner.bytes.max_objects
    needs = [(len({one.ref for one in step.inputs}) + len(step.outputs), step) for step in steps] if most else []
    large = sorted((one for one in needs if one[0] > most), key=lambda one: -one[0])
    if large:
        raise Refused(
            [
                Problem(
                    message=f"step {step.id} needs {need:,} objects in the primary at once, which may hold {most:,}",
                    remedy=f"primary.max_objects must be at least {large[0][0]}",
                    code="too_large",
                )
                for need, step in large[:_STEPS_NAMED]
            ]
        )


def _refuse_over_quota(steps: Sequence[FutureStep], namespace: str, quota: Quota) -> None:
    """Refuse steps for which their namespace's quota can never have room."""
    name = f"namespaces.{namespace}.quota"
    problems: list[Problem] = []
    for step in steps:
        size, objects = footprint(step), len({one.ref for one in step.inputs}) + len(step.outputs)
        if quota.bytes is not None and size > quota.bytes:
            may, needs, remedy = f"{quota.bytes:,} bytes", f"{size:,} bytes", f"{name} must be at least {size:,} bytes"
        elif quota.objects and objects > quota.objects:
            may, needs, remedy = (
                f"{quota.objects:,} objects",
                f"{objects:,} objects",
                f"{name}_objects must be at least {objects}",
            )
        else:
            continue
        message = (
            f"step {step.id} needs {needs} in the primary at once, of which namespace {namespace} may have {may} (its quota)"
        )
        problems.append(Problem(message=message, remedy=remedy, code="too_large"))
    if problems:
        raise Refused(problems[:_STEPS_NAMED])


def summed(
    core: Core, worlds: Worlds, steps: Sequence[FutureStep], external: dict[ObjectRef, bool], answers: Answers
) -> Estimate:
    """Return the sums over what steps read from outside: bytes here and to move, their price, and how long the link takes."""
    readers: dict[ObjectRef, int] = {}
    unknown = 0
    for step in steps:
        for one in {one.ref: one for one in step.inputs}.values():
            readers[one.ref] = readers.get(one.ref, 0) + 1
            unknown += one.size_bytes is None and one.ref in external
    rows: list[tuple[str, int | None, str, int]] = []
    distinct = resident = to_move = 0
    money: dict[str, float] = {}
    for output in (one for step in steps for one in step.outputs if not one.transient):
        _add_price(core, money, output.ref.remote, up=output.size_bytes or 0)
    for ref in external:
        answer = answers.get(ref)
        row = core.rows.get(ref)
        size = answer.size_bytes if isinstance(answer, ObjectInfo) else row.size_bytes if row else None
        view = core.planner.item(ref)
        state = view.state if view else ReplicaState.ABSENT
        whole = size or 0
        here = whole if state is ReplicaState.RESIDENT else min(whole, core.arrived_bytes(ref))
        distinct += whole
        resident += here
        to_move += whole - here
        rows.append((str(ref), size, state.value, readers.get(ref, 0)))
        if whole > here:
            _add_price(core, money, ref.remote, down=whole - here)
    footprints = [footprint(step) for step in steps]
    books = core.planner.bytes
    rate = _rate(worlds, external)
    transfer_s = to_move / rate if rate else None
    return Estimate(
        objects=len(external),
        distinct_bytes=distinct,
        resident_bytes=resident,
        to_move_bytes=to_move,
        peak_bytes=min(books.limit, distinct + sum(one.size_bytes or 0 for step in steps for one in step.outputs)),
        capacity_bytes=books.limit,
        smallest_capacity_bytes=max(footprints, default=0),
        unknown=unknown,
        link_Bps=rate,
        transfer_s=transfer_s,
        expected_s=None,
        rows=tuple(sorted(rows)),
        money=money,
    )


def _add_price(core: Core, money: dict[str, float], remote: str, *, down: int = 0, up: int = 0) -> None:
    """Add what one object costs on its way from (or to) a remote."""
    prices = core.spending.prices(remote)
    if not prices.is_free:
        money[prices.currency] = money.get(prices.currency, 0.0) + prices.of(down=down, up=up, requests=1)


def _rate(worlds: Worlds, refs: dict[ObjectRef, bool]) -> float | None:
    """Return the slowest known rate of the remotes in question, within their limits, None if one is not known."""
    rates = [worlds.expected(remote) for remote in {ref.remote for ref in refs}]
    known = [rate for rate in rates if rate is not None]
    return min(known) if known and len(known) == len(rates) else None
