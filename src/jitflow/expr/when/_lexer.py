"""Text of a `when` to tokens, with govaluate's rules of what may follow what."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from msgspec import Struct

from jitflow.expr.when._errors import invalid

MAX_TEXT: Final = 64 * 1024
"""Longest expression, in characters."""


class Kind(StrEnum):
    """Kinds of tokens; the values are the words of govaluate's messages."""

    START = "UNKNOWN"
    PREFIX = "PREFIX"
    NUMERIC = "NUMERIC"
    BOOLEAN = "BOOLEAN"
    STRING = "STRING"
    VARIABLE = "VARIABLE"
    ACCESSOR = "ACCESSOR"
    SEPARATOR = "SEPARATOR"
    COMPARATOR = "COMPARATOR"
    LOGICAL = "LOGICALOP"
    MODIFIER = "MODIFIER"
    CLAUSE = "CLAUSE"
    CLAUSE_CLOSE = "CLAUSE_CLOSE"
    TERNARY = "TERNARY"


class Token(Struct, frozen=True):
    """One token: `value` is a number, a truth value, or text; `shown` is how messages print it."""

    kind: Kind
    value: float | bool | str
    offset: int
    shown: str = ""


_OPERAND = frozenset({Kind.NUMERIC, Kind.BOOLEAN, Kind.VARIABLE, Kind.ACCESSOR, Kind.STRING, Kind.CLAUSE})
_AFTER_VALUE = frozenset({Kind.MODIFIER, Kind.COMPARATOR, Kind.LOGICAL, Kind.CLAUSE_CLOSE, Kind.TERNARY, Kind.SEPARATOR})
_AFTER_OPERATOR = _OPERAND | {Kind.PREFIX, Kind.CLAUSE_CLOSE}

FOLLOWS: Final[dict[Kind, frozenset[Kind]]] = {
    Kind.START: _OPERAND | {Kind.PREFIX},
    Kind.CLAUSE: _OPERAND | {Kind.PREFIX, Kind.CLAUSE_CLOSE},
    Kind.CLAUSE_CLOSE: _AFTER_VALUE | {Kind.NUMERIC, Kind.BOOLEAN, Kind.VARIABLE, Kind.STRING, Kind.CLAUSE},
    Kind.NUMERIC: _AFTER_VALUE,
    Kind.BOOLEAN: _AFTER_VALUE,
    Kind.STRING: _AFTER_VALUE,
    Kind.VARIABLE: _AFTER_VALUE,
    Kind.ACCESSOR: _AFTER_VALUE | {Kind.CLAUSE},
    Kind.MODIFIER: _AFTER_OPERATOR,
    Kind.COMPARATOR: _AFTER_OPERATOR,
    Kind.LOGICAL: _AFTER_OPERATOR,
    Kind.PREFIX: _AFTER_OPERATOR - {Kind.STRING, Kind.PREFIX},
    Kind.TERNARY: _OPERAND | {Kind.PREFIX, Kind.SEPARATOR},
    Kind.SEPARATOR: _OPERAND | {Kind.PREFIX},
}
"""Which kinds may follow a kind. A prefix takes no string: `!'x'` is an error, as there."""

_MAY_END = frozenset({Kind.NUMERIC, Kind.BOOLEAN, Kind.STRING, Kind.VARIABLE, Kind.ACCESSOR, Kind.CLAUSE_CLOSE})
_PREFIXES = frozenset({"!", "-", "~"})
_SYMBOLS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"), Kind.COMPARATOR),
    **dict.fromkeys(("+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"), Kind.MODIFIER),
    **dict.fromkeys(("&&", "||"), Kind.LOGICAL),
    **dict.fromkeys(("?", ":", "??"), Kind.TERNARY),
}
_QUOTES = "'\""
_DIGITS = "0123456789"


def tokenize(text: str) -> tuple[Token, ...]:
    """Return the tokens of an expression.

    Raises:
        WhenError: not an expression, or longer than `MAX_TEXT`.
    """
    if len(text) > MAX_TEXT:
        raise invalid(text[:80] + "…", f"longer than {MAX_TEXT} characters", MAX_TEXT)
    tokens = _Lexer(text).run()
    _check_order(text, tokens)
    _check_balance(text, tokens)
    return tokens


class _Lexer:
    """Reads one token after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._state = Kind.START

    def run(self) -> tuple[Token, ...]:
        """Return all tokens."""
        tokens: list[Token] = []
        while True:
            while self._at < len(self._text) and self._text[self._at].isspace():
                self._at += 1
            if self._at >= len(self._text):
                return tuple(tokens)
            token = self._next()
            self._state = token.kind
            tokens.append(token)

    def _next(self) -> Token:
        start, char = self._at, self._text[self._at]
        if char in _DIGITS or char == ".":
            return self._number(start)
        if char == ",":
            self._at += 1
            return Token(Kind.SEPARATOR, ",", start, ",")
        if char in "()":
            self._at += 1
            return Token(Kind.CLAUSE if char == "(" else Kind.CLAUSE_CLOSE, char, start, str(ord(char)))
        if char in _QUOTES:
            return self._quoted(start, _QUOTES, "Unclosed string literal", Kind.STRING)
        if char == "[":
            return self._quoted(start, "]", "Unclosed parameter bracket", Kind.VARIABLE)
        if char.isalpha():
            return self._word(start)
        return self._symbol(start)

    def _number(self, start: int) -> Token:
        text = self._text
        if text[start : start + 2] in {"0x", "0X"}:
            end = self._run(start + 2, lambda char: char in "0123456789abcdefABCDEF")
            if end == start + 2 or end > start + 18:
                raise invalid(text, f"Unable to parse hex value '{text[start + 2 : end]}' to uint64", start)
            value = float(int(text[start + 2 : end], 16))
        else:
            end = self._run(start, lambda char: char in _DIGITS or char == ".")
            try:
                value = float(text[start:end])
            except ValueError as error:
                raise invalid(text, f"Unable to parse numeric value '{text[start:end]}' to float64", start) from error
        self._at = end
        return Token(Kind.NUMERIC, value, start, f"{value:g}")

    def _quoted(self, start: int, closers: str, complaint: str, kind: Kind) -> Token:
        """Read up to the closing character; a backslash takes the next character as it is. Either quote closes either."""
        value: list[str] = []
        at = start + 1
        while at < len(self._text):
            char = self._text[at]
            if char == "\\" and at + 1 < len(self._text):
                value.append(self._text[at + 1])
                at += 2
                continue
            if char in closers:
                self._at = at + 1
                return Token(kind, "".join(value), start, "".join(value))
            value.append(char)
            at += 1
        raise invalid(self._text, complaint, start)

    def _word(self, start: int) -> Token:
        end = self._run(start, lambda char: char.isalnum() or char in "_.")
        word = self._text[start:end]
        self._at = end
        if word in {"true", "false"}:
            return Token(Kind.BOOLEAN, word == "true", start, word)
        if word.lower() == "in":
            return Token(Kind.COMPARATOR, "in", start, word)
        if "." in word:
            if word.endswith("."):
                raise invalid(self._text, f"Hanging accessor on token '{word}'", start)
            return Token(Kind.ACCESSOR, word, start, "[" + word.replace(".", " ") + "]")
        return Token(Kind.VARIABLE, word, start, word)

    def _symbol(self, start: int) -> Token:
        """Read a run of symbols: `==-` is one, unknown, token, as there."""
        end = self._run(start, _is_symbol)
        symbol = self._text[start:end] or self._text[start]
        self._at = start + len(symbol)
        if symbol in _PREFIXES and Kind.PREFIX in FOLLOWS[self._state]:
            return Token(Kind.PREFIX, symbol, start, symbol)
        kind = _SYMBOLS.get(symbol)
        if kind is None:
            raise invalid(self._text, f"Invalid token: '{symbol}'", start)
        return Token(kind, symbol, start, symbol)

    def _run(self, start: int, accepts: Callable[[str], bool]) -> int:
        at = start
        while at < len(self._text) and accepts(self._text[at]):
            at += 1
        return at


def _is_symbol(char: str) -> bool:
    return not (char.isalnum() or char.isspace() or char in "()[]'\"")


def _check_order(text: str, tokens: tuple[Token, ...]) -> None:
    """Refuse tokens that may not stand beside each other."""
    last = Token(Kind.START, "", 0, "<nil>")
    for token in tokens:
        if token.kind not in FOLLOWS[last.kind]:
            if last.kind is Kind.VARIABLE and token.kind is Kind.CLAUSE:
                raise invalid(text, f"Undefined function {last.shown}", last.offset)
            step = f"{last.kind} [{last.shown}] to {token.kind} [{token.shown}]"
            raise invalid(text, f"Cannot transition token types from {step}", token.offset)
        last = token
    if last.kind not in _MAY_END:
        raise invalid(text, "Unexpected end of expression", len(text))


def _check_balance(text: str, tokens: tuple[Token, ...]) -> None:
    """Check that as many parentheses are closed as opened, in whatever order, as govaluate does before it parses."""
    opened: list[int] = []
    surplus: list[int] = []
    for token in tokens:
        if token.kind is Kind.CLAUSE:
            opened.append(token.offset)
        elif token.kind is Kind.CLAUSE_CLOSE:
            if opened:
                opened.pop()
            else:
                surplus.append(token.offset)
    if len(opened) != len(surplus):
        raise invalid(text, "Unbalanced parenthesis", (opened or surplus)[-1])
