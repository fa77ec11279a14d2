"""Files that a workflow names in its parameters: which step reads which, ahead and when it is launched."""

from pathlib import Path

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.machine.named import NONE, named_files
from jitflow.model import argo

pytestmark = pytest.mark.pure

PLACES = {
    "secondary_endpoint": "https://far.example:9000",
    "secondary_folder": "archive/group7",
    "primary_endpoint": "http://near.example:9000",
    "primary_folder": "user-data/me@example.org/",
}
SPEC = """
entrypoint: main
arguments:
  parameters:
  - name: files
    value: |
      ["/set/one.csv", "/set/two.csv", "/set/unread.csv"]
  - {name: secondary_endpoint, value: "https://far.example:9000"}
  - {name: secondary_folder, value: archive/group7}
  - {name: primary_endpoint, value: "http://near.example:9000"}
  - {name: primary_folder, value: user-data/me}
templates:
- name: main
  steps:
  - - name: serially
      template: all
      arguments: {parameters: [{name: files, value: '["/set/one.csv", "/set/two.csv"]'}]}
- name: all
  inputs: {parameters: [{name: files}]}
  parallelism: 1
  steps:
  - - name: read
      template: read
      arguments: {parameters: [{name: file, value: "{{item}}"}, {name: folder, value: "{{workflow.parameters.primary_folder}}"}]}
      withParam: "{{inputs.parameters.files}}"
- name: read
  inputs: {parameters: [{name: file}, {name: folder}]}
  script: {image: busybox, command: [sh], source: "cat {{inputs.parameters.file}}"}
"""


def place(artifact: argo.Artifact) -> str:
    assert artifact.s3
    return f"{artifact.s3.endpoint} {artifact.s3.bucket} {artifact.s3.key}"


@pytest.mark.parametrize("text", ['["/a/x.csv", "y"]', "['/a/x.csv', 'y']", '\n [ "/a/x.csv",\n "y" ] \n'])
def test_files_and_their_places_are_read_from_the_parameters(text: str) -> None:
    found = named_files(PLACES | {"files": text})
    (file,) = found.read_by([argo.Parameter(name="n", value="/a/x.csv"), argo.Parameter(name="m", value="z")])
    assert place(file.far) == "https://far.example:9000 archive group7/a/x.csv"
    assert place(file.near) == "http://near.example:9000 user-data me@example.org/a/x.csv"
    assert found.read_by([argo.Parameter(name="n", value=None)]) == ()


@pytest.mark.parametrize("text", ["", "a.csv", '{"a": 1}', "[1, 2]", "[]", '["/"]', '["a", 5]'])
def test_a_parameter_that_is_no_list_of_names_is_an_ordinary_parameter(text: str) -> None:
    assert named_files(PLACES | {"files": text}) is NONE


@pytest.mark.parametrize("name", sorted(PLACES))
def test_all_places_must_be_named(name: str) -> None:
    assert named_files({"files": '["a"]'} | {key: value for key, value in PLACES.items() if key != name}) is NONE


def test_steps_are_foreseen_and_launched_with_the_files_that_their_inputs_name() -> None:
    run = Run(workflow(SPEC))
    assert machine.has_data(run.state)
    coming = [(step.name, [place(file.far).rpartition("/")[2] for file in step.named]) for step in machine.forecast(run.state)]
    assert coming == [
        ("wf[0].serially[0].read(0:/set/one.csv)", ["one.csv"]),
        ("wf[0].serially[0].read(1:/set/two.csv)", ["two.csv"]),
    ]
    run.begin()
    launch = run.launch("wf[0].serially[0].read(0:/set/one.csv)")
    assert [place(file.near) for file in launch.named] == ["http://near.example:9000 user-data me/set/one.csv"]


def test_the_manifest_of_the_how_to_follows_the_convention() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "named-files.md").read_text()
    manifest = text.split("```yaml\n")[1].split("```")[0]
    run = Run(workflow(manifest.partition("spec:\n")[2]))
    assert [len(step.named) for step in machine.forecast(run.state)] == [1, 1]


def test_workflows_without_the_convention_have_no_data() -> None:
    run = Run(workflow(SPEC.replace("primary_folder, value", "folder, value")))
    assert not machine.has_data(run.state)
    assert all(step.named == () for step in machine.forecast(run.state))
