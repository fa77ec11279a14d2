"""What pods have of their own, in every executor that runs commands."""

from pathlib import Path

from jitflow.executors import ProcessExecutor, SandboxExecutor
from jitflow.ports.executor import Executor
from jitflow.testing.pod_contract import PodContract


class TestSandbox(PodContract):
    def make(self, home: Path) -> Executor:
        return SandboxExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return "/data/of/the/pod"


class TestBinds(PodContract):
    def make(self, home: Path) -> Executor:
        return SandboxExecutor(home, mode="binds")

    def files_below(self, tmp_path: Path) -> str:
        return "/mnt/of/the/pod"


class TestProcess(PodContract):
    def make(self, home: Path) -> Executor:
        return ProcessExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return str(tmp_path / "files")
