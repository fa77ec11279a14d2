"""What kubectl's arguments and conditions mean: kinds and names, selectors, label selectors over the fields of an object."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from jitflow.expr import queries
from jitflow.model.objects import KINDS
from jitflow.model.problems import Refused

WORKFLOW = "Workflow"

_SHORT = {
    "wf": WORKFLOW,
    "wftmpl": "WorkflowTemplate",
    "cwftmpl": "ClusterWorkflowTemplate",
    "clusterwftmpl": "ClusterWorkflowTemplate",
    "cwf": "CronWorkflow",
    "cronwf": "CronWorkflow",
    "wfeb": "WorkflowEventBinding",
    "cm": "ConfigMap",
    "pvc": "PersistentVolumeClaim",
}
_WITH_VALUE = {
    "-l": "selector",
    "--selector": "selector",
    "-n": "namespace",
    "--namespace": "namespace",
    "-o": "",
    "--output": "",
    "--grace-period": "",
    "--timeout": "",
    "--field-manager": "",
}
_ALONE = {"--force", "--wait", "--validate", "--overwrite", "--server-side", "--now", "--cascade", "--force-conflicts"}


class Target(Struct, frozen=True, kw_only=True):
    """What flags name. Flags that change nothing here (`--wait`, `--output`) are left out."""

    kind: str = ""
    names: tuple[str, ...] = ()
    selector: str = ""
    namespace: str = ""
    ignore_not_found: bool = False
    all: bool = False


def kind_named(text: str) -> str:
    """Return the kind that kubectl knows by a name, as `configmaps`, `cm` or `workflows.argoproj.io`.

    Raises:
        Refused: jitflow keeps no such objects.
    """
    name = text.lower().split(".")[0]
    known = {kind.lower(): kind for kind in (*KINDS, WORKFLOW) if kind != "SyncLimit"}
    found = _SHORT.get(name) or known.get(name) or known.get(name.removesuffix("s"))
    if found is None:
        kinds = ", ".join(known.values())
        raise Refused(f"the server doesn't have a resource type {text!r}: there is no Kubernetes here; kinds are {kinds}")
    return found


def read_flags(flags: Sequence[str]) -> Target:
    """Return what kubectl's arguments name.

    Raises:
        Refused: a flag or a kind is not known.
    """
    words, values = [], {"selector": "", "namespace": ""}
    ignore = everything = False
    rest = iter(flags)
    for flag in rest:
        name, equals, value = flag.partition("=")
        if name in _WITH_VALUE:
            text = value if equals else next(rest, "")
            if _WITH_VALUE[name]:
                values[_WITH_VALUE[name]] = text
        elif name == "--ignore-not-found":
            ignore = value != "false"
        elif name == "--all":
            everything = value != "false"
        elif flag.startswith("-"):
            if name not in _ALONE:
                raise Refused(f"the flag {flag!r} is not known here; --selector, --namespace, --all, --ignore-not-found are")
        else:
            words.append(flag)
    kind, names = _kind_and_names(words)
    return Target(
        kind=kind,
        names=names,
        selector=values["selector"],
        namespace=values["namespace"],
        ignore_not_found=ignore,
        all=everything,
    )


def _kind_and_names(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if not words:
        return "", ()
    if "/" not in words[0]:
        return kind_named(words[0]), tuple(words[1:])
    pairs = [word.partition("/") for word in words]
    kinds = {kind_named(kind) for kind, _, _ in pairs}
    if len(kinds) > 1:
        raise Refused("flags name objects of several kinds; use one template for each")
    return kinds.pop(), tuple(name for _, _, name in pairs)


class Fields(Mapping[str, str]):
    """An object as a label selector sees it: each key is a gjson path."""

    def __init__(self, document: Any) -> None:
        """Hold the document."""
        self._document = document

    def __getitem__(self, key: str) -> str:
        """Return what a path finds, as text."""
        value = queries.gjson(key, self._document)
        if value is None:
            raise KeyError(key)
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def __iter__(self) -> Iterator[str]:
        """Paths cannot be listed."""
        return iter(())

    def __len__(self) -> int:
        """Paths cannot be counted."""
        return 0
