"""States that earlier versions have left: they are opened, brought up to date, and what was under way in them is finished."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from benchmark.service import Server
from benchmark.upgrade import dumps
from benchmark.upgrade.__main__ import settings
from benchmark.upgrade.workflows import FAR
from pymongo import MongoClient
from tests.service.service_kit import WORKFLOWS, ended

from jitflow.bootstrap import moving
from jitflow.ports.errors import Broken
from jitflow.stores import url_of
from jitflow.stores._urls import path_of
from jitflow.testing import mongodb_server, postgresql_server
from jitflow.testing.s3_server import S3Server

STATES = sorted(Path(__file__).parent.glob("*.tar.xz"))
AWAY = {"postgresql": postgresql_server.find_programs() is None, "mongodb": not mongodb_server.is_there()}


def store_of(state: Path) -> str:
    return state.name.partition("-")[0]


def number_of(state: Path) -> int:
    return int(state.name.partition("-")[2].partition(".")[0])


def needed(state: Path) -> Path:
    """Return a state, or skip the test where its database cannot be had."""
    if AWAY.get(store_of(state)):
        pytest.skip(f"needs a server of {store_of(state)}")
    return state


@pytest.fixture(scope="module")
def databases() -> Iterator[dict[str, Any]]:
    """The databases' servers, by store; started once."""
    with ExitStack() as stack:
        yield {
            "postgresql": None if AWAY["postgresql"] else stack.enter_context(postgresql_server.postgresql_server()),
            "mongodb": None if AWAY["mongodb"] else stack.enter_context(mongodb_server.any_server()),
        }


def laid_out(state: Path, home: Path, databases: dict[str, Any]) -> tuple[dumps.Facts, str]:
    """Lay a state out; return what is in it, and its URL."""
    facts, members = dumps.unpack(state, home)
    if facts.store == "postgresql":
        url = _new_database(databases["postgresql"].url, home.parent.name)
        dumps.load_postgresql(members[dumps.STATE], url)
        return facts, url
    if facts.store == "mongodb":
        url = databases["mongodb"].new_database()
        dumps.load_mongodb(members[dumps.STATE], url)
        return facts, url
    return facts, url_of(home / "state.db")


def _new_database(url: str, name: str) -> str:
    name = "u" + "".join(letter for letter in name.lower() if letter.isalnum())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"{url.rpartition('/')[0]}/{name}"


def test_there_is_a_state_of_every_version_so_far() -> None:
    from jitflow.stores import _mgschema, _pgschema, _schema

    newest = {"sqlite": _schema.VERSION, "postgresql": _pgschema.VERSION, "mongodb": _mgschema.VERSION}
    wanted = {(store, number) for store, last in newest.items() for number in range(1, last + 1)}
    lacking = wanted - {(store_of(state), number_of(state)) for state in STATES}
    assert not lacking, f"make them with the code of that version: python -m benchmark.upgrade --store … ({lacking})"


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name.partition(".")[0])
def test_what_was_under_way_is_finished_by_this_version(state: Path, tmp_path: Path, databases: dict[str, Any]) -> None:
    facts, url = laid_out(needed(state), tmp_path / "home", databases)
    assert facts.version == number_of(state)
    (tmp_path / "far" / FAR).mkdir(parents=True)
    for name, text in facts.objects.items():
        (tmp_path / "far" / FAR / name).write_text(text)
    with (
        S3Server(tmp_path / "far") as far,
        Server(tmp_path / "home", settings(far, "" if facts.store == "sqlite" else url)) as server,
    ):
        _reads_what_has_ended(server, facts)
        for name in facts.suspended:
            assert server.call("PUT", f"{WORKFLOWS}/{name}/resume", {}).status_code == 200
        for name in (*facts.going, *facts.suspended):
            assert ended(server, name)["status"]["phase"] == "Succeeded", name
        told = _node(server.get(f"{WORKFLOWS}/running"), "third")["outputs"]["parameters"][0]["value"]
        assert told == f"hello {facts.secret}"
        firsts = [node for node in server.get(f"{WORKFLOWS}/running")["status"]["nodes"].values() if node["type"] == "Pod"]
        assert len(firsts) == 3, "nothing that had ended was run again"
        check = server.call("POST", "/data/v1/primary/check", {"hashes": True}).json()
        assert [check[what] for what in ("changed", "unproven", "strangers")] == [[], [], {}]
    assert not moving.verify(url).problems


def _reads_what_has_ended(server: Server, facts: dumps.Facts) -> None:
    for name, phase in facts.ended.items():
        assert server.get(f"{WORKFLOWS}/{name}")["status"]["phase"] == phase
    value = _node(server.get(f"{WORKFLOWS}/done"), "read")["outputs"]["parameters"][0]["value"]
    assert value.strip() == str(facts.objects["a.txt"].count("\n"))
    listed = {item["metadata"]["name"] for item in server.get(WORKFLOWS)["items"]}
    assert listed == {*facts.ended, *facts.going, *facts.suspended}
    assert [item["metadata"]["name"] for item in server.get("/api/v1/workflow-templates/default")["items"]] == ["kept"]
    assert server.get("/api/v1/cron-workflows/default/nightly")["spec"]["suspend"] is True
    assert "other" in str(server.get("/data/v1/remotes"))


def _node(workflow: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in workflow["status"]["nodes"].values() if node["displayName"] == name)


def _age(url: str) -> None:
    """Let a state be of a version that is not known yet."""
    newer = b"UPDATE schema_version SET version = 99, oldest_compatible = 99"
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(newer)
    elif url.startswith("mongodb"):
        with MongoClient[dict[str, Any]](url) as client:
            schema = {"version": 99, "oldest_compatible": 99}
            client.get_default_database().meta.update_one({"_id": "schema"}, {"$set": schema})
    else:
        with sqlite3.connect(path_of(url)) as connection:
            connection.execute(newer.decode())
        connection.close()


@pytest.mark.parametrize("store", ["sqlite", "postgresql", "mongodb"])
def test_what_a_newer_version_has_written_is_refused(store: str, tmp_path: Path, databases: dict[str, Any]) -> None:
    state = max((one for one in STATES if store_of(one) == store), key=number_of)
    _, url = laid_out(needed(state), tmp_path / "home", databases)
    _age(url)
    for act in (moving.migrate, moving.verify):
        with pytest.raises(Broken, match=r"schema version 99, this jitflow knows .* use that version, or another state"):
            act(url)


# Kills itself at the n-th statement; says where it was.
KILLED = """
import asyncio, os, signal, sys
url, at = sys.argv[1], int(sys.argv[2])
count = 0

def step(*_):
    global count
    count += 1
    if count == at:
        os.kill(os.getpid(), signal.SIGKILL)

if url.startswith("sqlite"):
    from jitflow.stores import _schema
    migrate = _schema.migrate
    def traced(connection, path):
        connection.set_trace_callback(step)
        return migrate(connection, path)
    import jitflow.stores.sqlite as sqlite
    sqlite.migrate = traced
elif url.startswith("postgresql"):
    import psycopg
    execute = psycopg.AsyncConnection.execute
    async def counted(self, *arguments, **more):
        step()
        return await execute(self, *arguments, **more)
    psycopg.AsyncConnection.execute = counted
else:
    from pymongo import monitoring
    class Listener(monitoring.CommandListener):
        started = failed = lambda self, event: None
        def succeeded(self, event):
            step()
    monitoring.register(Listener())
from jitflow.bootstrap import moving
moving.migrate(url)
"""


def empty(store: str, root: Path, databases: dict[str, Any]) -> str:
    """Return the URL of a state in which there is nothing."""
    if store == "postgresql":
        return str(databases["postgresql"].new_schema())
    return str(databases["mongodb"].new_database()) if store == "mongodb" else url_of(root / "empty.db")


@pytest.mark.parametrize("store", ["sqlite", "postgresql", "mongodb"])
def test_a_migration_that_is_killed_starts_again(store: str, tmp_path: Path, databases: dict[str, Any]) -> None:
    if AWAY.get(store):
        pytest.skip(f"needs a server of {store}")
    state = min((one for one in STATES if store_of(one) == store), key=number_of)
    urls = [empty(store, tmp_path, databases)]
    if store == "sqlite":
        urls.append(laid_out(state, tmp_path / "home", databases)[1])
    for url in urls:
        killed = 0
        for at in (2, 5):
            done = subprocess.run(
                [sys.executable, "-c", KILLED, url, str(at)], capture_output=True, check=False, env=_without_state()
            )
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr.decode()
            killed += 1
        assert killed
        found, known, _ = moving.migrate(url)
        assert found <= known
        assert moving.migrate(url)[0] == known
        assert not moving.verify(url).problems
    if store == "sqlite":
        with sqlite3.connect(tmp_path / "home" / "state.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _without_state() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("JITFLOW_STATE")}
