"""What pods find around them beside data: values of ConfigMaps and Secrets, volumes of claims, what the pod is told of itself."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from jitflow.engine.addresses import address_of, pod_key
from jitflow.expr.durations import parse_quantity
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS, ConfigMap, Objects, Secret
from jitflow.model.pods import PodFile, PodVolume
from jitflow.model.problems import Refused
from jitflow.model.runs import LaunchPod
from jitflow.objects import secret_values

_VARIABLE = re.compile(r"(?<!\$)\$\(([A-Za-z_][-.\w]*)\)")
_FIELD_KEY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Claims(Protocol):
    """Directories that stand for persistent volumes."""

    def path(self, namespace: str, claim: str) -> str:
        """Return a claim's directory.

        Raises:
            Refused: there is no such claim.
        """
        ...


class NoClaims:
    """No claims at all."""

    def path(self, namespace: str, claim: str) -> str:
        """Refuse: there are none."""
        raise Refused(f'persistentvolumeclaim "{claim}" not found in namespace {namespace!r}')


class Surroundings(Struct, frozen=True, kw_only=True):
    """Where pods' values and volumes come from. `node_labels`: what node selectors are matched against."""

    objects: Objects = NO_OBJECTS
    claims: Claims = NoClaims()
    node_labels: Mapping[str, str] = {}
    host_name: str = "localhost"


class Mounts(Struct, frozen=True, kw_only=True):
    """The volumes of one container: real mounts, and files that are made."""

    volumes: tuple[PodVolume, ...] = ()
    files: tuple[PodFile, ...] = ()


def environment(
    container: argo.Container | argo.ScriptTemplate | argo.UserContainer | argo.ContainerNode,
    launch: LaunchPod,
    around: Surroundings,
) -> dict[str, str]:
    """Return a container's own environment: `envFrom`, then `env`, each variable able to name those before it as `$(NAME)`.

    Raises:
        Refused: a ConfigMap, Secret or key is not there and not optional.
    """
    found: dict[str, str] = {}
    for source in container.env_from:
        values = _values_of(source, launch, around)
        found.update({f"{source.prefix or ''}{name}": value for name, value in values.items()})
    for variable in container.env:
        value = variable.value if variable.value_from is None else _value_of(variable, container, launch, around)
        if value is not None or variable.value_from is None:
            found[variable.name] = expanded(value or "", found)
    return found


def secrets_of(
    container: argo.Container | argo.ScriptTemplate | argo.UserContainer | argo.ContainerNode,
    files: Iterable[PodFile],
    launch: LaunchPod,
    around: Surroundings,
) -> tuple[str, ...]:
    """Return the values of Secrets that a container has in its environment or in files."""
    found = [file.content.decode("utf-8", "replace") for file in files if file.secret]
    for source in container.env_from:
        if source.secret_ref is not None:
            found += _values_of(source, launch, around).values()
    for variable in container.env:
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            found.append(_value_of(variable, container, launch, around) or "")
    return tuple(dict.fromkeys(text for text in found if text))


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Return a text with `$(NAME)` replaced by what is known and left where nothing is, and `$$` by `$`, as Kubernetes does.

    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    if "$" not in text:
        return text
    return re.sub(r"\$(?:\$|\(([^)]*)\))", lambda m: "$" if m[1] is None else known.get(m[1], m[0]), text)


def _values_of(source: argo.EnvFromSource, launch: LaunchPod, around: Surroundings) -> dict[str, str]:
    if source.config_map_ref is not None:
        name, optional = source.config_map_ref.name or "", bool(source.config_map_ref.optional)
        values: dict[str, bytes] | None = _config(name, launch, around)
        what = f'configmap "{name}"'
    elif source.secret_ref is not None:
        name, optional = source.secret_ref.name or "", bool(source.secret_ref.optional)
        values, what = _secret(name, launch, around), f'secret "{name}"'
    else:
        return {}
    if values is None:
        if optional:
            return {}
        raise Refused(f"{what} not found in namespace {launch.workflow_level.namespace!r}; create it, or make it optional")
    return {key: value.decode("utf-8", "replace") for key, value in values.items()}


def _value_of(
    variable: argo.EnvVar,
    container: argo.Container | argo.ScriptTemplate | argo.UserContainer | argo.ContainerNode,
    launch: LaunchPod,
    around: Surroundings,
) -> str | None:
    source = variable.value_from
    assert source is not None, "only such variables are asked for"
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        values = _config(reference.name or "", launch, around)
        return _key(values, reference.key, f'configmap "{reference.name}"', bool(reference.optional), variable.name)
    if source.secret_key_ref is not None:
        secret = source.secret_key_ref
        values = _secret(secret.name or "", launch, around)
        return _key(values, secret.key or "", f'secret "{secret.name}"', bool(secret.optional), variable.name)
    if source.field_ref is not None:
        return field_value(source.field_ref.field_path, launch, around)
    if source.resource_field_ref is not None:
        return _resource(source.resource_field_ref, container.resources)
    raise Refused(
        f"the variable {variable.name!r} comes from nowhere; give `value` or one of configMapKeyRef, secretKeyRef, fieldRef"
    )


def _key(values: Mapping[str, bytes] | None, key: str, what: str, optional: bool, name: str) -> str | None:
    value = None if values is None else values.get(key)
    if value is not None:
        return value.decode("utf-8", "replace")
    if optional:
        return None
    lacking = f"{what} not found" if values is None else f"{what} has no key {key!r}"
    raise Refused(f"the variable {name!r}: {lacking}; create it, or make it optional")


def _resource(reference: argo.ResourceFieldSelector, resources: argo.ResourceRequirements | None) -> str:
    kind, _, name = reference.resource.partition(".")
    amounts = (resources.limits if kind == "limits" else resources.requests) if resources is not None else {}
    found = (amounts or {}).get(name, 0)
    divisor = parse_quantity(reference.divisor) if reference.divisor else 1
    return str(int(-(-parse_quantity(found) // max(1, divisor))))


def field_value(path: str, launch: LaunchPod, around: Surroundings) -> str:
    """Return what Kubernetes' downward API says of the pod.

    Raises:
        Refused: it has no such field.
    """
    metadata = launch.template.metadata or argo.Metadata()
    if found := _FIELD_KEY.fullmatch(path):
        return (metadata.labels if found[1] == "labels" else metadata.annotations).get(found[2], "")
    known = {
        "metadata.name": launch.pod_name,
        "metadata.namespace": launch.workflow_level.namespace,
        "metadata.uid": f"{launch.workflow_level.workflow_uid}-{launch.node_id}",
        "metadata.labels": "\n".join(f'{key}="{value}"' for key, value in metadata.labels.items()),
        "metadata.annotations": "\n".join(f'{key}="{value}"' for key, value in metadata.annotations.items()),
        "spec.nodeName": around.host_name,
        "spec.serviceAccountName": "default",
        "status.hostIP": "127.0.0.1",
        "status.podIP": address_of(pod_key(launch.workflow_level.workflow_uid, launch.node_id)),
    }
    if path not in known:
        raise Refused(f"fieldRef {path!r} is not known; the fields are {', '.join(sorted(known))}")
    return known[path]


def _config(name: str, launch: LaunchPod, around: Surroundings) -> dict[str, bytes] | None:
    found = around.objects.find(ConfigMap, launch.workflow_level.namespace, name)
    return None if found is None else {key: value.encode() for key, value in found.data.items()}


def _secret(name: str, launch: LaunchPod, around: Surroundings) -> dict[str, bytes] | None:
    found = around.objects.find(Secret, launch.workflow_level.namespace, name)
    return None if found is None else secret_values(found)


# -- volumes ----------------------------------------------------------------------------------------------------------


def in_root(path: str) -> str:
    """Return where something is mounted: as in Kubernetes, a relative path begins at the root."""
    return path if not path or path.startswith("/") else f"/{path}"


def mounts(
    template: argo.Template,
    wanted: Sequence[argo.VolumeMount],
    launch: LaunchPod,
    around: Surroundings,
    env: Mapping[str, str],
) -> Mounts:
    """Return what a container's `volumeMounts` come to; `env`: its environment, which a `subPathExpr` may name.

    Raises:
        Refused: a volume is not defined, of a kind that does not exist here, or what it shows is not there.
    """
    known = {volume.name: volume for volume in (*launch.workflow_level.volumes, *template.volumes)}
    volumes: list[PodVolume] = []
    files: list[PodFile] = []
    for mount in (_with_sub_path(mount, env) for mount in wanted):
        volume = known.get(mount.name)
        if volume is None:
            raise Refused(f"the volume {mount.name!r} of template {template.name!r} is not defined; add it under `volumes:`")
        shown = _shown(volume, launch, around)
        if shown is None:
            volumes.append(_mounted(volume, mount, launch, around))
        else:
            files += _files(mount, shown, secret=_is_secret(volume))
    return Mounts(volumes=tuple(volumes), files=tuple(files))


def _with_sub_path(mount: argo.VolumeMount, env: Mapping[str, str]) -> argo.VolumeMount:
    """Return a mount whose `subPathExpr` has become a `subPath`."""
    expression = mount.sub_path_expr
    if not expression:
        return mount
    if mount.sub_path:
        raise Refused(f"the mount {mount.name!r} has both subPath and subPathExpr; leave one out")
    path = expanded(expression, env)
    if unknown := _VARIABLE.search(path):
        raise Refused(f"subPathExpr {expression!r}: the variable {unknown[1]!r} is not defined; add it to `env`")
    return replace(mount, sub_path=path)


def _mounted(volume: argo.Volume, mount: argo.VolumeMount, launch: LaunchPod, around: Surroundings) -> PodVolume:
    claim = volume.persistent_volume_claim
    empty = volume.empty_dir
    if claim is None and empty is None and volume.ephemeral is None and volume != argo.Volume(name=volume.name):
        raise Refused(
            f"the volume {volume.name!r} is of a kind that does not exist here; use emptyDir, a claim, a ConfigMap or a Secret"
        )
    limit = empty.size_limit if empty is not None else None
    return PodVolume(
        name=mount.name,
        path=in_root(mount.mount_path or ""),
        source=around.claims.path(launch.workflow_level.namespace, claim.claim_name) if claim is not None else "",
        sub_path=mount.sub_path or "",
        read_only=bool(mount.read_only or (claim is not None and claim.read_only)),
        memory=empty is not None and empty.medium == "Memory",
        size_limit_bytes=int(parse_quantity(str(limit))) if limit is not None else None,
    )


def _shown(volume: argo.Volume, launch: LaunchPod, around: Surroundings) -> list[tuple[str, bytes, int]] | None:
    """Return the files (path, content, mode) that a volume shows; None for one that is a directory."""
    if volume.config_map is not None:
        source = volume.config_map
        values = _config(source.name or "", launch, around)
        return _listed(values, source.items, source.default_mode, f'configmap "{source.name}"', bool(source.optional))
    if volume.secret is not None:
        secret = volume.secret
        values = _secret(secret.secret_name or "", launch, around)
        return _listed(values, secret.items, secret.default_mode, f'secret "{secret.secret_name}"', bool(secret.optional))
    if volume.downward_api is not None:
        return _downward(volume.downward_api.items, launch, around)
    if volume.projected is not None:
        found: list[tuple[str, bytes, int]] = []
        for part in volume.projected.sources:
            found += _projected(part, volume.projected.default_mode, launch, around)
        return found
    return None


def _projected(
    part: argo.VolumeProjection, mode: int | None, launch: LaunchPod, around: Surroundings
) -> list[tuple[str, bytes, int]]:
    if part.config_map is not None:
        values, name = _config(part.config_map.name or "", launch, around), part.config_map.name
        return _listed(values, part.config_map.items, mode, f'configmap "{name}"', bool(part.config_map.optional))
    if part.secret is not None:
        values, name = _secret(part.secret.name or "", launch, around), part.secret.name
        return _listed(values, part.secret.items, mode, f'secret "{name}"', bool(part.secret.optional))
    if part.downward_api is not None:
        return _downward(part.downward_api.items, launch, around)
    raise Refused("a projected volume can show ConfigMaps, Secrets and the downward API only")


def _downward(
    items: Iterable[argo.DownwardAPIVolumeFile], launch: LaunchPod, around: Surroundings
) -> list[tuple[str, bytes, int]]:
    return [
        (item.path, field_value(item.field_ref.field_path, launch, around).encode(), item.mode or 0o644)
        for item in items
        if item.field_ref is not None
    ]


def _listed(
    values: Mapping[str, bytes] | None, items: Sequence[argo.KeyToPath], mode: int | None, what: str, optional: bool
) -> list[tuple[str, bytes, int]]:
    if values is None:
        if optional:
            return []
        raise Refused(f"{what} not found; create it, or make it optional")
    rights = 0o644 if mode is None else mode
    if not items:
        return [(key, value, rights) for key, value in values.items()]
    found: list[tuple[str, bytes, int]] = []
    for item in items:
        value = values.get(item.key)
        if value is not None:
            found.append((item.path, value, rights if item.mode is None else item.mode))
        elif not optional:
            raise Refused(f"{what} has no key {item.key!r}")
    return found


def _is_secret(volume: argo.Volume) -> bool:
    parts = volume.projected.sources if volume.projected is not None else ()
    return volume.secret is not None or any(part.secret is not None for part in parts)


def _files(mount: argo.VolumeMount, shown: Iterable[tuple[str, bytes, int]], *, secret: bool) -> list[PodFile]:
    """Return the files of a volume where a container mounts it; `subPath` mounts one file, or what lies below a directory."""
    base, part = in_root(mount.mount_path or "").rstrip("/"), (mount.sub_path or "").strip("/")
    files: list[PodFile] = []
    for path, content, mode in shown:
        if ".." in path.split("/") or path.startswith("/"):
            raise Refused(f"the path {path!r} of volume {mount.name!r} must be relative and without '..'")
        if not part:
            place = f"{base}/{path}"
        elif path == part:
            place = base
        elif path.startswith(f"{part}/"):
            place = f"{base}/{path.removeprefix(part + '/')}"
        else:
            continue
        files.append(PodFile(path=place, content=content, mode=mode, secret=secret))
    return files


def unschedulable(launch: LaunchPod, around: Surroundings) -> str:
    """Return why no node can take a pod, empty when this one can."""
    wanted = {**launch.workflow_level.node_selector, **launch.template.node_selector}
    lacking = [f"{key}={value}" for key, value in wanted.items() if around.node_labels.get(key) != value]
    if not lacking:
        return ""
    return f"Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector ({', '.join(lacking)})"
