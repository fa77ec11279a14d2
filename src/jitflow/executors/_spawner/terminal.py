"""A terminal for a command that asks for one: nobody types, and what is printed is logged."""

import fcntl
import os
import struct
import termios

_NUMBER = 0x80045430  # TIOCGPTN


class Terminal:
    """A pseudo terminal. `master` is read for output; `path` is where the command finds it."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        number: int = struct.unpack("I", fcntl.ioctl(self.master, _NUMBER, bytes(4)))[0]
        self.path = f"/dev/pts/{number}"
        modes = termios.tcgetattr(self._slave)
        modes[1] &= ~termios.ONLCR  # lines end as without a terminal
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._slave, termios.TCSANOW, modes)

    def close_slave(self) -> None:
        """Let reading come to its end when the command and all it started have closed theirs."""
        os.close(self._slave)
