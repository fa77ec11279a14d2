"""The `fields` parameter: which parts of an answer a client wants."""

from collections.abc import Mapping
from typing import Any

from jitflow.model.problems import Refused

MAX_FIELDS = 256

ROW_FIELDS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "metadata.creationTimestamp",
        "metadata.labels",
        "metadata.resourceVersion",
        "status.phase",
        "status.startedAt",
        "status.finishedAt",
        "status.message",
        "status.progress",
    }
)
"""What is known of a workflow without reading its document."""


class Fields:
    """A projection such as `metadata,items.metadata.name` or, with a leading `-`, everything but those paths."""

    def __init__(self, text: str) -> None:
        """Parse the parameter; empty keeps everything.

        Raises:
            Refused: there are more paths than anyone needs.
        """
        self._excluding = text.startswith("-")
        paths = [path.strip() for path in text.removeprefix("-").split(",") if path.strip()]
        if len(paths) > MAX_FIELDS:
            raise Refused(f"fields names more than {MAX_FIELDS} paths")
        self._paths = paths
        self._tree: dict[str, Any] = {}
        for path in paths:
            _plant(self._tree, path.split("."))

    def __bool__(self) -> bool:
        """Return whether anything is left out."""
        return bool(self._paths)

    def apply(self, value: Any) -> Any:
        """Return the value with only the wanted parts; lists are looked through."""
        if not self:
            return value
        return _without(value, self._tree) if self._excluding else _only(value, self._tree)

    def wants_only_row(self, prefix: str) -> bool:
        """Return whether everything wanted of the objects below `prefix` (`items.`, `result.object.`) is in `ROW_FIELDS`."""
        if not self or self._excluding:
            return False
        own = [path.removeprefix(prefix) for path in self._paths if path.startswith(prefix)]
        covering = {prefix.rstrip("."), prefix.partition(".")[0]}
        return not covering & set(self._paths) and all(path in ROW_FIELDS for path in own)


def _plant(tree: dict[str, Any], parts: list[str]) -> None:
    """Add a path; a shorter path covers longer ones (its node is empty)."""
    head, *rest = parts
    if not rest:
        tree[head] = {}
    elif tree.get(head) != {}:
        _plant(tree.setdefault(head, {}), rest)


def _only(value: Any, tree: Mapping[str, Any]) -> Any:
    if not tree:
        return value
    if isinstance(value, dict):
        return {key: _only(item, tree[key]) for key, item in value.items() if key in tree}
    if isinstance(value, list):
        return [_only(item, tree) for item in value]
    return value


def _without(value: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, tree.get(key) or _NOTHING) for key, item in value.items() if tree.get(key) != {}}
    if isinstance(value, list):
        return [_without(item, tree) for item in value]
    return value


_NOTHING: Mapping[str, Any] = {"": None}
