"""The planner's invariants in histories that mix everything: a state machine that hypothesis drives and shrinks.

Each property of `test_planner_properties` has one kind of trouble in it; here they meet: workflows that come while others run,
are announced anew, cancelled and forgotten, crashes, a disk that fills and empties, quotas that change, links that turn out to be
faster or slower. `World` checks the invariants at each event; at the end everything must come to rest.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from planner_world import Work, World, largest_footprint
from test_planner_properties import RUNS, SHARE_OF_MACHINES, a_plan, most_objects, world_of

ROOMS = st.sampled_from(("none", "envelope", "eager", "bold", "late"))


class Planning(RuleBasedStateMachine):
    """One store, and what may happen to it."""

    @initialize(
        seed=st.integers(0, 2**32),
        count=st.integers(1, 8),
        flows=st.integers(1, 3),
        slack=st.sampled_from((0.0, 0.3, 2.0)),
        fail=st.sampled_from((0.0, 0.2)),
        shared=st.booleans(),
        transient=st.booleans(),
        quotas=st.booleans(),
    )
    def begin(self, *, seed, count, flows, slack, fail, shared, transient, quotas):
        """Make workflows that will come."""
        self.world: World
        self.world, self.coming = world_of(
            seed=seed, count=count, flows=flows, slack=slack, fail=fail, shared=shared, transient=transient
        )
        self.world.shared = shared
        self.transient = transient
        self.here: dict[str, list[Work]] = {}
        self.plans = {}
        if quotas:
            for works in self.coming:
                self.belong(works)

    def belong(self, works: list[Work]) -> None:
        """Give the workflow a namespace whose quota is its largest footprint."""
        uid = works[0].uid
        self.world.planner.belong(uid, f"n-{uid}")
        self.world.namespaces[uid] = f"n-{uid}"
        self.world.planner.set_quota(f"n-{uid}", largest_footprint(works, self.world.far))

    @rule(events=st.integers(1, 12))
    def go_on(self, events):
        """Let some transfers and steps end."""
        for _ in range(events):
            if not self.world.happen():
                break

    @precondition(lambda self: self.coming)
    @rule(room=ROOMS)
    def submit(self, room):
        """Let the next workflow come."""
        works = self.coming.pop(0)
        plan = a_plan(self.world, works, room)
        self.here[works[0].uid], self.plans[works[0].uid] = works, plan
        self.world.announce(works, plan)

    @precondition(lambda self: self.here)
    @rule(room=ROOMS, data=st.data())
    def plan_anew(self, room, data):
        """Announce what is left of a workflow in another order."""
        uid = data.draw(st.sampled_from(sorted(self.here)))
        left = [work for work in self.here[uid] if work.state in {"blocked", "asked"}]
        if left:
            self.plans[uid] = a_plan(self.world, left, room)
            self.world.planner.announce(uid, [work.spec for work in left], self.plans[uid])
            self.world.settle()

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def cancel(self, data):
        """Cancel a workflow; its steps that run go on to their ends."""
        uid = data.draw(st.sampled_from(sorted(self.here)))
        del self.here[uid]
        self.world.withdraw(uid)

    @precondition(lambda self: self.here and not self.transient)
    @rule()
    def crash(self):
        """Lose the planner."""
        self.world.restart(self.plans)
        self.world.strict = True

    @rule(share=st.sampled_from((0.0, 0.5, 0.9, 1.0)))
    def fill_the_disk(self, share):
        """Let something else take a part of the disk, or give it back."""
        self.world.strict = share == 1.0 and self.world.planner.bytes.used <= self.world.planner.bytes.limit
        self.world.planner.set_ceiling(int(self.world.planner.bytes.limit * share))
        self.world.settle()

    @precondition(lambda self: self.world.namespaces)
    @rule(objects=st.booleans(), slack=st.sampled_from((0.0, 0.5, 3.0)), data=st.data())
    def allow_more(self, objects, slack, data):
        """Give a namespace more than its largest step needs, or no more than that, or limit its objects."""
        uid = data.draw(st.sampled_from(sorted(self.world.namespaces)))
        works = [work for work in self.world.works.values() if work.uid == uid]
        if not works:
            return
        least = largest_footprint(works, self.world.far)
        before = self.world.planner.quota(uid)[0] or 0
        quota = max(before, int(least * (1 + slack)))
        self.world.planner.set_quota(f"n-{uid}", quota, most_objects(works) + 2 if objects else 0)
        self.world.settle()

    @rule(rate_Bps=st.sampled_from((1.0, 20.0)), latency_s=st.sampled_from((0.0, 1.0)))
    def measure(self, rate_Bps, latency_s):
        """Learn what the link gives."""
        self.world.planner.set_link("far", rate_Bps=rate_Bps, stream_Bps=rate_Bps / 4, latency_s=latency_s)

    def teardown(self):
        """Let everything end."""
        if not hasattr(self, "world"):
            return
        self.world.planner.set_ceiling(self.world.planner.bytes.limit)
        self.world.strict = True
        self.world.settle()
        self.world.finish()
        assert not self.world.refused
        assert all(work.state == "done" for works in self.here.values() for work in works)


def test_whatever_happens_everything_ends_and_every_invariant_holds():
    run_state_machine_as_test(
        Planning,
        settings=settings(max_examples=max(10, int(RUNS * SHARE_OF_MACHINES)), stateful_step_count=12, deadline=None),
    )
