"""Manifests that are known are not read again, and never taken for valid when something they need has changed."""

import asyncio
from typing import Any

import msgspec
import pytest

from jitflow.app.manifests import MAX_KNOWN_BYTES, KnownManifests, read_workflow
from jitflow.model import argo
from jitflow.model.problems import Refused
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


@pytest.mark.parametrize("change", [{}, {"entrypoint": "no"}, {"nonsense": 1}, {"templates": [{"name": 7}]}, {"priority": 2**70}])
def test_only_arguments_are_read_anew_and_what_comes_of_it_is_the_same(change: dict[str, Any]):
    """The rest is known from the first manifest on: each is what reading all of it gives, or refused with the same words."""

    def outcome(body: dict[str, Any] | bytes) -> object:
        try:
            return read_workflow(body, namespace="a")
        except Refused as error:
            return str(error)

    for parameters in PARAMETERS:
        manifest = {"metadata": {"name": "one"}, "spec": {**SPEC, **change, "arguments": {"parameters": parameters}}}
        whole = outcome(manifest)
        for _ in range(2):
            assert outcome(msgspec.json.encode(manifest)) == whole


def test_what_only_differs_in_its_arguments_shares_its_templates():
    first, second = (
        read_workflow(msgspec.json.encode({"metadata": {"name": "one"}, "spec": {**SPEC, "arguments": {"parameters": each}}}))
        for each in PARAMETERS[:2]
    )
    assert first.spec.templates is second.spec.templates
    assert first.spec.arguments != second.spec.arguments
