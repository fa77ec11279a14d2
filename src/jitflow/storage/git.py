"""A git repository as a store of one object: its working tree at a revision, read by the `git` program."""

import asyncio
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.origins import Origin
from jitflow.model.problems import Refused
from jitflow.ports.errors import (
    AccessRefused,
    Broken,
    DiskFull,
    FixRequest,
    ObjectMissing,
    PortError,
    SourceChanged,
    Stalled,
    Unreachable,
)
from jitflow.ports.storage import Progress
from jitflow.storage.binary import with_parent
from jitflow.storage.credentials import Secrets, redactor_of
from jitflow.storage.files import remove
from jitflow.storage.guard import Guard, pinning
from jitflow.storage.staging import Limits, Staging, check_room, move
from jitflow.storage.submodules import bring
from jitflow.storage.unlisted import Unlisted

PROTOCOLS = "https:http:ssh:git"
"""What git may speak, submodules included; never a program of its choice (`ext::`) or a file of this machine."""

LOOK_S = 40.0
POLL_S = 0.5
LONGEST_TEXT = 300
_SHA = re.compile(r"[0-9a-f]{40}")
_SEEN = "seen "

_ASK = """#!/bin/sh
host=$(cat "$(dirname "$0")/host")
case "$1" in
  *"//$host'"* | *"@$host'"*) ;;
  *) exit 1 ;;
esac
case "$1" in
  [Uu]sername*) exec cat "$(dirname "$0")/username" ;;
  *) exec cat "$(dirname "$0")/password" ;;
esac
"""
"""What git asks for user and password: they are the repository's, and no other host's that it names for its submodules."""

_FAULTS: tuple[tuple[str, type[PortError], str], ...] = (
    ("Authentication failed|could not read Username|terminal prompts disabled|Permission denied", AccessRefused,
     "the repository does not accept the credentials"),
    ("Host key verification failed", AccessRefused,
     "the server's host key is not known; add it to ~/.ssh/known_hosts of the service's user, or set insecureIgnoreHostKey"),
    ("(Repository|repository).*not found|returned error: 404|does not appear to be a git repository|not exported", ObjectMissing,
     "there is no such repository"),
    ("Remote branch .* not found|couldn't find remote ref|unknown revision|Needed a single revision|not our ref", ObjectMissing,
     "it has no such revision"),
    ("transport .* not allowed", FixRequest, "git may not speak this protocol here"),
    ("redirection|returned error: 30[12378]", FixRequest,
     "the server sends git elsewhere, which is not followed; give the address that it leads to"),
    ("No space left on device", DiskFull, "no space is left on the disk"),
    ("Could not resolve host|unable to look up|Name or service not known", Unreachable, "the server's name is not known"),
    ("unable to access|Connection (refused|reset|timed out)|early EOF|hung up|unable to connect|Could not read from", Unreachable,
     "the server does not answer, or cut the connection"),
)  # fmt: skip


class GitStore(Unlisted):
    """The working tree of one repository at one revision; implements `Storage` for the reference of one origin."""

    NO_LISTING = "a git repository cannot be listed; read it as an artifact"

    def __init__(self, origin: Origin, credentials: Secrets, guard: Guard, staging: Staging, limits: Limits) -> None:
        """Start no program yet."""
        self._origin = origin
        self._credentials = credentials
        self._guard = guard
        self._staging = staging
        self._stall_s = limits.stall_s
        self._looks = limits.looks

    # -- the port --------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """Return which commit is meant; how large its tree is, is known only when it has been read once."""
        if not ref.is_prefix:
            raise ObjectMissing(f"{ref}: a repository is a directory")
        async with self._looks, self._git(ref) as git:
            version = await git.resolve()
        waiting = self._staging.waiting(ref)
        if waiting is not None and (waiting.version == version or version.startswith(_SEEN)):
            return waiting
        return ObjectInfo(ref=ref, size_bytes=self._staging.size(ref, version), version=version)

    async def fetch(
        self,
        info: ObjectInfo,
        target: Path | str,
        progress: Progress,
        *,
        parts: int = 1,
        kept: Path | None = None,
        scratch: str = "",
    ) -> ObjectInfo:
        """See `Storage.fetch`; always in one piece. A clone waits until there is room for it, for its size is known only then."""
        del parts, kept, scratch
        ready = self._staging.claim(info)
        if ready is None:
            path = self._staging.new()
            try:
                async with self._git(info.ref) as git:
                    await git.clone(path, info.version, self._staging.limit_bytes)
                size = await asyncio.to_thread(_tree_bytes, path)
                check_room(info.ref, size, self._staging.limit_bytes)
            except BaseException:
                await asyncio.shield(asyncio.to_thread(remove, path))
                raise
            if size != info.size_bytes:
                self._staging.keep(path, msgspec.structs.replace(info, size_bytes=size))
                raise SourceChanged(f"{info.ref}: it has {size:,} bytes, which was not known before it was read")
            ready = path
        await asyncio.to_thread(move, ready, Path(target))
        progress(info.size_bytes)
        return info

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """Single files of a repository cannot be read.

        Raises:
            FixRequest: always.
        """
        del offset, count
        if ref.remote:
            raise FixRequest(f"{ref}: files of a git repository are only read from its copy in the primary; stage it first")
        yield b""

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """Nothing can be stored in a repository.

        Raises:
            FixRequest: always.
        """
        raise FixRequest(f"{ref}: outputs cannot be stored in a git repository; use another store")

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """Return None: nothing is stored in a repository."""
        del source, ref
        return None

    async def delete(self, ref: ObjectRef) -> None:
        """Nothing can be deleted in a repository.

        Raises:
            FixRequest: always.
        """
        raise FixRequest(f"{ref}: nothing can be deleted in a git repository")

    async def test(self, remote: str) -> None:
        """See `Storage.test`."""
        async with self._git(ObjectRef(remote=remote, path="")) as git:
            await git.resolve()

    @asynccontextmanager
    async def _git(self, ref: ObjectRef) -> AsyncGenerator["_Git"]:
        """Prepare what git needs: a home of its own that holds the secrets as long as it runs."""
        options = self._credentials.options(self._origin)
        hide = redactor_of(self._origin, options)
        folder = Path(tempfile.mkdtemp(prefix="git-", dir=self._staging.root))
        try:
            addresses = await self._guard.resolve(self._origin.host)
            yield _Git(ref, options, folder, self._stall_s, guard=self._guard, pinned=pinning(options["repo"], addresses))
        except PortError as error:
            raise type(error)(hide(str(error))) from None
        except Refused as error:
            raise AccessRefused(hide(f"{ref}: {error}")) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _Git:
    """Calls of the program for one repository."""

    def __init__(
        self, ref: ObjectRef, options: dict[str, str], home: Path, stall_s: float, *, guard: Guard, pinned: list[str]
    ) -> None:
        self._ref = ref
        self._guard = guard
        self._pinned = pinned
        self._options = options
        self._home = home
        self._stall_s = stall_s
        self._environment = environment(options, home)

    async def resolve(self) -> str:
        """Return the commit that is meant; for an expression that only a clone can resolve, when it was asked for."""
        wanted = self._options.get("revision") or self._options.get("branch") or "HEAD"
        if _SHA.fullmatch(wanted):
            return wanted
        answer = await self._run(["ls-remote", "--", self._options["repo"]], LOOK_S)
        refs = {name: commit for commit, _, name in (line.partition("\t") for line in answer.splitlines())}
        for name in (f"refs/heads/{wanted}", f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"{wanted}^{{}}", wanted):
            if _SHA.fullmatch(refs.get(name, "")):
                return refs[name]
        return f"{_SEEN}{time.time_ns()}"

    async def clone(self, path: Path, version: str, limit_bytes: int) -> None:
        """Make a working tree at a commit, growing no larger than `limit_bytes`."""
        for arguments in clone_commands(self._options, path):
            await self._grow(arguments, path, limit_bytes)
        commit = version if _SHA.fullmatch(version) else await self._commit(path, limit_bytes)
        if not await self._has(path, commit):
            await self._grow(["-C", str(path), "fetch", *_depth(self._options), "origin", commit], path, limit_bytes)
        branch = self._options.get("revision") or self._options.get("branch") or ""
        if branch and await self._is_branch(path, branch):
            where = ["-B", branch, commit]
        elif not branch and await self._head(path) == commit:
            where = []
        else:
            where = ["--detach", commit]
        await self._grow(["-C", str(path), "checkout", "--force", "--quiet", *where], path, limit_bytes)
        if not self._options.get("no_submodules"):
            await self._submodules(path, limit_bytes)

    async def _submodules(self, path: Path, limit_bytes: int) -> None:
        async def update(arguments: Sequence[str]) -> str:
            await self._grow([*arguments, *_depth(self._options)], path, limit_bytes)
            return ""

        await bring(path, self._guard, lambda arguments: self._run(arguments, LOOK_S), update)

    async def _commit(self, path: Path, limit_bytes: int) -> str:
        """Return the commit of a revision that only the clone knows, or that must be asked for by name."""
        wanted = self._options.get("revision") or self._options.get("branch") or "HEAD"
        for name in (f"refs/remotes/origin/{wanted}", wanted):
            if await self._has(path, name):
                return await self._parse(path, name)
        await self._grow(["-C", str(path), "fetch", *_depth(self._options), "origin", wanted], path, limit_bytes)
        return await self._parse(path, "FETCH_HEAD")

    async def _head(self, path: Path) -> str:
        return await self._parse(path, "HEAD") if await self._has(path, "HEAD") else ""

    async def _parse(self, path: Path, name: str) -> str:
        arguments = ["-C", str(path), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
        return (await self._run(arguments, LOOK_S)).strip()

    async def _is_branch(self, path: Path, name: str) -> bool:
        try:
            await self._run(["-C", str(path), "show-ref", "--verify", "--quiet", f"refs/remotes/origin/{name}"], LOOK_S)
        except PortError:
            return False
        return True

    async def _has(self, path: Path, name: str) -> bool:
        try:
            await self._parse(path, name)
        except PortError:
            return False
        return True

    async def _grow(self, arguments: Sequence[str], path: Path, limit_bytes: int) -> None:
        """Run git while it writes below `path`: it is ended when that grows too large, or not at all for too long."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(path, limit_bytes))
                await self._run(arguments)
                watch.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _watch(self, path: Path, limit_bytes: int) -> None:
        size, still_s = -1, 0.0
        while True:
            await asyncio.sleep(POLL_S)
            now = await asyncio.to_thread(_tree_bytes, path)
            still_s = still_s + POLL_S if now == size else 0.0
            size = now
            check_room(self._ref, size, limit_bytes)
            if still_s >= self._stall_s:
                raise Stalled(f"{self._ref}: nothing came for {self._stall_s:g} s; it is tried again later")

    async def _run(self, arguments: Sequence[str], limit_s: float | None = None) -> str:
        """Return what git prints."""
        process = await self._start(arguments)
        try:
            async with asyncio.timeout(limit_s):
                out, err = await process.communicate()
        except TimeoutError:
            raise Unreachable(f"{self._ref}: the repository did not answer within {limit_s:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, 9)  # helpers of git's (ssh, remote-https) are of its group
                await asyncio.shield(process.wait())
        if process.returncode:
            raise fault(err.decode("utf-8", "replace"), str(self._ref))
        return out.decode("utf-8", "replace")

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        program = shutil.which("git")
        if program is None:
            raise FixRequest(f"{self._ref}: the git program is not installed where the server runs; install it")
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *with_parent([program, *_SAFE, *self._pinned, *arguments]),
            env=self._environment,
            cwd=self._home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )


_SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "credential.helper=", "-c", "protocol.file.allow=never",
    "-c", "protocol.ext.allow=never", "-c", "gc.auto=0", "-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main",
    "-c", "http.followRedirects=false",  # nobody would ask whether those hosts may be asked
)  # fmt: skip


def environment(options: dict[str, str], home: Path) -> dict[str, str]:
    """Return git's environment, secrets in files of `home` that only this user can read."""
    kept = ("PATH", "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    for name in ("username", "password"):
        _private(home / name, options.get(name, ""))
    _private(home / "host", urlsplit(options["repo"]).netloc.rpartition("@")[2])
    ask = home / "ask"
    _private(ask, _ASK, mode=0o700)
    found |= {
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": str(ask),
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
        "GIT_SSH_COMMAND": _ssh(options, home),
    }
    if options.get("any_certificate"):
        found["GIT_SSL_NO_VERIFY"] = "true"
    return found


def _ssh(options: dict[str, str], home: Path) -> str:
    words = ["ssh", "-oBatchMode=yes", "-oConnectTimeout=15"]
    if options.get("any_host_key"):
        words += ["-oStrictHostKeyChecking=no", f"-oUserKnownHostsFile={os.devnull}"]
    else:
        words += ["-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={Path('~/.ssh/known_hosts').expanduser()}"]
    if options.get("ssh_key"):
        _private(home / "key", options["ssh_key"].rstrip("\n") + "\n")
        words += ["-F", "none", "-oIdentitiesOnly=yes", "-i", str(home / "key")]
    return shlex.join(words)


def _private(path: Path, text: str, *, mode: int = 0o600) -> None:
    path.touch(mode=mode)
    path.write_text(text)


def clone_commands(options: dict[str, str], path: Path) -> list[list[str]]:
    """Return the arguments of the calls that bring a repository here, without a working tree. Pure."""
    clone = ["clone", "--quiet", "--no-checkout", *_depth(options)]
    if options.get("single_branch") or options.get("branch"):
        clone += ["--single-branch"] if options.get("single_branch") else []
        clone += [f"--branch={options['branch']}"] if options.get("branch") else []
    elif options.get("depth"):
        clone += ["--no-single-branch"]
    commands = [[*clone, "--", options["repo"], str(path)]]
    specs = [spec for spec in options.get("fetch", "").split("\n") if spec]
    if specs:
        commands.append(["-C", str(path), "fetch", "--quiet", *_depth(options), "origin", *specs])
    return commands


def _depth(options: dict[str, str]) -> list[str]:
    return [f"--depth={options['depth']}"] if options.get("depth") else []


def fault(text: str, subject: str) -> PortError:
    """Return the port's error for what git says. Pure."""
    line = " ".join(text.split())
    shown = line if len(line) <= LONGEST_TEXT else f"…{line[-LONGEST_TEXT:]}"
    for pattern, error, says in _FAULTS:
        if re.search(pattern, line):
            return error(f"{subject}: {says} ({shown})")
    return Broken(f"{subject}: git failed ({shown or 'without a word'})")


def _tree_bytes(path: Path) -> int:
    """Return the bytes of all files below a directory, which may change meanwhile; links count as what they are."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total
