"""One range of an object, read in a thread: a server that answers in every way."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from jitflow.ports.errors import Corrupt, ObjectMissing, PortError, Stalled, Unreachable
from jitflow.storage.endpoints import Endpoint
from jitflow.storage.streams import BUFFER_BYTES, LEAST_BYTES, WAIT_S, Pace, Stream, WholeObject

BODY = bytes(range(256)) * 4096
HEAD = b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def answering(folder: Path, parts: Sequence[bytes], *, hold: bool = False) -> Iterator[Endpoint]:
    """Answer one request in parts; `hold`: keep the connection open behind them."""
    path = folder / "s"
    done = threading.Event()

    def serve() -> None:
        link, _ = server.accept()
        with link:
            link.recv(2**16)
            for part in parts:
                link.sendall(part)
            if hold:
                done.wait(10)

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint(path=str(path))
        finally:
            done.set()
            thread.join()


def read(endpoint: Endpoint, size_bytes: int = len(BODY), *, timeout_s: float = 10.0, most: int = 2**30) -> bytes:
    """Return what has come of a range, no more being wanted once `most` bytes have."""
    came = bytearray()

    def take(chunk: memoryview) -> bool:
        came.extend(chunk)
        return len(came) < most

    def fail(status: int, said: bytes) -> PortError:
        return ObjectMissing(f"{status} {said.decode()}")

    Stream(endpoint, b"GET / HTTP/1.1\r\n\r\n", size_bytes=size_bytes, timeout_s=timeout_s).run(take, fail, "it")
    return bytes(came)


@pytest.mark.parametrize("step", [1, 40, 70_000])
def test_a_range_may_come_in_any_parts(tmp_path: Path, step: int) -> None:
    size = min(len(BODY), 3000 * step)
    said = HEAD % size + BODY[:size]
    with answering(tmp_path, [said[at : at + step] for at in range(0, len(said), step)]) as endpoint:
        assert read(endpoint, size) == BODY[:size]


def test_no_more_is_read_than_is_wanted(tmp_path: Path) -> None:
    with answering(tmp_path, [HEAD % len(BODY), BODY[:100_000]], hold=True) as endpoint:
        assert len(read(endpoint, most=100_000 - LEAST_BYTES, timeout_s=0.3)) <= 100_000


@pytest.mark.parametrize(
    ("parts", "kind", "why"),
    [
        ([HEAD % 5, b"hello"], Corrupt, "5 bytes are given instead of the 1048576 asked for"),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n", b"no ", b"x"], ObjectMissing, "404 no x"),
        ([HEAD % len(BODY), BODY[:-1]], Unreachable, "the stream broke"),
        ([HEAD[:20]], Unreachable, "the stream broke"),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], Unreachable, "the stream broke"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"], WholeObject, "^$"),
    ],
)
def test_what_is_no_such_range_is_told(tmp_path: Path, parts: list[bytes], kind: type[Exception], why: str) -> None:
    with answering(tmp_path, parts) as endpoint, pytest.raises(kind, match=why):
        read(endpoint)


def test_nothing_for_the_limit_is_a_stall_and_what_came_before_is_taken(tmp_path: Path) -> None:
    came: list[bytes] = []

    def take(chunk: memoryview) -> bool:
        came.append(bytes(chunk))
        return True

    with answering(tmp_path, [HEAD % len(BODY), BODY[:100_001]], hold=True) as endpoint:
        stream = Stream(endpoint, b"GET / HTTP/1.1\r\n\r\n", size_bytes=len(BODY), timeout_s=0.3)
        with pytest.raises(Stalled, match=r"nothing moved for 0\.3 s"):
            stream.run(take, lambda status, said: Corrupt(f"{status}{said!r}"), "it")
    assert b"".join(came) == BODY[:100_001]


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with answering(tmp_path, [HEAD % len(BODY), BODY[:10]], hold=True) as endpoint:
        stream = Stream(endpoint, b"GET / HTTP/1.1\r\n\r\n", size_bytes=len(BODY), timeout_s=60.0)
        threading.Timer(0.2, stream.stop).start()
        stream.run(lambda _: True, lambda status, said: Corrupt(f"{status}{said!r}"), "it")


def test_more_is_waited_for_on_a_fast_stream() -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(0.0)
    assert pace.size_bytes == BUFFER_BYTES
    pace.took(0.8 * WAIT_S)
    assert pace.size_bytes == BUFFER_BYTES
    for _ in range(20):
        pace.took(2 * WAIT_S)
    assert pace.size_bytes == LEAST_BYTES
