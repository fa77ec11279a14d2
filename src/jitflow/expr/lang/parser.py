"""Tokens to a tree: operator precedence climbing."""

import math
from typing import Final

from jitflow.expr.lang import nodes
from jitflow.expr.lang.lexer import WORDS, Kind, Token, tokenize
from jitflow.expr.lang.nodes import Node
from jitflow.expr.lang.problems import LangError
from jitflow.expr.lang.signatures import PREDICATES, SIGNATURES

MAX_DEPTH: Final = 80
"""Parts nested deeper than this are refused."""
MAX_NODES: Final = 10_000
"""Parts of one expression; the Go library has the same bound."""

_UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
_BINARY: Final = {
    "|": 0, "||": 10, "or": 10, "&&": 15, "and": 15,
    "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20,
    "in": 20, "matches": 20, "contains": 20, "startsWith": 20, "endsWith": 20,
    "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60, "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_RIGHT: Final = frozenset({"**", "^"})
_COMPARISONS: Final = frozenset({"<", ">", "<=", ">="})
_NEGATABLE: Final = frozenset({"in", "matches", "contains", "startsWith", "endsWith"})
_SPELLING: Final = {"or": "||", "and": "&&", "^": "**", "not": "!"}
_LITERALS: Final = {"true": True, "false": False, "nil": None}


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        LangError: the text is not an expression, or too large.
    """
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._at = 0
        self._now = self._tokens[0]
        self._depth = 0
        self._predicates = 0
        self._made = 0

    def run(self) -> Node:
        """Parse everything."""
        node = self._sequence()
        if self._now.kind is not Kind.END:
            raise self._unexpected()
        return node

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _next(self) -> Token:
        token = self._now
        if token.kind is not Kind.END:
            self._at += 1
            self._now = self._tokens[self._at]
        return token

    def _is(self, kind: Kind, text: str) -> bool:
        return self._now.kind is kind and self._now.text == text

    def _sign(self, text: str) -> bool:
        """Take an operator if it is the next token."""
        if self._is(Kind.OPERATOR, text):
            self._next()
            return True
        return False

    def _expect(self, kind: Kind, text: str) -> None:
        if not self._is(kind, text):
            raise self._unexpected()
        self._next()

    def _error(self, message: str, token: Token | None = None) -> LangError:
        offset = (token or self._now).offset
        if offset >= len(self._text) and offset:
            offset = len(self._text) - 1
        return LangError(message, text=self._text, offset=offset)

    def _unexpected(self, token: Token | None = None) -> LangError:
        return self._error(f"unexpected token {token or self._now}", token)

    def _count(self) -> None:
        self._made += 1
        if self._made > MAX_NODES:
            raise self._error(f"expression exceeds maximum allowed nodes ({MAX_NODES})")

    # -- expressions --------------------------------------------------------------------------------------------------

    def _sequence(self) -> Node:
        first = self._expression()
        if not self._is(Kind.OPERATOR, ";"):
            return first
        parts = [first]
        while self._sign(";") and self._now.kind is not Kind.END and not self._is(Kind.BRACKET, "}"):
            parts.append(self._expression())
        return nodes.Sequence(first.offset, tuple(parts)) if len(parts) > 1 else first

    def _expression(self, precedence: int = 0) -> Node:
        self._depth += 1
        self._count()
        if self._depth > MAX_DEPTH:
            raise self._error(f"expression nests deeper than {MAX_DEPTH}")
        if precedence == 0 and self._is(Kind.OPERATOR, "let"):
            node = self._let()
        elif precedence == 0 and self._is(Kind.OPERATOR, "if"):
            node = self._if()
        else:
            node = self._operators(precedence)
            if precedence == 0:
                node = self._conditional(node)
        self._depth -= 1
        return node

    def _operators(self, precedence: int) -> Node:
        left = self._primary()
        before = ""
        while self._now.kind is Kind.OPERATOR:
            token = self._now
            negated = token.text == "not"
            if negated:
                token = self._tokens[self._at + 1]
                if token.text not in _NEGATABLE:
                    raise self._unexpected(token)
            rank = _BINARY.get(token.text, -1)
            if rank < precedence or token.kind is not Kind.OPERATOR:
                break
            if negated:
                self._next()
            self._next()
            self._count()
            if token.text == "|":
                left = self._piped(left)
            elif before == "??" and token.text != "??":
                raise self._error(
                    f"Operator ({token.text}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses.", token
                )
            elif token.text in _COMPARISONS:
                left = self._comparison(left, token, rank)
            else:
                right = self._expression(rank if token.text in _RIGHT else rank + 1)
                left = nodes.Binary(token.offset, _SPELLING.get(token.text, token.text), left, right)
                if negated:
                    left = nodes.Unary(token.offset, "!", left)
            before = token.text
        return left

    def _comparison(self, left: Node, token: Token, rank: int) -> Node:
        """Parse `a < b < c`, which means `a < b && b < c`."""
        whole: Node | None = None
        while True:
            right = self._expression(rank + 1)
            link = nodes.Binary(token.offset, token.text, left, right)
            whole = link if whole is None else nodes.Binary(token.offset, "&&", whole, link)
            left, token = right, self._now
            if token.kind is not Kind.OPERATOR or token.text not in _COMPARISONS:
                return whole
            self._next()

    def _piped(self, left: Node) -> Node:
        token = self._next()
        if token.kind is not Kind.NAME:
            raise self._unexpected(token)
        return self._postfix(self._call(token, (left,)))

    def _let(self) -> Node:
        self._next()
        name = self._next()
        if name.kind is not Kind.NAME:
            raise self._unexpected(name)
        if name.text in SIGNATURES or name.text in _LITERALS or name.text == "$env":
            raise self._error(f"cannot redeclare {'builtin ' if name.text in SIGNATURES else ''}{name.text}", name)
        self._expect(Kind.OPERATOR, "=")
        value = self._expression()
        self._expect(Kind.OPERATOR, ";")
        return nodes.Let(name.offset, name.text, value, self._sequence())

    def _if(self) -> Node:
        token = self._next()
        test = self._expression()
        self._expect(Kind.BRACKET, "{")
        then = self._sequence()
        self._expect(Kind.BRACKET, "}")
        self._expect(Kind.OPERATOR, "else")
        if self._is(Kind.OPERATOR, "if"):
            otherwise = self._expression()
        else:
            self._expect(Kind.BRACKET, "{")
            otherwise = self._sequence()
            self._expect(Kind.BRACKET, "}")
        return nodes.Condition(token.offset, test, then, otherwise)

    def _conditional(self, node: Node) -> Node:
        while self._sign("?"):
            if self._sign(":"):
                node = nodes.Condition(node.offset, node, node, self._expression())
            else:
                then = self._expression()
                self._expect(Kind.OPERATOR, ":")
                node = nodes.Condition(node.offset, node, then, self._expression())
        return node

    def _primary(self) -> Node:
        token = self._now
        if token.kind is Kind.OPERATOR:
            if token.text in _UNARY:
                self._next()
                operand = self._expression(_UNARY[token.text])
                return self._postfix(nodes.Unary(token.offset, _SPELLING.get(token.text, token.text), operand))
            if token.text in {"#", "."}:
                return self._pointer()
            if token.text == "::":
                self._next()
                name = self._next()
                if name.kind is not Kind.NAME:
                    raise self._unexpected(name)
                return self._postfix(self._call(name, ()))
        if self._is(Kind.BRACKET, "("):
            self._next()
            node = self._sequence()
            self._expect(Kind.BRACKET, ")")
            return self._postfix(node)
        return self._secondary()

    def _pointer(self) -> Node:
        token = self._now
        if not self._predicates:
            raise self._error("cannot use pointer accessor outside predicate")
        name = ""
        if token.text == "#":
            self._next()
            if self._now.kind is Kind.NAME and self._now.offset == token.offset + 1:
                name = self._next().text
                if name not in {"index", "acc"}:
                    raise self._error(f"unknown pointer #{name}", token)
        return self._postfix(nodes.Pointer(token.offset, name))

    def _secondary(self) -> Node:
        token = self._next()
        match token.kind:
            case Kind.NAME:
                if token.text in _LITERALS:
                    return nodes.Constant(token.offset, _LITERALS[token.text])
                called = self._is(Kind.BRACKET, "(")
                return self._postfix(self._call(token, ()) if called else nodes.Name(token.offset, token.text))
            case Kind.NUMBER:
                return nodes.Constant(token.offset, self._number(token))
            case Kind.STRING:
                return self._postfix(nodes.Constant(token.offset, token.text))
            case Kind.BYTES:
                return self._postfix(nodes.Constant(token.offset, self._bytes(token)))
            case Kind.BRACKET if token.text == "[":
                return self._postfix(nodes.Array(token.offset, self._listed("]")))
            case Kind.BRACKET if token.text == "{":
                return self._postfix(self._map(token))
            case _:
                raise self._unexpected(token)

    def _number(self, token: Token) -> int | float:
        text = token.text.lower()
        try:
            if text[:2] in {"0x", "0o", "0b"}:
                value: int | float = int(text, 0)
            elif "." in text or "e" in text:
                value = float(text)
            else:
                value = int(text) if len(text) < 30 else 2**64
        except ValueError as error:
            raise self._error(f'bad number syntax: "{token.text}"', token) from error
        if isinstance(value, float):
            if math.isinf(value):
                raise self._error("float literal is too large", token)
        elif value >= 2**63:
            raise self._error(f'invalid integer literal: strconv.ParseInt: parsing "{token.text}": value out of range', token)
        return value

    def _bytes(self, token: Token) -> bytes:
        try:
            return token.text.encode("latin-1")
        except UnicodeEncodeError as error:
            raise self._error("unable to unescape string", token) from error

    def _call(self, token: Token, given: tuple[Node, ...]) -> Node:
        self._count()
        if token.text in PREDICATES:
            return self._predicate_call(token, given)
        self._expect(Kind.BRACKET, "(")
        arguments = given + self._listed(")")
        if token.text not in SIGNATURES:
            return nodes.Call(token.offset, nodes.Name(token.offset, token.text), arguments)
        low, high = SIGNATURES[token.text]
        self._check_count(token, low, high, len(arguments))
        return nodes.Builtin(token.offset, token.text, arguments)

    def _check_count(self, token: Token, low: int, high: int | None, count: int) -> None:
        if count < low:
            raise self._error(
                f"not enough arguments to call {token.text} (expected {'at least ' if high != low else ''}{low}, got {count})",
                token,
            )
        if high is not None and count > high:
            raise self._error(
                f"too many arguments to call {token.text} (expected {'at most ' if high != low else ''}{high}, got {count})",
                token,
            )

    def _predicate_call(self, token: Token, given: tuple[Node, ...]) -> Node:
        """Parse a call one of whose arguments is evaluated for each element."""
        self._expect(Kind.BRACKET, "(")
        arguments = list(given)
        low, high = PREDICATES[token.text]
        while not self._is(Kind.BRACKET, ")"):
            if len(arguments) > len(given):
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, ")"):
                    break
            if len(arguments) >= high:
                raise self._unexpected()
            arguments.append(self._predicate() if len(arguments) == 1 else self._expression())
        if len(arguments) < low:
            raise self._error(f"expected at least {low - len(given)} arguments")
        self._expect(Kind.BRACKET, ")")
        return nodes.Builtin(token.offset, token.text, tuple(arguments))

    def _predicate(self) -> Node:
        start = self._now
        braced = self._is(Kind.BRACKET, "{")
        self._predicates += 1
        if braced:
            self._next()
            node = self._sequence()
            self._expect(Kind.BRACKET, "}")
        else:
            node = self._expression()
        self._predicates -= 1
        return nodes.Predicate(start.offset, node)

    def _listed(self, close: str) -> tuple[Node, ...]:
        """Parse expressions between commas up to a bracket; a comma before the bracket is allowed."""
        items: list[Node] = []
        while not self._is(Kind.BRACKET, close):
            if items:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, close):
                    break
            items.append(self._expression())
        self._next()
        return tuple(items)

    def _map(self, token: Token) -> Node:
        pairs: list[tuple[Node, Node]] = []
        while not self._is(Kind.BRACKET, "}"):
            if pairs:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, "}"):
                    break
            if self._now.kind in {Kind.NUMBER, Kind.STRING, Kind.NAME}:
                key: Node = nodes.Constant(self._now.offset, self._next().text)
            elif self._is(Kind.BRACKET, "("):
                key = self._expression()
            else:
                raise self._error(
                    "a map key must be a quoted string, a number, a identifier, or an expression enclosed in parentheses "
                    f"(unexpected token {self._now})"
                )
            self._expect(Kind.OPERATOR, ":")
            pairs.append((key, self._expression()))
        self._next()
        return nodes.Map(token.offset, tuple(pairs))

    # -- what follows an operand --------------------------------------------------------------------------------------

    def _postfix(self, node: Node) -> Node:
        length = 0
        while True:
            token = self._now
            optional = token.kind is Kind.OPERATOR and token.text == "?."
            if optional or (token.kind is Kind.OPERATOR and token.text == "."):
                self._next()
                if optional and self._is(Kind.BRACKET, "["):
                    node = self._indexed(node, self._next(), optional=True)
                else:
                    node = self._member(node, optional=optional)
            elif token.kind is Kind.BRACKET and token.text == "[":
                node = self._indexed(node, self._next(), optional=False)
            elif token.kind is Kind.BRACKET and token.text == "(" and isinstance(node, nodes.Member | nodes.Chain):
                self._next()
                node = nodes.Call(token.offset, node, self._listed(")"))
            else:
                return node
            self._count()
            length += 1
            if self._depth + length > MAX_DEPTH:
                raise self._error(f"expression nests deeper than {MAX_DEPTH}")

    def _member(self, node: Node, *, optional: bool) -> Node:
        name = self._next()
        if name.kind is not Kind.NAME and name.text not in WORDS:
            raise self._error("expected name", name)
        inner, chained = _unchained(node)
        member: Node = nodes.Member(name.offset, inner, nodes.Constant(name.offset, name.text), optional)
        if self._is(Kind.BRACKET, "("):
            self._next()
            member = nodes.Call(name.offset, member, self._listed(")"))
        return nodes.Chain(name.offset, member) if chained or optional else member

    def _indexed(self, node: Node, bracket: Token, *, optional: bool) -> Node:
        inner, chained = _unchained(node)
        low: Node | None = None
        if not self._is(Kind.OPERATOR, ":"):
            low = self._expression()
        if self._sign(":"):
            high = None if self._is(Kind.BRACKET, "]") else self._expression()
            result: Node = nodes.Slice(bracket.offset, inner, low, high)
        elif low is None:
            raise self._unexpected()
        else:
            result = nodes.Member(bracket.offset, inner, low, optional)
        self._expect(Kind.BRACKET, "]")
        return nodes.Chain(bracket.offset, result) if chained or optional else result


def _unchained(node: Node) -> tuple[Node, bool]:
    """Return a node without the chain around it, and whether there was one: what follows belongs to the chain."""
    return (node.node, True) if isinstance(node, nodes.Chain) else (node, False)
