"""`jitflow state`: backups, copies between stores, and what does not fit together."""

import asyncio
from pathlib import Path

import pytest

from jitflow import machine
from jitflow.bootstrap import moving
from jitflow.bootstrap.state import NEAR_KINDS
from jitflow.model import argo
from jitflow.model.objects import NO_OBJECTS
from jitflow.ports.errors import Broken
from jitflow.ports.store import Commit
from jitflow.stores import open_store, url_of
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing.postgresql_server import find_programs, postgresql_server
from jitflow.testing.store_contract import a_row

STEP = argo.Template(name="main", container=argo.Container(image="busybox", command=["true"]))


def header() -> bytes:
    workflow = argo.Workflow(
        metadata=argo.ObjectMeta(name="w", uid="u1"), spec=argo.WorkflowSpec(entrypoint="main", templates=[STEP])
    )
    return machine.encode_header(machine.new_state(workflow, now=1.0, objects=NO_OBJECTS))


def fill(path: Path) -> str:
    async def work() -> None:
        async with SqliteStore.open(path) as store:
            for uid in ("u1", "u2", "u3"):
                await store.commit(Commit(row=a_row(uid), header=header(), nodes=()))
            await store.commit(Commit(row=a_row("u2", version=2, finished_at=3.0, labels={"a": "b"})))
            await store.put("Template", [("default/x", b"1"), ("default/y", bytes(10_000))])
            await store.put(next(iter(NEAR_KINDS)), [("here", b"only")])

    asyncio.run(work())
    return url_of(path)


def contents(url: str) -> list[moving.Entry]:
    async def work() -> list[moving.Entry]:
        async with open_store(url, reads_only=True) as store:
            return [entry async for entry in moving.entries(store)]

    return asyncio.run(work())


def test_a_backup_is_restored_as_it_was(tmp_path: Path) -> None:
    url, file = fill(tmp_path / "a.db"), tmp_path / "backup"
    made = moving.backup(url, file)
    assert (made.runs, made.documents) == (3, 2)
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(Broken, match="is there already"):
        moving.backup(url, file)
    other = url_of(tmp_path / "b.db")
    assert moving.restore(other, file).runs == 3
    assert contents(other) == contents(url)
    with pytest.raises(Broken, match="not empty"):
        moving.restore(other, file)


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_a_damaged_backup_changes_nothing(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "backup"
    moving.backup(fill(tmp_path / "a.db"), file)
    whole = bytearray(file.read_bytes())
    if damage == "flip":
        whole[len(whole) // 2] ^= 0x40
    file.write_bytes({"cut": whole[:-9], "flip": whole, "other": b"PK" + whole}[damage])
    other = url_of(tmp_path / "b.db")
    with pytest.raises(Broken, match=r"cut off|damaged|no backup"):
        moving.restore(other, file)
    assert moving.migrate(other)[0] == 0, "there is still nothing"


@pytest.mark.skipif(find_programs() is None, reason="needs PostgreSQL: apt-get install postgresql")
def test_a_state_moves_to_a_database_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = fill(tmp_path / "a.db")
    with postgresql_server() as server:
        monkeypatch.setenv("TARGET", server.new_schema())
        assert moving.copy(url, "env:TARGET").says() == "3 workflows and 2 documents"
        back = url_of(tmp_path / "b.db")
        moving.copy("env:TARGET", back)
    assert contents(back) == contents(url)
