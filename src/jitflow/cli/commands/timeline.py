"""`jitflow timeline`."""

import time
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.completion import workflow_names
from jitflow.cli.connect import connect, resolve
from jitflow.cli.durations import seconds_of
from jitflow.cli.formats import duration, shorten, size
from jitflow.cli.options import DEFAULT_NAMESPACE, DataFormat, DataOption, NamespaceOption, ServerOption
from jitflow.cli.output import print_data, print_table, say
from jitflow.model.data import ObjectRef
from jitflow.model.reports import RunTimeline, Timeline

app, command = single("jitflow timeline @latest")

_BAR = 40
_SYMBOLS = {"in": "⇣", "out": "⇡"}
_GROUPS = frozenset({"StepGroup", "TaskGroup"})


@command
def timeline(
    name: Annotated[
        str,
        typer.Argument(
            metavar="WORKFLOW",
            help="A workflow, or @latest; without one, all transfers.",
            autocompletion=workflow_names,
            show_default=False,
        ),
    ] = "",
    *,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Without a workflow: the time up to now.")] = "1h",
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    output: DataOption = DataFormat.TABLE,
) -> None:
    """Say when the steps of a workflow ran and when their data was moved; or when anything was, and how full the primary was."""
    after = time.time() - seconds_of(since, "--since")
    with connect(server) as client:
        if name:
            found = client.workflows.timeline(resolve(client, namespace, name), namespace=namespace)
        else:
            found = client.timeline(since=after)
    if output is not DataFormat.TABLE:
        print_data(found, output)
    elif isinstance(found, RunTimeline):
        _print_run(found)
    else:
        _print_all(found)


def _print_run(found: RunTimeline) -> None:
    """Print a line for each step and transfer, with a bar that says when."""
    now = time.time()
    spans = [
        (one.started_at, one.finished_at or now, one.name, one.phase)
        for one in found.steps
        if one.started_at is not None and one.type not in _GROUPS
    ]
    spans += [
        (one.started_at, one.finished_at, f"{_SYMBOLS.get(one.direction, '')} {_shown(one.ref)}", size(one.size_bytes))
        for one in found.transfers
    ]
    if not spans:
        say(f"nothing of workflow {found.name} has begun yet")
        return
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    rows = [
        [shorten(what, 60), state, duration(begin - first), duration(end - begin), _bar(begin - first, end - first, last - first)]
        for begin, end, what, state in sorted(spans)
    ]
    print_table(["STEP OR TRANSFER", "PHASE OR SIZE", "AFTER", "TOOK", "WHEN"], rows)


def _bar(begin_s: float, end_s: float, whole_s: float) -> str:
    scale = _BAR / whole_s if whole_s > 0 else 0.0
    start = min(int(begin_s * scale), _BAR - 1)
    return "·" * start + "█" * max(1, min(round(end_s * scale), _BAR) - start)


def _print_all(found: Timeline) -> None:
    if not found.transfers:
        say("nothing was moved in that time; --since looks further back")
    else:
        rows = [
            [
                time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.started_at)),
                f"{_SYMBOLS.get(one.direction, '')} {shorten(_shown(one.ref), 80)}",
                size(one.size_bytes),
                duration(one.finished_at - one.started_at),
                one.outcome if not one.error else f"{one.outcome}: {shorten(one.error, 60)}",
            ]
            for one in found.transfers
        ]
        print_table(["BEGAN", "OBJECT", "SIZE", "TOOK", "OUTCOME"], rows)
    if found.fill:
        say(f"the primary held {size(found.fill[-1][1])} at last, {size(max(used for _, used in found.fill))} at most")


def _shown(ref: ObjectRef) -> str:
    return f"{ref.remote}:{ref.path}"
