"""Where an artifact's object lies: from Argo's location to `remote:path`."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from jitflow.model import argo, repositories
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused

PLUGIN = "rclone"


class RemoteName(Struct, frozen=True, kw_only=True):
    """What is needed to match a manifest's location: the remote's backend type and the endpoints it answers for."""

    type: str
    endpoints: tuple[str, ...] = ()


class Locator(Struct, frozen=True, kw_only=True):
    """Translates artifact locations with the remotes that are configured.

    `repository`: where key-only locations go, a prefix, if the workflow has no artifact repository of its own (`own`).
    `plugins`: names of artifact plugins, and the prefix that stands for each.
    """

    remotes: Mapping[str, RemoteName]
    repository: ObjectRef
    plugins: Mapping[str, ObjectRef] = {}
    own: argo.ArtifactRepository | None = None

    def within(self, repository: argo.ArtifactRepository | None) -> "Locator":
        """Return the locator of a workflow that has this artifact repository, None for the server's."""
        return self if repository is None else msgspec.structs.replace(self, own=repository)

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

    def _locate(self, artifact: argo.Artifact) -> ObjectRef | None:
        if self.own is not None:
            artifact = repositories.relocated(artifact, self.own)
        if artifact.plugin is not None:
            return self._plugin(artifact.name, artifact.plugin)
        if artifact.s3 is not None and artifact.s3.key:
            return self._s3(artifact.name, artifact.s3)
        return None

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

    def _s3(self, name: str, s3: argo.S3Artifact) -> ObjectRef:
        key = s3.key or ""
        if not s3.endpoint and not s3.bucket:
            return _inside(self.repository, key)
        path = f"{s3.bucket}/{key}" if s3.bucket else key
        if not s3.endpoint:
            return ObjectRef(remote=self.repository.remote, path=path)
        wanted = _host(s3.endpoint)
        for remote, known in sorted(self.remotes.items()):
            if known.type == "s3" and wanted in known.endpoints:
                return ObjectRef(remote=remote, path=path)
        raise Refused(
            f"artifact {name}: no remote is configured for the S3 endpoint {s3.endpoint!r}; "
            f"add one with `jitflow remote add NAME s3 endpoint={s3.endpoint} …` or in the settings file"
        )

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
