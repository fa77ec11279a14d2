"""Artifacts of every kind of location, through a whole server: the web, git, stores with secrets of their own, repositories."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import ended, settings_for, submit, until

from jitflow.testing.s3_server import S3Server
from jitflow.testing.web_server import FileServer

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: located-}\n"
SECRET = "a-secret-of-the-test"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket" / "in").write_text("from s3")
    with S3Server(root) as server:
        yield server


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    root = tmp_path_factory.mktemp("web")
    (root / "in.txt").write_text("from the web")
    with FileServer(root) as server:
        yield server


@pytest.fixture
def server(s3: S3Server, tmp_path: Path) -> Iterator[Server]:
    own = settings_for(s3, artifact_plugins={"lab": {"remote": "far", "prefix": "bucket/lab"}})
    own["remotes"]["far"]["options"]["endpoint"] = s3.endpoint
    with Server(tmp_path / "home", own) as server:
        yield server


def keep_secret(server: Server, name: str, **values: str) -> None:
    kept(server, "Secret", name, stringData=values)


def kept(server: Server, kind: str, name: str, **fields: Any) -> None:
    answer = server.call(
        "PUT", f"/api/jit/v1/objects/default/{kind}/{name}", {"kind": kind, "metadata": {"name": name}, **fields}
    )
    assert answer.status_code == 200, answer.text


def outcome(server: Server, spec: str) -> dict[str, Any]:
    return ended(server, submit(server, HEAD + spec))


def repository(root: Path) -> None:
    """Make `git/r.git` with one file."""
    work = root / "work"
    work.mkdir()
    (work / "README").write_text("from git")
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["commit", "-q", "-m", "one"],
        ["clone", "-q", "--bare", ".", str(root / "git" / "r.git")],
    ):
        subprocess.run(["git", *settings, *command], cwd=work, check=True, capture_output=True)


READER = """spec:
  entrypoint: main
  templates:
  - name: main
    inputs: {{artifacts: [{{name: a, path: /in/a, {location}}}]}}
    outputs: {{parameters: [{{name: o, valueFrom: {{path: /out}}}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["{command}"]}}
"""


def read(server: Server, location: str, command: str = "cat /in/a > /out") -> str:
    workflow = outcome(server, READER.format(location=location, command=command))
    (node,) = workflow["status"]["nodes"].values()
    assert workflow["status"]["phase"] == "Succeeded", node
    return str(node["outputs"]["parameters"][0]["value"])


def test_web_pages_are_read_once_and_again_when_they_change(server: Server, web: FileServer) -> None:
    location = f"http: {{url: '{web.url}/in.txt'}}"
    assert read(server, location) == "from the web"
    assert read(server, location) == "from the web"
    assert web.times("GET", "/in.txt") == 1
    (web.root / "in.txt").write_text("changed since")
    assert read(server, location) == "changed since"
    web.has_lengths = False
    (web.root / "in.txt").write_text("of a length that is not told")
    assert read(server, location) == "of a length that is not told"


def test_a_working_tree_may_be_written(server: Server, web: FileServer) -> None:
    repository(web.root)
    location = f"git: {{repo: '{web.url}/git/r.git', revision: main}}"
    command = "printf ' more' >> /in/a/README && cat /in/a/README > /out && test -d /in/a/.git"
    assert read(server, location, command) == "from git more"
    assert read(server, location, command) == "from git more"


def test_outputs_go_to_the_web(server: Server, web: FileServer) -> None:
    web.has_lengths = True
    url = f"{web.url}/put/o.txt?key=query-secret"
    spec = f"""spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: write, template: write}}
    - - {{name: read, template: read, arguments: {{artifacts: [{{name: a, from: "{{{{steps.write.outputs.artifacts.o}}}}"}}]}}}}
  - name: write
    outputs: {{artifacts: [{{name: o, path: /o, archive: {{none: {{}}}}, http: {{url: '{url}'}}}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["printf made > /o"]}}
  - name: read
    inputs: {{artifacts: [{{name: a, path: /in/a}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["grep made /in/a"]}}
"""
    workflow = outcome(server, spec)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    assert (web.root / "put" / "o.txt").read_text() == "made"
    assert "query-secret" not in server.log.read_text()


def test_a_web_page_that_is_not_there_ends_in_error(server: Server, web: FileServer) -> None:
    workflow = outcome(server, READER.format(location=f"http: {{url: '{web.url}/none'}}", command="true"))
    assert workflow["status"]["phase"] == "Error"
    assert "404" in workflow["status"]["message"]


def test_a_web_page_that_an_earlier_step_makes(server: Server, web: FileServer) -> None:
    """Nobody declares that the first step writes it: at the submission it is not there."""
    spec = f"""spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {{name: make, template: make}}
    - - {{name: read, template: read}}
  - name: make
    script:
      image: python
      command: [python3]
      source: |
        import time, urllib.request
        time.sleep(1)
        urllib.request.urlopen(urllib.request.Request("{web.url}/late", data=b"made late", method="PUT"))
  - name: read
    inputs: {{artifacts: [{{name: a, path: /in/a, http: {{url: '{web.url}/late'}}}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["grep 'made late' /in/a"]}}
"""
    workflow = outcome(server, spec)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]["nodes"]


def test_what_lies_in_a_store_of_the_manifests_own_is_listed(server: Server, s3: S3Server) -> None:
    keep_secret(server, "cred", id=s3.key_id, secret=s3.secret)
    (s3.root / "bucket" / "listed").mkdir()
    (s3.root / "bucket" / "listed" / "one").write_text("1")
    spec = f"""spec:
  entrypoint: main
  templates:
  - name: main
    data:
      source: {{artifactPaths: {{name: all, {own_store(s3, "listed/")}}}}}
      transformation: [{{expression: "map(data, # + '!')"}}]
"""
    workflow = outcome(server, spec)
    (node,) = workflow["status"]["nodes"].values()
    assert node["outputs"]["result"] == '["listed/one!"]', node


def own_store(s3: S3Server, key: str) -> str:
    secret = "accessKeySecret: {name: cred, key: id}, secretKeySecret: {name: cred, key: secret}"
    return f"s3: {{endpoint: 'localhost:{s3.port}', insecure: true, bucket: bucket, key: {key}, {secret}}}"


def test_a_store_of_the_manifests_own_is_reached_after_a_restart_too(server: Server, s3: S3Server) -> None:
    keep_secret(server, "cred", id=s3.key_id, secret=s3.secret)
    assert read(server, own_store(s3, "in")) == "from s3"
    spec = f"""spec:
  entrypoint: main
  templates:
  - name: main
    outputs: {{artifacts: [{{name: o, path: /o, archive: {{none: {{}}}}, {own_store(s3, "made/o")}}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["sleep 1; printf made > /o"]}}
"""
    name = submit(server, HEAD + spec)
    until(server, name, lambda workflow: workflow["status"].get("phase") == "Running")
    server.kill()
    server.start()
    assert ended(server, name)["status"]["phase"] == "Succeeded"
    assert (s3.root / "bucket" / "made" / "o").read_text() == "made"
    stored = b"".join(path.read_bytes() for path in server.home.glob("state.db*"))
    assert s3.secret.encode() not in stored + server.log.read_bytes()


def test_secrets_that_do_not_fit_are_told_at_once_and_hidden(server: Server, s3: S3Server) -> None:
    keep_secret(server, "cred", id=s3.key_id, secret=SECRET)
    answer = server.post_text("/api/v1/workflows/default", HEAD + READER.format(location=own_store(s3, "in"), command="true"))
    assert answer.status_code == 400
    assert "check the artifact's location and the Secrets" in answer.text
    assert SECRET not in answer.text + server.log.read_text()


def test_a_repository_of_the_namespace(server: Server, s3: S3Server) -> None:
    """The key alone is in the node's status; the object lies where the ConfigMap says."""
    keep_secret(server, "cred", id=s3.key_id, secret=s3.secret)
    text = own_store(s3, "x").partition("s3: ")[2].replace("key: x, ", "keyFormat: 'runs/{{workflow.name}}', ")
    kept(server, "ConfigMap", "artifact-repositories", data={"mine": f"s3: {text}"})
    spec = """spec:
  entrypoint: main
  artifactRepositoryRef: {key: mine}
  templates:
  - name: main
    outputs: {artifacts: [{name: o, path: /o, archive: {none: {}}}]}
    container: {image: busybox, command: [sh, -c], args: ["printf kept > /o"]}
"""
    workflow = outcome(server, spec)
    name = workflow["metadata"]["name"]
    (node,) = workflow["status"]["nodes"].values()
    assert node["outputs"]["artifacts"][0]["s3"] == {"key": f"runs/{name}/o"}
    assert workflow["status"]["artifactRepositoryRef"]["key"] == "mine"
    assert (s3.root / "bucket" / "runs" / name / "o").read_text() == "kept"
    missing = outcome(server, spec.replace("key: mine", "key: other"))
    assert missing["status"]["phase"] == "Error"
    assert 'has no key "other"; its keys are: mine' in missing["status"]["message"]


def test_a_plugin_of_the_settings(server: Server, s3: S3Server) -> None:
    (s3.root / "bucket" / "lab").mkdir(exist_ok=True)
    (s3.root / "bucket" / "lab" / "x").write_text("from the lab")
    assert read(server, "plugin: {name: lab, key: x, configuration: 'a: b'}") == "from the lab"
    answer = server.post_text(
        "/api/v1/workflows/default", HEAD + READER.format(location="plugin: {name: other, key: x}", command="true")
    )
    assert answer.status_code == 400
    assert "artifact_plugins.other" in answer.text


def test_what_can_never_fit_is_told_when_its_size_is_known(s3: S3Server, web: FileServer, tmp_path: Path) -> None:
    """Three pages whose sizes are not told go through a primary that holds one; one that is larger ends its step."""
    for number in range(3):
        (web.root / f"page{number}").write_bytes(bytes([number]) * 700_000)
    (web.root / "large").write_bytes(bytes(3_000_000))
    web.has_lengths = False
    own = settings_for(s3, primary={"capacity": "1MB", "stall_s": 2.0})
    with Server(tmp_path / "home", own) as server:
        tasks = [
            {"name": f"s{number}", "template": "read", "arguments": {"artifacts": [{"name": "a", "http": {"url": url}}]}}
            for number, url in enumerate(f"{web.url}/page{number}" for number in range(3))
        ]
        spec = f"""spec:
  entrypoint: main
  templates:
  - name: main
    dag: {{tasks: {json.dumps(tasks)}}}
  - name: read
    inputs: {{artifacts: [{{name: a, path: /in/a}}]}}
    container: {{image: busybox, command: [sh, -c], args: ["test $(wc -c < /in/a) = 700000"]}}
"""
        workflow = outcome(server, spec)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]["nodes"]
        assert server.get("/data/v1/primary")["fill"]["peak_bytes"] <= 1_000_000
        failed = outcome(server, READER.format(location=f"http: {{url: '{web.url}/large'}}", command="true"))
        assert failed["status"]["phase"] == "Error"
        assert "more than 1,000,000 bytes" in failed["status"]["message"]
