"""Where an artifact's object lies: from Argo's location to `remote:path`."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from jitflow.engine.origins import encrypted, origin_of
from jitflow.model import argo, repositories
from jitflow.model.data import ObjectRef
from jitflow.model.origins import Origin
from jitflow.model.problems import Refused

PLUGIN = "rclone"


class RemoteName(Struct, frozen=True, kw_only=True):
    """What is needed to match a manifest's location: the remote's backend type and the endpoints it answers for."""

    type: str
    endpoints: tuple[str, ...] = ()


_TYPES = {"s3": "s3", "oss": "s3", "gcs": "google cloud storage", "azure": "azureblob", "hdfs": "hdfs"}
"""Kinds of locations, and the type of the remotes that may be meant."""


class Locator(Struct, frozen=True, kw_only=True):
    """Translates artifact locations with the remotes that are configured.

    `repository`: where key-only locations go, a prefix, if the workflow has no artifact repository of its own (`own`).
    `plugins`: names of artifact plugins, and the prefix that stands for each. `namespace`: where Secrets are looked for.
    `notice` is told of stores that only a manifest names, before an object there is named.
    """

    remotes: Mapping[str, RemoteName]
    repository: ObjectRef
    plugins: Mapping[str, ObjectRef] = {}
    own: argo.ArtifactRepository | None = None
    namespace: str = ""
    notice: Callable[[Origin], None] = lambda _: None

    def within(self, namespace: str, repository: argo.ArtifactRepository | None = None) -> "Locator":
        """Return the locator of a workflow that has this artifact repository, None for the server's."""
        return msgspec.structs.replace(self, own=repository, namespace=namespace)

    def find(self, artifact: argo.Artifact) -> ObjectRef | None:
        """Return the artifact's object, or None if it has no location in a store (raw, or none at all).

        Raises:
            Refused: the location names no remote that is configured, or a path that leaves its place.
        """
        ref = self._locate(artifact)
        if ref is None:
            return None
        if artifact.sub_path:
            ref = ObjectRef(remote=ref.remote, path=ref.path.rstrip("/") + "/" + artifact.sub_path.strip("/"))
        check_path(ref.path, f"artifact {artifact.name}")
        return ref

    def known(self, artifact: argo.Artifact) -> ObjectRef | None:
        """Return the artifact's object if it lies behind a configured remote, None if it does not."""
        found = origin_of(artifact, self.namespace)
        if found is None:
            return None
        origin, path = found
        remote = self._configured(artifact, origin, path)
        if not remote:
            return None
        check_path(path, f"file {artifact.name}")
        return ObjectRef(remote=remote, path=path)

    def _locate(self, artifact: argo.Artifact) -> ObjectRef | None:
        if self.own is not None:
            artifact = repositories.relocated(artifact, self.own)
        if artifact.plugin is not None:
            return self._plugin(artifact.name, artifact.plugin)
        s3 = artifact.s3
        if s3 is not None and s3.key and not s3.endpoint:
            if not s3.bucket:
                return _inside(self.repository, s3.key)
            return ObjectRef(remote=self.repository.remote, path=f"{s3.bucket}/{s3.key}")
        found = origin_of(artifact, self.namespace)
        if found is None:
            return None
        origin, path = found
        remote = self._configured(artifact, origin, path)
        if remote and s3 is not None and s3.encryption_options is not None:
            base = Origin(kind="s3", label=remote, host=origin.host, base=remote)
            origin, remote = encrypted(base, s3, self.namespace), ""
        if not remote:
            self.notice(origin)
        return ObjectRef(remote=remote or origin.name, path=path)

    def _configured(self, artifact: argo.Artifact, origin: Origin, path: str) -> str:
        """Return the configured remote that a location means, empty when there is none.

        It is told by its endpoint, or its bucket; a store of a kind that has no endpoints is meant by a location without secrets.
        """
        kind = next((kind for kind in _TYPES if getattr(artifact, kind) is not None), "")
        candidates = sorted(name for name, known in self.remotes.items() if known.type == _TYPES.get(kind))
        wanted = {origin.host, *(_host(one) for one in origin.options.get("namenode", "").split(",") if one)}
        if kind == "gcs":
            wanted = {path.partition("/")[0]}
        matching = [name for name in candidates if wanted.intersection(self.remotes[name].endpoints)]
        if matching:
            return matching[0]
        return candidates[0] if candidates and kind == "gcs" and not origin.secrets else ""

    def _plugin(self, name: str, plugin: argo.PluginArtifact) -> ObjectRef:
        if plugin.name in (None, "") and ":" not in plugin.key:
            return _inside(self.repository, plugin.key)
        driver = self.plugins.get(plugin.name or "")
        if driver is not None:
            return _inside(driver, plugin.key)
        if plugin.name not in (None, "", PLUGIN):
            raise Refused(
                f"artifact {name}: there is no artifact plugin {plugin.name!r} here; say where its artifacts lie in the settings "
                f'file ([artifact_plugins.{plugin.name}] remote = "…"), or use `name: {PLUGIN}` and a key `remote:path`'
            )
        remote, colon, path = plugin.key.partition(":")
        if not colon:
            raise Refused(f"artifact {name}: the key {plugin.key!r} names no remote; write `remote:path`")
        if remote not in self.remotes:
            raise Refused(self._unknown(name, remote))
        return ObjectRef(remote=remote, path=path)

    def _unknown(self, name: str, remote: str) -> str:
        known = ", ".join(sorted(self.remotes)) or "none"
        return (
            f"artifact {name}: the remote {remote!r} is not configured (configured: {known}); "
            f"add it with `jitflow remote add {remote} TYPE …` or in the settings file"
        )


def _inside(place: ObjectRef, key: str) -> ObjectRef:
    prefix = place.path.rstrip("/")
    return ObjectRef(remote=place.remote, path=f"{prefix}/{key}" if prefix else key)


def endpoint_names(endpoint: str) -> str:
    """Return the `host:port` that two spellings of one endpoint share."""
    return _host(endpoint)


def check_path(path: str, where: str) -> None:
    """Refuse paths that leave their place or cannot be names of objects.

    Raises:
        Refused: a `..` segment, a backslash, a control character, or no path at all.
    """
    if any(segment in ("..", ".") for segment in path.split("/")):
        raise Refused(f"{where}: the path {path!r} has a '.' or '..' segment; write the path without it")
    if "\\" in path or any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise Refused(f"{where}: the path {path!r} has a backslash or a control character")
    if "{{" in path:
        raise Refused(f"{where}: the path {path!r} has an unresolved tag")


def _host(endpoint: str) -> str:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return (parts.netloc or parts.path).rstrip("/").lower()
