"""The first process of a sandboxed pod: starts the command, passes TERM on, reaps orphans, and ends with the command.

When it ends the kernel kills whatever is left in the pod.
"""

import json
import os
import select
import signal
import sys
import time
import traceback

from . import rootfs
from . import syscalls as sc
from .command import CANNOT_START, CannotStart, exit_code_of, spawn
from .record import describe

SETUP_FAILED = 70


class _Init:
    def __init__(self) -> None:
        self.main = 0
        self.asked = False

    def on_term(self, _number: int, _frame: object) -> None:
        self.asked = True
        if self.main:
            os.kill(self.main, signal.SIGTERM)


class Pipes:
    """The pipes between a parent (`read` ends) and its pod (`write` ends); `lifeline` runs the other way."""

    def __init__(self) -> None:
        self.out_read, self.out_write = os.pipe2(os.O_CLOEXEC)
        self.err_read, self.err_write = os.pipe2(os.O_CLOEXEC)
        self.status_read, self.status_write = os.pipe2(os.O_CLOEXEC)
        self.lifeline_read, self.lifeline_write = os.pipe2(os.O_CLOEXEC)

    def close_ends_of_pod(self) -> None:
        """Close, in the parent, what only the pod uses."""
        for fd in (self.out_write, self.err_write, self.status_write, self.lifeline_read):
            os.close(fd)


def fork_init(argv: list[str], env: dict[str, str], working_dir: str, pipes: Pipes, *, user_namespace: bool) -> int:
    """Fork the pod's init and return its pid (in the host's numbers).

    It writes one JSON object to the status pipe: `{"started": time}` or `{"error": text}`. Its working directory on
    entry is the host's old root, which it detaches. Signals must be blocked by the caller.
    """
    pid = os.fork()
    if pid:
        return pid
    code = SETUP_FAILED
    try:
        state = _Init()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, state.on_term)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        os.close(pipes.lifeline_write)
        _enter(working_dir, user_namespace=user_namespace, lifeline_fd=pipes.lifeline_read)
        _keep_only(pipes.out_write, pipes.err_write, pipes.status_write)
        code = _run(state, argv, env, pipes)
    except OSError as error:
        _tell(pipes.status_write, {"error": f"the sandbox could not be finished: {describe(error)}"})
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def _enter(working_dir: str, *, user_namespace: bool, lifeline_fd: int) -> None:
    rootfs.mount_proc(user_namespace=user_namespace)
    rootfs.leave_host()
    os.makedirs(working_dir, exist_ok=True)
    os.chdir(working_dir)
    sc.refuse_new_privileges()
    sc.drop_capabilities()
    sc.die_with_parent(signal.SIGKILL)
    if select.select([lifeline_fd], [], [], 0)[0]:
        os._exit(SETUP_FAILED)  # the parent is gone already


def _keep_only(*kept: int) -> None:
    """Close everything but stdin, stdout, stderr and `kept`."""
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def _run(state: _Init, argv: list[str], env: dict[str, str], pipes: Pipes) -> int:
    started = time.time()
    if not argv:
        _tell(pipes.status_write, {"started": started})
        return 0
    try:
        state.main = spawn(argv, env, pipes.out_write, pipes.err_write, new_session=True)
    except CannotStart as error:
        _tell(pipes.status_write, {"error": str(error), "exit_code": CANNOT_START})
        return CANNOT_START
    _tell(pipes.status_write, {"started": started})
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, 64)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    if state.asked:
        os.kill(state.main, signal.SIGTERM)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == state.main:
            return exit_code_of(status)


def _tell(status_fd: int, value: dict[str, object]) -> None:
    os.write(status_fd, json.dumps(value).encode())
    os.close(status_fd)
