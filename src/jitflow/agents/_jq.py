"""jq filters, run in a process of their own that is ended when it takes too long (see `_jq_helper`)."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from jitflow.expr import queries

TIMEOUT_S = 10.0
_HELPER = Path(__file__).with_name("_jq_helper.py")


class _Answer(Struct, frozen=True):
    results: tuple[str, ...] = ()
    error: str = ""


async def jq_text(expression: str, document: Any) -> str:
    """Return what a jq filter gives, each result on a line of its own, texts without quotes.

    Raises:
        QueryError: the filter cannot be read, fails, or takes more time or memory than it may.
        OSError: no process can be started.
    """
    queries.check_jq(expression)
    asked = msgspec.json.encode({"filter": expression, "document": document})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(_HELPER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},  # `env` must not tell the server's
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            written, _ = await process.communicate(asked)
    except TimeoutError:
        raise _beyond(expression) from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    try:
        answer = msgspec.json.decode(written, type=_Answer)
    except msgspec.DecodeError:
        raise _beyond(expression) from None
    if answer.error:
        raise queries.QueryError(f"jq {expression!r}: {answer.error}")
    return "\n".join(answer.results)


def _beyond(expression: str) -> queries.QueryError:
    return queries.QueryError(f"jq {expression!r}: it takes more time or memory than it may; ask for less of the object")
