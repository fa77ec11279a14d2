"""Crates of runs on the client's side: read, and compared with one another."""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from jitflow.cli.errors import InputRefused

METADATA = "ro-crate-metadata.json"
MANIFEST = "workflow.yaml"
_MAX_BYTES = 256 << 20
_HASHES = ("sha256", "sha1", "md5")
_LOGS = "-logs"

Entity = Mapping[str, Any]


class Mark(Struct, frozen=True, kw_only=True):
    """What tells an object's content from another's. `contents`: of what an archive holds."""

    ref: str
    size_bytes: int
    version: str = ""
    hashes: dict[str, str] = {}
    contents: str = ""

    def shown(self) -> str:
        """Return it for people."""
        known = next((f"{kind}:{self.hashes[kind][:12]}…" for kind in _HASHES if kind in self.hashes), "")
        return known or self.version or f"{self.size_bytes:,} bytes"


class Change(Struct, frozen=True, kw_only=True):
    """Something that is not as it was. `what`: `input`, `output` or `step`; `how`: `changed`, `gone`, `new` or `differs`."""

    what: str
    name: str
    how: str
    before: str = ""
    after: str = ""


class Drift(Struct, frozen=True, kw_only=True):
    """What is not as it was, and how much was compared. `unknown`: of which nothing tells whether it is the same."""

    changes: tuple[Change, ...]
    inputs: int
    outputs: int
    unknown: tuple[str, ...] = ()


class Crate:
    """A run's crate: its graph, and the manifest if it is there."""

    def __init__(self, metadata: Any, manifest: str = "") -> None:
        """Read the graph.

        Raises:
            InputRefused: it is no crate of a run.
        """
        graph = metadata.get("@graph") if isinstance(metadata, dict) else None
        self.entities: dict[str, Entity] = {}
        if isinstance(graph, list):
            self.entities = {one["@id"]: one for one in graph if isinstance(one, dict) and isinstance(one.get("@id"), str)}
        if "#run" not in self.entities or MANIFEST not in self.entities:
            raise InputRefused("this is no crate of a jitflow run: it names no run of a workflow.yaml")
        self.manifest = manifest

    @property
    def name(self) -> str:
        """The workflow's name."""
        return str(self.entities[MANIFEST].get("name", ""))

    def sources(self) -> dict[str, Mark]:
        """Return what the run has read that none of its steps wrote, by reference."""
        marks = (self._mark(identity) for identity in _ids(self.entities["#run"].get("object")))
        return {mark.ref: mark for mark in marks if mark is not None}

    def outputs(self) -> dict[str, Mark]:
        """Return what each step has written, by step and artifact; logs tell of times and are left out."""
        found: dict[str, Mark] = {}
        for action in self._actions():
            for identity in _ids(action.get("result")):
                mark = self._mark(identity)
                name = self.entities.get(identity, {}).get("alternateName") or (mark.ref if mark else "")
                if mark is not None and not str(name).endswith(_LOGS):
                    found[str(name)] = mark
        return found

    def ends(self) -> dict[str, str]:
        """Return how each step ended."""
        return {str(one.get("name")): str(_first(one.get("actionStatus"))).rpartition("/")[2] for one in self._actions()}

    def _actions(self) -> Iterator[Entity]:
        return (one for one in self.entities.values() if one.get("@type") == "CreateAction" and one["@id"] != "#run")

    def _mark(self, identity: str) -> Mark | None:
        entity = self.entities.get(identity, {})
        if not isinstance(ref := entity.get("identifier"), str):
            return None
        contents = self.entities.get(str(_first(entity.get("additionalProperty"))), {})
        return Mark(
            ref=ref,
            size_bytes=int(entity.get("contentSize") or 0),
            version=str(entity.get("version", "")),
            hashes={kind: str(entity[kind]) for kind in _HASHES if entity.get(kind)},
            contents=str(contents.get("value", "")),
        )


def _ids(value: Any) -> list[str]:
    items: Iterable[Any] = value if isinstance(value, list) else [value]
    return [str(one["@id"]) for one in items if isinstance(one, dict) and "@id" in one]


def _first(value: Any) -> str:
    return next(iter(_ids(value)), "")


def read(path: Path) -> Crate:
    """Return the crate of a zip, a folder, or a metadata file with the manifest beside it.

    Raises:
        InputRefused: it cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            return read_bytes(path.read_bytes())
        metadata = path / METADATA if path.is_dir() else path
        manifest = metadata.parent / MANIFEST
        return Crate(json.loads(metadata.read_bytes()), manifest.read_text(encoding="utf-8") if manifest.exists() else "")
    except OSError as error:
        raise InputRefused(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputRefused(f"{path}: this is no RO-Crate: {error}") from error


def read_bytes(body: bytes) -> Crate:
    """Return the crate of a zip.

    Raises:
        InputRefused: it is no crate of a run. BadZipFile, KeyError, ValueError: it is no crate.
    """
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return Crate(json.loads(_member(archive, METADATA)), _member(archive, MANIFEST).decode())


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_BYTES >> 20} MiB")
    return archive.read(name)


def is_same(before: Mark, after: Mark) -> bool | None:
    """Return whether two objects have the same content, None if nothing tells."""
    if before.contents and after.contents:
        return before.contents == after.contents
    if before.size_bytes != after.size_bytes:
        return False
    common = [kind for kind in _HASHES if kind in before.hashes and kind in after.hashes]
    if common:
        return all(before.hashes[kind] == after.hashes[kind] for kind in common)
    if before.ref == after.ref and before.version and before.version == after.version:
        return True
    return None


def drift_of_inputs(before: Mapping[str, Mark], now: Mapping[str, Mark | None]) -> Drift:
    """Compare what a run has read with how it is now (None: gone)."""
    changes, unknown = _compared("input", before, {ref: mark for ref, mark in now.items() if mark is not None}, by_version=True)
    return Drift(changes=changes, inputs=len(before), outputs=0, unknown=unknown)


def drift(before: Crate, after: Crate) -> Drift:
    """Compare two runs of one manifest."""
    inputs, unknown_inputs = _compared("input", before.sources(), after.sources(), by_version=True)
    outputs, unknown_outputs = _compared("output", before.outputs(), after.outputs(), by_version=False)
    ends = before.ends()
    steps = tuple(
        Change(what="step", name=name, how="differs", before=ends[name], after=end)
        for name, end in after.ends().items()
        if name in ends and ends[name] != end
    )
    return Drift(
        changes=(*inputs, *steps, *outputs),
        inputs=len(before.sources()),
        outputs=len(before.outputs()),
        unknown=(*unknown_inputs, *unknown_outputs),
    )


def _compared(
    what: str, before: Mapping[str, Mark], after: Mapping[str, Mark], *, by_version: bool
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return what is not as it was, and of what nothing tells. `by_version`: another version is a change, if no hash tells."""
    changes: list[Change] = []
    unknown: list[str] = []
    for name, was in before.items():
        now = after.get(name)
        if now is None:
            changes.append(Change(what=what, name=name, how="gone", before=was.shown()))
            continue
        same = is_same(was, now)
        if same is None and by_version and was.version and now.version:
            same = was.version == now.version
        if same is None:
            unknown.append(name)
        elif not same:
            how = "changed" if what == "input" else "differs"
            changes.append(Change(what=what, name=name, how=how, before=was.shown(), after=now.shown()))
    changes += [Change(what=what, name=name, how="new", after=after[name].shown()) for name in after if name not in before]
    return tuple(changes), tuple(unknown)
