"""The link as it lives: it joins, sends commands in order, hears what is said, and begins again when either end was away."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from jitflow.datalink.channel import Channel, SessionEnded
from jitflow.datalink.mirror import Mirror
from jitflow.model.problems import Refused
from jitflow.ports import datalink as link
from jitflow.ports.clock import Clock
from jitflow.ports.errors import AccessRefused, Busy, PortError, Retryable, Unreachable
from jitflow.telemetry import logger

_T = TypeVar("_T")

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0
_REFUSED_WAIT_S: Final = 5.0
"""So long it is waited before a data service is asked again that has refused to be joined: somebody has to do something."""
_AT_ONCE: Final = 500
_MARGIN_S: Final = 10.0
_LOOK_S: Final = 0.5
_log = logger("datalink")


class Session:
    """Keeps up the link to a data service. `start` it once; what is told to `say` is sent in order, whatever happens."""

    def __init__(
        self,
        channel: Channel,
        mirror: Mirror,
        *,
        control: str,
        host: str,
        pods: Path,
        mark: str,
        clock: Clock,
        on_joined: Callable[[link.Joined], Coroutine[Any, Any, None]],
        on_saying: Callable[[link.Saying], None],
        on_change: Callable[[], None],
    ) -> None:
        """Hold the parts.

        Args:
            channel: the way to the data service.
            mirror: what holds of all that is said.
            control: who this control side is, the same for all that may take its place.
            host: where it runs, for people.
            pods: the directory in which outputs of pods are.
            mark: a text that nobody else has.
            clock: time.
            on_joined: told of each new session before anything is sent.
            on_saying: told of what is heard.
            on_change: told when `away` has changed.
        """
        self._channel = channel
        self._mirror = mirror
        self._control = control
        self._host = host
        self._pods = pods
        self._mark = mark
        self._clock = clock
        self._on_joined = on_joined
        self._on_saying = on_saying
        self._on_change = on_change
        self._id = ""
        self._outbox: deque[link.Command] = deque()
        self._first = 1
        """The number of the outbox's first command."""
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._after = 0
        """The number of the newest saying that was heard."""
        self.away = f"the data service at {channel.url} was not reached yet"
        """Why the data service cannot be used now, for people; empty if it can."""
        self.since = clock.now()
        self.tried = asyncio.Event()
        """Set when it was joined, or could not be, for the first time."""

    # -- what others do ----------------------------------------------------------------------------------------------------

    def say(self, command: link.Command) -> None:
        """Send a command, now or as soon as that can be."""
        self._mirror.note(command)
        if self._id:
            if isinstance(command, link.Announce):
                # What was announced before and is not on its way yet is said by this.
                self._drop_announced(command.uid)
            self._outbox.append(command)
            self._wake.set()

    def _drop_announced(self, uid: str) -> None:
        for index in range(_AT_ONCE, len(self._outbox)):
            one = self._outbox[index]
            if isinstance(one, link.Announce) and one.uid == uid:
                del self._outbox[index]
                return

    async def ask(self, wish: link.Ask, kind: Any, *, patience_s: float, after_all: bool = False) -> Any:
        """Return what is answered, within so many seconds of the data service's absence.

        `after_all`: what was said before has taken effect then.

        Raises:
            Refused, PortError: as what is asked says. Unreachable: the data service is away.
        """

        async def once() -> Any:
            if after_all:
                await self.settled()
            return await self._channel.post(f"/sessions/{self._id}/ask", wish, kind)

        return await self.patiently(once, patience_s)

    async def patiently(self, work: Callable[[], Coroutine[Any, Any, Any]], patience_s: float) -> Any:
        """Return what `work` returns, tried again while the link is not there.

        Raises:
            Unreachable: it did not come back in time. What `work` raises.
        """
        until: float | None = None
        while True:
            try:
                self._need_session()
                return await work()
            except (SessionEnded, Unreachable, Busy) as error:
                now = self._clock.now()
                until = now + patience_s if until is None else until
                if now >= until:
                    raise Unreachable(self.away or str(error)) from error
                await self._clock.sleep(_FIRST_WAIT_S)

    def _need_session(self) -> None:
        if not self._id:
            raise Unreachable(self.away)

    async def settled(self) -> None:
        """Return when all that was said up to now has taken effect.

        Raises:
            SessionEnded, Unreachable: that cannot be told now.
        """
        session, last = self._id, self._first + len(self._outbox) - 1
        while self._id == session and self._first <= last:
            if self.away:
                raise Unreachable(self.away)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), _LOOK_S)
        if self._id != session:
            raise SessionEnded(f"the data service at {self._channel.url} was started anew")

    @property
    def id(self) -> str:
        """The session, empty while there is none."""
        return self._id

    # -- its life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the link up until cancelled."""
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await self._join()
            except (Refused, PortError) as error:
                self._lost(str(error))
                await self._clock.sleep(wait_s if isinstance(error, Retryable) else _REFUSED_WAIT_S)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            wait_s = _FIRST_WAIT_S
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(), name="say to the data service")
                    group.create_task(self._listen(), name="listen to the data service")
            except* SessionEnded:
                self._id = ""
                self._lost(f"the data service at {self._channel.url} was started anew")

    async def _join(self) -> None:
        probe = self._pods / f".jitflow-link-{self._mark[:8]}"
        await asyncio.to_thread(_write, probe, self._mark)
        try:
            wish = link.Join(control=self._control, host=self._host, probe=str(probe), mark=self._mark)
            joined: link.Joined = await self._channel.post("/sessions", wish, link.Joined)
        finally:
            await asyncio.to_thread(probe.unlink, missing_ok=True)
        if await asyncio.to_thread(_read, Path(joined.probe)) != joined.mark:
            raise AccessRefused(
                f"the data service's file {joined.probe} is not seen here: inputs of pods are handed over as files; let both see "
                "the primary under the same path (one machine, or a shared file system)"
            )
        await self._on_joined(joined)
        self._id = joined.session
        self._outbox = deque(self._mirror.replay())
        self._first, self._after = 1, 0
        self._wake.set()
        self._found()

    async def _send(self) -> None:
        while True:
            self._wake.clear()
            if not self._outbox:
                await self._wake.wait()
            commands = tuple(islice(self._outbox, _AT_ONCE))
            batch = link.Batch(first=self._first, commands=commands)
            taken = await self._insist(
                lambda batch=batch: self._channel.post(f"/sessions/{self._id}/commands", batch, link.Taken)
            )
            done = commands[: taken.last + 1 - self._first]
            for _ in done:
                self._outbox.popleft()
            self._mirror.done(done)
            self._first += len(done)
            self._moved.set()
            self._moved.clear()

    async def _listen(self) -> None:
        while True:
            heard = await self._insist(self._hear)
            for one in heard.sayings:
                if one.number > self._after:
                    self._after = one.number
                    self._on_saying(one.saying)

    async def _hear(self) -> link.Heard:
        query = {"after": str(self._after), "wait": "0" if self.away else str(int(link.LISTEN_S))}
        path = f"/sessions/{self._id}/sayings"
        return await self._channel.get(path, query, link.Heard, within_s=link.LISTEN_S + _MARGIN_S)

    async def _insist(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until there is an answer; meanwhile the service is away.

        Raises:
            SessionEnded: the service knows nothing of this session.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                answer = await ask()
            except SessionEnded:
                raise
            except (Refused, PortError) as error:
                self._lost(str(error))
                await self._clock.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                self._found()
                return answer

    def _lost(self, why: str) -> None:
        was, self.away = self.away, why
        self.tried.set()
        if not was:
            self.since = self._clock.now()
        if was != why:
            _log.warning("the data service cannot be used", reason=why)
            self._on_change()

    def _found(self) -> None:
        was, self.away = self.away, ""
        self.tried.set()
        if was:
            _log.info("the data service is there", url=self._channel.url)
            self._on_change()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
