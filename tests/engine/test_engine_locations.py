"""From an artifact's location to the object."""

import pytest

from jitflow.engine.locations import Locator, RemoteName, check_path, endpoint_names
from jitflow.engine.pods import inputs_named
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.runs import NamedFile

pytestmark = pytest.mark.pure

LOCATOR = Locator(
    remotes={
        "minio": RemoteName(type="s3", endpoints=("minio:9000", "127.0.0.1:9000")),
        "far": RemoteName(type="s3", endpoints=("far.example",)),
        "dav": RemoteName(type="webdav"),
        "artifacts": RemoteName(type="local"),
    },
    repository=ObjectRef(remote="artifacts", path="base/"),
    plugins={"lab": ObjectRef(remote="dav", path="lab/")},
)


def artifact(**fields: object) -> argo.Artifact:
    return argo.Artifact(name="a", path="/tmp/a", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (artifact(s3=argo.S3Artifact(key="wf/pod/a.tgz")), "artifacts:base/wf/pod/a.tgz"),
        (artifact(s3=argo.S3Artifact(key="k", bucket="b")), "artifacts:b/k"),
        (artifact(s3=argo.S3Artifact(key="k", bucket="b", endpoint="minio:9000")), "minio:b/k"),
        (artifact(s3=argo.S3Artifact(key="k", bucket="b", endpoint="http://127.0.0.1:9000/")), "minio:b/k"),
        (artifact(s3=argo.S3Artifact(key="d/", bucket="b", endpoint="FAR.example")), "far:b/d/"),
        (artifact(s3=argo.S3Artifact(key="d/", bucket="b", endpoint="far.example"), sub_path="x/y"), "far:b/d/x/y"),
        (artifact(plugin=argo.PluginArtifact(name="rclone", key="dav:x/y.nc")), "dav:x/y.nc"),
        (artifact(plugin=argo.PluginArtifact(key="wf/a")), "artifacts:base/wf/a"),
        (artifact(plugin=argo.PluginArtifact(name="lab", key="x/y", configuration="z")), "dav:lab/x/y"),
    ],
)
def test_locations(given: argo.Artifact, expected: str) -> None:
    assert str(LOCATOR.find(given)) == expected


def test_a_repository_of_the_workflow_completes_keys() -> None:
    own = argo.ArtifactRepository(s3=argo.S3ArtifactRepository(endpoint="minio:9000", bucket="own"))
    assert str(LOCATOR.within("n", own).find(artifact(s3=argo.S3Artifact(key="wf/a")))) == "minio:own/wf/a"
    assert str(LOCATOR.within("n").find(artifact(s3=argo.S3Artifact(key="wf/a")))) == "artifacts:base/wf/a"


def test_no_location() -> None:
    assert LOCATOR.find(artifact(raw=argo.RawArtifact(data="x"))) is None
    assert LOCATOR.find(artifact()) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (artifact(plugin=argo.PluginArtifact(name="rclone", key="gone:x")), ["gone", "configured: artifacts, dav, far, minio"]),
        (artifact(plugin=argo.PluginArtifact(name="rclone", key="nocolon")), ["remote:path"]),
        (artifact(plugin=argo.PluginArtifact(name="other", key="dav:x")), ["other", "rclone", "[artifact_plugins.other]"]),
        (artifact(plugin=argo.PluginArtifact(name="rclone", key="dav:x/../../etc/passwd")), ["'..'"]),
        (artifact(s3=argo.S3Artifact(key="a\\b")), ["backslash"]),
        (artifact(s3=argo.S3Artifact(key="a\x00b")), ["control character"]),
        (artifact(s3=argo.S3Artifact(key="{{inputs.parameters.x}}/b")), ["unresolved tag"]),
    ],
)
def test_refused_locations(given: argo.Artifact, words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        LOCATOR.find(given)
    for word in ["artifact a", *words]:
        assert word in str(caught.value)


def test_two_spellings_of_one_endpoint() -> None:
    assert endpoint_names("http://Minio:9000/") == endpoint_names("minio:9000")


def test_dots_inside_names_are_fine() -> None:
    check_path("a/..b/c..d/...", "here")


def named(far: str, near: str) -> NamedFile:
    def one(endpoint: str) -> argo.Artifact:
        return argo.Artifact(name="f", optional=True, s3=argo.S3Artifact(endpoint=endpoint, bucket="b", key="f"))

    return NamedFile(far=one(far), near=one(near))


def test_files_that_steps_read_by_themselves_are_known_where_both_stores_are_configured():
    (found,) = inputs_named([named("https://far.example", "http://minio:9000")], LOCATOR)
    assert (str(found.ref), str(found.near), found.optional) == ("far:b/f", "minio:b/f", True)
    assert inputs_named([named("https://elsewhere", "http://minio:9000"), named("far.example", "elsewhere")], LOCATOR) == ()
    assert inputs_named([named("http://minio:9000", "http://127.0.0.1:9000")], LOCATOR) == ()
