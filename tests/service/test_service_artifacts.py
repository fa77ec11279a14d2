"""Artifacts over Argo's paths: from the primary, from the far store, directories as lists, nothing beyond them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server, venv_program
from tests.service.service_kit import WORKFLOWS, ended, files_below, settings_for, submit

from jitflow.testing.s3_server import S3Server

MADE = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: made-}
spec:
  entrypoint: main
  archiveLogs: true
  templates:
  - name: main
    inputs: {artifacts: [{name: given, path: /tmp/given, raw: {data: "raw text"}}]}
    container:
      image: busybox
      command: [sh, -c]
      args: ["mkdir -p /out/sub; seq 1000 > /out/sub/numbers; echo '<b>' > '/out/<i>&.txt'; echo said; seq 9 > /tmp/plain"]
    outputs:
      artifacts:
      - {name: tree, path: /out, archive: {none: {}}, s3: {key: made/tree}}
      - {name: plain, path: /tmp/plain, archive: {none: {}}, s3: {key: made/plain}}
      - {name: packed, path: /tmp/plain}
"""
READ = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: read-}
spec:
  entrypoint: main
  templates:
  - name: main
    inputs:
      artifacts:
      - {name: given, path: /in/given, raw: {data: "raw text"}}
      - {name: plain, path: /in/plain, plugin: {name: rclone, key: "far:bucket/made/plain"}}
      - {name: tree, path: /in/tree, plugin: {name: rclone, key: "far:bucket/made/tree/"}}
    container: {image: busybox, command: [sh, -c, "cat /in/given /in/plain /in/tree/sub/numbers > /tmp/out"]}
    outputs: {artifacts: [{name: written, path: /tmp/out}]}
"""
NUMBERS = "".join(f"{number}\n" for number in range(1, 1001))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, dict[str, Any]]]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    home = tmp_path_factory.mktemp("home") / "home"
    with S3Server(root) as s3:
        settings = settings_for(s3, artifact_repository={"remote": "far", "prefix": "bucket"})
        with Server(home, settings) as server:
            name = submit(server, MADE)
            workflow = ended(server, name)
            assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
            yield server, name, workflow


def evict_all(server: Server) -> None:
    for replica in server.get("/data/v1/primary")["replicas"]:
        ref = replica["ref"]
        assert server.call("POST", "/data/v1/primary/evict", {"ref": f"{ref['remote']}:{ref['path']}"}).status_code == 200


@pytest.mark.parametrize("resident", [True, False])
def test_files_come_from_the_primary_or_from_far_alike(made: tuple[Server, str, dict[str, Any]], resident: bool) -> None:
    server, name, workflow = made
    if not resident:
        evict_all(server)
        assert server.get("/data/v1/primary")["replicas"] == []
    uid = workflow["metadata"]["uid"]
    whole = "".join(f"{number}\n" for number in range(1, 10))
    for path in (
        f"/artifacts/default/{name}/{name}/plain",
        f"/artifacts-by-uid/{uid}/{name}/plain",
        f"/artifact-files/default/workflows/{name}/{name}/outputs/plain",
        f"/artifact-files/default/archived-workflows/{uid}/{name}/outputs/plain",
    ):
        answer = server.call("GET", path)
        assert (answer.status_code, answer.text) == (200, whole), path
        assert answer.headers["content-disposition"] == 'filename="plain"'
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert answer.headers["content-security-policy"].startswith("sandbox allow-same-origin; base-uri 'none'")
    tree = f"/artifact-files/default/workflows/{name}/{name}/outputs/tree"
    numbers = server.call("GET", f"{tree}/sub/numbers")
    assert numbers.text == NUMBERS
    client = server._client()
    part = client.get(f"{tree}/sub/numbers", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.text) == (206, NUMBERS[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(NUMBERS)}"
    assert client.get(f"{tree}/sub/numbers", headers={"Range": "bytes=-5"}).text == NUMBERS[-5:]
    assert client.get(f"{tree}/sub/numbers", headers={"Range": "bytes=99999-"}).status_code == 416
    head = client.head(f"{tree}/sub/numbers")
    assert (head.text, head.headers["content-length"]) == ("", str(len(NUMBERS)))
    assert server.call("GET", f"/artifacts/default/{name}/{name}/main-logs").text == "said\n"
    packed = server.call("GET", f"/artifacts/default/{name}/{name}/packed")
    assert packed.headers["content-type"] == "application/gzip"
    assert packed.content[:2] == b"\x1f\x8b"


@pytest.mark.parametrize("resident", [True, False])
def test_a_directory_is_a_list_of_escaped_names(made: tuple[Server, str, dict[str, Any]], resident: bool) -> None:
    server, name, _ = made
    if not resident:
        evict_all(server)
    tree = f"/artifact-files/default/workflows/{name}/{name}/outputs/tree"
    page = server.call("GET", f"{tree}/")
    assert page.status_code == 200, page.text
    assert '<a href="./sub/">sub/</a>' in page.text
    assert '<a href="./%3Ci%3E%26.txt">&lt;i&gt;&amp;.txt</a>' in page.text
    assert server.call("GET", f"{tree}/%3Ci%3E%26.txt").text == "<b>\n"
    assert '<a href="./numbers">' in server.call("GET", f"{tree}/sub/").text
    for path in (tree, f"{tree}/sub"):
        moved = server.call("GET", path)
        assert moved.status_code == 307
        assert moved.headers["location"] == path.rpartition("/")[2] + "/"


def test_inputs_and_raw_artifacts_are_served_too(made: tuple[Server, str, dict[str, Any]]) -> None:
    server, name, workflow = made
    uid = workflow["metadata"]["uid"]
    for path in (
        f"/input-artifacts/default/{name}/{name}/given",
        f"/input-artifacts-by-uid/{uid}/{name}/given",
        f"/artifact-files/default/workflows/{name}/{name}/inputs/given",
    ):
        assert server.call("GET", path).text == "raw text"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/artifacts/default/none/none/plain", 404),
        ("/artifacts-by-uid/none/x/plain", 404),
        ("/artifacts/default/NAME/NAME/none", 500),
        ("/artifacts/default/NAME/none/plain", 500),
        ("/artifact-files/default/other/NAME/NAME/outputs/plain", 400),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/none", 404),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/none/", 404),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/packed/plain", 404),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/%2e%2e/plain", 400),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/sub%2f..%2f..%2fplain", 400),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/%2fetc/passwd", 400),
        ("/artifact-files/default/workflows/NAME/NAME/outputs/tree/sub%5c..", 400),
    ],
)
def test_what_is_not_there_and_what_is_beyond_is_refused(
    made: tuple[Server, str, dict[str, Any]], path: str, status: int
) -> None:
    server, name, _ = made
    answer = server.call("GET", path.replace("NAME", name))
    assert answer.status_code == status, answer.text
    assert answer.json()["message"]


def test_the_command_line_copies_artifacts(made: tuple[Server, str, dict[str, Any]], tmp_path: Path) -> None:
    server, name, _ = made
    program = [venv_program("jitflow"), "cp", name, str(tmp_path / "got")]
    done = subprocess.run(program, env=server.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = tmp_path / "got" / name
    assert (got / "tree" / "sub" / "numbers").read_text() == NUMBERS
    assert (got / "tree" / "<i>&.txt").read_text() == "<b>\n"
    assert (got / "main-logs" / "main.log").read_text() == "said\n"
    assert (got / "packed" / "packed.tgz").exists()
    wrong = subprocess.run([*program, "--artifact", "none"], env=server.environment, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "no such output artifacts" in wrong.stderr


def test_the_command_line_copies_what_steps_read(made: tuple[Server, str, dict[str, Any]], tmp_path: Path) -> None:
    server, _, _ = made
    name = submit(server, READ)
    assert ended(server, name)["status"]["phase"] == "Succeeded"
    program = [venv_program("jitflow"), "cp", name, "--inputs", "-o", "json"]

    def copied(place: Path, *more: str) -> dict[str, int]:
        command = [*program, str(place), *more]
        done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        rows = {row["path"].removeprefix(f"{place}/{name}/"): row["size_bytes"] for row in json.loads(done.stdout)}
        assert set(rows) == {str(path.relative_to(place / name)) for path in files_below(place)}
        return rows

    whole = copied(tmp_path / "all")
    assert set(whole) == {"given/given", "plain/plain", "tree/sub/numbers", "tree/<i>&.txt"}
    got = tmp_path / "all" / name
    assert (got / "given/given").read_text() == "raw text"
    assert (got / "tree/sub/numbers").read_text() == NUMBERS
    assert whole["tree/sub/numbers"] == len(NUMBERS)
    evict_all(server)
    assert copied(tmp_path / "one", "--artifact", "plain") == {"plain/plain": len("1\n") * 9}
    written = [*program, str(tmp_path / "none"), "--artifact", "written"]
    wrong = subprocess.run(written, env=server.environment, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "no such input artifacts" in wrong.stderr) == (1, True)


def test_an_archived_log_is_read_when_the_local_one_is_gone(made: tuple[Server, str, dict[str, Any]]) -> None:
    server, name, _ = made
    logs = [path for path in server.home.rglob("logs/*") if name in path.name]
    assert logs
    for path in logs:
        path.unlink()
    answer = server.call("GET", f"{WORKFLOWS}/{name}/log")
    assert '"content":"said"' in answer.text
