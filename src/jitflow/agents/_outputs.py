"""What a template's outputs become when its work is done."""

from collections.abc import Mapping

from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.problems import Refused


def collected(template: argo.Template, *, result: str | None, found: Mapping[str, str] | None = None) -> argo.Outputs:
    """Return the outputs: `found` are values of parameters by name; others take their `value` or default.

    Raises:
        Refused: a parameter has no value.
    """
    planned = template.outputs or argo.Outputs()
    parameters: list[argo.Parameter] = []
    for parameter in planned.parameters:
        source = parameter.value_from or argo.ValueFrom()
        value = (found or {}).get(parameter.name)
        if value is None:
            value = parameter.value if parameter.value is not None else source.default
        if value is None:
            raise Refused(f"the output parameter {parameter.name!r} has no value; give it a default")
        parameters.append(replace(parameter, value=value))
    return argo.Outputs(parameters=tuple(parameters), result=result)
