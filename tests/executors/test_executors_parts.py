"""The parts that can be tested without a pod: the log format, archives, lookups."""

import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jitflow.executors._logs import CriParser
from jitflow.executors._spawner import last_words, rootfs
from jitflow.executors._spawner.command import CannotStart, find
from jitflow.executors._spawner.cri import PIECE_BYTES, TAIL_BYTES, LogWriter
from jitflow.executors._spawner.record import PodError
from jitflow.executors._spawner.unpack import unpack
from jitflow.executors.sandbox import Way, ways
from jitflow.model.pods import LogLine


def written(tmp_path: Path, *chunks: tuple[bytes, bytes], **options: Any) -> tuple[bytes, LogWriter]:
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    writer = LogWriter(fd, keep_tail=True, **options)
    for stream, data in chunks:
        writer.feed(stream, data)
    writer.finish()
    os.close(fd)
    return (tmp_path / "log").read_bytes(), writer


def parsed(data: bytes) -> list[LogLine]:
    return list(CriParser().feed(data))


def test_lines_are_written_as_the_container_runtimes_write_them(tmp_path: Path) -> None:
    data, _ = written(tmp_path, (b"stdout", b"one\ntw"), (b"stderr", b"err\n"), (b"stdout", b"o\n"))
    fields = [line.split(b" ", 3) for line in data.splitlines()]
    assert [field[1:] for field in fields] == [[b"stdout", b"F", b"one"], [b"stderr", b"F", b"err"], [b"stdout", b"F", b"two"]]
    assert all(len(field[0]) == 30 and field[0].endswith(b"Z") for field in fields)


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 3 * PIECE_BYTES + 7])
@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_a_long_line_is_cut_and_put_together(tmp_path: Path, size: int, step: int) -> None:
    line = bytes(97 + number % 26 for number in range(size)) + b"\n"
    data, _ = written(tmp_path, *((b"stdout", line[at : at + step]) for at in range(0, len(line), step)))
    assert all(len(piece.split(b" ", 3)[3]) <= PIECE_BYTES for piece in data.splitlines())
    assert [found.content for found in parsed(data)] == [line[:-1].decode()]


SECRET, KEY = "pass-word-1", "-----BEGIN-----\nfirst-line-of-key\nab\n-----END-----\n"


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_secrets_do_not_get_into_the_log(tmp_path: Path, step: int) -> None:
    text = f"a {SECRET}{SECRET} b\n{KEY}ok ab\n{'x' * 20_000}{SECRET}\nlast {SECRET}".encode()
    data, writer = written(
        tmp_path, *((b"stderr", text[at : at + step]) for at in range(0, len(text), step)), hidden=(SECRET, KEY, "ab", "")
    )
    assert SECRET.encode() not in data
    assert b"first-line-of-key" not in data
    lines = [found.content for found in parsed(data)]
    assert lines[0] == "a [hidden][hidden] b"
    assert "ok ab" in lines, "what is too short to be told from other text stays"
    assert lines[-1] == "last [hidden]"
    assert writer.result() == ""


@pytest.mark.parametrize("padding", [0, 4090, 4096])
def test_secrets_do_not_get_into_what_is_told_of_a_failure(tmp_path: Path, padding: int) -> None:
    (tmp_path / "words").write_text("x" * padding + f"{SECRET} and\n{KEY}\n")
    pod: Any = {"message_path": str(tmp_path / "words"), "message_from_log": False, "hidden": [SECRET, KEY]}
    told = last_words.read(pod, -1, sandboxed=True)
    assert told.startswith("x" * padding)
    assert SECRET[:4] not in told
    assert "first-line" not in told
    _, writer = written(tmp_path, hidden=(SECRET,))
    assert writer.shown(f"command '{SECRET}' not found") == "command '[hidden]' not found"


def test_the_result_is_the_end_of_stdout(tmp_path: Path) -> None:
    _, writer = written(tmp_path, (b"stderr", b"no\n"), *[(b"stdout", b"x" * 100_000 + b"\n")] * 20)
    result = writer.result()
    assert result is not None
    assert len(result) == TAIL_BYTES - 1
    assert not result.endswith("\n")


def test_a_log_has_a_limit_and_says_so(tmp_path: Path) -> None:
    data, _ = written(tmp_path, *[(b"stdout", b"x" * 99 + b"\n")] * 100, limit_bytes=2000)
    lines = parsed(data)
    assert len(data) < 2300
    assert "limit" in lines[-1].content
    assert lines[-1].stream == "stderr"


@pytest.mark.pure
def test_a_log_that_is_cut_off_is_read_as_far_as_it_goes() -> None:
    parser = CriParser()
    stamp = b"2026-01-01T00:00:00.000000000Z"
    assert list(parser.feed(b"rubbish\n" + stamp + b" stdout F a b")) == []
    assert [line.content for line in parser.feed(b" c\n" + stamp + b" stdout F \n")] == ["a b c", ""]


def tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 3) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


def test_a_single_file_becomes_the_target_and_a_single_directory_too(tmp_path: Path) -> None:
    unpack(str(tar(tmp_path / "a.tgz", member("whatever"))), str(tmp_path / "file"), links_outside=False)
    assert (tmp_path / "file").read_bytes() == b"xxx"
    unpack(str(tar(tmp_path / "b.tgz", member("top/a"), member("top/sub/b"))), str(tmp_path / "tree"), links_outside=False)
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == ["a", "sub"]
    unpack(str(tar(tmp_path / "c.tgz", member("a"), member("b"))), str(tmp_path / "two"), links_outside=False)
    assert sorted(os.listdir(tmp_path / "two")) == ["a", "b"]


def test_a_directory_is_unpacked_into_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    unpack(str(tar(tmp_path / "b.tgz", member("top/a"), member("top/b"))), str(tmp_path / "there"), links_outside=False)
    assert sorted(os.listdir(tmp_path / "there")) == ["a", "b"]


@pytest.mark.parametrize("kind", ["zip", "zip.bz2", "tar.gz", "tar.xz"])
def test_an_archive_that_would_fill_the_disk_is_given_up(tmp_path: Path, kind: str) -> None:
    bomb, content = tmp_path / "bomb", bytes(40_000_000)
    if kind.startswith("zip"):
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_BZIP2) as packed:
            packed.writestr("f", content)
    else:
        with tarfile.open(bomb, f"w:{kind.removeprefix('tar.')}") as packed:  # pyright: ignore[reportCallIssue, reportArgumentType]
            found = tarfile.TarInfo("f")
            found.size = len(content)
            packed.addfile(found, io.BytesIO(content))
    with pytest.raises(PodError, match="unfolds to more"):
        unpack(str(bomb), str(tmp_path / "target"), links_outside=False, always_bytes=30_000_000)
    assert [path.name for path in tmp_path.iterdir()] == ["bomb"], "nothing half-done is left"
    unpack(str(bomb), str(tmp_path / "target"), links_outside=False)
    assert (tmp_path / "target").stat().st_size == len(content), "a small one may hold zeros only"


def test_a_zip_is_unpacked_and_no_archive_is_copied(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("top/größe", "zip")
    unpack(str(tmp_path / "a.zip"), str(tmp_path / "tree"), links_outside=False)
    assert (tmp_path / "tree" / "größe").read_text(encoding="utf-8") == "zip"
    (tmp_path / "plain").write_text("plain", encoding="ascii")
    unpack(str(tmp_path / "plain"), str(tmp_path / "copy"), links_outside=False)
    assert (tmp_path / "copy").read_text(encoding="ascii") == "plain"


@pytest.mark.parametrize(
    "members",
    [
        (member("../x"),),
        (member("a/../../x"),),
        (member("dir", tarfile.SYMTYPE, "/etc"), member("dir/x")),
        (member("link", tarfile.SYMTYPE, "../../x"), member("y")),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), member("y")),
        (member("hard", tarfile.LNKTYPE, "../../x"), member("y")),
        (member("device", tarfile.CHRTYPE),),
        (member("pipe", tarfile.FIFOTYPE),),
    ],
)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path: Path, members: tuple[tarfile.TarInfo, ...]) -> None:
    packed = tar(tmp_path / "evil.tgz", *members)
    folder = tmp_path / "into" / "deep"
    folder.mkdir(parents=True)
    with pytest.raises(PodError):
        unpack(str(packed), str(folder / "target"), links_outside=False)
    assert list((tmp_path / "into").rglob("*")) == [folder]


def test_an_absolute_name_stays_below_the_target(tmp_path: Path) -> None:
    unpack(str(tar(tmp_path / "a.tgz", member("/etc/x"), member("y"))), str(tmp_path / "tree"), links_outside=False)
    assert sorted(str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*")) == ["etc", "etc/x", "y"]


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    packed = tar(tmp_path / "a.tgz", member("a", size=200_000), member("b", size=200_000))
    packed.write_bytes(packed.read_bytes()[:300])
    with pytest.raises(PodError, match="damaged"):
        unpack(str(packed), str(tmp_path / "target"), links_outside=False)
    assert not (tmp_path / "target").exists()


def test_links_are_followed_inside_a_root_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "absolute").symlink_to("/real")
    (root / "up").symlink_to("../../../real")
    (root / "loop").symlink_to("loop")
    assert rootfs.resolve(str(root), "/absolute/x") == "/real/x"
    assert rootfs.resolve(str(root), "/up/../up/x") == "/real/x"
    assert rootfs.resolve(str(root), "/../none/y") == "/none/y"
    with pytest.raises(PodError):
        rootfs.resolve(str(root), "/loop/x")


@pytest.mark.pure
def test_only_data_is_taken_from_the_hosts_mounts() -> None:
    text = "\n".join(
        (
            "27 1 254:0 / / rw - ext4 /dev/vda rw",
            "28 27 0:30 / /home rw,relatime shared:3 - xfs /dev/vdb rw",
            "29 27 0:31 / /proc rw - proc proc rw",
            "30 27 0:32 / /run/user/0 rw - tmpfs tmpfs rw",
            r"31 27 0:33 / /data\040of\040mine rw - nfs4 server:/x rw",
            "32 27 0:34 / /srv/auto rw - autofs systemd-1 rw",
        )
    )
    assert rootfs.list_data_mounts(text) == ["/data of mine", "/home"]


def test_a_command_is_looked_up_as_a_shell_does(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("", encoding="ascii")
    with pytest.raises(CannotStart, match="not found"):
        find("tool", str(tmp_path))
    (tmp_path / "tool").chmod(0o755)
    assert find("tool", f"/nowhere:{tmp_path}") == str(tmp_path / "tool")
    assert find("/any/path", "") == "/any/path"


@pytest.mark.pure
def test_the_ways_to_a_sandbox_depend_on_the_user() -> None:
    assert ways("auto", root=False) == (Way("binds", user_namespace=True),)
    assert ways("overlay", root=False) == ()
    assert ways("auto", root=True)[0] == Way("overlay", user_namespace=False)
