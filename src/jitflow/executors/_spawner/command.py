"""Start a pod's command: its environment, its place on PATH, its exit codes."""

import errno
import os
import signal
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from . import status

CANNOT_START = 64
"""The exit code of a command that could not be started, as Argo's."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ALL_SIGNALS = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}


class Streams(NamedTuple):
    """Where a command prints to: two descriptors, or the terminal `tty` at which it runs."""

    out_fd: int
    err_fd: int
    tty: str = ""


class CannotStart(Exception):
    """The command does not exist or is not a program; the text says so."""


def exit_code_of(status: int) -> int:
    """Return the exit code for a wait status: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def find(name: str, path: str) -> str:
    """Return the program's path, looked up on `path` as a shell would.

    Raises:
        CannotStart: there is none.
    """
    if not name:
        raise CannotStart("the command is empty")
    if "/" in name:
        return name
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", name)
        try:
            mode = os.stat(candidate).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and os.access(candidate, os.X_OK):
            return candidate
    raise CannotStart(f"command {name!r} not found on PATH ({path})")


def spawn(argv: list[str], env: dict[str, str], streams: Streams, *, new_session: bool) -> int:
    """Start the command with an empty stdin, or at a terminal, and return its pid.

    Raises:
        CannotStart: it is no program that can be run here.
    """
    program = find(argv[0], env.get("PATH", DEFAULT_PATH))
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, streams.out_fd, 1),
        (os.POSIX_SPAWN_DUP2, streams.err_fd, 2),
    ]
    if streams.tty:
        actions = [(os.POSIX_SPAWN_OPEN, 0, streams.tty, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
    try:
        return os.posix_spawn(program, argv, env, file_actions=actions, setsid=new_session, setsigmask=(), setsigdef=_ALL_SIGNALS)
    except OSError as error:
        raise CannotStart(_why(program, error)) from error
    except ValueError as error:
        raise CannotStart(f"cannot start {program!r}: {error}") from error


def spawn_prepared(
    argv: list[str], env: dict[str, str], streams: Streams, status_fd: int, prepare: Callable[[], tuple[int, ...]]
) -> int:
    """Start the command as `spawn` does, but in a process that has done something before; return its pid.

    The descriptors that `prepare` returns are given away with `{"started": time}`; a program that cannot be run after all is
    told as `{"error", "exit_code"}`.

    Raises:
        CannotStart: there is no such program.
    """
    program = find(argv[0], env.get("PATH", DEFAULT_PATH))
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in _ALL_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stdin = os.open(streams.tty or "/dev/null", os.O_RDWR if streams.tty else os.O_RDONLY)
        outputs = (stdin, stdin) if streams.tty else (streams.out_fd, streams.err_fd)
        for place, fd in enumerate((stdin, *outputs)):
            os.dup2(fd, place)
        status.tell(status_fd, {"started": time.time()}, *prepare())
        os.execve(program, argv, env)
    except OSError as error:
        status.tell(status_fd, {"error": _why(program, error), "exit_code": CANNOT_START})
    finally:
        os._exit(CANNOT_START)


def _why(program: str, error: OSError) -> str:
    if error.errno == errno.ENOENT and os.path.exists(program):
        return f"cannot start {program!r}: the interpreter that its first line names is not there"
    if error.errno == errno.ENOENT:
        return f"command {program!r} not found"
    if error.errno == errno.EACCES:
        return f"command {program!r} is not executable"
    if error.errno == errno.ENOEXEC:
        return f"cannot start {program!r}: it is neither a program nor a script with a #! line"
    if error.errno == errno.E2BIG:
        return f"cannot start {program!r}: its arguments and environment are too long"
    return f"cannot start {program!r}: {os.strerror(error.errno or 0)}"
