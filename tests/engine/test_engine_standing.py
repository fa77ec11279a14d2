"""What only the engine knows of a node that does not run: places, the pod's way, holders of locks."""

import pytest
from msgspec.structs import replace

from jitflow.engine.slots import Slots
from jitflow.engine.standing import PodStanding, with_holders, with_pod
from jitflow.model.reasons import NodeReason, Obstacle

pytestmark = pytest.mark.pure


def reason(*obstacles: Obstacle, message: str = "") -> NodeReason:
    return NodeReason(node_id="n", name="wf.n", display_name="n", phase="Pending", message=message, obstacles=obstacles)


def told(pod: PodStanding | None, found: NodeReason | None = None) -> list[tuple[str, str]]:
    return [(one.kind, one.message) for one in with_pod(found or reason(), pod).obstacles]


def test_a_pod_tells_what_it_waits_for_on_its_way():
    assert told(PodStanding(phase="data"), reason(message="waiting for data: far:a")) == [("data", "waiting for data: far:a")]
    assert told(PodStanding(phase="data", obstacle="no node fits")) == [("machine", "no node fits")]
    place = "waits for a place to run: 2 of 2 are taken, 3 wait before it"
    full = PodStanding(phase="slot", before=3, held=2, places=2)
    assert told(full) == [("place", f"its data is here; {place}")]
    assert told(replace(full, has_data=False)) == [("place", place)]
    assert [kind for kind, _ in told(PodStanding(phase="starting"))] == ["starting"]
    assert told(PodStanding(phase="running")) == []
    assert told(None) == []


def test_what_the_workflow_says_stands():
    lock = Obstacle(kind="lock", message="waits for m")
    assert told(PodStanding(phase="data"), reason(lock)) == [("lock", "waits for m")]
    held = with_holders(reason(lock), ["wf.a", "wf.b", "wf.c", "wf.d"])
    assert held.obstacles[0].message == "waits for m; held by wf.a, wf.b, wf.c and 1 more"
    assert with_holders(reason(lock), []) == reason(lock)


def test_places_count_who_waits_before_by_priority_and_time():
    slots = Slots(1)
    for key, priority in (("runs", 0), ("early", 0), ("gone", 0), ("late", 0), ("urgent", 5)):
        slots.request(key, lambda: None, priority)
    slots.free("gone")
    assert not slots.waits("runs")
    assert [slots.before(key) for key in ("urgent", "early", "late")] == [0, 1, 2]
