"""Single files and folders of far stores, as the Data API tells of them and its client reads them."""

from msgspec import Struct

from jitflow.model.data import ObjectRef


class Existence(Struct, frozen=True, kw_only=True):
    """Whether something is there, and what: `file`, `folder`, or nothing."""

    ref: ObjectRef
    exists: bool
    kind: str = ""


class Folder(Struct, frozen=True, kw_only=True):
    """A folder. `kept`: whether its store keeps folders that hold nothing; others show one as soon as a file is in it."""

    ref: ObjectRef
    kept: bool = True


class Link(Struct, frozen=True, kw_only=True):
    """A URL by which anybody can read a file."""

    ref: ObjectRef
    url: str


class PartInfo(Struct, frozen=True, kw_only=True):
    """A part that has arrived; `md5` in hexadecimal digits."""

    number: int
    size_bytes: int
    md5: str


class MultipartView(Struct, frozen=True, kw_only=True):
    """An upload in parts: what has arrived so far."""

    id: str
    ref: str
    created_at: float
    parts: tuple[PartInfo, ...] = ()
