"""What is wrong with the form of a body, in words that also say what could be written."""

import re
from typing import Any, Final

import msgspec
from msgspec import inspect

_PLACE: Final = re.compile(r" - at `\$([^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_ENUM: Final = "Invalid enum value"
_UNKNOWN: Final = "Object contains unknown field"
_MOST: Final = 20
"""So many choices are told."""


def form_fault(error: msgspec.ValidationError, kind: Any) -> str:
    """Return what does not fit, and, of a field with a few choices or none of that name, which there are."""
    text = str(error)
    if not text.startswith((_ENUM, _UNKNOWN)):
        return text
    place = _PLACE.search(text)
    path = _STEP.findall(place[1]) if place else []
    known = inspect.type_info(kind)
    choices = _choices(known, path) if text.startswith(_ENUM) else _fields(known, path)
    return f"{text}; write {', '.join(choices)}" if 0 < len(choices) <= _MOST else text


def _fields(kind: inspect.Type, path: list[tuple[str, str]]) -> list[str]:
    """Return the names of the fields at a place of a type, those in them after a dot; nothing if that cannot be told."""
    if isinstance(kind, inspect.Metadata):
        return _fields(kind.type, path)
    if isinstance(kind, inspect.UnionType):
        return [name for one in kind.types for name in _fields(one, path)]
    if path:
        return [name for one in _inside(kind, path[0][0]) for name in _fields(one, path[1:])]
    if not isinstance(kind, inspect.StructType):
        return []
    names: list[str] = []
    for field in kind.fields:
        inner = _fields(field.type, []) if isinstance(field.type, inspect.StructType) else []
        names += [f"{field.encode_name}.{name}" for name in inner] or [field.encode_name]
    return names


def _inside(kind: inspect.Type, name: str) -> list[inspect.Type]:
    """Return the types of what has a name in a type, or of what is in it."""
    if isinstance(kind, inspect.StructType):
        return [field.type for field in kind.fields if field.encode_name == name]
    if isinstance(kind, inspect.DictType):
        return [kind.value_type]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        return [kind.item_type]
    return []


def _choices(kind: inspect.Type, path: list[tuple[str, str]]) -> list[str]:
    """Return what may be written at a place of a type, nothing if that cannot be told."""
    if isinstance(kind, inspect.Metadata):
        return _choices(kind.type, path)
    if isinstance(kind, inspect.UnionType):
        return [choice for one in kind.types for choice in _choices(one, path)]
    if not path:
        if isinstance(kind, inspect.LiteralType):
            return [str(value) for value in kind.values]
        return [str(one.value) for one in kind.cls] if isinstance(kind, inspect.EnumType) else []
    return [choice for one in _inside(kind, path[0][0]) for choice in _choices(one, path[1:])]
