"""Web servers as stores, with a real one."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from storage_worlds import ignore

from jitflow.agents import HostRules
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.engine.origins import origin_of
from jitflow.model import argo
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.objects import NO_OBJECTS, Secret
from jitflow.objects import ObjectStore
from jitflow.ports.errors import AccessRefused, Busy, FixRequest, ObjectMissing, SourceChanged, Unreachable
from jitflow.storage.credentials import Credentials
from jitflow.storage.staging import Limits, Staging
from jitflow.storage.web import WebStore
from jitflow.testing.memory_store import MemoryStore
from jitflow.testing.web_server import FileServer

DATA = b"0123456789" * 30_000


@pytest.fixture
def web(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "files" / "d").mkdir(parents=True)
    (tmp_path / "files" / "d" / "x.bin").write_bytes(DATA)
    with FileServer(tmp_path / "files") as server:
        yield server


class _Plain:
    def seal(self, plain: bytes) -> bytes:
        return plain

    open = seal


async def secrets(**values: str) -> ObjectStore:
    """Return an object store with one Secret, `cred` in the namespace `ns`."""
    objects = ObjectStore(MemoryStore(), _Plain(), SystemClock(), RandomIds())
    await objects.create(Secret(metadata=argo.ObjectMeta(name="cred"), string_data=values), "ns")
    return objects


def selector(key: str) -> argo.SecretKeySelector:
    return argo.SecretKeySelector(name="cred", key=key)


class Store:
    """A web store of one artifact, and its reference."""

    def __init__(
        self,
        folder: Path,
        http: argo.HTTPArtifact,
        objects: Any = NO_OBJECTS,
        allowed: tuple[str, ...] = (),
        limit: int = 10**7,
        *,
        rules: HostRules | None = None,
    ) -> None:
        found = origin_of(argo.Artifact(name="a", http=http), "ns")
        assert found is not None
        self.origin, path = found
        self.ref = ObjectRef(remote=self.origin.name, path=path)
        self.staging = Staging(folder / "staging", limit)
        self.staging.open()
        self.target = folder / "target"
        self.store = WebStore(self.origin, Credentials(objects), rules or HostRules(allowed), self.staging, Limits(5))

    async def fetch(self) -> ObjectInfo:
        return await self.store.fetch(await self.store.stat(self.ref), self.target, ignore)

    def left(self) -> list[Path]:
        """Return what lies in the staging directory, and unfinished files beside the target."""
        return [*self.staging.root.iterdir(), *(path for path in self.target.parent.iterdir() if path.name.endswith(".partial"))]


def at(server: FileServer, path: str = "/d/x.bin", **fields: Any) -> argo.HTTPArtifact:
    return argo.HTTPArtifact(url=f"{server.url}{path}", **fields)


def test_what_is_read_is_what_was_looked_up(web: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(web, headers=(argo.Header(name="X-Mine", value="1"),)))
    seen: list[int] = []

    async def main() -> ObjectInfo:
        info = await store.store.stat(store.ref)
        return await store.store.fetch(info, store.target, seen.append)

    info = asyncio.run(main())
    assert (info.size_bytes, info.version) == (len(DATA), f'"{hashlib.sha256(DATA).hexdigest()[:16]}"')
    assert store.target.read_bytes() == DATA
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)
    assert not store.left()
    assert all(headers.get("X-Mine") == "1" for _, _, headers in web.asked)
    assert [method for method, _, _ in web.asked] == ["HEAD", "GET"]


@pytest.mark.parametrize("has_etags", [True, False])
def test_a_size_that_is_not_told_is_learned_outside_the_primary(web: FileServer, tmp_path: Path, has_etags: bool) -> None:
    """The first read ends in `SourceChanged` with the size known; the second needs no request for the bytes."""
    web.has_lengths, web.has_etags = False, has_etags
    store = Store(tmp_path, at(web))

    async def main() -> None:
        info = await store.store.stat(store.ref)
        assert info.size_bytes == 0
        with pytest.raises(SourceChanged, match="300,000 bytes"):
            await store.store.fetch(info, store.target, ignore)
        assert not store.target.exists()
        again = await store.store.stat(store.ref)
        assert again.size_bytes == len(DATA)
        await store.store.fetch(again, store.target, ignore)

    asyncio.run(main())
    assert store.target.read_bytes() == DATA
    assert web.times("GET", "/d/x.bin") == 1
    assert not store.left()


def test_what_did_not_wait_long_enough_is_read_again(web: FileServer, tmp_path: Path) -> None:
    """Its size is known by then, and so it needs no third read."""
    web.has_lengths = False
    store = Store(tmp_path, at(web))

    async def main() -> None:
        info = await store.store.stat(store.ref)
        with pytest.raises(SourceChanged):
            await store.store.fetch(info, store.target, ignore)
        waiting = store.staging.waiting(store.ref)
        assert waiting is not None
        given_up = store.staging.claim(waiting)
        assert given_up is not None
        given_up.unlink()
        again = await store.store.stat(store.ref)
        assert again.size_bytes == len(DATA)
        await store.store.fetch(again, store.target, ignore)

    asyncio.run(main())
    assert store.target.read_bytes() == DATA
    assert not store.left()


def test_no_more_waits_than_there_is_room_for(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging", 100)
    staging.open()
    for number, size in enumerate((60, 30, 40)):
        path = staging.new()
        path.write_bytes(bytes(size))
        staging.keep(path, ObjectInfo(ref=ObjectRef(remote="r", path=str(number)), size_bytes=size, version="v"))
    assert [staging.waiting(ObjectRef(remote="r", path=str(number))) is not None for number in range(3)] == [False, True, True]
    assert sum(path.stat().st_size for path in staging.root.iterdir()) == 70
    assert staging.size(ObjectRef(remote="r", path="0"), "v") == 60


def test_without_a_version_every_look_sees_another_object(web: FileServer, tmp_path: Path) -> None:
    web.has_etags = False
    store = Store(tmp_path, at(web))

    async def main() -> None:
        one, other = await store.store.stat(store.ref), await store.store.stat(store.ref)
        assert one.version != other.version
        await store.store.fetch(one, store.target, ignore)

    asyncio.run(main())
    assert store.target.read_bytes() == DATA


def test_nothing_larger_than_there_is_room_for_is_kept(web: FileServer, tmp_path: Path) -> None:
    web.has_lengths = False
    store = Store(tmp_path, at(web), limit=1000)
    with pytest.raises(FixRequest, match="more than 1,000 bytes"):
        asyncio.run(store.fetch())
    assert not store.left()


def test_an_object_that_grew_is_not_read_over_its_size(web: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(web))

    async def main() -> None:
        info = await store.store.stat(store.ref)
        (web.root / "d" / "x.bin").write_bytes(DATA + DATA)
        with pytest.raises(SourceChanged):
            await store.store.fetch(info, store.target, ignore)
        assert not store.target.exists()
        await store.fetch()

    asyncio.run(main())
    assert store.target.read_bytes() == DATA + DATA


def test_a_server_without_head_is_asked_with_get(web: FileServer, tmp_path: Path) -> None:
    web.has_head = False
    store = Store(tmp_path, at(web))
    assert asyncio.run(store.fetch()).size_bytes == len(DATA)
    assert store.target.read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, ObjectMissing), (410, ObjectMissing), (403, AccessRefused), (503, Busy), (429, Busy), (418, FixRequest)],
)
def test_statuses(web: FileServer, tmp_path: Path, status: int, error: type[Exception]) -> None:
    web.status["/d/x.bin"] = status
    store = Store(tmp_path, at(web))
    with pytest.raises(error, match=str(status)):
        asyncio.run(store.fetch())


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        asyncio.run(Store(tmp_path, argo.HTTPArtifact(url="http://127.0.0.1:1/x")).fetch())


def test_a_password_goes_to_its_server_only_and_is_in_no_text(web: FileServer, tmp_path: Path) -> None:
    web.password = "open sesame"
    auth = argo.HTTPAuth(basic_auth=argo.BasicAuth(username_secret=selector("user"), password_secret=selector("password")))

    async def main() -> None:
        objects = await secrets(user="me", password="open sesame")
        store = Store(tmp_path, at(web, auth=auth), objects)
        await store.fetch()
        assert store.target.read_bytes() == DATA
        assert "sesame" not in repr(store.origin)
        wrong = Store(tmp_path / "w", at(web, auth=auth), await secrets(user="me", password="wrong-password"))
        with pytest.raises(AccessRefused) as caught:
            await wrong.fetch()
        assert "wrong-password" not in str(caught.value)
        lacking = Store(tmp_path / "l", at(web, auth=auth), await secrets(user="me"))
        with pytest.raises(AccessRefused, match=r"secret \"cred\" in namespace \"ns\" has no key 'password'"):
            await lacking.fetch()

    (tmp_path / "w").mkdir()
    (tmp_path / "l").mkdir()
    asyncio.run(main())


def test_a_secret_of_the_url_is_in_no_text(web: FileServer, tmp_path: Path) -> None:
    web.status["/d/x.bin"] = 403
    store = Store(tmp_path, at(web, "/d/x.bin?signature=very-secret"))
    with pytest.raises(AccessRefused) as caught:
        asyncio.run(store.fetch())
    assert "very-secret" not in str(caught.value)
    assert web.asked[0][1].endswith("?signature=very-secret")


def test_redirects_are_followed_without_secrets(web: FileServer, tmp_path: Path) -> None:
    auth = argo.HTTPAuth(basic_auth=argo.BasicAuth(username_secret=selector("user"), password_secret=selector("password")))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "real").write_bytes(DATA)

    async def main(other: FileServer) -> None:
        web.redirects["/d/x.bin"] = f"{other.url}/real"
        objects = await secrets(user="me", password="p4ss")
        await Store(tmp_path, at(web, auth=auth, headers=(argo.Header(name="X-Token", value="t"),)), objects).fetch()

    with FileServer(tmp_path / "other") as other:
        asyncio.run(main(other))
        assert all("Authorization" in headers and headers["X-Token"] == "t" for _, _, headers in web.asked)
        assert other.asked
        assert not any("Authorization" in headers or "X-Token" in headers for _, _, headers in other.asked)
    assert (tmp_path / "target").read_bytes() == DATA


def test_hosts_that_may_not_be_asked(web: FileServer, tmp_path: Path) -> None:
    with pytest.raises(AccessRefused, match="link-local"):
        asyncio.run(Store(tmp_path, argo.HTTPArtifact(url="http://169.254.169.254/latest")).fetch())
    with pytest.raises(AccessRefused, match="allowed_hosts"):
        asyncio.run(Store(tmp_path, at(web), allowed=("*.example.org",)).fetch())
    web.redirects["/d/x.bin"] = "http://169.254.169.254/latest/meta-data"
    with pytest.raises(AccessRefused, match="link-local"):
        asyncio.run(Store(tmp_path, at(web)).fetch())
    web.redirects["/d/x.bin"] = f"{web.url}/d/x.bin"
    with pytest.raises(FixRequest, match="more than 10 times"):
        asyncio.run(Store(tmp_path, at(web)).fetch())


class Rebinding(HostRules):
    """A name that leads to an address where nobody listens when it is checked, and to this machine when it is looked up again."""

    async def resolve(self, address: str) -> list[Any]:
        return await HostRules().resolve("127.0.0.2")


def test_a_name_that_leads_elsewhere_after_the_check_gains_nothing(web: FileServer, tmp_path: Path) -> None:
    url = web.url.replace("127.0.0.1", "localhost")
    store = Store(tmp_path, argo.HTTPArtifact(url=f"{url}/d/x.bin"), rules=Rebinding())
    with pytest.raises(Unreachable):
        asyncio.run(store.fetch())
    assert not web.asked


def stored(store: Store, data: bytes) -> Callable[[], ObjectInfo]:
    source = store.target.with_name("source")
    source.write_bytes(data)
    return lambda: asyncio.run(store.store.store(source, store.ref, ignore))


def test_outputs_are_put(web: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(web, "/new/out.bin"))
    info = stored(store, DATA)()
    assert (web.root / "new" / "out.bin").read_bytes() == DATA
    assert info.size_bytes == len(DATA)
    assert info.version
    assert stored(store, b"")().size_bytes == 0
    asyncio.run(store.store.delete(store.ref))
    assert not (web.root / "new" / "out.bin").exists()


def test_a_put_is_sent_on(web: FileServer, tmp_path: Path) -> None:
    web.redirects["/new/out.bin"] = f"{web.url}/real/out.bin"
    stored(Store(tmp_path, at(web, "/new/out.bin")), DATA)()
    assert (web.root / "real" / "out.bin").read_bytes() == DATA


def test_a_put_that_is_refused_is_told(web: FileServer, tmp_path: Path) -> None:
    web.status["/new"] = 403
    with pytest.raises(AccessRefused):
        stored(Store(tmp_path, at(web, "/new")), DATA)()


def test_directories_are_no_web_pages(web: FileServer, tmp_path: Path) -> None:
    store = Store(tmp_path, at(web))
    prefix = ObjectRef(remote=store.ref.remote, path="d/")

    async def listed() -> None:
        async for _ in store.store.list(prefix):
            raise AssertionError

    with pytest.raises(FixRequest, match="pack the directory"):
        asyncio.run(store.store.store(tmp_path, prefix, ignore))
    with pytest.raises(ObjectMissing, match="no directories"):
        asyncio.run(store.store.stat(prefix))
    with pytest.raises(FixRequest, match="cannot be listed"):
        asyncio.run(listed())
