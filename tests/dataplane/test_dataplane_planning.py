"""Workflows are gone through in the plain order at once, and by a plan, chosen in a process of its own, when there is one."""

import asyncio
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from far_store import Clock, FarStore, Kit, a_step, ref
from msgspec.structs import replace

from jitflow.dataplane import PlanProcess, Tuning, choosing
from jitflow.dataplane.choosing import ChoiceFailed, Question, _frames, answer, read
from jitflow.model.data import FutureStep, ObjectInfo, ObjectRef
from jitflow.model.reports import PlanNote
from jitflow.planner import Arrival, Beside, Link, Plan, PlannerOptions, Setting, plain, simulate
from jitflow.ports.dataplane import Quota


class SlowClock(Clock):
    """A thousandth of the pauses, but no leaps while a process computes."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s / 20)


class Silent(FarStore):
    """A far store that does not answer."""

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        await asyncio.Event().wait()
        raise AssertionError


def chain(kit: Kit, name: str, run_s: float, length: int = 3) -> list[FutureStep]:
    steps: list[FutureStep] = []
    for n in range(length):
        read = kit.far.put(f"{name}{n}", 100)
        after = (f"w/{name}{n - 1}",) if n else ()
        steps.append(replace(a_step(f"{name}{n}", read), run_s=run_s, after=after))
    return steps


def a_kit(tmp_path: Path, **options: object) -> Kit:
    kit = Kit(tmp_path, 2000, transfers=2, workers=1, chooser=PlanProcess(), **options)
    kit.clock = SlowClock()
    kit.plane = kit.make()
    return kit


async def planned(kit: Kit, uid: str = "w") -> PlanNote:
    await kit.until(lambda: kit.plane._planning.note(uid), 20_000)
    note = kit.plane._planning.note(uid)
    assert note is not None
    return note


def test_a_plan_is_chosen_from_run_times_and_rates_and_is_followed_over_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        kit = a_kit(tmp_path)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        short, long = chain(kit, "short", 1.0), chain(kit, "long", 50.0)
        steps = [*short, *long]
        await plane.check("w", steps)
        kit.far.gates["fetch", ref("short0")] = asyncio.Event()
        plane.announce("w", steps)
        assert "in the plain order" in plane.standing("w/long2").plan
        note = await planned(kit)
        assert (note.steps, note.timed) == (6, 6)
        assert note.makespan_s == pytest.approx(153.0, rel=0.05)
        assert f"by plan {note.name}" in plane.standing("w/long2").plan
        found = await plane.outlook([("w", steps)])
        assert found.plans == (note,)
        assert found.expected_s == pytest.approx(153.0, rel=0.05)
        plane = await kit.kill()
        assert plane._planning.note("w") is None
        plane.announce("w", steps)
        assert plane._planning.note("w") == note, "the first announcement goes by it already"
        assert f"by plan {note.name}" in plane.standing("w/long2").plan
        plane.withdraw("w")
        assert plane._planning.note("w") is None
        await plane.close()
        assert not await kit.store.items("plan")

    asyncio.run(run())


def test_a_plan_is_chosen_beside_the_workflows_that_run(tmp_path: Path) -> None:
    async def run() -> None:
        kit = a_kit(tmp_path)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        first = chain(kit, "first", 20.0)
        second = [
            replace(step, id=f"v{step.id[1:]}", after=tuple(f"v{name[1:]}" for name in step.after))
            for step in chain(kit, "second", 2.0)
        ]
        await plane.check("w", [*first, *second])
        for step in (first[0], *second):
            kit.far.gates["fetch", step.inputs[0].ref] = asyncio.Event()
        plane.announce("w", first)
        assert "beside" not in (await planned(kit)).reason
        plane.announce("v", second)
        note = await planned(kit, "v")
        assert "beside 1 other workflow" in note.reason
        assert note.makespan_s == pytest.approx(6.0, rel=0.1), "alone"
        await plane.close()

    asyncio.run(run())


class InTwoParts:
    """Tells of one order, and chooses another one when it may."""

    def __init__(self) -> None:
        self.tells, self.go_on = asyncio.Event(), asyncio.Event()
        self.tells.set()

    async def choose(self, question: Question, early: Callable[[Plan], object] = lambda _: None) -> Plan:
        await self.tells.wait()
        backwards = {step.id: float(-place) for place, step in enumerate(question.steps)}
        early(Plan(starts=backwards, name="early", reason="early"))
        await self.go_on.wait()
        return Plan(starts={step.id: float(place) for place, step in enumerate(question.steps)}, name="chosen", reason="chosen")


def test_a_plan_that_is_told_of_early_is_followed_until_one_is_chosen(tmp_path: Path) -> None:
    async def run() -> None:
        chooser = InTwoParts()
        kit = Kit(tmp_path, 2000, transfers=2, workers=1, chooser=chooser)
        kit.clock = SlowClock()
        kit.plane = kit.make()
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        steps = [replace(step, after=()) for step in chain(kit, "a", 1.0)]
        for n in range(3):
            kit.far.gates["fetch", ref(f"a{n}")] = asyncio.Event()
        plane.announce("w", steps)
        assert (await planned(kit)).name == "early"
        assert "place 1 of 3" in plane.standing("w/a2").plan
        chooser.go_on.set()
        await kit.until(lambda: (found := plane._planning.note("w")) is not None and found.name == "chosen", 20_000)
        assert "place 3 of 3" in plane.standing("w/a2").plan
        await plane.close()

    asyncio.run(run())


def a_short_kit(tmp_path: Path) -> tuple[Kit, list[FutureStep], InTwoParts]:
    """Return a data plane, steps that compute for long and do not all fit, and who tells of no plan yet."""
    chooser = InTwoParts()
    chooser.tells.clear()
    kit = Kit(tmp_path, 250, transfers=2, workers=1, chooser=chooser)
    kit.clock = SlowClock()
    kit.plane = kit.make()
    steps = chain(kit, "a", 100.0, 4)
    return (
        kit,
        [replace(step, after=(), inputs=tuple(replace(one, size_bytes=100) for one in step.inputs)) for step in steps],
        chooser,
    )


def test_where_room_is_short_the_first_plan_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        kit, steps, chooser = a_short_kit(tmp_path)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        await asyncio.sleep(0)
        assert plane.standing("w/a0").reason == "waiting for the first plan of its workflow"
        assert not kit.far.count("fetch", ref("a0"))
        plane.release("w/a1", [])
        chooser.tells.set()
        await kit.until(lambda: kit.lease("a3"))
        assert not kit.far.count("fetch", ref("a1")), "who does not ask any more gets nothing"
        fetched = [one for what, one in kit.far.calls if what == "fetch"]
        assert fetched[0] == ref("a3"), "the plan has it first"
        await plane.close()

    asyncio.run(run())


def test_room_is_short_where_results_do_not_fit_that_other_steps_read(tmp_path: Path) -> None:
    kit = Kit(tmp_path, 250)
    made = [ref("x"), ref("y")]
    steps = [a_step(f"m{one.path}", outputs=[(one, 120)]) for one in made]
    worlds = kit.plane._worlds
    assert not worlds.is_short([*steps, a_step("reader", *made)], Quota())
    last = a_step("last", outputs=[(ref("z"), 20)])
    assert worlds.is_short([*steps, a_step("reader", *made), last], Quota())
    assert worlds.is_short(steps, Quota(bytes=200))


def test_a_first_plan_is_waited_for_no_longer_than_it_is_worth(tmp_path: Path) -> None:
    async def run() -> None:
        kit, steps, _ = a_short_kit(tmp_path)
        plane = await kit.start()
        plane.announce("w", steps)
        plane.acquire("w", steps[0])
        assert plane.standing("w/a0").reason == "waiting for the first plan of its workflow"
        await kit.until(lambda: kit.lease("a0"))
        await plane.close()

    asyncio.run(run())


def test_the_process_tells_of_a_good_plan_before_all_were_tried() -> None:
    runs = {f"s{n}": 1.0 + (n * 7) % 11 for n in range(24)}
    steps, question = a_question(runs, 1.0)
    followed = Plan(starts={step.id: float(-place) for place, step in enumerate(steps)}, name="backwards")
    told: list[tuple[float, Plan]] = []

    async def run() -> tuple[float, Plan]:
        asked = replace(question, current=followed)
        plan = await PlanProcess(4.0).choose(asked, lambda plan: told.append((time.monotonic(), plan)))
        return time.monotonic(), plan

    at, chosen = asyncio.run(run())
    [(early_at, early)] = told
    assert at - early_at > 1.0, "most of the time was still to come"
    assert early.makespan_s is not None
    assert chosen.makespan_s is not None
    assert chosen.starts == early.starts or chosen.makespan_s < early.makespan_s


def test_a_question_comes_through_with_the_workflows_beside_it() -> None:
    steps, question = a_question({"a": 1.0, "b": 2.0}, 1.0)
    others = [
        Beside(uid="x", steps=[replace(step, id=f"x{step.id[1:]}") for step in steps], plan=plain(steps), came_s=3.0, weight=2.0),
        Beside(uid="y", steps=[], came_s=-1.0),
    ]
    asked = replace(question, beside=others, weight=4.0)
    assert read(BytesIO(b"".join(len(frame).to_bytes(4, "big") + frame for frame in _frames(asked, 1.5)))) == (asked, 1.5)


def test_a_plan_of_an_earlier_life_that_nobody_follows_is_removed(tmp_path: Path) -> None:
    async def run() -> None:
        kit = a_kit(tmp_path)
        plane = await kit.start()
        steps = chain(kit, "a", 1.0)
        await plane.check("w", steps)
        kit.far.gates["fetch", ref("a0")] = asyncio.Event()
        plane.announce("w", steps)
        await planned(kit)
        await plane._core.journal.durable()
        await kit.store.put("plan", [("odd", b"not a plan")])
        kit.options["tuning"] = Tuning(restored_lease_s=0.5)
        plane = await kit.kill()
        await asyncio.sleep(0.1)
        assert not await kit.store.items("plan")
        plane.announce("w", steps)
        assert plane._planning.note("w") is None
        await plane.close()

    asyncio.run(run())


def test_without_estimates_sizes_alone_count_until_run_times_are_learned(tmp_path: Path) -> None:
    async def run() -> None:
        kit = a_kit(tmp_path)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        steps = chain(kit, "a", 1.0, 5)
        await plane.check("w", steps)
        for gate in range(5):
            kit.far.gates["fetch", ref(f"a{gate}")] = asyncio.Event()
        plane.announce("w", [replace(step, run_s=None) for step in steps])
        note = await planned(kit)
        assert (note.name, note.timed) == ("post both", 0)
        assert "sizes alone" in note.reason
        plane.announce("w", steps)
        await kit.until(lambda: (found := plane._planning.note("w")) is not None and found.timed == 5, 20_000)
        again = plane._planning.note("w")
        assert again is not None
        assert again.makespan_s is not None
        await plane.close()

    asyncio.run(run())


def test_no_plan_is_chosen_for_what_has_nothing_to_bring_until_it_has(tmp_path: Path) -> None:
    async def run() -> None:
        kit = a_kit(tmp_path)
        plane = await kit.start()
        plane._core.history.counters.rates["far"] = 1e6
        steps = chain(kit, "a", 1.0, 5)
        for step in steps:
            await plane.stage(step.inputs[0].ref)
        plane.announce("w", steps)
        await asyncio.sleep(0.5)
        assert plane._planning._flows["w"].asked is None
        kit.far.gates["fetch", ref("more0")] = asyncio.Event()
        plane.announce("w", [*steps, *chain(kit, "more", 1.0)])
        assert (await planned(kit)).steps == 8
        await plane.close()

    asyncio.run(run())


def test_a_large_workflow_is_announced_and_planned_without_holding_anything_up(tmp_path: Path) -> None:
    """3,000 steps that read 27,200 objects: the loop is never away for long, and the plan is there within its budget."""

    async def run() -> None:
        kit = Kit(tmp_path, 10**9, transfers=8, workers=16, chooser=PlanProcess())
        kit.clock = SlowClock()
        kit.far = Silent()
        kit.plane = kit.make()
        plane = await kit.start()
        steps = [
            replace(a_step(f"s{n}", *(ref(f"f{n}-{k}") for k in range(9)), ref(f"shared{n % 200}")), run_s=0.1)
            for n in range(3000)
        ]
        away: list[float] = []

        async def watch() -> None:
            while True:
                began = time.thread_time()
                await asyncio.sleep(0.0005)
                away.append(time.thread_time() - began)

        watcher = asyncio.get_running_loop().create_task(watch())
        await asyncio.sleep(0)
        plane.announce("w", steps)
        note = await planned(kit)
        watcher.cancel()
        assert note.steps == 3000
        away.sort()
        assert "too large" in note.reason
        assert away[int(len(away) * 0.99)] < 0.02
        plane.withdraw("w")
        await plane.close()

    asyncio.run(run())


def a_question(run_times: dict[str, float], wrong: float) -> tuple[list[FutureStep], Question]:
    kit_steps: list[FutureStep] = []
    for name, run_s in run_times.items():
        kit_steps.append(replace(a_step(name, ref(name), outputs=[(ref(f"o{name}"), 40)]), run_s=run_s))
        kit_steps.append(
            replace(a_step(f"{name}x", ref(f"o{name}"), outputs=[(ref(f"p{name}"), 10)]), run_s=run_s, after=(f"w/{name}",))
        )
    sized = [
        replace(step, inputs=tuple(replace(one, size_bytes=60) if "o" not in one.ref.path else one for one in step.inputs))
        for step in kit_steps
    ]
    setting = Setting(capacity_bytes=400, link=Link(rate_Bps=20.0, latency_s=0.1), options=PlannerOptions(transfers=4, workers=3))
    guessed = [replace(step, run_s=(step.run_s or 0.0) * (wrong if n % 2 else 1 / wrong)) for n, step in enumerate(sized)]
    return sized, Question(steps=guessed, setting=setting)


def test_estimates_that_are_wrong_three_times_over_do_little_harm() -> None:
    runs = {f"s{n}": 1.0 + (n * 7) % 11 for n in range(24)}
    true, question = a_question(runs, 3.0)
    options = replace(question.setting.options, default_output_bytes=0)
    setting = replace(question.setting, options=options)

    def makespan(plan: Plan) -> float:
        done = simulate([Arrival(uid="w", steps=tuple(true), plan=plan)], setting)
        assert not done.unfinished
        return done.makespan_s

    safe = makespan(answer(replace(question, setting=setting, blind=True), 0.3))
    misled = makespan(answer(replace(question, setting=setting), 0.3))
    right = makespan(answer(Question(steps=true, setting=setting), 0.3))
    assert right <= safe * 1.001
    assert misled <= safe * 1.15


def test_who_knows_too_little_changes_no_order_that_is_followed() -> None:
    steps, question = a_question({"a": 1.0, "b": 2.0}, 1.0)
    followed = Plan(starts={step.id: float(-place) for place, step in enumerate(reversed(steps))}, name="followed")
    assert answer(replace(question, blind=True), 0.3).name == "post both"
    kept = answer(replace(question, blind=True, current=followed), 0.3)
    assert (kept.name, kept.starts) == ("followed", followed.starts)
    here = {question.steps[0].inputs[0].ref: 1}
    begun = replace(question, blind=True, setting=replace(question.setting, resident=here))
    assert answer(begun, 0.3).starts == plain(steps).starts, "what is here was fetched in the plain order"


def test_who_has_no_time_to_try_anything_changes_no_order_that_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, question = a_question({"a": 1.0, "b": 2.0}, 1.0)
    followed = Plan(starts={step.id: float(-place) for place, step in enumerate(reversed(steps))}, name="followed")
    monkeypatch.setattr(choosing, "_EVENTS_PER_S", 1e12)  # else it would be too large a workflow for so little time
    kept = answer(replace(question, current=followed), 1e-9)
    assert (kept.name, kept.starts) == ("followed", followed.starts)
    assert "no plan could be tried" in kept.reason
    assert answer(question, 1e-9).name == "soon", "all has room: run times alone count"


def test_a_chooser_that_cannot_answer_says_so_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        monkeypatch.setattr("sys.executable", "/bin/false")
        with pytest.raises(ChoiceFailed, match="no plan was chosen"):
            await PlanProcess().choose(Question(steps=[a_step("a")], setting=a_question({"a": 1.0}, 1.0)[1].setting))
        kit = a_kit(tmp_path)
        plane = await kit.start()
        steps = chain(kit, "a", 1.0)
        plane.announce("w", steps)
        plane.acquire("w", steps[0])
        await kit.until(lambda: kit.lease("a0"))
        await asyncio.sleep(0.1)
        assert plane._planning.note("w") is None
        await plane.close()

    asyncio.run(run())
