"""Plays recorded events of workflows to a running jitflow, as a Sensor of Argo Events would send them; no cluster is needed.

    python poc/argo-events/replay.py poc/argo-events/sequences/in-order.jsonl --token-file TOKEN

Each line of a sequence is the body of one request. Nothing but Python's standard library is used.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ATTEMPTS = 5


def sequence(path: Path) -> Iterator[bytes]:
    """Yield the bodies of a sequence."""
    for line in path.read_bytes().splitlines():
        if line.strip():
            yield line


def send(server: str, token: str, body: bytes) -> dict[str, Any]:
    """Send one event and return the answer; a server that is busy or starts again is asked again.

    Raises:
        RuntimeError: the event was refused, or nobody answers.
    """
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{server.rstrip('/')}/events/argo", data=body, headers=headers, method="POST")
    problem = ""
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = f"{error.code} {error.read().decode(errors='replace')}"
            if error.code < 500 and error.code != 429:
                break
        except OSError as error:
            problem = str(error)
        time.sleep(2.0**attempt / 4)
    raise RuntimeError(f"the event was not taken: {problem}")


def play(
    path: Path, server: str, token: str, *, first: int = 1, last: int | None = None, pause_s: float = 0.0
) -> list[dict[str, Any]]:
    """Play a sequence, or part of it (events count from 1), and return the answers."""
    answers: list[dict[str, Any]] = []
    for number, body in enumerate(sequence(path), start=1):
        if number < first or (last is not None and number > last):
            continue
        if answers and pause_s:
            time.sleep(pause_s)
        answers.append(send(server, token, body))
    return answers


def main(arguments: list[str] | None = None) -> int:
    """Play what the command line says."""
    parser = argparse.ArgumentParser(description="Play recorded events of workflows to a running jitflow.")
    parser.add_argument("sequence", type=Path, help="a file with one request body a line")
    parser.add_argument("--server", default=os.environ.get("JITFLOW_SERVER", "http://127.0.0.1:2746"), help="where jitflow is")
    parser.add_argument("--token-file", type=Path, help="holds the token; without it, the environment's JITFLOW_TOKEN")
    parser.add_argument("--pause", type=float, default=1.0, metavar="SECONDS", help="between two events")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="begin with the N-th event")
    parser.add_argument("--last", type=int, metavar="N", help="end after the N-th event")
    given = parser.parse_args(arguments)
    token = given.token_file.read_text() if given.token_file else os.environ.get("JITFLOW_TOKEN", "")
    token = token.strip().removeprefix("Bearer ")
    try:
        answers = play(given.sequence, given.server, token, first=given.first, last=given.last, pause_s=given.pause)
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for number, answer in enumerate(answers, start=given.first):
        print(f"{number:3} {answer['outcome']:6} {answer['namespace']}/{answer['name']} {answer['phase']:10} {answer['message']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
