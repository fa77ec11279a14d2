"""People who submit workflows and steer them, and who ask again when they get no answer."""

from collections.abc import Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from benchmark.simulate.server import Site
from benchmark.simulate.workload import Command, Expected
from benchmark.simulate.world import Life
from jitflow.engine import Engine
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.runs import Event, ResumeRequested, RetryRequested, ShutdownRequested, SuspendRequested
from jitflow.ports.errors import PortError
from jitflow.ports.store import RunRow

ASK_AGAIN_S = 2.0

Ask = Callable[[Engine], Coroutine[Any, Any, None]]


class People:
    """Everybody who uses the server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._world = site.world
        self.steered: set[str] = set()
        """Workflows that somebody has meddled with: how they end is nobody's promise."""
        self.deleted: set[str] = set()
        self.submitted: set[str] = set()
        self.refusals: list[str] = []
        self.busy = 0
        self.ended_at: dict[str, float] = {}
        """Since when workflows have ended, by uid, in the world's time."""
        self._world.committed = self._committed

    def _committed(self, row: RunRow) -> None:
        if row.finished_at is None:
            self.ended_at.pop(row.uid, None)
        else:
            self.ended_at.setdefault(row.uid, self._world.now)

    def come(self) -> None:
        """Let everybody come when it is their time."""
        for one in self._site.load.workflows:
            self._world.at(one.at, lambda one=one: self._submit(one))
        for command in self._site.load.commands:
            self._world.at(command.at, lambda command=command: self._steer(command))

    def rows(self, name: str) -> list[RunRow]:
        """Return the durable rows of workflows of a name and of those that were submitted again."""
        runs = self._site.state._runs.values()
        return [run.row for run in runs if run.row.name == name or run.row.name.startswith(f"{name}-again")]

    def _ask(self, name: str, ask: Ask, *, tries: int = 10_000) -> None:
        """Ask the server, and again when there is no answer."""
        world, life = self._world, self._world.life
        if tries <= 0:
            return
        if life is None or not life.ready:
            world.after(ASK_AGAIN_S, lambda: self._ask(name, ask, tries=tries - 1))
            return
        self.busy += 1
        open_ = True

        def lost() -> None:
            nonlocal open_
            if open_:
                open_ = False
                self.busy -= 1
                world.after(ASK_AGAIN_S, lambda: self._ask(name, ask, tries=tries - 1))

        async def work() -> None:
            nonlocal open_
            try:
                await ask(life.engine)
            except Refused as error:
                world.tell(f"{name} is refused: {error}")
                self._refused(name, error, lost)
            except PortError as error:
                world.tell(f"{name} is not possible now: {error}")
                lost()
            if open_:
                open_ = False
                self.busy -= 1

        life.lost.append(lost)
        world.tell(f"somebody asks: {name}")
        life.loop.create_task(work())

    def _refused(self, name: str, error: Refused, lost: Callable[[], None]) -> None:
        kind, _, workflow = name.partition(" ")
        if any(problem.code == "unavailable" for problem in error.problems):
            lost()
        elif kind == "submit" and not any(problem.code == "conflict" for problem in error.problems):
            self.refusals.append(f"{workflow}: {error}")
            if self._world.plan.trouble(self._world.now):
                lost()
            else:
                self._world.never(f"{workflow} is refused, though nothing is wrong: {error}")

    def _submit(self, one: Expected) -> None:
        async def ask(engine: Engine) -> None:
            if not self.rows(one.name):
                await engine.create(one.workflow)

        self.submitted.add(one.name)
        self._ask(f"submit {one.name}", ask)

    # -- steering ----------------------------------------------------------------------------------------------------------

    def _steer(self, command: Command) -> None:
        rows = self.rows(command.workflow)
        if not rows:
            return
        uid = rows[0].uid
        self.steered.add(command.workflow)
        name = f"{command.kind} {command.workflow}"
        events: dict[str, Event] = {
            "stop": ShutdownRequested(strategy="Stop"),
            "terminate": ShutdownRequested(strategy="Terminate"),
            "suspend": SuspendRequested(),
            "retry": RetryRequested(),
        }
        if command.kind in events:
            self._ask(name, lambda engine: engine.send(uid, events[command.kind]))
        elif command.kind == "delete":
            self.deleted.add(command.workflow)
            self._ask(name, lambda engine: engine.delete(uid))
        else:
            self._ask(name, lambda engine: self._again(engine, command.workflow, uid))

    async def _again(self, engine: Engine, name: str, uid: str) -> None:
        found = next(one for one in self._site.load.workflows if one.name == name)
        metadata = argo.ObjectMeta(name=f"{name}-again", namespace="default")
        if not any(row.name == f"{name}-again" for row in self.rows(name)):
            await engine.create(replace(found.workflow, metadata=metadata), after=uid)

    def resume_all(self) -> None:
        """Let everything go on that waits for somebody."""
        for run in list(self._site.state._runs.values()):
            if run.row.finished_at is None:
                self._resume(run.row)

    def send_again(self) -> None:
        """Let results be sent that were given up: until then they hold their room in the primary, and others wait for it."""
        life = self._world.life
        if life is not None and life.ready and life.dataplane.uploads():
            life.loop.call_soon(life.dataplane.retry_uploads)

    def _resume(self, row: RunRow) -> None:
        async def ask(engine: Engine) -> None:
            await engine.send(row.uid, ResumeRequested())

        self._ask(f"resume {row.name}", ask, tries=1)


__all__ = ["Life", "People"]
