"""Names that Kubernetes would accept, and the names of pods."""

import re
from functools import lru_cache

from jitflow.machine import names
from jitflow.model import argo
from jitflow.model.problems import Place, Problem, Refused

MAX_NAME_CHARS = 63
"""Argo's limit for workflow names: they become label values."""
_GENERATED_CHARS = 5

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NAMESPACE = re.compile(_LABEL)


@lru_cache(maxsize=256)
def check_namespace(namespace: str) -> str:
    """Return the namespace.

    Raises:
        Refused: it is no Kubernetes namespace.
    """
    if len(namespace) > MAX_NAME_CHARS or not _NAMESPACE.fullmatch(namespace):
        raise Refused(
            f"namespace {namespace[:80]!r} is not valid; use at most {MAX_NAME_CHARS} lower-case letters, digits and -, "
            "beginning and ending with a letter or digit"
        )
    return namespace


def check_name(name: str) -> str:
    """Return the workflow's name.

    Raises:
        Refused: it is none that Kubernetes and Argo accept.
    """
    place = Place(path="$.metadata.name")
    if len(name) > MAX_NAME_CHARS:
        message = f"workflow name {name[:80]!r} must not be more than {MAX_NAME_CHARS} characters long (currently {len(name)})"
        raise Refused(Problem(message=message, place=place, remedy="choose a shorter name"))
    if not _NAME.fullmatch(name):
        remedy = "use lower-case letters, digits, - and ., beginning and ending with a letter or digit"
        raise Refused(Problem(message=f"workflow name {name!r} is not valid", place=place, remedy=remedy))
    return name


def generated_name(prefix: str, suffix: str) -> str:
    """Return a name as Kubernetes makes it of `generateName`: a long prefix is cut to leave room."""
    name = prefix[: MAX_NAME_CHARS - _GENERATED_CHARS] + suffix
    return name if _may_begin(prefix) else check_name(name)


@lru_cache(maxsize=256)
def _may_begin(prefix: str) -> bool:
    """Return whether a name may begin so that ends in a letter or digit: the same prefixes come again and again."""
    return _NAME.fullmatch(prefix[: MAX_NAME_CHARS - _GENERATED_CHARS] + "x") is not None


def pod_name(workflow_name: str, node: argo.NodeStatus) -> str:
    """Return the name of a node's pod as Argo's clients form it: the workflow's name, or `<workflow>-<template>-<hash>`."""
    template = (node.template_ref.template if node.template_ref else None) or node.template_name or ""
    return names.pod_name(workflow_name, "" if ".inline" in node.name else template, node.name, node.id)
