"""Limits and time tables of bandwidth, and plans over them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from jitflow.model.bandwidth import FREE, BandwidthError, Rate, timetable
from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.planner import Arrival, Link, PlannerOptions, Setting, simulate

pytestmark = pytest.mark.pure
BERLIN, MIB = ZoneInfo("Europe/Berlin"), 2**20


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("text", "up", "down"),
    [
        ("10M", 10 * MIB, 10 * MIB),
        ("10M:1M", 10 * MIB, MIB),
        ("1.5Mi:off", 3 * MIB // 2, None),
        ("512", 512 * 1024, 512 * 1024),
        ("20000b", 20000, 20000),
        ("1GiB", 1024 * MIB, 1024 * MIB),
        ("off", None, None),
    ],
)
def test_a_limit_means_what_it_means_to_rclone(text: str, up: int | None, down: int | None) -> None:
    table = timetable(text)
    assert table.at(0.0, UTC) == Rate(up_Bps=up, down_Bps=down)
    assert table.changes(0.0, UTC) is None
    assert table.is_free == (up is None and down is None)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no limit"),
        ("fast", "no limit"),
        ("-5M", "no limit"),
        ("10M:", "no limit"),
        ("1k", "the smallest limit is 16k"),
        ("25:00,1M", "no time 25:00"),
        ("Foo-10:00,1M", "Foo is no day"),
        ("08:00,1M 10M", "no entry of a time table"),
        ("08:00,quick", "no limit"),
    ],
)
def test_what_cannot_be_read_is_refused_with_words(text: str, word: str) -> None:
    with pytest.raises(BandwidthError, match=word):
        timetable(text)


def test_a_time_table_holds_by_the_clocks_of_its_zone() -> None:
    table = timetable("08:00,512k 19:00,10M:1M 23:00,off")
    night = moment("2026-11-28T03:00")
    assert table.at(night, BERLIN) == FREE
    assert table.changes(night, BERLIN) == moment("2026-11-28T08:00")
    assert table.at(moment("2026-11-28T08:00"), BERLIN).down_Bps == 512 * 1024
    assert table.changes(moment("2026-11-28T08:00"), BERLIN) == moment("2026-11-28T19:00")
    assert table.at(moment("2026-11-28T19:30"), BERLIN) == Rate(up_Bps=10 * MIB, down_Bps=MIB)
    assert table.at(moment("2026-11-28T19:30"), UTC).down_Bps == 512 * 1024


def test_days_are_told_apart_and_the_week_goes_round() -> None:
    table = timetable("Mon-08:00,1M Fri-18:00,off")
    assert table.at(moment("2026-11-30T07:59"), BERLIN) == FREE  # a Monday: since Friday
    assert table.changes(moment("2026-11-28T12:00"), BERLIN) == moment("2026-11-30T08:00")
    assert table.at(moment("2026-12-02T00:00"), BERLIN).up_Bps == MIB
    assert table.changes(moment("2026-11-30T08:00"), BERLIN) == moment("2026-12-04T18:00")


def test_an_hour_that_is_skipped_in_spring_does_no_harm() -> None:
    table = timetable("02:30,1M 04:00,off")
    before = moment("2026-03-29T01:59")
    changes = table.changes(before, BERLIN)
    assert changes is not None
    assert before < changes <= before + 3600
    assert table.at(moment("2026-03-29T03:15"), BERLIN).down_Bps == MIB


def test_a_simulated_link_keeps_to_its_limits_over_time() -> None:
    step = FutureStep(id="w/a", inputs=(FutureInput(ref=ObjectRef(remote="far", path="a"), size_bytes=1000),), run_s=5.0)
    limits = ((0.0, Rate(down_Bps=10)), (20.0, Rate(down_Bps=50)), (30.0, FREE))
    link = Link(rate_Bps=100.0, limits=limits)
    setting = Setting(capacity_bytes=2000, link=link, links={"far": link}, options=PlannerOptions(workers=1))
    # 200 bytes in the first 20 s, 500 in the next 10, the last 300 in 3 s; then it runs.
    assert simulate([Arrival(uid="w", steps=(step,))], setting).makespan_s == pytest.approx(38.0)
