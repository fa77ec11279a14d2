"""Where results come from: crates of runs, also of archived ones, and what a replay finds changed."""

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server, venv_program
from rocrate.rocrate import ROCrate
from tests.service.service_kit import ended, settings_for, submit

from jitflow.testing.s3_server import S3Server

SECRET = "planted-key-of-the-far-store"
RUN = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: count-, labels: {project: spring}}
spec:
  entrypoint: main
  arguments: {parameters: [{name: unit, value: lines}]}
  templates:
  - name: main
    steps:
    - - name: first
        template: count
        arguments: {artifacts: [{name: text, plugin: {name: rclone, key: "far:bucket/in/text"}}]}
    - - name: second
        template: pack
        arguments: {artifacts: [{name: given, from: "{{steps.first.outputs.artifacts.number}}"}]}
  - name: count
    inputs: {artifacts: [{name: text, path: /in/text}]}
    container: {image: "registry.example:5000/lab/busybox:1.36", command: [sh, -c], args: ["wc -l < /in/text > /tmp/number"]}
    outputs: {artifacts: [{name: number, path: /tmp/number, archive: {none: {}}, s3: {key: "out/number"}}]}
  - name: pack
    inputs:
      parameters: [{name: unit, value: "{{workflow.parameters.unit}}"}]
      artifacts: [{name: given, path: /in/given}, {name: here, path: /in/here, plugin: {name: rclone, key: "here:plain"}}]
    container: {image: busybox, command: [sh, -c], args: ["mkdir /tmp/all; cat /in/given /in/here > /tmp/all/file"]}
    outputs: {artifacts: [{name: all, path: /tmp/all, s3: {key: "out/{{workflow.name}}/all.tgz"}}]}
"""


class World:
    """A server, a store that tells hashes, and one that does not."""

    def __init__(self, server: Server, far: Path, here: Path) -> None:
        self.server, self.far, self.here = server, far, here

    def crate(self, name: str) -> dict[str, Any]:
        return self.server.get(f"/api/jit/v1/workflows/default/{name}/provenance")

    def run(self) -> str:
        name = submit(self.server, RUN)
        workflow = ended(self.server, name)
        assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
        return name

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = self.server.environment | {"NO_COLOR": "1"}
        return subprocess.run(
            [venv_program("jitflow"), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root, here = tmp_path_factory.mktemp("far"), tmp_path_factory.mktemp("here")
    (root / "bucket" / "in").mkdir(parents=True)
    (root / "bucket" / "in" / "text").write_text("one\ntwo\n")
    (here / "plain").write_text("said here\n")
    with S3Server(root) as s3:
        settings = settings_for(s3, artifact_repository={"remote": "far", "prefix": "bucket"}, archive=True)
        settings["remotes"]["here"] = {"type": "local", "options": {"root": str(here)}}
        settings["remotes"]["unused"] = {"type": "s3", "options": {"provider": "Other", "secret_access_key": SECRET}}
        with Server(tmp_path_factory.mktemp("home") / "home", settings) as server:
            yield World(server, root / "bucket", here)


def by_identifier(crate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entity["identifier"]: entity for entity in crate["@graph"] if "identifier" in entity and entity["@type"] == "File"}


def test_a_crate_tells_of_every_input_and_output_and_a_real_library_reads_it(world: World, tmp_path: Path) -> None:
    name = world.run()
    body = world.server.call("GET", f"/api/jit/v1/workflows/default/{name}/provenance?format=zip")
    assert body.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body.content)) as archive:
        assert archive.namelist() == ["ro-crate-metadata.json", "workflow.yaml"]
        archive.extractall(tmp_path)
    crate = json.loads((tmp_path / "ro-crate-metadata.json").read_text())
    files = by_identifier(crate)
    assert set(files) == {"far:bucket/in/text", "here:plain", "far:bucket/out/number", f"far:bucket/out/{name}/all.tgz"}
    text, plain = files["far:bucket/in/text"], files["here:plain"]
    assert text["contentSize"] == "8"
    assert text["version"]
    assert text["md5"] == hashlib.md5(b"one\ntwo\n").hexdigest()
    assert plain["sha256"] == hashlib.sha256(b"said here\n").hexdigest()
    read = ROCrate(tmp_path)
    run = read.get("#run")
    assert run["instrument"] is read.mainEntity
    assert {one.id for one in run["object"]} == {"#parameter/unit", text["@id"], plain["@id"]}
    assert [one["identifier"] for one in run["result"]] == [f"far:bucket/out/{name}/all.tgz"]
    actions = {one["name"]: one for one in read.get_by_type("CreateAction") if one.id != "#run"}
    assert set(actions) == {"[0].first", "[1].second"}
    first = actions["[0].first"]
    assert [one["identifier"] for one in first["object"]] == ["far:bucket/in/text"]
    assert first["result"][0]["identifier"] == "far:bucket/out/number"
    assert first["containerImage"]["registry"] == "registry.example:5000"
    assert (first["containerImage"]["name"], first["containerImage"]["tag"]) == ("lab/busybox", "1.36")
    assert any(one["name"] == "unit" and one["value"] == "lines" for one in actions["[1].second"]["object"] if "value" in one)
    assert SECRET not in body.text
    assert SECRET not in json.dumps(crate)


def test_an_independent_validator_finds_nothing_that_is_required_missing(world: World, tmp_path: Path) -> None:
    program = shutil.which("rocrate-validator")
    if program is None:
        pytest.skip("rocrate-validator is not installed (pip install roc-validator, in an environment of its own)")
    name = world.run()
    file = tmp_path / "run.crate.zip"
    assert world.cli("provenance", name, "-o", str(file)).returncode == 0
    arguments = ["-y", "--disable-color", "validate", "-p", "provenance-run-crate-0.5", "--no-paging", "-v", str(file)]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=110, check=False)
    if "URLError" in done.stdout:
        pytest.skip("the contexts of JSON-LD, which the validator fetches, cannot be reached from here")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_provenance_of_an_archived_run_is_there_until_it_leaves_the_archive(world: World) -> None:
    name = world.run()
    before = world.crate(name)
    uid = world.server.get(f"/api/v1/workflows/default/{name}")["metadata"]["uid"]
    assert world.server.call("DELETE", f"/api/v1/workflows/default/{name}").status_code == 200
    assert by_identifier(world.crate(name)) == by_identifier(before)
    assert world.cli("provenance", name).returncode == 0
    assert world.server.call("DELETE", f"/api/v1/archived-workflows/{uid}").status_code == 200
    assert world.server.call("GET", f"/api/jit/v1/workflows/default/{name}/provenance").status_code == 404


def test_a_replay_tells_what_has_changed_and_nothing_else(world: World, tmp_path: Path) -> None:
    name = world.run()
    file = tmp_path / "run.crate.zip"
    assert world.cli("provenance", name, "-o", str(file)).returncode == 0
    same = world.cli("replay", str(file), "-o", "json")
    assert same.returncode == 0, same.stdout + same.stderr
    assert json.loads(same.stdout)["changes"] == []
    (world.far / "in" / "text").write_text("one\ntwo\nthree\n")
    checked = world.cli("replay", str(file), "--check")
    assert checked.returncode == 1
    assert "far:bucket/in/text" in checked.stdout
    changed = world.cli("replay", name, "-o", "json")
    assert changed.returncode == 1, changed.stderr
    found = {(one["what"], one["how"], one["name"]) for one in json.loads(changed.stdout)["changes"]}
    assert found == {
        ("input", "changed", "far:bucket/in/text"),
        ("output", "differs", "[0].first/number"),
        ("output", "differs", "[1].second/all"),
    }
    (world.far / "in" / "text").unlink()
    gone = world.cli("replay", str(file), "--check", "-o", "json")
    assert [(one["how"], one["name"]) for one in json.loads(gone.stdout)["changes"]] == [("gone", "far:bucket/in/text")]
    (world.far / "in" / "text").write_text("one\ntwo\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "no-such-run"), "no-such-run: there is no such file, and as a workflow"),
        (("provenance", "no-such-run"), "not found"),
    ],
)
def test_what_is_not_there_is_said(world: World, arguments: tuple[str, ...], said: str) -> None:
    done = world.cli(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_crate_is_refused(world: World, tmp_path: Path) -> None:
    for name, body in (("a.json", b"[]"), ("b.json", b'{"@graph": []}'), ("c.zip", b"PK\x03\x04"), ("d.json", b"\xff")):
        (tmp_path / name).write_bytes(body)
        done = world.cli("replay", str(tmp_path / name))
        assert done.returncode == 2, (name, done.stderr)
        assert "crate" in done.stderr.lower()
        assert "Traceback" not in done.stderr
    assert world.server.call("GET", "/api/jit/v1/workflows/default/@latest/provenance?format=xml").status_code == 400
