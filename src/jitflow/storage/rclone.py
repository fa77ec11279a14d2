"""What speaks with an rclone, whoever started it: calls wait while it is away, and its remotes are given to each of its lives."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from jitflow.ports.errors import Broken, PortError, Unreachable
from jitflow.storage.rc import RcClient
from jitflow.storage.redact import Redactor

READY_WAIT_S = 20.0

Prepare = Callable[[RcClient], Awaitable[None]]


class Rclone(ABC):
    """One rclone, from `open` to `close`, with as many lives as it takes."""

    names_dir: Path | None = None
    """Where files lie that it is given by name; None: where the system's temporary files do."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.redact = Redactor()
        self.ready_wait_s = READY_WAIT_S
        """So long calls wait for it while it is away."""
        self.life = ""
        """rclone's own name for the life of the process that answers now; job numbers mean nothing in another one."""
        self.restarts = 0
        self._prepare: Prepare | None = None
        self._ready = asyncio.Event()
        self._client: RcClient | None = None
        self._broken: Exception | None = None
        """Why it was not ready when that was last looked at."""

    @property
    def is_up(self) -> bool:
        """Whether it answered when that was last looked at, and has its remotes."""
        return self._ready.is_set()

    @property
    def trouble(self) -> str:
        """Say why it was not there when that was last looked at; empty: that is not known."""
        return str(self._broken or "")

    @abstractmethod
    async def open(self, prepare: Prepare | None = None) -> None:
        """Return when rclone answers; `prepare` is awaited for each of its lives, before anybody else may call.

        Raises:
            Broken: there is no usable rclone.
        """

    @abstractmethod
    async def close(self) -> None:
        """Call it no more."""

    @abstractmethod
    def kill(self) -> None:
        """Give up an rclone that hangs, with all calls under way."""

    async def part(self, remotes: tuple[str, ...]) -> None:
        """Take back the remotes that it was given, before `close`; nothing has to be done where they end with it."""
        del remotes

    async def call(self, method: str, params: dict[str, Any], *, subject: str) -> bytes:
        """Return the answer of a method, waiting for rclone where it is away for a moment.

        Raises:
            PortError: as `RcClient.call`; `Unreachable` when rclone is not up in time.
        """
        client = await self.client(subject)
        life = self.life
        try:
            return await client.call(method, params, subject=subject)
        except PortError as error:
            raise await self.meaning(error, life) from error

    async def read(self, fs: str, remote: str, *, span: str, stall_s: float, subject: str) -> AsyncGenerator[bytes]:
        """Yield an object's bytes, waiting for rclone where it is away for a moment; see `RcClient.read`."""
        client = await self.client(subject)
        life = self.life
        try:
            async with aclosing(client.read(fs, remote, span=span, stall_s=stall_s, subject=subject)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except PortError as error:
            raise await self.meaning(error, life) from error

    async def meaning(self, error: PortError, life: str) -> PortError:
        """Return what an error of a request means that was made to this life: by default what it says."""
        del life
        return error

    async def client(self, subject: str) -> RcClient:
        """Return what speaks with rclone, waiting for rclone where it is away for a moment.

        Raises:
            Broken: the storage is not open. Unreachable: rclone is not up in time.
        """
        if not self._ready.is_set():
            await self._wait_ready(subject)
        if self._client is None:
            raise Broken(f"{subject}: the storage is not open")
        return self._client

    async def _wait_ready(self, subject: str) -> None:
        if self._client is None:
            raise Broken(f"{subject}: the storage is not open")
        try:
            await asyncio.wait_for(self._ready.wait(), self.ready_wait_s)
        except TimeoutError as error:
            reason = f" ({self._broken})" if self._broken else ""
            raise Unreachable(f"{subject}: rclone was not there for {self.ready_wait_s:g} s{reason}") from error
