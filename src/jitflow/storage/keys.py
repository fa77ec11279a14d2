"""Paths within remotes: which ones are accepted, and how rclone is told of them. Pure."""

from typing import NamedTuple

from jitflow.model.data import ObjectRef
from jitflow.ports.errors import FixRequest

LONGEST_PATH = 4096


class Address(NamedTuple):
    """What rclone calls `fs` and `remote`: a root and a path below it."""

    fs: str
    remote: str

    @property
    def whole(self) -> str:
        """Return both as one `fs`, for calls that work on everything below.

        The final `/` says that it is no object: rclone's S3 then need not look.
        """
        return f"{self.fs}{self.remote}/" if self.remote else self.fs


def address(ref: ObjectRef, *, options: str = "") -> Address:
    """Return how rclone is told of an object or, without the final `/`, of a prefix.

    `options` is put after the remote's name (`no_head_object=true`).

    Raises:
        FixRequest: the path leaves its root or cannot be kept apart from another one.
    """
    check(ref)
    name = f"{ref.remote},{options}" if options else ref.remote
    rooted = "/" if ref.path.startswith("/") else ""
    return Address(f"{name}:{rooted}", ref.path.strip("/"))


def check(ref: ObjectRef) -> None:
    """Refuse paths that rclone would take for another one.

    Raises:
        FixRequest: says what is wrong with the path.
    """
    if len(ref.path) > LONGEST_PATH:
        raise FixRequest(f"{ref.remote}:{ref.path[:64]}…: the path is longer than {LONGEST_PATH} characters")
    if "\0" in ref.path:
        raise FixRequest(f"{str(ref)!r}: the path holds a zero byte; remove it")
    if "//" not in ref.path and "/." not in ref.path and ref.path[:1] != ".":
        return  # as nearly all
    parts = ref.path.removeprefix("/").removesuffix("/").split("/") if ref.path.strip("/") else []
    if ".." in parts or "." in parts:
        raise FixRequest(f"{ref}: `.` and `..` are not allowed in a path; write where the object really lies")
    if "" in parts:
        raise FixRequest(f"{ref}: `//` is not allowed in a path; write one `/`")


def below(prefix: ObjectRef, path: str, *, is_dir: bool = False) -> ObjectRef:
    """Return the reference of an entry that a listing of `prefix` calls `path` (counted from the root of its `fs`)."""
    rooted = "/" if prefix.path.startswith("/") else ""
    return ObjectRef(remote=prefix.remote, path=f"{rooted}{path}/" if is_dir else f"{rooted}{path}")
