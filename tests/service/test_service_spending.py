"""Bytes moved and money on a real server: charged by workflows, jobs and files, over kills; what waits without a budget."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import ended, reader
from tests.service.test_service_quotas import submit
from tests.service.test_service_transfers import until
from tests.service.test_service_why import cli

from jitflow.testing.s3_server import S3Server

MB = 1_000_000
SIZES = {"a": 2 * MB, "b": 3 * MB, "many/one": 100_000, "many/two": 100_000}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    for key, size in SIZES.items():
        (root / "bucket" / key).parent.mkdir(parents=True, exist_ok=True)
        (root / "bucket" / key).write_bytes(os.urandom(size))
    (root / "other").mkdir()
    with S3Server(root) as server:
        yield server


@pytest.fixture
def server(s3: S3Server, tmp_path: Path) -> Iterator[Server]:
    options = dict(s3.remote("far").options)
    remotes = {
        "far": {"type": "s3", "options": options, "price_per_GB_down": 90, "price_per_GB_up": 10, "currency": "EUR"},
        "two": {"type": "s3", "options": options},
    }
    settings = {"remotes": remotes, "namespaces": {"tight": {"budget_moved": 1_000_000, "budget_period": "day"}}}
    with Server(tmp_path / "home", settings) as found:
        yield found


def spent(server: Server, **query: str) -> dict[tuple[str, str], tuple[int, int]]:
    rows = server.get("/data/v1/spending", **query)["items"]
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in rows:
        before = found.get((row["namespace"], row["remote"]), (0, 0))
        found[row["namespace"], row["remote"]] = (before[0] + row["down_bytes"], before[1] + row["up_bytes"])
    return found


def budget(server: Server, namespace: str) -> dict[str, Any]:
    return next(one for one in server.get("/data/v1/budgets")["items"] if one["namespace"] == namespace)


def succeeds(server: Server, name: str) -> None:
    """Wait until a workflow of the namespace `tight` has succeeded."""
    limit = time.monotonic() + 40
    phase = ""
    while phase != "Succeeded" and time.monotonic() < limit:
        phase = server.get(f"/api/v1/workflows/tight/{name}")["status"].get("phase", "")
        time.sleep(0.05)
    assert phase == "Succeeded"


def test_workflows_jobs_and_files_are_charged_and_a_kill_charges_nothing_twice(server: Server) -> None:
    assert ended(server, submit(server, "default", reader("bucket/a")))["status"]["phase"] == "Succeeded"
    assert spent(server) == {("default", "far"): (2 * MB, 0)}
    body = {"kind": "copy", "source": "far:bucket/many/", "destination": "two:other/copied/", "namespace": "jobs"}
    job = server.call("POST", "/data/v1/jobs", body).json()["id"]
    assert until(server, job)["phase"] == "Succeeded"
    assert spent(server, namespace="jobs") == {("jobs", "far"): (200_000, 0), ("jobs", "two"): (0, 200_000)}
    headers = {"authorization": f"Bearer {server.token}"}
    content = f"http://127.0.0.1:{server.port}/data/v1/content"
    with httpx.Client(trust_env=False, headers=headers) as http:
        put = http.put(content, params={"ref": "far:bucket/up", "namespace": "hands"}, content=b"x" * 50_000)
        assert put.status_code == 200, put.text
        got = http.get(content, params={"ref": "far:bucket/b", "namespace": "hands"}, headers={"range": "bytes=0-999"})
        assert (got.status_code, len(got.content)) == (206, 1000)
        assert http.get(content, params={"ref": "far:bucket/b", "namespace": "No!"}).status_code == 400
    time.sleep(0.6)
    before = server.get("/data/v1/spending")["items"]
    hands = next(row for row in before if row["namespace"] == "hands")
    assert (hands["down_bytes"], hands["up_bytes"], hands["currency"]) == (1000, 50_000, "EUR")
    assert hands["money"] == pytest.approx((1000 * 90 + 50_000 * 10) / 1e9)
    server.kill()
    server.start()
    assert server.get("/data/v1/spending")["items"] == before
    usage = server.get("/api/jit/v1/usage/hands")
    assert [(row["remote"], row["up_bytes"]) for row in usage["spent"]] == [("far", 50_000)]
    assert "far: 1 kB down, 50 kB up" in cli(server, "usage", "-n", "hands").replace("1.0 kB", "1 kB").replace("50.0", "50")
    metrics = httpx.get(f"http://127.0.0.1:{server.port}/metrics", headers=headers, trust_env=False).text
    assert 'jitflow_budget_used_up{namespace="tight"} 0.0' in metrics


def test_without_budget_steps_wait_new_jobs_are_refused_and_raising_it_lets_all_go_on(server: Server) -> None:
    succeeds(server, submit(server, "tight", reader("bucket/a")))
    assert budget(server, "tight")["used_up"].startswith(
        "namespace tight has used up its budget of 1,000,000 bytes moved for this day"
    )
    name = submit(server, "tight", reader("bucket/b"))
    limit = time.monotonic() + 20
    why = ""
    while "used up its budget" not in why and time.monotonic() < limit:
        why = cli(server, "why", name, name, "-n", "tight")
        time.sleep(0.1)
    assert "UTC, or when the budget is raised (jitflow data budgets tight)" in why
    body = {"kind": "copy", "source": "far:bucket/many/", "destination": "two:other/late/", "namespace": "tight"}
    refused = server.call("POST", "/data/v1/jobs", body)
    assert (refused.status_code, refused.json()["code"]) == (403, 8)
    assert "no new job: namespace tight has used up its budget" in refused.json()["message"]
    assert server.call("POST", "/data/v1/jobs", body | {"dry_run": True}).status_code == 200
    raised = json.loads(cli(server, "data", "budgets", "tight", "--moved", "6MB", "--period", "day", "-o", "json"))
    assert (raised[0]["budget_bytes"], raised[0]["used_up"], raised[0]["source"]) == (6 * MB, "", "api")
    succeeds(server, name)
    assert spent(server, namespace="tight") == {("tight", "far"): (5 * MB, 0)}


def test_a_job_under_way_waits_when_its_budget_is_used_up_and_goes_on_where_it_was(server: Server) -> None:
    body = {
        "kind": "copy",
        "source": "far:bucket/",
        "destination": "two:other/all/",
        "namespace": "tight",
        "bandwidth": "2M",
        "transfers": 1,
    }
    job = server.call("POST", "/data/v1/jobs", body).json()["id"]
    waiting = until(server, job, "Queued", within_s=30)
    limit = time.monotonic() + 30
    while "used up" not in waiting["message"] and time.monotonic() < limit:
        time.sleep(0.05)
        waiting = server.get(f"/data/v1/jobs/{job}")
    assert (waiting["phase"], "goes on at" in waiting["message"]) == ("Queued", True)
    server.kill()
    server.start()
    assert "used up" in server.get(f"/data/v1/jobs/{job}")["message"]
    answer = server.call("PUT", "/data/v1/budgets", {"budgets": {"tight": {"moved": "1GB"}}})
    assert answer.status_code == 200, answer.text
    assert until(server, job)["phase"] == "Succeeded"
    assert server.call("PUT", "/data/v1/budgets", {"budgets": {"tight": {"moved": "much"}}}).status_code == 400


def test_explain_names_the_price_and_remote_set_changes_it(server: Server) -> None:
    estimate = server.post_text("/api/jit/v1/explain", reader("bucket/b"))
    assert estimate.status_code == 200, estimate.text
    assert estimate.json()["money"] == {"EUR": pytest.approx(0.27)}
    cli(server, "remote", "set", "far", "price_per_GB_down=1", "currency=credits")
    told = server.get("/data/v1/remotes/far")["prices"]
    assert (told["price_per_GB_down"], told["price_per_GB_up"], told["currency"]) == (1.0, 10.0, "credits")
    assert server.call("PATCH", "/data/v1/remotes/far", {"prices": {"price_per_GB_up": -1}}).status_code == 400
    assert server.call("PATCH", "/data/v1/remotes/nowhere", {"prices": {}}).status_code == 404
    assert server.post_text("/api/jit/v1/explain", reader("bucket/b")).json()["money"] == {"credits": pytest.approx(0.003)}
