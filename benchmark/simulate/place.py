"""A machine with a data home: what outlives the servers that are started there."""

from pathlib import Path

from benchmark.simulate.disk import prepare
from benchmark.simulate.pods import Machine
from benchmark.simulate.world import Life, World
from jitflow.testing.memory_store import MemoryStore


class Place:
    """A home: its disk, its pods, and the store of what lies there (`near`), which one process holds at a time.

    `skew_s`: how much later it is by the clock of its machine than by others.
    """

    def __init__(self, world: World, name: str, near: MemoryStore, *, skew_s: float = 0.0) -> None:
        self.name = name
        self.folder: Path = world.folder / name
        self.skew_s = skew_s
        self.machine = Machine(world, self.folder / "pods", skew_s)
        self.near = near
        self.holder: Life | None = None
        prepare(self.folder / "primary")
