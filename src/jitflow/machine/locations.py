"""Where artifacts lie: the key of an output, and locations with a path appended."""

import posixpath
from typing import Any

import msgspec

from jitflow.model import argo, repositories

STORES = ("s3", "gcs", "azure", "oss", "hdfs", "http", "git", "artifactory", "raw", "plugin")
_KEYS = {**repositories.KEYS, "http": "url"}


def store_of(artifact: argo.Artifact | argo.ArtifactLocation) -> str:
    """Return which field holds the artifact's location, empty when it has none."""
    return next((store for store in STORES if getattr(artifact, store) is not None), "")


def with_suffix(artifact: argo.Artifact, suffix: str) -> argo.Artifact:
    """Return the artifact with text appended to its key; unchanged where keys mean nothing (raw, git)."""
    store = store_of(artifact)
    field = _KEYS.get(store)
    if field is None:
        return artifact
    location: Any = getattr(artifact, store)
    location = msgspec.structs.replace(location, **{field: f"{getattr(location, field) or ''}{suffix}"})
    return msgspec.structs.replace(artifact, **{store: location})


def below(artifact: argo.Artifact, sub_path: str) -> argo.Artifact:
    """Return the part of an artifact at a path below its key."""
    store = store_of(artifact)
    field = _KEYS.get(store)
    if field is None or not sub_path:
        return artifact
    key = getattr(getattr(artifact, store), field) or ""
    return with_suffix(artifact, sub_path if key.endswith("/") else f"/{sub_path}")


def as_directory(artifact: argo.Artifact) -> argo.Artifact:
    """Return the location of a directory that is saved as it is: its key ends in a slash."""
    field = _KEYS.get(store_of(artifact))
    key = getattr(getattr(artifact, store_of(artifact)), field) if field else "/"
    return artifact if key is None or key.endswith("/") else with_suffix(artifact, "/")


def is_plain(artifact: argo.Artifact) -> bool:
    """Return whether the artifact is saved without packing."""
    return artifact.archive is not None and artifact.archive.none is not None


def is_placed(artifact: argo.Artifact) -> bool:
    """Return whether an output artifact has a location that names an object."""
    store = store_of(artifact)
    field = _KEYS.get(store)
    return bool(store) and (field is None or bool(getattr(getattr(artifact, store), field)))


def in_archive(artifact: argo.Artifact, archive: argo.ArtifactLocation) -> argo.Artifact:
    """Return an output artifact with a location: its own, else one below the template's `archiveLocation`."""
    if store_of(artifact):
        return artifact
    store = store_of(archive)
    return below(msgspec.structs.replace(artifact, **{store: getattr(archive, store)}), file_name(artifact))


def in_repository(artifact: argo.Artifact, repository: argo.ArtifactRepository, prefix: str) -> argo.Artifact:
    """Return an output artifact with a location: its own, else a key below `prefix` in the repository, or in its own bucket."""
    if is_placed(artifact):
        return artifact
    key = posixpath.normpath(f"{prefix}/{file_name(artifact)}").lstrip("/")
    return with_suffix(artifact, key) if store_of(artifact) else repositories.keyed(artifact, repository, key)


def file_name(artifact: argo.Artifact) -> str:
    """Return the name under which an output artifact is saved."""
    archive = artifact.archive or argo.ArchiveStrategy()
    if archive.none is not None:
        return posixpath.basename((artifact.path or artifact.name).rstrip("/"))
    return f"{artifact.name}.zip" if archive.zip is not None else f"{artifact.name}.tgz"


def delivered(declared: argo.Artifact, given: argo.Artifact) -> argo.Artifact:
    """Return an input artifact as its template declares it, at the location that was given."""
    archive = given.archive if given.archive is not None else declared.archive
    changes: dict[str, Any] = {field: getattr(given, field) for field in STORES}
    for field in ("from_", "from_expression", "sub_path", "global_name"):
        changes[field] = None
    return msgspec.structs.replace(declared, **changes, archive=archive)
