"""Several servers on one state: one is killed or stopped while workflows run, and another takes over."""

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from benchmark.service import MeasurementError, Server, venv_program
from tests.service.service_kit import FINAL, WORKFLOWS, submit, until

from jitflow.testing.machine import freeze
from jitflow.testing.mongodb_server import find_program, mongodb_server
from jitflow.testing.postgresql_server import PostgresqlServer, find_programs, postgresql_server

TAKE_OVER_S = 15.0

MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: many-}
spec:
  entrypoint: main
  templates:
  - name: main
    dag:
      tasks:
      - {name: quick, template: mark, arguments: {parameters: [{name: word, value: quick}, {name: lasts, value: "0"}]}}
      - {name: served, template: served}
      - {name: again, template: again}
      - {name: held, template: held}
      - name: loop
        template: mark
        arguments: {parameters: [{name: word, value: "{{item}}"}, {name: lasts, value: "LASTS"}]}
        withItems: [l1, l2, l3]
      - name: last
        depends: quick && served && again && held && loop
        template: mark
        arguments: {parameters: [{name: word, value: last}, {name: lasts, value: "0"}]}
  - name: served
    steps:
    - - {name: server, template: server}
    - - {name: user, template: mark, arguments: {parameters: [{name: word, value: user}, {name: lasts, value: "LASTS"}]}}
  - name: server
    daemon: true
    container: {image: busybox, command: [sh, -c], args: ["sleep 60"]}
  - name: again
    retryStrategy: {limit: "2"}
    container: {image: busybox, command: [sh, -c], args: ["echo again{{retries}} >> MARKS; sleep 0.5; [ {{retries}} = 1 ]"]}
  - name: held
    steps:
    - - {name: hold, template: hold}
    - - {name: after, template: mark, arguments: {parameters: [{name: word, value: after}, {name: lasts, value: "0"}]}}
  - name: hold
    suspend: {}
  - name: mark
    inputs: {parameters: [{name: word}, {name: lasts}]}
    container:
      image: busybox
      command: [sh, -c]
      args: ["echo {{inputs.parameters.word}} >> MARKS; SLEEP; echo {{inputs.parameters.word}} >> ENDS"]
"""
SLEEP = "[ -e FAST ] || sleep {{inputs.parameters.lasts}}"
WORDS = ["after", "again0", "again1", "l1", "l2", "l3", "last", "quick", "user"]


CRON = {
    "metadata": {"name": "each"},
    "spec": {
        "schedules": ["@every 2s"],
        "successfulJobsHistoryLimit": 100,
        "workflowSpec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {"duration": "0s"}}]},
    },
}


def manifest_in(folder: Path, *, lasts_s: float) -> str:
    """Return the workflow: its steps mark beginnings and ends in a folder; long ones are long while there is no file `fast`."""
    text = MANIFEST.replace("SLEEP", SLEEP).replace("LASTS", str(lasts_s))
    for word in ("marks", "ends", "fast"):
        text = text.replace(word.upper(), str(folder / word))
    return text


class OneOfMany(Server):
    """A server that may end by itself."""

    def ended_within(self, timeout_s: float) -> bool:
        """Wait until it has ended."""
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


class Group:
    """Servers on one state."""

    def __init__(self, folder: Path, url: str, share: str) -> None:
        self._folder = folder
        self._tree: dict[str, Any] = {
            "max_pods": 8,
            "executor": "process",
            "grace_s": 1.0,
            "state": {"url": url, "share": share},
            "primary": {"plans": False},
        }
        if share == "anywhere":
            store = folder / "store"
            store.mkdir()
            key = folder / "key"
            made = subprocess.run([venv_program("jitflow"), "secrets", "new-key"], capture_output=True, check=True, text=True)
            key.write_text(made.stdout)
            key.chmod(0o600)
            self._tree |= {
                "artifact_repository": {"remote": "far"},
                "remotes": {"far": {"type": "local", "options": {"root": str(store)}}},
                "secrets": {"key": {"file": str(key)}},
            }
        self._share = share
        self.servers: list[OneOfMany] = []

    def add(self) -> OneOfMany:
        """Start another server."""
        server = self._made(f"server-{len(self.servers)}", {})
        server.start()
        self.servers.append(server)
        return server

    def refusal(self, changes: dict[str, Any]) -> str:
        """Return what a server says that does not come up with other settings."""
        server = self._made("other", changes)
        with pytest.raises(MeasurementError):
            server.start()
        return server.log.read_text()

    def _made(self, name: str, changes: dict[str, Any]) -> OneOfMany:
        home = self._folder / ("home" if self._share == "home" else name)
        server = OneOfMany(self._folder / name, self._tree | {"home": str(home)} | changes)
        server.home = home
        return server

    def close(self) -> None:
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresqlServer]:
    with postgresql_server() as started:
        yield started


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def servers_at(server: Server) -> list[dict[str, Any]]:
    answer = server.call("GET", "/api/jit/v1/servers")
    assert answer.status_code in {200, 503}, answer.text  # 503: nobody leads at present
    return answer.json().get("servers", [])


def leads(server: Server) -> str:
    """Return the URL of who leads, as a server tells it."""
    return next((one["url"] for one in servers_at(server) if one["leads"]), "")


def led_by(server: Server, *, within_s: float) -> float:
    """Return how long it took until a server leads, seen by itself."""
    began = time.monotonic()
    while leads(server) != f"http://127.0.0.1:{server.port}":
        assert time.monotonic() - began < within_s, servers_at(server)
        time.sleep(0.1)
    return time.monotonic() - began


def words(path: Path) -> Counter[str]:
    return Counter(path.read_text().split() if path.exists() else [])


class Asking(threading.Thread):
    """Asks a server for a workflow over and over, and notes what went wrong and the longest wait."""

    def __init__(self, server: Server, path: str) -> None:
        super().__init__(daemon=True)
        self._server, self._path = server, path
        self.stop = threading.Event()
        self.wrong: list[str] = []
        self.longest_s = 0.0
        self.asked = 0

    def run(self) -> None:
        while not self.stop.wait(0.1):
            began = time.monotonic()
            answer = self._server.call("GET", self._path)
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.asked += 1
            if answer.status_code != 200:
                self.wrong.append(answer.text)


def waiting(server: Server, name: str) -> "subprocess.Popen[bytes]":
    """Follow a workflow to its end at a server, with the command line."""
    token = (server.home / "token").read_text().strip()
    environment = server.environment | {"JITFLOW_SERVER": f"http://127.0.0.1:{server.port}", "JITFLOW_TOKEN": token}
    with server.log.open("ab") as log:
        return subprocess.Popen([venv_program("jitflow"), "wait", name], env=environment, stdout=log, stderr=log)


def resume_and_end(server: Server, name: str) -> dict[str, Any]:
    """Go on with what is suspended, at some server, and return the workflow when it has ended."""
    answer = server.call("PUT", f"{WORKFLOWS}/{name}/resume", {})
    assert answer.status_code == 200, answer.text
    return until(server, name, lambda workflow: workflow["status"].get("phase") in FINAL)


@pytest.mark.skipif(not find_programs(), reason="needs PostgreSQL: apt-get install postgresql")
def test_a_killed_server_of_a_home_is_followed_by_another(
    tmp_path: Path, postgresql: PostgresqlServer, closing: ExitStack
) -> None:
    group = Group(tmp_path, postgresql.new_schema(), "home")
    closing.callback(group.close)
    first, second, third = group.add(), group.add(), group.add()
    led_by(first, within_s=5)
    _followed(tmp_path, first, second, third)


@pytest.mark.skipif(not find_program(), reason="needs mongod, or SecantusDB")
def test_a_killed_server_is_followed_with_mongodb_too(tmp_path: Path, closing: ExitStack) -> None:
    database = closing.enter_context(mongodb_server())
    group = Group(tmp_path, database.new_database(), "home")
    closing.callback(group.close)
    first, second = group.add(), group.add()
    led_by(first, within_s=5)
    _followed(tmp_path, first, second, second)


def _followed(folder: Path, first: Server, second: Server, third: Server) -> None:
    marks, ends = folder / "marks", folder / "ends"
    name = submit(second, manifest_in(folder, lasts_s=2.5))
    until(third, name, lambda _: {"l1", "l2", "l3", "user", "quick"} <= set(words(marks)))
    watcher = waiting(second, name)
    asking = Asking(second, f"{WORKFLOWS}/{name}")
    asking.start()
    time.sleep(0.5)
    first.kill()
    began = time.monotonic()
    heir = next(one for one in _until_led((second, third)))
    took_s = time.monotonic() - began
    assert took_s < TAKE_OVER_S / 2, "its process is known to be dead"
    workflow = resume_and_end(third if heir is second else second, name)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    assert watcher.wait(20) == 0, second.log.read_text()
    asking.stop.set()
    asking.join(30)
    assert not asking.wrong
    assert asking.asked > 5
    assert words(marks) == Counter(WORDS), "each attempt began once"
    assert words(ends) == Counter(word for word in WORDS if "again" not in word), "and came to its end"


@pytest.mark.skipif(not find_programs(), reason="needs PostgreSQL: apt-get install postgresql")
def test_a_server_that_was_stopped_wakes_up_to_nothing(tmp_path: Path, postgresql: PostgresqlServer, closing: ExitStack) -> None:
    url = postgresql.new_schema()
    group = Group(tmp_path, url, "anywhere")
    closing.callback(group.close)
    first = group.add()
    led_by(first, within_s=5)
    second = group.add()
    marks, ends = tmp_path / "marks", tmp_path / "ends"
    assert "secret.key" in refusal_of_another_key(group)
    name = submit(first, manifest_in(tmp_path, lasts_s=60))
    until(second, name, lambda _: {"l1", "l2", "l3", "user", "again1"} <= set(words(marks)))
    cron = {"cronWorkflow": CRON}
    assert first.call("POST", "/api/v1/cron-workflows/default", cron).status_code == 200
    until(second, name, lambda _: len(ticks(second)) > 0)
    asking = Asking(second, f"{WORKFLOWS}/{name}")
    asking.start()
    freeze(first.pid)
    (tmp_path / "fast").touch()
    took_s = led_by(second, within_s=TAKE_OVER_S + 5)
    assert took_s < TAKE_OVER_S
    assert not pods_of(first), "its pods have ended with its lease"
    workflow = resume_and_end(second, name)
    assert workflow["status"]["phase"] == "Succeeded", workflow["status"]
    asking.stop.set()
    asking.join(30)
    assert not asking.wrong
    seen = words(marks)
    assert all(seen[word] == 1 for word in ("quick", "again0", "again1", "after", "last")), "what had ended was not run again"
    assert all(seen[word] == 2 for word in ("l1", "l2", "l3", "user")), "what was cut off was run again, once"
    assert words(ends) == Counter(word for word in WORDS if "again" not in word), "and each came to its end once"
    before = state_of(url)
    os.kill(first.pid, signal.SIGCONT)
    assert first.ended_within(15), "it ends by itself"
    assert "taken over" in first.log.read_text() or "not heard of" in first.log.read_text()
    assert state_of(url) == before, "it has written nothing"
    assert not pods_of(first), "and started nothing"
    assert words(marks) == seen
    assert max(Counter(ticks(second)).values()) == 1, "a schedule has started one workflow at a time"


def refusal_of_another_key(group: Group) -> str:
    """Return what a server says that has another key."""
    return group.refusal({"secrets": {"key": ""}})


def pods_of(server: Server) -> list[Path]:
    pods = server.home / "executor" / "pods"
    return [pod for pod in pods.iterdir() if not (pod / "end.json").exists()] if pods.exists() else []


def ticks(server: Server) -> list[str]:
    """Return the times for which a schedule has started workflows."""
    found = server.get(WORKFLOWS, **{"listOptions.labelSelector": "workflows.argoproj.io/cron-workflow=each"})["items"] or []
    return [one["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"] for one in found]


def state_of(url: str) -> list[object]:
    """Return what the database holds of runs, who leads, and documents; but not when the leader was last heard of."""
    queries = (
        "SELECT uid, version, phase FROM runs WHERE NOT name LIKE 'each%' ORDER BY uid",
        "SELECT owner, epoch FROM holder",
        "SELECT kind, key FROM documents WHERE kind = 'object' ORDER BY kind, key",
    )
    with psycopg.connect(url) as connection:
        return [connection.execute(query).fetchall() for query in queries]


def _until_led(servers: tuple[Server, ...]) -> list[Server]:
    until_s = time.monotonic() + TAKE_OVER_S
    while time.monotonic() < until_s:
        url = leads(servers[0])
        if found := [one for one in servers if url == f"http://127.0.0.1:{one.port}"]:
            return found
        time.sleep(0.1)
    raise AssertionError("nobody leads")
