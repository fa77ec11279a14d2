import pytest

from jitflow.cli import formats

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (1_500_000, "1.5 MB"),
     (123_456_789, "123 MB"), (99_960_000, "100 MB"), (5 * 10**18, "5000 PB")],
)  # fmt: skip
def test_size(count: int | None, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-1, "0s"), (0, "0s"), (0.0123, "12ms"), (1.25, "1.2s"), (5, "5s"), (59.6, "1m"), (61, "1m 1s"), (3600, "1h"),
     (3725, "1h 2m"), (86400 * 3 + 7200, "3d 2h")],
)  # fmt: skip
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_timestamps_are_read_with_and_without_fractions_and_never_raise() -> None:
    assert formats.timestamp("2026-01-01T00:00:00Z") == 1767225600.0
    assert formats.timestamp("2026-01-01T00:00:00.5+00:00") == 1767225600.5
    assert formats.timestamp(None) is None
    assert formats.timestamp("soon") is None


def test_elapsed_ends_at_the_end_and_is_never_negative() -> None:
    start, end = "2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z"
    assert formats.elapsed(start, end, now=0) == 9
    assert formats.elapsed(start, None, now=1767225602) == 2
    assert formats.elapsed(start, None, now=0) == 0
    assert formats.elapsed(None, None, now=5) is None


def test_columns_are_as_wide_as_their_cells_and_rows_stay_on_one_line() -> None:
    assert formats.columns(["A", "BB"], [["long", "x"], ["s", "two\nlines"]]) == ["A      BB", "long   x", "s      two lines"]


def test_shorten_keeps_the_width() -> None:
    assert formats.shorten("a  b\nc", 10) == "a b c"
    assert formats.shorten("abcdef", 4) == "abc…"
