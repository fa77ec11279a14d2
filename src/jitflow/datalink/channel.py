"""Requests to a data service, and what it means when they fail."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from jitflow.model.problems import Problem, Refused
from jitflow.ports import datalink as link
from jitflow.ports import errors

_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 120.0
"""An answer that takes longer will not come: what takes long is looked up in far stores, which has limits of its own."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_KINDS: Final = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}
_encode = msgspec.json.Encoder().encode


class SessionEnded(errors.Retryable):
    """The data service does not know the session any more: join again."""


class Channel:
    """A data service at an address. Each method may be called again: what is sent takes effect once."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        verify: ssl.SSLContext | bool = True,
        marks: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Hold the parts.

        Args:
            url: its address.
            token: returns that of the data service's link, or raises `PortError`.
            verify: how its certificate is checked.
            marks: returns headers that say of which trace a request is part now.

        Raises:
            ValueError: the address cannot be used.
        """
        self.url = checked(url)
        self._token = token
        self._marks = marks
        self._client = httpx.AsyncClient(
            verify=verify,
            trust_env=False,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            # Kept for a shorter time than the other end keeps them: none is used that it is about to close.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=3.0),
        )

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def post(self, path: str, body: Any, kind: Any) -> Any:
        """Return the answer to a value.

        Raises:
            Refused, PortError: as it was raised there. SessionEnded. Unreachable: there was no answer. AccessRefused: the token
                is not taken.
        """
        request = self._request("POST", path, content=_encode(body))
        return await self._answer(request, kind)

    async def get(self, path: str, query: dict[str, str], kind: Any, *, within_s: float = _ANSWER_S) -> Any:
        """Return an answer that may take so long (see `post`)."""
        timeout = httpx.Timeout(within_s, connect=_CONNECT_S)
        request = self._request("GET", path, params=query, timeout=timeout)
        return await self._answer(request, kind)

    def _request(self, method: str, path: str, **more: Any) -> httpx.Request:
        headers = {"authorization": f"Bearer {self._token()}", "accept-encoding": "identity", **self._marks()}
        return self._client.build_request(method, f"{self.url}{link.PATH}{path}", headers=headers, **more)

    async def _answer(self, request: httpx.Request, kind: Any) -> Any:
        try:
            response = await self._client.send(request)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        self._check(response.status_code, response.content)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.MsgspecError as error:
            raise errors.Broken(f"the data service at {self.url} answers what cannot be understood: {error}") from error

    @asynccontextmanager
    async def stream(self, path: str, query: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """Give an answer that comes in pieces (see `post`)."""
        request = self._request("GET", path, params=query)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        try:
            if response.status_code != httpx.codes.OK:
                self._check(response.status_code, await response.aread())
            yield response
        except httpx.HTTPError as error:
            raise self._away(error) from error
        finally:
            await response.aclose()

    def _away(self, error: httpx.HTTPError) -> errors.PortError:
        why = "nothing listens there" if isinstance(error, httpx.ConnectError) else type(error).__name__
        if isinstance(error.__cause__ or error, ssl.SSLError) or "CERTIFICATE" in str(error):
            why = f"its certificate is not believed ({str(error)[:120]}); see data.ca"
        return errors.Unreachable(f"the data service at {self.url} does not answer: {why}")

    def _check(self, status: int, body: bytes) -> None:
        if status == httpx.codes.OK:
            return
        if status == link.FAILED:
            raise_failed(body)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise errors.AccessRefused(
                f"the data service at {self.url} does not take the token: data.token must hold what the file link.token in its "
                "home holds (or its own setting data.token)"
            )
        if status == httpx.codes.NOT_FOUND:
            raise errors.AccessRefused(f"what listens at {self.url} is no data service: start `jitflow server --only data` there")
        raise errors.Busy(f"the data service at {self.url} answers {status}")


def raise_failed(body: bytes) -> None:
    """Raise what was raised at the other end.

    Raises:
        Refused, PortError: that. SessionEnded: the session is not known there.
    """
    failed = msgspec.json.decode(body, type=link.Failed)
    kind, _, code = failed.kind.partition(":")
    if kind == link.NO_SESSION:
        raise SessionEnded(failed.message)
    if kind == Refused.__name__:
        raise Refused(failed.problems or Problem(message=failed.message), code=code)
    raise _KINDS.get(kind, errors.Broken)(failed.message)


def checked(url: str) -> str:
    """Return an address without a slash at its end.

    Raises:
        ValueError: it cannot be one, or what is sent there could be read by others.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise ValueError(f"{url!r} is no address of a data service; write https://HOST:PORT, or http:// for one on this machine")
    return url.rstrip("/")
