"""Artifact garbage collection over a real far store: at the end, at deletion, over a kill, and when the store refuses."""

import time
from collections.abc import Callable
from pathlib import Path

from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

MADE = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: made-}
spec:
  entrypoint: main
  artifactGC: {strategy: OnWorkflowDeletion}
  templates:
  - name: main
    container:
      image: busybox
      command: [sh, -c]
      args: ["mkdir /d; for i in 1 2 3; do echo $i > /d/$i; done; echo x > /x"]
    outputs:
      artifacts:
      - {name: early, path: /x, s3: {key: early}, archive: {none: {}}, artifactGC: {strategy: OnWorkflowCompletion}}
      - {name: late, path: /d, s3: {key: late}, archive: {none: {}}}
      - {name: kept, path: /x, s3: {key: kept}, artifactGC: {strategy: Never}}
"""


def far_files(root: Path) -> set[str]:
    return {path.relative_to(root / "bucket").as_posix() for path in (root / "bucket").rglob("*") if path.is_file()}


def eventually(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    limit = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.1)


def in_primary(server: Server) -> set[str]:
    return {replica["ref"]["path"] for replica in server.get("/data/v1/primary")["replicas"]}


def test_artifacts_go_when_they_are_to_and_so_do_their_replicas(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as s3:
        settings = settings_for(s3, artifact_repository={"remote": "far", "prefix": "bucket"})
        with Server(tmp_path / "home", settings) as server:
            name = submit(server, MADE)
            ended(server, name)
            workflow = until(server, name, lambda it: "podsRecouped" in (it["status"].get("artifactGCStatus") or {}))
            artifacts = {one["name"]: one for one in workflow["status"]["nodes"][name]["outputs"]["artifacts"]}
            assert artifacts["early"]["deleted"] is True
            assert "deleted" not in artifacts["late"]
            assert workflow["metadata"]["finalizers"] == ["workflows.argoproj.io/artifact-gc"]
            assert far_files(root) == {"late/1", "late/2", "late/3", "kept"}
            eventually(lambda: in_primary(server) == {"bucket/late/", "bucket/kept"})
            assert server.call("GET", f"/artifacts/default/{name}/{name}/early").status_code == 404
            assert server.call("DELETE", f"{WORKFLOWS}/{name}").json() == {}
            assert server.call("GET", f"{WORKFLOWS}/{name}").status_code == 404
            assert far_files(root) == {"kept"}
            eventually(lambda: in_primary(server) == {"bucket/kept"})


def test_a_far_store_that_is_away_holds_the_workflow_back_over_a_kill_unless_forced(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as s3, LinkThread(s3.port) as link:
        settings = settings_for(s3, endpoint=link.url, artifact_repository={"remote": "far", "prefix": "bucket"})
        with Server(tmp_path / "home", settings) as server:
            first, second = submit(server, MADE), submit(server, MADE.replace("key: ", "key: other/"))
            for name in (first, second):
                ended(server, name)
                until(server, name, lambda it: "podsRecouped" in (it["status"].get("artifactGCStatus") or {}))
            link.call(lambda it: it.cut(refuse=True))
            assert server.call("DELETE", f"{WORKFLOWS}/{second}?force=true").status_code == 200
            server.call("DELETE", f"{WORKFLOWS}/{first}")
            assert server.get(f"{WORKFLOWS}/{first}")["metadata"]["deletionTimestamp"]
            server.kill()
            link.call(lambda it: it.resume())
            server.start()
            eventually(lambda: server.call("GET", f"{WORKFLOWS}/{first}").status_code == 404, within_s=40)
            assert far_files(root) == {"kept", "other/kept", "other/late/1", "other/late/2", "other/late/3"}
