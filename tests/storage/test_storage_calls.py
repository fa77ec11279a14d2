"""Calls to rclone at the moments when nobody waits for their answers any more."""

import asyncio
import gc
from typing import Any, cast

import pytest

from jitflow.ports.errors import ObjectMissing
from jitflow.storage.calls import Calls
from jitflow.storage.rclone import Rclone
from jitflow.storage.watch import Watch

pytestmark = pytest.mark.pure


class Refusing:
    """An rclone that refuses when it may answer."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def call(self, method: str, params: dict[str, Any], *, subject: str = "") -> bytes:
        del method, params
        await self.answers.wait()
        raise ObjectMissing(subject)


@pytest.mark.parametrize("turns", range(6))
def test_an_error_that_comes_when_its_caller_is_cancelled_is_no_news(turns: int) -> None:
    unheard: list[dict[str, Any]] = []

    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
        daemon = Refusing()
        watch = Watch(daemon.call, lambda: None)
        calls = Calls(cast("Rclone", daemon), watch, "test", 1, 5.0)
        task = asyncio.get_running_loop().create_task(calls.run("operations/stat", {}, subject="far:gone"))
        await asyncio.sleep(0)
        daemon.answers.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ObjectMissing)):
            await task
        await watch.close()
        del task
        gc.collect()

    asyncio.run(story())
    assert not unheard
