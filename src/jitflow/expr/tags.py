"""Simple template tags: `{{inputs.parameters.x}}` in text and in manifest structs.

The rules are Argo's: a struct is marshalled to JSON and its tags are replaced in that text, the values JSON-escaped, so that a
quote or a newline in a value cannot break the document and a number in a string field stays a string. Inner tags go first
(`{{a.{{b}}}}`), a value that was put in is not scanned again, and a tag that nobody knows stays as it is.

An expression tag is looked up with its `=`: `lookup("=a + b")`; who evaluates expressions answers with the value's text.

`compile_text` and `compile_struct` split a text once; rendering then costs one lookup for each tag.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

Lookup = Callable[[str], str | None]
"""Gives the value of a tag's name (`inputs.parameters.x`, without blanks around it), or None when it is not known."""

S = TypeVar("S", bound=Struct)

MAX_NESTING = 16
"""Braces nested deeper than this are taken as text."""

_SHORT_BYTES: Final = 4096
"""Longer templates are split anew: comparing them with others costs as much."""


class TagError(ValueError):
    """A tag that could not be resolved where all must be. `tag` is its text between the braces."""

    def __init__(self, tag: str) -> None:
        """Hold the tag."""
        self.tag = tag
        super().__init__(f"failed to resolve {{{{{tag}}}}}")


class Tag(Struct, frozen=True, kw_only=True):
    """One tag of a text: `text` is what stands between the braces, `start` and `end` bound the whole tag, braces included."""

    text: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The name to look up: the text without the blanks around it."""
        return self.text.strip()

    @property
    def is_expression(self) -> bool:
        """Whether this is an expression tag, `{{=…}}`."""
        return self.name.startswith("=")

    @property
    def is_nested(self) -> bool:
        """Whether the tag's name holds further tags."""
        return "{{" in self.text


class _Node:
    """A tag while its text is split: `parts` are text and inner tags, in order."""

    __slots__ = ("end", "parts", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = -1
        self.parts: list[str | _Node] = []


def _split(text: str) -> list[str | _Node]:
    """Split a text into plain parts and (nested) tags. Braces without a partner are plain text."""
    root = _Node(-1)
    stack = [root]
    position = 0
    while True:
        close = text.find("}}", position)
        opening = text.find("{{", position, close if close >= 0 else None)
        if opening >= 0 and close >= 0 and len(stack) <= MAX_NESTING:
            stack[-1].parts.append(text[position:opening])
            stack.append(_Node(opening))
            position = opening + 2
        elif close >= 0 and len(stack) > 1:
            node = stack.pop()
            node.parts.append(text[position:close])
            node.end = position = close + 2
            stack[-1].parts.append(node)
        elif close >= 0:
            root.parts.append(text[position : close + 2])
            position = close + 2
        else:
            break
    _unwind(stack)
    root.parts.append(text[position:])
    return root.parts


def _unwind(stack: list[_Node]) -> None:
    """Give openers that never closed back to the text around them."""
    while len(stack) > 1:
        node = stack.pop()
        stack[-1].parts.append("{{")
        stack[-1].parts.extend(node.parts)


def find(text: str) -> tuple[Tag, ...]:
    """Return the outermost tags of a text, in order; inner tags are part of a tag's text."""
    if "{{" not in text:
        return ()
    return tuple(
        Tag(text=text[part.start + 2 : part.end - 2], start=part.start, end=part.end)
        for part in _split(text)
        if isinstance(part, _Node)
    )


def find_all(text: str) -> Iterator[Tag]:
    """Yield every tag of a text, inner ones before the tag they are in."""

    def walk(parts: list[str | _Node]) -> Iterator[Tag]:
        for part in parts:
            if isinstance(part, _Node):
                yield from walk(part.parts)
                yield Tag(text=text[part.start + 2 : part.end - 2], start=part.start, end=part.end)

    if "{{" in text:
        yield from walk(_split(text))


def is_pure_tag(text: str) -> str | None:
    """Return the name of the tag when the whole text is one simple tag (`{{x}}`, blanks inside allowed), else None."""
    if not (text.startswith("{{") and text.endswith("}}")):
        return None
    tags = find(text)
    if len(tags) != 1 or tags[0].end != len(text) or tags[0].is_expression or tags[0].is_nested:
        return None
    return tags[0].name


class Text:
    """A text split at its tags, for rendering many times."""

    __slots__ = ("_parts", "names", "source")

    def __init__(self, text: str) -> None:
        """Split the text."""
        self.source = text
        self._parts: list[str | _Node] = []
        self.names: tuple[str, ...] = ()
        """Names of all tags, nested and expression ones included."""
        if "{{" in text:
            self._parts = [part for part in _split(text) if part != ""]
            self.names = tuple(sorted({tag.name for tag in find_all(text)}))
        elif text:
            self._parts = [text]

    def render(self, lookup: Lookup, *, allow_unresolved: bool = True, escape: bool = False) -> str:
        """Return the text with the tags replaced that `lookup` knows.

        Args:
            lookup: gives the values.
            allow_unresolved: leave unknown tags as they are instead of raising.
            escape: the text is JSON: put the values in JSON-escaped.

        Raises:
            TagError: a tag is unknown and `allow_unresolved` is false.
        """
        return _render(self._parts, lookup, allow_unresolved=allow_unresolved, escape=escape)


def _render(parts: list[str | _Node], lookup: Lookup, *, allow_unresolved: bool, escape: bool) -> str:
    result: list[str] = []
    for part in parts:
        if isinstance(part, str):
            result.append(part)
            continue
        inner = part.parts[0] if len(part.parts) == 1 else None
        if not isinstance(inner, str):
            inner = _render(part.parts, lookup, allow_unresolved=allow_unresolved, escape=escape)
        name = inner.strip()
        if escape and "\\" in name and name.startswith("="):
            name = _unescaped(name)
        value = lookup(name)
        if value is None:
            if not allow_unresolved:
                raise TagError(inner)
            result.append("{{" + inner + "}}")
        else:
            result.append(escape_json(value) if escape else value)
    return "".join(result)


def _unescaped(name: str) -> str:
    """Return an expression that stands in a JSON string as it was written; the tag's own text if it is cut by an escape."""
    try:
        return msgspec.json.decode(f'"{name}"', type=str)
    except msgspec.DecodeError:
        return name


def escape_json(value: str) -> str:
    """Return a text as it stands between the quotes of a JSON string. Halves of surrogate pairs become `?`."""
    if value.isalnum() and value.isascii():
        return value
    return msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode()[1:-1]


@lru_cache(maxsize=4096)
def compile_text(text: str) -> Text:
    """Return a text split at its tags; equal texts are split once."""
    return Text(text)


def substitute(text: str, lookup: Lookup, *, allow_unresolved: bool = True) -> str:
    """Return a text with its tags replaced.

    Args:
        text: any text; not JSON (values go in as they are).
        lookup: gives a tag's value, None when unknown.
        allow_unresolved: leave unknown tags, and expression tags, as they are.

    Raises:
        TagError: a tag is unknown and `allow_unresolved` is false.
    """
    if "{{" not in text:
        return text
    return compile_text(text).render(lookup, allow_unresolved=allow_unresolved)


@lru_cache(maxsize=256)
def _short_json(text: str) -> Text:
    return Text(text)


@lru_cache(maxsize=256)
def _decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class Compiled(Generic[S]):
    """A struct split at the tags of its JSON, for rendering many times."""

    __slots__ = ("_decode", "_text", "names", "source")

    def __init__(self, struct: S) -> None:
        """Marshal the struct and split the text."""
        self.source = struct
        text = msgspec.json.encode(struct)
        split = _short_json if len(text) <= _SHORT_BYTES else Text  # the same templates come again and again
        self._text = split(text.decode()) if b"{{" in text else None
        self._decode = _decoder(type(struct)).decode
        self.names: tuple[str, ...] = self._text.names if self._text else ()
        """Names of all tags, nested and expression ones included; empty: the struct is its own rendering."""

    def render(self, lookup: Lookup, *, allow_unresolved: bool = True) -> S:
        """Return the struct with its tags replaced; the struct itself when it has none.

        Raises:
            TagError: a tag is unknown and `allow_unresolved` is false.
        """
        if self._text is None:
            return self.source
        return self._decode(self._text.render(lookup, allow_unresolved=allow_unresolved, escape=True))


def compile_struct(struct: S) -> Compiled[S]:
    """Return a struct split at its tags. The caller keeps it: one for each template, not one for each node."""
    return Compiled(struct)


def substitute_struct(struct: S, lookup: Lookup, *, allow_unresolved: bool = True) -> S:
    """Return a struct with its tags replaced, as `compile_struct(struct).render(lookup)`.

    Raises:
        TagError: a tag is unknown and `allow_unresolved` is false.
    """
    return Compiled(struct).render(lookup, allow_unresolved=allow_unresolved)
