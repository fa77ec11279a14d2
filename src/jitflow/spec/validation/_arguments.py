"""Arguments, and whether they give a template what it needs."""

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._artifacts import check_artifact, locations
from jitflow.spec.validation._report import Report, check_names


def check_arguments(
    report: Report, arguments: argo.Arguments | None, path: Path, prefix: str, *, values_optional: bool = False
) -> None:
    """Check names, values and locations of arguments.

    Args:
        report: takes the problems.
        arguments: the arguments.
        path: where they are.
        prefix: how messages name them, with a dot at the end: `spec.arguments.`.
        values_optional: parameters may lack a value (it comes at submit).
    """
    if arguments is None:
        return
    check_names(report, arguments.parameters, (*path, "parameters"), f"{prefix}parameters", values=True)
    check_names(report, arguments.artifacts, (*path, "artifacts"), f"{prefix}artifacts", values=True)
    for index, parameter in enumerate(arguments.parameters):
        here = (*path, "parameters", index)
        _check_value(report, parameter, here, f"{prefix}{parameter.name}", values_optional=values_optional)
    for index, artifact in enumerate(arguments.artifacts):
        check_artifact(report, artifact, (*path, "artifacts", index), f"{prefix}{artifact.name}", "argument", leaf=False)


def _check_value(report: Report, parameter: argo.Parameter, path: Path, name: str, *, values_optional: bool) -> None:
    source = parameter.value_from
    if source is None and parameter.value is None:
        if not values_optional:
            report.add(path, f"{name}.value or {name}.valueFrom is required", "add `value:`")
        return
    if source is not None:
        allowed = source.config_map_key_ref is not None or bool(source.event) or source.supplied is not None
        forbidden = source.path or source.json_path or source.parameter or source.expression
        if not allowed or forbidden:
            message = f"{name}.valueFrom only allows: default, configMapKeyRef and supplied"
            report.add((*path, "valueFrom"), message, "give a `value`")
    if parameter.enum and parameter.value is not None and parameter.value not in parameter.enum:
        message = f"{name}.value should be present in {name}.enum list"
        report.add((*path, "value"), message, f"use one of {', '.join(parameter.enum[:10])}")


def check_supplied(report: Report, template: argo.Template, arguments: argo.Arguments | None, path: Path, prefix: str) -> None:
    """Check that a call gives a template every input that has no value of its own.

    Args:
        report: takes the problems.
        template: what is called.
        arguments: what the call gives.
        path: the call.
        prefix: how messages name the call, with a blank at the end, or empty.
    """
    inputs = template.inputs
    if inputs is None:
        return
    given = arguments or argo.Arguments()
    parameters = {it.name for it in given.parameters if it.value is not None or it.value_from is not None}
    for parameter in inputs.parameters:
        known = parameter.value is not None or parameter.default is not None or parameter.value_from is not None
        if not known and parameter.name not in parameters:
            message = f"{prefix}templates.{template.name} inputs.parameters.{parameter.name} was not supplied"
            report.add(path, message, f"add an argument `{parameter.name}`, or give the input a default")
    artifacts = {it.name for it in given.artifacts}
    for artifact in inputs.artifacts:
        known = bool(locations(artifact)) or artifact.optional
        if not known and artifact.name not in artifacts:
            message = f"{prefix}templates.{template.name} inputs.artifacts.{artifact.name} was not supplied"
            report.add(path, message, f"add an artifact argument `{artifact.name}`, or give the input a location")
