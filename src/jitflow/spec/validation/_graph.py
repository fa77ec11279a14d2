"""Tasks that depend on one another: cycles, order, ancestors."""

from __future__ import annotations

from collections import deque

from jitflow.model import argo


class Graph:
    """Who depends on whom, and who comes before whom."""

    def __init__(self, prefix: str, tasks: tuple[argo.DAGTask, ...] = ()) -> None:
        """Start without dependencies; `prefix` names the template in messages."""
        self.prefix = prefix
        self.tasks = {task.name: task for task in tasks}
        self.before: dict[str, tuple[str, ...]] = {}
        self._bits: dict[str, int] | None = None

    def cycle(self) -> list[str]:
        """Return the names along a cycle, first and last the same; empty when there is none."""
        done: set[str] = set()
        for start in self.before:
            found = self._cycle_from(start, done)
            if found:
                return found
        return []

    def _cycle_from(self, start: str, done: set[str]) -> list[str]:
        trail: dict[str, None] = {}
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            names = self.before.get(name, ())
            if at == 0:
                if name in done:
                    continue
                trail[name] = None
            if at == len(names):
                del trail[name]
                done.add(name)
                continue
            stack.append((name, at + 1))
            following = names[at]
            if following in trail:
                walked = list(trail)
                return [*walked[walked.index(following) :], following]
            if following not in done:
                stack.append((following, 0))
        return []

    def precedes(self, early: str, late: str) -> bool:
        """Return whether a task must end before another begins; the graph has no cycle."""
        if early in self.before.get(late, ()):
            return True
        if self._bits is None:
            self._bits = self._ancestors()
        mask = self._bits.get(early)
        return mask is not None and bool(self._bits[f"/{late}"] & mask)

    def order(self) -> list[str]:
        """Return the tasks as Argo walks them: first those that wait for nothing, each in the order of the text."""
        waiting = {name: len(before) for name, before in self.before.items()}
        after: dict[str, list[str]] = {}
        for name, before in self.before.items():
            for early in before:
                after.setdefault(early, []).append(name)
        ready = deque(name for name, count in waiting.items() if not count)
        ordered: list[str] = []
        while ready:
            name = ready.popleft()
            ordered.append(name)
            for late in after.get(name, ()):
                waiting[late] -= 1
                if not waiting[late]:
                    ready.append(late)
        return ordered

    def _ancestors(self) -> dict[str, int]:
        """Return each task's own bit under its name and its ancestors' bits under `/name`."""
        bits = {name: 1 << index for index, name in enumerate(self.before)}
        stack = list(self.before)
        while stack:
            name = stack[-1]
            if f"/{name}" in bits:
                stack.pop()
                continue
            names = [it for it in self.before[name] if it in self.before]
            missing = [it for it in names if f"/{it}" not in bits]
            if missing:
                stack += missing
                continue
            found = 0
            for it in names:
                found |= bits[it] | bits[f"/{it}"]
            bits[f"/{name}"] = found
            stack.pop()
        return bits
