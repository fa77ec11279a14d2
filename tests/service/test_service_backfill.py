"""A backfill whose server is killed between its runs: each scheduled time is run once, and not too many at a time."""

import time
from pathlib import Path
from typing import Any

from benchmark.service import Server, checked

CRON = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "CronWorkflow",
    "metadata": {"name": "daily"},
    "spec": {
        "schedules": ["0 2 * * *"],
        "successfulJobsHistoryLimit": 1,
        "workflowSpec": {
            "entrypoint": "main",
            "arguments": {"parameters": [{"name": "date", "value": "yesterday"}]},
            "templates": [
                {
                    "name": "main",
                    "container": {
                        "image": "busybox",
                        "command": ["sh", "-c", "echo {{workflow.parameters.date}} {{workflow.scheduledTime}}; sleep 0.3"],
                    },
                }
            ],
        },
    },
}
BACKFILLS = "/api/jit/v1/cron-workflows/default/daily/backfills"


def until_done(server: Server, name: str, within_s: float = 60.0) -> dict[str, Any]:
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        found = server.get(f"{BACKFILLS}/{name}")
        assert found["counts"].get("Started", 0) <= found["parallelism"]
        if found["phase"] != "Running":
            return found
        time.sleep(0.1)
    raise AssertionError(f"it is not done: {found}")


def test_a_backfill_goes_on_after_a_kill_and_runs_each_time_once(tmp_path: Path) -> None:
    with Server(tmp_path / "home", {"max_pods": 4}) as server:
        checked(server.call("POST", "/api/v1/cron-workflows/default", {"cronWorkflow": CRON}))
        wish = {"start": "2024-01-01", "end": "2024-01-06", "parallelism": 2, "argname": "date", "format": "%Y-%m-%d"}
        made = checked(server.call("POST", BACKFILLS, wish))
        limit = time.monotonic() + 30
        while not server.get(f"{BACKFILLS}/{made['name']}")["counts"].get("Succeeded"):
            assert time.monotonic() < limit
            time.sleep(0.05)
        server.kill()
        server.start()
        assert checked(server.call("POST", BACKFILLS, wish))["name"] == made["name"]
        found = until_done(server, made["name"])
        assert found["counts"] == {"Succeeded": 6}
        # Its runs are not the schedule's own: the history limit of 1 leaves them alone.
        names = {run["workflow"] for run in found["runs"]}
        assert {item["metadata"]["name"] for item in server.get("/api/v1/workflows/default")["items"]} == names
        log = server.call(
            "GET", f"/api/v1/workflows/default/{found['runs'][2]['workflow']}/log", **{"logOptions.container": "main"}
        )
        assert "2024-01-03 2024-01-03T02:00:00Z" in log.text
        assert server.call("PUT", f"{BACKFILLS}/{made['name']}/cancel").status_code == 200
        assert server.call("DELETE", f"{BACKFILLS}/{made['name']}").status_code == 200
        assert server.get(BACKFILLS)["items"] == []
