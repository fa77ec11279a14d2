"""What is measured: the cells, and the order in which they are run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

SERIAL, PARALLEL = "serial", "parallel"
EMPTY, HALF, FULL = "empty", "half", "full"
DIRECT, ORIGINAL, HERE, JITFLOW, JITFLOW_NEAR = "direct", "original", "here", "jitflow", "jitflow-near"
BY_JITFLOW = (JITFLOW, JITFLOW_NEAR)
MODES = (SERIAL, PARALLEL)
FILLS = (EMPTY, HALF, FULL)
WAYS = {
    DIRECT: "without replication: each step copies its file from the near store, or else from the far one (rclone)",
    ORIGINAL: "the same steps; beside them the original's algorithm: at each event listings, then `rclone copyto` file by file",
    HERE: "all on the primary: the files are on the disk, steps find them there, nobody moves anything",
    JITFLOW: "the files are inputs of the steps; jitflow's primary is a directory",
    JITFLOW_NEAR: "the same; jitflow's primary is the near store",
}
HALVED = "base"
"""The set of which half was on the primary in the original's benchmark."""


@dataclass(frozen=True, kw_only=True, order=True)
class Cell:
    """One condition. `fill`: what is on the primary when the workflow is submitted."""

    set: str
    mode: str
    way: str
    fill: str

    def __str__(self) -> str:
        """Return its name."""
        return f"{self.set} {self.mode} {self.way} {self.fill}"


def cells(sets: Sequence[str], modes: Iterable[str] = MODES, ways: Iterable[str] = tuple(WAYS)) -> list[Cell]:
    """Return the conditions to measure."""
    return [
        Cell(set=name, mode=mode, way=way, fill=fill)
        for name in sets
        for mode in modes
        for way in ways
        for fill in FILLS
        if _is_measured(name, mode, way, fill)
    ]


def _is_measured(name: str, mode: str, way: str, fill: str) -> bool:
    """Leave out what the original left out too, and what would only show once more what others show."""
    if way == HERE:
        return fill == FULL
    if way == JITFLOW_NEAR:
        return mode == SERIAL and fill != HALF
    if mode == PARALLEL:
        return fill != HALF and way != ORIGINAL
    if way == ORIGINAL:
        return fill == EMPTY or (fill == HALF and name == HALVED)
    return way == JITFLOW or fill != HALF or name == HALVED


def shuffled(cells: Sequence[Cell], rounds: int, seed: int) -> list[tuple[int, Cell]]:
    """Return every cell once in each round, each round in an order of its own."""
    random = Random(seed)
    plan: list[tuple[int, Cell]] = []
    for number in range(1, rounds + 1):
        order = list(cells)
        random.shuffle(order)
        plan += [(number, cell) for cell in order]
    return plan
