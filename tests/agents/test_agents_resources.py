"""resource templates on a real server: kubectl's verbs over jitflow's own objects."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, submit, until

from jitflow.agents._kubectl import Fields, read_flags
from jitflow.agents._patches import json_patch
from jitflow.app.selectors import label_selector
from jitflow.model.problems import Refused

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {cleanup: 'true'}}\ndata: {key: value}\n"
CHILD = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: child-}
spec:
  entrypoint: main
  templates: [{name: main, suspend: {duration: "%s"}}]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("home") / "home", {"max_pods": 2}) as server:
        yield server


def steps(*resources: dict[str, Any], **outputs: str) -> str:
    """Return a workflow that runs resource templates one after the other."""
    values = [{"name": name, "valueFrom": {"jsonPath": path}} for name, path in outputs.items() if path[0] == "{"]
    values += [{"name": name, "valueFrom": {"jqFilter": path}} for name, path in outputs.items() if path[0] != "{"]
    templates: list[dict[str, Any]] = [{"name": f"r{i}", "resource": resource} for i, resource in enumerate(resources)]
    if values:
        templates[0]["outputs"] = {"parameters": values}
    main = {"name": "main", "steps": [[{"name": f"s{i}", "template": f"r{i}"}] for i in range(len(resources))]}
    spec = {"entrypoint": "main", "templates": [main, *templates]}
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "res-"}}
    return json.dumps({**head, "spec": spec})


def result(server: Server, text: str) -> dict[str, Any]:
    return ended(server, submit(server, text))


def node(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in workflow["status"]["nodes"].values() if one["displayName"] == name)


def test_config_maps_are_created_read_patched_and_deleted(server: Server) -> None:
    """SEMANTICS resource: kubectl verbs; outputs by jsonPath / jqFilter."""
    create = {"action": "create", "manifest": CONFIG % "one"}
    made = result(server, steps(create, name="{.metadata.name}", value=".data.key", label="{.metadata.labels.cleanup}"))
    assert made["status"]["phase"] == "Succeeded", made["status"]
    found = {one["name"]: one["value"] for one in node(made, "s0")["outputs"]["parameters"]}
    assert found == {"name": "one", "value": "value", "label": "true"}
    again = result(server, steps(create))
    assert node(again, "s0")["phase"] == "Failed"
    assert "already exists" in node(again, "s0")["message"]
    patched = result(
        server,
        steps(
            {"action": "patch", "mergeStrategy": "merge", "flags": ["configmap/one"], "manifest": "data: {more: '2'}"},
            {"action": "patch", "mergeStrategy": "json", "flags": ["cm", "one"],
             "manifest": "[{op: replace, path: /data/key, value: new}]"},
            {"action": "get", "flags": ["configmaps", "one"], "successCondition": "data.key == new,data.more in (1, 2)"},
            {"action": "delete", "flags": ["configmap", "--selector", "cleanup=true"]},
            {"action": "delete", "flags": ["configmap", "one", "--ignore-not-found"]},
        ),
    )  # fmt: skip
    assert patched["status"]["phase"] == "Succeeded", patched["status"]
    gone = result(server, steps({"action": "get", "flags": ["configmap", "one"]}))
    assert node(gone, "s0")["type"] == "Pod"
    assert "not found" in node(gone, "s0")["message"]


def test_a_workflow_is_created_and_waited_for(server: Server) -> None:
    """SEMANTICS resource: success/failureCondition = label-selector syntax over gjson paths (failure first)."""
    create = {"action": "create", "manifest": CHILD % "1s", "successCondition": "status.phase == Succeeded"}
    good = result(server, steps(create, name="{.metadata.name}"))
    assert good["status"]["phase"] == "Succeeded", good["status"]
    name = node(good, "s0")["outputs"]["parameters"][0]["value"]
    assert name.startswith("child-")
    wait = {"action": "get", "manifest": f"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}}}\n"}
    both = {"failureCondition": "status.phase in (Succeeded)", "successCondition": "status.phase == Succeeded"}
    bad = result(server, steps({**wait, **both}))
    assert node(bad, "s0")["phase"] == "Failed"
    assert "failure condition 'status.phase in (Succeeded)' evaluated true" in node(bad, "s0")["message"]


def test_a_workflow_that_cannot_run_is_kept_as_kubectl_would_keep_it(server: Server) -> None:
    """What only Argo's own server refuses ends in Error, when its controller looks at it."""
    missing = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: hollow}\n"
    missing += "spec: {workflowTemplateRef: {name: malformed, clusterScope: true}}\n"
    create = {"action": "create", "manifest": missing, "successCondition": "status.phase == Error"}
    assert result(server, steps(create))["status"]["phase"] == "Succeeded"
    kept = server.get(f"{WORKFLOWS}/hollow")
    assert kept["status"]["phase"] == "Error"
    assert '"malformed" not found' in kept["status"]["message"]
    wrong = {"action": "create", "manifest": CHILD % "x y", "successCondition": "status.phase == Failed"}
    assert result(server, steps(wrong))["status"]["phase"] == "Succeeded"


def test_a_workflow_labels_itself(server: Server) -> None:
    patch = {"action": "patch", "mergeStrategy": "json", "flags": ["workflow", "{{workflow.name}}"],
             "manifest": "- {op: add, path: /metadata/labels/foo, value: bar}\n"}  # fmt: skip
    more = {**patch, "manifest": "- {op: add, path: /spec/entrypoint, value: other}\n"}
    found = result(server, steps(patch))
    assert found["status"]["phase"] == "Succeeded", found["status"]
    assert found["metadata"]["labels"]["foo"] == "bar"
    refused = result(server, steps(more))
    assert "only metadata.labels" in node(refused, "s0")["message"]


def test_what_a_workflow_owns_goes_with_it(server: Server) -> None:
    made = result(server, steps({"action": "create", "setOwnerReference": True, "manifest": CONFIG % "owned"}))
    assert made["status"]["phase"] == "Succeeded", made["status"]
    get = steps({"action": "get", "flags": ["cm", "owned"]})
    assert result(server, get)["status"]["phase"] == "Succeeded"
    answer = server.call("DELETE", f"{WORKFLOWS}/{made['metadata']['name']}")
    assert answer.status_code == 200
    for _ in range(20):
        if result(server, get)["status"]["phase"] == "Failed":
            return
    raise AssertionError("the object is still there")


def test_a_restart_creates_nothing_twice_and_goes_on_waiting(server: Server) -> None:
    create = {"action": "create", "manifest": CHILD % "4s", "successCondition": "status.phase == Succeeded"}
    name = submit(server, steps(create, name="{.metadata.name}"))
    until(server, name, lambda found: any(one.get("phase") == "Running" and one["displayName"] == "s0"
                                          for one in found["status"].get("nodes", {}).values()))  # fmt: skip
    server.kill()
    server.start()
    found = ended(server, name)
    assert found["status"]["phase"] == "Succeeded", found["status"]


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ({"action": "create", "manifest": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"}, "there is no Kubernetes here"),
        ({"action": "delete", "flags": ["cm", "a", "-n", "other"]}, "namespace 'other'"),
        ({"action": "get", "flags": ["cm", "a", "--raw"]}, "the flag '--raw' is not known"),
        ({"action": "delete", "flags": ["cm"]}, "needs names"),
        ({"action": "create", "manifest": "{{=sprig.trim(' [')}}"}, "cannot be read"),
        ({"action": "create", "manifest": CHILD.replace("suspend", "suspended") % "1"}, "exit code 64"),
    ],
)
def test_what_cannot_be_done_is_said(server: Server, resource: dict[str, Any], message: str) -> None:
    found = result(server, steps(resource))
    assert message in node(found, "s0")["message"]


@pytest.mark.pure
def test_flags_and_conditions_are_read_as_kubectl_reads_them() -> None:
    target = read_flags(["workflows.argoproj.io", "a", "b", "-l", "x=1", "--namespace=n", "--ignore-not-found", "--wait=false"])
    assert (target.kind, target.names, target.selector, target.namespace) == ("Workflow", ("a", "b"), "x=1", "n")
    assert target.ignore_not_found
    document = {"status": {"phase": "Failed", "count": 3, "ready": True, "list": [{"a": 1}]}}
    for text, holds in [("status.phase in (Failed, Error)", True), ("status.count > 2", True), ("status.ready == true", True),
                        ("status.list.0.a == 1", True), ("status.other", False), ("!status.other", True)]:  # fmt: skip
        assert label_selector(text)(Fields(document)) is holds, text


@pytest.mark.pure
def test_json_patches_are_those_of_the_standard() -> None:
    document = {"a": {"b/c": [1, 2]}, "d": 1}
    patch = [{"op": "test", "path": "/d", "value": 1}, {"op": "add", "path": "/a/b~1c/-", "value": 3},
             {"op": "add", "path": "/a/b~1c/0", "value": 0}, {"op": "move", "from": "/d", "path": "/e"},
             {"op": "copy", "from": "/e", "path": "/f"}, {"op": "remove", "path": "/a/b~1c/1"},
             {"op": "replace", "path": "/f", "value": 9}]  # fmt: skip
    assert json_patch(document, patch) == {"a": {"b/c": [0, 2, 3]}, "e": 1, "f": 9}
    assert document == {"a": {"b/c": [1, 2]}, "d": 1}
    test, gone = {"op": "test", "path": "/d", "value": 2}, {"op": "remove", "path": "/x"}
    for wrong in ([test], [gone], {"op": "add"}, [{"op": "x", "path": ""}]):
        with pytest.raises(Refused):
            json_patch(document, wrong)
