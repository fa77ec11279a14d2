"""Single decisions: what is fetched first, who is evicted, who waits for whom."""

from random import Random

import pytest
from msgspec.structs import replace
from planner_world import a_world, is_resident, ref

from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef, ReplicaState
from jitflow.planner import (
    MOVES,
    Cancel,
    Evict,
    Fetch,
    Grant,
    IllegalMove,
    Look,
    Planner,
    PlannerOptions,
    Refuse,
    Store,
    Take,
    moved,
    smallest_capacity,
)
from jitflow.planner._items import Item
from jitflow.planner._order import depth_first

pytestmark = pytest.mark.pure


def step(
    name: str, *inputs: tuple[str, int | None], outputs: tuple[tuple[str, int | None], ...] = (), certain: bool = True
) -> FutureStep:
    return FutureStep(
        id=f"w/{name}",
        inputs=tuple(FutureInput(ref=ref(one), size_bytes=size) for one, size in inputs),
        outputs=tuple(FutureOutput(ref=ref(one), size_bytes=size) for one, size in outputs),
        certain=certain,
        template="t",
    )


def a_planner(capacity: int, **options: int) -> Planner:
    return Planner(capacity, PlannerOptions(**{"default_output_bytes": 0, **options}))


def fetched(planner: Planner) -> list[str]:
    """Return the objects that are fetched now, in order, and let them arrive."""
    names: list[str] = []
    for _ in range(100):
        commands = planner.decide(0.0)
        for command in commands:
            if isinstance(command, Fetch):
                names.append(command.ref.path)
                planner.arrived(command.ref)
            elif isinstance(command, Evict):
                planner.evicted(command.ref)
        if not commands:
            break
    assert planner.audit() == ()
    return names


@pytest.mark.parametrize("state", list(ReplicaState))
@pytest.mark.parametrize("cause", ["want", "unwant", "start", "find", "arrive", "fail", "evict", "gone", "fly"])
def test_only_the_moves_of_the_table_are_legal(state: ReplicaState, cause: str) -> None:
    if (state, cause) in MOVES:
        assert moved(state, cause) is MOVES[state, cause]
    else:
        with pytest.raises(IllegalMove, match=f"a replica that is {state} cannot {cause}"):
            moved(state, cause)


def test_what_claimed_steps_wait_for_comes_before_what_is_read_ahead() -> None:
    planner = a_planner(100, transfers=1)
    first, second, third = step("1", ("a", 10)), step("2", ("b", 10)), step("3", ("c", 10))
    planner.announce("w", [first, second, third])
    planner.ask("w", third)
    assert fetched(planner) == ["c", "a", "b"]


def test_reading_ahead_follows_the_order_of_first_use_and_leaves_the_uncertain_for_last() -> None:
    planner = a_planner(100, transfers=1)
    planner.announce("w", [step("1", ("z", 10), certain=False), step("2", ("y", 10), ("x", 10)), step("3", ("w", 10), ("y", 10))])
    assert fetched(planner) == ["y", "x", "w", "z"]


def test_reading_ahead_is_bounded_by_the_window_and_by_the_transfers() -> None:
    planner = a_planner(1000, transfers=2, window=3)
    planner.announce("w", [step(str(n), (f"f{n}", 10)) for n in range(9)])
    assert [command.ref.path for command in planner.decide(0.0) if isinstance(command, Fetch)] == ["f0", "f1"]
    planner.arrived(ref("f0"))
    planner.arrived(ref("f1"))
    assert fetched(planner) == ["f2"]
    planner.ask("w", step("0", ("f0", 10)))
    assert fetched(planner) == ["f3"]


def test_reading_ahead_does_no_harm() -> None:
    planner = a_planner(30, transfers=1)
    planner.announce("w", [step("1", ("a", 10)), step("2", ("b", 10)), step("3", ("c", 10)), step("4", ("d", 10))])
    assert fetched(planner) == ["a", "b", "c"]
    planner.decide(100.0)
    planner.announce("v", [FutureStep(id="v/1", inputs=(FutureInput(ref=ref("e"), size_bytes=10),))])
    assert fetched(planner) == []
    planner.withdraw("w")
    assert fetched(planner) == ["e"]


def test_reading_ahead_leaves_room_for_what_will_be_written() -> None:
    def ahead(*outputs: tuple[str, int | None]) -> list[str]:
        planner = a_planner(1000, workers=1)
        planner.announce("w", [step(name, (name, 300), outputs=outputs) for name in "abcd"])
        return fetched(planner)

    assert ahead() == ["a", "b", "c"]
    assert ahead(("out", 100)) == ["a", "b"]


def test_no_more_is_claimed_than_can_soon_run() -> None:
    planner = a_planner(1000, workers=1)
    steps = [step(name, (name, 10)) for name in "abcde"]
    planner.announce("w", steps)
    fetched(planner)
    for one in steps:
        planner.ask("w", one)
    granted = [command.step for command in planner.decide(0.0) if isinstance(command, Grant)]
    assert granted == ["w/a", "w/b", "w/c"], "one runs, two are ready to follow"
    planner.ended("w/a")
    assert [command.step for command in planner.decide(0.0) if isinstance(command, Grant)] == ["w/d"]
    assert planner.audit() == ()


def test_one_branch_is_finished_before_the_next_is_begun() -> None:
    def after(name: str, *names: str) -> FutureStep:
        return replace(step(name, (name, 1)), after=tuple(f"w/{other}" for other in names))

    steps = [
        after("a1"),
        after("b1"),
        after("a2"),
        after("b2"),
        after("a", "a1", "a2"),
        after("b", "b1", "b2"),
        after("end", "a", "b"),
    ]
    assert [one.id[2:] for one in depth_first(steps)] == ["a1", "a2", "a", "b1", "b2", "b", "end"]
    barrier = tuple(one.id for one in steps)
    behind = [replace(step(name), after=barrier) for name in ("x", "y")]
    assert [one.id[2:] for one in depth_first([*behind, *steps])][-2:] == ["x", "y"]
    assert depth_first([after("p", "q"), after("q", "p")]) == [after("p", "q"), after("q", "p")], "a cycle loses nothing"
    assert depth_first([after("p", "gone")]) == [after("p", "gone")]


def test_a_large_object_that_does_not_fit_does_not_stop_smaller_ones() -> None:
    planner = a_planner(50, transfers=4)
    planner.ask("w", step("0", ("big", 45)))
    planner.announce("w", [step("1", ("large", 30)), step("2", ("small", 5))])
    assert fetched(planner) == ["big", "small"]


@pytest.mark.parametrize("asked", [True, False])
def test_the_farthest_next_use_goes_first_and_before_it_what_nobody_reads(asked: bool) -> None:
    planner = a_planner(40, transfers=8)
    for name in ("unknown-old", "unknown-new", "near", "far"):
        planner.found(ref(name), 10)
    planner.announce("w", [step("near", ("near", 10)), step("far", ("far", 10))])
    gone: list[str] = []
    for n in range(4):
        planner.ask("x", FutureStep(id=f"x/{n}", inputs=(FutureInput(ref=ref(f"n{n}"), size_bytes=10),)))
        commands = planner.decide(0.0)
        evictions = [command for command in commands if isinstance(command, Evict)]
        gone += [command.ref.path for command in evictions]
        for command in evictions:
            assert "room for far:n" in command.reason
            planner.evicted(command.ref)
        planner.decide(0.0)
        planner.arrived(ref(f"n{n}"))
        planner.decide(0.0)
    assert gone == ["unknown-old", "unknown-new", "far", "near"]


def test_equal_next_use_evicts_the_larger() -> None:
    planner = a_planner(50)
    planner.found(ref("small"), 10)
    planner.found(ref("large"), 30)
    planner.announce("w", [step("1", ("small", 10), ("large", 30))])
    planner.ask("x", FutureStep(id="x/1", inputs=(FutureInput(ref=ref("n"), size_bytes=20),)))
    assert [command.ref.path for command in planner.decide(0.0) if isinstance(command, Evict)] == ["large"]


def test_a_claim_is_all_or_nothing() -> None:
    planner = a_planner(100, transfers=8)
    planner.ask("w", step("1", ("a", 60)))
    planner.ask("w", step("2", ("b", 30), ("c", 20)))
    commands = planner.decide(0.0)
    # `b` alone would fit: it may be read ahead, but it is not held.
    assert [(one.ref.path, one.urgent) for one in commands if isinstance(one, Fetch)] == [("a", True), ("b", False)]
    assert planner.item(ref("b")).claims == 0
    wait = planner.wait("w/2")
    assert (wait.phase, wait.need_bytes) == ("space", 10)
    planner.arrived(ref("a"))
    planner.arrived(ref("b"))
    assert planner.decide(0.0) == (Grant(step="w/1"),)
    assert planner.wait("w/1").phase == "granted"
    planner.ended("w/1")
    assert fetched(planner) == ["c"]


def test_the_head_is_bypassed_a_bounded_number_of_times() -> None:
    world = a_world(100, {ref("big"): 100, ref("long"): 10} | {ref(f"s{n}"): 5 for n in range(60)}, workers=1, transfers=4)
    planner = world.planner
    planner.announce(
        "w", [step("long", ("long", 10)), step("head", ("big", 100))] + [step(f"s{n}", (f"s{n}", 5)) for n in range(60)]
    )
    planner.ask("w", step("long", ("long", 10)))
    fetched(planner)
    planner.ask("w", step("head", ("big", 100)))
    passed = 0
    for n in range(60):
        planner.ask("w", step(f"s{n}", (f"s{n}", 5)))
        fetched(planner)
        if planner.wait(f"w/s{n}").phase == "granted":
            passed += 1
            planner.ended(f"w/s{n}")
    assert 0 < passed <= 8
    assert planner.wait("w/s59").behind == "w/head"
    planner.ended("w/long")
    assert fetched(planner)[0] == "big"
    assert planner.wait("w/head").phase == "granted"


def test_an_earlier_workflow_comes_first_whoever_asks_first() -> None:
    planner = a_planner(10, transfers=1)
    planner.announce("early", [FutureStep(id="early/1", inputs=(FutureInput(ref=ref("e"), size_bytes=10),))])
    planner.announce("late", [FutureStep(id="late/1", inputs=(FutureInput(ref=ref("l"), size_bytes=10),))])
    planner.ask("late", FutureStep(id="late/1", inputs=(FutureInput(ref=ref("l"), size_bytes=10),)))
    planner.ask("early", FutureStep(id="early/1", inputs=(FutureInput(ref=ref("e"), size_bytes=10),)))
    assert fetched(planner) == ["e"]


@pytest.mark.parametrize(
    ("weight", "order"), [(1.0, "x0 y0 x1 y1 x2 y2"), (4.0, "x0 y0 y1 y2 x1 x2"), (0.25, "x0 y0 x1 x2 y1 y2")]
)
def test_a_workflow_of_more_weight_advances_faster_beside_others(weight: float, order: str) -> None:
    for first in (1.0, weight):
        planner = a_planner(1000, transfers=1)
        heavy = [step(f"b{n}", (f"y{n}", 10)) for n in range(3)]
        planner.announce("a", [step(f"a{n}", (f"x{n}", 10)) for n in range(3)])
        planner.announce("b", heavy, weight=first)
        planner.announce("b", heavy, weight=weight)
        assert fetched(planner) == order.split()


def test_an_output_to_come_is_not_looked_for_far_away() -> None:
    planner = a_planner(100)
    planner.announce("w", [step("1", outputs=(("o", 10),)), step("2", ("o", None))])
    assert planner.decide(0.0) == ()
    planner.ask("w", step("1", outputs=(("o", 10),)))
    assert planner.decide(0.0) == (Grant(step="w/1"),)
    assert planner.bytes.used == 10
    planner.ended("w/1", [(ref("o"), 10)])
    assert planner.decide(0.0) == (Take(ref=ref("o"), size_bytes=10),)
    planner.ask("w", step("2", ("o", None)))
    assert planner.decide(0.0) == ()
    assert planner.wait("w/2").objects == (ref("o"),)
    planner.taken(ref("o"))
    assert planner.decide(0.0) == (Grant(step="w/2"),)
    assert not planner.evict(ref("o"))


def test_an_output_that_never_came_is_looked_for_when_asked() -> None:
    planner = a_planner(100)
    planner.announce("w", [step("1", outputs=(("o", 10),)), step("2", ("o", None))])
    planner.ask("w", step("1", outputs=(("o", 10),)))
    planner.decide(0.0)
    planner.ended("w/1")
    assert planner.decide(0.0) == (Look(ref=ref("o"), urgent=False),)
    assert planner.missing(ref("o")) == ()
    planner.ask("w", step("2", ("o", None)))
    assert planner.decide(0.0) == (Look(ref=ref("o"), urgent=True),)
    assert planner.missing(ref("o")) == ("w/2",)
    planner.refused("w/2")
    assert planner.item(ref("o")) is None


def test_output_sizes_are_learned_from_the_template() -> None:
    planner = a_planner(1000, default_output_bytes=50)
    planner.ask("w", step("1", outputs=(("o1", None),)))
    planner.decide(0.0)
    assert planner.wait("w/1").reserve_bytes == 50
    planner.ended("w/1", [(ref("o1"), 200)])
    planner.decide(0.0)
    planner.ask("w", step("2", outputs=(("o2", None), ("d", 7))))
    planner.decide(0.0)
    assert planner.wait("w/2").reserve_bytes == 227
    # What is only assumed never keeps a step from starting.
    planner.ask("w", step("3", ("in", 990), outputs=(("o3", None),)))
    planner.ended("w/2")
    planner.taken(ref("o1"))
    planner.uploaded(ref("o1"), 200)
    fetched(planner)
    assert planner.wait("w/3").reserve_bytes == 10


def test_a_step_that_can_never_fit_is_refused() -> None:
    planner = a_planner(100)
    planner.ask("w", step("1", ("a", 60), outputs=(("o", 50),)))
    (refusal,) = planner.decide(0.0)
    assert isinstance(refusal, Refuse)
    assert refusal.message == "needs 110 bytes in the primary, which has 100; make the capacity at least 110"
    assert planner.wait("w/1") is None
    assert smallest_capacity([step("1", ("a", 60), outputs=(("o", 50),)), step("2")]) == 110
    assert smallest_capacity([]) == 0


def test_a_ceiling_below_the_capacity_makes_steps_wait_not_fail() -> None:
    planner = a_planner(100)
    planner.found(ref("old"), 30)
    planner.set_ceiling(20)
    assert [type(one) for one in planner.decide(0.0)] == [Evict]
    planner.evicted(ref("old"))
    planner.ask("w", step("1", ("a", 60)))
    assert planner.decide(0.0) == ()
    assert planner.bytes.limit == 100
    planner.set_ceiling(10**9)
    assert planner.bytes.capacity == 100
    assert fetched(planner) == ["a"]
    planner.set_capacity(200)
    assert planner.bytes.limit == 200


def test_a_transfer_that_nobody_needs_any_more_is_cancelled() -> None:
    planner = a_planner(100)
    planner.announce("w", [step("1", ("a", 60))])
    planner.decide(0.0)
    planner.withdraw("w")
    assert planner.decide(0.0) == (Cancel(ref=ref("a"), reason="no step needs it any more"),)
    assert planner.decide(0.0) == ()
    assert planner.fetch_failed(ref("a"), retry_at=0.0) == ()
    assert planner.bytes.used == 0
    planner.withdraw("w")


def test_a_failed_transfer_waits_and_keeps_its_claim() -> None:
    planner = a_planner(100)
    planner.ask("w", step("1", ("a", 60)))
    planner.decide(0.0)
    assert planner.fetch_failed(ref("a"), retry_at=5.0) == ()
    assert planner.decide(1.0) == ()
    assert planner.next_wake() == 5.0
    assert planner.bytes.fixed == 60
    assert [type(one) for one in planner.decide(5.0)] == [Fetch]
    assert planner.next_wake() is None
    assert planner.fetch_failed(ref("a")) == ("w/1",)
    planner.refused("w/1")
    assert planner.bytes.fixed == 0
    planner.refused("w/1")


def test_a_failed_prefetch_is_tried_again_later() -> None:
    planner = a_planner(100)
    planner.announce("w", [step("1", ("a", 60))])
    planner.decide(0.0)
    planner.fetch_failed(ref("a"), retry_at=5.0)
    assert planner.decide(1.0) == ()
    assert [type(one) for one in planner.decide(6.0)] == [Fetch]
    planner.fetch_failed(ref("a"))
    assert planner.decide(7.0) == ()


def test_asking_again_changes_nothing() -> None:
    planner = a_planner(100)
    one = step("1", ("a", 60))
    planner.ask("w", one)
    planner.decide(0.0)
    planner.ask("w", one)
    assert planner.decide(0.0) == ()
    planner.arrived(ref("a"))
    assert planner.decide(0.0) == (Grant(step="w/1"),)
    planner.ask("w", one)
    assert planner.decide(0.0) == (Grant(step="w/1"),)
    planner.ask("w", step("2", ("a", 60)))
    planner.ask("w", step("2", ("a", 60), ("b", 1)))
    assert planner.decide(0.0) == (Grant(step="w/2"),)


def test_asking_with_other_inputs_than_announced_counts() -> None:
    planner = a_planner(100, transfers=4)
    planner.announce("w", [step("1", ("a", 60)), step("2", ("b", 10))])
    planner.decide(0.0)
    planner.ask("w", step("1", ("c", 20)))
    commands = planner.decide(0.0)
    assert Cancel(ref=ref("a"), reason="no step needs it any more") in commands
    assert ref("c") in [one.ref for one in commands if isinstance(one, Fetch)]


def test_resumed_steps_hold_what_they_read() -> None:
    planner = a_planner(100)
    planner.found(ref("a"), 60)
    planner.resume("w", step("1", ("a", 60)), 20)
    planner.ask("w", step("2", ("b", 30)))
    assert planner.decide(0.0) == ()
    assert not planner.evict(ref("a"))
    planner.ended("w/1")
    assert fetched(planner) == ["b"]


def test_kept_replicas_stay() -> None:
    planner = a_planner(100)
    planner.found(ref("a"), 60, keepers=("",))
    planner.found(ref("b"), 30)
    assert not planner.keep(ref("a"))
    assert planner.keep(ref("nothing"))
    assert not planner.evict(ref("a"))
    assert not planner.evict(ref("nothing"))
    planner.ask("w", step("1", ("c", 50)))
    assert planner.decide(0.0) == ()
    planner.unkeep(ref("a"))
    planner.unkeep(ref("a"))
    assert fetched(planner) == ["c"]
    planner.ask("w", step("2", ("d", 50)))
    planner.decide(0.0)
    assert planner.keep(ref("b"))


def test_a_changed_source_drops_the_replica_when_nobody_reads_it() -> None:
    planner = a_planner(100)
    planner.found(ref("a"), 60)
    planner.ask("w", step("1", ("a", 60)))
    planner.decide(0.0)
    planner.changed(ref("a"))
    planner.changed(ref("nothing"))
    assert planner.decide(0.0) == ()
    planner.ended("w/1")
    (eviction,) = planner.decide(0.0)
    assert eviction == Evict(ref=ref("a"), reason="no announced step reads it; its source has changed")
    # Somebody asks while it leaves: it is looked up and fetched again.
    planner.ask("w", step("2", ("a", 60)))
    assert planner.decide(0.0) == ()
    planner.evicted(ref("a"))
    assert planner.decide(0.0) == (Look(ref=ref("a"), urgent=True),)
    planner.size_known(ref("a"), 70)
    assert fetched(planner) == ["a"]


def test_nobody_gets_what_is_not_what_it_was() -> None:
    """Who has claimed it and not begun waits again; a pin does not hold it; it goes when its reader has ended."""
    planner = a_planner(200)
    for name in "ab":
        planner.found(ref(name), 60)
    planner.ask("w", step("1", ("a", 60)))
    planner.decide(0.0)
    planner.ask("w", step("2", ("a", 60), ("c", 60)))
    planner.decide(0.0)
    assert not planner.keep(ref("a"))
    planner.damaged(ref("a"))
    planner.ask("w", step("3", ("a", 60)))
    assert planner.wait("w/2") is not None
    assert not [one for one in planner.decide(0.0) if isinstance(one, Grant)]
    assert planner.audit() == ()
    planner.ended("w/1")
    (eviction,) = [one for one in planner.decide(0.0) if isinstance(one, Evict)]
    assert eviction.ref == ref("a")
    planner.evicted(ref("a"))
    planner.decide(0.0)
    planner.size_known(ref("a"), 60)
    planner.decide(0.0)
    planner.arrived(ref("a"))
    assert Grant(step="w/3") in planner.decide(0.0)
    assert planner.audit() == ()


def test_an_object_that_grows_may_no_longer_fit() -> None:
    planner = a_planner(100)
    planner.ask("w", step("1", ("a", 60)))
    planner.decide(0.0)
    planner.fetch_failed(ref("a"), retry_at=0.0)
    planner.size_known(ref("a"), 160)
    (refusal,) = planner.decide(0.0)
    assert isinstance(refusal, Refuse)
    planner.size_known(ref("a"), 160)
    assert planner.bytes.fixed == 0


def test_given_up_outputs_leave() -> None:
    planner = a_planner(100)
    planner.ended("w/1", [(ref("o"), 10), (ref("big"), 200)])
    planner.decide(0.0)
    planner.taken(ref("o"))
    assert planner.bytes.dirty == 10
    for name in ("o", "big", "nothing"):
        planner.abandoned(ref(name))
    assert [type(one) for one in planner.decide(0.0)] == [Evict]
    planner.evicted(ref("o"))
    assert list(planner.items()) == []


def test_an_expected_output_is_waited_for() -> None:
    planner = a_planner(100)
    planner.expected(ref("o"))
    planner.found(ref("here"), 10)
    planner.expected(ref("here"))
    planner.ask("w", step("1", ("o", None), ("here", 10)))
    assert planner.decide(0.0) == ()
    assert planner.wait("w/1").phase == "upload"
    planner.offer(ref("o"), 20)
    assert planner.decide(0.0) == (Take(ref=ref("o"), size_bytes=20),)
    planner.take_failed(ref("o"))
    planner.decide(0.0)
    assert planner.wait("w/1").phase != "granted"
    planner.uploaded(ref("o"), 25)
    assert fetched(planner) == ["o"]


def test_steps_of_a_workflow_are_listed_in_order() -> None:
    planner = a_planner(100)
    planner.announce("w", [step("b", ("b", 1)), step("none"), step("a", ("a", 1))])
    assert planner.steps("w") == ("w/b", "w/a")
    planner.announce("w", [step("a", ("a", 1)), step("new", ("c", 1)), step("b", ("b", 1))])
    assert planner.steps("w") == ("w/a", "w/new", "w/b")
    assert planner.steps("other") == ()
    assert planner.absent("w/none") == ()
    assert planner.wait("w/a").phase == "future"


def test_positions_survive_any_number_of_insertions() -> None:
    planner = a_planner(10)
    names = ["a", "z"]
    for n in range(60):
        names.insert(1, f"n{n}")
        planner.announce("w", [step(name, (name, None)) for name in names])
        assert planner.steps("w") == tuple(f"w/{name}" for name in names)
    random = Random(0)
    for _ in range(20):
        random.shuffle(names)
        planner.announce("w", [step(name, (name, None)) for name in names])
        assert planner.steps("w") == tuple(f"w/{name}" for name in names)
    assert planner.audit() == ()


def test_the_audit_finds_what_is_wrong() -> None:
    planner = a_planner(10)
    planner.found(ref("a"), 5)
    planner.resume("w", step("1", ("nothing", 5)), 1)
    planner._items.used += 1
    assert planner.audit() == (
        "w/1 runs without its inputs",
        "queued far:nothing: kept False, counted True",
        "used: kept 7, counted 6",
    )


def test_residency_is_seen_from_outside() -> None:
    planner = a_planner(10)
    planner.found(ref("a"), 5, dirty=True)
    assert is_resident(planner, ref("a"))
    assert planner.item(ObjectRef(remote="x", path="y")) is None
    planner.size_known(ref("a"), 5)
    assert planner.bytes.dirty == 5


@pytest.mark.parametrize("late", ["missing", "old size"])
def test_a_late_answer_about_what_a_step_has_written_meanwhile_is_ignored(late: str) -> None:
    planner = a_planner(100)
    planner.announce("w", [step("2", ("o", None))])
    assert planner.decide(0.0) == (Look(ref=ref("o"), urgent=False),)
    planner.ended("w/1", [(ref("o"), 10)])
    planner.ask("w", step("2", ("o", None)))
    planner.decide(0.0)
    if late == "missing":
        assert planner.missing(ref("o")) == ()
    else:
        planner.size_known(ref("o"), 99)
    planner.taken(ref("o"))
    assert planner.decide(0.0) == (Grant(step="w/2"),)
    assert planner.bytes.used == 10


def test_what_is_not_known_is_no_obstacle() -> None:
    planner = a_planner(100)
    nothing = ref("nothing")
    assert planner.missing(nothing) == ()
    assert planner.keep(nothing)
    assert not planner.evict(nothing)
    planner.changed(nothing)
    planner.abandoned(nothing)
    assert planner.item(nothing) is None
    assert planner.wait("w/none") is None
    assert planner.audit() == ()


def test_announcing_again_forgets_what_is_gone_and_takes_what_changed() -> None:
    planner = a_planner(100, transfers=1)
    first, second, third = step("1", ("a", 10)), step("2", ("b", 10)), step("3", ("c", 10))
    planner.announce("w", [first, second, third])
    planner.announce("w", [third, second])
    assert planner.steps("w") == ("w/3", "w/2")
    planner.announce("w", [step("3", ("d", 10)), second])
    assert fetched(planner) == ["d", "b"]
    planner.ask("w", second)
    planner.announce("w", [second, step("3", ("d", 10))])
    assert planner.steps("w") == ("w/2", "w/3")
    assert planner.audit() == ()


def test_a_replica_is_kept_only_where_its_room_is_not_promised() -> None:
    planner = a_planner(100)
    planner.found(ref("a"), 60)
    planner.ask("w", step("1", ("b", 90)))
    planner.decide(0.0)
    assert planner.keep(ref("a"))


def test_an_upload_of_something_written_anew_drops_the_old_copy() -> None:
    planner = a_planner(100)
    planner.found(ref("o"), 10)
    planner.expected(ref("new"))
    planner.uploaded(ref("new"), 5)
    planner.uploaded(ref("o"), 12)
    assert Evict(ref=ref("o"), reason="no announced step reads it; a step wrote it anew") in planner.decide(0.0)


def test_an_input_reported_missing_is_looked_for_again_when_it_is_asked_for() -> None:
    planner = a_planner(100)
    one = step("1", ("a", None))
    planner.announce("w", [one])
    assert [type(command) for command in planner.decide(0.0)] == [Look]
    planner.missing(ref("a"))
    planner.ask("w", one)
    assert Look(ref=ref("a"), urgent=True) in planner.decide(0.0)
    assert planner.missing(ref("a")) == ("w/1",)


def test_keeping_and_evicting_by_hand() -> None:
    planner = a_planner(100)
    planner.found(ref("a"), 40)
    planner.found(ref("b"), 30)
    assert not planner.keep(ref("a"))
    assert not planner.keep(ref("a")), "asking again changes nothing"
    assert planner.evict(ref("b"))
    assert [command.ref for command in planner.decide(0.0) if isinstance(command, Evict)] == [ref("b")]
    planner.evicted(ref("b"))
    planner.found(ref("c"), 50)
    planner.set_capacity(60)
    assert planner.keep(ref("c")), "with what is kept it is more than the capacity now"


def test_a_step_that_only_the_order_holds_back_goes_when_nothing_else_runs() -> None:
    """What comes first may wait for this one: its workflow lets one step run at a time, and this one has the place."""
    planner = a_planner(100)

    def passing(name: str, written: str, size: int) -> FutureStep:
        made = FutureOutput(ref=ref(written), size_bytes=size, transient=True)
        return replace(step(name, ("a", 50)), outputs=(made,))

    first, second = passing("first", "x", 40), passing("second", "y", 45)
    planner.announce("w", [first, second, step("last", ("x", 40), ("y", 45))])
    planner.ask("w", second)
    assert not [one for one in planner.decide(0.0) if isinstance(one, Fetch) and one.urgent]
    wake = planner.next_wake()
    assert wake is not None
    planner.decide(wake)
    planner.arrived(ref("a"))
    assert Grant(step="w/second") in planner.decide(wake)
    assert planner.audit() == ()


def test_a_transfer_whose_wait_is_over_begins_though_the_clock_is_set_back() -> None:
    planner = a_planner(100, transfers=1)
    planner.ask("w", step("s", ("a", 10)))
    planner.ask("w", step("t", ("b", 10)))
    planner.decide(0.0)
    planner.fetch_failed(ref("a"), retry_at=10.0)
    assert [one.ref.path for one in planner.decide(1.0) if isinstance(one, Fetch)] == ["b"]
    assert not planner.decide(11.0)
    planner.arrived(ref("b"))
    assert [one.ref.path for one in planner.decide(5.0) if isinstance(one, Fetch)] == ["a"]


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_a_wide_step_is_not_gone_through_for_each_input_that_becomes_known(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inputs are looked at a few times each, however many there are; it waits until the last one is known."""
    looked_at = [0]
    obtainable = Item.obtainable.fget
    assert obtainable is not None

    def counted(item: Item) -> bool:
        looked_at[0] += 1
        return obtainable(item)

    monkeypatch.setattr(Item, "obtainable", property(counted))
    names = [f"i{number}" for number in range(500)]
    planner = a_planner(10_000)
    planner.ask("w", step("1", *((name, None) for name in names)))
    for name in names[::order]:
        planner.size_known(ref(name), 10)
        wait = planner.wait("w/1")
        assert wait is not None
        assert (wait.phase == "size") is (name != names[::order][-1])
    assert sorted(fetched(planner)) == sorted(names)
    wait = planner.wait("w/1")
    assert wait is not None
    assert wait.phase == "granted"
    assert looked_at[0] < 10 * len(names)


def test_a_result_that_may_stay_from_now_on_is_sent_at_once_where_a_step_lacks_its_room() -> None:
    planner = a_planner(100)
    planner.ask("w", step("maker", outputs=(("x", 60),)))
    planner.decide(0.0)
    planner.ended("w/maker", [(ref("x"), 60)])
    assert [type(one) for one in planner.decide(0.0)] == [Take]
    planner.taken(ref("x"))
    planner.ask("w", step("s", ("a", 50)))
    assert not planner.decide(0.0), "x is on its way to its far store"
    planner.retain(ref("x"))
    assert [(one.ref, type(one)) for one in planner.decide(0.0)] == [(ref("x"), Store)]
    assert planner.audit() == ()
