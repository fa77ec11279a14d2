"""What every near store must do: inherit `PrimaryContract` and say how to make a world.

The suite seeds the far store and spoils the near one behind the primary's back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jitflow.model.data import ObjectInfo, ObjectRef, Replica, ReplicaState
from jitflow.model.problems import Refused
from jitflow.ports.errors import ObjectMissing, SourceChanged
from jitflow.ports.primary import Contents, Held, Lost, Primary
from jitflow.ports.storage import Storage
from jitflow.testing.machine import files_in


async def whole(primary: Primary, *, quick: bool = False) -> Contents:
    """Return all parts of what is in a primary; none of them may come twice."""
    held: dict[str, Held | None] = {}
    strangers: dict[str, int] = {}
    async for part in primary.contents(quick=quick):
        assert not held.keys() & part.held.keys()
        assert not strangers.keys() & part.strangers.keys()
        held.update(part.held)
        strangers.update(part.strangers)
    return Contents(held=held, strangers=strangers)


@dataclass(kw_only=True)
class PrimaryWorld:
    """A primary that is not open yet, over stores that are.

    `far`: a prefix of the far store that can be used. `seed` puts objects below it, `spoil` writes a file below the primary's
    root, by its name there (None: removes it); both bypass the primary. `again` makes another primary at the same place.
    """

    primary: Primary
    again: Callable[[], Primary]
    storage: Storage
    far: ObjectRef
    seed: Callable[[Mapping[str, bytes]], Awaitable[None]]
    spoil: Callable[[str, bytes | None], Awaitable[None]]

    def ref(self, path: str) -> ObjectRef:
        """Return an object of the far store."""
        return ObjectRef(remote=self.far.remote, path=f"{self.far.path}{path}")

    async def receive(self, path: str) -> Replica:
        """Look an object up, receive it, and return its replica."""
        info = await self.storage.stat(self.ref(path))
        location = self.primary.location(info.ref, info.version)
        received = await self.primary.receive(info, location, _ignore)
        return replica(info.ref, received.held, location)

    async def read(self, one: Replica) -> dict[str, bytes]:
        """Return what a pod finds where a replica is delivered."""
        paths = self.primary.at_hand([one]) or await self.primary.deliver("w/read", [one])
        found = files_in(Path(paths[one.location]))
        self.primary.give_back("w/read")
        return found


def replica(ref: ObjectRef, held: Held, location: str) -> Replica:
    """Return the catalogue's row of what lies at a location."""
    size, stamp = held.size_bytes, held.stamp
    return Replica(ref=ref, size_bytes=size, state=ReplicaState.RESIDENT, location=location, stamp=stamp)


def _ignore(done_bytes: int) -> None:
    del done_bytes


class PrimaryContract:
    """Numbered as `P1` … so that documents can cite a rule."""

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[PrimaryWorld]:
        """Return a new world; entered inside a running event loop."""
        raise NotImplementedError

    def _run(self, tmp_path: Path, story: Callable[[PrimaryWorld], Awaitable[None]]) -> None:
        async def tell() -> None:
            async with self.world(tmp_path) as world:
                await world.primary.open()
                await story(world)
                await world.primary.close()

        asyncio.run(tell())

    def test_p1_what_was_received_is_there_whole(self, tmp_path: Path) -> None:
        """P1: an object, an empty one, and a tree; progress ends with the size."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"a": b"content", "empty": b"", "d/x": b"one", "d/e/y": b"three"})
            rows = [await world.receive(path) for path in ("a", "empty", "d/")]
            assert [row.size_bytes for row in rows] == [7, 0, 8]
            contents = await whole(world.primary)
            assert {name: held.size_bytes for name, held in contents.held.items() if held} == {
                row.location: row.size_bytes for row in rows
            }
            assert contents.strangers == {}
            assert await world.read(rows[0]) == {"": b"content"}
            assert await world.read(rows[1]) == {"": b""}
            assert await world.read(rows[2]) == {"x": b"one", "e/y": b"three"}
            done: list[int] = []
            info = await world.storage.stat(world.ref("a"))
            await world.primary.receive(info, world.primary.location(info.ref, "other"), done.append)
            assert done[-1] == 7

        self._run(tmp_path, story)

    def test_p2_a_changed_source_leaves_nothing(self, tmp_path: Path) -> None:
        """P2: nor does one that is missing."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"a": b"content"})
            before = await world.storage.stat(world.ref("a"))
            await world.seed({"a": b"something else"})
            with pytest.raises(SourceChanged, match="changed"):
                await world.primary.receive(before, world.primary.location(before.ref, "1"), _ignore)
            missing = ObjectInfo(ref=world.ref("b"), size_bytes=3)
            with pytest.raises(ObjectMissing):
                await world.primary.receive(missing, world.primary.location(missing.ref, "1"), _ignore)
            assert (await whole(world.primary)).held == {}

        self._run(tmp_path, story)

    def test_p3_outputs_are_taken_in_and_sent_out(self, tmp_path: Path) -> None:
        """P3: files and trees; what the far store has is what the step wrote."""

        async def story(world: PrimaryWorld) -> None:
            (tmp_path / "file").write_bytes(b"result")
            (tmp_path / "tree" / "below").mkdir(parents=True)
            (tmp_path / "tree" / "below" / "x").write_bytes(b"deep")
            for source, ref, found in (("file", "out/f", {"": b"result"}), ("tree", "out/t/", {"below/x": b"deep"})):
                location = world.primary.location(world.ref(ref), "step 1")
                held = await world.primary.take(tmp_path / source, location)
                assert await world.read(replica(world.ref(ref), held, location)) == found
                info = await world.primary.send(location, world.ref(ref), _ignore)
                assert info.size_bytes == held.size_bytes
                assert (await world.storage.stat(world.ref(ref))).size_bytes == held.size_bytes
                assert await world.read(await world.receive(ref)) == found

        self._run(tmp_path, story)

    def test_p4_what_was_removed_is_gone(self, tmp_path: Path) -> None:
        """P4: removing it again is no error."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"a": b"content", "d/x": b"one"})
            for path in ("a", "d/"):
                row = await world.receive(path)
                for _ in range(2):
                    rest = world.primary.remove(row.location)
                    if rest is not None:
                        await rest
            assert (await whole(world.primary)).held == {}

        self._run(tmp_path, story)

    def test_p5_nobody_gets_what_somebody_has_changed(self, tmp_path: Path) -> None:
        """P5: changed in size, changed in content alone, or removed; what is right is still to be had."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({name: b"content" for name in "abcd"})
            rows = {name: await world.receive(name) for name in "abcd"}
            await asyncio.sleep(1.1)  # stores tell times in seconds
            await world.spoil(rows["a"].location, b"longer than before")
            await world.spoil(rows["b"].location, b"CONTENT")
            await world.spoil(rows["c"].location, None)
            for name in "abc":
                with pytest.raises(Lost) as caught:
                    await world.read(rows[name])
                assert caught.value.locations == (rows[name].location,)
                assert name in str(caught.value)
                world.primary.give_back("w/read")
            assert await world.read(rows["d"]) == {"": b"content"}

        self._run(tmp_path, story)

    def test_p6_strangers_are_told_apart(self, tmp_path: Path) -> None:
        """P6: whatever is below the root and has no name of ours."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"a": b"content"})
            row = await world.receive("a")
            await world.spoil("notes.txt", b"mine")
            await world.spoil("objects/ab/notes", b"hers")
            contents = await whole(world.primary)
            assert list(contents.held) == [row.location]
            assert contents.strangers == {"notes.txt": 4, "objects/ab/notes": 4}
            quick = await whole(world.primary, quick=True)
            assert (list(quick.held), quick.strangers) == ([row.location], contents.strangers)

        self._run(tmp_path, story)

    def test_p7_it_is_found_again(self, tmp_path: Path) -> None:
        """P7: another life finds what there was, with the same stamps of files."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"a": b"content", "d/x": b"one"})
            rows = [await world.receive(path) for path in ("a", "d/")]
            await world.primary.close()
            later = world.again()
            await later.open()
            held = (await whole(later)).held
            assert held[rows[0].location] == Held(size_bytes=7, stamp=rows[0].stamp)
            tree = held[rows[1].location]
            assert tree is not None
            assert tree.size_bytes == 3
            world.primary = later

        self._run(tmp_path, story)

    def test_p8_a_place_that_is_not_ours_is_refused(self, tmp_path: Path) -> None:
        """P8: nothing in it is touched."""

        async def tell() -> None:
            async with self.world(tmp_path) as world:
                await world.spoil("precious.txt", b"data")
                with pytest.raises(Refused, match=r"precious\.txt"):
                    await world.primary.open()
                await world.primary.close()

        asyncio.run(tell())

    def test_p9_steps_read_the_same_copy(self, tmp_path: Path) -> None:
        """P9: at the same time, and one still reads when the other has given it back."""

        async def story(world: PrimaryWorld) -> None:
            await world.seed({"d/x": b"one", "d/y": b"two"})
            row = await world.receive("d/")
            one, other = await asyncio.gather(*(world.primary.deliver(step, [row]) for step in ("w/1", "w/2")))
            assert one == other
            world.primary.give_back("w/1")
            assert files_in(Path(other[row.location])) == {"x": b"one", "y": b"two"}
            world.primary.give_back("w/2")
            world.primary.give_back("w/2")

        self._run(tmp_path, story)
