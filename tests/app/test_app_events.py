"""Event bindings: which of them an event starts, with which arguments, and what goes wrong with one leaves the others alone."""

import asyncio
from typing import Any

import pytest

from jitflow.app.events import Happening, Triggered, triggered
from jitflow.model import argo
from jitflow.objects import ObjectStore
from jitflow.testing.fake_engine import PlainSealer
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure


class Clock:
    def now(self) -> float:
        return 1_700_000_000.0

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


class Ids:
    def uid(self) -> str:
        return "u"

    def suffix(self) -> str:
        return "x"


def binding(name: str, selector: str, *parameters: argo.Parameter, **submit: Any) -> argo.WorkflowEventBinding:
    given = {"workflow_template_ref": argo.WorkflowTemplateRef(name="t"), **submit}
    return argo.WorkflowEventBinding(
        metadata=argo.ObjectMeta(name=name),
        spec=argo.WorkflowEventBindingSpec(
            event=argo.Event(selector=selector), submit=argo.Submit(arguments=argo.Arguments(parameters=parameters), **given)
        ),
    )


def happen(event: Happening, *bindings: argo.WorkflowEventBinding) -> list[Triggered]:
    async def run() -> list[Triggered]:
        objects = ObjectStore(MemoryStore(), PlainSealer(), Clock(), Ids())
        await objects.open()
        for one in bindings:
            await objects.create(one, "here")
        return triggered(event, objects, 0.0)

    return asyncio.run(run())


EVENT = Happening(
    namespace="here", discriminator="push", payload={"who": "me", "tags": ["a"], "n": 3}, metadata={"x-kind": ["nightly"]}
)


@pytest.mark.parametrize(
    ("selector", "starts"),
    [
        ("true", True),
        ("false", False),
        ("discriminator == 'push'", True),
        ("discriminator == 'pull'", False),
        ("namespace == 'here'", True),
        ("payload.who == 'me' && 'a' in payload.tags", True),
        ("payload.n > 3", False),
        ("metadata['x-kind'] == ['nightly']", True),
        ("metadata['x-other'] != nil", False),
        ("payload.missing == nil", True),
    ],
)
def test_a_selector_decides(selector: str, starts: bool) -> None:
    found = happen(EVENT, binding("b", selector))
    assert [bool(one.workflow) for one in found] == [True] * starts


def test_arguments_come_from_the_event_or_from_their_defaults() -> None:
    def from_event(name: str, text: str, default: str | None = None) -> argo.Parameter:
        return argo.Parameter(name=name, value_from=argo.ValueFrom(event=text, default=default))

    (found,) = happen(
        EVENT,
        binding(
            "b",
            "true",
            from_event("who", "payload.who"),
            from_event("tags", "payload.tags"),
            from_event("n", "payload.n"),
            from_event("kind", "metadata['x-kind'][0]"),
            from_event("missing", "payload.missing", "none"),
            from_event("wrong", "payload.who.deeper.still", "none"),
            argo.Parameter(name="fixed", value="1"),
        ),
    )
    assert found.workflow is not None
    given = found.workflow.spec.arguments
    assert given is not None
    assert {p.name: p.value for p in given.parameters} == {
        "who": "me",
        "tags": '["a"]',
        "n": "3",
        "kind": "nightly",
        "missing": "none",
        "wrong": "none",
        "fixed": "1",
    }


def test_names_and_labels_are_the_bindings_and_the_templates() -> None:
    named = binding("b", "true", metadata=argo.ObjectMeta(generate_name="mine-", labels={"team": "blue"}))
    cluster = binding("c", "true", workflow_template_ref=argo.WorkflowTemplateRef(name="t", cluster_scope=True))
    first, second = (one.workflow for one in happen(EVENT, named, cluster))
    assert first is not None
    assert first.metadata is not None
    assert first.metadata.generate_name == "mine-"
    assert first.metadata.labels == {"team": "blue", "workflows.argoproj.io/workflow-template": "t"}
    assert second is not None
    assert second.metadata is not None
    assert (second.metadata.generate_name, list(second.metadata.labels)) == (
        "t-",
        ["workflows.argoproj.io/cluster-workflow-template"],
    )


def test_what_is_wrong_with_one_binding_leaves_the_others_alone() -> None:
    lacking = argo.Parameter(name="p", value_from=argo.ValueFrom(event="payload.missing"))
    found = happen(
        EVENT,
        binding("a-broken", "1 +"),
        binding("b-number", "1"),
        binding("c-lacks", "true", lacking),
        binding("d-good", "true"),
    )
    assert [(one.binding, bool(one.workflow), bool(one.error)) for one in found] == [
        ("a-broken", False, True),
        ("b-number", False, True),
        ("c-lacks", False, True),
        ("d-good", True, False),
    ]
    assert "did not evaluate to boolean" in found[1].error
    assert "gives nothing" in found[2].error


def test_bindings_of_other_namespaces_hear_nothing() -> None:
    assert happen(Happening(namespace="there"), binding("b", "true")) == []
