"""The semantics of the archive, end to end.

1. What has ended is archived, and stays when its object is deleted: by a request, by `ttlStrategy`, by retention. It is there
   after a restart, with its nodes, outputs and artifacts; the logs of its pods go with the object, archived ones are artifacts.
2. A list of workflows is live ∪ archive, newest first; a workflow that only the archive knows is found by its name, but not
   deleted, watched or controlled. Its label `workflows.argoproj.io/workflow-archiving-status` is Persisted; Archived while it is
   there.
3. `archived-workflows/{uid}/retry` recreates with the same uid, and goes on from what failed; 409 if it still exists.
4. `archived-workflows/{uid}/resubmit` is a new workflow, memoized or not, as a resubmission by name is.
5. `artifact-files/{ns}/archived-workflows/{uid}/{node}/{inputs|outputs}/{name}` and `artifacts-by-uid/{uid}/{node}/{name}` give
   artifacts.
6. DELETE takes out of the archive; what is not archived any more and has no object is gone altogether.
7. The database keeps them for its time to live, counted from their end.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, submit

ARCHIVE = "/api/v1/archived-workflows"
STATUS = "workflows.argoproj.io/workflow-archiving-status"
MADE = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: made-, labels: {team: ocean}}
spec:
  entrypoint: main
  archiveLogs: true
  templates:
  - name: main
    steps:
    - - {name: write, template: write}
    - - {name: check, template: check, arguments: {artifacts: [{name: in, from: "{{steps.write.outputs.artifacts.out}}"}]}}
  - name: write
    container: {image: busybox, command: [sh, -c], args: ["echo written; date +%N > /tmp/out"]}
    outputs: {artifacts: [{name: out, path: /tmp/out, archive: {none: {}}}]}
  - name: check
    inputs: {artifacts: [{name: in, path: /tmp/in}]}
    container: {image: busybox, command: [sh, -c], args: ["cat /tmp/in; test -e /tmp/nothing"]}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("archive") / "home"
    with Server(home, {"max_pods": 2, "grace_s": 1.0, "retention": {"errored": 1}}) as server:
        yield server


@pytest.fixture(scope="module")
def failed(server: Server) -> dict[str, Any]:
    """Return a workflow of two steps, of which the second failed; it was deleted, and the server started again."""
    workflow = ended(server, submit(server, MADE))
    assert workflow["status"]["phase"] == "Failed", workflow["status"]
    assert workflow["metadata"]["labels"][STATUS] == "Archived"
    assert server.call("DELETE", f"{WORKFLOWS}/{workflow['metadata']['name']}").json() == {}
    server.kill()
    server.start()
    return workflow


def listed(server: Server, path: str = WORKFLOWS, **query: str) -> dict[str, str]:
    items = server.call("GET", path, **query).json()["items"] or []
    return {one["metadata"]["name"]: one["metadata"]["labels"].get(STATUS, "") for one in items}


def node(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in workflow["status"]["nodes"].values() if one["displayName"] == name)


def alone(name: str, template: str, spec: str = "") -> str:
    """Return a workflow of one template."""
    head = f"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}}}\n"
    return head + f"spec: {{entrypoint: a, templates: [{{name: a, {template}}}], {spec}}}"


def test_archive_1_survives_deletion_and_restart(server: Server, failed: dict[str, Any]) -> None:
    """Archive 1: the whole status is there after deletion and a restart."""
    uid = failed["metadata"]["uid"]
    found = server.get(f"{ARCHIVE}/{uid}")
    assert found["status"] == failed["status"]
    assert found["spec"] == failed["spec"]
    assert found["metadata"]["labels"] == {**failed["metadata"]["labels"], STATUS: "Persisted"}


def test_archive_1_logs(server: Server, failed: dict[str, Any]) -> None:
    """Archive 1: a log that was archived as an artifact can still be read."""
    name = failed["metadata"]["name"]
    lines = server.call("GET", f"{WORKFLOWS}/{name}/log", **{"logOptions.container": "main"}).text
    assert '"content":"written"' in lines


def test_archive_1_time_to_live_and_retention(server: Server) -> None:
    """Archive 1: what `ttlStrategy` and retention delete stays in the archive."""
    server.post_text(WORKFLOWS, alone("short", "suspend: {duration: 0s}", "ttlStrategy: {secondsAfterCompletion: 0}"))
    for name in ("first", "second"):
        erring = "{image: busybox, command: ['true']}, outputs: {parameters: [{name: p, valueFrom: {path: /none}}]}"
        server.post_text(WORKFLOWS, alone(name, f"container: {erring}"))
        assert ended(server, name)["status"]["phase"] == "Error"
    limit = time.monotonic() + 20
    while {"short", "first"} - {name for name, status in listed(server).items() if status == "Persisted"}:
        assert time.monotonic() < limit, listed(server)
        time.sleep(0.1)
    assert listed(server)["second"] == "Archived"


def test_archive_2_list_is_live_and_archive(server: Server, failed: dict[str, Any]) -> None:
    """Archive 2: lists tell of both, the newest first; `fields` and selectors hold for both."""
    name = failed["metadata"]["name"]
    later = ended(server, submit(server, MADE.replace("nothing", "in")))["metadata"]["name"]
    found = listed(server, **{"listOptions.labelSelector": "team=ocean"})
    assert found == {later: "Archived", name: "Persisted"}
    assert list(found) == [later, name]
    assert list(listed(server, ARCHIVE, **{"listOptions.labelSelector": "team=ocean"})) == [later, name]
    page = server.call("GET", WORKFLOWS, **{"listOptions.labelSelector": "team=ocean", "listOptions.limit": "1"}).json()
    assert page["metadata"]["continue"] == "1"


def test_archive_2_by_name(server: Server, failed: dict[str, Any]) -> None:
    """Archive 2: it is found by its name, and neither deleted nor controlled by it."""
    path = f"{WORKFLOWS}/{failed['metadata']['name']}"
    assert server.get(path)["metadata"]["uid"] == failed["metadata"]["uid"]
    assert server.call("DELETE", path).status_code == 404
    assert server.call("PUT", f"{path}/retry", {}).status_code == 404


def test_archive_4_resubmission(server: Server, failed: dict[str, Any]) -> None:
    """Archive 4: a resubmission is a new workflow; a memoized one keeps what succeeded."""
    uid = failed["metadata"]["uid"]
    plain = server.call("PUT", f"{ARCHIVE}/{uid}/resubmit", {}).json()
    assert plain["metadata"]["uid"] != uid
    assert plain["metadata"]["labels"]["workflows.argoproj.io/resubmitted-from-workflow"] == failed["metadata"]["name"]
    memoized = server.call("PUT", f"{ARCHIVE}/{uid}/resubmit", {"memoized": True}).json()
    again = ended(server, memoized["metadata"]["name"])
    assert node(again, "write")["message"] == f"original pod: {node(failed, 'write')['id']}"
    assert ended(server, plain["metadata"]["name"])["status"]["phase"] == "Failed"


def test_archive_5_artifacts(server: Server, failed: dict[str, Any]) -> None:
    """Archive 5: artifacts are found by uid, in both forms of the path."""
    uid, write, check = failed["metadata"]["uid"], node(failed, "write")["id"], node(failed, "check")["id"]
    files = f"/artifact-files/default/archived-workflows/{uid}"
    made = server.call("GET", f"/artifacts-by-uid/{uid}/{write}/out")
    assert made.status_code == 200
    assert server.call("GET", f"{files}/{write}/outputs/out").content == made.content
    assert server.call("GET", f"{files}/{check}/inputs/in").content == made.content
    assert server.call("GET", f"/input-artifacts-by-uid/{uid}/{check}/in").content == made.content
    assert server.call("GET", f"{files}/{write}/outputs/main-logs").text == "written\n"


def test_archive_3_retry(server: Server, failed: dict[str, Any]) -> None:
    """Archive 3: a retry recreates with the same uid, keeps what succeeded, and is refused while it is there."""
    uid, name = failed["metadata"]["uid"], failed["metadata"]["name"]
    answer = server.call("PUT", f"{ARCHIVE}/{uid}/retry", {})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["metadata"]["uid"], answer.json()["metadata"]["name"]) == (uid, name)
    again = ended(server, name)
    assert again["metadata"]["labels"][STATUS] == "Archived"
    assert node(again, "write") == node(failed, "write")
    assert node(again, "check")["startedAt"] > node(failed, "check")["startedAt"]
    refused = server.call("PUT", f"{ARCHIVE}/{uid}/retry", {})
    assert (refused.status_code, refused.json()["code"]) == (409, 6)


def test_archive_6_deletion(server: Server, failed: dict[str, Any]) -> None:
    """Archive 6: what is in the archive alone is gone when it is deleted there, over a restart."""
    uid, name = failed["metadata"]["uid"], failed["metadata"]["name"]
    if listed(server)[name] == "Archived":
        assert server.call("DELETE", f"{WORKFLOWS}/{name}").status_code == 200
    assert server.call("DELETE", f"{ARCHIVE}/{uid}").json() == {}
    server.kill()
    server.start()
    assert server.call("GET", f"{ARCHIVE}/{uid}").status_code == 404
    assert server.call("GET", f"{WORKFLOWS}/{name}").status_code == 404
    assert name not in listed(server)


def test_archive_7_time_to_live_of_the_archive(server: Server) -> None:
    """Archive 7: what has ended longer ago than `archive_ttl` is looked for when the server starts, and goes."""
    past = [name for name, status in listed(server).items() if status == "Persisted"]
    assert "short" in past
    time.sleep(1.1)
    server.stop()
    text = server.config.read_text()
    server.config.write_text('archive_ttl = "1s"\n' + text)
    server.start()
    limit = time.monotonic() + 20
    while any(status == "Persisted" for status in listed(server).values()):
        assert time.monotonic() < limit, listed(server)
        time.sleep(0.1)
    assert "second" in listed(server), "its object is there"
    assert listed(server, ARCHIVE) == {}
