"""Plans: orders of steps, the envelope, results that leave for a while, the choice by simulation."""

import pytest
from msgspec.structs import replace
from planner_world import ref

from jitflow.model.data import FutureInput, FutureOutput, FutureStep
from jitflow.planner import (
    Arrival,
    Effort,
    Evict,
    Fetch,
    Grant,
    Link,
    Plan,
    Planner,
    PlannerOptions,
    Setting,
    Store,
    Take,
    choose,
    plain,
    simulate,
    without_estimates,
)
from jitflow.planner import _orders as orders
from jitflow.planner._envelope import Peaks
from jitflow.planner._graph import Graph, sizes_of
from jitflow.planner._noise import Noise

pytestmark = pytest.mark.pure

OPTIONS = PlannerOptions(transfers=4, workers=2, slots=2, default_output_bytes=0)


def step(
    name: str, *inputs: tuple[str, int | None], makes: tuple[tuple[str, int], ...] = (), after: str = "", run_s: float = 1.0,
    final: bool = False,
) -> FutureStep:  # fmt: skip
    return FutureStep(
        id=name,
        inputs=tuple(FutureInput(ref=ref(one), size_bytes=size) for one, size in inputs),
        outputs=tuple(FutureOutput(ref=ref(one), size_bytes=size, transient=not final) for one, size in makes),
        after=tuple(after),
        run_s=run_s,
    )


def graph(*steps: FutureStep) -> Graph:
    return Graph(steps, sizes_of(steps))


def names(found: Graph, order: list[int]) -> str:
    return "".join(found.ids[n] for n in order)


BANDS = (
    step("a", ("x", 10), makes=(("oa", 50),)),
    step("b", ("y", 10), makes=(("ob", 60),)),
    step("c", ("z", 1), makes=(("oc", 5),), run_s=9.0),
    step("A", ("oa", None), makes=(("rA", 1),), after="a"),
    step("B", ("ob", None), makes=(("rB", 1),), after="b"),
    step("C", ("oc", None), makes=(("rC", 1),), after="c"),
    step("z", ("rA", None), ("rB", None), ("rC", None), makes=(("end", 1),), after="ABC", final=True),
)


def test_each_order_has_its_own_idea_of_what_comes_first() -> None:
    bands = graph(*BANDS)
    assert names(bands, orders.listed(bands)) == "abcABCz"
    assert names(bands, orders.by_rank(bands)) == "cabABCz"
    assert names(bands, orders.depth(bands)) == "bBaAcCz", "the branch with the most bytes first, and whole"
    assert names(bands, orders.lean(bands)) == "cCaAbBz", "what lets live results grow least"
    assert names(bands, orders.near(bands)) == "cCaAbBz", "what has the fewest bytes far away"
    ranks = orders.upward(bands, bands.run_s)
    assert names(bands, orders.soonest(bands, ranks, workers=2, rate_Bps=1.0))[0] == "c", "its data can be here first"
    assert names(bands, orders.by_key(bands, [5, 1, 2, 0, 0, 0, 0])) == "bBcCaAz"


def test_orders_follow_the_steps_they_wait_for_also_when_shaken() -> None:
    bands = graph(*BANDS)
    noise = Noise(7)
    for order in (
        orders.depth(bands, noise), orders.lean(bands, noise), orders.near(bands, noise), orders.shuffled(bands, noise)
    ):  # fmt: skip
        assert sorted(order) == list(range(7))
        assert all(order.index(before) < order.index(n) for n in order for before in bands.before[n])


def test_the_peak_of_an_order_counts_live_results_and_one_step() -> None:
    bands = graph(*BANDS)
    assert orders.peak(bands, orders.depth(bands)) == 70, "while b runs"
    assert orders.peak(bands, orders.listed(bands)) == 120, "while b runs, and what a made lies here"


def test_starts_wait_for_places_parents_and_the_link() -> None:
    two = graph(step("a", ("x", 10)), step("b", ("x", 10), ("y", 20), run_s=2.0), step("c", after="a"))
    assert orders.starts(two, [0, 1, 2], workers=1, rate_Bps=10.0) == [1.0, 3.0, 5.0]
    assert orders.starts(two, [0, 1, 2], workers=2, rate_Bps=10.0) == [1.0, 3.0, 2.0]


def test_noise_follows_from_its_seed() -> None:
    def some(seed: int) -> list[float]:
        noise = Noise(seed)
        return [noise.normal() for _ in range(2000)]

    assert some(1) == some(1) != some(2)
    assert abs(sum(some(3)) / 2000) < 0.1
    assert 0.9 < sum(one * one for one in some(3)) / 2000 < 1.1


def test_peaks_add_to_ranges_and_forget_places() -> None:
    plain = [n * 37 % 101 for n in range(300)]
    peaks = Peaks(plain)
    for start, end, amount in ((0, 300, 5), (63, 65, 200), (10, 200, -40), (128, 192, 9), (7, 7, 1000)):
        peaks.add(start, end, amount)
        plain = [one + amount if start <= n < end else one for n, one in enumerate(plain)]
        for low, high in ((0, 300), (1, 2), (60, 70), (64, 128), (100, 299)):
            assert peaks.largest(low, high) == max(plain[low:high])
    peaks.drop(64)
    assert peaks.largest(60, 70) == max(one for n, one in enumerate(plain[60:70], 60) if n != 64)


def a_planner(capacity: int, steps: list[FutureStep], *, envelope: bool = False, eager: int = 0) -> Planner:
    planner = Planner(capacity, OPTIONS)
    starts = {one.id: float(n) for n, one in enumerate(steps)}
    planner.announce("w", steps, Plan(starts=starts, envelope=envelope, eager=eager))
    return planner


def run(planner: Planner, *steps: FutureStep) -> None:
    """Run steps to their ends, one after another; results are taken in."""
    for one in steps:
        planner.ask("w", one)
        settle(planner)
        planner.ended(one.id, [(output.ref, output.size_bytes or 0) for output in one.outputs])
        settle(planner)


def settle(planner: Planner) -> list[object]:
    """Perform all commands but `Store`; return them."""
    seen: list[object] = []
    while commands := planner.decide(0.0):
        seen += commands
        for command in commands:
            if isinstance(command, Fetch):
                planner.arrived(command.ref)
            elif isinstance(command, Evict):
                planner.evicted(command.ref)
            elif isinstance(command, Take):
                planner.taken(command.ref)
    assert planner.audit() == ()
    return seen


def test_a_transient_result_goes_when_its_last_reader_has_ended_and_is_never_sent() -> None:
    steps = [step("a", makes=(("o", 10),)), step("b", ("o", None), after="a"), step("c", ("o", None), after="a")]
    planner = a_planner(100, steps)
    run(planner, steps[0], steps[1])
    assert planner.bytes.dirty == 10
    planner.ask("w", steps[2])
    settle(planner)
    planner.ended("c")
    (gone,) = [command for command in settle(planner) if isinstance(command, Evict)]
    assert gone.reason == "no announced step reads it; every step that reads it has ended"
    assert planner.item(ref("o")) is None
    assert planner.bytes.used == 0


def test_a_live_result_leaves_when_nothing_else_makes_room_and_comes_back() -> None:
    steps = [
        step("a", makes=(("near", 40), ("late", 40))),
        step("b", ("x", 70), after="a"),
        step("c", ("near", None), after="b"),
        step("d", ("late", None), after="c"),
    ]
    planner = a_planner(110, steps)
    run(planner, steps[0])
    planner.ask("w", steps[1])
    sent = [command for command in settle(planner) if isinstance(command, Store)]
    assert [command.ref.path for command in sent] == ["late"], "what is read last leaves first, and no more than is needed"
    assert sent[0].reason == "read again only by d; room for b"
    assert settle(planner) == [], "it is asked for once"
    planner.uploaded(ref("late"), 40)
    commands = settle(planner)
    assert [command.ref.path for command in commands if isinstance(command, Evict)] == ["late"]
    assert Grant(step="b") in commands
    planner.ended("b")
    run(planner, steps[2])
    planner.ask("w", steps[3])
    assert Grant(step="d") in settle(planner)


def test_results_leave_early_only_where_the_plan_says_so() -> None:
    steps = [step("a", makes=(("o", 60),)), step("b", ("x", 50)), step("c", ("y", 30)), step("d", ("o", None), after="a")]
    for eager in (0, 1):
        planner = a_planner(120, steps, eager=eager)
        run(planner, steps[0])
        planner.ask("w", steps[1])
        settle(planner)
        planner.ask("w", steps[2])
        sent = [command for command in settle(planner) if isinstance(command, Store)]
        assert len(sent) == eager, "a place stands empty for want of room"


def test_results_leave_for_as_many_ready_steps_as_the_plan_says() -> None:
    steps = [
        step("a", makes=(("o", 30),)), step("A", makes=(("p", 30),)), step("b", ("x", 50)), step("c", ("y", 30)),
        step("e", ("z", 30)), step("d", ("o", None), ("p", None), after="aA"),
    ]  # fmt: skip
    for eager in (0, 1, 2):
        planner = Planner(120, replace(OPTIONS, workers=3, slots=3))
        planner.announce("w", steps, Plan(starts={one.id: n for n, one in enumerate(steps)}, envelope=False, eager=eager))
        for one in steps[:2]:
            run(planner, one)
        planner.ask("w", steps[2])
        settle(planner)
        for one in steps[3:5]:
            planner.ask("w", one)
        sent = [command for command in settle(planner) if isinstance(command, Store)]
        assert len(sent) == eager, "one result makes room for the next step, both for the next two"


@pytest.mark.parametrize("keeps", [False, True])
def test_the_room_that_results_leave_for_a_step_may_be_kept_for_it(*, keeps: bool) -> None:
    made = tuple((f"o{n}", 20) for n in range(4))
    reader = step("d", *((name, None) for name, _ in made), after="a")
    steps = [
        step("a", makes=made),
        step("r", ("r", 10)),
        step("b", ("x", 60)),
        step("s", ("s", 20)),
        step("t", ("t", 10)),
        reader,
    ]
    planner = Planner(120, replace(OPTIONS, workers=2, slots=4))
    starts = {one.id: float(n) for n, one in enumerate(steps)}
    planner.announce("w", steps, Plan(starts=starts, envelope=False, eager=1, keeps=keeps))
    run(planner, steps[0])
    for one in steps[1:3]:
        planner.ask("w", one)
    sent = [command.ref for command in settle(planner) if isinstance(command, Store)]
    assert len(sent) == 2, "80 lie there and 10 are read: 30 are missing for b"
    for one in steps[3:5]:
        planner.ask("w", one)
    granted = [command.step for command in settle(planner) if isinstance(command, Grant)]
    if not keeps:
        assert granted == ["s", "t"]
        return
    assert granted == ["t"], "what is left beside b when the results have gone is for anybody"
    for one in sent:
        planner.uploaded(one, 20)
    assert [command.step for command in settle(planner) if isinstance(command, Grant)] == ["b"]
    planner.ended("b")
    assert [command.step for command in settle(planner) if isinstance(command, Grant)] == ["s"]


def test_what_has_no_plan_keeps_the_room_that_results_leave() -> None:
    reader = step("d", ("o", None), after="a")
    steps = [step("a", makes=(("o", 40),)), step("r", ("r", 40)), step("b", ("x", 70)), step("s", ("s", 20)), reader]
    for plan in (None, plain(steps)):
        planner = Planner(120, replace(OPTIONS, workers=2, slots=4))
        planner.announce("w", steps, plan)
        run(planner, steps[0])
        for one in steps[1:3]:
            planner.ask("w", one)
        assert [command.ref.path for command in settle(planner) if isinstance(command, Store)] == ["o"]
        planner.ask("w", steps[3])
        assert settle(planner) == []
        planner.uploaded(ref("o"), 40)
        assert [command.step for command in settle(planner) if isinstance(command, Grant)] == ["b"]


def test_within_the_envelope_nothing_runs_ahead_that_would_push_a_result_out() -> None:
    steps = [
        step("a", ("x", 10), makes=(("oa", 40),)),
        step("A", ("oa", None), makes=(("ra", 40),), after="a"),
        step("b", ("y", 10), makes=(("ob", 50),)),
        step("z", ("ra", None), ("ob", None), after="Ab"),
    ]
    for envelope in (False, True):
        planner = a_planner(120, steps, envelope=envelope)
        planner.ask("w", steps[0])
        planner.ask("w", steps[2])
        granted = {command.step for command in settle(planner) if isinstance(command, Grant)}
        assert granted == ({"a"} if envelope else {"a", "b"})


def test_what_came_first_is_rather_finished_and_small_workflows_are_not_starved() -> None:
    planner = Planner(10, replace(OPTIONS, transfers=1))
    long = [FutureStep(id=f"v{n}", inputs=(FutureInput(ref=ref(f"v{n}"), size_bytes=10),)) for n in range(3)]
    planner.decide(0.0)
    planner.announce("v", long, Plan(starts={"v0": 0.0, "v1": 100.0, "v2": 1000.0}))
    planner.decide(60.0)
    planner.arrived(ref("v0"))
    planner.announce("w", [step("w0", ("w0", 10))], Plan(starts={"w0": 0.0}))
    for one in (step("w0", ("w0", 10)), *long):
        planner.ask("w" if one.id == "w0" else "v", one)
    order: list[str] = []
    for _ in range(4):
        order += [command.step for command in settle(planner) if isinstance(command, Grant)]
        planner.ended(order[-1])
    assert order == ["v0", "v1", "w0", "v2"]


def test_steps_that_a_plan_does_not_know_stay_behind_those_they_follow() -> None:
    planner = Planner(100, OPTIONS)
    steps = [step(name, (name, 1)) for name in "abcd"]
    planner.announce("w", steps, Plan(starts={"d": 0.0, "b": 1.0}))
    assert planner.steps("w") == ("a", "d", "b", "c")


def setting(capacity: int) -> Setting:
    return Setting(capacity_bytes=capacity, link=Link(rate_Bps=10.0, stream_Bps=5.0, latency_s=0.1), options=OPTIONS)


def test_the_choice_is_the_best_of_what_was_tried_and_the_same_every_time() -> None:
    plan = choose(BANDS, setting(130), Effort(events=5000, restarts=4))
    assert plan == choose(BANDS, setting(130), Effort(events=5000, restarts=4))
    outcome = simulate([Arrival(uid="w", steps=BANDS, plan=plan)], setting(130))
    assert outcome.makespan_s == pytest.approx(plan.makespan_s)
    assert "best of" in plan.reason
    listed = Plan(starts={one.id: float(n) for n, one in enumerate(BANDS)}, envelope=False)
    assert outcome.makespan_s <= simulate([Arrival(uid="w", steps=BANDS, plan=listed)], setting(130)).makespan_s * 1.02


def test_the_order_that_is_followed_is_kept_unless_another_one_is_much_better() -> None:
    effort = Effort(events=5000, restarts=4)
    best = choose(BANDS, setting(130), effort)
    kept = choose(BANDS, setting(130), effort, current=best)
    assert (kept.starts, kept.makespan_s) == (best.starts, best.makespan_s)
    assert "kept" in kept.reason
    slow = Plan(starts={name: float(place) for place, name in enumerate("abABcC")}, envelope=best.envelope, name="slow")
    makespan_s = simulate([Arrival(uid="w", steps=BANDS, plan=slow)], setting(130)).makespan_s
    assert best.makespan_s is not None
    assert best.makespan_s < makespan_s
    share = 1 - best.makespan_s / makespan_s
    patient = Effort(events=5000, restarts=4, steady=share + 0.01)
    assert choose(BANDS, setting(130), patient, current=slow).name == "slow"
    eager = Effort(events=5000, restarts=4, steady=share - 0.01)
    assert choose(BANDS, setting(130), eager, current=slow).name != "slow"


def test_of_a_plan_that_is_better_than_what_is_followed_is_told_early_and_it_is_kept_to_the_end() -> None:
    effort = Effort(events=5000, restarts=4)
    listed = Plan(starts={one.id: float(n) for n, one in enumerate(BANDS)}, envelope=False, name="listed")
    told: list[Plan] = []
    chosen = choose(BANDS, setting(130), effort, current=listed, early=told.append)
    assert len(told) == 1
    early = simulate([Arrival(uid="w", steps=BANDS, plan=told[0])], setting(130)).makespan_s
    assert early == pytest.approx(told[0].makespan_s)
    assert early < simulate([Arrival(uid="w", steps=BANDS, plan=listed)], setting(130)).makespan_s * 0.9
    assert chosen.makespan_s is not None
    assert chosen.starts == told[0].starts or chosen.makespan_s < early * (1 - effort.thrift)
    told.clear()
    best = choose(BANDS, setting(130), effort)
    assert choose(BANDS, setting(130), effort, current=best, early=told.append).starts == best.starts
    assert not told, "nothing is better than what is followed"


def test_the_plain_order_is_the_one_without_a_plan() -> None:
    one = simulate([Arrival(uid="w", steps=BANDS)], setting(80))
    other = simulate([Arrival(uid="w", steps=BANDS, plan=plain(BANDS))], setting(80))
    assert one == other


def test_a_choice_without_effort_or_estimates_goes_by_sizes() -> None:
    blind = without_estimates(BANDS)
    assert list(blind.starts) == list("bBaAcCz")
    assert blind.envelope
    assert choose(BANDS, setting(130), Effort(events=0)) == blind
    assert without_estimates(BANDS[::-1]).starts.keys() == blind.starts.keys(), "also if they are listed in no order"
    assert without_estimates([]).starts == {}


def test_large_objects_move_in_parts_and_a_full_link_gets_no_more() -> None:
    options = replace(OPTIONS, transfers=8, part_bytes=10, fill_streams=4, fill_bytes=20)
    planner = Planner(1000, options)
    planner.announce("w", [step("a", ("large", 60)), step("b", ("small", 5)), step("c", ("other", 9))])
    (fetch,) = planner.decide(0.0)
    assert isinstance(fetch, Fetch)
    assert (fetch.ref.path, fetch.parts) == ("large", 6), "and nothing beside it, for the link is full"
    planner.arrived(ref("large"))
    assert [(one.ref.path, one.parts) for one in planner.decide(0.0) if isinstance(one, Fetch)] == [("small", 1), ("other", 1)]


def test_ranges_make_a_capped_link_faster() -> None:
    steps = [step("a", ("large", 400), run_s=0.0)]
    whole = simulate([Arrival(uid="w", steps=tuple(steps))], setting(400))
    ranged = replace(setting(400), options=replace(OPTIONS, part_bytes=100))
    assert whole.makespan_s == pytest.approx(0.1 + 80.0)
    assert simulate([Arrival(uid="w", steps=tuple(steps))], ranged).makespan_s == pytest.approx(0.1 + 40.0)
    cut = simulate([Arrival(uid="w", steps=tuple(steps))], ranged, until_s=20.0)
    assert cut.cut
    assert cut.unfinished == ("a",)
    assert simulate([Arrival(uid="w", steps=tuple(steps))], ranged, events=1).cut
