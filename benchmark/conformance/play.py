"""Playing one row of the table: create, act where the row says so, wait for the end, compare."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmark.conformance.api import Api, NotSupported, Refused
from benchmark.conformance.interactions import Actor
from benchmark.conformance.table import FINAL, Document, NotYaml, Row, documents

POLL_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a row ended. `reason` groups outcomes in the summary: empty when it is as expected."""

    row: Row
    got: str
    reason: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def is_expected(self) -> bool:
        """Whether this is what the table says."""
        return not self.reason


class TimedOut(Exception):
    """A workflow did not end in time; the message tells its phase and what was unfinished."""


def play(api: Api, folder: Path, row: Row, timeout_s: float, unsupported: dict[str, str]) -> Outcome:
    """Run one row. `unsupported`: files that could not be registered, and why."""
    began = time.monotonic()
    got, reason, message = _play(api, folder, row, timeout_s, unsupported)
    return Outcome(row=row, got=got, reason=reason, message=message, seconds=time.monotonic() - began)


def _play(api: Api, folder: Path, row: Row, timeout_s: float, unsupported: dict[str, str]) -> tuple[str, str, str]:
    path = folder / row.path
    if not path.is_file():
        return "-", "no such file", str(path)
    try:
        if row.is_rejected:
            return _rejected(api, path)
        if lacking := [unsupported[name] for name in row.needs if name in unsupported]:
            return "-", "not supported", f"needs a file that could not be registered: {lacking[0]}"
        got = _run(api, row, documents(path), time.monotonic() + timeout_s)
    except NotYaml as error:
        return "not YAML", "not YAML", str(error)
    except NotSupported as error:
        return "-", "not supported", str(error)
    except Refused as error:
        return "Rejected", "refused", f"{error.status}: {error}"
    except TimedOut as error:
        return "timeout", "did not end in time", str(error)
    except httpx.HTTPError as error:
        return "-", "the server did not answer", f"{type(error).__name__}: {error}"
    phase, message = got
    return phase, "" if phase in row.accepted else "another end", message


def _rejected(api: Api, path: Path) -> tuple[str, str, str]:
    """Lint and create must both answer 400."""
    try:
        found = documents(path)
    except NotYaml:
        statuses = [api.post_text(f"/api/v1/workflows/argo{tail}", path.read_text()) for tail in ("/lint", "")]
        return ("Rejected", "", "") if statuses == [400, 400] else (str(statuses), "was not rejected", "not YAML")
    for act in (api.lint, api.create):
        try:
            for document in found:
                act(document)
        except Refused as error:
            if error.status != 400:
                return str(error.status), "refused with another status", f"{act.__name__}: {error}"
        else:
            return "accepted", "was not rejected", act.__name__
    return "Rejected", "", ""


def _run(api: Api, row: Row, found: list[Document], until: float) -> tuple[str, str]:
    ends = [_end_of(api, row, name, until) for document in found for name in _start(api, document, until)]
    worst = next((end for end in ends if end[0] not in row.accepted), None)
    return worst or (ends[0] if ends else ("-", "the file starts no workflow"))


def _start(api: Api, document: Document, until: float) -> Iterator[str]:
    """Create a document and yield the names of the workflows that come of it."""
    kind = document.get("kind")
    if kind == "Workflow":
        yield str(_create(api, document, until)["metadata"]["name"])
        return
    register(api, document)
    name = str(document.get("metadata", {}).get("name", ""))
    if kind in {"WorkflowTemplate", "ClusterWorkflowTemplate"}:
        yield str(api.submit(str(kind), name)["metadata"]["name"])
    elif kind == "CronWorkflow":
        yield _first_with(api, f"workflows.argoproj.io/cron-workflow={name}", until)


def _create(api: Api, document: Document, until: float) -> Document:
    """Create a workflow; while another row's workflow has the same name, wait."""
    while True:
        try:
            return api.create(document)
        except Refused as error:
            if error.status != 409 or time.monotonic() > until:
                raise
            time.sleep(1)


def register(api: Api, document: Document) -> None:
    """Create a document that others need; one that is there already stays.

    Raises:
        NotSupported: the server knows no such kind.
        Refused: it does not take it.
    """
    try:
        api.create(document)
    except Refused as error:
        if error.status != 409:
            raise


def _first_with(api: Api, label: str, until: float) -> str:
    while time.monotonic() < until:
        if found := api.workflows(label):
            return str(found[0]["metadata"]["name"])
        time.sleep(1)
    raise TimedOut(f"no workflow with label {label} came up")


def _end_of(api: Api, row: Row, name: str, until: float) -> tuple[str, str]:
    actor = Actor(api, row, name)
    try:
        while True:
            status: dict[str, Any] = api.workflow(name).get("status") or {}
            phase = str(status.get("phase") or "")
            if phase in FINAL and not actor.go_on(status):
                return actor.verdict or (phase, str(status.get("message") or "") or _why(status))
            if time.monotonic() > until:
                raise TimedOut(f"{phase or 'no phase yet'}; {_unfinished(status)}")
            actor.look(status)
            time.sleep(POLL_S)
    finally:
        if row.path and time.monotonic() <= until + 5:
            api.delete(name)


def _why(status: dict[str, Any]) -> str:
    nodes = (status.get("nodes") or {}).values()
    told = [
        f"{node.get('displayName')}: {node['message']}" for node in nodes if node.get("message") and node.get("phase") in FINAL
    ]
    return "; ".join(told[:2])


def _unfinished(status: dict[str, Any]) -> str:
    nodes = (status.get("nodes") or {}).values()
    waiting = [
        f"{node.get('displayName')} {node.get('phase')}: {node.get('message', '')}"
        for node in nodes
        if not node.get("finishedAt")
    ]
    return "; ".join(waiting[:3])
