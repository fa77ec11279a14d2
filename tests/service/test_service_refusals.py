"""Bad input to a real server: each time a clear message that names the place, and nothing is left behind."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import (
    WORKFLOWS,
    ended,
    files_below,
    nothing_left,
    reader,
    settings_for,
    submit,
    until,
)

from jitflow.testing.s3_server import S3Server

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: bad-}\nspec:\n  entrypoint: main\n"
STEP = "    container: {image: busybox, command: [echo], args: [x]}\n"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket" / "small.bin").write_bytes(os.urandom(100_000))
    (root / "bucket" / "big.bin").write_bytes(os.urandom(8_000_000))
    with S3Server(root) as server:
        yield server


@pytest.fixture(scope="module")
def server(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("home") / "home", settings_for(s3)) as server:
        yield server


def refused(server: Server, text: str) -> str:
    answer = server.post_text(WORKFLOWS, text)
    assert 400 <= answer.status_code < 500, answer.text
    body = answer.json()
    assert isinstance(body["code"], int)
    return str(body["message"])


MANIFESTS = {
    "not YAML": ("spec: [unclosed\nkind: : :", ["not YAML"]),
    "not a mapping": ("just words", ["must be an object"]),
    "unknown field": (
        HEAD + "  templates:\n  - name: main\n    container: {image: busybox, comand: [echo]}\n",
        ["comand", "command", "8:", "$.spec.templates[0].container"],
    ),
    "missing template": (
        HEAD + "  templates:\n  - name: main\n    steps:\n    - - {name: one, template: nowhere}\n",
        ["nowhere", "undefined", "9:"],
    ),
    "unresolved tag": (
        HEAD
        + "  templates:\n  - name: main\n"
        + "    container: {image: busybox, command: [echo], args: ['{{inputs.parameters.x}}']}\n",
        ["failed to resolve {{inputs.parameters.x}}", "8:"],
    ),
    "cyclic DAG": (
        HEAD
        + "  templates:\n  - name: main\n    dag:\n      tasks:\n"
        + "      - {name: a, template: t, dependencies: [b]}\n      - {name: b, template: t, dependencies: [a]}\n"
        + "  - name: t\n"
        + STEP,
        ["cycle", "a", "b", "$.spec.templates[0].dag"],
    ),
    "not supported": (
        HEAD + "  templates:\n  - name: main\n    container: {image: i}\n  volumes: [{name: v, hostPath: {path: /etc}}]\n",
        ["volumes of this kind do not exist here", "9:"],
    ),
    "key that leaves its place": (reader("bucket/../../etc/passwd"), ["..", "$.spec.templates[0].inputs.artifacts[0]"]),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_cannot_run_is_refused_with_its_place(server: Server, name: str) -> None:
    text, words = MANIFESTS[name]
    message = refused(server, text)
    assert any(word in message for word in words[:1]), message
    answer = server.post_text(f"{WORKFLOWS}/lint", text)
    assert answer.status_code == 400
    for word in words[1:] if name not in {"not YAML", "not a mapping"} else []:
        assert word in message, message
    nothing_left(server)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (reader("bucket/none.bin"), ["far:bucket/none.bin", "no such object"]),
        (reader("nobucket/none.bin"), ["far:nobucket/none.bin"]),
        (reader("x", remote="nowhere"), ["nowhere", "not configured", "remote add"]),
    ],
    ids=["no object", "no bucket", "no remote"],
)
def test_data_that_is_not_there_is_refused_at_submit(server: Server, text: str, words: list[str]) -> None:
    message = refused(server, text)
    for word in words:
        assert word in message, message
    nothing_left(server)


def test_a_remote_that_refuses(s3: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(s3, secret="x" * 40)) as server:
        message = refused(server, reader("bucket/small.bin"))
        assert "far" in message
        assert "credentials" in message
        assert "x" * 40 not in message
        nothing_left(server)
        assert "x" * 40 not in server.log.read_text()


def test_a_remote_that_stalls_at_submit(s3: S3Server, tmp_path: Path) -> None:
    with LinkThread(s3.port) as link, Server(tmp_path / "home", settings_for(s3, endpoint=link.url)) as server:
        link.call(lambda link: link.stall())
        answer = server.post_text(WORKFLOWS, reader("bucket/small.bin"))
        assert answer.status_code in {400, 503}, answer.text
        assert "far" in answer.json()["message"]
        nothing_left(server)


def test_a_transfer_that_stalls_goes_on_when_the_link_is_back(s3: S3Server, tmp_path: Path) -> None:
    with (
        LinkThread(s3.port, rate_bps=4_000_000) as link,
        Server(tmp_path / "home", settings_for(s3, endpoint=link.url)) as server,
    ):
        name = submit(server, reader("bucket/big.bin"))
        until(server, name, lambda _: server.get("/data/v1/primary")["fill"]["used_bytes"] > 0)
        link.call(lambda link: link.stall())
        until(server, name, lambda _: "no progress" in server.log.read_text() or _waits(server, name), within_s=30)
        link.call(lambda link: link.resume())
        assert ended(server, name)["status"]["phase"] == "Succeeded"


def _waits(server: Server, name: str) -> bool:
    items = server.get(f"/api/jit/v1/workflows/default/{name}/data")["items"]
    return any("again" in item["reason"] or "retry" in item["reason"] or "stall" in item["reason"].lower() for item in items)


def test_a_primary_smaller_than_one_object(s3: S3Server, tmp_path: Path) -> None:
    settings = settings_for(s3, primary={"capacity": "1MB"})
    with Server(tmp_path / "home", settings) as server:
        message = refused(server, reader("bucket/big.bin"))
        assert "smallest capacity" in message
        assert "8000000" in message.replace(",", "").replace("_", "").replace(" ", "") or "8.0 MB" in message or "8 MB" in message
        nothing_left(server)


def test_an_object_that_changes_while_it_is_fetched_is_never_mixed(s3: S3Server, tmp_path: Path) -> None:
    source = s3.root / "bucket" / "changing.bin"
    source.write_bytes(b"a" * 6_000_000)
    with (
        LinkThread(s3.port, rate_bps=3_000_000) as link,
        Server(tmp_path / "home", settings_for(s3, endpoint=link.url)) as server,
    ):
        name = submit(server, reader("bucket/changing.bin", command="tr -d ab < /in/0 | wc -c; head -c1 /in/0; tail -c1 /in/0"))
        until(server, name, lambda _: server.get("/data/v1/primary")["fill"]["used_bytes"] > 0)
        replacement = source.with_suffix(".new")
        replacement.write_bytes(b"b" * 6_500_000)
        replacement.replace(source)
        workflow = ended(server, name)
        if workflow["status"]["phase"] == "Succeeded":
            log = server.call("GET", f"{WORKFLOWS}/{name}/log").text
            assert "aa" in log or "bb" in log
        else:
            assert "changing.bin" in str(workflow["status"])
            assert "changed" in str(workflow["status"])


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux) for a small disk of its own")
def test_a_full_disk(s3: S3Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = settings_for(s3, primary={"capacity": "64MiB", "stall_s": 2.0, "path": str(disk / "primary")})
    server = Server(tmp_path / "home", settings)
    small_disk = f'mount -t tmpfs -o size=4m tmpfs {disk} && exec "$@"'
    server.wrapper = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", small_disk, "sh"]
    with server:
        answer = server.post_text(WORKFLOWS, reader("bucket/big.bin"))
        if answer.status_code == 200:
            workflow = ended(server, answer.json()["metadata"]["name"])
            assert workflow["status"]["phase"] == "Error"
            message = str(workflow["status"])
        else:
            message = answer.json()["message"]
        assert "space" in message or "disk" in message, message
        fill = server.get("/data/v1/primary")["fill"]
        assert fill["used_bytes"] == 0


def test_refusals_leave_no_files(server: Server) -> None:
    assert not files_below(server.home / "primary" / "objects")
    assert not files_below(server.home / "executor" / "pods")
