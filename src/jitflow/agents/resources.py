"""resource templates: kubectl's verbs over the objects that jitflow itself keeps. There is no Kubernetes."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from jitflow.agents._jq import jq_text
from jitflow.agents._kubectl import WORKFLOW, Fields, Target, kind_named, read_flags
from jitflow.agents._outputs import collected
from jitflow.agents._patches import json_patch
from jitflow.app.manifests import read_unchecked
from jitflow.app.objects import Objects
from jitflow.app.selectors import Selection, label_selector
from jitflow.app.service import Service
from jitflow.engine import Change, Engine
from jitflow.expr import queries
from jitflow.model import argo
from jitflow.model.merge import merge_patch, strategic_merge
from jitflow.model.objects import KINDS
from jitflow.model.problems import Refused
from jitflow.model.runs import LabelsSet, RunTask
from jitflow.objects import ObjectStore
from jitflow.objects.store import Change as ObjectChange
from jitflow.ports.agents import Report, TaskResult

CREATED_BY = "jitflow.io/created-by"
"""Annotation that tells which node made an object: a node that runs again after a restart finds what it has made already."""

Tree = dict[str, Any]


class ResourceAgent:
    """Does kubectl's work in the workflow's own namespace."""

    def __init__(self, store: ObjectStore) -> None:
        """Hold the objects; tasks wait until `open`."""
        self._store = store
        self._objects = Objects(store)
        self._service: Service | None = None
        self._engine: Engine | None = None
        self._opened = asyncio.Event()

    def open(self, service: Service, engine: Engine) -> None:
        """Begin: workflows are asked for and changed through these."""
        self._service, self._engine = service, engine
        self._opened.set()

    async def run(self, uid: str, task: RunTask, report: Report) -> TaskResult:
        """Do the action and wait for the conditions; see `Agent.run`."""
        del report
        await self._opened.wait()
        try:
            return await self._run(uid, task)
        except (Refused, queries.QueryError) as error:
            return TaskResult(phase="Failed", message=f"main: Error (exit code 64): {error}")

    async def _run(self, uid: str, task: RunTask) -> TaskResult:
        resource = task.template.resource
        assert resource is not None, "the kind says so"
        namespace = task.workflow_level.namespace
        target = read_flags(resource.flags)
        if target.namespace and target.namespace != namespace:
            raise Refused(f"objects of namespace {target.namespace!r} cannot be used by a workflow of namespace {namespace!r}")
        manifest = _manifest(resource, task.template)
        if resource.action in {"create", "apply", "replace"}:
            kind, name = await self._write(uid, task, resource, _trees(manifest))
        elif resource.action == "delete":
            await self._delete(namespace, _targets(target, manifest))
            return TaskResult(phase="Succeeded", outputs=collected(task.template, result=None))
        elif resource.action in {"get", "patch"}:
            patches = resource.action == "patch"
            named = target if target.kind or (patches and not manifest) else _targets(target, manifest)[0]
            if not named.kind and patches:
                named = _targets(target, manifest)[0]
            if len(named.names) != 1:
                raise Refused(f"{resource.action} needs the name of one object")
            kind, name = named.kind, named.names[0]
            if patches:
                await self._patch(namespace, kind, name, resource.merge_strategy or "strategic", manifest)
        else:
            raise Refused(f"action {resource.action!r} is not known: use get, create, apply, patch, replace or delete")
        return await self._wait(task, resource, namespace, kind, name)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(self, uid: str, task: RunTask, resource: argo.ResourceTemplate, trees: Sequence[Tree]) -> tuple[str, str]:
        if not trees:
            raise Refused(f"{resource.action} needs a manifest")
        level = task.workflow_level
        kind, name = "", ""
        for number, tree in enumerate(trees):
            kind = kind_named(str(tree.get("kind") or ""))
            tree = {**tree, "kind": kind, "metadata": dict(tree.get("metadata") or {})}  # noqa: PLW2901
            metadata: Tree = tree["metadata"]
            mark = f"{uid}/{task.node_id}/{number}"
            if resource.action == "create" and not metadata.get("name") and metadata.get("generateName"):
                digest = hashlib.sha256(mark.encode()).hexdigest()
                metadata["name"] = f"{metadata.pop('generateName')}{digest[:5]}"
            name = str(metadata.get("name") or "")
            metadata["annotations"] = {**(metadata.get("annotations") or {}), CREATED_BY: mark}
            if resource.set_owner_reference:
                owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": WORKFLOW, "name": level.workflow_name, "uid": uid}
                metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or []), owner]
            if kind == WORKFLOW:
                await self._write_workflow(resource.action, level.namespace, name, tree, mark)
            elif resource.action == "create":
                try:
                    await self._objects.create(kind, level.namespace, tree)
                except Refused as error:
                    if error.code != "conflict" or _mark(await self._get(kind, level.namespace, name)) != mark:
                        raise
            elif resource.action == "apply":
                await self._objects.apply(kind, level.namespace, name, tree)
            else:
                await self._objects.update(kind, level.namespace, name, tree)
        return kind, name

    async def _write_workflow(self, action: str, namespace: str, name: str, tree: Tree, mark: str) -> None:
        if action == "replace":
            raise Refused("a workflow cannot be replaced once it runs; create another one")
        try:
            await self._asked().keep(tree, namespace)
        except Refused as error:
            if error.code != "conflict":
                raise
            found = await self._get(WORKFLOW, namespace, name)
            if _mark(found) == mark:
                return
            if action == "create" or found.get("spec") != msgspec.to_builtins(read_unchecked(tree).spec):
                raise

    async def _patch(self, namespace: str, kind: str, name: str, strategy: str, manifest: str) -> None:
        patch = msgspec.to_builtins(_parsed(manifest))
        if patch is None:
            raise Refused("patch needs a manifest")
        apply = {"json": json_patch, "merge": merge_patch, "strategic": strategic_merge}.get(strategy)
        if apply is None:
            raise Refused(f"mergeStrategy {strategy!r} is not known: use strategic, merge or json")
        if kind == WORKFLOW:
            before = await self._get(kind, namespace, name)
            await self._patch_workflow(namespace, name, before, apply(before, patch))
            return
        found = self._store.find(KINDS[kind], namespace, name)
        if found is None:
            raise Refused(f'{kind.lower()}s "{name}" not found', code="not_found")
        # A Secret is patched as it is kept; what is shown of it has no values.
        await self._objects.update(kind, namespace, name, apply(msgspec.to_builtins(found), patch))

    async def _patch_workflow(self, namespace: str, name: str, before: Tree, after: Tree) -> None:
        """Change what can be changed of a workflow: its labels and annotations.

        Raises:
            Refused: the patch changes something else.
        """
        changed: dict[str, dict[str, str | None]] = {}
        for field in ("labels", "annotations"):
            old = before["metadata"].get(field) or {}
            new = (after.get("metadata") or {}).get(field) or {}
            changed[field] = {key: str(value) for key, value in new.items() if old.get(key) != value}
            changed[field].update({key: None for key in old if key not in new})
        if _without_marks(before) != _without_marks(after):
            raise Refused("of a workflow only metadata.labels and metadata.annotations can be patched")
        row = self._asked().find(namespace, name, only_live=True)
        assert self._engine is not None, "it was opened"
        await self._engine.send(row.uid, LabelsSet(labels=changed["labels"], annotations=changed["annotations"]))

    async def _delete(self, namespace: str, targets: Sequence[Target]) -> None:
        for target in targets:
            names = list(target.names)
            if not names and not target.selector and not target.all:
                raise Refused("delete needs names, or --selector, or --all")
            if not names:
                names = self._selected(target, namespace)
            for name in names:
                try:
                    if target.kind == WORKFLOW:
                        await self._asked().delete(namespace, name)
                    else:
                        await self._objects.delete(target.kind, namespace, name)
                except Refused as error:
                    if error.code != "not_found" or not target.ignore_not_found:
                        raise

    def _selected(self, target: Target, namespace: str) -> list[str]:
        if target.kind == WORKFLOW:
            rows = self._asked().list(Selection(namespace=namespace, labels=target.selector, only_live=True)).rows
            return [row.name for row in rows]
        return [value.metadata.name for value in self._objects.list(target.kind, namespace, labels=target.selector)]

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def _wait(self, task: RunTask, resource: argo.ResourceTemplate, namespace: str, kind: str, name: str) -> TaskResult:
        """Wait until a condition holds, the failure condition first; every change of the object is looked at."""
        failed = label_selector(resource.failure_condition or "")
        succeeded = label_selector(resource.success_condition or "")
        woken = asyncio.Event()
        assert self._engine is not None, "it was opened"

        def run_changed(change: Change) -> None:
            if kind == WORKFLOW and change.row.name == name:
                woken.set()

        def object_changed(change: ObjectChange) -> None:
            if change.kind == kind and (change.value.metadata or argo.ObjectMeta()).name == name:
                woken.set()

        stops = [self._engine.subscribe(run_changed), self._store.subscribe(object_changed)]
        try:
            while True:
                woken.clear()
                document = await self._get(kind, namespace, name)
                fields = Fields(document)
                if resource.failure_condition and failed(fields):
                    message = f"main: Error (exit code 64): failure condition '{resource.failure_condition}' evaluated true"
                    return TaskResult(phase="Failed", message=message)
                if succeeded(fields):
                    outputs = collected(task.template, result=None, found=await _values(task.template, document))
                    return TaskResult(phase="Succeeded", outputs=outputs)
                await woken.wait()
        finally:
            for stop in stops:
                stop()

    async def _get(self, kind: str, namespace: str, name: str) -> Tree:
        if kind == WORKFLOW:
            return msgspec.to_builtins(await self._asked().get(namespace, name, only_live=True))
        return msgspec.to_builtins(self._objects.get(kind, namespace, name))

    def _asked(self) -> Service:
        assert self._service is not None, "it was opened"
        return self._service

    # -- owners -------------------------------------------------------------------------------------------------------

    async def owner_changed(self, change: Change) -> None:
        """Delete the objects that a deleted workflow owns."""
        if change.kind != "DELETED":
            return
        for kind in KINDS.values():
            for value in self._store.list(kind):
                metadata = value.metadata or argo.ObjectMeta()
                if any(owner.uid == change.row.uid for owner in metadata.owner_references):
                    await self._store.delete(kind, metadata.namespace or "", metadata.name or "")


def _manifest(resource: argo.ResourceTemplate, template: argo.Template) -> str:
    if resource.manifest:
        return resource.manifest
    if resource.manifest_from is None:
        return ""
    artifact = resource.manifest_from.artifact
    inputs = (template.inputs or argo.Inputs()).artifacts
    if artifact.raw is None:
        artifact = next((one for one in inputs if one.name == artifact.name), artifact)
    if artifact.raw is None:
        raise Refused(f"manifestFrom: the artifact {artifact.name!r} must be raw; write the manifest into `manifest` otherwise")
    return artifact.raw.data


def _parsed(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"the manifest cannot be read: {error}") from None


def _trees(text: str) -> list[Tree]:
    try:
        found = [tree for tree in yaml.safe_load_all(text) if tree is not None] if text else []
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refused(f"the manifest cannot be read: {error}") from None
    for tree in found:
        if not isinstance(tree, dict) or not isinstance(tree.get("metadata") or {}, dict):
            raise Refused("a manifest must be an object with `kind` and `metadata`")
    return [msgspec.to_builtins(tree) for tree in found]


def _targets(target: Target, manifest: str) -> list[Target]:
    """Return what flags name, else each object of the manifest."""
    if target.kind:
        return [target]
    found = [
        replace(target, kind=kind_named(str(tree.get("kind") or "")), names=(str((tree.get("metadata") or {}).get("name", "")),))
        for tree in _trees(manifest)
    ]
    if not found:
        raise Refused("name an object: with a manifest, or with flags such as `configmap`, `my-config`")
    return found


async def _values(template: argo.Template, document: Tree) -> dict[str, str]:
    """Return the values of output parameters that are taken from the object."""
    found: dict[str, str] = {}
    for parameter in (template.outputs or argo.Outputs()).parameters:
        source = parameter.value_from or argo.ValueFrom()
        try:
            if source.json_path:
                found[parameter.name] = queries.template(source.json_path, document)
            elif source.jq_filter:
                found[parameter.name] = await jq_text(source.jq_filter, document)
        except queries.QueryError:
            if source.default is None:
                raise
    return found


def _mark(document: Tree) -> str:
    return str((document["metadata"].get("annotations") or {}).get(CREATED_BY, ""))


def _without_marks(document: Tree) -> Tree:
    return {**document, "metadata": {**(document.get("metadata") or {}), "labels": None, "annotations": None}}
