"""An rclone that others start, here or elsewhere: watched, given its remotes again when it was restarted, never owned."""

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from msgspec import Struct

from jitflow.model.problems import Refused
from jitflow.ports.errors import Broken, PortError, RemoteUnknown, Retryable, Unreachable
from jitflow.storage import wire
from jitflow.storage.binary import check_age
from jitflow.storage.endpoints import Endpoint
from jitflow.storage.rc import Gone, NotLetIn, RcClient
from jitflow.storage.rclone import Prepare, Rclone
from jitflow.storage.remotes import Tuning

LOOK_EVERY_S = 1.0
"""How often it is asked whether it still is the one that was given the remotes."""
ANSWER_S = 20.0
"""A small question that takes so long is not answered any more."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
PART_S = 5.0
_PROBE = ".jitflow-probe-"

log = logging.getLogger(__name__)


class _Paths(Struct, frozen=True):
    """The answer of `config/paths`."""

    config: str = ""


class ExternalRclone(Rclone):
    """One `rclone rcd` at an address.

    It must be new enough, keep no configuration file, give objects, and see the shared directories as this process does. What
    was under way when it ends fails as `Unreachable`, and calls wait for it, as with a child.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        user: str = "",
        password: str = "",
        *,
        shared: Sequence[Path] = (),
        names_dir: Path | None = None,
        patience_s: float = 30.0,
        needed: bool = True,
    ) -> None:
        """Remember whom to ask.

        Args:
            endpoint: where it listens.
            user: who asks; empty: it asks for nobody's name.
            password: of that user.
            shared: directories that must be the same on both sides, by the same paths.
            names_dir: one of them, or one below, for files that it is given by name.
            patience_s: how long `open` waits for it.
            needed: whether `open` fails if it is not there by then; else it may come later.
        """
        super().__init__()
        self._endpoint = endpoint
        self._user, self._password = user, password
        self._shared = tuple(shared)
        self.names_dir = names_dir
        self._patience_s = patience_s
        self._needed = needed
        self._subject = f"rclone at {endpoint}"
        self._doubted = asyncio.Event()
        """Whether something happened that lets one think that it is not the same any more."""
        self._keeper: asyncio.Task[None] | None = None
        self.redact.add([password] if password else [])

    async def open(self, prepare: Prepare | None = None) -> None:
        """See `Rclone.open`.

        Raises:
            Broken: it cannot be reached in time or not be used; the message says what to do. Refused: a remote makes no sense.
        """
        self._prepare = prepare
        after = "it is tried again when it is back"
        self._client = RcClient(self._endpoint, self._user, self._password, self.redact, after=after)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(self._client, first), name="external rclone")
        try:
            await asyncio.shield(first)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Call it no more; it goes on to run."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        self._ready.clear()
        if self._client is not None:
            await self._client.close()
            self._client = None

    def kill(self) -> None:
        """Hang up: it is not ours to end."""
        log.warning("%s does not answer; what it does is given up and tried again", self._subject)
        self._doubt()
        if self._client is not None:
            self._client.hang_up()

    async def part(self, remotes: tuple[str, ...]) -> None:
        """Take the remotes, and with them their secrets, out of its memory; one that is away has forgotten them anyway."""
        if self._client is None or not self._ready.is_set():
            return
        with suppress(PortError, TimeoutError):
            async with asyncio.timeout(PART_S):
                for name in remotes:
                    await self._client.call("config/delete", {"name": name}, subject=self._subject)
                await self._client.call("fscache/clear", {}, subject=self._subject)

    async def meaning(self, error: PortError, life: str) -> PortError:
        """Return a retryable error where rclone was restarted meanwhile, and does not know what its earlier life was told."""
        if isinstance(error, Gone | NotLetIn):
            self._doubt()
            return error if isinstance(error, Gone) else Unreachable(str(error))
        if isinstance(error, RemoteUnknown) and self._client is not None and await self._is_another(self._client, life):
            self._doubt()
            return Unreachable(f"{error}: rclone was restarted meanwhile; try again")
        return error

    async def _is_another(self, client: RcClient, life: str) -> bool:
        try:
            return await self._ask_life(client) != life
        except PortError:
            return True

    def _doubt(self) -> None:
        """Let new calls wait until it was looked at."""
        self._ready.clear()
        self._doubted.set()

    # -- its lives -----------------------------------------------------------------------------------------------------------

    async def _keep(self, client: RcClient, first: asyncio.Future[None]) -> None:
        """Make it ready, and again whenever it was away, for ever; `first` tells how it went the first time."""
        limit, pause_s, told = time.monotonic() + self._patience_s, FIRST_PAUSE_S, ""
        while True:
            try:
                await self._greet(client)
            except (PortError, Refused, OSError) as error:
                self._broken = known = self._explained(error)
                late = isinstance(known, Retryable) and time.monotonic() > limit
                if not first.done() and late and not self._needed:
                    first.set_result(None)
                elif not first.done() and (late or not isinstance(known, Retryable)):
                    first.set_exception(Broken(f"{known}; waited {self._patience_s:g} s") if late else known)
                    return
                if str(known) != told:
                    told = str(known)
                    log.warning("rclone cannot be used: %s", self.redact(told))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            pause_s, told, self._broken = FIRST_PAUSE_S, "", None
            self._doubted.clear()
            self._ready.set()
            if not first.done():
                first.set_result(None)
            await self._until_lost(client)
            self._ready.clear()
            client.hang_up()
            self.restarts += 1
            log.warning("%s has ended or was restarted; it is given its remotes again when it answers", self._subject)

    async def _until_lost(self, client: RcClient) -> None:
        """Return when it does not answer any more, or another life does."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._doubted.wait(), LOOK_EVERY_S)
            self._doubted.clear()
            if await self._is_another(client, self.life):
                return
            if not self._doubted.is_set():
                self._ready.set()

    async def _ask(self, client: RcClient, method: str, params: wire.Request | None = None) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await client.call(method, params or {}, subject=self._subject)
        except TimeoutError as error:
            raise Unreachable(f"{self._subject}: no answer within {ANSWER_S:g} s") from error

    async def _ask_life(self, client: RcClient) -> str:
        return wire.parse(await self._ask(client, "job/list"), wire.JobList).execute_id

    async def _greet(self, client: RcClient) -> None:
        """Look whether this life can be used, and give it the remotes."""
        life = await self._ask_life(client)
        version = wire.parse(await self._ask(client, "core/version"), wire.Version)
        check_age(version.decomposed, f"the {self._subject}")
        kept = wire.parse(await self._ask(client, "config/paths"), _Paths).config
        if kept:
            raise Broken(
                f"{self._subject}: it would write remotes with their secrets to its configuration file {kept}; "
                'start it with --config ""'
            )
        for directory in self._shared:
            await self._compare(client, directory)
        if self._prepare:
            await self._prepare(client)
        self.life = life

    async def _compare(self, client: RcClient, directory: Path) -> None:
        """Write a file here, let rclone copy it, read the copy here, and let rclone give the file.

        Raises:
            Broken: the directory is not the same there, or not for this user.
        """
        ours = directory / f"{_PROBE}{secrets.token_hex(8)}"
        theirs = ours.with_name(f"{ours.name}-copy")
        said = secrets.token_hex(16).encode()
        try:
            await asyncio.to_thread(ours.write_bytes, said)
            try:
                source, target = wire.local(str(ours)), wire.local(str(theirs))
                request = wire.copyfile_request(source, target, wire.settings(Tuning()), in_place=True)
                await self._ask(client, "operations/copyfile", request)
                same = await asyncio.to_thread(theirs.read_bytes) == said
            except (Retryable, NotLetIn):
                raise
            except (PortError, OSError) as error:
                raise self._apart(directory, f": {error}") from error
            if not same:
                raise self._apart(directory, "")
            await self._read_back(client, ours, said)
        finally:
            for path in (ours, theirs):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _apart(self, directory: Path, why: str) -> Broken:
        return Broken(
            f"{self._subject} does not see the directory {directory} as this server does{why}; mount the same directory at the "
            "same path there and run it as the same user, or leave rclone.url empty"
        )

    async def _read_back(self, client: RcClient, path: Path, said: bytes) -> None:
        at = wire.local(str(path))
        got = b""
        try:
            async with aclosing(client.read(at.fs, at.remote, span="", stall_s=ANSWER_S, subject=str(path))) as chunks:
                async for chunk in chunks:
                    got += chunk
        except Retryable:
            raise
        except PortError as error:
            raise Broken(f"{self._subject}: it does not give objects; start it with --rc-serve") from error
        if got != said:
            raise Broken(f"{self._subject}: it gives another file than {path}; look at what stands between it and this server")

    def _explained(self, error: Exception) -> Exception:
        """Return an error of a greeting as people understand it; retryable if waiting may help."""
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, ssl.SSLError):
            reason = reason.__cause__
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Broken(
                f"{self._subject}: its certificate is not believed ({reason.verify_message}); "
                "set rclone.ca to the PEM file of its authority"
            )
        if isinstance(reason, ssl.SSLError) and reason.reason == "WRONG_VERSION_NUMBER":
            return Broken(f"{self._subject}: it does not speak TLS; start it with --rc-cert and --rc-key, or use a Unix socket")
        if self._endpoint.tls is None and isinstance(error, Gone) and "unknown length" in str(error):
            return Broken(f"{self._subject}: it does not speak plain HTTP as rclone does; write https:// if it has a certificate")
        if isinstance(error, NotLetIn):
            return Broken(f"{error}; set rclone.user and rclone.password to those that it was started with")
        if isinstance(error, OSError):
            return Broken(f"{self._subject}: a file to compare directories with cannot be written: {error}")
        return error
