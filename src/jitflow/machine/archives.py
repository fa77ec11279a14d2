"""Archived logs: which pods give theirs as output artifacts, and under which names."""

from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.program import Program
from jitflow.machine.state import Run
from jitflow.model import argo

_SUFFIX = "-logs"
_AS_IT_IS = argo.ArchiveStrategy(none=argo.NoneStrategy())


def archives(program: Program, run: Run, template: argo.Template) -> bool:
    """Return whether the logs of a template's pods are archived: as the server or the
    artifact repository says, else the template, else the workflow."""
    if run.archive_logs or run.store.archive_logs:
        return True
    own = template.archive_location.archive_logs if template.archive_location is not None else None
    return bool(program.spec.archive_logs) if own is None else own


def log_artifacts(program: Program, run: Run, template: CompiledTemplate) -> tuple[argo.Artifact, ...]:
    """Return the logs that a template's pod gives, one for each main container, not placed yet.

    The name of an output that the template declares itself is not taken again.
    """
    source = template.source
    if not archives(program, run, source):
        return ()
    taken = {artifact.name for artifact in (source.outputs or argo.Outputs()).artifacts}
    logs = (argo.Artifact(name=f"{name}{_SUFFIX}", path=f"{name}.log", archive=_AS_IT_IS) for name in _mains(source))
    return tuple(log for log in logs if log.name not in taken)


def shown(log: argo.Artifact) -> argo.Artifact:
    """Return a placed log as the status shows it: a name and a location, as Argo's."""
    return argo.Artifact(**{field: getattr(log, field) for field in ("name", *_LOCATIONS)})


def container_of(log: argo.Artifact) -> str:
    """Return the name of the container whose log an artifact is."""
    return log.name.removesuffix(_SUFFIX)


_LOCATIONS = tuple(field for field in argo.ArtifactLocation.__struct_fields__ if field != "archive_logs")


def _mains(template: argo.Template) -> tuple[str, ...]:
    if template.container_set is not None:
        return tuple(one.name for one in template.container_set.containers)
    return ("main",)
