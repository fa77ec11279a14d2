"""Collecting what is wrong with a manifest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from jitflow.model.problems import Problem, Refused
from jitflow.spec.places import Path, Places

MAX_PROBLEMS: Final = 50
FIELD_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
VALUE_NAME = re.compile(r"[-a-zA-Z0-9_]+")
PARAMETER = re.compile(r"\{\{[-a-zA-Z0-9]+(\.[-a-zA-Z0-9_]+)*\}\}")
_INPUT = re.compile(r"\{\{\s*(inputs\.parameters|workflow|retries|lastRetry)(\.[-\w.]+)?\s*\}\}", re.ASCII)
MAX_FIELD_NAME: Final = 128


class Report:
    """Problems found so far; the same message at the same path is told once."""

    def __init__(self, places: Places, spec_at: Path = ("spec",)) -> None:
        """Start with none.

        `spec_at`: where the workflow's spec stands in the document; a path that begins with an empty key is left as it is.
        """
        self._places = places
        self._spec_at = spec_at
        self._problems: dict[tuple[Path, str], Problem] = {}

    def add(self, path: Path, message: str, remedy: str = "", *, code: str = "invalid", key: bool = False) -> None:
        """Note a problem.

        Raises:
            Refused: this was the last one that is told (`MAX_PROBLEMS`).
        """
        if path[:1] == ("",):
            path = path[1:]
        elif path[:1] == ("spec",):
            path = (*self._spec_at, *path[1:])
        place = self._places.of_key(path) if key else self._places.at(path)
        self._problems.setdefault((path, message), Problem(message=message, place=place, remedy=remedy, code=code))
        if len(self._problems) >= MAX_PROBLEMS:
            self.close()

    def elsewhere(self, path: Path, origin: str) -> Report:
        """Return a report for another object's parts: what is wrong there is told at the place that refers to it."""
        return _Elsewhere(self, path, origin)

    def close(self) -> None:
        """End the validation.

        Raises:
            Refused: there are problems; in the order of the text, mistakes before what is not supported.
        """
        if self._problems:
            found = sorted(self._problems.values(), key=lambda it: (it.code == "unsupported", _line(it)))
            raise Refused(found)


class _Elsewhere(Report):
    """Tells problems of another object at one place of this one."""

    def __init__(self, outer: Report, path: Path, origin: str) -> None:
        super().__init__(Places())
        self._outer = outer
        self._at = path
        self._origin = origin

    def add(self, path: Path, message: str, remedy: str = "", *, code: str = "invalid", key: bool = False) -> None:
        del path, key
        hint = f"mend {self._origin}" + (f": {remedy}" if remedy else "")
        self._outer.add(self._at, f"{self._origin}: {message}", hint, code=code)

    def elsewhere(self, path: Path, origin: str) -> Report:
        del path
        return _Elsewhere(self._outer, self._at, origin)


def _line(problem: Problem) -> int:
    return (problem.place.line or 0) if problem.place is not None else 0


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str | None:
        """The name, if it has one."""
        ...


def check_names(
    report: Report, items: Sequence[Named], path: Path, prefix: str, *, values: bool = False, tags: bool = False
) -> None:
    """Check that all names are there, well formed and unique.

    Args:
        report: takes the problems.
        items: the named things.
        path: their list.
        prefix: how messages name the list: `spec.templates`.
        values: parameters and artifacts, whose names may hold `_`.
        tags: names may hold tags of inputs and of the workflow, which are replaced before they are used.
    """
    seen: set[str] = set()
    for index, item in enumerate(items):
        here = (*path, index)
        if not item.name:
            report.add(here, f"{prefix}[{index}].name is required", "add `name:`")
            continue
        name = without_inputs(item.name) if tags else item.name
        complaint = value_name_complaint(name) if values else field_name_complaint(name)
        if complaint:
            report.add((*here, "name"), f"{prefix}[{index}].name: '{item.name}' is invalid: {complaint}", "rename it")
        elif item.name in seen:
            report.add((*here, "name"), f"{prefix}[{index}].name '{item.name}' is not unique", "give it a name of its own")
        seen.add(item.name)


def has_tag(value: object) -> bool:
    """Return whether a value is only known at run time."""
    return isinstance(value, str) and "{{" in value


def is_whole_number(text: str) -> bool:
    """Return whether a text is a bare number, as `strconv.Atoi` of Go reads it."""
    return re.fullmatch(r"[-+]?[0-9]+", text) is not None


def without_inputs(name: str) -> str:
    """Return a name with a letter for each tag that is replaced before names are looked at."""
    return _INPUT.sub("x", name)


def value_name_complaint(name: str) -> str:
    """Return what is wrong with the name of a parameter or artifact; empty when nothing is."""
    if VALUE_NAME.fullmatch(name):
        return ""
    return "Parameter/Artifact name must consist of alpha-numeric characters, '_' or '-' e.g. my_param_1, MY-PARAM-1"


def field_name_complaint(name: str) -> str:
    """Return what is wrong with the name of a template, step or task; empty when nothing is."""
    complaints: list[str] = []
    if len(name) > MAX_FIELD_NAME:
        complaints.append(f"must be no more than {MAX_FIELD_NAME} characters")
    if not FIELD_NAME.fullmatch(name):
        rule = "name must consist of alpha-numeric characters or '-', and must start with an alpha-numeric character"
        complaints.append(f"{rule} (e.g. My-name1-2, 123-NAME)")
    return ";".join(complaints)


def suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a did-you-mean for a name that is not there."""
    near = difflib.get_close_matches(name, list(known)[:1000], n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise
