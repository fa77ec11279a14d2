"""What namespaces have used: counted once, over restarts and deletions."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from jitflow.app.usage import HOUR_S, UsageKeeper
from jitflow.dataplane import LocalView
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.usage import Usage
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

MANIFEST: dict[str, Any] = {
    "metadata": {"generateName": "w-"},
    "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}]},
}
BEGAN, ENDED = "2023-11-14T22:12:30Z", "2023-11-14T22:13:10Z"


class Office:
    """A world with somebody who counts; `restart` puts another one in his place, as after a kill."""

    def __init__(self) -> None:
        self.world = World()
        self._tasks: list[asyncio.Task[None]] = []
        self._stop: Callable[[], None] | None = None

    async def open(self) -> None:
        if self._stop is None:
            await self.world.service.open()
        await self.restart()

    async def restart(self) -> None:
        if self._stop is not None:
            self._stop()
            for task in self._tasks:
                task.cancel()
        world = self.world
        self.keeper = UsageKeeper(
            world.service.known_runs, world.engine, world.store, LocalView(world.primary), clock=world.clock, spawn=self._spawn
        )
        self._stop = world.engine.subscribe(self.keeper.hear)
        await self.keeper.open(await world.store.runs())

    def _spawn(self, work: Any, _name: str) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def submit(self, namespace: str = "team-a") -> str:
        made = await self.world.service.create(MANIFEST, namespace)
        assert made.metadata is not None
        return made.metadata.uid or ""

    async def end(self, uid: str, phase: str = "Succeeded", *pods: argo.NodeStatus) -> None:
        await self.world.engine.move(uid, phase, nodes=pods)

    async def usage(self, namespace: str = "team-a", since: float | None = None, until: float | None = None) -> Usage:
        return await self.keeper.read(namespace, since, until)


def pod(name: str, phase: str = "Succeeded", *, kind: str = "Pod", cpu: int = 3) -> argo.NodeStatus:
    return argo.NodeStatus(
        id=name, name=name, type=kind, phase=phase, started_at=BEGAN,
        finished_at=ENDED, resources_duration={"cpu": cpu}
    )  # fmt: skip


def play(scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        office = Office()
        await office.open()
        await scenario(office)

    asyncio.run(run())


def test_ends_pods_resources_and_what_runs_are_told_for_each_namespace():
    async def scenario(office: Office) -> None:
        first, second, _, elsewhere = [await office.submit(ns) for ns in ("team-a", "team-a", "team-a", "team-b")]
        await office.end(first, "Succeeded", pod("a"), pod("b"), pod("group", kind="Steps"))
        await office.end(second, "Failed", pod("c", "Failed", cpu=4))
        await office.end(elsewhere, "Error")
        found = await office.usage()
        assert found.workflows == {"Succeeded": 1, "Failed": 1, "Running": 1}
        assert found.pods == {"Succeeded": 2, "Failed": 1}
        assert found.resources_duration == {"cpu": 10}
        assert found.near_bytes == 30
        assert (await office.usage("team-b")).workflows == {"Error": 1}
        assert (await office.usage("team-c")).workflows == {}

    play(scenario)


def test_counters_outlive_workflows_and_restarts_and_count_nothing_twice():
    async def scenario(office: Office) -> None:
        kept, gone = await office.submit(), await office.submit()
        await office.end(kept, "Succeeded", pod("a"))
        await office.end(gone, "Succeeded", pod("b"))
        before = await office.usage()
        await office.world.engine.delete(gone)
        await office.restart()
        assert await office.usage() == before
        await office.restart()
        assert await office.usage() == before

    play(scenario)


def test_what_ended_before_a_kill_and_was_not_written_down_is_counted_after_it():
    async def scenario(office: Office) -> None:
        for number in range(3):
            await office.end(await office.submit(), "Succeeded", pod(f"p{number}"))
            if number == 0:
                await office.keeper.save()
        await office.restart()  # nobody saved the last two
        found = await office.usage()
        assert (found.workflows, found.pods) == ({"Succeeded": 3}, {"Succeeded": 3})

    play(scenario)


def test_of_a_retried_workflow_each_pod_counts_once():
    async def scenario(office: Office) -> None:
        uid = await office.submit()
        await office.end(uid, "Failed", pod("a"), pod("b", "Failed"))
        assert (await office.usage()).pods == {"Succeeded": 1, "Failed": 1}
        await office.world.clock.sleep(10)
        await office.world.engine.move(uid, "Running")
        await office.world.clock.sleep(10)
        again = argo.NodeStatus(
            id="b2", name="b2", type="Pod", phase="Succeeded", started_at=ENDED, finished_at="2033-11-14T22:14:00Z"
        )
        await office.end(uid, "Succeeded", again)
        found = await office.usage()
        assert found.workflows == {"Failed": 1, "Succeeded": 1}
        assert found.pods == {"Succeeded": 2, "Failed": 1}

    play(scenario)


def test_a_retry_that_a_kill_interrupts_counts_no_pod_twice():
    async def scenario(office: Office) -> None:
        written, lost, fresh = [await office.submit() for _ in range(3)]
        await office.end(written, "Failed", pod("a"), pod("b", "Failed"))
        await office.keeper.save()
        await office.end(lost, "Failed", pod("c"))  # a kill comes before this is written down
        await office.world.clock.sleep(10)
        for uid in (written, lost):
            await office.world.engine.move(uid, "Running")
        await office.restart()
        await office.world.clock.sleep(10)
        for uid, name in ((written, "b2"), (lost, "c2"), (fresh, "d")):
            again = replace(pod(name), started_at=ENDED, finished_at="2033-11-14T22:14:00Z")
            await office.end(uid, "Succeeded", again)
        found = await office.usage()
        assert found.pods == {"Succeeded": 5, "Failed": 1}
        assert found.workflows == {"Failed": 1, "Succeeded": 3}, (
            "of one that was retried before it was counted the first end is lost"
        )
        before = found
        await office.restart()
        assert await office.usage() == before

    play(scenario)


def test_only_the_hours_that_were_asked_for_are_told():
    async def scenario(office: Office) -> None:
        start = office.world.clock.now()
        await office.end(await office.submit())
        await office.usage()
        await office.world.clock.sleep(5 * HOUR_S)
        await office.end(await office.submit(), "Failed")
        now = office.world.clock.now()
        assert (await office.usage()).workflows == {"Succeeded": 1, "Failed": 1}
        assert (await office.usage(since=now - HOUR_S)).workflows == {"Failed": 1}
        assert (await office.usage(since=start - HOUR_S, until=start + HOUR_S)).workflows == {"Succeeded": 1}
        for since, until in ((now, start), (0.0, now)):
            with pytest.raises(Refused, match="since must be before"):
                await office.usage(since=since, until=until)

    play(scenario)
