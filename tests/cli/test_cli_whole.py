"""`jitflow` as people start it: a process of its own, with a real server inside."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jitflow.cli import _reference
from jitflow.cli.app import app

MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: whole-
spec:
  entrypoint: main
  arguments:
    parameters:
    - name: code
      value: "0"
  templates:
  - name: main
    steps:
    - - name: greet
        template: greet
        withItems: [a, b]
    - - name: finish
        template: finish
  - name: greet
    container:
      image: busybox
      command: [sh, -c, "echo hello {{workflow.name}}"]
  - name: finish
    outputs:
      parameters:
      - name: answer
        valueFrom:
          path: "{{pod.name}}.answer"
          default: "42"
    container:
      image: busybox
      command: [sh, -c, "echo the last words; exit {{workflow.parameters.code}}"]
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("JITFLOW_", "FORCE_COLOR", "NO_COLOR"))}
    return keep | {
        "JITFLOW_HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "JITFLOW_EXECUTOR": "process",
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "whole.yaml"
    path.write_text(MANIFEST)
    return path


def inside(environment: dict[str, str], *arguments: object) -> Result:
    """Run a command in this process: quicker where the process itself is not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("JITFLOW_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        return CliRunner().invoke(app, [str(item) for item in arguments], prog_name="jitflow")


def jitflow(environment: dict[str, str], *arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jitflow.cli", *(str(item) for item in arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100, **more)


def test_run_needs_nothing_but_a_file(environment: dict[str, str], file: Path) -> None:
    found = jitflow(environment, "run", file)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert re.fullmatch(r"✔ whole-\w+ Succeeded in \S+ \(3 steps\)", next(line for line in lines if "Succeeded" in line))
    assert "  finish: answer = 42" in lines


def test_run_of_a_failure_shows_its_last_words(environment: dict[str, str], file: Path) -> None:
    found = jitflow(environment, "run", file, "-p", "code=3", "--log")
    assert found.returncode == 1
    assert ": hello whole-" in found.stdout
    assert "main: Error (exit code 3)" in found.stdout
    assert "      | the last words" in found.stdout


def test_explain_needs_no_server(environment: dict[str, str], file: Path) -> None:
    found = jitflow(environment, "explain", file, "-o", "json")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["to_move_bytes"] == 0


def test_a_server_serves_the_other_commands(environment: dict[str, str], file: Path) -> None:
    command = [sys.executable, "-m", "jitflow.cli", "server", "--port", "0"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "http://127.0.0.1:" in server.stdout.readline()
        submitted = inside(environment, "submit", file, "--wait")
        assert (submitted.exit_code, submitted.stderr) == (0, "")
        name = submitted.stdout.split()[0]
        assert name in inside(environment, "list").stdout
        assert "hello" in inside(environment, "logs", "@latest", "greet(0:a)").stdout
        completion = environment | {
            "_JITFLOW_COMPLETE": "complete_bash",
            "COMP_WORDS": "jitflow get whole-",
            "COMP_CWORD": "2",
        }
        assert inside(completion).stdout.split() == [name]
        assert inside(environment, "data", "fill").exit_code == 0
        _objects_are_applied_and_used(environment, file.parent)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert server.returncode in {0, -signal.SIGTERM}
    assert inside(environment, "list").exit_code == 1


OBJECTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: words}
data: {greeting: "good day"}
---
apiVersion: v1
kind: Secret
metadata: {name: secrets}
stringData: {word: sesame}
---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: greeter}
spec:
  entrypoint: greet
  arguments: {parameters: [{name: who, value: nobody}]}
  templates:
  - name: greet
    inputs: {parameters: [{name: greeting, valueFrom: {configMapKeyRef: {name: words, key: greeting}}}]}
    container:
      image: any
      command: [sh, -c, "echo {{inputs.parameters.greeting}} {{workflow.parameters.who}} $(echo $WORD | wc -c)"]
      env: [{name: WORD, valueFrom: {secretKeyRef: {name: secrets, key: word}}}]
"""


def _objects_are_applied_and_used(environment: dict[str, str], folder: Path) -> None:
    (folder / "objects.yaml").write_text(OBJECTS)
    applied = inside(environment, "apply", folder / "objects.yaml")
    expected = "ConfigMap words applied\nSecret secrets applied\nWorkflowTemplate greeter applied\n"
    assert (applied.exit_code, applied.stderr) == (0, expected)
    caller = "kind: Workflow\nmetadata: {name: caller}\nspec: {workflowTemplateRef: {name: greeter}}\n"
    (folder / "caller.yaml").write_text(caller)
    assert inside(environment, "submit", folder / "caller.yaml", "-p", "who=sunshine", "--wait").exit_code == 0
    assert "good day sunshine 7" in inside(environment, "logs", "caller").stdout
    made = inside(environment, "submit", "--from", "workflowtemplate/greeter", "--name", "of-it", "-p", "who=moonlight", "--wait")
    assert made.exit_code == 0, made.stderr
    assert "good day moonlight 7" in inside(environment, "logs", "of-it").stdout
    wrong = (("wftmpl/nobody", 1, "not found"), ("pod/x", 2, "is not supported for submitting"), ("greeter", 2, "KIND/NAME"))
    for resource, code, reason in wrong:
        answer = inside(environment, "submit", "--from", resource)
        assert (answer.exit_code, reason in answer.stderr) == (code, True), answer.stderr
    assert "--from" in inside(environment, "submit").stderr
    (folder / "caller.yaml").write_text(caller.replace("greeter", "nobody"))
    refused = inside(environment, "submit", folder / "caller.yaml")
    assert refused.exit_code == 2
    assert '"nobody" not found' in refused.stderr
    assert "is no workflow" in inside(environment, "submit", folder / "objects.yaml").stderr


def test_a_terminal_gets_the_tree(environment: dict[str, str], file: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child is another program
        settings = environment | {"TERM": "xterm", "LINES": "12", "COLUMNS": "70"}
        os.execve(sys.executable, [sys.executable, "-m", "jitflow.cli", "run", str(file)], settings)
    shown = b""
    until = time.monotonic() + 100
    while time.monotonic() < until:
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    coloured = shown.decode()
    text = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert text != coloured
    assert "steps 3/3  3 succeeded" in text
    assert "├─ ✔ greet(0:a)" in text


def test_help_is_quick_and_loads_nothing_heavy(environment: dict[str, str]) -> None:
    code = (
        "import sys; from jitflow.cli import main\n"
        "sys.argv = ['jitflow', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('httpx', 'rich', 'uvicorn', 'starlette', 'yaml', 'msgspec') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_completion_offers_commands_without_a_server(environment: dict[str, str]) -> None:
    def complete(words: str, index: int) -> list[str]:
        more = {"_JITFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        return inside(environment | more).stdout.split()

    offered = ["server", "submit", "stop", "suspend", "set", "sync", "settings", "servers", "state", "secrets"]
    assert complete("jitflow s", 1) == offered
    assert complete("jitflow data un", 2) == ["unpin"]
    assert complete("jitflow get ", 2) == ["@latest"]


def test_doctor(environment: dict[str, str], tmp_path: Path) -> None:
    found = inside(environment, "doctor", "-o", "json")
    checks = {check["name"]: check for check in json.loads(found.stdout)["checks"]}
    assert found.exit_code == 0
    assert checks["executor process"]["ok"]
    assert checks["executor process"]["needed"]
    assert checks["rclone"]["ok"]
    assert not (tmp_path / "home").exists()


def test_doctor_says_what_keeps_everything_from_running(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a directory")
    found = inside(environment, "doctor")
    assert found.exit_code == 1
    assert "FAILS  home" in found.stdout
    assert "nothing can run here" in found.stderr


def test_wrong_settings_are_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("nonsense = 1\n")
    wrong = environment | {"JITFLOW_CONFIG": str(tmp_path / "settings.toml")}
    for arguments in (["list"], ["server"], ["version"]):
        found = inside(wrong, *arguments)
        assert found.exit_code == 1
        assert found.stderr.startswith(f"error: {tmp_path}/settings.toml: ")
        assert "Traceback" not in found.stderr


def test_a_closed_pipe_is_no_error(environment: dict[str, str]) -> None:
    command = f"{sys.executable} -m jitflow.cli --help | head -n 1"
    found = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert "Usage: jitflow" in found.stdout
    assert "Traceback" not in found.stderr


def test_the_reference_is_up_to_date() -> None:
    target = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
    assert target.read_text(encoding="utf-8") == _reference.document()


def test_watch_and_logs_go_on_when_the_server_is_killed_and_started_again(
    environment: dict[str, str], file: Path, tmp_path: Path
) -> None:
    """Its address is another one then: the commands look it up again."""
    gate = tmp_path / "gate"
    file.write_text(MANIFEST.replace("echo the last words", f"echo begun; until [ -e {gate} ]; do sleep 0.1; done; echo gone on"))
    command = [sys.executable, "-m", "jitflow.cli"]

    def begin(*arguments: object, out: Any = subprocess.PIPE) -> subprocess.Popen[str]:
        words = [*command, *(str(item) for item in arguments)]
        return subprocess.Popen(words, env=environment, stdout=out, stderr=subprocess.STDOUT, text=True)

    def serve() -> subprocess.Popen[str]:
        server = begin("server", "--port", 0)
        assert server.stdout is not None
        assert "http://127.0.0.1:" in server.stdout.readline()
        return server

    server = serve()
    try:
        with (tmp_path / "log").open("w") as log, (tmp_path / "watch").open("w") as watch:
            logs = begin("submit", file, "--log", out=log)
            deadline = time.monotonic() + 60
            while "begun" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
            watched = begin("watch", "@latest", out=watch)
            while "finish running" not in (tmp_path / "watch").read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
            server.kill()
            server.communicate()
            server = serve()
            gate.touch()
            assert (logs.wait(60), watched.wait(60)) == (0, 0)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    lines = [line.rpartition(": ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert (lines.count("begun"), lines.count("gone on")) == (1, 1)
    assert (tmp_path / "watch").read_text().count("finish succeeded") == 1
