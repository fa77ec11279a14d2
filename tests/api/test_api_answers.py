"""Answers that are asked for again are made once, and never told after a change."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from jitflow import machine
from jitflow.control_api.answers import MAX_KEPT, MAX_KEPT_BYTES, KnownAnswers
from jitflow.engine.documents import KEPT_DOCUMENTS, Documents
from jitflow.model import argo
from jitflow.model.runs import SuspendRequested, WorkflowStarted

pytestmark = pytest.mark.pure


def test_an_answer_is_known_only_while_all_it_was_made_of_is_the_same() -> None:
    known = KnownAnswers()
    one, other = ["one"], ["other"]
    assert known.keep(("uid", ""), (one, other), b"body") == b"body"
    assert known.find(("uid", ""), (one, other)) == b"body"
    assert known.find(("uid", ""), (one, ["other"])) is None  # equal, but another object
    assert known.find(("uid", "metadata"), (one, other)) is None


def test_few_answers_are_kept_and_no_long_ones() -> None:
    known = KnownAnswers()
    made_of = (object(),)
    known.keep(("long",), made_of, bytes(MAX_KEPT_BYTES + 1))
    assert known.find(("long",), made_of) is None
    for number in range(MAX_KEPT + 1):
        known.keep((str(number),), made_of, b"x")
    assert known.find(("0",), made_of) is None
    assert known.find(("1",), made_of) == b"x"


def a_state(name: str = "one") -> machine.State:
    template = argo.Template(name="main", container=argo.Container(image="busybox"))
    metadata = argo.ObjectMeta(name=name, uid=f"uid-of-{name}", creation_timestamp="2026-01-01T00:00:00Z")
    workflow = argo.Workflow(metadata=metadata, spec=argo.WorkflowSpec(entrypoint="main", templates=(template,)))
    return machine.decide(machine.new_state(workflow, now=1.0), WorkflowStarted(), 1.0).state


def test_a_document_is_made_again_when_its_state_is_another() -> None:
    async def scenario() -> None:
        documents = Documents(time.time, "here")
        state = a_state()
        first = await documents.of(state)
        assert await documents.of(state) is first
        changed = machine.decide(state, SuspendRequested(), 2.0).state
        second = await documents.of(changed)
        assert (first.spec.suspend, second.spec.suspend) == (None, True)
        assert (await documents.of(state)).spec.suspend is None

    asyncio.run(scenario())


def test_only_some_documents_are_kept() -> None:
    async def scenario() -> None:
        documents = Documents(time.time, "here")
        state = a_state()
        first = await documents.of(state)
        for number in range(KEPT_DOCUMENTS):
            await documents.of(a_state(f"other-{number}"))
        again = await documents.of(state)
        assert again is not first
        assert again == first

    asyncio.run(scenario())


def test_a_document_does_not_depend_on_when_it_is_asked_for() -> None:
    state = a_state()
    assert machine.workflow_document(state, 5.0) == machine.workflow_document(replace(state), 5000.0)
