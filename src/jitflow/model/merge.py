"""Patches of JSON documents, as Kubernetes applies them."""

from typing import Any, cast

Tree = dict[str, Any]

_MERGE_KEYS = ("name", "key", "mountPath", "containerPort", "ip")
"""Fields by which the items of a list are told apart in a strategic merge, the first that all items have."""


def merge_patch(document: Any, patch: Any) -> Any:
    """Return a document after a JSON merge patch (RFC 7386): maps are merged, null deletes, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = _copy(document)
    for key, value in cast(Tree, patch).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge(document: Any, patch: Any) -> Any:
    """Return a document after a strategic merge patch: as `merge_patch`, but lists of named items are merged item by item."""
    if isinstance(patch, dict):
        merged = _copy(document)
        for key, value in cast(Tree, patch).items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = strategic_merge(merged.get(key), value)
        return merged
    if isinstance(patch, list | tuple) and isinstance(document, list | tuple):
        return _merged_list(list(cast(list[Any], document)), list(cast(list[Any], patch)))
    return cast(Any, patch)


def _copy(document: Any) -> Tree:
    return dict(cast(Tree, document)) if isinstance(document, dict) else {}


def _merged_list(document: list[Any], patch: list[Any]) -> list[Any]:
    items = [*document, *patch]
    key = next((key for key in _MERGE_KEYS if all(isinstance(item, dict) and key in item for item in items)), None)
    if key is None or not items:
        return patch
    merged = list(document)
    places = {item[key]: place for place, item in enumerate(merged)}
    for item in patch:
        if item.get("$patch") == "delete":
            merged = [old for old in merged if old[key] != item[key]]
            places = {old[key]: place for place, old in enumerate(merged)}
        elif item[key] in places:
            merged[places[item[key]]] = strategic_merge(merged[places[item[key]]], item)
        else:
            places[item[key]] = len(merged)
            merged.append(item)
    return merged
