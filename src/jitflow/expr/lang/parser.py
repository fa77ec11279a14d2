"""From words to a tree: precedence climbing, with expr-lang's precedences."""

from typing import Final, NoReturn

from jitflow.expr.lang import tree
from jitflow.expr.lang.lexer import Token, split
from jitflow.expr.lang.problems import LangError
from jitflow.expr.lang.tree import Node

MAX_DEPTH: Final = 100
"""How deep an expression may be nested."""

_BINARY: Final = {
    "|": 0, "||": 10, "or": 10, "&&": 15, "and": 15, "==": 20, "!=": 20, "<": 20, ">": 20, "<=": 20, ">=": 20, "in": 20,
    "matches": 20, "contains": 20, "startsWith": 20, "endsWith": 20, "..": 25, "+": 30, "-": 30, "*": 60, "/": 60, "%": 60,
    "**": 100, "^": 100, "??": 500,
}  # fmt: skip
_UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
_RIGHT: Final = frozenset({"**", "^"})
PREDICATES: Final = {
    "all": 1, "any": 1, "none": 1, "one": 1, "filter": 1, "map": 1, "find": 1, "findIndex": 1, "findLast": 1, "findLastIndex": 1,
    "count": 1, "sum": 1, "groupBy": 1, "sortBy": 1, "reduce": 1,
}  # fmt: skip
"""Functions whose second argument is a predicate."""


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        LangError: it cannot be read.
    """
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = split(text)
        self._place = 0
        self._depth = 0
        self._predicates = 0
        self._names: list[str] = []

    def run(self) -> Node:
        if self._token.kind == "end":
            self._fail("the expression is empty")
        node = self._sequence()
        if self._token.kind != "end":
            self._fail(f"unexpected {self._token.text}")
        return node

    # -- words --------------------------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._place]

    def _is(self, *operators: str) -> bool:
        return self._token.kind == "operator" and self._token.text in operators

    def _take(self) -> Token:
        token = self._token
        self._place += token.kind != "end"
        return token

    def _accept(self, operator: str) -> bool:
        if self._is(operator):
            self._place += 1
            return True
        return False

    def _expect(self, operator: str) -> Token:
        if not self._is(operator):
            self._fail(f"unexpected {self._token.text}, expected {operator}")
        return self._take()

    def _fail(self, message: str, at: int | None = None) -> NoReturn:
        raise LangError(message, self._text, self._token.start if at is None else at)

    # -- grammar ------------------------------------------------------------------------------------------------------

    def _sequence(self) -> Node:
        if self._is("let"):
            return self._let()
        node = self._expression(0)
        if self._is(";"):
            self._take()
            return self._sequence()
        return node

    def _let(self) -> Node:
        start = self._take().start
        name = self._take()
        if name.kind != "name":
            self._fail(f"unexpected {name.text}, expected a name", name.start)
        if name.text in self._names:
            self._fail(f"cannot redeclare variable {name.text}", name.start)
        self._expect("=")
        value = self._expression(0)
        self._expect(";")
        self._names.append(name.text)
        body = self._sequence()
        self._names.pop()
        return tree.Let(name=name.text, value=value, body=body, at=start)

    def _expression(self, least: int) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"the expression is nested deeper than {MAX_DEPTH} levels")
        try:
            if least == 0 and self._is("if"):
                return self._if()
            node = self._operators(self._unary(), least)
            return self._conditional(node) if least == 0 else node
        finally:
            self._depth -= 1

    def _operators(self, node: Node, least: int) -> Node:
        while self._token.kind == "operator":
            operator, start, negated = self._token.text, self._token.start, False
            if operator == "not" and self._tokens[self._place + 1].text in {
                "in",
                "matches",
                "contains",
                "startsWith",
                "endsWith",
            }:
                operator, negated = self._tokens[self._place + 1].text, True
            precedence = _BINARY.get(operator)
            if precedence is None or precedence < least:
                break
            self._place += 2 if negated else 1
            if operator == "|":
                node = self._pipe(node)
                continue
            right = self._expression(precedence if operator in _RIGHT else precedence + 1)
            node = tree.Binary(operator=operator, left=node, right=right, at=start)
            if negated:
                node = tree.Unary(operator="not", operand=node, at=start)
        return node

    def _pipe(self, node: Node) -> Node:
        name = self._take()
        if name.kind != "name":
            self._fail(f"unexpected {name.text}, expected a function", name.start)
        function: Node = tree.Name(name=name.text, at=name.start)
        while self._accept("."):
            part = self._take()
            function = tree.Member(base=function, key=tree.Literal(value=part.text, at=part.start), at=part.start)
        return self._postfix(self._call(function, name.text, (node,)))

    def _conditional(self, node: Node) -> Node:
        while self._is("?", "?:"):
            token = self._take()
            if token.text == "?:":
                node = tree.Condition(test=node, yes=node, no=self._expression(0), at=token.start)
                continue
            if self._accept(":"):
                node = tree.Condition(test=node, yes=node, no=self._expression(0), at=token.start)
                continue
            yes = self._expression(0)
            self._expect(":")
            node = tree.Condition(test=node, yes=yes, no=self._expression(0), at=token.start)
        return node

    def _if(self) -> Node:
        start = self._take().start
        test = self._expression(0)
        yes = self._block()
        self._expect("else")
        no = self._if() if self._is("if") else self._block()
        return tree.Condition(test=test, yes=yes, no=no, at=start)

    def _block(self) -> Node:
        self._expect("{")
        node = self._sequence()
        self._expect("}")
        return node

    def _unary(self) -> Node:
        token = self._token
        if token.kind == "operator" and token.text in _UNARY:
            self._take()
            operand = self._expression(_UNARY[token.text])
            return self._postfix(tree.Unary(operator=token.text, operand=operand, at=token.start))
        return self._postfix(self._primary())

    def _primary(self) -> Node:  # noqa: RET503 - the last case raises
        token = self._take()
        match token.kind, token.text:
            case (("number" | "string" | "bytes"), _):
                return tree.Literal(value=token.value, at=token.start)
            case "name", "true" | "false":
                return tree.Literal(value=token.text == "true", at=token.start)
            case "name", "nil":
                return tree.Literal(value=None, at=token.start)
            case "name", _:
                name = tree.Name(name=token.text, at=token.start)
                return self._call(name, token.text, ()) if self._is("(") else name
            case "operator", "(":
                node = self._sequence()
                self._expect(")")
                return node
            case "operator", "[":
                return self._array(token.start)
            case "operator", "{":
                return self._map(token.start)
            case "operator", "#":
                return self._pointer(token)
            case "operator", "." if self._predicates:
                name = self._take()
                key = tree.Literal(value=name.text, at=name.start)
                return tree.Member(base=tree.Pointer(at=token.start), key=key, at=token.start)
            case _:
                self._fail(f"unexpected {token.text}", token.start)

    def _pointer(self, token: Token) -> Node:
        if not self._predicates:
            self._fail("cannot use pointer accessor outside predicate", token.start)
        follows = self._token
        if follows.kind == "name" and follows.start == token.start + 1:
            self._take()
            if follows.text not in {"acc", "index"}:
                self._fail(f"unknown pointer #{follows.text}", token.start)
            return tree.Pointer(name=follows.text, at=token.start)
        return tree.Pointer(at=token.start)

    def _postfix(self, node: Node) -> Node:
        while True:
            token = self._token
            if self._is(".", "?."):
                self._take()
                optional = token.text == "?."
                if optional and self._is("["):
                    self._take()
                    node = self._index(node, token.start, optional=True)
                    continue
                name = self._take()
                if name.kind not in {"name", "operator"} or not name.text[:1].isidentifier():
                    self._fail(f"unexpected {name.text}, expected a name", name.start)
                key = tree.Literal(value=name.text, at=name.start)
                node = tree.Member(base=node, key=key, optional=optional, at=token.start)
                if self._is("("):
                    node = self._call(node, "", ())
            elif self._is("["):
                self._take()
                node = self._index(node, token.start, optional=False)
            else:
                return node

    def _index(self, node: Node, start: int, *, optional: bool) -> Node:
        first = None if self._is(":") else self._expression(0)
        if self._accept(":"):
            last = None if self._is("]") else self._expression(0)
            self._expect("]")
            return tree.Slice(base=node, first=first, last=last, at=start)
        self._expect("]")
        assert first is not None, "an index or a colon"
        return tree.Member(base=node, key=first, optional=optional, at=start)

    def _call(self, function: Node, name: str, given: tuple[Node, ...]) -> Node:
        start = self._token.start
        if not self._accept("("):
            return tree.Call(function=function, arguments=given, at=function.at)
        arguments = list(given)
        while not self._is(")"):
            if arguments and len(arguments) > len(given):
                self._expect(",")
                if self._is(")"):
                    break
            arguments.append(self._predicate() if PREDICATES.get(name) == len(arguments) else self._expression(0))
        self._expect(")")
        return tree.Call(function=function, arguments=tuple(arguments), at=start if not name else function.at)

    def _predicate(self) -> Node:
        start = self._token.start
        self._predicates += 1
        braced = self._accept("{")
        body = self._sequence() if braced else self._expression(0)
        if braced:
            self._expect("}")
        self._predicates -= 1
        return tree.Predicate(body=body, at=start)

    def _array(self, start: int) -> Node:
        items: list[Node] = []
        while not self._is("]"):
            if items:
                self._expect(",")
                if self._is("]"):
                    break
            items.append(self._expression(0))
        self._expect("]")
        return tree.Array(items=tuple(items), at=start)

    def _map(self, start: int) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not self._is("}"):
            if entries:
                self._expect(",")
                if self._is("}"):
                    break
            token = self._take()
            if token.kind == "operator" and token.text == "(":
                key = self._expression(0)
                self._expect(")")
            elif token.kind in {"name", "string", "number"} or token.text[:1].isalpha():
                key = tree.Literal(value=str(token.value if token.kind == "string" else token.text), at=token.start)
            else:
                self._fail("a map key must be a quoted string, a number, a identifier, or an expression enclosed in parentheses",
                           token.start)  # fmt: skip
            self._expect(":")
            entries.append((key, self._expression(0)))
        self._expect("}")
        return tree.Map(entries=tuple(entries), at=start)
