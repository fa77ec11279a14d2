"""Names that templates give their nodes for people: the annotation `workflows.argoproj.io/display-name`."""

import re

from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.node import Node
from jitflow.machine.problems import Problem
from jitflow.machine.program import Program
from jitflow.model import argo

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-.]{0,61}[a-zA-Z0-9]")


def title(program: Program, node: Node) -> str:
    """Return the name under which a node is shown: its template's word for it, if that can be one, else its own."""
    try:
        template = program.template(node.template)
    except Problem:
        return node.display_name
    if template.title is None or node.retried or node.inputs is None:
        return node.display_name
    found = _rendered(template, program, node.inputs)
    return found if _NAME.fullmatch(found) else node.display_name


def _rendered(template: CompiledTemplate, program: Program, inputs: argo.Inputs) -> str:
    values = {f"inputs.parameters.{it.name}": it.value for it in inputs.parameters if it.value is not None}
    assert template.title is not None, "the caller has looked"
    return template.title.render(lambda tag: values.get(tag, program.constants.get(tag)))
