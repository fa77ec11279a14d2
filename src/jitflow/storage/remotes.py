"""Remotes: what people configure, and whether rclone could make sense of it. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

from jitflow.model.problems import Place, Problem, Refused

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*")
_CONNECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*:.*", re.DOTALL)
_SECRETIVE = re.compile(r"secret|pass|token|key|credential|sas|auth|cookie|private", re.IGNORECASE)
LONGEST_NAME = 63


class Tuning(Struct, frozen=True, kw_only=True):
    """How hard a remote is worked: what rclone calls its global options, for this remote only.

    `transfers` and `checkers` are objects at once within one directory; single objects are the caller's business.
    Objects of at least `multi_thread_cutoff_bytes` are read in ranges by `multi_thread_streams` connections.
    `io_timeout_s`: a connection without a byte for so long is closed and tried again, up to `low_level_retries` times.
    """

    transfers: int = 32
    checkers: int = 32
    multi_thread_streams: int = 4
    multi_thread_cutoff_bytes: int = 256 * 2**20
    multi_thread_chunk_bytes: int = 32 * 2**20
    low_level_retries: int = 3
    connect_timeout_s: float = 10.0
    io_timeout_s: float = 30.0


class RemoteConfig(Struct, frozen=True, kw_only=True):
    """One configured remote: `options` as in rclone's own configuration, all in plain text.

    `secrets` names the options that must never be shown (passwords are added). `type: local` takes the one
    option `root`, an absolute directory; nothing outside it can be named. `check_hashes` False: the store's hashes cannot be
    trusted (an S3 bucket that encrypts with its own keys gives ETags that look like MD5 sums and are not).
    """

    name: str
    type: str
    options: dict[str, str] = {}
    secrets: frozenset[str] = frozenset()
    tuning: Tuning = Tuning()
    check_hashes: bool = True

    def __repr__(self) -> str:
        """Return name and type; the values of options may be secret."""
        return f"RemoteConfig(name={self.name!r}, type={self.type!r}, options={sorted(self.options)})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what `__repr__` shows."""
        return [("name", self.name), ("type", self.type), ("options", sorted(self.options))]


class OptionValue(Struct, frozen=True, rename="pascal"):
    """A value that an option may have."""

    value: str = ""


class ProviderOption(Struct, frozen=True, rename="pascal"):
    """An option as `config/providers` describes it."""

    name: str
    is_password: bool = False
    sensitive: bool = False
    type: str = "string"
    required: bool = False
    exclusive: bool = False
    provider: str = ""
    """Of which makers of such stores it is, empty: of all."""
    default_str: str = ""
    examples: list[OptionValue] | None = None


class Provider(Struct, frozen=True, rename="pascal"):
    """A type of remote as `config/providers` describes it."""

    name: str
    options: list[ProviderOption] = []


class Providers(Struct, frozen=True):
    """The answer of `config/providers`."""

    providers: list[Provider]


def validate(remote: RemoteConfig, providers: Sequence[Provider]) -> None:
    """Check a remote against what this rclone knows.

    Raises:
        Refused: with one problem for each thing that is wrong; the place is `remotes.NAME.OPTION`.
    """
    problems = [*_name_problems(remote.name), *_type_problems(remote, providers)]
    if problems:
        raise Refused(problems)


def pushed(remote: RemoteConfig) -> tuple[str, dict[str, str]]:
    """Return the type and options under which rclone is told of the remote: a local directory is an alias of its root."""
    if remote.type == "local":
        return "alias", {"remote": remote.options["root"]}
    return remote.type, dict(remote.options)


def secret_values(remote: RemoteConfig, providers: Sequence[Provider]) -> list[str]:
    """Return every value of the remote that must not be shown."""
    known = {option.name: option for provider in providers if provider.name == remote.type for option in provider.options}
    hidden = remote.secrets
    return [value for name, value in remote.options.items() if value and (name in hidden or _is_secret(name, known.get(name)))]


def looks_secret(option: str) -> bool:
    """Return whether an option of this name is hidden from people, whatever the type of its remote."""
    return bool(_SECRETIVE.search(option))


def _is_secret(name: str, option: ProviderOption | None) -> bool:
    if option is None:
        return bool(_SECRETIVE.search(name))
    return option.is_password or (option.sensitive and bool(_SECRETIVE.search(name)))


def _name_problems(name: str) -> Iterable[Problem]:
    if _NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return
    yield Problem(
        message=f"{name!r} cannot name a remote",
        place=Place(path=f"remotes.{name}"),
        remedy=f"use at most {LONGEST_NAME} letters, digits and _ . + @ -, beginning with a letter, a digit or _",
    )


def _type_problems(remote: RemoteConfig, providers: Sequence[Provider]) -> Iterable[Problem]:
    known = {provider.name: provider for provider in providers}
    if remote.type not in known:
        yield Problem(
            message=f"rclone knows no storage of type {remote.type!r}",
            place=Place(path=f"remotes.{remote.name}.type"),
            remedy=_did_you_mean(remote.type, known) or "`rclone help backends` lists the types",
        )
        return
    if remote.type == "local":
        yield from _local_problems(remote)
        return
    options = known[remote.type].options
    yield from _option_problems(remote, {option.name: option for option in options})
    yield from _value_problems(remote, options)
    if remote.type == "alias":
        yield from _alias_problems(remote)


def _option_problems(remote: RemoteConfig, known: Mapping[str, ProviderOption]) -> Iterable[Problem]:
    for name in remote.options:
        if name not in known:
            yield Problem(
                message=f"storage of type {remote.type!r} has no option {name!r}",
                place=Place(path=f"remotes.{remote.name}.{name}"),
                remedy=_did_you_mean(name, known) or f"`rclone help backend {remote.type}` lists the options",
            )
    for name in sorted(remote.secrets - set(remote.options)):
        yield Problem(
            message=f"the secret option {name!r} is not given",
            place=Place(path=f"remotes.{remote.name}.{name}"),
            remedy="give it a value, or do not name it a secret",
        )


_BOOL = re.compile(r"1|t|T|TRUE|true|True|0|f|F|FALSE|false|False")
_VALUES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "bool": (_BOOL, "true or false"),
    "Tristate": (re.compile(f"unset|{_BOOL.pattern}"), "true, false or unset"),
    "int": (re.compile(r"[-+]?\d{1,18}"), "a whole number"),
    "float64": (re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?"), "a number"),
    "SizeSuffix": (re.compile(r"off|\d+(\.\d+)?([bkmgtpe]i?b?)?", re.IGNORECASE), "a size, such as 5Mi, 1G or off"),
    "Duration": (re.compile(r"off|[-+]?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w|M|y)?)+"), "a time, such as 30s, 1h30m or 2d"),
}
"""What values of a type look like, and how that is said."""


def _value_problems(remote: RemoteConfig, options: Sequence[ProviderOption]) -> Iterable[Problem]:
    """Say which values do not fit their options, and which options are missing."""
    for name, value in remote.options.items():
        same = [option for option in options if option.name == name]
        if not same or not value:
            continue
        place = Place(path=f"remotes.{remote.name}.{name}")
        pattern, words = _VALUES.get(same[0].type, (None, ""))
        shown = "the value" if _is_secret(name, same[0]) else repr(value[:80])
        if pattern is not None and not pattern.fullmatch(value):
            yield Problem(message=f"option {name!r}: {shown} is no {same[0].type}", place=place, remedy=f"write {words}")
        elif all(option.exclusive for option in same):
            known = sorted({one.value for option in same for one in option.examples or ()})
            if known and value not in known:
                remedy = _did_you_mean(value, known) or f"write one of {', '.join(filter(None, known))[:400]}"
                yield Problem(message=f"option {name!r} cannot be {shown}", place=place, remedy=remedy)
    for option in options:
        if option.required and not option.provider and not option.default_str and not remote.options.get(option.name):
            yield Problem(
                message=f"storage of type {remote.type!r} needs the option {option.name!r}",
                place=Place(path=f"remotes.{remote.name}.{option.name}"),
                remedy=f"give it; GET /data/v1/providers/{remote.type} describes it",
            )


def hidden_options(remote: RemoteConfig, providers: Sequence[Provider]) -> set[str]:
    """Return the options whose values are never shown: those that the descriptions call passwords, and those that look secret."""
    known = {option.name: option for provider in providers if provider.name == remote.type for option in provider.options}
    return {
        name
        for name in remote.options
        if name in remote.secrets or looks_secret(name) or (name in known and known[name].is_password)
    }


def _local_problems(remote: RemoteConfig) -> Iterable[Problem]:
    for name in remote.options:
        if name != "root":
            yield Problem(
                message=f"a local directory has no option {name!r}",
                place=Place(path=f"remotes.{remote.name}.{name}"),
                remedy="its only option is `root`",
            )
    yield from _root_problems(remote, "root", remote.options.get("root", ""))


def _alias_problems(remote: RemoteConfig) -> Iterable[Problem]:
    target = remote.options.get("remote", "")
    if not _CONNECTION.fullmatch(target):
        yield from _root_problems(remote, "remote", target)


def _root_problems(remote: RemoteConfig, option: str, root: str) -> Iterable[Problem]:
    if root.startswith("/") and ".." not in root.split("/") and "\0" not in root:
        return
    yield Problem(
        message=f"{root!r} is not an absolute directory" if root else "the directory is not given",
        place=Place(path=f"remotes.{remote.name}.{option}"),
        remedy=f"set `{option}` to a path that begins with / and has no .." + (" or to NAME:path" if option == "remote" else ""),
    )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
