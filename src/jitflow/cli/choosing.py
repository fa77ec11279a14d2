"""Which workflows a command is about: those that are named, or those that are selected."""

from collections.abc import Iterator

from msgspec import Struct

from jitflow.cli.connect import live
from jitflow.cli.durations import ago
from jitflow.cli.errors import InputRefused
from jitflow.client import ALL, Client
from jitflow.client.workflows import Head, Metadata

_COMPLETED = "workflows.argoproj.io/completed"
_PHASE = "workflows.argoproj.io/phase"
_A_PAGE = 1_000
_FIELDS = "metadata.continue,items.metadata.name,items.metadata.namespace,items.metadata.uid,items.status.phase"

RUNNING = f"{_COMPLETED}!=true"
"""Those that have not ended."""
ENDED = f"{_COMPLETED}=true"
"""Those that have ended."""
FAILED = f"{_PHASE} in (Failed,Error)"
"""Those that can be retried."""


class Among(Struct, frozen=True, kw_only=True):
    """Workflows of a namespace by name, or a selection; `only`: a label selector of those that the command makes sense for.

    `everywhere`: the selection is of all namespaces.
    """

    namespace: str
    names: tuple[str, ...] = ()
    labels: str = ""
    fields: str = ""
    prefix: str = ""
    phases: str = ""
    completed: bool = False
    older: str = ""
    everything: bool = False
    only: str = ""
    everywhere: bool = False

    def __post_init__(self) -> None:
        """Check that it is clear who is meant.

        Raises:
            InputRefused: nobody is named or selected, or both.
        """
        selected = any((self.labels, self.fields, self.prefix, self.phases, self.completed, self.older, self.everything))
        if self.names and selected:
            raise InputRefused("name the workflows, or select them (--selector, --prefix, --all …), not both")
        if not (self.names or selected):
            raise InputRefused(
                "name the workflows, or select them (--selector, --field-selector, --prefix); --all means all of the namespace"
            )
        if self.names and self.everywhere:
            raise InputRefused("--all-namespaces goes with a selection; for workflows that are named, say --namespace")
        if self.prefix and "metadata.name" in self.fields:
            raise InputRefused("--prefix and a field selector of metadata.name exclude each other")

    @property
    def place(self) -> str:
        """Where they are looked for, for people."""
        return "all namespaces" if self.everywhere else f"namespace {self.namespace}"

    def shown(self, namespace: str, name: str) -> str:
        """Return a workflow's name as it is told: with its namespace if it may be in any."""
        return f"{namespace}/{name}" if self.everywhere else name

    def heads(self, client: Client) -> tuple[Metadata, ...]:
        """Return names and uids of the selected workflows, the newest first."""
        found: dict[str, Metadata] = {}
        for page in self._pages(client):
            found.update((head.metadata.uid, head.metadata) for head in page)
        return tuple(found.values())

    def _pages(self, client: Client) -> Iterator[tuple[Head, ...]]:
        after = ""
        by_phase = f"{_PHASE} in ({self.phases})" if self.phases else ""
        labels = live(self.labels, self.only, by_phase, ENDED if self.completed else "")
        before = ago(self.older, "--older")
        read = client.workflows.list.into(_Heads)
        while True:
            page = read(
                namespace=ALL if self.everywhere else self.namespace,
                labels=labels,
                fields=",".join(filter(None, (self.fields, f"metadata.name={self.prefix}" if self.prefix else ""))),
                name_filter="Prefix" if self.prefix else "",
                finished_before=before,
                only=_FIELDS,
                limit=_A_PAGE,
                after=after,
            )
            yield page.items or ()
            after = page.metadata.continue_
            if not after:
                return


class _Meta(Struct, frozen=True, rename={"continue_": "continue"}):
    continue_: str = ""


class _Heads(Struct, frozen=True):
    metadata: _Meta = _Meta()
    items: tuple[Head, ...] | None = None
