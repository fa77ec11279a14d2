"""Files that only their owner may read."""

import os
from pathlib import Path


def replace_private(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and durably; nobody else may read it.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    draft.replace(path)
