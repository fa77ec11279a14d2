"""Pods of several containers, in every executor that runs commands."""

import os
from pathlib import Path

import pytest

from jitflow.executors import ProcessExecutor, SandboxExecutor
from jitflow.ports.executor import Executor
from jitflow.testing.group_contract import GroupContract, group, main


class TestSandbox(GroupContract):
    def make(self, home: Path) -> Executor:
        return SandboxExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return "/data/of/the/pod"

    @pytest.mark.skipif(os.geteuid() != 0, reason="without an overlay (root only) each try begins with a root of its own")
    def test_what_a_container_has_written_is_there_when_it_is_tried_again(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: Argo's emissary repeats the command, not the container."""
        tried = "cd /; test -e tried && exec cat tried; echo before > tried; exit 1"
        end, printed = self.ended(tmp_path / "home", group(main(tried, name="a", retries=1)))
        assert (end.exit_code, printed["a"], [one.attempts for one in end.containers]) == (0, ["before"], [2])


class TestBinds(GroupContract):
    def make(self, home: Path) -> Executor:
        return SandboxExecutor(home, mode="binds")

    def files_below(self, tmp_path: Path) -> str:
        return "/mnt/of/the/pod"


class TestProcess(GroupContract):
    def make(self, home: Path) -> Executor:
        return ProcessExecutor(home)

    def files_below(self, tmp_path: Path) -> str:
        return str(tmp_path / "files")
