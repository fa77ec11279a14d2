"""The words of an expression."""

import re
from typing import Final

from msgspec import Struct

from jitflow.expr.lang.problems import LangError

MAX_CHARS: Final = 20_000

_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)", re.DOTALL)
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*)?\.\d[\d_]*(?:[eE][+-]?\d+)?|\d[\d_]*(?:[eE][+-]?\d+)?"
)
_NAME = re.compile(r"[A-Za-z_$\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*")
_OPERATORS: Final = (
    "**", "==", "!=", "<=", ">=", "&&", "||", "..", "?.", "??", "?:", "=>", "|", "+", "-", "*", "/", "%", "^", "<", ">", "!", "?",
    ":", "(", ")", "[", "]", "{", "}", ",", ".", ";", "=", "#",
)  # fmt: skip
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_WORDS: Final = frozenset({"in", "not", "and", "or", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"})


class Token(Struct, frozen=True):
    """One word: `kind` is `number`, `string`, `bytes`, `name`, `operator` or `end`."""

    kind: str
    text: str
    value: object
    start: int


def split(text: str) -> list[Token]:
    """Return the words of a text, the last of kind `end`.

    Raises:
        LangError: something in it is no word.
    """
    if len(text) > MAX_CHARS:
        raise LangError(f"an expression has at most {MAX_CHARS} characters", text)
    tokens: list[Token] = []
    place = 0
    while True:
        while (space := _SPACE.match(text, place)) is not None:
            place = space.end()
        if place >= len(text):
            tokens.append(Token("end", "end of the expression", None, len(text)))
            return tokens
        token, place = _next(text, place)
        tokens.append(token)


def _next(text: str, place: int) -> tuple[Token, int]:
    char = text[place]
    if char in "'\"":
        return _string(text, place)
    if char == "`":
        return _raw(text, place)
    if char == "b" and text[place + 1 : place + 2] in {"'", '"'}:
        token, end = _string(text, place + 1)
        return Token("bytes", text[place:end], str(token.value).encode(), place), end
    if number := _NUMBER.match(text, place):
        # In `1..3` the dots are an operator.
        shown = number[0]
        if shown.startswith(".") and text[place : place + 2] == "..":
            return Token("operator", "..", None, place), place + 2
        if "." in shown and text.startswith("..", place + shown.index(".")):
            shown = shown[: shown.index(".")]
        return Token("number", shown, _value(shown, text, place), place), place + len(shown)
    if name := _NAME.match(text, place):
        kind = "operator" if name[0] in _WORDS else "name"
        return Token(kind, name[0], None, place), name.end()
    for operator in _OPERATORS:
        if text.startswith(operator, place):
            return Token("operator", operator, None, place), place + len(operator)
    raise LangError(f"unrecognized character: {char!r}", text, place)


def _value(shown: str, text: str, place: int) -> int | float:
    digits = shown.replace("_", "")
    try:
        if digits[:2].lower() in {"0x", "0b", "0o"}:
            found: int | float = int(digits, 0)
        elif any(mark in digits for mark in ".eE"):
            found = float(digits)
        else:
            found = int(digits)
    except ValueError:
        raise LangError(f"bad number {shown}", text, place) from None
    if isinstance(found, int) and found >= 2**63:
        raise LangError(f"integer literal {shown} is out of range", text, place)
    return found


def _raw(text: str, place: int) -> tuple[Token, int]:
    end = text.find("`", place + 1)
    if end < 0:
        raise LangError("literal not terminated", text, place)
    return Token("string", text[place : end + 1], text[place + 1 : end], place), end + 1


def _string(text: str, place: int) -> tuple[Token, int]:
    quote, at = text[place], place + 1
    parts: list[str] = []
    while True:
        if at >= len(text) or text[at] == "\n":
            raise LangError("literal not terminated", text, place)
        char = text[at]
        if char == quote:
            return Token("string", text[place : at + 1], "".join(parts), place), at + 1
        if char != "\\":
            parts.append(char)
            at += 1
            continue
        decoded, at = _escape(text, at)
        parts.append(decoded)


def _escape(text: str, at: int) -> tuple[str, int]:
    char = text[at + 1 : at + 2]
    if char in _ESCAPES:
        return _ESCAPES[char], at + 2
    size = {"x": 2, "u": 4, "U": 8}.get(char, 0)
    digits = text[at + 2 : at + 2 + size]
    if size and len(digits) == size and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        code = int(digits, 16)
        if code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code), at + 2 + size
    octal = text[at + 1 : at + 4]
    if len(octal) == 3 and all(digit in "01234567" for digit in octal):
        return chr(int(octal, 8)), at + 4
    raise LangError("invalid char escape", text, at)
