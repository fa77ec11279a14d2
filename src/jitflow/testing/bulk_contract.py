"""What every Bulk must do: inherit `BulkContract` and say how to make a world."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jitflow.model.bandwidth import Rate
from jitflow.model.data import ObjectRef
from jitflow.ports.bulk import Bulk, BulkOrder, BulkProgress
from jitflow.ports.errors import FixRequest, RemoteUnknown

ODD = ("a b.txt", "größe-中文.dat", "[x]{y}*.txt", "deep/er/x=1,y:2.csv", "-dash", "plus+and&%23#?.txt")


@dataclass(kw_only=True)
class BulkWorld:
    """Two prefixes, `source` and `target`; `seed` writes below the first, `read` reads below both, behind the back of `bulk`."""

    bulk: Bulk
    source: ObjectRef
    target: ObjectRef
    seed: Callable[[Mapping[str, bytes]], Awaitable[None]]
    read: Callable[[ObjectRef], dict[str, bytes]]

    async def copy(self, *paths: str, rules: tuple[str, ...] = ()) -> list[BulkProgress]:
        """Copy these paths, or all that rules let through; return what was told."""
        told: list[BulkProgress] = []
        order = BulkOrder(source=self.source, destination=self.target, paths=paths or None, rules=rules)
        await self.bulk.perform(order, told.append)
        return told

    async def names(self, ref: ObjectRef, *rules: str) -> set[str]:
        """Return the paths of a listing."""
        return {info.ref.path.removeprefix(ref.path) for info in await self.bulk.tree(ref, rules)}


class BulkContract:
    """Numbered as `B1` … so that documents can cite a rule."""

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[BulkWorld]:
        """Return a world."""
        raise NotImplementedError

    async def _play(self, tmp_path: Path, scenario: Callable[[BulkWorld], Awaitable[None]]) -> None:
        async with self.world(tmp_path) as world:
            await scenario(world)

    def test_b1_nothing_is_an_empty_tree(self, tmp_path: Path) -> None:
        """Whether the prefix exists or not."""

        async def scenario(world: BulkWorld) -> None:
            assert await world.names(world.target) == set()
            assert await world.names(world.target, "- *.tmp") == set()

        asyncio.run(self._play(tmp_path, scenario))

    def test_b2_trees_are_listed_by_rules(self, tmp_path: Path) -> None:
        """The first rule that fits decides."""

        async def scenario(world: BulkWorld) -> None:
            await world.seed({name: name.encode() for name in (*ODD, "x.tmp", "deep/y.tmp")})
            assert await world.names(world.source) == {*ODD, "x.tmp", "deep/y.tmp"}
            assert await world.names(world.source, "- *.tmp") == set(ODD)
            named = (r"+ /\[x\]\{y\}\*.txt", "+ /deep/y.tmp", "- *")
            assert await world.names(world.source, *named) == {"[x]{y}*.txt", "deep/y.tmp"}
            sizes = {info.ref.path: info.size_bytes for info in await world.bulk.tree(world.source, ["+ *.tmp", "- *"])}
            assert sizes == {f"{world.source.path}x.tmp": 5, f"{world.source.path}deep/y.tmp": 10}

        asyncio.run(self._play(tmp_path, scenario))

    def test_b3_all_that_rules_let_through_is_copied(self, tmp_path: Path) -> None:
        """What lies at the destination besides stays; what is there under the same name is replaced."""

        async def scenario(world: BulkWorld) -> None:
            files = {name: name.encode() for name in ODD}
            await world.seed({**files, "x.tmp": b"no"})
            told = await world.copy(rules=("- *.tmp",))
            assert world.read(world.target) == files
            assert (told[-1].files_done, told[-1].moved_bytes) == (len(ODD), sum(map(len, files.values())))
            await world.seed({"-dash": b"changed"})
            await world.copy(rules=("+ /-dash", "- *"))
            assert world.read(world.target) == {**files, "-dash": b"changed"}

        asyncio.run(self._play(tmp_path, scenario))

    def test_b4_named_files_are_copied_and_deleted(self, tmp_path: Path) -> None:
        """Odd names included; a name that is not there is no error."""

        async def scenario(world: BulkWorld) -> None:
            files = {name: name.encode() for name in ODD}
            await world.seed(files)
            await world.copy(*ODD[1:])
            assert world.read(world.target) == {name: files[name] for name in ODD[1:]}
            told: list[BulkProgress] = []
            await world.bulk.perform(BulkOrder(source=world.target, paths=(ODD[2], ODD[3], "none")), told.append)
            assert world.read(world.target).keys() == {*ODD[1:]} - {ODD[2], ODD[3]}
            assert told[-1].files_done == 2
            assert world.read(world.source) == files

        asyncio.run(self._play(tmp_path, scenario))

    def test_b5_rules_and_remotes_that_cannot_be(self, tmp_path: Path) -> None:
        """Are refused."""

        async def scenario(world: BulkWorld) -> None:
            await world.bulk.check(["- *.tmp", "+ *"])
            with pytest.raises(FixRequest):
                await world.bulk.check(["- [a"])
            nowhere = ObjectRef(remote="nowhere", path="x/")
            with pytest.raises(RemoteUnknown):
                await world.bulk.tree(nowhere)
            with pytest.raises(RemoteUnknown):
                await world.bulk.perform(BulkOrder(source=world.source, destination=nowhere), lambda _: None)

        asyncio.run(self._play(tmp_path, scenario))

    def test_b6_a_lane_of_its_own(self, tmp_path: Path) -> None:
        """Copies like any other."""

        async def scenario(world: BulkWorld) -> None:
            await world.seed({"a": b"a" * 1000})
            async with world.bulk.lane("job-1", Rate(up_Bps=2**20, down_Bps=2**20)) as change:
                change(Rate(up_Bps=2**21, down_Bps=2**21))
                order = BulkOrder(source=world.source, destination=world.target, lane="job-1")
                await world.bulk.perform(order, lambda _: None)
            assert world.read(world.target) == {"a": b"a" * 1000}
            await world.copy()

        asyncio.run(self._play(tmp_path, scenario))

    def test_b7_small_files(self, tmp_path: Path) -> None:
        """Come as others do, though less is asked about each."""

        async def scenario(world: BulkWorld) -> None:
            files = {name: name.encode() for name in (*ODD, "empty")} | {"empty": b""}
            await world.seed(files)
            told: list[BulkProgress] = []
            order = BulkOrder(source=world.source, destination=world.target, small=True)
            await world.bulk.perform(order, told.append)
            assert world.read(world.target) == files
            assert told[-1].files_done == len(files)
            sizes = {info.ref.path: info.size_bytes for info in await world.bulk.tree(world.target)}
            assert sizes == {f"{world.target.path}{name}": len(data) for name, data in files.items()}

        asyncio.run(self._play(tmp_path, scenario))
