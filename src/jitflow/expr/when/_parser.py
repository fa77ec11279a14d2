"""Tokens of a `when` to a tree: precedence climbing, operators of one rank bind to the left."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from jitflow.expr.when._errors import invalid
from jitflow.expr.when._lexer import Kind, Token, tokenize

MAX_DEPTH: Final = 100
"""Deepest nesting of parentheses, prefixes and conditions."""


class Literal(Struct, frozen=True):
    """A number, a truth value or a string."""

    value: float | bool | str
    offset: int


class Name(Struct, frozen=True):
    """A dotted word, `a.b`: no such thing can be looked up in `when`."""

    name: str
    offset: int


class Unary(Struct, frozen=True):
    """`!`, `-` or `~` and its operand."""

    operator: str
    operand: Expression
    offset: int


class Binary(Struct, frozen=True):
    """An operator with two operands."""

    operator: str
    left: Expression
    right: Expression
    offset: int


class Condition(Struct, frozen=True):
    """`test ? then : otherwise`; without the last part the value of a false test is nothing."""

    test: Expression
    then: Expression
    otherwise: Expression | None
    offset: int


class Items(Struct, frozen=True):
    """A list, `(a, b)`."""

    items: tuple[Expression, ...]
    offset: int


Expression = Literal | Name | Unary | Binary | Condition | Items

RANK: Final[dict[str, int]] = {
    "||": 1, "&&": 2,
    **dict.fromkeys(("==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"), 3),
    **dict.fromkeys(("&", "|", "^"), 4), **dict.fromkeys(("<<", ">>"), 5),
    **dict.fromkeys(("+", "-"), 6), **dict.fromkeys(("*", "/", "%"), 7), "**": 8,
}  # fmt: skip


def parse(text: str, *, bare_words: bool = True) -> Expression:
    """Return the tree of an expression.

    Args:
        text: the expression.
        bare_words: whether a word without quotes is a text; else it is a name, which nothing is known by.

    Raises:
        WhenError: not an expression, or one nested deeper than `MAX_DEPTH`.
    """
    return _Parser(text, tokenize(text), bare_words=bare_words).run()


class _Parser:
    def __init__(self, text: str, tokens: tuple[Token, ...], *, bare_words: bool) -> None:
        self._text = text
        self._bare_words = bare_words
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def run(self) -> Expression:
        """Parse everything."""
        tree = self._condition()
        token = self._peek()
        if token is None:
            return tree
        if token.kind is Kind.SEPARATOR:
            return self._list(tree)
        raise self._unexpected(token)

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, value: str, *kinds: Kind) -> Token | None:
        """Consume the next token when it is this symbol."""
        token = self._peek()
        if token is None or token.kind not in kinds or token.value != value:
            return None
        self._at += 1
        return token

    def _unexpected(self, token: Token) -> Exception:
        if token.kind is Kind.CLAUSE_CLOSE:
            return invalid(self._text, "Unbalanced parenthesis", token.offset)
        return invalid(self._text, f"Unexpected token '{token.value}'", token.offset)

    def _list(self, first: Expression) -> Expression:
        items = [first]
        while self._take(",", Kind.SEPARATOR):
            items.append(self._condition())
        token = self._peek()
        if token is not None and token.kind is not Kind.CLAUSE_CLOSE:
            raise self._unexpected(token)
        return Items(tuple(items), items[0].offset)

    def _condition(self) -> Expression:
        self._enter()
        test = self._binary(1)
        if (mark := self._take("??", Kind.TERNARY)) is not None:
            test = Binary("??", test, self._condition(), mark.offset)
        elif (mark := self._take("?", Kind.TERNARY)) is not None:
            then = self._condition()
            otherwise = self._condition() if self._take(":", Kind.TERNARY) else None
            test = Condition(test, then, otherwise, mark.offset)
        self._depth -= 1
        return test

    def _binary(self, rank: int) -> Expression:
        left = self._unary()
        while (token := self._peek()) is not None:
            if token.kind not in {Kind.LOGICAL, Kind.COMPARATOR, Kind.MODIFIER}:
                break
            operator = str(token.value)
            found = RANK[operator]
            if found < rank:
                break
            self._at += 1
            self._enter()
            left = Binary(operator, left, self._binary(found + 1), token.offset)
            self._depth -= 1
        return left

    def _unary(self) -> Expression:
        token = self._peek()
        if token is None:
            raise invalid(self._text, "Unexpected end of expression", len(self._text))
        self._at += 1
        if token.kind is Kind.PREFIX:
            self._enter()
            operand = self._unary()
            self._depth -= 1
            return Unary(str(token.value), operand, token.offset)
        if token.kind is Kind.CLAUSE:
            return self._clause(token)
        if token.kind is Kind.ACCESSOR or (token.kind is Kind.VARIABLE and not self._bare_words):
            return Name(str(token.value), token.offset)
        if token.kind in {Kind.NUMERIC, Kind.BOOLEAN, Kind.STRING, Kind.VARIABLE}:
            return Literal(token.value, token.offset)
        raise self._unexpected(token)

    def _clause(self, token: Token) -> Expression:
        """Parse what stands in parentheses. One value in parentheses is that value."""
        inner = self._condition()
        following = self._peek()
        if following is not None and following.kind is Kind.SEPARATOR:
            inner = self._list(inner)
        if self._take(")", Kind.CLAUSE_CLOSE) is None:
            raise invalid(self._text, "Unbalanced parenthesis", token.offset)
        return inner

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise invalid(self._text, f"nested deeper than {MAX_DEPTH}", self._tokens[self._at - 1].offset)
