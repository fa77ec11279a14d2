"""Templates of steps, and what steps and tasks have in common."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from jitflow.expr.when import WhenError, parse
from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, template_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.spec.places import Path
from jitflow.spec.validation._arguments import check_arguments, check_supplied
from jitflow.spec.validation._report import PARAMETER, Report, field_name_complaint, suggest
from jitflow.spec.validation._scope import Scope, add_items, add_outputs, check_tags
from jitflow.spec.validation._values import check_sequence, has_tag


class Templates(Struct, frozen=True):
    """The templates of a workflow by name, and where those of other objects are found."""

    by_name: Mapping[str, argo.Template]
    objects: Objects = NO_OBJECTS
    namespace: str = ""

    def find(self, report: Report, name: str, path: Path, prefix: str) -> argo.Template | None:
        """Return a template by name; note a problem when there is none. `prefix` ends in a blank or is empty."""
        template = self.by_name.get(name)
        if template is None:
            remedy = suggest(name, self.by_name, "add a template with that name")
            report.add(path, f"{prefix}template name '{name}' undefined", remedy)
        return template

    def refer(self, report: Report, reference: argo.TemplateRef, path: Path, prefix: str) -> argo.Template | None:
        """Return the template of another object; note a problem when there is none.

        Nothing is said when no objects are known at all (a file is checked without a server), or when a name holds tags.
        """
        name, wanted = reference.name or "", reference.template or ""
        for field, text in (("name", name), ("template", wanted)):
            if not text:
                report.add(path, f"{prefix}templateRef.{field} is required", f"add `{field}:`")
                return None
        if self.objects is NO_OBJECTS or has_tag(name) or has_tag(wanted):
            return None
        source = argo.WorkflowTemplateRef(name=name, cluster_scope=reference.cluster_scope)
        try:
            spec = template_spec(source, self.namespace, self.objects)
        except MissingTemplate as error:
            report.add((*path, "name"), f"{prefix}{error}", "create that template first, or mend the name")
            return None
        found = next((template for template in spec.templates if template.name == wanted), None)
        if found is None:
            remedy = suggest(wanted, {t.name or "": t for t in spec.templates}, "name a template of that object")
            report.add((*path, "template"), f"{prefix}template reference {name}.{wanted} not found", remedy)
        return found


def check_steps(report: Report, scope: Scope, template: argo.Template, path: Path, templates: Templates) -> None:
    """Check the steps of a template, in order; `scope` gets what they offer."""
    seen: set[str] = set()
    for group_index, group in enumerate(template.steps):
        for index, step in enumerate(group):
            here = (*path, "steps", group_index, index)
            spot = f"templates.{template.name}.steps[{group_index}]"
            if not step.name:
                report.add(here, f"{spot}.name is required", "add `name:`")
                continue
            complaint = field_name_complaint(PARAMETER.sub("x", step.name))
            if complaint:
                report.add((*here, "name"), f"{spot}.name '{step.name}' is invalid: {complaint}", "rename it")
            if step.name in seen:
                report.add((*here, "name"), f"{spot}.name '{step.name}' is not unique", "give it a name of its own")
            seen.add(step.name)
            scope.add(f"steps.{step.name}.status")
            called = check_call(report, step, here, f"{spot}.{step.name}", templates)
            inner = Scope(scope)
            add_items(inner, step)
            if step.hooks:
                add_outputs(inner, f"steps.{step.name}", called, aggregate=False)
            check_tags(report, inner, step, here, f"{spot}.{step.name}")
            add_outputs(scope, f"steps.{step.name}", called, aggregate=is_loop(step))


def is_loop(step: argo.WorkflowStep | argo.DAGTask) -> bool:
    """Return whether a step's outputs are lists."""
    return bool(step.with_items) or bool(step.with_param)


def check_call(
    report: Report, step: argo.WorkflowStep | argo.DAGTask, path: Path, prefix: str, templates: Templates
) -> argo.Template | None:
    """Check what a step or task calls, its loop, its condition and its arguments; return the called template."""
    _check_loop(report, step, path, prefix)
    _check_when(report, step.when, path, prefix)
    check_arguments(report, step.arguments, (*path, "arguments"), f"{prefix}.arguments.")
    if step.template_ref is not None or step.inline is not None:
        if step.template:
            message = f"{prefix} template name cannot be specified with templateRef."
            report.add((*path, "template"), message, "keep one of template, templateRef and inline")
        called = step.inline
        if step.template_ref is not None:
            called = templates.refer(report, step.template_ref, (*path, "templateRef"), f"{prefix} ")
    elif not step.template:
        report.add(path, f"{prefix} template name is required", "add `template:`")
        return None
    elif has_tag(step.template):
        return None
    else:
        called = templates.find(report, step.template, (*path, "template"), f"{prefix} ")
    if called is not None:
        check_supplied(report, called, step.arguments, path, f"{prefix} ")
    return called


def _check_loop(report: Report, step: argo.WorkflowStep | argo.DAGTask, path: Path, prefix: str) -> None:
    if bool(step.with_items) + bool(step.with_param) + (step.with_sequence is not None) > 1:
        message = f"{prefix} only one of withItems, withParam, withSequence can be specified"
        report.add(path, message, "keep one of them")
    check_sequence(report, step.with_sequence, path, prefix)
    for index, item in enumerate(step.with_items):
        if item is None:
            message = f"{prefix} unsupported withItems type: null"
            report.add((*path, "withItems", index), message, "write a value, or remove it")


def _check_when(report: Report, when: str | None, path: Path, prefix: str) -> None:
    """Check a condition without tags; one with tags can be anything after they are replaced."""
    if not when or has_tag(when):
        return
    try:
        parse(when)
    except WhenError as error:
        report.add((*path, "when"), f"{prefix} {error}", "compare two values: a == b")
