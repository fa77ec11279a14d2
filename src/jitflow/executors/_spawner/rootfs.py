"""A pod's root: an overlay of the host's root, or a directory with read-only binds of the host's directories.

Everything here runs in a mount namespace of the pod's own, before its command. What does not depend on the pod is made
ahead on a tmpfs, the stage: `base` (a layer of an overlay), `dev`, `proc`, `empty`, and `root`, which becomes the pod's root.
Up to `pivot`, the pod's directory is the working directory; after it, the host's old root is (so that relative paths are
the host's and absolute paths the pod's).
"""

import os
import stat
from collections.abc import Iterable, Sequence

from . import syscalls as sc
from .record import PodError

PRIVATE = ("/tmp", "/var/tmp", "/run")
"""Empty and writable in every pod."""

KERNEL = ("/proc", "/sys", "/dev")
UPPER = "upper"
"""Directory of a pod's directory that holds what the pod has written in its overlay."""
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
        map_to_root(uid, gid)
    sc.mount("none", "/", "", sc.MS_REC | sc.MS_PRIVATE)


def map_to_root(uid: int, gid: int) -> None:
    """Be root in the user namespace just entered, as which one was this user and group outside."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def set_stage(stage: str) -> None:
    """Make what every sandbox needs, before its pod is known."""
    sc.mount("stage", stage, "tmpfs", sc.MS_NOSUID, "mode=755")
    for name in ("base", "dev", "proc", "root"):
        os.mkdir(f"{stage}/{name}", 0o755)
    os.mkdir(f"{stage}/empty", 0o555)
    _devices(f"{stage}/dev")


def base_layer(layer: str, image_root: str) -> None:
    """Fill the layer between an image's root and the pod's own: `/tmp`, `/var/tmp` and `/run` are empty there."""
    for path in KERNEL:
        os.mkdir(layer + path, 0o755)
    for path in PRIVATE:
        if _make_in_layer(layer, image_root.rstrip("/"), path):
            os.chmod(layer + path, 0o755 if path == "/run" else 0o1777)
            os.setxattr(layer + path, "trusted.overlay.opaque", b"y")
    for path in ("/run/argo", "/var/run/argo"):
        if _make_in_layer(layer, image_root.rstrip("/"), path):
            os.chmod(layer + path, 0o777)


def _make_in_layer(layer: str, image_root: str, path: str) -> bool:
    """Make a directory below directories like those of the image; False if a link of the image leads elsewhere."""
    made = ""
    for part in path.strip("/").split("/"):
        made += "/" + part
        try:
            found = os.lstat(image_root + made)
        except FileNotFoundError:
            found = None
        if found is not None and stat.S_ISLNK(found.st_mode):
            return False  # leads to a directory that is private itself, or is the image's own decision
        if not os.path.isdir(layer + made):
            os.mkdir(layer + made, 0o755)
            if found is not None:
                os.chown(layer + made, found.st_uid, found.st_gid)
                os.chmod(layer + made, stat.S_IMODE(found.st_mode))
    return True


def overlay(stage: str, image_root: str) -> None:
    """Mount the pod's overlay on the stage's `root`."""
    layer = f"{stage}/base"
    if image_root != "/":
        layer = f"{stage}/image"
        os.mkdir(layer, 0o755)
        base_layer(layer, image_root)
    os.makedirs(UPPER, 0o755, exist_ok=True)
    os.mkdir("work", 0o755)
    options = f"lowerdir={_escaped(layer)}:{_escaped(image_root)},upperdir={UPPER},workdir=work"
    flags = sc.MS_NODEV | sc.MS_NOSUID
    try:
        sc.mount("overlay", f"{stage}/root", "overlay", flags, options + ",volatile")
    except OSError:
        sc.mount("overlay", f"{stage}/root", "overlay", flags, options)


def _escaped(path: str) -> str:
    return "".join("\\" + letter if letter in "\\:," else letter for letter in path)


def binds(stage: str, image_root: str, wanted: Iterable[str], outputs: Sequence[str]) -> dict[str, str]:
    """Make the stage's `root` of read-only binds of the entries of `image_root`.

    The root itself is in memory; `/tmp`, `/var/tmp` and the directories of outputs are on disk, in the pod's `disk`.

    Args:
        stage: the stage.
        image_root: whose entries are shown.
        wanted: paths in the pod at which something will be mounted or made; the directories they need are opened.
        outputs: paths that the pod is going to make: a file of the host there is not shown.

    Returns:
        where in the pod's directory the pod's directories on disk are.
    """
    view = _BoundView(stage + "/root", image_root.rstrip("/"), frozenset(outputs))
    for path in (*wanted, *outputs):
        view.open_for(path)
    for path in outputs:
        view.keep_on_disk(path)
    sc.mount("root", view.root, "tmpfs", sc.MS_NOSUID | sc.MS_NODEV, "mode=755")
    os.mkdir("disk")
    view.show("")
    view.make_private()
    return view.on_disk


class _BoundView:
    def __init__(self, root: str, source: str, outputs: frozenset[str]) -> None:
        self.root = root
        self.on_disk: dict[str, str] = {}
        self._source = source
        self._outputs = outputs
        self._opened: set[str] = set(_OPENED)
        self._wanted_on_disk: set[str] = set()

    def open_for(self, path: str) -> None:
        """Note the directories to open so that `path` can be made, following the links of the image."""
        parent = os.path.dirname(resolve(self._source, path))
        while parent not in ("/", "") and not below(parent, (*PRIVATE, *KERNEL)):
            self._opened.add(parent)
            parent = os.path.dirname(parent)

    def keep_on_disk(self, path: str) -> None:
        """Note that what is made near `path` may be large."""
        parent = os.path.dirname(resolve(self._source, path))
        while parent not in ("/", "") and not os.path.isdir(self._source + parent):
            parent = os.path.dirname(parent)
        if parent not in ("/", "") and not below(parent, (*PRIVATE, *KERNEL)):
            self._wanted_on_disk.add(parent)

    def show(self, place: str) -> None:
        """Show the entries of the directory `place`."""
        try:
            with os.scandir(self._source + place + "/") as entries:
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
            if path not in PRIVATE and path not in KERNEL and path not in self._outputs and path != "/lost+found":
                self._show_entry(entry, path)

    def _show_entry(self, entry: "os.DirEntry[str]", path: str) -> None:
        target = self.root + path
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir(follow_symlinks=False):
            os.mkdir(target)
            if path in self._opened:
                if path in self._wanted_on_disk:
                    self._put_on_disk(path)
                os.chmod(target, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) | 0o700)
                self.show(path)
            else:
                _bind_shown(entry.path, target)
        elif entry.is_file(follow_symlinks=False):
            touch(target)
            _bind_shown(entry.path, target)

    def make_private(self) -> None:
        """Make the directories that every pod has for itself, and the kernel's mount points."""
        for path in (*PRIVATE, *KERNEL):
            target = self.root + path
            if os.path.islink(target):
                continue
            os.makedirs(target, exist_ok=True)
            if path in ("/tmp", "/var/tmp"):
                self._put_on_disk(path)
                os.chmod(target, 0o1777)
        self._make_progress_place()

    def _make_progress_place(self) -> None:
        """Make the directory of the progress file, also for an image whose `/var/run` is no link to `/run`."""
        for run in ("/run", "/var/run"):
            try:
                if not os.path.islink(self.root + run) and not os.path.islink(self.root + os.path.dirname(run)):
                    os.makedirs(f"{self.root}{run}/argo", exist_ok=True)
                    os.chmod(f"{self.root}{run}/argo", 0o777)
            except OSError:
                continue  # it is the image's own, which is only shown

    def _put_on_disk(self, path: str) -> None:
        place = f"disk/{len(self.on_disk)}"
        os.mkdir(place)
        sc.bind(place, self.root + path, sc.READ_WRITE)
        self.on_disk[path] = place


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


def _bind_shown(source: str, target: str) -> None:
    try:
        sc.mount(source, target, "", sc.MS_BIND | sc.MS_REC)
    except OSError:
        return  # not to be had by this user (a dead network mount, a private FUSE): the pod sees an empty place
    sc.restrict(target, sc.READ_ONLY, recursive=True)


def pivot(root: str) -> None:
    """Make `root` the root and the host's old root the working directory, attached until `leave_host`."""
    old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(root)
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


def _devices(place: str) -> None:
    sc.mount("dev", place, "tmpfs", sc.MS_NOSUID | sc.MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            touch(f"{place}/{name}")
            sc.mount(f"/dev/{name}", f"{place}/{name}", "", sc.MS_BIND)
    for name, target in _DEVICE_LINKS.items():
        os.symlink(target, f"{place}/{name}")
    os.mkdir(f"{place}/pts")
    os.mkdir(f"{place}/shm")
    sc.mount("shm", f"{place}/shm", "tmpfs", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC, "mode=1777")
    sc.mount("devpts", f"{place}/pts", "devpts", sc.MS_NOSUID | sc.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")


def kernel_files(stage: str, *, user_namespace: bool) -> None:
    """Put `/dev`, `/proc` and a read-only `/sys` in their places."""
    sc.mount(f".{stage}/dev", "/dev", "", sc.MS_MOVE)
    sc.mount(f".{stage}/proc", "/proc", "", sc.MS_MOVE)
    sc.bind("sys", "/sys", sc.READ_ONLY, recursive=user_namespace)


def host_files() -> None:
    """Show the few things below `/run` that a host's configuration points to: its name servers, its profile."""
    for path in ("/etc/resolv.conf", *_RUN_LINKS):
        real = os.path.realpath("." + path)
        inside = resolve(".", path)
        if not below(inside, ("/run",)) or not os.path.exists(real):
            continue
        place("." + inside, inside, sc.READ_ONLY, recursive=True)


def list_data_mounts(mountinfo: str) -> list[str]:
    """Return where the host has file systems of its own, which an overlay of its root does not contain, outermost first."""
    points: set[str] = set()
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        fstype = fields[fields.index("-") + 1]
        point = _unescaped(fields[4])
        if point != "/" and fstype not in _PSEUDO_FILE_SYSTEMS and not below(point, _NEVER_SHOWN):
            points.add(point)
    return sorted(points)


def show_data_mounts(points: Iterable[str], hidden: Iterable[str]) -> None:
    """Show the host's other file systems read-only at their places."""
    for point in points:
        if below(point, hidden):
            continue
        try:
            if os.path.isdir(point) or os.path.isfile(point):
                sc.bind("." + point, point, sc.READ_ONLY)
        except OSError:
            continue  # it cannot be shown (a dead network mount): the pod sees the directory below it


def _unescaped(text: str) -> str:
    """Undo the octal escapes of mountinfo (blank, tab, newline, backslash)."""
    raw = text.encode(errors="surrogateescape").decode("unicode_escape").encode("latin-1")
    return raw.decode(errors="surrogateescape")


def hide(stage: str, paths: Iterable[str]) -> None:
    """Cover each path that the pod can see with an empty read-only directory, or an empty file."""
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue  # not in the pod's view
        if stat.S_ISDIR(found.st_mode):
            sc.bind(f".{stage}/empty", path, sc.READ_ONLY)
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


def mount_proc(stage: str, *, user_namespace: bool) -> None:
    """Mount the pod's own `/proc` on the stage; called in the pod's pid namespace while the host's is still to be seen.

    Root of the host keeps its rights over the kernel's switches in files, so those are made read-only.
    """
    proc = f"{stage}/proc"
    sc.mount("proc", proc, "proc", sc.MS_NOSUID | sc.MS_NODEV | sc.MS_NOEXEC)
    if user_namespace:
        return
    for name in ("sys", "sysrq-trigger", "irq", "bus", "fs"):
        if os.path.exists(f"{proc}/{name}"):
            sc.bind(f"{proc}/{name}", f"{proc}/{name}", sc.READ_ONLY)
    for name in ("kcore", "keys", "timer_list", "sched_debug", "kmsg"):
        if os.path.exists(f"{proc}/{name}"):
            sc.bind("/dev/null", f"{proc}/{name}", sc.MOUNT_ATTR_RDONLY)
