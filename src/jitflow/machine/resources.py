"""How much a pod takes for how long, as Argo counts it: an indication, in units of one processor and 100 MiB."""

from collections.abc import Mapping

from jitflow.expr.durations import QuantityError, exact_quantity
from jitflow.model import argo

CPU, MEMORY = "cpu", "memory"
UNITS: Mapping[str, float] = {CPU: 1.0, MEMORY: 100 * 2.0**20}
"""What one second of a resource means."""
DEFAULTS: Mapping[str, float] = {CPU: 0.1, MEMORY: 100 * 2.0**20}
"""What a container counts for that asks for nothing."""


def duration_of(template: argo.Template, lasted_s: float) -> dict[str, int]:
    """Return the seconds of each resource that a pod of a template has taken, for its main container."""
    main = template.container or template.script
    asked = main.resources if main is not None else None
    found: dict[str, int] = {}
    for name, unit in UNITS.items():
        value = _asked(asked, name)
        found[name] = int(lasted_s * (DEFAULTS[name] if value is None else value) / unit)
    return found


def _asked(resources: argo.ResourceRequirements | None, name: str) -> float | None:
    for given in (resources.requests, resources.limits) if resources is not None else ():
        if name in given:
            try:
                return float(exact_quantity(given[name]))
            except QuantityError:
                return None
    return None
