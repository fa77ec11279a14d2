"""What was found, and what is needed to look for it and to mend it."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from jitflow.machine import foreignlife
from jitflow.ports.store import Flaw, StateStore

Mend = Callable[["Scene"], Awaitable[None]]
SET_ASIDE = "set-aside"
"""The kind under which documents are kept that nobody can read: nothing is thrown away."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where to look. `near`: the store of what lies on this machine's disk, None where only a state was named.

    `open_sealed`: opens what is sealed, None where there is no key. `primary`: the near store, where it is a directory.
    """

    store: StateStore
    near: StateStore | None = None
    open_sealed: Callable[[bytes], bytes] | None = None
    primary: Path | None = None
    capacity_bytes: int = 0
    pods: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Workflows:
    """The uids of a state's workflows: those that go on, and all. `elsewhere`: a control service has others, in its own state."""

    going: Collection[str]
    known: Collection[str]
    elsewhere: bool = False

    def lack(self, uid: str) -> bool:
        """Return whether there is no such workflow."""
        return uid not in self.known and not self.elsewhere and not uid.startswith(foreignlife.PREFIX)

    def are_done_with(self, uid: str) -> bool:
        """Return whether a workflow has ended, or there is none."""
        return self.lack(uid) or (uid in self.known and uid not in self.going)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A flaw, and how it is mended; None: only a person can."""

    flaw: Flaw
    mend: Mend | None = None

    def __str__(self) -> str:
        """Return it for people."""
        return str(self.flaw)


@dataclass(kw_only=True)
class Report:
    """What was looked at and found."""

    runs: int = 0
    documents: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])


def finding(where: str, what: str, remedy: str, mend: Mend | None = None) -> Finding:
    """Return a finding."""
    return Finding(flaw=Flaw(where=where, what=what, remedy=remedy, mendable=mend is not None), mend=mend)


def removal(kind: str, key: str, *, near: bool = False) -> Mend:
    """Return how a document is removed that nothing needs."""

    async def mend(scene: Scene) -> None:
        store = scene.near if near else scene.store
        assert store is not None
        await store.put(kind, [(key, None)])

    return mend


def setting_aside(kind: str, key: str, body: bytes, *, near: bool = False) -> Mend:
    """Return how a document is taken out of the way and kept."""

    async def mend(scene: Scene) -> None:
        store = scene.near if near else scene.store
        assert store is not None
        await store.put(SET_ASIDE, [(f"{kind}/{key}", body)])
        await store.put(kind, [(key, None)])

    return mend
