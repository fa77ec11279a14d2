"""What is wrong with the form of a body, in words that also say what could be written."""

import re
from typing import Any, Final

import msgspec
from msgspec import inspect

_PLACE: Final = re.compile(r" - at `\$([^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_ENUM: Final = "Invalid enum value"
_MOST: Final = 20
"""So many choices are told."""


def form_fault(error: msgspec.ValidationError, kind: Any) -> str:
    """Return what does not fit, and, of a field with a few choices, which there are."""
    text = str(error)
    if not text.startswith(_ENUM):
        return text
    place = _PLACE.search(text)
    choices = _choices(inspect.type_info(kind), _STEP.findall(place[1]) if place else [])
    return f"{text}; write {', '.join(choices)}" if 0 < len(choices) <= _MOST else text


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
    (name, _), rest = path[0], path[1:]
    if isinstance(kind, inspect.StructType):
        return [choice for field in kind.fields if field.encode_name == name for choice in _choices(field.type, rest)]
    if isinstance(kind, inspect.DictType):
        return _choices(kind.value_type, rest)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        return _choices(kind.item_type, rest)
    return []
