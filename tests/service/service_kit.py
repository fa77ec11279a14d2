"""A real server in a process of its own, a real S3 far store, and a link between them that can be made bad."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.service import Server

from jitflow.testing.s3_server import S3Server

PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not a link to it: a virtual environment below `/tmp` is not seen in pods."""
WORKFLOWS = "/api/v1/workflows/default"
FINAL = {"Succeeded", "Failed", "Error"}


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


@contextmanager
def served(tmp: Path, settings: dict[str, Any], kind: str) -> Iterator[tuple[Server, Server]]:
    """Yield a server and the one that holds its data: the same (`whole`), or a process of its own (`apart`)."""
    if kind == "whole":
        with Server(tmp / "home", settings) as server:
            yield server, server
        return
    data = Server(tmp / "data", settings)
    data.arguments = ["--only", "data"]
    link = {"url": f"http://127.0.0.1:{data.port}", "token": {"file": str(data.home / "link.token")}}
    control = Server(tmp / "control", {"data": {"patience_s": 5.0} | link})
    control.arguments = ["--only", "control"]
    with data, control:
        yield control, data


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
    # Folders may go while they are looked through, which os.walk takes as empty.
    found = (Path(at, name) for at, _, names in os.walk(folder) for name in names if not name.startswith("."))
    return [path for path in found if path.is_file()]
