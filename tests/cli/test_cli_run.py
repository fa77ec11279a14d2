"""`run`, `submit`, `explain`: from a file to a server of canned answers, and back."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_samples import node, workflow
from cli_stub import CUT, Stub, stub
from typer.testing import CliRunner, Result

from jitflow.cli.app import app

NS = "/api/v1/workflows/default"
MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: hello-
spec:
  entrypoint: main
  arguments:
    parameters:
    - name: greeting
      value: hello
    - name: kept
      value: "7"
  templates:
  - name: main
    inputs:
      parameters:
      - name: greeting
        value: "{{workflow.parameters.greeting}} {{workflow.parameters.kept}}"
    container:
      image: alpine
      command: [echo, "{{inputs.parameters.greeting}}"]
"""
Jitflow = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[Stub]:
    """A server that takes any workflow, names it wf, and ends it."""
    with stub() as found:
        found.routes[f"POST {NS}"] = lambda _q, _b: (200, workflow())
        ends(found, "Succeeded")
        yield found


def ends(server: Stub, phase: str) -> None:
    outputs = {"parameters": [{"name": "n", "value": "42"}]}
    done = workflow(
        node(
            "wf",
            "wf",
            phase,
            kind="Pod",
            display="wf",
            finishedAt="2026-01-01T00:00:05Z",
            message="" if phase == "Succeeded" else "exit 3",
        ),
        phase=phase,
        outputs=outputs,
    )
    states = iter([workflow(node("wf", "wf", display="wf"))])
    server.routes[f"GET {NS}/wf"] = lambda _q, _b: (200, next(states, done))
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: [{"result": {"type": "MODIFIED", "object": done}}]
    server.routes[f"GET {NS}/wf/log"] = lambda _q, _b: [
        {"result": {"content": "2026-01-01T00:00:01Z the last words", "podName": "wf"}}
    ]


@pytest.fixture
def environment(server: Stub, tmp_path: Path) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("JITFLOW_", "FORCE_COLOR"))}
    return keep | {
        "JITFLOW_SERVER": server.url,
        "JITFLOW_TOKEN": server.token,
        "JITFLOW_HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hello.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def jitflow(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Jitflow:
    for name in [name for name in os.environ if name.startswith("JITFLOW_")]:
        monkeypatch.delenv(name)
    for name in ("JITFLOW_SERVER", "JITFLOW_TOKEN", "JITFLOW_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, environment[name])

    def run(*arguments: object, **more: Any) -> Result:
        return CliRunner().invoke(app, [str(item) for item in arguments], prog_name="jitflow", **more)

    return run


def sent(server: Stub, route: str = f"POST {NS}") -> Any:
    return [body for found, _, body in server.requests if found == route][-1]


def test_run_shows_the_way_and_the_outputs(jitflow: Jitflow, server: Stub, file: Path) -> None:
    found = jitflow("run", file)
    assert (found.exit_code, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert "✔ wf succeeded in 5s" in lines
    assert lines[-3:] == ["✔ wf Succeeded in 1m 5s (1 step)", "outputs", "  n = 42"]
    assert sent(server)["workflow"]["metadata"] == {"generateName": "hello-", "namespace": "default"}


def test_run_of_a_failing_workflow(jitflow: Jitflow, server: Stub, file: Path) -> None:
    ends(server, "Failed")
    found = jitflow("run", file, "--no-tree")
    assert found.exit_code == 1
    assert "✖ wf: exit 3" in found.stdout
    assert "| 2026-01-01T00:00:01Z the last words" in found.stdout


def test_run_prints_logs_or_json(jitflow: Jitflow, server: Stub, file: Path) -> None:
    assert "wf: the last words\n" in jitflow("run", file, "--log").stdout
    ends(server, "Succeeded")
    found = jitflow("run", file, "-o", "json")
    assert json.loads(found.stdout)["status"]["phase"] == "Succeeded"
    assert "succeeded" in found.stderr


def test_the_command_line_wins_over_the_file(jitflow: Jitflow, server: Stub, file: Path, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("greeting: from the file\nlist: [1, 2]\n")
    server.routes["POST /api/v1/workflows/lab"] = lambda _q, _b: (200, workflow())
    found = jitflow(
        "submit",
        file,
        "-p",
        "greeting=a=b",
        "-f",
        tmp_path / "p.yaml",
        "--name",
        "x",
        "--entrypoint",
        "main",
        "-n",
        "lab",
        "--labels",
        "a=b",
        "--annotations",
        "c=d,e=f",
        "--priority",
        "5",
    )
    assert (found.exit_code, found.stdout) == (0, "wf\n")
    body = sent(server, "POST /api/v1/workflows/lab")["workflow"]
    assert body["metadata"] == {"name": "x", "namespace": "lab", "labels": {"a": "b"}, "annotations": {"c": "d", "e": "f"}}
    assert body["spec"]["priority"] == 5
    assert body["spec"]["arguments"]["parameters"] == [
        {"name": "greeting", "value": "a=b"},
        {"name": "list", "value": "[1,2]"},
        {"name": "kept", "value": "7"},
    ]


def test_standard_input_is_a_manifest(jitflow: Jitflow, server: Stub) -> None:
    assert jitflow("run", "-", input=MANIFEST).exit_code == 0
    refused = jitflow("run", "-", input="a: [")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: <stdin>:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MANIFEST.replace("image", "imagee"), ':20:7: unknown field "imagee"'),
        (MANIFEST.replace("entrypoint: main", "entrypoint: nope"), ":6:"),
        ("kind: [", "not YAML"),
        ("", "there is no manifest"),
        ("\x00", "not YAML"),
        (MANIFEST + "---\n" + MANIFEST, "holds 2 workflows"),
        (MANIFEST.replace("kind: Workflow", "kind: WorkflowTemplate"), ":2:"),
    ],
)
def test_a_refused_manifest_says_where_and_nothing_is_sent(
    jitflow: Jitflow, server: Stub, file: Path, text: str, says: str
) -> None:
    file.write_text(text)
    found = jitflow("run", file)
    assert found.exit_code == 2
    assert f"error: {file}" in found.stderr
    assert says in found.stderr
    assert found.stdout == ""
    assert server.requests == []


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_files_that_cannot_be_read(jitflow: Jitflow, tmp_path: Path, name: str) -> None:
    found = jitflow("run", tmp_path / name)
    assert found.exit_code == 2
    assert found.stderr.startswith(f"error: {tmp_path / name}: ")


def test_files_that_are_no_text(jitflow: Jitflow, file: Path) -> None:
    file.write_bytes(b"a: \xff\xfe")
    assert "not UTF-8" in jitflow("run", file).stderr


def test_wrong_parameters_are_refused(jitflow: Jitflow, file: Path, tmp_path: Path) -> None:
    assert jitflow("run", file, "-p", "nonsense").exit_code == 2
    assert "exclude each other" in jitflow("run", file, "--name", "a", "--generate-name", "b-").stderr
    (tmp_path / "p.yaml").write_text("- a\n")
    assert "map of parameter names" in jitflow("run", file, "-f", tmp_path / "p.yaml").stderr
    (tmp_path / "p.yaml").write_text("a: [\n")
    assert "p.yaml:2:1: not YAML" in jitflow("run", file, "-f", tmp_path / "p.yaml").stderr


def test_what_the_server_refuses_is_refused_input(jitflow: Jitflow, server: Stub, file: Path) -> None:
    server.routes[f"POST {NS}"] = lambda _q, _b: (400, {"code": 3, "message": "far:x does not exist\nfar:y does not exist"})
    found = jitflow("run", file)
    assert found.exit_code == 2
    assert found.stderr == f"error: {file}: far:x does not exist\nerror: {file}: far:y does not exist\n"
    server.routes[f"POST {NS}"] = lambda _q, _b: (503, {"code": 14, "message": "the store is closed"})
    found = jitflow("run", file)
    assert (found.exit_code, found.stderr) == (1, "error: the store is closed\n")


def test_submit_of_several_checks_all_before_it_sends_one(jitflow: Jitflow, server: Stub, file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: [")
    assert jitflow("submit", file, bad).exit_code == 2
    assert server.requests == []
    assert jitflow("submit", file, file).stdout == "wf\nwf\n"
    assert [item["metadata"]["name"] for item in json.loads(jitflow("submit", file, file, "-o", "json").stdout)] == ["wf", "wf"]


def test_submit_waits_and_dry_runs(jitflow: Jitflow, server: Stub, file: Path) -> None:
    waited = jitflow("submit", file, "--wait")
    assert waited.exit_code == 0
    assert waited.stdout.splitlines()[:2] == ["wf", "✔ wf Succeeded in 1m 5s (1 step)"]
    ends(server, "Error")
    assert jitflow("submit", file, "--watch").exit_code == 1
    ends(server, "Succeeded")
    assert json.loads(jitflow("submit", file, "--wait", "-o", "json").stdout)["status"]["phase"] == "Succeeded"
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: []
    server.routes[f"GET {NS}/wf"] = lambda _q, _b: (200, workflow())
    late = jitflow("submit", file, "--wait", "--timeout", "1s")
    assert (late.exit_code, late.stderr) == (4, "error: workflow wf has not ended within 1 s; it goes on\n")
    ends(server, "Succeeded")
    assert jitflow("submit", file, "--wait", "--timeout", "1m").exit_code == 0
    assert jitflow("submit", file, "--timeout", "1m").exit_code == 2
    assert jitflow("submit", file, "--dry-run").exit_code == 0
    assert sent(server)["createOptions"] == {"dryRun": ["All"]}


ESTIMATE: dict[str, Any] = {
    "objects": 22, "distinct_bytes": 2_000_000, "resident_bytes": 500_000, "to_move_bytes": 1_500_000, "peak_bytes": 900_000,
    "capacity_bytes": 1_000_000, "smallest_capacity_bytes": 400_000, "unknown": 3, "link_Bps": 1e6, "transfer_s": 1.5,
    "expected_s": 12.0, "on_demand_s": 20.0, "steps": 8, "timed": 5, "compute_s": 8.0,
    "compute_chain": ["wf.a", "wf.b"], "chain_s": 0.5, "transfer_chain": [f"wf.{n}" for n in range(9)], "too_large": False,
    "rows": [[f"far:{index}", index * 1000 or None, "absent", 2] for index in range(22)],
    "money": {},
    "plans": [{
        "uid": "u1", "name": "soon", "reason": "soon: best of 9 plans that ended, in 800 simulated events", "makespan_s": 11.0,
        "steps": 8, "timed": 5, "chosen_at": 1000.0, "workflow": "wf",
    }],
}  # fmt: skip


def test_explain(jitflow: Jitflow, server: Stub, file: Path) -> None:
    server.routes["POST /api/jit/v1/explain"] = lambda _q, _b: (200, ESTIMATE)
    found = jitflow("explain", file)
    assert found.exit_code == 0
    text = " ".join(found.stdout.split())
    for part in (
        "objects: 22 objects, 2.0 MB, 3 more not known yet",
        "bytes to move: 1.5 MB",
        "time to move them: 1.5s at 1.0 MB/s",
        "expected run time: 12s (run times of 3 of 8 steps are not known and are taken for average ones)",
        "without look-ahead: 20s",
        "longest computing: 8s: wf.a → wf.b",
        "longest transfers: 500ms: wf.0 → wf.1 → … 6 more … → wf.8",
        "plan: soon: best of 9 plans that ended, in 800 simulated events, 11s if alone",
        "peak of the primary: 900 kB",
        "smallest that works: 400 kB",
        "- absent 2 far:0",
    ):
        assert part in text
    assert "far:21" not in text
    assert "2 more objects: --all" in found.stderr
    assert "far:21" in jitflow("explain", file, "--all").stdout
    assert json.loads(jitflow("explain", file, "-o", "json").stdout) == ESTIMATE | {"quota_bytes": None}
    server.routes["POST /api/jit/v1/explain"] = lambda _q, _b: (400, {"code": 3, "message": "remote far is not configured"})
    found = jitflow("explain", file)
    assert (found.exit_code, found.stderr) == (2, f"error: {file}: remote far is not configured\n")


def test_lint(jitflow: Jitflow, server: Stub, file: Path, tmp_path: Path) -> None:
    assert jitflow("lint", file).exit_code == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text(MANIFEST.replace("image", "imagee") + "---\n" + MANIFEST.replace("entrypoint: main", "entrypoint: no"))
    found = jitflow("lint", file, bad, tmp_path / "missing.yaml")
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert lines[0].startswith(f"{bad}:20:7: unknown field")
    assert lines[-1] == f"{tmp_path}/missing.yaml: No such file or directory"
    assert "in 2 of 3 files" in found.stderr
    entries = json.loads(jitflow("lint", bad, "-o", "json").stdout)
    assert (entries[0]["file"], entries[0]["line"], entries[0]["column"]) == (str(bad), 20, 7)
    assert jitflow("lint", "-", input=MANIFEST).exit_code == 0
    assert server.requests == []


def test_lint_needs_no_settings_and_no_server(environment: dict[str, str], file: Path) -> None:
    clean = {name: value for name, value in environment.items() if not name.startswith("JITFLOW_")}
    found = subprocess.run([sys.executable, "-m", "jitflow.cli", "lint", str(file)], env=clean, capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (0, b"")


@pytest.mark.parametrize(("presses", "actions"), [(1, ["stop"]), (2, ["stop", "terminate"])])
def test_interrupts_stop_then_terminate_and_wait_for_the_end(
    server: Stub, environment: dict[str, str], file: Path, presses: int, actions: list[str]
) -> None:
    told: list[str] = []
    change = threading.Event()
    running, ended = workflow(node("wf", "wf", display="wf")), workflow(phase="Failed", message="Stopped with strategy 'Stop'")

    def act(name: str) -> tuple[int, Any]:
        told.append(name)
        if len(told) == presses:
            server.routes[f"GET {NS}/wf"] = lambda _q, _b: (200, ended)
            change.set()
        return 200, running

    def watch(_query: Any, _body: Any) -> Iterator[Any]:
        yield {"result": {"type": "MODIFIED", "object": running}}
        change.wait(30)
        yield {"result": {"type": "MODIFIED", "object": ended}}

    server.routes[f"GET {NS}/wf"] = lambda _q, _b: (200, running)
    server.routes["GET /api/v1/workflow-events/default"] = watch
    for name in ("stop", "terminate"):
        server.routes[f"PUT {NS}/wf/{name}"] = lambda _q, _b, name=name: act(name)
    process = subprocess.Popen(
        [sys.executable, "-m", "jitflow.cli", "run", str(file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "● wf running\n"
    for count in range(presses):
        process.send_signal(signal.SIGINT)
        while len(told) <= count and process.poll() is None:
            change.wait(0.02)
    output, errors = process.communicate(timeout=60)
    assert told == actions
    assert process.returncode == 1
    assert "Stopped with strategy 'Stop'" in output
    assert "stopping wf" in errors
    assert "Traceback" not in errors


def test_run_survives_a_restart_of_the_server(jitflow: Jitflow, server: Stub, file: Path) -> None:
    running = workflow(node("wf", "wf", display="wf"))
    done = workflow(phase="Succeeded")
    states = iter([running, running])
    server.routes[f"GET {NS}/wf"] = lambda _q, _b: (200, next(states, done))
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: [CUT]
    assert jitflow("run", file).exit_code == 0
