"""Requests as values: their paths, queries and bodies, and how their answers are read."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from jitflow.client._effects import Request
from jitflow.client._errors import Unreadable
from jitflow.client._later import loaded

T = TypeVar("T")
U = TypeVar("U")

ALL = "*"
"""As a namespace: all of them."""

_encode = msgspec.json.Encoder().encode


class Call(Struct, Generic[T], frozen=True):
    """A request and how its answer is read."""

    request: Request
    reads: Callable[[bytes], T]

    def into(self, kind: type[U]) -> "Call[U]":
        """Return the same request, its answer read as another type."""
        return Call(self.request, reading(kind))


class ListMeta(Struct, frozen=True, rename="camel"):
    """Of a list: where it goes on, how many more there are if that was asked for, and the version to watch after."""

    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
    resource_version: str = ""


class Listed(Struct, Generic[T], frozen=True):
    """A list as the APIs answer it. Argo writes an empty one as null."""

    metadata: ListMeta = ListMeta()
    items: tuple[T, ...] | None = None


class Page(Struct, Generic[T], frozen=True):
    """A part of a list. `after`: give it as `after` for the next part, empty at the end. `version`: to watch after it."""

    items: tuple[T, ...]
    after: str = ""
    remaining: int | None = None
    version: str = ""


def get(kind: type[T], *path: str, query: Mapping[str, Any] | None = None) -> Call[T]:
    """Return a request that changes nothing."""
    return Call(Request(method="GET", path=tail(*path), query=given(query), repeatable=True), reading(kind))


def send(
    kind: type[T],
    method: str,
    *path: str,
    body: Any = None,
    query: Mapping[str, Any] | None = None,
    repeatable: bool = False,
    patient: bool = False,
) -> Call[T]:
    """Return a request that changes something; `body` becomes JSON."""
    request = Request(
        method=method,
        path=tail(*path),
        query=given(query),
        body=b"" if body is None else _encode(body),
        repeatable=repeatable,
        patient=patient,
    )
    return Call(request, reading(kind))


def remove(*path: str, query: Mapping[str, Any] | None = None) -> Call[None]:
    """Return a request that deletes something."""
    return Call(Request(method="DELETE", path=tail(*path), query=given(query), repeatable=True), nothing)


def listing(kind: type[T], *path: str, query: Mapping[str, Any] | None = None) -> Call[tuple[T, ...]]:
    """Return a request for `{"items": …}`."""
    found = get(kind, *path, query=query)
    return Call(found.request, partial(_items, kind))


def page(kind: type[T], *path: str, query: Mapping[str, Any] | None = None) -> Call[Page[T]]:
    """Return a request for a part of a list."""
    found = get(kind, *path, query=query)
    return Call(found.request, partial(_page, kind))


def _items(kind: type[T], body: bytes) -> tuple[T, ...]:
    return decode(body, Listed[loaded(kind)]).items or ()


def _page(kind: type[T], body: bytes) -> Page[T]:
    found = decode(body, Listed[loaded(kind)])
    meta = found.metadata
    return Page(found.items or (), meta.continue_, meta.remaining_item_count, meta.resource_version)


def nothing(_: bytes) -> None:
    """Read nothing."""


def reading(kind: type[T]) -> Callable[[bytes], T]:
    """Return what reads an answer as a type."""
    return partial(decode, kind=kind)


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(loaded(kind))


def decode(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Return a JSON text as a value. Fields that only a newer server knows are skipped; scalars are taken for texts.

    Raises:
        Unreadable: it is not of that form.
    """
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError:
        from jitflow.client._tolerant import convert  # noqa: PLC0415 - only for answers of other servers

        try:
            return convert(msgspec.json.decode(body), loaded(kind))
        except msgspec.ValidationError as error:
            raise _unreadable(error) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Unreadable:
    return Unreadable(f"the server's answer cannot be read ({error}); is it a jitflow server?")


def tail(*parts: str) -> str:
    """Return a path: the first part as it is, the others quoted, each one segment."""
    first, *others = parts
    return first + "".join("/" + quote(part, safe="@") for part in others)


def given(query: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Return the query without what is not given: None, False and empty texts."""
    return tuple(
        (key, "true" if value is True else str(value))
        for key, value in (query or {}).items()
        if value is not None and value is not False and value != ""
    )


def body_of(**fields: Any) -> dict[str, Any]:
    """Return a body without what is not given."""
    return {key: value for key, value in fields.items() if value not in (None, "", False, (), [])}


def selection(
    *,
    labels: str = "",
    fields: str = "",
    name_filter: str = "",
    created_after: str = "",
    finished_before: str = "",
    only: str = "",
    limit: int = 0,
    after: str = "",
) -> dict[str, Any]:
    """Return Argo's query parameters that choose workflows."""
    return {
        "listOptions.labelSelector": labels,
        "listOptions.fieldSelector": fields,
        "listOptions.limit": limit or None,
        "listOptions.continue": after,
        "nameFilter": name_filter,
        "createdAfter": created_after,
        "finishedBefore": finished_before,
        "fields": only,
    }
