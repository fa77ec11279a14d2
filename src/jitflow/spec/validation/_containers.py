"""Sets of containers in one pod: names, mounts, order."""

from __future__ import annotations

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._graph import Graph
from jitflow.spec.validation._report import Report, check_names, suggest


def check_container_set(report: Report, template: argo.Template, path: Path) -> None:
    """Check the containers of a `containerSet`, as Argo does."""
    group = template.container_set
    if group is None:
        return
    here = (*path, "containerSet")
    prefix = f"templates.{template.name}.containerSet"
    if not group.containers:
        report.add(here, f"{prefix}.containers must have at least one container", "add one to `containers:`")
        return
    check_names(report, group.containers, (*here, "containers"), f"{prefix}.containers")
    taken: dict[str, str] = {}
    for index, mount in enumerate(group.volume_mounts):
        if mount.mount_path and mount.mount_path in taken:
            message = (
                f"{prefix}.volumeMounts[{index}].mountPath '{mount.mount_path}' already mounted in {taken[mount.mount_path]}"
            )
            report.add((*here, "volumeMounts", index, "mountPath"), message, "mount it elsewhere")
        taken[mount.mount_path or ""] = f"volumeMounts.{mount.name}"
    _check_order(report, group, (*here, "containers"), f"{prefix}.containers")
    inputs, outputs = template.inputs or argo.Inputs(), template.outputs or argo.Outputs()
    exchanges = inputs.artifacts or outputs.artifacts or outputs.parameters
    if exchanges and all(one.name != "main" for one in group.containers):
        message = f'{prefix}.containers must have a container named "main" for input or output'
        report.add((*here, "containers"), message, "name the container that takes the inputs and makes the outputs `main`")


def _check_order(report: Report, group: argo.ContainerSetTemplate, path: Path, prefix: str) -> None:
    names = [container.name for container in group.containers]
    graph = Graph(prefix)
    for index, container in enumerate(group.containers):
        for place, name in enumerate(container.dependencies):
            if name not in names:
                message = f"{prefix}.{container.name} dependency '{name}' not defined"
                report.add((*path, index, "dependencies", place), message, suggest(name, names, "name a container of this set"))
        graph.before[container.name] = tuple(name for name in container.dependencies if name in names)
    cycle = graph.cycle()
    if cycle:
        message = f"{prefix} dependency cycle detected: {'->'.join(cycle)}"
        report.add((*path, names.index(cycle[0])), message, "remove one of these dependencies")
