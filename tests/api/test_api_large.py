"""Large workflows: the same documents as small ones, and others need not wait while they are made."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest

from jitflow import machine
from jitflow.app.fields import Fields
from jitflow.app.present import plain
from jitflow.control_api import large
from jitflow.engine.documents import Documents
from jitflow.model import argo
from jitflow.model.runs import WorkflowStarted
from jitflow.spec import from_json

T = TypeVar("T")
pytestmark = pytest.mark.pure


def state_of(count: int) -> machine.State:
    """Return a workflow that runs many steps side by side."""
    loop = {"name": "a", "template": "leaf", "withSequence": {"count": str(count)}}
    templates = [{"name": "main", "steps": [[loop]]}, {"name": "leaf", "container": {"image": "i", "command": ["c"]}}]
    body = {"metadata": {"name": "wf"}, "spec": {"entrypoint": "main", "templates": templates}}
    workflow = from_json(body, kind="Workflow").manifest
    assert isinstance(workflow, argo.Workflow)
    return machine.decide(machine.new_state(workflow), WorkflowStarted(), 0.0).state


BIG = state_of(2_500)


def test_a_large_document_is_that_of_its_state() -> None:
    async def scenario() -> tuple[argo.Workflow, argo.Workflow]:
        documents = Documents(lambda: 1.0, "here")
        first = await documents.of(BIG)
        assert await documents.of(BIG) is first, "the state has not changed"
        documents.let_go()
        return first, await documents.of(BIG)

    first, again = asyncio.run(scenario())
    assert first == again == machine.workflow_document(BIG, 1.0, "here")
    assert first.status is not None
    assert len(first.status.nodes) == 2_502


def test_a_large_answer_is_the_same_as_one_made_at_once() -> None:
    document = machine.workflow_document(BIG, 1.0)
    assert json.loads(asyncio.run(large.encoded(document))) == json.loads(msgspec.json.encode(document))
    assert json.loads(asyncio.run(large.encoded(plain(document)))) == json.loads(msgspec.json.encode(document))
    bare = {"status": {"nodes": plain(document)["status"]["nodes"]}}
    assert asyncio.run(large.encoded(bare)) == msgspec.json.encode(bare)


@pytest.mark.parametrize("text", ["status.nodes.wf", "metadata,status.phase", "-status.nodes", "-spec,status.nodes.wf", "status"])
@pytest.mark.parametrize("below", ["", "result.object"])
def test_fields_of_a_large_workflow_are_those_of_a_small_one(text: str, below: str) -> None:
    names = [f"{below}.{name}" if below else name for name in text.removeprefix("-").split(",")]
    fields = Fields("-" * text.startswith("-") + ",".join(names))
    document = machine.workflow_document(BIG, 1.0)
    whole: Any = plain(document)
    expected = fields.apply({"result": {"object": whole}} if below else whole)
    if below:
        expected = expected["result"]["object"]
    assert asyncio.run(large.wanted(document, fields, below=below)) == expected


def test_others_go_on_while_a_large_document_is_made() -> None:
    state = state_of(20_000)

    async def scenario() -> None:
        documents = Documents(time.time, "here")
        at_once_s, _ = await longest_wait(at_once(lambda: machine.workflow_document(state, 1.0)))
        aside_s, document = await longest_wait(documents.of(state))
        encoding_s, _ = await longest_wait(large.encoded(document))
        assert aside_s < at_once_s / 2, f"{aside_s:.3f} s of {at_once_s:.3f} s"
        assert encoding_s < at_once_s / 2

    asyncio.run(scenario())


async def at_once(make: Callable[[], T]) -> T:
    return make()


async def longest_wait(work: Awaitable[T]) -> tuple[float, T]:
    """Return the longest time for which the event loop did nothing else while something was done."""
    gaps: list[float] = []
    done = asyncio.Event()

    async def tick() -> None:
        last = time.perf_counter()
        while not done.is_set():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    async with asyncio.TaskGroup() as group:
        group.create_task(tick())
        await asyncio.sleep(0.01)
        found = await work
        done.set()
    return max(gaps), found
