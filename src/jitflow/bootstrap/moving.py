"""What `jitflow state` does: states are brought up to date, written to files, copied, looked through and mended."""

import asyncio
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from jitflow.bootstrap import soundness
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.keys import source_of
from jitflow.bootstrap.state import AUTO, NEAR_KINDS, state_url
from jitflow.bootstrap.vault import Vault
from jitflow.ports.errors import Broken
from jitflow.ports.store import StateStore, StoredRun
from jitflow.settings import Settings, SettingsError, load, parse_bytes
from jitflow.stores import is_file, open_store, shown
from jitflow.stores.sqlite import SqliteStore

_MAGIC = b"jitflow state 1\n"
_EVENTS_AT_ONCE = 1000
_DOCUMENTS_AT_ONCE = 500
_CHUNK_BYTES = 1 << 20
_LOOK_AGAIN_S = 1.0
_REPAIR_TURNS = 4


class RunEntry(Struct, frozen=True, tag="run"):
    """A run with its whole history."""

    run: StoredRun
    events: tuple[bytes, ...]


class DocumentsEntry(Struct, frozen=True, tag="documents"):
    """Documents of one kind."""

    kind: str
    rows: tuple[tuple[str, bytes], ...]


class EndEntry(Struct, frozen=True, tag="end"):
    """The end of a backup: what is cut off lacks it."""

    runs: int
    documents: int


Entry = RunEntry | DocumentsEntry | EndEntry
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


class Tally(Struct):
    """How much was gone through, and what does not fit together."""

    runs: int = 0
    documents: int = 0
    problems: list[str] = []

    def count(self, entry: Entry) -> None:
        """Take note of what was handed on."""
        self.runs += isinstance(entry, RunEntry)
        self.documents += len(entry.rows) if isinstance(entry, DocumentsEntry) else 0

    def says(self) -> str:
        """Return it for people."""
        return f"{self.runs} workflows and {self.documents} documents"


def migrate(state: str) -> tuple[int, int, str]:
    """Bring a state up to date; return the version it had, the one it has, and where it is.

    Raises:
        PortError, SettingsError: it cannot be used.
    """
    url = _url(state)

    async def work() -> tuple[int, int, str]:
        async with open_store(url) as store:
            found = getattr(store, "found_version", 0)
        async with open_store(url, reads_only=True) as store:
            return found, getattr(store, "found_version", 0), shown(url)

    return asyncio.run(work())


def backup(state: str, file: Path) -> Tally:
    """Write a state to a new file, readable by its owner only; under its name it is whole.

    Raises:
        PortError, SettingsError, OSError: it cannot be read, or the file cannot be written.
    """
    if file.exists():
        raise Broken(f"{file} is there already; choose another name")
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    tally = Tally()

    async def work() -> None:
        async with open_store(_url(state), reads_only=True) as store:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as out:
                out.write(_MAGIC)
                packer = zlib.compressobj(1)
                async for entry in entries(store):
                    tally.count(entry)
                    out.write(packer.compress(_framed(entry)))
                out.write(packer.compress(_framed(EndEntry(runs=tally.runs, documents=tally.documents))) + packer.flush())
                out.flush()
                os.fsync(out.fileno())

    try:
        asyncio.run(work())
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
    return tally


def restore(state: str, file: Path) -> Tally:
    """Read a backup into an empty state. The whole file is looked at before anything is written.

    Raises:
        PortError, SettingsError, OSError: the file is damaged, or the state is not empty.
    """
    for _ in _read(file):
        pass

    async def source() -> AsyncIterator[Entry]:
        for entry in _read(file):
            yield entry

    return asyncio.run(_fill(_url(state), source()))


def copy(state: str, target: str) -> Tally:
    """Copy a state into an empty one.

    Raises:
        PortError, SettingsError: one of them cannot be used, or the target is not empty.
    """
    from_url, to_url = _url(state), _url(target)

    async def work() -> Tally:
        async with open_store(from_url, reads_only=True) as store:
            return await _fill(to_url, entries(store))

    return asyncio.run(work())


def verify(state: str) -> Tally:
    """Look through a whole state and return what does not fit together; nothing is changed.

    A server may run meanwhile: what is on its way just then is looked at twice.

    Raises:
        PortError, SettingsError: it cannot be used.
    """

    async def work() -> Tally:
        async with _scene(state, reads_only=True) as scene:
            first = await soundness.look(scene)
            if not first.findings:
                return Tally(runs=first.runs, documents=first.documents)
            await asyncio.sleep(_LOOK_AGAIN_S)
            said = {str(one) for one in first.findings}
            again = await soundness.look(scene)
            problems = [str(one) for one in again.findings if str(one) in said]
            return Tally(runs=again.runs, documents=again.documents, problems=problems)

    return asyncio.run(work())


class Repair(Struct):
    """What a repair has mended, or would; `left`: what only a person can, or what could not be mended."""

    mended: list[str] = []
    left: list[str] = []


def repair(state: str, *, dry_run: bool = False) -> Repair:
    """Mend what can be mended of a state that no server holds.

    What one flaw has hidden comes to light when it is mended, so it is looked again until nothing more can be done.

    Raises:
        PortError, SettingsError: it cannot be used, or a server holds it.
    """
    done = Repair()

    async def turn() -> bool:
        async with _scene(state, reads_only=dry_run) as scene:
            report = await soundness.look(scene)
            mendable = [str(one) for one in report.findings if one.mend is not None and str(one) not in done.mended]
            done.left = [str(one) for one in report.findings if one.mend is None or str(one) in done.mended]
            done.mended += mendable
            if mendable and not dry_run:
                done.left += await soundness.mend(scene, report)
            return bool(mendable) and not dry_run

    for _ in range(_REPAIR_TURNS):
        if not asyncio.run(turn()):
            break
    return done


@asynccontextmanager
async def _scene(state: str, *, reads_only: bool) -> AsyncGenerator[soundness.Scene]:
    """Open a state, and what is near if it is that of the settings."""
    async with AsyncExitStack() as stack:
        settings = load() if not state else Settings()
        opened = open_store(_url(state), reads_only=reads_only, transactions=settings.state.transactions == AUTO)
        store = await stack.enter_async_context(opened)
        if state:
            yield soundness.Scene(store=store)
            return
        home = Home(Path(settings.home))
        near = store
        if not is_file(_url(state), home.state):
            opened = SqliteStore.open(home.state, reads_only=reads_only)
            near = await stack.enter_async_context(opened) if home.state.exists() else None
        primary = Path(settings.primary.path or home.primary) if not settings.primary.remote else None
        yield soundness.Scene(
            store=store,
            near=near,
            open_sealed=_opener(settings, home),
            primary=primary if primary is not None and primary.is_dir() else None,
            capacity_bytes=parse_bytes(settings.primary.capacity),
            pods=home.pods / "pods",
        )


def _opener(settings: Settings, home: Home) -> Callable[[bytes], bytes] | None:
    """Return what opens sealed documents; a key is not made where there is none."""
    source = source_of(settings.secrets.key, home.key)
    return Vault(source).open if source.read() is not None else None


async def entries(store: StateStore) -> AsyncIterator[Entry]:
    """Return all that a state holds, but what is about this machine's disk. Oldest runs first, so that their order stays."""
    for kind in await store.kinds():
        if kind not in NEAR_KINDS:
            rows = tuple(await store.items(kind))
            for start in range(0, len(rows), _DOCUMENTS_AT_ONCE):
                yield DocumentsEntry(kind=kind, rows=rows[start : start + _DOCUMENTS_AT_ONCE])
    for row in reversed(await store.runs()):
        run = await store.load(row.uid)
        if run is not None:  # else it was removed meanwhile
            yield RunEntry(run=run, events=await _history(store, row.uid))


async def _history(store: StateStore, uid: str) -> tuple[bytes, ...]:
    found: list[bytes] = []
    while page := await store.events(uid, after=len(found), limit=_EVENTS_AT_ONCE):
        found.extend(body for _, body in page)
    return tuple(found)


async def _fill(url: str, source: AsyncIterator[Entry]) -> Tally:
    tally = Tally()
    async with open_store(url) as store:
        if await store.runs() or any(kind not in NEAR_KINDS for kind in await store.kinds()):
            raise Broken(f"the state at {shown(url)} is not empty; choose an empty database, or another file")
        async for entry in source:
            tally.count(entry)
            if isinstance(entry, RunEntry):
                await store.restore(entry.run, entry.events)
            elif isinstance(entry, DocumentsEntry):
                await store.put(entry.kind, entry.rows)
    return tally


def _framed(entry: Entry) -> bytes:
    body = _encode(entry)
    return len(body).to_bytes(8, "big") + body


def _read(file: Path) -> Iterator[Entry]:
    """Return a backup's entries.

    Raises:
        Broken: it is none, or it is cut off or damaged.
    """
    tally = Tally()
    with file.open("rb") as source:
        if source.read(len(_MAGIC)) != _MAGIC:
            raise Broken(f"{file} is no backup of a state")
        try:
            for body in _frames(source.read):
                entry = _decode(body)
                if isinstance(entry, EndEntry):
                    if (entry.runs, entry.documents) == (tally.runs, tally.documents):
                        return
                    break
                tally.count(entry)
                yield entry
        except (zlib.error, msgspec.MsgspecError) as error:
            raise Broken(f"{file} is damaged: {error}; take another backup") from error
    raise Broken(f"{file} is cut off; take another backup")


def _frames(read: Callable[[int], bytes]) -> Iterator[bytes]:
    unpacker, held = zlib.decompressobj(), bytearray()
    while chunk := read(_CHUNK_BYTES):
        held += unpacker.decompress(chunk)
        while len(held) >= 8 and len(held) >= 8 + (size := int.from_bytes(held[:8], "big")):
            yield bytes(held[8 : 8 + size])
            del held[: 8 + size]


def _url(text: str) -> str:
    """Return a URL: as written, from the variable that `env:NAME` names, or that of the settings."""
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        if not os.environ.get(name):
            raise SettingsError(f"the environment variable {name} is not set; it must hold the URL of a state")
        return os.environ[name]
    settings = load() if not text else None
    return state_url(settings, Home(Path(settings.home))) if settings is not None else text
