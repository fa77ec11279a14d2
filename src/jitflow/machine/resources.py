"""How much pods take for how long, as Argo counts it: an indication, in units of one processor and 100 MiB.

As there, whole seconds of each container times what it asks for (requests before limits), rounded down. Argo's own helper
containers do not exist here and do not count.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from jitflow.expr.durations import QuantityError, exact_quantity
from jitflow.machine import node as types
from jitflow.machine.compiled import CONTAINER, CONTAINER_SET, SCRIPT, CompiledTemplate
from jitflow.machine.node import Node
from jitflow.machine.state import State
from jitflow.model import argo

CPU, MEMORY = "cpu", "memory"
DEFAULTS: Mapping[str, str] = {CPU: "100m", MEMORY: "100Mi"}
"""What a container counts for that asks for nothing."""
UNITS: Mapping[str, str] = {MEMORY: "100Mi", "storage": "10Gi", "ephemeral-storage": "10Gi"}
"""What one second of a resource means; of others: one."""

Amounts = dict[str, int]
Asked = tuple[tuple[str, dict[str, tuple[int, int]]], ...]
"""Containers of a pod: the name of one of a set, and for each resource thousandths of what it asks for, and of the unit."""


def asked_by(template: CompiledTemplate) -> Asked:
    """Return what the containers of a template's pod ask for. A pod that only Argo would have, for data, has one."""
    source = template.source
    beside = [("", one.resources) for one in source.sidecars]
    if template.kind == CONTAINER_SET and source.container_set is not None:
        mains = [(one.name, one.resources) for one in source.container_set.containers]
    else:
        main = source.container if template.kind == CONTAINER else source.script if template.kind == SCRIPT else None
        mains = [("", main.resources if main is not None else None)]
    return tuple((name, _thousandths(resources)) for name, resources in (*mains, *beside))


def _thousandths(asked: argo.ResourceRequirements | None) -> dict[str, tuple[int, int]]:
    amounts = {name: Decimal(exact_quantity(text)) for name, text in DEFAULTS.items()}
    for given in (asked.limits, asked.requests) if asked is not None else ():
        for name, text in given.items():
            try:
                amounts[name] = exact_quantity(text)
            except QuantityError:
                continue  # it holds a tag: what it came to is not known here
    return {
        name: (math.ceil(amount * 1000), int(exact_quantity(UNITS.get(name, "1")) * 1000)) for name, amount in amounts.items()
    }


def taken(node: Node, asked: Asked, now: float) -> Amounts:
    """Return the seconds of each resource that a node's pod has taken until it ended, or now; nothing if it has no pod."""
    if node.type != types.POD or node.started_at is None:
        return {}
    lasted_s = (node.finished_at if node.finished_at is not None else now) - node.started_at
    own = {name: end - start for name, code, start, end in node.containers if code is not None}
    found: Amounts = {}
    for container, amounts in asked:
        seconds = int(max(0.0, own.get(container, 0.0) if container and node.containers else lasted_s))
        for name, (amount, unit) in amounts.items():
            found[name] = found.get(name, 0) + amount * seconds // unit
    return found


def total(amounts: Iterable[Amounts]) -> Amounts:
    """Return the sum."""
    found: Amounts = {}
    for one in amounts:
        _add(found, one)
    return found


def _add(found: Amounts, more: Amounts) -> None:
    for name, seconds in more.items():
        found[name] = found.get(name, 0) + seconds


def by_node(state: State, now: float) -> dict[str, Amounts]:
    """Return what each pod that has ended has taken, and for each node above one the sum of those below it.

    The sum of the whole workflow stands under an empty id.
    """
    known: dict[str, Asked] = {}
    found: dict[str, Amounts] = {}
    for node in state.nodes.values():
        if node.type != types.POD or not node.is_fulfilled:
            continue
        asked = known.get(node.template)
        if asked is None:
            asked = known[node.template] = asked_by(state.program.template(node.template))
        own = found[node.id] = taken(node, asked, now)
        owner = node.owner
        while owner:
            _add(found.setdefault(owner, {}), own)
            owner = state.nodes[owner].owner
        _add(found.setdefault("", {}), own)
    return found
