"""The commands against the real APIs, whose engine and data are fakes: do both sides mean the same?"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from jitflow.access import Gate, Tokens
from jitflow.cli.app import app
from jitflow.control_api import make_app
from jitflow.data_api import routes
from jitflow.model import argo
from jitflow.testing.fake_engine import World

MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: hello-
spec:
  entrypoint: main
  templates:
  - name: main
    container:
      image: alpine
      command: [echo, hello]
"""
TOKEN = "t" * 32
Jitflow = Callable[..., Result]


class Live:
    """A real server over fakes, in a thread; it can be ended and started again on the same port."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        self.world = World()
        self._moments = itertools.count(1)
        self.start()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def start(self) -> None:
        async def begin() -> None:
            self.world.service.closing = asyncio.Event()
            await self.world.service.open()
            tokens = Tokens(self.world.store, self.world.clock, lambda work, _: work.close())
            application = make_app(
                self.world.service,
                Gate(TOKEN, tokens=tokens),
                tokens=tokens,
                extra=routes(self.world.data, self.world.jobs, self.world.files),
            )
            config = uvicorn.Config(
                application,
                port=self.port,
                log_level="critical",
                lifespan="off",
                loop="asyncio",
                ws="none",
                timeout_graceful_shutdown=1,
            )
            self._server = uvicorn.Server(config)
            # Not `serve`: that would take this process's signals.
            self._task = asyncio.ensure_future(self._server._serve())  # noqa: TID251
            while not self._server.started:
                await asyncio.sleep(0.005)

        self.call(begin())
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        async def end() -> None:
            await self.world.service.close()
            self._server.should_exit = True
            await self._task

        self.call(end())

    def close(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def move(self, name: str, phase: str, *nodes: argo.NodeStatus) -> None:
        row = self.world.service.find("default", name)
        self.call(self.world.engine.move(row.uid, phase, nodes=nodes))

    def write(self, name: str, node: str, text: str, *, end: bool = False) -> None:
        key = self.world.engine.pod_key(self.world.service.find("default", name).uid, node)

        async def put() -> None:
            self.world.executor.write(key, f"2026-01-01T00:00:00.{next(self._moments):09d}Z", text)
            if end:
                self.world.executor.end(key)

        self.call(put())


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    found = Live()
    yield found
    found.close()


@pytest.fixture
def jitflow(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jitflow:
    monkeypatch.setenv("JITFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JITFLOW_SERVER", f"http://127.0.0.1:{live.port}")
    monkeypatch.setenv("JITFLOW_TOKEN", TOKEN)
    for name in ("JITFLOW_CONFIG", "JITFLOW_NAMESPACE", "JITFLOW_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, **more: Any) -> Result:
        return CliRunner().invoke(app, [str(item) for item in arguments], prog_name="jitflow", **more)

    return run


@pytest.fixture
def name(jitflow: Jitflow, tmp_path: Path) -> str:
    """A workflow that runs."""
    (tmp_path / "hello.yaml").write_text(MANIFEST)
    found = jitflow("submit", tmp_path / "hello.yaml")
    assert (found.exit_code, found.stderr) == (0, "")
    return found.stdout.strip()


def pod(name: str, phase: str, **more: Any) -> argo.NodeStatus:
    return argo.NodeStatus(id=name, name=name, display_name=name, type="Pod", phase=phase, template_name="main", **more)


def later(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=lambda: (time.sleep(0.4), work()))
    thread.start()
    return thread


def test_submit_list_get_delete(jitflow: Jitflow, name: str) -> None:
    assert name.startswith("hello-")
    assert name in jitflow("list", "-o", "name").stdout.split()
    assert name in jitflow("list", "--running", "-A").stdout
    assert name not in jitflow("list", "--completed").stdout
    assert jitflow("list", "--prefix", name, "--limit", 1, "-o", "name").stdout == f"{name}\n"
    assert json.loads(jitflow("get", "@latest", "-o", "json").stdout)["metadata"]["name"] == name
    assert "Status:      Running" in jitflow("get", name).stdout
    assert jitflow("delete", name).exit_code == 0
    gone = jitflow("get", name)
    assert (gone.exit_code, gone.stderr) == (1, f'error: workflows.argoproj.io "{name}" not found\n')


def test_status_selectors(live: Live, jitflow: Jitflow, name: str) -> None:
    live.move(name, "Failed")
    assert name in jitflow("list", "--completed", "--status", "Failed,Error", "-o", "name").stdout.split()
    assert name not in jitflow("list", "--status", "Running", "-o", "name").stdout.split()
    assert jitflow("list", "--field-selector", "spec.nonsense=1").exit_code == 1


def test_control(live: Live, jitflow: Jitflow, name: str) -> None:
    assert jitflow("suspend", name).stderr == f"workflow {name} suspended\n"
    assert "Running (Suspended)" in jitflow("get", name).stdout
    assert jitflow("resume", name).exit_code == 0
    assert "Suspended" not in jitflow("get", name).stdout
    assert jitflow("stop", name).exit_code == 0
    assert "Stopped with strategy 'Stop'" in jitflow("get", name).stdout
    assert jitflow("terminate", name).exit_code == 1
    assert jitflow("retry", name, "-p", "a=b").exit_code == 0
    assert live.world.engine.events[-1][1].parameters == ("a=b",)  # type: ignore[attr-defined]
    assert jitflow("terminate", name, "-o", "json").exit_code == 0


def test_watch(live: Live, jitflow: Jitflow, name: str) -> None:
    work = later(lambda: live.move(name, "Succeeded", pod(name, "Succeeded")))
    found = jitflow("watch", name)
    work.join()
    assert (found.exit_code, found.stderr) == (0, "")
    assert f"✔ {name} succeeded" in found.stdout


def test_watch_survives_a_restart(live: Live, jitflow: Jitflow, name: str) -> None:
    def restart() -> None:
        live.stop()
        live.start()
        live.move(name, "Failed", pod(name, "Failed", message="exit code 3"))

    work = later(restart)
    found = jitflow("watch", name)
    work.join()
    assert (found.exit_code, found.stderr) == (1, "")
    assert f"✖ {name} failed: exit code 3" in found.stdout


def test_logs_follow_survives_a_restart(live: Live, jitflow: Jitflow, name: str) -> None:
    live.move(name, "Running", pod(name, "Running"))
    live.write(name, name, "before")

    def restart() -> None:
        live.stop()
        live.start()
        live.write(name, name, "after", end=True)
        live.move(name, "Succeeded", pod(name, "Succeeded"))

    work = later(restart)
    found = jitflow("logs", name, "-f")
    work.join()
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout == f"{name}: before\n{name}: after\n"
    assert jitflow("logs", name, name, "--tail", 1).stdout == "after\n"
    assert jitflow("logs", name, "--grep", "bef").stdout == f"{name}: before\n"
    assert jitflow("logs", name, "--timestamps").stdout.startswith(f"{name}: 2026-01-01T00:00:00.")
    assert jitflow("logs", name, "--grep", "(").exit_code == 1


def test_run_at_a_server(live: Live, jitflow: Jitflow, tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(MANIFEST)
    work = later(lambda: live.move("run-me", "Failed", pod("run-me", "Failed", message="exit code 3")))
    found = jitflow("run", tmp_path / "hello.yaml", "--name", "run-me")
    work.join()
    assert (found.exit_code, found.stderr) == (1, "")
    assert "✖ run-me: exit code 3" in found.stdout
    again = jitflow("run", tmp_path / "hello.yaml", "--name", "run-me")
    assert again.exit_code == 2
    assert "already exists" in again.stderr


def test_why(jitflow: Jitflow, name: str) -> None:
    for which in (name, "@latest"):
        found = jitflow("why", which, "align")
        assert (found.exit_code, found.stdout.splitlines()[0]) == (
            0,
            f"{name}.align does not run: waiting for data: far:a; all of its data is expected in about 7 s",
        )
    text = " ".join(found.stdout.split())
    assert "data: fetching, 3 B of 10 B here expected: in about 7s waited: 3s for its data" in text
    assert "transferring 10 B 7s far:a 3 B of 10 B" in text
    assert json.loads(jitflow("why", name, "align", "-o", "json").stdout)["data"]["phase"] == "fetching"
    missing = jitflow("why", name, "none")
    assert (missing.exit_code, missing.stderr) == (1, 'error: no node "none"\n')


def test_explain_of_what_runs(jitflow: Jitflow, name: str) -> None:
    for arguments in (("explain", name), ("explain", "@latest"), ("explain", "--all")):
        found = jitflow(*arguments)
        assert found.exit_code == 0, found.stderr
        assert "20 B\nhere already:        10 B\nbytes to move:       10 B\n" in found.stdout, arguments
    assert json.loads(jitflow("explain", "--all", "-o", "json").stdout)["to_move_bytes"] == 10
    assert jitflow("explain", "nobody").exit_code == 1
    nothing = jitflow("explain")
    assert (nothing.exit_code, nothing.stderr.startswith("error: name a manifest or a workflow")) == (2, True)


def test_explain_and_dry_run(jitflow: Jitflow, tmp_path: Path) -> None:
    (tmp_path / "hello.yaml").write_text(MANIFEST)
    assert json.loads(jitflow("explain", tmp_path / "hello.yaml", "-o", "json").stdout)["capacity_bytes"] == 100
    before = jitflow("list", "-o", "name").stdout
    assert jitflow("submit", tmp_path / "hello.yaml", "--dry-run").stdout.startswith("hello-")
    assert jitflow("list", "-o", "name").stdout == before
    assert jitflow("submit", tmp_path / "hello.yaml", "-n", "Not Valid").exit_code == 2


def test_data(jitflow: Jitflow) -> None:
    assert jitflow("data", "ls", "far:dir/").stdout.split()[-1] == "far:dir/c"
    assert "far:a" in jitflow("data", "stat", "far:a").stdout
    assert jitflow("data", "stat", "far:nothing").exit_code == 1
    assert jitflow("data", "stage", "far:a").stderr == "far:a is in the primary (10 B)\n"
    assert jitflow("data", "ls").stdout.split()[-1] == "far:a"
    assert json.loads(jitflow("data", "pin", "far:a", "-o", "json").stdout)["kept"] is True
    assert jitflow("data", "evict", "far:a").stderr == "error: far:a is kept; unpin it first\n"
    assert jitflow("data", "unpin", "far:a").exit_code == 0
    assert "10 B (10 %)" in jitflow("data", "fill").stdout
    assert jitflow("data", "check").stdout.splitlines() == ["stranger: notes.txt (4 B)", "1 of 1 replicas are as they were"]
    said = jitflow("data", "check", "--remove", "--hashes").stdout.splitlines()
    assert said[0].startswith("changed or gone: far:a")
    assert said[1:] == ["stranger: notes.txt (4 B, removed)", "0 of 1 replicas are as they were"]
    adopted = jitflow("data", "adopt", "/old", "--as", "far:dir/", "--move")
    assert adopted.stdout == "in the primary now: 1 file (10 B); left alone: 1\n"
    assert adopted.stderr == "b: moved\n"
    assert "is no absolute path" in jitflow("data", "adopt", "near:old/", "--as", "far:dir/").stderr
    assert json.loads(jitflow("data", "adopt", "/old", "--as", "far:dir", "-o", "json").stdout)["refs"] == ["far:dir/a"]
    assert jitflow("data", "evict", "far:a").exit_code == 0
    assert jitflow("data", "ls").stderr == "nothing there\n"


def test_remotes(jitflow: Jitflow) -> None:
    assert jitflow("remote", "add", "new", "s3", "endpoint=http://x", "secret_access_key=hidden").exit_code == 0
    listed = jitflow("remote", "list")
    assert "new" in listed.stdout
    assert "hidden" not in listed.stdout
    changed = jitflow("remote", "set", "new", "endpoint=http://y", "region=north", "secret_access_key=")
    assert (changed.exit_code, "remote new changed" in changed.stderr) == (0, True), changed.output
    (row,) = [line for line in jitflow("remote", "list").stdout.splitlines() if line.startswith("new ")]
    assert sorted(row.split()[2:]) == ["endpoint=http://y", "region=north"]
    assert jitflow("remote", "set", "nobody", "region=north").exit_code == 1
    assert jitflow("remote", "set", "new", "nonsense").exit_code == 2
    assert jitflow("remote", "test", "new").exit_code == 0
    assert jitflow("remote", "remove", "new").exit_code == 0
    assert jitflow("remote", "test", "new").exit_code == 1


def test_version_and_token(jitflow: Jitflow, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "server " in jitflow("version").stdout
    monkeypatch.setenv("JITFLOW_TOKEN", "wrong")
    refused = jitflow("list")
    assert refused.exit_code == 1
    assert "JITFLOW_TOKEN" in refused.stderr


def test_tokens(jitflow: Jitflow, monkeypatch: pytest.MonkeyPatch) -> None:
    made = jitflow("token", "create", "ci", "--role", "viewer@default", "--scope", "workflows", "--expires", "30d")
    assert made.exit_code == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("jft_")
    listed = jitflow("token", "list")
    assert ("viewer@default" in listed.stdout, token in listed.stdout) == (True, False)
    assert jitflow("token", "whoami").stdout == "local (jitflow): admin@*; scopes: everything\n"
    monkeypatch.setenv("JITFLOW_TOKEN", token)
    assert jitflow("token", "whoami").stdout == "ci (jitflow): viewer@default; scopes: workflows\n"
    assert jitflow("list").exit_code == 0
    refused = jitflow("list", "-A")
    assert refused.exit_code == 0
    refused = jitflow("token", "list")
    assert (refused.exit_code, "may not tokens.manage" in refused.stderr) == (1, True)
    monkeypatch.setenv("JITFLOW_TOKEN", TOKEN)
    assert jitflow("token", "revoke", "ci").exit_code == 0
    monkeypatch.setenv("JITFLOW_TOKEN", token)
    refused = jitflow("list")
    assert (refused.exit_code, "token not valid" in refused.stderr) == (1, True)


@pytest.mark.parametrize(("option", "value"), [("--role", "root@x"), ("--expires", "soon"), ("--expires", "0d")])
def test_tokens_that_cannot_be_made(jitflow: Jitflow, option: str, value: str) -> None:
    given = ["--role", "viewer"] if option == "--expires" else []
    refused = jitflow("token", "create", "x", *given, option, value)
    assert (refused.exit_code, value in refused.stderr) == (2, True)


TEMPLATE = MANIFEST.replace("kind: Workflow", "kind: WorkflowTemplate").replace("generateName: hello-", "name: greeter")
SCHEDULE = """\
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata:
  name: nightly
spec:
  schedules: ["0 2 * * *"]
  workflowSpec:
    workflowTemplateRef:
      name: greeter
"""


def test_templates_and_schedules_are_checked_created_and_updated(jitflow: Jitflow, tmp_path: Path) -> None:
    every = tmp_path / "every.yaml"
    every.write_text(TEMPLATE.replace("WorkflowTemplate", "ClusterWorkflowTemplate") + "---\n" + TEMPLATE)
    schedule = tmp_path / "nightly.yaml"
    schedule.write_text(SCHEDULE)
    for group, file, count in (("template", every, 2), ("cron", schedule, 1)):
        missing = jitflow(group, "update", file)
        assert (missing.exit_code, "not found" in missing.stderr) == (1, True)
        checked = jitflow(group, "lint", file)
        assert (checked.exit_code, checked.stderr.count("is valid")) == (0, count), checked.output
        assert jitflow(group, "list", "-o", "name").stdout == ""
        made = jitflow(group, "create", file, "-o", "json")
        assert (made.exit_code, len(json.loads(made.stdout))) == (0, count), made.output
        again = jitflow(group, "create", file)
        assert (again.exit_code, "already exists" in again.stderr, str(file) in again.stderr) == (2, True, True)
        assert jitflow(group, "update", file).stderr.count("updated") == count
    assert jitflow("cron", "list", "-o", "name").stdout == "nightly\n"
    wrong = jitflow("template", "lint", schedule)
    assert (wrong.exit_code, "CronWorkflow is no WorkflowTemplate" in wrong.stderr) == (2, True)
    schedule.write_text(SCHEDULE.replace("greeter", "nobody"))
    refused = jitflow("cron", "lint", schedule)
    assert (refused.exit_code, "nobody" in refused.stderr) == (2, True), refused.output
    for words, offered in (
        ("jitflow template get ", ["greeter"]),
        ("jitflow template delete --cluster g", ["greeter"]),
        ("jitflow cron backfill n", ["nightly"]),
    ):
        asked = {"_JITFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        assert jitflow(env=asked).stdout.split() == offered
    assert jitflow("cron", "delete", "nightly").exit_code == 0
    assert jitflow("template", "delete", "greeter").exit_code == 0
    assert jitflow("template", "delete", "--cluster", "greeter").exit_code == 0


def test_selected_workflows_are_stopped_retried_and_deleted(live: Live, jitflow: Jitflow, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(MANIFEST.replace("generateName", "labels: {many: yes-please}\n  generateName"))
    names = [jitflow("submit", tmp_path / "many.yaml").stdout.strip() for _ in range(3)]
    live.move(names[0], "Failed")
    assert jitflow("retry", "-l", "many=yes-please", "--dry-run").stderr == f"workflow {names[0]} (Failed) would be retried\n"
    told = jitflow("stop", "-l", "many=yes-please")
    assert (told.exit_code, names[0] in told.stderr, "2 workflows stopped" in told.stderr) == (0, False, True), told.output
    assert jitflow("retry", "-l", "many=yes-please").stderr.endswith("3 workflows retried\n")
    assert jitflow("stop", "-l", "many=").stderr == "no workflows\n"
    assert jitflow("stop", "-l", "many in yes").exit_code == 1
    gone = jitflow("delete", "-l", "many=yes-please", "--yes")
    assert (gone.exit_code, "3 workflows deleted" in gone.stderr) == (0, True), gone.output
    assert jitflow("list", "-l", "many=yes-please", "-o", "name").stdout == ""


def test_limits_are_listed_as_asked(jitflow: Jitflow) -> None:
    assert jitflow("data", "bandwidth", "-o", "name").exit_code == 0
