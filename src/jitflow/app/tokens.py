"""The token that opens the APIs."""

import os
import secrets
import stat
from pathlib import Path

from jitflow.model.problems import Refused

_BYTES = 32
MIN_CHARS = 16


def ensure_token(path: Path | str) -> str:
    """Return the token kept at `path`, making a new one (mode 0600) if there is none.

    Raises:
        Refused: the file cannot be read or written, is open to other users, or holds no usable token.
    """
    file = Path(path)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = _read(file)
        return token if token is not None else _create(file)
    except OSError as error:
        raise Refused(f"the token file {file} cannot be used: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Refused(f"the token file {file} holds no text; remove it and a new token is made") from None


def _read(file: Path) -> str | None:
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, encoding="ascii") as opened:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise Refused(f"the token file {file} is open to other users: remove it (a new token is made) or `chmod 600` it")
        token = opened.read(4096).strip()
    if len(token) < MIN_CHARS or not token.isprintable() or " " in token:
        raise Refused(f"the token file {file} holds no usable token; remove it and a new one is made")
    return token


def _create(file: Path) -> str:
    """Write a new token beside the file and link it into place: a reader sees all of it or none, and the first writer wins."""
    token = secrets.token_urlsafe(_BYTES)
    draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="ascii") as opened:
            opened.write(f"{token}\n")
            opened.flush()
            os.fsync(fd)
        os.link(draft, file)
    except FileExistsError:
        return _read(file) or token
    finally:
        draft.unlink()
    return token
