"""Expressions as trees."""

from __future__ import annotations

from msgspec import Struct


class Node(Struct, frozen=True, kw_only=True, tag=True):
    """A part of an expression; `at` is its offset in the text."""

    at: int = 0


class Literal(Node, frozen=True, kw_only=True):
    """A number, text, bytes, true, false or nil."""

    value: object


class Name(Node, frozen=True, kw_only=True):
    """A name of the environment, or one that `let` gave."""

    name: str


class Pointer(Node, frozen=True, kw_only=True):
    """`#`, `#acc`, `#index`: what a predicate is about."""

    name: str = ""


class Member(Node, frozen=True, kw_only=True):
    """`base.name`, `base[key]`, `base?.name`."""

    base: Node
    key: Node
    optional: bool = False


class Slice(Node, frozen=True, kw_only=True):
    """`base[first:last]`."""

    base: Node
    first: Node | None
    last: Node | None


class Unary(Node, frozen=True, kw_only=True):
    """`-x`, `!x`."""

    operator: str
    operand: Node


class Binary(Node, frozen=True, kw_only=True):
    """`x + y`."""

    operator: str
    left: Node
    right: Node


class Condition(Node, frozen=True, kw_only=True):
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node


class Call(Node, frozen=True, kw_only=True):
    """A function of the language, of the environment (`sprig.upper`), or a method."""

    function: Node
    arguments: tuple[Node, ...]


class Predicate(Node, frozen=True, kw_only=True):
    """The body that `filter` and its like evaluate for each item."""

    body: Node


class Let(Node, frozen=True, kw_only=True):
    """`let name = value; body`."""

    name: str
    value: Node
    body: Node


class Array(Node, frozen=True, kw_only=True):
    """`[a, b]`."""

    items: tuple[Node, ...]


class Map(Node, frozen=True, kw_only=True):
    """`{a: b}`."""

    entries: tuple[tuple[Node, Node], ...]
