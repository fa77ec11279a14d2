"""The Control API over a fake engine: Argo's bodies, errors, lists and controls."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from jitflow.app.manifests import missing_template
from jitflow.control_api import make_app
from jitflow.data_api import routes as data_routes
from jitflow.model import argo, runs
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.problems import Refused
from jitflow.ports.errors import Broken, StoreFailed, Unreachable
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

TOKEN = "a-token-for-tests"
Scenario = Callable[[httpx.AsyncClient, World], Awaitable[None]]


def manifest(name: str = "one", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, **metadata} if name else metadata,
        "spec": {
            "entrypoint": "main",
            "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}],
        },
    }


def play(scenario: Scenario) -> None:
    """Run a scenario with a client of a server in this process."""

    async def run() -> None:
        world = World()
        await world.service.open()
        app = make_app(world.service, TOKEN, extra=data_routes(world.data, world.jobs, world.files))
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:2746", headers=headers) as client:
            await scenario(client, world)
        await world.service.close()

    asyncio.run(run())


async def submit(client: httpx.AsyncClient, name: str = "one", **metadata: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/workflows/argo", json={"workflow": manifest(name, **metadata)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def failure(answer: httpx.Response, status: int, code: int) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["message"]


def test_create_answers_with_a_complete_workflow() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        made = await submit(client, labels={"team": "a"})
        metadata = made["metadata"]
        assert (metadata["name"], metadata["namespace"]) == ("one", "argo")
        assert metadata["uid"]
        assert metadata["creationTimestamp"] == "2023-11-14T22:13:20Z"
        assert metadata["resourceVersion"] == "1"
        assert metadata["labels"]["team"] == "a"
        assert metadata["labels"]["workflows.argoproj.io/completed"] == "false"
        assert metadata["labels"]["workflows.argoproj.io/phase"] == "Running"
        assert made["status"]["phase"] == "Running"
        assert "finishedAt" not in made["status"]
        found = await client.get("/api/v1/workflows/argo/one")
        assert found.json() == made
        assert (await client.get("/api/v1/workflows/argo/@latest")).json() == made
        assert (await client.get(f"/api/v1/workflows/argo/one?uid={metadata['uid']}")).json() == made

    play(scenario)


def test_a_workflow_that_was_got_can_be_submitted_again() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        first = await submit(client)
        first["metadata"]["name"] = "two"
        answer = await client.post("/api/v1/workflows/argo", json={"workflow": first})
        assert answer.status_code == 200, answer.text
        assert answer.json()["metadata"]["uid"] != first["metadata"]["uid"]

    play(scenario)


def test_names_are_generated_and_taken_once() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        made = await submit(client, "", generateName="gen-")
        assert made["metadata"]["name"].startswith("gen-")
        assert len(made["metadata"]["name"]) == 9
        await submit(client)
        again = await client.post("/api/v1/workflows/argo", json={"workflow": manifest()})
        assert failure(again, 409, 6) == 'workflows.argoproj.io "one" already exists'
        together = [client.post("/api/v1/workflows/argo", json={"workflow": manifest("two")}) for _ in range(8)]
        codes = sorted(answer.status_code for answer in await asyncio.gather(*together))
        assert codes == [200] + [409] * 7
        other = await client.post("/api/v1/workflows/other", json={"workflow": manifest("two")})
        assert other.status_code == 200

    play(scenario)


def test_a_generated_name_that_is_taken_is_drawn_again() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await submit(client, "gen-00002")  # the fake's second draw
        assert (await submit(client, "", generateName="gen-"))["metadata"]["name"] == "gen-00003"

    play(scenario)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[1]", "form"),
        (b"null", "form"),
        (b"{}", "no workflow"),
        (b'{"workflow": 3}', "form"),
        (b'{"workflow": {}}', ""),
        (b'{"workflow": null}', "no workflow"),
        (b"[" * 100_000, ""),
        (b'{"workflow":' + b'{"spec":' * 50_000, "JSON"),
        (b"\xff\xfe", "JSON"),
        (b'{"workflow": {"kind": "Nonsense"}}', "Nonsense"),
        (b'{"workflow": {"kind": "Workflow", "spec": {"nonsense": 1}}}', "nonsense"),
        (b'{"workflow": {"metadata": {"name": "\\ud800"}, "spec": {}}}', ""),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/workflows/argo", "/api/v1/workflows/argo/lint", "/api/jit/v1/explain"])
def test_bodies_that_cannot_be_used(body: bytes, words: str, path: str) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        assert words in failure(await client.post(path, content=body), 400, 3)
        assert not await world.store.runs()

    play(scenario)


@pytest.mark.parametrize(
    ("namespace", "name", "extra", "words"),
    [
        ("argo", "", {}, "generateName"),
        ("argo", "Upper", {}, "Upper"),
        ("argo", "a" * 64, {}, "63"),
        ("argo", "one", {"namespace": "other"}, "does not match"),
        ("Argo!", "one", {}, "namespace"),
        ("a%00b", "one", {}, "namespace"),
        ("%ff", "one", {}, "UTF-8"),
    ],
)
def test_names_that_cannot_be_used(namespace: str, name: str, extra: dict[str, str], words: str) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        answer = await client.post(f"/api/v1/workflows/{namespace}", json={"workflow": manifest(name, **extra)})
        assert words in failure(answer, 400, 3)

    play(scenario)


def test_a_body_beyond_four_mebibytes_is_refused() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        big = manifest(annotations={"a": "x" * (4 * 1024 * 1024)})
        answer = await client.post("/api/v1/workflows/argo", json={"workflow": big})
        assert "4194304" in failure(answer, 413, 3)

    play(scenario)


YAML = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: from-yaml-
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: busybox, command: ["true"]}
"""


def test_yaml_is_taken_as_it_is_and_errors_have_lines() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        headers = {"content-type": "application/yaml"}
        made = await client.post("/api/v1/workflows/argo", content=YAML, headers=headers)
        assert made.json()["metadata"]["name"].startswith("from-yaml-")
        bad = YAML.replace("entrypoint: main", "entrypoint: main\n  nonsense: 1")
        answer = await client.post("/api/v1/workflows/argo/lint?source=my.yaml", content=bad, headers=headers)
        assert "my.yaml:7" in failure(answer, 400, 3)
        (problem,) = answer.json()["problems"]
        assert problem["place"]["line"] == 7
        two = await client.post("/api/v1/workflows/argo", content=f"{YAML}---\n{YAML}", headers=headers)
        assert "2 documents" in failure(two, 400, 3)
        other = await client.post("/api/v1/workflows/argo", content=b"\xff", headers=headers)
        assert "UTF-8" in failure(other, 400, 3)

    play(scenario)


def test_a_large_manifest_does_not_hold_up_the_others() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        large = manifest("large", annotations={f"a-{number}": "x" * 50 for number in range(20_000)})
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        async with asyncio.TaskGroup() as group:
            ticking = group.create_task(tick())
            answer = await client.post("/api/v1/workflows/argo/lint", json={"workflow": large})
            ticking.cancel()
        assert answer.status_code == 200
        assert ticks >= 3

    play(scenario)


def test_a_kind_that_is_not_served_is_refused() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        body = {"workflow": {"kind": "WorkflowTemplate", "metadata": {"name": "a"}, "spec": manifest()["spec"]}}
        assert "WorkflowTemplate" in failure(await client.post("/api/v1/workflows/argo", json=body), 400, 3)

    play(scenario)


def test_lint_and_dry_run_make_nothing() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        linted = await client.post("/api/v1/workflows/argo/lint", json={"namespace": "argo", "workflow": manifest()})
        assert linted.json()["metadata"]["name"] == "one"
        for extra in ({"serverDryRun": True}, {"createOptions": {"dryRun": ["All"]}}):
            dry = await client.post("/api/v1/workflows/argo", json={"workflow": manifest(), **extra})
            assert dry.json()["metadata"]["namespace"] == "argo"
        assert not await world.store.runs()

    play(scenario)


def test_lint_lets_values_and_the_name_come_at_submit() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        body = manifest()
        body["spec"]["arguments"] = {"parameters": [{"name": "later"}]}
        del body["metadata"]["name"]
        assert (await client.post("/api/v1/workflows/argo/lint", json={"workflow": body})).status_code == 200
        refused = await client.post("/api/v1/workflows/argo", json={"workflow": body})
        assert refused.status_code == 400
        assert "spec.arguments.later.value or spec.arguments.later.valueFrom is required" in refused.json()["message"]
        assert not await world.store.runs()

    play(scenario)


def test_a_template_that_is_not_there_is_no_mistake_of_the_workflow() -> None:
    for cluster, message in (
        (None, 'workflowtemplates.argoproj.io "t" not found'),
        (True, 'clusterworkflowtemplates.argoproj.io "t" not found'),
    ):
        spec = argo.WorkflowSpec(workflow_template_ref=argo.WorkflowTemplateRef(name="t", cluster_scope=cluster))
        assert missing_template(argo.Workflow(spec=spec), "argo", NO_OBJECTS) == message
    assert not missing_template(argo.Workflow(spec=argo.WorkflowSpec(entrypoint="gone")), "argo", NO_OBJECTS)


def test_an_empty_list_has_null_items() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for path in ("/api/v1/workflows/argo", "/api/v1/workflows/"):
            body = (await client.get(path)).json()
            assert body["items"] is None
            assert body["metadata"]["resourceVersion"] == "0"

    play(scenario)


async def names(client: httpx.AsyncClient, path: str = "/api/v1/workflows/argo", **params: str) -> list[str]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [item["metadata"]["name"] for item in answer.json()["items"] or ()]


def test_lists_select_page_and_sort() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for number in range(5):
            world.clock.at += 60
            made = await submit(client, f"wf-{number}", labels={"n": str(number)})
            if number % 2:
                await world.engine.move(made["metadata"]["uid"], "Succeeded")
        assert await names(client) == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]
        assert await names(client, "/api/v1/workflows/other") == []
        assert len(await names(client, "/api/v1/workflows/")) == 5
        selector = "listOptions.labelSelector"
        assert await names(client, **{selector: "n in (1,2)"}) == ["wf-2", "wf-1"]
        assert await names(client, **{selector: "workflows.argoproj.io/phase=Succeeded"}) == ["wf-3", "wf-1"]
        assert await names(client, **{selector: "workflows.argoproj.io/completed=false"}) == ["wf-4", "wf-2", "wf-0"]
        fields = "listOptions.fieldSelector"
        assert await names(client, **{fields: "metadata.name=wf-2"}) == ["wf-2"]
        assert len(await names(client, **{fields: "metadata.name=wf", "nameFilter": "Prefix"})) == 5
        assert await names(client, createdAfter="2023-11-14T22:17:20Z") == ["wf-4", "wf-3"]
        assert await names(client, createdAfter="2023-11-14T22:17:21Z") == ["wf-4"]
        assert await names(client, finishedBefore="2023-11-14T22:16:20Z") == ["wf-1"]
        page = {"listOptions.limit": "2", fields: "ext.showRemainingItemCount=true"}
        first = (await client.get("/api/v1/workflows/argo", params=page)).json()
        assert (first["metadata"]["continue"], first["metadata"]["remainingItemCount"]) == ("2", 3)
        seen = [item["metadata"]["name"] for item in first["items"]]
        seen += await names(client, **{"listOptions.limit": "2", "listOptions.continue": "2"})
        last = await client.get("/api/v1/workflows/argo", params={"listOptions.limit": "2", "listOptions.continue": "4"})
        assert "continue" not in last.json()["metadata"]
        seen += [item["metadata"]["name"] for item in last.json()["items"]]
        assert seen == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]

    play(scenario)


@pytest.mark.parametrize(
    "query",
    [
        "listOptions.labelSelector=a%20b", "listOptions.fieldSelector=status.phase%3DRunning", "listOptions.limit=-1",
        "listOptions.limit=x", "listOptions.continue=%D9%A3", "nameFilter=Regex", "createdAfter=soon",
        "listOptions.limit=99999999999999999999999", "finishedBefore=9999-99-99T00:00:00Z",
    ],
)  # fmt: skip
def test_list_parameters_that_cannot_be_used(query: str) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await submit(client)
        failure(await client.get(f"/api/v1/workflows/argo?{query}"), 400, 3)

    play(scenario)


def test_fields_keep_what_is_wanted() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await submit(client)
        rows = await client.get("/api/v1/workflows/argo?fields=metadata,items.metadata.name,items.status.phase")
        assert rows.json()["items"] == [{"metadata": {"name": "one"}, "status": {"phase": "Running"}}]
        deep = await client.get("/api/v1/workflows/argo?fields=items.spec.entrypoint,items.metadata.uid")
        (item,) = deep.json()["items"]
        assert item["spec"] == {"entrypoint": "main"}
        less = await client.get("/api/v1/workflows/argo/one?fields=-spec,status")
        assert set(less.json()) == {"apiVersion", "kind", "metadata"}
        assert (await client.get("/api/v1/workflows/empty?fields=items.metadata.name")).json() == {"items": None}

    play(scenario)


def test_what_is_not_there() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        made = await submit(client)
        uid = made["metadata"]["uid"]
        for path in (
            "argo/other", "other/one", "argo/one?uid=wrong", "other/@latest", f"argo/two?uid={uid}", f"other/one?uid={uid}",
        ):  # fmt: skip
            assert "not found" in failure(await client.get(f"/api/v1/workflows/{path}"), 404, 5)
        for verb in ("suspend", "resume", "stop", "terminate", "retry", "resubmit"):
            failure(await client.put(f"/api/v1/workflows/argo/other/{verb}", json={}), 404, 5)
        failure(await client.delete("/api/v1/workflows/argo/other"), 404, 5)
        failure(await client.get("/api/v1/workflows/argo/other/log"), 404, 5)
        failure(await client.get("/api/v1/workflows/argo/one/nonsense"), 404, 5)
        failure(await client.get("/nothing"), 404, 5)
        failure(await client.patch("/api/v1/workflows/argo/one"), 404, 5)
        failure(await client.delete("/healthz"), 405, 12)
        failure(await client.get("/api/v1/workflow-templates/argo/none"), 404, 5)
        failure(await client.get("/api/v1/archived-workflows/none"), 404, 5)
        failure(await client.post("/api/v1/workflows/argo/submit", json={}), 400, 3)
        for path in ("sensors/argo", "event-sources/argo/one", "stream/sensors/argo", "stream/event-sources/argo/logs"):
            assert "could not find the requested resource" in failure(await client.get(f"/api/v1/{path}"), 404, 5)

    play(scenario)


def test_controls_reach_the_engine_with_their_options() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        uid = (await submit(client))["metadata"]["uid"]
        base = "/api/v1/workflows/argo/one"
        suspended = await client.put(f"{base}/suspend", json={"name": "one", "namespace": "argo"})
        assert suspended.json()["spec"]["suspend"] is True
        resumed = await client.put(f"{base}/resume", json={"nodeFieldSelector": "name=x", "message": "go"})
        assert "suspend" not in resumed.json()["spec"]
        stopped = await client.put(f"{base}/stop", json={"message": "enough"})
        assert stopped.json()["status"]["phase"] == "Failed"
        assert stopped.json()["metadata"]["labels"]["workflows.argoproj.io/completed"] == "true"
        failure(await client.put(f"{base}/stop", content=b""), 400, 3)
        body = {"restartSuccessful": True, "nodeFieldSelector": "name=y", "parameters": ["a=1"]}
        assert (await client.put(f"{base}/retry", json=body)).json()["status"]["phase"] == "Running"
        assert "phase Running" in failure(await client.put(f"{base}/retry", json={}), 400, 3)
        assert (await client.put(f"{base}/terminate")).status_code == 200
        assert world.engine.events == [
            (uid, runs.SuspendRequested()),
            (uid, runs.ResumeRequested(selector="name=x", message="go")),
            (uid, runs.ShutdownRequested(strategy="Stop", message="enough")),
            (uid, runs.RetryRequested(restart_successful=True, selector="name=y", parameters=("a=1",))),
            (uid, runs.ShutdownRequested(strategy="Terminate")),
        ]
        failure(await client.put(f"{base}/retry", content=b"[]"), 400, 3)
        failure(await client.put(f"{base}/retry", json={"parameters": "a=1"}), 400, 3)

    play(scenario)


def test_resubmit_makes_another_workflow() -> None:
    """SEMANTICS Retry / resubmit: own generateName or `<name>-`, label resubmitted-from-workflow, user labels kept."""

    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await submit(client, labels={"team": "a"})
        answer = await client.put("/api/v1/workflows/argo/one/resubmit", json={"parameters": ["p=7"]})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert made["metadata"]["name"].startswith("one-")
        assert made["metadata"]["labels"]["team"] == "a"
        assert made["metadata"]["labels"]["workflows.argoproj.io/resubmitted-from-workflow"] == "one"
        assert {"name": "p", "value": "7"} in made["spec"]["arguments"]["parameters"]
        assert made["metadata"]["uid"] != (await client.get("/api/v1/workflows/argo/one")).json()["metadata"]["uid"]
        failure(await client.put("/api/v1/workflows/argo/one/resubmit", json={"parameters": ["p"]}), 400, 3)

    play(scenario)


def test_delete_removes() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await submit(client)
        assert (await client.delete("/api/v1/workflows/argo/one?force=true")).json() == {}
        failure(await client.get("/api/v1/workflows/argo/one"), 404, 5)
        assert await names(client) == []
        await submit(client)  # the name is free again

    play(scenario)


def test_runs_of_an_earlier_life_are_known() -> None:
    async def run() -> None:
        first = World()
        await first.service.open()
        await first.service.create(manifest(), "argo")
        second = World(first.store)
        await second.service.open()
        assert second.service.find("argo", "one").phase == "Running"
        with pytest.raises(Refused, match="already exists"):
            await second.service.create(manifest(), "argo")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "code", "words"),
    [
        (Refused("the smallest capacity that would do is 5 GiB", code="too_large"), 400, 3, "5 GiB"),
        (Refused("full", code="unavailable"), 503, 14, "full"),
        (Unreachable("far does not answer"), 503, 14, "far does not answer"),
        (Broken("the state store failed"), 500, 13, "the state store failed"),
        (StoreFailed("far:x: rclone failed (odd)"), 502, 2, "far:x: rclone failed (odd)"),
        (RuntimeError("password=hunter2"), 500, 13, "internal error"),
    ],
)
def test_errors_below_are_answered(
    error: Exception, status: int, code: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        world.engine.fail = error
        answer = await client.post("/api/v1/workflows/argo", json={"workflow": manifest()})
        assert words in failure(answer, status, code)
        assert "hunter2" not in answer.text
        await submit(client)  # the name was not used up

    play(scenario)


def test_extras_tell_what_jitflow_knows() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        uid = (await submit(client))["metadata"]["uid"]
        base = "/api/jit/v1/workflows/argo/one"
        (row,) = (await client.get(f"{base}/data")).json()["items"]
        assert (row["step"], row["phase"], row["bytes_done"]) == (f"{uid}/node", "fetching", 3)
        (note,) = (await client.get(f"{base}/notes")).json()["items"]
        assert note["reason"] == "WorkflowRunning"
        explained = await client.post("/api/jit/v1/explain", json={"workflow": manifest("new")})
        assert (explained.json()["objects"], explained.json()["rows"]) == (1, [["far:a", 10, "absent", 1]])
        for path in (f"{base}/explain", "/api/jit/v1/workflows/argo/@latest/explain", "/api/jit/v1/explain"):
            left = (await client.get(path)).json()
            assert (left["objects"], left["to_move_bytes"]) == (1, 10)
        failure(await client.get("/api/jit/v1/workflows/argo/none/explain"), 404, 5)
        timeline = (await client.get("/api/jit/v1/timeline")).json()
        assert [transfer["direction"] for transfer in timeline["transfers"]] == ["in"]
        assert (await client.get("/api/jit/v1/timeline?since=99999999999")).json()["transfers"] == []
        failure(await client.get("/api/jit/v1/timeline?since=nan"), 400, 3)
        of_one = (await client.get(f"{base}/timeline")).json()
        assert (of_one["uid"], of_one["phase"], of_one["transfers"]) == (uid, "Running", []), "what was moved is another's"
        failure(await client.get("/api/jit/v1/workflows/argo/none/timeline"), 404, 5)
        failure(await client.get("/api/jit/v1/workflows/argo/none/data"), 404, 5)
        found = (await client.get("/api/jit/v1/workflows/argo/@latest/why?node=a")).json()
        assert found["summary"] == "one.a does not run: waiting for data: far:a; all of its data is expected in about 7 s"
        assert (found["data"]["step"], found["data"]["objects"][0]["done_bytes"]) == (f"{uid}/node", 3)
        failure(await client.get(f"{base}/why?node=none"), 404, 5)
        failure(await client.get(f"{base}/why"), 400, 3)
        failure(await client.get("/api/jit/v1/workflows/argo/none/why?node=a"), 404, 5)

    play(scenario)


def test_the_server_says_what_it_is() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        version = (await client.get("/api/v1/version")).json()
        assert all(isinstance(value, str) for value in version.values())
        assert version["version"].startswith("v")
        info = (await client.get("/api/v1/info")).json()
        assert info["links"] == []
        assert (await client.get("/api/v1/userinfo")).json()["subject"]
        assert (await client.get("/healthz")).json() == {"status": "ok"}

    play(scenario)
