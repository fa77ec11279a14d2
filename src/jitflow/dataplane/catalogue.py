"""The catalogue: what is or will be in the primary. There may be millions of rows, so each is kept packed, a few hundred bytes.

A row that is asked for is unpacked, which takes microseconds. The packed form is also what the state store keeps.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.dataplane.names import is_location
from jitflow.model.data import ObjectRef, Replica, ReplicaState

_DIRTY, _KEPT = 1, 2
_WHOLE = b"/" * 33
"""Longer than any digest."""
_decode_json = msgspec.json.Decoder(Replica).decode
_encode = msgspec.msgpack.Encoder().encode


class _Packed(Struct, array_like=True, frozen=True, gc=False):
    """A row without its name; for `location` see `place_of`."""

    size_bytes: int
    location: bytes
    last_used_at: float
    flags: int = 0
    version: str = ""
    stamp: str = ""
    content: str = ""
    keepers: tuple[str, ...] = ()
    """Only of rows that were found without their pins, which are kept by themselves."""


_decode = msgspec.msgpack.Decoder(_Packed).decode


def place_of(location: str) -> bytes:
    """Return the short form of a location: the digest in it, or the whole, marked as such, where it has none."""
    return bytes.fromhex(location[-64:]) if is_location(location) else _WHOLE + location.encode(errors="surrogateescape")


def _location_of(place: bytes) -> str:
    if place.startswith(_WHOLE):
        return place.removeprefix(_WHOLE).decode(errors="surrogateescape")
    digest = place.hex()
    return f"objects/{digest[:2]}/{digest}"


def pack(row: Replica) -> bytes:
    """Return the packed form of a row."""
    flags = (_DIRTY if row.dirty else 0) | (_KEPT if row.kept else 0)
    keepers = row.keepers if row.kept else ()
    place = place_of(row.location)
    return _encode(_Packed(row.size_bytes, place, row.last_used_at, flags, row.version, row.stamp, row.content, keepers))


def unpack(name: str, body: bytes) -> Replica:
    """Return the row of a name, which earlier versions have kept as JSON.

    Raises:
        msgspec.DecodeError: it is neither.
    """
    if body[:1] == b"{":
        return _decode_json(body)
    packed = _decode(body)
    return Replica(
        ref=ref_of(name),
        size_bytes=packed.size_bytes,
        state=ReplicaState.RESIDENT,
        location=_location_of(packed.location),
        dirty=bool(packed.flags & _DIRTY),
        kept=bool(packed.flags & _KEPT),
        version=packed.version,
        last_used_at=packed.last_used_at,
        stamp=packed.stamp,
        content=packed.content,
        keepers=packed.keepers,
    )


def ref_of(name: str) -> ObjectRef:
    """Return the object of a name, `remote:path`; names of remotes have no colon."""
    remote, _, path = name.partition(":")
    return ObjectRef(remote=remote, path=path)


class Snapshot:
    """The rows of one moment; other threads may read it."""

    def __init__(self, rows: dict[str, bytes]) -> None:
        """Keep what is there now; the rows themselves are shared."""
        self._rows = dict(rows)
        self.keepers: dict[str, tuple[str, ...]] = {}
        """Who keeps what, to be told with the rows."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Replica]:
        """Unpack one row after another."""
        return (self._marked(name, unpack(name, body)) for name, body in self._rows.items())

    def _marked(self, name: str, row: Replica) -> Replica:
        keepers = self.keepers.get(name) if self.keepers else None
        return replace(row, kept=True, keepers=keepers) if keepers else row

    def get(self, name: str) -> bytes | None:
        """Return a packed row."""
        return self._rows.get(name)

    def places(self) -> dict[bytes, str]:
        """Return the name of the object at each place."""
        return {_decode(body).location: name for name, body in self._rows.items()}


class Reading:
    """What is needed of each row at the start, kept while the rows are read, so that none has to be unpacked once more."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.times: list[float] = []
        """When each was last used, Unix seconds."""
        self.dirty: list[str] = []
        self.kept: list[str] = []
        """Those that an earlier version has marked as kept."""
        self.places: dict[str, str] = {}
        """The name of the object at each location."""


class Catalogue:
    """Rows by object."""

    def __init__(self) -> None:
        """Begin empty."""
        self._rows: dict[str, bytes] = {}
        self._contents: dict[int, str | tuple[str, ...]] = {}
        """Names by the hash of their content; of the same hash may be other contents too."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __contains__(self, ref: ObjectRef) -> bool:
        """Return whether an object has a row."""
        return str(ref) in self._rows

    def __getitem__(self, ref: ObjectRef) -> Replica:
        """Return an object's row.

        Raises:
            KeyError: it has none.
        """
        name = str(ref)
        return unpack(name, self._rows[name])

    def get(self, ref: ObjectRef) -> Replica | None:
        """Return an object's row, None if it has none."""
        name = str(ref)
        body = self._rows.get(name)
        return unpack(name, body) if body is not None else None

    def size(self, ref: ObjectRef) -> int | None:
        """Return the bytes of an object's replica, None if it has no row."""
        body = self._rows.get(str(ref))
        return None if body is None else _decode(body).size_bytes

    def named(self, names: Iterable[str]) -> Iterator[Replica]:
        """Return the rows of names, without those that have none."""
        return (unpack(name, body) for name in names if (body := self._rows.get(name)) is not None)

    def below(self, prefix: ObjectRef) -> list[ObjectRef]:
        """Return the objects below a prefix that have rows."""
        start = str(prefix)
        return [ref_of(name) for name in self._rows if name.startswith(start)]

    def snapshot(self) -> Snapshot:
        """Return what is there now."""
        return Snapshot(self._rows)

    def newer(self, than: Snapshot) -> Iterator[Replica]:
        """Return the rows that have come or changed since."""
        return (unpack(name, body) for name, body in list(self._rows.items()) if than.get(name) is not body)

    # -- changes -----------------------------------------------------------------------------------------------------------

    def load(self, page: Iterable[tuple[str, bytes]], reading: Reading) -> None:
        """Enter rows as the state store has kept them."""
        rows, contents = self._rows, self._contents
        for name, read in page:
            rows[name] = body = pack(_decode_json(read)) if read[:1] == b"{" else read
            packed = _decode(body)
            if packed.content and contents.setdefault(hash(packed.content), name) is not name:
                self._share(packed.content, name)
            reading.names.append(name)
            reading.sizes.append(packed.size_bytes)
            reading.times.append(packed.last_used_at)
            reading.places[_location_of(packed.location)] = name
            if packed.flags & _DIRTY:
                reading.dirty.append(name)
            if packed.flags & _KEPT:
                reading.kept.append(name)

    def reading(self) -> Reading:
        """Return what `load` tells of all rows."""
        found = Reading()
        self.load(list(self._rows.items()), found)
        return found

    def put(self, row: Replica) -> bytes:
        """Enter a row; return its packed form."""
        name = str(row.ref)
        before = self._rows.get(name)
        if before is not None:
            self._unshare(_decode(before).content, name)
        body = self._rows[name] = pack(row)
        if row.content:
            self._share(row.content, name)
        return body

    def touch(self, ref: ObjectRef, used_at: float) -> None:
        """Note when an object's row was used last, if it has one."""
        name = str(ref)
        body = self._rows.get(name)
        if body is not None:
            old = _decode(body)
            self._rows[name] = _encode(
                _Packed(old.size_bytes, old.location, used_at, old.flags, old.version, old.stamp, old.content, old.keepers)
            )

    def pop(self, ref: ObjectRef) -> Replica | None:
        """Remove an object's row and return it, None if it has none."""
        name = str(ref)
        body = self._rows.pop(name, None)
        if body is None:
            return None
        row = unpack(name, body)
        self._unshare(row.content, name)
        return row

    # -- equal contents ----------------------------------------------------------------------------------------------------

    def has_content(self, content: str) -> bool:
        """Return whether there may be an object of a content."""
        return hash(content) in self._contents

    def of_content(self, content: str) -> tuple[ObjectRef, ...]:
        """Return the objects of a content."""
        found = self._contents.get(hash(content))
        names = (found,) if isinstance(found, str) else found or ()
        return tuple(ref_of(name) for name in names if name in self._rows and _decode(self._rows[name]).content == content)

    def _share(self, content: str, name: str) -> None:
        key = hash(content)
        known = self._contents.get(key)
        if known is None or known == name:
            self._contents[key] = name
        elif isinstance(known, str):
            self._contents[key] = tuple(sorted((known, name)))
        elif name not in known:
            self._contents[key] = tuple(sorted((*known, name)))

    def _unshare(self, content: str, name: str) -> None:
        key = hash(content)
        known = self._contents.get(key)
        if known == name:
            del self._contents[key]
        elif isinstance(known, tuple) and name in known:
            rest = tuple(other for other in known if other != name)
            self._contents[key] = rest[0] if len(rest) == 1 else rest

    # -- over all ----------------------------------------------------------------------------------------------------------

    def standing(self, reading: Reading, kept: Iterable[str]) -> tuple[list[Replica], list[tuple[str, int]]]:
        """Return the rows that are dirty or `kept`, and name and size of all others, the one used longest ago first.

        Rows that were read, but are gone since, are left out.
        """
        aside = {*reading.dirty, *kept}
        marked = list(self.named(sorted(aside)))
        names, sizes = reading.names, reading.sizes
        order = sorted(range(len(names)), key=reading.times.__getitem__)
        if aside or len(self) < len(names):
            order = [place for place in order if names[place] in self._rows and names[place] not in aside]
        return marked, [(names[place], sizes[place]) for place in order]


def same_place(one: Replica, other: bytes | None) -> bool:
    """Return whether a row is of the same file as a packed row of the same object."""
    if other is None:
        return False
    packed = _decode(other)
    return (packed.location, packed.size_bytes, packed.stamp) == (place_of(one.location), one.size_bytes, one.stamp)
