"""What happens to workflows, told as the Kubernetes Events that Argo's controller writes (docs/workflow-events.md)."""

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from jitflow.app.present import FINAL_PHASES, timestamp
from jitflow.model.following import Delta

_QUIET = frozenset({"", "Pending"})
_BAD = frozenset({"Failed", "Error"})


class KubeEvents:
    """Makes events of deltas: one for each phase that a workflow or one of its nodes was seen to come to."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Know nothing yet."""
        self._now = now
        self._phases: dict[str, dict[str, str]] = {}

    def of(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """Yield the events that a delta stands for; nothing for a workflow that was deleted."""
        metadata, status = delta.workflow["metadata"], delta.workflow["status"]
        uid, phase = metadata["uid"], status["phase"]
        if delta.type == "DELETED":
            self._phases.pop(uid, None)
            return
        known = self._phases.setdefault(uid, {})
        if phase not in _QUIET and not FINAL_PHASES & {phase} and known.get("") != phase:
            yield self._event(delta, f"Workflow{phase}", f"Workflow {phase}", bad=False)
        for node_id, node in delta.nodes.items():
            seen = node.phase or ""
            if seen not in _QUIET and known.get(node_id) != seen:
                known[node_id] = seen
                message = f"{seen} node {node.name}" + (f": {node.message}" if node.message else "")
                yield self._event(delta, f"WorkflowNode{seen}", message, bad=seen in _BAD)
        if phase in FINAL_PHASES and known.get("") != phase:
            message = status.get("message") or ("Workflow completed" if phase == "Succeeded" else f"Workflow {phase}")
            yield self._event(delta, f"Workflow{phase}", message, bad=phase in _BAD)
        known[""] = phase
        if phase in FINAL_PHASES:
            self._phases[uid] = {"": phase}

    def _event(self, delta: Delta, reason: str, message: str, *, bad: bool) -> dict[str, Any]:
        metadata, at = delta.workflow["metadata"], timestamp(self._now())
        mark = hashlib.sha256(f"{metadata['uid']} {reason} {message}".encode()).hexdigest()[:16]
        about = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")}
        return {
            "metadata": {"name": f"{metadata['name']}.{mark}", "namespace": metadata["namespace"], "creationTimestamp": at},
            "involvedObject": {"kind": "Workflow", "apiVersion": delta.workflow["apiVersion"], **about},
            "reason": reason,
            "message": message,
            "source": {"component": "workflow-controller"},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": "Warning" if bad else "Normal",
        }
