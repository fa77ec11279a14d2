"""What PostgreSQL's errors mean to a caller."""

import psycopg

from jitflow.ports.errors import Broken, Busy, PortError, Unreachable

_AWAY = ("08", "57P", "53300", "25006")
"""Lost connections, a server that stops or starts, too many connections, a standby that does not take writes (yet)."""
_NO_ROOM = ("53100", "53200")
_AGAIN = ("40001", "40P01", "55P03")


def is_lost(error: Exception, connection: psycopg.AsyncConnection | None) -> bool:
    """Return whether the connection is of no more use."""
    if not isinstance(error, psycopg.Error | OSError):
        return False
    return connection is None or connection.broken or connection.closed


def is_passing(error: Exception) -> bool:
    """Return whether the same transaction may be tried again at once."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _AGAIN


def translate(error: Exception, place: str, *, lost: bool) -> Exception:
    """Return the port's error for one of PostgreSQL's, with what to do about it."""
    if isinstance(error, PortError) or not isinstance(error, psycopg.Error | OSError | TimeoutError):
        return error
    state = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split()) or type(error).__name__
    if state.startswith(_NO_ROOM):
        return Busy(f"the state store at {place} has no room left ({said}); make some, then all goes on")
    if state.startswith(_AGAIN):
        return Busy(f"the state store at {place} was held by another program ({said}); it is tried again")
    if lost or state.startswith(_AWAY) or isinstance(error, OSError | TimeoutError):
        return Unreachable(f"the state store at {place} cannot be reached ({said}); all goes on when it is back")
    return Broken(f"the state store at {place} failed: {said}")
