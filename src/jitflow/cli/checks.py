"""What `jitflow doctor` looks at on this machine."""

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from jitflow import executors
from jitflow.cli.connect import find
from jitflow.cli.formats import size
from jitflow.client import Client, ClientError
from jitflow.ports.errors import PortError
from jitflow.settings import Settings, SettingsError, load, parse_bytes
from jitflow.storage.binary import check_version, find_rclone

_SERVER_S = 3.0
_OLDEST_SQLITE = (3, 35)


class Check(Struct, frozen=True, kw_only=True):
    """One finding. `kind`: what is checked; `needed`: nothing runs here while it is not ok."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = False


def all_checks(server: str) -> Iterator[Check]:
    """Yield every check; none changes anything that is there."""
    yield Check(name="python", ok=True, detail=f"{sys.version.split()[0]} ({sys.executable})")
    try:
        settings = load()
    except SettingsError as error:
        yield Check(name="settings", ok=False, detail=str(error), remedy="correct the settings file", needed=True)
        return
    yield Check(name="settings", ok=True, detail=f"home {settings.home}, executor {settings.executor}")
    yield from _executors(settings)
    yield _rclone()
    yield _directory("home", Path(settings.home), "set JITFLOW_HOME to a directory you may write")
    yield from _primary(settings)
    yield _state(Path(settings.home))
    yield _server(server)


def can_run(checks: list[Check]) -> bool:
    """Whether a workflow can run here."""
    return all(check.ok for check in checks if check.needed)


def _executors(settings: Settings) -> Iterator[Check]:
    home = Path(settings.home)
    writable = home.is_dir() and os.access(home, os.W_OK | os.X_OK)
    for found in asyncio.run(executors.doctor(home if writable else None)):
        chosen = found.name == f"executor {settings.executor}"
        yield Check(name=found.name, ok=found.ok, detail=found.detail, remedy=found.remedy, needed=chosen)


def _rclone() -> Check:
    try:
        program = find_rclone()
        version = asyncio.run(check_version(program))
    except PortError as error:
        return Check(name="rclone", ok=False, detail=str(error), needed=True)
    return Check(name="rclone", ok=True, detail=f"{version} ({program})", needed=True)


def _directory(name: str, path: Path, remedy: str) -> Check:
    """Check that a directory can be written, or made: the nearest parent that exists decides."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Check(name=name, ok=False, detail=f"{there} is no directory", remedy=remedy, needed=True)
    ok = os.access(there, os.W_OK | os.X_OK)
    free = size(shutil.disk_usage(there).free)
    made = "" if there == path else ", made when needed"
    detail = f"{path} ({free} free{made})" if ok else f"{there} cannot be written"
    return Check(name=name, ok=ok, detail=detail, remedy="" if ok else remedy, needed=True)


def _primary(settings: Settings) -> Iterator[Check]:
    path = Path(settings.primary.path or Path(settings.home) / "primary")
    found = _directory("primary", path, "set JITFLOW_PRIMARY to a directory you may write")
    yield found
    if not found.ok:
        return
    there = path
    while not there.exists():
        there = there.parent
    capacity, total = parse_bytes(settings.primary.capacity), shutil.disk_usage(there).total
    yield Check(
        name="capacity",
        ok=capacity <= total,
        detail=f"{size(capacity)} of a disk of {size(total)}",
        remedy="" if capacity <= total else "set JITFLOW_PRIMARY_CAPACITY to less than the disk",
    )


def _state(home: Path) -> Check:
    state = home / "state.db"
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Check(
            name="state", ok=False, detail=f"SQLite {version} is too old", remedy="use SQLite 3.35 or newer", needed=True
        )
    if not state.exists():
        return Check(name="state", ok=True, detail=f"SQLite {version}; none yet", needed=True)
    try:
        # Read only, and not in the way of a server that runs.
        connection = sqlite3.connect(f"file:{state}?mode=ro", uri=True, timeout=1.0)
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check(
            name="state", ok=False, detail=f"{state}: {error}", remedy="restore it from a copy, or move it away", needed=True
        )
    return Check(
        name="state", ok=True, detail=f"SQLite {version}; {state} ({size(state.stat().st_size)}, {tables} tables)", needed=True
    )


def _server(server: str) -> Check:
    found = find(server)
    if found is None:
        return Check(name="server", ok=True, detail="none runs; `jitflow server` starts one, `jitflow run` needs none")
    try:
        with Client(found, timeout_s=_SERVER_S) as client:
            version = client.version().version or "?"
    except ClientError as error:
        return Check(name="server", ok=False, detail=str(error), remedy="start it again, or name another with --server")
    return Check(name="server", ok=True, detail=f"{found.url}, version {version}")
