"""Text to tokens."""

import re
from enum import Enum
from typing import Final, NamedTuple

from jitflow.expr.lang.problems import LangError

MAX_TEXT: Final = 64 * 1024
"""Longest expression in characters."""


class Kind(Enum):
    """What a token is."""

    NAME = "Identifier"
    NUMBER = "Number"
    STRING = "String"
    BYTES = "Bytes"
    OPERATOR = "Operator"
    BRACKET = "Bracket"
    END = "EOF"


class Token(NamedTuple):
    """A token: `text` is its text, for strings the text it stands for; `offset` where it begins."""

    kind: Kind
    text: str
    offset: int

    def __str__(self) -> str:
        """Return the token as messages show it."""
        return self.kind.value if self.kind is Kind.END else f'{self.kind.value}("{self.text}")'


WORDS: Final = frozenset(
    {"in", "or", "and", "not", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"}
)  # fmt: skip
"""Operators that are words."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<string>b?"(?:[^"\\\n]|\\.)*"|b?'(?:[^'\\\n]|\\.)*')
      | (?P<raw>`(?:[^`]|``)*`)
      | (?P<number>0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
          |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)
      | (?P<name>[^\W\d][\w$]*|\$[\w$]*)
      | (?P<bracket>[(\[{}\])])
      | (?P<operator>\?\.|\?\?|\|\||&&|==|!=|<=|>=|\*\*|\.\.|::|[?|:,;%+\-^&!=*<>./\#])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))", re.DOTALL
)
_SIMPLE: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip


def tokenize(text: str) -> list[Token]:
    """Return the tokens of an expression, the last one of kind END.

    Raises:
        LangError: something is no token, or the text is too long.
    """
    if len(text) > MAX_TEXT:
        raise LangError(f"an expression may have at most {MAX_TEXT} characters", text="", offset=0)
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _no_token(text, at)
        kind, shown = found.lastgroup, found[0]
        if kind == "name":
            tokens.append(Token(Kind.OPERATOR if shown in WORDS else Kind.NAME, shown, at))
        elif kind == "operator":
            tokens.append(Token(Kind.OPERATOR, shown, at))
        elif kind == "bracket":
            tokens.append(Token(Kind.BRACKET, shown, at))
        elif kind == "number":
            tokens.append(_number(text, found))
        elif kind == "raw":
            tokens.append(Token(Kind.STRING, shown[1:-1].replace("``", "`"), at))
        elif kind == "string":
            tokens.append(_string(text, shown, at))
        at = found.end()
    tokens.append(Token(Kind.END, "", len(text)))
    return tokens


def _no_token(text: str, at: int) -> LangError:
    if text[at] in "\"'`":
        return LangError("literal not terminated", text=text, offset=at)
    if text.startswith("/*", at):
        return LangError("unclosed comment", text=text, offset=at)
    return LangError(f"unrecognized character: U+{ord(text[at]):04X} '{text[at]}'", text=text, offset=at)


def _number(text: str, found: re.Match[str]) -> Token:
    after = text[found.end() : found.end() + 1]
    if after in {"$", "_"} or after.isalnum():
        raise LangError(f'bad number syntax: "{found[0]}{after}"', text=text, offset=found.start())
    return Token(Kind.NUMBER, found[0].replace("_", ""), found.start())


def _string(text: str, shown: str, at: int) -> Token:
    is_bytes = shown[0] == "b"
    inner = shown[2:-1] if is_bytes else shown[1:-1]
    if "\\" not in inner:
        return Token(Kind.BYTES if is_bytes else Kind.STRING, _as_bytes(inner) if is_bytes else inner, at)

    def replace(found: re.Match[str]) -> str:
        in_hex, braced, short, wide, octal, simple = found.groups()
        if simple is not None:
            if simple not in _SIMPLE:
                raise LangError("unable to unescape string", text=text, offset=at)
            return _SIMPLE[simple]
        code = int(octal, 8) if octal else int(in_hex or braced or short or wide, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise LangError("unable to unescape string", text=text, offset=at)
        return chr(code)

    value = _ESCAPE.sub(replace, inner)
    return Token(Kind.BYTES, value, at) if is_bytes else Token(Kind.STRING, value, at)


def _as_bytes(inner: str) -> str:
    """Return a text whose characters are the bytes of another's UTF-8."""
    return inner.encode("utf-8", "replace").decode("latin-1")
