"""Several watchers, one of which hardly reads: each is told of every end once."""

import asyncio

import pytest
from benchmark.api.watching import PATHS, measure
from benchmark.service import Server


@pytest.mark.parametrize("stream", sorted(PATHS))
def test_every_watcher_is_told_of_every_end_once(server: Server, stream: str) -> None:
    found = asyncio.run(measure(server, 30, 6, PATHS[stream], namespace=f"watched-{stream}"))
    assert (found["missed"], found["repeated"]) == (0, 0)
