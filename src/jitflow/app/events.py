"""Events from outside: bindings whose selector holds submit the workflow that they name."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from jitflow.app.submit import CLUSTER_TEMPLATE_LABEL, TEMPLATE_LABEL
from jitflow.expr import environment
from jitflow.expr.lang import LangError, compile_expression, to_json
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore


class Happening(Struct, frozen=True, kw_only=True):
    """One event: what was sent, to which discriminator of which namespace, with which `x-` headers."""

    namespace: str
    discriminator: str = ""
    payload: Any = None
    metadata: Mapping[str, list[str]] = {}


class Triggered(Struct, frozen=True, kw_only=True):
    """What a binding makes of an event: a workflow, or why there is none."""

    binding: str
    workflow: argo.Workflow | None = None
    error: str = ""


def triggered(event: Happening, objects: ObjectStore, now: float) -> list[Triggered]:
    """Return what the bindings of the event's namespace make of it; those whose selector does not hold are left out."""
    env = {
        **environment.at(now),
        "payload": event.payload,
        "metadata": dict(event.metadata),
        "namespace": event.namespace,
        "discriminator": event.discriminator,
    }
    found: list[Triggered] = []
    for binding in objects.list(argo.WorkflowEventBinding, event.namespace):
        name = (binding.metadata and binding.metadata.name) or ""
        try:
            if _selects(binding, env):
                found.append(Triggered(binding=name, workflow=_workflow(binding, env)))
        except (LangError, Refused) as error:
            found.append(Triggered(binding=name, error=str(error)))
    return found


def _selects(binding: argo.WorkflowEventBinding, env: Mapping[str, Any]) -> bool:
    selector = binding.spec.event.selector
    value = compile_expression(selector).evaluate(env)
    if not isinstance(value, bool):
        raise Refused(f"malformed workflow template expression: {selector!r} did not evaluate to boolean")
    return value


def _workflow(binding: argo.WorkflowEventBinding, env: Mapping[str, Any]) -> argo.Workflow | None:
    submit = binding.spec.submit
    if submit is None:
        return None
    reference = submit.workflow_template_ref
    name = reference.name or ""
    own = submit.metadata or argo.ObjectMeta()
    label = CLUSTER_TEMPLATE_LABEL if reference.cluster_scope else TEMPLATE_LABEL
    metadata = argo.ObjectMeta(
        name=own.name,
        generate_name=own.generate_name or (None if own.name else f"{name}-"),
        namespace=(binding.metadata and binding.metadata.namespace) or None,
        labels={**own.labels, label: name},
        annotations=own.annotations,
    )
    arguments = submit.arguments or argo.Arguments()
    parameters = tuple(_parameter(parameter, env) for parameter in arguments.parameters)
    spec = argo.WorkflowSpec(
        workflow_template_ref=reference, arguments=argo.Arguments(parameters=parameters, artifacts=arguments.artifacts)
    )
    return argo.Workflow(metadata=metadata, spec=spec)


def _parameter(parameter: argo.Parameter, env: Mapping[str, Any]) -> argo.Parameter:
    source = parameter.value_from
    if source is None or not source.event:
        return parameter
    try:
        value = compile_expression(source.event).evaluate(env)
        value = value if value is None or isinstance(value, str) else to_json(value)
    except LangError:
        if source.default is None:
            raise
        value = None
    if value is None:
        if source.default is None:
            raise Refused(f"the parameter {parameter.name!r}: {source.event!r} gives nothing, and there is no default")
        value = source.default
    return argo.Parameter(name=parameter.name, value=value)
