"""What a row needs around it: the objects that its manifests name, and what the table says is to be emulated."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmark.conformance.api import Api, NotSupported, Refused
from benchmark.conformance.table import Document, NotYaml, Row, documents, find

CLUSTER = "ClusterWorkflowTemplate"
SUPPORT_KINDS = frozenset({"WorkflowTemplate", CLUSTER, "CronWorkflow", "ConfigMap", "Secret", "PersistentVolumeClaim"})
_REFERENCES = {
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMap": "ConfigMap",
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "persistentVolumeClaim": "PersistentVolumeClaim",
}


class Library:
    """All support documents below a folder, by kind and name."""

    def __init__(self, folder: Path, rows: Iterable[Row]) -> None:
        """Read the support files of the table and those that rows need."""
        self._folder = folder
        self._known: dict[tuple[str, str], Document] = {}
        self.missing: dict[str, str] = {}
        rows = list(rows)
        wanted = [row.path for row in rows if row.is_support] + [need for row in rows for need in row.needs]
        templates = [row.path for row in rows if not row.is_support and "WorkflowTemplate" in row.notes and not row.is_rejected]
        for name in dict.fromkeys(wanted + templates):
            for document in self._read(name):
                self._known.setdefault(_key(document), document)

    def _read(self, name: str) -> list[Document]:
        path = find(self._folder, name)
        if path is None:
            self.missing[name] = f"{name}: no such file below {self._folder}"
            return []
        try:
            return documents(path)
        except NotYaml as error:
            self.missing[name] = f"{name}: {error}"
            return []

    def around(self, row: Row, own: list[Document]) -> list[Document]:
        """Return what a row's documents refer to, directly or not, each after what it refers to itself."""
        found: dict[tuple[str, str], Document] = {}
        mine = {_key(document) for document in own}

        def add(document: Document) -> None:
            key = _key(document)
            if key in found or key in mine:
                return
            for inner in _references(document):
                if inner != key and inner in self._known:
                    add(self._known[inner])
            found[key] = document

        for need in row.needs:
            for document in self._read(need):
                add(document)
        for document in own:
            for key in _references(document):
                if key in self._known:
                    add(self._known[key])
        return list(found.values())


def _key(document: Document) -> tuple[str, str]:
    return str(document.get("kind")), str((document.get("metadata") or {}).get("name"))


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """Yield kind and name of every object that a document names."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str) and "kind:" in value:
        yield from ((CLUSTER if "clusterScope: true" in value else "WorkflowTemplate", name)
                    for name in re.findall(r"templateRef:\s*name: *([\w.-]+)", value))  # fmt: skip
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in {"templateRef", "workflowTemplateRef"} and isinstance(inner, dict):
                yield (CLUSTER if inner.get("clusterScope") else "WorkflowTemplate", str(inner.get("name")))
            elif name in _REFERENCES and isinstance(inner, dict):
                yield (_REFERENCES[name], str(inner.get("name") or inner.get("claimName")))
            yield from _references(inner)


def emulate(api: Api, row: Row, own: list[Document], credentials: tuple[str, str]) -> None:
    """Make what the table takes for granted in the row's namespace: ConfigMaps, Secrets, limits in the database.

    Raises:
        NotSupported, Refused: the server does not take one of them.
    """
    limits = {"workflow": "1", "template": "1"} | dict(re.findall(r"configmap my-config (\w+)=(\d+)", row.notes))
    key_id, secret = credentials
    repository = (
        "s3:\n  bucket: my-bucket\n  endpoint: minio:9000\n  insecure: true\n"
        "  accessKeySecret: {name: my-minio-cred, key: accesskey}\n  secretKeySecret: {name: my-minio-cred, key: secretkey}\n"
    )
    default = {"workflows.argoproj.io/default-artifact-repository": "default-v1"}
    for document in (
        _object("ConfigMap", "my-config", data=limits),
        _object("ConfigMap", "artifact-repositories", default, data={"default-v1": repository, "my-key": repository}),
        _object("Secret", "my-secret", stringData={"mypassword": "S00perS3cretPa55word"}),
        _object("Secret", "my-minio-cred", stringData={"accesskey": key_id, "secretkey": secret}),
    ):
        register(api, document)
    if "sync-db" in row.emulate:
        for key in sorted(set(_database_keys(own))):
            api.set_limit("", key, 1)


def _object(kind: str, name: str, annotations: dict[str, str] | None = None, **fields: Any) -> Document:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": annotations or {}}, **fields}


def _database_keys(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _database_keys(item)
    elif isinstance(value, dict):
        database = value.get("database")
        if isinstance(database, dict) and database.get("key"):
            yield str(database["key"])
        for inner in value.values():
            yield from _database_keys(inner)


def register(api: Api, document: Document) -> None:
    """Create a document that others need; one that is there already stays.

    Raises:
        NotSupported: the server knows no such kind.
        Refused: it does not take it.
    """
    try:
        api.create(document)
    except Refused as error:
        if error.status != 409:
            raise


__all__ = ["Library", "NotSupported", "Refused", "emulate", "register"]
