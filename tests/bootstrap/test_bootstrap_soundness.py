"""`jitflow state verify` and `repair`: every inconsistency is planted, found by name, and mended where it can be."""

import asyncio
import sqlite3
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from bson import Binary
from cryptography.fernet import Fernet
from msgspec.structs import replace
from pymongo import MongoClient
from pymongo.database import Database

from jitflow import machine
from jitflow.bootstrap import moving
from jitflow.bootstrap.keys import Keys
from jitflow.dataplane import catalogue, records
from jitflow.dataplane.names import location_of
from jitflow.dataplane.primary import look
from jitflow.engine.run import Turn
from jitflow.model import argo
from jitflow.model.data import FutureStep, ObjectRef, Replica, ReplicaState
from jitflow.model.jobs import JobFile
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.pods import PodEnd
from jitflow.model.runs import Event, LaunchPod, Note, PodEnded, PodStarted, WorkflowStarted
from jitflow.ports.store import Commit, EffectRow, RunRow, StateStore, StoredRun
from jitflow.stores import open_store, url_of
from jitflow.stores._urls import path_of
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing import mongodb_server, postgresql_server

STEP = argo.Template(name="main", container=argo.Container(image="busybox", command=["true"], args=["x" * 9000]))
SEAL, OTHER = Fernet.generate_key(), Fernet.generate_key()
AWAY = {"postgresql": postgresql_server.find_programs() is None, "mongodb": not mongodb_server.is_there()}


def started(uid: str, *events: Event) -> tuple[Turn, str]:
    """Return a run of one step after events, and its node."""
    metadata = argo.ObjectMeta(name=f"name-{uid}", namespace="default", uid=uid)
    workflow = argo.Workflow(metadata=metadata, spec=argo.WorkflowSpec(entrypoint="main", templates=[STEP]))
    turn = Turn(machine.new_state(workflow, now=1.0, objects=NO_OBJECTS))
    turn.take(machine.decide(turn.state, WorkflowStarted(), 1.0, NO_OBJECTS))
    node = next(iter(turn.state.nodes.values())).id
    for event in (PodStarted(node_id=node), *events):
        turn.take(machine.decide(turn.state, event, 2.0, NO_OBJECTS))
    return turn, node


def first_commit(uid: str, *, ended: bool = False) -> Commit:
    end = PodEnd(key="k", exit_code=0, started_at=1.0, finished_at=2.0)
    turn, node = started(uid)
    if ended:
        turn, _ = started(uid, PodEnded(node_id=node, end=end))
    summary = machine.summary(turn.state)
    row = RunRow(uid=uid, namespace="default", name=f"name-{uid}", created_at=1.0, version=1, archived=False)
    fields = ("phase", "message", "started_at", "finished_at", "progress", "labels")
    row = replace(row, **{name: getattr(summary, name) for name in fields})
    notes = [Note(at=1.0, reason="R", message=text) for text in ("one", "two", "x" * 9000)]
    return turn.commit(row, machine.encode_header(turn.state), notes)


@dataclass
class Plant:
    """An inconsistency: how it is planted in a run (or beside all), what verify says of it, and whether repair mends it."""

    name: str
    said: str
    mended: bool = True
    ended: bool = False


LAUNCH = next(effect for effect in started("x")[0].effects.values() if isinstance(effect, LaunchPod))
RUNS = [
    Plant("header", "its document or nodes cannot be read", mended=False),
    Plant("node", "its document or nodes cannot be read", mended=False),
    Plant("effect", "open effect odd cannot be read"),
    Plant("renamed", "calls itself"),
    Plant("event", "1 entries of its history cannot be read"),
    Plant("other", "its document is of another workflow", mended=False),
    Plant("phase", "lists show it with phase 'Failed'"),
    Plant("dead", "lists show it with live False"),
    Plant("nowhere", "it was deleted and is in no archive", ended=True),
    Plant("left", "it has ended, and", ended=True),
    Plant("nobody", "is of node nobody, which is not there"),
    Plant("idle", "runs, and nothing waits for its end"),
    Plant("lonely", "is below gone, which is not there", mended=False),
    Plant("misnamed", "calls itself otherwise", mended=False),
    Plant("number", "as another workflow's"),
    Plant("lost", "which is not there"),
    Plant("headless", "its document is gone", mended=False),
    Plant("hole", "its history has"),
    Plant("count", "its history has"),
    Plant("bits", "what is stored is damaged", mended=False),
]


async def plant_runs(store: StateStore) -> None:
    """Plant what the port lets one plant."""
    for one in RUNS:
        await store.commit(first_commit(one.name, ended=one.ended))

    async def change(uid: str, **more: Any) -> None:
        run = await store.load(uid)
        assert run is not None
        row = replace(run.row, version=2, **more.pop("row", {}))
        await store.commit(Commit(row=row, **more))

    async def node_of(uid: str) -> tuple[str, bytes, StoredRun]:
        run = await store.load(uid)
        assert run is not None
        return *run.nodes[0], run

    await change("header", header=b"{")
    await change("node", nodes=(((await node_of("node"))[0], b"?"),))
    await change("effect", effects=(EffectRow(key="odd", body=b"?"),))
    effect = (await node_of("renamed"))[2].effects[0]
    await change("renamed", effects_done=(effect.key,), effects=(replace(effect, key="odd"),))
    await change("event", events=(b"?",))
    await change("other", header=first_commit("else").header)
    await change("phase", row={"phase": "Failed"})
    await change("dead", row={"live": False})
    await change("nowhere", row={"live": False})
    await change("left", effects=(EffectRow(key=LAUNCH.key, body=msgspec.json.encode(LAUNCH)),))
    await change("nobody", effects=(EffectRow(key="k", body=msgspec.json.encode(replace(LAUNCH, key="k", node_id="nobody"))),))
    await change("idle", effects_done=tuple(one.key for one in (await node_of("idle"))[2].effects))
    name, body, _ = await node_of("lonely")
    await change("lonely", nodes=((name, machine.encode_node(replace(machine.decode_node(body), owner="gone"))),))
    name, body, _ = await node_of("misnamed")
    await change("misnamed", nodes=(("zzz", body),))


PAGE = zlib.compress(msgspec.msgpack.encode([JobFile(path="a", action="copy", state="done")]))
DOCUMENTS: list[tuple[str, str, bytes, str, bool]] = [
    ("token", "t", b"?", "document token t: it cannot be read", True),
    ("outbox", "hook/1", b"?", "document outbox hook/1: it cannot be read", True),
    ("object", "WorkflowTemplate/default/torn", b"{", "document object WorkflowTemplate/default/torn: it cannot be read", True),
    ("object", "ConfigMap/default/a", b'{"metadata":{"name":"b","namespace":"default"}}', "it calls itself default/b", True),
    ("object", "Secret/default/s", Fernet(OTHER).encrypt(b"{}"), "document object Secret/default/s: it cannot be opened", False),
    ("remote", "r", Fernet(OTHER).encrypt(b"{}"), "document remote r: it cannot be opened", False),
    ("webhook", "w", Fernet(SEAL).encrypt(b"?"), "document webhook w: it cannot be read", True),
    ("expiry", "stranger", b"1.0", "document expiry stranger: it is about a workflow that is not there", True),
    ("expiry", "idle", b"?", "document expiry idle: it cannot be read", True),
    ("owned", "stranger", b"{}", "document owned stranger: it is about a workflow that is not there", True),
    ("artifact-gc", "stranger", b"1", "document artifact-gc stranger: it is about a workflow that is not there", True),
    ("datalink", "joined", b"?", "document datalink joined: it cannot be read", True),
    ("transfer-job", "t-torn", b"{", "document transfer-job t-torn: it cannot be read", True),
    ("transfer-job-files", "t-torn/000000", b"?", "document transfer-job-files t-torn/000000: it cannot be read", True),
    ("transfer-job-files", "t-gone/000000", PAGE, "it is about a transfer job that is not there", True),
    ("provenance", "idle/n.r", b"?", "document provenance idle/n.r: it cannot be read", True),
    ("set-aside-run", "gone", b"", "a repair was cut off before it had written it again", True),
]


def replica(name: str, body: bytes, primary: Path, **more: Any) -> tuple[str, Replica]:
    """Put a file into the primary and return its row."""
    ref = ObjectRef(remote="far", path=name)
    location = location_of(ref, "t")
    path = primary / location
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    stamp = look(path).stamp
    row = Replica(ref=ref, size_bytes=len(body), state=ReplicaState.RESIDENT, location=location, stamp=stamp, **more)
    return str(ref), row


NEAR = [
    ("replica far:gone", "its file is gone", True),
    ("replica far:changed", "its file is not what it was", True),
    ("replica far:only", "its far store has not got it yet", False),
    ("replica far:second", "it is at the place of far:good", True),
    ("document replica far:torn", "it cannot be read", True),
    ("file objects/", "that the catalogue does not know", True),
    ("lease left/step", "for a workflow that has ended or is not there", True),
    ("document lease torn", "it cannot be read", True),
    ("document pin torn", "it cannot be read", True),
    ("promise p", "is to be sent, and its file is gone", False),
    ("document stageout torn", "it cannot be read", True),
    ("document owner stranger", "it is about a workflow that is not there", True),
    ("the primary", "the capacity is 10", True),
    ("pod stranger.n", "it is of a workflow that is not there", True),
]


async def plant_near(near: StateStore, home: Path) -> None:
    primary = home / "primary"
    rows = dict(
        [
            replica("good", b"good", primary),
            replica("gone", b"gone", primary),
            replica("changed", b"before", primary),
            replica("only", b"only", primary, dirty=True),
        ]
    )
    second = replace(rows["far:good"], ref=ObjectRef(remote="far", path="second"))
    (primary / rows["far:gone"].location).unlink()
    (primary / rows["far:only"].location).unlink()
    (primary / rows["far:changed"].location).write_bytes(b"and after")
    (primary / location_of(ObjectRef(remote="far", path="stranger"), "t")).parent.mkdir(parents=True, exist_ok=True)
    (primary / location_of(ObjectRef(remote="far", path="stranger"), "t")).write_bytes(b"whose?")
    packed = [(name, catalogue.pack(row)) for name, row in [*rows.items(), ("far:second", second)]]
    await near.put(records.REPLICA, [*packed, ("far:torn", b"\xc1")])
    lease = records.LeaseDoc(uid="left", step=FutureStep(id="left/step", inputs=(), outputs=()))
    await near.put(records.LEASE, [("left/step", records.encode(lease)), ("torn", b"?")])
    await near.put(records.PIN, [("torn", b"?")])
    output = records.OutputDoc(
        ref=ObjectRef(remote="far", path="out"), source="", size_bytes=1, location="objects/00/" + "0" * 64
    )
    promise = records.Obligation(step="left/step", uid="left", outputs=[output])
    await near.put(records.STAGEOUT, [("p", records.encode(promise)), ("torn", b"?")])
    await near.put(records.OWNER, [("stranger", b"default")])
    (home / "executor" / "pods" / "stranger.n").mkdir(parents=True)


def plant_in_tables(execute: Callable[[str], Any]) -> None:
    """Plant what only SQL can."""
    number = {name: f"(SELECT id FROM runs WHERE uid = '{name}')" for name in ("lost", "headless", "hole", "bits")}
    execute("UPDATE runs SET sequence = (SELECT max(sequence) FROM runs WHERE uid <> 'number') WHERE uid = 'number'")
    execute("UPDATE counters SET value = 1")
    execute(f"DELETE FROM headers WHERE run = {number['headless']}")
    execute(f"DELETE FROM events WHERE run = {number['hole']} AND number = 2")
    execute("UPDATE runs SET events = 99 WHERE uid = 'count'")
    execute("DELETE FROM runs WHERE uid = 'lost'")


def plant_in_collections(db: Database[dict[str, Any]]) -> None:
    """Plant what only MongoDB's own protocol can."""
    db.runs.update_many({}, {"$set": {"pending": None}})  # as after a start
    number = {head["_id"]: head["run"] for head in db.runs.find()}
    newest = max(head["sequence"] for head in db.runs.find() if head["_id"] != "number")
    db.runs.update_one({"_id": "number"}, {"$set": {"sequence": newest}})
    db.pieces.delete_many({"run": number["headless"], "what": "h"})
    db.pieces.delete_many({"run": number["hole"], "what": "v", "id": 2})
    db.runs.update_one({"_id": "count"}, {"$set": {"events": 99}})
    db.pieces.update_many({"run": number["bits"], "what": "h"}, {"$set": {"body": Binary(b"\x01?")}})
    db.runs.delete_one({"_id": "lost"})
    db.documents.update_one({"kind": "usage", "id": "cut"}, {"$set": {"pieces": 3}})
    db.pieces.update_many({"run": number["event"], "what": "v", "id": 1}, {"$set": {"pieces": 2}})
    db.pieces.update_many({"run": number["node"], "what": "n"}, {"$set": {"pieces": 2}})


IN_TABLES = [("the counter of changes", "numbers would be given twice", True)]
IN_COLLECTIONS = [
    ("document usage cut", "it is not complete", True),
    ("workflow default/name-event", "entry of its history 1 is not complete", True),
    ("workflow default/name-node", "is not complete", False),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        yield {
            "postgresql": None if AWAY["postgresql"] else stack.enter_context(postgresql_server.postgresql_server()),
            "mongodb": None if AWAY["mongodb"] else stack.enter_context(mongodb_server.any_server()),
        }


def url_for(store: str, home: Path, servers: dict[str, Any]) -> str:
    if AWAY.get(store):
        pytest.skip(f"needs a server of {store}")
    if store == "postgresql":
        return str(servers[store].new_schema())
    return str(servers[store].new_database()) if store == "mongodb" else url_of(home / "state.db")


def set_up(home: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write settings that lead to a state."""
    home.mkdir()
    (home / "secret.key").write_bytes(Keys(seals=(SEAL,), names=SEAL).text())
    config = home.parent / "jitflow.toml"
    config.write_text(f'home = "{home}"\nstate.url = "{url}"\nprimary.capacity = 10\n')
    config.chmod(0o600)
    monkeypatch.setenv("JITFLOW_CONFIG", str(config))
    monkeypatch.delenv("JITFLOW_STATE", raising=False)
    monkeypatch.setattr(moving, "_LOOK_AGAIN_S", 0.0)


def fill(url: str, home: Path) -> None:
    async def work() -> None:
        async with open_store(url) as store:
            await plant_runs(store)
            for kind, key, body, _, _ in DOCUMENTS:
                await store.put(kind, [(key, body)])
            if url.startswith("mongodb"):
                await store.put("usage", [("cut", b"{}")])
            aside = await store.load("idle")
            assert aside is not None
            gone = replace(aside, row=replace(aside.row, uid="gone", name="name-gone"), header=first_commit("gone").header or b"")
            nodes = first_commit("gone").nodes
            effects = first_commit("gone").effects
            whole = (replace(gone, nodes=nodes, effects=effects), ())
            await store.put("set-aside-run", [("gone", msgspec.msgpack.encode(whole))])
            if url.startswith("sqlite"):
                await plant_near(store, home)
        if not url.startswith("sqlite"):
            async with SqliteStore.open(home / "state.db") as near:
                await plant_near(near, home)

    asyncio.run(work())


def plant_below(url: str) -> None:
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            plant_in_tables(lambda text: connection.execute(text.encode()))
            connection.execute("UPDATE headers SET body = '\\x013f' WHERE run = (SELECT id FROM runs WHERE uid = 'bits')")
    elif url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](url) as client:
            plant_in_collections(client.get_default_database())
    else:
        with sqlite3.connect(path_of(url)) as connection:
            plant_in_tables(connection.execute)
            connection.execute("UPDATE headers SET body = x'013f' WHERE run = (SELECT id FROM runs WHERE uid = 'bits')")
        connection.close()


def expected(store: str) -> list[tuple[str, str, bool]]:
    """Return where, what and whether it is mended, of all that was planted."""
    runs = [(f"workflow default/name-{one.name} ", one.said, one.mended) for one in RUNS if one.name not in {"lost", "number"}]
    runs.append(("workflow default/name-", "as another workflow's", True))  # either of the two
    documents = [("", said, mended) for _, _, _, said, mended in DOCUMENTS]
    below = IN_COLLECTIONS if store == "mongodb" else IN_TABLES
    parts = ["pieces"] if store == "mongodb" else ["headers", "nodes", "effects", "events"]
    return [*runs, *documents, *NEAR, *below, *((part, "which is not there", True) for part in parts)]


@pytest.mark.parametrize("store", ["sqlite", "postgresql", "mongodb"])
def test_everything_that_was_planted_is_found_and_mended(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: dict[str, Any]
) -> None:
    home = tmp_path / "home"
    url = url_for(store, home, servers)
    set_up(home, url, monkeypatch)
    fill(url, home)
    plant_below(url)
    found = moving.verify("").problems
    missing = [one for one in expected(store) if not any(one[0] in text and one[1] in text for text in found)]
    assert not missing, "\n".join(found)
    surplus = [text for text in found if not any(one[0] in text and one[1] in text for one in expected(store))]
    assert not surplus
    for text in found:
        assert len(text.split("; ")) >= 2, f"says what to do: {text}"
    would = moving.repair("", dry_run=True)
    assert moving.verify("").problems == found, "a dry run changes nothing"
    assert {*would.mended, *would.left} >= set(found)
    moving.repair("")
    left = moving.verify("").problems
    stays = [one for one in expected(store) if not one[2]]
    assert not [text for text in left if not any(one[0] in text and one[1] in text for one in stays)]
    assert not [one for one in stays if not any(one[0] in text and one[1] in text for text in left)], "\n".join(left)
    assert moving.repair("").mended == [], "there is nothing left to be mended"
    asyncio.run(_is_as_it_should(url))


async def _is_as_it_should(url: str) -> None:
    async with open_store(url, reads_only=True) as store:
        idle = await store.load("idle")
        assert idle is not None
        assert idle.row.phase == "Error", "its only pod was lost"
        assert await store.load("gone") is not None
        assert await store.load("nowhere") is None
        assert [number for number, _ in await store.events("hole")] == [1, 2, 3], "numbered anew"
        assert dict(await store.items("set-aside"))["token/t"] == b"?"
        event = await store.events("event")
        assert any(b"HistoryDamaged" in body for _, body in event)
    async with open_store(url) as store:  # numbers go on after all that were given
        newest = max(row.sequence for row in await store.runs())
        assert await store.commit(first_commit("new")) > newest


def test_a_sound_state_is_clean_and_nothing_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    url = url_of(home / "state.db")
    set_up(home, url, monkeypatch)
    _run(url, lambda store: store.commit(first_commit("a")), lambda store: store.commit(first_commit("b", ended=True)))
    assert not moving.verify("").problems
    done = moving.repair("")
    assert (done.mended, done.left) == ([], [])


def test_what_a_control_side_elsewhere_holds_is_left_alone_by_its_data_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    url = url_of(home / "state.db")
    set_up(home, url, monkeypatch)
    held = records.LeaseDoc(uid="there", step=FutureStep(id="there/step", inputs=(), outputs=()))
    _run(
        url,
        lambda store: store.put(records.LEASE, [("there/step", records.encode(held))]),
        lambda store: store.put(records.OWNER, [("there", b"default")]),
    )
    assert len(moving.verify("").problems) == 2, "without a control side nobody needs them"
    _run(url, lambda store: store.put("datalink", [("serves", b"?")]))
    (problem,) = moving.verify("").problems
    assert "document datalink serves: it cannot be read" in problem
    assert moving.repair("").left == []
    assert moving.verify("").problems == []

    async def look() -> tuple[Any, Any]:
        async with open_store(url, reads_only=True) as store:
            return await store.get(records.LEASE, "there/step"), await store.get("set-aside", "datalink/serves")

    assert asyncio.run(look()) == (records.encode(held), b"?")


@pytest.mark.parametrize("index", ["spare", "sqlite_autoindex_runs_1"])
def test_a_damaged_file_is_told(tmp_path: Path, index: str) -> None:
    url = url_of(tmp_path / "state.db")
    _run(url, *(lambda store, uid=f"u{number}": store.commit(first_commit(uid)) for number in range(30)))
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE INDEX spare ON runs (namespace, name)")
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()  # what is in the log is folded into the file
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 40)
    problems = moving.verify(url).problems
    assert any("the file is damaged" in text and "restore a backup" in text for text in problems)
    assert any("the file is damaged" in text for text in moving.repair(url).left)


def _run(url: str, *works: Callable[[StateStore], Awaitable[Any]]) -> None:
    async def work() -> None:
        async with open_store(url) as store:
            for one in works:
                await one(store)

    asyncio.run(work())
