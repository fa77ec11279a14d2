"""Stores that only a manifest names: what is needed to reach one, with references to its secrets, never their values."""

import hashlib
import re

import msgspec
from msgspec import Struct

LABEL_CHARS = 36
_DIGEST_CHARS = 12

WEB = "http"
GIT = "git"
"""Kinds of origins that are no storage of rclone's."""


class SecretRef(Struct, frozen=True, kw_only=True, order=True):
    """A value of a Secret that the object store keeps."""

    namespace: str
    name: str
    key: str

    def __str__(self) -> str:
        """Return how people are told of it."""
        return f'secret "{self.name}" in namespace "{self.namespace}"'


class Origin(Struct, frozen=True, kw_only=True):
    """A store, as an artifact's location describes it.

    `kind`: the type of rclone's remote, `http` or `git`. `host`: whom one talks to, `host` or `host:port`; empty: the kind's own.
    `options`: of rclone's remote, or what the other kinds need. `secrets`: options whose values come from Secrets.
    `base`: a configured remote on top of whose options these come. `hidden`: options that must not be shown.
    `check_hashes`: see `RemoteConfig`.
    """

    kind: str
    label: str
    host: str = ""
    options: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    base: str = ""
    hidden: tuple[str, ...] = ()
    check_hashes: bool = True

    @property
    def name(self) -> str:
        """Return the name of the remote that stands for it: the same for the same store, and never that of a configured one."""
        digest = hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:_DIGEST_CHARS]
        label = re.sub(r"[^A-Za-z0-9.]+", "-", self.label)[:LABEL_CHARS].strip("-")
        return f"{_KIND_NAMES.get(self.kind, self.kind)}@{label or 'store'}-{digest}"


_KIND_NAMES = {"google cloud storage": "gcs", "azureblob": "azure"}
_MADE = re.compile(rf"[a-z0-9]+@[A-Za-z0-9.-]+-[0-9a-f]{{{_DIGEST_CHARS}}}")


def is_made(remote: str) -> bool:
    """Return whether a remote's name stands for a store that only a manifest names."""
    return _MADE.fullmatch(remote) is not None


def is_open(remote: str) -> bool:
    """Return whether what lies there may come to be after a workflow was submitted: web pages and repositories."""
    return is_made(remote) and remote.partition("@")[0] in (WEB, GIT)
