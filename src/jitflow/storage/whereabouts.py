"""Where remotes really lead: aliases and links of this machine followed, remotes of one store known as such."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath

from msgspec import Struct

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Problem, Refused
from jitflow.storage.remotes import RemoteConfig

_ALL_OVER_THE_WORLD = {"s3", "google cloud storage"}
"""Types of stores whose buckets have names that nobody else has, where no endpoint is named."""
_STEPS = 1000
"""So many remotes are gone through: they may lead to each other in a ring."""
_OVER_ONE = frozenset({"alias", "archive", "cache", "chunker", "compress", "crypt", "hasher"})
"""Types of remotes that show another one, named by the option `remote`, each file at its path there or near it."""
_RIGHTS = (":ro", ":nc", ":writeback")


class Known(Struct, frozen=True):
    """A remote, and the `host:port` of all endpoints that it answers for."""

    config: RemoteConfig
    endpoints: frozenset[str]


class Whereabouts:
    """Implements `jitflow.app.ours.Whereabouts` by the remotes' settings; nothing is asked of any store."""

    def __init__(self, known: Callable[[str], Known | None]) -> None:
        """Look remotes up by name; None: there is none."""
        self._known = known

    def places(self, ref: ObjectRef) -> list[ObjectRef | PurePosixPath]:
        """Return where an object is, or may be: paths of this machine with their links followed, or remotes that show no other.

        A remote over several others has a place in each. One that encrypts is taken for one that does not: what would lie at such
        a place is guarded all the same.

        Raises:
            Refused: it leads on and on, and nobody can say where.
        """
        found: list[ObjectRef | PurePosixPath] = []
        ways = [ref]
        for _ in range(_STEPS):
            if not ways:
                break
            inner = ways.pop()
            known = self._known(inner.remote)
            roots = _roots(known.config, inner.path.lstrip("/")) if known is not None else ()
            if not roots:
                found.append(inner)
            for root, path in roots:
                if root.startswith("/"):
                    found.append(PurePosixPath(os.path.realpath(os.path.join(root, path))))
                    continue
                remote, _, base = root.partition(":")
                ways.append(ObjectRef(remote=remote, path="/".join(part for part in (base.strip("/"), path) if part)))
        if ways:
            raise Refused(Problem(message=f"{ref} leads over more than {_STEPS:,} remotes", remedy="let none lead to itself"))
        return found

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


def _roots(config: RemoteConfig, path: str) -> list[tuple[str, str]]:
    """Return to what a remote leads, and a path there, none if it leads to nothing but itself."""
    options = config.options
    if config.type == "local":
        found = [(options.get("root", ""), path)]
    elif config.type in _OVER_ONE:
        found = [(options.get("remote", ""), path)]
    elif config.type == "union":
        found = [(_without_rights(one), path) for one in _upstreams(options)]
    elif config.type == "combine":
        found = list(_combined(_upstreams(options), path))
    else:
        found = []
    return [(root, below) for root, below in found if root.startswith("/") or ":" in root]


def _upstreams(options: Mapping[str, str]) -> list[str]:
    """Return what a remote over several others names, as rclone reads it: with spaces between, quoted where they have some."""
    return next(csv.reader([options.get("upstreams", "")], delimiter=" "), [])


def _without_rights(upstream: str) -> str:
    return next((upstream.removesuffix(right) for right in _RIGHTS if upstream.endswith(right)), upstream)


def _combined(upstreams: Iterable[str], path: str) -> Iterable[tuple[str, str]]:
    """Yield where a path below the folders is that a remote makes of others; above them: all."""
    for upstream in upstreams:
        folder, _, root = upstream.partition("=")
        if not path.strip("/"):
            yield root, ""
        elif f"{path}/".startswith(f"{folder}/"):
            yield root, path.removeprefix(folder).lstrip("/")
