"""Templates, schedules, limits, events and the other objects over the API, with Argo's bodies and errors."""

from typing import Any

import httpx
import pytest
from test_api_workflows import failure, play

from jitflow.model.objects import ConfigMap
from jitflow.model.runs import SuspendedNodesSet
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

SPEC = {
    "entrypoint": "main",
    "arguments": {"parameters": [{"name": "p", "value": "d"}]},
    "templates": [{"name": "main", "container": {"image": "busybox", "args": ["{{workflow.parameters.p}}"]}}],
}


def template(name: str = "t", kind: str = "WorkflowTemplate", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": {**SPEC, **spec}}


async def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_templates_are_made_read_changed_and_deleted() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        base = "/api/v1/workflow-templates/argo"
        assert (await ok(await client.get(base)))["items"] is None
        made = await ok(await client.post(base, json={"namespace": "argo", "template": template()}))
        assert (made["metadata"]["namespace"], made["kind"]) == ("argo", "WorkflowTemplate")
        assert "already exists" in failure(await client.post(base, json={"template": template()}), 409, 6)
        assert (await ok(await client.get(f"{base}/t"))) == made
        listed = await ok(await client.get("/api/v1/workflow-templates/"))
        assert [item["metadata"]["name"] for item in listed["items"]] == ["t"]
        assert (await ok(await client.get(base, params={"fields": "items.metadata.name"})))["items"] == [
            {"metadata": {"name": "t"}}
        ]
        changed = {**made, "spec": {**SPEC, "parallelism": 2}}
        newer = await ok(await client.put(f"{base}/t", json={"template": changed}))
        assert newer["spec"]["parallelism"] == 2
        failure(await client.put(f"{base}/t", json={"template": changed}), 409, 6)
        failure(await client.put(f"{base}/other", json={"template": template("other")}), 404, 5)
        failure(await client.put(f"{base}/t", json={"template": template("other")}), 400, 3)
        assert await ok(await client.delete(f"{base}/t")) == {}
        assert 'workflowtemplates.argoproj.io "t" not found' in failure(await client.get(f"{base}/t"), 404, 5)
        failure(await client.delete(f"{base}/t"), 404, 5)

    play(scenario)


def test_what_a_template_refers_to_is_looked_for_in_the_namespace_of_the_request() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        steps = [[{"name": "a", "templateRef": {"name": "t", "template": "main"}}]]
        caller = template("caller", templates=[{"name": "main", "steps": steps}])
        base = "/api/v1/workflow-templates/argo"
        assert '"t" not found' in failure(await client.post(base, json={"template": caller}), 400, 3)
        await ok(await client.post(base, json={"template": template()}))
        await ok(await client.post(f"{base}/lint", json={"template": caller}))
        made = await ok(await client.post(base, json={"template": caller}))
        await ok(await client.put(f"{base}/caller", json={"template": made}))
        cron = {"metadata": {"name": "c"}, "spec": {"schedules": ["0 2 * * *"], "workflowSpec": caller["spec"]}}
        await ok(await client.post("/api/v1/cron-workflows/argo", json={"cronWorkflow": cron}))
        assert '"t" not found' in failure(await client.post("/api/v1/cron-workflows/else", json={"cronWorkflow": cron}), 400, 3)

    play(scenario)


def test_what_is_wrong_with_a_template_is_told_with_its_place() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        wrong = template(templates=[{"name": "main", "container": {"image": "i", "args": ["{{inputs.parameters.gone}}"]}}])
        for path in ("", "/lint"):
            message = failure(await client.post(f"/api/v1/workflow-templates/argo{path}", json={"template": wrong}), 400, 3)
            assert "$.spec.templates[0].container.args[0]" in message
        failure(await client.post("/api/v1/workflow-templates/argo", json={"template": {"metadata": {"name": "t"}}}), 400, 3)
        failure(await client.post("/api/v1/workflow-templates/argo", json={}), 400, 3)
        failure(await client.post("/api/v1/workflow-templates/argo", json={"template": template(kind="Workflow")}), 400, 3)
        failure(await client.post("/api/v1/workflow-templates/Not-Valid", json={"template": template()}), 400, 3)
        assert (await ok(await client.post("/api/v1/workflow-templates/argo/lint", json={"template": template()})))["spec"]
        assert (await ok(await client.get("/api/v1/workflow-templates/argo")))["items"] is None

    play(scenario)


def test_workflows_are_submitted_from_templates_and_schedules() -> None:
    """SEMANTICS REST: `resourceKind` accepts exactly: WorkflowTemplate, workflowtemplate(s), wftmpl; …"""

    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await ok(await client.post("/api/v1/workflow-templates/argo", json={"template": template()}))
        wide = template("wide", "ClusterWorkflowTemplate")
        await ok(await client.post("/api/v1/cluster-workflow-templates", json={"template": wide}))
        cron = {"kind": "CronWorkflow", "metadata": {"name": "c"}, "spec": {"schedules": ["0 0 1 1 *"], "workflowSpec": SPEC}}
        await ok(await client.post("/api/v1/cron-workflows/argo", json={"cronWorkflow": cron}))

        async def submit(kind: str, resource: str, **options: Any) -> httpx.Response:
            body = {"namespace": "argo", "resourceKind": kind, "resourceName": resource, "submitOptions": options}
            return await client.post("/api/v1/workflows/argo/submit", json=body)

        for kind in ("WorkflowTemplate", "workflowtemplate", "workflowtemplates", "wftmpl"):
            made = await ok(await submit(kind, "t", parameters=["p=mine"], labels="a=b,c=d"))
            labels = made["metadata"]["labels"]
            assert (labels["workflows.argoproj.io/workflow-template"], labels["a"], labels["c"]) == ("t", "b", "d")
            assert made["spec"]["arguments"]["parameters"] == [{"name": "p", "value": "mine"}]
            assert made["metadata"]["name"].startswith("t-")
        made = await ok(await submit("cwftmpl", "wide", name="chosen", entryPoint="main"))
        assert made["metadata"]["name"] == "chosen"
        assert made["spec"]["workflowTemplateRef"] == {"clusterScope": True, "name": "wide"}
        made = await ok(await submit("cronwf", "c"))
        assert made["metadata"]["labels"]["workflows.argoproj.io/cron-workflow"] == "c"
        assert "workflows.argoproj.io/scheduled-time" in made["metadata"]["annotations"]
        assert "Resource kind 'Pod' is not supported for submitting" in failure(await submit("Pod", "t"), 400, 3)
        assert "not found" in failure(await submit("WorkflowTemplate", "none"), 404, 5)
        assert "expected parameter of the form" in failure(await submit("WorkflowTemplate", "t", parameters=["p"]), 400, 3)

    play(scenario)


def test_schedules_rest_and_go_on() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        cron = {"kind": "CronWorkflow", "metadata": {"name": "c"}, "spec": {"schedules": ["@daily"], "workflowSpec": SPEC}}
        await ok(await client.post("/api/v1/cron-workflows/argo", json={"cronWorkflow": cron}))
        for verb, expected in (("suspend", True), ("resume", False)):
            changed = await ok(await client.put(f"/api/v1/cron-workflows/argo/c/{verb}", json={}))
            assert changed["spec"].get("suspend", False) is expected
        bad = {**cron, "metadata": {"name": "d"}, "spec": {**cron["spec"], "schedules": ["61 * * * *"]}}
        assert "$.spec.schedules[0]" in failure(
            await client.post("/api/v1/cron-workflows/argo", json={"cronWorkflow": bad}), 400, 3
        )

    play(scenario)


def test_limits_of_semaphores() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        body = {"type": "DATABASE", "key": "k", "limit": 2}
        await ok(await client.post("/api/v1/sync/argo", json=body))
        failure(await client.post("/api/v1/sync/argo", json=body), 409, 6)
        path = "/api/v1/sync/argo/k?type=DATABASE"
        assert (await ok(await client.get(path)))["limit"] == 2
        await ok(await client.put("/api/v1/sync/argo/k", json={**body, "limit": 5}))
        assert (await ok(await client.get(path)))["limit"] == 5
        await ok(await client.delete(path))
        failure(await client.get(path), 404, 5)
        failure(await client.put("/api/v1/sync/argo/k", json=body), 404, 5)
        await ok(await client.delete(path))
        for wrong in (
            {"key": "k", "limit": 0},
            {"limit": 1},
            {"key": "k", "limit": 1, "type": "CONFIGMAP"},
            {"key": "k", "limit": 1},
            {"key": "k", "limit": "x"},
        ):
            failure(await client.post("/api/v1/sync/argo", json=wrong), 400, 3)
        config = {"type": "CONFIGMAP", "cmName": "c", "key": "k", "limit": 3}
        await ok(await client.post("/api/v1/sync/argo", json=config))
        found = world.objects.find(ConfigMap, "argo", "c")
        assert found is not None
        assert found.data == {"k": "3"}

    play(scenario)


def test_limits_in_config_maps_are_what_is_meant_unless_the_database_is_named() -> None:
    """SEMANTICS part 3 sync: the type is CONFIGMAP by default, as in swagger."""

    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        del world
        path = "/api/v1/sync/argo"
        made = await ok(await client.post(path, json={"cmName": "c", "key": "k", "limit": 3}))
        assert made["type"] == "CONFIGMAP"
        assert (await ok(await client.get(f"{path}/k?cmName=c")))["limit"] == 3
        failure(await client.get(f"{path}/k?cmName=c&type=ELSEWHERE"), 400, 3)
        failure(await client.get(f"{path}/k"), 400, 3)
        failure(await client.put(f"{path}/other", json={"cmName": "c", "limit": 1}), 404, 5)
        await ok(await client.put(f"{path}/k", json={"cmName": "c", "limit": 4}))
        await ok(await client.delete(f"{path}/other?cmName=c"))
        failure(await client.delete(f"{path}/k?cmName=gone"), 404, 5)
        await ok(await client.delete(f"{path}/k?cmName=c"))
        failure(await client.get(f"{path}/k?cmName=c"), 404, 5)
        broken = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "many"}}
        await ok(await client.put("/api/jit/v1/objects/argo/ConfigMap/c", json=broken))
        failure(await client.get(f"{path}/k?cmName=c"), 400, 3)
        await ok(await client.put(f"{path}/k", json={"cmName": "c", "limit": 1}))

    play(scenario)


def test_other_objects_and_what_is_secret_stays_so() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        base = "/api/jit/v1/objects/argo"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hunter2"}}
        answers = [
            await client.post(f"{base}/Secret", json=secret),
            await client.get(f"{base}/Secret/s"),
            await client.get(f"{base}/Secret"),
            await client.put(f"{base}/Secret/s", json=secret),
        ]
        for answer in answers:
            await ok(answer)
            assert "hunter2" not in answer.text
            assert "aHVudGVyMg" not in answer.text
        yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
        await ok(await client.put(f"{base}/ConfigMap/c", content=yaml, headers={"content-type": "application/yaml"}))
        assert (await ok(await client.get(f"{base}/ConfigMap/c")))["data"] == {"a": "1"}
        failure(await client.get(f"{base}/Pod/c"), 400, 3)
        failure(await client.post(f"{base}/ConfigMap", json={"metadata": {"name": "../x"}}), 400, 3)
        assert await ok(await client.delete(f"{base}/ConfigMap/c")) == {}

    play(scenario)


def test_an_event_submits_what_its_bindings_say() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await ok(await client.post("/api/v1/workflow-templates/argo", json={"template": template()}))
        binding = {
            "kind": "WorkflowEventBinding",
            "metadata": {"name": "b"},
            "spec": {
                "event": {"selector": "payload.who != '' && discriminator == 'greet' && metadata['x-kind'][0] == 'a'"},
                "submit": {
                    "workflowTemplateRef": {"name": "t"},
                    "arguments": {"parameters": [{"name": "p", "valueFrom": {"event": "payload.who"}}]},
                },
            },
        }
        await ok(await client.post("/api/jit/v1/objects/argo/WorkflowEventBinding", json=binding))
        listed = await ok(await client.get("/api/v1/workflow-event-bindings/argo"))
        assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]
        headers = {"x-kind": "a"}
        assert await ok(await client.post("/api/v1/events/argo/greet", json={"who": "me"}, headers=headers)) == {}
        for discriminator, payload in (("other", {"who": "me"}), ("greet", {"who": ""}), ("greet", {}), ("greet", None)):
            assert await ok(await client.post(f"/api/v1/events/argo/{discriminator}", json=payload, headers=headers)) == {}
        (made,) = (await ok(await client.get("/api/v1/workflows/argo")))["items"]
        assert made["spec"]["arguments"]["parameters"] == [{"name": "p", "value": "me"}]
        assert made["metadata"]["labels"]["workflows.argoproj.io/workflow-template"] == "t"
        failure(await client.post("/api/v1/events/argo/", content=b"{"), 400, 3)

    play(scenario)


def test_suspended_nodes_are_set_with_a_json_object_in_a_text() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await ok(await client.post("/api/v1/workflow-templates/argo", json={"template": template()}))
        body = {"resourceKind": "wftmpl", "resourceName": "t", "submitOptions": {"name": "w"}}
        await ok(await client.post("/api/v1/workflows/argo/submit", json=body))
        path = "/api/v1/workflows/argo/w/set"
        await ok(await client.put(path, json={"nodeFieldSelector": "displayName=x", "outputParameters": '{"a": "1", "b": 2}'}))
        (_, event) = world.engine.events[-1]
        assert isinstance(event, SuspendedNodesSet)
        assert (event.selector, event.outputs) == ("displayName=x", {"a": "1", "b": "2"})
        failure(await client.put(path, json={"nodeFieldSelector": "displayName=x", "outputParameters": "[1]"}), 400, 3)

    play(scenario)
