"""Where remotes really lead: aliases and links of this machine followed, remotes of one store known as such."""

import os
from collections.abc import Callable
from pathlib import PurePosixPath

from msgspec import Struct

from jitflow.model.data import ObjectRef
from jitflow.storage.remotes import RemoteConfig

_ALL_OVER_THE_WORLD = {"s3", "google cloud storage"}
"""Types of stores whose buckets have names that nobody else has, where no endpoint is named."""
_ALIASES = 20


class Known(Struct, frozen=True):
    """A remote, and the `host:port` of all endpoints that it answers for."""

    config: RemoteConfig
    endpoints: frozenset[str]


class Whereabouts:
    """Implements `jitflow.app.ours.Whereabouts` by the remotes' settings; nothing is asked of any store."""

    def __init__(self, known: Callable[[str], Known | None]) -> None:
        """Look remotes up by name; None: there is none."""
        self._known = known

    def place(self, ref: ObjectRef) -> ObjectRef | PurePosixPath:
        """Return where an object really is: a path of this machine with its links followed, or a remote that is no alias."""
        for _ in range(_ALIASES):
            known = self._known(ref.remote)
            root = known.config.options.get({"local": "root", "alias": "remote"}.get(known.config.type, ""), "") if known else ""
            if root.startswith("/"):
                return PurePosixPath(os.path.realpath(os.path.join(root, ref.path.lstrip("/"))))
            remote, colon, path = root.partition(":")
            if not colon:
                break
            inner = "/".join(part for part in (path.strip("/"), ref.path.lstrip("/")) if part)
            ref = ObjectRef(remote=remote, path=inner)
        return ref

    def is_same(self, one: str, other: str) -> bool:
        """Return whether two remotes, neither of them an alias, lead to the same store, as far as their settings tell."""
        if one == other:
            return True
        first, second = self._known(one), self._known(other)
        if first is None or second is None or first.config.type != second.config.type:
            return False
        if first.endpoints or second.endpoints:
            return not first.endpoints.isdisjoint(second.endpoints)
        return first.config.type in _ALL_OVER_THE_WORLD
