"""Files that a workflow names in its parameters, and that its steps read by themselves.

A convention of workflows written for an older replication service: `files` is a list (JSON), `secondary_endpoint` and
`secondary_folder` say where the files lie, `primary_endpoint` and `primary_folder` where steps look first. A step reads the
files that its input parameters name.
"""

import json
from collections.abc import Iterable, Mapping
from typing import cast

from msgspec import Struct

from jitflow.model import argo
from jitflow.model.runs import NamedFile

PARAMETERS = ("files", "secondary_endpoint", "secondary_folder", "primary_endpoint", "primary_folder")
_PLACES = PARAMETERS[1:]


class NamedFiles(Struct, frozen=True, kw_only=True):
    """The files of a workflow. `far` and `near`: endpoint and folder (bucket first) of both stores."""

    files: frozenset[str] = frozenset()
    far: tuple[str, str] = ("", "")
    near: tuple[str, str] = ("", "")

    def read_by(self, parameters: Iterable[argo.Parameter]) -> tuple[NamedFile, ...]:
        """Return the files that a step with these input parameters reads: those that are the value of one."""
        if not self.files:
            return ()
        named = dict.fromkeys(one.value for one in parameters if one.value in self.files)
        return tuple(NamedFile(far=_object(*self.far, file), near=_object(*self.near, file)) for file in named if file)


NONE = NamedFiles()


def named_files(parameters: Mapping[str, str]) -> NamedFiles:
    """Return the files that a workflow's parameters name; none if one of the five is missing or makes no sense."""
    places = [parameters.get(name, "").strip() for name in _PLACES]
    files = names_in(parameters.get("files", ""))
    if not files or not all(places):
        return NONE
    return NamedFiles(files=frozenset(files), far=(places[0], places[1]), near=(places[2], places[3]))


def names_in(text: str) -> list[str]:
    """Return the names of a list. Single quotes do too, and line breaks written as `\\n`: that service took both."""
    straight = text.replace("\\n", "")
    for written in (text, straight, straight.replace("'", '"')):
        try:
            found: object = json.loads(written)
        except ValueError:
            continue
        if isinstance(found, list):
            names = [one for one in cast("list[object]", found) if isinstance(one, str) and one.strip("/")]
            return names if len(names) == len(cast("list[object]", found)) else []
    return []


def _object(endpoint: str, folder: str, file: str) -> argo.Artifact:
    bucket, _, prefix = folder.strip("/").partition("/")
    key = "/".join(part for part in (prefix, file.strip("/")) if part)
    return argo.Artifact(name=file, optional=True, s3=argo.S3Artifact(endpoint=endpoint, bucket=bucket, key=key))
