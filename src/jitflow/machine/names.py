"""Names and identifiers of nodes and pods, as Argo forms them."""

from functools import lru_cache

import msgspec

MAX_POD_PREFIX = 242
"""A Kubernetes name has at most 253 characters; ten digits and a dash are kept for the hash."""

_PRIME = 16777619
_OFFSET = 2166136261
_MASK = 0xFFFFFFFF


def fnv1a32(text: str) -> int:
    """Return the 32-bit FNV-1a hash of a text's UTF-8 bytes."""
    value = _OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


@lru_cache(maxsize=8192)
def node_id(workflow: str, name: str, salt: int = 0) -> str:
    """Return a node's id: the workflow's name for the root, else that name and the hash of the node's name.

    `salt` above 0 gives other ids for the same name, for the rare case that two names have the same hash.
    """
    if name == workflow and not salt:
        return workflow
    return f"{workflow}-{fnv1a32(name + chr(0) * salt)}"


def pod_name(workflow: str, template: str, name: str, identifier: str) -> str:
    """Return the name of a node's pod (version 2): workflow, template, and the hash that ends the node's id."""
    if name == workflow:
        return workflow
    prefix = f"{workflow}-{template}" if template else workflow
    return f"{prefix[:MAX_POD_PREFIX]}-{identifier.rpartition('-')[2]}"


def display_name(name: str, boundary: str) -> str:
    """Return a node's name without that of its boundary: `wf[0].a(1:x)` in `wf` is `a(1:x)`."""
    if not boundary:
        return name
    rest = name[len(boundary) :]
    if rest.startswith("["):
        group, dot, step = rest.partition("].")
        return step if dot else group
    return rest.removeprefix(".")


def item_text(item: str) -> str:
    """Return what `{{item}}` stands for; `item` is the item's JSON text."""
    if item.startswith('"'):
        return msgspec.json.decode(item, type=str)
    return item


def item_name(name: str, index: int, item: str) -> str:
    """Return the name of one item's step: `name(0:item)`; a map is told as `k:v,k:v`, parentheses are left out."""
    text = item_text(item)
    if item.startswith("{"):
        values = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
        text = ",".join(sorted(f"{key}:{item_text(bytes(value).decode())}" for key, value in values.items()))
    text = text.replace("(", "").replace(")", "")
    return f"{name}({index}:{text})"
