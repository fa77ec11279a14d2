"""A server to be killed: opens an executor, starts a pod for each script, says so, and waits.

`executors_server.py KIND HOME KEY=SCRIPT...`
"""

import asyncio
import sys
from pathlib import Path

from jitflow.executors import PodExecutor, ProcessExecutor, SandboxExecutor
from jitflow.testing.executor_contract import shell_pod


def make(kind: str, home: Path) -> PodExecutor:
    """Return an executor of this kind."""
    return SandboxExecutor(home) if kind == "sandbox" else ProcessExecutor(home)


async def main() -> None:
    """Start the pods and stay."""
    executor = make(sys.argv[1], Path(sys.argv[2]))
    await executor.open(lambda _: None)
    for argument in sys.argv[3:]:
        key, _, script = argument.partition("=")
        await executor.start(shell_pod(key, script, outputs=()))
    print("started", flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main())
