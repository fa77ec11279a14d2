"""The engine over fakes: what a run goes through, with restarts, kills and faults between."""

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.dataplane import LocalDataPlane, PrimaryDirectory
from jitflow.engine import Change, Engine, Images, Locator, RemoteName
from jitflow.engine.limits import ClaimKeeper
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.engine.throttle import Throttle
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.pods import CollectedArtifact, Pod, PodEnd, PodImage, PodNews
from jitflow.model.problems import Refused
from jitflow.model.runs import Event, ResumeRequested, RetryRequested, ShutdownRequested, SuspendRequested
from jitflow.ports.errors import AccessRefused, Broken
from jitflow.ports.store import Commit, StoredRun
from jitflow.spec import load_one
from jitflow.telemetry.metrics import CustomMetrics
from jitflow.testing.fake_executor import FakeExecutor, FakeMachine, ScriptedEnd
from jitflow.testing.fake_storage import FakeStorage, Script
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure

TWO = """
entrypoint: main
templates:
- name: main
  steps:
  - - {name: one, template: t}
  - - {name: two, template: t}
- name: t
  container: {image: busybox, command: [work]}
"""


def workflow(text: str, name: str = "wf") -> argo.Workflow:
    head = f"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}, namespace: default}}\nspec:\n"
    manifest = load_one(head + textwrap.indent(textwrap.dedent(text), "  "), kinds=("Workflow",)).manifest
    assert isinstance(manifest, argo.Workflow)
    return manifest


class World:
    """What outlives an engine: the store, the machine with its pods, the far store, the primary."""

    def __init__(self, folder: Path, script: Callable[[Pod], ScriptedEnd | None] | None) -> None:
        self.store = MemoryStore()
        self.machine = FakeMachine()
        self.far = FakeStorage(["far"])
        self.script = script
        self.changes: list[Change] = []
        self.meters: CustomMetrics | None = None
        self.claims: ClaimKeeper | None = None
        self.limits = (0, 0)
        self.make_executor = FakeExecutor
        self.executor = FakeExecutor(script, self.machine)
        self._folder = folder

    @asynccontextmanager
    async def engine(self, *, lookahead: bool = True, max_pods: int = 1) -> AsyncIterator[Engine]:
        self.executor = self.make_executor(self.script, self.machine)
        clock = SystemClock()
        locator = Locator(remotes={"far": RemoteName(type="s3")}, repository=ObjectRef(remote="far", path="artifacts"))
        engine = Engine(
            store=self.store,
            executor=self.executor,
            dataplane=LocalDataPlane(
                PrimaryDirectory(self._folder / "primary", self.far), 10_000_000, self.far, self.store, clock
            ),
            clock=clock,
            ids=RandomIds(),
            images=Images({}),
            locator=lambda: locator,
            meters=self.meters,
            claims=self.claims,
            throttle=Throttle(*self.limits),
            config=PodKeeperConfig(max_pods=max_pods, lookahead=lookahead, environment={}, grace_s=1.0),
        )
        engine.subscribe(self.changes.append)
        await engine.open()
        try:
            yield engine
        finally:
            await engine.close()


async def phase(engine: Engine, uid: str, *wanted: str) -> argo.Workflow:
    """Return the workflow when it is in one of the phases."""
    for _ in range(1000):
        found = await engine.fetch(uid)
        if found is not None and found.status is not None and found.status.phase in wanted:
            return found
        await asyncio.sleep(0.005)
    raise AssertionError(f"never {wanted}: {found}")


def text(document: argo.Workflow) -> str:
    return msgspec.json.encode(document.status).decode()


async def pods(world: World, count: int) -> list[str]:
    """Return the keys of the pods that run when there are so many."""
    for _ in range(1000):
        running = [key for key, pod in world.machine.pods.items() if pod.end is None]
        if len(running) == count:
            return running
        await asyncio.sleep(0.005)
    raise AssertionError(f"never {count} pods")


def well(_: Pod) -> ScriptedEnd:
    return ScriptedEnd()


def test_a_run_ends_and_its_history_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, well)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            with pytest.raises(Refused, match="already exists"):
                await engine.create(workflow(TWO))
            document = await phase(engine, row.uid, "Succeeded")
            assert document.status is not None
            assert document.status.progress == "2/2"
            await asyncio.sleep(0.02)
            assert await engine.fetch(row.uid) is await engine.fetch(row.uid), "finished documents are kept"
            assert [change.kind for change in world.changes][:2] == ["ADDED", "MODIFIED"]
            assert world.changes[-1].row.phase == "Succeeded"
            assert any(note.reason == "ImageNotMapped" for note in await engine.notes(row.uid))
            await asyncio.sleep(0.01)
            assert not world.machine.pods, "ended pods are forgotten"
            await engine.delete(row.uid)
            assert await engine.fetch(row.uid) is None
            assert world.changes[-1].kind == "DELETED"

    asyncio.run(scenario())


@pytest.mark.parametrize("lookahead", [True, False])
def test_one_place_is_given_back_whatever_ends_a_pod(tmp_path: Path, lookahead: bool) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        async with world.engine(lookahead=lookahead) as engine:
            first = await engine.create(workflow(TWO, "first"))
            second = await engine.create(workflow(TWO, "second"))
            await pods(world, 1)
            await engine.send(second.uid, ShutdownRequested(strategy="Terminate"))
            await phase(engine, second.uid, "Failed")
            await engine.send(first.uid, ShutdownRequested(strategy="Terminate"))
            await phase(engine, first.uid, "Failed")
            third = await engine.create(workflow(TWO, "third"))
            for _ in range(2):
                (key,) = await pods(world, 1)
                world.executor.finish(key)
                await asyncio.sleep(0.02)
            await phase(engine, third.uid, "Succeeded")
            await engine.send(first.uid, RetryRequested())
            (key,) = await pods(world, 1)
            assert key.startswith(first.uid)

    asyncio.run(scenario())


def test_a_restart_adopts_what_runs_and_hears_what_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            (key,) = await pods(world, 1)
        async with world.engine() as engine:
            await asyncio.sleep(0.02)
            assert world.machine.started == {key: 1}
        world.executor.finish(key)
        async with world.engine() as engine:
            (second,) = await pods(world, 1)
            assert second != key
            world.executor.finish(second)
            await phase(engine, row.uid, "Succeeded")
            assert set(world.machine.started.values()) == {1}

    asyncio.run(scenario())


ONE_WITH_OUTPUT = """
entrypoint: main
templates:
- name: main
  container: {image: busybox, command: [work]}
  outputs: {artifacts: [{name: out, path: /out, archive: {none: {}}, plugin: {name: rclone, key: "far:out"}}]}
"""


def wrote(out: Path, key: str) -> PodEnd:
    """Return the good end of a pod that has left the six bytes of `out`."""
    made = CollectedArtifact(name="out", source=str(out), size_bytes=6)
    return PodEnd(key=key, exit_code=0, started_at=1.0, finished_at=2.0, artifacts=(made,))


class LateExecutor(FakeExecutor):
    """Tells the ends of an earlier life only after a while, as one whose pods' sandboxes are still being taken down."""

    def _take(self, key: str) -> None:
        if key not in self._known:
            asyncio.get_running_loop().call_later(0.1, super()._take, key)


def test_what_a_pod_wrote_is_saved_though_its_end_is_told_late_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"result")

    def script(pod: Pod) -> ScriptedEnd:
        return ScriptedEnd(end=wrote(tmp_path / "out", pod.key))

    async def scenario() -> None:
        world = World(tmp_path, script)
        out = ObjectRef(remote="far", path="out")
        world.far.script(out, Script(gate=asyncio.Event()))
        async with world.engine() as engine:
            row = await engine.create(workflow(ONE_WITH_OUTPUT))
            while not world.far.seen.stored:
                await asyncio.sleep(0.005)
        world.far.script(out, None)
        world.store._documents.pop("stageout")  # the data plane had not heard of it yet
        for file in (tmp_path / "primary").glob("objects/*/*"):
            file.rename(tmp_path / "out")
        world.make_executor = LateExecutor
        async with world.engine() as engine:
            await phase(engine, row.uid, "Succeeded")
        assert world.far.get(out) == b"result"

    asyncio.run(scenario())


def test_a_step_whose_outputs_are_gone_can_be_run_again(tmp_path: Path) -> None:
    """Its pod had ended on a machine that is lost: the node is an Error, and a retry starts a pod."""
    (tmp_path / "out").write_bytes(b"result")

    def script(pod: Pod) -> ScriptedEnd:
        return ScriptedEnd(end=wrote(tmp_path / "out", pod.key))

    async def scenario() -> None:
        world = World(tmp_path, script)
        out = ObjectRef(remote="far", path="out")
        world.far.script(out, Script(gate=asyncio.Event()))
        async with world.engine() as engine:
            row = await engine.create(workflow(ONE_WITH_OUTPUT))
            while not world.far.seen.stored:
                await asyncio.sleep(0.005)
        world.far.script(out, None)
        world.machine.pods.clear()
        for kind in ("stageout", "lease", "replica"):
            world.store._documents.pop(kind, None)
        async with world.engine() as engine:
            failed = await phase(engine, row.uid, "Failed", "Error")
            assert "outputs cannot be saved" in text(failed)
            (tmp_path / "out").write_bytes(b"result")
            await engine.send(row.uid, RetryRequested())
            await phase(engine, row.uid, "Succeeded")
        assert world.far.get(out) == b"result"

    asyncio.run(scenario())


HANDED_ON = """
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: first, template: writes}
    - name: second
      template: reads
      dependencies: [first]
      arguments: {artifacts: [{name: in, from: "{{tasks.first.outputs.artifacts.out}}"}]}
- name: writes
  container: {image: busybox, command: [writes]}
  outputs: {artifacts: [{name: out, path: /out, archive: {none: {}}, plugin: {name: rclone, key: "far:out"}}]}
- name: reads
  inputs:
    artifacts:
    - {name: in, path: /in}
    - {name: other, path: /other, plugin: {name: rclone, key: "far:other"}}
  container: {image: busybox, command: [reads]}
"""


def test_what_an_older_run_left_is_not_read_in_place_of_an_output_that_is_lost(tmp_path: Path) -> None:
    """The machine with the output is gone, and the step that waited to read it finds another object of that name far away."""
    read: list[bytes] = []

    def script(pod: Pod) -> ScriptedEnd:
        if pod.command[-1] == "reads":
            read.extend(Path(item.source).read_bytes() for item in pod.inputs if item.name == "in")
            return ScriptedEnd()
        (tmp_path / "out").write_bytes(b"result")
        return ScriptedEnd(end=wrote(tmp_path / "out", pod.key))

    async def scenario() -> None:
        world = World(tmp_path, script)
        out, other = (ObjectRef(remote="far", path=path) for path in ("out", "other"))
        world.far.put(out, b"what an older run wrote")
        world.far.put(other, b"other")
        for ref in (out, other):
            world.far.script(ref, Script(gate=asyncio.Event()))
        async with world.engine() as engine:
            row = await engine.create(workflow(HANDED_ON))
            await until(lambda: bool(world.far.seen.stored))
            await until(lambda: "first" in text_of(engine, row.uid) and "second" in text_of(engine, row.uid))
        for ref in (out, other):
            world.far.script(ref, None)
        world.machine.pods.clear()
        for kind in ("stageout", "lease", "replica"):
            world.store._documents.pop(kind, None)
        async with world.engine() as engine:
            failed = await phase(engine, row.uid, "Failed", "Error")
            assert "input far:out: it was written on a machine that is gone" in text(failed)
            assert not read
            await engine.send(row.uid, RetryRequested())
            await phase(engine, row.uid, "Succeeded")
        assert read == [b"result"]

    asyncio.run(scenario())


def text_of(engine: Engine, uid: str) -> str:
    """Return the names of a run's nodes."""
    run = engine._runs.get(uid)
    return " ".join(node.name for node in run.state.nodes.values()) if run is not None else ""


def test_a_retry_of_a_run_that_is_deleted_meanwhile_is_told_so(tmp_path: Path) -> None:
    """It has read the run before that was removed, and would write it after."""
    gates: list[asyncio.Event] = []

    class SlowToAnswer(MemoryStore):
        async def load(self, uid: str) -> StoredRun | None:
            found = await super().load(uid)
            if gates:
                await gates.pop().wait()
            return found

    async def scenario() -> None:
        world = World(tmp_path, lambda _: ScriptedEnd(exit_code=1))
        world.store = SlowToAnswer()
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            await phase(engine, row.uid, "Failed")
            await until(lambda: not world.machine.pods)
            gate = asyncio.Event()
            gates.append(gate)
            again = asyncio.create_task(engine.send(row.uid, RetryRequested()))  # noqa: TID251 - awaited below
            await until(lambda: not gates)
            await engine.delete(row.uid)
            gate.set()
            with pytest.raises(Refused, match="there is no workflow"):
                await again
            other = await engine.create(workflow(TWO))
            await phase(engine, other.uid, "Failed")

    asyncio.run(scenario())


ONE_OUTPUT = """
entrypoint: main
templates:
- name: main
  container: {image: busybox, command: [work]}
  outputs: {artifacts: [{name: out, path: /out, archive: {none: {}}, plugin: {name: rclone, key: "far:out"}}]}
"""


def test_an_output_of_the_attempt_before_that_is_sent_late_does_not_end_the_pod_of_the_next(tmp_path: Path) -> None:
    """It could not be sent, is sent again after a restart, and gets there while the node has its next pod."""

    def well_of(key: str) -> PodEnd:
        (tmp_path / "out").write_bytes(b"result")
        return wrote(tmp_path / "out", key)

    async def scenario() -> None:
        world = World(tmp_path, None)
        out = ObjectRef(remote="far", path="out")
        world.far.script(out, Script(error=AccessRefused("access denied")))
        async with world.engine() as engine:
            row = await engine.create(workflow(ONE_OUTPUT))
            (key,) = await pods(world, 1)
            world.executor.finish(key, end=well_of(key))
            await phase(engine, row.uid, "Error")
        late = asyncio.Event()
        world.far.script(out, Script(gate=late))
        before = len(world.far.seen.stored)
        async with world.engine() as engine:
            await until(lambda: len(world.far.seen.stored) > before)
            await engine.send(row.uid, RetryRequested())
            assert await pods(world, 1) == [key]
            late.set()
            await until(lambda: not world.far.seen.running)
            await asyncio.sleep(0.05)
            assert key in world.machine.pods, "it was forgotten while it ran"
            world.executor.finish(key, end=well_of(key))
            await phase(engine, row.uid, "Succeeded")

    asyncio.run(scenario())


BESIDE = """
entrypoint: main
templates:
- name: main
  steps:
  - - {name: a, template: t, arguments: {parameters: [{name: key, value: a}]}}
    - {name: b, template: t, arguments: {parameters: [{name: key, value: b}]}}
- name: t
  inputs: {parameters: [{name: key}]}
  container: {image: busybox, command: [work, "{{inputs.parameters.key}}"]}
  outputs:
    artifacts:
    - {name: out, path: /out, archive: {none: {}}, plugin: {name: rclone, key: "far:{{inputs.parameters.key}}"}}
"""


@pytest.mark.parametrize("retried", [False, True])
def test_a_pod_that_ends_well_while_it_is_killed_leaves_nothing_when_its_outputs_are_saved(tmp_path: Path, retried: bool) -> None:
    """Its node was still pending and is given up; its run, which waited for outputs of another one, is closed by then.

    One who retries the run meanwhile waits until the pod is gone, and the node gets another one.
    """
    told = asyncio.Event()

    def well_of(key: str) -> PodEnd:
        out = tmp_path / key
        out.write_bytes(b"result")
        return wrote(out, key)

    class EndsWell(FakeExecutor):
        async def start(self, pod: Pod) -> None:
            await super().start(pod)
            if pod.command[-1] == "b":
                await told.wait()

        async def terminate(self, key: str, grace_s: float | None = None) -> None:
            del grace_s
            self.finish(key, end=well_of(key))

    async def scenario() -> None:
        world = World(tmp_path, None)
        world.make_executor = EndsWell
        gates = {key: asyncio.Event() for key in "ab"}
        for key, gate in gates.items():
            world.far.script(ObjectRef(remote="far", path=key), Script(gate=gate))
        async with world.engine(max_pods=2) as engine:
            row = await engine.create(workflow(BESIDE))
            await pods(world, 2)
            first, second = (next(key for key, pod in world.machine.pods.items() if pod.pod.command[-1] == name) for name in "ab")
            world.executor.finish(first, end=well_of(first))
            await until(lambda: len(world.far.seen.stored) == 1)
            await engine.send(row.uid, ShutdownRequested(strategy="Terminate"))
            told.set()
            await until(lambda: len(world.far.seen.stored) == 2)
            gates["a"].set()
            await phase(engine, row.uid, "Failed")
            assert list(world.machine.pods) == [second]
            if not retried:
                gates["b"].set()
                await until(lambda: not world.machine.pods)
                return
            again = asyncio.create_task(engine.send(row.uid, RetryRequested()))  # noqa: TID251 - awaited below
            await asyncio.sleep(0.1)
            assert not again.done()
            gates["b"].set()
            await again
            await pods(world, 1)
            assert world.machine.started[second] == 2
            world.executor.finish(second, end=well_of(second))
            await phase(engine, row.uid, "Succeeded")

    asyncio.run(scenario())


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to that")


def test_a_start_ends_pods_of_runs_that_have_ended_and_withdraws_these(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, well)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            await phase(engine, row.uid, "Succeeded")
        # The server was killed before it could tell the executor and the data plane.
        world.script = None
        image = PodImage(name="host")
        await FakeExecutor(None, world.machine).start(Pod(key=f"{row.uid}.stray", name="stray", image=image, command=("x",)))
        await world.store.put("owner", [(row.uid, b"default")])
        async with world.engine():
            for _ in range(400):
                if not world.machine.pods and not await world.store.items("owner"):
                    return
                await asyncio.sleep(0.005)
        raise AssertionError(f"left over: {world.machine.pods}, {await world.store.items('owner')}")

    asyncio.run(scenario())


def test_a_damaged_workflow_keeps_no_other_from_going_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        async with world.engine() as engine:
            bad = await engine.create(workflow(TWO, "bad"))
            good = await engine.create(workflow(TWO, "good"))
            await pods(world, 1)
        stored = await world.store.load(bad.uid)
        assert stored is not None
        row = msgspec.structs.replace(stored.row, version=stored.row.version + 1)
        await world.store.commit(Commit(row=row, header=b"?"))
        async with world.engine() as engine:
            assert "workflow default/bad" in caplog.text
            assert "is damaged" in caplog.text
            for _ in range(3):
                for key in list(world.machine.pods):
                    world.executor.finish(key)
                await asyncio.sleep(0.05)
            await phase(engine, good.uid, "Succeeded")
            with pytest.raises(Broken, match="`jitflow state verify` says"):
                await engine.why(bad.uid, "one")

    asyncio.run(scenario())


def test_suspend_and_resume(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            (key,) = await pods(world, 1)
            await engine.send(row.uid, SuspendRequested())
            world.executor.finish(key)
            await asyncio.sleep(0.05)
            assert not [one for one in world.machine.pods.values() if one.end is None]
            await engine.send(row.uid, ResumeRequested())
            (key,) = await pods(world, 1)
            world.executor.finish(key)
            await phase(engine, row.uid, "Succeeded")

    asyncio.run(scenario())


@pytest.mark.parametrize("event", [ResumeRequested(), RetryRequested(), ShutdownRequested(strategy="Stop")])
def test_what_nobody_knows_cannot_be_steered(tmp_path: Path, event: Event) -> None:
    async def scenario() -> None:
        async with World(tmp_path, well).engine() as engine:
            with pytest.raises(Refused, match="there is no workflow") as caught:
                await engine.send("nobody", event)
            assert caught.value.code == "not_found"
            with pytest.raises(Refused, match="there is no workflow"):
                await engine.delete("nobody")

    asyncio.run(scenario())


def test_a_pod_that_cannot_start_is_an_error_of_its_node(tmp_path: Path) -> None:
    def explodes(_: Pod) -> ScriptedEnd:
        raise ZeroDivisionError("a fault of ours")

    async def scenario() -> None:
        async with World(tmp_path, explodes).engine() as engine:
            row = await engine.create(workflow(TWO))
            document = await phase(engine, row.uid, "Error", "Failed")
            assert "a fault of ours" in text(document)
            other = await engine.create(workflow(TWO.replace(", command: [work]", ""), "other"))
            document = await phase(engine, other.uid, "Error", "Failed")
            assert "entrypoint of the image 'busybox' is not known" in text(document)

    asyncio.run(scenario())


DATA = """
entrypoint: t
templates:
- name: t
  inputs: {artifacts: [{name: i, path: /in, plugin: {name: rclone, key: "far:bucket/in"}}]}
  container: {image: busybox, command: [work]}
"""


@pytest.mark.parametrize("lookahead", [True, False])
def test_inputs_are_looked_up_at_create_and_fetched_before_the_start(tmp_path: Path, lookahead: bool) -> None:
    async def scenario() -> None:
        seen: list[str] = []

        def script(pod: Pod) -> ScriptedEnd:
            seen.append(Path(pod.inputs[0].source).read_text())
            return ScriptedEnd()

        world = World(tmp_path, script)
        async with world.engine(lookahead=lookahead) as engine:
            with pytest.raises(Refused, match=r"far:bucket/in"):
                await engine.create(workflow(DATA))
            assert await world.store.runs() == []
            world.far.put(ObjectRef(remote="far", path="bucket/in"), b"content")
            estimate = await engine.check(workflow(DATA))
            assert (estimate.objects, estimate.to_move_bytes) == (1, 7)
            row = await engine.create(workflow(DATA))
            await phase(engine, row.uid, "Succeeded")
            assert seen == ["content"]

    asyncio.run(scenario())


def test_what_pods_say_of_their_progress_is_shown_also_what_they_said_while_nobody_listened(tmp_path: Path) -> None:
    async def progress(engine: Engine, uid: str, wanted: str) -> None:
        for _ in range(1000):
            document = await engine.fetch(uid)
            if document is not None and document.status is not None and document.status.progress == wanted:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"never {wanted}")

    async def scenario() -> None:
        world = World(tmp_path, lambda _: None)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            (key,) = await pods(world, 1)
            world.executor.tell(PodNews(key=key, progress="20/80"))
            await progress(engine, row.uid, "20/80")
        world.machine.pods[key].news = PodNews(key=key, progress="60/80")
        async with world.engine() as engine:
            await progress(engine, row.uid, "60/80")
            world.executor.finish(key)
            await progress(engine, row.uid, "80/81")

    asyncio.run(scenario())


def test_a_workflow_that_runs_again_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        async with world.engine() as engine:
            row = await engine.create(workflow(TWO))
            (key,) = await pods(world, 1)
            world.executor.finish(key, exit_code=1)
            await phase(engine, row.uid, "Failed")
            await engine.send(row.uid, RetryRequested())
            (key,) = await pods(world, 1)
        async with world.engine() as engine:
            for _ in range(2):
                (key,) = await pods(world, 1)
                world.executor.finish(key)
                await asyncio.sleep(0.05)
            await phase(engine, row.uid, "Succeeded")

    asyncio.run(scenario())
