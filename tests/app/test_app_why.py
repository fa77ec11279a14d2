"""One line that says why a node does not run."""

import pytest

from jitflow.app.why import why
from jitflow.model.reasons import NodeReason, ObjectRead, ObjectStanding, Obstacle, StepStanding

pytestmark = pytest.mark.pure

STEP = "0d3b1c1e-6a0f-4c43-9d5a-0123456789ab/wf-7"


def node(*obstacles: Obstacle, **more: object) -> NodeReason:
    values: dict[str, object] = {"node_id": "wf-1", "name": "wf.a", "display_name": "a", "phase": "Pending"}
    return NodeReason(obstacles=obstacles, **(values | more))  # pyright: ignore[reportArgumentType]


def line(found: NodeReason, data: StepStanding | None = None) -> str:
    return why("default", "wf", found, data).summary


def test_each_obstacle_reads_as_a_sentence():
    assert line(node(Obstacle(kind="lock", message="waits for m"))) == "wf.a waits for m"
    suspended = Obstacle(kind="suspended", message="the workflow is suspended")
    assert line(node(suspended)) == "wf.a does not run: the workflow is suspended"
    assert line(node(suspended, Obstacle(kind="parents", message="waits for b"))).endswith("is suspended; waits for b")
    assert line(node()) == "wf.a is about to start"


def test_the_data_plane_has_the_newer_word_and_the_time():
    data = StepStanding(step=STEP, phase="fetching", reason="waiting for data: far:x", expected_s=12.4)
    found = why("default", "wf", node(Obstacle(kind="data", message="older")), data)
    assert found.node.obstacles[0].message == "waiting for data: far:x"
    assert found.summary == "wf.a does not run: waiting for data: far:x; all of its data is expected in about 12 s"
    assert why("default", "wf", node(), StepStanding(step=STEP)).data is None


def test_what_has_ended_says_how_and_how_long_it_waited():
    read = (ObjectRead(ref="far:x", source="waited", message="was fetched"),)
    data = StepStanding(step=STEP, phase="done", read=read, waited_s=3.0)
    ended = node(phase="Failed", message="exit code 1", started_at=10.0, finished_at=14.5)
    assert line(ended, data) == "wf.a has ended, Failed after 4.5 s: exit code 1; waited 3.0 s for its data"
    assert line(node(phase="Running"), data) == "wf.a runs; waited 3.0 s for its data"
    saving = Obstacle(kind="saving", message="its outputs are being sent")
    assert line(node(saving, phase="Succeeded")) == "wf.a has ended, Succeeded; its outputs are being sent"
    assert line(node(phase="Skipped", started_at=1.0, finished_at=1.0)) == "wf.a has ended, Skipped"


def test_steps_in_messages_get_their_names():
    one = ObjectStanding(ref="far:x", state="absent", message=f"not there yet: {STEP} will write it")
    data = StepStanding(step=STEP, phase="waiting", reason=f"waiting behind {STEP}", objects=(one,))
    found = why("default", "wf", node(), data, lambda step: {STEP: "wf.maker"}[step]).data
    assert found is not None
    assert (found.reason, found.objects[0].message) == ("waiting behind wf.maker", "not there yet: wf.maker will write it")
