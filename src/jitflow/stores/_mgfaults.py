"""What MongoDB's errors mean to a caller."""

from typing import Any
from urllib.parse import urlsplit

from pymongo import errors

from jitflow.ports.errors import Broken, Busy, PortError, Unreachable

_NO_ROOM = 14031
_REFUSED = {13, 18}
_READ_ONLY = {10107, 13435, 13436, 11602, 11600, 91, 189}
_NO_TRANSACTIONS = {20, 115, 263}
_CONFLICTS = {112, 24, 50}
"""A write conflict, a lock or a time that ran out."""


def was_sent(error: Exception) -> bool:
    """Return whether what failed may have reached the server all the same."""
    never = isinstance(error, errors.ServerSelectionTimeoutError | errors.WaitQueueTimeoutError)
    return is_away(error) and not never


def is_away(error: Exception) -> bool:
    """Return whether the server cannot be reached, or takes nothing for now."""
    if isinstance(error, errors.ConnectionFailure | errors.WTimeoutError | errors.WriteConcernError):
        return True
    return isinstance(error, errors.OperationFailure) and error.code in _READ_ONLY


def is_in_the_way(error: Exception) -> bool:
    """Return whether what failed has met somebody else's change, and may be tried again."""
    if not isinstance(error, errors.PyMongoError):
        return False
    if error.has_error_label("TransientTransactionError") or error.timeout:
        return True
    return isinstance(error, errors.OperationFailure) and error.code in _CONFLICTS


def is_open(error: Exception) -> bool:
    """Return whether a commit that failed may have been made all the same."""
    return is_away(error) or (isinstance(error, errors.PyMongoError) and error.has_error_label("UnknownTransactionCommitResult"))


def translate(error: Exception, place: str, url: str) -> Exception:
    """Return the port's error for one of MongoDB's, with what to do about it."""
    if isinstance(error, PortError) or not isinstance(error, errors.PyMongoError):
        return error
    said = " ".join(_text(error).split())[:400] or type(error).__name__
    password = urlsplit(url).password
    said = said.replace(password, "***") if password else said
    if is_away(error):
        return Unreachable(f"the state store at {place} cannot be reached ({said}); all goes on when it is back")
    code = error.code if isinstance(error, errors.OperationFailure) else None
    if code == _NO_ROOM:
        return Busy(f"the state store at {place} has no room left ({said}); make some, then all goes on")
    if code in _NO_TRANSACTIONS:
        return Broken(f'the state store at {place} refuses transactions ({said}); set state.transactions to "never"')
    if code in _REFUSED:
        return Broken(f"the state store at {place} refuses: {said}; mend the setting state.url or the database's rights")
    return Broken(f"the state store at {place} failed: {said}")


def _text(error: errors.PyMongoError) -> str:
    """Return what an error says, without the documents that it was about."""
    if isinstance(error, errors.BulkWriteError):
        found: list[dict[str, Any]] = [*error.details.get("writeErrors", ()), *error.details.get("writeConcernErrors", ())]
        return "; ".join(str(one.get("errmsg", "")) for one in found)
    return str(error)
