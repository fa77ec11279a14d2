"""The submodules of a git repository: whoever wrote it names their hosts, so those are checked like that of the repository."""

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from jitflow.ports.errors import FixRequest
from jitflow.storage.guard import Guard, pinning

DEEPEST = 8
"""Submodules of submodules are brought this deep: a repository may hold itself."""

Run = Callable[[Sequence[str]], Awaitable[str]]
"""Runs git with these arguments and returns what it prints."""

_LINK = re.compile(r"160000 [0-9a-f]+ 0\t(.+)", re.DOTALL)
"""How `git ls-files --stage` shows that a submodule belongs at a path."""
_URL = re.compile(r"submodule\..*\.url", re.DOTALL)
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without blanks and backslashes, of which parsers of addresses think differently."""
_SCP_LIKE = re.compile(r"(?:[^@/:]+@)?(\[[^\]]+\]|[^:/\[]+):(?!//)")


async def bring(tree: Path, guard: Guard, look: Run, update: Run, *, level: int = 1) -> None:
    """Check out what belongs into a working tree, and into what is brought; `look` asks git, `update` lets it transfer.

    Raises:
        FixRequest: they lie too deep, or an address cannot be understood.
        Refused: a host may not be asked.
    """
    links = (_LINK.fullmatch(line) for line in (await look(["-C", str(tree), "ls-files", "-z", "--stage"])).split("\0"))
    paths = [link[1] for link in links if link]
    if not paths or not (tree / ".gitmodules").is_file():
        return
    if level > DEEPEST:
        raise FixRequest(f"the repository has submodules in submodules, more than {DEEPEST} deep; set disableSubmodules")
    await look(["-C", str(tree), "submodule", "--quiet", "init"])
    settings = await look(["-C", str(tree), "config", "--local", "-z", "--list"])
    pins: list[str] = []
    for key, _, value in (entry.partition("\n") for entry in settings.split("\0")):
        if _URL.fullmatch(key):
            pins += await _allowed(value, guard)
    await update([*pins, "-C", str(tree), "submodule", "update"])
    for path in paths:
        if (tree / path / ".git").exists():
            await bring(tree / path, guard, look, update, level=level + 1)


async def _allowed(url: str, guard: Guard) -> list[str]:
    """Return the options with which git reaches a URL's host only where it was found; none for what git itself refuses."""
    if not _PLAIN.fullmatch(url):
        raise FixRequest(f"the repository has a submodule at {url[:80]!r}, which is no address; set disableSubmodules")
    try:
        parts = urlsplit(url)
        if parts.netloc:
            return pinning(url, await guard.resolve(parts.netloc.rpartition("@")[2]))
    except ValueError as error:
        raise FixRequest(f"the repository has a submodule at {url[:80]!r}: {error}; set disableSubmodules") from error
    match = _SCP_LIKE.match(url)
    if match:
        await guard.resolve(match[1])
    return []
