"""What of an address is moved to a pod's own, without a pod."""

import socket
import sys

import pytest

from jitflow.executors._spawner.network import Network, parse

pytestmark = pytest.mark.pure


def raw_v4(host: str, port: int) -> bytes:
    return socket.AF_INET.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + socket.inet_aton(host) + bytes(8)


def raw_v6(host: str, port: int) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, host)
    return socket.AF_INET6.to_bytes(2, sys.byteorder) + port.to_bytes(2, "big") + bytes(4) + packed + bytes(4)


def test_addresses_of_the_internet_are_read_and_others_left() -> None:
    assert parse(raw_v4("10.1.2.3", 80)) == ("10.1.2.3", 80)
    assert parse(raw_v6("::1", 65535)) == ("::1", 65535)
    assert parse(raw_v6("::ffff:127.0.0.1", 1)) == ("::ffff:127.0.0.1", 1)
    assert parse(raw_v6("::1", 1)[:20]) is None
    assert parse(raw_v4("127.0.0.1", 1)[:6]) is None
    assert parse(socket.AF_UNIX.to_bytes(2, sys.byteorder) + b"/run/x") is None
    assert parse(b"") is None


@pytest.mark.parametrize(
    ("host", "port", "binds", "moved"),
    [
        ("0.0.0.0", 80, True, True),
        ("::", 80, True, True),
        ("127.0.0.1", 0, True, True),
        ("::ffff:0.0.0.0", 80, True, True),
        ("0.0.0.0", 0, True, False),
        ("10.0.0.1", 80, True, False),
        ("127.64.9.9", 80, True, False),
        ("127.0.0.1", 80, False, True),
        ("::1", 80, False, True),
        ("0.0.0.0", 80, False, True),
        ("127.0.0.53", 53, False, False),
        ("93.184.216.34", 443, False, False),
    ],
)
def test_what_listens_anywhere_and_what_asks_for_localhost_is_moved(host: str, port: int, binds: bool, moved: bool) -> None:
    target = Network("127.64.9.9", -1).target(host, port, is_bind=binds)
    assert target == (("127.64.9.9", port) if moved else None)
