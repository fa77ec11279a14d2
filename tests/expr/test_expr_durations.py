import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jitflow.expr import durations

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("20", 20),
        ("20s", 20),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1),
        ("300ms", 0.3),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        ("5μs", 5e-6),
        ("1ns", 1e-9),
        ("-2m", -120),
        ("+2m", 120),
        ("1h1h", 7200),
        ("-5", -5),
    ],
)
def test_durations_are_gos(text: str, seconds: float):
    assert durations.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "1", "1x", "1 s", "1h 2m", "h1", "--1s", ".s", "1d", "９s", "300000000h", "1" * 200, "+", "-"]
)
def test_other_texts_are_refused(text: str):
    with pytest.raises(durations.DurationError, match="duration"):
        durations.parse_duration(text, bare_seconds=False)


def test_bare_integers_are_seconds_where_argo_allows():
    assert durations.parse_duration("0", bare_seconds=False) == 0
    with pytest.raises(durations.DurationError, match="missing unit"):
        durations.parse_duration("10", bare_seconds=False)
    with pytest.raises(durations.DurationError, match="292 years"):
        durations.parse_duration("99999999999")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.3, "300ms"), (1.5, "1.5s"), (60, "1m0s"), (3603, "1h0m3s"), (-90.25, "-1m30.25s"), (0.0001, "0s"), (5, "5s")],
)
def test_durations_print_as_in_go(seconds: float, text: str):
    assert durations.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10Mi", 10 * 2**20),
        ("1G", 10**9),
        ("1.5Gi", 3 * 2**29),
        ("100m", 1),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        (5, 5),
        (1.5, 2),
        ("-1k", -1000),
        ("0", 0),
        ("5n", 1),
        ("5u", 1),
        (".5Ki", 512),
        ("1Ei", 2**60),
    ],
)
def test_quantities_are_kubernetes(text: str | float, value: int):
    assert durations.parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Mi", "1Mb", "1 Gi", "x", "1e9999", "100Ei", "１Mi", "1" * 100, "1e999", float("inf")])
def test_no_quantities(text: str | float):
    with pytest.raises(durations.QuantityError):
        durations.parse_quantity(text)


@pytest.mark.parametrize(
    ("template", "number", "text"),
    [
        ("%d", 5, "5"),
        ("%02d", 5, "05"),
        ("%x", 255, "ff"),
        ("%X", 255, "FF"),
        ("%02X", 10, "0A"),
        ("%o", 8, "10"),
        ("%b", 5, "101"),
        ("n-%d.txt", 7, "n-7.txt"),
        ("%d%%", 5, "5%"),
        ("%5d|", 5, "    5|"),
        ("%-5d|", 5, "5    |"),
        ("%+d", 5, "+5"),
        ("% d", 5, " 5"),
        ("%05d", -5, "-0005"),
        ("%#x", 255, "0xff"),
        ("%#o", 8, "010"),
        ("%#06x", 255, "0x00ff"),
        ("%.3d", 5, "005"),
        ("%.d", 5, "5"),
        ("%v", 5, "5"),
        ("%c", 65, "A"),
        ("%q", 65, "'A'"),
        ("%U", 65, "U+0041"),
        ("%3c|", 65, "  A|"),
        ("%-3c|", 65, "A  |"),
        ("%c", -1, "\ufffd"),
        ("%s", 3, "%!s(int=3)"),
        ("x", 3, "x%!(EXTRA int=3)"),
        ("%d%d", 3, "3%!d(MISSING)"),
        ("%d%", 3, "3%!(NOVERB)"),
        ("%9999d", 3, "%!(BADWIDTH)"),
        ("%.9999d", 3, "%!(BADWIDTH)"),
        ("%" + "9" * 5000 + "d", 3, "%!(BADWIDTH)"),
    ],
)
def test_numbers_print_as_in_go(template: str, number: int, text: str):
    assert durations.go_format(template, number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (1.5, "1.5"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (1234567.5, "1.2345675e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1e100, "1e+100"),
        (float("nan"), "NaN"),
        (float("inf"), "+Inf"),
        (-float("inf"), "-Inf"),
        (-2.5, "-2.5"),
    ],
)
def test_floats_print_as_in_go(value: float, text: str):
    assert durations.go_float(value) == text


@given(st.text(alphabet="0123456789.-+hmsuµnd KMGTiEe%xXv#", max_size=20), st.integers(-(2**70), 2**70))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_value_or_the_documented_error(text: str, number: int):
    with contextlib.suppress(durations.DurationError):
        assert abs(durations.parse_duration(text)) <= durations.MAX_DURATION_S
    with contextlib.suppress(durations.QuantityError):
        assert isinstance(durations.parse_quantity(text), int)
    assert isinstance(durations.go_format(text, number), str)
