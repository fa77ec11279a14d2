"""An address of its own for a pod that serves: its parent performs each bind and connect of its commands.

What listens on every address or on localhost listens on the pod's loopback address instead, and what connects to localhost
connects there: pods that listen on one port do not meet, and the containers of one pod do. Everything else is as the command
wants it; in particular, connections to other machines are the kernel's alone. Only stream sockets are looked at.
"""

import errno
import fcntl
import os
import socket
import struct
import sys

from . import seccomp
from . import syscalls as sc

_ANY = ("0.0.0.0", "::")
_LOCALHOST = ("127.0.0.1", "::1")
_MAPPED = "::ffff:"
_V4 = struct.Struct("!2xH4s")
_V6 = struct.Struct("!2xH4x16s")


class Network:
    """Answers what commands of one pod ask for.

    Args:
        address: the pod's loopback address.
        proc_fd: a `/proc` in which this process and its children have the numbers that it sees.
    """

    def __init__(self, address: str, proc_fd: int) -> None:
        self._address = address
        self._proc_fd = proc_fd

    def serve(self, listener: int) -> None:
        """Answer one call. What cannot be looked at is left to the kernel: it is then as for any process of the machine."""
        call = seccomp.receive(listener)
        if call is None:
            return
        try:
            error = self._perform(listener, call)
        except OSError:
            error = None
        if error is None:
            seccomp.let_go(listener, call)
        else:
            seccomp.answer(listener, call, error)

    def _perform(self, listener: int, call: seccomp.Call) -> int | None:
        """Return the error of a call that was performed here (0: none), or None for one that is the kernel's."""
        wanted = parse(sc.read_memory(call.thread, call.address, min(call.size, 28)))
        if wanted is None:
            return None
        place = self.target(*wanted, is_bind=call.is_bind)
        if place is None:
            return None
        pidfd = os.pidfd_open(self._process_of(call.thread))
        try:
            if not seccomp.waits(listener, call):
                return None
            own = socket.socket(fileno=sc.take_descriptor(pidfd, call.fd))
        finally:
            os.close(pidfd)
        with own:
            if own.type != socket.SOCK_STREAM or own.family not in (socket.AF_INET, socket.AF_INET6):
                return None
            return _bind(own, place) if call.is_bind else _connect(own, place)

    def target(self, host: str, port: int, *, is_bind: bool) -> tuple[str, int] | None:
        """Return where an address leads in this pod, None if nowhere else.

        A client that takes any free port on every address stays free to go anywhere.
        """
        plain = host.removeprefix(_MAPPED)
        if plain in _LOCALHOST or (plain in _ANY and (port or not is_bind)):
            return self._address, port
        return None

    def _process_of(self, thread: int) -> int:
        fd = os.open(f"{thread}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc_fd)
        with open(fd, "rb") as file:
            for line in file:
                if line.startswith(b"Tgid:"):
                    return int(line.split()[1])
        raise OSError(errno.ESRCH, "the thread's process is not told")


def parse(raw: bytes) -> tuple[str, int] | None:
    """Return host and port of a `sockaddr` of the Internet, None of any other."""
    family = int.from_bytes(raw[:2], sys.byteorder)
    if family == socket.AF_INET and len(raw) >= _V4.size:
        port, packed = _V4.unpack_from(raw)
        return socket.inet_ntop(socket.AF_INET, packed), port
    if family == socket.AF_INET6 and len(raw) >= _V6.size:
        port, packed = _V6.unpack_from(raw)
        return socket.inet_ntop(socket.AF_INET6, packed), port
    return None


def _place(own: socket.socket, target: tuple[str, int]) -> tuple[str, int]:
    host, port = target
    return (_MAPPED + host, port) if own.family == socket.AF_INET6 else (host, port)


def _bind(own: socket.socket, target: tuple[str, int]) -> int:
    place = _place(own, target)
    if own.family == socket.AF_INET6 and own.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        # There is one IPv6 loopback address only. Whoever listens for IPv6 alone listens for IPv4 beside it (as nginx does):
        # it gets a free port, and is found over IPv4.
        place = ("::1", 0)
    try:
        own.bind(place)
    except OSError as error:
        host, port = own.getsockname()[:2]
        if error.errno == errno.EINVAL and host == place[0] and place[1] in (0, port):
            return 0  # performed before: a signal made the command ask again
        return error.errno or errno.EINVAL
    return 0


def _connect(own: socket.socket, target: tuple[str, int]) -> int | None:
    """Begin to connect. One who waits for it waits in its own call: for a connection that has begun it names no address."""
    flags = fcntl.fcntl(own, fcntl.F_GETFL)
    waits = not flags & os.O_NONBLOCK
    if waits:
        fcntl.fcntl(own, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    try:
        own.connect(_place(own, target))
    except OSError as error:
        if waits and error.errno in (errno.EINPROGRESS, errno.EALREADY):
            return None
        return error.errno or errno.EINVAL
    finally:
        if waits:
            fcntl.fcntl(own, fcntl.F_SETFL, flags)
    return 0
