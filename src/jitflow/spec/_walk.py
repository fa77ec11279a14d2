"""Walking the values of a manifest without naming its fields."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from jitflow.spec.places import Path


@lru_cache(maxsize=512)
def fields_of(kind: type[Struct]) -> tuple[tuple[str, str], ...]:
    """Return attribute and JSON name of each field of a type."""
    return tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind))


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every string in a value, keys of mappings included, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Struct):
        for attribute, name in fields_of(type(value)):
            inner = getattr(value, attribute)
            if inner is not None and inner != ():
                yield from texts(inner, (*path, name))
    elif isinstance(value, dict):
        for key, inner in value.items():  # type: ignore[reportUnknownVariableType]
            yield (*path, str(key)), str(key)  # type: ignore[reportUnknownArgumentType]
            yield from texts(inner, (*path, str(key)))  # type: ignore[reportUnknownArgumentType]
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):  # type: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from texts(inner, (*path, index))


def tagged_texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the strings of a value that hold a tag. Values without one cost one look at their JSON."""
    if isinstance(value, str):
        if "{{" in value:
            yield path, value
    elif b"{{" in msgspec.json.encode(value):
        for here, text in texts(value, path):
            if "{{" in text:
                yield here, text
