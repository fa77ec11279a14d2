"""Answers about large workflows: made piece by piece, so that no other request waits for long."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from jitflow.app.fields import Fields
from jitflow.app.present import plain
from jitflow.model import argo

PIECE = 1_000
"""Nodes that are written at once."""

_encode = msgspec.json.Encoder().encode
Nodes = dict[str, Any]


async def encoded(value: argo.Workflow | dict[str, Any]) -> bytes:
    """Return the JSON of a workflow, or of what is wanted of it."""
    nodes = _nodes_of(value)
    if len(nodes) <= PIECE:
        return _encode(value)
    if isinstance(value, dict):
        status: Any = {**value["status"], "nodes": {}}
        head = _encode({key: part for key, part in value.items() if key != "status"})
        own = _encode({key: part for key, part in status.items() if key != "nodes"})
    else:
        assert value.status is not None, "it has nodes"
        head, own = _encode(replace(value, status=None)), _encode(replace(value.status, nodes={}))
    parts = [_open(head) + b'"status":' + _open(own) + b'"nodes":{']
    for piece in _pieces(nodes):
        parts += [_encode(piece)[1:-1], b","]
        await asyncio.sleep(0)
    return b"".join([*parts[:-1], b"}}}"])


async def wanted(value: argo.Workflow, fields: Fields, *, below: str = "") -> dict[str, Any]:
    """Return what `fields` keeps of a workflow; `below`: the names before it in their paths, as `result.object`."""
    nodes = _nodes_of(value)
    if len(nodes) <= PIECE or value.status is None:
        return _below(fields.apply(_above(plain(value), below)), below)
    bare = plain(replace(value, status=replace(value.status, nodes={})))
    found = _below(fields.apply(_above(bare, below)), below)
    kept: Nodes = {}
    for piece in _pieces(nodes):
        part = {"status": {"nodes": {node_id: msgspec.to_builtins(node) for node_id, node in piece.items()}}}
        kept.update(_below(fields.apply(_above(part, below)), below).get("status", {}).get("nodes", {}))
        await asyncio.sleep(0)
    if kept:
        found.setdefault("status", {})["nodes"] = kept
    return found


def _nodes_of(value: argo.Workflow | dict[str, Any]) -> Nodes:
    if isinstance(value, dict):
        return value.get("status", {}).get("nodes") or {}
    return value.status.nodes if value.status is not None else {}


def _pieces(nodes: Nodes) -> Iterator[Nodes]:
    items = iter(nodes.items())
    while piece := dict(islice(items, PIECE)):
        yield piece


def _open(encoded_object: bytes) -> bytes:
    """Return the JSON of an object, ready for one more member."""
    return encoded_object[:-1] + (b"," if len(encoded_object) > len(b"{}") else b"")


def _above(value: dict[str, Any], names: str) -> dict[str, Any]:
    for name in reversed(names.split(".") if names else []):
        value = {name: value}
    return value


def _below(value: dict[str, Any], names: str) -> dict[str, Any]:
    for name in names.split(".") if names else []:
        value = value.get(name, {})
    return value
