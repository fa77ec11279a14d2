"""What changed between two looks at a workflow, as plain lines: the display without a terminal. Pure."""

from collections.abc import Sequence

from jitflow.cli.formats import duration, shorten
from jitflow.cli.tree import SYMBOLS, count, kind
from jitflow.cli.views import WorkflowView
from jitflow.model.reports import StepData

_WORDS = {
    "waiting": "waiting",
    "fetching": "waiting for data",
    "running": "running",
    "staging-out": "staging out",
    "succeeded": "succeeded",
    "skipped": "skipped",
    "failed": "failed",
}


class Changes:
    """Remembers what was told of each step, so that each change is told once."""

    def __init__(self) -> None:
        """Begin with nothing told."""
        self._told: dict[str, str] = {}

    def lines(self, view: WorkflowView, data: Sequence[StepData], now: float) -> list[str]:
        """Return one line for each step that does something else than before."""
        by_node = {item.step.rpartition("/")[2]: item for item in data}
        found: list[str] = []
        for node in sorted(view.nodes.values(), key=lambda node: (node.finished_at or node.started_at or "~", node.name)):
            if not node.is_leaf:
                continue
            state = kind(node, by_node.get(node.id))
            if self._told.get(node.id) == state:
                continue
            self._told[node.id] = state
            ran = node.run_s(now) if node.is_done and state != "skipped" else None
            took = f" in {duration(ran)}" if ran is not None else ""
            why = f": {shorten(node.message, 200)}" if node.message else ""
            symbol = SYMBOLS.get(node.phase or "Pending", ("?", ""))[0]
            found.append(f"{symbol} {node.label} {_WORDS[state]}{took}{why}")
        return found


def summary_line(view: WorkflowView, data: Sequence[StepData], now: float) -> str:
    """Return the overall progress as one line."""
    counts = count(view, {item.step.rpartition("/")[2]: item for item in data})
    done = counts["succeeded"] + counts["skipped"] + counts["failed"]
    parts = [f"{done:,}/{sum(counts.values()):,} steps done"]
    parts += [f"{counts[name]:,} {_WORDS[name]}" for name in ("running", "fetching", "staging-out") if counts[name]]
    return f"{duration(view.run_s(now))}: " + ", ".join(parts)
