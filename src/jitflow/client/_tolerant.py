"""Reading answers of other servers: what this client does not know is left out, scalars become texts where it expects some."""

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")


def convert(value: Any, kind: type[T]) -> T:
    """Return a decoded JSON value as a type, without the fields that this does not have, with scalars as texts.

    Raises:
        msgspec.ValidationError: it does not fit all the same.
    """
    return msgspec.convert(_pruned(value, inspect.type_info(kind)), kind)


def _pruned(value: Any, kind: inspect.Type) -> Any:
    if isinstance(kind, inspect.UnionType):
        kinds = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return value if value is None or len(kinds) != 1 else _pruned(value, kinds[0])
    if isinstance(kind, inspect.StrType):
        return msgspec.json.encode(value).decode() if isinstance(value, (bool, int, float)) else value
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        return {key: _pruned(item, fields[key]) for key, item in value.items() if key in fields}
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _pruned(item, kind.value_type) for key, item in value.items()}
    if isinstance(kind, (inspect.VarTupleType, inspect.ListType)) and isinstance(value, list):
        return [_pruned(item, kind.item_type) for item in value]
    return value
