"""data templates against a real S3 store."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.agent_worlds import task

from jitflow.agents import DataAgent
from jitflow.engine import Locator, RemoteName
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.agents import TaskResult
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.testing.s3_server import S3Server


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root: Path = tmp_path_factory.mktemp("far")
    for name in ("logs/a/main.log", "logs/b/main.log", "logs/b/wait.log", "other.txt"):
        path = root / "my-bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    with S3Server(root) as server:
        yield server


async def _listed(server: S3Server, paths: dict[str, Any], *expressions: str) -> TaskResult:
    storage = RcloneStorage(RcloneDaemon(), [server.remote("far")], stall_s=20)
    await storage.open()
    try:
        known = RemoteName(type="s3", endpoints=("minio:9000",))
        locator = Locator(remotes={"far": known}, repository=ObjectRef(remote="far", path="my-bucket"))
        steps = [{"expression": text} for text in expressions]
        data = {"source": {"artifactPaths": {"name": "p", **paths}}, "transformation": steps}
        return await DataAgent(storage, lambda: locator).run("u1", task("data", data=data), lambda _: None)
    finally:
        await storage.close()


def _result(server: S3Server, paths: dict[str, Any], *expressions: str) -> Any:
    found = asyncio.run(_listed(server, paths, *expressions))
    assert found.phase == "Succeeded", found.message
    assert found.outputs is not None
    assert found.outputs.result is not None
    return json.loads(found.outputs.result)


def test_keys_below_a_prefix_are_listed_and_transformed(far: S3Server) -> None:
    """SEMANTICS data template: source.artifactPaths lists keys below a prefix, transformation = expr steps over `data`."""
    s3 = {"s3": {"bucket": "my-bucket", "endpoint": "minio:9000"}}
    everything = ["logs/a/main.log", "logs/b/main.log", "logs/b/wait.log", "other.txt"]
    assert _result(far, s3, "data") == everything
    assert _result(far, s3, 'filter(data, {# endsWith "main.log"})') == ["logs/a/main.log", "logs/b/main.log"]
    upper = _result(far, s3, 'filter(data, {# endsWith "main.log"})', "map(data, {upper(#)})")
    assert upper == ["LOGS/A/MAIN.LOG", "LOGS/B/MAIN.LOG"]


def test_the_keys_are_those_that_later_steps_name(far: S3Server) -> None:
    expected = ["logs/b/main.log", "logs/b/wait.log"]
    assert _result(far, {"s3": {"bucket": "my-bucket", "endpoint": "minio:9000", "key": "logs/b"}}, "data") == expected
    assert _result(far, {"s3": {"key": "logs/b/"}}, "data") == expected
    plugin = {"plugin": {"name": "rclone", "key": "far:my-bucket/logs/b"}}
    assert _result(far, plugin, "data") == [f"my-bucket/{key}" for key in expected]


def test_what_cannot_be_listed_or_read_is_said(far: S3Server) -> None:
    wrong = asyncio.run(_listed(far, {"s3": {"key": "logs"}}, "data +"))
    assert wrong.phase == "Error"
    assert "transformation 0" in wrong.message
    with pytest.raises(Refused, match="names no place"):
        asyncio.run(_listed(far, {"raw": {"data": "x"}}, "data"))
