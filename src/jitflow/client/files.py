"""Single files and folders of far stores."""

from __future__ import annotations

from jitflow.client._calls import Group, S, Stream, call, stream
from jitflow.client._effects import Emit, Read, Request, Script
from jitflow.client._requests import Call, get, given, nothing, reading, send, tail
from jitflow.client._streams import opened
from jitflow.model.data import ObjectInfo
from jitflow.model.files import Existence, Folder, Link, MultipartView

_BASE = "/data/v1"
_CONTENT = _BASE + "/content"
_PARTS = _BASE + "/multipart"
_OCTETS = "application/octet-stream"


class Files(Group[S]):
    """Files and folders, as `remote:path`."""

    @stream
    def read(self, ref: str, *, namespace: str = "") -> Stream[bytes]:
        """Yield the bytes of a file; `namespace` pays."""
        query = given({"ref": ref, "namespace": namespace})
        return Stream(_bytes(Request(method="GET", path=_CONTENT, query=query, accept="*/*", repeatable=True)))

    @call
    def put(self, ref: str, data: bytes, *, namespace: str = "") -> Call[ObjectInfo]:
        """Store bytes as a file; larger ones come by `begin`, `put_part` and `complete`. `namespace` pays."""
        query = given({"ref": ref, "namespace": namespace})
        request = Request(method="PUT", path=_CONTENT, query=query, body=data, media=_OCTETS, repeatable=True, patient=True)
        return Call(request, reading(ObjectInfo))

    @call
    def delete(self, ref: str) -> Call[None]:
        """Delete a file."""
        return Call(Request(method="DELETE", path=_CONTENT, query=given({"ref": ref})), nothing)

    @call
    def exists(self, ref: str) -> Call[Existence]:
        """Say whether a file or folder is there."""
        return get(Existence, _BASE + "/exists", query={"ref": ref})

    @call
    def make_folder(self, ref: str) -> Call[Folder]:
        """Make a folder."""
        return send(Folder, "POST", _BASE + "/folders", body={"ref": ref}, repeatable=True)

    @call
    def remove_folder(self, ref: str, *, recursive: bool = False) -> Call[None]:
        """Remove a folder that is empty; `recursive`: with all that is in it."""
        query = given({"ref": ref, "recursive": recursive})
        return Call(Request(method="DELETE", path=_BASE + "/folders", query=query, repeatable=True, patient=True), nothing)

    @call
    def copy(self, source: str, destination: str, *, namespace: str = "default") -> Call[ObjectInfo]:
        """Copy a file; a destination that ends in `/` keeps its name. `namespace` pays."""
        body = {"source": source, "destination": destination, "namespace": namespace}
        return send(ObjectInfo, "POST", _BASE + "/files/copy", body=body, repeatable=True, patient=True)

    @call
    def move(self, source: str, destination: str, *, namespace: str = "default") -> Call[ObjectInfo]:
        """Move a file; a destination that ends in `/` keeps its name. `namespace` pays."""
        body = {"source": source, "destination": destination, "namespace": namespace}
        return send(ObjectInfo, "POST", _BASE + "/files/move", body=body, patient=True)

    @call
    def link(self, ref: str, *, expires_s: float | None = None) -> Call[Link]:
        """Return a URL by which anybody can read a file, where its store can."""
        return send(Link, "POST", _BASE + "/files/link", body={"ref": ref, "expires_s": expires_s})

    @call
    def begin(self, ref: str) -> Call[MultipartView]:
        """Begin an upload in parts."""
        return send(MultipartView, "POST", _PARTS, body={"ref": ref})

    @call
    def parts(self, upload: str) -> Call[MultipartView]:
        """Return which parts of an upload have arrived: the others are left to be sent."""
        return get(MultipartView, _PARTS, upload)

    @call
    def put_part(self, upload: str, number: int, data: bytes) -> Call[None]:
        """Send a part, 1 to 10,000."""
        path = tail(_PARTS, upload, str(number))
        return Call(Request(method="PUT", path=path, body=data, media=_OCTETS, repeatable=True, patient=True), nothing)

    @call
    def complete(self, upload: str, *, namespace: str = "") -> Call[ObjectInfo]:
        """Store all parts as one file; `namespace` pays."""
        path, query = tail(_PARTS, upload, "complete"), given({"namespace": namespace})
        return Call(Request(method="POST", path=path, query=query, patient=True), reading(ObjectInfo))

    @call
    def abort(self, upload: str) -> Call[None]:
        """Forget an upload and its parts."""
        return Call(Request(method="DELETE", path=tail(_PARTS, upload)), nothing)


def _bytes(request: Request) -> Script[None]:
    yield from opened(request)
    while chunk := (yield Read()):
        yield Emit(chunk)
