"""Container and script templates: one pod each, from its launch to its collected outputs."""

from typing import Protocol

import msgspec

from jitflow.expr import durations, tags
from jitflow.machine import archives, locations, names, phases, shares
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.retries import last_moment
from jitflow.machine.scope import Scope
from jitflow.machine.state import Run
from jitflow.machine.turn import Turn
from jitflow.machine.values import own_values
from jitflow.model import argo, repositories
from jitflow.model.pods import ContainerRole, PodEnd
from jitflow.model.runs import KillPod, LaunchPod, PodDefaults, StartTimer

TIMED_OUT = "Pod was active on the node longer than the specified deadline"

_FORGIVEN = (None, 0, 137, 143)
"""Ends of a sidecar that do not count: it did not run, ended by itself, or because it was told to."""

_replace = msgspec.structs.replace


class PodKind:
    """Templates that run as a pod."""

    node_type = types.POD

    def start(self, turn: Turn, node: Node, template: CompiledTemplate) -> None:
        """Add the node as Pending and ask for its pod."""
        scope = scope_of(turn, node, template)
        outputs = planned_outputs(turn, node, template, scope)
        body = template.body.render(scope)
        metadata = _metadata(turn, node, template, body, scope)
        _check_mounts(turn, body)
        timeout, pending = _seconds(body.timeout), _seconds(body.pending_timeout)
        due = turn.now + timeout if timeout is not None else None
        given_up = min((turn.now + limit for limit in (timeout, pending) if limit is not None), default=None)
        deadline_s = _seconds(body.active_deadline_seconds)
        group = body.container_set
        parts = len(group.containers) if group is not None else 0
        node = changed(
            node, phase=phases.PENDING, started_at=turn.now, timeout=given_up, progress=shares.first(body), parts=parts
        )
        turn.add(node)
        turn.emit(
            LaunchPod(
                key=node.id,
                node_id=node.id,
                pod_name=names.pod_name(turn.program.name, keys.name_of(node.template), node.name, node.id),
                template=_replace(body, inputs=node.inputs, outputs=outputs, metadata=metadata),
                workflow_level=pod_defaults(turn, node, scope),
                capture_result=captures(turn, node),
                logs=planned_logs(turn, node, template),
                deadline_s=deadline_s,
                deadline_at=min((at for at in (due, last_moment(turn, node)) if at is not None), default=None),
                named=turn.program.named.read_by(node.inputs.parameters if node.inputs else ()),
            )
        )
        if given_up is not None:
            turn.emit(StartTimer(key=timer_key(node.id), due=given_up))


def _metadata(turn: Turn, node: Node, template: CompiledTemplate, body: argo.Template, scope: Scope) -> argo.Metadata | None:
    """Return the labels and annotations of a pod that asks for its own fields, as Argo sets them; else just the template's."""
    if not template.reads_fields:
        return body.metadata
    labels = {"workflows.argoproj.io/completed": "false", "workflows.argoproj.io/workflow": turn.program.name}
    annotations = {"workflows.argoproj.io/node-id": node.id, "workflows.argoproj.io/node-name": node.name}
    common = turn.program.spec.pod_metadata
    for metadata in (tags.compile_struct(common).render(scope) if common is not None else None, body.metadata):
        if metadata is not None:
            labels, annotations = labels | metadata.labels, annotations | metadata.annotations
    return argo.Metadata(labels=labels, annotations=annotations)


def _check_mounts(turn: Turn, template: argo.Template) -> None:
    group = template.container_set or argo.ContainerSetTemplate(containers=())
    mains = [one for one in (template.container, template.script) if one is not None]
    parts = (*mains, *group.containers, *template.init_containers, *template.sidecars)
    mounts = [*group.volume_mounts, *(mount for part in parts for mount in part.volume_mounts)]
    if not mounts:
        return
    known = {volume.name for volume in (*turn.program.volumes, *template.volumes)}
    for mount in mounts:
        if mount.name not in known:
            raise Problem(f"volume '{mount.name}' not found in workflow spec")
        if not mount.mount_path:
            raise Problem(f"volume mount '{mount.name}' has no mountPath")


def timer_key(node_id: str) -> str:
    """Return the key of the timer that gives a Pending pod up."""
    return f"timeout/{node_id}"


def pod_defaults(turn: Turn, node: Node, scope: Scope) -> PodDefaults:
    """Return what a pod takes from its workflow; the tags there may stand for outputs of earlier steps beside the pod's own."""
    around = turn.task_scope(turn.nodes[node.boundary]) if node.boundary else None

    def lookup(tag: str) -> str | None:
        if around is None or not tag.startswith(("steps.", "tasks.")):
            return scope(tag)
        try:
            return around(tag)
        except Problem:
            return None

    metadata = turn.program.metadata
    patch = turn.program.spec.pod_spec_patch
    return PodDefaults(
        namespace=metadata.namespace or "",
        workflow_name=turn.program.name,
        workflow_uid=metadata.uid or "",
        volumes=tuple(volume.render(lookup) for volume in turn.program.compiled_volumes),
        pod_spec_patch=tags.substitute(patch, scope) if patch else "",
        node_selector={key: tags.substitute(value, scope) for key, value in turn.program.spec.node_selector.items()},
        repository=None if turn.run.repository.default else turn.run.store,
        priority=turn.program.spec.priority or 0,
    )


def captures(turn: Turn, node: Node) -> bool:
    """Return whether somebody reads the node's `outputs.result`."""
    if not node.boundary or node.task < 0:
        return False
    return turn.template_of(turn.nodes[node.boundary]).is_captured(turn.task_of(node))


def scope_of(turn: Turn, node: Node, template: CompiledTemplate) -> Scope:
    """Return what the tags of a node's own template may stand for."""
    return Scope(turn.values, inputs=node.inputs, local=own_values(turn, node, template))


class Planned(Protocol):
    """What outputs are planned with: a turn, or a look ahead."""

    run: Run


def planned_outputs(view: Planned, node: Node, template: CompiledTemplate, scope: Scope) -> argo.Outputs | None:
    """Return a template's outputs with every artifact's location."""
    if template.outputs is None:
        return None
    outputs = template.outputs.render(scope)
    return _replace(outputs, artifacts=_placed(view, template, scope, outputs.artifacts))


def planned_logs(turn: Turn, node: Node, template: CompiledTemplate) -> tuple[argo.Artifact, ...]:
    """Return the logs that a node's pod gives as artifacts, with their locations."""
    logs = archives.log_artifacts(turn.program, turn.run, template)
    if not logs:
        return ()
    return tuple(archives.shown(log) for log in _placed(turn, template, scope_of(turn, node, template), logs))


def _placed(
    view: Planned, template: CompiledTemplate, scope: Scope, artifacts: tuple[argo.Artifact, ...]
) -> tuple[argo.Artifact, ...]:
    """Return artifacts with their locations: where the template's `archiveLocation` says, else in the repository."""
    if all(locations.is_placed(artifact) for artifact in artifacts):
        return artifacts
    if template.archive_location is not None:
        archive = template.archive_location.render(scope)
        return tuple(locations.in_archive(artifact, archive) for artifact in artifacts)
    store = view.run.store
    prefix = tags.substitute(repositories.key_format(store), scope)
    return tuple(locations.in_repository(artifact, store, prefix) for artifact in artifacts)


def _seconds(value: int | str | None) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(durations.parse_duration(str(value)))
    except durations.DurationError as error:
        raise Problem(str(error)) from error


def started(turn: Turn, node: Node, host: str = "") -> None:
    """The pod runs on a machine."""
    if host and host != turn.run.host:
        turn.run = _replace(turn.run, host=host)
    phases.check(node.id, node.phase, phases.RUNNING)
    if node.timeout is not None:
        turn.close(timer_key(node.id))
    turn.rules.look(turn, turn.put(changed(node, phase=phases.RUNNING, message="", timeout=None, started_at=turn.now)))


def progressed(turn: Turn, node: Node, text: str) -> None:
    """The pod says how far it is; what is no progress is left out."""
    if text != node.progress and shares.parse(text):
        turn.put(changed(node, progress=text))


def waits(turn: Turn, node: Node, message: str) -> None:
    """The pod does not start yet."""
    if node.message != message:
        turn.put(changed(node, message=message))


def refused(turn: Turn, node: Node, message: str) -> None:
    """The pod can never start."""
    turn.close(node.id)
    _drop_timers(turn, node)
    turn.finish(node, phases.ERROR, message)


def ended(turn: Turn, node: Node, end: PodEnd) -> None:
    """The pod ended: judge it and take its outputs."""
    template = turn.template_of(node)
    _drop_timers(turn, node)
    progressed(turn, node, end.progress)
    node = turn.nodes[node.id]
    try:
        planned = planned_outputs(turn, node, template, scope_of(turn, node, template))
        outputs, missing = collect(planned or argo.Outputs(), end)
    except Problem as problem:
        outputs, missing = None, str(problem)
    outputs = with_logs(outputs, planned_logs(turn, node, template), end)
    phase, message = verdict(node, end, missing)
    if phase == phases.SUCCEEDED and template.source.daemon and not node.hook:
        # As in Argo: a daemon is ended, it does not end.
        phase, message = phases.FAILED, "the daemon ended by itself (exit code 0)"
    saving = bool(end.artifacts)
    if saving:
        turn.saving += 1
    else:
        turn.close(node.id)
    node = changed(node, saving=saving, started_at=min(end.started_at, turn.now) if end.started_at else node.started_at)
    if template.source.container_set is not None:
        mains = [one for one in end.containers if one.role is ContainerRole.MAIN]
        node = changed(node, containers=tuple((one.name, one.exit_code, one.started_at, one.finished_at) for one in mains))
    turn.put(node)
    turn.finish(node, phase, message, outputs)


def _drop_timers(turn: Turn, node: Node) -> None:
    if node.timeout is not None:
        turn.close(timer_key(node.id))
    if node.killed:
        turn.close(kill_key(node.id))


def verdict(node: Node, end: PodEnd, missing: str) -> tuple[str, str]:
    """Return the phase and message of a node whose pod ended; `missing` says which output was not there."""
    if end.timed_out:
        return phases.FAILED, TIMED_OUT
    if node.killed and (end.terminated or end.exit_code != 0):
        return phases.FAILED, node.killed
    if end.exit_code is None:
        return phases.ERROR, end.error or "the pod was lost before it ended"
    if end.exit_code != 0:
        failed = [one for one in end.containers if one.role is ContainerRole.MAIN and one.exit_code]
        one = next((one for one in failed if one.name == "main"), failed[0] if failed else None)
        name, message = ("main", end.message) if one is None else (one.name, one.message)
        return phases.FAILED, _error(name, end.exit_code, message)
    if end.error or missing:
        return phases.ERROR, end.error or missing
    for one in end.containers:
        if one.role is ContainerRole.SIDECAR and one.exit_code not in _FORGIVEN:
            return phases.FAILED, _error(one.name, one.exit_code, one.message)
    return phases.SUCCEEDED, ""


def _error(name: str, code: int | None, message: str) -> str:
    return f"{name}: Error (exit code {code})" + (f": {message}" if message else "")


def collect(planned: argo.Outputs, end: PodEnd) -> tuple[argo.Outputs | None, str]:
    """Return a pod's outputs and, if a needed one is not there, a message that says so."""
    missing = ""
    parameters: list[argo.Parameter] = []
    for parameter in planned.parameters:
        source = parameter.value_from or argo.ValueFrom()
        value: argo.AnyString | None = end.parameters.get(parameter.name)
        if value is None:
            value = parameter.value if parameter.value is not None else source.default
        if value is None:
            missing = missing or _not_there(f"open {source.path}: no such file or directory", "parameter", parameter.name)
        else:
            parameters.append(_replace(parameter, value=value))
    collected = {artifact.name: artifact for artifact in end.artifacts}
    artifacts: list[argo.Artifact] = []
    for artifact in planned.artifacts:
        found = collected.get(artifact.name)
        if found is not None:
            as_it_is = found.is_directory and locations.is_plain(artifact)
            artifacts.append(locations.as_directory(artifact) if as_it_is else artifact)
        elif not artifact.optional:
            missing = missing or _not_there(f"path {artifact.path} does not exist", "artifact", artifact.name)
    code = None if end.exit_code is None else str(end.exit_code)
    outputs = argo.Outputs(parameters=tuple(parameters), artifacts=tuple(artifacts), exit_code=code, result=end.result)
    return outputs, missing


def with_logs(outputs: argo.Outputs | None, logs: tuple[argo.Artifact, ...], end: PodEnd) -> argo.Outputs | None:
    """Return a pod's outputs with those of its logs that were taken."""
    names_taken = {artifact.name for artifact in end.artifacts}
    taken = tuple(log for log in logs if log.name in names_taken)
    if not taken:
        return outputs
    outputs = outputs or argo.Outputs()
    return _replace(outputs, artifacts=(*outputs.artifacts, *taken))


def _not_there(what: str, kind: str, name: str) -> str:
    return f"wait: Error (exit code 64): {what} (output {kind} '{name}')"


def kill_key(node_id: str) -> str:
    """Return the key of the effect that ends a pod."""
    return f"kill/{node_id}"


def kill(turn: Turn, node: Node, pending_message: str, running_message: str) -> None:
    """End a pod before its time: a Pending one fails at once, a running one when its end is known."""
    if node.held or node.killed:
        return
    turn.emit(KillPod(key=kill_key(node.id), node_id=node.id))
    if node.phase == phases.PENDING:
        _drop_timers(turn, node)
        turn.close(node.id)
        # The kill stays open: the pod may be starting at this moment, and a restart must end it too.
        turn.finish(changed(node, killed=pending_message), phases.FAILED, pending_message)
    else:
        turn.put(changed(node, killed=running_message))


def gave_up(turn: Turn, node: Node) -> None:
    """The template's timeout passed while the pod was Pending."""
    turn.put(changed(node, timeout=None))
    kill(turn, turn.nodes[node.id], TIMED_OUT, TIMED_OUT)
