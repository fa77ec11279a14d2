"""Event bindings: when an event submits a workflow, and with which arguments."""

from jitflow.model import argo
from jitflow.spec.validation._expressions import check_expression
from jitflow.spec.validation._report import Report, check_names


def check_binding(report: Report, spec: argo.WorkflowEventBindingSpec) -> None:
    """Check the selector, the template's name and the arguments' expressions."""
    at = ("spec", "event", "selector")
    if not spec.event.selector:
        report.add(at, "spec.event.selector is required", 'write `selector: payload.message != ""`')
    check_expression(report, spec.event.selector, at, "spec.event.selector")
    submit = spec.submit
    if submit is None:
        return
    if not submit.workflow_template_ref.name:
        here = ("spec", "submit", "workflowTemplateRef")
        report.add(here, "spec.submit.workflowTemplateRef.name is required", "add `name:`")
    parameters = submit.arguments.parameters if submit.arguments is not None else ()
    prefix = "spec.submit.arguments.parameters"
    place = ("spec", "submit", "arguments", "parameters")
    check_names(report, parameters, place, prefix, values=True)
    for index, parameter in enumerate(parameters):
        event = parameter.value_from.event if parameter.value_from is not None else None
        here = (*place, index, "valueFrom", "event")
        check_expression(report, event, here, f"{prefix}[{index}].valueFrom.event")
