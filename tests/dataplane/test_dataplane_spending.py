"""Bytes moved and money: who pays, what waits when a budget is used up, and what a kill may lose."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from far_store import Clock, Kit, a_step, ref

from jitflow.dataplane import SpendingKeeper
from jitflow.dataplane.spending import SPENT
from jitflow.model.problems import Refused
from jitflow.model.spending import Budget, Prices, Spent
from jitflow.ports.errors import Unreachable
from jitflow.testing.memory_store import MemoryStore

PRICES = {"far": Prices(price_per_GB_down=10.0, price_per_GB_up=1.0, price_per_1000_requests=2.0, currency="EUR")}
MONTH_END = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()


class World:
    """A kit whose data plane charges."""

    def __init__(self, tmp: Path, **budgets: Budget) -> None:
        self.budgets = budgets
        self.store = MemoryStore()
        self.kit = Kit(tmp, 10_000)
        self.kit.clock.time = MONTH_END - 3600
        self.spending = self.keeper()
        self.remake()

    def keeper(self) -> SpendingKeeper:
        return SpendingKeeper(self.store, self.kit.clock, prices=PRICES, budgets=self.budgets)

    def remake(self) -> None:
        self.kit.options["spending"] = self.spending
        self.kit.plane = self.kit.make()

    def rows(self) -> dict[str, tuple[int, int, int]]:
        return {row.namespace: (row.down_bytes, row.up_bytes, row.requests) for row in self.spending.spent()}

    async def read(self, uid: str, name: str, *inputs: str) -> None:
        self.kit.plane.acquire(uid, a_step(f"{uid}/{name}", *(ref(one) for one in inputs)))
        await self.kit.until(lambda: self.has(uid, name))
        self.kit.plane.release(f"{uid}/{name}", [])

    def has(self, uid: str, name: str) -> bool:
        return any(type(one).__name__ == "Lease" and one.step == f"{uid}/{name}" for one in self.kit.events)


def play(tmp: Path, story: Callable[[World], Awaitable[None]], **budgets: Budget) -> None:
    async def run() -> None:
        world = World(tmp, **budgets)
        await world.spending.open()
        await world.kit.start()
        try:
            await story(world)
            assert world.kit.plane._core.planner.audit() == ()
        finally:
            await world.kit.plane.close()
            await world.spending.close()

    asyncio.run(run())


def test_who_asks_first_pays_for_what_comes_and_failed_attempts_count_what_came(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        kit.far.put("a", 300)
        kit.plane.belongs("w", "one")
        kit.plane.belongs("v", "two")
        await world.read("w", "x", "a")
        await world.read("v", "y", "a")
        assert world.rows() == {"one": (300, 0, 1)}, "the second one found it here"
        kit.far.put("b", 500)
        broken = 0

        def cut() -> None:
            nonlocal broken
            flight = next(iter(kit.plane._transfers.flights.values()), None)
            if flight is not None and flight.done_bytes >= 128 and not broken:
                broken = flight.done_bytes
                raise Unreachable("the link was cut")

        kit.far.on_progress = cut
        await world.read("v", "z", "b")
        assert world.rows()["two"] == (500 + broken, 0, 2), "what came before the cut went over the link too"
        row = world.spending.spent(namespace="two")[0]
        assert row.money == pytest.approx((500 + broken) * 10 / 1e9 + 2 * 2 / 1000)
        assert row.currency == "EUR"

    play(tmp_path, story)


def test_steps_of_a_namespace_without_budget_wait_and_others_go_on_until_the_next_period(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        for name in "abcd":
            kit.far.put(name, 200)
        kit.plane.belongs("w", "tight")
        kit.plane.belongs("v", "free")
        await world.read("w", "one", "a")
        assert "used up its budget of 150 bytes moved for this month" in world.spending.used_up("tight")
        kit.plane.announce("w", [a_step("w/two", ref("b")), a_step("w/near", ref("a"))])
        kit.plane.acquire("w", a_step("w/two", ref("b")))
        await kit.until(lambda: any("it goes on at 2026-12-01 00:00 UTC" in text for text in kit.waits("two")))
        assert "has used up its budget" in kit.plane.standing("w/two").objects[0].message
        await world.read("w", "near", "a")
        await world.read("v", "other", "c")
        await asyncio.sleep(0.05)
        assert kit.far.count("fetch", ref("b")) == 0, "nothing is read ahead for it either"
        kit.clock.time = MONTH_END + 2
        await kit.until(lambda: world.has("w", "two"), turns=10_000)
        assert world.spending.budgets()[-1].moved_bytes == 200, "a new period, with what was moved in it"

    play(tmp_path, story, tight=Budget(moved_bytes=150))


def test_what_another_namespace_has_fetched_lets_a_step_go_that_has_no_budget(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        kit.far.put("a", 200)
        kit.far.put("b", 200)
        kit.plane.belongs("w", "tight")
        kit.plane.belongs("v", "free")
        await world.read("w", "one", "a")
        kit.plane.acquire("w", a_step("w/two", ref("b")))
        await kit.until(lambda: kit.waits("two"))
        await world.read("v", "other", "b")
        await kit.until(lambda: world.has("w", "two"))
        assert world.rows()["tight"][0] == 200

    play(tmp_path, story, tight=Budget(moved_bytes=150))


def test_raising_a_budget_lets_all_go_on_at_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        for number in range(30):
            kit.far.put(f"o{number}", 10)
        kit.plane.belongs("w", "tight")
        await world.read("w", "first", "o0")
        for number in range(1, 30):
            kit.plane.acquire("w", a_step(f"w/s{number}", ref(f"o{number}")))
        await kit.until(lambda: kit.waits("s1"))
        assert not any(world.has("w", f"s{number}") for number in range(1, 30))
        await world.spending.set_budgets({"tight": Budget(money={"EUR": 100.0})})
        for number in range(1, 30):
            await kit.until(lambda number=number: world.has("w", f"s{number}"))
            kit.plane.release(f"w/s{number}", [])
        assert world.spending.used_up("tight") == ""
        await world.spending.set_budgets({"tight": Budget(money={"EUR": 0.01})})
        assert "its budget of 0.01 EUR" in world.spending.used_up("tight")
        await world.spending.set_budgets({"tight": None})
        assert "10 bytes moved" in world.spending.used_up("tight"), "the settings hold again"

    play(tmp_path, story, tight=Budget(moved_bytes=10))


def test_results_are_sent_and_charged_though_the_budget_is_used_up(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        kit.far.put("a", 200)
        kit.plane.belongs("w", "tight")
        step = a_step("w/one", ref("a"), outputs=[(ref("out"), 70)])
        kit.plane.acquire("w", step)
        await kit.until(lambda: world.has("w", "one"))
        assert world.spending.used_up("tight")
        kit.plane.release("w/one", [kit.output(ref("out"), 70)])
        await kit.until(lambda: kit.staged("one"))
        assert kit.far.objects[ref("out")] == b"o" * 70
        assert world.rows()["tight"] == (200, 70, 2)

    play(tmp_path, story, tight=Budget(moved_bytes=150))


def test_sums_outlive_a_kill_and_nothing_is_charged_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        kit = world.kit
        for name in "ab":
            kit.far.put(name, 200)
        kit.plane.belongs("w", "lab")
        await world.read("w", "one", "a")
        for _ in range(200):
            if any(b'"down_bytes":200' in body for _, body in await world.store.items(SPENT)):
                break
            await asyncio.sleep(0.005)
        world.spending = world.keeper()  # the first one is never closed: it was killed
        await world.spending.open()
        assert world.rows() == {"lab": (200, 0, 1)}
        await world.spending.close()

    play(tmp_path, story)


def test_days_are_added_up_by_period_and_forgotten_after_a_year() -> None:
    async def run() -> None:
        store, clock = MemoryStore(), Clock()
        clock.time = MONTH_END - 2 * 86_400
        keeper = SpendingKeeper(
            store, clock, budgets={"day": Budget(moved_bytes=100, period="day"), "*": Budget(moved_bytes=150)}
        )
        await keeper.open()
        for _ in range(3):
            for namespace in ("day", "lab"):
                keeper.moved(namespace, "far", down=60)
            clock.time += 86_400
        views = {one.namespace: one for one in keeper.budgets()}
        assert (views["day"].moved_bytes, views["day"].used_up) == (0, ""), "of today"
        assert (views["lab"].moved_bytes, views["lab"].source) == (0, "settings"), "December has begun"
        days = [row.day for row in keeper.spent(namespace="lab")]
        assert days == ["2026-11-28", "2026-11-29", "2026-11-30"]
        assert [row.day for row in keeper.spent(namespace="lab", since="2026-11-29", until="2026-11-29")] == ["2026-11-29"]
        with pytest.raises(Refused, match="since is 'yesterday', which is no day"):
            keeper.spent(since="yesterday")
        await keeper.close()
        clock.time += 500 * 86_400
        later = SpendingKeeper(store, clock)
        await later.open()
        assert (later.spent(), await store.items(SPENT)) == ([], [])
        await later.close()

    asyncio.run(run())


def test_what_makes_no_sense_is_refused_and_prices_of_the_time_stay() -> None:
    async def run() -> None:
        store, clock = MemoryStore(), Clock()
        keeper = SpendingKeeper(store, clock, prices=PRICES, free=frozenset({"here"}))
        await keeper.open()
        keeper.moved("lab", "far", down=10**9)
        keeper.moved("lab", "here", down=10**9)
        await keeper.set_prices("far", Prices(price_per_GB_down=1.0, currency="USD"))
        keeper.moved("lab", "far", down=10**9)
        found = {row.currency: row.money for row in keeper.spent()}
        assert found == {"EUR": pytest.approx(10.0), "USD": pytest.approx(1.0)}
        for prices, said in (
            (Prices(price_per_GB_up=-1.0, currency="EUR"), "price_per_GB_up = -1.0 is no price"),
            (Prices(price_per_GB_down=float("nan"), currency="EUR"), "is no price"),
            (Prices(price_per_GB_down=1.0), "currency = '' is none"),
        ):
            with pytest.raises(Refused, match=said):
                await keeper.set_prices("far", prices)
        for budget, said in ((Budget(moved_bytes=-1), "is no number of bytes"), (Budget(money={"E UR": 1.0}), "is none")):
            with pytest.raises(Refused, match=said):
                await keeper.set_budgets({"lab": budget})
        await keeper.set_prices("far", None)
        assert keeper.prices("far") == PRICES["far"]
        await keeper.close()
        rows = [row for _, body in await store.items(SPENT) for row in msgspec.json.decode(body, type=list[Spent])]
        assert {row.remote for row in rows} == {"far"}

    asyncio.run(run())
