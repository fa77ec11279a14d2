"""Plain scalars are read as Go's YAML reads them."""

import math

import pytest

from jitflow.spec._scalars import as_text, decimal_text, resolve

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("y", "Y", "yes", "on", "ON", "true", "True")),
        *((word, False) for word in ("n", "N", "no", "Off", "false", "FALSE")),
        *((word, None) for word in ("", "~", "null", "Null")),
        ("tRue", "tRue"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("09", 9.0),
        ("08:30", "08:30"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1e999", "1e999"),
        ("2020-01-02", "2020-01-02"),
        ("2020-01-02T03:04:05Z", "2020-01-02T03:04:05Z"),
        ("12345678901234567890123", 1.2345678901234568e22),
        ("9" * 500, "9" * 500),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("v1", "v1"),
        ("=", "="),
    ],
)
def test_plain_scalars(text: str, value: object):
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number():
    assert math.isnan(resolve(".NaN"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (True, "true"), (False, "false"), (16, "16"), (1.5, "1.5"), (1e6, "1e+06"), (1.0, "1")]
)
def test_scalars_in_string_fields(value: str | float, text: str):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (1e6, "1000000"), (0.1, "0.1"), (1e-7, "0.0000001"), (-0.0, "0"), (-1.50, "-1.5")]
)
def test_scalars_in_parameters(value: float, text: str):
    assert decimal_text(value) == text
