"""Limits of bandwidth by the clock: what is in force, what is kept, what is refused."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from jitflow.dataplane import Bandwidth, Chosen
from jitflow.dataplane.links import Links, LinkUse
from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.problems import Refused
from jitflow.ports.errors import Unreachable
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure
MIB = 2**20


class Held:
    """Remembers what is to be held."""

    def __init__(self) -> None:
        self.now: tuple[Rate, dict[str, Rate]] = (FREE, {})
        self.fails = False

    async def limit(self, total: Rate, remotes: Mapping[str, Rate]) -> None:
        if self.fails:
            raise Unreachable("rclone does not answer")
        self.now = total, dict(remotes)


class Hands:
    """A clock that is set by hand."""

    def __init__(self, text: str) -> None:
        self.time = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        self._moved = asyncio.Condition()

    def now(self) -> float:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        until = self.time + delay_s
        async with self._moved:
            await self._moved.wait_for(lambda: self.time >= until)

    async def move(self, seconds: float) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        async with self._moved:
            self.time += seconds
            self._moved.notify_all()
        for _ in range(10):
            await asyncio.sleep(0)


def both(value: int) -> Rate:
    return Rate(up_Bps=value, down_Bps=value)


def test_the_clock_changes_what_is_in_force() -> None:
    async def story() -> None:
        clock, held = Hands("2026-11-28T06:59"), Held()
        settings = Chosen(limits={"*": "20M", "far": "08:00,1M 19:00,off"}, time_zone="Europe/Berlin")
        bandwidth = Bandwidth(settings, held, MemoryStore(), clock)
        await bandwidth.open()
        told: list[Rate] = []
        bandwidth.on_change = lambda: told.append(bandwidth.rate("far"))
        assert held.now == (both(20 * MIB), {"far": FREE})
        assert bandwidth.rate("far") == bandwidth.rate("other") == both(20 * MIB)
        assert [(at, rate.down_Bps) for at, rate in bandwidth.ahead("far")[:3]] == [
            (0.0, 20 * MIB), (60.0, MIB), (60.0 + 11 * 3600, 20 * MIB),
        ]  # fmt: skip
        await clock.move(60)
        assert held.now == (both(20 * MIB), {"far": both(MIB)})
        assert told == [both(MIB)]
        assert bandwidth.rate("other") == both(20 * MIB)
        await bandwidth.close()

    asyncio.run(story())


def test_what_was_changed_is_kept_over_a_restart_and_can_be_taken_back() -> None:
    async def story() -> None:
        store, clock, held = MemoryStore(), Hands("2026-11-28T06:59"), Held()
        settings = Chosen(limits={"*": "20M"}, time_zone="UTC")
        bandwidth = Bandwidth(settings, held, store, clock)
        await bandwidth.open()
        await bandwidth.change({"*": "5M", "far": "07:00,1M 08:00,off"}, "Asia/Tokyo")
        await bandwidth.close()
        again = Bandwidth(settings, Held(), store, clock)
        await again.open()
        shown = again.shown()
        assert shown.time_zone == "Asia/Tokyo"
        assert [(one.remote, one.limit, one.source) for one in shown.limits] == [
            ("*", "5M", "api"), ("far", "07:00,1M 08:00,off", "api"),
        ]  # fmt: skip
        shown = await again.change({"*": None, "far": None}, "")
        assert [(one.remote, one.limit, one.source) for one in shown.limits] == [("*", "20M", "settings")]
        assert shown.time_zone == "UTC"
        await again.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("limits", "zone", "word"),
    [({"far": "fast"}, None, "bandwidth of remote far: 'fast' is no limit"), ({}, "Mars/Base", "unknown time zone")],
)
def test_what_cannot_be_read_changes_nothing(limits: dict[str, str | None], zone: str | None, word: str) -> None:
    async def story() -> None:
        held = Held()
        bandwidth = Bandwidth(Chosen(limits={"*": "1M"}), held, MemoryStore(), Hands("2026-11-28T06:59"))
        await bandwidth.open()
        before = bandwidth.shown(), held.now
        with pytest.raises(Refused, match=word):
            await bandwidth.change(limits, zone)
        assert (bandwidth.shown(), held.now) == before
        await bandwidth.close()

    asyncio.run(story())


def test_limits_that_cannot_be_held_are_refused_and_not_kept() -> None:
    async def story() -> None:
        held, store = Held(), MemoryStore()
        bandwidth = Bandwidth(Chosen(), held, store, Hands("2026-11-28T06:59"))
        await bandwidth.open()
        held.fails = True
        with pytest.raises(Refused, match="cannot be held now"):
            await bandwidth.change({"*": "1M"})
        assert bandwidth.rate("far") == FREE
        assert await store.get("bandwidth", "limits") is None
        await bandwidth.close()

    asyncio.run(story())


def test_a_limited_link_runs_fewer_streams_and_its_rate_is_still_known() -> None:
    now, limit, told = 0.0, FREE, dict[str, LinkUse]()
    links = Links(64, {}, lambda: now, told.__setitem__, lambda _: limit)
    links.began("far", 16, 400 * MIB)
    for second in range(4):
        now = float(second)
        links.moved("far", 50 * MIB)
    fast = links.states()[0].rate_Bps or 0.0
    assert fast > 30 * MIB
    assert told["far"].rate_Bps == pytest.approx(fast, rel=0.05), "in two digits: it is not told with each byte"
    limit = Rate(down_Bps=MIB // 4)
    links.limits_changed()
    assert (told["far"].most_streams, told["far"].fill_bytes, told["far"].rate_Bps) == (4, 10**6, 260_000)
    for second in range(10, 20):
        now = float(second)
        links.moved("far", MIB // 4)
    assert links.states()[0].rate_Bps == fast
    assert links.states()[0].down_Bps == MIB // 4
