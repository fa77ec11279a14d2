"""The data plane of another process, as the engine of this one knows it."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from jitflow.datalink.channel import Channel
from jitflow.datalink.mirror import Mirror
from jitflow.datalink.session import Session
from jitflow.model.data import FutureStep, ObjectRef, StepId, WorkflowUid
from jitflow.model.origins import Origin
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import Estimate
from jitflow.ports import datalink as link
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataListener, Lease, OutputObject, Waiting
from jitflow.ports.errors import PortError, Unreachable
from jitflow.ports.store import StateStore
from jitflow.telemetry import logger

_log = logger("datalink")
_LAST_WORDS_S: Final = 2.0
_DISCARD_S: Final = 600.0
"""So long what is to be deleted is kept for a data service that is away."""


class LinkedDataPlane:
    """Implements `SharedDataPlane` over a link. While the data service is away, steps wait, and are told why."""

    def __init__(
        self,
        channel: Channel,
        store: StateStore,
        clock: Clock,
        *,
        control: str,
        host: str,
        pods: Path,
        resolve: Callable[[Origin], link.Known],
        patience_s: float = 10.0,
    ) -> None:
        """Drive the data service behind `channel`.

        Args:
            channel: the way to it; closed with this.
            store: where it is kept what remotes it had when it was last heard of.
            clock: time.
            control: who this control side is, the same for all that may take its place.
            host: where it runs, for people.
            pods: the directory in which outputs of pods are.
            resolve: tells a store that only a manifest names with the values of its secrets.
            patience_s: so long who asks something waits for a data service that is away.
        """
        self._channel = channel
        self._store = store
        self._resolve = resolve
        self._patience_s = patience_s
        self._mirror = Mirror()
        self._listener: DataListener = _nobody
        self._shared: dict[str, DataListener] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_open = False
        self._joined: link.Joined | None = None
        self.remotes: Mapping[str, link.RemoteSaid] = {}
        """The remotes that the data service has, or had when it was last heard of."""
        self.on_hidden: Callable[[Sequence[Path]], None] = lambda _: None
        """Told of directories of the data service that no pod may see."""
        self.on_remotes: Callable[[], None] = lambda: None
        self.on_joined: Callable[[], None] = lambda: None
        """Told of new remotes, and of each new session, when what holds was said anew."""
        self.session = Session(
            channel,
            self._mirror,
            control=control,
            host=host,
            pods=pods,
            mark=secrets.token_hex(16),
            clock=clock,
            on_joined=self._has_joined,
            on_saying=self._hear,
            on_change=self._tell_waiting,
        )

    # -- life --------------------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Know what was known of the data service."""
        body = await self._store.get(link.DOCUMENTS, link.JOINED)
        if body is None:
            return
        try:
            self._take(msgspec.json.decode(body, type=link.Joined))
        except msgspec.MsgspecError as error:  # it tells all of it again
            _log.warning("what was known of the data service cannot be read", reason=str(error))

    async def open(self, listener: DataListener) -> None:
        """Join the data service, or begin to try again and again (see `DataPlane.open`)."""
        self._listener = listener
        self._task = asyncio.get_running_loop().create_task(self.session.run(), name="link to the data service")
        self._task.add_done_callback(_ended)
        await self.session.tried.wait()
        self._is_open = True

    async def close(self) -> None:
        """Say nothing any more but what is on its way; steps keep what they have."""
        with contextlib.suppress(TimeoutError, PortError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self.session.settled()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._channel.close()

    async def ready(self) -> None:
        """Return if the data service can be used now.

        Raises:
            Unreachable: it cannot; the message says why.
        """
        if self.session.away:
            raise Unreachable(self.session.away)

    def share(self, prefix: str, listener: DataListener) -> None:
        """Tell somebody else of some workflows (see `SharedDataPlane.share`)."""
        self._shared[prefix] = listener

    async def _has_joined(self, joined: link.Joined) -> None:
        kept = msgspec.structs.replace(joined, session="", workflows=(), probe="", mark="")
        self._joined = joined
        self._take(joined)
        await self._store.put(link.DOCUMENTS, [(link.JOINED, msgspec.json.encode(kept))])
        self._mirror.leased.clear()
        if self._is_open:
            self.on_joined()

    def _take(self, joined: link.Joined) -> None:
        self.on_hidden([Path(one) for one in joined.hidden])
        self._know_remotes(joined.remotes)

    def _know_remotes(self, remotes: Sequence[link.RemoteSaid]) -> None:
        self.remotes = {one.name: one for one in remotes}
        self.on_remotes()

    async def refresh(self) -> None:
        """Know the remotes that there are now.

        Raises:
            PortError: the data service is away.
        """
        found = await self.session.ask(link.RemotesNow(), tuple[link.RemoteSaid, ...], patience_s=self._patience_s)
        self._know_remotes(found)

    async def rotate_key(self) -> link.Resealed:
        """Let the data service seal what it keeps sealed with a new key.

        Raises:
            Refused: it is away (`unavailable`), or cannot.
        """
        try:
            return await self._asked(link.RotateKey(), link.Resealed)
        except Refused as error:
            raise Refused(f"the data service keeps its key: {error}", code=error.code) from error

    # -- what is heard -----------------------------------------------------------------------------------------------------

    def _hear(self, saying: link.Saying) -> None:
        match saying:
            case link.RemotesChanged(remotes=remotes):
                self._know_remotes(remotes)
                return
            case link.Leased(step=step):
                self._mirror.leased.add(step)
            case link.Refusal(step=step):
                self._mirror.unasked(step)
            case link.Sent(step=step):
                self._mirror.sent(step)
            case link.Waits():
                pass
        event = link.event_of(saying)
        try:
            self._of(event.step)(event)
        except Exception as error:  # a fault of ours about one step must not end the link of all others
            _log.error("what the data service says cannot be taken", error, step=event.step)

    def _of(self, step: StepId) -> DataListener:
        return next((heard for prefix, heard in self._shared.items() if step.startswith(prefix)), self._listener)

    def _tell_waiting(self) -> None:
        """Say of each step that waits that the data service is away; when it is back, it says by itself what they wait for."""
        if self.session.away:
            for step in self._mirror.waiting():
                self._of(step)(Waiting(step=step, message=f"waiting for data: {self.session.away}"))

    def waits(self, step: StepId) -> bool:
        """Return whether a step waits for its lease."""
        return self._mirror.waits(step)

    # -- what the engine says ----------------------------------------------------------------------------------------------

    def notice(self, origin: Origin) -> None:
        """Know a store that only a manifest names, and its secrets as they are now."""
        if not self._mirror.knows(origin.name):
            self.session.say(self._resolve(origin))

    def secrets_changed(self) -> None:
        """Say anew of stores that only manifests name what has changed of their secrets."""
        for known in self._mirror.known():
            now = self._resolve(known.origin)
            if now != known:
                self.session.say(now)

    def belongs(self, uid: WorkflowUid, namespace: str, trace: str = "") -> None:
        """Say whose a workflow is (see `DataPlane.belongs`)."""
        self.session.say(link.Belongs(uid=uid, namespace=namespace, trace=trace))

    def workflows(self) -> Collection[WorkflowUid]:
        """Return the workflows that were not withdrawn when the data service was joined (see `DataPlane.workflows`)."""
        return self._joined.workflows if self._joined is not None else ()

    async def admit(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> None:
        """Look a workflow's inputs up (see `DataPlane.admit`)."""
        await self._asked(link.Admit(uid=uid, steps=tuple(steps), namespace=namespace), None)

    async def check(self, uid: WorkflowUid, steps: Sequence[FutureStep], namespace: str = "") -> Estimate:
        """Say what a workflow will take (see `DataPlane.check`)."""
        return await self._asked(link.Check(uid=uid, steps=tuple(steps), namespace=namespace), Estimate)

    async def outlook(self, workflows: Sequence[tuple[WorkflowUid, Sequence[FutureStep]]]) -> Estimate:
        """Say what is still to come of workflows that run (see `DataPlane.outlook`)."""
        coming = tuple(link.Coming(uid=uid, steps=tuple(steps)) for uid, steps in workflows)
        return await self._asked(link.OutlookOf(workflows=coming), Estimate)

    async def _asked(self, wish: link.Ask, kind: Any) -> Any:
        try:
            return await self.session.ask(wish, kind, patience_s=self._patience_s, after_all=True)
        except Unreachable as error:
            remedy = "nothing was done; ask again when it is back"
            raise Refused(Problem(message=str(error), remedy=remedy, code="unavailable")) from error

    def announce(self, uid: WorkflowUid, steps: Sequence[FutureStep], *, open_ended: bool = False, priority: int = 0) -> None:
        """Say what a workflow will read and write (see `DataPlane.announce`)."""
        self.session.say(link.Announce(uid=uid, steps=tuple(steps), open_ended=open_ended, priority=priority))

    def acquire(self, uid: WorkflowUid, step: FutureStep) -> None:
        """Ask for a step's lease (see `DataPlane.acquire`)."""
        if not step.inputs and not step.outputs:
            self._of(step.id)(Lease(step=step.id))
            return
        self.session.say(link.Acquire(uid=uid, step=step))
        if self.session.away:
            self._of(step.id)(Waiting(step=step.id, message=f"waiting for data: {self.session.away}"))

    def release(self, step: StepId, outputs: Sequence[OutputObject], *, good: bool = True) -> None:
        """The step has ended (see `DataPlane.release`)."""
        self.session.say(link.Release(step=step, outputs=tuple(outputs), good=good))

    async def discard(self, ref: ObjectRef) -> None:
        """Delete an object far away and here (see `DataPlane.discard`)."""
        try:
            await self.session.ask(link.Discard(ref=ref), None, patience_s=_DISCARD_S, after_all=True)
        except Refused as error:
            raise PortError(str(error)) from error

    def withdraw(self, uid: WorkflowUid, *, good: bool = True) -> None:
        """The workflow has ended (see `DataPlane.withdraw`)."""
        self.session.say(link.Withdraw(uid=uid, good=good))


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the link to the data service has ended; start this server anew", error)


def _nobody(_: object) -> None:
    raise Refused("the data plane is not open")
