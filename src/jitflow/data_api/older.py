"""What the older service's endpoints take and answer, as OpenAPI."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from jitflow.data_api.bodies import OldCopyBody, OldFolderBody, OldRemoteBody, OldSyncBody
from jitflow.openapi import FORM, Operation, Query


class Said(Struct, frozen=True):
    """What was done."""

    message: str


class Moved(Struct, frozen=True):
    """What was done, by which transfer jobs; 202 says that they are still at work."""

    message: str
    jobs: Sequence[str]


class OldFile(Struct, frozen=True):
    """A file, its name below the folder that was asked for."""

    file_name: str
    size: int


class OldFolders(Struct, frozen=True):
    """Names of folders."""

    folders: Sequence[str]


class OldAlias(Struct, frozen=True):
    """The name of a remote."""

    alias: str


_REMOTE = Query("remote", about="`far`, `far:` or `far:bucket/`.", required=True)
_FOLDER = Query("folder", about="Below the remote.")
_WAIT = (Query("wait_s", "integer", about="After so many seconds 202 is answered: 0 to 3,600; without it 300."),)
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "remote": {"type": "string"},
        "folder": {"type": "string"},
        "file": {"type": "string", "format": "binary"},
    },
    "required": ["remote", "file"],
}
_older = partial(Operation, tag="Older")


def aliases() -> list[Operation]:
    """Return every operation that the older service had."""
    remote = {
        "name": "far",
        "type": "s3",
        "access_key": "reader",
        "secret_key": "…",
        "endpoint": "https://minio.example.org",
        "additional_options": {"provider": "Minio"},
    }
    pair = {"source": "far:bucket/", "destination": "near:bucket/", "parallel_files": 4}
    folder = {"remote": "far:", "folder": "bucket/inputs"}
    path = "/rclone/configure"
    return [
        _older(id="oldRemotes", method="GET", path=path, summary="List remotes by name", answer={"type": "object"}),
        _older(id="oldConfigure", method="POST", path=path, summary="Add or replace a remote", body=OldRemoteBody, answer=Said,
               example=remote),
        _older(id="oldForget", method="DELETE", path=path + "/{name}", summary="Forget a remote", answer=Said),
        _older(id="oldAlias", method="GET", path="/rclone/get-endpoint-alias", summary="Say which remote has an endpoint",
               query=(Query("endpoint", required=True),), answer=OldAlias),
        _older(id="oldCheck", method="GET", path="/rclone/check", summary="Say whether a file or folder is there; 404 if not",
               query=(Query("path", about="A remote, or a place of one.", required=True), Query("file", about="Below it.")),
               answer=Said),
        _older(id="oldCopy", method="POST", path="/rclone/copy", summary="Copy files, and wait for that", query=_WAIT,
               body=OldCopyBody, answer=Moved, example={**pair, "files": ["a.dat"]}),
        _older(id="oldSync", method="POST", path="/rclone/sync", summary="Sync folders, and wait for that", query=_WAIT,
               body=OldSyncBody, answer=Moved, example={**pair, "folders": ["inputs"]}),
        _older(id="oldUpload", method="POST", path="/rclone/upload", body=_FORM, sent=FORM, answer=Said, status=201,
               summary="Store the field `file` of a form in `folder` of `remote`, its other fields"),
        *_files(),
        *_folders(folder),
    ]  # fmt: skip


def _files() -> list[Operation]:
    files: Any = Sequence[OldFile]
    path = "/rclone/list-files/{remote}"
    summary = "List all files below a folder"
    file = "/rclone/files"
    where = (_REMOTE, Query("file_path", about="Below the remote.", required=True))
    optional = (Query("remote", about="Without it, the path begins with the remote."),)
    return [
        _older(id="oldFiles", method="GET", path=file, summary=summary, query=(_REMOTE, _FOLDER), answer=files),
        _older(id="oldFilesOf", method="GET", path=path, summary=summary, query=(_FOLDER,), answer=files),
        _older(id="oldFilesIn", method="GET", path=path + "/{folder:path}", summary=summary, answer=files),
        _older(id="oldDelete", method="DELETE", path=file, summary="Delete a file", query=where, answer=Said),
        _older(id="oldDeleteAt", method="DELETE", path=file + "/{file_path:path}", summary="Delete a file", query=optional,
               answer=Said),
    ]  # fmt: skip


def _folders(example: dict[str, str]) -> list[Operation]:
    found: list[Operation] = []
    shown = "List the folders right below a place"
    gone = "Delete a folder with all that is in it"
    for name, path in (("", "/rclone/folder"), ("s", "/rclone/folders")):
        found += [
            _older(id=f"oldMakeFolder{name}", method="POST", path=path, summary="Make a folder", body=OldFolderBody, answer=Said,
                   example=example, status=201),
            _older(id=f"oldRemoveFolder{name}", method="DELETE", path=path, summary=gone, body=OldFolderBody, answer=Said,
                   example=example),
        ]  # fmt: skip
    for name, path in (("oldListFolders", "/rclone/list-folders"), ("oldFolders", "/rclone/folders")):
        found.append(_older(id=name, method="GET", path=path, summary=shown, query=(_REMOTE, _FOLDER), answer=OldFolders))
    return found
