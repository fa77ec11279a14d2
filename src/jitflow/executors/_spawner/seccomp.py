"""Let another process answer some system calls of a command: a seccomp filter with a listener, and what is said over it.

A filter is inherited by all that a process starts, and cannot be taken off again. The listener is a file descriptor.
"""

import ctypes
import errno
import fcntl
import os
import struct
from typing import NamedTuple

from . import syscalls as sc

_MACHINES = {"x86_64": (0xC000003E, 317, 49, 42), "aarch64": (0xC00000B7, 277, 200, 203), "riscv64": (0xC00000F3, 277, 200, 203)}
"""Machine -> its AUDIT_ARCH, and the numbers of seccomp, bind and connect."""

_SET_MODE_FILTER = 1
_SPEC_ALLOW = 1 << 2
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5
_RET_ALLOW = 0x7FFF0000
_RET_USER_NOTIF = 0x7FC00000
_LOAD_WORD = 0x20
_JUMP_EQUAL = 0x15
_RETURN = 0x06

_RECV = 0xC0502100
_SEND = 0xC0182101
_ID_VALID = 0x40082102
_CONTINUE = 1
_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_RESPONSE = struct.Struct("QqiI")


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


class Call(NamedTuple):
    """A bind or connect that waits: its `thread` (in the reader's numbers) and descriptor, where its address is and how long."""

    id: int
    thread: int
    is_bind: bool
    fd: int
    address: int
    size: int


def is_known_machine() -> bool:
    """Say whether the numbers of this machine's system calls are known here."""
    return os.uname().machine in _MACHINES


def listen() -> int:
    """Let whoever has the returned descriptor answer every bind and connect of this process and of all it starts.

    Raises:
        OSError: the kernel, or a filter around this process, does not allow it; nothing has changed.
    """
    if not is_known_machine():
        raise OSError(errno.ENOSYS, f"seccomp: the machine {os.uname().machine} is not known")
    arch, number, bind, connect = _MACHINES[os.uname().machine]
    code = (
        (_LOAD_WORD, 0, 0, 4),
        (_JUMP_EQUAL, 0, 3, arch),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_EQUAL, 2, 0, bind),
        (_JUMP_EQUAL, 1, 0, connect),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_USER_NOTIF),
    )
    program = _Program(len(code), b"".join(struct.pack("HBBI", *line) for line in code))
    flags = _NEW_LISTENER | _SPEC_ALLOW
    try:
        return sc.call(number, _SET_MODE_FILTER, flags | _WAIT_KILLABLE_RECV, ctypes.addressof(program))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return sc.call(number, _SET_MODE_FILTER, flags, ctypes.addressof(program))  # Linux before 5.19


def listener() -> tuple[int, ...]:
    """Return the descriptor of `listen`, or none where it cannot be had: what then is called is the kernel's."""
    try:
        sc.refuse_new_privileges()
        return (listen(),)
    except OSError:
        return ()


def receive(listener: int) -> Call | None:
    """Return the next call that waits; None if it was interrupted meanwhile."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECV, buffer)
    except OSError:
        return None
    number, thread, _, call, _, _, fd, address, size, *_ = _NOTIFICATION.unpack(buffer)
    return Call(number, thread, call == _MACHINES[os.uname().machine][2], fd & 0xFFFFFFFF, address, size & 0xFFFFFFFF)


def waits(listener: int, call: Call) -> bool:
    """Say whether the call still waits: until then its thread's number names no other."""
    try:
        fcntl.ioctl(listener, _ID_VALID, struct.pack("Q", call.id))
    except OSError:
        return False
    return True


def answer(listener: int, call: Call, error: int = 0) -> None:
    """Let the call return 0, or an error."""
    _send(listener, _RESPONSE.pack(call.id, 0, -error, 0))


def let_go(listener: int, call: Call) -> None:
    """Let the kernel perform the call as it was made."""
    _send(listener, _RESPONSE.pack(call.id, 0, 0, _CONTINUE))


def _send(listener: int, response: bytes) -> None:
    try:
        fcntl.ioctl(listener, _SEND, bytearray(response))
    except OSError:
        return  # it has ended meanwhile
