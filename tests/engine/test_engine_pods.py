"""From a resolved template and a lease to a pod."""

import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jitflow.engine.images import Images
from jitflow.engine.locations import Locator, RemoteName
from jitflow.engine.pods import build_pod, declared_output_bytes, declared_run_s, plan_pod
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.pods import Archive, Delivery, Pod, PodImage
from jitflow.model.problems import Refused
from jitflow.model.runs import LaunchPod, PodDefaults
from jitflow.ports.dataplane import Lease

pytestmark = pytest.mark.pure

LOCATOR = Locator(remotes={"far": RemoteName(type="s3")}, repository=ObjectRef(remote="far", path="artifacts"))
IMAGES = Images({"tool": PodImage(name="tool", entrypoint=("/tool",), env={"A": "image", "B": "image"}, working_dir="/w")})
CONTAINER = {"image": "tool", "args": ["x"]}
FAR = {"name": "rclone", "key": "far:bucket/in"}
REF = ObjectRef(remote="far", path="bucket/in")


def launch(template: dict[str, Any], **fields: Any) -> LaunchPod:
    body = msgspec.convert({"name": "t", **template}, argo.Template)
    volumes = msgspec.convert([{"name": "shared", "emptyDir": {}}], tuple[argo.Volume, ...])
    level = PodDefaults(namespace="default", workflow_name="wf", workflow_uid="u", volumes=volumes)
    return LaunchPod(key="n", node_id="n", pod_name="wf-t-1", template=body, workflow_level=level, **fields)


def built(template: dict[str, Any], *, source: Path | None = None, now: float = 100.0, **fields: Any) -> Pod:
    plan = plan_pod("u", launch(template, **fields), LOCATOR, IMAGES)
    lease = Lease(step="u/n", paths={REF: str(source)} if source else {})
    return build_pod("u.n", plan, lease, environment={"PATH": "/bin"}, grace_s=5.0, now=now)


def test_a_container_gets_its_images_entrypoint_environment_and_directory() -> None:
    pod = built({"container": {**CONTAINER, "env": [{"name": "B", "value": "own"}]}}, capture_result=True)
    environment = dict(pod.env)
    assert pod.command == ("/tool", "x")
    assert (environment["A"], environment["B"], environment["PATH"], environment["ARGO_NODE_ID"]) == ("image", "own", "/bin", "n")
    assert (pod.working_dir, pod.grace_s, pod.capture_result, pod.deadline_s) == ("/w", 5.0, True, None)


def test_a_scripts_source_is_a_file_and_the_last_argument() -> None:
    pod = built({"script": {"image": "tool", "command": ["sh"], "args": ["-x"], "source": "echo"}})
    assert pod.command == ("sh", "-x", "/argo/staging/script")
    assert (pod.files[0].content, pod.files[0].mode) == (b"echo", 0o755)


def test_a_script_without_a_source_is_a_container() -> None:
    assert built({"script": {"image": "tool", "args": ["y"], "source": ""}}).command == ("/tool", "y")


@pytest.mark.parametrize(
    ("deadline_s", "deadline_at", "expected"), [(None, None, None), (30.0, None, 30.0), (30.0, 110.0, 10.0), (None, 90.0, 0.0)]
)
def test_the_sooner_deadline_counts(deadline_s: float | None, deadline_at: float | None, expected: float | None) -> None:
    assert built({"container": CONTAINER}, deadline_s=deadline_s, deadline_at=deadline_at).deadline_s == expected


def packed(folder: Path) -> Path:
    (folder / "f").write_text("x")
    with tarfile.open(folder / "a.tgz", "w:gz") as archive:
        archive.add(folder / "f", "f")
    return folder / "a.tgz"


@pytest.mark.parametrize(
    ("artifact", "name", "delivery"),
    [
        ({}, "f", Delivery.BIND),
        ({}, "a.tgz", Delivery.UNPACK),
        ({"archive": {"none": {}}}, "a.tgz", Delivery.BIND),
        ({"archive": {"tar": {}}}, "f", Delivery.UNPACK),
        ({"archive": {"zip": {}}}, "f", Delivery.UNPACK),
        ({"mode": 0o755}, "f", Delivery.COPY),
        ({}, "", Delivery.BIND),
        ({"path": "/out"}, "f", Delivery.COPY),
    ],
)
def test_inputs_are_delivered_as_they_are_packed_and_written(
    tmp_path: Path, artifact: dict[str, Any], name: str, delivery: Delivery
) -> None:
    packed(tmp_path)
    inputs = {"artifacts": [{"name": "a", "path": "/in", "plugin": FAR, **artifact}]}
    outputs = {"artifacts": [{"name": "o", "path": "/out/sub", "s3": {"key": "k"}}]}
    pod = built({"container": CONTAINER, "inputs": inputs, "outputs": outputs}, source=tmp_path / name)
    assert [(one.delivery, one.mode) for one in pod.inputs] == [(delivery, artifact.get("mode"))]


def test_a_broken_archive_is_delivered_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\x1f\x8bgarbage")
    inputs = {"artifacts": [{"name": "a", "path": "/in", "plugin": FAR}]}
    assert built({"container": CONTAINER, "inputs": inputs}, source=tmp_path / "f").inputs[0].delivery is Delivery.BIND


def test_a_missing_input_is_refused_unless_it_is_optional() -> None:
    with pytest.raises(Refused, match=r"'a': far:bucket/in is not there"):
        built({"container": CONTAINER, "inputs": {"artifacts": [{"name": "a", "path": "/in", "plugin": FAR}]}})
    optional = {"artifacts": [{"name": "a", "path": "/in", "plugin": FAR, "optional": True}]}
    assert built({"container": CONTAINER, "inputs": optional}).inputs == ()


def test_outputs_and_raw_inputs() -> None:
    template = {
        "container": CONTAINER,
        "inputs": {"artifacts": [{"name": "r", "path": "/raw", "raw": {"data": "text"}, "mode": 0o700}]},
        "outputs": {
            "parameters": [{"name": "p", "valueFrom": {"path": "/p"}}, {"name": "later", "valueFrom": {"default": "x"}}],
            "artifacts": [
                {"name": "tar", "path": "/t", "s3": {"key": "t"}, "archive": {"tar": {"compressionLevel": 1}}},
                {"name": "zip", "path": "/z", "s3": {"key": "z"}, "archive": {"zip": {}}},
                {"name": "none", "path": "/n", "s3": {"key": "n"}, "archive": {"none": {}}},
            ],
        },
        "metadata": {"annotations": {"jitflow.io/output-size": "20Mi"}},
    }
    pod = built(template)
    assert [(one.name, one.kind, one.archive, one.compression_level) for one in pod.outputs] == [
        ("p", "parameter", Archive.TAR, 6),
        ("tar", "artifact", Archive.TAR, 1),
        ("zip", "artifact", Archive.ZIP, 6),
        ("none", "artifact", Archive.NONE, 6),
    ]
    assert (pod.files[0].path, pod.files[0].content, pod.files[0].mode) == ("/raw", b"text", 0o700)
    plan = plan_pod("u", launch(template), LOCATOR, IMAGES)
    assert [output.size_bytes for output in plan.step.outputs] == [20 * 2**20] * 3
    assert declared_output_bytes(launch({"container": CONTAINER}).template, "tar") is None


def test_annotations_say_how_much_is_written_and_how_long_it_takes() -> None:
    def saying(**annotations: str) -> argo.Template:
        found = {f"jitflow.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
        return launch({"container": CONTAINER, "metadata": {"annotations": found}}).template

    own = saying(output_size="20Mi", **{"output_size.large": "1Gi"})
    assert (declared_output_bytes(own, "large"), declared_output_bytes(own, "other")) == (2**30, 20 * 2**20)
    assert [declared_run_s(saying(expected_duration=text)) for text in ("90", "1h30m", "-3s")] == [90.0, 5400.0, 0.0]
    assert declared_run_s(saying(expected_duration="{{inputs.parameters.later}}")) is None, "only the future knows"
    with pytest.raises(Refused, match=r"jitflow.io/expected-duration is 'long', which is no duration; write one such as 90s"):
        declared_run_s(saying(expected_duration="long"))
    with pytest.raises(Refused, match=r"jitflow.io/output-size.large is 'big', which is no size; write one such as 20Mi"):
        declared_output_bytes(saying(output_size="1", **{"output_size.large": "big"}), "large")


def test_volumes() -> None:
    mounts = [{"name": "shared", "mountPath": "/s"}, {"name": "own", "mountPath": "/o", "readOnly": True, "subPath": "d"}]
    own = [{"name": "own", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]
    pod = built({"container": {**CONTAINER, "volumeMounts": mounts}, "volumes": own})
    assert [(one.path, one.memory, one.read_only, one.sub_path, one.size_limit_bytes) for one in pod.volumes] == [
        ("/s", False, False, "", None),
        ("/o", True, True, "d", 2**20),
    ]
    with pytest.raises(Refused, match=r"'gone'.* is not defined"):
        built({"container": {**CONTAINER, "volumeMounts": [{"name": "gone", "mountPath": "/s"}]}})
    with pytest.raises(Refused, match="does not exist here"):
        built(
            {
                "container": {**CONTAINER, "volumeMounts": [{"name": "h", "mountPath": "/s"}]},
                "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
            }
        )


def test_a_template_without_an_image_or_with_an_unknown_entrypoint_is_refused() -> None:
    with pytest.raises(Refused, match="names no image"):
        plan_pod("u", launch({"container": {}}), LOCATOR, IMAGES)
    with pytest.raises(Refused, match=r"entrypoint of the image 'other'"):
        plan_pod("u", launch({"container": {"image": "other"}}), LOCATOR, IMAGES)
