"""The table of locks: never too many, nobody forgotten, in order."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_runs import World, phase, pods, workflow

from jitflow.engine.locks import LockTable, MissingLimit
from jitflow.model.runs import Lock

pytestmark = pytest.mark.pure

NAMES = ("a", "b", "c")
LIMITS = {"a": 1, "b": 2, "c": 3}


def lock(name: str) -> Lock:
    return Lock(name=name, is_semaphore=True)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(0, 7), st.sets(st.sampled_from(NAMES), min_size=1), st.integers(0, 2)),
        st.tuples(st.just("release"), st.integers(0, 7), st.just(frozenset[str]()), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_no_lock_has_more_holders_than_its_limit_and_nobody_is_forgotten(steps: list[tuple[str, int, set[str], int]]):
    """SEMANTICS synchronization: all-or-nothing acquire; queue by priority then creation time."""
    table = LockTable(lambda wanted: LIMITS[wanted.name])
    held: dict[int, set[str]] = {}
    waiting: dict[int, set[str]] = {}
    for what, who, names, priority in steps:
        if what == "ask" and who not in held and who not in waiting:
            waiting[who] = names
            table.ask(("u", str(who)), tuple(map(lock, sorted(names))), priority=priority, created_at=0.0)
        elif what == "release":
            held.pop(who, None)
            waiting.pop(who, None)
            table.release(("u", str(who)))
        for request, message, possible in table.serve():
            assert possible
            if not message:
                number = int(request.holder[1])
                held[number] = waiting.pop(number)
        for name, limit in LIMITS.items():
            assert sum(name in names for names in held.values()) <= limit
        free = {name for name, limit in LIMITS.items() if sum(name in names for names in held.values()) < limit}
        # Whoever waits, waits for a lock that is taken, or behind somebody who wants one of the same.
        for number, wanted in waiting.items():
            others = set().union(*(names for other, names in waiting.items() if other != number))
            assert wanted - free or wanted & others


def test_the_higher_priority_and_the_older_workflow_come_first():
    table = LockTable(lambda _: 1)
    table.adopt(("u", "0"), (lock("a"),))
    for name, priority, created in (("young", 0, 9.0), ("old", 0, 1.0), ("high", 5, 99.0)):
        table.ask(("u", name), (lock("a"),), priority=priority, created_at=created)
    order: list[str] = []
    holder = "0"
    while True:
        table.release(("u", holder))
        granted = [request.holder[1] for request, message, _ in table.serve() if not message]
        if not granted:
            break
        (holder,) = granted
        order.append(holder)
    assert order == ["high", "old", "young"]


def test_a_waiting_request_is_told_how_much_is_free():
    """SEMANTICS synchronization: `Waiting for <ns>/Mutex/<name> lock. Lock status: 0/1`."""
    table = LockTable(lambda _: 1)
    table.adopt(("u", "0"), (lock("ns/Mutex/m"),))
    table.ask(("u", "1"), (lock("ns/Mutex/m"),), priority=0, created_at=0.0)
    assert [message for _, message, _ in table.serve()] == ["Waiting for ns/Mutex/m lock. Lock status: 0/1"]


def test_a_semaphore_without_a_limit_is_impossible():
    def limit(_: Lock) -> int:
        raise MissingLimit("no limit")

    table = LockTable(limit)
    table.ask(("u", "1"), (lock("a"),), priority=0, created_at=0.0)
    assert [(message, possible) for _, message, possible in table.serve()] == [("no limit", False)]
    assert list(table.serve()) == []


HOLDING = """
entrypoint: main
templates:
- {name: main, synchronization: {mutexes: [{name: m}]}, container: {image: busybox, command: [work]}}
"""


def test_a_lock_is_held_over_a_restart_and_handed_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, lambda _: None)
        async with world.engine(max_pods=4) as engine:
            first = await engine.create(workflow(HOLDING, "first"))
            await pods(world, 1)
            second = await engine.create(workflow(HOLDING, "second"))
            await asyncio.sleep(0.05)
            found = await engine.fetch(second.uid)
            assert found is not None
            assert found.status is not None
            (node,) = found.status.nodes.values()
            assert (node.phase, node.message) == ("Pending", "Waiting for default/Mutex/m lock. Lock status: 0/1")
        async with world.engine(max_pods=4) as engine:
            await asyncio.sleep(0.05)
            (key,) = await pods(world, 1)
            assert key.startswith(first.uid)
            world.executor.finish(key)
            await phase(engine, first.uid, "Succeeded")
            (key,) = await pods(world, 1)
            assert key.startswith(second.uid)
            world.executor.finish(key)
            await phase(engine, second.uid, "Succeeded")

    asyncio.run(scenario())
