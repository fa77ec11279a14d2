"""Agents: what does the work of templates that need no pod."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from jitflow.model import argo
from jitflow.model.runs import RunTask

MAX_RESULT_BYTES = 256 * 1024
"""The longest `outputs.result` that is kept, as for what a container prints."""

Report = Callable[[str], None]
"""Told of a message to show while the work goes on."""


class TaskResult(Struct, frozen=True, kw_only=True):
    """How a task ended. `phase`: Succeeded, Failed or Error. Messages never hold a secret."""

    phase: str
    message: str = ""
    outputs: argo.Outputs | None = None


class Agent(Protocol):
    """Does tasks of one kind."""

    async def run(self, uid: str, task: RunTask, report: Report) -> TaskResult:
        """Do the work of a task of a workflow; cancelling gives it up.

        A task may be run again from its beginning after a restart of the server.

        Raises:
            Refused, PortError, OSError: it cannot be done: the node is in Error.
        """
        ...
