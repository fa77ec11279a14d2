"""What a server beneath the application can do without messages: take a body that has come, send an answer that is whole."""

from typing import Final, Protocol

DIRECT: Final = "jitflow.direct"
"""Where a request's scope holds the `Direct` of the server that serves it, if that has one: the very object that is `send`."""
WHOLE: Final = "jitflow.whole"
"""Where it holds what sends a whole JSON answer of status 200: called with the body, it returns whether it has sent it."""

BODY: Final = "jitflow.body"
"""Where it holds what takes the whole body: it returns None if that has not come yet, or is not to be had so."""
SAME: Final = "jitflow.same"
"""Where it holds a dict that it shares with all requests whose heads are the same, byte for byte, at one server.

What follows from a head alone is kept there, under the names of those who keep it. It outlives the application: nothing in it may
hold on to one.
"""


class Direct(Protocol):
    """One request as the server has it."""

    def take(self) -> bytes | None:
        """Take what has come of the body and was not taken yet, if that is all that is left; None: it is to be received."""
        ...

    def takes(self, size_bytes: int) -> bool:
        """Return whether an answer whose body is so long can be written at once; nothing of it may have been sent."""
        ...

    def write(self, head: bytes, body: bytes) -> None:
        """Send an answer; `head`: from the status line to the empty line, and says how long the body is."""
        ...
