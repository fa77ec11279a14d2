"""The planner's invariants under random workflows, capacities from exactly the largest footprint, failures and cancels.

Which property holds what (`World` checks those marked * at each event, whatever the property; the audit recounts all sums):

1. used <= capacity in bytes (and objects, where limited), and is what lies there, comes, or is promised to running steps *
2. what cannot be freed <= capacity; each sum is what a recount gives *
3. nothing that a running step reads is evicted, and its claims count *
4. no output is evicted before it is proven far away, but a dead one *
5. a step starts when those before it have ended and all that it reads is here *
6. one transfer for each object and direction; its parts together are its size (test_planner_links)
7. claims = steps that hold the object; none at the end *
8. what has no reader left is gone at the end, or may be evicted *
9. every workflow ends and its results are far away, in a bounded number of events: every property with `finish`
10. no makespan is below the bound: tests/house/test_house_traces; more room is reported by `make bench-traces`
11. nothing is evicted for what is read later than it *
12. the first ready step without room is passed over a bounded number of times *
13. a crash at any event: test_a_crash_at_any_event_loses_nothing_and_fetches_nothing_again
14. what two workflows read is fetched once: test_nothing_is_fetched_twice_when_everything_fits
15. equal events give equal commands: test_equal_events_give_equal_commands
16. a cancelled workflow gives back its claims: test_a_cancelled_workflow_gives_back_exactly_its_claims
17. no namespace pays for more than its quota, all shares together are what is there, and nobody waits for ever *:
    test_every_workflow_finishes_within_the_quota_of_its_namespace
18. all of these in histories that mix cancels, crashes, new plans, quotas and a disk that fills: test_planner_machine *
19. decisions stay cheap: tests/house/test_house_traces; measured by `make bench-traces BENCH_FLAGS=--large`
"""

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from planner_world import Work, World, a_world, largest_footprint, random_workflow

from jitflow.model.data import FutureStep, ObjectRef
from jitflow.planner import Plan

pytestmark = pytest.mark.pure

RUNS = int(os.environ.get("PLANNER_RUNS", "600"))
"""Random runs of all properties together: more of them in CI, and many more with `make fuzz-planner`."""
SHARE_OF_MACHINES = 0.15
"""What `test_planner_machine` gets of them."""
_SHARES = 1.45
"""What the properties of this file ask for, together."""


def runs(share: float) -> settings:
    """Return the settings of a property that gets this share of the runs, of those that machines leave."""
    return settings(max_examples=max(10, int(RUNS * share * (1 - SHARE_OF_MACHINES) / _SHARES)), deadline=None)


SIZES = (0, 1, 7, 10, 50)


def world_of(
    *,
    seed: int,
    count: int,
    flows: int = 2,
    slack: float = 0.2,
    transfers: int = 2,
    workers: int = 2,
    fail: float = 0.0,
    shared: bool = True,
    transient: bool = False,
    objects: int | None = None,
) -> tuple[World, list[list[Work]]]:
    """Make workflows, and a world whose capacity is the largest footprint and `slack` of it more."""
    random = Random(seed)
    plans, far, largest = [], {}, 0
    for n in range(flows):
        works, own = random_workflow(
            random, f"w{n}", count, shared="x" if shared else f"x{n}-", sizes=SIZES, known=random.random(), transient=transient
        )
        for one, size in own.items():
            far.setdefault(one, size)
        plans.append(works)
    if shared:  # equal names have one size
        for n, works in enumerate(plans):
            plans[n] = [type(w)(w.uid, _resized(w.spec, far), w.sizes) for w in works]
    for works in plans:
        largest = max(largest, largest_footprint(works, far))
    world = a_world(
        int(largest * (1 + slack)),
        far,
        seed=seed,
        max_objects=0 if objects is None else objects + max(most_objects(works) for works in plans),
        transfers=transfers,
        workers=workers,
        window=random.choice((1, 4, 64)),
        awake=random.choice((0, 2, 50_000)),
        default_output_bytes=random.choice((0, 20)),
        yielding=random.random() < 0.5,
    )
    world.fail = fail
    if random.random() < 0.3:
        stream_Bps = random.choice((5.0, 20.0))
        world.planner.set_link(
            "far", rate_Bps=random.choice((1.0, 20.0)), stream_Bps=stream_Bps, latency_s=random.choice((0.0, 1.0))
        )
    return world, plans


def most_objects(works: list[Work]) -> int:
    """Return how many objects the largest step reads and writes."""
    return max(len({one.ref for one in work.spec.inputs}) + len(work.spec.outputs) for work in works)


def _resized(spec: FutureStep, far: dict[ObjectRef, int]) -> FutureStep:
    inputs = tuple(replace(one, size_bytes=far.get(one.ref) if one.size_bytes is not None else None) for one in spec.inputs)
    return replace(spec, inputs=inputs)


@runs(0.3)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 12),
    flows=st.integers(1, 3),
    slack=st.sampled_from((0.0, 0.0, 0.3, 2.0)),
    transfers=st.integers(1, 4),
    workers=st.integers(1, 4),
    fail=st.sampled_from((0.0, 0.2)),
    shared=st.booleans(),
)
def test_every_workflow_finishes_within_the_capacity(*, seed, count, flows, slack, transfers, workers, fail, shared):
    world, plans = world_of(
        seed=seed, count=count, flows=flows, slack=slack, transfers=transfers, workers=workers, fail=fail, shared=shared
    )
    for works in plans:
        world.announce(works)
        for _ in range(world.random.randrange(6)):
            world.happen()
    world.finish()
    assert not world.refused


@runs(0.2)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 12),
    flows=st.integers(1, 3),
    slack=st.sampled_from((0.0, 0.3, 50.0)),
    objects=st.sampled_from((0, 0, 1, 5)),
    workers=st.integers(1, 4),
    fail=st.sampled_from((0.0, 0.2)),
    transient=st.booleans(),
)
def test_every_workflow_finishes_within_the_number_of_objects(*, seed, count, flows, slack, objects, workers, fail, transient):
    world, plans = world_of(
        seed=seed, count=count, flows=flows, slack=slack, objects=objects, workers=workers, fail=fail, transient=transient
    )
    for works in plans:
        world.announce(works)
        for _ in range(world.random.randrange(6)):
            world.happen()
    world.finish()
    assert not world.refused


def a_plan(world: World, works: list[Work], room: str) -> Plan | None:
    """Return a plan of a random topological order, None for none."""
    if room == "none":
        return None
    left = [work.spec for work in works]
    names = {spec.id for spec in left}
    starts: dict[str, float] = {}
    while left:
        ready = [spec for spec in left if all(name in starts for name in spec.after if name in names)]
        spec = world.random.choice(ready)
        left.remove(spec)
        starts[spec.id] = len(starts) * 2.5
    return Plan(
        starts=starts,
        envelope=room == "envelope",
        eager={"eager": 1, "bold": world.random.choice((2, 100))}.get(room, 0),
        patience=world.random.choice((None, 0, 1, 4)),
        makespan_s=world.random.choice((None, 2.5 * len(starts))),
    )


@runs(0.3)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 14),
    flows=st.integers(1, 3),
    slack=st.sampled_from((0.0, 0.0, 0.3, 2.0)),
    transfers=st.integers(1, 4),
    workers=st.integers(1, 4),
    fail=st.sampled_from((0.0, 0.2)),
    shared=st.booleans(),
    room=st.sampled_from(("none", "envelope", "eager", "bold", "late")),
)
def test_results_that_only_pass_through_leave_and_come_back_without_a_stall(
    *, seed, count, flows, slack, transfers, workers, fail, shared, room
):
    world, plans = world_of(
        seed=seed, count=count, flows=flows, slack=slack, transfers=transfers, workers=workers, fail=fail, shared=shared,
        transient=True,
    )  # fmt: skip
    for works in plans:
        world.announce(works, a_plan(world, works, room))
        for _ in range(world.random.randrange(6)):
            world.happen()
    world.finish()
    assert not world.refused


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10), when=st.integers(0, 40), slack=st.sampled_from((0.0, 0.5)))
def test_a_cancelled_workflow_leaves_no_results_behind(seed, count, when, slack):
    world, plans = world_of(seed=seed, count=count, flows=2, slack=slack, fail=0.1, transient=True)
    for works in plans:
        world.announce(works, a_plan(world, works, "envelope"))
    for _ in range(when):
        world.happen()
    world.withdraw("w0")
    world.finish()
    assert all(work.state == "done" for work in plans[1])


@runs(0.05)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 10),
    flows=st.integers(2, 3),
    slack=st.sampled_from((0.0, 0.5)),
    when=st.integers(0, 30),
)
def test_a_cancelled_workflow_gives_back_exactly_its_claims(seed, count, flows, slack, when):
    world, plans = world_of(seed=seed, count=count, flows=flows, slack=slack, fail=0.1)
    for works in plans:
        world.announce(works)
    for _ in range(when):
        world.happen()
    world.withdraw("w0")
    world.finish()
    assert all(work.state == "done" for works in plans[1:] for work in works)


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10), again=st.integers(1, 5))
def test_announcing_again_with_what_is_left_changes_nothing_for_the_worse(seed, count, again):
    world, plans = world_of(seed=seed, count=count)
    for works in plans:
        world.announce(works)
    turn = 0
    while world.happen():
        turn += 1
        if turn % again == 0:
            for works in plans:
                left = [work.spec for work in works if work.state not in {"done", "running"}]
                world.random.shuffle(left)
                world.planner.announce(works[0].uid, left)
                world.settle()
    world.finish()


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10))
def test_equal_events_give_equal_commands(seed, count):
    logs = []
    for _ in range(2):
        world, plans = world_of(seed=seed, count=count, slack=0.3, fail=0.1)
        for works in plans:
            world.announce(works)
        world.finish()
        logs.append(world.log)
    assert logs[0] == logs[1]


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10))
def test_nothing_is_fetched_twice_when_everything_fits(seed, count):
    world, plans = world_of(seed=seed, count=count, flows=3, slack=200.0, transfers=3)
    for works in plans:
        world.announce(works)
    world.finish()
    assert all(times == 1 for times in world.fetches.values())


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10), slack=st.sampled_from((0.0, 0.4)))
def test_steps_whose_inputs_are_lost_hold_nothing_and_stop_nobody(seed, count, slack):
    world, plans = world_of(seed=seed, count=count, flows=3, slack=slack, fail=0.1)
    world.lost = 0.2
    for works in plans:
        world.announce(works)
        for _ in range(world.random.randrange(6)):
            world.happen()
    world.finish(whole=False)
    for uid in ("w0", "w1", "w2"):
        world.withdraw(uid)
    while world.happen():
        pass
    assert world.planner.bytes.fixed == 0


@runs(0.05)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 10))
def test_the_capacity_may_shrink_and_grow(seed, count):
    world, plans = world_of(seed=seed, count=count, slack=0.5, fail=0.1)
    whole = world.planner.bytes.limit
    world.strict = False
    for works in plans:
        world.announce(works)
    for _ in range(40):
        world.planner.set_ceiling(world.random.randrange(whole + 2))
        before = world.planner.bytes.used
        world.settle()
        world.happen()
        assert world.planner.bytes.used <= max(before, whole)
    world.planner.set_ceiling(whole)
    world.strict = True
    world.settle()
    world.finish()
    assert not world.refused


@runs(0.1)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 10),
    flows=st.integers(1, 3),
    slack=st.sampled_from((0.0, 0.5)),
    when=st.integers(0, 30),
    room=st.sampled_from(("none", "envelope", "eager", "bold", "late")),
)
def test_a_crash_at_any_event_loses_nothing_and_fetches_nothing_again(*, seed, count, flows, slack, when, room):
    world, works = world_of(seed=seed, count=count, flows=flows, slack=slack, fail=0.1)
    plans = {one[0].uid: a_plan(world, one, room) for one in works}
    for one in works:
        world.announce(one, plans[one[0].uid])
    for _ in range(2):
        for _ in range(when):
            world.happen()
        world.restart(plans)
    world.finish()
    assert not world.refused


def with_quotas(world: World, plans: list[list[Work]], slack: float, *, objects: bool) -> None:
    """Give each workflow a namespace of its own, whose quota is its largest footprint and `slack` of it more."""
    for works in plans:
        uid = works[0].uid
        quota = int(largest_footprint(works, world.far) * (1 + slack))
        world.planner.set_quota(f"n-{uid}", quota, most_objects(works) if objects else 0)
        world.planner.belong(uid, f"n-{uid}")
        world.namespaces[uid] = f"n-{uid}"


@runs(0.2)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 12),
    flows=st.integers(1, 3),
    room=st.sampled_from((0.0, 0.3, 5.0)),
    slack=st.sampled_from((0.0, 0.3, 2.0)),
    objects=st.booleans(),
    fail=st.sampled_from((0.0, 0.2)),
    shared=st.booleans(),
    transient=st.booleans(),
    crash=st.booleans(),
)
def test_every_workflow_finishes_within_the_quota_of_its_namespace(
    *, seed, count, flows, room, slack, objects, fail, shared, transient, crash
):
    world, plans = world_of(seed=seed, count=count, flows=flows, slack=room, fail=fail, shared=shared, transient=transient)
    world.shared = shared
    with_quotas(world, plans, slack, objects=objects)
    for works in plans:
        world.announce(works)
        for _ in range(world.random.randrange(6)):
            world.happen()
    if crash and not transient:
        world.restart({})
    world.finish()
    assert not world.refused
