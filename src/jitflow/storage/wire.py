"""The remote control protocol of rclone: builders of requests and parsers of answers. Pure.

rclone ignores what it does not know without a word, so every key is written here and nowhere else, and a test compares those of
`_config` with the options of the real program.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.storage.keys import Address, below
from jitflow.storage.remotes import Tuning

Request = dict[str, Any]
T = TypeVar("T")
LOCAL = ":local,encoding=Raw:"
BARE_LOCAL = ":local,encoding=Raw,no_set_modtime=true:"
"""Files there have the time at which they were written."""
"""The machine's own files, by absolute paths that mean what they say: without rclone's stand-ins for odd characters."""


class Failure(Struct, frozen=True):
    """A refusal. The request that it repeats (`input`) is not read: it may hold secrets."""

    error: str = ""
    status: int = 500


class Item(Struct, frozen=True, rename="pascal"):
    """An entry of a listing."""

    path: str
    size: int = -1
    mod_time: str = ""
    is_dir: bool = False
    hashes: dict[str, str] = {}


class StatAnswer(Struct, frozen=True):
    """The answer of `operations/stat`: no item when nothing is there."""

    item: Item | None = None


class ListAnswer(Struct, frozen=True):
    """The answer of `operations/list`."""

    entries: list[Item] | None = msgspec.field(name="list", default=None)


class Features(Struct, frozen=True, rename="pascal"):
    """What a store can do."""

    slow_hash: bool = False
    is_local: bool = False
    bucket_based: bool = False
    can_have_empty_directories: bool = False


class FsInfo(Struct, frozen=True, rename="pascal"):
    """The answer of `operations/fsinfo`."""

    features: Features = Features()
    hashes: list[str] | None = None

    @property
    def is_near(self) -> bool:
        """Whether the store is this machine: nothing is gained by several streams."""
        return self.features.is_local


class Transferring(Struct, frozen=True):
    """A transfer under way, in the answer of `core/stats`."""

    group: str = ""
    bytes: int = 0
    name: str = ""
    size: int = -1


class Transferred(Struct, frozen=True):
    """A transfer, check or deletion that is over, in the answer of `core/transferred`."""

    name: str = ""
    error: str = ""
    what: str = ""


class TransferredAnswer(Struct, frozen=True):
    """The answer of `core/transferred`: the newest hundred or so."""

    transferred: list[Transferred] | None = None


class Stats(Struct, frozen=True, rename="camel"):
    """The answer of `core/stats`."""

    bytes: int = 0
    checks: int = 0
    deletes: int = 0
    listed: int = 0
    transfers: int = 0
    speed: float = 0.0
    transferring: list[Transferring] = []
    server_side_copy_bytes: int = 0
    server_side_move_bytes: int = 0

    @property
    def server_side_bytes(self) -> int:
        """Return what a store has copied within itself."""
        return self.server_side_copy_bytes + self.server_side_move_bytes

    @property
    def activity(self) -> int:
        """Return a number that changes whenever anything was done."""
        return self.bytes + self.checks + self.deletes + self.listed + self.transfers


class PublicLink(Struct, frozen=True):
    """The answer of `operations/publiclink`."""

    url: str = ""


class JobList(Struct, frozen=True, rename="camel"):
    """The answer of `job/list`: `execute_id` names one life of the daemon."""

    execute_id: str = ""


class Version(Struct, frozen=True):
    """The answer of `core/version`."""

    version: str = ""
    decomposed: tuple[int, ...] = ()


class Question(Struct, frozen=True, rename="pascal"):
    """The answer of `config/create`: an error, or a question that it would have asked."""

    error: str = ""


def settings(tuning: Tuning, *, check_hashes: bool = True) -> Request:
    """Return the `_config` of calls that read or write a remote."""
    return {
        "Transfers": tuning.transfers,
        "Checkers": tuning.checkers,
        "MultiThreadStreams": tuning.multi_thread_streams,
        "MultiThreadCutoff": tuning.multi_thread_cutoff_bytes,
        "MultiThreadChunkSize": tuning.multi_thread_chunk_bytes,
        "LowLevelRetries": tuning.low_level_retries,
        "ConnectTimeout": f"{tuning.connect_timeout_s}s",
        "Timeout": f"{tuning.io_timeout_s}s",
        "UseServerModTime": True,
        "IgnoreTimes": True,
        "IgnoreChecksum": not check_hashes,
    }


def stat_request(at: Address, config: Request, *, hashes: bool) -> Request:
    """Return the parameters of `operations/stat` for a file."""
    return {
        "fs": at.fs,
        "remote": at.remote,
        "opt": {"filesOnly": True, "showHash": hashes, "noMimeType": True},
        "_config": config,
    }


def list_request(
    at: Address, config: Request, *, recursive: bool, hashes: bool, files_only: bool = False, rules: Iterable[str] = ()
) -> Request:
    """Return the parameters of `operations/list`; `rules`: filter rules for paths below `at`."""
    options = {"recurse": recursive, "showHash": hashes, "noMimeType": True, "filesOnly": files_only}
    request: Request = {"fs": at.fs, "remote": at.remote, "opt": options, "_config": config}
    if wanted := list(rules):
        request |= {"fs": at.whole, "remote": "", "_filter": rules_filter(wanted)}
    return request


def rules_filter(rules: Iterable[str]) -> Request:
    """Return the `_filter` of rules such as `- *.tmp` and `+ /raw/**`."""
    return {"FilterRule": list(rules)}


def bulk_request(source: Address, destination: Address | None, config: Request, chosen: Request, *, at_once: int) -> Request:
    """Return the parameters of a `sync/copy`, or without a destination of an `operations/delete`.

    `chosen`: the `_filter`. All that is chosen is copied (`IgnoreTimes`): the caller knows what is at the destination. Where
    files are chosen by name rclone does not look there at all; where a whole tree is, it is faster when it does.
    """
    config = {**config, "Transfers": at_once, "Checkers": max(at_once, config["Checkers"])}
    if "FilesFromRaw" in chosen:
        config |= {"NoCheckDest": True, "NoTraverse": True}
    if destination is None:
        return {"fs": source.whole, "_config": config, "_filter": chosen}
    return {"srcFs": source.whole, "dstFs": destination.whole, "_config": config, "_filter": chosen}


def local(path: str, *, bare: bool = False) -> Address:
    """Return how rclone is told of an absolute path of this machine; `bare`: files that it writes keep no times of others."""
    return Address(f"{BARE_LOCAL if bare else LOCAL}/", path.lstrip("/"))


def copyfile_request(source: Address, destination: Address, config: Request, *, in_place: bool, blind: bool = False) -> Request:
    """Return the parameters of `operations/copyfile`.

    `in_place`: write under the given name at once (the caller renames). `blind`: do not look whether something is there already.
    """
    return {
        "srcFs": source.fs,
        "srcRemote": source.remote,
        "dstFs": destination.fs,
        "dstRemote": destination.remote,
        "_config": {**config, "Inplace": in_place, "NoCheckDest": blind},
    }


def copydir_request(source: Address, destination: Address, config: Request, *, in_place: bool) -> Request:
    """Return the parameters of `sync/copy`."""
    return {"srcFs": source.whole, "dstFs": destination.whole, "_config": {**config, "Inplace": in_place}}


def copynames_request(fs: str, destination: Address, names: str, config: Request, *, at_once: int) -> Request:
    """Return the parameters of a `sync/copy` of the objects whose paths a file lists, each looked up by itself: no listing.

    They are written in place: for the name of a partial file rclone would ask the store about each object once more.
    """
    config = {**config, "Transfers": at_once, "Checkers": at_once, "NoTraverse": True, "NoCheckDest": True}
    return {
        "srcFs": fs,
        "dstFs": destination.whole,
        "_config": {**config, "Inplace": True, "IgnoreChecksum": True},
        "_filter": {"FilesFromRaw": [names]},
    }


def create_request(name: str, type_: str, options: dict[str, str]) -> Request:
    """Return the parameters of `config/create`: passwords are given in plain and rclone obscures them."""
    return {"name": name, "type": type_, "parameters": options, "opt": {"nonInteractive": True, "obscure": True}}


def limit_request(rate: Rate) -> Request:
    """Return the parameters of `core/bwlimit`, which holds for all that a daemon moves."""
    up, down = ("off" if value is None else f"{value}B" for value in (rate.up_Bps, rate.down_Bps))
    return {"rate": f"{up}:{down}"}


def parse(answer: bytes, kind: type[T]) -> T:
    """Return a typed answer.

    Raises:
        msgspec.MsgspecError: it has another form.
    """
    return msgspec.json.decode(answer, type=kind)


def object_info(prefix: ObjectRef, item: Item, *, exact_times: bool) -> ObjectInfo:
    """Return what a listing or stat says of one object (or, for a directory, a bare prefix)."""
    ref = below(prefix, item.path, is_dir=item.is_dir)
    if item.is_dir:
        return ObjectInfo(ref=ref, size_bytes=0, count=0)
    size = max(item.size, 0)
    text = item.mod_time
    time_ns = modified_ns(text)
    modified = f"{text[:19]}Z" if time_ns and text[-1] == "Z" and text[19:20] in {".", "Z"} else _iso(time_ns)
    stamp = time_ns if exact_times else time_ns // 1_000_000_000
    hashes = {kind: value.lower() for kind, value in item.hashes.items() if value}
    return ObjectInfo(ref=ref, size_bytes=size, modified=modified, hashes=hashes, version=f"{size}-{stamp}")


def prefix_info(ref: ObjectRef, members: Iterable[ObjectInfo]) -> ObjectInfo:
    """Return the sum over the objects below a prefix; the version changes with that of any of them."""
    digest = hashlib.sha1(usedforsecurity=False)
    size = count = 0
    newest = ""
    for member in sorted(members, key=lambda each: each.ref.path):
        size += member.size_bytes
        count += 1
        newest = max(newest, member.modified)
        digest.update(f"{member.ref.path}\0{member.version}\0".encode("utf-8", "surrogatepass"))
    return ObjectInfo(ref=ref, size_bytes=size, count=count, modified=newest, version=f"{count}-{digest.hexdigest()}")


def modified_ns(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds since the epoch, 0 if there is none.

    Stores tell the same time in different precision by listing and by stat, and in different zones.
    """
    if not text:
        return 0
    head, fraction, zone = text, "", ""
    if "." in text:
        head, _, rest = text.partition(".")
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, zone = rest[:digits], rest[digits:]
    second = _second(head + zone)
    return 0 if second is None else second * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0)


@lru_cache(1024)
def _second(text: str) -> int | None:
    """Return a time as seconds since the epoch; many objects of a listing are often of the same second."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def _iso(time_ns: int) -> str:
    if not time_ns:
        return ""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
