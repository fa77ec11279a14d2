"""Every operation of both OpenAPI documents has a method of the client, or is named here with the reason why not."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jitflow.client import Client
from jitflow.client._calls import Group, call, script, stream
from jitflow.client._effects import Ask, Effect, Now, Open, Request
from jitflow.model.bulk import Operation

pytestmark = pytest.mark.pure

DOCS = Path(__file__).parents[2] / "docs" / "reference"
WITHOUT = {
    "receiveWorkflowEvent": "another name of receiveArgoEvent",
    "InfoService_CollectEvent": "tells the makers of Argo's page what is clicked; the server takes it and does nothing",
    "health": "another name of readyz",
}
OLDER = "data:old"
"""Operations of the older service are called by its clients; each is another name of one that has a method."""
VARIANTS: tuple[dict[str, Any], ...] = (
    {}, {"namespace": "*"}, {"discriminator": "d"}, {"inputs": True}, {"uid": "u1"}, {"uid": "u1", "inputs": True},
    {"below": "a/b"}, *({"operation": one} for one in Operation),
)  # fmt: skip


def operations() -> dict[str, tuple[str, str]]:
    """Return method and path of each operation, by document and id."""
    found = {}
    for name in ("control", "data"):
        for path, methods in json.loads((DOCS / f"openapi-{name}.json").read_text())["paths"].items():
            for method, operation in methods.items():
                if method in {"get", "put", "post", "delete", "patch"}:
                    found[operation["operationId"] if name == "control" else f"data:{operation['operationId']}"] = (
                        method.upper(),
                        path,
                    )
    return found


def groups(client: Client) -> Iterator[Group[Any]]:
    """Yield the client and all groups below it."""
    todo: list[Group[Any]] = [client]
    while todo:
        group = todo.pop()
        yield group
        names = [name for name in dir(type(group)) if not name.startswith("_") and name not in {"url"}]
        kinds = [inspect.getattr_static(type(group), name) for name in names]
        properties = [name for name, kind in zip(names, kinds, strict=True) if not isinstance(kind, (call, script, stream))]
        values = (getattr(group, name) for name in properties)
        todo += [value for value in values if isinstance(value, Group)]


def methods(group: Group[Any]) -> Iterator[tuple[str, Any]]:
    for name in dir(type(group)):
        kind = inspect.getattr_static(type(group), name)
        if isinstance(kind, (call, script, stream)):
            yield f"{type(group).__name__}.{name}", kind


def request_of(kind: Any, group: Group[Any], variant: dict[str, Any]) -> Request | None:
    """Return the first request of a method that is called with something for each argument; None if it has no such variant."""
    parameters = list(inspect.signature(kind.build).parameters.values())[1:]
    if not variant.keys() <= {one.name for one in parameters}:
        return None
    needed = {one.name: 1 if "int" in str(one.annotation) else "x1" for one in parameters if one.default is one.empty}
    if "operation" in needed.keys() - variant.keys():
        return None
    for name in needed.keys() & {"manifest", "grants", "options", "payload", "wish", "event", "limits"}:
        needed[name] = {}
    found = kind.build(group, **needed | variant)
    if isinstance(kind, call):
        return found.request
    steps = found.script if isinstance(kind, stream) else found
    effect: Effect = next(steps)
    while not isinstance(effect, (Ask, Open)):
        assert isinstance(effect, Now), effect
        effect = steps.send(0.0)
    steps.close()
    return effect.request


def requests() -> list[tuple[str, Request]]:
    with Client("127.0.0.1:1", namespace="n1") as client:
        return [
            (name, request)
            for group in groups(client)
            for name, kind in methods(group)
            for variant in VARIANTS
            if (request := request_of(kind, group, variant)) is not None
        ]


def operation_of(request: Request, known: dict[str, tuple[str, str]]) -> str:
    """Return the operation that a request is for; of several that of the path with the fewest variables."""
    found = []
    for name, (method, path) in known.items():
        pattern = re.sub(r"\{(\w+)\}", lambda one: ".+" if one[1] == "path" else "[^/]+", path)
        if method == request.method and re.fullmatch(pattern, request.path):
            found.append((path.count("{"), name))
    return min(found)[1] if found else ""


def test_every_operation_has_a_method_and_every_method_an_operation() -> None:
    known, sent = operations(), requests()
    reached = [(name, request.name, operation_of(request, known)) for name, request in sent]
    assert [entry for entry in reached if not entry[2]] == []
    covered = {operation for _, _, operation in reached}
    missing = {one for one in known if not one.startswith(OLDER)} - covered - WITHOUT.keys()
    assert not missing, f"give jitflow.client a method for these operations, or say in WITHOUT why it has none: {sorted(missing)}"
    assert WITHOUT.keys() <= known.keys()
    assert not WITHOUT.keys() & covered


TWICE_IS_ONCE = frozenset({
    "lint", "explain", "test", "stage", "pin", "unpin", "argo", "backfill", "pause", "resume", "cancel", "make_folder", "copy",
    "refresh_inventory",
})  # fmt: skip
"""What may be sent again though it changes something: the second time changes nothing more."""


def test_what_reads_is_repeated_and_what_makes_something_new_is_not() -> None:
    for name, request in requests():
        if request.method == "GET":
            assert request.repeatable, name
        if request.method == "POST" and request.repeatable:
            assert name.rpartition(".")[2] in TWICE_IS_ONCE, name


def test_the_reference_of_the_client_is_up_to_date() -> None:
    from jitflow.client import _reference

    assert (DOCS / "python-client.md").read_text() == _reference.document(), "make generate"
