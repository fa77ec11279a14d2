"""What a row's notes say of the end beyond its phase: outputs, nodes, messages, labels, lines printed."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.conformance.api import Api, Refused
from benchmark.conformance.table import Document, Row

GONE_WITHIN_S = 20.0


@dataclass(frozen=True)
class End:
    """A workflow that has ended."""

    api: Api
    name: str
    document: Document

    @property
    def status(self) -> dict[str, Any]:
        """The workflow's status."""
        return self.document.get("status") or {}

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All nodes."""
        return list((self.status.get("nodes") or {}).values())

    def called(self, name: str) -> list[dict[str, Any]]:
        """Return the nodes shown under a name."""
        return [node for node in self.nodes if node.get("displayName") == name]

    def phases(self, name: str) -> set[str]:
        """Return the phases of the nodes shown under a name."""
        return {str(node.get("phase")) for node in self.called(name)}

    def pods(self) -> list[dict[str, Any]]:
        """Return the nodes that ran as pods."""
        return [node for node in self.nodes if node.get("type") == "Pod"]

    def log(self) -> str:
        """Return what the pods wrote."""
        return self.api.log(self.name)


Check = Callable[[End], str]
"""Returns what is not as the notes say; empty when all is."""


def differences(row: Row, end: End) -> str:
    """Return what is not as a row's notes say, empty when all is."""
    notes = "" if _short(row.path) in MISTAKEN else row.notes
    checks = [*_from_notes(notes), *CHECKS.get(_short(row.path), ())]
    return "; ".join(found for check in checks if (found := check(end)))


def refusal_differs(row: Row, message: str) -> str:
    """Return what a refusal lacks that the notes state."""
    lacking = [text for text in re.findall(r'"([^"]{6,})"', row.notes) if text not in message]
    return f"the refusal does not say {lacking[0]!r}: {message[:300]}" if lacking else ""


# -- read from the notes' own words -----------------------------------------------------------------------------------


def _from_notes(notes: str) -> Iterator[Check]:
    static = notes.partition("interactive:")[0]
    for pattern, make in _PATTERNS:
        for found in re.findall(pattern, static):
            yield make(*((found,) if isinstance(found, str) else found))
    for listed in re.findall(r"(?:^|; )nodes ([^;]+)", static):
        yield shows(*re.findall(r"[\w-]+\((?:[^()]*)\)", listed))


def _differ(what: str, got: object, wanted: object) -> str:
    return "" if got == wanted else f"{what} is {got!r}, not {wanted!r}"


def prints(text: str) -> Check:
    """Some pod wrote a text, to its log or into an output parameter."""

    def check(end: End) -> str:
        outputs = [p.get("value") or "" for n in end.nodes for p in (n.get("outputs") or {}).get("parameters") or []]
        told = any(text in value for value in outputs) or text in end.log()
        return "" if told else f"no pod printed {text!r}"

    return check


def says(text: str) -> Check:
    """The workflow's message or a node's holds a text."""

    def check(end: End) -> str:
        told = [str(end.status.get("message") or ""), *(str(node.get("message") or "") for node in end.nodes)]
        return "" if any(text in message for message in told) else f"no message says {text!r}: {sorted(set(told))}"

    return check


def has_nodes(count: int) -> Check:
    """The workflow has so many nodes."""
    return lambda end: _differ("the number of nodes", len(end.nodes), count)


def shows(*names: str) -> Check:
    """There are nodes with these names."""
    return lambda end: "".join(f"no node {name!r}; " for name in names if not end.called(name))


def gets(node: str, value: str) -> Check:
    """A node has an input parameter of this value."""

    def check(end: End) -> str:
        values = [
            parameter.get("value")
            for found in end.called(node)
            for parameter in (found.get("inputs") or {}).get("parameters") or []
        ]
        return "" if value in values else f"no input of {node} is {value!r}: {values}"

    return check


def gives(name: str, value: str) -> Check:
    """The workflow has an output parameter of this value."""

    def check(end: End) -> str:
        outputs = [*((end.status.get("outputs") or {}).get("parameters") or [])]
        for node in end.nodes:
            outputs += (node.get("outputs") or {}).get("parameters") or []
        values = [parameter.get("value") for parameter in outputs if parameter.get("name") == name]
        return "" if value in values else f"output {name} is {values}, not {value!r}"

    return check


def labelled(name: str, value: str) -> Check:
    """The workflow has a label."""
    return lambda end: _differ(f"label {name}", (end.document["metadata"].get("labels") or {}).get(name), value)


def ended(name: str, *phases: str) -> Check:
    """The nodes of a name ended in one of these phases."""

    def check(end: End) -> str:
        found = end.phases(name)
        return "" if found and found <= set(phases) else f"{name} is {sorted(found) or 'not there'}, not {phases}"

    return check


# -- for rows whose notes need more than a pattern --------------------------------------------------------------------


def ran(*names: str) -> Check:
    """Of the leaves, these ran and no others."""
    return lambda end: _differ("what ran", sorted(str(node["displayName"]) for node in end.pods()), sorted(names))


def leaves(count: int) -> Check:
    """So many pods ran; all other leaves were skipped."""
    return lambda end: _differ("the number of pods", len(end.pods()), count)


def one_of(*names: str) -> Check:
    """Exactly one of these ran, the others were skipped."""

    def check(end: End) -> str:
        found = sorted(phase for name in names for phase in end.phases(name))
        return _differ(f"the phases of {names}", found, ["Skipped"] * (len(names) - 1) + ["Succeeded"])

    return check


def has_message(name: str, text: str) -> Check:
    """A node's message holds a text."""

    def check(end: End) -> str:
        told = [str(node.get("message") or "") for node in end.called(name)]
        return "" if any(text in message for message in told) else f"{name} says {told}, not {text!r}"

    return check


def both_say(value: str, *names: str) -> Check:
    """The exit handler got this value for each of these parameters."""

    def check(end: End) -> str:
        for node in end.nodes:
            given = {p.get("name"): p.get("value") for p in (node.get("inputs") or {}).get("parameters") or []}
            if set(names) <= set(given):
                return _differ("the handler's inputs", [given[name] for name in names], [value] * len(names))
        return f"no node has the inputs {names}"

    return check


def of_type(name: str, kind: str) -> Check:
    """The nodes of a name are of a type."""
    return lambda end: _differ(f"the type of {name}", {node.get("type") for node in end.called(name)}, {kind})


def root_type(kind: str) -> Check:
    """The root node is of a type."""
    return lambda end: _differ("the root's type", {n.get("type") for n in end.nodes if n.get("name") == end.name}, {kind})


def counted(metric: str) -> Check:
    """A custom metric was emitted."""

    def check(end: End) -> str:
        return "" if metric in end.api.text("/metrics") else f"no metric {metric} in /metrics"

    return check


def sums(metric: str, value: float, **labels: str) -> Check:
    """A custom metric with these labels has this value."""

    def check(end: End) -> str:
        lines = [line for line in end.api.text("/metrics").splitlines() if metric in line and not line.startswith("#")]
        for line in lines:
            if all(f'{name}="{text}"' in line for name, text in labels.items()) and float(line.rpartition(" ")[2]) >= value:
                return ""
        return f"{metric} {labels} does not reach {value}: {lines}"

    return check


def vanishes(end: End) -> str:
    """The workflow is deleted soon after its end."""
    until = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < until:
        if not end.api.exists(end.name):
            return ""
        time.sleep(0.5)
    return "the workflow was not deleted"


def no_claims(end: End) -> str:
    """No claim that the workflow made is left."""
    until = time.monotonic() + GONE_WITHIN_S
    left: list[str] = []
    while time.monotonic() < until:
        left = [str(it["metadata"]["name"]) for it in end.api.objects("PersistentVolumeClaim")]
        left = [name for name in left if name.startswith(end.name)]
        if not left:
            return ""
        time.sleep(0.5)
    return f"claims are left: {left}"


def has_logs(end: End) -> str:
    """Each pod's log was kept as an artifact."""
    for node in end.pods():
        names = [artifact.get("name") for artifact in (node.get("outputs") or {}).get("artifacts") or []]
        if "main-logs" not in names:
            return f"{node['displayName']} has no artifact main-logs: {names}"
    return "" if end.pods() else "no pod ran"


def told(*reasons: str) -> Check:
    """The workflow's events have these reasons, in this order, and no others."""

    def check(end: End) -> str:
        text = end.api.text(f"/api/jit/v1/workflows/{{namespace}}/{end.name}/notes")
        found = [str(note.get("reason")) for note in json.loads(text)["items"]]
        return _differ("the events", found, list(reasons))

    return check


def at_most_at_once(limit: int) -> Check:
    """Never did more pods run at once."""

    def check(end: End) -> str:
        times: list[tuple[str, int]] = []
        for node in end.pods():
            # At one moment, what ends comes before what starts: the times have no fractions of a second.
            times += [(str(node["startedAt"]), 1), (str(node["finishedAt"]), -1)]
        running = most = 0
        for _, change in sorted(times):
            running += change
            most = max(most, running)
        return "" if most <= limit else f"{most} pods ran at once, not {limit}"

    return check


def object_gone(kind: str) -> Check:
    """No object of a kind that the workflow made is left."""

    def check(end: End) -> str:
        names = [str(it["metadata"]["name"]) for it in end.api.objects(kind)]
        left = [name for name in names if "resource-delete" in name]
        return f"{kind} left: {left}" if left else ""

    return check


def listed_below(node_name: str, artifact: str) -> Check:
    """A directory artifact can be looked at through the artifact server."""

    def check(end: End) -> str:
        node = next((it for it in end.nodes if it["displayName"] == node_name or it["name"] == end.name), None)
        if node is None:
            return f"no node {node_name}"
        path = f"/artifact-files/{{namespace}}/workflows/{end.name}/{node['id']}/outputs/{artifact}/"
        try:
            return "" if "<a href=" in end.api.text(path) else "the listing has no links"
        except Refused as error:
            return f"{path}: {error.status} {error}"

    return check


def same_node_skipped(end: End) -> str:
    """An empty loop leaves one Skipped node."""
    skipped = [node for node in end.nodes if node.get("type") == "Skipped"]
    return _differ("skipped nodes", [(n["phase"], n.get("message")) for n in skipped], [("Skipped", "Skipped, empty params")])


MISTAKEN: dict[str, str] = {
    "examples/cluster-workflow-template/workflow-template-ref-with-entrypoint-arg-passing.yaml": (
        'the notes say that it prints "hello from workflow"; the file itself gives the message "hello world"'
    ),
}
"""Rows whose notes contradict their file, and how."""


def _year(text: str) -> str:
    return text.replace("<current year>", time.strftime("%Y"))


_PATTERNS: tuple[tuple[str, Callable[..., Check]], ...] = (
    (r'prints "([^"]+)"', lambda text: prints(_year(text))),
    (r'(?:msg|message) "([^"]+)"', says),
    (r"(?:^|; )(\d+) nodes\b", lambda count: has_nodes(int(count))),
    (r'status\.progress "([^"]+)"', lambda text: lambda end: _differ("status.progress", end.status.get("progress"), text)),
    (r'(\w[\w-]*) input(?: in)? ?= ?"([^"]+)"', gets),
    (r'status\.outputs ([\w-]+) = "([^"]+)"', gives),
    (r"label (\w+)=(\w+) on", labelled),
    (r"(?:^|[;,] )([A-Za-z][\w-]*) (Skipped|Omitted|Failed)(?=[;,]|$)", ended),
)

CHECKS: dict[str, tuple[Check, ...]] = {
    "examples/cluster-workflow-template/workflow-template-ref-with-entrypoint-arg-passing.yaml": (prints("hello world"),),
    "examples/artifact-path-placeholders.yaml": (gives("actual-lines-count", "3"),),
    "examples/coinflip.yaml": (one_of("heads", "tails"),),
    "examples/conditionals.yaml": (leaves(3),),
    "examples/cron-workflow.yaml": (prints("hello world. Scheduled on: 20"),),
    "examples/custom-metrics.yaml": (counted("result_counter"),),
    "examples/dag-targets.yaml": (ran("A", "C", "E"),),
    "examples/exit-handlers.yaml": (ended("celebrate", "Skipped"), ended("cry", "Succeeded"), says("main: Error (exit code 1)")),
    "examples/gc-ttl.yaml": (vanishes,),
    "examples/global-outputs.yaml": (gives("my-global-param", "hello world"),),
    "examples/k8s-patch-json-workflow.yaml": (labelled("foo", "bar"),),
    "examples/label-value-from-workflow.yaml": (labelled("foo", "bar"),),
    "examples/parallelism-limit.yaml": (at_most_at_once(2),),
    "examples/resource-delete-with-flags.yaml": (object_gone("ConfigMap"),),
    "examples/secrets.yaml": (
        # Their values are in the environment and in the file, or nothing would be hidden.
        prints("secret from env: [hidden]"), prints("secret from file: [hidden]"),
    ),
    "examples/skipped-output-defaults/expression-fallback.yaml": (gives("result", "expr-fallback"),),
    "examples/timeouts-step.yaml": (says("Pod was active on the node longer than the specified deadline"),),
    "examples/volumes-pvc.yaml": (no_claims,),
    "examples/workflow-template/workflow-archive-logs.yaml": (has_logs,),
    "test/e2e/functional/dag-depends.yaml": (
        ended("should-execute-1", "Succeeded"), ended("should-execute-2", "Succeeded"), ended("should-not-execute", "Omitted"),
    ),
    "test/e2e/functional/dag-empty-param.yaml": (same_node_skipped,),
    "test/e2e/functional/dag-skipped-output-ref.yaml": (ended("stage-b", "Skipped"), ended("stage-c", "Error"),
                                                        has_message("stage-c", "absent optional")),
    "test/e2e/functional/loops-empty-param.yaml": (
        of_type("sleep", "Skipped"), ended("sleep", "Skipped"), has_message("sleep", "Skipped, empty params"),
    ),
    "test/e2e/functional/success-event.yaml": (
        told("WorkflowRunning", "WorkflowNodeRunning", "WorkflowNodeSucceeded", "WorkflowSucceeded"),
    ),
    "test/e2e/testdata/artifact-workflow.yaml": (listed_below("main", "out"),),
    "test/e2e/testdata/progress-workflow.yaml": (
        lambda end: _differ("status.progress", end.status.get("progress"), "100/100"),
    ),
    "test/e2e/testdata/retry-on-error-workflow.yaml": (root_type("Retry"),),
    "test/e2e/testdata/retry-omit.yaml": (ended("O", "Omitted"),),
    "test/e2e/testdata/retry-workflow-with-failed-exit-handler.yaml": (has_nodes(2),),
    "test/e2e/testdata/workflow-hook-parameter.yaml": (both_say("Succeeded", "ternary", "status"),),
    "test/e2e/testdata/workflow-retry-metrics.yaml": (sums("runs_exit_status_counter", 3, exit_code="1"),),
}  # fmt: skip


def _short(path: str) -> str:
    return path.removeprefix("./")
