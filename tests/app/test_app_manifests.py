"""Manifests that are known are not read again, and never taken for valid when something they need has changed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest

from jitflow.app.manifests import MAX_KNOWN_BYTES, KnownManifests, read_workflow
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.spec import deciding_parameters
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

SPEC: dict[str, Any] = {
    "entrypoint": "main",
    "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}],
}
OWN = msgspec.json.encode({"metadata": {"name": "one"}, "spec": SPEC})
REFERRING = msgspec.json.encode({"metadata": {"name": "two"}, "spec": {"workflowTemplateRef": {"name": "t"}}})


def test_the_same_text_gives_the_same_workflow_wherever_it_means_the_same():
    async def scenario() -> None:
        known = KnownManifests(World().objects)
        first = await known.read(OWN, namespace="a")
        assert await known.read(OWN, namespace="a") is first
        assert await known.read(OWN, namespace="b") is not first
        assert await known.read(OWN, namespace="a", lint=True) is not first
        long = OWN[:-1] + b" " * MAX_KNOWN_BYTES + b"}"
        assert await known.read(long) is not await known.read(long)

    asyncio.run(scenario())


def test_a_template_that_is_gone_or_another_one_is_noticed():
    async def scenario() -> None:
        world = World()
        known = KnownManifests(world.objects)
        with pytest.raises(Refused, match="not found"):
            await known.read(REFERRING, namespace="a")
        template = argo.WorkflowTemplate(metadata=argo.ObjectMeta(name="t"), spec=msgspec.convert(SPEC, argo.WorkflowSpec))
        await world.objects.create(template, "a")
        valid = await known.read(REFERRING, namespace="a")
        assert await known.read(REFERRING, namespace="a") is valid
        await world.objects.delete(argo.WorkflowTemplate, "a", "t")
        with pytest.raises(Refused, match="not found"):
            await known.read(REFERRING, namespace="a")

    asyncio.run(scenario())


def test_what_was_refused_is_refused_again():
    async def scenario() -> None:
        known = KnownManifests(World().objects)
        for text in (b"[1]", b"{", b'{"spec": {"entrypoint": "no"}}'):
            for _ in range(2):
                with pytest.raises(Refused):
                    await known.read(text, namespace="a")

    asyncio.run(scenario())


PARAMETERS: list[Any] = [
    [{"name": "run", "value": "1"}],
    [{"name": "run", "value": "2"}],
    [{"name": "run", "value": "2", "enum": ["1", "3"]}],
    [{"name": "run", "value": 3}],
    [{"name": "run", "valu": "3"}],
    [{"name": "run"}],
    [],
    None,
    "text",
    [{"name": "run", "value": "{{workflow.name}}"}, {"name": "other", "value": "x" * 2000}],
]


def _outcome(read: Callable[[], argo.Workflow]) -> object:
    try:
        return read()
    except Refused as error:
        return str(error)


def _all_outcomes(body: Mapping[str, Any], parameters: Sequence[Any]) -> list[tuple[object, object]]:
    """Return what comes of a manifest with each of the parameters, read by one who remembers, and read anew."""
    known = KnownManifests(World().objects)
    found: list[tuple[object, object]] = []
    for each in (*parameters, *parameters):
        manifest = {"metadata": {"name": "one"}, "spec": {**body, "arguments": {"parameters": each}}}
        read = known.read(msgspec.json.encode(manifest), namespace="a")
        found.append((_outcome(partial(asyncio.run, read)), _outcome(partial(read_workflow, manifest, namespace="a"))))
    return found


@pytest.mark.parametrize("change", [{}, {"entrypoint": "no"}, {"nonsense": 1}, {"templates": [{"name": 7}]}, {"priority": 2**70}])
def test_only_arguments_are_read_anew_and_what_comes_of_it_is_the_same(change: dict[str, Any]):
    """The rest is known from the first manifest on: each is what reading all of it gives, or refused with the same words."""
    for remembered, anew in _all_outcomes({**SPEC, **change}, PARAMETERS):
        assert remembered == anew


def test_arguments_that_stand_elsewhere_too_are_not_mistaken_for_the_workflow_s_own():
    """Where a step's arguments have the very same text it is not known which of them are new."""
    leaf = {"name": "leaf", "inputs": {"parameters": [{"name": "run"}]}, "container": {"image": "busybox"}}

    def text(step: str, own: str) -> bytes:
        step_of = {"name": "a", "template": "leaf", "arguments": {"parameters": [{"name": "run", "value": step}]}}
        templates = [{"name": "main", "steps": [[step_of]]}, leaf]
        body = {"templates": templates, "entrypoint": "main", "arguments": {"parameters": [{"name": "run", "value": own}]}}
        return msgspec.json.encode({"metadata": {"name": "one"}, "spec": body})

    async def scenario() -> None:
        known = KnownManifests(World().objects)
        for step, own in (("1", "1"), ("1", "2"), ("2", "1"), ("2", "2"), ("2", "3"), ("3", "2"), ("3", "3"), ("1", "1")):
            read = await known.read(text(step, own), namespace="a")
            assert read == read_workflow(msgspec.json.decode(text(step, own)), namespace="a")

    asyncio.run(scenario())


def _main(**more: Any) -> dict[str, Any]:
    return {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}, **more}]}


_RUN = "{{workflow.parameters.run}}"
_INPUT = {"parameters": [{"name": "run"}]}
_STEP = {"name": "a", "template": "leaf"}
_LEAF = {"name": "leaf", "container": {"image": "busybox", "args": ["{{workflow.parameters.run}}"]}}
PLACES: list[dict[str, Any]] = [
    _main(container={"image": "busybox", "args": [_RUN, "{" + _RUN + "}"], "env": [{"name": "A", "value": _RUN}]}),
    _main(container={"image": "busybox", "args": ["{{workflow.parameters.{{workflow.parameters.run}}}}"]}),
    _main(container={"image": "busybox", "args": ["{{steps.{{workflow.parameters.run}}.id}}"]}),
    _main(inputs=_INPUT, container={"image": "busybox", "args": ["{{inputs.parameters.run}}"]}),
    _main(inputs=_INPUT, timeout="{{inputs.parameters.run}}"),
    _main(container={"image": "busybox", "env": [{"name": _RUN, "value": "1"}]}),
    _main(container=None, script={"image": "busybox", "source": f"echo {_RUN}"}),
    _main(container=None, resource={"action": "create", "manifest": _RUN}),
    _main(container=None, steps=[[{**_STEP, "when": f"{_RUN} == 1"}]]),
    _main(container=None, steps=[[{**_STEP, "name": _RUN}]]),
    _main(container=None, steps=[[{**_STEP, "template": _RUN}]]),
    _main(container=None, steps=[[{**_STEP, "withParam": _RUN}]]),
    _main(container=None, steps=[[_STEP, {"name": "b", "template": "leaf", "when": "{{=workflow.parameters.run == 'x'}}"}]]),
]
VALUES = [
    "1",
    "2",
    "a b",
    "1",
    "leaf",
    "run",
    "{{workflow.name}}",
    "{{no.such}}",
    "steps.a}",
    "",
    'é\n"',
    "kind: Pod",
    "30",
    "x" * 300,
]


@pytest.mark.parametrize("place", range(len(PLACES)))
def test_values_are_not_looked_at_only_where_any_will_do(place: int):
    body = PLACES[place]
    body = {**body, "templates": [*body["templates"], _LEAF]}
    for remembered, anew in _all_outcomes(body, [[{"name": "run", "value": value}] for value in VALUES]):
        assert remembered == anew


TEMPLATE_ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"parameters": [{"name": "run", "value": "1"}]},
    {"parameters": [{"name": "run", "enum": ["1", "2", "leaf"]}]},
    {"parameters": [{"name": "run", "value": "1"}, {"name": "other", "value": _RUN}]},
    {"parameters": [{"name": "run", "value": "1"}, {"name": "other", "value": "1", "enum": ["1"]}]},
]


@pytest.mark.parametrize("arguments", range(len(TEMPLATE_ARGUMENTS)))
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_values_for_a_template_are_looked_at_where_that_needs_it(place: int, arguments: int):
    """What a workflow gives to the template that it refers to is refused with the same words, whether it is known or not."""
    body = PLACES[place]
    body = {**body, "templates": [*body["templates"], _LEAF], "arguments": TEMPLATE_ARGUMENTS[arguments]}

    async def scenario() -> None:
        world = World()
        template = argo.WorkflowTemplate(metadata=argo.ObjectMeta(name="t"), spec=msgspec.convert(body, argo.WorkflowSpec))
        await world.objects.create(template, "a")
        known = KnownManifests(world.objects)
        for value in (*VALUES, *VALUES):
            spec = {"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": [{"name": "run", "value": value}]}}
            manifest = {"metadata": {"name": "one"}, "spec": spec}
            anew = _outcome(partial(read_workflow, manifest, namespace="a", objects=world.objects))
            try:
                remembered: object = await known.read(msgspec.json.encode(manifest), namespace="a")
            except Refused as error:
                remembered = str(error)
            assert remembered == anew

    asyncio.run(scenario())


def test_a_template_with_other_values_is_not_checked_again_until_it_changes(monkeypatch: pytest.MonkeyPatch):
    async def scenario() -> None:
        world, checked = World(), list[str]()
        template = argo.WorkflowTemplate(metadata=argo.ObjectMeta(name="t"), spec=msgspec.convert(SPEC, argo.WorkflowSpec))
        await world.objects.create(template, "a")
        known = KnownManifests(world.objects)

        async def noted(*given: Any, **more: Any) -> argo.Workflow:
            checked.append(value)
            return read_workflow(given[0], namespace=more["namespace"], objects=more["objects"])

        monkeypatch.setattr("jitflow.app.manifests.read_aside", noted)
        for value in ("1", "2", "3", "then"):
            if value == "then":
                await world.objects.delete(argo.WorkflowTemplate, "a", "t")
                await world.objects.create(template, "a")
            spec = {"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": [{"name": "run", "value": value}]}}
            read = await known.read(msgspec.json.encode({"metadata": {"name": "one"}, "spec": spec}), namespace="a")
            assert read.spec.arguments == argo.Arguments(parameters=(argo.Parameter(name="run", value=value),))
        assert checked == ["1", "then"]

    asyncio.run(scenario())


def test_what_only_differs_in_its_arguments_shares_its_templates():
    async def scenario() -> None:
        known = KnownManifests(World().objects)
        first, second = [
            await known.read(
                msgspec.json.encode({"metadata": {"name": "one"}, "spec": {**SPEC, "arguments": {"parameters": each}}}),
                namespace="a",
            )
            for each in PARAMETERS[:2]
        ]
        assert first.spec.templates is second.spec.templates
        assert first.spec.arguments != second.spec.arguments

    asyncio.run(scenario())


def test_what_a_value_decides_is_looked_at():
    spec = msgspec.convert(
        {"templates": [{"name": "a", "container": {"image": _RUN, "args": ["{{workflow.parameters.x}}"]}}]}, argo.WorkflowSpec
    )
    assert deciding_parameters(spec) == {"run"}
    other = msgspec.convert({"workflowTemplateRef": {"name": "t"}}, argo.WorkflowSpec)
    assert deciding_parameters(other) is None
    listed = msgspec.convert({"templates": [{"name": "{{=toJson(workflow.parameters)}}"}]}, argo.WorkflowSpec)
    assert deciding_parameters(listed) is None
    chosen = msgspec.convert({"arguments": {"parameters": [{"name": "x", "enum": ["1"]}]}}, argo.WorkflowSpec)
    assert deciding_parameters(chosen) == {"x"}
