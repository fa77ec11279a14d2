"""What people are told when their input cannot be used.

A `Problem` names what is wrong, where and what to do; the rooms that read input collect problems and raise one `Refused`.
"""

from collections.abc import Iterable

from msgspec import Struct


class Place(Struct, frozen=True, kw_only=True):
    """A place in a text: `line` and `column` count from 1, `path` is a JSON path such as `$.spec.templates[0]`."""

    line: int | None = None
    column: int | None = None
    path: str = ""
    source: str = ""

    def __str__(self) -> str:
        """Return `source:line:column (path)`, leaving out what is unknown."""
        spot = ":".join(str(part) for part in (self.source, self.line, self.column) if part)
        return f"{spot} ({self.path})" if spot and self.path else spot or self.path


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with an input: `message` says what, `remedy` what to do about it."""

    message: str
    place: Place | None = None
    remedy: str = ""
    code: str = "invalid"

    def __str__(self) -> str:
        """Return the problem as one line of text."""
        where = f"{self.place}: " if self.place and str(self.place) else ""
        return f"{where}{self.message}" + (f"; {self.remedy}" if self.remedy else "")


class Refused(Exception):
    """Input that cannot be used: fix the request and send it again. Nothing was changed.

    `code` is one of `invalid` (400), `not_found` (404), `conflict` (409), `too_large` (400), `unsupported` (400),
    `unavailable` (503), `denied` (403), `exhausted` (403), as the APIs map it.
    """

    def __init__(self, problems: Problem | Iterable[Problem] | str, *, code: str = "") -> None:
        """Hold the problems; a bare string is a problem without a place."""
        if isinstance(problems, str):
            problems = Problem(message=problems, code=code or "invalid")
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.code = code or (self.problems[0].code if self.problems else "invalid")
        super().__init__("\n".join(str(problem) for problem in self.problems))
