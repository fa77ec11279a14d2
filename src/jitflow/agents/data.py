"""data templates: a listing of keys, transformed by expressions."""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from jitflow.agents._outputs import collected
from jitflow.engine.locations import Locator
from jitflow.expr.lang import LangError, compile_expression, to_json
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.model.repositories import KEYS
from jitflow.model.runs import RunTask
from jitflow.ports.agents import MAX_RESULT_BYTES, Report, TaskResult
from jitflow.ports.storage import Reading

MAX_KEYS = 100_000
"""A longer listing is refused."""

LISTED = tuple(kind for kind in KEYS if kind != "artifactory")
"""Kinds of stores that can be listed."""


class DataAgent:
    """Lists what lies below a prefix of a far store. Only the listing is read, no object."""

    def __init__(self, storage: Reading, locator: Callable[[], Locator]) -> None:
        """List through `storage`; `locator` is asked anew each time."""
        self._storage = storage
        self._locator = locator

    async def run(self, uid: str, task: RunTask, report: Report) -> TaskResult:
        """List and transform; see `Agent.run`."""
        del uid, report
        data = task.template.data
        assert data is not None, "the kind says so"
        if data.source.artifact_paths is None:
            raise Refused("a data template needs `source.artifactPaths`")
        locator = self._locator().within(task.workflow_level.namespace, task.workflow_level.repository)
        value: object = await self._keys(data.source.artifact_paths, locator)
        for number, step in enumerate(data.transformation):
            try:
                value = compile_expression(step.expression).evaluate({"data": value})
            except LangError as error:
                return TaskResult(phase="Error", message=f"transformation {number} {step.expression!r}: {error}")
        try:
            result = to_json(value)
        except LangError as error:
            return TaskResult(phase="Error", message=f"the result of the transformations: {error}")
        if len(result.encode()) > MAX_RESULT_BYTES:
            raise Refused(f"the result is longer than {MAX_RESULT_BYTES} bytes; filter more of the listing out")
        return TaskResult(phase="Succeeded", outputs=collected(task.template, result=result))

    async def _keys(self, paths: argo.ArtifactPaths, locator: Locator) -> list[str]:
        """Return the keys below the location, as the artifacts of later steps can name them: for s3, within the bucket."""
        ref, within = _place(msgspec.convert(msgspec.to_builtins(paths), argo.Artifact), locator)
        found: list[str] = []
        async for info in self._storage.list(ref, recursive=True):
            if info.ref.is_prefix:
                continue
            if len(found) >= MAX_KEYS:
                raise Refused(f"more than {MAX_KEYS} keys lie below {ref}; choose a longer prefix")
            found.append(info.ref.path.removeprefix(within))
        return sorted(found)


def _place(artifact: argo.Artifact, locator: Locator) -> tuple[ObjectRef, str]:
    """Return the prefix to list, and what of each path stands before the key."""
    kind = next((kind for kind in LISTED if getattr(artifact, kind) is not None), "")
    if not kind:
        raise Refused(f"artifactPaths {artifact.name!r} names no place that can be listed; use one of {', '.join(LISTED)}")
    location = getattr(artifact, kind)
    key = (getattr(location, KEYS[kind]) or "").rstrip("/")
    # The locator knows locations of objects: a listing of a whole bucket has no key of its own.
    marked = f"{key}/_" if key and not key.endswith(":") else f"{key}_"
    found = locator.find(replace(artifact, **{kind: replace(location, **{KEYS[kind]: marked})}))
    assert found is not None, "it has a key"
    prefix = found.path[:-1]
    own = key.partition(":")[2] if kind == "plugin" and ":" in key else key
    return ObjectRef(remote=found.remote, path=prefix), prefix.removesuffix(f"{own.strip('/')}/" if own.strip("/") else "")
