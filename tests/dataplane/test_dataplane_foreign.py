"""Workflows of another Argo over a real data plane: objects are near while steps need them, through kills and repeats."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from far_store import Kit, ref

from jitflow.app.foreign import ForeignRules, ForeignRuns, Mirror
from jitflow.dataplane import LocalView
from jitflow.engine.locations import Locator, RemoteName
from jitflow.model.data import ObjectRef
from jitflow.model.foreign import Outcome
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.problems import Refused

from foreign_history import history  # isort: skip - a helper of the machine's tests

RULES = ForeignRules(ahead=2, silence_s=100.0, kept_s=1000.0)
LOCATOR = Locator(
    remotes={"far": RemoteName(type="s3", endpoints=("far:9000",)), "near": RemoteName(type="s3", endpoints=("near:9000",))},
    repository=ObjectRef(remote="own", path="artifacts"),
)
NAMES = ("raw/prepared.bin", "raw/a.bin", "raw/b.bin", "map.bin")


class SetClock:
    """A clock that is set; who sleeps is never woken."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        await asyncio.Event().wait()


class Stage:
    """A kit with the driver in front of it, both of which can be killed."""

    def __init__(self, kit: Kit, rules: ForeignRules) -> None:
        self.kit = kit
        self.rules = rules
        self.clock = SetClock()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.runs = self.make()

    def make(self) -> ForeignRuns:
        return ForeignRuns(
            store=self.kit.store,
            dataplane=self.kit.plane,
            view=LocalView(self.kit.plane),
            objects=NO_OBJECTS,
            locator=lambda: LOCATOR,
            clock=self.clock,
            spawn=self.spawn,
            rules=self.rules,
        )

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def kill(self) -> None:
        self.runs.close()
        for task in tuple(self.tasks):
            task.cancel()
        await self.kit.kill()
        self.runs = self.make()
        await self.runs.open()

    async def send(self, event: dict[str, Any]) -> Outcome:
        return await self.runs.take(await self.runs.read(msgspec.json.encode(event)))

    async def near(self) -> set[str]:
        """Return the keys of the objects of steps that hold them, all of which must be in the primary."""
        found = await self.runs.get("default", "wf")
        objects = [one for step in found.steps or () if step.held for one in step.objects]
        assert {one.state for one in objects} <= {"resident", "absent"}
        return {one.object.removeprefix("far:data/") for one in objects if one.state == "resident"}

    async def until_near(self, *keys: str) -> None:
        await self.until_holds(lambda near: near == set(keys))

    async def until_near_count(self, count: int) -> None:
        await self.until_holds(lambda near: len(near) == count)

    async def until_holds(self, holds: Callable[[set[str]], bool]) -> None:
        for _ in range(4000):
            if holds(await self.near()):
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"it never happened: {await self.near()}")

    async def until_released(self) -> None:
        await self.kit.until(lambda: not self.kit.plane.fill().pinned_bytes)
        assert not (await self.runs.get("default", "wf")).held_steps


def going(
    tmp_path: Path, story: Callable[[Stage], Awaitable[None]], *, capacity: int = 1000, rules: ForeignRules = RULES
) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity)
        kit.far.remotes.add("near")
        kit.watch = lambda: None  # type: ignore[method-assign] - names in other stores are not the primary's
        for number, name in enumerate(NAMES):
            kit.far.put(f"data/{name}", 100, b"%d" % number)
        await kit.start()
        stage = Stage(kit, rules)
        await stage.runs.open()
        try:
            await story(stage)
        finally:
            stage.runs.close()
            for task in tuple(stage.tasks):
                task.cancel()
            await kit.plane.close()

    asyncio.run(run())


def event_in_which(state: str, name: str) -> dict[str, Any]:
    """Return the first event in which a node is in a phase."""
    for event in history():
        nodes = event["body"].get("status", {}).get("nodes", {})
        if any(node["name"] == name and node["phase"] == state for node in nodes.values()):
            return event
    raise AssertionError(name)


def test_objects_follow_the_life_of_the_workflow(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        events = history()
        assert (await stage.send(events[0])).outcome == "taken"
        await stage.until_near("raw/prepared.bin", "map.bin")
        await stage.send(event_in_which("Running", "wf.prepare(0)"))
        await stage.until_near("raw/prepared.bin", "raw/a.bin", "raw/b.bin", "map.bin")
        stage.kit.far.put("data/made/prepared.bin", 50)
        await stage.send(event_in_which("Succeeded", "wf.prepare"))
        await stage.until_holds(lambda near: "raw/prepared.bin" not in near)
        await stage.send(event_in_which("Succeeded", "wf.each(1:b)"))
        await stage.until_near("map.bin", "made/prepared.bin")
        assert (await stage.send(events[-2])).phase == "Succeeded"
        await stage.until_released()
        assert (await stage.runs.get("default", "wf")).ended == "Succeeded"
        assert all(stage.kit.far.count("fetch", ref(f"data/{name}")) == 1 for name in NAMES)
        await stage.send(events[-1])
        assert (await stage.runs.get("default", "wf")).ended == "Deleted"

    going(tmp_path, story)


def test_repeated_late_and_old_events_change_nothing(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        events = history()
        running = event_in_which("Running", "wf.prepare(0)")
        await stage.send(running)
        await stage.until_near_count(4)
        assert {(await stage.send(event)).outcome for event in (running, events[0], running, events[1])} == {"known"}
        assert len(await stage.near()) == 4
        await stage.send(events[-2])
        await stage.until_released()
        for event in events[:-2]:
            assert (await stage.send(event)).outcome == "known"
        await stage.until_released()
        assert (await stage.runs.get("default", "wf")).ended == "Succeeded"
        # An end that is heard of first is an end as well.
        other = msgspec.json.decode(msgspec.json.encode(events[-2]))
        other["body"]["metadata"]["uid"] = "u2"
        assert (await stage.send(other)).outcome == "taken"

    going(tmp_path, story)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_with_kills_between_comes_to_the_same_end(tmp_path: Path, seed: int) -> None:
    async def story(stage: Stage) -> None:
        random = Random(seed)
        events = [*history(), *random.choices(history(), k=6)]
        random.shuffle(events)
        for number, event in enumerate(events):
            await stage.send(event)
            if number % 9 == 4:
                await stage.kill()
        await stage.until_released()
        assert (await stage.runs.get("default", "wf")).ended == "Deleted"
        assert stage.kit.plane._core.planner.audit() == ()

    going(tmp_path, story)


def test_a_restart_holds_what_was_held_and_fetches_nothing_again(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.send(event_in_which("Running", "wf.prepare(0)"))
        await stage.until_near_count(4)
        await stage.kill()
        await stage.until_near_count(4)
        assert stage.kit.plane.fill().pinned_bytes == 400
        assert all(stage.kit.far.count("fetch", ref(f"data/{name}")) == 1 for name in NAMES)
        await stage.send(history()[-2])
        await stage.until_released()

    going(tmp_path, story)


def test_a_workflow_that_falls_silent_is_let_go_and_comes_back(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        events = history()
        await stage.send(events[0])
        await stage.until_near("raw/prepared.bin", "map.bin")
        stage.clock.at += 101.0
        await stage.runs.tidy()
        await stage.until_released()
        assert (await stage.runs.get("default", "wf")).ended == "Silent"
        await stage.send(event_in_which("Running", "wf.prepare(0)"))
        await stage.until_near_count(4)
        assert (await stage.runs.get("default", "wf")).ended == ""
        await stage.send(events[-2])
        await stage.until_released()
        stage.clock.at += 1001.0
        await stage.runs.tidy()
        assert await stage.runs.list() == []
        assert await stage.kit.store.items("foreign") == []

    going(tmp_path, story)


def test_in_a_small_primary_objects_come_as_room_becomes_free(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.send(event_in_which("Running", "wf.prepare(0)"))
        await stage.until_near_count(2)
        assert stage.kit.plane.fill().used_bytes <= 220
        done = event_in_which("Succeeded", "wf.each(1:b)")
        await stage.send(done)
        await stage.until_near("map.bin")
        await stage.send(history()[-2])
        await stage.until_released()

    going(tmp_path, story, capacity=220)


def test_what_is_missing_or_unknown_does_not_hold_the_rest_back(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        del stage.kit.far.objects[ref("data/map.bin")]
        event = msgspec.json.decode(msgspec.json.encode(history()[0]))
        join = event["body"]["spec"]["templates"][3]["inputs"]["artifacts"]
        join.append({"name": "keyed", "path": "/k", "s3": {"key": "some/key"}})
        join.append({"name": "odd", "path": "/o", "plugin": {"name": "rclone", "key": "nowhere:x"}})
        await stage.send(event)
        await stage.until_near("raw/prepared.bin")
        problems = " ".join((await stage.runs.get("default", "wf")).problems)
        assert "it is not known yet in which repository it lies" in problems
        assert "'nowhere' is not configured" in problems

    going(tmp_path, story)


def test_mirrored_objects_are_under_their_near_names_while_steps_need_them(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.send(history()[0])
        near = ref("mirror/raw/prepared.bin", "near")
        await stage.kit.until(lambda: near in stage.kit.far.objects and ref("mirror/map.bin", "near") in stage.kit.far.objects)
        assert stage.kit.far.objects[near] == b"0" * 100
        shown = (await stage.runs.get("default", "wf")).steps or ()
        assert "near:mirror/map.bin" in {one.near for step in shown for one in step.objects}
        await stage.send(history()[-2])
        await stage.kit.until(lambda: not [one for one in stage.kit.far.objects if one.remote == "near"])

    mirror = Mirror(near=ref("mirror/", "near"), far=ref("data/"))
    going(tmp_path, story, rules=msgspec.structs.replace(RULES, mirrors=(mirror,)))


def test_who_speaks_for_one_namespace_never_speaks_of_anothers(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.send(history()[0])
        await stage.until_near("raw/prepared.bin", "map.bin")
        gone = msgspec.json.decode(msgspec.json.encode(history()[-1]))
        gone["body"]["metadata"]["namespace"] = "other"
        await stage.send(gone)
        await stage.until_near("raw/prepared.bin", "map.bin")
        assert [one.namespace for one in await stage.runs.list(visible={"other"})] == ["other"]
        with pytest.raises(Refused, match="no workflow"):
            await stage.runs.get("third", "wf")

    going(tmp_path, story)


@pytest.mark.parametrize(
    ("field", "value"), [("uid", ""), ("uid", "a/b"), ("uid", "x" * 200), ("namespace", "No"), ("namespace", ""), ("name", "..")]
)
def test_names_that_are_none_are_refused(tmp_path: Path, field: str, value: str) -> None:
    async def story(stage: Stage) -> None:
        event = history()[0]
        event["body"]["metadata"][field] = value
        with pytest.raises(Refused):
            await stage.send(event)
        assert await stage.runs.list() == []

    going(tmp_path, story)


def test_secrets_in_parameters_are_not_written_down(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        event = history()[0]
        event["body"]["spec"]["arguments"] = {"parameters": [{"name": "secondary_secret_key", "value": "hush-hush"}]}
        await stage.send(event)
        await stage.until_near("raw/prepared.bin", "map.bin")
        kept = [body for kind in ("foreign", "lease") for _, body in await stage.kit.store.items(kind)]
        assert len(kept) == 3
        assert not any(b"hush-hush" in body for body in kept)

    going(tmp_path, story)
