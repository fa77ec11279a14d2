"""Pods without isolation, for hosts or tasks where a sandbox is not wanted."""

import os
from pathlib import Path

from jitflow.executors._pod_directory import Plan
from jitflow.executors._pods import PodExecutor
from jitflow.model.pods import Pod
from jitflow.ports.errors import FixRequest

_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class ProcessExecutor(PodExecutor):
    """Runs each pod as a plain process of this user: its files are placed on the host and taken away afterwards.

    Two pods that name the same path get in each other's way, and a pod may write whatever the user may: chosen
    explicitly only.
    """

    _kind = "process"

    async def _prepare(self) -> None:
        """Nothing to find out: a process can always be started."""

    def _plan(self, pod: Pod, directory: Path) -> Plan:
        if pod.image.root:
            raise FixRequest(
                f"pod {pod.name}: image {pod.image.name!r} is a root file system ({pod.image.root}), which only the"
                " sandbox executor can use"
            )
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        env |= {"HOSTNAME": pod.name, "TMPDIR": str(directory / "scratch"), "ARGO_PROGRESS_FILE": str(directory / "progress")}
        return Plan(
            root="",
            user_namespace=False,
            hidden=(),
            env={**env, **pod.image.env, **dict(pod.env)},
            working_dir=pod.working_dir,
            directory=str(directory),
        )
