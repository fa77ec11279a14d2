"""The generated client `argo-workflows` 6.7 against a live server: every call of its services for workflows, templates,
schedules, archived workflows and events.

Answers are read with `_check_return_type=False` as the client's users have to with Argo itself where a field may be null
(`finishedAt` of what runs, `items` of an empty list); with its type checking where none is.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import argo_workflows
import pytest
from argo_workflows import models
from argo_workflows.api import (
    archived_workflow_service_api,
    artifact_service_api,
    cluster_workflow_template_service_api,
    cron_workflow_service_api,
    event_service_api,
    info_service_api,
    workflow_service_api,
    workflow_template_service_api,
)

# The client leaves its files and sockets to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMESPACE = "generated"
FINAL = {"Succeeded", "Failed", "Error"}
LOOSE: dict[str, Any] = {"_check_return_type": False}


@pytest.fixture(scope="module")
def client(url: str, token: str) -> Iterator[argo_workflows.ApiClient]:
    configuration = argo_workflows.Configuration(host=url, api_key={"BearerToken": f"Bearer {token}"})
    with argo_workflows.ApiClient(configuration) as client:
        yield client


@pytest.fixture(scope="module")
def workflows(client: argo_workflows.ApiClient) -> workflow_service_api.WorkflowServiceApi:
    return workflow_service_api.WorkflowServiceApi(client)


def document(kind: str = "Workflow", *, command: str = "echo hello", **metadata: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "entrypoint": "main",
        "templates": [{"name": "main", "container": {"image": "busybox", "command": ["sh", "-c", command]}}],
    }
    if kind == "CronWorkflow":
        spec = {"schedules": ["0 0 1 1 *"], "workflowSpec": spec}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def create(workflows: workflow_service_api.WorkflowServiceApi, *, command: str = "echo hello", prefix: str = "gen-") -> Any:
    body = models.IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(
        workflow=document(command=command, generateName=prefix), _check_type=False
    )
    return workflows.create_workflow(NAMESPACE, body, **LOOSE)


def name_of(workflow: Any) -> str:
    return str(workflow["metadata"]["name"])


def get(workflows: workflow_service_api.WorkflowServiceApi, name: str) -> Any:
    return workflows.get_workflow(NAMESPACE, name, **LOOSE)


def phase_of(workflow: Any) -> str:
    return str((workflow.get("status") or {}).get("phase", ""))


def until(workflows: workflow_service_api.WorkflowServiceApi, name: str, phases: set[str]) -> Any:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        workflow = get(workflows, name)
        if phase_of(workflow) in phases:
            return workflow
        time.sleep(0.05)
    raise AssertionError(get(workflows, name)["status"])


def running_pod(workflows: workflow_service_api.WorkflowServiceApi, name: str) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        nodes = get(workflows, name)["status"].get("nodes") or {}
        if any(node["phase"] == "Running" and node["type"] in {"Pod", "Suspend"} for node in nodes.values()):
            return
        time.sleep(0.05)
    raise AssertionError("nothing began to run")


# -- workflows ---------------------------------------------------------------------------------------------------------


def test_create_get_list_delete(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    name = name_of(create(workflows))
    until(workflows, name, {"Succeeded"})
    typed = workflows.get_workflow(NAMESPACE, name)
    assert typed.metadata.name == name, "a finished workflow passes the client's own type checking"
    assert typed.status.phase == "Succeeded"
    listed = workflows.list_workflows(NAMESPACE, list_options_field_selector=f"metadata.name={name}")
    assert [one.metadata.name for one in listed.items] == [name]
    few = workflows.list_workflows(NAMESPACE, fields="metadata,items.metadata.name", list_options_limit="1", **LOOSE)
    assert few["items"][0]["metadata"]["name"]
    assert workflows.delete_workflow(NAMESPACE, name) == {}
    assert workflows.get_workflow(NAMESPACE, name).metadata.name == name, "from the archive"
    with pytest.raises(argo_workflows.exceptions.NotFoundException) as refused:
        workflows.delete_workflow(NAMESPACE, name)
    assert json.loads(refused.value.body)["code"] == 5


def test_lint(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    good = models.IoArgoprojWorkflowV1alpha1WorkflowLintRequest(workflow=document(generateName="l-"), _check_type=False)
    assert workflows.lint_workflow(NAMESPACE, good, **LOOSE)["spec"]["entrypoint"] == "main"
    wrong = document(generateName="l-")
    wrong["spec"]["entrypoint"] = "nowhere"
    bad = models.IoArgoprojWorkflowV1alpha1WorkflowLintRequest(workflow=wrong, _check_type=False)
    with pytest.raises(argo_workflows.ApiException, match="nowhere") as refused:
        workflows.lint_workflow(NAMESPACE, bad, **LOOSE)
    assert refused.value.status == 400


def test_suspend_resume_set_stop_terminate(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    name = name_of(create(workflows, command="sleep 60"))
    running_pod(workflows, name)
    suspend = models.IoArgoprojWorkflowV1alpha1WorkflowSuspendRequest(namespace=NAMESPACE, name=name)
    assert workflows.suspend_workflow(NAMESPACE, name, suspend, **LOOSE)["spec"]["suspend"] is True
    resume = models.IoArgoprojWorkflowV1alpha1WorkflowResumeRequest(namespace=NAMESPACE, name=name)
    assert not workflows.resume_workflow(NAMESPACE, name, resume, **LOOSE)["spec"].get("suspend")
    stop = models.IoArgoprojWorkflowV1alpha1WorkflowStopRequest(namespace=NAMESPACE, name=name)
    workflows.stop_workflow(NAMESPACE, name, stop, **LOOSE)
    assert "Stop" in until(workflows, name, {"Failed"})["status"]["message"]
    other = name_of(create(workflows, command="sleep 60"))
    running_pod(workflows, other)
    terminate = models.IoArgoprojWorkflowV1alpha1WorkflowTerminateRequest(namespace=NAMESPACE, name=other)
    workflows.terminate_workflow(NAMESPACE, other, terminate, **LOOSE)
    assert "Terminate" in until(workflows, other, {"Failed"})["status"]["message"]


def test_set_supplies_outputs(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    manifest = document(generateName="set-")
    outputs = {"parameters": [{"name": "answer", "valueFrom": {"supplied": {}}}]}
    manifest["spec"]["templates"] = [{"name": "main", "suspend": {}, "outputs": outputs}]
    body = models.IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(workflow=manifest, _check_type=False)
    name = name_of(workflows.create_workflow(NAMESPACE, body, **LOOSE))
    running_pod(workflows, name)
    request = models.IoArgoprojWorkflowV1alpha1WorkflowSetRequest(
        namespace=NAMESPACE, name=name, node_field_selector=f"displayName={name}", output_parameters='{"answer": "42"}'
    )
    workflows.set_workflow(NAMESPACE, name, request, **LOOSE)
    resume = models.IoArgoprojWorkflowV1alpha1WorkflowResumeRequest(
        namespace=NAMESPACE, name=name, node_field_selector=f"displayName={name}"
    )
    workflows.resume_workflow(NAMESPACE, name, resume, **LOOSE)
    ended = until(workflows, name, {"Succeeded"})
    assert ended["status"]["nodes"][name]["outputs"]["parameters"][0]["value"] == "42"


def test_retry_and_resubmit(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    name = name_of(create(workflows, command="exit 1"))
    until(workflows, name, {"Failed"})
    retry = models.IoArgoprojWorkflowV1alpha1WorkflowRetryRequest(namespace=NAMESPACE, name=name)
    assert name_of(workflows.retry_workflow(NAMESPACE, name, retry, **LOOSE)) == name
    until(workflows, name, {"Failed"})
    again = models.IoArgoprojWorkflowV1alpha1WorkflowResubmitRequest(namespace=NAMESPACE, name=name, memoized=False)
    other = name_of(workflows.resubmit_workflow(NAMESPACE, name, again, **LOOSE))
    assert other != name
    until(workflows, other, {"Failed"})


def test_logs(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    name = name_of(create(workflows, command="echo one; echo two"))
    until(workflows, name, {"Succeeded"})
    for answer in (
        workflows.workflow_logs(NAMESPACE, name, log_options_container="main", _preload_content=False, **LOOSE),
        workflows.pod_logs(NAMESPACE, name, name, log_options_container="main", _preload_content=False, **LOOSE),
    ):
        found = [json.loads(line)["result"] for line in answer.data.decode().splitlines()]
        assert [entry["content"] for entry in found] == ["one", "two"]
        assert {entry["podName"] for entry in found} == {name}


def test_watch_workflows_and_events(workflows: workflow_service_api.WorkflowServiceApi) -> None:
    listed = workflows.list_workflows(NAMESPACE, **LOOSE)
    answer = workflows.watch_workflows(
        NAMESPACE,
        list_options_resource_version=listed["metadata"]["resourceVersion"],
        _preload_content=False,
        _request_timeout=20,
        **LOOSE,
    )
    name = name_of(create(workflows))
    phases: list[str] = []
    for line in lines(answer):
        event = line["result"]
        if event["object"]["metadata"]["name"] == name:
            phases.append((event["type"], event["object"]["status"].get("phase", "")))
            if phases[-1][1] == "Succeeded":
                break
    answer.close()
    assert phases[0][0] == "ADDED"
    assert phases[-1] == ("MODIFIED", "Succeeded")
    events = workflows.watch_events(
        NAMESPACE, list_options_timeout_seconds="1", _preload_content=False, _request_timeout=20, **LOOSE
    )
    assert events.status == 200
    events.close()


def lines(answer: Any) -> Iterator[Any]:
    """Read a stream line by line as it comes."""
    rest = b""
    while chunk := answer.read1():
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (json.loads(line) for line in whole if line)


def test_artifacts(client: argo_workflows.ApiClient, workflows: workflow_service_api.WorkflowServiceApi) -> None:
    manifest = document(generateName="art-", command="echo data > /tmp/result")
    manifest["spec"]["templates"][0]["outputs"] = {
        "artifacts": [{"name": "result", "path": "/tmp/result", "archive": {"none": {}}}]
    }
    body = models.IoArgoprojWorkflowV1alpha1WorkflowCreateRequest(workflow=manifest, _check_type=False)
    name = name_of(workflows.create_workflow(NAMESPACE, body, **LOOSE))
    uid = until(workflows, name, {"Succeeded"})["metadata"]["uid"]
    artifacts = artifact_service_api.ArtifactServiceApi(client)
    for answer in (
        artifacts.get_output_artifact(NAMESPACE, name, name, "result"),
        artifacts.get_output_artifact_by_uid(uid, name, "result"),
        artifacts.get_artifact_file(NAMESPACE, "archived-workflows", uid, name, "result", "outputs"),
    ):
        assert answer.read() == b"data\n"


# -- templates, schedules ------------------------------------------------------------------------------------------------


def test_workflow_templates(client: argo_workflows.ApiClient, workflows: workflow_service_api.WorkflowServiceApi) -> None:
    api = workflow_template_service_api.WorkflowTemplateServiceApi(client)
    body = models.IoArgoprojWorkflowV1alpha1WorkflowTemplateCreateRequest(
        template=document("WorkflowTemplate", name="kept"), _check_type=False
    )
    lint = models.IoArgoprojWorkflowV1alpha1WorkflowTemplateLintRequest(
        template=document("WorkflowTemplate", name="kept"), _check_type=False
    )
    assert api.lint_workflow_template(NAMESPACE, lint).metadata.name == "kept"
    assert api.create_workflow_template(NAMESPACE, body).metadata.name == "kept"
    with pytest.raises(argo_workflows.ApiException) as refused:
        api.create_workflow_template(NAMESPACE, body)
    assert refused.value.status == 409
    kept = api.get_workflow_template(NAMESPACE, "kept", **LOOSE)
    kept["metadata"]["labels"] = {"changed": "yes"}
    update = models.IoArgoprojWorkflowV1alpha1WorkflowTemplateUpdateRequest(template=kept, _check_type=False)
    assert api.update_workflow_template(NAMESPACE, "kept", update).metadata.labels == {"changed": "yes"}
    assert [one.metadata.name for one in api.list_workflow_templates(NAMESPACE).items] == ["kept"]
    submit = models.IoArgoprojWorkflowV1alpha1WorkflowSubmitRequest(
        namespace=NAMESPACE,
        resource_kind="WorkflowTemplate",
        resource_name="kept",
        submit_options=models.IoArgoprojWorkflowV1alpha1SubmitOpts(labels="a=b"),
    )
    until(workflows, name_of(workflows.submit_workflow(NAMESPACE, submit, **LOOSE)), {"Succeeded"})
    assert api.delete_workflow_template(NAMESPACE, "kept") == {}


def test_cluster_workflow_templates(client: argo_workflows.ApiClient) -> None:
    api = cluster_workflow_template_service_api.ClusterWorkflowTemplateServiceApi(client)
    manifest = document("ClusterWorkflowTemplate", name="for-all")
    lint = models.IoArgoprojWorkflowV1alpha1ClusterWorkflowTemplateLintRequest(template=manifest, _check_type=False)
    create = models.IoArgoprojWorkflowV1alpha1ClusterWorkflowTemplateCreateRequest(template=manifest, _check_type=False)
    assert api.lint_cluster_workflow_template(lint).metadata.name == "for-all"
    assert api.create_cluster_workflow_template(create).metadata.name == "for-all"
    kept = api.get_cluster_workflow_template("for-all", **LOOSE)
    kept["metadata"]["labels"] = {"changed": "yes"}
    update = models.IoArgoprojWorkflowV1alpha1ClusterWorkflowTemplateUpdateRequest(template=kept, _check_type=False)
    assert api.update_cluster_workflow_template("for-all", update).metadata.labels == {"changed": "yes"}
    assert "for-all" in [one.metadata.name for one in api.list_cluster_workflow_templates().items]
    assert api.delete_cluster_workflow_template("for-all") == {}


def test_cron_workflows(client: argo_workflows.ApiClient) -> None:
    api = cron_workflow_service_api.CronWorkflowServiceApi(client)
    manifest = document("CronWorkflow", name="yearly")
    lint = models.IoArgoprojWorkflowV1alpha1LintCronWorkflowRequest(cron_workflow=manifest, _check_type=False)
    create = models.IoArgoprojWorkflowV1alpha1CreateCronWorkflowRequest(cron_workflow=manifest, _check_type=False)
    assert api.lint_cron_workflow(NAMESPACE, lint, **LOOSE)["metadata"]["name"] == "yearly"
    assert api.create_cron_workflow(NAMESPACE, create, **LOOSE)["metadata"]["name"] == "yearly"
    suspend = models.IoArgoprojWorkflowV1alpha1CronWorkflowSuspendRequest(namespace=NAMESPACE, name="yearly")
    resume = models.IoArgoprojWorkflowV1alpha1CronWorkflowResumeRequest(namespace=NAMESPACE, name="yearly")
    assert api.suspend_cron_workflow(NAMESPACE, "yearly", suspend, **LOOSE)["spec"]["suspend"] is True
    assert not api.resume_cron_workflow(NAMESPACE, "yearly", resume, **LOOSE)["spec"].get("suspend")
    kept = api.get_cron_workflow(NAMESPACE, "yearly", **LOOSE)
    kept["spec"]["schedules"] = ["0 0 2 2 *"]
    update = models.IoArgoprojWorkflowV1alpha1UpdateCronWorkflowRequest(cron_workflow=kept, _check_type=False)
    assert api.update_cron_workflow(NAMESPACE, "yearly", update, **LOOSE)["spec"]["schedules"] == ["0 0 2 2 *"]
    assert [one["metadata"]["name"] for one in api.list_cron_workflows(NAMESPACE, **LOOSE)["items"]] == ["yearly"]
    assert api.delete_cron_workflow(NAMESPACE, "yearly") == {}


# -- archived workflows, events, about -----------------------------------------------------------------------------------


def test_archived_workflows(client: argo_workflows.ApiClient, workflows: workflow_service_api.WorkflowServiceApi) -> None:
    api = archived_workflow_service_api.ArchivedWorkflowServiceApi(client)
    name = name_of(create(workflows, command="exit 1", prefix="past-"))
    uid = until(workflows, name, {"Failed"})["metadata"]["uid"]
    assert workflows.delete_workflow(NAMESPACE, name) == {}
    listed = api.list_archived_workflows(name_prefix="past-", namespace=NAMESPACE)
    assert [one.metadata.uid for one in listed.items] == [uid]
    assert api.get_archived_workflow(uid).status.phase == "Failed"
    assert "workflows.argoproj.io/phase" in api.list_archived_workflow_label_keys(namespace=NAMESPACE)["items"]
    label = "workflows.argoproj.io/phase"
    assert "Failed" in api.list_archived_workflow_label_values(list_options_label_selector=label)["items"]
    anew = models.IoArgoprojWorkflowV1alpha1ResubmitArchivedWorkflowRequest(namespace=NAMESPACE, uid=uid)
    other = name_of(api.resubmit_archived_workflow(uid, anew, **LOOSE))
    assert get(workflows, other)["metadata"]["uid"] != uid
    again = models.IoArgoprojWorkflowV1alpha1RetryArchivedWorkflowRequest(namespace=NAMESPACE, uid=uid)
    assert api.retry_archived_workflow(uid, again, **LOOSE)["metadata"]["uid"] == uid
    with pytest.raises(argo_workflows.ApiException) as refused:
        api.retry_archived_workflow(uid, again, **LOOSE)
    assert refused.value.status == 409
    until(workflows, name, {"Failed"})
    assert api.delete_archived_workflow(uid) == {}
    with pytest.raises(argo_workflows.exceptions.NotFoundException):
        api.get_archived_workflow(uid)


def test_events(client: argo_workflows.ApiClient) -> None:
    api = event_service_api.EventServiceApi(client)
    assert api.receive_event(NAMESPACE, "anything", {"what": "happened"}) == {}
    listed = api.list_workflow_event_bindings(NAMESPACE, **LOOSE)
    assert listed["items"] is None


def test_about(client: argo_workflows.ApiClient) -> None:
    api = info_service_api.InfoServiceApi(client)
    assert isinstance(api.get_version().version, str)
    assert api.get_info(**LOOSE) is not None
    assert api.get_user_info(**LOOSE) is not None
    body = models.IoArgoprojWorkflowV1alpha1CollectEventRequest(name="clicked")
    assert api.collect_event(body) == {}
