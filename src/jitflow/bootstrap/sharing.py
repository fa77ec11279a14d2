"""A server that shares its state with others: it stands by, answers through the one that leads, and leads when it may."""

import asyncio
import contextlib
import os
import platform
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from jitflow.app.tokens import ensure_token
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.keys import source_of
from jitflow.bootstrap.stack import ANYWHERE, Sharing, Stack, open_stack
from jitflow.bootstrap.state import state_url
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import LOOPBACK_HOSTS
from jitflow.control_api.forwarding import Forward
from jitflow.engine.tasks import Owner
from jitflow.model.servers import ServerInfo
from jitflow.ports.errors import Broken, InUse, PortError, Retryable
from jitflow.ports.servers import LEASE_S, RENEW_S, Lead, Member, Seen, Servers, may_lead
from jitflow.settings import Settings, SettingsError
from jitflow.stores import Lease, open_servers
from jitflow.telemetry import logger

LOOK_S = 0.5
"""How often a server that stands by looks whether it may lead."""

WATCH_S = 0.25
"""How often a server that leads looks whether it still does."""

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})
_log = logger("servers")


@asynccontextmanager
async def open_shared(settings: Settings, listens_at: str, only: str = "") -> AsyncGenerator[Stack]:
    """Be one of several servers; the application answers at once, by itself or through the one that leads.

    `only`: see `open_stack`.

    Raises:
        SettingsError, Refused, PortError, OSError: something cannot be used, or does not go together with the other servers.
    """
    home = Home(Path(settings.home))
    home.make()
    check_sharable(settings)
    token = ensure_token(home.token)
    vault = Vault(source_of(settings.secrets.key, home.key))
    async with open_servers(state_url(settings, home), patience_s=settings.state.patience_s) as servers:
        lease = Lease(home=home.identity(), share=settings.state.share)
        member = Member(
            id=lease.id,
            url=settings.server.url or _reached_at(listens_at),
            host=platform.node(),
            home=lease.home,
            pid=os.getpid(),
            version=version("jitflow"),
            share=settings.state.share,
            key=vault.token_of("mark of the key: servers")[:16],
            began_at=time.time(),
        )
        check_fits(member, await servers.lead(), await servers.members())

        @asynccontextmanager
        async def led(sharing: Sharing) -> AsyncGenerator[Stack]:
            async with open_stack(settings, sharing, only=only) as stack:
                home.write_server(listens_at)
                yield stack

        standing = Standing(servers, member, lease, led, peer=vault.token_of("token of peers: servers"))
        forward = Forward(
            leader=lambda: standing.leader,
            own=lambda: standing.own.app if standing.own is not None else None,
            token=token,
            peer=standing.peer,
            hosts=(*LOOPBACK_HOSTS, *settings.server.names),
            verify=_verifying(settings),
        )
        owner = Owner(standing.failed)
        owner.spawn(standing.run(), "lead or stand by")

        def drain() -> None:
            forward.end_streams()
            if standing.own is not None:
                standing.own.drain()

        try:
            yield Stack(app=forward, token=token, drain=drain, ended=standing.ended)
        finally:
            standing.stopping.set()
            await owner.settle()
            await forward.close()
        if standing.error is not None:
            raise standing.error


class Standing:
    """Whether this server leads, and which one does otherwise."""

    def __init__(
        self,
        servers: Servers,
        member: Member,
        lease: Lease,
        led: Callable[[Sharing], AbstractAsyncContextManager[Stack]],
        *,
        peer: str,
    ) -> None:
        """Begin with nobody known.

        Args:
            servers: where servers tell of themselves.
            member: what this one tells.
            lease: under which it leads.
            led: takes the lead and puts this server's parts together, for the time of the context.
            peer: what servers show each other.
        """
        self._servers = servers
        self._member = member
        self._lease = lease
        self._led = led
        self.peer = peer
        self.own: Stack | None = None
        """This server's own parts, while it leads."""
        self.leader = ""
        """The URL of the one that leads, empty while it is not known or this one is about to."""
        self.watch_s = WATCH_S
        """How often it looks whether it still leads."""
        self.stopping = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: BaseException | None = None

    def failed(self, _name: str, error: BaseException) -> None:
        """This server cannot go on."""
        self.error = error
        self.ended.set()

    async def run(self) -> None:
        """Stand by, then lead, until `stopping`.

        Raises:
            Broken: another server has taken over, or may have: this one must be started anew.
        """
        telling = Owner(self.failed)
        telling.spawn(self._tell_again_and_again(), "tell other servers of this one")
        try:
            while (lead := await self._until_free()) is not None:
                self._lease.silent = lead.mark if lead.id else ""
                sharing = Sharing(lease=self._lease, peer=self.peer, members=self.infos)
                try:
                    async with self._led(sharing) as stack:
                        self.own = stack
                        _log.info("this server leads", epoch=self._lease.epoch)
                        await self._until_lost()
                except InUse:
                    pass  # another one was faster, or its home is not free yet
                except Retryable as error:
                    _log.warning("the state store is away", reason=str(error))
                else:
                    return
                finally:
                    self.own = None
                await asyncio.sleep(LOOK_S)
        finally:
            await telling.close()
            with contextlib.suppress(PortError):
                await self._servers.leave(self._member.id)

    async def _tell_again_and_again(self) -> None:
        while True:
            with contextlib.suppress(Retryable):
                await self._servers.tell(self._member)
            await asyncio.sleep(RENEW_S)

    async def _until_free(self) -> Lead | None:
        """Return the lead that may be taken, None if this server is to stop."""
        is_away = False
        while not self.stopping.is_set():
            try:
                lead = await self._servers.lead()
                free = may_lead(lead, home=self._lease.home)
                self.leader = "" if free or lead.id == self._member.id else await self._url_of(lead.id)
            except Retryable as error:
                if not is_away:
                    _log.warning("the state store is away", reason=str(error))
                is_away = True
            else:
                is_away = False
                if free:
                    return lead
            await self._is_to_stop_within(LOOK_S)
        return None

    async def _url_of(self, member_id: str) -> str:
        found = (one.member.url for one in await self._servers.members() if one.member.id == member_id)
        return next(found, "")

    async def _until_lost(self) -> None:
        """Return when this server is to stop.

        Raises:
            Broken: it does not lead any more.
        """
        while not self.stopping.is_set():
            if self._lease.lost:
                raise Broken(self._lease.lost)
            self._lease.check()
            await self._is_to_stop_within(self.watch_s)

    async def _is_to_stop_within(self, seconds: float) -> None:
        """Return when this server is to stop, or when the time has passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    async def infos(self) -> Sequence[ServerInfo]:
        """Return all servers, as people are told of them."""
        lead = await self._servers.lead()
        return [
            ServerInfo(
                url=one.member.url,
                host=one.member.host,
                pid=one.member.pid,
                version=one.member.version,
                leads=one.member.id == lead.id,
                share=one.member.share,
                epoch=lead.epoch if one.member.id == lead.id else 0,
                age_s=one.age_s,
                began_at=one.member.began_at,
            )
            for one in await self._servers.members()
        ]


def check_sharable(settings: Settings) -> None:
    """Check that a state can be shared with these settings.

    Raises:
        SettingsError: what workflows need would be on one machine only.
    """
    if settings.state.share != ANYWHERE:
        return
    repository = settings.artifact_repository
    if not repository.remote:
        raise SettingsError(
            'state.share = "anywhere" needs artifact_repository.remote: artifacts below the home of one server cannot be read by '
            'the one that takes over; name a store that all reach, or share with "home" only'
        )
    if repository.intermediates != "keep":
        raise SettingsError(
            'state.share = "anywhere" needs artifact_repository.intermediates = "keep": what lies in one primary only is lost '
            "with its machine"
        )


def check_fits(member: Member, lead: Lead, members: Sequence[Seen]) -> None:
    """Check that a server goes together with those that are there.

    Raises:
        SettingsError: it does not; the message says what to change.
    """
    if lead.id and lead.age_s <= LEASE_S and not lead.is_dead:
        if lead.share != member.share:
            theirs = f"shares it with {lead.share!r}" if lead.share else "has it for itself"
            raise SettingsError(f"state.share is {member.share!r}, but the server that leads {theirs}; set the same in both")
        if member.share != ANYWHERE and lead.home != member.home:
            raise SettingsError(
                'the server that leads has another home: use the same home here, or share with "anywhere" (state.share)'
            )
    others = [one.member for one in members if one.age_s <= LEASE_S]
    if any(other.key != member.key for other in others):
        raise SettingsError(
            "secret.key is another one than that of the other servers of this state: copy theirs (see secrets.key), or what they "
            "have sealed cannot be opened here"
        )


def _reached_at(listens_at: str) -> str:
    parts = urlsplit(listens_at)
    if (parts.hostname or "") not in _ALL_ADDRESSES:
        return listens_at
    return f"{parts.scheme}://{platform.node()}:{parts.port}"


def _verifying(settings: Settings) -> ssl.SSLContext:
    """Return how other servers' certificates are checked: by the machine's authorities, and by this server's own certificate."""
    context = ssl.create_default_context()
    if settings.server.certificate:
        context.load_verify_locations(cafile=settings.server.certificate)
    return context
