"""Pods, and what is known of them, survive the death of any process."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from jitflow.executors import PodExecutor, ProcessExecutor, SandboxExecutor
from jitflow.testing.executor_contract import PATIENCE_S, Harness, opened, shell_pod
from jitflow.testing.machine import freeze

SERVER = Path(__file__).with_name("executors_server.py")


@pytest.fixture(params=["sandbox", "process"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(kind: str, home: Path) -> PodExecutor:
    return SandboxExecutor(home) if kind == "sandbox" else ProcessExecutor(home)


def parent_pid(home: Path, key: str) -> int:
    return int(os.readlink(home / "pods" / key / "parent").split()[0])


def processes_of(home: Path) -> list[int]:
    """Return the spawners, parents and inits of this executor: they carry its home in their arguments."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if b"_spawner" in command and str(home).encode() in command and ") Z " not in state:
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


def assert_all_gone(home: Path) -> None:
    """Wait until no process of this executor is left; if one stays, show what it is and waits for."""
    until = time.monotonic() + PATIENCE_S
    while left := processes_of(home):
        if time.monotonic() > until:
            details = ["pid,ppid,stat,wchan:30,lstart,args", "-p", ",".join(map(str, left))]
            listing = subprocess.run(["ps", "-o", *details], capture_output=True, text=True, check=False).stdout
            files = {pid: [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()] for pid in left}
            raise AssertionError(f"processes are left:\n{listing}\n{files}")
        time.sleep(0.02)


def test_pods_survive_a_killed_server_and_are_adopted(kind: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    scripts = ["run.long=echo begun; sleep 1.5; echo survived; exit 5", "run.short=exit 6"]
    with subprocess.Popen([sys.executable, str(SERVER), kind, str(home), *scripts], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"started\n"
        server.kill()
        server.wait()

    async def scene() -> None:
        async with opened(make(kind, home)) as pods:
            assert list(await pods.executor.adopt()) == ["run.long", "run.short"]
            assert (await pods.end_of("run.short")).exit_code == 6
            end = await pods.end_of("run.long")
            assert (end.exit_code, end.error) == (5, "")
            assert await pods.printed("run.long", follow=True) == ["begun", "survived"]
            await pods.executor.start(shell_pod("run.long", "echo again"))
            assert await pods.printed("run.long") == ["begun", "survived"]

    asyncio.run(scene())
    assert_all_gone(home)


def test_a_killed_parent_ends_its_pod_without_an_exit_code(kind: str, tmp_path: Path) -> None:
    marker = f"{600 + os.getpid() % 1000}.125"

    async def scene() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            await pods.executor.start(shell_pod("run.a", f"sleep {marker} & echo ready; sleep {marker}"))
            await pods.wait_for_line("run.a", "ready")
            os.kill(parent_pid(tmp_path, "run.a"), signal.SIGKILL)
            end = await pods.end_of("run.a")
            assert end.exit_code is None
            assert "parent" in end.error

    asyncio.run(scene())
    wait_until(lambda: not _running(marker), "the command outlived its parent")


def test_a_parent_killed_while_nobody_listened_is_told_by_adopt(kind: str, tmp_path: Path) -> None:
    async def first() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            await pods.executor.start(shell_pod("run.a", "echo ready; exec sleep 543.5"))
            await pods.wait_for_line("run.a", "ready")

    async def second() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            assert list(await pods.executor.adopt()) == ["run.a"]
            assert (await pods.end_of("run.a")).exit_code is None
            await pods.executor.forget("run.a")
            assert list(await pods.executor.adopt()) == []

    asyncio.run(first())
    os.kill(parent_pid(tmp_path, "run.a"), signal.SIGKILL)
    asyncio.run(second())
    wait_until(lambda: not _running("543.5"), "the command outlived its parent")


def test_a_killed_spawner_is_replaced_and_pods_go_on(kind: str, tmp_path: Path) -> None:
    async def scene(pods: Harness) -> None:
        await pods.executor.start(shell_pod("run.a", "sleep 1; exit 3"))
        (spawner,) = [pid for pid in processes_of(tmp_path) if _parent_of(pid) == os.getpid()]
        os.kill(spawner, signal.SIGKILL)
        ends = await asyncio.gather(*(pods.run(shell_pod(f"run.{number}", f"exit {number}")) for number in range(5)))
        assert [end.exit_code for end in ends] == list(range(5))
        assert (await pods.end_of("run.a")).exit_code == 3

    async def main() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            await scene(pods)

    asyncio.run(main())


def test_a_pod_that_was_recorded_and_not_yet_begun_is_begun(kind: str, tmp_path: Path) -> None:
    place, kept = tmp_path / "pods" / "run.a", tmp_path / "kept"

    async def record() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            await pods.run(shell_pod("warm", "true"))
            await pods.executor.forget("warm")
            (spawner,) = [pid for pid in processes_of(tmp_path) if _parent_of(pid) == os.getpid()]
            freeze(spawner)
            async with asyncio.TaskGroup() as group:
                group.create_task(pods.executor.start(shell_pod("run.a", "echo once; exit 4")))
                while not (place / "pod.json").exists():
                    await asyncio.sleep(0.01)
                shutil.copytree(place, kept)
                os.kill(spawner, signal.SIGCONT)
            await pods.end_of("run.a")
            assert not (place / "pod.json").exists(), "what may hold secrets stays no longer than it must"
            await pods.executor.forget("run.a")
            await pods.executor.delete_logs(["run.a"])
        shutil.move(kept, place)

    async def scene() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            assert list(await pods.executor.adopt()) == ["run.a"]
            assert (await pods.end_of("run.a")).exit_code == 4
            assert await pods.printed("run.a") == ["once"]

    asyncio.run(record())
    asyncio.run(scene())


def test_a_pod_whose_start_was_cut_short_is_started_anew(kind: str, tmp_path: Path) -> None:
    async def scene() -> None:
        cut = tmp_path / "pods" / "run.a"
        cut.mkdir(parents=True)
        (cut / "pod.json").write_text("{", encoding="ascii")
        async with opened(make(kind, tmp_path)) as pods:
            assert list(await pods.executor.adopt()) == []
            assert (await pods.run(shell_pod("run.a", "exit 4"))).exit_code == 4

    asyncio.run(scene())


def children() -> set[str]:
    """Return this process's children, zombies too."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended since
            found.update((task / "children").read_text().split())
    return found


def test_nothing_is_left_behind(kind: str, tmp_path: Path) -> None:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    files = len(os.listdir("/proc/self/fd"))
    before = children()

    async def scene() -> None:
        async with opened(make(kind, tmp_path)) as pods:
            await pods.run(shell_pod("warm", "true"))
            inside = len(os.listdir("/proc/self/fd"))
            for number in range(15):
                await pods.run(shell_pod(f"run.{number}", "mkdir -p x/y; chmod 0 x; (sleep 432.5 &) ; true"))
            assert len(os.listdir("/proc/self/fd")) <= inside
            for number in range(15):
                await pods.executor.forget(f"run.{number}")
            await pods.executor.delete_logs([f"run.{number}" for number in range(15)])
            await pods.executor.forget("warm")

    asyncio.run(scene())
    assert len(os.listdir("/proc/self/fd")) <= files
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts
    assert os.listdir(tmp_path / "pods") == []
    assert os.listdir(tmp_path / "logs") == ["warm"]
    assert_all_gone(tmp_path)
    asyncio.run(_reopen(kind, tmp_path))
    assert os.listdir(tmp_path / "trash") == []
    assert children() == before


async def _reopen(kind: str, home: Path) -> None:
    async with opened(make(kind, home)):
        wait_until(lambda: not os.listdir(home / "trash"), "the trash is not emptied")


def _parent_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])


def _running(word: str) -> bool:
    listing = subprocess.run(["ps", "ax", "-o", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return any(f"sleep {word}" in line and not line.startswith("Z") for line in listing.splitlines() if "sh -c" not in line)


def test_a_server_killed_while_it_tries_the_sandbox_leaves_no_pod(tmp_path: Path) -> None:
    killed = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from jitflow.executors import SandboxExecutor

        class Killed(SandboxExecutor):
            async def _wait_for(self, *_):
                os.kill(os.getpid(), signal.SIGKILL)

        async def main():
            await Killed(Path(sys.argv[1])).open(lambda *_: None)

        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(killed), str(tmp_path)], check=False, stderr=subprocess.PIPE)
    if done.returncode != -signal.SIGKILL:
        pytest.skip(f"no sandbox can be tried here: {done.stderr.decode()[-200:]}")
    wait_until(lambda: not processes_of(tmp_path), "what the sandbox was tried with has ended")

    async def scenario() -> list[str]:
        async with opened(make("sandbox", tmp_path)) as pods:
            wait_until(lambda: not os.listdir(tmp_path / "trash"), "what was left has been removed")
            return list(await pods.executor.adopt())

    assert asyncio.run(scenario()) == []
    assert os.listdir(tmp_path / "pods") == []
