"""Who calls which template: what steps and tasks have in common."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.effective import MissingTemplate, template_spec
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.spec.places import Path
from jitflow.spec.validation._expressions import check_json_list
from jitflow.spec.validation._report import Report, has_tag, suggest
from jitflow.spec.validation._values import check_sequence


class Beside:
    """The templates of the same texts, seen as objects; there may be others elsewhere."""

    def __init__(self, manifests: list[Any]) -> None:
        """Hold the manifests."""
        named = [it for it in manifests if it.metadata is not None and it.metadata.name]
        self._found: dict[tuple[Any, str], Any] = {(type(it), it.metadata.name): it for it in named}

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        """Return an object, see `Objects`; any namespace will do."""
        del namespace
        return self._found.get((kind, name))


class Templates(Struct, frozen=True, kw_only=True):
    """The templates of one spec by name, each with its place, and where those of other objects are found.

    `defaults`: the spec's `templateDefaults`. `origin`: the object, for messages; empty for the workflow itself.
    """

    by_name: Mapping[str, tuple[Path, argo.Template]]
    defaults: argo.Template
    objects: Objects = NO_OBJECTS
    namespace: str = ""
    origin: str = ""
    others: dict[str, Templates] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: argo.WorkflowSpec, **rest: Any) -> Templates:
        """Return the templates of a spec; the first of a name counts."""
        listed = [(("spec", "templates", index), template) for index, template in enumerate(spec.templates)]
        by_name = {template.name: (path, template) for path, template in reversed(listed) if template.name}
        return cls(by_name=by_name, defaults=spec.template_defaults or argo.Template(), **rest)

    def find(self, report: Report, name: str, path: Path, prefix: str) -> Found | None:
        """Return a template by name; note a problem when there is none. `prefix` ends in a blank or is empty."""
        entry = self.by_name.get(name)
        if entry is None:
            remedy = suggest(name, self.by_name, "add a template with that name")
            report.add(path, f"{prefix}template name '{name}' undefined", remedy)
            return None
        return Found(template=entry[1], templates=self, path=entry[0], report=report)

    def refer(self, report: Report, reference: argo.TemplateRef, path: Path, prefix: str) -> Found | None:
        """Return the template of another object; note a problem when there is none.

        Nothing is said when not all objects are known (a file is checked without a server), or when a name holds tags.
        """
        name, wanted = reference.name or "", reference.template or ""
        for part, text in (("name", name), ("template", wanted)):
            if not text:
                report.add(path, f"{prefix}templateRef.{part} is required", f"add `{part}:`")
                return None
        if self.objects is NO_OBJECTS or has_tag(name) or has_tag(wanted):
            return None
        try:
            others = self._other(reference)
        except MissingTemplate as error:
            if not isinstance(self.objects, Beside):
                report.add((*path, "name"), f"{prefix}{error}", "create that template first, or mend the name")
            return None
        entry = others.by_name.get(wanted)
        if entry is None:
            remedy = suggest(wanted, others.by_name, "name a template of that object")
            report.add((*path, "template"), f"{prefix}template reference {name}.{wanted} not found", remedy)
            return None
        there = report.elsewhere(path, others.origin)
        return Found(template=entry[1], templates=others, path=entry[0], report=there)

    def _other(self, reference: argo.TemplateRef) -> Templates:
        """Return the templates of another object.

        Raises:
            MissingTemplate: there is no such object.
        """
        kind = "ClusterWorkflowTemplate" if reference.cluster_scope else "WorkflowTemplate"
        origin = f"{kind} {reference.name}"
        if origin not in self.others:
            source = argo.WorkflowTemplateRef(name=reference.name, cluster_scope=reference.cluster_scope)
            spec = template_spec(source, self.namespace, self.objects)
            self.others[origin] = Templates.of(
                spec, objects=self.objects, namespace=self.namespace, origin=origin, others=self.others
            )
        return self.others[origin]


class Found(Struct, frozen=True, kw_only=True):
    """A template that is called, with the templates around it; `report` takes its problems, whose places begin with `path`.

    `filled`: the template with all values put in that are known. Its names, references and limits are looked at as Argo does;
    everything else as it is written, because what a value makes of it is found out when it runs.
    """

    template: argo.Template
    templates: Templates
    filled: argo.Template = argo.Template()
    path: Path
    report: Report


class Call(Struct, frozen=True, kw_only=True):
    """A template to be checked. `arguments`: what it gets; None: what that is, is not known."""

    found: Found
    arguments: argo.Arguments | None = None


Calls = Generator[Call]
"""Checks that want the templates they call checked before they go on."""


def called_by(
    report: Report, step: argo.WorkflowStep | argo.DAGTask, path: Path, prefix: str, templates: Templates
) -> Found | None:
    """Return the template that a step or task calls; note a problem when there is none."""
    if step.template_ref is not None and step.template:
        message = f"{prefix} template name cannot be specified with templateRef."
        report.add((*path, "template"), message, "keep one of template, templateRef and inline")
        return None
    named = None
    if step.template_ref is not None:
        named = templates.refer(report, step.template_ref, (*path, "templateRef"), f"{prefix} ")
    elif step.template:
        named = None if has_tag(step.template) else templates.find(report, step.template, (*path, "template"), f"{prefix} ")
    elif step.inline is None:
        report.add(path, f"{prefix} template name is required", "add `template:`")
    if step.inline is not None:
        inline = replace(step.inline, name=step.inline.name or step.name)
        return Found(template=inline, templates=templates, path=(*path, "inline"), report=report)
    return named


def is_loop(step: argo.WorkflowStep | argo.DAGTask) -> bool:
    """Return whether a step's outputs are lists."""
    return bool(step.with_items) or bool(step.with_param)


def has_exit_hook(step: argo.WorkflowStep | argo.DAGTask) -> bool:
    """Return whether something is called when a step has ended."""
    hook = step.hooks.get("exit")
    return bool(step.on_exit) or (hook is not None and (bool(hook.template) or hook.template_ref is not None))


def check_loop(report: Report, step: argo.WorkflowStep | argo.DAGTask, path: Path, prefix: str) -> None:
    """Check what a step or task is repeated for."""
    if bool(step.with_items) + bool(step.with_param) + (step.with_sequence is not None) > 1:
        message = f"{prefix} only one of withItems, withParam, withSequence can be specified"
        report.add(path, message, "keep one of them")
    check_sequence(report, step.with_sequence, path, prefix)
    check_json_list(report, step.with_param, (*path, "withParam"), f"{prefix} withParam")
    for index, item in enumerate(step.with_items):
        if item is None:
            message = f"{prefix} unsupported withItems type: null"
            report.add((*path, "withItems", index), message, "write a value, or remove it")
