"""The sockets that a server listens on: an address and port, and a Unix socket if one is named."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from jitflow.settings import ServerSettings, SettingsError

_BACKLOG = 1024
_MAX_PATH_BYTES = 107
"""So long may the path of a Unix socket be: `sun_path` of Linux's unix(7) holds 108 bytes, a zero at the end."""


@contextlib.contextmanager
def listening(server: ServerSettings) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """Give the listener of the address and that of the Unix socket, if there is one, while the context is open.

    Raises:
        SettingsError: an address, port or path cannot be listened on.
    """
    with contextlib.ExitStack() as opened:
        address = opened.enter_context(_at_address(server.host, server.port))
        yield address, opened.enter_context(_at_path(Path(server.socket))) if server.socket else None


def url_of(listener: socket.socket, *, encrypted: bool) -> str:
    """Return the URL at which a listener is reached."""
    host, port = listener.getsockname()[:2]
    scheme = "https" if encrypted else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _at_address(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"{host}:{port} is in use by another program; choose another port with --port") from error
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # Accepted connections inherit it; without it every answer on a kept connection waits for a delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.contextmanager
def _at_path(path: Path) -> Iterator[socket.socket]:
    if not path.is_absolute() or len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise SettingsError(f"server.socket: {path}: must be an absolute path of at most {_MAX_PATH_BYTES} bytes")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listener:
        try:
            _forget_left_behind(path)
            listener.bind(str(path))
            mine = path.lstat().st_ino
            # Nobody can connect before it listens: from then on only its owner can.
            path.chmod(0o600)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise SettingsError(f"server.socket: cannot listen on {path}: {error.strerror or error}") from error
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if path.lstat().st_ino == mine:
                    path.unlink()


def _forget_left_behind(path: Path) -> None:
    """Remove the socket of a server that was killed; anything else is somebody's."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SettingsError(f"server.socket: {path} is there and is no socket; name another path, or remove it")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise SettingsError(f"server.socket: another program listens on {path}; name another path")
