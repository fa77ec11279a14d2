"""A workflow of the older convention, whole: its steps copy by themselves from the store that they look into first."""

from pathlib import Path

from benchmark.service import Server, shown_in_pods
from tests.service.service_kit import WORKFLOWS, ended, files_below, settings_for, submit

from jitflow.storage.binary import find_rclone
from jitflow.testing.s3_server import S3Server

MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: named-}
spec:
  entrypoint: main
  arguments:
    parameters:
    - {name: files, value: '["/set/one.csv", "/set/two.csv", "/set/three.csv"]'}
    - {name: primary_endpoint, value: "NEAR"}
    - {name: secondary_endpoint, value: "FAR"}
    - {name: primary_folder, value: data/user}
    - {name: secondary_folder, value: data/group}
  templates:
  - name: main
    parallelism: 1
    steps:
    - - name: read
        template: read
        arguments: {parameters: [{name: file, value: "{{item}}"}]}
        withParam: "{{workflow.parameters.files}}"
  - name: read
    inputs: {parameters: [{name: file}]}
    script:
      image: tools
      command: [sh]
      source: |
        copy="rclone copyto --config '' --retries 1 --error-on-no-transfer"
        $copy "near:{{workflow.parameters.primary_folder}}{{inputs.parameters.file}}" /tmp/f && echo primary && exit
        $copy "far:{{workflow.parameters.secondary_folder}}{{inputs.parameters.file}}" /tmp/f && echo secondary
"""


def test_its_files_are_near_when_its_steps_look_for_them(tmp_path: Path) -> None:
    group, user = tmp_path / "far" / "data" / "group" / "set", tmp_path / "near" / "data" / "user" / "set"
    for folder in (group, user):
        folder.mkdir(parents=True)
    for name in ("one", "two", "three"):
        (group / f"{name}.csv").write_text(name * 1000)
    (user / "two.csv").write_text("two" * 1000)
    with S3Server(tmp_path / "far") as far, S3Server(tmp_path / "near") as near:
        rclone = find_rclone()
        environment = {"PATH": f"{rclone.parent}:/usr/bin:/bin"}
        for name, store in (("NEAR", near), ("FAR", far)):
            options = store.options() | {"type": "s3"}
            environment |= {f"RCLONE_CONFIG_{name}_{key.upper()}": value for key, value in options.items()}
        image = {"root": "", "env": environment, "files": shown_in_pods(rclone, rclone.resolve())}
        settings = settings_for(far, images={"tools": image})
        settings["remotes"]["near"] = {"type": "s3", "options": near.options()}
        with Server(tmp_path / "home", settings) as server:
            name = submit(server, MANIFEST.replace("NEAR", near.endpoint).replace("FAR", far.endpoint))
            workflow = ended(server, name)
            assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
            log = server.call("GET", f"{WORKFLOWS}/{name}/log", **{"logOptions.container": "main"}).text
            assert (log.count('"primary"'), log.count('"secondary"')) == (3, 0)
            fetched = server.get("/data/v1/primary")["fill"]["fetched_bytes"]
            # What its user has put there was neither fetched nor taken away.
            assert fetched == len("one" + "three") * 1000
    assert [path.name for path in files_below(tmp_path / "near" / "data")] == ["two.csv"]
