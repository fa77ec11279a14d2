"""Uploads in a real server: killed with its rclone, refused by the far store, and all the same every result arrives as it was."""

import hashlib
import os
import signal
import time
from pathlib import Path

from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server

MIB = 1 << 20

WRITERS = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: writers-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: w, template: write, withSequence: {count: "6"}, arguments: {parameters: [{name: num, value: "{{item}}"}]}}
  - name: write
    inputs: {parameters: [{name: num}]}
    container:
      image: busybox
      command: [sh, -c]
      args: ["dd if=/dev/urandom of=/tmp/out bs=1M count=SIZE 2>/dev/null; md5sum < /tmp/out > /tmp/sum"]
    outputs:
      parameters: [{name: sum, valueFrom: {path: /tmp/sum}}]
      artifacts:
      - {name: out, path: /tmp/out, archive: {none: {}}, s3: {key: "out/{{inputs.parameters.num}}"}}
"""


def rclone_of(server: Server) -> list[int]:
    """Return the processes of rclone that belong to a server's home."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if words[0].endswith(b"rclone") and b"rcd" in words and parent == server.pid:
            found.append(int(entry.name))
    return found


def sums(workflow: dict[str, object]) -> dict[str, str]:
    """Return what each pod said of the file it wrote."""
    found: dict[str, str] = {}
    for node in workflow["status"]["nodes"].values():  # type: ignore[index]
        if node["type"] == "Pod":
            number = node["inputs"]["parameters"][0]["value"]
            found[number] = node["outputs"]["parameters"][0]["value"].split()[0]
    return found


def far_sums(root: Path) -> dict[str, str]:
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (root / "bucket" / "out").iterdir()}


def test_kills_of_the_server_and_of_rclone_during_uploads_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as s3, LinkThread(s3.port, rate_bps=6 * MIB, rtt_s=0.02) as link:
        settings = settings_for(
            s3,
            endpoint=link.url,
            artifact_repository={"remote": "far", "prefix": "bucket"},
            # Room for two of the six: the others are sent from where their pods left them.
            primary={"capacity": "6MiB", "stall_s": 5.0},
        )
        with Server(tmp_path / "home", settings) as server:
            name = submit(server, WRITERS.replace("SIZE", "2"))
            until(
                server,
                name,
                lambda it: (
                    len([n for n in it["status"].get("nodes", {}).values() if n["type"] == "Pod" and n["phase"] == "Succeeded"])
                    >= 3
                ),
            )
            sending = [row for row in server.get("/data/v1/uploads")["items"] if row["state"] == "sending"]
            assert sending
            for pid in rclone_of(server):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
            server.kill()
            server.start()
            time.sleep(0.7)
            server.kill()
            server.start()
            workflow = ended(server, name, within_s=90)
            assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
            assert server.get("/data/v1/uploads")["items"] == []
            assert len(sums(workflow)) == 6
            assert far_sums(root) == sums(workflow)
            assert not list((tmp_path / "home" / "unsent").glob("*"))


def test_a_store_that_refuses_is_told_and_what_it_refused_is_sent_when_it_is_mended(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    with S3Server(root) as s3:
        settings = settings_for(s3, primary={"capacity": "2500KiB", "stall_s": 5.0})
        right = dict(s3.remote("late").options)
        with Server(tmp_path / "home", settings) as server:
            remote = {"name": "late", "type": "s3", "options": right | {"secret_access_key": "wrong"}}
            assert server.call("POST", "/data/v1/remotes", remote).status_code == 200
            text = (
                WRITERS.replace("SIZE", "1")
                .replace("s3: {key: ", "plugin: {name: rclone, key: ")
                .replace('"out/', '"late:bucket/out/')
            )
            name = submit(server, text)
            workflow = ended(server, name)
            assert workflow["status"]["phase"] in {"Error", "Failed"}
            messages = [n["message"] for n in workflow["status"]["nodes"].values() if n["type"] == "Pod" and n.get("message")]
            assert len(messages) == 6
            assert all("check remote late (jitflow remote test late) and send it again" in text for text in messages)
            assert all("it is kept, and is sent by `jitflow data retry-uploads`" in text for text in messages)
            assert [row["state"] for row in server.get("/data/v1/uploads")["items"]] == ["failed"] * 6
            assert server.get("/data/v1/primary")["fill"]["used_bytes"] <= 2500 * 1024
            assert list((tmp_path / "home" / "unsent").glob("*"))
            assert server.call("DELETE", "/data/v1/remotes/late").status_code == 200
            assert server.call("POST", "/data/v1/remotes", remote | {"options": right}).status_code == 200
            assert len(server.call("POST", "/data/v1/uploads/retry", {}).json()["items"]) == 6
            limit = time.monotonic() + 40
            while server.get("/data/v1/uploads")["items"]:
                assert time.monotonic() < limit, server.get("/data/v1/uploads")["items"]
                time.sleep(0.1)
            assert far_sums(root) == sums(workflow)
            assert not list((tmp_path / "home" / "unsent").glob("*"))
