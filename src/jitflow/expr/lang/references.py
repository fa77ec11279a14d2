"""The names that an expression reads from its environment."""

from collections.abc import Iterator

from jitflow.expr.lang import nodes
from jitflow.expr.lang.frame import is_array
from jitflow.expr.lang.nodes import Node


def references(node: Node) -> tuple[frozenset[str], frozenset[str]]:
    """Return the dotted names that an expression reads, and those that it calls.

    `inputs.parameters['a-b'] + string(item.x)` reads `inputs.parameters.a-b` and `item.x`; a name with a computed key counts
    up to the key. Variables and the language's own functions are no names of the environment. `$env` alone is read as `$env`.
    """
    names: set[str] = set()
    calls: set[str] = set()
    todo: list[tuple[Node, frozenset[str]]] = [(node, frozenset())]
    while todo:
        part, variables = todo.pop()
        if isinstance(part, nodes.Let):
            todo += [(part.value, variables), (part.body, variables | {part.name})]
            continue
        if isinstance(part, nodes.Call):
            called, within = _path(part.callee)
            if called is not None and called.partition(".")[0] not in variables:
                calls.add(called)
            todo += [(child, variables) for child in (within if called is not None else (part.callee,))]
            todo += [(child, variables) for child in part.arguments]
            continue
        name, within = _path(part)
        if name is not None:
            if name.partition(".")[0] not in variables:
                names.add(name)
            todo += [(child, variables) for child in within]
        else:
            todo += [(child, variables) for child in children(part)]
    return frozenset(names), frozenset(calls)


def _path(node: Node) -> tuple[str | None, list[Node]]:
    """Return the dotted name of a chain of members, None when it does not begin with a name; and the computed keys in it."""
    keys: list[str] = []
    computed: list[Node] = []
    while True:
        match node:
            case nodes.Chain():
                node = node.node
            case nodes.Member():
                if isinstance(node.property, nodes.Constant) and isinstance(node.property.value, str):
                    keys.append(node.property.value)
                else:
                    # What comes after a computed key is not part of the name.
                    keys.clear()
                    computed.append(node.property)
                node = node.node
            case nodes.Name():
                path = [node.name, *reversed(keys)]
                if path[0] == "$env" and len(path) > 1:
                    path = path[1:]
                return ".".join(path), computed
            case _:
                return None, computed


def children(node: Node) -> Iterator[Node]:
    """Yield the parts of a node."""
    for field in node.__struct_fields__:
        yield from _within(getattr(node, field))


def _within(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif is_array(value):
        for item in value:
            yield from _within(item)
