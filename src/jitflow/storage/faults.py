"""Translates what rclone says into the errors of the ports: one table, read from top to bottom. Pure."""

import re
from typing import NamedTuple

from jitflow.ports.errors import (
    AccessRefused,
    Busy,
    Corrupt,
    DiskFull,
    FixRequest,
    ObjectMissing,
    PortError,
    RemoteUnknown,
    SourceChanged,
    StoreFailed,
    Unreachable,
)

LONGEST_TEXT = 400
"""Characters of rclone's own words that are repeated in a message."""


class Unforeseen(StoreFailed):
    """What rclone said is in no row of the table; `said` is that, short enough to be shown."""

    def __init__(self, subject: str, said: str) -> None:
        """Name what the call was about."""
        super().__init__(f"{subject}: rclone failed ({said})")
        self.said = said


class Fault(NamedTuple):
    """One row: texts that match `pattern` are an `error`, which `says` explains to people."""

    pattern: re.Pattern[str]
    error: type[PortError]
    says: str


def _row(error: type[PortError], says: str, *patterns: str) -> Fault:
    return Fault(re.compile("|".join(patterns), re.IGNORECASE), error, says)


FAULTS: tuple[Fault, ...] = (
    _row(
        RemoteUnknown,
        "no remote of this name is configured; add it to the remotes in the settings",
        "didn't find section in config file",
    ),
    _row(
        DiskFull,
        "the disk is full; free some space",
        "no space left on device",
        "file too big for remaining disk space",
        "disk quota exceeded",
    ),
    _row(
        SourceChanged,
        "it changed while it was read",
        "source file is being updated",
        "PreconditionFailed",
        "object has been modified",
    ),
    _row(
        Corrupt,
        "what arrived is not what was sent",
        "corrupted on transfer",
        "(sizes|hashes?) differ",
        "checksum (mismatch|failed)",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
    ),
    _row(
        AccessRefused,
        "the store does not accept the credentials; check them in the remote's settings",
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidToken",
        "ExpiredToken",
        "AuthorizationHeaderMalformed",
        "invalid_grant",
        "AuthenticationFailed",
        "unable to authenticate",
        "401 Unauthorized",
        r"StatusCode: 401\b",
        "NoCredentialProviders",
        "no EC2 IMDS role found",
        "could not find default credentials",
        "empty token found",
        "(access_key_id|secret_access_key) not found",
        "couldn.t connect to ssh-agent",
        "failed to (refresh|retrieve) (cached )?credentials",
        "530 Login",
    ),
    _row(
        AccessRefused,
        "the store refuses access; check the credentials and their rights",
        "AccessDenied",
        "403 Forbidden",
        r"StatusCode: 403\b",
        "permission denied",
        "operation not permitted",
        "read-only file system",
    ),
    _row(
        Busy,
        "the store asks for a pause",
        "SlowDown",
        "TooManyRequests",
        "429 Too Many",
        r"StatusCode: (429|500|503)\b",
        "RequestLimitExceeded",
        "Throttl(ed|ing)",
        "rate ?limit",
        "ServiceUnavailable",
        "503 Service",
        "500 Internal",
    ),
    _row(
        ObjectMissing,
        "there is no such object",
        "NoSuchBucket",
        "NoSuchKey",
        "object not found",
        "directory not found",
        "bucket (does not exist|not found)",
        "404 Not Found",
        r"StatusCode: 404\b",
        "is a directory not a file",
        "input member (Bucket|Key) must not be empty",  # of a bucket, or of nothing, where an object is meant
        "is a file not a directory",
        r"readdirent .*: not a directory",
        r"failed to remove directories: .*no such file or directory",
    ),
    _row(ObjectMissing, "its path leads through a file, so that nothing is there", r"lstat .*: not a directory"),
    _row(FixRequest, "its path leads through a file", "not a directory"),
    _row(FixRequest, "its name is too long for this store", "file name too long", "KeyTooLong"),
    _row(FixRequest, "the store does not take this name", "InvalidBucketName", "InvalidObjectName"),
    _row(FixRequest, "the remote's address is no URL", "unsupported protocol scheme", "missing protocol scheme"),
    _row(
        Unreachable,
        "the store's host name is not known",
        "no such host",
        "server misbehaving",
        "name resolution",
    ),
    _row(
        Unreachable,
        "the store's certificate is not accepted",
        "x509:",
        "failed to verify certificate",
        "TLS handshake",
        "server gave HTTP response to HTTPS client",
    ),
    _row(
        Unreachable,
        "the store does not answer, or cut the connection",
        "connection refused",
        "connection reset",
        "connection timed out",
        "broken pipe",
        "no route to host",
        "network is unreachable",
        r"\bEOF\b",
        "use of closed network connection",
        "server closed idle connection",
        "i/o timeout",
        "deadline exceeded",
        r"Client\.Timeout",
        "request send failed",
        "couldn't connect",
        "dial tcp",
        r"StatusCode: 50[24]\b",
        "502 Bad Gateway",
        "504 Gateway",
        "malformed HTTP",
        "http2: ",
        "context canceled",
    ),
)


def translate(text: str, status: int, subject: str) -> PortError:
    """Return the error of the ports for rclone's `text` (already without secrets) and the status of its HTTP answer.

    `subject` names the object or remote in the message.
    """
    shown = shorten(text)
    for fault in FAULTS:
        if fault.pattern.search(text):
            return fault.error(f"{subject}: {fault.says} ({shown})")
    if status == 404:
        return ObjectMissing(f"{subject}: there is no such object ({shown})")
    return Unforeseen(subject, shown or f"status {status}")


def shorten(text: str) -> str:
    """Return one line of at most `LONGEST_TEXT` characters, without the empty fields of S3 errors."""
    line = " ".join(text.split()).replace("RequestID: , HostID: , ", "")
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"
