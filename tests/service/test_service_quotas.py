"""Namespaces share the near store of a real server: one waits for its quota while another goes on, also after SIGKILL."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.link import LinkThread
from benchmark.service import Server
from tests.service.service_kit import ended, settings_for
from tests.service.test_service_explain import FAN, KEYS, SIZE
from tests.service.test_service_why import cli

from jitflow.testing.s3_server import S3Server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    (root / "bucket").mkdir()
    for group in ("one", "two"):
        for key in KEYS:
            (root / "bucket" / f"{group}-{key}").write_bytes(f"{group}{key}".encode() * (SIZE // len(f"{group}{key}")))
    with S3Server(root) as server:
        yield server


def submit(server: Server, namespace: str, text: str) -> str:
    answer = server.post_text(f"/api/v1/workflows/{namespace}", text)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["metadata"]["name"])


def quotas(server: Server) -> dict[str, dict[str, int]]:
    return {one["namespace"]: one for one in server.get("/data/v1/quotas")["items"]}


def plan_of(server: Server, name: str) -> dict[str, Any]:
    """Return a running workflow's plan as soon as it has one."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        plans = server.get(f"/api/jit/v1/workflows/default/{name}/explain")["plans"]
        if plans:
            return plans[0]
        time.sleep(0.05)
    raise AssertionError("no plan was chosen")


def test_a_quota_holds_for_a_namespace_and_over_a_kill(s3: S3Server, tmp_path: Path) -> None:
    with LinkThread(s3.port, rate_bps=3_000_000) as link:
        settings = settings_for(
            s3, endpoint=link.url, max_pods=4, namespaces={"tight": {"quota": 2 * SIZE + 100_000}, "tiny": {"quota": "1MB"}}
        )
        with Server(tmp_path / "home", settings) as server:
            refused = server.post_text("/api/v1/workflows/tiny", FAN.replace("SET", "one"))
            assert refused.status_code == 400
            assert "of which namespace tiny may have 1,000,000 bytes (its quota)" in refused.text
            name = submit(server, "tight", FAN.replace("SET", "one"))
            other = submit(server, "default", FAN.replace("SET", "two"))
            plan = plan_of(server, other)
            server.kill()
            server.start()
            assert plan_of(server, other) == plan, "it goes on with the plan that it followed"
            most = 0
            while server.get(f"/api/v1/workflows/tight/{name}")["status"].get("phase") != "Succeeded":
                most = max(most, quotas(server).get("tight", {}).get("used_bytes", 0))
            assert 0 < most <= 2 * SIZE + 100_000
            assert ended(server, other)["status"]["phase"] == "Succeeded"
            lines = [line.split()[0] for line in cli(server, "data", "quotas").splitlines()]
            assert lines == ["NAMESPACE", "default", "tight", "tiny"]
            pin = json.loads(cli(server, "data", "pin", "far:bucket/", "-n", "tight", "-o", "json"))
            assert (pin["objects"], "has no room for it" in pin["message"]) == (2, True), "as much as the quota allows"
