"""What rclone says, and what callers are told.

Captured from rclone 1.75: unknown remotes, 403, 404, refused connections, DNS failures, full disks. The texts of 500 and 503
answers, resets, early ends, TLS, ssh, corruption and changed sources are written after rclone's own wording.
"""

import msgspec
import pytest

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
    Unreachable,
)
from jitflow.storage.faults import LONGEST_TEXT, Unforeseen, translate
from jitflow.storage.wire import Failure

pytestmark = pytest.mark.pure

S3 = "operation error S3: "
CAPTURED: list[tuple[str, int, type[PortError]]] = [
    ('didn\'t find section in config file ("nope")', 500, RemoteUnknown),
    (
        S3 + "HeadObject, https response error StatusCode: 403, RequestID: , HostID: , api error Forbidden: Forbidden",
        500,
        AccessRefused,
    ),
    (
        "error in ListJSON: " + S3 + "ListObjectsV2, https response error StatusCode: 403, RequestID: , HostID: , api error "
        "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your key "
        "and signing method.",
        500,
        AccessRefused,
    ),
    (
        "error in ListJSON: " + S3 + "ListObjectsV2, https response error StatusCode: 403, RequestID: , HostID: , api error "
        "InvalidAccessKeyId: The Access Key Id you provided does not exist in our records.",
        500,
        AccessRefused,
    ),
    ("object not found", 404, ObjectMissing),
    ("failed to open source object: object not found", 404, ObjectMissing),
    ("error in ListJSON: directory not found", 404, ObjectMissing),
    (
        "operation error S3: HeadObject, serialization failed: serialization failed: input member Key must not be empty",
        500,
        ObjectMissing,
    ),
    (
        S3 + "HeadObject, exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , HostID: , "
        'request send failed, Head "http://127.0.0.1:1/b1/x": dial tcp 127.0.0.1:1: connect: connection refused',
        500,
        Unreachable,
    ),
    (
        S3 + "HeadObject, https response error StatusCode: 0, RequestID: , HostID: , request send failed, Head "
        '"http://nohost.invalid/b1/x": dial tcp: lookup nohost.invalid on 10.0.0.53:53: no such host',
        500,
        Unreachable,
    ),
    ("multi-thread copy: failed to write chunk: write /data/big: no space left on device", 500, DiskFull),
    ("preallocate: file too big for remaining disk space", 500, DiskFull),
    ('corrupted on transfer: md5 hashes differ src(S3 root) "a" vs dst(Local file system at /) "b"', 500, Corrupt),
    ("corrupted on transfer: sizes differ src(S3 root) 3 vs dst(Local file system at /) 2", 500, Corrupt),
    ("can't copy - source file is being updated (size changed from 3 to 4)", 500, SourceChanged),
    (
        S3 + "GetObject, https response error StatusCode: 503, RequestID: X, HostID: Y, api error SlowDown: Please reduce",
        500,
        Busy,
    ),
    (
        S3 + "PutObject, https response error StatusCode: 500, RequestID: , HostID: , api error InternalError: We encountered",
        500,
        Busy,
    ),
    ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", 500, Unreachable),
    ("failed to copy: unexpected EOF", 500, Unreachable),
    ("read tcp 10.0.0.1:5->10.0.0.2:443: i/o timeout", 500, Unreachable),
    ("tls: failed to verify certificate: x509: certificate signed by unknown authority", 500, Unreachable),
    ("open /data/x: permission denied", 500, AccessRefused),
    ("mkdir /proc/x: read-only file system", 500, AccessRefused),
    (
        "couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none password]",
        500,
        AccessRefused,
    ),
    ("lstat /data/a.txt/x: not a directory", 500, ObjectMissing),
    ("mkdir /data/a.txt: not a directory", 500, FixRequest),
    ("lstat /data/nnnn: file name too long", 500, FixRequest),
    ('error in ListJSON: couldn\'t list files: Propfind "nonsense/": unsupported protocol scheme ""', 500, FixRequest),
    ("secret_access_key not found", 500, AccessRefused),
    ("failed to configure Google Cloud Storage: google: could not find default credentials.", 500, AccessRefused),
    ('drive: failed to create oauth client: empty token found - please run "rclone config reconnect x:"', 500, AccessRefused),
    ("something nobody has seen before", 500, Unforeseen),
    ("", 500, Unforeseen),
    ("what it is not", 404, ObjectMissing),
]


@pytest.mark.parametrize(("text", "status", "error"), CAPTURED)
def test_a_captured_text_becomes_the_error_that_says_what_to_do(text: str, status: int, error: type[PortError]) -> None:
    told = translate(text, status, "far:b/x")
    assert type(told) is error
    assert str(told).startswith("far:b/x: ")
    assert "RequestID: ," not in str(told)


def test_long_texts_are_cut() -> None:
    assert len(str(translate("x" * 5000, 500, "far:b"))) < LONGEST_TEXT + 100


def test_the_request_that_rclone_repeats_is_not_read() -> None:
    answer = b'{"error":"object not found","input":{"parameters":{"secret_access_key":"hush"}},"path":"p","status":404}'
    assert "hush" not in repr(msgspec.json.decode(answer, type=Failure))
