"""From templates with init containers, sidecars and container sets to pods of several containers."""

from pathlib import Path
from typing import Any

import pytest
from test_engine_pods import CONTAINER, IMAGES, LOCATOR, REF, built, launch

from jitflow.engine.pods import plan_pod
from jitflow.engine.readiness import commands_of, probes_of
from jitflow.model.pods import ContainerRole, Delivery, Pod, PodContainer, PodProbe
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure

MOUNT = {"name": "shared", "mountPath": "/shared"}
FAR = {"name": "rclone", "key": "far:bucket/in"}


def by_name(pod: Pod) -> dict[str, PodContainer]:
    return {one.name: one for one in pod.containers}


def test_a_template_with_one_container_stays_a_simple_pod() -> None:
    assert built({"container": CONTAINER}).containers == ()


def test_init_containers_and_sidecars_have_their_own_command_environment_and_mounts() -> None:
    beside = {"image": "tool", "command": ["run"], "env": [{"name": "B", "value": "own"}], "workingDir": "/x"}
    pod = built(
        {
            "container": {**CONTAINER, "volumeMounts": [MOUNT]},
            "initContainers": [{"name": "first", **beside, "mirrorVolumeMounts": True}],
            "sidecars": [{"name": "side", **beside}],
        },
        capture_result=True,
    )
    found = by_name(pod)
    assert [(one.name, one.role) for one in pod.containers] == [
        ("first", ContainerRole.INIT),
        ("main", ContainerRole.MAIN),
        ("side", ContainerRole.SIDECAR),
    ]
    assert (found["side"].command, found["side"].working_dir, found["main"].command) == (("run",), "/x", ("/tool", "x"))
    environment = dict(found["side"].env)
    assert (environment["A"], environment["B"], environment["ARGO_CONTAINER_NAME"]) == ("image", "own", "side")
    assert [volume.path for volume in found["first"].volumes] == ["/shared"]
    assert found["side"].volumes == ()
    assert (found["main"].capture_result, found["side"].capture_result) == (True, False)


def test_a_container_set_shares_mounts_and_collects_from_main() -> None:
    pod = built(
        {
            "containerSet": {
                "volumeMounts": [MOUNT],
                "retryStrategy": {"retries": "2", "duration": "1s"},
                "containers": [{"name": "a", **CONTAINER}, {"name": "main", **CONTAINER, "dependencies": ["a"]}],
            },
            "outputs": {"parameters": [{"name": "p", "valueFrom": {"path": "/shared/p"}}]},
        },
        capture_result=True,
    )
    found = by_name(pod)
    assert found["main"].dependencies == ("a",)
    assert [one.volumes[0].path for one in pod.containers] == ["/shared", "/shared"]
    assert [(one.retries, one.retry_delay_s) for one in pod.containers] == [(2, 1.0), (2, 1.0)]
    assert ([len(one.outputs) for one in pod.containers], found["a"].capture_result) == ([0, 1], False)


def test_data_in_a_volume_is_placed_once_before_all_containers(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.write_text("x")
    group: dict[str, Any] = {"volumeMounts": [MOUNT], "containers": [{"name": name, **CONTAINER} for name in ("a", "main")]}
    artifacts = [{"name": "i", "path": "/shared/in", "plugin": FAR, "archive": {"none": {}}}]
    pod = built({"containerSet": group, "inputs": {"artifacts": artifacts}}, source=source)
    first = pod.containers[0]
    assert (first.name, first.role, first.command) == ("init", ContainerRole.INIT, ())
    assert [(item.path, item.delivery) for item in first.inputs] == [("/shared/in", Delivery.COPY)]
    assert [volume.path for volume in first.volumes] == ["/shared"]
    assert [one.inputs for one in pod.containers[1:]] == [(), ()]
    assert plan_pod("u", launch({"containerSet": group, "inputs": {"artifacts": artifacts}}), LOCATOR, IMAGES).inputs[0][1] == REF


def test_a_sidecar_without_an_image_or_a_known_command_is_refused() -> None:
    with pytest.raises(Refused, match="'s' names no image"):
        built({"container": CONTAINER, "sidecars": [{"name": "s"}]})
    with pytest.raises(Refused, match="entrypoint of the image 'other'"):
        built({"container": CONTAINER, "sidecars": [{"name": "s", "image": "other"}]})


def test_a_set_of_one_container_is_tried_again_too() -> None:
    retry = {"retries": "2", "duration": "1s"}
    pod = built({"containerSet": {"retryStrategy": retry, "containers": [{"name": "a", **CONTAINER}]}})
    assert [(one.name, one.retries) for one in pod.containers] == [("a", 2)]


def test_retries_that_are_no_number_are_refused() -> None:
    with pytest.raises(Refused, match=r"containerSet.retryStrategy of template 't'"):
        built({"containerSet": {"retryStrategy": {"retries": "many"}, "containers": [{"name": "main", **CONTAINER}]}})


def test_the_command_of_a_daemons_probe_runs_in_its_container() -> None:
    probe = {"exec": {"command": ["ask", "it"]}, "periodSeconds": 2, "successThreshold": 3}
    side = {"name": "side", "image": "tool", "command": ["run"], "readinessProbe": probe}
    template = {"container": {**CONTAINER, "readinessProbe": {"tcpSocket": {"port": 80}}}, "sidecars": [side]}
    found = by_name(built({**template, "daemon": True}))
    assert found["main"].probe is None
    assert found["side"].probe == PodProbe(command=("ask", "it"), period_s=2.0, successes=3)
    assert by_name(built(template))["side"].probe is None
    parsed = launch({**template, "daemon": True}).template
    assert (commands_of(parsed), len(probes_of(parsed, "127.64.0.1"))) == ({"side"}, 1)
    with pytest.raises(Refused, match="exec names no command"):
        built({"container": {**CONTAINER, "readinessProbe": {"exec": {}}}, "daemon": True})


def test_pods_that_may_be_connected_to_have_an_address_of_their_own() -> None:
    side = {"name": "side", "image": "tool", "command": ["run"]}
    serving = (
        {"container": CONTAINER, "daemon": True},
        {"container": CONTAINER, "sidecars": [side]},
        {"container": {**CONTAINER, "ports": [{"containerPort": 80}]}},
        {"containerSet": {"containers": [{"name": name, **CONTAINER} for name in ("a", "main")]}},
    )
    assert all(built(template).address.startswith("127.") for template in serving)
    assert built({"container": CONTAINER}).address == ""
    assert built({"container": CONTAINER, "initContainers": [side]}).address == ""
