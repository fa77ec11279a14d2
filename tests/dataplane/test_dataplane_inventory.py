"""Listings that are kept: what is asked of a store, for how long, and what becomes of what has changed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from far_store import FarStore, Kit, a_step, ref

from jitflow.dataplane import Inventory
from jitflow.model.data import ObjectInfo
from jitflow.model.problems import Refused
from jitflow.ports.errors import ObjectMissing


class Listed(FarStore):
    """Counts listings."""

    listings = 0

    async def list(self, one: Any, *, recursive: bool = False) -> Any:
        type(self).listings += 1
        for other in sorted(self.objects):
            if other.path.startswith(one.path) and (recursive or "/" not in other.path[len(one.path) :]):
                yield self._info(other)


def play(tmp: Path, story: Callable[[Kit, Inventory], Awaitable[None]], *, most: int = 1000) -> None:
    async def run() -> None:
        kit = Kit(tmp, 100_000)
        kit.far = Listed()
        Listed.listings = 0
        inventory = Inventory(kit.far, kit.clock, age_s=60.0, ages={"slow": 0.0}, most=most)
        kit.options["inventory"] = inventory
        kit.plane = kit.make()
        await kit.start()
        try:
            await story(kit, inventory)
            assert kit.plane._core.planner.audit() == ()
        finally:
            await kit.plane.close()

    asyncio.run(run())


def stats(kit: Kit) -> int:
    return sum(1 for operation, _ in kit.far.calls if operation == "stat")


def test_many_objects_cost_one_listing_and_none_within_its_age(tmp_path: Path) -> None:
    async def story(kit: Kit, inventory: Inventory) -> None:
        steps = [a_step(f"s{n}", kit.far.put(f"d/o{n}", 10)) for n in range(50)]
        await kit.plane.admit("w", steps, "lab")
        await kit.plane.admit("v", steps, "lab")
        assert (Listed.listings, stats(kit)) == (1, 0)
        kit.clock.time += 61
        await kit.plane.admit("u", steps, "lab")
        assert (Listed.listings, stats(kit)) == (2, 0)
        late = kit.far.put("d/late", 10)
        await kit.plane.admit("t", [a_step("late", late)], "lab")
        assert (Listed.listings, stats(kit)) == (2, 1), "what a kept listing does not name may have come since"
        gone = [ref(f"d/no{n}") for n in range(4)]
        answers = await inventory.stat_many(gone)
        assert all(isinstance(answer, ObjectMissing) for answer in answers.values())
        assert isinstance((await inventory.stat_many([late], fresh=True))[late], ObjectInfo)

    play(tmp_path, story)


def test_what_changed_at_its_source_is_stale_and_fetched_again(tmp_path: Path) -> None:
    async def story(kit: Kit, inventory: Inventory) -> None:
        objects = [kit.far.put(f"d/{name}", 10) for name in "abcde"]
        kit.plane.belongs("w", "lab")
        for one in objects[:3]:
            await kit.plane.stage(one)
        first = await inventory.refresh(ref("d/"))
        assert (first.objects, first.changes, first.stale) == (5, None, 0)
        kit.far.put("d/a", 12, b"y")
        del kit.far.objects[objects[1]]
        kit.far.put("d/new", 7)
        view = await inventory.refresh(ref("d/"))
        found = view.changes
        assert found is not None
        assert (found.added_names, found.changed_names, found.removed_names) == (("new",), ("a",), ("b",))
        assert view.stale == 2
        before = kit.far.count("fetch", objects[0])
        kit.plane.acquire("w", a_step("reads", objects[0], objects[2]))
        await kit.until(lambda: kit.lease("reads"))
        assert (kit.far.count("fetch", objects[0]), kit.far.count("fetch", objects[2])) == (before + 1, 1)
        page = inventory.page(ref("d/"), limit=3)
        rest = inventory.page(ref("d/"), after=page.next, limit=3)
        assert [one.ref.path for one in (*page.items, *rest.items)] == ["d/a", "d/c", "d/d", "d/e", "d/new"]
        assert (page.next, rest.next) == ("d", "")
        with pytest.raises(Refused, match="no listing of far:x/ is kept"):
            inventory.page(ref("x/"))

    play(tmp_path, story)


def test_a_listing_of_everything_below_a_prefix_answers_for_all_of_it(tmp_path: Path) -> None:
    async def story(kit: Kit, inventory: Inventory) -> None:
        steps = [a_step(f"s{n}", kit.far.put(f"d/{n}/one", 10)) for n in range(20)]
        await inventory.refresh(ref("d/"))
        await kit.plane.admit("w", steps, "lab")
        assert (Listed.listings, stats(kit)) == (1, 0)
        assert [str(one.prefix) for one in inventory.kept()] == ["far:d/"]

    play(tmp_path, story)


def test_no_more_is_kept_than_may_be_and_nothing_of_stores_without_age(tmp_path: Path) -> None:
    async def story(kit: Kit, inventory: Inventory) -> None:
        kit.far.remotes.add("slow")
        for folder in "xyz":
            names = [kit.far.put(f"{folder}/{n}", 1) for n in range(10)]
            await inventory.stat_many(names)
        assert [str(one.prefix) for one in inventory.kept()] == ["far:y/", "far:z/"], "the oldest went"
        kit.far.objects |= {ref(f"x/{n}", "slow"): b"1" for n in range(10)}
        await inventory.stat_many([ref(f"x/{n}", "slow") for n in range(10)])
        assert (len(inventory.kept()), stats(kit)) == (2, 10)

    play(tmp_path, story, most=20)
