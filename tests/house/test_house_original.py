"""The original system's benchmark: its arithmetic, its sets and manifests, and one small cell of each way with real parts."""

import json
from pathlib import Path
from random import Random

import pytest
from benchmark.original import cells, measure, sets, tables
from benchmark.original.cells import Cell
from benchmark.original.manifests import manifest
from benchmark.original.measure import Row, Step, parts, ratio
from benchmark.original.runs import run, seconds
from benchmark.original.sets import File, FileSet
from benchmark.original.world import Links, world
from benchmark.service import MeasurementError

from jitflow import spec
from jitflow.model import argo

pure = pytest.mark.pure
TINY = FileSet(name="tiny", files=(File(name="a/one.csv", size_bytes=3_000), File(name="two.csv", size_bytes=200_000)))


@pure
def test_the_built_in_sets_are_those_of_the_original() -> None:
    found = sets.load()
    assert {name: (len(one.files), one.size_bytes) for name, one in found.items()} == {
        "base": (8, 2_808_858),
        "small": (21, 931_111),
        "large": (20, 480_284_620),
    }


@pure
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("set\tname\nbase\tx\n", "first line must name"),
        ("set\tsize_bytes\tname\nbase\tmany\tx\n", "not a size"),
        ("set\tsize_bytes\tname\nbase\t5\t../x\n", "relative name"),
        ("set\tsize_bytes\tname\n", "holds no file"),
        (None, "cannot be read"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_place(text: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "sets.tsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MeasurementError, match=told) as caught:
        sets.load(path)
    assert str(path) in str(caught.value)


@pure
def test_generated_files_have_their_sizes_and_the_same_bytes_at_every_call(tmp_path: Path) -> None:
    for name in ("first", "second"):
        sets.generate(TINY, tmp_path / name)
    for file in TINY.files:
        first, second = ((tmp_path / name / file.name).read_bytes() for name in ("first", "second"))
        assert len(first) == file.size_bytes
        assert first == second
    sets.put(TINY.half(), tmp_path / "first", tmp_path / "near")
    assert [path.name for path in (tmp_path / "near").rglob("*.csv")] == ["two.csv"]


@pure
def test_a_runs_time_is_split_without_counting_any_of_it_twice() -> None:
    steps = [Step(began_at=1.0, here_at=2.0, done_at=5.0), Step(began_at=6.0, here_at=6.0, done_at=8.0)]
    found = parts((0.0, 10.0), steps, [(0.5, 1.5), (3.0, 5.5), (9.0, 20.0)])
    assert found.work_s == pytest.approx(5.0)
    assert found.transfer_s == pytest.approx(0.5 + 1.0 + 0.5 + 1.0)
    assert found.overhead_s == pytest.approx(10.0 - 5.0 - 3.0)


@pure
def test_ratios_pair_the_runs_of_a_round_and_tell_how_sure_they_are() -> None:
    random = Random(5)
    drift = {number: random.uniform(1.0, 3.0) for number in range(40)}
    found = ratio({number: 1.1 * one for number, one in drift.items()}, drift)
    assert found is not None
    assert (found.low, found.median, found.high) == pytest.approx((1.1, 1.1, 1.1))
    noisy = ratio({number: one * random.uniform(0.9, 1.3) for number, one in drift.items()}, drift)
    assert noisy is not None
    assert noisy.low < noisy.median < noisy.high
    assert noisy.rounds == 40
    assert ratio({1: 1.0}, {2: 1.0}) is None


@pure
def test_every_round_runs_every_cell_once_in_an_order_of_its_own() -> None:
    found = cells.cells(["base", "large"])
    plan = cells.shuffled(found, 3, seed=7)
    assert plan == cells.shuffled(found, 3, seed=7)
    orders = [[cell for number, cell in plan if number == wanted] for wanted in (1, 2, 3)]
    assert all(sorted(order) == sorted(found) for order in orders)
    assert orders[0] != orders[1]
    halved = {(cell.set, cell.mode, cell.way) for cell in found if cell.fill == cells.HALF}
    assert {("base", "serial", "direct"), ("base", "serial", "original"), ("large", "serial", "jitflow")} <= halved


def a_row(way: str, fill: str, number: int, seconds: float) -> Row:
    return Row(
        set="base", mode="serial", way=way, fill=fill, round=number, order=number, steps=8, seconds=seconds, work_s=1.0,
        transfer_s=0.5, overhead_s=0.1, step_overhead_ms=12.5, fetched_bytes=0, first_transfer_s=0.5,
    )  # fmt: skip


@pure
def test_goals_are_held_against_all_on_the_primary() -> None:
    rows = [a_row("here", "full", number, 10.0) for number in (1, 2, 3)]
    rows += [a_row("jitflow", "empty", number, 11.0) for number in (1, 2, 3)]
    rows += [a_row("jitflow", "full", number, 10.5) for number in (1, 2, 3)]
    rows += [a_row("original", "empty", number, 22.0) for number in (1, 2, 3)]
    first, again = tables.goals(rows)
    assert (first["median"], first["holds"]) == (pytest.approx(11.0 / 10.5), True)
    assert (again["median"], again["holds"]) == (pytest.approx(1.05), False)
    assert "missed" in tables.verdicts([first, again])
    assert "2.000 [2.000, 2.000]" in tables.comparisons(rows)
    assert "11.00 ± 0.00" in tables.by_cell(rows)
    assert measure.of(rows, set="base", mode="serial", way="here", fill="full").keys() == {1, 2, 3}


@pure
@pytest.mark.parametrize("cell", cells.cells(["tiny"]), ids=str)
def test_its_manifests_are_valid(cell: Cell) -> None:
    (document,) = spec.load(json.dumps(manifest(cell, TINY, work_s=0.1)))
    assert isinstance(document.manifest, argo.Workflow)
    spec.validate(document.manifest)


@pure
def test_log_times_keep_their_fractions() -> None:
    assert seconds("2026-03-15T10:00:00.250000001Z") - seconds("2026-03-15T09:59:59Z") == pytest.approx(1.25)


def test_each_way_runs_with_real_stores_and_links(tmp_path: Path) -> None:
    links = Links(far_rtt_ms=20.0, near_rtt_ms=0.0)
    with world(tmp_path, {"tiny": TINY}, links, places=2) as place:
        rows: dict[tuple[str, str], Row] = {}
        for order, (way, fill) in enumerate(
            [
                ("direct", "half"),
                ("original", "empty"),
                ("here", "full"),
                ("jitflow", "half"),
                ("jitflow", "full"),
                ("jitflow-near", "empty"),
            ]
        ):
            cell = Cell(set="tiny", mode="serial", way=way, fill=fill)
            rows[way, fill] = run(place, cell, number=1, order=order, work_s=0.05)
    for row in rows.values():
        assert row.seconds == pytest.approx(row.work_s + row.transfer_s + row.overhead_s, abs=0.001)
        assert row.work_s >= 0.1
        assert row.first_transfer_s > 0.02
    assert rows["jitflow", "half"].fetched_bytes == TINY.files[0].size_bytes
    assert rows["jitflow", "full"].fetched_bytes == 0
    assert rows["jitflow-near", "empty"].fetched_bytes == TINY.size_bytes
    assert rows["direct", "half"].transfer_s > rows["here", "full"].transfer_s
