"""References to objects as people type them: `remote:path`."""

import re

from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused

MAX_REF_CHARS = 4096
_REMOTE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,62}")


def parse_ref(text: str) -> ObjectRef:
    """Return the object or prefix that a text names.

    Raises:
        Refused: it is no reference, or leads out of the remote's own tree.
    """
    remote, colon, path = text.partition(":")
    shown = repr(text[:200])
    if not colon or not _REMOTE.fullmatch(remote):
        raise Refused(f"{shown} names no object; write remote:path, with the name of a configured remote")
    if len(text) > MAX_REF_CHARS:
        raise Refused(f"a reference of {len(text)} characters is too long; at most {MAX_REF_CHARS} are possible")
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in path):
        raise Refused(f"{shown} has a control character in its path")
    if path.startswith("/"):
        raise Refused(f"{shown} has an absolute path; paths begin below the remote's root, without /")
    parts = path.removesuffix("/").split("/") if path else []
    if any(part in {"", ".", ".."} for part in parts):
        raise Refused(f"{shown} has an empty, . or .. part in its path")
    return ObjectRef(remote=remote, path=path)
