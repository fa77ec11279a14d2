# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of artifacts, on a real server where data moves.

1. An output artifact without a location is packed with tar and gzip as `<artifact>.tgz`; its key is the key format, by default
   `{{workflow.name}}/{{pod.name}}`, with that name; unpacked ones are called as their path, a directory is a prefix; zip is `.zip`. What is
   packed is found out when it is loaded: a single file is unpacked to the path, a directory as the path. The status of a node holds just
   the key where the location is the default repository's.
2. `subPath` goes behind the key. Optional artifacts that are not there are passed over. Inputs and outputs on mounted volumes work. (The
   archived logs: `tests/service`.)
3. (`artifactGC` has tests of its own.)
4. A data template lists the keys below a prefix; each transformation is an expression over `data`; the result is a JSON list. (More in
   `tests/agents/test_agents_data.py`.)
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from semantics_kit import begun, end_of, manifest, played, shown_node
from tests.service.service_kit import WORKFLOWS, ended, settings_for

from jitflow.machine import locations
from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact
from jitflow.model.runs import LaunchPod, PodStarted
from jitflow.testing.s3_server import S3Server

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: art-}\nspec:\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket" / "dir" / "sub").mkdir(parents=True)
    (root / "bucket" / "dir" / "top.txt").write_text("top\n")
    (root / "bucket" / "dir" / "sub" / "deep.txt").write_text("deep\n")
    with S3Server(root) as s3, Server(tmp_path_factory.mktemp("home") / "home", settings_for(s3)) as found:
        yield found


def run(server: Server, spec: str) -> dict[str, Any]:
    """Run a workflow to its end and return its nodes by name, the workflow's called `wf`."""
    answer = server.post_text(WORKFLOWS, HEAD + "".join(f"  {line}\n" for line in spec.strip("\n").split("\n")))
    assert answer.status_code == 200, answer.text
    name = str(answer.json()["metadata"]["name"])
    workflow = ended(server, name)
    return {node["name"].replace(name, "wf", 1): node for node in workflow["status"]["nodes"].values()}


def value(node: dict[str, Any], name: str = "p") -> str:
    """Return an output parameter of a node."""
    return str({p["name"]: p.get("value") for p in node["outputs"]["parameters"]}[name])


def artifact(node: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an output artifact of a node."""
    return next(found for found in node["outputs"]["artifacts"] if found["name"] == name)


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.pure
@pytest.mark.parametrize(
    ("archive", "name"),
    [
        ("", "art.tgz"),
        (", archive: {tar: {}}", "art.tgz"),
        (", archive: {tar: {compressionLevel: 0}}", "art.tgz"),
        (", archive: {none: {}}", "file.txt"),
        (", archive: {zip: {}}", "art.zip"),
    ],
)
def test_artifacts_1_keys(archive: str, name: str) -> None:
    """Artifacts 1: the key of an output without a location is `<workflow>/<pod>/<file>`."""
    extra = (
        f"- {{name: gen, container: {{image: busybox}}, outputs: {{artifacts: [{{name: art, path: /out/file.txt{archive}}}]}}}}"
    )
    started = begun("steps: [[{name: a, template: gen}]]", extra=extra)
    launch = started.launch("wf[0].a")
    started.end("wf[0].a", artifacts=(CollectedArtifact(name="art", source="/x", size_bytes=1),))
    started.save("wf[0].a")
    outputs = shown_node(started, "wf[0].a").outputs
    assert outputs is not None
    (found,) = outputs.artifacts
    assert found.s3 is not None
    assert (found.s3.key, found.s3.bucket, found.s3.endpoint) == (f"wf/{launch.pod_name}/{name}", None, None)


@pytest.mark.pure
def test_artifacts_1_keys_of_attempts_differ() -> None:
    """Artifacts 1: each attempt has a key of its own, for its pod has a name of its own."""
    extra = (
        "- {name: gen, retryStrategy: {limit: 1}, container: {image: busybox}, outputs: {artifacts: [{name: art, path: /out}]}}"
    )
    started = begun("steps: [[{name: a, template: gen}]]", extra=extra)
    first = started.launch("wf[0].a(0)")
    started.end("wf[0].a(0)", 1)
    second = started.launch("wf[0].a(1)")
    keys = [_key(launch) for launch in (first, second)]
    assert keys == [f"wf/{launch.pod_name}/art.tgz" for launch in (first, second)]
    assert keys[0] != keys[1]


def _key(launch: LaunchPod) -> str | None:
    outputs = launch.template.outputs
    assert outputs is not None
    location = outputs.artifacts[0].s3
    assert location is not None
    return location.key


@pytest.mark.pure
def test_artifacts_2_sub_path() -> None:
    """Artifacts 2: `subPath` goes behind the key."""
    source = argo.Artifact(name="x", s3=argo.S3Artifact(key="a/b"))
    found = locations.below(source, "c/d")
    assert found.s3 is not None
    assert found.s3.key == "a/b/c/d"


@pytest.mark.pure
@pytest.mark.parametrize(("optional", "phase"), [(", optional: true", "Succeeded"), ("", "Error")])
def test_artifacts_2_missing_outputs(optional: str, phase: str) -> None:
    """Artifacts 2: an output that is not there is an Error, unless it is optional."""
    body = f"container: {{image: busybox}}\noutputs: {{artifacts: [{{name: art, path: /none{optional}}}]}}"
    done = played(body, ends={"wf": {"artifacts": ()}})
    assert end_of(done)[0] == phase


@pytest.mark.pure
@pytest.mark.parametrize(("optional", "phase"), [("optional: true, ", "Pending"), ("", "Error")])
def test_artifacts_2_missing_inputs(optional: str, phase: str) -> None:
    """Artifacts 2: an input from a step that did not run is passed over if it is optional, else it is an Error."""
    extra = f"""
- {{name: gen, container: {{image: busybox}}, outputs: {{artifacts: [{{name: art, path: /out}}]}}}}
- {{name: use, inputs: {{artifacts: [{{name: in, path: /in, optional: {"true" if optional else "false"}}}]}}, container: {{image: busybox}}}}
"""
    use = f"{{name: b, template: use, arguments: {{artifacts: [{{name: in, {optional}from: '{{{{steps.a.outputs.artifacts.art}}}}'}}]}}}}"
    started = begun(f"steps: [[{{name: a, template: gen, when: 'false'}}], [{use}]]", extra=extra)
    assert started.phase("wf[1].b") == phase


@pytest.mark.pure
def test_artifacts_4_data_is_a_pod() -> None:
    """Artifacts 4: a data template's node is shown as a Pod, and its result is read as that of a script."""
    extra = "- {name: ls, data: {source: {artifactPaths: {name: all, s3: {bucket: b, endpoint: e, key: k}}}, transformation: [{expression: data}]}}"
    body = "steps: [[{name: a, template: ls}], [{name: b, template: echo, withParam: '{{steps.a.outputs.result}}', arguments: {parameters: [{name: m, value: '{{item}}'}]}}]]"
    assert manifest(body, extra=extra) is not None
    started = begun(body, extra=extra)
    assert shown_node(started, "wf[0].a").type == "Pod"
    started.send(PodStarted(node_id=started.node("wf[0].a").id))


# -- on a real server -------------------------------------------------------------------------------------------------

ALL = """
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - {name: gen, template: gen}
    - name: use
      template: use
      depends: gen
      arguments:
        artifacts:
        - {name: file, from: "{{tasks.gen.outputs.artifacts.file}}"}
        - {name: dir, from: "{{tasks.gen.outputs.artifacts.dir}}"}
        - {name: plain, from: "{{tasks.gen.outputs.artifacts.plain}}"}
        - {name: plaindir, from: "{{tasks.gen.outputs.artifacts.plaindir}}"}
        - {name: zipped, from: "{{tasks.gen.outputs.artifacts.zipped}}"}
        - {name: zipdir, from: "{{tasks.gen.outputs.artifacts.zipdir}}"}
        - {name: sub, from: "{{tasks.gen.outputs.artifacts.plaindir}}", subPath: sub/deep.txt}
- name: gen
  container: {image: alpine, command: [sh, -c], args: ["mkdir -p /out/d/sub; echo one > /out/f; echo two > /out/d/top.txt; echo three > /out/d/sub/deep.txt"]}
  outputs:
    artifacts:
    - {name: file, path: /out/f}
    - {name: dir, path: /out/d}
    - {name: plain, path: /out/f, archive: {none: {}}}
    - {name: plaindir, path: /out/d, archive: {none: {}}}
    - {name: zipped, path: /out/f, archive: {zip: {}}}
    - {name: zipdir, path: /out/d, archive: {zip: {}}}
    - {name: gone, path: /out/none, optional: true}
- name: use
  inputs:
    artifacts: [{name: file, path: /in/file}, {name: dir, path: /in/dir}, {name: plain, path: /in/plain}, {name: plaindir, path: /in/plaindir}, {name: zipped, path: /in/zipped}, {name: zipdir, path: /in/zipdir}, {name: sub, path: /in/sub}, {name: absent, path: /in/absent, optional: true}]
  container: {image: alpine, command: [sh, -c], args: ["cd /in; cat file plain zipped sub dir/top.txt dir/sub/deep.txt plaindir/top.txt zipdir/sub/deep.txt | paste -sd, > /tmp/p; find . -type f | wc -l | tr -d ' ' > /tmp/n"]}
  outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}, {name: count, valueFrom: {path: /tmp/n}}]}
"""


def test_artifacts_1_all_archives(server: Server) -> None:
    """Artifacts 1: files and directories come out as they went in, however they were packed; optional ones may be missing."""
    nodes = run(server, ALL)
    assert nodes["wf"]["phase"] == "Succeeded", nodes
    assert value(nodes["wf.use"]) == "one,one,one,three,two,three,two,three"
    assert value(nodes["wf.use"], "count") == "10"
    files = {
        found["name"]: found["s3"]["key"].rpartition("/")[2]
        for found in nodes["wf.gen"]["outputs"]["artifacts"]
        if found["name"] != "plaindir"
    }
    assert files == {"file": "file.tgz", "dir": "dir.tgz", "plain": "f", "zipped": "zipped.zip", "zipdir": "zipdir.zip"}
    assert artifact(nodes["wf.gen"], "plaindir")["s3"]["key"].endswith("/d/")
    assert set(artifact(nodes["wf.gen"], "file")["s3"]) == {"key"}


VOLUMES = """
entrypoint: main
volumes: [{name: work, emptyDir: {}}]
templates:
- name: main
  steps: [[{name: a, template: gen}], [{name: b, template: use, arguments: {artifacts: [{name: in, from: "{{steps.a.outputs.artifacts.art}}"}]}}]]
- {name: gen, container: {image: alpine, command: [sh, -c], args: ["mkdir -p /mnt/w/d; echo vol > /mnt/w/d/f; echo par > /mnt/w/p"], volumeMounts: [{name: work, mountPath: /mnt/w}]}, outputs: {artifacts: [{name: art, path: /mnt/w/d}], parameters: [{name: p, valueFrom: {path: /mnt/w/p}}]}}
- {name: use, inputs: {artifacts: [{name: in, path: /mnt/w/in}]}, container: {image: alpine, command: [sh, -c], args: ["cat /mnt/w/in/f > /tmp/p"], volumeMounts: [{name: work, mountPath: /mnt/w}]}, outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}}
"""


def test_artifacts_2_on_volumes(server: Server) -> None:
    """Artifacts 2: inputs are placed on mounted volumes, outputs are taken from them."""
    nodes = run(server, VOLUMES)
    assert (value(nodes["wf[0].a"]), value(nodes["wf[1].b"])) == ("par", "vol")


FAILS = """
entrypoint: main
templates:
- name: main
  steps: [[{name: a, template: gen, continueOn: {failed: true}}], [{name: b, template: use, arguments: {artifacts: [{name: in, from: "{{steps.a.outputs.artifacts.art}}"}]}}]]
- {name: gen, container: {image: alpine, command: [sh, -c], args: ["echo x > /tmp/f; exit 2"]}, outputs: {artifacts: [{name: art, path: /tmp/f}]}}
- {name: use, inputs: {artifacts: [{name: in, path: /in}]}, container: {image: alpine, command: [sh, -c], args: ["cat /in > /tmp/p"]}, outputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}}
"""


def test_artifacts_2_of_a_failed_pod(server: Server) -> None:
    """Artifacts 2: what a failed pod has left behind is saved too, and may be read."""
    nodes = run(server, FAILS)
    assert (nodes["wf[0].a"]["phase"], value(nodes["wf[1].b"])) == ("Failed", "x")


LISTS = """
entrypoint: main
templates:
- name: main
  steps: [[{name: ls, template: ls}], [{name: each, template: say, withParam: "{{steps.ls.outputs.result}}", arguments: {parameters: [{name: m, value: "{{item}}"}]}}]]
- name: ls
  data:
    source: {artifactPaths: {name: all, plugin: {name: rclone, key: "far:bucket/dir/"}}}
    transformation: [{expression: "filter(data, {# endsWith 'deep.txt'})"}, {expression: "map(data, {# + '!'})"}]
- {name: say, inputs: {parameters: [{name: m}]}, container: {image: alpine, command: [echo], args: ["{{inputs.parameters.m}}"]}}
"""


def test_artifacts_4_a_listing(server: Server, tmp_path: Path) -> None:
    """Artifacts 4: the transformed listing is the result, and a loop runs over it."""
    del tmp_path
    nodes = run(server, LISTS)
    listed = json.loads(nodes["wf[0].ls"]["outputs"]["result"])
    assert listed == ["bucket/dir/sub/deep.txt!"]
    assert nodes["wf[1].each(0:bucket/dir/sub/deep.txt!)"]["phase"] == "Succeeded"
