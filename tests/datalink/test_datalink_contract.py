"""The conformance suite of data planes: in this process, and behind HTTP; real files, a real rclone."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from link_worlds import linked_world, local_world

from jitflow.testing.dataplane_contract import DataPlaneContract, DataPlaneWorld


class TestInThisProcess(DataPlaneContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[DataPlaneWorld]:
        return local_world(tmp_path)


class TestBehindHttp(DataPlaneContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[DataPlaneWorld]:
        return linked_world(tmp_path)
