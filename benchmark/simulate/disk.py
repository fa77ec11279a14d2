"""The primary on a simulated disk: the real directory, watched."""

from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from benchmark.simulate.far import LEFT
from benchmark.simulate.files import read_tree, used_bytes
from benchmark.simulate.pods import Machine
from benchmark.simulate.world import World
from jitflow.dataplane import PrimaryDirectory
from jitflow.model.data import ObjectInfo, Replica
from jitflow.ports.primary import Received
from jitflow.ports.storage import Progress, Storage

_MARKER = ".jitflow-primary"
_FREE_BYTES = 1 << 40


def prepare(root: Path) -> None:
    """Make the directory as an earlier life would have left it."""
    (root / "objects").mkdir(parents=True)
    (root / _MARKER).write_text("simulated\n")


class WatchedPrimary(PrimaryDirectory):
    """Looks at every name that is given and taken away."""

    def __init__(self, root: Path, storage: Storage, world: World, machine: Machine, capacity: int) -> None:
        super().__init__(root, storage)
        self._world = world
        self._machine = machine
        self._capacity = capacity

    def free_bytes(self) -> int | None:
        if self._world.plan.takes("disk full", self._world.now):
            return 0
        return _FREE_BYTES

    def check_capacity(self) -> None:
        """Compare what is really there with what may be."""
        used = used_bytes(f"{self._root}/objects") + used_bytes(f"{self._root}/incoming")
        if used > self._capacity:
            self._world.never(f"the primary holds {used} bytes, more than {self._capacity}")

    def _place(self, source: Path, location: str) -> None:
        self._look_whole(source, location)
        super()._place(source, location)

    async def receive(self, info: ObjectInfo, location: str, progress: Progress, *, parts: int = 1) -> Received:
        received = await super().receive(info, location, progress, parts=parts)
        self._look_whole(self.root / location, location)
        self._world.tell(f"placed {location}")
        self.check_capacity()
        return received

    def _look_whole(self, path: Path, location: str) -> None:
        for name, data in read_tree(path).items():
            if not data.startswith((b"made ", b"seed ", LEFT)):
                self._world.never(f"{location}/{name} is not whole: {data[:40]!r}")

    def remove(self, location: str) -> Coroutine[Any, Any, None] | None:
        path = str(self.root / location)
        if self._machine.reading.get(path):
            self._world.never(f"{location} is removed while a pod reads it")
        self._world.tell(f"removed {location}")
        return super().remove(location)

    def _remember(self, rows: Iterable[Replica]) -> None:
        if self._world.plan.takes("disk full", self._world.now):
            raise OSError(28, "No space left on device")
        super()._remember(rows)
