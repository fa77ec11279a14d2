"""Git repositories as stores, with the real program and a real server."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from storage_worlds import ignore
from test_storage_web import secrets, selector

from jitflow.agents import HostRules
from jitflow.dataplane.primary import measure
from jitflow.engine.origins import origin_of
from jitflow.model import argo
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.objects import NO_OBJECTS
from jitflow.ports.errors import AccessRefused, FixRequest, ObjectMissing, PortError, SourceChanged, Unreachable
from jitflow.storage.credentials import Credentials
from jitflow.storage.git import GitStore, clone_commands, environment, fault
from jitflow.storage.staging import Limits, Staging
from jitflow.testing.web_server import FileServer


def git(folder: Path, *arguments: str) -> str:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    command = ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, text: str) -> str:
    (folder / "file").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "HEAD")


class Repository:
    """A repository with three commits on `main`, a tag at the first, a branch `side`, and a ref that no clone takes."""

    def __init__(self, root: Path) -> None:
        self.work = root / "work"
        self.work.mkdir(parents=True)
        git(self.work, "init", "-q")
        self.first = commit(self.work, "one")
        git(self.work, "tag", "-a", "v1", "-m", "v1")
        commit(self.work, "two")
        git(self.work, "checkout", "-q", "-b", "side")
        self.side = commit(self.work, "side")
        git(self.work, "checkout", "-q", "main")
        self.last = commit(self.work, "three")
        self.bare = root / "git" / "r.git"
        self.bare.parent.mkdir()
        git(root, "clone", "-q", "--bare", str(self.work), str(self.bare))
        git(self.bare, "update-ref", "refs/pull/7/head", self.side)

    def push(self, text: str) -> str:
        found = commit(self.work, text)
        git(self.work, "push", "-q", str(self.bare), "main")
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "far")


@pytest.fixture
def server(repository: Repository) -> Iterator[FileServer]:
    with FileServer(repository.bare.parent.parent) as server:
        yield server


class Store:
    """The git store of one artifact, and its reference."""

    def __init__(
        self,
        folder: Path,
        artifact: argo.GitArtifact,
        objects: Any = NO_OBJECTS,
        limit: int = 10**8,
        *,
        rules: HostRules | None = None,
    ) -> None:
        found = origin_of(argo.Artifact(name="a", git=artifact), "ns")
        assert found is not None
        self.origin, path = found
        self.ref = ObjectRef(remote=self.origin.name, path=path)
        self.staging = Staging(folder / "staging", limit)
        self.staging.open()
        self.target = folder / "target"
        self.store = GitStore(self.origin, Credentials(objects), rules or HostRules(), self.staging, Limits(20))

    async def fetch(self) -> ObjectInfo:
        """Read as the data plane does: the size is known at the second try."""
        info = await self.store.stat(self.ref)
        with pytest.raises(SourceChanged, match="not known before"):
            await self.store.fetch(info, self.target, ignore)
        assert not self.target.exists()
        again = await self.store.stat(self.ref)
        assert again.size_bytes > 0
        got = await self.store.fetch(again, self.target, ignore)
        assert got.size_bytes == measure(self.target)
        assert list(self.staging.root.iterdir()) == []
        return got

    def text(self) -> str:
        return (self.target / "file").read_text()

    def head(self) -> str:
        return git(self.target, "rev-parse", "HEAD")


def at(server: FileServer, **fields: Any) -> argo.GitArtifact:
    return argo.GitArtifact(repo=f"{server.url}/git/r.git", **fields)


@pytest.mark.parametrize(
    ("fields", "text", "branch"),
    [
        ({}, "three", "main"),
        ({"revision": "side"}, "side", "side"),
        ({"branch": "side"}, "side", "side"),
        ({"branch": "side", "single_branch": True, "depth": 1}, "side", "side"),
        ({"revision": "v1"}, "one", "HEAD"),
        ({"revision": "v1", "depth": 1}, "one", "HEAD"),
        ({"revision": "main~1"}, "two", "HEAD"),
        ({"revision": "refs/pull/7/head", "fetch": ("refs/pull/*:refs/pull/*",)}, "side", "HEAD"),
        ({"revision": "refs/pull/7/head"}, "side", "HEAD"),
        ({"depth": 1}, "three", "main"),
    ],
)
def test_revisions(server: FileServer, tmp_path: Path, fields: dict[str, Any], text: str, branch: str) -> None:
    store = Store(tmp_path, at(server, **fields))
    asyncio.run(store.fetch())
    assert store.text() == text
    assert git(store.target, "rev-parse", "--abbrev-ref", "HEAD") == branch
    assert git(store.target, "status", "--porcelain") == ""


@pytest.mark.parametrize("short", [False, True])
def test_a_commit_by_its_name(repository: Repository, server: FileServer, tmp_path: Path, short: bool) -> None:
    store = Store(tmp_path, at(server, revision=repository.first[:10] if short else repository.first))
    asyncio.run(store.fetch())
    assert store.head() == repository.first


def test_the_version_is_the_commit(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(server, revision="main"))

    async def main() -> None:
        assert (await store.store.stat(store.ref)).version == repository.last
        newer = repository.push("four")
        assert (await store.store.stat(store.ref)).version == newer

    asyncio.run(main())


def test_what_was_looked_up_is_read_though_the_branch_moves_on(
    repository: Repository, server: FileServer, tmp_path: Path
) -> None:
    store = Store(tmp_path, at(server, revision="main"))

    async def main() -> None:
        info = await store.store.stat(store.ref)
        repository.push("four")
        with pytest.raises(SourceChanged):
            await store.store.fetch(info, store.target, ignore)
        waiting = store.staging.waiting(store.ref)
        assert waiting is not None
        await store.store.fetch(waiting, store.target, ignore)

    asyncio.run(main())
    assert store.head() == repository.last


def test_submodules(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    outer = repository.work.parent / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", f"{server.url}/git/r.git", "inner")
    commit(outer, "outer")
    git(outer, "clone", "-q", "--bare", str(outer), str(repository.bare.parent / "outer.git"))
    url = f"{server.url}/git/outer.git"
    with_them, without = Store(tmp_path, argo.GitArtifact(repo=url)), Store(
        tmp_path / "b", argo.GitArtifact(repo=url, disable_submodules=True)
    )  # fmt: skip
    asyncio.run(with_them.fetch())
    assert (with_them.target / "inner" / "file").read_text() == "three"
    asyncio.run(without.fetch())
    assert not (without.target / "inner" / "file").exists()


def test_a_submodule_may_not_name_a_program_or_a_local_path(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    outer = repository.work.parent / "outer"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "--quiet", "add", str(repository.bare), "inner")
    commit(outer, "outer")
    git(outer, "clone", "-q", "--bare", str(outer), str(repository.bare.parent / "outer.git"))
    store = Store(tmp_path, argo.GitArtifact(repo=f"{server.url}/git/outer.git"))
    with pytest.raises(FixRequest, match="may not speak"):
        asyncio.run(store.fetch())
    assert list(store.staging.root.iterdir()) == []


def outer(repository: Repository, name: str, url: str) -> None:
    """Make a repository with a submodule; the address is only written down."""
    folder = repository.work.parent / name
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "submodule", "--quiet", "add", str(repository.bare), "inner")
    git(folder, "config", "-f", ".gitmodules", "submodule.inner.url", url)
    commit(folder, name)
    git(folder, "clone", "-q", "--bare", str(folder), str(repository.bare.parent / f"{name}.git"))


def test_submodules_are_brought_in_all_levels(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    outer(repository, "middle", "../r.git")
    folder = repository.work.parent / "outermost"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "submodule", "--quiet", "add", str(repository.bare.parent / "middle.git"), "deep/er")
    git(folder, "config", "-f", ".gitmodules", "submodule.deep/er.url", "../middle.git")
    commit(folder, "outermost")
    git(folder, "clone", "-q", "--bare", str(folder), str(repository.bare.parent / "outermost.git"))
    store = Store(tmp_path, argo.GitArtifact(repo=f"{server.url}/git/outermost.git"))
    asyncio.run(store.fetch())
    assert (store.target / "deep" / "er" / "inner" / "file").read_text() == "three"


def test_the_hosts_of_submodules_are_checked(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    with FileServer(repository.bare.parent.parent) as other:
        outer(repository, "elsewhere", other.url.replace("127.0.0.1", "localhost") + "/git/r.git")
        store = Store(tmp_path, argo.GitArtifact(repo=f"{server.url}/git/elsewhere.git"), rules=HostRules(["127.0.0.1"]))
        with pytest.raises(AccessRefused, match="localhost"):
            asyncio.run(store.fetch())
        assert not other.asked
    assert list(store.staging.root.iterdir()) == []


@pytest.mark.parametrize("url", ["git@localhost:r.git", "ssh://localhost/r.git", "localhost:r.git"])
def test_so_are_those_of_submodules_over_ssh(repository: Repository, server: FileServer, tmp_path: Path, url: str) -> None:
    outer(repository, "elsewhere", url)
    store = Store(tmp_path, argo.GitArtifact(repo=f"{server.url}/git/elsewhere.git"), rules=HostRules(["127.0.0.1"]))
    with pytest.raises(AccessRefused, match="localhost"):
        asyncio.run(store.fetch())


def test_an_address_that_can_be_read_in_two_ways_is_refused(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    outer(repository, "elsewhere", "http://127.0.0.1\\@localhost/r.git")
    store = Store(tmp_path, argo.GitArtifact(repo=f"{server.url}/git/elsewhere.git"))
    with pytest.raises(FixRequest, match="is no address"):
        asyncio.run(store.fetch())


def test_a_password_is_told_to_no_host_of_a_submodule(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    server.password = "s3cret-word"

    async def main() -> None:
        fields = {"username_secret": selector("user"), "password_secret": selector("password")}
        artifact = argo.GitArtifact(repo=f"{server.url}/git/elsewhere.git", **fields)
        store = Store(tmp_path, artifact, await secrets(user="me", password="s3cret-word"))
        with pytest.raises(AccessRefused, match="credentials"):
            await store.fetch()

    with FileServer(repository.bare.parent.parent) as other:
        other.password = "s3cret-word"  # it would let in whoever knows it
        outer(repository, "elsewhere", f"{other.url}/git/r.git")
        asyncio.run(main())


def test_a_link_out_of_the_tree_stays_a_link(repository: Repository, server: FileServer, tmp_path: Path) -> None:
    (repository.work / "link").symlink_to("/etc/passwd")
    repository.push("with a link")
    store = Store(tmp_path, at(server))
    asyncio.run(store.fetch())
    assert os.readlink(store.target / "link") == "/etc/passwd"


def test_a_password_is_on_no_command_line_and_in_no_text(server: FileServer, tmp_path: Path) -> None:
    server.password = "s3cret-word"
    fields = {"username_secret": selector("user"), "password_secret": selector("password")}

    async def main() -> None:
        store = Store(tmp_path, at(server, **fields), await secrets(user="me", password="s3cret-word"))
        await store.fetch()
        assert store.text() == "three"
        config = (store.target / ".git" / "config").read_text()
        assert "s3cret" not in config
        wrong = Store(tmp_path / "w", at(server, **fields), await secrets(user="me", password="another-word"))
        with pytest.raises(AccessRefused, match="does not accept") as caught:
            await wrong.store.stat(wrong.ref)
        assert "another-word" not in str(caught.value)

    (tmp_path / "w").mkdir()
    asyncio.run(main())


def test_user_and_password_of_the_address_work_and_stay_hidden(server: FileServer, tmp_path: Path) -> None:
    server.password = "s3cret-word"
    url = server.url.replace("http://", "http://me:s3cret-word@")
    store = Store(tmp_path, argo.GitArtifact(repo=f"{url}/git/r.git"))
    asyncio.run(store.fetch())
    assert "s3cret" not in str(store.ref) + " ".join(
        part for command in clone_commands(store.origin.options, Path("/t")) for part in command
    )
    assert "s3cret" not in (store.target / ".git" / "config").read_text()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"repo": "/git/none.git"}, ObjectMissing),
        ({"revision": "nowhere"}, ObjectMissing),
        ({"branch": "nowhere"}, ObjectMissing),
        ({"revision": "0" * 40}, ObjectMissing),
    ],
)
def test_what_is_not_there(server: FileServer, tmp_path: Path, fields: dict[str, str], error: type[PortError]) -> None:
    artifact = argo.GitArtifact(repo=server.url + fields.pop("repo", "/git/r.git"), **fields)  # type: ignore[arg-type]
    store = Store(tmp_path, artifact)
    with pytest.raises(error):
        asyncio.run(store.fetch())
    assert list(store.staging.root.iterdir()) == []


def test_nobody_answers(tmp_path: Path) -> None:
    store = Store(tmp_path, argo.GitArtifact(repo="http://127.0.0.1:1/r.git"))
    with pytest.raises(Unreachable):
        asyncio.run(store.store.stat(store.ref))
    other = Store(tmp_path / "b", argo.GitArtifact(repo="http://169.254.169.254/r.git"))
    with pytest.raises(AccessRefused, match="link-local"):
        asyncio.run(other.store.stat(other.ref))


def test_a_repository_larger_than_there_is_room_for_is_given_up(
    repository: Repository, server: FileServer, tmp_path: Path
) -> None:
    (repository.work / "large").write_bytes(os.urandom(3_000_000))
    repository.push("large")
    store = Store(tmp_path, at(server), limit=1_000_000)
    with pytest.raises(FixRequest, match="more than 1,000,000 bytes"):
        asyncio.run(store.store.fetch(asyncio.run(store.store.stat(store.ref)), store.target, ignore))
    assert list(store.staging.root.iterdir()) == []


def test_a_clone_that_is_given_up_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(server))

    async def main() -> None:
        info = await store.store.stat(store.ref)
        task = asyncio.create_task(store.store.fetch(info, store.target, ignore))  # noqa: TID251 - cancelled below
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert list(store.staging.root.iterdir()) == []
    assert not store.target.exists()


def test_nothing_is_written_to_a_repository(server: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(server))
    with pytest.raises(FixRequest, match="cannot be stored"):
        asyncio.run(store.store.store(tmp_path, store.ref, ignore))


def test_an_ssh_key_is_a_private_file(tmp_path: Path) -> None:
    found = environment({"repo": "git@host:r.git", "ssh_key": "KEY TEXT", "any_host_key": "true"}, tmp_path)
    assert "KEY TEXT" not in " ".join(found.values())
    assert (tmp_path / "key").read_text() == "KEY TEXT\n"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert "StrictHostKeyChecking=no" in found["GIT_SSH_COMMAND"]
    assert "StrictHostKeyChecking=yes" in environment({"repo": "git@host:r.git"}, tmp_path)["GIT_SSH_COMMAND"]


@pytest.mark.parametrize(
    ("said", "error", "word"),
    [
        ("Host key verification failed.\nfatal: Could not read from remote repository.", AccessRefused, "known_hosts"),
        ("git@h: Permission denied (publickey).", AccessRefused, "credentials"),
        ("ssh: Could not resolve hostname h: Name or service not known", Unreachable, "name"),
        ("fatal: transport 'ext' not allowed", FixRequest, "protocol"),
    ],
)
def test_what_git_says(said: str, error: type[PortError], word: str) -> None:
    found = fault(said, "git@h:r/")
    assert type(found) is error
    assert word in str(found)


class Rebinding(HostRules):
    """A name that leads to an address where nobody listens when it is checked, and to this machine when git looks it up."""

    async def resolve(self, address: str) -> list[Any]:
        return await HostRules().resolve("127.0.0.2")


def test_a_name_that_leads_elsewhere_after_the_check_gains_nothing(server: FileServer, tmp_path: Path) -> None:
    artifact = argo.GitArtifact(repo=server.url.replace("127.0.0.1", "localhost") + "/git/r.git")
    with pytest.raises(Unreachable):
        asyncio.run(Store(tmp_path, artifact, rules=Rebinding()).fetch())
    assert not server.asked


def test_git_is_sent_nowhere_else(server: FileServer, repository: Repository, tmp_path: Path) -> None:
    with FileServer(repository.bare.parent.parent) as other:
        server.redirects["/git/r.git/info/refs"] = f"{other.url}/git/r.git/info/refs"
        with pytest.raises(FixRequest, match="sends git elsewhere"):
            asyncio.run(Store(tmp_path, at(server)).fetch())
        assert not other.asked
