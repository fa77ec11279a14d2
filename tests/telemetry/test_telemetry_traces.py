"""Ids of traces and spans, and the W3C's `traceparent`."""

import subprocess
import sys

import pytest

from jitflow.telemetry.traces import Place, place_of, span_id_of, trace_id_of

pytestmark = pytest.mark.pure
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_parent_is_read_and_written() -> None:
    text = f"00-{TRACE}-{SPAN}-01"
    place = place_of(text)
    assert place == Place(int(TRACE, 16), int(SPAN, 16), sampled=True)
    assert place.text == text
    quiet = place_of(f"00-{TRACE}-{SPAN}-00")
    assert quiet is not None
    assert (quiet.sampled, quiet.text[-2:]) == (False, "00")
    assert place_of(f"cc-{TRACE}-{SPAN}-03-of-a-later-version") == place


@pytest.mark.parametrize(
    "text",
    ["", "00", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01"],
)
def test_what_is_no_parent_is_none(text: str) -> None:
    assert place_of(text) is None


def test_ids_follow_from_names() -> None:
    assert span_id_of("uid", "node") == span_id_of("uid", "node") != span_id_of("uidn", "ode")
    assert 0 < trace_id_of("uid") < 1 << 128
    assert 0 < span_id_of("uid") < 1 << 64


def test_a_server_that_does_not_trace_imports_nothing_for_it() -> None:
    code = "import sys, jitflow.bootstrap.stack; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
