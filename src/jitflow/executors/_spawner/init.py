"""The first process of a sandboxed pod: starts the command, passes TERM on, reaps orphans, and ends with the command.

When it ends the kernel kills whatever is left in the pod.
"""

import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from . import rootfs, seccomp, status
from . import syscalls as sc
from .command import CANNOT_START, CannotStart, Streams, exit_code_of, spawn
from .record import describe

SETUP_FAILED = 70
READY: dict[str, object] = {"ready": True}


class _Init:
    def __init__(self) -> None:
        self.main = 0
        self.asked = False

    def on_term(self, _number: int, _frame: object) -> None:
        self.asked = True
        if self.main:
            os.kill(self.main, signal.SIGTERM)


class Pipes:
    """The pipes between a parent and its pod: output and status come from the pod, the order goes to it."""

    def __init__(self) -> None:
        self.out_read, self.out_write = os.pipe2(os.O_CLOEXEC)
        self.err_read, self.err_write = os.pipe2(os.O_CLOEXEC)
        self.status_read, self.status_write = status.pair()
        self.order_read, self.order_write = os.pipe2(os.O_CLOEXEC)

    def close_ends_of_pod(self) -> None:
        """Close, in the parent, what only the pod uses."""
        for fd in (self.out_write, self.err_write, self.status_write, self.order_read):
            os.close(fd)

    def order(self, argv: list[str], env: dict[str, str], working_dir: str, *, watched: bool, tty: str) -> None:
        """Tell the pod's init, whose root is ready, what to run.

        `watched`: its calls for addresses are answered here; `tty`: the terminal at which it runs, if any.
        """
        value = {"argv": argv, "env": env, "working_dir": working_dir, "watched": watched, "tty": tty}
        with open(self.order_write, "wb") as file:
            file.write(json.dumps(value).encode(errors="surrogateescape"))


def fork_init(pipes: Pipes, stage: str, *, user_namespace: bool) -> int:
    """Fork the pod's init and return its pid (in the host's numbers); TERM must be blocked by the caller.

    The init mounts `/proc` on the stage, says so, and waits for its order; by then its parent has made the pod's root its
    root and the host's old root its working directory, which it detaches. What it tells is one JSON object a line:
    `{"ready": true}`, then `{"started": time}` or `{"error": text}`.
    """
    pid = os.fork()
    if pid:
        return pid
    code = SETUP_FAILED
    try:
        signal.set_wakeup_fd(-1)
        state = _Init()
        signal.signal(signal.SIGTERM, state.on_term)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sc.die_with_parent(signal.SIGKILL)
        os.close(pipes.order_write)
        rootfs.mount_proc(stage, user_namespace=user_namespace)
        status.tell(pipes.status_write, READY)
        with open(pipes.order_read, "rb", closefd=False) as file:
            order = file.read()
        if order:  # else the parent is gone
            code = _obey(state, json.loads(order), pipes, user_namespace=user_namespace)
    except OSError as error:
        status.tell(pipes.status_write, {"error": f"the sandbox could not be finished: {describe(error)}"})
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(code)


def _obey(state: _Init, order: dict[str, Any], pipes: Pipes, *, user_namespace: bool) -> int:
    rootfs.leave_host()
    os.makedirs(order["working_dir"], exist_ok=True)
    os.chdir(order["working_dir"])
    lay_down_rights(user_namespace=user_namespace)
    _keep_only(pipes.out_write, pipes.err_write, pipes.status_write)
    return _run(state, order, pipes)


def lay_down_rights(*, user_namespace: bool) -> None:
    """Keep the rights that a pod's commands have, for ever."""
    sc.refuse_new_privileges()
    if user_namespace:
        sc.bound_capabilities()
    sc.drop_capabilities()


def _keep_only(*kept: int) -> None:
    """Close everything but stdin, stdout, stderr and `kept`."""
    low = 3
    for fd in sorted(kept):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def _run(state: _Init, order: dict[str, Any], pipes: Pipes) -> int:
    started, argv = time.time(), order["argv"]
    if not argv:
        status.tell(pipes.status_write, {"started": started})
        return 0
    given = seccomp.listener() if order["watched"] else ()
    try:
        state.main = spawn(argv, order["env"], Streams(pipes.out_write, pipes.err_write, order["tty"]), new_session=True)
    except CannotStart as error:
        status.tell(pipes.status_write, {"error": str(error), "exit_code": CANNOT_START})
        return CANNOT_START
    status.tell(pipes.status_write, {"started": started}, *given)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, 64)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
    if state.asked:
        os.kill(state.main, signal.SIGTERM)
    while True:
        pid, ending = os.waitpid(-1, 0)
        if pid == state.main:
            return exit_code_of(ending)
