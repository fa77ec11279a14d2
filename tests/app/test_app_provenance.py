"""The manifest that a crate holds: it runs again, and tells no secrets."""

import msgspec
import pytest
import yaml

from jitflow import spec
from jitflow.app.provenance import manifest_of
from jitflow.model import argo

pytestmark = pytest.mark.pure

MANIFEST = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "metadata": {
        "name": "a-x1",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"mine": "1", "workflows.argoproj.io/phase": "Failed"},
    },
    "spec": {
        "entrypoint": "main",
        "shutdown": "Stop",
        "arguments": {"parameters": [{"name": "p", "value": "2"}]},
        "templates": [
            {
                "name": "main",
                "inputs": {
                    "artifacts": [
                        {
                            "name": "page",
                            "path": "/in",
                            "http": {
                                "url": "https://me:word1@host.example/a?key=word2",
                                "headers": [{"name": "X-Key", "value": "word3"}],
                            },
                        },
                    ]
                },
                "container": {"image": "busybox", "command": ["true"]},
            }
        ],
    },
}


def test_a_manifest_runs_again_under_another_name() -> None:
    again = yaml.safe_load(manifest_of(msgspec.convert(MANIFEST, argo.Workflow, strict=False)))
    assert again["metadata"] == {"generateName": "a-x1-", "labels": {"mine": "1"}}
    assert "status" not in again
    assert "shutdown" not in again["spec"]
    assert again["spec"]["arguments"] == MANIFEST["spec"]["arguments"]  # type: ignore[index]
    spec.validate_together(spec.load(yaml.safe_dump(again), "again"))


def test_what_may_be_secret_in_a_manifest_is_not_told() -> None:
    text = manifest_of(msgspec.convert(MANIFEST, argo.Workflow, strict=False))
    assert not [word for word in ("word1", "word2", "word3") if word in text]
    assert "https://***@host.example/a?***" in text


def test_the_template_that_it_ran_by_takes_the_place_of_the_reference_to_it() -> None:
    workflow = msgspec.convert(
        {
            "metadata": {"name": "a"},
            "spec": {"workflowTemplateRef": {"name": "t"}, "arguments": {"parameters": [{"name": "p", "value": "2"}]}},
            "status": {"storedWorkflowTemplateSpec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]}},
        },
        argo.Workflow,
        strict=False,
    )
    again = yaml.safe_load(manifest_of(workflow))
    assert "workflowTemplateRef" not in again["spec"]
    assert again["spec"]["entrypoint"] == "main"
    assert again["spec"]["arguments"]["parameters"] == [{"name": "p", "value": "2"}]
