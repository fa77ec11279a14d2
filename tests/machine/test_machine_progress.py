"""How far a workflow is, as its pods say."""

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.machine import shares
from jitflow.model.pods import ContainerEnd, ContainerRole
from jitflow.model.runs import PodProgressed, PodStarted, ResumeRequested

pytestmark = pytest.mark.pure

TWO = """
entrypoint: main
templates:
  - name: main
    steps: [[{name: a, template: a}, {name: b, template: b}]]
  - {name: a, container: {image: i}}
  - name: b
    metadata: {annotations: {workflows.argoproj.io/progress: 0/50}}
    container: {image: i}
"""

SET = """
entrypoint: main
templates:
  - name: main
    containerSet: {containers: [{name: a, image: i}, {name: main, image: i}]}
"""

PAUSE = "entrypoint: pause\ntemplates: [{name: pause, suspend: {}}]"


def progress(run: Run, name: str = "") -> str:
    status = machine.workflow_document(run.state, run.now).status
    assert status is not None
    if not name:
        assert status.progress == machine.summary(run.state).progress
        return status.progress or ""
    return next(node.progress or "" for node in status.nodes.values() if node.name == name)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        *(("0/1", (0, 1)), ("100/100", (100, 100)), ("2/1", None), ("0/0", None), ("-1/2", None), ("1", None)),
        *(("1/", None), ("", None), ("1/x", None), ("١/٢", None), (f"1/{10**18}", None)),
    ],
)
def test_progress_is_two_numbers_of_which_the_second_is_not_less(text: str, numbers: tuple[int, int] | None) -> None:
    assert shares.parse(text) == numbers


def test_a_pod_begins_with_its_annotation_and_goes_on_as_it_says_itself() -> None:
    run = Run(workflow(TWO))
    run.begin()
    a, b = (run.node(f"wf[0].{name}").id for name in "ab")
    assert (progress(run), progress(run, "wf[0].b"), progress(run, "wf[0]")) == ("0/51", "0/50", "0/51")
    run.send(PodStarted(node_id=a))
    run.send(PodProgressed(node_id=a, progress="30/100"))
    assert (progress(run), progress(run, "wf[0].a")) == ("30/150", "30/100")
    assert not run.send(PodProgressed(node_id=a, progress="nonsense")).nodes
    assert not run.send(PodProgressed(node_id=a, progress="30/100")).nodes
    run.send(PodStarted(node_id=b))
    run.end("wf[0].b", 0, progress="10/60")
    assert (progress(run), progress(run, "wf[0].b")) == ("90/160", "60/60")
    assert not run.send(PodProgressed(node_id=b, progress="1/60")).nodes


def test_what_failed_has_done_what_it_said() -> None:
    run = Run(workflow(TWO))
    run.begin()
    run.end("wf[0].a", 1, progress="3/4")
    run.end("wf[0].b", 1)
    assert (progress(run), progress(run, "wf[0].a"), progress(run, "wf[0].b")) == ("3/54", "3/4", "0/50")


def test_containers_of_a_set_count_beside_their_pod() -> None:
    run = Run(workflow(SET))
    run.begin()
    assert progress(run) == "0/3"
    main, side = (
        ContainerEnd(name=name, role=ContainerRole.MAIN, exit_code=code, started_at=1.0, finished_at=2.0)
        for name, code in (("main", 1), ("a", 0))
    )
    run.end("wf", 1, containers=(side, main))
    assert (progress(run), progress(run, "wf"), progress(run, "wf.a"), progress(run, "wf.main")) == ("1/3", "0/1", "1/1", "0/1")


def test_a_pause_is_something_to_be_done() -> None:
    run = Run(workflow(PAUSE))
    run.begin()
    assert progress(run) == "0/1"
    run.send(ResumeRequested())
    assert progress(run) == "1/1"
