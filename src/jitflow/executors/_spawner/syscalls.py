"""The Linux calls that Python 3.11 has no function for. Each raises OSError that names the call."""

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV
READ_WRITE = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SYS_MOUNT_SETATTR = 442
_SYS_PIDFD_GETFD = 438
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

KEPT_CAPABILITIES = (
    0,  # CHOWN
    1,  # DAC_OVERRIDE
    3,  # FOWNER
    4,  # FSETID
    5,  # KILL
    6,  # SETGID
    7,  # SETUID
    8,  # SETPCAP
    10,  # NET_BIND_SERVICE
    13,  # NET_RAW
    18,  # SYS_CHROOT
    29,  # AUDIT_WRITE
    31,  # SETFCAP
)
"""What Docker leaves a container by default, without MKNOD."""


class _MountAttributes(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


class _Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.pivot_root.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long
_libc.process_vm_readv.restype = ctypes.c_ssize_t
_libc.process_vm_readv.argtypes = (
    *(ctypes.c_int, ctypes.POINTER(_Piece), ctypes.c_ulong),
    *(ctypes.POINTER(_Piece), ctypes.c_ulong, ctypes.c_ulong),
)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def call(number: int, *arguments: int) -> int:
    """Perform a system call that takes numbers (addresses among them) and return its result."""
    result = _libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(argument) for argument in arguments))
    if result < 0:
        _check(-1, f"system call {number}")
    return int(result)


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Return a piece of another process's memory."""
    buffer = ctypes.create_string_buffer(size)
    ours, theirs = _Piece(ctypes.addressof(buffer), size), _Piece(address, size)
    read = _libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    if read < 0:
        _check(-1, "process_vm_readv")
    return buffer.raw[:read]


def take_descriptor(pidfd: int, fd: int) -> int:
    """Return a descriptor of this process for what a descriptor of another one names."""
    return call(_SYS_PIDFD_GETFD, pidfd, fd, 0)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def mount(source: str, target: str, fstype: str, flags: int = 0, options: str = "") -> None:
    """Mount a file system, or bind with MS_BIND."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), fstype.encode(), flags, os.fsencode(options) if options else None
    )
    _check(result, f"mount {fstype or 'bind'} {source} on {target}")


def restrict(target: str, attributes: int, *, recursive: bool = False) -> None:
    """Add restrictions to the mount at `target`; never takes one away, so it works on locked mounts too."""
    value = _MountAttributes(attr_set=attributes)
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(value),
        ctypes.c_size_t(ctypes.sizeof(value)),
    )
    _check(result, f"mount_setattr {target}")


def bind(source: str, target: str, attributes: int, *, recursive: bool = False) -> None:
    """Show `source` at `target` with the given restrictions."""
    mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))
    restrict(target, attributes, recursive=recursive)


def umount(target: str) -> None:
    """Detach the mount at `target`."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and put the old one at `old`."""
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


def _prctl(option: int, argument: int = 0) -> int:
    return int(_libc.prctl(option, argument, 0, 0, 0))


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal when the process that forked this one ends."""
    _check(_prctl(_PR_SET_PDEATHSIG, signal_number), "prctl(PDEATHSIG)")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _check(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "prctl(CHILD_SUBREAPER)")


def refuse_new_privileges() -> None:
    """Make set-user-id and file capabilities without effect, for ever."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl(NO_NEW_PRIVS)")


def bound_capabilities() -> None:
    """Let nothing that is started from here gain more than KEPT_CAPABILITIES; this process keeps what it has.

    In a new user namespace this has to be done again. Does nothing for a process that may not (it has none to give).
    """
    number = 0
    while number < 64 and (held := _prctl(_PR_CAPBSET_READ, number)) >= 0:
        if held and number not in KEPT_CAPABILITIES and _prctl(_PR_CAPBSET_DROP, number) != 0:
            _check(0 if ctypes.get_errno() == errno.EPERM else -1, f"prctl(CAPBSET_DROP {number})")
            return
        number += 1


def drop_capabilities() -> None:
    """Keep KEPT_CAPABILITIES at most in this process."""
    mask = sum(1 << kept for kept in KEPT_CAPABILITIES)
    header = _CapabilityHeader(version=_CAPABILITY_VERSION_3, pid=0)
    data = (_CapabilityData * 2)()
    _check(_libc.capget(ctypes.byref(header), data), "capget")
    for word in range(2):
        part = (mask >> (32 * word)) & 0xFFFFFFFF
        data[word].permitted &= part
        data[word].effective = data[word].permitted
        data[word].inheritable = 0
    _check(_libc.capset(ctypes.byref(header), data), "capset")
