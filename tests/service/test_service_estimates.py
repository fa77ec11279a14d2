"""What is expected of a workflow, from an earlier one of the same template, on a real server."""

from pathlib import Path
from typing import Any

from benchmark.service import Server, checked
from tests.service.service_kit import WORKFLOWS, ended

TEMPLATE = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "nap"},
    "spec": {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "code", "value": "0"}]},
        "templates": [
            {"name": "main", "steps": [[{"name": "a", "template": "nap"}]]},
            {
                "name": "nap",
                "container": {"image": "i", "command": ["sh", "-c", "sleep 1.2; exit {{workflow.parameters.code}}"]},
            },
        ],
    },
}


def run(server: Server, code: int = 0) -> dict[str, Any]:
    body = {"resourceKind": "WorkflowTemplate", "resourceName": "nap", "submitOptions": {"parameters": [f"code={code}"]}}
    name = checked(server.call("POST", f"{WORKFLOWS}/submit", body))["metadata"]["name"]
    return ended(server, name)["status"]


def test_a_workflow_is_expected_to_take_as_long_as_the_last_that_succeeded(tmp_path: Path) -> None:
    with Server(tmp_path / "home", {"executor": "process"}) as server:
        checked(server.call("POST", "/api/v1/workflow-templates/default", {"template": TEMPLATE}))
        assert "estimatedDuration" not in run(server, code=1)
        assert "estimatedDuration" not in run(server)
        after = run(server, code=1)
        assert after["estimatedDuration"] >= 1
        expected = {node["displayName"]: node["estimatedDuration"] for node in after["nodes"].values()}
        assert expected.keys() >= {"[0]", "a"}
        assert all(seconds >= 1 for seconds in expected.values())
