"""A pod's root: an overlay of the host's root, or a directory with read-only binds of the host's directories.

Everything here runs in a mount namespace of the pod's own, before its command. Up to `pivot`, the pod's directory is the
working directory; after it, the host's old root is (so that relative paths are the host's and absolute paths the pod's).
"""

import os
import stat
from collections.abc import Iterable

from . import syscalls as sc
from .record import PodError

PRIVATE = ("/tmp", "/var/tmp", "/run")
"""Empty and writable in every pod."""

_KERNEL = ("/proc", "/sys", "/dev")
_OPENED = ("/mnt", "/media", "/srv", "/opt", "/home", "/root", "/var")
"""Directories of which a pod with read-only binds sees the entries, and in which it may make new ones."""

_MAX_OPENED_ENTRIES = 4096
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_PSEUDO_FILE_SYSTEMS = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "hugetlbfs", "debugfs", "tracefs"),
        *("nsfs", "securityfs", "selinuxfs", "pstore", "efivarfs", "bpf", "configfs", "fusectl", "autofs"),
        *("binfmt_misc", "ramfs", "rpc_pipefs", "fuse.portal", "fuse.gvfsd-fuse", "fuse.lxcfs"),
    )
)
_NEVER_SHOWN = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/snap", "/var/lib/docker", "/var/lib/containers")
_RUN_LINKS = ("/run/current-system", "/run/opengl-driver", "/run/wrappers")


def below(path: str, parents: Iterable[str]) -> bool:
    """Say whether `path` is one of `parents` or lies below one."""
    return any(path == parent or path.startswith(parent.rstrip("/") + "/") for parent in parents)


def isolate(*, user_namespace: bool) -> None:
    """Enter new mount and pid namespaces (the latter for children), mapped to root in a user namespace if asked."""
    uid, gid = os.geteuid(), os.getegid()
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWPID | (sc.CLONE_NEWUSER if user_namespace else 0))
    if user_namespace:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    sc.mount("none", "/", "", sc.MS_REC | sc.MS_PRIVATE)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def overlay(lower: str) -> None:
    """Mount the overlay on `root`; `lower` is the host's root or a directory that holds a root file system."""
    for name in ("upper", "work", "root"):
        os.mkdir(name, 0o755)
    for path in PRIVATE:
        _empty_in_upper(lower, path, 0o755 if path == "/run" else 0o1777)
    for path in _KERNEL:
        if not os.path.isdir(lower.rstrip("/") + path):
            os.mkdir("upper" + path)
    options = f"lowerdir={_escaped(lower)},upperdir=upper,workdir=work"
    flags = sc.MS_NODEV | sc.MS_NOSUID
    try:
        sc.mount("overlay", "root", "overlay", flags, options + ",volatile")
    except OSError:
        sc.mount("overlay", "root", "overlay", flags, options)


def _escaped(path: str) -> str:
    return "".join("\\" + letter if letter in "\\:," else letter for letter in path)


def _empty_in_upper(lower: str, path: str, mode: int) -> None:
    """Make an opaque directory in the upper layer: the pod sees it empty, and its files can be moved out."""
    made = ""
    for part in path.strip("/").split("/"):
        made += "/" + part
        try:
            found = os.lstat(lower.rstrip("/") + made)
        except FileNotFoundError:
            found = None
        if found is not None and stat.S_ISLNK(found.st_mode):
            return  # leads to a directory that is private itself, or is the image's own decision
        if not os.path.isdir("upper" + made):
            os.mkdir("upper" + made)
            if found is not None:
                os.chown("upper" + made, found.st_uid, found.st_gid)
                os.chmod("upper" + made, stat.S_IMODE(found.st_mode))
    os.chmod("upper" + path, mode)
    os.setxattr("upper" + path, "trusted.overlay.opaque", b"y")


def binds(lower: str, wanted: Iterable[str], hidden_files: Iterable[str]) -> None:
    """Fill `root` with read-only binds of the entries of `lower`.

    `wanted`: paths in the pod at which something will be mounted or made; the directories they need are opened.
    `hidden_files`: paths not shown although they exist (the pod is going to make them).
    """
    os.mkdir("root", 0o755)
    sc.bind("root", "root", sc.READ_WRITE)
    opened: set[str] = set(_OPENED)
    for path in wanted:
        _open_for(lower, path, opened)
    _show_entries(lower.rstrip("/"), "", opened, frozenset(hidden_files))
    for path in (*PRIVATE, *_KERNEL):
        _make_private("root" + path, 0o755 if path in ("/run", *_KERNEL) else 0o1777)


def _make_private(path: str, mode: int) -> None:
    if not os.path.islink(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)


def _open_for(lower: str, path: str, opened: set[str]) -> None:
    """Note the directories to open so that `path` can be made, following the links of `lower`."""
    real = resolve(lower, path)
    parent = os.path.dirname(real)
    while parent not in ("/", "") and not below(parent, (*PRIVATE, *_KERNEL)):
        opened.add(parent)
        parent = os.path.dirname(parent)


def resolve(root: str, path: str) -> str:
    """Return `path` with the symbolic links of `root` followed inside `root`, as far as it exists."""
    todo = [part for part in path.split("/") if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop(0)
        if part == "..":
            if done:
                done.pop()
            continue
        try:
            target = os.readlink(root.rstrip("/") + "/" + "/".join([*done, part]))
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > 40:
            raise PodError(f"{path}: too many symbolic links")
        if target.startswith("/"):
            done.clear()
        todo[:0] = [piece for piece in target.split("/") if piece not in ("", ".")]
    return "/" + "/".join(done)


def _show_entries(source: str, place: str, opened: set[str], hidden_files: frozenset[str]) -> None:
    try:
        with os.scandir(source + place + "/") as entries:
            found = list(entries)
    except OSError:
        return  # not readable for this user: the pod sees it empty
    if place and len(found) > _MAX_OPENED_ENTRIES:
        raise PodError(
            f"{place} has {len(found)} entries: too many to place a file among them without an overlay;"
            " use another path (`jitflow doctor` says what an overlay needs)"
        )
    for entry in found:
        path = f"{place}/{entry.name}"
        target = "root" + path
        if path in PRIVATE or path in _KERNEL or path in hidden_files or path == "/lost+found":
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir(follow_symlinks=False):
            os.mkdir(target)
            if path in opened:
                os.chmod(target, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) | 0o700)
                _show_entries(source, path, opened, hidden_files)
            else:
                _bind_shown(entry.path, target)
        elif entry.is_file(follow_symlinks=False) and place:
            touch(target)
            _bind_shown(entry.path, target)


def _bind_shown(source: str, target: str) -> None:
    try:
        sc.mount(source, target, "", sc.MS_BIND | sc.MS_REC)
    except OSError:
        return  # not to be had by this user (a dead network mount, a private FUSE): the pod sees an empty place
    sc.restrict(target, sc.READ_ONLY, recursive=True)


def pivot() -> None:
    """Make `root` the root and the host's old root the working directory, attached until `leave_host`."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir("root")
        sc.pivot_root(".", ".")
        os.fchdir(old)
    finally:
        os.close(old)


def leave_host() -> None:
    """Detach the host's old root, which must be the working directory: no path leads to it any more."""
    sc.umount(".")
    os.chdir("/")


def touch(path: str) -> None:
    """Make an empty file."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def devices(*, user_namespace: bool) -> None:
    """Fill `/dev` and show `/sys` read-only."""
    sc.mount("dev", "/dev", "tmpfs", sc.MS_NOSUID | sc.MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        if os.path.exists(f"dev/{name}"):
            touch(f"/dev/{name}")
            sc.mount(f"dev/{name}", f"/dev/{name}", "", sc.MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/pts")
    os.mkdir("/dev/shm", 0o1777)
    sc.mount("shm", "/dev/shm", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC, "mode=1777")
    sc.mount("devpts", "/dev/pts", "devpts", sc.MS_NOSUID | sc.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    sc.bind("sys", "/sys", sc.READ_ONLY, recursive=user_namespace)


def host_files() -> None:
    """Show the few things below `/run` that a host's configuration points to: its name servers, its profile."""
    for path in ("/etc/resolv.conf", *_RUN_LINKS):
        real = os.path.realpath("." + path)
        inside = resolve(".", path)
        if not below(inside, ("/run",)) or not os.path.exists(real):
            continue
        place("." + inside, inside, sc.READ_ONLY, recursive=True)


def data_mounts(mountinfo: str, hidden: Iterable[str]) -> None:
    """Show the host's other file systems, which an overlay of its root does not contain, read-only at their places."""
    points: dict[str, None] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        fstype = fields[fields.index("-") + 1]
        point = _unescaped(fields[4])
        if point == "/" or fstype in _PSEUDO_FILE_SYSTEMS or below(point, _NEVER_SHOWN) or below(point, hidden):
            continue
        points.pop(point, None)
        points[point] = None
    for point in sorted(points):
        try:
            if os.path.isdir(point) or os.path.isfile(point):
                sc.bind("." + point, point, sc.READ_ONLY)
        except OSError:
            continue  # it cannot be shown (a dead network mount): the pod sees the directory below it


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo (blank, tab, newline, backslash)."""
    raw = text.encode(errors="surrogateescape").decode("unicode_escape").encode("latin-1")
    return raw.decode(errors="surrogateescape")


def hide(paths: Iterable[str]) -> None:
    """Cover each path that the pod can see with an empty read-only directory, or an empty file."""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue  # not in the pod's view
        if stat.S_ISDIR(found.st_mode):
            sc.mount("hidden", path, "tmpfs", sc.MS_RDONLY | sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC, "mode=555,size=4k")
        else:
            sc.bind("dev/null", path, sc.MOUNT_ATTR_RDONLY | sc.MOUNT_ATTR_NOSUID)


def place(source: str, target: str, attributes: int, *, recursive: bool = False) -> None:
    """Bind a path of the host at an absolute path of the pod, making the mount point.

    Raises:
        PodError: the mount point cannot be made.
    """
    try:
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.lexists(target):
                touch(target)
        sc.bind(source, target, attributes, recursive=recursive)
    except OSError as error:
        raise PodError(f"cannot show {source.removeprefix('.')} at {target} in the pod: {error.strerror}") from error


def mount_proc(*, user_namespace: bool) -> None:
    """Mount the pod's own `/proc`; called in the pod's pid namespace while the host's is still to be seen.

    Root of the host keeps its rights over the kernel's switches in files, so those are made read-only.
    """
    sc.mount("proc", "/proc", "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    if user_namespace:
        return
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs"):
        if os.path.exists(f"/proc/{name}"):
            sc.bind(f"/proc/{name}", f"/proc/{name}", sc.READ_ONLY)
    for name in ("kcore", "keys", "timer_list", "sched_debug", "kmsg"):
        if os.path.exists(f"/proc/{name}"):
            sc.bind("/dev/null", f"/proc/{name}", sc.MOUNT_ATTR_RDONLY)
