"""A pod without isolation: files are linked or copied at their paths on the host, and taken away afterwards."""

import os
import signal
import time
from collections.abc import Iterable

from .files import copy_tree, remove, set_mode
from .record import File, Input, Pod, PodError, Volume, content_of, describe
from .unpack import unpack

_KILL_LIMIT_S = 10.0


class HostFiles:
    """What a pod without a sandbox needs on the host, made at the start and removed at the end.

    Args:
        scratch: a directory of the pod's own; relative paths are relative to it.
        volumes: the directory that holds the pod's `volumes`, if not the one that holds `scratch`.
    """

    def __init__(self, scratch: str, volumes: str = "") -> None:
        self._scratch = scratch
        self._volumes = volumes or os.path.dirname(scratch)
        self._made: list[str] = []
        self._made_folders: list[str] = []
        self._moved: dict[str, str] = {}

    def make_all(self, pod: Pod) -> list[str]:
        """Place everything; returns the command with the paths of files that were placed elsewhere put in.

        Raises:
            PodError: a path is taken, or may not be written.
        """
        for volume in pod["volumes"]:
            self._guard(f"volume {volume['name']}", volume["path"], lambda v=volume: self._volume(v))
        for item in pod["inputs"]:
            self._guard(f"input {item['name']}", item["path"], lambda i=item: self._input(i))
        for path, source in pod["image"]["files"].items():
            if not os.path.lexists(path):
                self._guard(f"file {path}", path, lambda p=path, s=source: self._link(s, p))
        for number, file in enumerate(pod["files"]):
            self._guard(f"file {file['path']}", file["path"], lambda f=file, n=number: self._file(f, n, pod["command"]))
        return [self._moved.get(argument, argument) for argument in pod["command"]]

    def share(self, pods: Iterable[Pod]) -> None:
        """Place what several containers of a pod see at the same paths: volumes, and inputs that are only read.

        Raises:
            PodError: a path is taken, or may not be written.
        """
        for pod in pods:
            for volume in pod["volumes"]:
                self._guard(f"volume {volume['name']}", volume["path"], lambda v=volume: self._volume(v))
            for item in pod["inputs"]:
                if item["delivery"] == "bind" and item["mode"] is None:
                    self._guard(f"input {item['name']}", item["path"], lambda i=item: self._input(i))

    def remove_all(self) -> None:
        """Take away what was made; folders only if nobody else has put something there."""
        for path in reversed(self._made):
            remove(path)
        for folder in reversed(self._made_folders):
            try:
                os.rmdir(folder)
            except OSError:
                continue

    def _guard(self, what: str, path: str, make: object) -> None:
        try:
            make()  # type: ignore[operator]
        except PodError as error:
            raise PodError(f"{what}: {error}") from error
        except OSError as error:
            raise PodError(
                f"{what}: cannot be placed at {path} on this host ({describe(error)}); the sandbox executor gives each"
                " pod paths of its own"
            ) from error

    def _free(self, path: str) -> str:
        """Return the absolute path, its folder made, if nothing is there."""
        place = os.path.join(self._scratch, path).rstrip("/")
        if os.path.lexists(place):
            raise PodError(
                f"{place} exists on this host and a pod without a sandbox must not replace it;"
                " the sandbox executor gives each pod paths of its own"
            )
        folder = os.path.dirname(place)
        missing: list[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for folder in reversed(missing):
            os.mkdir(folder)
            self._made_folders.append(folder)
        return place

    def _note(self, place: str) -> None:
        """Remember to take away a place, unless it is in one of the pod's volumes: other containers may want it."""
        if not os.path.realpath(place).startswith(f"{os.path.realpath(self._volumes)}/volumes/"):
            self._made.append(place)

    def _link(self, source: str, path: str) -> None:
        place = os.path.join(self._scratch, path).rstrip("/")
        if os.path.islink(place) and os.readlink(place) == source:
            return  # another container of the pod has placed it, and takes it away
        place = self._free(path)
        os.symlink(source, place)
        self._made.append(place)

    def _volume(self, volume: Volume) -> None:
        base = volume["source"] or os.path.join(self._volumes, "volumes", volume["name"])
        if not volume["source"]:
            os.makedirs(base, exist_ok=True)
        parts = [part for part in volume["sub_path"].split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PodError(f"subPath {volume['sub_path']!r} leads out of the volume")
        target = os.path.join(base, *parts)
        os.makedirs(target, exist_ok=True)
        self._link(target, volume["path"])

    def _input(self, item: Input) -> None:
        if not os.path.exists(item["source"]):
            raise PodError(f"its source {item['source']} is not there")
        if item["delivery"] == "bind" and item["mode"] is None:
            self._link(item["source"], item["path"])
            return
        place = self._free(item["path"])
        self._note(place)
        if item["delivery"] == "unpack":
            unpack(item["source"], place, links_outside=False)
        else:
            copy_tree(item["source"], place)
        if item["mode"] is not None:
            set_mode(place, item["mode"], recurse=item["recurse"])

    def _file(self, file: File, number: int, command: list[str]) -> None:
        """Place a small file: in the scratch directory if the command names it, because two pods may name the same path."""
        path = file["path"]
        if path in command:
            folder = os.path.join(self._scratch, ".files", str(number))
            os.makedirs(folder)
            place = os.path.join(folder, os.path.basename(path))
            self._moved[path] = place
        else:
            place = self._free(path)
            self._note(place)
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as writer:
            writer.write(content_of(file))
            writer.flush()
            os.fchmod(fd, file["mode"])


def descendants(pid: int) -> list[int]:
    """Return the processes below `pid`, nearest first."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                text = file.read()
        except OSError:
            continue
        children.setdefault(int(text[text.rindex(b")") + 2 :].split()[1]), []).append(int(name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(0), [])
        found += below
        todo += below
    return found


def kill_descendants() -> None:
    """Send KILL to everything below this process."""
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def sweep() -> None:
    """End and reap all that the command left behind (this process adopts orphans)."""
    until = time.monotonic() + _KILL_LIMIT_S
    while time.monotonic() < until:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            kill_descendants()
            time.sleep(0.002)
