"""Manifests from text and from API bodies: strict, and every problem with its place."""

import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Final, cast

import msgspec
from msgspec import Struct

from jitflow.model import argo
from jitflow.model.objects import AnyObject, ConfigMap, Secret
from jitflow.model.problems import Place, Problem, Refused
from jitflow.spec import _nodes
from jitflow.spec._nodes import MAP, Node
from jitflow.spec._reader import Reader
from jitflow.spec.places import Places

Manifest = argo.Workflow | AnyObject

KINDS: Final[dict[str, type[Any]]] = {
    "Workflow": argo.Workflow,
    "WorkflowTemplate": argo.WorkflowTemplate,
    "ClusterWorkflowTemplate": argo.ClusterWorkflowTemplate,
    "CronWorkflow": argo.CronWorkflow,
    "WorkflowEventBinding": argo.WorkflowEventBinding,
    "ConfigMap": ConfigMap,
    "Secret": Secret,
    "PersistentVolumeClaim": argo.PersistentVolumeClaim,
}
API_VERSION: Final = "argoproj.io/v1alpha1"
_ESCAPE: Final = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|.)", re.DOTALL)
_PAIR: Final = len(r"\ud83d\ude00")
CORE_KINDS: Final = frozenset({"ConfigMap", "Secret", "PersistentVolumeClaim"})
"""Kinds of Kubernetes' own core, `apiVersion: v1`."""


_PASSED_OVER: Final = frozenset({"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Namespace"})
"""Kinds that often stand in one file with manifests, and say what there is nothing of here: identities and their rights."""


class Document(Struct, frozen=True, kw_only=True):
    """One manifest, and where its parts stand in the text."""

    kind: str
    manifest: Manifest
    places: Places


def load(text: str, source: str = "") -> tuple[Document, ...]:
    """Return the manifests of a YAML or JSON text, which may hold several documents.

    Identities and their rights that stand beside manifests are passed over.

    Args:
        text: the text.
        source: a file's name, for messages.

    Raises:
        Refused: not YAML, no manifest in it, an unknown kind, unknown or doubled fields, wrong types; with every problem found.
    """
    roots = _roots(text, source)
    documents: list[Document] = []
    if not roots:
        remedy = f"give a manifest: apiVersion: {API_VERSION}, kind: Workflow, …"
        place = Place(line=1, column=1, source=source)
        raise Refused(Problem(message="there is no manifest in the text", place=place, remedy=remedy))
    problems: list[Problem] = []
    for root in [root for root in roots if not _is_passed_over(root)] or roots:
        try:
            documents.append(_document(root, Places(root, source), coerce=True))
        except Refused as error:
            problems += error.problems
    if problems:
        raise Refused(problems)
    return tuple(documents)


def _is_passed_over(root: Node) -> bool:
    return root.kind == MAP and _text_of(root, "kind") in _PASSED_OVER


def _roots(text: str, source: str) -> list[Node]:
    """Return the documents of a text. JSON is YAML but for its pairs of surrogates, so it is read as JSON where YAML fails.

    Raises:
        Refused: neither.
    """
    try:
        return _nodes.parse(text, source)
    except Refused:
        if not text.lstrip("\ufeff \t\r\n").startswith("{") or "\\u" not in text:
            raise
        paired = _ESCAPE.sub(lambda found: json.loads(f'"{found[0]}"') if len(found[0]) == _PAIR else found[0], text)
        return _nodes.parse(paired, source)


def load_one(text: str, source: str = "", *, kinds: Collection[str] = ()) -> Document:
    """Return the only manifest of a text.

    Args:
        text: the text.
        source: a file's name, for messages.
        kinds: kinds that will do; empty: any.

    Raises:
        Refused: as `load`; or there are several manifests, or one of another kind.
    """
    document, *others = load(text, source)
    if others:
        place = others[0].places.at(())
        raise Refused(
            Problem(message=f"expected one manifest, found {len(others) + 1}", place=place, remedy="give them one by one")
        )
    if kinds and document.kind not in kinds:
        raise Refused(
            Problem(
                message=f"expected kind {' or '.join(kinds)}, got {document.kind}",
                place=document.places.at(("kind",)),
                remedy="give a manifest of that kind",
            )
        )
    return document


def from_json(body: Any, *, kind: str = "", source: str = "") -> Document:
    """Return the manifest of an API body; places are JSON paths only, and strings must be strings.

    Keys beside those of the kind are left out at the top, as Argo's server does it; further down they are refused.

    Args:
        body: the decoded JSON.
        kind: the kind to assume when the body names none.
        source: a name, for messages.

    Raises:
        Refused: as `load`.
    """
    if isinstance(body, dict):
        found = cast("dict[str, Any]", body)
        known = KINDS.get(str(found.get("kind") or kind))
        if known is not None:
            body = {key: value for key, value in found.items() if key in _keys(known)}
    return _document(_nodes.from_plain(body), Places(None, source), coerce=False, kind=kind)


@lru_cache(maxsize=len(KINDS))
def _keys(kind: type) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def _document(root: Node, places: Places, *, coerce: bool, kind: str = "") -> Document:
    if root.kind != MAP:
        raise Refused(Problem(message="a manifest must be an object", place=places.at(()), remedy="start with `apiVersion:`"))
    named = _text_of(root, "kind") or kind
    if named not in KINDS:
        known = ", ".join(KINDS)
        message = f"unknown kind '{named}'" if named else "Object 'Kind' is missing"
        version = _text_of(root, "apiVersion") or API_VERSION
        code = "invalid" if not named or version.startswith("argoproj.io/") else "unsupported"
        raise Refused(Problem(message=message, place=places.at(("kind",)), remedy=f"use one of {known}", code=code))
    version = _text_of(root, "apiVersion")
    expected = "v1" if named in CORE_KINDS else API_VERSION
    if version is not None and version != expected:
        message = f"unknown apiVersion '{version}'"
        raise Refused(Problem(message=message, place=places.at(("apiVersion",)), remedy=f"use {expected}"))
    manifest = Reader(places, coerce=coerce).read(root, KINDS[named])
    return Document(kind=named, manifest=manifest, places=places)


def _text_of(root: Node, key: str) -> str | None:
    entry = root.entry(key)
    if entry is None or entry[1].is_collection or entry[1].value is None:
        return None
    return str(entry[1].value)
