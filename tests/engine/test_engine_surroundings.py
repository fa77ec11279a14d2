"""Environment, volumes, node selectors and patches of pods."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from test_engine_pods import CONTAINER, IMAGES, LOCATOR, launch
from test_engine_runs import World, phase, workflow

from jitflow.engine.images import Images
from jitflow.engine.patches import patched
from jitflow.engine.pods import build_pod, plan_pod
from jitflow.engine.surroundings import Surroundings, unschedulable
from jitflow.model import argo
from jitflow.model.objects import ConfigMap, Secret
from jitflow.model.pods import Pod, PodImage
from jitflow.model.problems import Refused
from jitflow.ports.dataplane import Lease
from jitflow.testing.fake_executor import ScriptedEnd

pytestmark = pytest.mark.pure

OBJECTS: dict[str, Any] = {
    "ConfigMap/c": ConfigMap(data={"a": "1", "b": "two\n"}),
    "Secret/s": Secret(data={"password": "aHVudGVyMg=="}),
}


class Objects:
    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        assert namespace == "default"
        return OBJECTS.get(f"{kind.__name__}/{name}")


class Claims:
    def path(self, namespace: str, claim: str) -> str:
        return f"/claims/{namespace}/{claim}"


AROUND = Surroundings(objects=Objects(), claims=Claims(), node_labels={"kubernetes.io/arch": "amd64"}, host_name="here")


def built(template: dict[str, Any]) -> Pod:
    plan = plan_pod("u", launch(template), LOCATOR, IMAGES)
    return build_pod("u.n", plan, Lease(step="u/n", paths={}), environment={"PATH": "/bin"}, grace_s=5.0, now=0.0, around=AROUND)


def environment(*variables: dict[str, Any], sources: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    return dict(built({"container": {**CONTAINER, "env": variables, "envFrom": sources}}).env)


def reference(kind: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": "V", "valueFrom": {kind: {"name": name, "key": key, **more}}}


def test_variables_come_from_objects_and_from_the_pod_itself() -> None:
    found = environment(
        reference("configMapKeyRef", "c", "b"),
        {"name": "W", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "H", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "X", "value": "$(W)-$$(W)-$(gone)"},
        sources=({"configMapRef": {"name": "c"}, "prefix": "C_"}, {"secretRef": {"name": "none", "optional": True}}),
    )
    assert (found["V"], found["W"], found["N"], found["H"]) == ("two\n", "hunter2", "wf-t-1", "here")
    assert found["X"] == "hunter2-$(W)-$(gone)"
    assert (found["C_a"], found["C_b"]) == ("1", "two\n")


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("$(WHO)", "me"),
        ("-$(WHO)/$(ARGO_WORKFLOW_NAME)-", "-me/wf-"),
        ("$(date)", "$(date)"),
        ("$(PATH)", "$(PATH)"),
        ("$$(WHO) $$ $WHO ${WHO} $(WHO", "$(WHO) $ $WHO ${WHO} $(WHO"),
        ("$(( ${RANDOM} % 5 ))", "$(( ${RANDOM} % 5 ))"),
    ],
)
def test_a_command_names_variables_of_the_template_and_of_argo(word: str, becomes: str) -> None:
    variables = [{"name": "WHO", "value": "me"}]
    pod = built({"container": {**CONTAINER, "command": ["echo", word], "args": [word], "env": variables}})
    assert pod.command == ("echo", becomes, becomes)


def test_an_image_command_is_left_as_it_is() -> None:
    images = Images({"i": PodImage(name="i", entrypoint=("run", "$(WHO)"), cmd=("$(WHO)",))})
    variables = [{"name": "WHO", "value": "me"}]
    commands = []
    for args in ((), ("$(WHO)",)):
        template = {"container": {"image": "i", "args": args, "env": variables}}
        plan = plan_pod("u", launch(template), LOCATOR, images)
        commands.append(build_pod("u.n", plan, Lease(step="u/n", paths={}), environment={}, grace_s=5.0, now=0.0).command)
    assert commands == [("run", "$(WHO)", "$(WHO)"), ("run", "$(WHO)", "me")]


def test_what_is_missing_is_named_unless_it_is_optional() -> None:
    assert "V" not in environment(reference("configMapKeyRef", "c", "none", optional=True))
    assert "V" not in environment(reference("secretKeyRef", "none", "k", optional=True))
    for variable, message in (
        (reference("configMapKeyRef", "c", "none"), "configmap \"c\" has no key 'none'"),
        (reference("secretKeyRef", "none", "k"), 'secret "none" not found'),
        ({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.gone"}}}, "'spec.gone' is not known"),
    ):
        with pytest.raises(Refused, match=message):
            environment(variable)
    with pytest.raises(Refused, match='configmap "none" not found'):
        environment(sources=({"configMapRef": {"name": "none"}},))


def mounted(volume: dict[str, Any], **mount: Any) -> Pod:
    mounts = [{"name": "v", "mountPath": "/m", **mount}]
    return built({"container": {**CONTAINER, "volumeMounts": mounts}, "volumes": [{"name": "v", **volume}]})


def test_objects_are_shown_as_files() -> None:
    files = {file.path: (file.content, file.mode) for file in mounted({"configMap": {"name": "c"}}).files}
    assert files == {"/m/a": (b"1", 0o644), "/m/b": (b"two\n", 0o644)}
    items = [{"key": "password", "path": "deep/p", "mode": 256}]
    assert [(f.path, f.content, f.mode) for f in mounted({"secret": {"secretName": "s", "items": items}}).files] == [
        ("/m/deep/p", b"hunter2", 0o400)
    ]
    assert [f.path for f in mounted({"configMap": {"name": "c"}}, subPath="a").files] == ["/m"]
    sources = [
        {"configMap": {"name": "c"}},
        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    assert sorted(f.path for f in mounted({"projected": {"sources": sources}}).files) == ["/m/a", "/m/b", "/m/n"]
    with pytest.raises(Refused, match=r"without '\.\.'"):
        mounted({"configMap": {"name": "c", "items": [{"key": "a", "path": "../../etc/x"}]}})
    with pytest.raises(Refused, match='secret "none" not found'):
        mounted({"secret": {"secretName": "none"}})


def test_the_pod_knows_which_texts_are_secret() -> None:
    by_name = {"name": "W", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}
    template = {"container": {**CONTAINER, "env": [by_name, {"name": "X", "value": "open"}]}}
    assert built(template).hidden == ("hunter2",)
    assert built(
        {"container": {**CONTAINER, "envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]}}
    ).hidden == ("hunter2",)
    assert mounted({"secret": {"secretName": "s"}}).hidden == ("hunter2",)
    assert "hunter2" in mounted({"projected": {"sources": [{"secret": {"name": "s"}}]}}).hidden
    assert not mounted({"configMap": {"name": "c"}}).hidden
    beside = {"container": CONTAINER, "sidecars": [{"name": "side", **CONTAINER, "env": [by_name]}]}
    assert [one.hidden for one in built(beside).containers] == [("hunter2",), ("hunter2",)]


def test_secrets_are_marked_as_such() -> None:
    mixed = [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]
    assert [file.secret for file in mounted({"secret": {"secretName": "s"}}).files] == [True]
    assert {file.secret for file in mounted({"projected": {"sources": mixed}}).files} == {True}
    assert {file.secret for file in mounted({"configMap": {"name": "c"}}).files} == {False}


def test_a_secret_in_a_shared_volume_is_not_placed_there() -> None:
    mounts = [{"name": "e", "mountPath": "/e"}, {"name": "v", "mountPath": "/e/key"}]
    group = {"volumeMounts": mounts, "containers": [{"name": name, **CONTAINER} for name in ("a", "main")]}
    pod = built({"containerSet": group, "volumes": [{"name": "e", "emptyDir": {}}, {"name": "v", "secret": {"secretName": "s"}}]})
    assert [[file.path for file in one.files] for one in pod.containers] == [["/e/key/password"]] * 2


def test_sub_paths_may_name_variables() -> None:
    def volume(expression: str, **more: Any) -> str:
        mount = {"name": "v", "mountPath": "/m", "subPathExpr": expression, **more}
        container = {**CONTAINER, "env": [{"name": "WHO", "value": "me"}], "volumeMounts": [mount]}
        return built({"container": container, "volumes": [{"name": "v", "emptyDir": {}}]}).volumes[0].sub_path

    assert volume("of/$(WHO)") == "of/me"
    with pytest.raises(Refused, match="'NOBODY' is not defined"):
        volume("$(NOBODY)")
    with pytest.raises(Refused, match="both subPath and subPathExpr"):
        volume("x", subPath="y")


def test_claims_are_mounted_directories() -> None:
    (volume,) = mounted({"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}, subPath="x").volumes
    assert (volume.source, volume.sub_path, volume.read_only) == ("/claims/default/data", "x", True)


def test_a_volume_that_says_no_more_than_its_name_is_an_empty_directory() -> None:
    (volume,) = mounted({}, mountPath="below/root").volumes
    assert (volume.source, volume.memory, volume.path) == ("", False, "/below/root")


def test_node_selectors_are_matched_against_this_machine() -> None:
    fits = launch({"container": CONTAINER, "nodeSelector": {"kubernetes.io/arch": "amd64"}})
    assert unschedulable(fits, AROUND) == ""
    other = launch({"container": CONTAINER, "nodeSelector": {"kubernetes.io/arch": "no-such-arch"}})
    assert "kubernetes.io/arch=no-such-arch" in unschedulable(other, AROUND)


def test_pod_spec_patches_are_merged_the_workflows_first() -> None:
    template = argo.Template(name="t", container=argo.Container(image="a", env=(argo.EnvVar(name="A", value="1"),)))
    patch = '{"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}], "image": "b"}], "activeDeadlineSeconds": 5}'
    found = patched(template, "containers: [{name: main, image: c, workingDir: /w}]", patch)
    assert found.container is not None
    assert (found.container.image, found.container.working_dir, found.active_deadline_seconds) == ("b", "/w", 5)
    assert [variable.name for variable in found.container.env] == ["A", "B"]
    assert patched(template, "", None) is template
    resources = "{resources: {requests: {memory: 10Ki}}}"
    argos = f"{{initContainers: [{{name: init, {resources[1:]}], containers: [{{name: wait, {resources[1:]}]}}"
    assert (patched(template, argos).init_containers, patched(template, argos).sidecars) == ((), ()), "Argo's own containers"
    for bad, message in (
        ("[", "neither YAML nor JSON"),
        ("x", "must be a mapping"),
        ("containers: [{name: main, image: []}]", "image"),
    ):
        with pytest.raises(Refused, match=message):
            patched(template, bad)


def test_a_patched_template_runs_patched(tmp_path: Path) -> None:
    pod = built({"container": CONTAINER, "podSpecPatch": "containers: [{name: main, args: [patched], workingDir: /there}]"})
    assert (pod.command, pod.working_dir) == (("/tool", "patched"), "/there")


def test_pods_start_when_the_claims_are_made(tmp_path: Path) -> None:
    made = asyncio.Event()

    class Keeper:
        async def make(self, namespace: str, claims: Collection[argo.PersistentVolumeClaim]) -> None:
            await made.wait()

        async def drop(self, namespace: str, names: Collection[str]) -> None:
            """Nothing is kept."""

    async def scenario() -> None:
        world = World(tmp_path, lambda _: ScriptedEnd())
        world.claims = Keeper()
        async with world.engine() as engine:
            claims = "volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]"
            run = await engine.create(
                workflow(f"entrypoint: a\n{claims}\ntemplates: [{{name: a, container: {{image: i, command: [x]}}}}]")
            )
            await asyncio.sleep(0.1)
            assert world.machine.started == {}
            made.set()
            await phase(engine, run.uid, "Succeeded")

    asyncio.run(scenario())


def test_a_deleted_workflow_takes_its_claims_along(tmp_path: Path) -> None:
    dropped: list[tuple[str, list[str]]] = []

    class Keeper:
        async def make(self, namespace: str, claims: Collection[argo.PersistentVolumeClaim]) -> None:
            dropped.append((namespace, [(claim.metadata and claim.metadata.name) or "" for claim in claims]))

        async def drop(self, namespace: str, names: Collection[str]) -> None:
            dropped.append((namespace, list(names)))

    async def scenario() -> None:
        world = World(tmp_path, lambda _: ScriptedEnd(exit_code=1))
        world.claims = Keeper()
        async with world.engine() as engine:
            claims = "volumeClaimTemplates: [{metadata: {name: d}, spec: {}}]"
            text = f"entrypoint: a\n{claims}\ntemplates: [{{name: a, container: {{image: i, command: [x]}}}}]"
            run = await engine.create(workflow(text))
            await phase(engine, run.uid, "Failed")
            assert dropped == [("default", ["wf-d"])]  # made; a failed workflow keeps its claims, for it may be retried
            await engine.delete(run.uid)
            assert dropped[1:] == [("default", ["wf-d"])]

    asyncio.run(scenario())
