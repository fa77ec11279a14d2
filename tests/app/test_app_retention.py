"""Of finished workflows the newest are kept, a number for each phase."""

import asyncio

import pytest

from jitflow.app.retention import Retention
from jitflow.ports.store import RunRow

pytestmark = pytest.mark.pure


class Rows:
    """Runs in memory."""

    def __init__(self, *rows: RunRow) -> None:
        self.rows = list(rows)

    def finished(self, phase: str) -> list[RunRow]:
        return [row for row in self.rows if row.phase == phase and row.finished_at is not None]

    async def remove(self, row: RunRow) -> None:
        self.rows.remove(row)


def row(name: str, phase: str, finished_at: float | None) -> RunRow:
    return RunRow(uid=name, namespace="n", name=name, phase=phase, finished_at=finished_at)


def test_the_newest_of_each_phase_are_kept() -> None:
    rows = Rows(
        row("s2", "Succeeded", 2), row("s1", "Succeeded", 1), row("s3", "Succeeded", 3), row("running", "Running", None),
        row("f1", "Failed", 1), row("f2", "Failed", 2), row("e1", "Error", 1), row("e2", "Error", 2),
    )  # fmt: skip

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            Retention({"Succeeded": 2, "Failed": 1, "Error": 0}, rows, lambda work, name: void(group, work, name)).open()
        assert sorted(one.name for one in rows.rows) == ["e1", "e2", "f2", "running", "s2", "s3"]
        async with asyncio.TaskGroup() as group:
            rows.rows.append(row("s4", "Succeeded", 4))
            kept = Retention({"Succeeded": 2}, rows, lambda work, name: void(group, work, name))
            kept.run_ended(rows.rows[-1])
            kept.run_ended(row("f2", "Failed", 2))

    asyncio.run(scenario())
    assert [one.name for one in rows.finished("Succeeded")] == ["s3", "s4"]


def void(group: asyncio.TaskGroup, work: object, name: str) -> None:
    group.create_task(work, name=name)  # pyright: ignore[reportArgumentType]
