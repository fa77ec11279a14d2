"""A web server as a store: GET what steps read, PUT what they write."""

import asyncio
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.origins import Origin
from jitflow.model.problems import Refused
from jitflow.ports.errors import (
    AccessRefused,
    Busy,
    Corrupt,
    FixRequest,
    ObjectMissing,
    PortError,
    SourceChanged,
    Stalled,
    Unreachable,
)
from jitflow.ports.storage import Progress
from jitflow.storage.credentials import Secrets, redactor_of
from jitflow.storage.files import partial_path, remove
from jitflow.storage.guard import Guard, pinned
from jitflow.storage.staging import Limits, Staging, check_room, disk_error, move
from jitflow.storage.unlisted import Unlisted

"""Refuses hosts (`host` or `host:port`) that may not be asked."""

MAX_REDIRECTS = 10
CONNECT_TIMEOUT_S = 10.0
_CHUNK = 1 << 20
_SEEN = "seen "
"""Begins the version of what has none of its own: every look sees another one."""

_BODY_UNKNOWN = (400, 403, 405, 406, 411, 500, 501)
"""Answers to HEAD of servers that know GET only, or URLs that were signed for it."""


class WebStore(Unlisted):
    """Objects of one web server; implements `Storage` for the references of one origin."""

    NO_LISTING = "a web server cannot be listed; name the objects"

    def __init__(self, origin: Origin, credentials: Secrets, guard: Guard, staging: Staging, limits: Limits) -> None:
        """Ask nobody yet."""
        self._origin = origin
        self._credentials = credentials
        self._guard = guard
        self._staging = staging
        self._stall_s = limits.stall_s
        self._looks = limits.looks

    # -- the port --------------------------------------------------------------------------------------------------------

    async def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See `Storage.stat`."""
        if ref.is_prefix:
            raise ObjectMissing(f"{ref}: a web server has no directories")
        async with self._looks, self._session(ref) as session:
            response = await session.look()
            found = _info(ref, response)
        waiting = self._staging.waiting(ref)
        if waiting is not None and (waiting.version == found.version or found.version.startswith(_SEEN)):
            return waiting
        if _length(response) is None:
            return msgspec.structs.replace(found, size_bytes=self._staging.size(ref, found.version))
        return found

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
        """See `Storage.fetch`; always in one piece. What is larger or smaller than it was said to be waits for room."""
        del parts, kept
        target = Path(target)
        ready = self._staging.claim(info)
        if ready is not None:
            await asyncio.to_thread(move, ready, target, scratch)
            return info
        async with self._session(info.ref) as session, session.get() as response:
            found = _info(info.ref, response)
            if _length(response) == info.size_bytes and _may_be_same(found.version, info.version):
                partial = partial_path(target, scratch)
                try:
                    await self._direct(session, response, info, partial, progress)
                    await asyncio.to_thread(move, partial, target, scratch)
                finally:
                    await asyncio.shield(asyncio.to_thread(remove, partial))
                return info
            path = self._staging.new()
            size = await session.read(response, path, self._staging.limit_bytes, lambda _: None)
        if size == info.size_bytes and _may_be_same(found.version, info.version):
            await asyncio.to_thread(move, path, target, scratch)
            return info
        self._staging.keep(path, ObjectInfo(ref=info.ref, size_bytes=size, version=found.version, modified=found.modified))
        raise SourceChanged(f"{info.ref}: it has {size:,} bytes, which was not known before it was read")

    async def _direct(
        self, session: "_Session", response: httpx.Response, info: ObjectInfo, partial: Path, progress: Progress
    ) -> None:
        size = await session.read(response, partial, info.size_bytes, progress)
        if size != info.size_bytes:
            raise Corrupt(f"{info.ref}: {size} bytes arrived instead of {info.size_bytes}")

    async def read(self, ref: ObjectRef, *, offset: int = 0, count: int | None = None) -> AsyncIterator[bytes]:
        """See `Storage.read`. What comes before `offset` is read too: not every server knows ranges."""
        end = None if count is None else offset + count
        at = 0
        async with self._session(ref) as session, session.get() as response:
            async for chunk in response.aiter_bytes(_CHUNK):
                wanted = chunk[max(0, offset - at) : None if end is None else max(0, end - at)]
                at += len(chunk)
                if wanted:
                    yield wanted
                if end is not None and at >= end:
                    return

    async def store(self, source: Path, ref: ObjectRef, progress: Progress) -> ObjectInfo:
        """See `Storage.store`."""
        if ref.is_prefix or await asyncio.to_thread(source.is_dir):
            raise FixRequest(f"{ref}: a web server takes single files; pack the directory (archive: tar) or use another store")
        size = (await asyncio.to_thread(source.stat)).st_size
        async with self._session(ref) as session:
            await session.put(source, size, progress)
            progress(size)
            try:
                response = await session.look()
            except PortError:
                # Signed URLs are good for one method: the server said that it has the object, and no more can be known.
                return ObjectInfo(ref=ref, size_bytes=size)
        if _length(response) not in (size, None):
            raise Corrupt(f"{ref}: the server has {_length(response)} bytes of {size}; send it again")
        return msgspec.structs.replace(_info(ref, response), size_bytes=size)

    async def verify(self, source: Path, ref: ObjectRef) -> ObjectInfo | None:
        """Return None: web servers give no hashes."""
        del source, ref
        return None

    async def delete(self, ref: ObjectRef) -> None:
        """See `Storage.delete`."""
        async with self._session(ref) as session:
            await session.delete()

    async def test(self, remote: str) -> None:
        """See `Storage.test`: the server answers, whatever it says."""
        async with self._session(ObjectRef(remote=remote, path="?")) as session:
            try:
                await session.look()
            except (ObjectMissing, AccessRefused, FixRequest):
                return

    # -- sessions --------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _session(self, ref: ObjectRef) -> AsyncGenerator["_Session"]:
        """Open a client for one object; what it raises is told in the port's words, without secrets."""
        options = self._credentials.options(self._origin)
        hide = redactor_of(self._origin, options)
        try:
            with _context(options, self._staging.root) as verify:
                timeout = httpx.Timeout(self._stall_s, connect=min(CONNECT_TIMEOUT_S, self._stall_s))
                way = pinned(self._guard, verify)
                headers = {"Accept-Encoding": "identity"}
                async with httpx.AsyncClient(verify=verify, transport=way, timeout=timeout, headers=headers) as client:
                    session = _Session(client, ref, options, self._guard)
                    await session.authorize()
                    yield session
        except PortError as error:
            raise type(error)(hide(str(error))) from None
        except Refused as error:
            raise AccessRefused(hide(f"{ref}: {error}")) from None
        except httpx.TimeoutException as error:
            kind = Unreachable if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout) else Stalled
            raise kind(f"{ref}: {self._origin.label} does not answer, or sends nothing any more") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise Unreachable(hide(f"{ref}: {self._origin.label}: {str(error) or type(error).__name__}")) from None


class _Token(Struct):
    access_token: str


class _Session:
    """Requests for one object."""

    def __init__(self, client: httpx.AsyncClient, ref: ObjectRef, options: dict[str, str], guard: Guard) -> None:
        self._client = client
        self._ref = ref
        self._options = options
        self._guard = guard
        query = f"?{options['query']}" if options.get("query") else ""
        self._url = httpx.URL(f"{options['base']}/{ref.path.removesuffix('?')}{query}")
        self._headers = _pairs(options.get("headers", ""))
        if options.get("username") or options.get("password"):
            self._auth: httpx.Auth | None = httpx.BasicAuth(options.get("username", ""), options.get("password", ""))
        else:
            self._auth = None

    async def authorize(self) -> None:
        """Get a token, if the artifact says where (OAuth 2, client credentials)."""
        url = self._options.get("token_url")
        if not url:
            return
        await self._guard.resolve(httpx.URL(url).netloc.decode("ascii"))
        form = {"grant_type": "client_credentials", **dict(_pairs(self._options.get("endpoint_params", "")))}
        if self._options.get("scopes"):
            form["scope"] = self._options["scopes"]
        auth = (self._options.get("client_id", ""), self._options.get("client_secret", ""))
        response = await self._client.post(url, data=form, auth=auth)
        try:
            token = msgspec.json.decode(response.content, type=_Token).access_token
        except msgspec.DecodeError:
            raise AccessRefused(f"{self._ref}: the token server gives no token (status {response.status_code})") from None
        self._headers = [*self._headers, ("Authorization", f"Bearer {token}")]

    async def look(self) -> httpx.Response:
        """Return the head of the answer; servers that know no HEAD are asked with GET, and not listened to."""
        async with self._ask("HEAD") as response:
            if response.status_code not in _BODY_UNKNOWN:
                _check(response, self._ref)
                return response
        async with self.get() as response:
            return response

    @asynccontextmanager
    async def get(self) -> AsyncGenerator[httpx.Response]:
        """Ask for the object."""
        async with self._ask("GET") as response:
            _check(response, self._ref)
            yield response

    async def delete(self) -> None:
        """Ask to delete the object; one that is not there is deleted."""
        async with self._ask("DELETE") as response:
            if response.status_code not in (404, 410):
                _check(response, self._ref)

    async def put(self, source: Path, size: int, progress: Progress) -> None:
        """Send a file."""

        async def body() -> AsyncIterator[bytes]:
            done = 0
            with source.open("rb") as file:
                while chunk := await asyncio.to_thread(file.read, _CHUNK):
                    yield chunk
                    done += len(chunk)
                    progress(done)

        async with self._ask("PUT", body, {"Content-Length": str(size)}) as response:
            _check(response, self._ref)

    @asynccontextmanager
    async def _ask(
        self, method: str, body: Callable[[], AsyncIterator[bytes]] | None = None, more: dict[str, str] | None = None
    ) -> AsyncGenerator[httpx.Response]:
        """Send a request and follow where it is sent on, as long as those hosts may be asked; only the first hears secrets."""
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            await self._guard.resolve(url.netloc.decode("ascii"))
            own = (url.scheme, url.netloc) == (self._url.scheme, self._url.netloc)
            headers = [*(self._headers if own else ()), *(more or {}).items()]
            request = self._client.build_request(method, url, headers=headers, content=body() if body is not None else None)
            response = await self._client.send(request, stream=True, auth=self._auth if own else None)
            try:
                if response.next_request is None:
                    yield response
                    return
                url = response.next_request.url
                if response.status_code == httpx.codes.SEE_OTHER:
                    method, body, more = ("HEAD" if method == "HEAD" else "GET"), None, None
            finally:
                await response.aclose()
        raise FixRequest(f"{self._ref}: it is sent on more than {MAX_REDIRECTS} times")

    async def read(self, response: httpx.Response, path: Path, limit_bytes: int, progress: Progress) -> int:
        """Write a body to a new file; return its size. Nothing is left of one that is longer than the limit.

        Raises:
            FixRequest: it is longer. DiskFull: it does not fit.
        """
        size = 0
        try:
            with path.open("xb") as file:
                async for chunk in response.aiter_bytes(_CHUNK):
                    size += len(chunk)
                    check_room(self._ref, size, limit_bytes)
                    await asyncio.to_thread(file.write, chunk)
                    progress(size)
        except OSError as error:
            remove(path)
            raise disk_error(error, path) from error
        except BaseException:
            remove(path)
            raise
        return size


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Return what checks servers' certificates; it takes a while to make."""
    return httpx.create_ssl_context()


@contextmanager
def _context(options: dict[str, str], root: Path) -> Iterator[ssl.SSLContext]:
    """Return what checks servers' certificates, and shows the client's own if it has one."""
    context = _trusted()
    if options.get("cert"):
        context = httpx.create_ssl_context()
        with tempfile.TemporaryDirectory(prefix="cert-", dir=root) as folder:
            pem = Path(folder) / "client.pem"
            pem.touch(mode=0o600)
            pem.write_text(f"{options['cert']}\n{options.get('cert_key', '')}\n")
            try:
                context.load_cert_chain(pem)
            except (ssl.SSLError, OSError) as error:
                raise AccessRefused("the client certificate and its key do not fit together, or are no PEM") from error
    yield context


def _length(response: httpx.Response) -> int | None:
    """Return the size of the object that an answer is about, None if it does not say."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _info(ref: ObjectRef, response: httpx.Response) -> ObjectInfo:
    modified = response.headers.get("Last-Modified", "")
    version = response.headers.get("ETag", "") or modified or f"{_SEEN}{time.time_ns()}"
    return ObjectInfo(ref=ref, size_bytes=_length(response) or 0, version=version, modified=modified)


def _may_be_same(one: str, other: str) -> bool:
    return one == other or one.startswith(_SEEN) or other.startswith(_SEEN)


def _check(response: httpx.Response, ref: ObjectRef) -> None:
    status = response.status_code
    if response.is_success:
        return
    if status in (404, 410):
        raise ObjectMissing(f"{ref}: there is no such object (status {status})")
    if status in (401, 403, 407):
        raise AccessRefused(f"{ref}: the server refuses access (status {status}); check the artifact's auth and headers")
    if status == 429 or status >= 500:
        raise Busy(f"{ref}: the server cannot answer now (status {status})")
    raise FixRequest(f"{ref}: the server refuses the request (status {status})")


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (line.partition(": ") for line in text.split("\n") if line)]
