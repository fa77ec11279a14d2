"""What every Storage must do: inherit `StorageContract` and say how to make a world.

The suite seeds and reads behind the storage's back.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.ports.errors import FixRequest, ObjectMissing, RemoteUnknown, SourceChanged
from jitflow.ports.storage import Storage
from jitflow.testing.machine import files_in

BUCKET = "bucket"
ODD_KEYS = (
    "a b.txt",
    "größe-中文.dat",
    "plus+and&%23#?.txt",
    "quote'\"`$(x);.txt",
    "deep/er/und er/x=1,y:2.csv",
    "[x]{y}*.txt",
    "-dash",
)


@dataclass(kw_only=True)
class StorageWorld:
    """A storage with a remote `remote` in which `bucket/` can be used; `seed` and `read` bypass the storage."""

    storage: Storage
    remote: str
    seed: Callable[[Mapping[str, bytes]], Awaitable[None]]
    read: Callable[[str], bytes | None]

    def ref(self, path: str) -> ObjectRef:
        """Return a reference below the bucket."""
        return ObjectRef(remote=self.remote, path=f"{BUCKET}/{path}")

    async def fetch(self, path: str, target: Path) -> ObjectInfo:
        """Look an object up and fetch it."""
        return await self.storage.fetch(await self.storage.stat(self.ref(path)), target, _ignore)


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.exists() else []


def _ignore(done_bytes: int) -> None:
    del done_bytes


class StorageContract:
    """Numbered as `S1` … so that documents can cite a rule."""

    def world(self, tmp_path: Path) -> AbstractAsyncContextManager[StorageWorld]:
        """Return a new world; entered inside a running event loop."""
        raise NotImplementedError

    def _run(self, tmp_path: Path, story: Callable[[StorageWorld], Awaitable[None]]) -> None:
        async def tell() -> None:
            async with self.world(tmp_path) as world:
                await story(world)

        asyncio.run(tell())

    def test_s1_stat_tells_size_and_a_version_that_changes_with_the_content(self, tmp_path: Path) -> None:
        """S1."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": b"one"})
            first = await world.storage.stat(world.ref("x"))
            assert (first.ref, first.size_bytes, first.count) == (world.ref("x"), 3, 1)
            assert (await world.storage.stat(world.ref("x"))).version == first.version
            await world.seed({"x": b"three"})
            assert (await world.storage.stat(world.ref("x"))).version != first.version

        self._run(tmp_path, story)

    def test_s2_what_is_not_there_is_missing(self, tmp_path: Path) -> None:
        """S2: objects, prefixes, buckets, and a directory that is asked for as an object."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"d/x": b"one"})
            elsewhere = ObjectRef(remote=world.remote, path="no-such-bucket/x")
            for ref in (world.ref("y"), world.ref("d"), world.ref("e/"), elsewhere):
                with pytest.raises(ObjectMissing, match=ref.path.rsplit("/", 1)[-1] or "e/"):
                    await world.storage.stat(ref)
            with pytest.raises(ObjectMissing):
                await world.storage.fetch(ObjectInfo(ref=world.ref("y"), size_bytes=3), tmp_path / "y", _ignore)
            assert not (tmp_path / "y").exists()

        self._run(tmp_path, story)

    def test_s3_an_unknown_remote_is_named(self, tmp_path: Path) -> None:
        """S3."""

        async def story(world: StorageWorld) -> None:
            ref = ObjectRef(remote="nowhere", path="bucket/x")
            (tmp_path / "x").write_bytes(b"x")
            with pytest.raises(RemoteUnknown, match="nowhere"):
                await world.storage.stat(ref)
            with pytest.raises(RemoteUnknown, match="nowhere"):
                await world.storage.fetch(ObjectInfo(ref=ref, size_bytes=1), tmp_path / "y", _ignore)
            with pytest.raises(RemoteUnknown, match="nowhere"):
                await world.storage.store(tmp_path / "x", ref, _ignore)
            with pytest.raises(RemoteUnknown, match="nowhere"):
                await world.storage.delete(ref)
            with pytest.raises(RemoteUnknown, match="nowhere"):
                await world.storage.test("nowhere")
            await world.storage.test(world.remote)

        self._run(tmp_path, story)

    def test_s4_paths_that_leave_their_root_are_refused(self, tmp_path: Path) -> None:
        """S4."""

        async def story(world: StorageWorld) -> None:
            for path in ("../x", "a/../../x", "a/./x", "a//x", ".."):
                with pytest.raises(FixRequest):
                    await world.storage.stat(world.ref(path))
                with pytest.raises(FixRequest):
                    await world.storage.delete(world.ref(path))

        self._run(tmp_path, story)

    def test_s5_a_fetched_file_is_the_object(self, tmp_path: Path) -> None:
        """S5: odd keys, an empty object, and progress that ends with the size."""

        async def story(world: StorageWorld) -> None:
            objects = {key: key.encode() * 3 for key in ODD_KEYS} | {"empty": b"", "larger": bytes(range(256)) * 4000}
            await world.seed(objects)
            done: list[int] = []
            for number, (key, data) in enumerate(objects.items()):
                info = await world.storage.stat(world.ref(key))
                read = await world.storage.fetch(info, tmp_path / f"got-{number}", done.append)
                assert (tmp_path / f"got-{number}").read_bytes() == data
                assert (read.ref, read.size_bytes, read.version) == (world.ref(key), len(data), info.version)
                assert done[-1] == len(data)

        self._run(tmp_path, story)

    def test_s6_a_fetched_prefix_is_a_directory(self, tmp_path: Path) -> None:
        """S6: and its stat is the sum."""

        async def story(world: StorageWorld) -> None:
            objects = {"p/x": b"1", "p/d/y z": b"22", "p/d/e/ü": b"", "pp/other": b"no"}
            await world.seed(objects)
            info = await world.storage.stat(world.ref("p/"))
            assert (info.ref, info.size_bytes, info.count) == (world.ref("p/"), 3, 3)
            read = await world.storage.fetch(info, tmp_path / "got", _ignore)
            assert (read.version, read.size_bytes, read.count) == (info.version, 3, 3)
            assert files_in(tmp_path / "got") == {"x": b"1", "d/y z": b"22", "d/e/ü": b""}
            await world.seed({"p/d/new": b"4444"})
            assert (await world.storage.stat(world.ref("p/"))).version != info.version

        self._run(tmp_path, story)

    def test_s7_a_listing_names_objects_and_directories(self, tmp_path: Path) -> None:
        """S7."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": b"1", "d/y": b"22", "d/e/z": b"333"})
            flat = {info.ref: info async for info in world.storage.list(world.ref(""))}
            assert {ref.path: info.size_bytes for ref, info in flat.items()} == {f"{BUCKET}/x": 1, f"{BUCKET}/d/": 0}
            deep = {
                info.ref.path: info
                async for info in world.storage.list(world.ref("d/"), recursive=True)
                if not info.ref.is_prefix
            }
            assert {path: info.size_bytes for path, info in deep.items()} == {f"{BUCKET}/d/y": 2, f"{BUCKET}/d/e/z": 3}
            listed = deep[f"{BUCKET}/d/y"]
            assert listed.version == (await world.storage.stat(world.ref("d/y"))).version

        self._run(tmp_path, story)

    def test_s8_many_stats_are_like_one_each(self, tmp_path: Path) -> None:
        """S8: with an error for each object that cannot be looked up."""

        async def story(world: StorageWorld) -> None:
            await world.seed({f"d/{number}": b"x" * number for number in range(8)} | {"e/alone": b"y"})
            there = [world.ref(f"d/{number}") for number in range(8)] + [world.ref("e/alone"), world.ref("d/")]
            gone = [world.ref("d/none"), world.ref("none/x"), ObjectRef(remote="nowhere", path="x")]
            found = await world.storage.stat_many([*there, *gone, there[0]])
            assert list(found) == [*there, *gone]
            for ref in there:
                assert found[ref] == await world.storage.stat(ref)
            assert [type(found[ref]) for ref in gone] == [ObjectMissing, ObjectMissing, RemoteUnknown]
            assert await world.storage.stat_many([]) == {}

        self._run(tmp_path, story)

    def test_s9_a_stored_file_is_there_and_replaces(self, tmp_path: Path) -> None:
        """S9."""

        async def story(world: StorageWorld) -> None:
            source = tmp_path / "a: source [1] ü.bin"
            for data in (b"first", b"other", b"", b"longer than before"):
                source.write_bytes(data)
                done: list[int] = []
                info = await world.storage.store(source, world.ref("out/deep/r 1.bin"), done.append)
                assert world.read("out/deep/r 1.bin") == data
                assert (info.ref, info.size_bytes, done[-1]) == (world.ref("out/deep/r 1.bin"), len(data), len(data))
                assert (await world.storage.stat(info.ref)).version == info.version
            with pytest.raises(FixRequest):
                await world.storage.store(tmp_path / "absent", world.ref("out/absent"), _ignore)
            with pytest.raises(FixRequest):
                await world.storage.store(source, world.ref("out/dir/"), _ignore)

        self._run(tmp_path, story)

    def test_s10_a_stored_directory_is_a_prefix(self, tmp_path: Path) -> None:
        """S10: beside what was there before."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"out/old": b"old"})
            source = tmp_path / "source"
            (source / "d e").mkdir(parents=True)
            (source / "x").write_bytes(b"1")
            (source / "d e" / "ü").write_bytes(b"22")
            info = await world.storage.store(source, world.ref("out/"), _ignore)
            assert (info.ref, info.size_bytes, info.count) == (world.ref("out/"), 6, 3)
            assert [world.read(path) for path in ("out/x", "out/d e/ü", "out/old")] == [b"1", b"22", b"old"]

        self._run(tmp_path, story)

    def test_s11_deleting_is_harmless_to_repeat(self, tmp_path: Path) -> None:
        """S11."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": b"1", "d/y": b"2", "d/e/z": b"3", "dd": b"4"})
            for _ in range(2):
                await world.storage.delete(world.ref("x"))
                await world.storage.delete(world.ref("d/"))
            assert [world.read(path) for path in ("x", "d/y", "d/e/z", "dd")] == [None, None, None, b"4"]
            with pytest.raises(FixRequest):
                await world.storage.delete(ObjectRef(remote=world.remote, path=""))

        self._run(tmp_path, story)

    def test_s12_an_object_that_changed_since_is_not_taken(self, tmp_path: Path) -> None:
        """S12: files and prefixes; nothing is left under the target's name."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": b"one", "p/y": b"two"})
            file, prefix = await world.storage.stat(world.ref("x")), await world.storage.stat(world.ref("p/"))
            await world.seed({"x": b"three", "p/y": b"four"})
            for info in (file, prefix):
                with pytest.raises(SourceChanged):
                    await world.storage.fetch(info, tmp_path / "got", _ignore)
                assert not [name for name in os.listdir(tmp_path) if name.startswith("got")]
            assert (await world.fetch("x", tmp_path / "got")).size_bytes == 5

        self._run(tmp_path, story)

    def test_s13_a_fetch_without_a_version_takes_what_is_there(self, tmp_path: Path) -> None:
        """S13."""

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": b"one"})
            bare = ObjectInfo(ref=world.ref("x"), size_bytes=0)
            read = await world.storage.fetch(bare, tmp_path / "got", _ignore)
            assert (read.size_bytes, (tmp_path / "got").read_bytes()) == (3, b"one")
            assert msgspec.structs.replace(read, hashes={}).version == (await world.storage.stat(world.ref("x"))).version

        self._run(tmp_path, story)

    def test_s14_many_transfers_at_once(self, tmp_path: Path) -> None:
        """S14."""

        async def story(world: StorageWorld) -> None:
            objects = {f"m/{number:03}": str(number).encode() * 50 for number in range(150)}
            await world.seed(objects)
            (tmp_path / "got").mkdir()
            infos = await world.storage.stat_many([world.ref(path) for path in objects])
            async with asyncio.TaskGroup() as group:
                for ref, info in infos.items():
                    assert isinstance(info, ObjectInfo)
                    group.create_task(world.storage.fetch(info, tmp_path / "got" / ref.path.rsplit("/", 1)[1], _ignore))
            # Those that came together had a folder of their own on the way, which may still be about to go.
            got = {f"m/{name}": data for name, data in files_in(tmp_path / "got").items() if ".jitflow-" not in name}
            assert got == objects

        self._run(tmp_path, story)

    @pytest.mark.parametrize(("offset", "count"), [(0, None), (0, 5), (7, None), (199_990, 5), (199_990, 500), (200_000, None)])
    def test_s15_an_object_is_read_from_any_place(self, tmp_path: Path, offset: int, count: int | None) -> None:
        """S15."""
        data = os.urandom(200_000)

        async def story(world: StorageWorld) -> None:
            await world.seed({"x": data})
            got = [chunk async for chunk in world.storage.read(world.ref("x"), offset=offset, count=count)]
            assert b"".join(got) == data[offset:][:count]

        self._run(tmp_path, story)

    def test_s16_odd_names_can_be_read_and_what_is_missing_cannot(self, tmp_path: Path) -> None:
        """S16."""

        async def story(world: StorageWorld) -> None:
            await world.seed({key: key.encode() for key in ODD_KEYS})
            for key in ODD_KEYS:
                assert b"".join([chunk async for chunk in world.storage.read(world.ref(key))]) == key.encode()
            with pytest.raises(ObjectMissing):
                _ = [chunk async for chunk in world.storage.read(world.ref("gone"))]

        self._run(tmp_path, story)

    def test_s17_a_large_object_comes_in_ranges(self, tmp_path: Path) -> None:
        """S17: with its bytes in their places."""
        data = os.urandom(2**20) * 41 + b"end"

        async def story(world: StorageWorld) -> None:
            await world.seed({"large": data})
            info = await world.storage.stat(world.ref("large"))
            done: list[int] = []
            read = await world.storage.fetch(info, tmp_path / "got", done.append, parts=5)
            assert (read.version, done[-1], done) == (info.version, len(data), sorted(done))
            assert (tmp_path / "got").read_bytes() == data
            assert os.listdir(tmp_path) == [name for name in os.listdir(tmp_path) if not name.startswith(".")]

        self._run(tmp_path, story)

    def test_s18_what_has_come_of_a_large_object_may_be_kept(self, tmp_path: Path) -> None:
        """S18: with `kept` a later fetch may go on, and gives the object as it is; without, nothing is left."""
        data = os.urandom(2**20) * 40

        async def story(world: StorageWorld) -> None:
            await world.seed({"large": data})
            info = await world.storage.stat(world.ref("large"))
            for kept in (None, tmp_path / "kept"):
                before = set(os.listdir(tmp_path))
                async with asyncio.TaskGroup() as group:
                    begun = asyncio.Event()
                    task = group.create_task(
                        world.storage.fetch(info, tmp_path / "got", lambda done, told=begun: told.set(), kept=kept)
                    )
                    await begun.wait()
                    task.cancel()
                assert set(os.listdir(tmp_path)) - {"got"} - before <= ({"kept"} if kept else set())
                (tmp_path / "got").unlink(missing_ok=True)
            await world.storage.fetch(info, tmp_path / "got", _ignore, parts=2, kept=tmp_path / "kept")
            assert (tmp_path / "got").read_bytes() == data
            assert not (tmp_path / "kept").exists()

        self._run(tmp_path, story)

    def test_s19_what_was_stored_is_known_again_and_nothing_else(self, tmp_path: Path) -> None:
        """S19: an object with the same bytes is found by its hash; another one, or none, is not."""

        async def story(world: StorageWorld) -> None:
            storage, ref, prefix = world.storage, world.ref("here/again.bin"), world.ref("here/tree/")
            source, tree = tmp_path / "again.bin", tmp_path / "again"
            source.write_bytes(b"some bytes")
            (tree / "deep").mkdir(parents=True)
            (tree / "deep" / "x").write_bytes(b"x" * 10)
            assert await storage.verify(source, ref) is None
            assert await storage.verify(tree, prefix) is None
            stored = await storage.store(source, ref, _ignore)
            await storage.store(tree, prefix, _ignore)
            found = await storage.verify(source, ref)
            assert found is None or (found.size_bytes, found.version) == (10, stored.version)
            if stored.hashes:
                assert found is not None
                assert await storage.verify(tree, prefix) is not None
            source.write_bytes(b"some OTHER")
            (tree / "more").write_bytes(b"y")
            assert await storage.verify(source, ref) is None
            assert await storage.verify(tree, prefix) is None

        self._run(tmp_path, story)

    def test_s20_what_is_on_its_way_lies_apart(self, tmp_path: Path) -> None:
        """S20: in the directory that was named for it; that of the target is made, and never holds anything else."""

        async def story(world: StorageWorld) -> None:
            objects = {f"o{number}": bytes([number]) * 5000 for number in range(6)} | {"larger": bytes(range(256)) * 8000}
            await world.seed(objects)
            scratch = tmp_path / "scratch"
            scratch.mkdir()
            seen: set[str] = set()

            async def fetch(name: str) -> None:
                target, info = str(tmp_path / "there" / name), await world.storage.stat(world.ref(name))
                await world.storage.fetch(info, target, lambda _: seen.update(_names(tmp_path / "there")), scratch=str(scratch))
                seen.update(_names(tmp_path / "there"))

            async with asyncio.TaskGroup() as group:
                for name in objects:
                    group.create_task(fetch(name))
            assert files_in(tmp_path / "there") == objects
            assert seen == objects.keys()
            for _ in range(500):  # what has come is there before what it came by is cleared away
                if _names(scratch):
                    await asyncio.sleep(0.01)
            assert not _names(scratch)

        self._run(tmp_path, story)
