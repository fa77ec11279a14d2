"""The process in which a plan is chosen: `python -m jitflow.dataplane._chooser`."""

import os
import sys

import msgspec

from jitflow.dataplane.choosing import answer, read

_NICE = 5


def main() -> None:
    """Answer one question. Steps that run meanwhile come first."""
    os.nice(_NICE)
    try:
        sys.stdout.buffer.write(msgspec.msgpack.encode(answer(*read(sys.stdin.buffer))))
        sys.stdout.buffer.flush()
    except (EOFError, BrokenPipeError):
        # Whoever asked is gone.
        os._exit(1)


if __name__ == "__main__":
    main()
