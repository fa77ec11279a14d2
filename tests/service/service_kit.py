"""A real server in a process of its own, a real S3 far store, and a link between them that can be made bad."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmark.service import Server

from jitflow.testing.s3_server import S3Server
from jitflow.testing.slow_link import SlowLink

PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not a link to it: a virtual environment below `/tmp` is not seen in pods."""
WORKFLOWS = "/api/v1/workflows/default"
FINAL = {"Succeeded", "Failed", "Error"}


class LinkThread:
    """A slow link with an event loop of its own."""

    def __init__(self, port: int, *, rate_bps: float | None = None, rtt_s: float = 0.0) -> None:
        self._target = (port, rate_bps, rtt_s)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._link: SlowLink | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        assert self._link is not None
        return self._link.url

    def call(self, what: Callable[[SlowLink], None]) -> None:
        """Do something to the link, in its thread."""
        assert self._link is not None
        self._loop.call_soon_threadsafe(what, self._link)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        port, rate_bps, rtt_s = self._target
        self._stop = asyncio.Event()
        async with SlowLink("127.0.0.1", port, rtt_s=rtt_s, rate_Bps=rate_bps) as self._link:
            self._ready.set()
            await self._stop.wait()


def settings_for(s3: S3Server, *, endpoint: str = "", secret: str = "", **tree: Any) -> dict[str, Any]:
    options = dict(s3.remote("far", endpoint=endpoint).options)
    if secret:
        options["secret_access_key"] = secret
    base: dict[str, Any] = {
        "max_pods": 4,
        "grace_s": 2.0,
        "archive": False,  # what is deleted is gone, and a test can see that
        "primary": {"capacity": "64MiB", "stall_s": 2.0},
        "remotes": {"far": {"type": "s3", "options": options}},
    }
    return base | tree


def reader(*keys: str, command: str = "cat /in/* | md5sum", remote: str = "far") -> str:
    """Return a workflow of one step that reads objects."""
    inputs = "\n".join(
        f'      - {{name: a{number}, path: /in/{number}, plugin: {{name: rclone, key: "{remote}:{key}"}}}}'
        for number, key in enumerate(keys)
    )
    return f"""apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: reader-}}
spec:
  entrypoint: main
  templates:
  - name: main
    inputs:
      artifacts:
{inputs}
    container:
      image: busybox
      command: [sh, -c]
      args: ["{command}"]
"""


def submit(server: Server, text: str) -> str:
    """Create a workflow and return its name."""
    answer = server.post_text(WORKFLOWS, text)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["metadata"]["name"])


def ended(server: Server, name: str, *, within_s: float = 60.0) -> dict[str, Any]:
    """Return a workflow when it has ended."""
    return until(server, name, lambda workflow: workflow["status"].get("phase") in FINAL, within_s=within_s)


def until(server: Server, name: str, holds: Callable[[dict[str, Any]], bool], *, within_s: float = 60.0) -> dict[str, Any]:
    """Return a workflow as soon as something holds of it."""
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        workflow = server.get(f"{WORKFLOWS}/{name}")
        if holds(workflow):
            return workflow
        time.sleep(0.05)
    raise AssertionError(f"did not come about in time: {workflow['status']}")


def nothing_left(server: Server) -> None:
    """Check that a refused request left neither a workflow nor anything in the primary."""
    assert server.get(WORKFLOWS)["items"] is None
    assert server.get("/data/v1/primary")["fill"]["used_bytes"] == 0
    assert not files_below(server.home / "primary" / "incoming")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
