"""Writes `docs/reference/metrics.md` from the table of metrics: `python -m jitflow.telemetry._reference [--check]`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from jitflow.telemetry.known import TABLE, Known
from jitflow.telemetry.traces import SPANS

PAGE = Path("docs/reference/metrics.md")
_HEAD = """# Metrics

`GET /metrics` answers in Prometheus' text format. It needs a token, for labels hold names of people's workflows; a Prometheus
sends one with `authorization: {credentials_file: …}`. The setting `server.open_metrics` opens the path instead. A dashboard and
alert rules are in `deploy/`; [the operator's guide](../how-to/operate.md) says how to use them.

Names that Argo's controller has too mean the same. Counters begin anew with the process, unless they say *since ever*. Metrics
that [workflows define](argo-compatibility.md) are shown beside these with the prefix `argo_workflows_`, and those of the process
itself (`process_…`, `python_info`) as Prometheus' own libraries name them.

This page is written from the code; `make generate` writes it again.
"""

_TRACES = """
## Traces

[How to get them](../how-to/tracing.md). What has failed has the status *error*, with the message.
"""


def page() -> str:
    """Return the page."""
    rooms = dict.fromkeys(one.room for one in TABLE)
    parts = [_HEAD, *(f"\n## {room}\n\n" + "\n".join(_table(room)) + "\n" for room in rooms)]
    return "".join(parts) + _TRACES + "".join(f"\n{line}" for line in _spans()) + "\n"


def _spans() -> Iterator[str]:
    yield "| span | kind | is | attributes |"
    yield "|---|---|---|---|"
    for one in SPANS:
        attributes = "; ".join(f"`{name}`: {text}" for name, text in one.attributes)
        yield f"| `{one.name}` | {one.kind} | {one.help} | {attributes} |"


def _table(room: str) -> Iterator[str]:
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    yield from (f"| `{one.name}` | {one.kind} | {_labels(one)} | {one.help} |" for one in TABLE if one.room == room)


def _labels(one: Known) -> str:
    return "; ".join(f"`{name}`: {text}" for name, text in one.labels)


def main() -> int:
    """Write the page, or with `--check` only say whether it is as it should be."""
    text = page()
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") != text:
            print(f"{PAGE} is not what the code says; run: python -m jitflow.telemetry._reference", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
