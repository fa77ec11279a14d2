"""Artifact repositories: which one a workflow uses, and what it adds to locations that only name a key."""

from typing import Any

import msgspec
import yaml

from jitflow.model import argo
from jitflow.model.objects import ConfigMap, Objects

CONFIG_MAP = "artifact-repositories"
DEFAULT_KEY = "workflows.argoproj.io/default-artifact-repository"
"""Annotation of that ConfigMap: the key of the repository that workflows use which name none."""

KEY_FORMAT = "{{workflow.name}}/{{pod.name}}"
"""Where outputs without a location go, in a repository that does not say."""

SERVER = argo.ArtifactRepositoryRefStatus(
    default=True, artifact_repository=argo.ArtifactRepository(s3=argo.S3ArtifactRepository())
)
"""The server's own repository: its locations are `s3` with nothing but a key, wherever the settings say that they lie."""

KEYS = {"s3": "key", "gcs": "key", "oss": "key", "plugin": "key", "azure": "blob", "hdfs": "path", "artifactory": "url"}
"""Kinds of repositories, and which field of their locations is the key."""

_FORMATS = {"azure": "blob_name_format", "hdfs": "path_format"}
_PLACES = {"s3": "endpoint", "gcs": "bucket", "oss": "endpoint", "azure": "endpoint", "hdfs": "addresses", "plugin": "name"}
"""Fields that say which store a location lies in: without it, that is the workflow's repository."""


class MissingRepository(LookupError):
    """The artifact repository that a workflow refers to is not there, or makes no sense."""


def resolve(
    ref: argo.ArtifactRepositoryRef | None, namespace: str, objects: Objects, default: argo.ArtifactRepositoryRefStatus
) -> argo.ArtifactRepositoryRefStatus:
    """Return the repository of a workflow, as its status tells it.

    A workflow that names none uses the default of the ConfigMap `artifact-repositories` of its namespace, without that ConfigMap
    the server's.

    Raises:
        MissingRepository: it names one that is not there, or that cannot be read.
    """
    name = (ref and ref.config_map) or CONFIG_MAP
    found = objects.find(ConfigMap, namespace, name)
    if found is None:
        if ref is None:
            return default
        raise MissingRepository(
            f'failed to find artifact repository: configmaps "{name}" not found in namespace "{namespace}"; '
            "create it, or leave artifactRepositoryRef out to use the server's default"
        )
    annotations = found.metadata.annotations if found.metadata is not None else {}
    key = (ref and ref.key) or annotations.get(DEFAULT_KEY, "")
    where = f'ConfigMap "{name}" of namespace "{namespace}"'
    if key not in found.data:
        lacking = f'has no key "{key}"' if key else f"names no default (annotation {DEFAULT_KEY})"
        known = ", ".join(sorted(found.data)) or "none"
        raise MissingRepository(f"failed to find artifact repository: {where} {lacking}; its keys are: {known}")
    repository = parse(found.data[key], f'key "{key}" of {where}')
    return argo.ArtifactRepositoryRefStatus(config_map=name, key=key, namespace=namespace, artifact_repository=repository)


def parse(text: str, where: str) -> argo.ArtifactRepository:
    """Return the repository that a text describes.

    Raises:
        MissingRepository: it cannot be read, or names no store.
    """
    try:
        repository = msgspec.convert(yaml.safe_load(text) or {}, argo.ArtifactRepository, strict=False)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        reason = " ".join(str(error).split())
        raise MissingRepository(f"failed to read artifact repository, {where}: {reason}") from error
    if not kind_of(repository):
        raise MissingRepository(f"failed to read artifact repository, {where}: it names no store; write one of {', '.join(KEYS)}")
    return repository


def kind_of(repository: argo.ArtifactRepository) -> str:
    """Return which field says what store it is, empty when none does."""
    return next((kind for kind in KEYS if getattr(repository, kind) is not None), "")


def key_format(repository: argo.ArtifactRepository) -> str:
    """Return the format of keys of outputs without a location."""
    kind = kind_of(repository)
    store: Any = getattr(repository, kind)
    chosen = getattr(store, _FORMATS.get(kind, "key_format"))
    prefix = (getattr(store, "key_prefix", None) or "").strip("/")
    return chosen or (f"{prefix}/{KEY_FORMAT}" if prefix else KEY_FORMAT)


def keyed(artifact: argo.Artifact, repository: argo.ArtifactRepository, key: str) -> argo.Artifact:
    """Return an artifact at a key of a repository: nothing but the key is said, as in Argo's node status."""
    kind = kind_of(repository)
    location: dict[str, Any] = {KEYS[kind]: key}
    if kind == "azure":
        location |= {"endpoint": "", "container": ""}
    elif kind == "artifactory":
        location["url"] = f"{_base_url(repository)}{key}"
    return msgspec.structs.replace(artifact, **{kind: msgspec.convert(location, _TYPES[kind])})


def relocated(artifact: argo.Artifact, repository: argo.ArtifactRepository) -> argo.Artifact:
    """Return the artifact with all that its repository adds to a location that is just a key, or lacks an endpoint."""
    given = next((kind for kind in _PLACES if getattr(artifact, kind) is not None), "")
    if not given or _says_where(artifact, given):
        return artifact
    kind = kind_of(repository)
    said = {name: value for name, value in msgspec.to_builtins(getattr(artifact, given)).items() if value}
    if given != kind:
        if len(said) > 1 or KEYS[given] not in said:
            return artifact
        said = {KEYS[kind]: said[KEYS[given]]}
    own = msgspec.to_builtins(getattr(repository, kind))
    base = _base_url(repository)
    for left_out in ("keyFormat", "keyPrefix", "blobNameFormat", "pathFormat", "repoURL"):
        own.pop(left_out, None)
    if kind == "artifactory":
        said["url"] = f"{base}{said['url']}"
    changes: dict[str, Any] = {given: None, kind: msgspec.convert({**own, **said}, _TYPES[kind])}
    return msgspec.structs.replace(artifact, **changes)


def is_placed(artifact: argo.Artifact) -> bool:
    """Return whether an artifact's location says by itself which store it lies in."""
    given = next((kind for kind in _PLACES if getattr(artifact, kind) is not None), "")
    return not given or _says_where(artifact, given)


def _says_where(artifact: argo.Artifact, kind: str) -> bool:
    location: Any = getattr(artifact, kind)
    return bool(getattr(location, _PLACES[kind])) or (kind == "plugin" and ":" in location.key)


def _base_url(repository: argo.ArtifactRepository) -> str:
    url = (repository.artifactory and repository.artifactory.repo_url) or ""
    return f"{url.rstrip('/')}/" if url else ""


_TYPES: dict[str, type[msgspec.Struct]] = {
    "s3": argo.S3Artifact,
    "gcs": argo.GCSArtifact,
    "oss": argo.OSSArtifact,
    "plugin": argo.PluginArtifact,
    "azure": argo.AzureArtifact,
    "hdfs": argo.HDFSArtifact,
    "artifactory": argo.ArtifactoryArtifact,
}
