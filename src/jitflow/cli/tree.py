"""A workflow as a tree of lines: what each step does now, where its data stands, how long it took. Pure.

A terminal is small and a workflow may have 10,000 nodes: given a height, finished and waiting steps fold into counts first, then
the tree itself, and the steps that do something stay.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jitflow.cli.formats import duration, plural, rate, shorten, size
from jitflow.cli.views import FAILED_PHASES, NodeView, WorkflowView
from jitflow.model.reports import StepData

SYMBOLS = {
    "Succeeded": ("✔", "green"),
    "Failed": ("✖", "red"),
    "Error": ("⚠", "red"),
    "Running": ("●", "cyan"),
    "Pending": ("◷", "yellow"),
    "Skipped": ("○", "dim"),
    "Omitted": ("○", "dim"),
}
_UNKNOWN = ("?", "dim")
_KINDS = ("running", "staging-out", "fetching", "waiting", "failed", "succeeded", "skipped")
_ACTIVE = frozenset({"running", "staging-out", "fetching", "failed"})
_FOLD_FROM = 4
_NAME_WIDTH, _DOING_WIDTH = 64, 52
_ENDLESS = 1_000_000

Span = tuple[str, str]
"""A text and its style (a Rich style; empty for none)."""


@dataclass(frozen=True)
class Branch:
    """A node and what hangs below it."""

    node: NodeView
    children: "tuple[Branch, ...]" = ()


@dataclass(frozen=True)
class Row:
    """One line of the tree before its columns are known; `note` alone stands for folded steps."""

    prefix: str
    node: NodeView | None = None
    note: str = ""


def build(view: WorkflowView) -> tuple[Branch, ...]:
    """Return the roots (the workflow's node, its exit handler …), each with its steps in order of time."""
    nodes = view.nodes
    by_name = {node.name: node for node in nodes.values() if node.type in {"TaskGroup", "Retry"}}
    below: dict[str, list[NodeView]] = {}
    for node in nodes.values():
        if node.type == "StepGroup":
            continue
        parent = by_name.get(node.name[: node.name.rfind("(")]) if node.name.endswith(")") else None
        above = parent.id if parent else node.boundary_id
        below.setdefault(above if above in nodes and above != node.id else "", []).append(node)
    root = view.metadata.name
    return _branches(below, sorted(below.get("", ()), key=lambda node: (node.id != root, *_order(node, ""))))


def kind(node: NodeView, data: StepData | None) -> str:
    """Return what a step does, one of: running, staging-out, fetching, waiting, failed, succeeded, skipped."""
    if node.phase in FAILED_PHASES:
        return "failed"
    if data is not None and data.phase == "staging-out":
        return "staging-out"
    if node.phase == "Running":
        return "running"
    if node.phase in {"Skipped", "Omitted"}:
        return "skipped"
    if node.phase == "Succeeded":
        return "succeeded"
    return "fetching" if data is not None and data.phase == "fetching" else "waiting"


def doing(node: NodeView, data: StepData | None) -> str:
    """Return in words what a step does now, with bytes, rate and time left where data moves."""
    if not node.is_leaf:
        return ""
    state = kind(node, data)
    if data is not None and state in {"fetching", "staging-out"}:
        verb = "fetching" if state == "fetching" else "staging out"
        parts = [f"{verb} {size(data.bytes_done)} of {size(data.bytes_total)}", rate(data.rate_Bps)]
        parts.append(f"{duration(data.eta_s)} left" if data.eta_s is not None else "")
        return ", ".join(part for part in parts if part)
    if state == "running":
        return "suspended" if node.type == "Suspend" else "running"
    if state == "waiting" and data is not None:
        return "data is here" if data.phase == "ready" else "waiting for data"
    return "waiting" if state == "waiting" else ""


def tree_lines(
    view: WorkflowView, data: Sequence[StepData] = (), *, now: float, height: int | None = None, width: int = 200
) -> list[tuple[Span, ...]]:
    """Return the steps as lines of styled spans, at most `height` of them, each at most `width` characters."""
    by_node = _by_node(data)
    rows = _rows(view, by_node, height)
    cells = [(row, _name_cell(row), _doing_cell(row, by_node)) for row in rows]
    name_width = min(_NAME_WIDTH, max((len(name) for _, name, _ in cells), default=0))
    doing_width = min(_DOING_WIDTH, max((len(text) for _, _, text in cells), default=0))
    return [_line(row, name, text, (name_width, doing_width, width), now) for row, name, text in cells]


def head_lines(view: WorkflowView, *, now: float) -> list[tuple[Span, ...]]:
    """Return the workflow's own line."""
    symbol, style = SYMBOLS.get(view.status.phase or "Pending", _UNKNOWN)
    spans = [(f"{symbol} ", style), (view.metadata.name, "bold"), (f"  {view.phase}", style)]
    ran = view.run_s(now)
    if ran is not None:
        spans.append((f"  {duration(ran)}", ""))
    if view.status.message:
        spans.append((f"  {shorten(view.status.message, 120)}", style))
    return [tuple(spans)]


def foot_lines(view: WorkflowView, data: Sequence[StepData], fill: Mapping[str, int] | None) -> list[tuple[Span, ...]]:
    """Return the overall progress, what is being fetched ahead, and how full the primary is."""
    by_node = _by_node(data)
    counts = count(view, by_node)
    total = sum(counts.values())
    done = counts["succeeded"] + counts["skipped"] + counts["failed"]
    lines: list[tuple[Span, ...]] = [((f"steps {done:,}/{total:,}  ", "bold"), (_tally(counts), ""))]
    ahead = _ahead(view, data)
    if ahead:
        lines.append(((f"ahead {ahead}", ""),))
    if fill and fill.get("capacity_bytes"):
        used, capacity = fill.get("used_bytes", 0), fill["capacity_bytes"]
        share = f"primary {size(used)} of {size(capacity)} ({100 * used / capacity:.0f} %)"
        lines.append(((f"{share}, fetched {size(fill.get('fetched_bytes', 0))}", ""),))
    return lines


def count(view: WorkflowView, by_node: Mapping[str, StepData]) -> Counter[str]:
    """Return how many steps do what."""
    return Counter(kind(node, by_node.get(node.id)) for node in view.nodes.values() if node.is_leaf)


def plain(lines: Iterable[Sequence[Span]]) -> list[str]:
    """Return the lines without styles."""
    return ["".join(text for text, _ in line).rstrip() for line in lines]


def _by_node(data: Sequence[StepData]) -> dict[str, StepData]:
    return {item.step.rpartition("/")[2]: item for item in data}


def _branches(below: Mapping[str, list[NodeView]], nodes: Sequence[NodeView]) -> tuple[Branch, ...]:
    """Return the nodes with all that hangs below them, without recursion: workflows may call themselves 1,000 times."""
    order = list(nodes)
    for node in order:
        order.extend(below.get(node.id, ()))
        if len(order) > _ENDLESS:
            break
    done: dict[str, Branch] = {}
    for node in reversed(order):
        inner = sorted(below.get(node.id, ()), key=lambda child: _order(child, node.name))
        done[node.id] = Branch(node, tuple(done[child.id] for child in inner if child.id in done))
    return tuple(done[node.id] for node in nodes)


def _order(node: NodeView, above: str) -> tuple[int, str, str, int, str]:
    """Sort by group of steps, then start, then the index of a loop's item."""
    rest = node.name[len(above) :] if above and node.name.startswith(above) else node.name
    group = _number(rest[1 : rest.find("]")]) if rest.startswith("[") else 0
    base, _, item = rest.rpartition("(") if rest.endswith(")") else (rest, "", "")
    return group, node.started_at or "~", base, _number(item.rstrip(")").partition(":")[0]), node.name


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _rows(view: WorkflowView, by_node: Mapping[str, StepData], height: int | None) -> list[Row]:
    roots = build(view)
    if height is None or len(view.nodes) <= height:
        return _walk(roots, by_node, fold=False, most=_ENDLESS)
    rows = _walk(roots, by_node, fold=True, most=height)
    return rows if len(rows) <= height else _active(view, by_node, height)


def _walk(roots: Sequence[Branch], by_node: Mapping[str, StepData], *, fold: bool, most: int) -> list[Row]:
    """Return rows in tree order; with `fold`, finished and waiting steps as counts. Stops soon after `most` rows."""
    rows: list[Row] = []
    stack: list[tuple[str, str, Branch | str]] = [("", "", branch) for branch in reversed(roots)]
    while stack and len(rows) <= most:
        lead, mark, item = stack.pop()
        if isinstance(item, str):
            rows.append(Row(lead + mark, note=item))
            continue
        rows.append(Row(lead + mark, item.node))
        inner = lead + {"├─ ": "│  ", "└─ ": "   "}.get(mark, "")
        children: list[Branch | str] = _folded(item, by_node) if fold else list(item.children)
        marks = ["├─ "] * (len(children) - 1) + ["└─ "]
        stack.extend((inner, sign, child) for sign, child in reversed(list(zip(marks, children, strict=False))))
    return rows


def _folded(branch: Branch, by_node: Mapping[str, StepData]) -> list[Branch | str]:
    """Return a branch's children, those that do nothing now as one count."""
    if branch.node.phase == "Succeeded":
        return []
    shown: list[Branch | str] = []
    counts: Counter[str] = Counter()
    for child in branch.children:
        state = kind(child.node, by_node.get(child.node.id))
        if state in _ACTIVE or (child.children and not child.node.is_done):
            shown.append(child)
        else:
            counts[state] += 1
    if sum(counts.values()) < _FOLD_FROM:
        return list(branch.children)
    return [*shown, f"… {_tally(counts)}"]


def _active(view: WorkflowView, by_node: Mapping[str, StepData], height: int) -> list[Row]:
    """Return only steps that do something, without the tree, and a count of all others."""
    rank = {"running": 0, "staging-out": 1, "fetching": 2, "failed": 3}
    found = [(rank.get(kind(node, by_node.get(node.id)), 9), node) for node in view.nodes.values() if node.is_leaf]
    active = sorted((item for item in found if item[0] < 9), key=lambda item: (item[0], item[1].started_at or "~", item[1].name))
    shown = [node for _, node in active[: max(0, height - 1)]]
    seen = {node.id for node in shown}
    rest = Counter(kind(node, by_node.get(node.id)) for node in view.nodes.values() if node.is_leaf and node.id not in seen)
    return [*(Row("", node) for node in shown), Row("", note=f"… {_tally(rest)}")][:height]


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {name.replace('-', ' ')}" for name in _KINDS if counts.get(name))


def _ahead(view: WorkflowView, data: Sequence[StepData]) -> str:
    """Return what is known of steps that do not exist yet: their data comes first."""
    nodes = view.nodes
    coming = [item for item in data if item.step.rpartition("/")[2] not in nodes]
    if not coming:
        return ""
    phases = Counter(item.phase for item in coming)
    missing = {ref: max(0, (whole or 0) - done) for item in data for ref, _, done, whole, _ in item.objects}
    words = [f"{plural(len(coming), 'step')}:"]
    tally = [f"{phases[phase]:,} {phase}" for phase in ("ready", "fetching", "waiting") if phases[phase]]
    words.append(", ".join(tally) if tally else "nothing to fetch")
    if missing:
        words.append(f"({plural(len(missing), 'object')}, {size(sum(missing.values()))} to come)")
    return " ".join(words)


def _name_cell(row: Row) -> str:
    if row.node is None:
        return ""
    return f"{row.prefix}{SYMBOLS.get(row.node.phase or 'Pending', _UNKNOWN)[0]} {row.node.label}"


def _doing_cell(row: Row, by_node: Mapping[str, StepData]) -> str:
    return doing(row.node, by_node.get(row.node.id)) if row.node else ""


def _line(row: Row, name: str, text: str, widths: tuple[int, int, int], now: float) -> tuple[Span, ...]:
    name_width, doing_width, width = widths
    if row.node is None:
        return _crop(((row.prefix, "dim"), (row.note, "dim")), width)
    symbol, style = SYMBOLS.get(row.node.phase or "Pending", _UNKNOWN)
    label = f"{symbol} {row.node.label}"
    room = max(8, name_width - len(row.prefix))
    ran = row.node.run_s(now)
    spans = (
        (row.prefix, "dim"),
        (shorten(label, room).ljust(name_width - len(row.prefix)), style),
        (f"  {shorten(text, doing_width).ljust(doing_width)}" if doing_width else "", "" if text == "running" else "yellow"),
        (f"  {duration(ran) if ran is not None else '':>7}", ""),
        (f"  {shorten(row.node.message, width)}" if row.node.message else "", style),
    )
    return _crop(spans, width)


def _crop(spans: Iterable[Span], width: int) -> tuple[Span, ...]:
    kept: list[Span] = []
    left = width
    for text, style in spans:
        if len(text) > left:
            kept.append((text[: max(0, left - 1)] + "…" if left else "", style))
            break
        kept.append((text, style))
        left -= len(text)
    return tuple(span for span in kept if span[0])
