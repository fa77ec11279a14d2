"""Which names of workflows are taken: those of live runs, and those about to be."""

from jitflow.app.index import RunIndex


class TakenNames:
    """Names that no new workflow can have."""

    def __init__(self, index: RunIndex) -> None:
        """Ask the index for the live runs."""
        self._index = index
        self._held: set[tuple[str, str]] = set()

    def has(self, namespace: str, name: str) -> bool:
        """Return whether a name is taken."""
        return (namespace, name) in self._held or self._index.has_live(namespace, name)

    def held(self, namespace: str, name: str) -> "HeldName":
        """Return a context in which nobody else takes a name: its run is made."""
        return HeldName(self._held, (namespace, name))


class HeldName:
    """A context in which a name is held. That of a generator would take three times as long."""

    __slots__ = ("_held", "_name")

    def __init__(self, held: set[tuple[str, str]], name: tuple[str, str]) -> None:
        """Hold it in a set."""
        self._held = held
        self._name = name

    def __enter__(self) -> None:
        """Begin to hold it."""
        self._held.add(self._name)

    def __exit__(self, *_: object) -> None:
        """Let it go."""
        self._held.discard(self._name)
