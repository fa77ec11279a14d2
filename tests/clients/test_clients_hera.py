"""Hera 7, as its users write it, against a live server: submit, wait, logs, templates, cron, retry, stop, archived."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hera.exceptions import AlreadyExists, BadRequest, NotFound
from hera.shared import global_config
from hera.workflows import (
    DAG,
    Artifact,
    ClusterWorkflowTemplate,
    Container,
    CronWorkflow,
    NoneArchiveStrategy,
    Parameter,
    Step,
    Steps,
    Suspend,
    Task,
    Workflow,
    WorkflowsService,
    WorkflowTemplate,
    script,
)
from hera.workflows import models as m
from hera.workflows.models import TemplateRef

# Hera's own use of pydantic.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

NAMESPACE = "hera"
ARCHIVING = "workflows.argoproj.io/workflow-archiving-status"
FINAL = {"Succeeded", "Failed", "Error"}


@pytest.fixture(scope="module")
def service(url: str, token: str) -> Iterator[WorkflowsService]:
    with WorkflowsService(host=url, token=token, namespace=NAMESPACE) as service:
        yield service


@pytest.fixture(autouse=True)
def images() -> Iterator[None]:
    global_config.image = "busybox"
    yield
    global_config.reset()


def ended(service: WorkflowsService, name: str | None, *, within_s: float = 30) -> m.Workflow:
    assert name
    return until(service, name, lambda workflow: workflow.status.phase in FINAL, within_s=within_s)


def until(service: WorkflowsService, name: str, holds: Callable[[Any], bool], *, within_s: float = 30) -> m.Workflow:
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        workflow = service.get_workflow(name)
        if holds(workflow):
            return workflow
        time.sleep(0.05)
    raise AssertionError(service.get_workflow(name).status)


def echo(service: WorkflowsService, *, word: str = "hello", code: int = 0, prefix: str = "echo-") -> Workflow:
    with Workflow(generate_name=prefix, namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow:
        Container(
            name="main",
            command=["sh", "-c"],
            args=["echo {{workflow.parameters.word}}; exit {{workflow.parameters.code}}"],
        )
    workflow.arguments = [Parameter(name="word", value=word), Parameter(name="code", value=str(code))]
    return workflow


def node(workflow: m.Workflow, display_name: str) -> Any:
    (found,) = [one for one in workflow.status.nodes.values() if one.display_name == display_name]
    return found


# -- writing, running, waiting -------------------------------------------------------------------------------------------


def test_hera_submits_and_waits(service: WorkflowsService) -> None:
    made = echo(service).create(wait=True, poll_interval=1)
    assert made.status.phase == "Succeeded"
    assert made.status.progress == "1/1"
    assert made.metadata.name.startswith("echo-")
    assert service.get_workflow(made.metadata.name).metadata.uid == made.metadata.uid


def test_hera_runs_python_functions_that_pass_parameters(service: WorkflowsService) -> None:
    @script(image="python:3.11", constructor="inline")
    def count(top: int):
        import json

        print(json.dumps(list(range(top))))

    @script(image="python:3.11", constructor="inline")
    def double(value: int):
        print(value * 2)

    with (
        Workflow(generate_name="fan-", namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow,
        DAG(name="main"),
    ):
        numbers = count(arguments={"top": 3})
        doubled = double(name="double", arguments={"value": "{{item}}"}, with_param=numbers.result)
        assert numbers is not None
        assert doubled is not None
        numbers >> doubled
    made = ended(service, workflow.create().metadata.name)
    assert made.status.phase == "Succeeded", made.status.message
    assert node(made, "count").outputs.result == "[0, 1, 2]"
    said = {one.display_name: lines(service, made, one.display_name) for one in made.status.nodes.values() if one.type == "Pod"}
    assert said == {"count": ["[0, 1, 2]"], "double(0:0)": ["0"], "double(1:1)": ["2"], "double(2:2)": ["4"]}


def test_hera_passes_artifacts_and_downloads_them(service: WorkflowsService) -> None:
    with Workflow(generate_name="files-", namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow:
        write = Container(
            name="write",
            command=["sh", "-c"],
            args=["echo from-hera > {{outputs.artifacts.note.path}}"],
            outputs=[Artifact(name="note", path="/tmp/note", archive=NoneArchiveStrategy())],
        )
        read = Container(
            name="read",
            command=["sh", "-c"],
            args=["cat {{inputs.artifacts.note.path}}"],
            inputs=[Artifact(name="note", path="/tmp/note")],
            outputs=[Parameter(name="none", value_from=m.ValueFrom(path="/nowhere", default="-"))],
        )
        with Steps(name="main"):
            first = Step(name="first", template=write)
            Step(name="second", template=read, arguments=[first.get_artifact("note")])
    made = ended(service, workflow.create().metadata.name)
    assert made.status.phase == "Succeeded", made.status.nodes
    name, uid, wrote, took = made.metadata.name, made.metadata.uid, node(made, "first").id, node(made, "second").id
    assert "from-hera" in service.get_output_artifact(name, wrote, "note")
    assert "from-hera" in service.get_output_artifact_by_uid(uid, wrote, "note")
    assert "from-hera" in service.get_input_artifact(name, took, "note")
    assert "from-hera" in service.get_input_artifact_by_uid(uid, took, "note")
    assert "from-hera" in service.get_artifact_file("workflows", name, wrote, "note", "outputs")


def test_hera_reads_logs(service: WorkflowsService) -> None:
    made = ended(service, echo(service, word="one-line").create().metadata.name)
    name = made.metadata.name
    # Hera looks for the line beside the envelope `result` that Argo Server puts around it: the call works, the entry stays empty.
    assert service.workflow_logs(name, container="main").content is None
    assert service.pod_logs(name, name, container="main").content is None
    assert lines(service, made, name) == ["one-line"]


def test_hera_lints_and_hears_what_is_wrong(service: WorkflowsService) -> None:
    assert echo(service).lint().spec.entrypoint == "main"
    wrong = echo(service)
    wrong.entrypoint = "nowhere"
    with pytest.raises(BadRequest, match="nowhere"):
        wrong.lint()
    with pytest.raises(BadRequest, match="nowhere"):
        wrong.create()


def test_hera_finds_lists_and_deletes(service: WorkflowsService) -> None:
    names = sorted(echo(service, prefix="listed-").create().metadata.name for _ in range(3))
    for name in names:
        ended(service, name)
    listed = service.list_workflows(name_filter="Prefix", field_selector="metadata.name=listed-")
    assert sorted(one.metadata.name for one in listed.items) == names
    first = service.list_workflows(
        label_selector="workflows.argoproj.io/phase=Succeeded",
        name_filter="Prefix",
        field_selector="metadata.name=listed-",
        limit="2",
    )
    assert len(first.items) == 2
    assert first.metadata.continue_
    service.delete_workflow(names[0])
    assert service.get_workflow(names[0]).metadata.labels[ARCHIVING] == "Persisted", "as Argo's, from the archive"
    with pytest.raises(NotFound, match=names[0]):
        service.delete_workflow(names[0])


def test_hera_uses_the_archive(service: WorkflowsService) -> None:
    made = ended(service, echo(service, prefix="past-", code=1).create().metadata.name)
    name, uid = made.metadata.name, made.metadata.uid
    service.delete_workflow(name)
    listed = service.list_archived_workflows(name_prefix="past-", namespace=NAMESPACE)
    assert [one.metadata.uid for one in listed.items] == [uid]
    assert service.list_archived_workflows(name_prefix="nothing-", namespace=NAMESPACE).items is None
    assert service.get_archived_workflow(uid).status.nodes == made.status.nodes
    assert ARCHIVING in service.list_archived_workflow_label_keys(NAMESPACE).items
    values = service.list_archived_workflow_label_values(label_selector="workflows.argoproj.io/phase", namespace=NAMESPACE)
    assert "Failed" in values.items
    anew = service.resubmit_archived_workflow(uid, m.ResubmitArchivedWorkflowRequest(namespace=NAMESPACE, uid=uid))
    assert ended(service, anew.metadata.name).metadata.uid != uid
    again = m.RetryArchivedWorkflowRequest(namespace=NAMESPACE, uid=uid, parameters=["code=0"])
    assert service.retry_archived_workflow(uid, again).metadata.uid == uid
    assert ended(service, name).status.phase == "Succeeded"
    with pytest.raises(AlreadyExists):
        service.retry_archived_workflow(uid, again)
    service.delete_workflow(name)
    service.delete_archived_workflow(uid)
    with pytest.raises(NotFound):
        service.get_archived_workflow(uid)
    with pytest.raises(NotFound):
        service.get_workflow(name)


def test_hera_takes_an_empty_list(url: str, token: str) -> None:
    with WorkflowsService(host=url, token=token, namespace="nothing-here") as service:
        assert service.list_workflows().items in (None, [])
        assert service.list_workflow_templates().items in (None, [])
        assert service.list_cron_workflows().items in (None, [])


# -- steering --------------------------------------------------------------------------------------------------------------


def sleeper(service: WorkflowsService) -> Workflow:
    with Workflow(generate_name="sleep-", namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow:
        Container(name="main", command=["sleep"], args=["60"])
    return workflow


def running(service: WorkflowsService, name: str) -> m.Workflow:
    return until(service, name, lambda one: one.status.nodes and any(n.phase == "Running" for n in one.status.nodes.values()))


@pytest.mark.parametrize(("how", "message"), [("stop", "'Stop'"), ("terminate", "'Terminate'")])
def test_hera_ends_a_running_workflow(service: WorkflowsService, how: str, message: str) -> None:
    name = sleeper(service).create().metadata.name
    running(service, name)
    if how == "stop":
        service.stop_workflow(name, m.WorkflowStopRequest(namespace=NAMESPACE, name=name))
    else:
        service.terminate_workflow(name, m.WorkflowTerminateRequest(namespace=NAMESPACE, name=name))
    made = ended(service, name)
    assert made.status.phase == "Failed"
    assert message in made.status.message


def test_hera_answers_a_suspended_step(service: WorkflowsService) -> None:
    with Workflow(generate_name="ask-", namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow:
        ask = Suspend(name="ask", intermediate_parameters=[Parameter(name="answer", enum=["yes", "no"], default="no")])
        say = Container(name="say", command=["echo"], args=["{{inputs.parameters.what}}"], inputs=[Parameter(name="what")])
        with Steps(name="main"):
            asked = Step(name="asked", template=ask)
            Step(name="said", template=say, arguments=[asked.get_parameter("answer").with_name("what")])
    name = workflow.create().metadata.name
    until(service, name, lambda one: any(n.type == "Suspend" for n in (one.status.nodes or {}).values()))
    service.set_workflow(
        name,
        m.WorkflowSetRequest(
            namespace=NAMESPACE, name=name, node_field_selector="displayName=asked", output_parameters='{"answer": "yes"}'
        ),
    )
    service.resume_workflow(
        name, m.WorkflowResumeRequest(namespace=NAMESPACE, name=name, node_field_selector="displayName=asked")
    )
    made = ended(service, name)
    assert made.status.phase == "Succeeded", made.status.message
    assert lines(service, made, "said") == ["yes"]


def lines(service: WorkflowsService, workflow: m.Workflow, display_name: str) -> list[str]:
    """Return a pod's log, read as Argo Server sends it."""
    pod = pod_of(workflow, display_name)
    answer = fetch(service, f"workflows/{NAMESPACE}/{workflow.metadata.name}/{pod}/log")
    return [json.loads(line)["result"]["content"] for line in answer.text.splitlines()]


def fetch(service: WorkflowsService, path: str) -> requests.Response:
    """Ask for what Hera has no method for, or none that keeps the answer."""
    answer = requests.get(f"{service.host}/api/v1/{path}", headers={"Authorization": service.token or ""}, timeout=10)
    assert answer.ok, answer.text
    return answer


def pod_of(workflow: m.Workflow, display_name: str) -> str:
    found = node(workflow, display_name)
    if display_name == workflow.metadata.name:
        return display_name
    prefix, _, number = found.id.rpartition("-")
    return f"{prefix}-{found.template_name}-{number}"


def test_hera_suspends_and_resumes_a_whole_workflow(service: WorkflowsService) -> None:
    workflow = echo(service)
    workflow.suspend = True
    name = workflow.create().metadata.name
    assert service.get_workflow(name).spec.suspend
    service.resume_workflow(name, m.WorkflowResumeRequest(namespace=NAMESPACE, name=name))
    assert ended(service, name).status.phase == "Succeeded"


def test_hera_retries_and_resubmits(service: WorkflowsService) -> None:
    name = echo(service, code=3).create().metadata.name
    assert ended(service, name).status.phase == "Failed"
    again = service.retry_workflow(name, m.WorkflowRetryRequest(namespace=NAMESPACE, name=name, parameters=["code=0"]))
    assert again.metadata.name == name
    assert ended(service, name).status.phase == "Succeeded"
    with pytest.raises(BadRequest, match="set the options restartSuccessful and nodeFieldSelector"):
        service.retry_workflow(name, m.WorkflowRetryRequest(namespace=NAMESPACE, name=name))
    anew = service.resubmit_workflow(name, m.WorkflowResubmitRequest(namespace=NAMESPACE, name=name))
    assert anew.metadata.name != name
    assert ended(service, anew.metadata.name).status.phase == "Succeeded", "parameters given to a retry are the workflow's own"


# -- templates and schedules -------------------------------------------------------------------------------------------


def test_hera_keeps_templates_and_submits_from_them(service: WorkflowsService) -> None:
    with WorkflowTemplate(
        name="greeter",
        namespace=NAMESPACE,
        entrypoint="main",
        workflows_service=service,
        arguments=[Parameter(name="who", value="world")],
    ) as template:
        Container(name="main", command=["echo"], args=["hello {{workflow.parameters.who}}"])
    template.lint()
    template.create()
    with pytest.raises(AlreadyExists):
        template.create()
    assert service.get_workflow_template("greeter").spec.entrypoint == "main"
    made = service.submit_workflow(
        m.WorkflowSubmitRequest(
            namespace=NAMESPACE,
            resource_kind="WorkflowTemplate",
            resource_name="greeter",
            submit_options=m.SubmitOpts(parameters=["who=hera"], labels="from=hera"),
        )
    )
    assert made.metadata.labels["from"] == "hera"
    assert ended(service, made.metadata.name).status.phase == "Succeeded"
    assert lines(service, made, made.metadata.name) == ["hello hera"]
    template.arguments = [Parameter(name="who", value="everyone")]
    template.update()
    assert service.get_workflow_template("greeter").spec.arguments.parameters[0].value == "everyone"
    assert [one.metadata.name for one in service.list_workflow_templates().items] == ["greeter"]
    service.delete_workflow_template("greeter")
    with pytest.raises(NotFound):
        service.get_workflow_template("greeter")


def test_hera_calls_cluster_templates(service: WorkflowsService) -> None:
    with ClusterWorkflowTemplate(name="hera-shared", workflows_service=service) as template:
        Container(name="say", command=["echo"], args=["shared"])
    template.create()
    assert service.get_cluster_workflow_template("hera-shared").metadata.name == "hera-shared"
    with (
        Workflow(generate_name="uses-", namespace=NAMESPACE, entrypoint="main", workflows_service=service) as workflow,
        DAG(name="main"),
    ):
        Task(name="one", template_ref=TemplateRef(name="hera-shared", template="say", cluster_scope=True))
    assert ended(service, workflow.create().metadata.name).status.phase == "Succeeded"
    assert "hera-shared" in [one.metadata.name for one in service.list_cluster_workflow_templates().items]
    service.delete_cluster_workflow_template("hera-shared")


def test_hera_schedules(service: WorkflowsService) -> None:
    with CronWorkflow(
        name="often",
        namespace=NAMESPACE,
        entrypoint="main",
        schedules=["*/5 * * * *"],
        timezone="Europe/Amsterdam",
        workflows_service=service,
    ) as cron:
        Container(name="main", command=["true"])
    cron.lint()
    cron.create()
    assert service.get_cron_workflow("often").spec.schedules == ["*/5 * * * *"]
    service.suspend_cron_workflow("often", m.CronWorkflowSuspendRequest(namespace=NAMESPACE, name="often"))
    assert service.get_cron_workflow("often").spec.suspend
    service.resume_cron_workflow("often", m.CronWorkflowResumeRequest(namespace=NAMESPACE, name="often"))
    assert not service.get_cron_workflow("often").spec.suspend
    made = service.submit_workflow(
        m.WorkflowSubmitRequest(namespace=NAMESPACE, resource_kind="CronWorkflow", resource_name="often")
    )
    assert ended(service, made.metadata.name).status.phase == "Succeeded"
    cron.schedules = ["0 4 * * *"]
    cron.update()
    assert service.get_cron_workflow("often").spec.schedules == ["0 4 * * *"]
    assert [one.metadata.name for one in service.list_cron_workflows().items] == ["often"]
    service.delete_cron_workflow("often")


# -- about the server --------------------------------------------------------------------------------------------------


def test_hera_asks_about_the_server(service: WorkflowsService) -> None:
    assert service.get_version().version
    assert service.get_info() is not None
    assert service.get_user_info() is not None


def test_hera_sets_limits_of_semaphores(service: WorkflowsService) -> None:
    def request(kind: Any, limit: int) -> Any:
        return kind(cm_name="limits", key="builds", limit=limit, type=m.SyncConfigType.configmap, namespace=NAMESPACE)

    def there() -> Any:
        # Hera drops what the server answers.
        assert service.get_sync_limit("builds", cm_name="limits", type_="CONFIGMAP") == m.SyncLimitResponse()
        return fetch(service, f"sync/{NAMESPACE}/builds?cmName=limits&type=CONFIGMAP").json()["limit"]

    service.create_sync_limit(request(m.CreateSyncLimitRequest, 2))
    assert there() == 2
    service.update_sync_limit("builds", request(m.UpdateSyncLimitRequest, 3))
    assert there() == 3
    service.delete_sync_limit("builds", cm_name="limits", type_="CONFIGMAP")
    with pytest.raises(NotFound):
        service.get_sync_limit("builds", cm_name="limits", type_="CONFIGMAP")


def test_hera_is_refused_without_a_token(url: str) -> None:
    from hera.exceptions import Unauthorized

    with WorkflowsService(host=url, token="wrong", namespace=NAMESPACE) as service, pytest.raises(Unauthorized):
        service.list_workflows()
