"""One server in a process of its own, for the tests of a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmark.service import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("clients") / "home"
    with Server(home, {"max_pods": 4, "grace_s": 1.0}) as one:
        yield one


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return Path(server.home / "token").read_text().strip()


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"
