"""One S3 server for all tests of this room that want one."""

from collections.abc import Iterator

import pytest

from jitflow.testing.s3_server import S3Server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server
