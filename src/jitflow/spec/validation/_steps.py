"""Templates of steps."""

from __future__ import annotations

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._arguments import check_arguments, check_supplied
from jitflow.spec.validation._calls import Call, Calls, Found, called_by, check_loop, has_exit_hook, is_loop
from jitflow.spec.validation._expressions import check_condition, check_hooks
from jitflow.spec.validation._report import Report, field_name_complaint, without_inputs
from jitflow.spec.validation._scope import Scope, add_inline, add_items, add_outputs, check_tags


def check_steps(report: Report, scope: Scope, found: Found) -> Calls:
    """Check the steps of a template, in order; `scope` gets what they offer."""
    template, path = found.filled, found.path
    seen: set[str] = set()
    for group_index, group in enumerate(template.steps):
        for index, step in enumerate(group):
            here = (*path, "steps", group_index, index)
            spot = f"templates.{template.name}.steps[{group_index}]"
            if not step.name:
                report.add(here, f"{spot}.name is required", "add `name:`")
                continue
            complaint = field_name_complaint(without_inputs(step.name))
            if complaint:
                report.add((*here, "name"), f"{spot}.name '{step.name}' is invalid: {complaint}", "rename it")
            if step.name in seen:
                report.add((*here, "name"), f"{spot}.name '{step.name}' is not unique", "give it a name of its own")
            seen.add(step.name)
            yield from _check_step(report, scope, found, step, here)


def _check_step(report: Report, scope: Scope, found: Found, step: argo.WorkflowStep, here: Path) -> Calls:
    written = found.template.steps[int(here[-2])][int(here[-1])]
    spot = f"templates.{found.template.name}.steps[{here[-2]}].{step.name}"
    prefix = f"steps.{step.name}"
    scope.add(f"{prefix}.status")
    check_loop(report, written, here, spot)
    check_condition(report, written.when, (*here, "when"), spot)
    add_items(scope, step)
    check_arguments(report, written.arguments, (*here, "arguments"), f"{spot}.arguments.")
    called = called_by(report, step, here, spot, found.templates)
    if called is not None:
        yield Call(found=called)
    offered = called.template if called is not None else None
    if has_exit_hook(step):
        add_outputs(scope, prefix, offered, aggregate=False)
    check_hooks(report, written.hooks, here, f"{spot}.")
    inner = Scope(scope)
    add_inline(inner, step)
    check_tags(report, inner, step, here, spot)
    add_outputs(scope, prefix, offered, aggregate=is_loop(step))
    if called is not None:
        check_supplied(report, called.template, step.arguments, here, f"{spot} ")
