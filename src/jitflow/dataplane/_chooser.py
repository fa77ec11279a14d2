"""The process in which a plan is chosen: `python -m jitflow.dataplane._chooser`."""

import os
import sys
from functools import partial

from jitflow.dataplane.choosing import answer, read, write

_NICE = 5


def main() -> None:
    """Answer one question. Steps that run meanwhile come first."""
    os.nice(_NICE)
    tell = partial(write, sys.stdout.buffer)
    try:
        tell(answer(*read(sys.stdin.buffer), partial(tell, is_chosen=False)), is_chosen=True)
    except (EOFError, BrokenPipeError):
        # Whoever asked is gone.
        os._exit(1)


if __name__ == "__main__":
    main()
