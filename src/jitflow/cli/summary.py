"""The last words on a workflow: how it ended, why, and where its outputs are. Pure but for the logs it asks for."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jitflow.cli.formats import duration, plural, shorten
from jitflow.cli.tree import SYMBOLS
from jitflow.cli.views import FAILED_PHASES, NodeView, OutputsView, WorkflowView, location, pod_name, repository_key
from jitflow.client import Client, ClientError

_MOST_FAILED = 10
_MOST_OUTPUTS = 40
_LOG_LINES = 10
_MAX_VALUE = 200

_ARTIFACTS = "artifacts"

LogTail = Callable[[NodeView], list[str]]


class Repository(NamedTuple):
    """The default artifact repository: what to write before a key (`remote:`), and the directory it is, if it is one."""

    prefix: str = ""
    directory: str = ""


NOWHERE = Repository()


def summary_lines(view: WorkflowView, *, now: float, log_tail: LogTail, repository: Repository = NOWHERE) -> list[str]:
    """Return the lines that end a run; `log_tail` gives the last log lines of a node."""
    symbol = SYMBOLS.get(view.status.phase, ("?", ""))[0]
    steps = sum(1 for node in view.nodes.values() if node.is_leaf)
    lines = [f"{symbol} {view.metadata.name} {view.phase} in {duration(view.run_s(now))} ({plural(steps, 'step')})"]
    if view.status.message:
        lines.append(f"  {view.status.message}")
    lines += _failures(view, log_tail)
    found = list(_outputs(view, repository.prefix))
    if found:
        lines.append("outputs")
        lines += [f"  {line}" for line in found[:_MOST_OUTPUTS]]
        if len(found) > _MOST_OUTPUTS:
            lines.append(f"  … and {len(found) - _MOST_OUTPUTS} more: jitflow get {view.metadata.name} -o json")
        if repository.directory:
            lines.append(f"  ({repository.prefix} is the directory {repository.directory})")
    return lines


def tail_of(client: Client, view: WorkflowView) -> LogTail:
    """Return a function that reads the last log lines of a node; none when they cannot be read."""

    def tail(node: NodeView) -> list[str]:
        pod = pod_name(view.metadata.name, node)
        try:
            entries = client.workflows.logs(view.metadata.name, namespace=view.metadata.namespace, pod=pod, tail=_LOG_LINES)
            return [entry.content for entry in entries][-_LOG_LINES:]
        except ClientError:
            return []

    return tail


def repository_of(client: Client, view: WorkflowView) -> Repository:
    """Return the default repository if it is jitflow's own remote `artifacts`; nothing when that cannot be told."""
    outputs = [view.status.outputs, *(node.outputs for node in view.nodes.values())]
    found = (artifact for output in outputs if output for artifact in output.artifacts or ())
    key = next((repository_key(artifact) for artifact in found if repository_key(artifact)), "")
    if not key:
        return NOWHERE
    try:
        client.data.stat(f"{_ARTIFACTS}:{key}")
        roots = {item.name: item.options.get("root", "") for item in client.data.remotes.list()}
    except ClientError:
        return NOWHERE
    return Repository(f"{_ARTIFACTS}:", roots.get(_ARTIFACTS, ""))


def ending(client: Client, view: WorkflowView, now: float) -> str:
    """Return the last words on a workflow, with what only its server can tell."""
    lines = summary_lines(view, now=now, log_tail=tail_of(client, view), repository=repository_of(client, view))
    lines += [f"warning: {text}" for text in warnings(client, view)]
    return "\n".join(lines)


def warnings(client: Client, view: WorkflowView) -> list[str]:
    """Return what the workflow's history warns of; nothing from a server that keeps none (an Argo Server)."""
    try:
        notes = client.workflows.notes(view.metadata.name, namespace=view.metadata.namespace)
    except ClientError:
        return []
    return [note.message for note in notes if note.kind == "Warning"]


def failed_steps(view: WorkflowView) -> list[NodeView]:
    """Return the leaves that failed; of a retried step, the last attempt of those that failed for good."""
    last: dict[str, NodeView] = {}
    retries = {node.name: node for node in view.nodes.values() if node.type == "Retry"}
    for node in view.nodes.values():
        if not node.is_leaf or node.phase not in FAILED_PHASES:
            continue
        above = retries.get(node.name[: node.name.rfind("(")]) if node.name.endswith(")") else None
        if above is None:
            last[node.id] = node
        elif above.phase in FAILED_PHASES and _attempt(node) >= _attempt(last.get(above.id)):
            last[above.id] = node
    return sorted(last.values(), key=lambda node: (node.finished_at or "~", node.name))


def _attempt(node: NodeView | None) -> int:
    if node is None:
        return -1
    text = node.name[node.name.rfind("(") + 1 : -1]
    return int(text) if text.isdecimal() else 0


def _failures(view: WorkflowView, log_tail: LogTail) -> Iterator[str]:
    failed = failed_steps(view)
    if failed:
        yield "failed steps"
    for node in failed[:_MOST_FAILED]:
        yield f"  {SYMBOLS[node.phase][0]} {node.label}: {node.message or node.phase}"
        if node.type == "Pod":
            yield from (f"      | {line}" for line in log_tail(node))
    if len(failed) > _MOST_FAILED:
        yield f"  … and {len(failed) - _MOST_FAILED} more: jitflow get {view.metadata.name}"


def _outputs(view: WorkflowView, repository: str) -> Iterator[str]:
    """Yield the workflow's own outputs first, then those of its steps, each place once."""
    seen: set[str] = set()
    yield from _described("", view.status.outputs, seen, repository)
    for node in sorted(view.nodes.values(), key=lambda node: (node.finished_at or "~", node.name)):
        if node.is_leaf:
            yield from _described(f"{node.label}: ", node.outputs, seen, repository)


def _described(whose: str, outputs: OutputsView | None, seen: set[str], repository: str) -> Iterator[str]:
    if outputs is None:
        return
    for parameter in outputs.parameters or ():
        if parameter.value is not None:
            yield f"{whose}{parameter.name} = {shorten(str(parameter.value), _MAX_VALUE)}"
    for artifact in outputs.artifacts or ():
        place = location(artifact, repository)
        if artifact.get("name") != "main-logs" and place and place not in seen:
            seen.add(place)
            yield f"{whose}{artifact.get('name')} → {place}"
