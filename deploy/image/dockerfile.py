"""What a Dockerfile says, and what of a folder its `.dockerignore` lets through.

What is not known here is refused, never guessed.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SAID = {"ARG", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
KNOWN = _SAID | {"CMD", "COPY", "ENTRYPOINT", "FROM", "HEALTHCHECK", "RUN"}
_FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Wrong(Exception):
    """The Dockerfile cannot be built, or what was built does not work; the message is for people."""


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, with its continuations."""

    line: int
    word: str
    flags: Mapping[str, str]
    rest: str

    @property
    def command(self) -> list[str]:
        """The rest as a command: its JSON form as it is, its shell form behind a shell."""
        if self.rest.startswith("["):
            return self.listed
        return ["/bin/sh", "-c", self.rest]

    @property
    def listed(self) -> list[str]:
        """The rest as a list of words: in JSON, or parted by blanks."""
        if not self.rest.startswith("["):
            return shlex.split(self.rest)
        try:
            words = json.loads(self.rest)
        except ValueError as error:
            raise Wrong(f"{self}: not a list in JSON: {self.rest}") from error
        return [str(word) for word in words]

    @property
    def pairs(self) -> dict[str, str]:
        """The rest as names and values."""
        words = shlex.split(self.rest)
        if bad := [word for word in words if "=" not in word]:
            raise Wrong(f"{self}: NAME=VALUE is meant, not {bad[0]}")
        return dict(word.split("=", 1) for word in words)

    def __str__(self) -> str:
        """Return where it stands."""
        return f"line {self.line}: {self.word}"


@dataclass
class Stage:
    """One part of a Dockerfile, from its FROM on."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)


def parse(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile.

    Raises:
        Wrong: it holds what is not known here, or does not begin with FROM.
    """
    stages: list[Stage] = []
    for one in _instructions(text):
        if one.word not in KNOWN:
            raise Wrong(f"{one} is not known to this check")
        if one.word == "FROM":
            words = one.rest.split()
            if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
                raise Wrong(f"{one}: `FROM image` or `FROM image AS name` is meant")
            stages.append(Stage(words[0], words[2] if len(words) == 3 else str(len(stages))))
        elif stages:
            stages[-1].instructions.append(one)
        elif one.word != "ARG":
            raise Wrong(f"{one} stands before FROM")
    if not stages:
        raise Wrong("there is no FROM")
    return stages


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Return a text with `$NAME` and `${NAME}` replaced."""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ""), text)


def let_through(context: Path) -> list[Path]:
    """Return the files of a folder that `.dockerignore` lets through, relative to it; the last pattern that fits decides."""
    ignore = context / ".dockerignore"
    rules: list[tuple[re.Pattern[str], bool]] = []
    for raw in ignore.read_text().splitlines() if ignore.exists() else ():
        line = raw.strip()
        if line and not line.startswith("#"):
            rules.append((_pattern(line.removeprefix("!").strip("/")), not line.startswith("!")))
    found: list[Path] = []
    for path in _files(context):
        name = path.relative_to(context)
        ways = [str(name), *(str(parent) for parent in name.parents if parent.parts)]
        ignored = False
        for pattern, ignores in rules:
            if any(pattern.fullmatch(way) for way in ways):
                ignored = ignores
        if not ignored:
            found.append(name)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            # These are large, never part of an image, and ignored by name wherever there is an image to build.
            if path.name not in {".git", ".venv", "node_modules"}:
                yield from _files(path)
        else:
            yield path


def _pattern(text: str) -> re.Pattern[str]:
    out, at = "", 0
    while at < len(text):
        if text.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif text.startswith("**", at):
            out, at = out + ".*", at + 2
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(text[at], re.escape(text[at]))
            at += 1
    return re.compile(out)


def _instructions(text: str) -> Iterator[Instruction]:
    whole, began = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        began = began or number
        whole += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        word, _, rest = whole.partition(" ")
        flags: dict[str, str] = {}
        rest = rest.strip()
        while found := _FLAG.match(rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        yield Instruction(began, word.upper(), flags, rest)
        whole, began = "", 0
    if whole:
        raise Wrong(f"line {began}: the last line goes on, and nothing follows")
