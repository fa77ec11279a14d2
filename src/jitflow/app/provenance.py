"""Where the results of a run come from: its crate, and the manifest that runs it again."""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from jitflow.app.crate import MANIFEST, METADATA, Facts, crate
from jitflow.app.ports import Engine
from jitflow.app.present import API_VERSION
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.provenance import StepSeen
from jitflow.ports.dataplane import Witness
from jitflow.ports.store import RunRow

HIDDEN: Final = "***"
_CONTROLLER = "workflows.argoproj.io/"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)


class RunCrate(Struct, frozen=True, kw_only=True):
    """A run's crate: the metadata (JSON-LD) and the manifest beside it."""

    metadata: dict[str, Any]
    manifest: str

    def packed(self) -> bytes:
        """Return it as a zip; the same run gives the same bytes."""
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in ((METADATA, msgspec.json.format(msgspec.json.encode(self.metadata), indent=2).decode()),
                               (MANIFEST, self.manifest)):  # fmt: skip
                archive.writestr(zipfile.ZipInfo(name, _FIRST_DAY), text, zipfile.ZIP_DEFLATED)
        return body.getvalue()


class NoWitness:
    """Has seen nothing."""

    async def of(self, uid: str) -> Sequence[StepSeen]:
        """Return nothing."""
        del uid
        return ()

    async def forget(self, uid: str) -> None:
        """Have nothing to forget."""


class ProvenanceKeeper:
    """Makes crates of runs, also of archived ones."""

    def __init__(self, engine: Engine, witness: Witness, version: str, types: Callable[[], Mapping[str, str]]) -> None:
        """`version`: jitflow's; `types`: the kinds of the configured remotes, by name."""
        self._engine = engine
        self._witness = witness
        self._version = version
        self._types = types

    async def crate(self, row: RunRow) -> RunCrate:
        """Return the crate of a run.

        Raises:
            Refused: it was deleted meanwhile (code `not_found`).
        """
        workflow = await self._engine.fetch(row.uid)
        if workflow is None:
            raise Refused(f'workflows.argoproj.io "{row.name}" not found', code="not_found")
        metadata = workflow.metadata or argo.ObjectMeta()
        workflow = replace(workflow, metadata=replace(metadata, name=row.name, namespace=row.namespace, uid=row.uid))
        manifest = manifest_of(workflow)
        seen = await self._witness.of(row.uid)
        types = self._types()
        facts = Facts(workflow, seen, version=self._version, types=types, manifest_bytes=len(manifest.encode()))
        return RunCrate(metadata=crate(facts), manifest=manifest)


def manifest_of(workflow: argo.Workflow) -> str:
    """Return the manifest that runs a workflow again, as YAML: under another name, with the template that it ran by.

    What may be secret in it is `***`: users, passwords and queries of URLs, headers, tokens.
    """
    metadata, status = workflow.metadata or argo.ObjectMeta(), workflow.status
    spec = workflow.spec
    stored = status.stored_workflow_template_spec if status is not None else None
    if spec.workflow_template_ref is not None and stored is not None:
        spec = replace(stored, arguments=spec.arguments or stored.arguments, workflow_template_ref=None)
    kept = argo.ObjectMeta(
        generate_name=metadata.generate_name or f"{metadata.name}-",
        namespace=metadata.namespace,
        labels={key: value for key, value in metadata.labels.items() if not key.startswith(_CONTROLLER)},
        annotations={key: value for key, value in metadata.annotations.items() if not key.startswith(_CONTROLLER)},
    )
    again = argo.Workflow(
        api_version=workflow.api_version or API_VERSION,
        kind="Workflow",
        metadata=kept,
        spec=replace(spec, shutdown=None, suspend=None),
    )
    return yaml.safe_dump(_hidden(msgspec.to_builtins(again)), sort_keys=False, allow_unicode=True, width=120)


def _hidden(value: Any, key: str = "") -> Any:
    """Return a manifest's tree without what may be secret in it."""
    if isinstance(value, list | tuple):
        return [_hidden(one, key) for one in value]
    if isinstance(value, dict):
        if key == "headers" and set(value) == {"name", "value"}:
            return {**value, "value": HIDDEN}
        return {name: _hidden(one, name) for name, one in value.items()}
    if isinstance(value, str):
        if key == "securityToken":
            return HIDDEN
        return _bare(value) if key in {"url", "repo"} else value
    return value


def _bare(url: str) -> str:
    """Return a URL without its user and the values of its query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")
    netloc = f"{HIDDEN}@{host[2]}" if host[1] and parts.scheme in {"http", "https"} else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc, query=HIDDEN if parts.query else ""))
