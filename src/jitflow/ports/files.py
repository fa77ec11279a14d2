"""Single files and folders of far stores, as people handle them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.storage import Copied, Progress


class Files(Protocol):
    """What can be done with files and folders. Every method raises `jitflow.ports.errors`; messages never hold a secret."""

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        ...

    def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """See `Storage.list`."""
        ...

    def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`."""
        ...

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        ...

    async def copy(self, info: ObjectInfo, target: ObjectRef, progress: Progress, *, parts: int = 1) -> Copied:
        """See `Copying.copy`."""
        ...

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        ...

    async def make_folder(self, ref: ObjectRef) -> bool:
        """Make a folder, and those above it; return whether the store keeps folders that hold nothing.

        One that is there is no error.
        """
        ...

    async def remove_folder(self, ref: ObjectRef) -> None:
        """Remove a folder that holds no files; one that is not there is no error."""
        ...

    async def link(self, ref: ObjectRef, expires_s: float | None) -> str:
        """Return a URL by which anybody can read a file, for so long.

        Raises:
            FixRequest: the store makes no such links.
        """
        ...
