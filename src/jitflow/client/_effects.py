"""The sans-I/O core's language: requests as values, and the few things a script asks of the shell that runs it.

A script is a generator. It yields effects and is sent their results; a shell (`_shells`) performs them, blocking or awaiting.
So whatever takes more than one request (retries, follows, waiting) is written once for both.
"""

from collections.abc import Generator
from typing import Any, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request. `path` is quoted; `query` in order.

    `repeatable`: doing it twice is as good as once. `patient`: its answer may take as long as it takes.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    media: str = "application/json"
    accept: str = "application/json"
    repeatable: bool = False
    patient: bool = False

    @property
    def name(self) -> str:
        """Return how errors name it."""
        return f"{self.method} {self.path}"


class Answer(Struct, frozen=True, kw_only=True):
    """What came back; of a stream that was opened well, `body` is empty. Header names are in lower case."""

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


class Ask(Struct, frozen=True):
    """Send a request and read the whole answer; gives an `Answer`. Raises `ServerLost` in the script."""

    request: Request


class Open(Struct, frozen=True):
    """Send a request and leave its answer open for `Read`; gives an `Answer`. An answer that is no success is read whole."""

    request: Request


class Read(Struct, frozen=True):
    """Give the next bytes of the open answer, none at its end. Raises `ServerLost` in the script."""


class Shut(Struct, frozen=True):
    """Close the open answer."""


class Pause(Struct, frozen=True):
    """Wait so many seconds."""

    seconds: float


class Now(Struct, frozen=True):
    """Give the time of a clock that only goes forward, in seconds."""


class Locate(Struct, frozen=True):
    """Look up again where the server is: a local one may come back at another port."""


class Emit(Struct, frozen=True):
    """Hand one item to whoever iterates."""

    item: Any


Effect = Ask | Open | Read | Shut | Pause | Now | Locate | Emit
Script = Generator[Effect, Any, T]


def ask(request: Request) -> Script[Answer]:
    """Send a request and return its answer."""
    return (yield Ask(request))


def open_(request: Request) -> Script[Answer]:
    """Send a request and leave its answer open."""
    return (yield Open(request))


def read() -> Script[bytes]:
    """Return the next bytes of the open answer."""
    return (yield Read())


def now() -> Script[float]:
    """Return the time."""
    return (yield Now())
