"""The data side's end of the link: sessions of a control side, its commands, what it hears and what it asks."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef, WorkflowUid
from jitflow.model.problems import Refused
from jitflow.ports import datalink as link
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataEvent, DataView, LeaseRefused, StagedOut, Witness
from jitflow.ports.errors import PortError
from jitflow.ports.storage import Reading
from jitflow.telemetry import logger

_log = logger("datalink")
_SAYINGS_AT_ONCE: Final = 2000
_LIST_AT_ONCE: Final = 1000


class NoSession(Exception):
    """There is no such session any more: join again."""


class _Session(Struct, kw_only=True):
    """A control side that has joined. `sayings`: what it has not confirmed, the newest of each kind for each step, by key."""

    id: str
    control: str
    host: str
    heard_at: float
    taken: int = 0
    number: int = 0
    sayings: dict[tuple[str, str], link.Said] = {}
    news: asyncio.Event


class DataLink:
    """Drives a data plane for a control side elsewhere, one at a time."""

    def __init__(
        self,
        plane: link.DrivenDataPlane,
        view: DataView,
        witness: Witness,
        far: Reading,
        *,
        remotes: Callable[[], Sequence[link.RemoteSaid]],
        know: Callable[[link.Known], None],
        near: Path,
        hidden: Sequence[Path],
        clock: Clock,
        keep: Callable[[link.Served], Awaitable[None]],
        rotate: Callable[[], Awaitable[link.Resealed]],
        traced: Callable[[WorkflowUid, str], None] = lambda _uid, _trace: None,
        spawn: Callable[[Coroutine[Any, Any, Any], str], Any],
    ) -> None:
        """Hold the parts.

        Args:
            plane: what is driven; `open` opens it.
            view: what is asked of it.
            witness: what steps have read and written.
            far: reads far stores.
            remotes: those that are configured now.
            know: takes a store that only a manifest names, with its secrets.
            near: the directory in which pods find their inputs.
            hidden: directories that no pod may see.
            clock: time.
            keep: writes down who has joined; durable when it returns.
            rotate: gives what is stored sealed here a new key.
            traced: told of each workflow which request made it (see `DataPlane.belongs`).
            spawn: lets work go on beside requests.
        """
        self._plane = plane
        self._view = view
        self._witness = witness
        self._far = far
        self._remotes = remotes
        self._know = know
        self._near = near
        self._hidden = tuple(str(one) for one in hidden)
        self._clock = clock
        self._keep = keep
        self._rotate = rotate
        self._traced = traced
        self._spawn = spawn
        self._session: _Session | None = None
        self._ending = False
        self._mark = secrets.token_hex(16)

    async def open(self) -> None:
        """Open the plane; what it says before somebody has joined is said again when they have.

        Raises:
            PortError: the primary or the catalogue cannot be used.
        """
        await self._plane.open(self._hear)
        self._probe = await asyncio.to_thread(self._written_probe)

    def _written_probe(self) -> Path:
        """Write the file by which the other side proves that it sees the near store: what is on its way there lies beside it."""
        for old in (*self._near.glob(".jitflow-link-*"), *self._near.glob("incoming/.jitflow-link-*")):
            old.unlink(missing_ok=True)
        incoming = self._near / "incoming"
        probe = (incoming if incoming.is_dir() else self._near) / f".jitflow-link-{self._mark[:8]}"
        probe.write_text(self._mark)
        return probe

    async def close(self) -> None:
        """Let nobody wait any longer, and close the plane."""
        if self._session is not None:
            self._session.news.set()
        self._session = None
        await self._plane.close()
        await asyncio.to_thread(self._probe.unlink, missing_ok=True)

    def end(self) -> None:
        """Answer those who listen: this service is about to stop."""
        self._ending = True
        if self._session is not None:
            self._session.news.set()

    def remotes_changed(self) -> None:
        """Tell of the remotes that there are now."""
        self._say(("", "remotes"), link.RemotesChanged(remotes=tuple(self._remotes())))

    # -- sessions ----------------------------------------------------------------------------------------------------------

    async def join(self, wish: link.Join) -> link.Joined:
        """Begin a session; an earlier one of the same control side ends.

        Raises:
            Refused: another control side is here (`conflict`), or its pods' files cannot be seen.
        """
        old, now = self._session, self._clock.now()
        if old is not None and old.control != wish.control and now - old.heard_at < link.SILENT_S:
            raise Refused(
                f"another control service, on {old.host}, uses this data service; stop it, or start a data service for this one",
                code="conflict",
            )
        if await asyncio.to_thread(_text, Path(wish.probe)) != wish.mark:
            raise Refused(
                f"the data service does not see the control service's file {wish.probe}: outputs of pods are handed over as "
                "files; let both see the control service's home under the same path (one machine, or a shared file system)"
            )
        await self._keep(link.Served(control=wish.control, host=wish.host))
        if old is not None:
            old.news.set()
        self._session = session = _Session(
            id=secrets.token_hex(12), control=wish.control, host=wish.host, heard_at=now, sayings={}, news=asyncio.Event()
        )
        self._plane.doubt()
        _log.info("a control service has joined", host=wish.host)
        return link.Joined(
            session=session.id,
            remotes=tuple(self._remotes()),
            workflows=tuple(self._plane.workflows()),
            probe=str(self._probe),
            mark=self._mark,
            hidden=self._hidden,
        )

    def _of(self, session: str) -> _Session:
        found = self._session
        if found is None or found.id != session:
            raise NoSession
        found.heard_at = self._clock.now()
        return found

    async def take(self, session: str, batch: link.Batch) -> link.Taken:
        """Let commands take effect, each once, and for ever: a kill after this loses none.

        Raises:
            NoSession: it has ended. Refused: a command before these is missing.
        """
        found = self._of(session)
        if batch.first > found.taken + 1:
            raise Refused(f"command {found.taken + 1} is missing: {batch.first} came", code="conflict")
        for command in batch.commands[found.taken + 1 - batch.first :]:
            found.taken += 1
            try:
                self._perform(command)
            except (Refused, PortError, OSError) as error:
                self._failed(command, error)
        last = found.taken
        await self._plane.settled()
        return link.Taken(last=last)

    def _perform(self, command: link.Command) -> None:
        plane = self._plane
        match command:
            case link.Known():
                self._know(command)
            case link.Belongs(uid=uid, namespace=namespace, trace=trace):
                plane.belongs(uid, namespace, trace)
                self._traced(uid, trace)
            case link.Announce(uid=uid, steps=steps):
                plane.announce(uid, steps, open_ended=command.open_ended, priority=command.priority)
            case link.Acquire(uid=uid, step=step):
                plane.acquire(uid, step)
            case link.Release(step=step_id, outputs=outputs, good=good):
                plane.release(step_id, outputs, good=good)
            case link.Withdraw(uid=uid, good=good):
                plane.withdraw(uid, good=good)
            case link.ForgetSeen(uid=uid):
                self._spawn(self._witness.forget(uid), "forget what a workflow read and wrote")

    def _failed(self, command: link.Command, error: Exception) -> None:
        """Tell whom it concerns that a command could not be performed; those after it are not held up."""
        _log.warning("a command failed", command=type(command).__name__, reason=str(error))
        if isinstance(command, link.Acquire):
            self._hear(LeaseRefused(step=command.step.id, message=str(error)))
        elif isinstance(command, link.Release) and command.outputs:
            self._hear(StagedOut(step=command.step, error=str(error)))

    async def heard(self, session: str, after: int, *, wait_s: float = link.LISTEN_S) -> link.Heard:
        """Return what was said after a number, as soon as there is something; what came before is forgotten.

        Raises:
            NoSession: it has ended.
        """
        found = self._of(session)
        for key in [key for key, one in found.sayings.items() if one.number <= after]:
            del found.sayings[key]
        if not found.sayings and not self._ending:
            found.news.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await found.news.wait()
            except TimeoutError:
                pass
            found = self._of(session)
        return link.Heard(sayings=tuple(found.sayings.values())[:_SAYINGS_AT_ONCE])

    def _hear(self, event: DataEvent) -> None:
        saying = link.said(event)
        self._say((event.step, type(saying).__name__), saying)

    def _say(self, key: tuple[str, str], saying: link.Saying) -> None:
        session = self._session
        if session is None:
            return  # whoever joins asks again
        session.sayings.pop(key, None)
        session.number += 1
        session.sayings[key] = link.Said(number=session.number, saying=saying)
        session.news.set()

    # -- what is asked -----------------------------------------------------------------------------------------------------

    async def ask(self, session: str, wish: link.Ask) -> Any:
        """Return what is asked for, None where there is nothing to return.

        Raises:
            NoSession: it has ended. Refused, PortError: as what is asked says.
        """
        self._of(session)
        match wish:
            case link.Admit(uid=uid, steps=steps, namespace=namespace):
                return await self._plane.admit(uid, steps, namespace)
            case link.Check(uid=uid, steps=steps, namespace=namespace):
                return await self._plane.check(uid, steps, namespace)
            case link.OutlookOf(workflows=workflows):
                return await self._plane.outlook([(one.uid, one.steps) for one in workflows])
            case link.Discard(ref=ref):
                return await self._plane.discard(ref)
            case link.StatOf(ref=ref):
                return await self._far.stat(ref)
            case link.RotateKey():
                return await self._rotate()
            case link.RemotesNow():
                return tuple(self._remotes())
            case _:
                return await self._shown(wish)

    async def _shown(self, wish: link.Ask) -> Any:
        view = self._view
        match wish:
            case link.StepDataOf(uid=uid):
                return await view.step_data(uid)
            case link.StandingOf(step=step):
                return await view.standing(step)
            case link.ReadBytesOf(steps=steps):
                return await view.read_bytes(steps)
            case link.TimelineSince(since=since):
                transfers, fill = await view.timeline(since=since)
                return link.Timeline(transfers=tuple(transfers), fill=tuple(fill))
            case link.ReplicasOf(refs=refs):
                return tuple((await view.replicas_of(refs)).values())
            case link.WhereaboutsOf(ref=ref):
                return await view.whereabouts(ref)
            case link.SpentOf(namespace=namespace, since=since, until=until):
                return tuple(await view.spent(namespace, since=since, until=until))
            case link.SeenOf(uid=uid):
                return await self._witness.of(uid)
            case _:
                raise Refused(f"nothing can answer {type(wish).__name__}")

    async def list(self, session: str, ref: ObjectRef, *, recursive: bool) -> AsyncIterator[list[ObjectInfo]]:
        """Yield what lies below a prefix, many at a time (see `Storage.list`).

        Raises:
            NoSession: it has ended.
        """
        self._of(session)
        rows: list[ObjectInfo] = []
        async for info in self._far.list(ref, recursive=recursive):
            rows.append(info)
            if len(rows) == _LIST_AT_ONCE:
                yield rows
                rows = []
        yield rows

    def read(self, session: str, ref: ObjectRef, *, offset: int, count: int | None) -> AsyncIterator[bytes]:
        """Yield the bytes of an object (see `Storage.read`).

        Raises:
            NoSession: it has ended.
        """
        self._of(session)
        return self._far.read(ref, offset=offset, count=count)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
