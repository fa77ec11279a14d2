"""jitflow's own client, over both shells, against a live server."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from benchmark.service import Server

from jitflow.client import (
    AsyncClient,
    Conflict,
    Endpoint,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ServerFault,
    Unauthenticated,
    WaitTimeout,
)
from jitflow.model.argo import Workflow
from jitflow.model.bulk import BulkWish
from jitflow.testing.client_shells import SHELLS, opened


@pytest.fixture(scope="module", params=SHELLS)
def client(request: pytest.FixtureRequest, url: str, token: str) -> Iterator[Any]:
    with opened(request.param, Endpoint(url, token), namespace=f"lab-{request.param}") as found:
        yield found


def manifest(command: str = "echo hello; echo world", **spec: Any) -> dict[str, Any]:
    container = {"image": "busybox", "command": ["sh", "-c", command]}
    return {
        "metadata": {"generateName": "own-", "labels": {"team": "ocean"}},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": container}]} | spec,
    }


def test_a_workflow_is_made_followed_waited_for_read_and_deleted(client: Any) -> None:
    made: Workflow = client.workflows.create(manifest())
    name = made.metadata.name
    done = client.workflows.wait(name, timeout_s=30)
    assert done.status.phase == "Succeeded"
    assert [entry.content for entry in client.workflows.logs(name)] == ["hello", "world"]
    (pod,) = {entry.pod_name for entry in client.workflows.logs(name, follow=True, grep="wor")}
    assert [entry.content for entry in client.workflows.pod_logs(name, pod, tail=1)] == ["world"]
    page = client.workflows.list(labels="team=ocean", limit=1)
    assert page.items[0].metadata.name == name
    assert page.version
    assert client.workflows.get("@latest").metadata.name == name
    assert client.workflows.get.into(dict)(name, only="status.phase") == {"status": {"phase": "Succeeded"}}
    assert client.workflows.notes(name) is not None
    assert client.workflows.data(name) is not None
    again = client.workflows.resubmit(name)
    assert again.metadata.name != name
    client.workflows.wait(again.metadata.name, timeout_s=30)
    client.workflows.delete(name)
    client.workflows.delete(again.metadata.name)
    kept = client.archived.find(name)
    assert name in [item.metadata.name for item in client.archived.list(labels="team=ocean").items]
    assert client.archived.get(kept.metadata.uid).status.phase == "Succeeded"
    assert "team" in client.archived.label_keys()
    assert client.archived.label_values("team") == ("ocean",)
    renewed = client.archived.resubmit(kept.metadata.uid)
    assert client.workflows.wait(renewed.metadata.name, timeout_s=30).status.phase == "Succeeded"
    client.archived.delete(kept.metadata.uid)
    with pytest.raises(NotFound):
        client.archived.get(kept.metadata.uid)


def test_workflows_are_controlled(client: Any) -> None:
    steps = [[{"name": "ask", "template": "ask"}], [{"name": "go", "template": "go"}]]
    ask = {"name": "ask", "suspend": {}, "outputs": {"parameters": [{"name": "answer", "valueFrom": {"supplied": {}}}]}}
    go = {"name": "go", "container": {"image": "busybox", "command": ["false"]}}
    made = client.workflows.create(manifest(templates=[{"name": "main", "steps": steps}, ask, go]))
    name = made.metadata.name
    for event in client.workflows.follow(name, timeout_s=30):
        if any(node.type == "Suspend" for node in (event.workflow.status.nodes or {}).values()):
            break
    with pytest.raises(WaitTimeout, match=r"has not ended within 0.2 s"):
        client.workflows.wait(name, timeout_s=0.2)
    assert client.workflows.why(name, "go").summary
    assert client.workflows.outlook(name).steps >= 0
    assert client.workflows.suspend(name).spec.suspend is True
    with pytest.raises(InvalidRequest, match="no suspend nodes"):
        client.workflows.resume(name, selector="displayName=nobody")
    client.workflows.set(name, "displayName=ask", outputs={"answer": "yes"})
    client.workflows.resume(name)
    assert client.workflows.wait(name, timeout_s=30).status.phase == "Failed"
    client.workflows.retry(name)
    assert client.workflows.wait(name, timeout_s=30).status.phase == "Failed"
    sleeping = client.workflows.create(manifest("sleep 60")).metadata.name
    client.workflows.stop(sleeping, message="enough")
    assert client.workflows.wait(sleeping, timeout_s=30).status.phase == "Failed"
    ended = client.workflows.create(manifest("sleep 60")).metadata.name
    client.workflows.terminate(ended)
    assert client.workflows.wait(ended, timeout_s=30).status.phase == "Failed"


def test_templates_and_schedules(client: Any) -> None:
    spec = manifest(arguments={"parameters": [{"name": "who", "value": "x"}]})["spec"]
    for group, body in (
        (client.templates, {"metadata": {"name": "greeter"}, "spec": spec}),
        (client.cron_workflows, {"metadata": {"name": "nightly"}, "spec": {"schedules": ["0 0 1 1 *"], "workflowSpec": spec}}),
    ):
        name = body["metadata"]["name"]
        assert group.lint(body).metadata.name == name
        made = group.create(body)
        with pytest.raises(Conflict):
            group.create(body)
        assert [item.metadata.name for item in group.list().items] == [name]
        assert name in [item.metadata.name for item in group.list(namespace="*").items]
        assert group.update(name, made).metadata.name == name
    assert client.cron_workflows.suspend("nightly").spec.suspend is True
    assert not client.cron_workflows.resume("nightly").spec.suspend
    made = client.workflows.submit("workflowtemplate", "greeter", parameters={"who": 5}, labels="a=b")
    assert made.spec.arguments.parameters[0].value == "5"
    assert made.metadata.labels["a"] == "b"
    client.workflows.wait(made.metadata.name, timeout_s=30)
    for group, name in ((client.templates, "greeter"), (client.cron_workflows, "nightly")):
        group.delete(name)
        with pytest.raises(NotFound):
            group.get(name)
    made = client.cluster_templates.create({"metadata": {"name": "everyones"}, "spec": spec})
    assert made.metadata.name == "everyones"
    client.cluster_templates.delete("everyones")


def test_small_objects_and_limits(client: Any) -> None:
    client.config_maps.create({"metadata": {"name": "settings"}, "data": {"a": "1"}})
    assert client.config_maps.apply("settings", {"metadata": {"name": "settings"}, "data": {"a": "2"}}).data == {"a": "2"}
    client.secrets.create({"metadata": {"name": "hidden"}, "stringData": {"key": "very secret"}})
    assert "very secret" not in str(client.secrets.get("hidden"))
    assert [item.metadata.name for item in client.secrets.list().items] == ["hidden"]
    assert client.objects.get("ConfigMap", "settings")["data"] == {"a": "2"}
    assert client.sync.create("gate", 2).limit == 2
    assert client.sync.update("gate", 3).limit == 3
    assert client.sync.get("gate").limit == 3
    client.sync.delete("gate")
    binding = {
        "metadata": {"name": "hears"},
        "spec": {"event": {"selector": "payload.go"}, "submit": {"workflowTemplateRef": {"name": "nothing"}}},
    }
    client.event_bindings.create(binding)
    assert [item.metadata.name for item in client.event_bindings.list().items] == ["hears"]
    assert "hears" in [item.metadata.name for item in client.event_bindings.list_as_argo(namespace="*").items]
    client.events.send({"go": False}, discriminator="any")
    for group, name in ((client.event_bindings, "hears"), (client.config_maps, "settings"), (client.secrets, "hidden")):
        group.delete(name)
    assert client.secrets.rotate_key().resealed >= 0


def test_tokens_audit_and_webhooks(client: Any, url: str) -> None:
    made = client.tokens.create("reader", {"elsewhere": "viewer"}, expires_in_s=60)
    assert client.tokens.get("reader").id == made.id
    assert made.id in {item.id for item in client.tokens.list()}
    with opened("sync", url, token=made.token) as other:
        assert other.whoami().grants == {"elsewhere": "viewer"}
        with pytest.raises(PermissionDenied, match="permission denied"):
            other.workflows.create(manifest(), namespace="elsewhere")
    client.tokens.revoke("reader")
    with opened("sync", url, token=made.token) as other, pytest.raises(Unauthenticated):
        other.whoami()
    assert any(entry.action == "tokens.manage" for entry in client.audit.list(since=time.time() - 60))
    hook = client.webhooks.add("chat", "https://chat.example.org/hook", namespace="elsewhere")
    assert hook.secret
    assert client.webhooks.get("chat").failed == 0
    assert client.webhooks.failures("chat") == ()
    assert client.webhooks.replay("chat") == 0
    client.webhooks.remove("chat")
    assert client.webhooks.list() == ()


def test_data_and_what_the_server_says_of_itself(client: Any, server: Server) -> None:
    assert client.data.primary.get().fill.capacity_bytes > 0
    (server.home.parent / "far").mkdir(exist_ok=True)
    (server.home.parent / "far" / "a.txt").write_text("abc")
    client.data.remotes.add("far", "local", {"root": str(server.home.parent / "far")})
    assert client.data.remotes.get("far").type == "local"
    assert "far" in {item.name for item in client.data.remotes.list()}
    client.data.remotes.test("far")
    assert client.data.stat("far:a.txt").size_bytes == 3
    assert [str(item.ref) for item in client.data.list("far:").items] == ["far:a.txt"]
    assert client.data.primary.stage("far:a.txt").size_bytes == 3
    assert client.data.primary.pin("far:a.txt").objects == 1
    assert [str(one.ref) for one in client.data.pins()] == ["far:a.txt"]
    client.data.primary.unpin("far:a.txt")
    assert client.data.pins() == ()
    assert "far:a.txt" in [str(one.ref) for one in client.data.primary.replicas()]
    assert client.data.quotas() is not None
    assert client.data.primary.check().replicas >= 1
    client.data.primary.evict("far:a.txt")
    assert client.data.uploads.list() == ()
    assert client.data.uploads.retry() == ()
    with pytest.raises(NotFound):
        client.data.uploads.drop("far:nothing")
    with pytest.raises(InvalidRequest):
        client.data.primary.adopt("relative", "far:x/")
    client.data.remotes.remove("far")
    assert client.explain(manifest()).objects == 0
    assert client.outlook().steps >= 0
    assert client.timeline().transfers
    assert client.usage(since=time.time() - 3600).namespace.startswith("lab-")
    chosen = client.workflows.many("stop", BulkWish(everything=True, dry_run=True))
    assert (chosen.dry_run, chosen.done) == (True, 0)
    assert client.version().version
    assert client.whoami().subject == client.userinfo().subject
    assert client.info().nav_color == ""
    assert client.healthy() is None
    assert "jitflow" in client.metrics()
    assert client.openapi()["openapi"].startswith("3.1")
    assert client.data_openapi()["info"]["title"] == "jitflow Data API"


def test_artifacts_come_in_pieces(client: Any) -> None:
    outputs = {"artifacts": [
        {"name": "tree", "path": "/tmp/tree", "archive": {"none": {}}},
        {"name": "one", "path": "/tmp/one", "archive": {"none": {}}},
    ]}  # fmt: skip
    command = "mkdir -p /tmp/tree/b; echo a > /tmp/tree/a; echo c > /tmp/tree/b/c; echo one > /tmp/one"
    container = {"image": "busybox", "command": ["sh", "-c", command]}
    made = client.workflows.create(manifest(templates=[{"name": "main", "container": container, "outputs": outputs}]))
    done = client.workflows.wait(made.metadata.name, timeout_s=30)
    assert done.status.phase == "Succeeded", done.status.message
    (node,) = done.status.nodes
    assert b"".join(client.artifacts.read(made.metadata.name, node, "one")) == b"one\n"
    assert b"".join(client.artifacts.read("", node, "one", uid=done.metadata.uid)) == b"one\n"
    files: dict[tuple[str, ...], bytes] = {}
    for piece in client.artifacts.walk(made.metadata.name, node, "tree"):
        files[piece.path] = b"" if piece.first else files[piece.path] + piece.data
    assert files == {("a",): b"a\n", ("b", "c"): b"c\n"}
    below = client.artifacts.walk(made.metadata.name, node, "tree", below="b")
    assert [piece.data for piece in below if not piece.first] == [b"c\n"]
    with pytest.raises(ServerFault, match="artifact not found"):  # as Argo answers it
        list(client.artifacts.read(made.metadata.name, node, "nothing"))


def test_watches_tell_of_changes_and_end_with_their_time(client: Any) -> None:
    version = client.workflows.list(limit=1).version
    made = client.workflows.create(manifest("true"))
    events = client.workflows.watch(after=version, timeout_s=30)
    final = next(event for event in events if event.head.metadata.name == made.metadata.name and event.is_final)
    events.close()
    assert final.workflow.status.phase == "Succeeded"
    deltas = client.workflows.deltas(after=version, timeout_s=30)
    assert next(delta for delta in deltas if delta.workflow["status"]["phase"] == "Succeeded").nodes
    deltas.close()
    reasons = client.events.watch(after=version, timeout_s=30)
    assert next(event for event in reasons if event.reason == "WorkflowSucceeded").involved_object["kind"] == "Workflow"
    reasons.close()
    before = time.monotonic()
    assert list(client.workflows.watch(after=client.workflows.list(limit=1).version, timeout_s=1)) == []
    assert 0.5 < time.monotonic() - before < 10


def test_many_are_waited_for_at_once(url: str, token: str) -> None:
    async def scenario() -> list[str]:
        async with AsyncClient(url, token=token) as client:
            made = [await client.workflows.create(manifest("true")) for _ in range(5)]
            names = [item.metadata.name or "" for item in made if item.metadata]
            done = await asyncio.gather(*(client.workflows.wait(name, timeout_s=60) for name in names))
            return [item.status.phase or "" for item in done if item.status]

    assert asyncio.run(scenario()) == ["Succeeded"] * 5


def test_bad_input_is_the_callers(client: Any) -> None:
    with pytest.raises(InvalidRequest):
        client.workflows.create({"metadata": {"generateName": "x-"}, "spec": {"entrypoint": "nothing"}})
    with pytest.raises(NotFound) as caught:
        client.workflows.get("nobody")
    assert caught.value.where.startswith("GET /api/v1/workflows/lab-")
    assert not isinstance(caught.value, ServerFault)
