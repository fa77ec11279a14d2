"""Why a node does not run, as far as its workflow knows."""

import pytest
from machine_driver import T0, Run, workflow

from jitflow import machine
from jitflow.model.pods import CollectedArtifact
from jitflow.model.problems import Refused
from jitflow.model.reasons import NodeReason
from jitflow.model.runs import PodStarted, SuspendRequested

pytestmark = pytest.mark.pure

DAG = """
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: a, template: work}
    - {name: b, template: work}
    - {name: c, template: work, dependencies: [a, b]}
    - {name: d, template: inner, dependencies: [c]}
- name: inner
  steps: [[{name: deep, template: work}]]
- name: work
  container: {image: busybox, command: [work]}
"""


def why(run: Run, node: str) -> NodeReason:
    return machine.why(run.state, node, now=run.now)


def kinds(found: NodeReason) -> list[str]:
    return [one.kind for one in found.obstacles]


def test_a_task_that_is_to_come_names_the_parents_that_have_not_ended():
    run = Run(workflow(DAG))
    run.begin()
    found = why(run, "c")
    assert (found.name, found.display_name, found.phase, found.is_pod) == ("wf.c", "c", "", True)
    (one,) = found.obstacles
    assert (one.kind, one.nodes) == ("parents", ("wf.a", "wf.b"))
    assert one.message == "waits for wf.a, wf.b, which have not ended"
    run.end("wf.a")
    assert why(run, "wf.c").obstacles[0].message == "waits for wf.b, which has not ended"
    assert why(run, found.node_id) == why(run, "c")


def test_a_task_of_several_steps_to_come_is_told_by_the_first_of_them():
    run = Run(workflow(DAG))
    run.begin()
    found = why(run, "d")
    assert found.name == "wf.d[0].deep"
    assert found.obstacles[0].nodes == ("wf.c",)


def test_what_runs_and_what_has_ended_waits_for_nothing():
    run = Run(workflow(DAG))
    run.begin()
    run.send(PodStarted(node_id=run.node("wf.a").id))
    assert (why(run, "a").phase, why(run, "a").obstacles) == ("Running", ())
    run.end("wf.a", 1)
    assert (why(run, "a").phase, why(run, "a").obstacles) == ("Failed", ())


def test_a_composite_node_names_the_children_that_work():
    run = Run(workflow(DAG))
    run.begin()
    (one,) = why(run, "wf").obstacles
    assert (one.kind, one.nodes) == ("steps", ("wf.a", "wf.b"))


def test_parallelism_says_whose_and_how_many_wait_before():
    text = DAG.replace("dependencies: [a, b]", "dependencies: []")
    run = Run(workflow(text.replace("entrypoint: main", "entrypoint: main\nparallelism: 1")))
    run.begin()
    assert why(run, "b").obstacles[0].message == "waits for parallelism 1 of the workflow: 1 run, 0 wait before it"
    assert why(run, "c").obstacles[0].message == "waits for parallelism 1 of the workflow: 1 run, 1 wait before it"
    run = Run(workflow(text.replace("- name: main\n", "- name: main\n  parallelism: 2\n")))
    run.begin()
    assert why(run, "c").obstacles[0].message == "waits for parallelism 2 of template main: 2 run, 0 wait before it"


def test_a_suspended_workflow_says_so_of_what_waits_and_of_what_is_to_come():
    run = Run(workflow(DAG))
    run.begin()
    run.send(SuspendRequested())
    assert kinds(why(run, "c")) == ["suspended", "parents"]
    run.end("wf.a")
    run.end("wf.b")
    assert kinds(why(run, "c")) == ["suspended"]
    assert "jitflow resume wf" in why(run, "c").obstacles[0].message


def test_a_suspension_says_how_long_it_still_lasts():
    run = Run(workflow('entrypoint: main\ntemplates: [{name: main, suspend: {duration: "20"}}]'))
    run.begin()
    run.now += 5
    (one,) = why(run, "wf").obstacles
    assert one.message == "is suspended for 15 s more, or until jitflow resume wf"


def test_a_backoff_says_when_the_next_attempt_begins():
    text = """
        entrypoint: main
        templates:
        - name: main
          retryStrategy: {limit: "2", backoff: {duration: "30"}}
          container: {image: busybox, command: [work]}
        """
    run = Run(workflow(text))
    run.begin()
    run.end("wf(0)", 1)
    run.now += 10
    (one,) = why(run, "wf").obstacles
    assert (one.kind, one.message) == ("backoff", "its last attempt failed; the next begins in 20 s")


def test_a_lock_is_named():
    text = """
        entrypoint: main
        templates:
        - name: main
          synchronization: {mutexes: [{name: m}]}
          container: {image: busybox, command: [work]}
        """
    run = Run(workflow(text))
    run.begin()
    (one,) = why(run, "wf").obstacles
    assert (one.kind, one.message) == ("lock", "waits for default/Mutex/m")


def test_a_step_whose_condition_is_open_may_not_run_at_all():
    text = DAG.replace("dependencies: [c]}", 'dependencies: [c], when: "{{tasks.a.outputs.result}} == 1"}')
    run = Run(workflow(text))
    run.begin()
    assert kinds(why(run, "d")) == ["parents", "condition"]


def test_before_it_begins_a_workflow_tells_what_its_first_step_waits_for():
    run = Run(workflow(DAG))
    assert why(run, "a").obstacles == ()
    assert machine.why(run.state, "c", now=T0).obstacles[0].nodes == ("wf.a", "wf.b")


def test_an_unknown_node_and_one_name_of_several_are_refused():
    run = Run(workflow(DAG))
    run.begin()
    with pytest.raises(Refused, match='has no node "x"') as missing:
        why(run, "x")
    assert missing.value.code == "not_found"
    twice = """
        entrypoint: main
        templates:
        - name: main
          steps: [[{name: l, template: inner}, {name: r, template: inner}]]
        - name: inner
          steps: [[{name: same, template: work}]]
        - name: work
          container: {image: busybox, command: [work]}
        """
    run = Run(workflow(twice))
    run.begin()
    with pytest.raises(Refused, match=r'2 nodes are called "same": .*give a full name'):
        why(run, "same")
    run.end("wf[0].l[0].same")
    assert why(run, "same").name == "wf[0].r[0].same", "the one that has not ended is meant"


def test_outputs_on_their_way_are_told_of_the_node_and_of_the_workflow():
    text = """
        entrypoint: main
        templates:
        - name: main
          steps: [[{name: a, template: work}]]
        - name: work
          container: {image: busybox, command: [work]}
          outputs: {artifacts: [{name: out, path: /out, s3: {key: k}}]}
        """
    run = Run(workflow(text))
    run.begin()
    run.end("wf[0].a", artifacts=(CollectedArtifact(name="out", source="/x", size_bytes=1),))
    assert kinds(why(run, "a")) == ["saving"]
    assert kinds(why(run, "wf")) == ["saving"]
    run.save("wf[0].a")
    assert (kinds(why(run, "a")), kinds(why(run, "wf"))) == ([], [])


def test_a_step_behind_a_suspension_names_it():
    text = """
        entrypoint: main
        templates:
        - name: main
          steps: [[{name: first, template: work}], [{name: approve, template: pause}], [{name: last, template: work}]]
        - {name: pause, suspend: {}}
        - name: work
          container: {image: busybox, command: [work]}
        """
    run = Run(workflow(text))
    run.begin()
    assert why(run, "last").obstacles[0].nodes == ("wf[0].first",)
    run.end("wf[0].first")
    (one,) = why(run, "last").obstacles
    assert (one.kind, one.message) == ("parents", "waits for wf[1].approve, which has not ended")
