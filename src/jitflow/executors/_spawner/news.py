"""What a parent tells of its pod while it runs: a file in the pod's directory, and a word to whoever listens."""

import json
import os
import socket
import stat
import time

from .supervise import Supervisor

_LOOK_EVERY_S = 1.0
_MAX_READ_BYTES = 4096


class News:
    """Keeps `news.json` of a directory and tells when it has changed.

    Args:
        directory_fd: the directory of the pod, or of a container of it.
        key: the pod's key.
        notify: where to tell.
    """

    def __init__(self, directory_fd: int, key: str, notify: socket.socket) -> None:
        self._directory_fd = directory_fd
        self._word = b"+" + key.encode()
        self._notify = notify
        self._values: dict[str, object] = {}

    def tell(self, name: str, value: object) -> None:
        """Let a value be known, if it is not the one that is."""
        if self._values.get(name) == value:
            return
        self._values[name] = value
        fd = os.open("news.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=self._directory_fd)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(self._values))
        os.rename("news.tmp", "news.json", src_dir_fd=self._directory_fd, dst_dir_fd=self._directory_fd)
        try:
            self._notify.send(self._word, socket.MSG_DONTWAIT)
        except OSError:
            return  # nobody listens now; who listens later reads the file


class Progress:
    """Looks every second what the command has written to its progress file.

    Args:
        path: the file; its last line is `n/m`.
        news: where a new one is told.
    """

    def __init__(self, path: str, news: News) -> None:
        self._path = path
        self._news = news
        self.due = time.monotonic() + _LOOK_EVERY_S

    def run(self, supervisor: Supervisor) -> None:
        """Tell what is new, if the disk takes it; it is told again at the end."""
        self.due = time.monotonic() + _LOOK_EVERY_S
        text = self.read()
        if text:
            try:
                self._news.tell("progress", text)
            except OSError:
                return

    def read(self) -> str:
        """Return the last line of the file, empty if it has none that could be a progress."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return ""
            data = os.pread(fd, _MAX_READ_BYTES, max(0, found.st_size - _MAX_READ_BYTES))
        finally:
            os.close(fd)
        lines = data.decode(errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else ""
        return last if last.replace("/", "", 1).isdigit() and "/" in last else ""
