"""The doctor tries what it speaks of."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from jitflow.executors import SandboxExecutor, doctor
from jitflow.executors.sandbox import Way
from jitflow.ports.errors import FixRequest
from jitflow.testing.executor_contract import opened


def test_each_executor_is_tried(tmp_path: Path) -> None:
    checks = {check.name: check for check in asyncio.run(doctor(tmp_path))}
    assert {"pidfd", "user namespaces", "executor sandbox", "executor process"} <= set(checks)
    assert checks["executor process"].ok
    assert checks["addresses of daemons"].ok
    assert all(check.remedy for check in checks.values() if not check.ok)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(SandboxExecutor(tmp_path / "home")) as pods:
            executor = pods.executor
            assert isinstance(executor, SandboxExecutor)
            stage = tmp_path / "home" / "mnt"
            stage.rmdir()
            stage.write_text("in the way", encoding="ascii")
            failure = await executor.probe(Way("binds", user_namespace=True))
            assert "stage" in failure or "mnt" in failure

    asyncio.run(scene())


def test_a_sandbox_that_cannot_be_made_is_refused_at_open(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "pods").mkdir()
    executor = SandboxExecutor(tmp_path / "home", mode="overlay")

    async def scene() -> str:
        try:
            async with opened(executor):
                return ""
        except FixRequest as refusal:
            return str(refusal)

    refusal = asyncio.run(scene())
    if refusal:
        assert "jitflow doctor" in refusal
    else:
        assert executor.way.root == "overlay"


@pytest.mark.parametrize("make", [SandboxExecutor])
def test_closing_twice_is_harmless(make: type[SandboxExecutor], tmp_path: Path) -> None:
    async def scene() -> None:
        executor = make(tmp_path)
        await executor.open(lambda _: None)
        await executor.close()
        await executor.close()

    asyncio.run(scene())


def test_where_addresses_cannot_be_had_pods_share_the_machines_and_it_is_told() -> None:
    # One filter with a listener is all that a process may have: this one has it already, and nobody answers.
    code = """
import asyncio, os
from jitflow.executors import doctor
from jitflow.executors._spawner import seccomp
(listener,) = seccomp.listener()
assert seccomp.listener() == ()
os.close(listener)
checks = {check.name: check for check in asyncio.run(doctor())}
addresses = checks["addresses of daemons"]
print(addresses.ok, "share the ports" in addresses.detail, bool(addresses.remedy), checks["executor process"].ok)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.split() == ["False", "True", "True", "True"]
