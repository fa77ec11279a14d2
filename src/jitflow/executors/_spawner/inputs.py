"""What a sandboxed pod finds when its command starts: volumes, files of the image, inputs, small files.

Runs after `rootfs.pivot`: relative paths are the host's, absolute ones the pod's.
"""

import os
import stat
from typing import TypeVar

from . import rootfs
from . import syscalls as sc
from .files import copy_tree, set_mode
from .record import File, Input, Plan, Pod, PodError, Volume, content_of, describe
from .unpack import unpack

IN_MEMORY_LIMIT_BYTES = 256 * 1024 * 1024
"""A size-limited volume up to this size is a tmpfs, which holds the limit; a larger one is on disk and checked at the end."""

_Placed = TypeVar("_Placed", Volume, Input)


def wanted_paths(pod: Pod) -> list[str]:
    """Return the paths at which something will be mounted or made, besides outputs."""
    paths = [volume["path"] for volume in pod["volumes"]]
    paths += pod["image"]["files"]
    paths += [item["path"] for item in pod["inputs"]]
    paths += [file["path"] for file in pod["files"]]
    if pod["working_dir"]:
        paths.append(os.path.join(pod["working_dir"], "x"))
    return [path for path in paths if path.startswith("/")]


def make_all(pod: Pod, plan: Plan, stage: str) -> None:
    """Place everything the pod declares; `stage`: see `rootfs`.

    Raises:
        PodError: something cannot be placed; the text names it.
    """
    for volume in _outermost_first(pod["volumes"]):
        _guard(f"volume {volume['name']}", _volume, volume, plan)
    for path, source in sorted(pod["image"]["files"].items()):
        rootfs.place(_host(source), path, sc.READ_ONLY, recursive=plan["user_namespace"])
    for item in _outermost_first(pod["inputs"]):
        _guard(f"input {item['name']}", _input, item, pod, plan)
    for number, file in enumerate(pod["files"]):
        if file["secret"]:
            _guard(f"file {file['path']}", _secret, file, f".{stage}/secret-{number}")
        else:
            _guard(f"file {file['path']}", _file, file, file["path"])


def _outermost_first(items: list[_Placed]) -> list[_Placed]:
    return sorted(items, key=lambda item: item["path"].rstrip("/").count("/"))


def _guard(what: str, make: object, *arguments: object) -> None:
    try:
        make(*arguments)  # type: ignore[operator]
    except PodError as error:
        raise PodError(f"{what}: {error}") from error
    except OSError as error:
        raise PodError(f"{what}: {describe(error)}") from error


def _host(path: str) -> str:
    """Return the host's `path` as seen from the old root, links followed on the host's side."""
    return "." + rootfs.resolve(".", path)


def _volume(volume: Volume, plan: Plan) -> None:
    if volume["source"]:
        base = _host(volume["source"])
        if not os.path.isdir(base):
            raise PodError(f"the host has no directory {volume['source']}")
    else:
        base = _own_directory(volume, plan)
    source = base
    if volume["sub_path"]:
        parts = [part for part in volume["sub_path"].split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PodError(f"subPath {volume['sub_path']!r} leads out of the volume")
        source = base + rootfs.resolve(base, "/".join(parts))
        os.makedirs(source, exist_ok=True)
    attributes = sc.READ_ONLY if volume["read_only"] else sc.READ_WRITE
    rootfs.place(source, volume["path"], attributes, recursive=plan["user_namespace"] and bool(volume["source"]))


def _own_directory(volume: Volume, plan: Plan) -> str:
    """Return the pod's directory for an empty volume, made (and mounted, if it lives in memory) at its first use."""
    base = _host(plan["volumes"] or plan["directory"]) + "/volumes/" + volume["name"]
    return make_own_directory(base, volume)


def make_own_directory(base: str, volume: Volume) -> str:
    """Make (and mount) the directory of an empty volume if it is not there; returns it."""
    if os.path.isdir(base):
        return base
    os.makedirs(base)
    os.chmod(base, 0o777)
    limit = volume["size_limit_bytes"]
    if volume["memory"] or (limit is not None and limit <= IN_MEMORY_LIMIT_BYTES):
        size = f",size={limit}" if limit is not None else ""
        sc.mount("volume", base, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, f"mode=777{size}")
    return base


def _input(item: Input, pod: Pod, plan: Plan) -> None:
    source = _host(item["source"])
    if not os.path.exists(source):
        raise PodError(f"its source {item['source']} is not there")
    delivery = item["delivery"]
    if delivery == "bind" and item["mode"] is None and not _written_below(item["path"], pod):
        rootfs.place(source, item["path"], sc.READ_ONLY, recursive=plan["user_namespace"])
        return
    os.makedirs(os.path.dirname(item["path"].rstrip("/")), exist_ok=True)
    if delivery == "unpack":
        unpack(source, item["path"].rstrip("/"), links_outside=True)
    else:
        _copy(source, item["path"].rstrip("/"))
    if item["mode"] is not None:
        set_mode(item["path"], item["mode"], recurse=item["recurse"])


def _copy(source: str, target: str) -> None:
    if os.path.islink(target) or (os.path.exists(target) and not os.path.isdir(target)):
        os.unlink(target)
    copy_tree(source, target)


def _written_below(path: str, pod: Pod) -> bool:
    """Say whether something else of the pod is placed at or below `path`, so that a read-only bind will not do."""
    outputs = [output["path"] for output in pod["outputs"] if output["kind"] != "log"]
    others = [item["path"] for item in pod["inputs"] if item["path"] != path]
    others += [file["path"] for file in pod["files"]]
    return any(rootfs.below(place, (path,)) for place in outputs + others)


def _secret(file: File, place: str) -> None:
    """Make a file in memory, and show it at its path."""
    _file(file, place)
    rootfs.place(place, file["path"], sc.READ_ONLY)


def _file(file: File, path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise PodError("something that is no file is there already")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as writer:
        writer.write(content_of(file))
        writer.flush()
        os.fchmod(fd, file["mode"])
