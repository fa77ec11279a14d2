"""The stores between which data moves: a real S3 server, directly or behind a link of its own process, with its objects."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from jitflow.testing.s3_server import S3Server

RTT_MS, LINK_MBIT, CONNECTION_MBIT = 40, 400, 100


class Case(Struct, frozen=True, kw_only=True):
    """So many objects of one size, read by so many steps. `flags`: what makes `rclone copy` fast with them.

    `goal`: the least share of its rate; 0 where a step for each object shows what steps cost besides. `files`: whose objects they
    are, where another case has the same. `rounds`: what takes a second or two is measured more often.
    """

    name: str
    count: int
    size_bytes: int
    steps: int
    flags: tuple[str, ...]
    goal: float
    files: str = ""
    rounds: int = 3

    @property
    def folder(self) -> str:
        """Return where the objects lie."""
        return f"bench/{self.files or self.name}"

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all."""
        return self.count * self.size_bytes

    def paths(self) -> list[str]:
        """Return the names of the objects, with the bucket."""
        return [f"{self.folder}/{number:04}" for number in range(self.count)]


_MANY, _SOME = ("--transfers", "64", "--checkers", "64"), ("--transfers", "16")
CASES = (
    Case(name="small", count=1000, size_bytes=10_000, steps=1, flags=_MANY, goal=0.9),
    Case(name="small-steps", count=1000, size_bytes=10_000, steps=1000, flags=_MANY, goal=0, files="small"),
    Case(name="medium", count=100, size_bytes=10**6, steps=1, flags=_SOME, goal=0.95),
    Case(name="medium-steps", count=100, size_bytes=10**6, steps=100, flags=_SOME, goal=0, files="medium"),
    Case(
        name="large",
        count=5,
        size_bytes=200 * 10**6,
        steps=5,
        flags=("--transfers", "5", "--buffer-size", "16Mi"),
        goal=0.95,
        rounds=1,
    ),
)


class SteadyServer(S3Server):
    """Nothing changes behind its back: it remembers the hashes that it has computed once, as real stores do."""

    DIRECTORY_CACHE_S = 36_000


def write(root: Path, case: Case) -> None:
    """Make the objects of a case, unless they are there: contents that cannot be compressed."""
    for path in case.paths():
        file = root / path
        if not file.exists() or file.stat().st_size != case.size_bytes:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as out:
                left = case.size_bytes
                while left:
                    left -= out.write(os.urandom(min(left, 2**20)))


@contextmanager
def link(port: int) -> Iterator[str]:
    """Give the address of a slow link to a port."""
    words = ["--to", f"127.0.0.1:{port}", "--rtt-ms", RTT_MS, "--mbit", LINK_MBIT, "--connection-mbit", CONNECTION_MBIT]
    command = [sys.executable, "-m", "jitflow.testing.slow_link", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://{process.stdout.readline().split()[-1]}"
        finally:
            process.terminate()
