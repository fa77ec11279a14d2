"""Argo's nodeFieldSelector: `displayName=approve,phase!=Failed`; a comma means and."""

from jitflow.machine import called
from jitflow.machine.graph import Nodes
from jitflow.machine.node import Node
from jitflow.machine.program import Program
from jitflow.model import argo

FIELDS = ("displayName", "name", "id", "templateName", "phase", "templateRef.name", "templateRef.template")

Term = tuple[str, bool, str]
"""Field, whether it must be equal (or unequal), value."""


def parse(selector: str) -> tuple[Term, ...]:
    """Return a selector's terms; an empty one has none and matches all.

    Raises:
        ValueError: a term is no comparison, or its field is unknown.
    """
    terms: list[Term] = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        operator = next((sign for sign in ("!=", "==", "=") if sign in part), "")
        field, _, value = part.partition(operator) if operator else (part, "", "")
        field = field.strip()
        if not operator or not (field in FIELDS or _is_parameter(field)):
            known = ", ".join((*FIELDS, "inputs.parameters.NAME.value"))
            raise ValueError(f"invalid node field selector '{part}': write field=value; fields are {known}")
        terms.append((field, operator != "!=", value.strip()))
    return tuple(terms)


def _is_parameter(field: str) -> bool:
    return field.startswith("inputs.parameters.") and field.endswith(".value")


def matches(program: Program, nodes: Nodes, terms: tuple[Term, ...], node: Node) -> bool:
    """Return whether a node of a workflow fits all terms; a field that its status does not have is empty."""
    return all((_value(program, nodes, node, field) == value) is equal for field, equal, value in terms)


def _value(program: Program, nodes: Nodes, node: Node, field: str) -> str:
    match field:
        case "displayName":
            return node.display_name
        case "name":
            return node.name
        case "id":
            return node.id
        case "templateName":
            return called.name_of(program, nodes, node) or ""
        case "templateRef.name":
            return (called.reference_of(program, nodes, node) or argo.TemplateRef()).name or ""
        case "templateRef.template":
            return (called.reference_of(program, nodes, node) or argo.TemplateRef()).template or ""
        case "phase":
            return node.phase
        case _:
            name = field.removeprefix("inputs.parameters.").removesuffix(".value")
            inputs = node.inputs or argo.Inputs()
            return next((p.value or "" for p in inputs.parameters if p.name == name), "")
