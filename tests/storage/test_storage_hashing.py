"""The hash of a file that is still being written."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from jitflow.storage.hashing import RunningHash

SIZE = 5 * 2**20 + 123


@pytest.mark.parametrize("seed", range(5))
def test_it_follows_the_bytes_and_knows_those_that_came_last(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    data = random.randbytes(SIZE)
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    with ThreadPoolExecutor(1) as pool, path.open("r+b") as file:
        running = RunningHash(path, "md5", pool)
        for end in sorted(random.choices(range(SIZE), k=12)):
            file.seek(0)
            file.write(data[:end])
            file.flush()
            running.advance(end)
        file.seek(0)
        file.write(data)
        file.flush()
        assert running.finish(SIZE) == hashlib.md5(data, usedforsecurity=False).hexdigest()
        running.close()


def test_nobody_waits_for_a_thread_of_the_pool(tmp_path: Path) -> None:
    """Many files whose ends are asked for in the only thread, before what was left there for any of them has begun."""
    files = [tmp_path / str(number) for number in range(20)]
    for path in files:
        path.write_bytes(os.urandom(1000))
    with ThreadPoolExecutor(1) as pool:
        all_running = [RunningHash(path, "sha256", pool) for path in files]
        for running in all_running:
            running.advance(500)
        ends = [pool.submit(running.finish, 1000) for running in all_running]
        assert [end.result(10) for end in ends] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_what_is_shorter_than_it_should_be_has_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with ThreadPoolExecutor(1) as pool:
        running = RunningHash(tmp_path / "file", "md5", pool)
        assert not running.finish(4)
        running.close()
        running.close()
        assert not running.finish(3)
