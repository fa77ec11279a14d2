"""Send one request over and over, over several connections, for some seconds; print what came of it as JSON.

python -m benchmark.api.load PORT METHOD PATH SECONDS CONNECTIONS < REQUEST-BODY

`@COUNT@@` in the body stands for the number of the request, in eight digits.
"""

import asyncio
import json
import os
import sys
import time
from itertools import count
from typing import Any

COUNT = b"@COUNT@@"


async def load(port: int, request: bytes, seconds: float, connections: int) -> dict[str, Any]:
    """Return requests a second, errors, and the latencies' percentiles in ms."""
    times: list[float] = []
    errors = 0
    until = time.perf_counter() + seconds
    numbers = count(1) if COUNT in request else None

    async def one() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(request if numbers is None else request.replace(COUNT, b"%08d" % next(numbers)))
            try:
                good = await _answer(reader) in {b"200", b"201"}
            except (asyncio.IncompleteReadError, OSError):
                good = False
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            times.append(time.perf_counter() - began)
            errors += not good
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - began
    times.sort()
    return {
        "good": len(times) - errors,
        "seconds": took,
        "per_s": len(times) / took,
        "errors": errors,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
    }


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return head[9:12]


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
