"""What operators rely on: metrics, health, logs, and a server that stops without losing anything."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from benchmark.service import Server, venv_program
from prometheus_client.parser import text_string_to_metric_families
from tests.service.service_kit import WORKFLOWS, ended, reader, settings_for, submit, until

from jitflow.telemetry.known import KNOWN
from jitflow.testing.machine import freeze
from jitflow.testing.s3_server import S3Server

SLEEPER = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: sleeper-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: first, template: nap}], [{name: second, template: nap}]]
  - name: nap
    container: {image: busybox, command: [sleep, "2"]}
"""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    (root / "bucket" / "a").write_text("1\n")
    with S3Server(root) as s3:
        yield s3


@pytest.fixture
def server(far: S3Server, tmp_path: Path) -> Iterator[Server]:
    settings = settings_for(far, log_format="json", namespaces={"default": {"quota": "32MiB"}})
    with Server(tmp_path / "home", settings) as server:
        yield server


def lines(server: Server) -> list[dict[str, str]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def test_every_metric_is_in_the_table_and_most_have_values(server: Server) -> None:
    name = submit(server, reader("bucket/a"))
    ended(server, name)
    text = server.call("GET", "/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    own = {name for name in families if name.startswith("jitflow_")}
    assert own <= {name.removesuffix("_total") for name in KNOWN}
    valued = {family.name for family in families.values() if family.samples}
    lacking = {
        "jitflow_data_service_up",
        "jitflow_spent_money",
        "jitflow_link_limit_bytes_per_second",
        "jitflow_link_rate_bytes_per_second",
        "jitflow_uploads",
        "jitflow_namespace_waiting_steps",
    }
    assert {name.removesuffix("_total") for name in KNOWN} - valued <= lacking
    values = {(one.name, *sorted(one.labels.values())): one.value for family in families.values() for one in family.samples}
    assert values["jitflow_transfers_total", "far", "in", "ok"] == 1
    assert values["jitflow_transferred_bytes_total", "far", "in"] == 2
    assert values["jitflow_workflows_ended_total", "Succeeded"] == 1
    assert values["jitflow_pods_total", "good"] == 1
    assert values["jitflow_state_up",] == 1
    assert values["jitflow_namespace_bytes", "default", "quota"] == 32 << 20
    assert values["jitflow_api_request_seconds_count", "POST"] == values["jitflow_api_requests_total", "200", "POST"]


def test_health_needs_no_token_and_tells_of_parts_that_fail(server: Server) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as anybody:
        assert [anybody.get(path).status_code for path in ("/healthz", "/livez", "/readyz")] == [200, 200, 200]
        assert anybody.get("/metrics").status_code == 401
        rclones = subprocess.run(["pgrep", "-P", str(server.pid), "-f", "rclone"], capture_output=True, text=True, check=True)
        for pid in rclones.stdout.split():
            freeze(int(pid))
        try:
            answer = anybody.get("/readyz", timeout=10)
            assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "parts": {"rclone": "no answer"}})
            older = anybody.get("/health", timeout=10)
            assert (older.status_code, older.json()) == (503, {"status": "unhealthy", "error": "rclone: no answer"})
            assert anybody.get("/livez").status_code == 200
        finally:
            for pid in rclones.stdout.split():
                os.kill(int(pid), signal.SIGCONT)
        assert anybody.get("/readyz").status_code == 200
        assert anybody.get("/health").json() == {"status": "healthy"}


def test_requests_have_an_id_that_answers_bear(server: Server) -> None:
    def ask(sent: str) -> str:
        url = f"http://127.0.0.1:{server.port}/livez"
        return httpx.get(url, headers={"x-request-id": sent}, trust_env=False).headers["x-request-id"]

    assert ask("from-the-proxy.1") == "from-the-proxy.1"
    made = [ask("no good!") for _ in "ab"]
    assert len(set(made)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", one) for one in made)


def test_a_server_told_to_stop_lets_requests_end_and_starts_no_pod(far: S3Server, tmp_path: Path) -> None:
    settings = settings_for(far, log_format="json")
    with Server(tmp_path / "home", settings) as server:
        name = submit(server, SLEEPER)
        until(server, name, lambda one: any(node["phase"] == "Running" and node["type"] == "Pod"
              for node in one["status"].get("nodes", {}).values()))  # fmt: skip
        seen: list[int] = []
        # A request whose body is still coming when the server is told to stop: it is answered.
        slow = socket.create_connection(("127.0.0.1", server.port))
        body = json.dumps({"workflow": {"metadata": {"generateName": "late-"}, "spec": {"entrypoint": "m", "templates": [
            {"name": "m", "container": {"image": "busybox", "command": ["true"]}}]}}}).encode()  # fmt: skip
        head = f"POST {WORKFLOWS}/lint HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\n"
        slow.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:20])
        time.sleep(0.2)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        slow.sendall(body[20:])
        seen.append(int(slow.recv(4096).split()[1]))
        slow.close()
        assert seen == [200]
        assert server.wait_ended(10) == 0
        assert time.monotonic() - began < 8
        assert any(line["event"] == "draining" for line in lines(server))
        server.start()
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded"
        pods = [node for node in workflow["status"]["nodes"].values() if node["type"] == "Pod"]
        assert len(pods) == 2


def test_a_second_signal_ends_a_server_at_once(far: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(far)) as server:
        held = socket.create_connection(("127.0.0.1", server.port))
        head = f"POST {WORKFLOWS}/lint HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\n"
        held.sendall(f"{head}content-length: 100\r\n\r\n".encode())
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.3)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_ended(5) == -signal.SIGTERM
        assert time.monotonic() - began < 2
        held.close()
        server.start()
        assert server.call("GET", "/readyz").status_code == 200


def test_a_drain_has_a_limit(far: S3Server, tmp_path: Path) -> None:
    settings = settings_for(far) | {"server": {"drain_s": 1.0}}
    with Server(tmp_path / "home", settings) as server:
        held = socket.create_connection(("127.0.0.1", server.port))
        head = f"POST {WORKFLOWS}/lint HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\n"
        held.sendall(f"{head}content-length: 100\r\n\r\n".encode())
        time.sleep(0.2)
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_ended(8) == 0
        held.close()


def test_settings_say_where_they_come_from_and_tell_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(
        'max_pods = 3\n[state]\nurl = "postgresql://me:planted1@db/x"\n[remotes.far]\ntype = "s3"\n'
        '[remotes.far.options]\nprovider = "Other"\nsecret_access_key = "planted2"\nwhatever = "planted3"\n'
        'session_token = { env = "TOKEN" }\n[events.webhooks.w]\nurl = "https://x.example/?k=planted4"\nsecret = "planted5"\n'
        "[primary]\ntransfers = 4\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "JITFLOW_CONFIG": str(tmp_path / "settings.toml"),
        "JITFLOW_HOME": str(tmp_path),
        "JITFLOW__PRIMARY__TRANSFERS": "5",
        "JITFLOW__SERVER__NAMES": '["a.example"]',
    }
    command = [venv_program("jitflow"), "config", "show", "--set", "primary.plans=false", "-o", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert "planted" not in done.stdout
    file = f"file {tmp_path / 'settings.toml'}"
    assert found["max_pods"] == {"value": 3, "source": file}
    assert found["home"] == {"value": str(tmp_path), "source": "environment JITFLOW_HOME"}
    assert found["primary.transfers"] == {"value": 5, "source": "environment JITFLOW__PRIMARY__TRANSFERS"}
    assert found["server.names"] == {"value": ["a.example"], "source": "environment JITFLOW__SERVER__NAMES"}
    assert found["primary.plans"] == {"value": False, "source": "flag --set primary.plans"}
    assert found["grace_s"] == {"value": 30.0, "source": "default"}
    assert found["state.url"] == {"value": "postgresql://me:***@db/x", "source": file}
    assert found["remotes.far.options.secret_access_key"] == {"value": "***", "source": file}
    assert found["remotes.far.options.provider"] == {"value": "Other", "source": file}
    assert found["remotes.far.options.session_token"] == {"value": {"env": "TOKEN"}, "source": file}
    wrong = subprocess.run([*command[:4], "primary.plan=no"], env=environment, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "there is no setting `plan`" in wrong.stderr


def test_a_flag_of_the_server_goes_before_everything(far: S3Server, tmp_path: Path) -> None:
    with Server(tmp_path / "home", settings_for(far)) as server:
        port = server.port
    command = [venv_program("jitflow"), "server", "--port", str(port), "--set", "log_format=text"]
    process = subprocess.Popen(command, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    killer = threading.Timer(20, process.kill)
    killer.start()
    assert process.stdout is not None
    assert f":{port}" in process.stdout.readline()
    process.terminate()
    _, said = process.communicate()
    killer.cancel()
    assert "jitflow.server: draining" in said
    assert process.returncode == 0
