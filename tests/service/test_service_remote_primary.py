"""A near store that is a remote: far S3 -> near S3 -> pods, and back, through a whole server that is killed on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import ended, files_below, settings_for, submit

from jitflow.testing.s3_server import S3Server

MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: near-}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: one, template: join}
      - {name: two, template: count, depends: one}
  - name: join
    inputs:
      artifacts:
      - {name: a, path: /in/a, plugin: {name: rclone, key: "far:bucket/a"}}
      - {name: d, path: /in/d, plugin: {name: rclone, key: "far:bucket/d/"}}
    outputs:
      artifacts:
      - {name: o, path: /tmp/o, archive: {none: {}}, plugin: {name: rclone, key: "far:bucket/out/joined"}}
    container:
      image: busybox
      command: [sh, -c]
      args: ["cat /in/a /in/d/x /in/d/e/y > /tmp/o"]
  - name: count
    inputs:
      artifacts:
      - {name: o, path: /in/o, archive: {none: {}}, plugin: {name: rclone, key: "far:bucket/out/joined"}}
    container:
      image: busybox
      command: [sh, -c]
      args: ["test $(wc -c < /in/o) = 300003"]
"""


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[S3Server, S3Server]]:
    for name in ("far", "near"):
        (tmp_path / name / "bucket").mkdir(parents=True)
    below = tmp_path / "far" / "bucket"
    (below / "d" / "e").mkdir(parents=True)
    (below / "a").write_bytes(b"a" * 300_000)
    (below / "d" / "x").write_bytes(b"x\n")
    (below / "d" / "e" / "y").write_bytes(b"y")
    with S3Server(tmp_path / "far") as far, S3Server(tmp_path / "near") as near:
        yield far, near


def settings(stores: tuple[S3Server, S3Server]) -> dict[str, Any]:
    far, near = stores
    tree = settings_for(far)
    tree["remotes"]["near"] = {"type": "s3", "options": near.options()}
    tree["primary"] |= {"remote": "near", "prefix": "bucket/primary", "scratch": "1MiB", "capacity": "8MiB"}
    return tree


def test_workflows_run_over_a_near_remote(stores: tuple[S3Server, S3Server], tmp_path: Path) -> None:
    far, near = stores
    home = tmp_path / "home"
    with Server(home, settings(stores)) as server:
        assert ended(server, submit(server, MANIFEST))["status"]["phase"] == "Succeeded"
        assert (far.root / "bucket" / "out" / "joined").read_bytes() == b"a" * 300_000 + b"x\ny"
        sizes = sorted(path.stat().st_size for path in files_below(near.root / "bucket" / "primary" / "objects"))
        assert sizes == [1, 2, 300_000, 300_003]
        assert not (home / "primary").exists()
        wipe = {"kind": "delete", "source": "near:bucket/"}
        refused = server.call("POST", "/data/v1/jobs", wipe)
        assert (refused.status_code, "near:bucket/ holds the near store" in refused.text) == (400, True), refused.text
        assert server.call("POST", "/data/v1/jobs", wipe | {"source": "near:other/"}).status_code == 200
        server.kill()
    with Server(home, settings(stores)) as server:
        assert ended(server, submit(server, MANIFEST))["status"]["phase"] == "Succeeded"
        fill = server.get("/data/v1/primary")["fill"]
        assert (fill["fetched_bytes"], fill["fetched_twice_bytes"]) == (300_003, 0)
        assert fill["capacity_bytes"] >= fill["peak_bytes"] >= 600_006
        assert sum(path.stat().st_size for path in files_below(home / "scratch")) <= 1 << 20
        answer = server.call("POST", "/data/v1/primary/evict", {"ref": "far:bucket/a"})
        assert answer.status_code == 200, answer.text
        assert 300_000 not in [path.stat().st_size for path in files_below(near.root / "bucket" / "primary" / "objects")]
