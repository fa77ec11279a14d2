"""Expressions in a workflow: what their names stand for, and what their values become."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from jitflow.expr import environment
from jitflow.expr.lang import LangError, compile_expression, to_json
from jitflow.machine.names import item_text
from jitflow.machine.problems import Absent, Problem
from jitflow.model import argo

ROOTS = frozenset({"inputs", "outputs", "steps", "tasks", "workflow", "pod", "node", "lastRetry"})


class Names(Protocol):
    """A place's tags, as a `Scope` looks them up."""

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def item(self) -> str:
        """The loop's item as JSON, empty when there is none."""
        ...

    def __call__(self, tag: str, /) -> str | None:
        """Return a tag's value."""
        ...

    def artifact(self, reference: str, /) -> argo.Artifact | None:
        """Return the artifact that a name stands for."""
        ...


class _Dotted:
    """`inputs.parameters` on the way to `inputs.parameters.x`."""

    __slots__ = ("_name", "_names")

    def __init__(self, names: Names, name: str) -> None:
        self._names = names
        self._name = name

    def member(self, name: str) -> Any:
        return _Dotted(self._names, f"{self._name}.{name}")

    def value(self) -> Any:
        parts = self._name.split(".")
        if len(parts) >= 3 and parts[-2] == "artifacts" and parts[-1] != "path":
            try:
                return self._names.artifact(self._name)
            except Absent:
                return None
        try:
            found = self._names(self._name)
        except Absent:
            return None
        except Problem:
            found = None
        if found is None:
            raise KeyError(self._name)
        return found


class Environment(Mapping[str, Any]):
    """The names of one place, as expr-lang sees them: looked up one by one, as an expression asks for them."""

    def __init__(self, names: Names) -> None:
        """Look at a place."""
        self._names = names
        self._functions = environment.at(names.now)

    def __getitem__(self, name: str) -> Any:
        """Return a name's value or what lies below it."""
        if name in self._functions:
            return self._functions[name]
        if name == "item" and self._names.item:
            return _item(self._names.item)
        if name in ROOTS:
            return _Dotted(self._names, name)
        found = self._names(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a name."""
        try:
            self[str(name)]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """Yield the names that are always there."""
        yield from self._functions

    def __len__(self) -> int:
        """Return how many names are always there."""
        return len(self._functions)


def _item(text: str) -> Any:
    """Return a loop's item as expressions see it: a map of texts, or a text, as the simple tags `{{item.x}}` and `{{item}}`."""
    if not text.startswith("{"):
        return item_text(text)
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    return {name: item_text(bytes(raw).decode()) for name, raw in fields.items()}


def reads(text: str, name: str) -> bool:
    """Return whether an expression reads a name or anything below it; what is no expression reads nothing."""
    try:
        found = compile_expression(text).names
    except LangError:
        return False
    return any(read in {name, "$env"} or read.startswith(f"{name}.") for read in found)


class EarlyValues:
    """The values that a workflow's own arguments may refer to, before anything runs; `now` is when it was created."""

    item = ""

    def __init__(self, values: Mapping[str, str], now: float) -> None:
        """Hold the values."""
        self._values = values
        self.now = now

    def __call__(self, tag: str) -> str | None:
        """Return a tag's value, None when it is not known (yet)."""
        return rendered(tag[1:], self) if tag.startswith("=") else self._values.get(tag)

    def artifact(self, reference: str, /) -> argo.Artifact | None:
        """Return nothing: there is no artifact yet."""
        del reference


def value_of(text: str, names: Names) -> Any:
    """Return an expression's value.

    Raises:
        Problem: it cannot be read or evaluated.
    """
    try:
        return compile_expression(text).evaluate(Environment(names))
    except LangError as error:
        raise Problem(f"failed to evaluate expression: {error}") from error


def truth(text: str, names: Names) -> bool:
    """Return whether a condition holds.

    Raises:
        Problem: it cannot be evaluated, or its value is no bool.
    """
    value = value_of(text, names)
    if not isinstance(value, bool):
        raise Problem(f"unable to cast expression result '{as_text(value)}' to bool")
    return value


def rendered(text: str, names: Names) -> str | None:
    """Return what an expression tag is replaced by, None if it stays as it is, for it cannot be evaluated (yet)."""
    try:
        value = compile_expression(text).evaluate(Environment(names))
        return None if value is None else as_text(value)
    except (LangError, Problem):
        return None


def as_text(value: Any) -> str:
    """Return a value as a parameter holds it: texts as they are, all else as JSON.

    Raises:
        Problem: JSON has no such value (a function).
    """
    try:
        return value if isinstance(value, str) else to_json(value)
    except LangError as error:
        raise Problem(f"failed to evaluate expression: {error}") from error
