"""Lengths of time as people write them on the command line."""

import re
import time
from datetime import UTC, datetime

from jitflow.cli.errors import InputRefused

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of `45m`, `12h`, `30d`, `8w`.

    Raises:
        InputRefused: the text is no length of time, or none at all.
    """
    found = re.fullmatch(r"(\d{1,9})([smhdw])", text)
    if found is None or int(found[1]) == 0:
        raise InputRefused(f"{option} {text}: write a time such as 45m, 12h, 30d or 8w")
    return int(found[1]) * _UNITS_S[found[2]]


def ago(text: str, option: str) -> str:
    """Return the moment that lies such a length of time back, as manifests write times; empty for an empty text.

    Raises:
        InputRefused: the text is no length of time.
    """
    if not text:
        return ""
    return datetime.fromtimestamp(time.time() - seconds_of(text, option), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
