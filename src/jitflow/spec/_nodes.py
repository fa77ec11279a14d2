"""YAML text to trees that know where everything stands, within bounds.

The events of libyaml are assembled here, without recursion, because a deep document ends the process in PyYAML's own composer.
Aliases are shared, not copied; who walks a tree counts what it visits.
"""

from __future__ import annotations

from typing import Any, Final, cast

import yaml
from yaml import events
from yaml.reader import ReaderError

from jitflow.expr.spots import spot
from jitflow.model.collector import collector_paused
from jitflow.model.problems import Place, Problem, Refused
from jitflow.spec._pure_parser import Parser as _PureParser
from jitflow.spec._scalars import Scalar, resolve

MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
MAX_DEPTH: Final = 100
MAX_NODES: Final = 500_000
MAX_DOCUMENTS: Final = 100

_STANDARD = "tag:yaml.org,2002:"
MAP, LIST, SCALAR = "mapping", "list", "scalar"


class Node:
    """A mapping (`value`: pairs of nodes), a list (`value`: nodes) or a scalar (`value`: as YAML types it).

    `line` and `column` count from 1; 0 means that there is no text.
    """

    __slots__ = ("column", "kind", "line", "value")

    def __init__(self, kind: str, value: Any, line: int = 0, column: int = 0) -> None:
        """Make a node."""
        self.kind = kind
        self.value = value
        self.line = line
        self.column = column

    @property
    def is_collection(self) -> bool:
        """Whether this holds other nodes."""
        return self.kind != SCALAR

    def pairs(self) -> list[tuple[Node, Node]]:
        """Return the entries of a mapping, those it merges in (`<<`) after its own; what is merged may merge in turn."""
        own = [(key, value) for key, value in self.value if not isinstance(key, MergeKey)]
        if len(own) == len(self.value):
            return own
        known = {key.value for key, _ in own if not key.is_collection}
        todo = [value for key, value in reversed(self.value) if isinstance(key, MergeKey)]
        seen: set[int] = set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.kind == LIST:
                todo += reversed(node.value)
                continue
            for key, value in node.value if node.kind == MAP else ():
                if not key.is_collection and key.value not in known and not isinstance(key, MergeKey):
                    known.add(key.value)
                    own.append((key, value))
            todo += [value for key, value in reversed(node.value) if isinstance(key, MergeKey)] if node.kind == MAP else ()
        return own

    def entry(self, step: str | int) -> tuple[Node | None, Node] | None:
        """Return key and value of a mapping's entry, or an item of a list; None when it is not there."""
        if self.kind == LIST and isinstance(step, int) and step < len(self.value):
            return None, self.value[step]
        if self.kind == MAP:
            for key, value in self.pairs():
                if not key.is_collection and key_text(key) == step:
                    return key, value
        return None


class MergeKey(Node):
    """The plain key `<<`."""

    __slots__ = ()


def key_text(key: Node) -> str:
    """Return a scalar key as text; `yes: 1` has the key `true`, as in Argo."""
    value = key.value
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _parser_class() -> type[Any]:
    """Return libyaml's parser, or PyYAML's own where PyYAML was built without it."""
    return getattr(getattr(yaml, "cyaml", None), "CParser", _PureParser)


def parse(text: str, source: str = "") -> list[Node]:
    """Return the documents of a YAML (or JSON) text; empty documents are left out.

    Raises:
        Refused: not YAML, or beyond the bounds.
    """
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise Refused(
            Problem(message="the text is not valid Unicode", place=Place(source=source), remedy="save it as UTF-8")
        ) from error
    if size_bytes > MAX_TEXT_BYTES:
        raise Refused(
            Problem(
                message=f"the text is larger than {MAX_TEXT_BYTES // 1024 // 1024} MiB",
                place=Place(source=source),
                remedy="split it, or give large data as an artifact",
                code="too_large",
            )
        )
    try:
        with collector_paused():
            return _Assembler(text, source).run()
    except yaml.YAMLError as error:
        raise Refused(_syntax_problem(error, text, source)) from error


def _syntax_problem(error: yaml.YAMLError, text: str, source: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or str(error).partition("\n")[0]
    context = getattr(error, "context", None)
    place = Place(line=mark.line + 1, column=mark.column + 1, source=source) if mark else Place(source=source)
    if isinstance(error, ReaderError) and isinstance(error.position, int):
        line, _, column = spot(text, error.position).partition(":")
        place = Place(line=int(line), column=int(column), source=source)
    message = f"not YAML: {context + ': ' if context else ''}{what}"
    return Problem(message=message, place=place, remedy="mend the syntax at this place")


class _Assembler:
    """Builds nodes from parser events."""

    def __init__(self, text: str, source: str) -> None:
        self._parser: Any = _parser_class()(text)
        self._source = source
        self._documents: list[Node] = []
        self._stack: list[tuple[Node, list[Any]]] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def run(self) -> list[Node]:
        """Read all events."""
        parser, scalar_event = self._parser, events.ScalarEvent
        while parser.check_event():
            event = parser.get_event()
            kind = cast("type[Any]", type(event))
            if kind is scalar_event:
                self._add(self._scalar(event), event)
            elif kind is events.MappingStartEvent:
                self._open(MAP, event)
            elif kind is events.SequenceStartEvent:
                self._open(LIST, event)
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                self._close()
            elif kind is events.AliasEvent:
                self._alias(event)
            elif kind is events.DocumentStartEvent:
                self._anchors = {}
                if len(self._documents) >= MAX_DOCUMENTS:
                    raise self._refuse(event, f"more than {MAX_DOCUMENTS} documents in one text")
        return [node for node in self._documents if node.is_collection or node.value is not None]

    def _refuse(self, event: Any, message: str, remedy: str = "", code: str = "invalid") -> Refused:
        mark = event.start_mark
        place = Place(line=mark.line + 1, column=mark.column + 1, source=self._source)
        return Refused(Problem(message=message, place=place, remedy=remedy, code=code))

    def _scalar(self, event: Any) -> Node:
        mark = event.start_mark
        tag, text = event.tag, event.value
        value: Scalar
        if tag is not None and tag != "!":
            value = self._tagged(event, tag, text)
        elif tag is None and event.implicit[0]:
            value = resolve(text)
            if text == "<<":
                return MergeKey(SCALAR, text, mark.line + 1, mark.column + 1)
        else:
            value = text
        return Node(SCALAR, value, mark.line + 1, mark.column + 1)

    def _tagged(self, event: Any, tag: str, text: str) -> Scalar:
        """Return the value of a scalar with an explicit tag, which must fit what the text says."""
        name = tag.removeprefix(_STANDARD)
        value = resolve(text)
        if name == "str":
            return text
        fits: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
        if name in fits and isinstance(value, fits[name]) and (name == "bool") == isinstance(value, bool):
            return float(value) if name == "float" and isinstance(value, int) else value
        raise self._refuse(event, f"cannot read `{text[:40]}` with the tag {_short_tag(tag)}", "remove the tag")

    def _open(self, kind: str, event: Any) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels", "make it flatter", "too_large")
        if event.tag not in {None, "!", f"{_STANDARD}{'map' if kind == MAP else 'seq'}"}:
            raise self._refuse(event, f"the tag {_short_tag(event.tag)} is not supported", "remove the tag")
        mark = event.start_mark
        node = Node(kind, [], mark.line + 1, mark.column + 1)
        self._add(node, event, opened=True)
        self._stack.append((node, []))

    def _close(self) -> None:
        """End a collection: only now its content is known, so an alias inside its own anchor finds it empty."""
        node, items = self._stack.pop()
        node.value = list(zip(items[::2], items[1::2], strict=True)) if node.kind == MAP else items
        for key, value in node.value if node.kind == MAP else ():
            if isinstance(key, MergeKey) and not _can_merge(value):
                place = Place(line=key.line, column=key.column, source=self._source)
                remedy = "write `<<: *name` with the anchor of a mapping"
                raise Refused(
                    Problem(message="map merge requires map or sequence of maps as the value", place=place, remedy=remedy)
                )

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._refuse(event, f"unknown anchor '{event.anchor}'", f"define it first: &{event.anchor}")
        if any(node is opened for opened, _ in self._stack):
            raise self._refuse(event, f"anchor '{event.anchor}' contains itself", "remove the alias")
        self._place(node)

    def _add(self, node: Node, event: Any, *, opened: bool = False) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._refuse(event, f"more than {MAX_NODES} values", "split the manifest", "too_large")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._place(node)

    def _place(self, node: Node) -> None:
        if self._stack:
            self._stack[-1][1].append(node)
        else:
            self._documents.append(node)


def _can_merge(node: Node) -> bool:
    return node.kind == MAP or (node.kind == LIST and all(item.kind == MAP for item in node.value))


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else tag


def from_plain(value: Any) -> Node:
    """Return the tree of a JSON value, without places.

    Raises:
        Refused: deeper or larger than a text may be.
    """
    budget = [MAX_NODES]

    def convert(item: Any, depth: int) -> Node:
        budget[0] -= 1
        if depth > MAX_DEPTH or budget[0] < 0:
            raise Refused(
                Problem(message=f"nested deeper than {MAX_DEPTH} levels or more than {MAX_NODES} values", code="too_large")
            )
        if isinstance(item, dict):
            pairs = [(Node(SCALAR, str(key)), convert(inner, depth + 1)) for key, inner in item.items()]  # type: ignore[reportUnknownVariableType]
            return Node(MAP, pairs)
        if isinstance(item, list | tuple):
            return Node(LIST, [convert(inner, depth + 1) for inner in item])  # type: ignore[reportUnknownVariableType]
        if item is None or isinstance(item, str | int | float):
            return Node(SCALAR, item)
        raise Refused(f"not a JSON value: {type(item).__name__}")

    return convert(value, 1)
