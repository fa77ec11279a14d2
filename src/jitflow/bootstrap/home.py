"""The data home: where everything of one server lies, and what a client finds there."""

import os
import secrets
from pathlib import Path

import msgspec


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a server: its URL, its token, and the process that serves."""

    url: str
    token: str
    pid: int = 0


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    pid: int


class Home:
    """The paths below a data home."""

    def __init__(self, root: Path) -> None:
        """Name the paths; nothing is made."""
        self.root = root
        self.state = root / "state.db"
        self.pods = root / "executor"
        self.primary = root / "primary"
        self.scratch = root / "scratch"
        self.artifacts = root / "artifacts"
        self.token = root / "token"
        self.link = root / "link.token"
        self.key = root / "secret.key"
        self.server = root / "server.json"
        self.rclone = root / "rclone"
        self.volumes = root / "volumes"
        self.unsent = root / "unsent"
        self.staging = root / "staging"
        self.arrivals = root / "arrivals"
        self.audit = root / "audit"
        self.name = root / "id"

    def make(self) -> None:
        """Make the home for its owner only.

        Raises:
            OSError: it cannot be made.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.artifacts.mkdir(mode=0o700, exist_ok=True)

    def identity(self) -> str:
        """Return the name of this home, unlike that of any other on any machine; it is made once.

        Raises:
            OSError: it cannot be read or written.
        """
        draft = self.name.with_suffix(f".{os.getpid()}")
        draft.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
        try:
            os.link(draft, self.name)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return self.name.read_text(encoding="ascii").strip()

    def write_server(self, url: str) -> None:
        """Say where the server of this home listens; one that listens everywhere is reached at this machine's own address."""
        url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        partial = self.server.with_suffix(f".{os.getpid()}")
        partial.write_bytes(msgspec.json.encode(_Record(url=url, pid=os.getpid())))
        partial.replace(self.server)

    def forget_server(self) -> None:
        """Take the record away, if it is this process's."""
        record = self._record()
        if record is not None and record.pid == os.getpid():
            self.server.unlink(missing_ok=True)

    def find_server(self) -> ServerInfo | None:
        """Return the running server of this home, or None. A record that a killed server left behind is no server."""
        record = self._record()
        if record is None or not _is_alive(record.pid):
            return None
        try:
            token = self.token.read_text().strip()
        except OSError:
            return None
        return ServerInfo(url=record.url, token=token, pid=record.pid)

    def _record(self) -> _Record | None:
        try:
            return msgspec.json.decode(self.server.read_bytes(), type=_Record)
        except (OSError, msgspec.DecodeError):
            return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
