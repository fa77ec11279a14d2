"""The tree of an expression. `offset` is the place in the text that messages point at."""

from typing import Any

from msgspec import Struct


class Node(Struct, frozen=True):
    """A part of an expression."""

    offset: int


class Constant(Node, frozen=True):
    """A literal."""

    value: Any


class Name(Node, frozen=True):
    """A name of the environment, or of a variable that `let` made."""

    name: str


class Pointer(Node, frozen=True):
    """`#`, `#index`, `#acc`: what the predicate of a function looks at."""

    name: str


class Unary(Node, frozen=True):
    """`-x`, `+x`, `!x`."""

    operator: str
    operand: Node


class Binary(Node, frozen=True):
    """`left operator right`; long chains lean to the left."""

    operator: str
    left: Node
    right: Node


class Member(Node, frozen=True):
    """`node.property`, `node[property]`; `optional`: nil when the node is nil."""

    node: Node
    property: Node
    optional: bool = False


class Chain(Node, frozen=True):
    """Where an optional member inside may break off to nil."""

    node: Node


class Slice(Node, frozen=True):
    """`node[low:high]`."""

    node: Node
    low: Node | None
    high: Node | None


class Call(Node, frozen=True):
    """A call of a function of the environment, or of a method."""

    callee: Node
    arguments: tuple[Node, ...]


class Builtin(Node, frozen=True):
    """A call of a function of the language. `predicate`: the last argument but those after it is a `Predicate`."""

    name: str
    arguments: tuple[Node, ...]


class Predicate(Node, frozen=True):
    """The part of a call that is evaluated for each element."""

    node: Node


class Condition(Node, frozen=True):
    """`test ? then : otherwise`, `if test {then} else {otherwise}`."""

    test: Node
    then: Node
    otherwise: Node


class Let(Node, frozen=True):
    """`let name = value; body`."""

    name: str
    value: Node
    body: Node


class Sequence(Node, frozen=True):
    """`a; b`: the value of the last one."""

    nodes: tuple[Node, ...]


class Array(Node, frozen=True):
    """`[a, b]`."""

    items: tuple[Node, ...]


class Map(Node, frozen=True):
    """`{a: 1, "b": 2, (c): 3}`."""

    pairs: tuple[tuple[Node, Node], ...]
