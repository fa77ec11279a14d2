"""Every operation of Argo's API description, sent to a live server: what it answers has the described form."""

import json
import re
import time
from typing import Any

import jsonschema_rs
import pytest
from benchmark.service import Server

from jitflow.access.table import NEEDS, OPEN
from jitflow.control_api import describe, pages
from jitflow.data_api import describe as data_describe
from jitflow.openapi import Operation, described

NS = "contract"
DOCUMENT = describe.control_document()


def shape(path: str) -> str:
    """Return a path with its parameters' names left out."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def workflow(name: str = "", command: str = "echo hello > /tmp/out") -> dict[str, Any]:
    metadata = {"name": name} if name else {"generateName": "c-"}
    outputs = {"artifacts": [{"name": "out", "path": "/tmp/out", "optional": True, "archive": {"none": {}}}]}
    template = {"name": "main", "container": {"image": "busybox", "command": ["sh", "-c", command]}, "outputs": outputs}
    reader = {
        "name": "read",
        "inputs": {"artifacts": [{"name": "in", "path": "/tmp/in", "raw": {"data": "given"}}]},
        "container": {"image": "busybox", "command": ["cat", "/tmp/in"]},
    }
    steps = {"name": "all", "steps": [[{"name": "a", "template": "main"}], [{"name": "b", "template": "read"}]]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {**metadata, "labels": {"suite": "contract"}},
        "spec": {"entrypoint": "all", "templates": [template, reader, steps]},
    }


def template(kind: str, name: str) -> dict[str, Any]:
    spec = {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}]}
    if kind == "CronWorkflow":
        spec = {"schedules": ["0 0 1 1 *"], "workflowSpec": spec}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


class Calls:
    """Sends operations and keeps which were sent."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent: set[str] = set()
        self._operations = {one.id: one for one in describe.operations()}

    def __call__(self, name: str, body: Any = None, /, query: dict[str, str] | None = None, **path: str) -> Any:
        operation = self._operations[name]
        self.sent.add(name)
        given = {"namespace": NS} | path
        target = re.sub(r"\{(\w+)\}", lambda found: given[found[1]], operation.path)
        params: dict[str, Any] = dict(query or {})
        if operation.stream and "log" not in operation.path:
            params["listOptions.timeoutSeconds"] = "1"
        answer = self.server.call(operation.method, target, body, **params)
        assert answer.status_code == 200, f"{name}: {answer.status_code} {answer.text}"
        if operation.media != "application/json":
            return answer.content
        return self._checked(operation, answer.text)

    def _checked(self, operation: Operation, text: str) -> Any:
        if operation.answer is None:
            return json.loads(text)
        schema = {**operation.answer, "components": DOCUMENT["components"]}
        validator = jsonschema_rs.validator_for(schema)
        found = [json.loads(line)["result"] for line in text.splitlines()] if operation.stream else [json.loads(text)]
        for one in found:
            validator.validate(one)
        return found if operation.stream else found[0]


@pytest.fixture(scope="module")
def calls(server: Server) -> Calls:
    return Calls(server)


def ended(calls: Calls, name: str) -> dict[str, Any]:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        found = calls("WorkflowService_GetWorkflow", name=name)
        if found["status"]["phase"] in {"Succeeded", "Failed", "Error"}:
            return found
        time.sleep(0.05)
    raise AssertionError(found["status"])


def workflows(calls: Calls) -> None:
    service = "WorkflowService_"
    made = calls(service + "CreateWorkflow", {"workflow": workflow("one")})
    calls(service + "LintWorkflow", {"namespace": NS, "workflow": workflow()})
    done = ended(calls, "one")
    assert done["status"]["phase"] == "Succeeded", done["status"]
    nodes = {node["displayName"]: node["id"] for node in done["status"]["nodes"].values()}
    listed = calls(service + "ListWorkflows", query={"listOptions.labelSelector": "suite=contract"})
    assert [one["metadata"]["name"] for one in listed["items"]] == ["one"]
    version = listed["metadata"]["resourceVersion"]
    pod = f"one-main-{nodes['a'].rpartition('-')[2]}"
    calls(service + "WorkflowLogs", name="one", query={"logOptions.container": "main"})
    calls(service + "PodLogs", name="one", podName=pod, query={"logOptions.container": "main"})
    calls(service + "WatchEvents")
    told = calls(service + "WatchWorkflows")
    assert told[0]["object"]["metadata"]["name"] == "one"
    assert not calls(service + "WatchWorkflows", query={"listOptions.resourceVersion": version})
    artifacts = "ArtifactService_Get"
    uid = made["metadata"]["uid"]
    assert calls(artifacts + "OutputArtifact", name="one", nodeId=nodes["a"], artifactName="out") == b"hello\n"
    assert calls(artifacts + "OutputArtifactByUID", uid=uid, nodeId=nodes["a"], artifactName="out") == b"hello\n"
    assert calls(artifacts + "InputArtifact", name="one", nodeId=nodes["b"], artifactName="in") == b"given"
    assert calls(artifacts + "InputArtifactByUID", uid=uid, nodeId=nodes["b"], artifactName="in") == b"given"
    where = {"idDiscriminator": "workflows", "id": "one", "nodeId": nodes["a"], "artifactDiscriminator": "outputs"}
    assert calls(artifacts + "ArtifactFile", **where, artifactName="out") == b"hello\n"
    calls(service + "ResubmitWorkflow", {"namespace": NS, "name": "one"}, name="one")


def control(calls: Calls) -> None:
    service = "WorkflowService_"
    for name in ("stopped", "terminated"):
        calls(service + "CreateWorkflow", {"workflow": workflow(name, "sleep 60")})
    body = {"namespace": NS, "name": "stopped"}
    calls(service + "SuspendWorkflow", body, name="stopped")
    calls(service + "ResumeWorkflow", body, name="stopped")
    calls(service + "StopWorkflow", body, name="stopped")
    calls(service + "TerminateWorkflow", {"namespace": NS, "name": "terminated"}, name="terminated")
    assert ended(calls, "stopped")["status"]["phase"] == "Failed"
    ended(calls, "terminated")
    calls(service + "RetryWorkflow", body, name="stopped")
    calls(service + "TerminateWorkflow", body, name="stopped")
    supplied = {"parameters": [{"name": "answer", "valueFrom": {"supplied": {}}}]}
    asking = workflow("asking")
    asking["spec"] = {"entrypoint": "ask", "templates": [{"name": "ask", "suspend": {}, "outputs": supplied}]}
    calls(service + "CreateWorkflow", {"workflow": asking})
    limit = time.monotonic() + 10
    while not calls(service + "GetWorkflow", name="asking")["status"].get("nodes") and time.monotonic() < limit:
        time.sleep(0.05)
    body = {"namespace": NS, "name": "asking", "nodeFieldSelector": "displayName=asking", "outputParameters": '{"answer": "1"}'}
    calls(service + "SetWorkflow", body, name="asking")
    calls(service + "DeleteWorkflow", name="asking")


def templates(calls: Calls) -> None:
    for kind, service, key, plural in (
        ("WorkflowTemplate", "WorkflowTemplateService_", "template", "WorkflowTemplates"),
        ("ClusterWorkflowTemplate", "ClusterWorkflowTemplateService_", "template", "ClusterWorkflowTemplates"),
        ("CronWorkflow", "CronWorkflowService_", "cronWorkflow", "CronWorkflows"),
    ):
        manifest = template(kind, "kept")
        calls(f"{service}Lint{kind}", {"namespace": NS, key: manifest})
        calls(f"{service}Create{kind}", {"namespace": NS, key: manifest})
        kept = calls(f"{service}Get{kind}", name="kept")
        calls(f"{service}Update{kind}", {"namespace": NS, "name": "kept", key: kept}, name="kept")
        assert "kept" in [one["metadata"]["name"] for one in calls(f"{service}List{plural}")["items"]]
    submit = {"namespace": NS, "resourceKind": "WorkflowTemplate", "resourceName": "kept", "submitOptions": {}}
    calls("WorkflowService_SubmitWorkflow", submit)
    for action in ("Suspend", "Resume"):
        calls(f"CronWorkflowService_{action}CronWorkflow", {"namespace": NS, "name": "kept"}, name="kept")
    for kind in ("WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"):
        calls(f"{kind}Service_Delete{kind}", name="kept")


def others(calls: Calls) -> None:
    calls("EventService_ReceiveEvent", {"any": "thing"}, discriminator="x")
    calls("EventService_ListWorkflowEventBindings")
    limit = {"namespace": NS, "cmName": "limits", "key": "k", "limit": 2, "type": "CONFIGMAP"}
    query = {"cmName": "limits", "type": "CONFIGMAP"}
    calls("SyncService_CreateSyncLimit", limit)
    assert calls("SyncService_GetSyncLimit", key="k", query=query)["limit"] == 2
    calls("SyncService_UpdateSyncLimit", limit | {"limit": 3}, key="k")
    calls("SyncService_DeleteSyncLimit", key="k", query=query)
    calls("InfoService_GetInfo")
    calls("InfoService_GetUserInfo")
    calls("InfoService_GetVersion")
    calls("InfoService_CollectEvent", {"name": "clicked"})


def archived(calls: Calls) -> None:
    service = "ArchivedWorkflowService_"
    uid = calls("WorkflowService_CreateWorkflow", {"workflow": workflow("old", "exit 1")})["metadata"]["uid"]
    ended(calls, "old")
    calls("WorkflowService_DeleteWorkflow", name="old")
    found = calls(service + "ListArchivedWorkflows", query={"namespace": NS, "namePrefix": "old"})
    assert [one["metadata"]["uid"] for one in found["items"]] == [uid]
    assert calls(service + "GetArchivedWorkflow", uid=uid)["metadata"]["name"] == "old"
    assert "suite" in calls(service + "ListArchivedWorkflowLabelKeys", query={"namespace": NS})["items"]
    selector = {"namespace": NS, "listOptions.labelSelector": "suite"}
    assert calls(service + "ListArchivedWorkflowLabelValues", query=selector)["items"] == ["contract"]
    body = {"uid": uid, "name": "old", "namespace": NS}
    calls(service + "ResubmitArchivedWorkflow", body, uid=uid)
    calls(service + "RetryArchivedWorkflow", body, uid=uid)
    ended(calls, "old")
    calls("WorkflowService_DeleteWorkflow", name="old")
    calls(service + "DeleteArchivedWorkflow", uid=uid)


def test_every_operation_answers_as_described(calls: Calls) -> None:
    for part in (workflows, control, templates, others, archived):
        part(calls)
    assert calls.sent == {one.id for one in describe.operations() if "Service_" in one.id}


def test_what_belongs_to_argo_events_is_not_found(calls: Calls) -> None:
    absent = describe.absent()
    assert absent
    for method, path in absent:
        target = re.sub(r"\{(\w+)\}", "x", path)
        answer = calls.server.call(method, target, {} if method in {"POST", "PUT"} else None)
        assert (answer.status_code, answer.json()["code"]) == (404, 5), f"{method} {path}"


def test_every_route_is_described_and_every_description_is_served() -> None:
    tables = [*described(describe.operations()), *described(data_describe.operations())]
    routes = {(method, path) for method, path in NEEDS if path != "/api/v1/{rest:path}"} | {
        ("GET", path) for path in OPEN - pages.PATHS
    }
    assert {(method, shape(path)) for method, path in tables} == {(method, shape(path)) for method, path in routes}
    ids = [one.id for one in describe.operations()]
    assert len(ids) == len(set(ids))
