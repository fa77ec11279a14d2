"""What a server answers that stands by: it hands each request on to the one that leads, or to its own application once it leads.

Nothing is decided here but what only this server can know: whether it goes by the name that was addressed, and whether the token
is its own home's, for which it vouches.
"""

import asyncio
import contextlib
import hmac
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from jitflow.control_api.errors import Code, Failure, failure
from jitflow.control_api.health import LIVE, OLDER, READY
from jitflow.control_api.shell import LOOPBACK_HOSTS, PEER, Headers, cookie_authorization, foreign_origin, host_name

WAIT_S = 25.0
"""So long a request waits for a server that leads; a take-over takes less."""

_LOOK_S = 0.1
_CONNECT_S = 3.0
_RETRY_AFTER_S = 2
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_STREAMS = (b"text/event-stream", b"application/json")
_OF_ONE_CONNECTION = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        PEER,
    }
)
_CUT_OFF = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ReadTimeout)

Exchange = tuple[Scope, Receive, Send]
_log = logging.getLogger("jitflow.control_api")


class Forward:
    """Hands requests on: `leader` says where to (empty: nobody leads), `own` is its application once it leads."""

    def __init__(
        self,
        *,
        leader: Callable[[], str],
        own: Callable[[], ASGIApp | None],
        token: str,
        peer: str,
        hosts: Collection[str] = LOOPBACK_HOSTS,
        verify: ssl.SSLContext | bool = True,
        wait_s: float = WAIT_S,
    ) -> None:
        """`token`: of this server's home, for which `peer` stands at others. `verify`: how their certificates are checked."""
        self._leader = leader
        self._own = own
        self._token = token.encode()
        self._peer = peer.encode()
        self._hosts = None if "*" in hosts else frozenset(host.lower() for host in hosts) | LOOPBACK_HOSTS
        self._wait_s = wait_s
        self._closing = asyncio.Event()
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        # What changes something gets a connection of its own: if that cannot be made, nothing was sent.
        self._fresh = httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False, limits=_limits(kept=0))
        self._kept = httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False, limits=_limits(kept=20))

    def end_streams(self) -> None:
        """End what is handed on: this server stops."""
        self._closing.set()

    async def close(self) -> None:
        """Let the connections go."""
        self._closing.set()
        await self._fresh.aclose()
        await self._kept.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        exchange = (scope, receive, send)
        if (own := self._own()) is not None:
            await own(*exchange)
        elif scope["path"] in {LIVE, "/healthz"}:
            await _answer(send, 200, b'{"status":"ok"}')
        elif scope["path"] == READY and (not self._leader() or self._closing.is_set()):
            await _answer(send, 503, b'{"status":"unavailable","parts":{"server":"no server leads"}}')
        elif scope["path"] == OLDER and (not self._leader() or self._closing.is_set()):
            await _answer(send, 503, b'{"status":"unhealthy","error":"server: no server leads"}')
        elif (refusal := self._refusal(scope)) is not None:
            await _fail(send, refusal)
        else:
            await self._hand_on(exchange)

    def _refusal(self, scope: Scope) -> Failure | None:
        headers = Headers(scope["headers"])
        if self._hosts is None or host_name(headers.host) in self._hosts or hmac.compare_digest(headers.peer, self._peer):
            return None
        message = "this server does not go by the name in the Host header; add the name to its allowed hosts"
        return failure(Code.PERMISSION_DENIED, message)

    async def _hand_on(self, exchange: Exchange) -> None:
        """Send a request to who leads, as soon as somebody does."""
        scope, receive, send = exchange
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_s
        body = _Body(receive)
        headers = self._headers(scope)
        # Another server believes that this one leads, or is about to: it is not sent back.
        handed_on = hmac.compare_digest(Headers(scope["headers"]).peer, self._peer)
        while not self._closing.is_set():
            if (own := self._own()) is not None and not body.begun:
                await own(*exchange)
                return
            if leader := "" if handed_on else self._leader():
                try:
                    response = await self._asked(leader, self._request(leader, scope, headers, body))
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    pass  # nothing was sent
                except _CUT_OFF:
                    if scope["method"] not in _SAFE:
                        message = (
                            "the server that leads ended before it answered: look whether this was done before you ask again"
                        )
                        await _fail(send, failure(Code.UNKNOWN, message, status=502))
                        return
                else:
                    await self._hand_back(response, exchange, leader)
                    return
            if loop.time() >= until:
                break
            await asyncio.sleep(_LOOK_S)
        failed = failure(Code.UNAVAILABLE, "no server leads at present; nothing was done, ask again")
        await _fail(send, failed, retry_after_s=_RETRY_AFTER_S)

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        """Return the headers to send: who holds the token of this home is vouched for."""
        seen = Headers(scope["headers"])
        own = b"Bearer " + self._token
        by_header = hmac.compare_digest(seen.authorization, own)
        by_cookie = bool(seen.cookie) and not seen.authorization and hmac.compare_digest(cookie_authorization(seen.cookie), own)
        vouched = by_header or (by_cookie and foreign_origin(scope["method"], seen) is None)
        dropped = _OF_ONE_CONNECTION | ({b"authorization", b"x-api-key"} if vouched else set())
        kept = [(name, value) for name, value in scope["headers"] if name not in dropped]
        return [*kept, (PEER, self._peer), *([(b"authorization", b"Bearer " + self._peer)] if vouched else [])]

    def _request(self, leader: str, scope: Scope, headers: list[tuple[bytes, bytes]], body: "_Body") -> httpx.Request:
        path = scope.get("raw_path") or scope["path"].encode()
        query = scope.get("query_string", b"")
        url = httpx.URL(leader).copy_with(raw_path=path + (b"?" + query if query else b""))
        content = body.parts() if _has_body(scope) else None
        return httpx.Request(scope["method"], url, headers=headers, content=content)

    async def _asked(self, leader: str, request: httpx.Request) -> httpx.Response:
        """Return what the one that leads answers; one that leads no more may be there and never answer.

        Raises:
            httpx.HTTPError: it did not.
        """
        client = self._kept if request.method in _SAFE else self._fresh
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(_outcome(client.send(request, stream=True)))
            ends = {asking, group.create_task(self._until_another_leads(leader))}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        found = None if asking.cancelled() else asking.result()
        if isinstance(found, httpx.Response):
            return found
        raise found or httpx.ReadTimeout("another server leads now")

    async def _until_another_leads(self, leader: str) -> None:
        while self._leader() == leader and not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _LOOK_S)

    async def _hand_back(self, response: httpx.Response, exchange: Exchange, leader: str) -> None:
        """Send an answer on, as it comes, until it or the client or the server that leads or this one ends."""
        _, receive, send = exchange
        headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _OF_ONE_CONNECTION]
        try:
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async with asyncio.TaskGroup() as group:
                pumping = group.create_task(_pump(response, send))
                ends = {pumping, group.create_task(_until_gone(receive)), group.create_task(self._until_another_leads(leader))}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in ends:
                    task.cancel()
        finally:
            await response.aclose()
        # A stream may end where its server does, and who follows it goes on; half a file must not look like a whole one.
        whole = pumping.done() and not pumping.cancelled() and pumping.result()
        if whole or (b"content-length" not in dict(headers) and dict(headers).get(b"content-type", b"").startswith(_STREAMS)):
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Body:
    """The body of a request, read once."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.begun = False

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield it as it comes."""
        self.begun = True
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise httpx.WriteError("the client went away")
            if part := message.get("body", b""):
                yield part
            if not message.get("more_body", False):
                return


async def _outcome(work: Awaitable[httpx.Response]) -> httpx.Response | httpx.HTTPError:
    """Return an answer, or why there is none."""
    try:
        return await work
    except httpx.HTTPError as error:
        return error


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _limits(*, kept: int) -> httpx.Limits:
    return httpx.Limits(max_connections=None, max_keepalive_connections=kept, keepalive_expiry=5.0)


async def _pump(response: httpx.Response, send: Send) -> bool:
    """Send what comes; True if that was all of it."""
    try:
        async for part in response.aiter_raw():
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except _CUT_OFF as error:
        _log.info("an answer of the server that leads was cut off: %s", type(error).__name__)
        return False
    except OSError:
        return False  # the client went away while it was written to
    return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _fail(send: Send, failed: Failure, *, retry_after_s: int = 0) -> None:
    more = [(b"retry-after", str(retry_after_s).encode())] if retry_after_s else []
    await _answer(send, failed.status, failed.body(), more)


async def _answer(send: Send, status: int, body: bytes, more: Collection[tuple[bytes, bytes]] = ()) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
