"""The arithmetic of the demo's figures, and the conformance runner's reading of its table."""

from pathlib import Path

import pytest
from benchmark.conformance import table
from benchmark.demo.__main__ import faults, slower
from benchmark.demo.measure import Run, Step, Transfer, common, length, overlap, result, union, waited_for_data
from benchmark.service import toml

pytestmark = pytest.mark.pure


def step(started: float, finished: float, asked: float = 0.0) -> Step:
    return Step(name="s", template="scene", asked_at=asked, started_at=started, finished_at=finished)


def inbound(started: float, finished: float) -> Transfer:
    return Transfer(name="far:x", direction="in", size_bytes=1, started_at=started, finished_at=finished)


def a_run(steps: list[Step], transfers: list[Transfer], **more: object) -> Run:
    values = {
        "label": "x", "began_at": 0.0, "makespan_s": 10.0, "fill": [], "capacity_bytes": 100, "service_peak_bytes": 90,
        "sampled_peak_bytes": 95, "fetched_bytes": 50, "fetched_twice_bytes": 0,
    }  # fmt: skip
    return Run(steps=steps, transfers=transfers, **(values | more))  # pyright: ignore[reportArgumentType]


def test_intervals_are_joined_where_they_touch():
    assert union([(3, 4), (0, 1), (1, 2), (0.5, 1.5), (5, 5)]) == [(0, 2), (3, 4)]
    assert length([(0, 2), (1, 3), (5, 6)]) == 4
    assert common([(0, 4), (6, 8)], [(3, 7)]) == 2


def test_overlap_is_the_share_of_transfer_time_under_computing():
    run = a_run([step(1, 3), step(2, 4)], [inbound(0, 2), inbound(1, 4), inbound(8, 9)])
    assert overlap(run) == pytest.approx(3 / 5)


def test_outbound_transfers_do_not_count_for_overlap():
    out = Transfer(name="far:y", direction="out", size_bytes=1, started_at=0, finished_at=100)
    assert overlap(a_run([step(0, 1)], [inbound(0, 1), out])) == 1


def test_a_place_that_stands_empty_while_a_step_is_ready_counts_as_waiting():
    # Two places; both steps are asked for at 0 and fetch until 2.
    assert waited_for_data([step(2, 5), step(2, 5)], 2) == pytest.approx(4)


def test_no_place_waits_when_all_are_taken_or_nothing_is_ready():
    assert waited_for_data([step(0, 5), step(5, 9)], 1) == pytest.approx(0)
    assert waited_for_data([step(0, 5), step(5, 9, asked=5)], 2) == pytest.approx(0)


def test_the_result_has_exactly_the_promised_fields():
    on_demand = a_run([step(2, 5)], [inbound(0, 2)], results={"a": "1"})
    jit = a_run([step(2, 5)], [inbound(0, 2)], results={"a": "1"}, killed_at=1.0, restarted_at=2.0)
    found = result(on_demand, jit, distinct_bytes=50, places=2)
    assert list(found) == [
        "on_demand_makespan_s",
        "jit_makespan_s",
        "on_demand_wait_s",
        "jit_wait_s",
        "bytes_distinct",
        "bytes_fetched",
        "bytes_fetched_twice",
        "primary_capacity_bytes",
        "primary_peak_bytes",
        "overlap",
        "identical",
        "server_killed",
        "steps",
    ]
    assert found["primary_peak_bytes"] == 95
    assert found["identical"] is True
    assert found["server_killed"] is True


def test_a_slow_machine_is_told_of_and_only_what_is_wrong_fails_the_demo():
    on_demand = a_run([step(2, 5)], [inbound(0, 2)], results={"a": "1"})
    found = result(on_demand, on_demand, distinct_bytes=50, places=2)
    assert len(list(slower(found))) == 2
    assert list(faults(found)) == []
    assert list(slower({**found, "jit_makespan_s": 1.0, "overlap": 0.9})) == []
    for wrong in ({"identical": False}, {"bytes_fetched_twice": 1}, {"primary_peak_bytes": 101}):
        assert len(list(faults({**found, **wrong}))) == 1


def test_results_that_are_missing_are_not_identical():
    nothing = a_run([], [])
    assert result(nothing, nothing, distinct_bytes=0, places=2)["identical"] is False


def test_rows_of_the_table(tmp_path: Path):
    file = tmp_path / "expected.tsv"
    file.write_text(
        "path\texpected_phase\tfeatures\timages\tnotes\n"
        "a/x.yaml\tSucceeded|Failed\tdag,when\tbusybox\temulate=configmap; ~30 s; needs: b/t.yaml + c.yaml; prints\n"
        "b/t.yaml\t-\t-\t-\tsupport\n"
        "y.yaml\tRejected\t\t\t\n"
    )
    first, support, rejected = table.read(file)
    assert first.phases == {"Succeeded", "Failed"}
    assert first.needs == ("b/t.yaml", "c.yaml")
    assert first.emulate == {"configmap"}
    assert first.noted_s == 30
    assert support.is_support
    assert rejected.is_rejected


def test_a_run_that_serves_to_be_stopped_is_right_when_it_failed(tmp_path: Path):
    file = tmp_path / "expected.tsv"
    file.write_text("path\t\nf.yaml\tSucceeded\t\t\truns 1000 s; use as target of stop/terminate (then Failed)\n")
    (row,) = table.read(file)
    assert row.accepted == {"Failed"}


def test_needed_files_are_found_wherever_they_lie(tmp_path: Path):
    (tmp_path / "deep" / "b").mkdir(parents=True)
    (tmp_path / "deep" / "b" / "t.yaml").write_text("kind: WorkflowTemplate\n")
    assert table.find(tmp_path, "b/t.yaml") == tmp_path / "deep" / "b" / "t.yaml"
    assert table.find(tmp_path, "t.yaml") == tmp_path / "deep" / "b" / "t.yaml"
    assert table.find(tmp_path, "u.yaml") is None


def test_documents_keep_times_as_text_and_refuse_what_is_not_yaml(tmp_path: Path):
    file = tmp_path / "x.yaml"
    file.write_text("kind: Workflow\nat: 2024-01-01T00:00:00Z\n---\nkind: WorkflowTemplate\n")
    assert [document["kind"] for document in table.documents(file)] == ["Workflow", "WorkflowTemplate"]
    assert table.documents(file)[0]["at"] == "2024-01-01T00:00:00Z"
    file.write_text("kind: [")
    with pytest.raises(table.NotYaml):
        table.documents(file)


def test_settings_are_written_as_toml():
    import tomllib

    tree = {
        "home": '/x "y"',
        "max_pods": 2,
        "primary": {"lookahead": False},
        "images": {"a:1": {"env": {"P": "q"}, "cmd": ["s"]}},
        "e": {},
    }
    assert tomllib.loads(toml(tree)) == tree
