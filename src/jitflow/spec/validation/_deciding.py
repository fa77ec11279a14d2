"""Which values of a workflow's parameters decide whether it is valid."""

from typing import Final

import msgspec

from jitflow.expr import tags
from jitflow.model import argo
from jitflow.spec._walk import tagged_texts
from jitflow.spec.places import Path

_CONTAINERS: Final = frozenset({"container", "script"})
_LISTS_OF_CONTAINERS: Final = frozenset({"initContainers", "sidecars"})
_TEXTS: Final = frozenset({"command", "args", "source"})
_VALUES: Final = ("workflow.parameters.", "inputs.parameters.")


def deciding_parameters(spec: argo.WorkflowSpec) -> frozenset[str] | None:
    """Return the parameters of a workflow whose values decide whether it is valid; None: any may.

    The values of all others come into nothing but what containers are started with: commands, their arguments, scripts and
    environments, where any text will do. That holds for values without braces, of parameters of which the workflow itself says
    nothing but name and value; more may be said of them by the template that it refers to, which `spec` has to contain then.
    """
    if b"emplateRef" in msgspec.json.encode(spec):  # templates of other objects get the same values
        return None
    arguments = spec.arguments or argo.Arguments()
    if b"{{" in msgspec.json.encode(arguments):  # what they come to depends on each other
        return None
    found = {parameter.name for parameter in arguments.parameters if parameter.enum}
    for template in spec.templates:
        for path, text in tagged_texts(template):
            named = _named(text, nested_only=_takes_any_text(path))
            if named is None:
                return None
            found |= named
    return frozenset(found)


def _named(text: str, *, nested_only: bool) -> set[str] | None:
    """Return the parameters that a text's tags name, or only those that its tags within tags name; None: it cannot be told."""
    found: set[str] = set()
    for tag in tags.find(text):
        if nested_only and not tag.is_nested:
            continue
        name = next((tag.name.removeprefix(prefix) for prefix in _VALUES if tag.name.startswith(prefix)), "")
        if name and not tag.is_nested:
            found.add(name)
        elif "parameters" in tag.text:
            return None
    return found


def _takes_any_text(path: Path) -> bool:
    """Return whether a place of a template is the command, an argument, the script or the environment of a container."""
    first, *rest = path
    if first in _LISTS_OF_CONTAINERS and rest:
        rest = rest[1:]
    elif first not in _CONTAINERS:
        return False
    return (len(rest) >= 1 and rest[0] in _TEXTS) or (len(rest) == 3 and rest[0] == "env" and rest[2] == "value")
