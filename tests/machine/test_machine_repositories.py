"""Artifact repositories: which one a workflow uses, the keys of its outputs, what its status tells."""

import pytest
from machine_driver import Run, workflow

from jitflow import machine
from jitflow.machine import locations
from jitflow.model import argo, repositories
from jitflow.model.objects import ConfigMap, Objects
from jitflow.model.repositories import key_format, parse, relocated

pytestmark = pytest.mark.pure

MINIO = "s3:\n  bucket: my-bucket\n  endpoint: minio:9000\n  insecure: true\n  accessKeySecret: {name: cred, key: user}\n"
WRITER = """
entrypoint: main
templates:
- name: main
  inputs: {parameters: [{name: who, value: me}]}
  container: {image: busybox}
  outputs: {artifacts: [{name: out, path: /o}]}
"""


class Kept:
    """ConfigMaps of the namespace `default`."""

    def __init__(self, **maps: ConfigMap) -> None:
        self._maps = maps

    def find(self, kind: type, namespace: str, name: str):  # type: ignore[no-untyped-def]
        return self._maps.get(name.replace("-", "_")) if kind is ConfigMap and namespace == "default" else None


def config(default: str = "", **data: str) -> ConfigMap:
    annotations = {repositories.DEFAULT_KEY: default} if default else {}
    return ConfigMap(metadata=argo.ObjectMeta(annotations=annotations), data={k.replace("_", "-"): v for k, v in data.items()})


def begun(spec: str, objects: Objects) -> Run:
    run = Run(workflow(spec), objects=objects)
    run.begin()
    return run


def output(run: Run) -> argo.Artifact:
    template = run.launch("wf").template
    assert template.outputs is not None
    return template.outputs.artifacts[0]


def test_without_a_config_map_the_server_says_where_outputs_go() -> None:
    run = begun(WRITER, Kept())
    assert output(run).s3 == argo.S3Artifact(key="wf/wf/out.tgz")
    assert run.launch("wf").workflow_level.repository is None
    told = machine.status(run.state, run.now).artifact_repository_ref
    assert told is not None
    assert told.default is True


def test_the_servers_key_format_is_rendered() -> None:
    own = argo.ArtifactRepositoryRefStatus(
        default=True,
        artifact_repository=argo.ArtifactRepository(
            s3=argo.S3ArtifactRepository(key_format="{{workflow.creationTimestamp.Y}}/{{inputs.parameters.who}}/{{pod.name}}/")
        ),
    )
    run = Run(workflow(WRITER))
    run.state = machine.new_state(run.workflow, now=run.now, repository=own)
    run.begin()
    assert output(run).s3 == argo.S3Artifact(key="2026/me/wf/out.tgz")
    assert [step.outputs[0].s3 for step in machine.forecast(run.state)] == [output(run).s3]


def test_a_config_map_of_the_namespace_has_the_default() -> None:
    objects = Kept(artifact_repositories=config("one", one=MINIO, two="gcs: {bucket: g}"))
    run = begun(WRITER, objects)
    told = machine.status(run.state, run.now).artifact_repository_ref
    assert told is not None
    assert (told.config_map, told.key, told.namespace, told.default) == ("artifact-repositories", "one", "default", None)
    assert told.artifact_repository == run.launch("wf").workflow_level.repository
    assert output(run).s3 == argo.S3Artifact(key="wf/wf/out.tgz")  # nothing but the key, as in Argo


def test_a_workflow_chooses_a_key_and_its_kind_of_location() -> None:
    objects = Kept(artifact_repositories=config("one", one=MINIO, two="gcs: {bucket: g, keyFormat: 'a/{{pod.name}}'}"))
    run = begun("artifactRepositoryRef: {key: two}" + WRITER, objects)
    assert output(run).gcs == argo.GCSArtifact(key="a/wf/out.tgz")
    assert output(run).s3 is None


def test_the_choice_is_kept_when_the_config_map_changes() -> None:
    run = begun(WRITER, Kept(artifact_repositories=config("one", one=MINIO)))
    header = machine.encode_header(run.state)
    restored = machine.restore(header, [machine.encode_node(node) for node in run.state.nodes.values()])
    assert restored.run.repository == run.state.run.repository
    assert restored.run.repository.key == "one"


@pytest.mark.parametrize(
    ("spec", "objects", "words"),
    [
        ("artifactRepositoryRef: {configMap: mine, key: a}", Kept(), ['"mine" not found in namespace "default"']),
        (
            "artifactRepositoryRef: {key: a}",
            Kept(artifact_repositories=config(b=MINIO)),
            ['no key "a"', "its keys are: b"],
        ),
        ("", Kept(artifact_repositories=config(b=MINIO)), ["names no default", repositories.DEFAULT_KEY]),
        ("artifactRepositoryRef: {key: a}", Kept(artifact_repositories=config(a="s3: [")), ['key "a"', "while parsing"]),
        ("artifactRepositoryRef: {key: a}", Kept(artifact_repositories=config(a="s4: {}")), ["s4"]),
        ("artifactRepositoryRef: {key: a}", Kept(artifact_repositories=config(a="")), ["names no store"]),
    ],
)
def test_what_is_not_there_ends_the_workflow_in_error(spec: str, objects: Objects, words: list[str]) -> None:
    run = begun(spec + WRITER, objects)
    status = machine.status(run.state, run.now)
    assert status.phase == "Error"
    for word in ["artifact repository", *words]:
        assert word in (status.message or "")


def test_an_archive_location_goes_before_the_repository() -> None:
    spec = WRITER.replace("- name: main", "- name: main\n  archiveLocation: {s3: {bucket: b, key: 'x/{{pod.name}}'}}")
    run = begun(spec, Kept(artifact_repositories=config("one", one=MINIO)))
    assert output(run).s3 == argo.S3Artifact(bucket="b", key="x/wf/out.tgz")


def test_key_formats() -> None:
    assert key_format(parse(MINIO, "")) == "{{workflow.name}}/{{pod.name}}"
    assert key_format(parse("s3: {bucket: b, keyPrefix: p/}", "")) == "p/{{workflow.name}}/{{pod.name}}"
    assert key_format(parse("azure: {container: c, endpoint: e, blobNameFormat: f}", "")) == "f"
    assert key_format(parse("hdfs: {addresses: ['a:1'], pathFormat: /p}", "")) == "/p"


KEY = argo.S3Artifact(key="k")


def placed(**fields: object) -> argo.Artifact:
    return argo.Artifact(name="a", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("repository", "given", "expected"),
    [
        (
            MINIO,
            placed(s3=argo.S3Artifact(key="k")),
            placed(
                s3=argo.S3Artifact(
                    key="k",
                    bucket="my-bucket",
                    endpoint="minio:9000",
                    insecure=True,
                    access_key_secret=argo.SecretKeySelector(name="cred", key="user"),
                )
            ),
        ),
        ("gcs: {bucket: g, keyFormat: x}", placed(s3=KEY), placed(gcs=argo.GCSArtifact(bucket="g", key="k"))),
        ("gcs: {bucket: g}", placed(s3=argo.S3Artifact(key="k", bucket="b")), placed(s3=argo.S3Artifact(key="k", bucket="b"))),
        (
            "s3: {bucket: g, endpoint: e}",
            placed(s3=argo.S3Artifact(key="k", bucket="b")),
            placed(s3=argo.S3Artifact(key="k", bucket="b", endpoint="e")),
        ),
        (MINIO, placed(s3=argo.S3Artifact(key="k", endpoint="other")), placed(s3=argo.S3Artifact(key="k", endpoint="other"))),
        (
            "azure: {container: c, endpoint: 'https://a.b'}",
            placed(azure=argo.AzureArtifact(blob="k", container="", endpoint="")),
            placed(azure=argo.AzureArtifact(blob="k", container="c", endpoint="https://a.b")),
        ),
        ("hdfs: {addresses: [n], pathFormat: /x}", placed(s3=KEY), placed(hdfs=argo.HDFSArtifact(addresses=("n",), path="k"))),
        (
            "artifactory: {repoURL: 'http://a/b'}",
            placed(s3=argo.S3Artifact(key="k")),
            placed(artifactory=argo.ArtifactoryArtifact(url="http://a/b/k")),
        ),
        (MINIO, placed(plugin=argo.PluginArtifact(key="far:x")), placed(plugin=argo.PluginArtifact(key="far:x"))),
        (MINIO, placed(raw=argo.RawArtifact(data="x")), placed(raw=argo.RawArtifact(data="x"))),
    ],
)  # fmt: skip
def test_a_key_is_completed_by_the_repository(repository: str, given: argo.Artifact, expected: argo.Artifact) -> None:
    assert relocated(given, parse(repository, "")) == expected


@pytest.mark.parametrize(
    "kind",
    [
        "s3: {}",
        "gcs: {}",
        "oss: {}",
        "azure: {container: c, endpoint: e}",
        "hdfs: {}",
        "plugin: {name: p, configuration: c}",
        "artifactory: {repoURL: 'http://a/'}",
    ],
)
def test_what_one_step_writes_another_finds(kind: str) -> None:
    """The key alone in the node's status, and the repository, name the place that the whole location would name."""
    repository = parse(kind, "")
    written = repositories.keyed(placed(), repository, "wf/pod/out.tgz")
    found = relocated(written, repository)
    assert repositories.kind_of(repository) == locations.store_of(found)
    assert "wf/pod/out.tgz" in str(found)
