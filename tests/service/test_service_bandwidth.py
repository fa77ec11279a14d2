"""Limits of bandwidth in a real server: held at once, kept over a kill, seen in the links."""

import os
import time
from pathlib import Path

from benchmark.service import Server
from tests.service.service_kit import settings_for

from jitflow.testing.s3_server import S3Server

MIB = 1 << 20


def stage(server: Server, name: str) -> float:
    """Stage an object; return how long that took."""
    began = time.monotonic()
    assert server.call("POST", "/data/v1/primary/stage", {"ref": f"far:bucket/{name}"}).status_code == 200
    return time.monotonic() - began


def test_limits_hold_at_once_and_after_a_kill(tmp_path: Path) -> None:
    root = tmp_path / "far"
    (root / "bucket").mkdir(parents=True)
    for name, size in (("a", 4 * MIB), ("b", 8 * MIB)):
        (root / "bucket" / name).write_bytes(os.urandom(size))
    with S3Server(root) as s3, Server(tmp_path / "home", settings_for(s3, transfers={"bandwidth": "100M"})) as server:
        said = server.get("/data/v1/bandwidth")
        assert [(one["remote"], one["limit"], one["source"]) for one in said["limits"]] == [("*", "100M", "settings")]
        body = {"limits": {"far": "off:2M"}, "time_zone": "Europe/Berlin"}
        assert server.call("PUT", "/data/v1/bandwidth", body).status_code == 200
        assert stage(server, "a") > 2.0 / 1.1
        (link,) = server.get("/data/v1/links")["items"]
        assert (link["remote"], link["up_Bps"], link["down_Bps"], link["stalls"]) == ("far", 100 * MIB, 2 * MIB, 0)
        refused = server.call("PUT", "/data/v1/bandwidth", {"limits": {"far": "fast"}})
        assert refused.status_code == 400
        assert "bandwidth of remote far: 'fast' is no limit" in refused.json()["message"]
        server.kill()
        server.start()
        kept = server.get("/data/v1/bandwidth")
        assert kept["time_zone"] == "Europe/Berlin"
        assert [(one["remote"], one["limit"], one["source"]) for one in kept["limits"]] == [
            ("*", "100M", "settings"), ("far", "off:2M", "api"),
        ]  # fmt: skip
        # Four of the eight MiB may have been saved up while nothing moved.
        assert stage(server, "b") > 2.0 / 1.1
