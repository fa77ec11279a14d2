# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""Workflows that are stopped, resumed, retried, submitted anew or triggered, on a real server: what the pure tests say, end to end."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import FINAL, settings_for

from jitflow.testing.s3_server import S3Server

TEMPLATES = """
- {name: ok, container: {image: alpine, command: [sh, -c], args: ["exit 0"]}}
- {name: bad, container: {image: alpine, command: [sh, -c], args: ["exit 3"]}}
- {name: say, inputs: {parameters: [{name: m}]}, container: {image: alpine, command: [echo], args: ["{{inputs.parameters.m}}"]}}
- {name: nap, inputs: {parameters: [{name: s, default: "30"}]}, container: {image: alpine, command: [sh, -c], args: ["sleep {{inputs.parameters.s}}"]}}
- {name: wait, suspend: {}}
"""
ONCE = """
- name: once
  inputs: {parameters: [{name: k}]}
  container: {image: alpine, volumeMounts: [{name: v, mountPath: /shared}], command: [sh, -c], args: ["test -e /shared/{{inputs.parameters.k}} || { touch /shared/{{inputs.parameters.k}}; exit 1; }"]}
"""


class Space:
    """A namespace of a server."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self.name = name

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request; `{}` in the path is the namespace."""
        return self._server.call(method, path.format(self.name), body)

    def make(self, path: str, body: Any) -> dict[str, Any]:
        """Send a POST that must be answered well."""
        answer = self.call("POST", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, spec: str) -> str:
        """Create a workflow and return its name."""
        text = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: run-}\nspec:\n"
        text += "".join(f"  {line}\n" for line in spec.strip("\n").split("\n"))
        answer = self._server.post_text(f"/api/v1/workflows/{self.name}", text)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["metadata"]["name"])

    def claim(self) -> str:
        """Make a claim and return the volume for it."""
        claim = {
            "kind": "PersistentVolumeClaim",
            "apiVersion": "v1",
            "metadata": {"name": "shared"},
            "spec": {"accessModes": ["ReadWriteOnce"]},
        }
        self.make("/api/jit/v1/objects/{}/PersistentVolumeClaim", claim)
        return "volumes: [{name: v, persistentVolumeClaim: {claimName: shared}}]\n"

    def steer(self, name: str, verb: str, **body: Any) -> dict[str, Any]:
        """Send a PUT that must be answered well."""
        answer = self.call("PUT", f"/api/v1/workflows/{{}}/{name}/{verb}", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, name: str, verb: str, **body: Any) -> str:
        """Send a PUT that must be refused, and return why."""
        answer = self.call("PUT", f"/api/v1/workflows/{{}}/{name}/{verb}", body)
        assert answer.status_code == 400, answer.text
        return str(answer.json()["message"])

    def workflow(self, name: str) -> dict[str, Any]:
        """Return a workflow."""
        return self.call("GET", f"/api/v1/workflows/{{}}/{name}").json()

    def until(self, name: str, holds: Callable[[dict[str, Any]], bool], within_s: float = 60.0) -> dict[str, dict[str, Any]]:
        """Wait until something holds of the workflow's nodes (by name without the workflow's), and return them."""
        limit = time.monotonic() + within_s
        while time.monotonic() < limit:
            found = self.nodes(name)
            if holds(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"did not come about: {self.workflow(name)['status']}")

    def nodes(self, name: str) -> dict[str, dict[str, Any]]:
        """Return a workflow's nodes; the workflow's status is called `workflow`."""
        status = self.workflow(name)["status"]
        return {"workflow": status} | {
            node["name"].removeprefix(name) or "root": node for node in (status.get("nodes") or {}).values()
        }

    def ended(self, name: str) -> dict[str, dict[str, Any]]:
        """Wait for a workflow's end and return its nodes."""
        return self.until(name, lambda nodes: nodes["workflow"].get("phase") in FINAL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    with S3Server(root) as s3, Server(tmp_path_factory.mktemp("home") / "home", settings_for(s3, max_pods=8)) as found:
        yield found


@pytest.fixture
def space(server: Server, request: pytest.FixtureRequest) -> Space:
    return Space(server, "t-" + str(abs(hash(request.node.name)) % 10**8))


def told(nodes: dict[str, dict[str, Any]], name: str) -> tuple[str, str]:
    """Return a node's phase and message."""
    return nodes[name]["phase"], nodes[name].get("message") or ""


def phase_of(name: str, phase: str) -> Callable[[dict[str, Any]], bool]:
    """Return whether a node is there in a phase, as a question."""
    return lambda nodes: nodes.get(name, {}).get("phase") == phase


STOPPABLE = """
entrypoint: main
onExit: ok
templates:
- name: main
  dag:
    tasks:
    - {name: a, template: nap, onExit: ok}
    - {name: b, template: wait}
    - {name: c, template: ok, depends: a}
    - {name: d, template: nap, withItems: [1, 2], arguments: {parameters: [{name: s, value: "40"}]}}
""" + TEMPLATES.lstrip("\n")


@pytest.mark.parametrize(("verb", "strategy"), [("stop", "Stop"), ("terminate", "Terminate")])
def test_stop_and_terminate(space: Space, verb: str, strategy: str) -> None:
    """Suspend 4: pods end, suspended nodes fail, nothing new begins; exit handlers run after a stop only."""
    name = space.submit(STOPPABLE)
    space.until(name, phase_of(".a", "Running"))
    space.steer(name, verb)
    nodes = space.ended(name)
    assert told(nodes, "workflow") == ("Failed", f"Stopped with strategy '{strategy}'")
    assert told(nodes, ".b") == ("Failed", f"Stopped with strategy '{strategy}'")
    assert (nodes[".a"]["phase"], nodes[".d(0:1)"]["phase"], ".c" in nodes) == ("Failed", "Failed", False)
    assert [(".a.onExit" in nodes), (".onExit" in nodes)] == [verb == "stop"] * 2
    assert "completed workflow" in space.refused(name, verb)


ASK = """
entrypoint: main
templates:
- name: main
  steps:
  - - {name: ask, template: ask, withItems: [dev, prod], arguments: {parameters: [{name: env, value: "{{item}}"}]}}
  - - {name: tell, template: say, arguments: {parameters: [{name: m, value: "{{steps.ask.outputs.parameters.answer}}"}]}}
- {name: ask, inputs: {parameters: [{name: env}]}, suspend: {}, outputs: {parameters: [{name: answer, valueFrom: {supplied: {}}}]}}
""" + TEMPLATES.lstrip("\n")


def test_supplied_outputs(space: Space) -> None:
    """Suspend 2: values are supplied once to chosen nodes; a resume without them is refused."""
    name = space.submit(ASK)
    space.until(name, lambda nodes: sum(node.get("type") == "Suspend" for node in nodes.values()) == 2)
    assert "has not been set" in space.refused(name, "resume")
    chosen = {"nodeFieldSelector": "inputs.parameters.env.value=dev"}
    space.steer(name, "set", **chosen, outputParameters=json.dumps({"answer": "yes"}), message="by me")
    assert "already set" in space.refused(name, "set", **chosen, outputParameters=json.dumps({"answer": "no"}))
    space.steer(name, "resume", **chosen)
    space.until(name, phase_of("[0].ask(0:dev)", "Succeeded"))
    space.steer(
        name, "set", nodeFieldSelector="templateName=ask", outputParameters=json.dumps({"answer": "no"}), phase="Succeeded"
    )
    nodes = space.ended(name)
    assert nodes["[1].tell"]["inputs"]["parameters"][0]["value"] == '["yes","no"]'


def test_suspend_and_resume_a_workflow(space: Space) -> None:
    """Suspend 3: nothing begins while the workflow is suspended."""
    spec = (
        "entrypoint: main\ntemplates:\n- {name: main, steps: [[{name: a, template: nap, arguments: {parameters: [{name: s, value: '1'}]}}], [{name: b, template: ok}]]}"
        + TEMPLATES.rstrip("\n")
    )
    name = space.submit(spec)
    space.until(name, phase_of("[0].a", "Running"))
    space.steer(name, "suspend")
    space.until(name, phase_of("[0].a", "Succeeded"))
    time.sleep(0.5)
    assert "[1].b" not in space.nodes(name)
    assert space.workflow(name)["spec"]["suspend"] is True
    space.steer(name, "resume")
    assert told(space.ended(name), "[1].b") == ("Succeeded", "")


def test_retry_parallel_branches(space: Space) -> None:
    """Again 1: what failed runs again in all branches, loops included, and what succeeded stays."""
    spec = (
        space.claim()
        + """entrypoint: main
onExit: ok
templates:
- name: main
  dag:
    tasks:
    - {name: a, template: ok}
    - {name: b, template: once, depends: a, arguments: {parameters: [{name: k, value: b}]}}
    - {name: c, template: ok, depends: a}
    - {name: d, template: ok, depends: b && c}
    - {name: e, template: once, withItems: [p, q], arguments: {parameters: [{name: k, value: "e-{{item}}"}]}, depends: a}"""
        + ONCE.rstrip("\n")
        + TEMPLATES.rstrip("\n")
    )
    name = space.submit(spec)
    before = space.ended(name)
    # Where the loop fails before b and c have ended, the DAG has failed and d is not even looked at.
    assert (before["workflow"]["phase"], before.get(".d", {"phase": "Omitted"})["phase"]) == ("Failed", "Omitted")
    space.steer(name, "retry")
    nodes = space.ended(name)
    assert {nodes[f".{task}"]["phase"] for task in ("a", "b", "c", "d", "e", "e(0:p)", "e(1:q)", "onExit")} == {"Succeeded"}
    assert nodes[".c"]["startedAt"] == before[".c"]["startedAt"]
    assert "To retry a succeeded workflow" in space.refused(name, "retry")


def test_stop_then_retry(space: Space) -> None:
    """Again 1: a workflow that was stopped while it waited waits again."""
    spec = (
        "entrypoint: main\ntemplates:\n- {name: main, steps: [[{name: a, template: ok}], [{name: w, template: wait}], [{name: c, template: ok}]]}"
        + TEMPLATES.rstrip("\n")
    )
    name = space.submit(spec)
    space.until(name, phase_of("[1].w", "Running"))
    space.steer(name, "stop")
    assert space.ended(name)["workflow"]["phase"] == "Failed"
    space.steer(name, "retry")
    space.until(name, phase_of("[1].w", "Running"))
    space.steer(name, "resume")
    assert told(space.ended(name), "[2].c") == ("Succeeded", "")


def test_resubmission_with_memoization(space: Space) -> None:
    """Again 2: what had succeeded is skipped with its outputs, the rest runs in the new workflow."""
    spec = """entrypoint: main
templates:
- name: main
  steps: [[{name: a, template: gen}], [{name: b, template: say, arguments: {parameters: [{name: m, value: "{{steps.a.outputs.result}}"}]}}], [{name: c, template: bad}]]
- {name: gen, script: {image: alpine, command: [sh], source: "echo 42"}}""" + TEMPLATES.rstrip("\n")
    name = space.submit(spec)
    old = space.ended(name)
    made = space.steer(name, "resubmit", memoized=True)["metadata"]
    assert made["labels"]["workflows.argoproj.io/resubmitted-from-workflow"] == name
    nodes = space.ended(made["name"])
    assert told(nodes, "[0].a") == ("Skipped", f"original pod: {old['[0].a']['id']}")
    assert (nodes["[0].a"]["outputs"]["result"], nodes["[2].c"]["phase"]) == ("42", "Failed")
    assert "must be Failed/Error" in space.refused(
        space.submit(f"entrypoint: wait\ntemplates:{TEMPLATES}"), "resubmit", memoized=True
    )


@pytest.mark.parametrize(("age", "hit"), [("1h", True), ("1s", False)])
def test_memoized_over_workflows(space: Space, age: str, hit: bool) -> None:
    """Sync 1: another workflow finds what one has kept, as long as it is not too old."""
    spec = f"""entrypoint: main
templates:
- name: main
  memoize: {{key: one, maxAge: {age}, cache: {{configMap: {{name: cache}}}}}}
  container: {{image: alpine, command: [sh, -c], args: ["date +%N > /tmp/p"]}}
  outputs: {{parameters: [{{name: p, valueFrom: {{path: /tmp/p}}}}]}}"""
    first = space.ended(space.submit(spec))["root"]
    time.sleep(2.2)
    second = space.ended(space.submit(spec))["root"]
    assert second["memoizationStatus"] == {"hit": hit, "key": "one", "cacheName": "cache"}
    assert (first["outputs"]["parameters"] == second["outputs"]["parameters"]) is hit


def test_memoized_behind_a_lock(space: Space) -> None:
    """Sync 1: of two that share a lock and a key, the second finds at once what the first has kept."""
    spec = """entrypoint: main
templates:
- {name: main, dag: {tasks: [{name: a, template: w}, {name: b, template: w}]}}
- name: w
  synchronization: {mutexes: [{name: m}]}
  memoize: {key: kk, cache: {configMap: {name: cache}}}
  retryStrategy: {limit: 1}
  container: {image: alpine, command: [sh, -c], args: ["exit $((1 - {{retries}}))"]}"""
    nodes = space.ended(space.submit(spec))
    assert sorted(nodes[f".{task}"]["memoizationStatus"]["hit"] for task in "ab") == [False, True]


def test_a_lock_of_whole_workflows(space: Space) -> None:
    """Sync 2: a workflow waits Pending for its own lock, and tells which."""
    spec = (
        "entrypoint: nap\nsynchronization: {mutexes: [{name: whole}]}\narguments: {parameters: [{name: s, value: '1'}]}\ntemplates:"
        + TEMPLATES.rstrip("\n")
    )
    first, second = space.submit(spec), space.submit(spec)
    nodes = space.until(second, lambda nodes: bool(nodes["workflow"].get("message")))
    assert told(nodes, "workflow") == ("Pending", f"Waiting for {space.name}/Mutex/whole lock. Lock status: 0/1")
    assert {space.ended(name)["workflow"]["phase"] for name in (first, second)} == {"Succeeded"}


def test_an_event_submits(space: Space) -> None:
    """References 1: a binding submits a workflow of a template, with what the event says as arguments."""
    templates = [
        {
            "name": "say",
            "inputs": {"parameters": [{"name": "m"}]},
            "container": {"image": "alpine", "command": ["echo"], "args": ["{{inputs.parameters.m}}"]},
        }
    ]
    spec = {"entrypoint": "say", "arguments": {"parameters": [{"name": "m", "value": "default"}]}, "templates": templates}
    space.make("/api/v1/workflow-templates/{}", {"template": {"metadata": {"name": "hear"}, "spec": spec}})
    binding = {
        "kind": "WorkflowEventBinding",
        "apiVersion": "argoproj.io/v1alpha1",
        "metadata": {"name": "bind"},
        "spec": {
            "event": {"selector": 'payload.message != "" && discriminator == "topic"'},
            "submit": {
                "workflowTemplateRef": {"name": "hear"},
                "arguments": {"parameters": [{"name": "m", "valueFrom": {"event": "payload.message"}}]},
            },
        },
    }
    space.make("/api/jit/v1/objects/{}/WorkflowEventBinding", binding)
    for topic, message in (("other", "no"), ("topic", "hi")):
        assert space.call("POST", f"/api/v1/events/{{}}/{topic}", {"message": message}).json() == {}
    limit = time.monotonic() + 20
    while not (found := space.call("GET", "/api/v1/workflows/{}").json()["items"] or []):
        assert time.monotonic() < limit
        time.sleep(0.05)
    (made,) = found
    assert space.ended(made["metadata"]["name"])["root"]["inputs"]["parameters"][0]["value"] == "hi"


def test_a_schedule_runs_until_it_is_stopped(space: Space) -> None:
    """Sync 4: runs by `when`, a stop strategy, a history of one."""
    spec = {
        "schedules": ["@every 1s"],
        "timezone": "Europe/Berlin",
        "when": "{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Seconds() > 1 }}",
        "concurrencyPolicy": "Forbid",
        "stopStrategy": {"expression": "cronworkflow.succeeded >= 2"},
        "successfulJobsHistoryLimit": 1,
        "workflowMetadata": {"labels": {"from": "cron"}},
        "workflowSpec": {"entrypoint": "m", "templates": [{"name": "m", "container": {"image": "alpine", "command": ["true"]}}]},
    }
    space.make("/api/v1/cron-workflows/{}", {"cronWorkflow": {"metadata": {"name": "tick"}, "spec": spec}})
    limit = time.monotonic() + 40
    while (space.call("GET", "/api/v1/cron-workflows/{}/tick").json().get("status") or {}).get("phase") != "Stopped":
        assert time.monotonic() < limit
        time.sleep(0.2)
    while len(left := space.call("GET", "/api/v1/workflows/{}").json()["items"]) != 1:
        assert time.monotonic() < limit
        time.sleep(0.2)
    assert left[0]["metadata"]["labels"]["from"] == "cron"
    assert space.call("GET", "/api/v1/cron-workflows/{}/tick").json()["status"]["succeeded"] == 2
