"""What a pod's first process tells its parent: JSON objects, one a line, with file descriptors if need be."""

import json
import socket
from typing import Any


def pair() -> tuple[int, int]:
    """Return where the parent listens, and where the pod speaks."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def tell(status_fd: int, value: dict[str, object], *fds: int) -> None:
    """Say something, and give descriptors away (they stay open here)."""
    line = json.dumps(value).encode() + b"\n"
    speaker = socket.socket(fileno=status_fd)
    try:
        if fds:
            socket.send_fds(speaker, [line], fds)
        else:
            speaker.sendall(line)
    finally:
        speaker.detach()


def hear(status_fd: int) -> tuple[dict[str, Any], list[int]]:
    """Wait for what is said, and return it (later words replace earlier ones) with the descriptors; empty at the end."""
    listener = socket.socket(fileno=status_fd)
    try:
        text, fds, _, _ = socket.recv_fds(listener, 65536, 4)
    finally:
        listener.detach()
    told: dict[str, Any] = {}
    for line in text.splitlines():
        told.update(json.loads(line))
    return told, list(fds)
