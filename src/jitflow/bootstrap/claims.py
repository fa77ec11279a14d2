"""Persistent volume claims as directories below the data home."""

import shutil
from collections.abc import Collection
from pathlib import Path

from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.objects import Change, ObjectStore


class ClaimDirectories:
    """One directory for each claim; it is made when it is first used and removed with its claim."""

    def __init__(self, root: Path, objects: ObjectStore) -> None:
        """Keep the directories below `root`; forget those of claims that are deleted."""
        self._root = root
        self._objects = objects
        self._making: set[tuple[str, str]] = set()
        objects.subscribe(self._hear)

    def path(self, namespace: str, claim: str) -> str:
        """Return a claim's directory.

        Raises:
            Refused: there is no such claim.
        """
        if (namespace, claim) not in self._making and not self._is_there(namespace, claim):
            raise Refused(f'persistentvolumeclaim "{claim}" not found in namespace {namespace!r}; create it first')
        directory = self._directory(namespace, claim)
        if not directory.exists():
            directory.mkdir(mode=0o777, parents=True)
            directory.chmod(0o777)  # whoever a pod runs as may write there
        return str(directory)

    async def make(self, namespace: str, claims: Collection[argo.PersistentVolumeClaim]) -> None:
        """Keep a workflow's claims; those that are there already stay. Pods may use them while they are being written."""
        made = {(claim.metadata and claim.metadata.name) or "": claim for claim in claims}
        made = {name: claim for name, claim in made.items() if not self._is_there(namespace, name)}
        places = {(namespace, name) for name in made}
        self._making |= places
        try:
            for claim in made.values():
                await self._objects.create(claim, namespace)
        finally:
            self._making -= places

    async def drop(self, namespace: str, names: Collection[str]) -> None:
        """Delete a workflow's claims and what they hold."""
        for name in names:
            if self._is_there(namespace, name):
                await self._objects.delete(argo.PersistentVolumeClaim, namespace, name)

    def _is_there(self, namespace: str, name: str) -> bool:
        return self._objects.find(argo.PersistentVolumeClaim, namespace, name) is not None

    def _directory(self, namespace: str, claim: str) -> Path:
        return self._root / namespace / claim

    def _hear(self, change: Change) -> None:
        metadata = change.value.metadata
        if change.action == "DELETED" and change.kind == "PersistentVolumeClaim" and metadata is not None and metadata.name:
            shutil.rmtree(self._directory(metadata.namespace or "", metadata.name), ignore_errors=True)
