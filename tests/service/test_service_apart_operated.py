"""What operators do where control and data side are processes of their own: usage, budgets, keys, verify, traces."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server, venv_program
from tests.service.service_kit import WORKFLOWS, ended, reader
from tests.service.test_service_apart import until_ready
from tests.service.test_service_quotas import submit
from tests.service.test_service_spending import succeeds
from tests.service.test_service_traces import CALLER, TRACE, Collector
from tests.service.test_service_transfers import until

from jitflow.bootstrap import moving
from jitflow.bootstrap.linked import without_effect
from jitflow.settings import PrimarySettings, RcloneSettings, Settings

SIZE = 100_000
WITH_SECRET = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: secret-}
spec:
  entrypoint: main
  templates:
  - name: main
    container:
      image: busybox
      command: [sh, -c]
      args: ['test "$WORD" = correct-horse']
      env: [{name: WORD, valueFrom: {secretKeyRef: {name: archive, key: word}}}]
"""


class Pair:
    """A data service and a control service over a directory as far store."""

    def __init__(self, tmp: Path, collector: str) -> None:
        self.far = tmp / "far"
        for name in ("a", "b", "c", "d"):
            (self.far / "in").mkdir(parents=True, exist_ok=True)
            (self.far / "in" / name).write_bytes(name.encode() * SIZE)
        remote = {"type": "local", "options": {"root": str(self.far)}, "price_per_GB_down": 90, "currency": "EUR"}
        tight = {"budget_moved": SIZE, "budget_period": "day"}
        traces = {"telemetry": {"otlp": collector}}
        self.data = Server(tmp / "data", {"remotes": {"far": remote}, "namespaces": {"tight": tight}, **traces})
        self.data.arguments = ["--only", "data"]
        link = {"url": f"http://127.0.0.1:{self.data.port}", "token": {"file": str(self.data.home / "link.token")}}
        self.control = Server(tmp / "control", {"data": {"patience_s": 1.0} | link, "archive": False, **traces})
        self.control.arguments = ["--only", "control"]

    def start(self) -> None:
        self.data.start()
        self.control.start()
        until_ready(self.control)

    def secret_keys(self) -> list[bytes]:
        return [(one.home / "secret.key").read_bytes() for one in (self.data, self.control)]

    def stop(self) -> None:
        self.control.stop()
        self.data.stop()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Pair]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        made = Pair(tmp_path_factory.mktemp("apart"), collector.url)
        made.start()
        yield made
        made.stop()


def test_settings_that_only_the_data_side_looks_at_are_told() -> None:
    assert without_effect(Settings(primary=PrimarySettings(lookahead=3))) == []
    tree = Settings(rclone=RcloneSettings(patience_s=1), primary=PrimarySettings(capacity=1))
    assert without_effect(tree) == ["rclone", "primary (but for lookahead)"]


def jitflow(server: Server, *arguments: str, code: int = 0) -> str:
    command = [venv_program("jitflow"), *arguments]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def spent(server: Server, namespace: str) -> list[tuple[str, int]]:
    return [(row["remote"], row["down_bytes"]) for row in server.get(f"/api/jit/v1/usage/{namespace}")["spent"]]


def test_usage_tells_what_the_data_side_has_counted_and_budgets_hold(pair: Pair) -> None:
    succeeds(pair.control, submit(pair.control, "tight", reader("in/a")))
    assert spent(pair.control, "tight") == [("far", SIZE)]
    assert "far: 100 kB down, 0 B up, 0.009 EUR" in jitflow(pair.control, "usage", "-n", "tight")
    assert spent(pair.control, "default") == []
    name = submit(pair.control, "tight", reader("in/b"))
    limit, why = time.monotonic() + 20, ""
    while "used up its budget" not in why and time.monotonic() < limit:
        why = pair.control.call("GET", f"/api/jit/v1/workflows/tight/{name}/why", node=name).text
        time.sleep(0.05)
    assert "used up its budget of 100,000 bytes moved for this day" in why
    raised = {"budgets": {"tight": {"moved": "1MB", "period": "day"}}}
    pair.control.call("PUT", "/data/v1/budgets", raised).raise_for_status()
    succeeds(pair.control, name)
    assert spent(pair.control, "tight") == [("far", 2 * SIZE)]


def test_a_new_key_reaches_both_homes_and_what_the_old_one_sealed_is_read(pair: Pair) -> None:
    options = {"provider": "Other", "endpoint": "http://127.0.0.1:1", "secret_access_key": "hush-hush", "access_key_id": "me"}
    pair.control.call("POST", "/data/v1/remotes", {"name": "sealed", "type": "s3", "options": options}).raise_for_status()
    secret = {"kind": "Secret", "metadata": {"name": "archive"}, "stringData": {"word": "correct-horse"}}
    pair.control.call("PUT", "/api/jit/v1/objects/default/Secret/archive", secret).raise_for_status()
    old = [key.splitlines()[0] for key in pair.secret_keys()]
    said = jitflow(pair.control, "secrets", "rotate-key")
    assert "1 secrets of the server are encrypted with its new key" in said
    assert "1 secrets of the data service are encrypted with its new key" in said
    for before, now in zip(old, pair.secret_keys(), strict=True):
        assert before not in now
    # The new keys alone open all there is: beside the servers, and when they start again.
    assert flaws(pair.data) + flaws(pair.control) == []
    pair.data.stop()
    kept = pair.secret_keys()
    refused = pair.control.call("POST", "/api/jit/v1/secrets/rotate-key")
    assert (refused.status_code, "the data service keeps its key" in refused.text) == (503, True), refused.text
    assert pair.secret_keys() == kept, "neither is changed"
    assert "does not answer" in pair.control.get("/api/jit/v1/usage/default")["spent_unknown"]
    pair.control.stop()
    pair.start()
    assert "sealed" in [one["name"] for one in pair.control.get("/data/v1/remotes")["items"]]
    answer = pair.control.post_text(WORKFLOWS, WITH_SECRET)
    assert ended(pair.control, answer.json()["metadata"]["name"])["status"]["phase"] == "Succeeded"


def test_the_data_sides_state_is_sound_while_pods_of_the_control_side_run(pair: Pair) -> None:
    name = submit(pair.control, "default", reader("in/c", command="cat /in/* > /dev/null; sleep 30"))
    limit = time.monotonic() + 20
    while not (pinned := pair.data.get("/data/v1/primary")["fill"]["pinned_bytes"]) and time.monotonic() < limit:
        time.sleep(0.05)
    assert pinned == SIZE
    assert flaws(pair.data) + flaws(pair.control) == []
    pair.data.kill()
    with settings_of(pair.data):
        assert (repaired := moving.repair("")).mended + repaired.left == []
    pair.data.start()
    until_ready(pair.control)
    assert pair.data.get("/data/v1/primary")["fill"]["pinned_bytes"] == SIZE, "the pod still reads it"
    pair.control.call("PUT", f"{WORKFLOWS}/{name}/terminate", {}).raise_for_status()
    ended(pair.control, name)


@contextmanager
def settings_of(server: Server) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JITFLOW_CONFIG", str(server.config))
        patch.delenv("JITFLOW_HOME", raising=False)
        yield


def flaws(server: Server) -> list[str]:
    """Return what `jitflow state verify` finds in a server's home."""
    with settings_of(server):
        return moving.verify("").problems


def test_one_trace_goes_through_both_processes(pair: Pair, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "authorization": f"Bearer {pair.control.token}"}
    url = f"http://127.0.0.1:{pair.control.port}"
    with httpx.Client(trust_env=False, headers=headers, base_url=url, timeout=30) as client:
        made = client.post(WORKFLOWS, content=reader("in/d"), headers={"content-type": "application/yaml"})
        assert ended(pair.control, made.json()["metadata"]["name"])["status"]["phase"] == "Succeeded"
        wish = {"kind": "copy", "source": "far:in/", "destination": "far:copied/"}
        job = client.post("/data/v1/jobs", json=wish).json()["id"]
    assert until(pair.control, job)["phase"] == "Succeeded"
    limit = time.monotonic() + 15
    while not (moved := of(collector, "copy job")) and time.monotonic() < limit:
        time.sleep(0.05)
    (fetch,) = of(collector, "fetch far")
    (step,) = [one for one in of(collector, "Pod ") if one["id"] == fetch["parent"]]
    (whole,) = [one for one in of(collector, "workflow ") if one["id"] == step["parent"]]
    (request,) = [one for one in of(collector, "POST /api/v1/workflows") if one["id"] == whole["parent"]]
    assert request["parent"] == CALLER
    asked = [one for one in of(collector, "POST /link/v1/sessions/{session}/ask") if one["parent"] == request["id"]]
    assert asked, "looking its inputs up was a part of the request"
    first = next(one for one in of(collector, "commit") if one["jitflow.version"] == 1)
    assert (first["parent"], first["failed"]) == (request["id"], False)
    assert request["began"] <= first["began"] <= first["ended"] <= request["ended"]
    assert [one for one in of(collector, "commit") if one["parent"] == whole["id"]], "later ones are below the workflow"
    (one,) = moved
    ways = {span["id"]: span for span in of(collector, "POST /data/v1/jobs")}
    there = ways[one["parent"]]
    assert ways[there["parent"]]["parent"] == CALLER, "from the control service to the data service"
    assert (one["jitflow.job.id"], one["jitflow.bytes"], one["jitflow.phase"]) == (job, 4 * SIZE, "Succeeded")
    idle = collector.find(lambda span: "/link/v1/" in span["name"] and span["parent"] == "")
    assert not idle, "what the two say to each other by themselves is no trace"


def test_provenance_is_taken_and_drift_is_told_through_the_control_side(pair: Pair, tmp_path: Path) -> None:
    name = submit(pair.control, "default", reader("in/d"))
    assert ended(pair.control, name)["status"]["phase"] == "Succeeded"
    path = f"/api/jit/v1/workflows/default/{name}/provenance"
    (tmp_path / "run.zip").write_bytes(pair.control.call("GET", path, format="zip").content)
    crate = str(tmp_path / "run.zip")
    jitflow(pair.control, "replay", crate, "--check")
    before = (pair.far / "in" / "d").read_bytes()
    (pair.far / "in" / "d").write_bytes(b"other")
    said = jitflow(pair.control, "replay", crate, "--check", code=1)
    assert "changed" in said
    assert "far:in/d" in said
    (pair.far / "in" / "d").write_bytes(before)


def of(collector: Collector, begins: str) -> list[dict[str, Any]]:
    """Return the spans of the trace whose names begin so."""
    return collector.find(lambda span: span["trace"] == TRACE and span["name"].startswith(begins))
