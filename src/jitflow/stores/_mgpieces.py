"""How a run and documents lie in MongoDB: bodies in pieces below its limit of 16 MiB, and changes packed as one body."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from bson import Binary
from msgspec import Struct
from pymongo import DeleteMany, ReplaceOne

from jitflow.ports.store import Commit, RunRow
from jitflow.stores._bodies import pack, unpack

PIECE_BYTES = 8 << 20
"""The longest body in one document."""

Operation = ReplaceOne[dict[str, Any]] | DeleteMany
Sized = tuple[Operation, int]
"""An operation and about how many bytes it sends."""
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode
_encode_labels = msgspec.json.Encoder(order="sorted").encode

HEADER, NODE, EFFECT, EVENT = "h", "n", "e", "v"
"""What a piece is part of."""


class Parts(Struct, frozen=True, array_like=True):
    """All of a commit but its row, as it waits beside the row until it is spread out. Bodies are packed."""

    first_event: int
    header: bytes | None
    nodes: tuple[tuple[str, bytes], ...]
    nodes_removed: tuple[str, ...]
    effects: tuple[tuple[str, bytes], ...]
    effects_done: tuple[str, ...]
    events: tuple[bytes, ...]


_encode_parts = msgspec.msgpack.Encoder().encode
_decode_parts = msgspec.msgpack.Decoder(Parts).decode
_encode_rows = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(tuple[str, tuple[tuple[str, bytes | None], ...]]).decode


def parts_of(commit: Commit, first_event: int) -> Parts:
    """Return what a commit changes beside its row."""
    return Parts(
        first_event=first_event,
        header=None if commit.header is None else pack(commit.header),
        nodes=tuple((node, pack(body)) for node, body in commit.nodes),
        nodes_removed=commit.nodes_removed,
        effects=tuple((effect.key, pack(effect.body)) for effect in commit.effects),
        effects_done=commit.effects_done,
        events=tuple(pack(body) for body in commit.events),
    )


def encode_parts(parts: Parts) -> bytes:
    """Return them as one body."""
    return _encode_parts(parts)


def decode_parts(body: bytes) -> Parts:
    """Return what `encode_parts` wrote."""
    return _decode_parts(body)


def encode_rows(kind: str, rows: Sequence[tuple[str, bytes | None]]) -> bytes:
    """Return documents of one kind as one body."""
    return _encode_rows((kind, rows))


def decode_rows(body: bytes) -> tuple[str, tuple[tuple[str, bytes | None], ...]]:
    """Return what `encode_rows` wrote."""
    return _decode_rows(body)


def cut(body: bytes) -> Iterator[bytes]:
    """Return a body's pieces, at least one."""
    for start in range(0, max(len(body), 1), PIECE_BYTES):
        yield body[start : start + PIECE_BYTES]


def spread(run: object, parts: Parts, sequence: int) -> list[Sized]:
    """Return the operations that put a commit's parts in their places; doing them again is harmless."""
    made: list[Sized] = []
    for what, gone in ((NODE, parts.nodes_removed), (EFFECT, parts.effects_done)):
        kept = {key for key, _ in (parts.nodes if what == NODE else parts.effects)}
        made.extend((DeleteMany({"run": run, "what": what, "id": key}), 0) for key in gone if key not in kept)
    if parts.header is not None:
        made.extend(_put({"run": run, "what": HEADER, "id": ""}, parts.header))
    for node, body in parts.nodes:
        made.extend(_put({"run": run, "what": NODE, "id": node}, body))
    for place, (key, body) in enumerate(parts.effects):
        made.extend(_put({"run": run, "what": EFFECT, "id": key}, body, order=[sequence, place]))
    for number, body in enumerate(parts.events, start=parts.first_event):
        made.extend(_put({"run": run, "what": EVENT, "id": number}, body))
    return made


def put_part(run: object, what: str, name: object, body: bytes | None, **more: Any) -> Iterator[Sized]:
    """Return the operations that put a packed part of a run in its place, None: that remove it."""
    place = {"run": run, "what": what, "id": name}
    if body is None:
        yield DeleteMany(place), 0
    else:
        yield from _put(place, body, **more)


def put_document(kind: str, key: str, body: bytes | None) -> Iterator[Sized]:
    """Return the operations that write a packed document, None: that remove it."""
    place = {"kind": kind, "id": key}
    if body is None:
        yield DeleteMany(place), 0
    else:
        yield from _put(place, body)


def put_aside(stamp: str, body: bytes) -> list[Sized]:
    """Return the operations that put a body beside what it belongs to."""
    made: list[Sized] = []
    for number, piece in enumerate(cut(body)):
        at = {"of": stamp, "piece": number}
        made.append((ReplaceOne(at, {**at, "body": Binary(piece)}, upsert=True), len(piece)))
    return made


def groups(operations: Iterable[Sized], *, most: int, most_bytes: int) -> Iterator[list[Operation]]:
    """Return operations in groups of at most so many, and about so many bytes."""
    group: list[Operation] = []
    size = 0
    for operation, length in operations:
        if group and (len(group) >= most or size + length > most_bytes):
            yield group
            group, size = [], 0
        group.append(operation)
        size += length
    if group:
        yield group


def put_documents(kind: str, rows: Iterable[tuple[str, bytes | None]]) -> list[Sized]:
    """Return the operations that write documents, of several to one key the last."""
    made: list[Sized] = []
    for key, body in dict(rows).items():
        made.extend(put_document(kind, key, None if body is None else pack(body)))
    return made


def _put(place: dict[str, Any], body: bytes, **more: Any) -> Iterator[Sized]:
    """Write a body piece by piece. Pieces of a longer one before stay; the first says how many count."""
    pieces = list(cut(body))
    for number, piece in enumerate(pieces):
        at = {**place, "piece": number}
        yield ReplaceOne(at, {**at, **more, "pieces": len(pieces), "body": Binary(piece)}, upsert=True), len(piece)


def joined(pieces: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]]:
    """Return bodies, unpacked, from pieces in order: each with its first piece."""
    found: list[tuple[dict[str, Any], list[bytes]]] = []
    for piece in pieces:
        if piece["piece"] == 0:
            found.append((piece, [piece["body"]]))
        elif found and _goes_on(found[-1][0], piece):
            found[-1][1].append(piece["body"])
    return [(first, unpack(b"".join(bodies))) for first, bodies in found]


def _goes_on(first: dict[str, Any], piece: dict[str, Any]) -> bool:
    same = all(first.get(key) == piece.get(key) for key in ("run", "what", "kind", "id"))
    return same and piece["piece"] < first["pieces"]


def fields_of(row: RunRow) -> dict[str, Any]:
    """Return a row as fields. `open` is there while it has not ended: names of such runs are unique."""
    return {
        "namespace": row.namespace,
        "name": row.name,
        "phase": row.phase,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "labels": Binary(_encode_labels(row.labels)),
        "message": row.message,
        "progress": row.progress,
        "live": row.live,
        "archived": row.archived,
        "version": row.version,
        "sequence": row.sequence,
        "open": row.finished_at is None,
    }


def row_of(head: dict[str, Any]) -> RunRow:
    """Return the row of a run's document."""
    fields = {name: value for name, value in head.items() if name in RunRow.__struct_fields__}
    return RunRow(uid=head["_id"], **{**fields, "labels": _decode_labels(head["labels"])})
