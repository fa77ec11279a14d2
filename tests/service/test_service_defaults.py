"""What the settings say for all workflows: defaults, and how many finished ones are kept."""

import time
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, submit

from jitflow.app.present import ARCHIVING_LABEL
from jitflow.bootstrap.defaults import workflow_defaults
from jitflow.settings import SettingsError

ONE = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: one-}
spec: {entrypoint: main, templates: [{name: main, suspend: {duration: "0"}}]}
"""


def test_defaults_hold_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    defaults = {"metadata": {"labels": {"of": "all"}}, "spec": {"ttlStrategy": {"secondsAfterCompletion": 3600}}}
    settings: dict[str, Any] = {"retention": {"completed": 2}, "workflow_defaults": defaults}
    with Server(tmp_path / "home", settings) as server:
        names = [ended(server, submit(server, ONE))["metadata"]["name"] for _ in range(4)]
        limit = time.monotonic() + 20
        while len(items := live(server.get(WORKFLOWS)["items"])) > 2:
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert {one["metadata"]["name"] for one in items} == set(names[2:])
        found = server.get(f"{WORKFLOWS}/{names[3]}")
        assert found["metadata"]["labels"]["of"] == "all"
        assert found["spec"]["ttlStrategy"] == {"secondsAfterCompletion": 3600}


def live(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that the archive does not hold alone."""
    return [one for one in items if one["metadata"]["labels"].get(ARCHIVING_LABEL) != "Persisted"]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"specs": {}}, ["'specs'", "`metadata` and `spec`"]),
        ({"spec": {"entrypiont": "x"}}, ["entrypiont"]),
        ({"spec": {"arguments": {"parameters": [{"nam": "x"}]}}}, ["nam"]),
        ("/no/such/file.yaml", ["/no/such/file.yaml", "cannot read"]),
    ],
)
def test_defaults_that_cannot_be_used_are_refused_at_the_start(given: str | dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        workflow_defaults(given)
    for word in ["workflow_defaults", *words]:
        assert word in str(caught.value)


@pytest.mark.pure
def test_defaults_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "defaults.yaml"
    path.write_text("spec:\n  parallelism: 3\n")
    found = workflow_defaults(str(path))
    assert found is not None
    assert found.spec.parallelism == 3
    path.write_text("- spec\n")
    with pytest.raises(SettingsError, match="must hold a mapping"):
        workflow_defaults(str(path))
