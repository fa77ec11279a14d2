"""From a resolved template to a pod: what to run, with which files, volumes and environment."""

import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from jitflow.engine.addresses import address_of
from jitflow.engine.containers import MAIN, SCRIPT_PATH, Part, parts_of, with_shared_data
from jitflow.engine.images import Images
from jitflow.engine.locations import Locator
from jitflow.engine.patches import patched
from jitflow.engine.readiness import command_of_probe
from jitflow.engine.surroundings import Surroundings, expanded, in_root, mounts, secrets_of
from jitflow.engine.surroundings import environment as own_environment
from jitflow.expr.durations import DurationError, QuantityError, parse_duration, parse_quantity
from jitflow.machine import container_of, family_of
from jitflow.model import argo
from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef, StepId
from jitflow.model.pods import (
    MESSAGE_PATH,
    Archive,
    ContainerRole,
    Delivery,
    Pod,
    PodContainer,
    PodFile,
    PodInput,
    PodOutput,
)
from jitflow.model.problems import Problem, Refused
from jitflow.model.runs import LaunchPod, NamedFile
from jitflow.ports.dataplane import Lease

SIZE_ANNOTATION = "jitflow.io/output-size"
"""Template annotation: bytes to reserve for each output artifact, for example `20Mi`; with `.NAME` behind it, for that one."""
DURATION_ANNOTATION = "jitflow.io/expected-duration"
"""Template annotation: how long a step of it runs, for example `90s`."""


class PodPlan(Struct, frozen=True, kw_only=True):
    """A pod that waits for its data: everything but the paths of its inputs."""

    step: FutureStep
    launch: LaunchPod
    parts: tuple[Part, ...]
    inputs: tuple[tuple[argo.Artifact, ObjectRef], ...]
    outputs: tuple[tuple[argo.Artifact, ObjectRef], ...]
    logs: tuple[tuple[argo.Artifact, ObjectRef], ...] = ()


def step_id(uid: str, node_id: str) -> StepId:
    """Return the data plane's name of a node."""
    return f"{uid}/{node_id}"


def future_of(
    step: StepId,
    template: str,
    inputs: Sequence[tuple[argo.Artifact, ObjectRef]],
    outputs: Sequence[FutureOutput],
    *,
    after: tuple[StepId, ...] = (),
    certain: bool = True,
    late: bool = False,
    run_s: float | None = None,
    family: StepId = "",
    named: tuple[FutureInput, ...] = (),
) -> FutureStep:
    """Return a step as the data plane knows it; its inputs need not exist yet if it is `late`."""
    declared = tuple(FutureInput(ref=ref, optional=bool(artifact.optional), late=late) for artifact, ref in inputs)
    have = {one.ref for one in declared}
    return FutureStep(
        id=step,
        template=template,
        after=after,
        certain=certain,
        run_s=run_s,
        family=family,
        inputs=(*declared, *(one for one in named if one.ref not in have)),
        outputs=tuple(outputs),
    )


def inputs_named(files: Sequence[NamedFile], locator: Locator) -> tuple[FutureInput, ...]:
    """Return the files that a step reads by itself, as far as both their stores are configured remotes."""
    found = ((locator.known(file.far), locator.known(file.near)) for file in files)
    # It may be near only, or somebody else's: the step itself says so if it is nowhere.
    return tuple(FutureInput(ref=far, optional=True, near=near) for far, near in found if far and near and far != near)


def outputs_of(
    template: argo.Template,
    outputs: Sequence[tuple[argo.Artifact, ObjectRef]],
    expected: Callable[[str], int | None] = lambda _: None,
) -> list[FutureOutput]:
    """Return what a step writes, with the sizes that are declared or `expected` of its artifacts.

    Raises:
        Refused: a declared size is none.
    """
    return [
        FutureOutput(ref=ref, size_bytes=declared_output_bytes(template, one.name), expected_bytes=expected(one.name))
        for one, ref in outputs
    ]


def declared_output_bytes(template: argo.Template, artifact: str) -> int | None:
    """Return what the template's annotations say of the size of an output artifact, None if nothing.

    Raises:
        Refused: it is no size.
    """
    name = f"{SIZE_ANNOTATION}.{artifact}"
    text = _annotation(template, name)
    if not text:
        name, text = SIZE_ANNOTATION, _annotation(template, SIZE_ANNOTATION)
    try:
        return int(parse_quantity(text)) if text else None
    except QuantityError as error:
        raise _not_a("size", "20Mi", template, name, text) from error


def declared_run_s(template: argo.Template) -> float | None:
    """Return what the template's annotation says of how long its steps run, None without one.

    Raises:
        Refused: it is no duration.
    """
    text = _annotation(template, DURATION_ANNOTATION)
    try:
        return max(0.0, parse_duration(text)) if text else None
    except DurationError as error:
        raise _not_a("duration", "90s or 1h30m", template, DURATION_ANNOTATION, text) from error


def _annotation(template: argo.Template, name: str) -> str:
    text = (template.metadata.annotations if template.metadata else {}).get(name, "")
    # What only the future knows is not known yet.
    return "" if "{{" in text else text


def _not_a(what: str, example: str, template: argo.Template, name: str, text: str) -> Refused:
    message = f"template {template.name}: its annotation {name} is {text!r}, which is no {what}"
    return Refused(Problem(message=message, remedy=f"write one such as {example}, or leave it out"))


def located(artifacts: Sequence[argo.Artifact], locator: Locator) -> tuple[tuple[argo.Artifact, ObjectRef], ...]:
    """Return the artifacts that lie in a store, each with its object."""
    found = ((artifact, locator.find(artifact)) for artifact in artifacts)
    return tuple((artifact, ref) for artifact, ref in found if ref is not None)


def plan_pod(uid: str, launch: LaunchPod, locator: Locator, images: Images, name: str = "") -> PodPlan:
    """Return what a launch of the node `name` needs before it can run.

    Raises:
        Refused: the image's entrypoint is not known, or an artifact's location names no configured remote.
    """
    template = patched(launch.template, launch.workflow_level.pod_spec_patch, launch.template.pod_spec_patch)
    launch = replace(launch, template=template)
    parts = parts_of(template, images)
    locator = locator.within(launch.workflow_level.namespace, launch.workflow_level.repository)
    inputs = located(template.inputs.artifacts if template.inputs else (), locator)
    outputs = located(template.outputs.artifacts if template.outputs else (), locator)
    step = future_of(
        step_id(uid, launch.node_id),
        template.name or "",
        inputs,
        outputs_of(template, outputs),
        family=step_id(uid, family_of(name)) if name else "",
        named=inputs_named(launch.named, locator),
    )
    logs = located(launch.logs, locator)
    return PodPlan(step=step, launch=launch, parts=parts, inputs=inputs, outputs=outputs, logs=logs)


def build_pod(
    key: str,
    plan: PodPlan,
    lease: Lease,
    *,
    environment: Mapping[str, str],
    grace_s: float,
    now: float,
    around: Surroundings | None = None,
) -> Pod:
    """Return the pod, its inputs delivered from the lease; its deadline counts from `now`.

    Raises:
        Refused: an input is absent and not optional, or a volume is of a kind that does not exist here.
    """
    launch = plan.launch
    around = around or Surroundings()
    containers = [_container(plan, part, lease, environment, around) for part in plan.parts]
    hidden = tuple(dict.fromkeys(text for one in containers for text in one.hidden))  # containers may hand them to each other
    containers = [replace(one, hidden=hidden) for one in containers]
    main = containers[0]
    address = address_of(key) if serves(launch.template, plan.parts) else ""
    if len(containers) > 1 or main.retries:
        return Pod(
            key=key,
            name=launch.pod_name,
            image=main.image,
            command=(),
            deadline_s=_deadline(launch, now),
            grace_s=grace_s,
            containers=with_shared_data(containers, main.image),
            address=address,
        )
    return Pod(
        key=key,
        name=launch.pod_name,
        image=main.image,
        command=main.command,
        env=main.env,
        working_dir=main.working_dir,
        files=main.files,
        inputs=main.inputs,
        outputs=main.outputs,
        volumes=main.volumes,
        deadline_s=_deadline(launch, now),
        grace_s=grace_s,
        capture_result=main.capture_result,
        address=address,
        tty=main.tty,
        message_path=main.message_path,
        message_from_log=main.message_from_log,
        probe=main.probe,
        hidden=main.hidden,
    )


def serves(template: argo.Template, parts: Sequence[Part]) -> bool:
    """Return whether somebody may connect to a pod: it is a daemon, says so by `ports`, or its containers run side by side."""
    beside = [part for part in parts if part.role is not ContainerRole.INIT]
    return bool(template.daemon) or len(beside) > 1 or any(part.source.ports for part in beside)


def _container(plan: PodPlan, part: Part, lease: Lease, environment: Mapping[str, str], around: Surroundings) -> PodContainer:
    launch, template = plan.launch, plan.launch.template
    declared = _declared(plan, part, around)
    env = _environment(part, environment, declared)
    shown = mounts(template, part.mounts, launch, around, dict(env))
    is_main = part.name == MAIN and part.role is ContainerRole.MAIN
    outputs = (*(pod_outputs(template) if is_main else ()), *_log_outputs(plan, part))
    own = _files(template) if part.has_data else ()
    return PodContainer(
        name=part.name,
        role=part.role,
        image=part.image,
        command=_command(part, declared),
        env=env,
        working_dir=part.source.working_dir or part.image.working_dir,
        files=(*own, *shown.files),
        inputs=_inputs(plan, lease, [output.path for output in pod_outputs(template)]) if part.has_data else (),
        outputs=outputs,
        volumes=shown.volumes,
        capture_result=launch.capture_result and is_main,
        tty=bool(part.source.tty),
        probe=command_of_probe(part.source.readiness_probe) if template.daemon else None,
        message_path=part.source.termination_message_path or MESSAGE_PATH,
        message_from_log=part.source.termination_message_policy == "FallbackToLogsOnError",
        hidden=secrets_of(part.source, shown.files, launch, around),
        dependencies=part.dependencies,
        retries=part.retries,
        retry_delay_s=part.retry_delay_s,
    )


def _deadline(launch: LaunchPod, now: float) -> float | None:
    """Return the sooner of `activeDeadlineSeconds`, which counts from now, and `timeout`, which is a time of day."""
    left = None if launch.deadline_at is None else max(0.0, launch.deadline_at - now)
    limits = [limit for limit in (launch.deadline_s, left) if limit is not None]
    return min(limits, default=None)


def pod_outputs(template: argo.Template) -> tuple[PodOutput, ...]:
    """Return the files to collect when the pod has ended."""
    if template.outputs is None:
        return ()
    parameters = [
        PodOutput(name=parameter.name, path=parameter.value_from.path, kind="parameter")
        for parameter in template.outputs.parameters
        if parameter.value_from is not None and parameter.value_from.path
    ]
    artifacts = [
        PodOutput(name=artifact.name, path=artifact.path, archive=archive_of(artifact), compression_level=_compression(artifact))
        for artifact in template.outputs.artifacts
        if artifact.path
    ]
    return (*parameters, *artifacts)


def _log_outputs(plan: PodPlan, part: Part) -> tuple[PodOutput, ...]:
    """Return the log of a main container, if it is archived.

    No room is held for it in the primary: where there is none, it is sent from where it lies.
    """
    if part.role is not ContainerRole.MAIN:
        return ()
    return tuple(
        PodOutput(name=log.name, path=part.name, kind="log", archive=Archive.NONE)
        for log, _ in plan.logs
        if container_of(log) == part.name
    )


def archive_of(artifact: argo.Artifact) -> Archive:
    """Return how an output is packed; Argo's default is tar."""
    if artifact.archive is not None and artifact.archive.none is not None:
        return Archive.NONE
    if artifact.archive is not None and artifact.archive.zip is not None:
        return Archive.ZIP
    return Archive.TAR


def _compression(artifact: argo.Artifact) -> int:
    tar = artifact.archive.tar if artifact.archive is not None else None
    return 6 if tar is None or tar.compression_level is None else max(0, min(9, tar.compression_level))


def _declared(plan: PodPlan, part: Part, around: Surroundings) -> dict[str, str]:
    """Return the variables that Argo and the template give a container: those that its command may name."""
    launch = plan.launch
    argos = {
        "ARGO_CONTAINER_NAME": part.name,
        "ARGO_NODE_ID": launch.node_id,
        "ARGO_WORKFLOW_NAME": launch.workflow_level.workflow_name,
        "ARGO_WORKFLOW_UID": launch.workflow_level.workflow_uid,
    }
    return argos | own_environment(part.source, launch, around)


def _environment(part: Part, environment: Mapping[str, str], declared: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    merged = {"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": environment.get("PATH", "/usr/local/bin:/usr/bin:/bin")}
    merged |= part.image.env
    merged |= {name: value for name, value in environment.items() if name != "PATH"}
    return tuple({**merged, **declared}.items())


def _command(part: Part, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return a container's command with `$(NAME)` replaced in what the template says of it, not in what its image says."""
    first = 0 if part.source.command else len(part.image.entrypoint if part.source.args else part.command)
    return (*part.command[:first], *(expanded(word, known) for word in part.command[first:]))


def _files(template: argo.Template) -> tuple[PodFile, ...]:
    files: list[PodFile] = []
    if template.script is not None:
        files.append(PodFile(path=SCRIPT_PATH, content=(template.script.source or "").encode(), mode=0o755))
    for artifact in template.inputs.artifacts if template.inputs else ():
        if artifact.raw is not None and artifact.path:
            mode = 0o644 if artifact.mode is None else artifact.mode
            files.append(PodFile(path=in_root(artifact.path), content=artifact.raw.data.encode(), mode=mode))
    return tuple(files)


def _inputs(plan: PodPlan, lease: Lease, output_paths: Sequence[str]) -> tuple[PodInput, ...]:
    inputs: list[PodInput] = []
    for artifact, ref in plan.inputs:
        source = lease.paths.get(ref)
        if source is None:
            if artifact.optional:
                continue
            raise Refused(f"input artifact {artifact.name!r}: {ref} is not there")
        if not artifact.path:
            raise Refused(f"input artifact {artifact.name!r} has no path")
        delivery = _delivery(artifact, Path(source), output_paths)
        recurse = bool(artifact.recurse_mode)
        item = PodInput(
            name=artifact.name,
            path=in_root(artifact.path),
            source=source,
            delivery=delivery,
            mode=artifact.mode,
            recurse=recurse,
        )
        inputs.append(item)
    return tuple(inputs)


def _delivery(artifact: argo.Artifact, source: Path, output_paths: Sequence[str]) -> Delivery:
    """Bind what can be read in place; unpack what is packed; copy what the pod may write over, as it does in working trees."""
    if source.is_file() and _is_packed(artifact, source):
        return Delivery.UNPACK
    inside = f"{in_root(artifact.path or '').rstrip('/')}/"
    if (
        artifact.mode is not None
        or artifact.git is not None
        or any(f"{path.rstrip('/')}/".startswith(inside) for path in output_paths)
    ):
        return Delivery.COPY
    return Delivery.BIND


def _is_packed(artifact: argo.Artifact, source: Path) -> bool:
    """Follow Argo: what `archive` says; without it, a gzipped tar is unpacked and everything else is taken as it is."""
    archive = artifact.archive
    if archive is not None and (archive.none is not None or archive.tar is not None or archive.zip is not None):
        return archive.none is None
    with source.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return False
    try:
        with tarfile.open(source, "r:gz") as packed:
            return packed.next() is not None
    except (tarfile.TarError, OSError, EOFError):
        return False
