"""What a server beneath the application can do without messages: take a body that has come, send an answer that is whole."""

from typing import Final, Protocol

DIRECT: Final = "jitflow.direct"
"""Where a request's scope holds the `Direct` of the server that serves it, if that has one: the very object that is `send`."""
WHOLE: Final = "jitflow.whole"
"""Where it holds what sends a whole JSON answer of status 200: called with the body, it returns whether it has sent it."""


class Direct(Protocol):
    """One request as the server has it."""

    def body(self) -> bytes | None:
        """Take what has come of the body and was not taken yet, if that is all that is left; None: it is to be received."""
        ...

    def takes(self, size_bytes: int) -> bool:
        """Return whether an answer whose body is so long can be written at once; nothing of it may have been sent."""
        ...

    def write(self, head: bytes, body: bytes) -> None:
        """Send an answer; `head`: from the status line to the empty line, and says how long the body is."""
        ...
