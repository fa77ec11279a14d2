"""Checksums of what lies near, and the record of what steps read and write."""

import asyncio
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from far_store import Kit, ref

from jitflow.dataplane.checksums import checksum
from jitflow.dataplane.provenance import Provenance
from jitflow.model.data import FutureInput, FutureStep, ObjectInfo, ObjectRef, Replica, ReplicaState
from jitflow.testing.memory_store import MemoryStore


def packed(path: Path, members: dict[str, bytes], at: float, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(body), at
            archive.addfile(info, io.BytesIO(body))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_the_contents_of_an_archive_do_not_depend_on_its_times(tmp_path: Path, mode: str) -> None:
    one = checksum(packed(tmp_path / "1", {"a": b"x", "b": b"y"}, 1, mode))
    two = checksum(packed(tmp_path / "2", {"a": b"x", "b": b"y"}, 2, mode))
    other = checksum(packed(tmp_path / "3", {"a": b"x", "b": b"z"}, 1, mode))
    assert one.whole != two.whole
    assert one.contents == two.contents != other.contents
    assert one.contents


def test_a_directory_has_the_checksum_of_the_list_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    lines = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in (("a", b"1"), ("sub/b", b"2")))
    assert checksum(tmp_path).whole == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_what_is_no_archive_or_gone_has_no_contents(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x1f\x8bnothing")
    assert checksum(tmp_path / "broken").contents == ""
    assert checksum(tmp_path / "gone").whole == ""


def row(path: str, **more: object) -> Replica:
    fields = {"size_bytes": 1, "state": ReplicaState.RESIDENT, "location": path, "version": "v1"} | more
    return Replica(ref=ObjectRef(remote="far", path=path), **fields)  # type: ignore[arg-type]


def test_the_record_outlives_the_process_and_goes_with_its_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")

    async def play() -> None:
        store = MemoryStore()
        first = Provenance(store)
        first.open()
        known = row("known", content="md5:abc:1")
        first.read("u/n1", [(row("file"), tmp_path / "file", None), (known, None, None)], [ObjectRef(remote="far", path="no")])
        out = ObjectRef(remote="far", path="out")
        first.writes("u/n1", out, tmp_path / "file")
        first.wrote("u/n1", out, "out", 1, ObjectInfo(ref=out, size_bytes=1, version="e", hashes={"md5": "m"}))
        first.read("u2/n1", [(known, None, None)])
        assert [one.step for one in await first.of("u")] == ["u/n1"]
        await first.close()
        second = Provenance(store)
        second.open()
        (seen,) = await second.of("u")
        assert {one.ref: one.checksum for one in seen.read} == {
            "far:file": f"sha256:{hashlib.sha256(b'1').hexdigest()}",
            "far:known": "md5:abc",
        }
        assert [(one.ref, one.name, one.version, one.checksum) for one in seen.wrote] == [("far:out", "out", "e", "md5:m")]
        assert seen.absent == ("far:no",)
        await second.forget("u")
        assert not await second.of("u")
        assert await second.of("u2")
        await second.close()

    asyncio.run(play())


def test_a_file_of_a_staged_folder_is_told_of_as_that_file(tmp_path: Path) -> None:
    witness = Provenance(MemoryStore())

    async def play() -> None:
        kit = Kit(tmp_path, 300, provenance=witness)
        await kit.start()
        witness.open()
        one, other, folder = kit.far.put("d/one", 20, b"1"), kit.far.put("d/sub/other", 30, b"2"), ref("d/")
        gone = ref("d/none")
        await kit.plane.stage(folder)
        steps = {"w/two": (one, other), "w/part": (one,), "w/both": (folder, other), "w/whole": (folder,), "w/none": (one, gone)}
        for name, inputs in steps.items():
            optional = tuple(FutureInput(ref=each, optional=each == gone) for each in inputs)
            kit.plane.acquire("w", FutureStep(id=name, inputs=optional))
            await kit.until(lambda name=name: kit.lease(name.removeprefix("w/")))
            kit.plane.release(name, ())
        seen = {step.step: step for step in await witness.of("w")}

        def told(step: str) -> list[tuple[str, int, str, str]]:
            return [(one.ref, one.size_bytes, one.version, one.checksum) for one in seen[step].read]

        file = ("far:d/one", 20, "", f"sha256:{hashlib.sha256(b'1' * 20).hexdigest()}")
        deep = ("far:d/sub/other", 30, "", f"sha256:{hashlib.sha256(b'2' * 30).hexdigest()}")
        assert (told("w/part"), told("w/two")) == ([file], [file, deep])
        (whole,) = told("w/whole")
        assert whole[:2] == ("far:d/", 50)
        assert whole[2:] != ("", "")
        assert told("w/both") == [whole, deep]
        assert (told("w/none"), seen["w/none"].absent) == ([file], ("far:d/none",))
        await witness.close()
        await kit.plane.close()

    asyncio.run(play())
