"""From arguments to inputs, and from a boundary's steps to its outputs."""

from collections.abc import Callable

import msgspec

from jitflow.expr import tags
from jitflow.machine import locations
from jitflow.machine.compiled import ArgumentText, ArtifactArgument, CompiledArguments, CompiledTemplate
from jitflow.machine.expressions import as_text, value_of
from jitflow.machine.problems import Absent, Problem, Unresolved
from jitflow.machine.scope import Globals, Scope, text_or_absent
from jitflow.model import argo
from jitflow.model.effective import missing_config

Lookup = Callable[[str], str | None]


def inputs_of(
    template: CompiledTemplate, arguments: CompiledArguments, outer: Scope, global_values: Globals
) -> argo.Inputs | None:
    """Return a template's inputs for given arguments; None when it has none.

    Args:
        template: declares the inputs.
        arguments: what its caller gives.
        outer: the caller's scope, in which the arguments are read.
        global_values: the workflow's values, for tags in defaults.

    Raises:
        Problem: an input is not given, or an argument cannot be resolved.
    """
    if not template.input_parameters and not template.input_artifacts:
        return None
    parameters = tuple(
        msgspec.structs.replace(parameter, value=input_value(parameter, template, arguments, outer, global_values))
        for parameter in template.input_parameters
    )
    inputs = _with_own_references(argo.Inputs(parameters=parameters), global_values)
    if not template.input_artifacts:
        return inputs
    inner = Scope(global_values, inputs=inputs)
    artifacts = [input_artifact(declared, compiled, arguments, outer, inner) for declared, compiled in template.input_artifacts]
    return argo.Inputs(parameters=inputs.parameters, artifacts=tuple(artifact for artifact in artifacts if artifact is not None))


def _with_own_references(inputs: argo.Inputs, global_values: Globals) -> argo.Inputs:
    """Return inputs whose values may refer to each other, as a default `{{=inputs.parameters.a + "x"}}` does."""
    if not any("{{=" in (p.value or "") or "{{inputs." in (p.value or "") for p in inputs.parameters):
        return inputs
    scope = Scope(global_values, inputs=inputs)
    parameters = tuple(
        msgspec.structs.replace(p, value=tags.substitute(p.value, scope)) if p.value and "{{" in p.value else p
        for p in inputs.parameters
    )
    return argo.Inputs(parameters=parameters)


def input_value(
    parameter: argo.Parameter, template: CompiledTemplate, arguments: CompiledArguments, outer: Scope, global_values: Globals
) -> str:
    """Return an input parameter's text: the argument's, else the default.

    Raises:
        Problem: neither is there.
    """
    given = arguments.parameters.get(parameter.name)
    text = resolved(given, outer) if given is not None else None
    if text is not None:
        return tags.substitute(text, global_values) if "{{workflow." in text else text
    source = arguments.configured.get(parameter.name) or parameter.value_from
    if source is not None and source.config_map_key_ref is not None:
        return _configured(parameter.name, source, global_values)
    default = template.defaults.get(parameter.name)
    if default is not None:
        return default.text.render(global_values)
    if given is not None and given.pure:
        raise Absent(given.pure, f"inputs.parameters.{parameter.name}")
    raise Problem(f"inputs.parameters.{parameter.name} was not supplied")


def _configured(name: str, source: argo.ValueFrom, global_values: Globals) -> str:
    """Return an input's value that stands in a ConfigMap, else its default."""
    assert source.config_map_key_ref is not None, "such a value"
    reference = config_reference(source.config_map_key_ref, global_values)
    found = global_values.config(reference)
    if found is not None:
        return found
    if source.default is None:
        raise Problem(f"unable to retrieve inputs.parameters.{name} from {missing_config(reference)}")
    return ArgumentText(source.default).text.render(global_values)


def config_reference(reference: argo.ConfigMapKeySelector, lookup: Lookup) -> argo.ConfigMapKeySelector:
    """Return a reference to a ConfigMap's key with its tags replaced."""
    name, key = tags.substitute(reference.name or "", lookup), tags.substitute(reference.key, lookup)
    return msgspec.structs.replace(reference, name=name, key=key)


def resolved(argument: ArgumentText, scope: Scope) -> str | None:
    """Return an argument's text; None when it is nothing but a reference to an output of a node that did not run.

    Raises:
        Problem: it cannot be resolved.
    """
    if argument.pure is not None:
        return text_or_absent(scope, argument.pure, argument.text.source)
    return argument.text.render(scope)


def input_artifact(
    declared: argo.Artifact,
    compiled: "tags.Compiled[argo.Artifact]",
    arguments: CompiledArguments,
    outer: Scope,
    inner: Scope,
) -> argo.Artifact | None:
    """Return an input artifact as declared, at the location given; None for an optional one that is not there.

    Raises:
        Problem: it is needed and not given.
    """
    given = arguments.artifacts.get(declared.name)
    if given is not None:
        artifact = found_artifact(given, outer)
        if artifact is not None:
            return locations.delivered(declared, artifact)
        if given.source.optional or declared.optional:
            return None
        reference = given.source.from_ or given.source.from_expression
        if reference:
            raise Unresolved(f"unable to resolve references: Unable to resolve: {reference}")
    elif locations.store_of(declared):
        return compiled.render(inner)
    elif declared.optional:
        return None
    what = "was not supplied" if given is None else "missing location information"
    raise Problem(f"inputs.artifacts.{declared.name} {what}")


def found_artifact(given: ArtifactArgument, scope: Scope) -> argo.Artifact | None:
    """Return where an artifact argument lies, None when it is not there."""
    if given.source.from_expression:
        value = value_of(given.source.from_expression, scope)
        if value is not None and not isinstance(value, argo.Artifact):
            raise Problem(f"fromExpression {given.source.from_expression!r} gives no artifact")
        return None if value is None else locations.below(value, given.source.sub_path or "")
    location = given.location.render(scope)
    if given.from_ is None:
        return location if locations.store_of(location) else None
    try:
        artifact = scope.artifact(given.from_.render(scope))
    except Absent:
        return None
    return None if artifact is None else locations.below(artifact, location.sub_path or "")


def boundary_outputs(template: CompiledTemplate, scope: Scope) -> argo.Outputs | None:
    """Return what a steps or DAG template gives out, taken from its steps; None when it declares nothing.

    Raises:
        Problem: an output is not there and has no default.
    """
    declared = template.source.outputs
    if declared is None:
        return None
    parameters = tuple(_given_out(parameter, scope) for parameter in declared.parameters)
    artifacts: list[argo.Artifact] = []
    for artifact in declared.artifacts:
        found = found_artifact(ArtifactArgument(artifact), scope) if artifact.from_ or artifact.from_expression else None
        if found is not None:
            artifacts.append(
                msgspec.structs.replace(found, name=artifact.name, global_name=artifact.global_name, optional=artifact.optional)
            )
        elif not artifact.optional:
            reference = artifact.from_ or artifact.from_expression or artifact.name
            raise Problem(f"unable to resolve outputs from scope: Unable to resolve: {reference}")
    return argo.Outputs(parameters=parameters, artifacts=tuple(artifacts))


def _given_out(parameter: argo.Parameter, scope: Scope) -> argo.Parameter:
    source = parameter.value_from
    text: str | None = None
    if source is not None and source.parameter:
        try:
            text = resolved(ArgumentText(source.parameter), scope)
        except Problem:
            if source.default is None:
                raise
    elif source is not None and source.expression:
        text = _expressed(source, scope)
    elif parameter.value is not None:
        text = ArgumentText(parameter.value).text.render(scope)
    if text is None:
        if source is None or source.default is None:
            raise Problem(f"unable to resolve outputs from scope: Unable to resolve output parameter '{parameter.name}'")
        text = source.default
    return argo.Parameter(name=parameter.name, value=text, global_name=_render(parameter.global_name, scope))


def _expressed(source: argo.ValueFrom, scope: Scope) -> str | None:
    try:
        value = value_of(source.expression or "", scope)
    except Problem:
        if source.default is None:
            raise
        return None
    return None if value is None else as_text(value)


def _render(text: str | None, scope: Scope) -> str | None:
    return tags.substitute(text, scope) if text else None
