"""Regular expressions of manifests (`=~` and `!~`): Go's syntax, matched in time linear in the text.

The patterns of a manifest come from its author, and the service evaluates them in its own loop: a backtracking matcher could be
made to run for years. So patterns are compiled to a non-deterministic automaton whose states are all walked at once.
Supported: literals, `.`, classes, `\\d \\w \\s \\b` and their opposites, anchors, groups, `|`, `* + ? {m,n}` (also lazy), `(?i)`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

MAX_PATTERN: Final = 1_000
MAX_STATES: Final = 5_000
MAX_REPEAT: Final = 1_000
MAX_NESTING: Final = 50
MAX_STEPS: Final = 1_000_000
"""States that finding a match may walk through."""


class RegexError(ValueError):
    """A pattern that is not understood, or too large."""


Test = Callable[[str], bool]


@dataclass(slots=True)
class _State:
    """A state: `test` consumes one character; `guard` looks at the place between two; else it just leads on.

    `after` is in order of preference, turned round where `lazy`; `slot` (if any) is where a group's place is written down.
    """

    test: Test | None = None
    guard: str = ""
    slot: int = -1
    lazy: bool = False
    after: list[int] = field(default_factory=list[int])


_Fragment = tuple[int, list[int]]
"""First state, and the states whose way out is still open."""

_CLASSES: Final[dict[str, Test]] = {
    "d": lambda char: char in "0123456789",
    "w": lambda char: (char.isascii() and char.isalnum()) or char == "_",
    "s": lambda char: char in " \t\n\r\f\v",
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_POSIX: Final[dict[str, Test]] = {
    "alpha": lambda char: char.isascii() and char.isalpha(),
    "digit": _CLASSES["d"],
    "alnum": lambda char: char.isascii() and char.isalnum(),
    "upper": lambda char: char.isascii() and char.isupper(),
    "lower": lambda char: char.isascii() and char.islower(),
    "space": _CLASSES["s"],
    "word": _CLASSES["w"],
    "punct": lambda char: char.isascii() and char.isprintable() and not char.isalnum() and char != " ",
    "xdigit": lambda char: char in "0123456789abcdefABCDEF",
}
_COUNT = re.compile(r"\{(\d{1,4})(,(\d{0,4}))?\}")


class Regex:
    """A compiled pattern."""

    __slots__ = ("_accept", "_start", "_states", "groups", "names")

    def __init__(
        self, states: list[_State], start: int, accept: int, groups: int = 0, names: dict[str, int] | None = None
    ) -> None:
        self._states, self._start, self._accept = states, start, accept
        self.groups = groups
        """How many groups the pattern has."""
        self.names = names or {}
        """Numbers of the groups that have names."""

    def search(self, text: str) -> bool:
        """Return whether the pattern matches anywhere in the text."""
        current: set[int] = set()
        for at in range(len(text) + 1):
            current.add(self._start)
            current = self._closure(current, text, at)
            if self._accept in current:
                return True
            if at == len(text):
                break
            char = text[at]
            step: set[int] = set()
            for index in current:
                state = self._states[index]
                if state.test is not None and state.test(char):
                    step.update(state.after)
            current = step
        return False

    def find(self, text: str, begin: int = 0, *, budget: list[int] | None = None) -> tuple[int, ...] | None:
        """Return the first match from a place on, as Go chooses it: where it begins and ends, then each group (-1: none).

        Raises:
            RegexError: that takes more steps than `budget` holds, which it lowers.
        """
        budget = [MAX_STEPS] if budget is None else budget
        found: tuple[int, ...] | None = None
        none = (-1,) * (2 * self.groups)
        current: list[tuple[int, int, tuple[int, ...]]] = []
        for at in range(begin, len(text) + 1):
            if found is None:
                current.append((self._start, at, none))
            reached = self._reached(current, text, at)
            budget[0] -= 1 + len(reached)
            if budget[0] < 0:
                raise RegexError("the regular expression takes too long on this text")
            current = []
            for index, first, slots in reached:
                if index == self._accept:
                    found = (first, at, *slots)
                    break
                state = self._states[index]
                if at < len(text) and state.test is not None and state.test(text[at]):
                    current += [(following, first, slots) for following in state.after]
            if found is not None and not current:
                break
        return found

    def find_all(self, text: str, count: int = -1) -> list[tuple[int, ...]]:
        """Return all matches, or the first `count`; an empty one right after another does not count.

        Raises:
            RegexError: that takes too long.
        """
        matches: list[tuple[int, ...]] = []
        at, last, budget = 0, -1, [MAX_STEPS]
        while at <= len(text) and len(matches) != count:
            found = self.find(text, at, budget=budget)
            if found is None:
                break
            if found[1] > found[0] or found[0] != last:
                matches.append(found)
            last = found[1]
            at = last if found[1] > found[0] else last + 1
        return matches

    def _reached(
        self, current: list[tuple[int, int, tuple[int, ...]]], text: str, at: int
    ) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return the states that consume or accept, the preferred ones first, each with its match's begin and its groups."""
        seen: set[int] = set()
        reached: list[tuple[int, int, tuple[int, ...]]] = []
        for thread in current:
            stack = [thread]
            while stack:
                index, first, slots = stack.pop()
                if index in seen:
                    continue
                seen.add(index)
                state = self._states[index]
                if state.test is not None or index == self._accept:
                    reached.append((index, first, slots))
                elif not state.guard or _holds(state.guard, text, at):
                    if state.slot >= 0:
                        slots = (*slots[: state.slot], at, *slots[state.slot + 1 :])
                    order = state.after if state.lazy else reversed(state.after)
                    stack += [(following, first, slots) for following in order]
        return reached

    def _closure(self, seeds: set[int], text: str, at: int) -> set[int]:
        """Return all states reached without consuming a character."""
        seen = set(seeds)
        todo = list(seeds)
        while todo:
            state = self._states[todo.pop()]
            if state.test is not None or (state.guard and not _holds(state.guard, text, at)):
                continue
            for index in state.after:
                if index not in seen:
                    seen.add(index)
                    todo.append(index)
        return seen


def _holds(guard: str, text: str, at: int) -> bool:
    if guard == "^":
        return at == 0
    if guard == "$":
        return at == len(text)
    word = _CLASSES["w"]
    boundary = (at > 0 and word(text[at - 1])) != (at < len(text) and word(text[at]))
    return boundary if guard == "b" else not boundary


@lru_cache(maxsize=256)
def compile_regex(pattern: str) -> Regex:
    """Return the compiled pattern.

    Raises:
        RegexError: not a pattern, or too large.
    """
    if len(pattern) > MAX_PATTERN:
        raise RegexError(f"a pattern may have at most {MAX_PATTERN} characters")
    return _Compiler(pattern).run()


class _Compiler:
    """Recursive descent over the pattern, building states as it goes."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._states: list[_State] = []
        self._fold = False
        self._depth = 0
        self._lazy = False
        self._groups: dict[int, int] = {}
        self._names: dict[str, int] = {}

    def run(self) -> Regex:
        """Compile the whole pattern."""
        start, ends = self._alternatives()
        if self._at < len(self._pattern):
            raise RegexError(f"unexpected ) in `{self._pattern}`")
        accept = self._new()
        self._connect(ends, accept)
        return Regex(self._states, start, accept, len(self._groups), self._names)

    def _new(self, test: Test | None = None, guard: str = "") -> int:
        if len(self._states) >= MAX_STATES:
            raise RegexError(f"expression too large: `{self._pattern}`")
        self._states.append(_State(test=test, guard=guard))
        return len(self._states) - 1

    def _connect(self, ends: list[int], to: int) -> None:
        for end in ends:
            self._states[end].after.append(to)

    def _peek(self) -> str:
        return self._pattern[self._at] if self._at < len(self._pattern) else ""

    def _alternatives(self) -> _Fragment:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise RegexError(f"expression nests too deeply: `{self._pattern}`")
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        self._depth -= 1
        if len(branches) == 1:
            return branches[0]
        fork = self._new()
        self._states[fork].after = [start for start, _ in branches]
        return fork, [end for _, ends in branches for end in ends]

    def _sequence(self) -> _Fragment:
        start = self._new()
        ends = [start]
        while self._peek() not in {"", "|", ")"}:
            first, last = self._repeated()
            self._connect(ends, first)
            ends = last
        return start, ends

    def _repeated(self) -> _Fragment:
        begin = self._at
        fragment = self._atom()
        finish = self._at
        low, high = self._quantifier()
        if low is None:
            return fragment
        resume = self._at
        result = self._copies(begin, finish, fragment, low, high)
        self._at = resume
        return result

    def _quantifier(self) -> tuple[int | None, int | None]:
        char = self._peek()
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char)
        if bounds is not None:
            self._at += 1
        elif (found := _COUNT.match(self._pattern, self._at)) is not None:
            low = int(found[1])
            high = low if found[2] is None else int(found[3]) if found[3] else None
            if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
                raise RegexError(f"invalid repeat count: `{found[0]}`")
            self._at = found.end()
            bounds = (low, high)
        else:
            return None, None
        self._lazy = self._peek() == "?"
        if self._lazy:
            self._at += 1
        if self._peek() in {"*", "+", "?"} or _COUNT.match(self._pattern, self._at):
            raise RegexError(f"invalid nested repetition operator in `{self._pattern}`")
        return bounds

    def _copies(self, begin: int, finish: int, first: _Fragment, low: int, high: int | None) -> _Fragment:
        """Write the atom out as often as it may occur; the text of the atom is parsed anew for each copy."""
        start = self._new()
        ends = [start]
        lazy = self._lazy
        pending: _Fragment | None = first

        def copy() -> _Fragment:
            nonlocal pending
            if pending is not None:
                fragment, pending = pending, None
                return fragment
            self._at = begin
            fragment = self._atom()
            if self._at != finish:
                raise RegexError(f"invalid repeat in `{self._pattern}`")
            return fragment

        for _ in range(low):
            head, tail = copy()
            self._connect(ends, head)
            ends = tail
        if high is None:
            loop = self._new()
            self._states[loop].lazy = lazy
            self._connect(ends, loop)
            head, tail = copy()
            self._states[loop].after.append(head)
            self._connect(tail, loop)
            return start, [loop]
        skips: list[int] = []
        for _ in range(high - low):
            fork = self._new()
            self._states[fork].lazy = lazy
            self._connect(ends, fork)
            skips.append(fork)
            head, tail = copy()
            self._states[fork].after.append(head)
            ends = tail
        return start, [*ends, *skips]

    def _atom(self) -> _Fragment:
        char = self._peek()
        self._at += 1
        if char == "(":
            return self._group()
        if char == "[":
            return self._single(self._class())
        if char == ".":
            return self._single(lambda it: it != "\n")
        if char in {"^", "$"}:
            return self._guarded(char)
        if char == "\\":
            return self._escape()
        if char in {"*", "+", "?"}:
            raise RegexError(f"missing argument to repetition operator: `{char}`")
        return self._single(self._literal(char))

    def _single(self, test: Test) -> _Fragment:
        state = self._new(test=test)
        return state, [state]

    def _guarded(self, guard: str) -> _Fragment:
        state = self._new(guard=guard)
        return state, [state]

    def _literal(self, wanted: str) -> Test:
        if self._fold and wanted.lower() != wanted.upper():
            both = {wanted.lower(), wanted.upper()}
            return lambda it: it in both
        return lambda it: it == wanted

    def _group(self) -> _Fragment:
        before = self._fold
        place, named, counts = self._at, "", True
        if self._pattern.startswith("?", self._at):
            found = re.compile(r"\?(?:P?<(?P<name>\w+)>|(?P<fold>i?)(-?)(?P<end>[:)]))").match(self._pattern, self._at)
            if found is None:
                raise RegexError(f"invalid or unsupported Perl syntax: `({self._pattern[self._at : self._at + 2]}`")
            self._at = found.end()
            named, counts = found["name"] or "", bool(found["name"])
            if found["fold"]:
                self._fold = True
            if found["end"] == ")":
                state = self._new()
                return state, [state]
        # The text of a repeated group is parsed again for each copy: its number stays.
        number = self._groups.setdefault(place, len(self._groups)) if counts else -1
        if named:
            self._names[named] = number + 1
        fragment = self._alternatives()
        if self._peek() != ")":
            raise RegexError(f"missing closing ): `{self._pattern}`")
        self._at += 1
        self._fold = before
        return self._captured(fragment, number) if counts else fragment

    def _captured(self, fragment: _Fragment, number: int) -> _Fragment:
        """Return a fragment that writes down where it begins and ends."""
        opening, closing = self._new(), self._new()
        self._states[opening].slot, self._states[closing].slot = 2 * number, 2 * number + 1
        self._states[opening].after.append(fragment[0])
        self._connect(fragment[1], closing)
        return opening, [closing]

    def _escape(self) -> _Fragment:
        char = self._peek()
        self._at += 1
        if not char:
            raise RegexError(f"trailing backslash at end of expression: `{self._pattern}`")
        if char in {"b", "B"}:
            return self._guarded(char)
        if char in {"A", "z"}:
            return self._guarded("^" if char == "A" else "$")
        return self._single(self._escaped_test(char))

    def _escaped_test(self, char: str) -> Test:
        if char.lower() in _CLASSES:
            test = _CLASSES[char.lower()]
            return test if char.islower() else lambda it: not test(it)
        if char in _ESCAPES:
            return self._literal(_ESCAPES[char])
        if char.isalnum():
            raise RegexError(f"invalid escape sequence: `\\{char}`")
        return self._literal(char)

    def _class(self) -> Test:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        tests: list[Test] = []
        first = True
        while (char := self._peek()) != "]" or first:
            if not char:
                raise RegexError(f"missing closing ]: `{self._pattern}`")
            first = False
            tests.append(self._class_item())
        self._at += 1
        return (lambda it: not any(test(it) for test in tests)) if negated else (lambda it: any(test(it) for test in tests))

    def _class_item(self) -> Test:
        found = re.compile(r"\[:(\w+):\]").match(self._pattern, self._at)
        if found is not None and found[1] in _POSIX:
            self._at = found.end()
            return _POSIX[found[1]]
        low = self._class_char()
        if not isinstance(low, str):
            return low
        rest = self._pattern[self._at : self._at + 2]
        if len(rest) < 2 or rest[0] != "-" or rest[1] == "]":
            return self._literal(low)
        self._at += 1
        high = self._class_char()
        if not isinstance(high, str) or high < low:
            raise RegexError(f"invalid character class range in `{self._pattern}`")
        if self._fold:
            return lambda it: low <= it.lower() <= high or low <= it.upper() <= high
        return lambda it: low <= it <= high

    def _class_char(self) -> str | Test:
        char = self._peek()
        self._at += 1
        if char != "\\":
            return char
        char = self._peek()
        self._at += 1
        if char.lower() in _CLASSES and char:
            return self._escaped_test(char)
        if not char or (char.isalnum() and char not in _ESCAPES):
            raise RegexError(f"invalid escape sequence: `\\{char}`")
        return _ESCAPES.get(char, char)
