# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of memoized templates, of locks, of the time to live, of schedules.

1. `memoize`: a key begins with a letter or digit and has only letters, digits and `-`. An entry of the ConfigMap is the JSON of nodeID,
   outputs, creationTimestamp and lastHitTimestamp; the ConfigMap carries the label `workflows.argoproj.io/configmap-type: Cache`.
   `maxAge` is a duration. A hit is a node that Succeeded without a pod and tells of it in `memoizationStatus`; steps and DAGs too.
2. `synchronization`: mutexes and semaphores are lists, all are taken or none. Who waits is served by priority, then by age. A holder is
   `namespace/workflow` or `namespace/workflow/node id`. A node that waits is Pending and says for what; a workflow is Pending. Of a
   template with a retry strategy the Retry node holds the lock. Locks go back at the end of the node, all at the end of the workflow.
   Names may hold tags; limits come from ConfigMaps or the database. A pod that waits for a lock takes none of the parallelism.
3. `ttlStrategy`: what is said for success and failure goes before what is said for completion; it counts from the end; an Error is no
   failure.
4. Schedules: a run is called `<schedule>-<unix seconds>` and labelled with the schedule; concurrencyPolicy; several schedules and a
   time zone; a deadline for what was missed; `when` and `stopStrategy`; a history of 3 and 1. (More in `tests/app/test_app_schedules.py`.)
"""

import asyncio
import json
from typing import Any

import pytest
from machine_driver import Run, workflow
from semantics_kit import FAILED, STOCK, begun, end_of, manifest, output, phases, played, received, shown, shown_node
from tests.app.test_app_schedules import NOON, Stage, cron, play

from jitflow import machine
from jitflow.engine.janitor import kept_s
from jitflow.engine.limits import limit_of
from jitflow.engine.locks import LockTable
from jitflow.engine.remembering import Remembering
from jitflow.expr.schedules import Schedule
from jitflow.machine import memo
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap, SyncLimit
from jitflow.model.runs import LocksAwaited, LocksRefused, LocksTaken, PodStarted, SaveMemo, ShutdownRequested, TakeLocks
from jitflow.objects import MemoStore

pytestmark = pytest.mark.pure


class Objects:
    """ConfigMaps and limits by name."""

    def __init__(self, **data: dict[str, str]) -> None:
        self.maps = {
            name: ConfigMap(metadata=argo.ObjectMeta(name=name, labels={TYPE_LABEL: CACHE_TYPE}), data=found)
            for name, found in data.items()
        }
        self.limits: dict[str, int] = {}

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        del namespace
        if kind is SyncLimit:
            return SyncLimit(metadata=argo.ObjectMeta(name=name), limit=self.limits[name]) if name in self.limits else None
        return self.maps.get(name) if kind is ConfigMap else None


# -- memoize ----------------------------------------------------------------------------------------------------------

MEMO = "memoize: {key: '{{inputs.parameters.k}}', maxAge: 1h, cache: {configMap: {name: cache}}}"
WORK = f"""
- name: work
  inputs: {{parameters: [{{name: k, default: one}}]}}
  {MEMO}
  container: {{image: busybox}}
  outputs: {{parameters: [{{name: p, valueFrom: {{path: /p}}}}]}}
"""
CALL = "steps: [[{name: a, template: work}], [{name: b, template: echo, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.parameters.p}}'}]}}]]"


def entry(value: str, at: float) -> str:
    """Return the entry of a node that gave `p`."""
    return memo.entry_text("old-node", argo.Outputs(parameters=(argo.Parameter(name="p", value=value),)), at)


def test_sync_1_entry() -> None:
    """Sync 1: after the end an entry with node, outputs and both times goes into the cache; the node tells that it was no hit."""
    run = begun(CALL, extra=WORK, objects=Objects())
    decision = run.end("wf[0].a", parameters={"p": "made"})
    (saved,) = [effect for effect in decision.effects if isinstance(effect, SaveMemo)]
    assert (saved.namespace, saved.cache, saved.memo_key) == ("default", "cache", "one")
    found = json.loads(saved.entry)
    assert set(found) == {"nodeID", "outputs", "creationTimestamp", "lastHitTimestamp"}
    assert (found["nodeID"], found["outputs"]["parameters"]) == (
        run.node("wf[0].a").id,
        [{"name": "p", "value": "made", "valueFrom": {"path": "/p"}}],
    )
    assert shown_node(run, "wf[0].a").memoization_status == argo.MemoizationStatus(cache_name="cache", key="one", hit=False)


def test_sync_1_hit() -> None:
    """Sync 1: a fresh entry is a node that Succeeded with its outputs and without a pod; its last hit is written down."""
    before = begun(CALL, extra=WORK)
    objects = Objects(cache={"one": entry("kept", before.now - 3599)})
    run = begun(CALL, extra=WORK, objects=objects)
    assert (run.phase("wf[0].a"), run.node("wf[0].a").type, output(run, "wf[0].a")) == ("Succeeded", "Pod", "kept")
    assert shown_node(run, "wf[0].a").memoization_status == argo.MemoizationStatus(cache_name="cache", key="one", hit=True)
    assert received(run, "wf[1].b") == "kept"
    assert run.launched == [run.node("wf[1].b").id]


@pytest.mark.parametrize(("age", "hit"), [(0, True), (3600, True), (3601, False)])
def test_sync_1_max_age(age: float, hit: bool) -> None:
    """Sync 1: an entry older than maxAge is none."""
    now = begun(CALL, extra=WORK).now
    run = begun(CALL, extra=WORK, objects=Objects(cache={"one": entry("kept", now - age)}))
    assert (run.phase("wf[0].a") == "Succeeded") is hit


def test_sync_1_without_max_age() -> None:
    """Sync 1: without maxAge an entry never grows old."""
    extra = WORK.replace("maxAge: 1h, ", "")
    assert begun(CALL, extra=extra, objects=Objects(cache={"one": entry("kept", 0.0)})).phase("wf[0].a") == "Succeeded"


def test_sync_1_failures_are_not_kept() -> None:
    """Sync 1: what failed leaves no entry."""
    run = begun(CALL, extra=WORK, objects=Objects())
    assert not [effect for effect in run.end("wf[0].a", 1).effects if isinstance(effect, SaveMemo)]


@pytest.mark.parametrize(
    ("key", "good"),
    [("a", True), ("a-B-9", True), ("9", True), ("-a", False), ("a_b", False), ("a b", False), ("", False), ("a.b", False)],
)
def test_sync_1_keys(key: str, good: bool) -> None:
    """Sync 1: the form of a key."""
    run = begun(
        f"steps: [[{{name: a, template: work, arguments: {{parameters: [{{name: k, value: '{key}'}}]}}}}]]",
        extra=WORK,
        objects=Objects(),
    )
    assert (run.phase("wf[0].a") == "Pending") is good
    assert good or end_of(run)[0] in {"Failed", "Error"}


def test_sync_1_label() -> None:
    """Sync 1: a ConfigMap without the label is no cache."""
    objects = Objects()
    objects.maps["cache"] = ConfigMap(metadata=argo.ObjectMeta(name="cache"), data={"one": entry("kept", 0)})
    run = begun(CALL, extra=WORK, objects=objects)
    assert run.phase("wf[0].a") == "Error"
    assert "workflows.argoproj.io/configmap-type" in run.node("wf[0].a").message


@pytest.mark.parametrize("body", ["steps: [[{name: x, template: write}]]", "dag: {tasks: [{name: x, template: write}]}"])
def test_sync_1_steps_and_dags(body: str) -> None:
    """Sync 1: steps and DAGs are kept and found too: nothing below them runs."""
    kind = "steps[0].x" if "steps" in body else "tasks.x"
    reference = "{{" + kind.replace("[0]", "") + ".outputs.parameters.p}}"
    extra = f"- {{name: work, memoize: {{key: one, cache: {{configMap: {{name: cache}}}}}}, {body}, outputs: {{parameters: [{{name: p, valueFrom: {{parameter: '{reference}'}}}}]}}}}"
    run = played(CALL, extra=extra, objects=Objects())
    assert received(run, "wf[1].b") == "value of p"
    run = played(CALL, extra=extra, objects=Objects(cache={"one": entry("kept", 0)}))
    assert run.names() == ["wf", "wf[0]", "wf[0].a", "wf[1]", "wf[1].b"]
    assert (run.node("wf[0].a").type, received(run, "wf[1].b")) == ("Steps" if "steps" in body else "DAG", "kept")


def test_sync_1_with_a_retry_strategy() -> None:
    """Sync 1: of a template with a retry strategy the Retry node is kept and found."""
    extra = WORK.replace("- name: work", "- name: work\n  retryStrategy: {limit: 2}")
    run = begun(CALL, extra=extra, objects=Objects())
    run.end("wf[0].a(0)", 1)
    decision = run.end("wf[0].a(1)", parameters={"p": "made"})
    assert [
        json.loads(effect.entry)["outputs"]["parameters"][0]["value"]
        for effect in decision.effects
        if isinstance(effect, SaveMemo)
    ] == ["made"]
    run = begun(CALL, extra=extra, objects=Objects(cache={"one": entry("kept", run.now)}))
    assert (run.node("wf[0].a").type, run.phase("wf[0].a"), "wf[0].a(0)" in run.names()) == ("Retry", "Succeeded", False)


def test_sync_1_what_is_being_kept_is_found_at_once() -> None:
    """Sync 1: a node that begins when another has ended finds what that has kept, though it is not written yet."""
    body = "steps: [[{name: a, template: work, withItems: [1, 2, 3]}]]"
    run = played(body, extra=WORK, objects=Objects(), spec="parallelism: 1")
    hits = {
        name: (node.memoization_status and node.memoization_status.hit)
        for name in run.names()
        if (node := shown_node(run, name)).type == "Pod"
    }
    assert hits == {"wf[0].a(0:1)": False, "wf[0].a(1:2)": True, "wf[0].a(2:3)": True}


def test_sync_1_what_is_on_its_way_is_found() -> None:
    """Sync 1: an entry is there from the moment when it is to be written."""
    written: list[SaveMemo] = []

    class Memos:
        async def save(self, effect: SaveMemo) -> None:
            written.append(effect)

    objects = Remembering(Objects(cache={"old": "1"}), Memos())
    work = objects.save(SaveMemo(key="m", namespace="ns", cache="cache", memo_key="new", entry="2"))
    found = objects.find(ConfigMap, "ns", "cache")
    assert found is not None
    assert found.data == {"old": "1", "new": "2"}
    other = objects.save(SaveMemo(key="k", namespace="ns", cache="other", memo_key="x", entry="3"))
    made = objects.find(ConfigMap, "ns", "other")
    assert made is not None
    assert made.metadata is not None
    assert (made.data, made.metadata.labels) == ({"x": "3"}, {TYPE_LABEL: CACHE_TYPE})
    asyncio.run(work)
    asyncio.run(other)
    assert (len(written), objects.find(ConfigMap, "ns", "other")) == (2, None)


def test_sync_1_many_at_once_lose_nothing() -> None:
    """Sync 1: entries that are written at the same time are all there afterwards."""

    async def scenario(stage: Stage) -> None:
        memos = MemoStore(stage.objects)
        saves = [SaveMemo(key=f"m{n}", namespace="ns", cache="cache", memo_key=f"k{n}", entry="{}") for n in range(20)]
        await asyncio.gather(*(memos.save(save) for save in saves))
        found = stage.objects.find(ConfigMap, "ns", "cache")
        assert found is not None
        assert set(found.data) == {f"k{n}" for n in range(20)}
        assert found.metadata is not None
        assert found.metadata.labels[TYPE_LABEL] == CACHE_TYPE

    play(scenario)


# -- synchronization --------------------------------------------------------------------------------------------------


class Locked:
    """Workflows that share locks: the real table of the engine, and machines that ask it."""

    def __init__(self, **limits: int) -> None:
        self.objects = Objects(limits={name: str(limit) for name, limit in limits.items()})
        self.objects.limits = limits
        self.table = LockTable(lambda lock: limit_of(lock, self.objects))
        self.runs: dict[str, Run] = {}

    def begin(self, main: str, name: str = "wf", spec: str = "", created: float = 0.0, extra: str = "") -> Run:
        """Create and begin a workflow."""
        text = "\n".join(
            (
                spec,
                "entrypoint: main",
                "templates:",
                "- name: main",
                "  " + main.replace("\n", "\n  "),
                STOCK.strip("\n"),
                extra.strip("\n"),
                "",
            )
        )
        run = Run(workflow(text, name), objects=self.objects)
        run.state = machine.new_state(run.workflow, now=created, objects=self.objects)
        self.runs[name] = run
        run.begin()
        self.serve()
        return run

    def serve(self) -> None:
        """Take what the machines ask for to the table, and its answers back, until all is said."""
        for _ in range(20):
            for name, run in self.runs.items():
                asked = {key: effect for key, effect in run.effects.items() if isinstance(effect, TakeLocks)}
                for holder in [holder for holder in self._known() if holder[0] == name and f"locks/{holder[1]}" not in asked]:
                    self.table.release(holder)
                for effect in asked.values():
                    if (name, effect.node_id) not in self._known():
                        self.table.ask(
                            (name, effect.node_id), effect.locks, priority=effect.priority, created_at=effect.created_at
                        )
            answers = list(self.table.serve())
            for request, message, possible in answers:
                name, node_id = request.holder
                event = (
                    LocksRefused(node_id=node_id, message=message)
                    if not possible
                    else LocksAwaited(node_id=node_id, message=message)
                    if message
                    else LocksTaken(node_id=node_id)
                )
                self.runs[name].send(event)
            if not answers:
                return

    def _known(self) -> set[tuple[str, str]]:
        return set(self.table._locks) | set(self.table._waiting)

    def end(self, run: Run, name: str, exit_code: int = 0) -> None:
        """End a pod, and hand on what that frees."""
        run.end(name, exit_code)
        self.serve()


SEMAPHORE = "semaphores: [{configMapKeyRef: {name: limits, key: two}}]"


@pytest.mark.parametrize(
    ("sync", "message"),
    [
        ("mutexes: [{name: m}]", "Waiting for default/Mutex/m lock. Lock status: 0/1"),
        ("mutexes: [{name: m, namespace: other}]", "Waiting for other/Mutex/m lock. Lock status: 0/1"),
        ("mutexes: [{name: 'm-{{workflow.namespace}}'}]", "Waiting for default/Mutex/m-default lock. Lock status: 0/1"),
        (
            "semaphores: [{configMapKeyRef: {name: limits, key: one}}]",
            "Waiting for default/ConfigMap/limits/one lock. Lock status: 0/1",
        ),
        (
            "semaphores: [{configMapKeyRef: {name: 'lim{{=\"its\"}}', key: '{{workflow.parameters.which}}'}}]",
            "Waiting for default/ConfigMap/limits/one lock. Lock status: 0/1",
        ),
    ],
)
def test_sync_2_messages(sync: str, message: str) -> None:
    """Sync 2: a node that waits is Pending, says for which lock, and has no pod; names may hold tags."""
    world = Locked(one=1)
    main = f"synchronization: {{{sync}}}\ncontainer: {{image: busybox}}"
    spec = "arguments: {parameters: [{name: which, value: one}]}"
    first, second = world.begin(main, "first", spec), world.begin(main, "second", spec)
    assert (first.launched, second.launched) == (["first"], [])
    node = shown_node(second, "second")
    assert (node.phase, node.message) == ("Pending", message)
    assert node.synchronization_status is not None
    assert node.synchronization_status.waiting == message.split()[2]
    world.end(first, "first")
    assert (second.launched, shown_node(second, "second").message) == (["second"], None)


def test_sync_2_status_of_the_workflow() -> None:
    """Sync 2: the workflow's status tells who holds and who waits, as `namespace/workflow/node id`."""
    world = Locked(two=1)
    main = "steps: [[{name: a, template: s}, {name: b, template: s}, {name: c, template: x}]]"
    extra = f"- {{name: s, synchronization: {{{SEMAPHORE}}}, container: {{image: busybox}}}}\n- {{name: x, synchronization: {{mutexes: [{{name: m}}]}}, container: {{image: busybox}}}}"
    run = world.begin(main, extra=extra)
    status = shown(run).synchronization
    assert status is not None
    assert status.mutex is not None
    assert status.semaphore is not None
    assert status.mutex.holding == (argo.MutexHolding(holder=f"default/wf/{run.node('wf[0].c').id}", mutex="default/Mutex/m"),)
    assert status.semaphore.holding == (
        argo.SemaphoreHolding(semaphore="default/ConfigMap/limits/two", holders=(f"default/wf/{run.node('wf[0].a').id}",)),
    )
    assert [holding.semaphore for holding in status.semaphore.waiting] == ["default/ConfigMap/limits/two"]


def test_sync_2_all_or_nothing() -> None:
    """Sync 2: who cannot have all its locks has none of them."""
    world = Locked(two=2)
    one = world.begin("synchronization: {mutexes: [{name: m}]}\ncontainer: {image: busybox}", "one")
    both = world.begin("synchronization: {mutexes: [{name: k}, {name: m}]}\ncontainer: {image: busybox}", "both")
    k = world.begin("synchronization: {mutexes: [{name: k}]}\ncontainer: {image: busybox}", "k")
    assert (one.launched, both.launched) == (["one"], [])
    world.end(one, "one")
    assert both.launched == ["both"] or k.launched == ["k"]
    world.end(k, "k") if k.launched else world.end(both, "both")
    assert (both.launched, k.launched) == (["both"], ["k"])


def test_sync_2_order() -> None:
    """Sync 2: the higher priority comes first, then the older workflow."""
    world = Locked()
    main = "synchronization: {mutexes: [{name: m}]}\ncontainer: {image: busybox}"
    holder = world.begin(main, "holder")
    runs = [
        world.begin(main, "young", created=30.0),
        world.begin(main, "old", created=10.0),
        world.begin(main, "urgent", spec="priority: 5", created=40.0),
    ]
    order = []
    world.end(holder, "holder")
    for _ in range(3):
        (running,) = [run for run in runs if run.launched and run.state.run.finished_at is None]
        name = running.state.root_id
        order.append(name)
        world.end(running, name)
    assert order == ["urgent", "old", "young"]


def test_sync_2_limit_of_a_semaphore() -> None:
    """Sync 2: as many hold a semaphore as its ConfigMap says, over all workflows and loops."""
    world = Locked(two=2)
    extra = f"- {{name: s, synchronization: {{{SEMAPHORE}}}, container: {{image: busybox}}}}"
    run = world.begin("steps: [[{name: a, template: s, withItems: [1, 2, 3, 4, 5]}]]", extra=extra)
    most = 0
    while run.live():
        most = max(most, len(run.live()))
        world.end(run, run.live()[0].name)
    assert (most, len(run.launched), end_of(run)[0]) == (2, 5, "Succeeded")


def test_sync_2_database() -> None:
    """Sync 2: a limit may be one of the database, a mutex too; one that is nowhere is an Error."""
    world = Locked(shared=1)
    main = "synchronization: {semaphores: [{database: {key: shared}}], mutexes: [{name: m, database: true}]}\ncontainer: {image: busybox}"
    first, second = world.begin(main, "first"), world.begin(main, "second")
    assert first.launched == ["first"]
    assert shown_node(second, "second").message == "Waiting for default/DatabaseMutex/m lock. Lock status: 0/1"
    lost = world.begin("synchronization: {semaphores: [{database: {key: none}}]}\ncontainer: {image: busybox}", "lost")
    assert end_of(lost)[0] == "Error"


@pytest.mark.parametrize("strategy", ["Stop", "Terminate"])
def test_sync_2_workflow_level(strategy: str) -> None:
    """Sync 2: a workflow that waits for its own lock is Pending and says so; the lock goes back when the workflow ends."""
    world = Locked()
    spec = "synchronization: {mutexes: [{name: m}]}"
    first = world.begin("steps: [[{name: a, template: echo}], [{name: b, template: echo}]]", "first", spec)
    second, third = (
        world.begin("container: {image: busybox}", "second", spec),
        world.begin("container: {image: busybox}", "third", spec),
    )
    status = machine.status(second.state, second.now)
    assert (status.phase, status.message, status.nodes) == ("Pending", "Waiting for default/Mutex/m lock. Lock status: 0/1", {})
    assert status.synchronization is not None
    world.end(first, "first[0].a")
    assert second.launched == []
    first.send(ShutdownRequested(strategy=strategy))
    world.serve()
    assert (first.state.run.finished_at is not None, second.launched, third.launched) == (True, ["second"], [])


@pytest.mark.parametrize("main", ["container: {image: busybox}", "steps: [[{name: a, template: echo}]]"])
def test_sync_2_a_stopped_workflow_waits_on_for_its_lock(main: str) -> None:
    """Sync 2: one that is stopped while it waits stays Pending; with its lock nothing but its exit handler runs.

    In Argo's `TestSynchronizationForPendingShuttingdownWfs` too; `createWorkflowPod` has the message.
    """
    world = Locked()
    spec = "synchronization: {mutexes: [{name: m}]}"
    first = world.begin("container: {image: busybox}", "first", spec)
    second = world.begin(main, "second", f"{spec}\nonExit: echo")
    second.send(ShutdownRequested(strategy="Stop"))
    world.serve()
    status = machine.status(second.state, second.now)
    assert (status.phase, status.message, status.nodes) == ("Pending", "Waiting for default/Mutex/m lock. Lock status: 0/1", {})
    assert machine.workflow_document(second.state, second.now).spec.shutdown == "Stop"
    world.end(first, "first")
    assert (second.launched, phases(second)) == (
        [second.node("second.onExit").id],
        {"second": "Failed", "second.onExit": "Pending"},
    )
    assert shown_node(second, "second").message == "workflow shutdown with strategy: Stop"
    assert machine.status(second.state, second.now).phase == "Running"
    world.end(second, "second.onExit")
    assert end_of(second) == ("Failed", "Stopped with strategy 'Stop'")


@pytest.mark.parametrize("before", [(), ("Stop",)])
def test_sync_2_a_terminated_workflow_waits_no_more(before: tuple[str, ...]) -> None:
    """Sync 2: one that is terminated while it waits has failed, without nodes or exit handler, and waits for nothing."""
    world = Locked()
    spec = "synchronization: {mutexes: [{name: m}]}\nonExit: echo"
    first = world.begin("container: {image: busybox}", "first", spec)
    second, third = (world.begin("container: {image: busybox}", name, spec) for name in ("second", "third"))
    for strategy in (*before, "Terminate"):
        second.send(ShutdownRequested(strategy=strategy))
        world.serve()
    status = machine.status(second.state, second.now)
    assert (status.nodes, status.synchronization) == ({}, None)
    assert end_of(second) == ("Failed", "Stopped with strategy 'Terminate'")
    world.end(first, "first")
    world.end(first, "first.onExit")
    assert (second.launched, third.launched) == ([], ["third"])


def test_sync_2_retry_node_holds() -> None:
    """Sync 2: between two attempts nobody else gets the lock, for the Retry node holds it."""
    world = Locked()
    main = (
        "synchronization: {mutexes: [{name: m}]}\nretryStrategy: {limit: 1, backoff: {duration: 1m}}\ncontainer: {image: busybox}"
    )
    first, second = world.begin(main, "first"), world.begin(main, "second")
    world.end(first, "first(0)", 1)
    assert (first.node("first").type, second.launched) == ("Retry", [])
    assert shown_node(second, "second").type == "Retry"
    first.fire_next()
    world.end(first, "first(1)")
    assert second.launched == [second.node("second(0)").id]


@pytest.mark.parametrize("kind", ["steps: [[{name: a, template: echo}]]", "dag: {tasks: [{name: a, template: echo}]}"])
def test_sync_2_steps_and_dags_hold(kind: str) -> None:
    """Sync 2: steps and DAGs hold their locks until all below them has ended, failed or not."""
    world = Locked()
    main = f"synchronization: {{mutexes: [{{name: m}}]}}\n{kind}"
    first, second = world.begin(main, "first"), world.begin(main, "second")
    assert (shown_node(second, "second").phase, second.names()) == ("Pending", [])
    world.end(first, first.live()[0].name, 1)
    assert (end_of(first)[0], shown_node(second, "second").phase, len(second.launched)) == ("Failed", "Running", 1)


def test_sync_2_parallelism() -> None:
    """Sync 2: a pod that waits for a lock takes no place from others."""
    world = Locked()
    holder = world.begin("synchronization: {mutexes: [{name: m}]}\ncontainer: {image: busybox}", "holder")
    extra = "- {name: x, synchronization: {mutexes: [{name: m}]}, container: {image: busybox}}"
    run = world.begin("steps: [[{name: a, template: x}, {name: b, template: echo}]]", spec="parallelism: 1", extra=extra)
    assert run.launched == [run.node("wf[0].b").id]
    assert phases(holder)["holder"] == "Pending"


def test_sync_2_the_cache_is_looked_at_when_the_lock_is_there() -> None:
    """Sync 2: of two that share a lock and a key, the second finds what the first has kept."""
    world = Locked()
    main = "synchronization: {mutexes: [{name: m}]}\nmemoize: {key: one, cache: {configMap: {name: cache}}}\ncontainer: {image: busybox}"
    first, second = world.begin(main, "first"), world.begin(main, "second")
    first.end("first")
    world.objects.maps["cache"] = ConfigMap(
        metadata=argo.ObjectMeta(name="cache", labels={TYPE_LABEL: CACHE_TYPE}), data={"one": entry("x", first.now)}
    )
    world.serve()
    assert (end_of(second)[0], second.launched) == ("Succeeded", [])


# -- time to live -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "phase", "kept"),
    [
        ({}, "Succeeded", None),
        ({"seconds_after_completion": 10}, "Succeeded", 10),
        ({"seconds_after_completion": 10}, "Failed", 10),
        ({"seconds_after_completion": 10}, "Error", 10),
        ({"seconds_after_completion": 10, "seconds_after_success": 5}, "Succeeded", 5),
        ({"seconds_after_completion": 10, "seconds_after_failure": 20}, "Failed", 20),
        ({"seconds_after_completion": 10, "seconds_after_failure": 20}, "Error", 10),
        ({"seconds_after_failure": 20}, "Error", None),
        ({"seconds_after_success": 0, "seconds_after_completion": 9}, "Succeeded", 0),
        ({"seconds_after_failure": 20}, "Succeeded", None),
    ],
)
def test_sync_3_time_to_live(strategy: dict[str, int], phase: str, kept: float | None) -> None:
    """Sync 3: success and failure go before completion; an Error is no failure."""
    assert kept_s(argo.TTLStrategy(**strategy), phase) == kept


# -- schedules --------------------------------------------------------------------------------------------------------


def test_sync_4_time_zones() -> None:
    """Sync 4: a schedule means the clock of its time zone, over the change to summer time; a word in the schedule goes before."""
    noon = Schedule("0 12 * * *", "Europe/Berlin")
    first = noon.next_after(NOON - 2 * 86400)
    assert first is not None
    second = noon.next_after(first)
    third = noon.next_after(second or 0)
    assert second is not None
    assert third is not None
    assert (second - first, third - second) == (86400, 82800)
    assert Schedule("TZ=Asia/Tokyo 0 12 * * *", "Europe/Berlin").next_after(NOON) == NOON + 15 * 3600


@pytest.mark.parametrize(
    ("when", "starts"),
    [
        ("true", True),
        ("{{=cronworkflow.name == 'c'}}", True),
        ("{{cronworkflow.name}} == 'c'", False),
        ("'{{cronworkflow.name}}' == 'c'", True),
        ("{{cronworkflow.failed}} < 1", True),
        ("{{=cronworkflow.succeeded > 0}}", False),
        ("{{=cronworkflow.lastScheduledTime == nil}}", True),
    ],
)
def test_sync_4_when(when: str, starts: bool) -> None:
    """Sync 4: `when` decides about each run; here bare words are no texts."""

    async def scenario(stage: Stage) -> None:
        await stage.pass_to(NOON + 61)
        assert (len(stage.names()) == 1) is starts

    play(scenario, cron(when=when))


@pytest.mark.parametrize(
    ("expression", "phases_of_runs", "started"),
    [
        ("cronworkflow.succeeded >= 2", ["Succeeded"] * 4, 2),
        ("cronworkflow.failed >= 1 && cronworkflow.name == 'c'", ["Succeeded", "Error", "Succeeded"], 2),
    ],
)
def test_sync_4_stop_strategy(expression: str, phases_of_runs: list[str], started: int) -> None:
    """Sync 4: when the expression of the stop strategy is true the schedule is Stopped, and starts nothing any more."""

    async def scenario(stage: Stage) -> None:
        for minute, phase in enumerate(phases_of_runs, start=1):
            await stage.pass_to(NOON + 60 * minute + 1)
            if len(stage.names()) == minute:
                stage.scheduler.run_ended(stage.runs.finish(stage.names()[-1], phase))
            await asyncio.sleep(0.01)
        assert (len(stage.names()), stage.status().phase) == (started, "Stopped")

    play(scenario, cron(stop_strategy=argo.StopStrategy(expression=expression)))


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, (3, 1)),
        ({"successful_jobs_history_limit": 1, "failed_jobs_history_limit": 2}, (1, 2)),
        ({"successful_jobs_history_limit": 0, "failed_jobs_history_limit": 0}, (0, 0)),
    ],
)
def test_sync_4_history(limits: dict[str, int], kept: tuple[int, int]) -> None:
    """Sync 4: three that succeeded and one that failed are kept, or as many as is said."""

    async def scenario(stage: Stage) -> None:
        for minute in range(1, 9):
            await stage.pass_to(NOON + 60 * minute + 1)
            stage.scheduler.run_ended(stage.runs.finish(stage.names()[-1], "Failed" if minute % 2 else "Succeeded"))
            await asyncio.sleep(0.01)
        rows = [row.phase for row in stage.runs.rows]
        assert (rows.count("Succeeded"), rows.count("Failed")) == kept

    play(scenario, cron(**limits))


def test_sync_4_scheduled_time_is_a_variable() -> None:
    """Sync 4: the workflow reads when it was meant to begin."""
    source = manifest("container: {image: busybox, args: ['{{workflow.scheduledTime}}']}")
    assert source.metadata is not None
    metadata = argo.ObjectMeta(
        name="wf", namespace="default", uid="u1", annotations={"workflows.argoproj.io/scheduled-time": "2024-03-30T12:01:00Z"}
    )
    run = Run(argo.Workflow(metadata=metadata, spec=source.spec))
    run.begin()
    container = run.launch("wf").template.container
    assert container is not None
    assert container.args == ("2024-03-30T12:01:00Z",)
    run.send(PodStarted(node_id="wf"))
    run.end("wf", **FAILED)
