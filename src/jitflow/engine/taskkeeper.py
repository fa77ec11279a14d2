"""Tasks without a pod: each is an asyncio task from its effect to its end."""

import asyncio
from collections.abc import Callable, Mapping

from jitflow.engine.tasks import Owner
from jitflow.model.problems import Refused
from jitflow.model.runs import Event, RunTask, TaskEnded, TaskProgress
from jitflow.ports.agents import Agent
from jitflow.ports.errors import PortError

Key = tuple[str, str]


class TaskKeeper:
    """Runs tasks by their kind's agent, and cancels those whose node has ended."""

    def __init__(self, owner: Owner, agents: Mapping[str, Agent], post: Callable[[str, Event], None]) -> None:
        """Hold the agents, by kind; `post` delivers an event to a run."""
        self._owner = owner
        self._agents = agents
        self._post = post
        self._wanted: dict[Key, RunTask] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}

    def start(self, uid: str, task: RunTask) -> None:
        """Begin a task; one that is already known goes on."""
        key = (uid, task.key)
        if key not in self._wanted:
            self._wanted[key] = task
            self._owner.spawn(self._run(uid, task), f"{task.kind} of {task.node_id}")

    def cancel(self, uid: str, key: str) -> None:
        """Give a task up, if there is one of that key."""
        if self._wanted.pop((uid, key), None) is not None:
            running = self._running.pop((uid, key), None)
            if running is not None:
                running.cancel()

    def close_run(self, uid: str) -> None:
        """Give up all tasks of a run."""
        for key in [key for key in self._wanted if key[0] == uid]:
            self.cancel(*key)

    async def _run(self, uid: str, task: RunTask) -> None:
        key = (uid, task.key)
        current = asyncio.current_task()
        if self._wanted.get(key) is not task or current is None:
            return  # given up before it began
        self._running[key] = current
        try:
            self._post(uid, TaskProgress(node_id=task.node_id))
            event = await self._ended(uid, task)
        finally:
            # What runs from here on is over: a cancel must not reach a task that has gone on to something else.
            self._running.pop(key, None)
        self._post(uid, event)

    async def _ended(self, uid: str, task: RunTask) -> TaskEnded:
        agent = self._agents.get(task.kind)
        if agent is None:
            return TaskEnded(node_id=task.node_id, phase="Error", message=f"{task.kind} templates cannot run here")

        def report(message: str) -> None:
            self._post(uid, TaskProgress(node_id=task.node_id, message=message))

        try:
            result = await agent.run(uid, task, report)
        except (Refused, PortError, OSError) as error:
            return TaskEnded(node_id=task.node_id, phase="Error", message=str(error))
        except Exception as error:
            self._owner.spawn(_raise(error), f"{task.kind} of {task.node_id}")  # a fault of ours: it is reported
            return TaskEnded(node_id=task.node_id, phase="Error", message=f"{type(error).__name__} in the {task.kind} agent")
        return TaskEnded(node_id=task.node_id, phase=result.phase, message=result.message, outputs=result.outputs)


async def _raise(error: Exception) -> None:
    raise error
