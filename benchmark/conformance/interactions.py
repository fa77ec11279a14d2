"""What a row's notes ask to be done to a running or ended workflow."""

from typing import Any

from benchmark.conformance.api import Api
from benchmark.conformance.table import FINAL, Row

Status = dict[str, Any]


class Actor:
    """Acts on one workflow as its row says. Each action is done once for each node, or once at all."""

    def __init__(self, api: Api, row: Row, name: str) -> None:
        """Read what the row asks for."""
        self._api = api
        self._name = name
        self._text = row.interactive or ("stop" if row.is_target_of_stop else "")
        self._done: set[str] = set()
        self.verdict: tuple[str, str] | None = None
        """Set when an action's own end decides, not the workflow's last one."""

    def look(self, status: Status) -> None:
        """See a running workflow, and act if it is time."""
        nodes = list((status.get("nodes") or {}).values())
        if "resume" in self._text or "by node field selector" in self._text:
            self._answer_suspended(nodes)
        running = [node for node in nodes if node.get("type") == "Pod" and node.get("phase") == "Running"]
        if self._text.startswith("stop") and running:
            self._once("stop")
        elif self._text.startswith("terminate during onExit"):
            if any(".onExit" in str(node.get("name")) for node in running):
                self._once("terminate")
        elif self._text.startswith("terminate") and "retry" not in self._done and (running or _suspended(nodes)):
            self._once("terminate")
        elif "retry" in self._done:
            self._answer_suspended(nodes)

    def go_on(self, status: Status) -> bool:
        """See an ended workflow; True when it was set going again."""
        phase = str(status.get("phase"))
        if "retry" not in self._text or "retry" in self._done:
            if "retry" in self._done and "Succeeded" in self._text and phase != "Succeeded":
                self.verdict = (f"{phase} after retry", "retry was to end in Succeeded")
            return False
        self.verdict = (phase, str(status.get("message") or ""))
        if phase not in FINAL - {"Succeeded"}:
            return False
        self._once("retry")
        return True

    def _answer_suspended(self, nodes: list[dict[str, Any]]) -> None:
        """Resume what is suspended; where the row says "resume/stop", the first is resumed and the next stopped."""
        for node in _suspended(nodes):
            selector = f"id={node['id']}"
            if selector in self._done:
                continue
            self._done.add(selector)
            stop = "resume/stop" in self._text and "resumed" in self._done
            self._done.add("resumed")
            if stop:
                self._api.act(self._name, "stop", nodeFieldSelector=selector, message="because")
            else:
                self._api.act(self._name, "resume", nodeFieldSelector=selector)

    def _once(self, action: str) -> None:
        if action not in self._done:
            self._done.add(action)
            self._api.act(self._name, action)


def _suspended(nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the suspended nodes that wait for somebody."""
    return [
        node
        for node in nodes
        if node.get("type") == "Suspend" and node.get("phase") == "Running" and "Waiting for" not in str(node.get("message"))
    ]
