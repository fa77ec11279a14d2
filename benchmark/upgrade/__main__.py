"""Make the state that tests of later versions begin with.

python -m benchmark.upgrade [--store sqlite|postgresql|mongodb] [--source OTHER/src] [--output tests/upgrade]

Runs a server, lets it do a little of everything, ends it with workflows of all kinds under way, and writes what it has left as
STORE-VERSION.tar.xz. Do that once for each new version of a schema, before the release that brings it; `--source` runs the code
of an earlier version instead, from a checkout of it.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmark.service import Server, checked, no_orphans
from benchmark.upgrade import dumps
from benchmark.upgrade.workflows import FAR, MANIFESTS, OBJECTS, SECRET, TEMPLATE, ConfigMap, Cron, SecretObject
from jitflow.testing.s3_server import S3Server

_WORKFLOWS = "/api/v1/workflows/default"


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "postgresql", "mongodb"), default="sqlite")
    parser.add_argument("--source", type=Path, help="the folder of another version's package")
    parser.add_argument("--output", type=Path, default=Path("tests/upgrade"))
    arguments = parser.parse_args()
    if arguments.source:
        os.environ["PYTHONPATH"] = str(arguments.source.absolute())
    with tempfile.TemporaryDirectory(prefix="jitflow-upgrade-") as folder, no_orphans():
        made = make(Path(folder), arguments.store, arguments.output)
    print(f"{made}: {made.stat().st_size:,} bytes")
    return 0


def make(root: Path, store: str, output: Path) -> Path:
    """Let a server leave a state, and pack it."""
    bucket = root / "far" / FAR
    bucket.mkdir(parents=True)
    for name, text in OBJECTS.items():
        (bucket / name).write_text(text)
    with ExitStack() as stack:
        url = _url(store, stack)
        far = stack.enter_context(S3Server(root / "far"))
        server = Server(root / "home", settings(far, url))
        server.start()
        going = _fill(server)
        # A kill shows most; but whoever holds a database must let go of it, or another machine waits for it.
        server.kill() if store == "sqlite" else server.stop()
        state = {"postgresql": dumps.dump_postgresql, "mongodb": dumps.dump_mongodb}.get(store)
        members = {dumps.HOME_SQL: dumps.dump_sqlite(server.home / "state.db")}
        if state is not None:
            members[dumps.STATE] = state(url)
        facts = dumps.Facts(
            store=store,
            version=_version(store, url, server.home / "state.db"),
            objects=OBJECTS,
            ended={"done": "Succeeded", "broken": "Failed"},
            going=dict.fromkeys(going, "Succeeded"),
            suspended=("paused",),
            secret=SECRET,
        )
        target = output / f"{store}-{facts.version}.tar.xz"
        dumps.pack(target, facts, server.home, members)
        return target


def settings(far: S3Server, url: str) -> dict[str, Any]:
    """Return the settings with which a state is made and gone on with: few, as every version must know them."""
    tree: dict[str, Any] = {
        "max_pods": 3,
        "grace_s": 2.0,
        "primary": {"capacity": "64MiB"},
        "remotes": {"far": {"type": "s3", "options": dict(far.remote("far").options)}},
        "artifact_repository": {"remote": "far", "prefix": f"{FAR}/between"},
    }
    return tree | ({"state": {"url": url}} if url else {})


def _url(store: str, stack: ExitStack) -> str:
    if store == "postgresql":
        from jitflow.testing.postgresql_server import postgresql_server  # noqa: PLC0415 - its driver is an extra

        return stack.enter_context(postgresql_server()).url
    if store == "mongodb":
        from jitflow.testing.mongodb_server import mongodb_server  # noqa: PLC0415 - its driver is an extra

        return stack.enter_context(mongodb_server()).new_database()
    return ""


def _fill(server: Server) -> list[str]:
    """Make objects and workflows; return the names of those that are under way, which they are now."""
    for value in (ConfigMap, SecretObject):
        checked(server.call("POST", f"/api/jit/v1/objects/default/{value['kind']}", value))
    checked(server.call("POST", "/api/v1/workflow-templates/default", {"template": TEMPLATE}))
    checked(server.call("POST", "/api/v1/cron-workflows/default", {"cronWorkflow": Cron}))
    checked(server.call("POST", "/data/v1/remotes", {"name": "other", "type": "memory", "options": {}}))
    for name in ("done", "broken", "paused"):
        _submit(server, name)
    for name, holds in (("done", _ended), ("broken", _ended), ("paused", _has("Running", "Suspend"))):
        _await(server, name, holds)
    going = [name for name in MANIFESTS if name not in {"done", "broken", "paused"}]
    for name in going:
        _submit(server, name)
    _await(server, "running", _has("Running", "Pod"))
    _await(server, "again", _has("Failed", "Pod"))
    _await(server, "holder", _has("Running", "Pod"))
    return going


def _submit(server: Server, name: str) -> None:
    checked(server.call("POST", _WORKFLOWS, {"workflow": MANIFESTS[name]}))


def _ended(workflow: dict[str, Any]) -> bool:
    return bool(workflow["status"].get("finishedAt"))


def _has(phase: str, kind: str) -> Callable[[dict[str, Any]], bool]:
    def holds(workflow: dict[str, Any]) -> bool:
        nodes = (workflow["status"].get("nodes") or {}).values()
        return any(node["type"] == kind and node["phase"] == phase for node in nodes)

    return holds


def _await(server: Server, name: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    until = time.monotonic() + 60
    while not holds(workflow := server.get(f"{_WORKFLOWS}/{name}")):
        if time.monotonic() > until:
            raise TimeoutError(f"{name} does not come so far: {workflow['status']}")
        time.sleep(0.02)


def _version(store: str, url: str, path: Path) -> int:
    if store == "postgresql":
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT version FROM schema_version").fetchone()
            return int(row[0]) if row else 0
    if store == "mongodb":
        from pymongo import MongoClient  # noqa: PLC0415 - an extra

        with MongoClient[dict[str, Any]](url) as client:
            found = client.get_default_database()["meta"].find_one({"_id": "schema"})
            return int(found["version"]) if found else 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT version FROM schema_version").fetchone()[0])
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
