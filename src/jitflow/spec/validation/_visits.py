"""Walking the tree of templates as they call one another, with the values still unknown, as Argo does.

A template is looked at once, when it is first called: the outputs that it may rely on are those of steps and tasks checked
before. Values that are known (the workflow's parameters, the arguments of the entrypoint) are put in first.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from jitflow.expr import tags
from jitflow.model import argo
from jitflow.spec.validation._calls import Call, Calls
from jitflow.spec.validation._dag import check_dag
from jitflow.spec.validation._leaves import check_leaf
from jitflow.spec.validation._scope import Scope, is_leaf, template_scope
from jitflow.spec.validation._steps import check_steps
from jitflow.spec.validation._templates import (
    check_init_containers,
    check_inputs,
    check_kind,
    check_limits,
    check_outputs,
    check_times,
)

Values = dict[str, str]
"""What is known of tags, by their names."""

MAX_VALUE: Final = 256
"""Longer values stay tags: they are no names, and a text with many of them would grow without bounds."""


class Visits:
    """The templates looked at so far. `values`: what is known everywhere."""

    def __init__(self, scope: Scope, values: Values) -> None:
        """Start with none."""
        self.scope = scope
        self._values = values
        self._done: set[tuple[object, ...]] = set()

    def run(self, call: Call) -> None:
        """Check a template, and all that it calls, down to the leaves."""
        stack = [self._visit(call)]
        while stack:
            inner = next(stack[-1], None)
            if inner is None:
                stack.pop()
            else:
                stack.append(self._visit(inner))

    def _visit(self, call: Call) -> Calls:
        found = call.found
        key = (found.templates.origin, *found.path)
        if key in self._done:
            return
        self._done.add(key)
        report, template = found.report, found.template
        check_kind(report, template, found.path)
        check_inputs(report, template, found.path)
        check_init_containers(report, template, found.path)
        found = replace(found, filled=_known(template, call.arguments, self._values))
        check_limits(report, template, found.path)
        check_times(report, found)
        scope = template_scope(self.scope, template)
        if template.steps:
            yield from check_steps(report, scope, found)
        if template.dag is not None:
            yield from check_dag(report, scope, found)
        if is_leaf(template) or template.suspend is not None:
            check_leaf(report, scope, found)
        check_outputs(report, scope, found)


def _known(template: argo.Template, arguments: argo.Arguments | None, values: Values) -> argo.Template:
    """Return a template with everything put in that is known of it."""
    inputs = template.inputs
    if arguments is not None and inputs is not None and inputs.parameters:
        given = {parameter.name: parameter for parameter in arguments.parameters}
        parameters = tuple(_supplied(parameter, given.get(parameter.name)) for parameter in inputs.parameters)
        template = replace(template, inputs=replace(inputs, parameters=parameters))
    else:
        inputs = None
    template = _filled(template, values)
    if inputs is None or template.inputs is None:
        return template
    return _filled(template, {f"inputs.parameters.{it.name}": it.value for it in template.inputs.parameters if it.value})


def _supplied(parameter: argo.Parameter, given: argo.Parameter | None) -> argo.Parameter:
    value = parameter.value if parameter.value is not None else parameter.default
    if given is not None:
        value = given.value
    return replace(parameter, value=value)


def _filled(template: argo.Template, values: Values) -> argo.Template:
    compiled = tags.compile_struct(template)
    known = {name: value for name in compiled.names if len(value := values.get(name, "")) <= MAX_VALUE and name in values}
    return compiled.render(known.get) if known else template
