"""Build an image's root file system where there is no container engine, start its entry point, and ask its health check.

    python deploy/image/check.py [Dockerfile] [--env NAME=VALUE]… [--exec COMMAND]…

The base image is this machine's own system (seen through an overlay, nothing of it is changed) with a Python that holds
only pip, at /usr/local as in Docker's images of Python; people's folders, users and all else are left out. COPY, RUN, USER, ENV
and so on are done as they stand. Then the entry point is started as the image's user, in a network of its own; its health
check, which must not have been content before, has to become content, and SIGTERM has to end it.

Needs root, overlayfs and a package index. Ends with 77 where such mounts are not to be had, with 1 where something is wrong.
"""

import argparse
import ctypes
import fcntl
import glob
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from dockerfile import Instruction, Stage, Wrong, expanded, let_through, parse

CANNOT = 77
PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
SYSTEM = {"bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "usr", "var"}
"""What of this machine is in the base image."""
EMPTIED = (
    "usr/local",
    "var/tmp",
    "var/cache",
    "var/log",
    "home",
    "root",
    "tmp",
    "run",
    "srv",
    "mnt",
    "media",
    "dev",
    "proc",
    "sys",
)
PASSED_ON = (
    "PIP_",
    "UV_",
    "SSL_CERT",
    "REQUESTS_CA",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""How this machine reaches its package index: for RUN only, as an engine's own settings would be."""
HEALTHY_WITHIN_S = 60.0
ENDED_WITHIN_S = 40.0
_BARE_PYTHON = f"""
ldconfig
version=python{sys.version_info.major}.{sys.version_info.minor}
{{at}}/bin/$version -m venv --without-pip /usr/local
cd /usr/local/lib/$version/site-packages
# What `ensurepip` does, which takes ten times as long.
/usr/local/bin/python -m zipfile -e {{at}}/lib/$version/ensurepip/_bundled/pip-*.whl . || /usr/local/bin/python -m ensurepip
"""
_PEOPLE = 1000
_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", type=Path, nargs="?", default=Path("Dockerfile"))
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="what its process finds besides")
    parser.add_argument("--exec", action="append", default=[], help="run this inside, as its user, when it is healthy")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scratch is None:
        return _apart()
    try:
        stages = parse(arguments.dockerfile.read_text())
        _check(stages, arguments.dockerfile.absolute().parent, arguments.scratch, arguments)
    except (Wrong, OSError) as error:
        print(f"{arguments.dockerfile}: {error}", file=sys.stderr)
        return 1
    return 0


def _apart() -> int:
    """Do it again in namespaces of its own, which take all that was mounted and started with them."""
    scratch = tempfile.mkdtemp(prefix="image-")
    try:
        probe = f"mount -t tmpfs tmpfs {scratch} && cd {scratch} && mkdir up work all && {_overlay('/', 'up', 'work', 'all')}"
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        if (
            not shutil.which("unshare")
            or subprocess.run([*apart, "sh", "-c", probe], capture_output=True, check=False).returncode
        ):
            print("the image cannot be built here without an engine: root and overlayfs are needed", file=sys.stderr)
            return CANNOT
        return subprocess.run([*apart, sys.executable, __file__, "--scratch", scratch, *sys.argv[1:]], check=False).returncode
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _overlay(lower: str, upper: object, work: object, at: object) -> str:
    return f"mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={work} {at}"


def _mount(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"{' '.join(words)}: {done.stderr.strip()}")


# -- what is built ---------------------------------------------------------------------------------------------------------------


@dataclass
class Built:
    """A root file system, and what the image says of its process."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    args: dict[str, str] = field(default_factory=dict)
    user: str = ""
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """Return where a path of the image lies; a relative one is below its working folder."""
        return self.root / os.path.normpath(f"{self.folder}/{path}" if not path.startswith("/") else path).lstrip("/")

    def identity(self) -> tuple[int, int]:
        """Return the numbers of the image's user and group."""
        return self.numbers(self.user or "0")

    def numbers(self, text: str) -> tuple[int, int]:
        """Return the numbers of `user[:group]`, as the image's own files say."""
        name, _, group = text.partition(":")
        rows = [line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines()]
        row = next((row for row in rows if name in {row[0], row[2]}), None)
        if row is None and not name.isdigit():
            raise Wrong(f"there is no user {name} in the image")
        uid = int(row[2]) if row else int(name)
        if not group:
            return uid, int(row[3]) if row else 0
        groups = [line.split(":") for line in (self.root / "etc/group").read_text().splitlines()]
        found = next((each[2] for each in groups if group in {each[0], each[2]}), group)
        if not found.isdigit():
            raise Wrong(f"there is no group {group} in the image")
        return uid, int(found)

    def healthy(self) -> bool:
        """Ask the health check; what it says is not shown."""
        return self.spawn(self.health, said=subprocess.DEVNULL).wait() == 0

    def spawn(
        self, command: Sequence[str], more: Mapping[str, str] | None = None, *, said: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in the image as its user."""
        uid, gid = self.identity()

        def enter() -> None:
            os.chroot(self.root)
            os.chdir(self.folder)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)

        home = {"HOME": "/root" if uid == 0 else "/"}
        environment = home | self.env | self.args | (more or {})
        try:
            return subprocess.Popen(
                command, env=environment, preexec_fn=enter, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        except FileNotFoundError as error:
            raise Wrong(f"there is no program {command[0]} in the image") from error


class Builder:
    """Builds stages, each over the base in a layer of its own."""

    def __init__(self, scratch: Path, context: Path) -> None:
        """Remember where."""
        self._lower = "/"
        self._scratch = scratch
        self._context = context
        self._through: list[Path] | None = None
        self._stages: dict[str, Built] = {}

    def base(self) -> None:
        """Make what all stages stand on."""
        _mount("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self._scratch))
        upper = self._scratch / "base"
        upper.mkdir()
        for entry in os.scandir("/"):
            if entry.is_dir(follow_symlinks=False) and entry.name not in SYSTEM:
                _empty(upper / entry.name)
        (upper / "usr").mkdir()
        (upper / "var").mkdir()
        for name in EMPTIED:
            _empty(upper / name)
        for name in ("tmp", "var/tmp"):
            (upper / name).chmod(0o1777)
        (upper / "etc").mkdir()
        for name in ("passwd", "group", "shadow", "subuid", "subgid"):
            if (there := Path("/etc", name)).exists():
                shutil.copyfile(there, upper / "etc" / name)
                (upper / "etc" / name).write_text("".join(_of_the_system(there)))
        self._lower = f"{upper}:/"
        with self._mounted("prepare") as root:
            built = Built(root)
            _ended(built.spawn(["/bin/sh", "-ec", _BARE_PYTHON.format(at=_python_inside())]), "a Python that holds only pip")
        self._lower = f"{self._scratch / 'prepare'}:{upper}:/"

    @contextmanager
    def _mounted(self, name: str) -> Iterator[Path]:
        """Mount a layer over others, with devices, processes and the Python of this program in it."""
        at = self._scratch / f"{name}.root"
        for path in (at, self._scratch / name, self._scratch / f"{name}.work"):
            path.mkdir(exist_ok=True)
        _mount(*_overlay(self._lower, self._scratch / name, self._scratch / f"{name}.work", at).split())
        _mount("mount", "-t", "proc", "proc", str(at / "proc"))
        _mount("mount", "--rbind", "/dev", str(at / "dev"))
        inside = _python_inside()
        if inside != sys.base_prefix:
            target = at / inside.lstrip("/")
            target.mkdir(parents=True, exist_ok=True)
            _mount("mount", "--bind", sys.base_prefix, str(target))
            (at / "etc/ld.so.conf.d/python.conf").write_text(f"{inside}/lib\n")
        try:
            yield at
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", str(at)], check=False)

    @contextmanager
    def build(self, stages: Sequence[Stage]) -> Iterator[Built]:
        """Build all stages and yield the last."""
        if not stages:
            yield self._stages[next(reversed(self._stages))]
            return
        stage, number = stages[0], len(self._stages)
        if stage.base in self._stages:
            raise Wrong(f"FROM {stage.base}: a stage over another stage is not known to this check")
        with self._mounted(f"stage{number}") as root:
            built = self._stages[stage.name] = Built(root)
            for one in stage.instructions:
                print(f"  {one.word} {one.rest}", flush=True)
                self._do(one, built)
            with self.build(stages[1:]) as last:
                yield last

    def _do(self, one: Instruction, built: Built) -> None:
        values = built.args | built.env
        if one.word == "COPY":
            self._copy(one, built, [expanded(word, values) for word in one.listed])
        elif one.word == "RUN":
            reach = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
            _ended(built.spawn(one.command, reach), str(one))
        elif one.word in {"ENTRYPOINT", "CMD", "HEALTHCHECK"}:
            _say_what_runs(one, built)
        else:
            _set(one, built, values)

    def _copy(self, one: Instruction, built: Built, words: list[str]) -> None:
        """Copy as Docker does: a folder's content, a file to a name, or into a folder that ends in `/`."""
        if extra := set(one.flags) - {"from", "chown", "chmod"}:
            raise Wrong(f"{one}: --{extra.pop()} is not known to this check")
        *sources, to = words
        if not sources:
            raise Wrong(f"{one}: what, and where to?")
        target = built.inside(to)
        into = to.endswith("/") or to == "." or target.is_dir() or len(sources) > 1
        made: list[Path] = []
        for source in sources:
            for start, files in self._found(one, source):
                below = start.is_dir() or into
                for file in files:
                    at = target / (file.relative_to(start) if start.is_dir() else file.name) if below else target
                    at.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, at, follow_symlinks=False)
                    made.append(at)
        uid, gid = built.numbers(one.flags.get("chown", "0:0"))
        folders = {folder for file in made for folder in file.parents if folder.is_relative_to(target)}
        for path in folders | set(made):
            os.chown(path, uid, gid, follow_symlinks=False)
            if mode := one.flags.get("chmod"):
                path.chmod(int(mode, 8))

    def _found(self, one: Instruction, source: str) -> Iterator[tuple[Path, list[Path]]]:
        """Yield what a source names, each with its files."""
        if "from" in one.flags:
            if one.flags["from"] not in self._stages:
                raise Wrong(f"{one}: there is no stage {one.flags['from']} before")
            other = self._stages[one.flags["from"]]
            top, files = other.root, None
        else:
            if self._through is None:
                self._through = let_through(self._context)
            top, files = self._context, [self._context / name for name in self._through]
        matches = [Path(os.path.normpath(path)) for path in glob.glob(str(top / source.lstrip("/")))]
        any_of_it = False
        for start in matches:
            below = files if files is not None else [path for path in start.rglob("*") if not path.is_dir()] or [start]
            chosen = [path for path in below if path == start or path.is_relative_to(start)]
            if chosen:
                any_of_it = True
                yield start, chosen
        if not any_of_it:
            raise Wrong(f"{one}: there is no {source}" + ("" if "from" in one.flags else ", or .dockerignore hides it"))


def _say_what_runs(one: Instruction, built: Built) -> None:
    if one.word == "ENTRYPOINT":
        built.entrypoint, built.cmd = one.command, []
    elif one.word == "CMD":
        built.cmd = one.command
    else:
        kind, _, rest = one.rest.partition(" ")
        if kind != "CMD":
            raise Wrong(f"{one}: CMD is meant, not {kind}")
        built.health = Instruction(one.line, one.word, {}, rest.strip()).command


def _set(one: Instruction, built: Built, values: Mapping[str, str]) -> None:
    match one.word:
        case "ENV":
            built.env |= {name: expanded(value, values) for name, value in one.pairs.items()}
        case "ARG":
            name, _, value = one.rest.partition("=")
            built.args[name] = expanded(value.strip("\"'"), values)
        case "USER":
            built.user = expanded(one.rest, values)
            built.identity()
        case "WORKDIR":
            built.folder = "/" + str(built.inside(expanded(one.rest, values)).relative_to(built.root))
            built.inside("").mkdir(parents=True, exist_ok=True)
        case "VOLUME":
            for path in one.listed:
                built.inside(path).mkdir(parents=True, exist_ok=True)
        case _:
            # Labels, ports and signals say nothing that a file system or this process would show.
            return


def _empty(path: Path) -> None:
    """Make a folder of a layer that hides what is below it in other layers."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def _of_the_system(path: Path) -> Iterator[str]:
    """Yield the lines of a file of users that are not people's."""
    people = {
        row[0] for line in Path("/etc/passwd").read_text().splitlines() if _PEOPLE <= int((row := line.split(":"))[2]) < 65534
    }
    for line in path.read_text().splitlines(keepends=True):
        if line.split(":")[0] not in people:
            yield line


def _python_inside() -> str:
    """Return where the Python of this program is inside: the system's own at its place, another one apart."""
    return sys.base_prefix if sys.base_prefix == "/usr" else "/opt/python"


def _ended(process: subprocess.Popen[bytes], what: str) -> None:
    if code := process.wait():
        raise Wrong(f"{what} ended with exit code {code}")


# -- what runs -------------------------------------------------------------------------------------------------------------------


def _check(stages: Sequence[Stage], context: Path, scratch: Path, arguments: argparse.Namespace) -> None:
    builder = Builder(scratch, context)
    builder.base()
    with builder.build(stages) as image:
        command = [*image.entrypoint, *image.cmd]
        if not command:
            raise Wrong("there is neither ENTRYPOINT nor CMD")
        if not image.health:
            raise Wrong("there is no HEALTHCHECK")
        if image.identity()[0] == 0:
            raise Wrong("its process would run as root: there is no USER")
        image.env |= dict(text.split("=", 1) for text in arguments.env)
        _network_of_its_own()
        if image.healthy():
            raise Wrong("HEALTHCHECK is content though nothing runs")
        _run(image, command, arguments.exec)


def _run(image: Built, command: Sequence[str], commands: Sequence[str]) -> None:
    began = time.monotonic()
    process = image.spawn(command)
    try:
        _until(image.healthy, process)
        print(f"healthy after {time.monotonic() - began:.1f} s, as user {image.identity()[0]}: {' '.join(command)}", flush=True)
        for text in commands:
            print(f"  {text}", flush=True)
            _ended(image.spawn(shlex.split(text)), text)
    finally:
        process.send_signal(signal.SIGTERM)
    try:
        code = process.wait(ENDED_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"SIGTERM has not ended it within {ENDED_WITHIN_S:.0f} s") from error
    if code not in {0, -signal.SIGTERM, 128 + signal.SIGTERM}:
        raise Wrong(f"it ended with exit code {code} at SIGTERM")


def _until(holds: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + HEALTHY_WITHIN_S
    while not holds():
        if process.poll() is not None:
            raise Wrong(f"the entry point ended with exit code {process.returncode} before it was healthy")
        if time.monotonic() > until:
            raise Wrong(f"HEALTHCHECK was not content within {HEALTHY_WITHIN_S:.0f} s")
        time.sleep(0.3)


def _network_of_its_own() -> None:
    """Leave this machine's network for one that has only its loopback: no port of the image meets another."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace cannot be made")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    sys.exit(main())
