"""Send one request over and over, over several connections, for some seconds; print what came of it as JSON.

python -m benchmark.api.load PORT METHOD PATH SECONDS CONNECTIONS < REQUEST-BODY
"""

import asyncio
import json
import os
import sys
import time
from typing import Any


async def load(port: int, request: bytes, seconds: float, connections: int) -> dict[str, Any]:
    """Return requests a second, errors, and the latencies' percentiles in ms."""
    times: list[float] = []
    errors = 0
    until = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - began)
            errors += head[9:12] not in {b"200", b"201"}
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - began
    times.sort()
    return {
        "per_s": len(times) / took,
        "errors": errors,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
    }


def request(method: str, path: str, body: bytes, token: str = "") -> bytes:
    """Return an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


if __name__ == "__main__":
    port, method, path, seconds, connections = sys.argv[1:]
    sent = request(method, path, sys.stdin.buffer.read(), os.environ.get("LOAD_TOKEN", ""))
    print(json.dumps(asyncio.run(load(int(port), sent, float(seconds), int(connections)))))
