"""Workflows that belong to another object go with it, also when the server died in between."""

import time
from collections.abc import Iterator

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, submit, until

OWNER = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: owner-}
spec:
  entrypoint: main
  templates:
  - name: main
    resource:
      action: create
      setOwnerReference: true
      manifest: |
        apiVersion: argoproj.io/v1alpha1
        kind: Workflow
        metadata: {generateName: child-}
        spec:
          entrypoint: main
          templates: [{name: main, suspend: {}}]
"""
CRON = """apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: nightly}
spec:
  schedules: ["0 0 1 1 *"]
  workflowSpec:
    entrypoint: main
    templates: [{name: main, suspend: {}}]
"""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("home") / "home", {"max_pods": 2, "archive": False}) as server:
        yield server


def names(server: Server) -> list[str]:
    return [str(one["metadata"]["name"]) for one in server.get(WORKFLOWS)["items"] or []]


def gone(server: Server, name: str) -> None:
    limit = time.monotonic() + 20
    while name in names(server):
        assert time.monotonic() < limit, f"{name} is still there"
        time.sleep(0.05)


def child_of(server: Server) -> tuple[str, str]:
    owner = submit(server, OWNER)
    until(server, owner, lambda found: found["status"].get("phase") == "Succeeded")
    (child,) = [name for name in names(server) if name.startswith("child-")]
    return owner, child


def test_a_child_that_runs_is_deleted_with_its_owner_over_a_restart(server: Server) -> None:
    owner, child = child_of(server)
    found = server.get(f"{WORKFLOWS}/{child}")
    assert found["metadata"]["ownerReferences"][0]["name"] == owner
    server.kill()
    server.start()
    assert server.call("DELETE", f"{WORKFLOWS}/{owner}").status_code == 200
    gone(server, child)


def test_a_child_whose_owner_went_while_nobody_looked_is_deleted_at_the_next_start(server: Server) -> None:
    owner, child = child_of(server)
    answer = server.call("DELETE", f"{WORKFLOWS}/{owner}")
    server.kill()
    assert answer.status_code == 200
    server.start()
    gone(server, child)


def test_the_workflows_of_a_schedule_go_with_it(server: Server) -> None:
    assert server.post_text("/api/v1/cron-workflows/default", CRON).status_code == 200
    body = {"resourceKind": "CronWorkflow", "resourceName": "nightly"}
    made = server.call("POST", f"{WORKFLOWS}/submit", body)
    assert made.status_code == 200, made.text
    name = made.json()["metadata"]["name"]
    alone = submit(server, OWNER.replace("owner-", "alone-"))
    assert server.call("DELETE", "/api/v1/cron-workflows/default/nightly").status_code == 200
    gone(server, name)
    assert alone in names(server)


def test_an_owner_that_is_not_there_counts_for_nothing(server: Server) -> None:
    """As who takes a manifest of another cluster along expects: it is not collected."""
    owner = "[{apiVersion: apps/v1, kind: Deployment, name: d, uid: u}]"
    name = submit(server, OWNER.replace("generateName: owner-", f"generateName: kept-, ownerReferences: {owner}"))
    until(server, name, lambda found: found["status"].get("phase") == "Succeeded")
    server.kill()
    server.start()
    time.sleep(0.5)
    assert name in names(server)
