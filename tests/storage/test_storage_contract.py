"""The conformance suite, over a real S3 server, a local directory by one rclone and by two, and the fake."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from storage_worlds import local_world, s3_bucket_world, several_world

from jitflow.model.data import ObjectRef
from jitflow.testing.fake_storage import FakeStorage
from jitflow.testing.s3_server import S3Server
from jitflow.testing.storage_contract import BUCKET, StorageContract, StorageWorld


class TestRcloneOverS3(StorageContract):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> Iterator[None]:
        self.server = s3
        (s3.root / BUCKET).mkdir(exist_ok=True)
        yield
        shutil.rmtree(s3.root / BUCKET)

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[StorageWorld]:
        return s3_bucket_world(self.server)


class TestRcloneOverDirectory(StorageContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[StorageWorld]:
        return local_world(tmp_path / "remote root")


class TestSeveralRclonesOverDirectory(StorageContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[StorageWorld]:
        return several_world(tmp_path / "remote root")


class TestFake(StorageContract):
    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[StorageWorld]:
        return _fake_world()


@asynccontextmanager
async def _fake_world() -> AsyncIterator[StorageWorld]:
    storage = FakeStorage(["far"])

    def ref(path: str) -> ObjectRef:
        return ObjectRef(remote="far", path=f"{BUCKET}/{path}")

    async def seed(files: Mapping[str, bytes]) -> None:
        for path, data in files.items():
            storage.put(ref(path), data)

    yield StorageWorld(storage=storage, remote="far", seed=seed, read=lambda path: storage.get(ref(path)))
