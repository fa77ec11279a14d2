"""A pod's directory on the host: names, what is written before the start, what is read after the end."""

import contextlib
import os
import re
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from jitflow.model.pods import ContainerRole, Pod, PodEnd, PodKey, PodNews
from jitflow.ports.errors import FixRequest

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_decode_end = msgspec.json.Decoder(PodEnd)
_encoder = msgspec.json.Encoder()

SCHEMA = 1


class Plan(Struct, frozen=True, kw_only=True):
    """What the executor decided for a pod, beside what the pod asks for. Mirrors `_spawner.record.Plan`."""

    schema: int = SCHEMA
    root: str
    """`overlay`, `binds`, or empty: no sandbox."""
    user_namespace: bool
    hidden: tuple[str, ...]
    env: dict[str, str]
    working_dir: str
    directory: str
    volumes: str = ""
    """Where the pod's own volumes are, if not in `directory`: those of a pod of several containers."""

    @property
    def isolation(self) -> str:
        """The namespaces that the pod's parent enters before it knows the pod."""
        if not self.root:
            return ""
        return "user" if self.user_namespace else "privileged"


class ContainerRecord(Struct, frozen=True, kw_only=True):
    """A container of several: when it runs, and the pod that it would be alone."""

    name: str
    role: ContainerRole
    dependencies: tuple[str, ...]
    retries: int
    retry_delay_s: float
    pod: Pod
    plan: Plan


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of `pod.json`."""

    pod: Pod
    plan: Plan
    containers: tuple[ContainerRecord, ...] = ()

    @property
    def isolation(self) -> str:
        """What the spawner is asked for: namespaces, or `group` for a parent that starts parents."""
        return "group" if self.containers else self.plan.isolation


class ParentId(Struct, frozen=True):
    """A process, told from a later one with the same pid by its start time (clock ticks since boot); pid 0: nobody."""

    pid: int
    start_time: str

    def is_alive(self) -> bool:
        """Say whether that very process exists and is no zombie."""
        state = _stat_fields(self.pid)
        return state is not None and state[19] == self.start_time and state[0] not in ("Z", "X")


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of `/proc/<pid>/stat` from the third on (the state), or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def check_name(what: str, name: str) -> None:
    """Refuse a name that could not be a file's.

    Raises:
        FixRequest: it is empty, too long, or has characters beyond letters, digits, `.`, `_` and `-`.
    """
    if not _NAME.fullmatch(name):
        raise FixRequest(
            f"{what} {name!r} cannot name a file: use 1 to 200 letters, digits, '.', '_' or '-', not starting with '.' or '-'"
        )


MAIN = "main"


def log_name(container: str) -> str:
    """Return the name of a container's log in the pod's directory; mirrored in `_spawner.group`."""
    return "log" if container == MAIN else f"log@{container}"


def _old_name(key: PodKey, container: str) -> str:
    return key if container == MAIN else f"{key}@{container}"


class _News(Struct, frozen=True):
    """The content of `news.json`."""

    progress: str = ""
    ready: bool = False


_decode_news = msgspec.json.Decoder(_News)


def _read_news(directory: Path) -> _News | None:
    try:
        return _decode_news.decode((directory / "news.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


_decode_record = msgspec.json.Decoder(Record)


class PodDirectory:
    """The files of one pod below the executor's home."""

    def __init__(self, home: Path, key: PodKey, below: str = "pods") -> None:
        self.key = key
        self.path = home / below / key
        self._logs = home / "logs"

    def create(self, record: Record) -> None:
        """Make the directory with `pod.json`; either both are there afterwards or neither."""
        os.mkdir(self.path, 0o700)
        try:
            fd = os.open(self.path / "pod.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(_encoder.encode(record))
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def record(self) -> Record | None:
        """Return what was written before the start, if all of it was."""
        try:
            return _decode_record.decode((self.path / "pod.json").read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def drop_record(self) -> None:
        """Remove what was written before the start; a parent does it as soon as it has read it."""
        (self.path / "pod.json").unlink(missing_ok=True)

    def parent(self) -> ParentId | None:
        """Return who cares for the pod; None if nobody took it yet."""
        try:
            words = os.readlink(self.path / "parent").split()
        except FileNotFoundError:
            return None
        return ParentId(int(words[0]), words[1])

    def claim_unstarted(self) -> bool:
        """Take a pod that no parent has taken, so that none will; False if one was faster."""
        try:
            os.symlink("0 0", self.path / "parent")
        except FileExistsError:
            return False
        return True

    def end(self) -> PodEnd | None:
        """Return the recorded end, if there is a whole one."""
        try:
            return _decode_end.decode((self.path / "end.json").read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def news(self) -> PodNews | None:
        """Return what the parents have told of the pod and its containers, None if nothing."""
        places = {MAIN: self.path, **{path.name: path for path in self._containers()}}
        found = {name: told for name, path in places.items() if (told := _read_news(path)) is not None}
        if not found:
            return None
        progress = next((told.progress for told in found.values() if told.progress), "")
        return PodNews(key=self.key, progress=progress, ready=tuple(name for name, told in found.items() if told.ready))

    def _containers(self) -> list[Path]:
        """Return the directories of the containers of a pod of several, main first."""
        try:
            names = os.listdir(self.path / "containers")
        except OSError:
            return []
        return [self.path / "containers" / name for name in sorted(names, key=lambda name: (name != MAIN, name))]

    def lost_end(self, now: float) -> PodEnd:
        """Return the end of a pod whose parent is gone without a record."""
        with contextlib.suppress(OSError):
            now = max(now, (self.path / "log").stat().st_mtime)
        started = now
        with contextlib.suppress(OSError):
            started = (self.path / "parent").lstat().st_mtime
        return PodEnd(
            key=self.key,
            exit_code=None,
            started_at=started,
            finished_at=now,
            error="the pod's parent process ended without recording how the pod ended: it was killed, or the machine was stopped",
        )

    def ask_to_terminate(self, grace_s: float) -> None:
        """Leave the grace for the parent to read when TERM reaches it."""
        temporary = self.path / "terminate.tmp"
        temporary.write_text(repr(grace_s), encoding="ascii")
        temporary.rename(self.path / "terminate")

    def log(self, container: str = MAIN) -> Path:
        """Return where a container's log is now."""
        here = self.path / log_name(container)
        old = self._logs / _old_name(self.key, container)
        return here if here.exists() or not old.exists() else old

    def _own_logs(self) -> list[str]:
        """Return the containers that have a log in the pod's directory."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return [name.removeprefix("log").removeprefix("@") or MAIN for name in names if name == "log" or name.startswith("log@")]

    def retire(self, trash: Path) -> Path | None:
        """Keep the log, and move all else out of sight; returns what is to be removed."""
        for container in self._own_logs():
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path / log_name(container), self._logs / _old_name(self.key, container))
        target = trash / f"{self.key}-{os.getpid()}-{self.path.stat().st_ino}" if self.path.exists() else None
        if target is not None:
            os.rename(self.path, target)
        return target

    def delete_log(self) -> None:
        """Remove the logs, wherever they are."""
        for container in self._own_logs():
            (self.path / log_name(container)).unlink(missing_ok=True)
        (self._logs / self.key).unlink(missing_ok=True)
        for path in self._logs.glob(f"{self.key}@*"):
            path.unlink(missing_ok=True)


def kill_session(leader: ParentId) -> None:
    """Kill what is left of the session that a dead parent led (a pod without a sandbox)."""
    now = _stat_fields(leader.pid)
    if leader.pid <= 1 or (now is not None and now[19] != leader.start_time):
        return  # the pid belongs to somebody else by now
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _stat_fields(int(name))
        if fields is not None and fields[3] == str(leader.pid) and int(fields[19]) >= int(leader.start_time):
            with contextlib.suppress(OSError):
                os.kill(int(name), signal.SIGKILL)


def remove_tree(path: Path) -> None:
    """Remove a directory whatever its permissions; what cannot be removed is left (it is tried again at the next open)."""

    def again(remove: Callable[[str], object], name: str, _error: object) -> None:
        with contextlib.suppress(OSError):
            for place in (os.path.dirname(name), name):
                if not stat.S_ISLNK(os.lstat(place).st_mode):
                    os.chmod(place, 0o700)
            if remove in (os.scandir, os.open, os.listdir):
                shutil.rmtree(name, ignore_errors=True)
            else:
                remove(name)

    shutil.rmtree(path, onerror=again)
