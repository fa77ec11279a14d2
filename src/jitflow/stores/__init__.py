"""Where the service keeps its state: SQLite behind one writer thread."""

from jitflow.stores.sqlite import SqliteStore

__all__ = ["SqliteStore"]
