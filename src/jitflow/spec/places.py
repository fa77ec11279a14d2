"""Where in a text the parts of a manifest stand."""

import re
from typing import Final

from jitflow.model.problems import Place
from jitflow.spec._nodes import Node

Path = tuple[str | int, ...]
"""Keys and list indices from the root of a document: `("spec", "templates", 0, "name")`."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]")


def json_path(path: Path) -> str:
    """Return a path as people write it: `$.spec.templates[0].name`, `$.metadata.labels['a.b/c']`."""
    parts = ["$"]
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append("['" + step.replace("\\", "\\\\").replace("'", "\\'") + "']")
    return "".join(parts)


def parse_path(text: str) -> Path:
    """Return the path of such a text; what cannot be read ends it."""
    path: list[str | int] = []
    at = 1 if text.startswith("$") else 0
    while (found := _STEP.match(text, at)) is not None:
        at = found.end()
        name, index, quoted = found.groups()
        if index is not None:
            path.append(int(index))
        else:
            path.append(name if name is not None else re.sub(r"\\(.)", r"\1", quoted))
    return tuple(path)


class Places:
    """Finds line and column of a part of one document. Nothing is computed before somebody asks."""

    __slots__ = ("_root", "source")

    def __init__(self, root: Node | None = None, source: str = "") -> None:
        """Hold the document's tree; without one, places are paths only."""
        self._root = root
        self.source = source

    def at(self, path: Path) -> Place:
        """Return the place of a part: of the value when it stands alone, of its key when it is a list or a mapping.

        A part that is not in the text has the place of what it should be in.
        """
        line = column = None
        node = self._root
        if node is not None and node.line:
            line, column = node.line, node.column
        for step in path:
            entry = node.entry(step) if node is not None else None
            if entry is None:
                break
            key, node = entry
            mark = key if key is not None and (node.is_collection or not node.line) else node
            if mark.line:
                line, column = mark.line, mark.column
        return Place(line=line, column=column, path=json_path(path), source=self.source)

    def of_key(self, path: Path) -> Place:
        """Return the place of the key that names a part."""
        node = self._root
        for step in path[:-1]:
            entry = node.entry(step) if node is not None else None
            node = entry[1] if entry is not None else None
        entry = node.entry(path[-1]) if node is not None and path else None
        if entry is None or entry[0] is None or not entry[0].line:
            return self.at(path)
        return Place(line=entry[0].line, column=entry[0].column, path=json_path(path), source=self.source)
