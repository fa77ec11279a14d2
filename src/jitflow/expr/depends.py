"""The language of `depends`: `A.Succeeded && (B.Failed || !C)`.

A bare task name means what `dependencies` means: the task Succeeded, was Skipped or is Daemoned, or it ended in a phase that its
own `continueOn` forgives. Names may hold dashes: `a-b` is one name.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct

Lookup = Callable[[str, str], bool]
"""Tells whether a task has a result: `lookup("A", "Succeeded")`."""

RESULTS: Final = (
    "Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed",
)  # fmt: skip
ITEM_RESULTS: Final = frozenset({"AnySucceeded", "AllFailed"})
"""Results that only a task with `withItems`, `withParam` or `withSequence` has."""
DEFAULT_RESULTS: Final = ("Succeeded", "Skipped", "Daemoned")

MAX_TEXT: Final = 64 * 1024
MAX_DEPTH: Final = 100

_TOKEN = re.compile(r"\s*(?:(&&|\|\||[!()])|([A-Za-z0-9_][-A-Za-z0-9_]*)(?:\.([A-Za-z0-9_]+))?)")


class DependsError(ValueError):
    """Text that is not a `depends`; `offset` counts characters from its start."""

    def __init__(self, message: str, *, offset: int) -> None:
        """Hold the message and the place."""
        self.offset = offset
        super().__init__(message)


class Result(Struct, frozen=True):
    """A task and the result asked of it; an empty result is a bare name."""

    task: str
    result: str = ""


class Not(Struct, frozen=True):
    """The opposite of its operand."""

    operand: "Node"


class All(Struct, frozen=True):
    """True when every part is."""

    parts: tuple["Node", ...]


class AnyOf(Struct, frozen=True):
    """True when one part is."""

    parts: tuple["Node", ...]


Node = Result | Not | All | AnyOf


class Depends(Struct, frozen=True):
    """A parsed `depends`. An empty one holds always."""

    node: Node = All(())

    def names(self) -> tuple[str, ...]:
        """Return the tasks it names, each once, in the order of the text."""
        return tuple(dict.fromkeys(result.task for result in _results(self.node)))

    def results(self) -> tuple[Result, ...]:
        """Return the results it asks for, each once, in the order of the text."""
        return tuple(dict.fromkeys(_results(self.node)))

    def evaluate(self, lookup: Lookup, forgiven: Mapping[str, Iterable[str]] | None = None) -> bool:
        """Return whether it holds.

        Args:
            lookup: tells a task's result.
            forgiven: for tasks with `continueOn`: the results (`Failed`, `Errored`) that a bare name accepts besides.
        """
        return _holds(self.node, lookup, forgiven or {})


def parse(text: str) -> Depends:
    """Return the parsed text; a blank one holds always.

    Raises:
        DependsError: not a `depends`, or an unknown result.
    """
    if not text.strip():
        return Depends()
    if len(text) > MAX_TEXT:
        raise DependsError(f"depends is longer than {MAX_TEXT} characters", offset=MAX_TEXT)
    return Depends(_Parser(text).run())


def from_dependencies(names: Iterable[str]) -> Depends:
    """Return what a list of `dependencies` means: every one as a bare name."""
    return Depends(All(tuple(Result(name) for name in names)))


def _results(node: Node) -> list[Result]:
    match node:
        case Result():
            return [node]
        case Not():
            return _results(node.operand)
        case All() | AnyOf():
            return [result for part in node.parts for result in _results(part)]


def _holds(node: Node, lookup: Lookup, forgiven: Mapping[str, Iterable[str]]) -> bool:
    match node:
        case Result(task, ""):
            return any(lookup(task, result) for result in (*DEFAULT_RESULTS, *forgiven.get(task, ())))
        case Result(task, result):
            return lookup(task, result)
        case Not():
            return not _holds(node.operand, lookup, forgiven)
        case All():
            return all(_holds(part, lookup, forgiven) for part in node.parts)
        case AnyOf():
            return any(_holds(part, lookup, forgiven) for part in node.parts)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize()
        self._at = 0
        self._depth = 0

    def run(self) -> Node:
        """Parse everything."""
        node = self._any_of()
        if self._at < len(self._tokens):
            raise self._unexpected()
        return node

    def _tokenize(self) -> list[tuple[str | Result, int]]:
        tokens: list[tuple[str | Result, int]] = []
        at, end = 0, len(self._text.rstrip())
        while at < end:
            found = _TOKEN.match(self._text, at)
            if found is None:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise DependsError(f"unexpected '{self._text[at]}' in depends '{self._text}'", offset=at)
            sign, task, result = found.groups()
            if result is not None and result not in RESULTS:
                raise DependsError(f"task result '{result}' for task '{task}' is invalid", offset=found.start(2))
            offset = found.start(1) if sign else found.start(2)
            tokens.append((sign or Result(task, result or ""), offset))
            at = found.end()
        return tokens

    def _take(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == sign:
            self._at += 1
            return True
        return False

    def _unexpected(self) -> DependsError:
        if self._at >= len(self._tokens):
            return DependsError(f"unexpected end of depends '{self._text}'", offset=len(self._text))
        token, offset = self._tokens[self._at]
        shown = token if isinstance(token, str) else token.task
        return DependsError(f"unexpected '{shown}' in depends '{self._text}'", offset=offset)

    def _any_of(self) -> Node:
        parts = [self._all()]
        while self._take("||"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _all(self) -> Node:
        parts = [self._unary()]
        while self._take("&&"):
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise DependsError(f"depends is nested deeper than {MAX_DEPTH}", offset=self._tokens[self._at - 1][1])
        node = self._operand()
        self._depth -= 1
        return node

    def _operand(self) -> Node:
        if self._take("!"):
            return Not(self._unary())
        if self._take("("):
            node = self._any_of()
            if not self._take(")"):
                raise self._unexpected()
            return node
        token = self._tokens[self._at][0] if self._at < len(self._tokens) else None
        if not isinstance(token, Result):
            raise self._unexpected()
        self._at += 1
        return token
