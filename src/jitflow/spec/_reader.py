"""Trees to manifest values, guided by the generated types.

One walk does what Go's strict decoding does: unknown and doubled fields are problems, nulls count as absent, scalars are
written out as text where the field is a string (`coerce`), and the content of `withItems` is taken as it is.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, cast, get_args, get_origin

import msgspec

from jitflow.model import argo
from jitflow.model.problems import Problem, Refused
from jitflow.spec._nodes import LIST, MAP, MAX_NODES, SCALAR, Node, key_text
from jitflow.spec._scalars import as_text, decimal_text
from jitflow.spec.places import Path, Places

MAX_PROBLEMS: Final = 50
_LARGEST: Final = 2**63
"""Whole numbers from here on are none, as in Go; where anything may stand they become numbers with a fraction."""
_ABSENT: Final = object()
_NEVER_EMPTY: Final = {("Parameter", "enum"): "should contain at least one value"}
"""Lists that may be left out, but not be empty."""
_OLDER: Final = {
    "CronWorkflowSpec": {"schedule": "schedules"},
    "Synchronization": {"mutex": "mutexes", "semaphore": "semaphores"},
}
"""Fields of Argo 3 that Argo 4 made lists: they are read as lists of one."""
_GONE: Final = {"WorkflowSpec": {"podPriority"}, "Template": {"priority"}}
"""Fields of Argo 3 that Argo 4 no longer knows and that mean nothing here: priorities of Kubernetes' pods."""
_SHOWN = {MAP: "an object", LIST: "a list"}

T = TypeVar("T", bound=argo.Base)
Read = Callable[["Reader", Node, Path], Any]
"""Gives the plain value of a node, or `_ABSENT` for a null (or after a problem)."""


class Reader:
    """Reads one document and collects what is wrong with it."""

    def __init__(self, places: Places, *, coerce: bool, lenient: bool = False) -> None:
        """Start with no problems; `coerce`: scalars may stand for strings, as in YAML; `lenient`: unknown fields are left out."""
        self.places = places
        self.coerce = coerce
        self.lenient = lenient
        self.problems: list[Problem] = []
        self.budget = MAX_NODES

    def read(self, root: Node, kind: type[T]) -> T:
        """Return the manifest.

        Raises:
            Refused: with every problem found.
        """
        plain = _plan(kind)(self, root, ())
        if self.problems:
            raise Refused(self.problems)
        try:
            return msgspec.convert(plain, kind)
        except msgspec.ValidationError as error:  # pragma: no cover - the walk checks the same types
            raise Refused(Problem(message=str(error), place=self.places.at(()))) from error

    def wrong(self, path: Path, message: str, remedy: str = "", *, key: bool = False) -> Any:
        """Note a problem at a part (or at the key that names it); return `_ABSENT`."""
        place = self.places.of_key(path) if key else self.places.at(path)
        self.problems.append(Problem(message=message, place=place, remedy=remedy))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Refused(self.problems)
        return _ABSENT

    def spend(self, path: Path) -> None:
        """Count a visited value: aliases are shared in the tree but not in the manifest."""
        self.budget -= 1
        if self.budget < 0:
            problem = Problem(
                message=f"more than {MAX_NODES} values after aliases are replaced",
                place=self.places.at(path[:6]),
                remedy="use fewer aliases",
                code="too_large",
            )
            raise Refused([problem])


def _name(node: Node) -> str:
    """Return what stands at a node, for messages."""
    if node.is_collection:
        return _SHOWN[node.kind]
    return f"`{str(node.value)[:40]}`" if not isinstance(node.value, bool) else f"`{str(node.value).lower()}`"


@lru_cache(maxsize=1024)
def _plan(kind: Any) -> Read:
    """Return the function that reads a type."""
    if kind is Any:
        return _read_any
    origin = get_origin(kind)
    if origin is Annotated:
        return _read_any_string
    if origin in {Union, UnionType}:
        return _plan_union(tuple(part for part in get_args(kind) if part is not NoneType))
    if origin is tuple:
        return _plan_list(_plan(get_args(kind)[0]))
    if origin is dict:
        return _plan_dict(get_args(kind)[1])
    if isinstance(kind, type) and issubclass(kind, argo.Base):
        return _plan_struct(kind)
    return cast("dict[Any, Read]", {str: _read_str, int: _read_int, float: _read_float, bool: _read_bool})[kind]


def _plan_union(parts: tuple[Any, ...]) -> Read:
    if len(parts) == 1:
        return _plan(parts[0])
    if get_origin(parts[0]) is Annotated:
        return _read_any_string
    takes_float = float in parts

    def read(reader: Reader, node: Node, path: Path) -> Any:
        reader.spend(path)
        value = node.value
        if value is None and node.kind == SCALAR:
            return _ABSENT
        if isinstance(value, int | float) and abs(value) >= _LARGEST:
            return reader.wrong(path, f"{_name(node)} is too large a number")
        if node.kind == SCALAR and isinstance(value, str | int) and not isinstance(value, bool):
            return value
        if node.kind == SCALAR and isinstance(value, float) and math.isfinite(value):
            if value.is_integer():
                return int(value)
            if takes_float:
                return value
        return reader.wrong(path, f"expected a number or a string, got {_name(node)}")

    return read


def _plan_list(item: Read) -> Read:
    def read(reader: Reader, node: Node, path: Path) -> Any:
        reader.spend(path)
        if node.kind == SCALAR and node.value is None:
            return _ABSENT
        if node.kind != LIST:
            return reader.wrong(path, f"expected list, got {_name(node)}", "write its entries with `- `")
        result: list[Any] = []
        for index, inner in enumerate(node.value):
            here = (*path, index)
            if inner.kind == SCALAR and inner.value is None and item is _read_str:
                result.append("")
                continue
            if inner.kind == SCALAR and inner.value is None and item is not _read_any:
                reader.wrong(here, "expected a value, got null", "remove the empty entry")
                continue
            value = item(reader, inner, here)
            if value is not _ABSENT:
                result.append(value)
        return result

    return read


def _entries(reader: Reader, node: Node, path: Path) -> dict[str, Node]:
    """Return a mapping's entries; keys that are doubled or no scalars are problems."""
    result: dict[str, Node] = {}
    for key, value in node.pairs():
        if key.is_collection:
            reader.wrong(path, "a key must be a scalar", f"see line {key.line}")
            continue
        name = key_text(key)
        if name in result:
            place = msgspec.structs.replace(reader.places.of_key((*path, name)), line=key.line or None, column=key.column or None)
            reader.problems.append(
                Problem(
                    message=f"the key '{name}' is there twice",
                    place=place,
                    remedy="remove one of them",
                )
            )
            continue
        result[name] = value
    return result


def _plan_dict(inner: Any) -> Read:
    item = _plan(inner)
    keeps_null = inner is Any

    def read(reader: Reader, node: Node, path: Path) -> Any:
        reader.spend(path)
        if node.kind == SCALAR and node.value is None:
            return _ABSENT
        if node.kind != MAP:
            return reader.wrong(path, f"expected an object, got {_name(node)}")
        result: dict[str, Any] = {}
        for name, value_node in _entries(reader, node, path).items():
            value = item(reader, value_node, (*path, name))
            if value is not _ABSENT or keeps_null:
                result[name] = None if value is _ABSENT else value
        return result

    return read


def _plan_struct(kind: type[argo.Base]) -> Read:
    fields = msgspec.structs.fields(kind)
    # Types refer to one another in circles, so the readers of a type's fields are looked up when it is first read.
    types = {field.encode_name: field.type for field in fields}
    required = [field.encode_name for field in fields if field.required]
    readers: dict[str, Read] = {}
    older, gone = _OLDER.get(kind.__name__, {}), _GONE.get(kind.__name__, set[str]())
    types |= {name: get_args(types[newer])[0] for name, newer in older.items()}

    def read(reader: Reader, node: Node, path: Path) -> Any:
        reader.spend(path)
        if node.kind != MAP:
            return _no_object(reader, node, path)
        result: dict[str, Any] = {}
        before = len(reader.problems)
        for name, value_node in _entries(reader, node, path).items():
            here = (*path, name)
            field = readers.get(name)
            if field is None:
                if name not in types:
                    if name not in gone and not reader.lenient:
                        reader.wrong(here, f'unknown field "{name}"', _suggestion(name, types, node), key=True)
                    continue
                field = readers[name] = _plan_field(kind, name, types[name])
            value = field(reader, value_node, here)
            if value is not _ABSENT:
                result[name] = value
        _listed(result, older)
        for name in required:
            if name not in result and len(reader.problems) == before:
                reader.wrong(path, f"{name} is required", f"add `{name}:`")
        return result

    return read


def _no_object(reader: Reader, node: Node, path: Path) -> Any:
    """Take a null for nothing, and anything else for a problem."""
    if node.kind == SCALAR and node.value is None:
        return _ABSENT
    return reader.wrong(path, f"expected an object, got {_name(node)}")


def _listed(result: dict[str, Any], older: dict[str, str]) -> None:
    """Move what stands in an older field to the list that took its place; an empty text is nothing."""
    for name in older.keys() & result.keys():
        single = result.pop(name)
        result[older[name]] = [*result.get(older[name], ()), *([single] if single != "" else [])]


def _plan_field(kind: type[argo.Base], name: str, declared: Any) -> Read:
    read = _plan(declared)
    if (kind.__name__, name) not in _NEVER_EMPTY:
        return read

    def read_some(reader: Reader, node: Node, path: Path) -> Any:
        value = read(reader, node, path)
        if value == []:
            remedy = "list the values, or remove it"
            return reader.wrong(path, f"{name} {_NEVER_EMPTY[kind.__name__, name]}", remedy, key=True)
        return value

    return read_some


def _suggestion(name: str, types: dict[str, Any], node: Node) -> str:
    near = difflib.get_close_matches(name, types, n=1, cutoff=0.6)
    folded = {known.lower(): known for known in types}
    close = folded.get(name.lower()) or (near[0] if near else "")
    if close:
        return f'did you mean "{close}"?'
    known = ", ".join(sorted(types)) if len(types) <= 12 else ""
    return f"known here: {known}" if known and node.value else "remove it, or check the indentation"


def _scalar(reader: Reader, node: Node, path: Path, wanted: str) -> Any:
    """Return a scalar's value; a null is absent, anything else a problem."""
    reader.spend(path)
    if node.kind != SCALAR:
        return reader.wrong(path, f"expected {wanted}, got {_name(node)}")
    return _ABSENT if node.value is None else node.value


def _read_str(reader: Reader, node: Node, path: Path) -> Any:
    value = _scalar(reader, node, path, "a string")
    if value is _ABSENT or isinstance(value, str):
        return value
    if reader.coerce:
        return as_text(value)
    return reader.wrong(path, f"expected a string, got {_name(node)}", "put it in quotes")


def _read_any_string(reader: Reader, node: Node, path: Path) -> Any:
    """Read what Go reads as AnyString: numbers and truth values become their JSON text."""
    value = _scalar(reader, node, path, "a string, a number or a truth value")
    if value is _ABSENT or isinstance(value, str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return reader.wrong(path, f"{_name(node)} is not a number that JSON has", "put it in quotes")
        return decimal_text(value)
    return as_text(value)


def _read_int(reader: Reader, node: Node, path: Path) -> Any:
    value = _scalar(reader, node, path, "a whole number")
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if value is _ABSENT or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63):
        return value
    return reader.wrong(path, f"expected a whole number, got {_name(node)}")


def _read_float(reader: Reader, node: Node, path: Path) -> Any:
    value = _scalar(reader, node, path, "a number")
    if value is _ABSENT or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300):
        return value
    return reader.wrong(path, f"expected a number, got {_name(node)}")


def _read_bool(reader: Reader, node: Node, path: Path) -> Any:
    value = _scalar(reader, node, path, "true or false")
    if value is _ABSENT or isinstance(value, bool):
        return value
    return reader.wrong(path, f"expected true or false, got {_name(node)}")


def _read_any(reader: Reader, node: Node, path: Path) -> Any:
    """Read any JSON value as it is: nulls stay, whole numbers lose a needless fraction."""
    reader.spend(path)
    if node.kind == MAP:
        return {name: _read_any(reader, inner, (*path, name)) for name, inner in _entries(reader, node, path).items()}
    if node.kind == LIST:
        return [_read_any(reader, inner, (*path, index)) for index, inner in enumerate(node.value)]
    value = node.value
    if isinstance(value, int) and abs(value) >= _LARGEST:
        value = float(value) if abs(value) < 10**300 else math.inf
    if isinstance(value, float):
        if not math.isfinite(value):
            reader.wrong(path, f"{_name(node)} is not a number that JSON has", "put it in quotes")
            return None
        return int(value) if value.is_integer() and abs(value) < _LARGEST else value
    return value
