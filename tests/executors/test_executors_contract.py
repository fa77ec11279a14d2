"""Every executor passes the shipped suites."""

from pathlib import Path

import pytest

from jitflow.executors import ProcessExecutor, SandboxExecutor
from jitflow.model.pods import Pod
from jitflow.ports.executor import Executor
from jitflow.testing.executor_contract import CommandContract, ExecutorContract
from jitflow.testing.fake_executor import FakeExecutor, FakeMachine, ScriptedEnd


class TestSandbox(CommandContract):
    def make(self, home: Path) -> Executor:
        return SandboxExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return "/data/of/the/pod"


class TestProcess(CommandContract):
    def make(self, home: Path) -> Executor:
        return ProcessExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return str(tmp_path / "files")


def _script(pod: Pod) -> ScriptedEnd | None:
    env = dict(pod.env)
    if "CONTRACT_LONG" in env:
        return None
    lines = tuple(env["CONTRACT_LINES"].split("\n")) if env["CONTRACT_LINES"] else ()
    return ScriptedEnd(lines=lines, exit_code=int(env["CONTRACT_EXIT"]))


class TestFake(ExecutorContract):
    @pytest.fixture(autouse=True)
    def machine(self) -> None:
        self._machine = FakeMachine()

    def make(self, home: Path) -> Executor:
        return FakeExecutor(_script, self._machine)

    def long_pod(self, key: str) -> Pod:
        self._machine.logs.setdefault(key, [])
        pod = super().long_pod(key)
        FakeExecutor(machine=self._machine).print(key, "running")
        return pod
