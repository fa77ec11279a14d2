"""What stands before every route: who may come in, how much may be sent, and how errors leave."""

import asyncio
import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import count
from typing import Any
from urllib.parse import unquote

from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jitflow.access import IDENTITY, OLDER, OPEN, STREAMED, Buckets, Denied, Gate, Identity, Limits
from jitflow.control_api.direct import BODY, DIRECT, SAME, WHOLE, Direct
from jitflow.control_api.errors import INTERNAL_MESSAGE, Code, Failure, failure, failure_of
from jitflow.control_api.texts import text_fault
from jitflow.ports.begun import Begun
from jitflow.ports.datalink import BEHALF
from jitflow.telemetry import bind

MAX_BODY_BYTES = 4 * 1024 * 1024
BODY_TIMEOUT_S = 60.0
PEER = b"x-jitflow-server"
"""The header by which a server that hands a request on says that it is one: it has looked at the name that was addressed."""
_BEHALF = BEHALF.encode()
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})

_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'self'"),
)
_SECURITY_NAMES = frozenset(name for name, _ in _SECURITY_HEADERS)
_HEAD_OF_JSON = b"".join(
    (
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n",
        *(b"%b: %b\r\n" % header for header in _SECURITY_HEADERS),
        b"x-request-id: %b\r\n\r\n",
    )
)
"""The head of most answers, but for the length of the body and the request's id."""
_STREAMED = {method: tuple(path for other, path in STREAMED if other == method) for method, _ in STREAMED}
"""By methods: how paths begin at which files are sent."""
_TOO_SLOW = 408
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_log = logging.getLogger("jitflow.control_api")


BEGAN = "jitflow.began"
"""Where a request's scope holds when it came."""
_REQUEST_ID = b"x-request-id"
_KEPT = "shell"
"""The name under which the shell keeps what it knows of a head (see `SAME`)."""
_SENT_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_started, _numbers = f"{secrets.token_hex(4)}-", count(1)


def _request_id(sent: bytes) -> str:
    """Return the id that the sender or a proxy has given a request; empty: none that can be used."""
    return sent.decode() if sent and _SENT_ID.fullmatch(sent) else ""


class TooLarge(Exception):
    """The body is longer than this caller's may be."""

    def __init__(self, limit: int) -> None:
        """Hold the limit in bytes."""
        super().__init__(f"the body is longer than {limit} bytes")


class TooSlow(Exception):
    """The body did not come in time."""


class Shell:
    """Wraps an application; nothing reaches it from nobody, or under a name that this server does not go by."""

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        *,
        hosts: Collection[str] = LOOPBACK_HOSTS,
        open_paths: Collection[str] = OPEN,
        answered: Callable[[Scope, int], None] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - a frozen value
        body_timeout_s: float = BODY_TIMEOUT_S,
        peer: str = "",
    ) -> None:
        """Hold the application. `hosts`: names (without port) that requests may address; `*` allows all.

        `gate` knows who may come in; `open_paths` need no token; `answered` is told the request and the status of each answer
        before that leaves.
        `limits`: how much a caller may ask for who has no limits of his own; his body must arrive within `body_timeout_s`.
        `peer`: what servers show that hand requests on; empty: there are none.

        The names protect a server on the loopback address from web pages that let their own name point to it.
        """
        self._app = app
        self._gate = gate
        self._open_paths = frozenset(open_paths)
        self._peer = peer.encode()
        self._buckets = Buckets(replace(limits, body_bytes=limits.body_bytes or MAX_BODY_BYTES))
        self._body_timeout_s = body_timeout_s
        self._answered = answered
        self._hosts = None if "*" in hosts else frozenset(host.lower() for host in hosts) | LOOPBACK_HOSTS
        self._stamp = object()
        """What it keeps of heads is known by this, which holds on to nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[BEGAN] = time.perf_counter()
        head = self._head(scope)
        request_id = head.request_id or f"{_started}{next(_numbers):x}"
        direct: Direct | None = scope.get(DIRECT)
        if direct is not send:  # somebody between the server and here wants to see the answer
            direct = None
        answer = _Answer(send, scope, self._answered, request_id, direct)
        scope[WHOLE] = answer.whole
        bind(request=request_id)
        try:
            if head.enters is not None:
                scope[IDENTITY] = head.enters
            else:
                refusal = await self._refusal(scope, head)
                if refusal is not None:
                    await answer.fail(refusal)
                    return
            body = self._body(scope, receive, direct, streamed=head.streamed)
            await self._app(scope, body.receive, answer.send)
        except ClientDisconnect:
            return
        except TooLarge as error:
            await answer.fail(failure(Code.INVALID_ARGUMENT, str(error), status=413))
        except TooSlow:
            await answer.fail(failure(Code.DEADLINE_EXCEEDED, "the body of the request did not come in time", status=_TOO_SLOW))
        except Exception as error:
            # The outermost place: whatever nobody foresaw ends here as one answer and one line of the log.
            known = failure_of(error)
            if known is None:
                _log.exception("request failed: %s %s", scope["method"], scope["path"])
            await answer.fail(known or failure(Code.INTERNAL, INTERNAL_MESSAGE))
        finally:
            # These hold on to the scope themselves: with them in it, all of a request would stay until a collector comes by.
            for name in (DIRECT, WHOLE, BODY):
                scope.pop(name, None)

    def _head(self, scope: Scope) -> "_Head":
        """Return what a request's head says; of one that came before what was found out then."""
        same: dict[str, Any] | None = scope.get(SAME)
        if same is None:
            return _Head(scope)
        owner, head = same.get(_KEPT, (None, None))
        if owner is not self._stamp:
            head = _Head(scope)
            same[_KEPT] = (self._stamp, head)
        return head

    async def _refusal(self, scope: Scope, head: "_Head") -> Failure | None:
        if scope["path"] in self._open_paths:
            return None
        headers = head.headers
        if self._hosts is not None and _host_name(headers.host) not in self._hosts and not self._is_peer(headers.peer):
            message = "this server does not go by the name in the Host header; add the name to its allowed hosts"
            return failure(Code.PERMISSION_DENIED, message)
        found = await self._gate.identify(headers.authorization, headers.behalf)
        if isinstance(found, Denied) and headers.cookie and not headers.authorization:
            found = await self._gate.identify(cookie_authorization(headers.cookie))
            if not isinstance(found, Denied) and (foreign := foreign_origin(scope["method"], headers)) is not None:
                return foreign
        if isinstance(found, Denied):
            return failure(Code.UNAUTHENTICATED, found.message)
        scope[IDENTITY] = found
        refusal = self._too_long(found, head) or self._over_limit(found)
        if refusal is None and head.fault:
            return failure(Code.INVALID_ARGUMENT, head.fault)
        if refusal is None and self._gate.is_owner(found) and not self._buckets.limits(found):
            head.enters = found
        return refusal

    def _is_peer(self, shown: bytes) -> bool:
        return bool(self._peer) and hmac.compare_digest(shown, self._peer)

    def _too_long(self, identity: Identity, head: "_Head") -> Failure | None:
        longest = self._buckets.body_bytes(identity)
        length = head.headers.content_length
        if not head.streamed and length.isdigit() and (len(length) > 18 or int(length) > longest):
            return failure(Code.INVALID_ARGUMENT, str(TooLarge(longest)), status=413)
        return None

    def _over_limit(self, identity: Identity) -> Failure | None:
        wait_s = self._buckets.take(identity, time.monotonic())
        if wait_s <= 0:
            return None
        message = f"too many requests with this token; the next one may come in {wait_s:.1f} s"
        return replace(failure(Code.RESOURCE_EXHAUSTED, message), retry_after_s=math.ceil(wait_s))

    def _body(self, scope: Scope, receive: Receive, direct: Direct | None, *, streamed: bool) -> "_Body":
        """Return the body, within the limits of who sends it."""
        identity: Identity | None = scope.get(IDENTITY)
        longest = None
        if not streamed:
            longest = MAX_BODY_BYTES if identity is None else self._buckets.body_bytes(identity)
        body = _Body(receive, direct, (self._gate, identity), longest_bytes=longest, timeout_s=self._body_timeout_s)
        if direct is not None:
            scope[BODY] = body.take
        return body


class _Head:
    """What the shell has to know of a head. `enters`: who sends it, if that alone lets him in as long as the shell is there.

    `fault`: what of the target cannot be read.
    """

    __slots__ = ("enters", "fault", "headers", "request_id", "streamed")

    def __init__(self, scope: Scope) -> None:
        self.headers = Headers(scope["headers"])
        self.request_id = _request_id(self.headers.request_id)
        self.streamed = _is_streamed(scope)
        self.fault = text_fault(scope)
        self.enters: Identity | None = None


class _Body:
    """A request's body that stops at the limits, whatever Content-Length said.

    After it `receive` tells of a client that went away, or that may no longer be here: a stream ends with its token.
    """

    __slots__ = ("_began", "_complete", "_direct", "_longest", "_receive", "_sender", "_size", "_timeout_s")

    def __init__(
        self,
        receive: Receive,
        direct: Direct | None,
        sender: tuple[Gate, Identity | None],
        *,
        longest_bytes: int | None,
        timeout_s: float,
    ) -> None:
        """`longest_bytes` None: the body may have any length, and take any time as long as it comes."""
        self._receive = receive
        self._direct = direct
        self._sender = sender
        self._longest = longest_bytes
        self._timeout_s = timeout_s
        self._began = time.monotonic()
        self._size = 0
        self._complete = False

    def take(self) -> bytes | None:
        """Return the body, if it is all there, as of most requests, whose bodies are short; None: it is to be received.

        Raises:
            TooLarge: it is longer than it may be.
        """
        if self._complete or self._direct is None:
            return None
        body = self._direct.take()
        if body is not None:
            self._complete = True
            self._size += len(body)
            if self._longest is not None and self._size > self._longest:
                raise TooLarge(self._longest)
        return body

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            TooLarge, TooSlow: the body is longer than it may be, or has not come in time.
        """
        if self._complete:
            gate, identity = self._sender
            return await self._receive() if identity is None else await _while_valid(self._receive, gate, identity)
        body = self.take()
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        message = await _in_time(self._receive, self._timeout_s - (time.monotonic() - self._began))
        if self._longest is None:
            self._began = time.monotonic()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._longest is not None and self._size > self._longest:
                raise TooLarge(self._longest)
        return message


async def _in_time(receive: Receive, left_s: float) -> Message:
    """Return the next message.

    Raises:
        TooSlow: it has not come within `left_s` seconds.
    """
    begun = Begun(receive())
    if begun.is_done:  # a timer would cost more than the rest
        return begun.result
    try:
        async with asyncio.timeout(left_s):
            return await begun
    except TimeoutError:
        raise TooSlow from None


def _is_streamed(scope: Scope) -> bool:
    return scope["path"].startswith(_STREAMED.get(scope["method"], ()))


class Headers:
    """The headers that decide about entry."""

    __slots__ = ("authorization", "behalf", "content_length", "cookie", "host", "origin", "peer", "request_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Find them; of one that came twice the last counts."""
        find = dict(headers).get
        self.authorization = find(b"authorization", b"")
        self.peer = find(PEER, b"")
        self.behalf = find(_BEHALF, b"")
        self.cookie = find(b"cookie", b"")
        self.host = find(b"host", b"")
        self.origin = find(b"origin", b"")
        self.content_length = find(b"content-length", b"")
        self.request_id = find(_REQUEST_ID, b"")
        if not self.authorization and (key := find(b"x-api-key", b"")):
            # How senders that cannot say `Bearer` show the same token.
            self.authorization = b"Bearer " + key


def host_name(host: bytes) -> str:
    """Return the name, without the port, that a Host header addresses."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]


_host_name = lru_cache(maxsize=64)(host_name)


def cookie_authorization(cookie: bytes) -> bytes:
    """Return what the page's cookie says as the Authorization header would."""
    for part in cookie.decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == "authorization":
            return unquote(value.strip('"')).encode("utf-8", "replace")
    return b""


def foreign_origin(method: str, headers: Headers) -> Failure | None:
    """Refuse a change that another site's page asks for with the browser's cookie."""
    if method in _SAFE_METHODS or not headers.origin:
        return None
    if headers.origin.partition(b"://")[2] == headers.host:
        return None
    return failure(Code.PERMISSION_DENIED, "a page of another origin must send the Authorization header, not the cookie")


async def _while_valid(receive: Receive, gate: Gate, identity: Identity) -> Message:
    """Return the next message, or that the client has gone as soon as its token is revoked or expires."""
    try:
        async with asyncio.timeout(gate.left_s(identity)) as limit:
            stop = gate.when_revoked(identity, lambda: limit.reschedule(0.0))
            try:
                return await receive()
            finally:
                stop()
    except TimeoutError:
        return {"type": "http.disconnect"}


class _Answer:
    """Adds the security headers, and knows whether an error can still be answered."""

    __slots__ = ("_answered", "_begun", "_direct", "_request_id", "_scope", "_send")

    def __init__(
        self,
        send: Send,
        scope: Scope,
        answered: Callable[[Scope, int], None] | None,
        request_id: str,
        direct: Direct | None,
    ) -> None:
        self._send = send
        self._direct = direct
        self._scope = scope
        self._answered = answered
        self._request_id = request_id.encode()
        self._begun = False

    def whole(self, body: bytes) -> bool:
        """Send a JSON answer of status 200, if the server writes such at once (see `WHOLE`)."""
        direct = self._direct
        if direct is None or not direct.takes(len(body)):
            return False
        self._begun = True
        if self._answered is not None:
            self._answered(self._scope, 200)
        direct.write(_HEAD_OF_JSON % (len(body), self._request_id), body)
        return True

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            if self._answered is not None:
                self._answered(self._scope, message["status"])
            own = message.get("headers", ())
            added = _SECURITY_HEADERS
            if not _SECURITY_NAMES.isdisjoint([name for name, _ in own]):
                given = {name for name, _ in own}
                added = tuple(header for header in added if header[0] not in given)
            message["headers"] = [*own, *added, (_REQUEST_ID, self._request_id)]
        await self._send(message)

    async def fail(self, failed: Failure) -> None:
        if self._begun:
            return
        body = failed.body(older=self._scope["path"].startswith(OLDER))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if failed.code is Code.UNAUTHENTICATED:
            headers.append((b"www-authenticate", b"Bearer"))
        if failed.retry_after_s:
            headers.append((b"retry-after", str(failed.retry_after_s).encode()))
        if failed.status == _TOO_SLOW:  # what is left of the body is not waited for
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": failed.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
