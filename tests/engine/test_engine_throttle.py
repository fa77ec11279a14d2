"""How many workflows run at once."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_runs import World, phase, pods, workflow

from jitflow.engine.throttle import POSTPONED, Throttle
from jitflow.model.problems import Refused
from jitflow.model.runs import RetryRequested

pytestmark = pytest.mark.pure

ONE = "entrypoint: t\ntemplates: [{name: t, container: {image: busybox, command: [work]}}]\n"


@given(
    st.integers(0, 3), st.integers(0, 2), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.booleans()), max_size=60)
)
@settings(max_examples=200, deadline=None)
def test_never_more_than_the_limits_and_nobody_waits_for_a_free_place(
    limit: int, each: int, steps: list[tuple[int, int, bool]]
) -> None:
    """SEMANTICS parallelism of the server: in all and in each namespace."""
    throttle = Throttle(limit, each)
    running: dict[str, str] = {}
    waiting: dict[str, str] = {}
    for number, priority, ends in steps:
        uid, namespace = str(number), f"n{number % 2}"
        if ends:
            throttle.release(uid)
            running.pop(uid, None)
            waiting.pop(uid, None)
            for one in throttle.admit():
                running[one] = waiting.pop(one)
        elif uid not in running and uid not in waiting:
            begins = throttle.ask(uid, namespace, priority=priority, created_at=float(number))
            (running if begins else waiting)[uid] = namespace
        assert not limit or len(running) <= limit
        for name in ("n0", "n1"):
            mine = sum(it == name for it in running.values())
            assert not each or mine <= each
            if name in waiting.values():
                assert (limit and len(running) >= limit) or (each and mine >= each)
        assert throttle.waiting == len(waiting)


def test_the_higher_priority_and_then_the_older_begins_first() -> None:
    throttle = Throttle(1)
    assert throttle.ask("a", "n", priority=0, created_at=0)
    for uid, priority, created in (("young", 0, 9.0), ("old", 0, 1.0), ("high", 5, 99.0)):
        assert not throttle.ask(uid, "n", priority=priority, created_at=created)
    order, holder = [], "a"
    while throttle.waiting:
        throttle.release(holder)
        (holder,) = throttle.admit()
        order.append(holder)
    assert order == ["high", "old", "young"]


def test_a_workflow_over_the_limit_is_pending_over_a_restart_and_begins_when_one_ends(tmp_path: Path) -> None:
    """SEMANTICS parallelism of the server: the message is Argo's."""

    async def scenario() -> None:
        world = World(tmp_path, None)
        world.limits = (1, 0)
        async with world.engine(max_pods=4) as engine:
            first = await engine.create(workflow(ONE, "first"))
            second = await engine.create(workflow(ONE, "second"))
            third = await engine.create(workflow(ONE, "third"))
            assert (second.phase, second.message) == ("Pending", POSTPONED)
            (key,) = await pods(world, 1)
        async with world.engine(max_pods=4) as engine:
            await asyncio.sleep(0.03)
            assert await pods(world, 1) == [key]
            await engine.delete(second.uid)
            world.executor.finish(key)
            await phase(engine, first.uid, "Succeeded")
            (key,) = await pods(world, 1)
            assert key.startswith(third.uid)
            world.executor.finish(key)
            found = await phase(engine, third.uid, "Succeeded")
            assert found.status is not None
            assert not found.status.message

    asyncio.run(scenario())


def test_a_workflow_that_runs_again_waits_for_its_place_over_a_restart(tmp_path: Path) -> None:
    """SEMANTICS parallelism of the server: a retried workflow stands in the queue like a new one."""

    async def scenario() -> None:
        world = World(tmp_path, None)
        world.limits = (1, 0)
        async with world.engine(max_pods=4) as engine:
            again = await engine.create(workflow(ONE, "again"))
            (key,) = await pods(world, 1)
            world.executor.finish(key, exit_code=1)
            await phase(engine, again.uid, "Failed")
            other = await engine.create(workflow(ONE, "other"))
            (key,) = await pods(world, 1)
            await engine.send(again.uid, RetryRequested())
            found = await phase(engine, again.uid, "Pending")
            assert found.status is not None
            assert found.status.message == POSTPONED
            with pytest.raises(Refused, match="Cannot retry a workflow in phase Pending"):
                await engine.send(again.uid, RetryRequested())
        async with world.engine(max_pods=4) as engine:
            await asyncio.sleep(0.03)
            assert await pods(world, 1) == [key]
            world.executor.finish(key)
            await phase(engine, other.uid, "Succeeded")
            (key,) = await pods(world, 1)
            assert key.startswith(again.uid)
            world.executor.finish(key)
            found = await phase(engine, again.uid, "Succeeded")
            assert found.status is not None
            assert not found.status.message

    asyncio.run(scenario())
