"""Locks in the machine: who waits, what shows of it, and when a lock goes back."""

import pytest
from machine_driver import T0, Run, workflow

from jitflow import machine
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap
from jitflow.model.runs import LocksAwaited, LocksTaken, RetryRequested, ShutdownRequested, TakeLocks

pytestmark = pytest.mark.pure

MESSAGE = "Waiting for default/Mutex/m lock. Lock status: 0/1"
LEAF = """
entrypoint: t
templates:
- name: t
  synchronization: {mutexes: [{name: m}], semaphores: [{configMapKeyRef: {name: c, key: k}}]}
  MORE
  container: {image: busybox, command: [work]}
"""


def await_locks(run: Run, name: str = "wf") -> None:
    run.send(LocksAwaited(node_id=run.node(name).id, message=MESSAGE))


def take_locks(run: Run, name: str = "wf") -> None:
    run.send(LocksTaken(node_id=run.node(name).id))


def test_a_waiting_node_is_pending_and_holds_its_locks_until_it_ends():
    """SEMANTICS synchronization: waiting node Pending with message; holder `ns/wf[/nodeID]`; released at fulfilment."""
    run = Run(workflow(LEAF.replace("MORE", "")))
    run.begin()
    effect = run.effects["locks/wf"]
    assert isinstance(effect, TakeLocks)
    assert [lock.name for lock in effect.locks] == ["default/Mutex/m", "default/ConfigMap/c/k"]
    await_locks(run)
    shown = machine.status(run.state, T0)
    assert (shown.nodes["wf"].phase, shown.nodes["wf"].message, shown.nodes["wf"].type) == ("Pending", MESSAGE, "Pod")
    assert run.launched == []
    take_locks(run)
    assert run.launched == ["wf"]
    found = machine.status(run.state, T0).synchronization
    assert found is not None
    assert found.mutex is not None
    assert found.mutex.holding == (argo.MutexHolding(holder="default/wf/wf", mutex="default/Mutex/m"),)
    run.end("wf")
    assert "locks/wf" not in run.effects


def test_the_lock_of_a_repeated_node_is_held_by_its_retry_node():
    """SEMANTICS synchronization: lock of a retried node is held by the Retry node."""
    run = Run(workflow(LEAF.replace("MORE", 'retryStrategy: {limit: "1"}')))
    run.begin()
    assert run.node("wf").type == "Retry"
    take_locks(run)
    run.end("wf(0)", 1)
    assert run.node("wf(1)").phase == "Pending"
    assert "locks/wf" in run.effects, "held over the attempts"
    run.end("wf(1)", 0)
    assert "locks/wf" not in run.effects


@pytest.mark.parametrize("kind", ["steps: [[{name: a, template: u}]]", "dag: {tasks: [{name: a, template: u}]}"])
def test_steps_and_dags_take_locks_too(kind: str):
    run = Run(
        workflow(f"""
        entrypoint: t
        templates:
        - {{name: t, synchronization: {{mutexes: [{{name: "{{{{workflow.name}}}}"}}]}}, {kind}}}
        - {{name: u, container: {{image: busybox, command: [work]}}}}
        """)
    )
    run.begin()
    assert run.state.run.phase == "Running"
    assert run.launched == []
    assert run.node("wf").locks == ("default/Mutex/wf",)
    take_locks(run)
    assert len(run.launched) == 1
    run.play()
    assert run.state.run.phase == "Succeeded"
    assert "locks/wf" not in run.effects


def test_a_lock_without_a_place_goes_back():
    """SEMANTICS synchronization: waiting pods do not count for parallelism; who has the place may need the lock."""
    run = Run(
        workflow("""
        entrypoint: main
        templates:
        - name: main
          parallelism: 1
          steps: [[{name: a, template: locked}, {name: b, template: free}]]
        - {name: locked, synchronization: {mutexes: [{name: m}]}, container: {image: busybox, command: [work]}}
        - {name: free, container: {image: busybox, command: [work]}}
        """)
    )
    run.begin()
    first, key = run.node("wf[0].a"), f"locks/{run.node('wf[0].a').id}"
    assert run.launched == [run.node("wf[0].b").id], "the one that waits for a lock takes no place"
    run.send(LocksTaken(node_id=first.id))
    assert key not in run.effects
    run.end("wf[0].b")
    assert key in run.effects, "asked for again"
    take_locks(run, "wf[0].a")
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_a_stop_gives_all_locks_back():
    """SEMANTICS synchronization: releases all at workflow end."""
    run = Run(workflow(LEAF.replace("MORE", "")))
    run.begin()
    run.send(ShutdownRequested(strategy="Stop"))
    assert run.state.run.phase == "Failed"
    assert "locks/wf" not in run.effects


class _Cache:
    def __init__(self, text: str) -> None:
        metadata = argo.ObjectMeta(name="cache", namespace="default", labels={TYPE_LABEL: CACHE_TYPE})
        self.config = ConfigMap(metadata=metadata, data={"k": text} if text else {})

    def find(self, kind: object, namespace: str, name: str) -> object:
        return self.config if kind is ConfigMap and (namespace, name) == ("default", "cache") else None


def test_the_cache_is_looked_at_when_the_lock_is_there():
    """SEMANTICS memoize: hit => Succeeded node, memoizationStatus, no pod; somebody may have filled the cache meanwhile."""
    objects = _Cache("")
    memo = "memoize: {key: k, maxAge: '', cache: {configMap: {name: cache}}}"
    run = Run(workflow(LEAF.replace("MORE", memo)), objects=objects)  # type: ignore[arg-type]
    run.begin()
    objects.config = _Cache('{"nodeID": "n", "outputs": {"result": "7"}, "creationTimestamp": "2023-01-01T00:00:00Z"}').config
    take_locks(run)
    node = run.node("wf")
    assert (node.phase, run.launched) == ("Succeeded", [])
    assert (node.outputs or argo.Outputs()).result == "7"
    found = machine.status(run.state, T0).nodes["wf"].memoization_status
    assert found == argo.MemoizationStatus(cache_name="cache", hit=True, key="k")
    assert "locks/wf" not in run.effects


AGAIN = """
entrypoint: main
synchronization: {mutexes: [{name: whole}]}
templates:
- name: main
  steps: [[{name: a, template: inner}]]
- name: inner
  synchronization: {mutexes: [{name: part}]}
  dag: {tasks: [{name: good, template: leaf}, {name: bad, template: leaf}]}
- {name: leaf, container: {image: busybox, command: [work]}}
"""


def failed_with_locks() -> Run:
    """Return a workflow that had its locks, failed, and is to run again."""
    run = Run(workflow(AGAIN))
    run.begin()
    run.send(LocksTaken())
    take_locks(run, "wf[0].a")
    run.end("wf[0].a.good")
    run.end("wf[0].a.bad", 1)
    assert run.state.run.phase == "Failed"
    assert not {key for key in run.effects if key.startswith("locks/")}
    run.send(RetryRequested())
    return run


def test_a_workflow_that_runs_again_takes_its_locks_again_and_so_do_its_nodes():
    run = failed_with_locks()
    launched = len(run.launched)
    assert run.state.run.phase == ""
    assert "locks/" in run.effects
    run.send(LocksAwaited(message=MESSAGE))
    assert machine.summary(run.state).message == MESSAGE
    run.send(LocksTaken())
    inner = run.node("wf[0].a")
    assert (inner.phase, inner.locking) == ("Running", "wanted")
    await_locks(run, "wf[0].a")
    assert machine.status(run.state, T0).nodes[inner.id].message == MESSAGE
    assert len(run.launched) == launched, "nothing runs without the lock"
    take_locks(run, "wf[0].a")
    assert run.launched[launched:] == [run.node("wf[0].a.bad").id]
    run.end("wf[0].a.bad")
    assert run.state.run.phase == "Succeeded"
    assert not {key for key in run.effects if key.startswith("locks/")}


@pytest.mark.parametrize("got", [0, 1])
def test_a_stop_ends_a_workflow_that_waits_to_run_again(got: int):
    run = failed_with_locks()
    if got:
        run.send(LocksTaken())
    run.send(ShutdownRequested(strategy="Stop"))
    assert (run.state.run.phase, run.phase("wf"), run.phase("wf[0].a")) == ("Failed", "Failed", "Failed")
    assert not {key for key in run.effects if key.startswith("locks/")}
    run.send(RetryRequested())
    run.send(LocksTaken())
    take_locks(run, "wf[0].a")
    run.play()
    assert run.state.run.phase == "Succeeded"


def test_the_deadline_of_a_workflow_that_runs_again_counts_anew():
    run = Run(workflow(LEAF.replace("MORE", "").replace("entrypoint: t", "entrypoint: t\nactiveDeadlineSeconds: 100")))
    run.begin()
    take_locks(run)
    run.end("wf", 1)
    assert "deadline" not in run.effects
    run.now += 1000
    run.send(RetryRequested())
    assert "deadline" in run.effects


def test_locks_may_be_named_after_the_node_that_wants_them():
    """SEMANTICS synchronization: names may be templated, with what only the node's own template knows."""
    run = Run(workflow(LEAF.replace("MORE", "").replace("{name: m}", "{name: 'm-{{pod.name}}'}")))
    run.begin()
    effect = run.effects["locks/wf"]
    assert isinstance(effect, TakeLocks)
    assert [lock.name for lock in effect.locks] == ["default/Mutex/m-wf", "default/ConfigMap/c/k"]


@pytest.mark.parametrize("strategy", ["Stop", "Terminate"])
@pytest.mark.parametrize(
    ("main", "name"),
    [
        ("steps: [[{name: a, template: t}, {name: b, template: t}]]", "wf[0].b"),
        ("dag: {tasks: [{name: a, template: t}, {name: b, template: t}]}", "wf.b"),
    ],
)
@pytest.mark.parametrize("more", ["", 'retryStrategy: {limit: "1"}'])
def test_a_node_that_waits_for_its_locks_fails_when_the_workflow_is_stopped(strategy: str, main: str, name: str, more: str):
    """SEMANTICS stop: pending nodes fail with the strategy as their message, and none is left open."""
    run = Run(workflow(LEAF.replace("entrypoint: t", "entrypoint: main").replace("MORE", more) + f"- {{name: main, {main}}}\n"))
    run.begin()
    first = name.replace("b", "a")
    take_locks(run, first)
    await_locks(run, name)
    run.send(ShutdownRequested(strategy=strategy))
    message = f"Stopped with strategy '{strategy}'"
    assert (run.node(name).phase, run.node(name).message) == ("Failed", message)
    run.end(f"{first}(0)" if more else first, 143)
    assert (run.state.run.phase, run.state.run.message) == ("Failed", message)
    assert all(node.is_fulfilled for node in run.state.nodes.values())
    assert not [key for key in run.effects if key.startswith("locks/")]
