"""Watch many running workflows with many watchers, one of which hardly reads, and see that each is told of every end once.

    python -m benchmark.api.watching --workflows 1000 --watchers 50

Ends with 1 when an end was missed or told twice. Prints what a watcher was told, how long it took, and the server's memory.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmark.service import Server, pss_bytes

NAMESPACE = "watched"
FINAL = frozenset({"Succeeded", "Failed", "Error"})
MANIFEST = {
    "metadata": {"generateName": "w-"},
    "spec": {"entrypoint": "wait", "templates": [{"name": "wait", "suspend": {}}]},
}
PATHS = {"watch": "/api/v1/workflow-events/", "deltas": "/api/jit/v1/workflow-deltas/"}


@dataclass
class Told:
    """What one watcher was told."""

    ends: Counter[str] = field(default_factory=Counter[str])
    lines: int = 0
    done_at: float = 0.0
    whole: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, result: dict[str, Any], wanted: int) -> None:
        """Take a line; `whole` is set when all of the wanted workflows have ended."""
        self.lines += 1
        workflow = result.get("object") or result["workflow"]
        if workflow["status"]["phase"] in FINAL:
            self.ends[workflow["metadata"]["uid"]] += 1
            if len(self.ends) == wanted and not self.whole.is_set():
                self.done_at = time.perf_counter()
                self.whole.set()


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--watchers", type=int, default=50)
    parser.add_argument("--stream", choices=sorted(PATHS), default="watch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"executor": "process", "max_pods": 2, "log_level": "warning"}
        with Server(Path(folder) / "home", settings) as server:
            result = asyncio.run(measure(server, arguments.workflows, arguments.watchers, PATHS[arguments.stream]))
    print(json.dumps(result, indent=1))
    return 1 if result["missed"] or result["repeated"] else 0


async def measure(server: Server, workflows: int, watchers: int, path: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return what the watchers were told, and what it cost."""
    path += namespace
    token = (server.home / "token").read_text().strip()
    base, headers = f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=120, limits=limits, trust_env=False) as client:
        names = [answer["metadata"]["name"] for answer in await _all(client, namespace, workflows)]
        before = pss_bytes([server.pid])
        told = [Told() for _ in range(watchers)]
        async with asyncio.TaskGroup() as group:
            fast = [group.create_task(_follow(server.port, token, path, one, workflows)) for one in told[:-1]]
            slow = group.create_task(_hardly_read(server.port, token, path))
            await asyncio.sleep(1)
            began = time.perf_counter()
            await asyncio.gather(*(_end(client, namespace, name) for name in names))
            ended_s = time.perf_counter() - began
            await asyncio.wait([group.create_task(one.whole.wait()) for one in told[:-1]], timeout=300)
            await asyncio.sleep(2)  # a watcher that is told twice is told soon
            after = pss_bytes([server.pid])
            for watcher in (*fast, slow):
                watcher.cancel()
    late = [one.done_at - began - ended_s for one in told[:-1] if one.done_at]
    return {
        "workflows": workflows,
        "watchers": watchers,
        "missed": sum(workflows - len(one.ends) for one in told[:-1]),
        "repeated": sum(count - 1 for one in told[:-1] for count in one.ends.values()),
        "lines_each": [min(one.lines for one in told[:-1]), max(one.lines for one in told[:-1])],
        "ending_all_s": round(ended_s, 2),
        "last_told_after_s": round(max(late, default=0.0), 2),
        "server_mb_before": round(before / 1e6),
        "server_mb_after": round(after / 1e6),
    }


async def _all(client: httpx.AsyncClient, namespace: str, workflows: int) -> list[dict[str, Any]]:
    async def one() -> dict[str, Any]:
        answer = await client.post(f"/api/v1/workflows/{namespace}", json={"workflow": MANIFEST})
        answer.raise_for_status()
        return answer.json()

    return await asyncio.gather(*(one() for _ in range(workflows)))


async def _end(client: httpx.AsyncClient, namespace: str, name: str) -> None:
    (await client.put(f"/api/v1/workflows/{namespace}/{name}/resume", json={})).raise_for_status()


@contextlib.asynccontextmanager
async def _open(port: int, token: str, path: str) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    try:
        yield reader
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _follow(port: int, token: str, path: str, told: Told, wanted: int) -> None:
    async with _open(port, token, path) as reader:
        rest = b""
        while size := int(await reader.readline(), 16):
            *lines, rest = (rest + await reader.readexactly(size)).split(b"\n")
            await reader.readexactly(2)
            for line in lines:
                told.hear(json.loads(line)["result"], wanted)


async def _hardly_read(port: int, token: str, path: str) -> None:
    async with _open(port, token, path) as reader:
        async for _ in _crumbs(reader):
            await asyncio.sleep(1)


async def _crumbs(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while crumb := await reader.read(100):
        yield crumb


if __name__ == "__main__":
    sys.exit(main())
