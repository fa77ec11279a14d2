"""Playing one row of the table: create, act where the row says so, wait for the end, compare."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmark.conformance.api import Api, NotSupported, Refused
from benchmark.conformance.checks import End, differences, refusal_differs
from benchmark.conformance.interactions import Actor
from benchmark.conformance.table import FINAL, Document, NotYaml, Row, documents
from benchmark.conformance.world import Library, emulate, register

POLL_S = 0.3
SCHEDULE_S = 75.0
RANDOM_RUNS_AT_ONCE = 5
CRON_LABEL = "workflows.argoproj.io/cron-workflow"
SUPPORT_TEMPLATES = frozenset({"WorkflowTemplate", "ClusterWorkflowTemplate"})


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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where rows are played: the server, the table's folder, what rows may need."""

    api: Api
    folder: Path
    library: Library
    credentials: tuple[str, str]
    random_runs: int = 20


class TimedOut(Exception):
    """A workflow did not end in time; the message tells its phase and what was unfinished."""


class Differs(Exception):
    """An end of the right phase that is not as the notes say."""


@dataclass
class _Scene:
    """One run of a row in a namespace of its own."""

    api: Api
    row: Row
    stage: Stage
    until: float
    own: list[Document]
    scenario: str = ""
    started: list[str] = field(default_factory=list)


def play(stage: Stage, row: Row, number: int, timeout_s: float) -> Outcome:
    """Run one row; `number` makes its namespace."""
    began = time.monotonic()
    got, reason, message = _guarded(lambda: _play(stage, row, number, timeout_s))
    return Outcome(row=row, got=got, reason=reason, message=message, seconds=time.monotonic() - began)


def _guarded(act: Callable[[], tuple[str, str, str]]) -> tuple[str, str, str]:
    try:
        return act()
    except NotYaml as error:
        return "not YAML", "not YAML", str(error)
    except NotSupported as error:
        return "-", "not supported", str(error)
    except Refused as error:
        return "Rejected", "refused", f"{error.status}: {error}"
    except TimedOut as error:
        return "timeout", "did not end in time", str(error)
    except Differs as error:
        return "differs", "not as the notes say", str(error)
    except httpx.HTTPError as error:
        return "-", "the server did not answer", f"{type(error).__name__}: {error}"


def _play(stage: Stage, row: Row, number: int, timeout_s: float) -> tuple[str, str, str]:
    path = stage.folder / row.path
    if not path.is_file():
        return "-", "no such file", str(path)
    api = stage.api.within(f"row-{number}")
    if row.is_rejected:
        return _rejected(api, row, path)
    if lacking := [stage.library.missing[name] for name in row.needs if name in stage.library.missing]:
        return "-", "a file is missing", lacking[0]
    own = documents(path)
    if row.is_support:
        for document in [*stage.library.around(row, own), *own]:
            register(api, document)
        return "-", "", ""
    if row.is_random and stage.random_runs > 1:
        return _many(stage, row, number, timeout_s, own)
    scenarios = [text.strip() for text in row.interactive.split(";") if text.strip()] or [""]
    if "terminate" in scenarios[0] or len(scenarios) == 1 or not _are_alternatives(scenarios):
        scenarios = [row.interactive]
    ends: list[tuple[str, str]] = []
    for place, scenario in enumerate(scenarios):
        inside = stage.api.within(f"row-{number}" + (f"-{place}" if place else ""))
        ends.append(_run(_Scene(inside, row, stage, time.monotonic() + timeout_s, own, scenario)))
    phase, message = next((end for end in ends if end[0] not in row.accepted), ends[0])
    return phase, "" if phase in row.accepted else "another end", message


def _are_alternatives(scenarios: list[str]) -> bool:
    """Whether each part of the notes has an end of its own: they are played one after the other, each from the start."""
    return all("=>" in scenario for scenario in scenarios)


def _many(stage: Stage, row: Row, number: int, timeout_s: float, own: list[Document]) -> tuple[str, str, str]:
    """Run a row that ends by chance many times: every end must be one of the right ones."""

    def once(place: int) -> tuple[str, str, str]:
        api = stage.api.within(f"row-{number}-{place}")

        def act() -> tuple[str, str, str]:
            phase, message = _run(_Scene(api, row, stage, time.monotonic() + timeout_s, own, row.interactive))
            return phase, "" if phase in row.accepted else "another end", message

        return _guarded(act)

    with ThreadPoolExecutor(RANDOM_RUNS_AT_ONCE) as pool:
        ends = list(pool.map(once, range(stage.random_runs)))
    worst = next((end for end in ends if end[1]), None)
    counted = {phase: sum(end[0] == phase for end in ends) for phase in sorted({end[0] for end in ends})}
    told = ", ".join(f"{count} {phase}" for phase, count in counted.items())
    return (told, worst[1], worst[2]) if worst else (told, "", "")


def _rejected(api: Api, row: Row, path: Path) -> tuple[str, str, str]:
    """Lint and create must both answer 400."""
    try:
        found = documents(path)
    except NotYaml:
        statuses = [api.post_text(tail, path.read_text()) for tail in ("/lint", "")]
        return ("Rejected", "", "") if statuses == [400, 400] else (str(statuses), "was not rejected", "not YAML")
    for act in (api.lint, api.create):
        try:
            for document in found:
                act(document)
        except Refused as error:
            if error.status != 400:
                return str(error.status), "refused with another status", f"{act.__name__}: {error}"
            if differs := refusal_differs(row, str(error)):
                return "Rejected", "not as the notes say", differs
        else:
            return "accepted", "was not rejected", act.__name__
    return "Rejected", "", ""


def _run(scene: _Scene) -> tuple[str, str]:
    """Create what a row's file holds, follow what comes of it, and compare."""
    stage, api = scene.stage, scene.api
    emulate(api, scene.row, scene.own, stage.credentials)
    for document in stage.library.around(scene.row, scene.own):
        register(api, document)
    ends: list[tuple[str, str]] = []
    schedules = [it for it in scene.own if it.get("kind") == "CronWorkflow"]
    try:
        for document in scene.own:
            if document.get("kind") in SUPPORT_TEMPLATES and len(scene.own) > 1:
                register(api, document)
                continue
            for name in _start(scene, document):
                ends.append(_end_of(scene, name))
    finally:
        for document in schedules:
            api.forget("CronWorkflow", str(document["metadata"]["name"]))
    worst = next((end for end in ends if end[0] not in scene.row.accepted), None)
    return worst or (ends[0] if ends else ("-", "the file starts no workflow"))


def _start(scene: _Scene, document: Document) -> Iterator[str]:
    """Create a document and yield the names of the workflows that come of it."""
    api, kind = scene.api, document.get("kind") or "Workflow"
    if kind == "Workflow" and "stored past the API" in scene.row.notes:
        yield _created_by_workflow(scene, document)
        return
    if kind == "Workflow":
        yield str(api.create(document)["metadata"]["name"])
        return
    name = str(document.get("metadata", {}).get("name", ""))
    if kind == "WorkflowEventBinding":
        register(api, document)
        yield _started_by_event(scene, document)
        return
    if kind == "CronWorkflow":
        yield _scheduled(scene, document, name)
        return
    register(api, document)
    if kind in SUPPORT_TEMPLATES:
        yield str(api.submit(str(kind), name, _event_parameters(scene, document))["metadata"]["name"])


def _created_by_workflow(scene: _Scene, document: Document) -> str:
    """Store a workflow as kubectl would, unchecked: by a resource template of another workflow."""
    template = {"name": "main", "resource": {"action": "create", "manifest": _yaml(document)}}
    metadata = {"generateName": "creator-"}
    creator = {"kind": "Workflow", "metadata": metadata, "spec": {"entrypoint": "main", "templates": [template]}}
    name = str(scene.api.create({"apiVersion": "argoproj.io/v1alpha1", **creator})["metadata"]["name"])
    wanted = str(document["metadata"].get("name") or document["metadata"].get("generateName"))
    return _appears(scene, lambda it: str(it["metadata"]["name"]).startswith(wanted), f"the workflow that {name} creates")


def _yaml(document: Document) -> str:
    import yaml  # noqa: PLC0415 - one row needs it

    return yaml.safe_dump(document)


def _scheduled(scene: _Scene, document: Document, name: str) -> str:
    """Register a schedule; wait for its next run if that is soon, else submit from it."""
    api = scene.api
    if before := _replaced(scene):
        register(api, before)
        api.replace(document)
    else:
        register(api, document)
    schedules = [*(document["spec"].get("schedules") or []), document["spec"].get("schedule") or ""]
    if any(text.strip() == "* * * * *" for text in schedules):
        scene.until = max(scene.until, time.monotonic() + SCHEDULE_S + 30)
        label = f"{CRON_LABEL}={name}"
        return _appears(scene, lambda _: True, f"a workflow with label {label}", label)
    return str(api.submit("CronWorkflow", name)["metadata"]["name"])


def _replaced(scene: _Scene) -> Document | None:
    """Return the document that a row's own one is written over, if its notes say so."""
    found = re.search(r"replaces ([\w/-]+) by PUT", scene.row.notes) or re.search(r"changed by update", scene.row.notes)
    if found is None:
        return None
    base = (found[1].rpartition("/")[2] if found.groups() else "basic") + ".yaml"
    path = (scene.stage.folder / scene.row.path).parent / base
    return documents(path)[0] if path.is_file() else None


def _event_parameters(scene: _Scene, document: Document) -> list[str]:
    """Return values for what a template is given by an event only."""
    if "submitted by event" not in scene.row.notes:
        return []
    known = {p.get("name") for p in ((document["spec"].get("arguments") or {}).get("parameters") or [])}
    used = set(re.findall(r"\{\{workflow\.parameters\.([\w-]+)\}\}", str(document)))
    return [f"{name}=somebody" for name in sorted(used - known)]


def _started_by_event(scene: _Scene, binding: Document) -> str:
    spec = binding["spec"]
    payload: Document = {}
    for path in re.findall(r"payload\.([\w.]+)", str(spec)):
        here: Any = payload
        *way, last = path.split(".")
        for part in way:
            here = here.setdefault(part, {})
        here[last] = "somebody"
    found = re.search(r'discriminator\s*==\s*"([^"]+)"', str(spec["event"].get("selector")))
    scene.api.send_event(payload, found[1] if found else "")
    return _appears(scene, lambda _: True, "a workflow started by the event")


def _appears(scene: _Scene, wanted: Callable[[Document], bool], what: str, label: str = "") -> str:
    while time.monotonic() < scene.until:
        for workflow in scene.api.workflows(label):
            if wanted(workflow):
                return str(workflow["metadata"]["name"])
        time.sleep(1)
    raise TimedOut(f"{what} did not come up")


def _end_of(scene: _Scene, name: str) -> tuple[str, str]:
    api, row = scene.api, scene.row
    actor = Actor(api, row, name, scene.scenario)
    try:
        while True:
            document = api.workflow(name)
            status: dict[str, Any] = document.get("status") or {}
            phase = str(status.get("phase") or "")
            if phase in FINAL and not actor.go_on(status):
                _compare(scene, End(api, name, document), actor)
                return actor.verdict or (phase, str(status.get("message") or "") or _why(status))
            if time.monotonic() > scene.until:
                raise TimedOut(f"{phase or 'no phase yet'}; {_unfinished(status)}")
            actor.look(status)
            time.sleep(POLL_S)
    finally:
        api.delete(name)


def _compare(scene: _Scene, end: End, actor: Actor) -> None:
    """Raise if an end of the right phase is not as the notes say."""
    found = list(actor.found)
    phase = actor.verdict[0] if actor.verdict else end.status.get("phase")
    if phase in scene.row.accepted:
        if actor.verdict is None and (text := differences(scene.row, end)):
            found.append(text)
        found += _scenario_differs(scene, end)
    if found:
        raise Differs("; ".join(found))


def _scenario_differs(scene: _Scene, end: End) -> Iterator[str]:
    """Yield what one of several scenarios says of its end and is not so: `… => NAME Skipped` or `… => NAME runs`."""
    if "memoized resubmit" in scene.scenario:
        yield from _resubmitted(scene, end)
        return
    _, _, result = scene.scenario.partition("=>")
    for name, phase in re.findall(r"([\w-]+) (Skipped|runs)\b", result):
        wanted = {"Skipped"} if phase == "Skipped" else {"Succeeded"}
        if end.phases(name) != wanted:
            yield f"{name} is {sorted(end.phases(name))}, not {sorted(wanted)}"


def _resubmitted(scene: _Scene, end: End) -> Iterator[str]:
    """Resubmit with memoization, and look at the new workflow's nodes."""
    name = str(scene.api.act(end.name, "resubmit", memoized=True)["metadata"]["name"])
    try:
        while True:
            status = scene.api.workflow(name).get("status") or {}
            if status.get("phase") in FINAL:
                break
            if time.monotonic() > scene.until:
                raise TimedOut(f"the resubmitted workflow {name}: {_unfinished(status)}")
            time.sleep(POLL_S)
        yield from _resubmission_differs(scene.scenario, list((status.get("nodes") or {}).values()))
    finally:
        scene.api.delete(name)


def _resubmission_differs(scenario: str, nodes: list[dict[str, Any]]) -> Iterator[str]:
    for count in re.findall(r"(\d+) nodes", scenario):
        if len(nodes) != int(count):
            yield f"{len(nodes)} nodes after the resubmission, not {count}"
    if not any(str(node.get("message")).startswith("original pod") for node in nodes):
        yield "no node of the resubmission names its original pod"
    for skipped in re.findall(r"(\w+) Skipped", scenario):
        if not any((node["displayName"], node["phase"]) == (skipped, "Skipped") for node in nodes):
            yield f"{skipped} is not Skipped after the resubmission"
    omitted = {node["displayName"] for node in nodes if node.get("phase") == "Omitted"}
    for names in re.findall(r"((?:\w+,)*\w+) Omitted", scenario):
        if omitted != set(names.split(",")):
            yield f"omitted after the resubmission: {sorted(omitted)}, not {names}"


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
    return "; ".join(waiting[:3]) or str(status.get("message") or "")
