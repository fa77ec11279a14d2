"""What the command line tells people when something cannot be done.

CliError               one clear line on stderr; `exit_code` says whose turn it is
└── InputRefused       the input is wrong (exit code 2): correct it and try again
"""


class CliError(Exception):
    """Something cannot be done; the message says what and what to do. `exit_code` is the command's."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        """Hold the message, one line or several."""
        super().__init__(message)
        self.exit_code = exit_code


class InputRefused(CliError):
    """A file or an argument that cannot be used."""

    def __init__(self, message: str) -> None:
        """Hold the message; the command ends with exit code 2."""
        super().__init__(message, exit_code=2)
