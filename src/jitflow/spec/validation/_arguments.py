"""Arguments, and whether they give a template what it needs."""

from typing import Final

from jitflow.expr.tags import is_pure_tag
from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._artifacts import check_artifact, is_located, locations
from jitflow.spec.validation._report import Report, check_names, is_whole_number

_INPUT: Final = "inputs.parameters."


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
    if parameter.enum and parameter.value is None and not values_optional:
        report.add(path, f"{name}.value is required", f"add `value:` with one of {', '.join(parameter.enum[:10])}")
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
    parameters = {it.name: it for it in given.parameters}
    for parameter in inputs.parameters:
        if not _has_value(parameter, parameters.get(parameter.name)):
            message = f"{prefix}templates.{template.name} inputs.parameters.{parameter.name} was not supplied"
            report.add(path, message, f"add an argument `{parameter.name}`, or give the input a default")
    artifacts = {it.name for it in given.artifacts}
    for artifact in inputs.artifacts:
        if not artifact.optional and not is_located(artifact) and artifact.name not in artifacts:
            message = f"{prefix}templates.{template.name} inputs.artifacts.{artifact.name} was not supplied"
            lacking = f"a key to its {locations(artifact)[0]}" if locations(artifact) else "the input a location"
            report.add(path, message, f"add an artifact argument `{artifact.name}`, or give {lacking}")
    timeout = parameters.get(_input_of(template.timeout))
    if timeout is not None and timeout.value is not None and is_whole_number(timeout.value):
        message = f"{prefix}{template.name} has invalid duration format in timeout."
        report.add(path, message, f'add a unit to the argument `{timeout.name}`: "{timeout.value}s"')


def _has_value(parameter: argo.Parameter, given: argo.Parameter | None) -> bool:
    """Return whether an input gets a value: the argument's own word goes before the input's, even when it says none."""
    if given is None:
        value = parameter.value if parameter.value is not None else parameter.default
        source = parameter.value_from
    else:
        value, source = given.value, given.value_from
    return value is not None or (source is not None and source.config_map_key_ref is not None)


def _input_of(text: str | None) -> str:
    """Return the input whose value a text is, empty when it is another one."""
    name = is_pure_tag(text) if text else None
    return name.removeprefix(_INPUT) if name is not None and name.startswith(_INPUT) else ""
