"""Guarded pods end with the lease of their server, and are then as if they had never been started."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.executors.test_executors_survival import assert_all_gone, wait_until

from jitflow.executors import PodExecutor, ProcessExecutor, SandboxExecutor, write_lease
from jitflow.model.pods import ContainerRole, PodContainer, PodImage
from jitflow.stores.lease import boot_time
from jitflow.testing.executor_contract import opened, shell_pod
from jitflow.testing.machine import freeze

PROGRAM = """
import asyncio, sys
sys.path[:0] = sys.argv.pop(1).split(":")
from pathlib import Path
from tests.executors.test_executors_lease import boot_time, make, write_lease
from jitflow.testing.executor_contract import shell_pod

async def main(kind, home, script):
    executor = make(kind, Path(home))
    await executor.open(lambda end: None)
    write_lease(Path(home), boot_time() + 2.0)
    await executor.start(shell_pod("run.a", script))
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["sandbox", "process"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(kind: str, home: Path) -> PodExecutor:
    write_lease(home, boot_time() + 60)
    return SandboxExecutor(home, guarded=True) if kind == "sandbox" else ProcessExecutor(home, guarded=True)


def test_a_guarded_pod_ends_with_its_lease_and_is_forgotten(kind: str, tmp_path: Path) -> None:
    async def scene() -> None:
        home = tmp_path / "home"
        async with opened(make(kind, home)) as pods:
            write_lease(home, boot_time() + 1.5)
            await pods.executor.start(shell_pod("run.short", "exit 4"))
            assert (await pods.end_of("run.short")).exit_code == 4
            await pods.executor.start(shell_pod("run.long", "sleep 60", grace_s=30.0))
            await asyncio.sleep(0.7)
            assert not pods.ends.get("run.long"), "its lease is not over"
            write_lease(home, boot_time() + 1.0)
            end = await asyncio.wait_for(pods.end_of("run.long"), 5)
            assert end.exit_code is None
            assert end.error
            await pods.executor.start(shell_pod("run.late", "exit 0"))
            late = await pods.end_of("run.late")
            assert late.exit_code is None, "nothing is started when the lease is over"
            await pods.executor.forget("run.short")
        async with opened(make(kind, home)) as pods:
            assert not await pods.executor.adopt()
            write_lease(home, boot_time() + 60)
            await pods.executor.start(shell_pod("run.long", "exit 7"))
            assert (await pods.end_of("run.long")).exit_code == 7

    asyncio.run(scene())


def test_containers_of_a_guarded_pod_end_too(kind: str, tmp_path: Path) -> None:
    async def scene() -> None:
        home = tmp_path / "home"
        command = ("/bin/sh", "-c", "sleep 60")
        image = PodImage(name="host")
        containers = tuple(
            PodContainer(name=name, role=role, image=image, command=command, retries=3)
            for name, role in (("main", ContainerRole.MAIN), ("side", ContainerRole.SIDECAR))
        )
        async with opened(make(kind, home)) as pods:
            write_lease(home, boot_time() + 1.0)
            await pods.executor.start(shell_pod("run.many", "", containers=containers))
            assert (await asyncio.wait_for(pods.end_of("run.many"), 6)).exit_code is None
        async with opened(make(kind, home)) as pods:
            assert not await pods.executor.adopt()

    asyncio.run(scene())


def test_a_stopped_server_cannot_keep_its_pods(kind: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    script = "while sleep 0.1; do echo . ; done"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, ":".join(sys.path), kind, str(home), script], stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"started\n"
            freeze(server.pid)
            wait_until(lambda: not list((home / "pods").iterdir()), "the pod goes with its lease")
        finally:
            server.kill()
            server.wait()
    assert_all_gone(home)
