"""Workflows that read the same objects join each other; those that would only pile up results do not."""

import pytest

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef
from jitflow.planner import Arrival, Evict, Fetch, Grant, Link, Plan, Planner, PlannerOptions, Setting, simulate

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=2, workers=2, window=4, default_output_bytes=0)


def branches(uid: str, count: int, *, read: int = 100, written: int = 1) -> tuple[FutureStep, ...]:
    """Return branches of two steps; the first of each reads an object that all workflows read."""
    steps: list[FutureStep] = []
    for n in range(count):
        middle = ObjectRef(remote="far", path=f"{uid}-middle{n}")
        source = FutureInput(ref=ObjectRef(remote="far", path=f"shared{n}"), size_bytes=read)
        steps.append(
            FutureStep(
                id=f"{uid}/first{n}",
                inputs=(source,),
                outputs=(FutureOutput(ref=middle, size_bytes=written, transient=True),),
                run_s=1.0,
            )
        )
        steps.append(FutureStep(id=f"{uid}/then{n}", inputs=(FutureInput(ref=middle),), after=(f"{uid}/first{n}",), run_s=1.0))
    return tuple(steps)


def order(planner: Planner, uid: str) -> list[str]:
    return [name.split("/")[1] for name in planner.steps(uid)]


def a_planner_on_its_way(*, done: int, **sizes: int) -> Planner:
    """Return a planner whose first workflow has ended its first branches."""
    planner = Planner(1000, OPTIONS)
    first = branches("w0", 6, **sizes)
    planner.announce("w0", first)
    planner.decide(4.0 * done)
    planner.announce("w0", first[2 * done :])
    return planner


def test_a_later_workflow_begins_where_an_earlier_one_is() -> None:
    planner = a_planner_on_its_way(done=3)
    planner.announce("w1", branches("w1", 6))
    names = order(planner, "w1")
    assert names[:2] == ["first3", "then3"]
    assert sorted(names[-6:]) == ["first0", "first1", "first2", "then0", "then1", "then2"], "what the other has read comes last"
    assert all(names.index(f"first{n}") < names.index(f"then{n}") for n in range(6))
    assert planner.audit() == ()


def test_nothing_joins_that_leaves_more_than_it_shares() -> None:
    planner = a_planner_on_its_way(done=3, read=1, written=100)
    planner.announce("w1", branches("w1", 6, read=1, written=100))
    assert order(planner, "w1")[:2] == ["first0", "then0"]


def key_of(planner: Planner, name: str) -> float:
    return planner._steps.table[name].key[0]


def a_planner_with_a_late_step() -> Planner:
    """Return a planner of 100 bytes: a step runs that reads x, another one could start long since but for room for y."""
    planner = Planner(100, PlannerOptions(transfers=1, workers=1, default_output_bytes=0))
    older = [a_reader("w0/now", "x", 40), a_reader("w0/late", "y", 70)]
    planner.announce("w0", older, Plan(starts={"w0/now": 0.0, "w0/late": 50.0}))
    planner.ask("w0", older[0])
    planner.decide(0.0)
    planner.arrived(older[0].inputs[0].ref)
    planner.ask("w0", older[1])
    planner.decide(1000.0)
    return planner


def test_what_nobody_else_will_read_of_what_is_here_is_read_first_though_others_are_late() -> None:
    planner = a_planner_with_a_late_step()
    planner.announce("w1", [a_reader("w1/reads", "x", 40)], Plan(starts={"w1/reads": 0.0}))
    assert key_of(planner, "w1/reads") < key_of(planner, "w0/late")
    assert planner.audit() == ()


def test_workflows_without_end_do_not_keep_a_step_waiting_for_ever() -> None:
    """Each newcomer reads what is here, which leaves no room for a late step: some come before it, then it has its turn."""
    planner = a_planner_with_a_late_step()
    before: list[bool] = []
    running = ["w0/now"]
    for number in range(1, 21):
        newcomer = a_reader(f"w{number}/reads", "x", 40)
        planner.announce(f"w{number}", [newcomer], Plan(starts={newcomer.id: 0.0}))
        before.append(key_of(planner, newcomer.id) < key_of(planner, "w0/late"))
        planner.ask(f"w{number}", newcomer)
        running += granted(planner, 1000.0 + number)
        planner.ended(running.pop(0))  # while the next one reads it already
        while commands := planner.decide(1000.0 + number):
            for command in commands:
                if isinstance(command, Grant):
                    running.append(command.step)
                elif isinstance(command, Fetch):
                    planner.arrived(command.ref)
                elif isinstance(command, Evict):
                    planner.evicted(command.ref)
        if "w0/late" in running:
            break
        assert running == [newcomer.id] or not before[-1]
    assert before[:3] == [True] * 3
    assert before[-1] is False
    assert planner.audit() == ()


def test_ready_steps_that_would_read_later_what_others_join_come_with_them() -> None:
    planner = Planner(100, PlannerOptions(transfers=1, workers=1, default_output_bytes=0))
    older = [a_reader(f"w0/{name}", "y" if name == "other" else "x", 40) for name in ("first", "other", "again", "unasked")]
    older.append(a_reader("w0/writer", "x", 40, written=50))
    plan = Plan(starts={step.id: 50.0 * n for n, step in enumerate(older)})
    planner.announce("w0", older, plan)
    for step in older:
        if step.id != "w0/unasked":
            planner.ask("w0", step)
    planner.announce("w1", [a_reader("w1/reads", "x", 40)], Plan(starts={"w1/reads": 0.0}))
    assert order(planner, "w0") == ["first", "again", "other", "unasked", "writer"]
    assert key_of(planner, "w0/again") == key_of(planner, "w0/first") == pytest.approx(key_of(planner, "w1/reads"))
    planner.announce("w0", older, plan)
    assert order(planner, "w0")[:2] == ["first", "again"], "it stays when its workflow is announced again"
    assert planner.audit() == ()


def test_joining_moves_fewer_bytes() -> None:
    link = Link(rate_Bps=50.0)
    setting = Setting(capacity_bytes=250, link=link, options=OPTIONS)
    arrivals = [Arrival(uid=f"w{n}", steps=branches(f"w{n}", 12), at_s=8.0 * n) for n in range(3)]
    alone = simulate(arrivals[:1], setting)
    together = simulate(arrivals, setting)
    assert not together.unfinished
    assert together.fetched_bytes <= 1.45 * alone.fetched_bytes, "1.58 if each keeps to its own order, 3 if each is alone"


def a_reader(name: str, source: str, size: int, *, written: int = 0) -> FutureStep:
    uid = name.split("/", maxsplit=1)[0]
    outputs = (FutureOutput(ref=ObjectRef(remote="far", path=f"{uid}-out"), size_bytes=written),) if written else ()
    return FutureStep(
        id=name, inputs=(FutureInput(ref=ObjectRef(remote="far", path=source), size_bytes=size),), outputs=outputs, run_s=10.0
    )


def a_planner_that_claimed_far_ahead(last: int = 1) -> Planner:
    """Return a planner of 100 bytes: a step runs, one waits for a transfer that has begun, the `last` for one that has not."""
    planner = Planner(100, PlannerOptions(transfers=1, workers=2, default_output_bytes=0))
    steps = [a_reader("w0/now", "x", 40), a_reader("w0/next", "y", 30)]
    steps += [a_reader(f"w0/last{n}", "z", 30) for n in range(last)]
    planner.announce("w0", steps, Plan(starts={step.id: 50.0 * n for n, step in enumerate(steps)}))
    for step in steps:
        planner.ask("w0", step)
    assert [command.ref.path for command in planner.decide(0.0) if isinstance(command, Fetch)] == ["x"]
    planner.arrived(steps[0].inputs[0].ref)
    planner.decide(1.0)
    return planner


def granted(planner: Planner, now: float) -> list[str]:
    return [command.step for command in planner.decide(now) if isinstance(command, Grant)]


@pytest.mark.parametrize("last", [1, 3])
def test_what_is_only_promised_gives_way_to_an_earlier_step_of_another_workflow(last: int) -> None:
    planner = a_planner_that_claimed_far_ahead(last)
    planner.decide(2.0)
    promised = planner.item(ObjectRef(remote="far", path="z"))
    assert promised is not None
    assert promised.claims == last
    new = a_reader("w1/reads", "x", 40, written=10)
    planner.announce("w1", [new], Plan(starts={new.id: 0.0}))
    planner.ask("w1", new)
    assert granted(planner, 3.0) == ["w1/reads"], "what it reads is here"
    assert planner.audit() == ()
    planner.ended("w1/reads", [(new.outputs[0].ref, 10)])
    planner.ended("w0/now", [])
    planner.arrived(ObjectRef(remote="far", path="y"))
    assert granted(planner, 4.0) == ["w0/next"]
    assert planner.audit() == ()


def test_what_is_on_its_way_or_comes_earlier_gives_way_to_nobody() -> None:
    planner = a_planner_that_claimed_far_ahead()
    large = a_reader("w1/reads", "x", 40, written=40)
    planner.announce("w1", [large], Plan(starts={large.id: 0.0}))
    planner.ask("w1", large)
    assert not granted(planner, 2.0), "more than what is only promised"
    planner.withdraw("w1")
    late = a_reader("w2/reads", "its own", 10)
    planner.announce("w2", [late], Plan(starts={late.id: 1000.0}))
    planner.ask("w2", late)
    planner.decide(3.0)
    promised = planner.item(ObjectRef(remote="far", path="z"))
    assert promised is not None
    assert promised.claims == 1, "it comes after what the room is promised to"
    assert planner.audit() == ()


def test_a_quota_that_is_set_again_still_lets_idle_replicas_go() -> None:
    planner = Planner(1000, OPTIONS)
    planner.belong("w", "team")
    planner.set_quota("team", 50)
    first, second = a_reader("w/first", "x", 30), a_reader("w/second", "y", 20)
    planner.announce("w", [first, second])
    planner.ask("w", first)
    planner.decide(0.0)
    planner.arrived(first.inputs[0].ref)
    planner.decide(1.0)
    planner.ended("w/first", [])
    planner.set_quota("team", 40)
    planner.ask("w", second)
    gone = [command.ref for command in planner.decide(2.0) if isinstance(command, Evict)]
    assert gone == [first.inputs[0].ref]
