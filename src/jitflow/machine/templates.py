"""Keys of templates: how a program tells the workflow's own templates from those of other objects and from inline ones.

A template of the workflow is known by its name; one of a WorkflowTemplate as `@namespaced:RESOURCE:NAME`, of a
ClusterWorkflowTemplate as `@cluster:RESOURCE:NAME`; an inline one as the key of the template around it and its task's number
(`main/0`). A name is looked up where the template stands that uses it: the part up to the name is a template's home.
"""

from typing import Final

from jitflow.model import argo

NAMESPACED: Final = "namespaced"
CLUSTER: Final = "cluster"
_OF_OTHERS: Final = (f"@{NAMESPACED}:", f"@{CLUSTER}:")


def key_of(reference: argo.TemplateRef) -> str:
    """Return the key of a template that a `templateRef` names."""
    scope = CLUSTER if reference.cluster_scope else NAMESPACED
    return f"@{scope}:{reference.name or ''}:{reference.template or ''}"


def is_of_another(key: str) -> bool:
    """Return whether a key stands for a template of another object; names that people chose may begin with `@` too."""
    return key.startswith(_OF_OTHERS) and key.count(":") > 1


def is_inline(key: str) -> bool:
    """Return whether a key stands for a template inside a step or task."""
    return "/" in key


def home_of(key: str) -> str:
    """Return what stands before the names that a template uses: empty in the workflow, else `@SCOPE:RESOURCE:`."""
    base = base_of(key)
    return base[: base.rindex(":") + 1] if is_of_another(base) else ""


def base_of(key: str) -> str:
    """Return the key of the named template that holds an inline one; of a named one itself."""
    return key.partition("/")[0]


def name_of(key: str) -> str:
    """Return a template's name, empty for an inline one."""
    return "" if is_inline(key) else key.rpartition(":")[2]


def scope_of(key: str, workflow: str) -> str:
    """Return Argo's `templateScope` for what a template calls: `local/WORKFLOW`, `namespaced/NAME` or `cluster/NAME`.

    Args:
        key: of the template that calls; empty for the workflow itself.
        workflow: the program's `scope_name`.
    """
    home = home_of(key) if key else ""
    if not home:
        return f"local/{workflow}"
    scope, resource, _ = home[1:].split(":", 2)
    return f"{scope}/{resource}"


def reference_of(key: str) -> argo.TemplateRef | None:
    """Return the `templateRef` that a key stands for, None for the workflow's own and inline templates."""
    if is_inline(key) or not is_of_another(key):
        return None
    scope, resource, name = key[1:].split(":", 2)
    return argo.TemplateRef(name=resource, template=name, cluster_scope=True if scope == CLUSTER else None)


def stored_key(key: str) -> str:
    """Return the key of `status.storedTemplates`: `SCOPE/RESOURCE/NAME`."""
    return key.removeprefix("@").replace(":", "/")
