"""What a row's notes ask to be done to a running or ended workflow."""

import re
import time
from typing import Any

from benchmark.conformance.api import Api
from benchmark.conformance.table import FINAL, Row

Status = dict[str, Any]
Node = dict[str, Any]


TICK_S = 1.1
"""Statuses tell times in whole seconds: what runs again after this is seen to."""


class Actor:
    """Acts on one workflow as its row says. Each action is done once for each node, or once at all."""

    def __init__(self, api: Api, row: Row, name: str, scenario: str = "") -> None:
        """Read what the row asks for; `scenario`: one of several, instead of all."""
        self._api = api
        self._name = name
        self._text = scenario or row.interactive or ("stop" if row.is_target_of_stop else "")
        self._done: set[str] = set()
        self.found: list[str] = []
        """What was not as the notes say."""
        self.verdict: tuple[str, str] | None = None
        """Set when an action's own end decides, not the workflow's last one."""

    def look(self, status: Status) -> None:
        """See a running workflow, and act if it is time."""
        nodes = list((status.get("nodes") or {}).values())
        running = [node for node in nodes if node.get("type") == "Pod" and node.get("phase") == "Running"]
        if "resume" in self._text or "by node field selector" in self._text:
            self._answer_suspended(nodes)
        if self._text.startswith("stop") and running:
            self._once("stop")
        elif self._text.startswith("terminate during onExit"):
            if any(".onExit" in str(node.get("name")) for node in running):
                self._once("terminate")
        elif self._text.startswith("terminate") and "retry" not in self._done and (running or _suspended(nodes)):
            # A workflow that will be retried from a chosen node is to reach the place where it waits.
            if "restartSuccessful" not in self._text or _suspended(nodes):
                self._once("terminate")
        elif "retry" in self._done and "restartSuccessful" in self._text and _suspended(nodes):
            self._check_restarted(nodes)
            self._api.act(self._name, "terminate")
            self._text = "ended"

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
        self._old = {node["id"]: node for node in (status.get("nodes") or {}).values()}
        if "restartSuccessful" in self._text:
            time.sleep(TICK_S)
            # The steps below are run again, those before are kept.
            steps = [node for node in self._old.values() if node.get("type") == "Steps" and node.get("boundaryID")]
            selector = f"templateName={steps[-1]['templateName']}" if steps else ""
            self._once("retry", restartSuccessful=True, nodeFieldSelector=selector)
        else:
            self._once("retry")
        return True

    def _check_restarted(self, nodes: list[Node]) -> None:
        inner = [node for node in nodes if node.get("type") == "Pod"]
        kept = [node for node in inner if self._old.get(node["id"], {}).get("finishedAt") == node.get("finishedAt")]
        if not kept or len(kept) == len(inner):
            self.found.append(f"of {len(inner)} pods {len(kept)} were kept; some were to run again, some not")

    def _answer_suspended(self, nodes: list[Node]) -> None:
        """Resume what is suspended; where the row says "resume/stop", the first is resumed and the next stopped.

        With `set NAME=VALUE` the value is supplied first.
        """
        for node in _suspended(nodes):
            selector = f"id={node['id']}"
            if selector in self._done:
                continue
            self._done.add(selector)
            stop = "resume/stop" in self._text and "resumed" in self._done
            self._done.add("resumed")
            for name, value in re.findall(r"set (\w+)=(\w+)", self._text):
                self._api.act(self._name, "set", nodeFieldSelector=selector, outputParameters=f'{{"{name}": "{value}"}}')
            if stop:
                self._api.act(self._name, "stop", nodeFieldSelector=selector, message="because")
            else:
                self._api.act(self._name, "resume", nodeFieldSelector=selector)

    def _once(self, action: str, **body: Any) -> None:
        if action not in self._done:
            self._done.add(action)
            self._api.act(self._name, action, **body)


def _suspended(nodes: list[Node]) -> list[Node]:
    """Return the suspended nodes that wait for somebody."""
    return [
        node
        for node in nodes
        if node.get("type") == "Suspend" and node.get("phase") == "Running" and "Waiting for" not in str(node.get("message"))
    ]
