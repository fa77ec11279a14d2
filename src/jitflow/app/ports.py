"""What the use-cases need of the rooms below and of the one that puts everything together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from jitflow.model import argo
from jitflow.model.data import ObjectRef, StepId
from jitflow.model.reasons import NodeReason
from jitflow.model.reports import Estimate, ProviderDetail, ProviderInfo, RemoteInfo
from jitflow.model.runs import Event, Note
from jitflow.ports.store import RunRow

__all__ = ["Change", "Engine", "RemoteInfo", "Remotes"]


class Change(Protocol):
    """A run was added, changed or deleted, durably."""

    @property
    def kind(self) -> str:
        """Return `ADDED`, `MODIFIED` or `DELETED`."""
        ...

    @property
    def row(self) -> RunRow:
        """Return the run's newest row."""
        ...

    @property
    def ends(self) -> bool:
        """Return whether the run has ended with this change."""
        ...

    @property
    def nodes(self) -> Sequence[str]:
        """Return the ids of the nodes that were added or changed."""
        ...

    @property
    def removed(self) -> Sequence[str]:
        """Return the ids of the nodes that are no more."""
        ...

    def views(self, ids: Iterable[str]) -> Sequence[argo.NodeStatus]:
        """Return how some nodes are after the change, without what follows from other nodes (children, sums)."""
        ...


class Engine(Protocol):
    """Runs workflows. Every method may raise `Refused` for what the request asks and `PortError` for what fails below."""

    async def create(self, workflow: argo.Workflow, *, invalid: str = "", after: str = "", like: str = "") -> RunRow:
        """Take a loaded and validated workflow, give it a uid, make it durable and let it run.

        `invalid`: why it cannot run, if it is to be kept all the same: ended in Error. `like`: the uid of an earlier run that
        says how long this one will take.
        """
        ...

    async def send(self, uid: str, event: Event) -> None:
        """Deliver an event; durable when this returns."""
        ...

    async def fetch(self, uid: str) -> argo.Workflow | None:
        """Return a workflow with its status, live or finished."""
        ...

    async def delete(self, uid: str, *, force: bool = False, from_archive: bool = False) -> None:
        """Remove a run, ending it first where it still runs; `force`: even if its artifacts cannot be deleted.

        An archived one stays in the archive. `from_archive`: remove it there instead, and leave the run if it is there.
        """
        ...

    async def check(self, workflow: argo.Workflow) -> Estimate:
        """Say what running a workflow would take; raises `Refused` where it cannot run."""
        ...

    async def outlook(self, uids: Sequence[str] = ()) -> Estimate:
        """Say what is left of runs that have not ended, of all if none is given; raises `Refused` for one that has ended."""
        ...

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call the listener on the event loop with each durable change; return how to stop that."""
        ...

    def pod_key(self, uid: str, node_id: str) -> str:
        """Return the executor's key of a node's pod."""
        ...

    async def locate(self, uid: str, artifact: argo.Artifact) -> ObjectRef | None:
        """Return where an artifact of a run's status lies, None if that is in no store."""
        ...

    async def why(self, uid: str, node: str) -> NodeReason:
        """Return a node, named by its id, name or display name, with what stands in its way; raises `Refused` for none."""
        ...

    def name_of(self, step: StepId) -> str:
        """Return the name of the node that a step is, its id for one of a run that has ended."""
        ...

    async def notes(self, uid: str) -> Sequence[Note]:
        """Return the run's history in order."""
        ...


class Remotes(Protocol):
    """The registry of far stores. Raises `Refused` (codes `not_found`, `conflict`, `invalid`) and `PortError`."""

    def list(self) -> Sequence[RemoteInfo]:
        """Return the remotes by name, secrets hidden."""
        ...

    def describe(self, name: str) -> RemoteInfo:
        """Return one remote, secrets hidden."""
        ...

    async def add(self, name: str, kind: str, options: Mapping[str, str]) -> RemoteInfo:
        """Keep a new remote of an rclone type with its options."""
        ...

    async def change(self, name: str, kind: str, options: Mapping[str, str | None], *, whole: bool) -> RemoteInfo:
        """Give a remote that was added here other options, or (unless `kind` is empty) another type.

        `whole`: it has these options and no others from now on; else None takes one away, and those not named stay. A value
        `***` stands for the secret that there is.
        """
        ...

    async def providers(self) -> Sequence[ProviderInfo]:
        """Return the types of far stores that there can be."""
        ...

    async def provider(self, kind: str) -> ProviderDetail:
        """Return a type of far store with its options."""
        ...

    async def remove(self, name: str) -> None:
        """Forget a remote that was added here."""
        ...

    async def test(self, name: str, path: str = "") -> None:
        """Return when the remote, or a bucket or prefix of it, could be listed; raise in bounded time when it could not."""
        ...
