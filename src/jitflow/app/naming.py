"""Which names of workflows are taken: those of live runs, and those about to be."""

import contextlib
from collections.abc import Generator

from jitflow.app.index import RunIndex


class TakenNames:
    """Names that no new workflow can have."""

    def __init__(self, index: RunIndex) -> None:
        """Ask the index for the live runs."""
        self._index = index
        self._held: set[tuple[str, str]] = set()

    def has(self, namespace: str, name: str) -> bool:
        """Return whether a name is taken."""
        return (namespace, name) in self._held or self._index.by_name(namespace, name) is not None

    @contextlib.contextmanager
    def held(self, namespace: str, name: str) -> Generator[None]:
        """Let nobody else take a name while its run is made."""
        self._held.add((namespace, name))
        try:
            yield
        finally:
            self._held.discard((namespace, name))
