"""What stores have in common that answer for one object at a time and cannot be listed."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import FixRequest


class Unlisted(ABC):
    """Asks for each object by itself; how many at once is the store's own limit."""

    NO_LISTING: ClassVar[str]
    """Why there is no listing, and what to do instead."""

    @abstractmethod
    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""

    async def stat_many(self, refs: Sequence[ObjectRef]) -> dict[ObjectRef, ObjectInfo | Exception]:
        """See `Storage.stat_many`."""
        answers = await asyncio.gather(*(self.stat(ref) for ref in refs), return_exceptions=True)
        found: dict[ObjectRef, ObjectInfo | Exception] = {}
        for ref, answer in zip(refs, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
            found[ref] = answer
        return found

    def list(self, ref: ObjectRef, *, recursive: bool = False) -> AsyncIterator[ObjectInfo]:
        """Refuse.

        Raises:
            FixRequest: always.
        """
        del recursive
        raise FixRequest(f"{ref}: {self.NO_LISTING}")
