"""The object store: everything in memory, written through to the state store, Secrets sealed."""

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.objects import KINDS, AnyObject, Secret, SyncLimit
from jitflow.model.problems import Place, Problem, Refused
from jitflow.ports.clock import Clock, Ids
from jitflow.ports.store import StateStore

T = TypeVar("T")
O = TypeVar("O")  # noqa: E741 - an object's type

DOCUMENTS = "object"
"""Kind of the state store's documents that hold objects."""

CLUSTER_KINDS = frozenset({"ClusterWorkflowTemplate"})
MAX_BYTES = 1_500_000
"""Kubernetes' own limit of an object is about that of etcd."""

MAX_NAME_CHARS = 253
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")

Key = tuple[str, str, str]
"""Kind, namespace (empty for kinds of the whole cluster), name."""


class Sealer(Protocol):
    """Encrypts what must not lie in the state store in clear."""

    def seal(self, plain: bytes) -> bytes:
        """Return the encrypted form."""
        ...

    def open(self, sealed: bytes) -> bytes:
        """Return the plain form."""
        ...


class Change(Struct, frozen=True, kw_only=True):
    """An object was written or deleted; `value` is its last form."""

    action: Literal["ADDED", "MODIFIED", "DELETED"]
    kind: str
    value: AnyObject


Listener = Callable[[Change], None]
Check = Callable[[AnyObject | None], None]


class ObjectStore:
    """Keeps objects; implements `jitflow.model.objects.Objects`.

    Writes are durable before `find` sees them, and then they return. Those of one object happen one after the other. Objects are
    immutable values.
    """

    def __init__(self, store: StateStore, sealer: Sealer, clock: Clock, ids: Ids) -> None:
        """Hold what objects are kept in; `open` fills it."""
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._ids = ids
        self._objects: dict[Key, AnyObject] = {}
        self._listeners: set[Listener] = set()
        self._last: dict[Key, asyncio.Task[Any]] = {}
        """The last write of each object that is under way."""
        self._version = 0
        self._changes = 0

    async def open(self) -> None:
        """Read all objects."""
        for key, body in await self._store.items(DOCUMENTS):
            kind, namespace, name = _split(key)
            if kind in KINDS:
                plain = self._sealer.open(body) if KINDS[kind] is Secret else body
                value = msgspec.json.decode(plain, type=KINDS[kind])
                self._objects[kind, namespace, name] = value
                self._version = max(self._version, _version_of(value))

    # -- reading ------------------------------------------------------------------------------------------------------

    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        """Return an object, None when there is none. `namespace` does not matter for kinds of the whole cluster."""
        found = self._objects.get(_key(kind.__name__, namespace, name))
        return found if found is not None and isinstance(found, kind) else None

    def list(self, kind: type[O], namespace: str = "") -> list[O]:
        """Return the objects of a kind by namespace and name; of all namespaces if none is given."""
        wanted = "" if kind.__name__ in CLUSTER_KINDS else namespace
        found = [
            (key, value)
            for key, value in self._objects.items()
            if key[0] == kind.__name__ and (not wanted or key[1] == wanted) and isinstance(value, kind)
        ]
        return [value for _, value in sorted(found, key=lambda entry: entry[0])]

    @property
    def version(self) -> int:
        """The resource version of the last write."""
        return self._version

    @property
    def changes(self) -> int:
        """How often what `find` and `list` see has changed since the start."""
        return self._changes

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every durable change from now on; return how to stop that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def create(self, value: O, namespace: str = "") -> O:
        """Keep a new object, with a uid, a time and a version.

        Raises:
            Refused: there is one of that name (`conflict`), or the name or its size cannot be.
        """
        metadata = _metadata(value)
        if not metadata.name and metadata.generate_name:
            metadata = replace(metadata, name=f"{metadata.generate_name}{self._ids.suffix()}")
            value = replace(cast(Any, value), metadata=metadata)
        kind, name = type(value).__name__, metadata.name or ""

        def check(old: AnyObject | None) -> None:
            if old is not None:
                raise Refused(f"{resource(kind)} {name!r} already exists", code="conflict")

        return await self._write(value, namespace, check)

    async def replace(self, value: O, namespace: str = "") -> O:
        """Keep an object in place of the one of its name.

        Raises:
            Refused: there is none (`not_found`), or it has changed since the version that `value` names (`conflict`).
        """
        kind, name = type(value).__name__, _metadata(value).name or ""
        wanted = _metadata(value).resource_version

        def check(old: AnyObject | None) -> None:
            if old is None:
                raise Refused(f"{resource(kind)} {name!r} not found", code="not_found")
            if wanted and wanted != _metadata(old).resource_version:
                raise Refused(
                    f"Operation cannot be fulfilled on {resource(kind)} {name!r}: the object has been modified; read it again "
                    "and apply your changes to the latest version",
                    code="conflict",
                )

        return await self._write(value, namespace, check)

    async def apply(self, value: O, namespace: str = "") -> O:
        """Keep an object, new or in place of the one of its name."""
        return await self._write(value, namespace, lambda _: None)

    async def delete(self, kind: type[Any], namespace: str, name: str) -> None:
        """Forget an object.

        Raises:
            Refused: there is none (`not_found`).
        """
        key = _key(kind.__name__, namespace, name)
        await self._alone(key, lambda: self._delete_now(key))

    async def reseal(self) -> int:
        """Seal all Secrets again, with the key that seals now; return how many there are."""
        keys = [key for key, value in self._objects.items() if isinstance(value, Secret)]
        for key in keys:
            await self._alone(key, lambda key=key: self._reseal_now(key))
        return len(keys)

    async def _reseal_now(self, key: Key) -> None:
        value = self._objects.get(key)
        if value is not None:
            await self._store.put(DOCUMENTS, [("/".join(key), self._sealer.seal(msgspec.json.encode(value)))])

    async def _delete_now(self, key: Key) -> None:
        old = self._objects.get(key)
        if old is None:
            raise Refused(f"{resource(key[0])} {key[2]!r} not found", code="not_found")
        await self._store.put(DOCUMENTS, [("/".join(key), None)])
        del self._objects[key]
        self._changes += 1
        self._tell(Change(action="DELETED", kind=key[0], value=old))

    async def _write(self, value: Any, namespace: str, check: Check) -> Any:
        """Keep an object if `check`, which sees the one that is there, does not refuse."""
        kind, name = type(value).__name__, _metadata(value).name or ""
        _check_name(kind, name)
        key = _key(kind, namespace, name)
        return await self._alone(key, lambda: self._write_now(key, value, check))

    async def _write_now(self, key: Key, value: Any, check: Check) -> Any:
        old = self._objects.get(key)
        check(old)
        written = self._numbered(key, value, old)
        body = msgspec.json.encode(written)
        if len(body) > MAX_BYTES:
            raise Refused(f"{resource(key[0])} {key[2]!r} is too large: {len(body)} bytes, at most {MAX_BYTES} are kept")
        sealed = self._sealer.seal(body) if isinstance(written, Secret) else body
        await self._store.put(DOCUMENTS, [("/".join(key), sealed)])
        self._objects[key] = written
        self._changes += 1
        self._tell(Change(action="MODIFIED" if old is not None else "ADDED", kind=key[0], value=written))
        return written

    def _numbered(self, key: Key, value: Any, old: AnyObject | None) -> Any:
        """Return an object with what only the server says of it."""
        before = _metadata(old) if old is not None else argo.ObjectMeta()
        self._version = max(self._version + 1, int(self._clock.now() * 1000))
        metadata = replace(
            _metadata(value),
            name=key[2],
            namespace=key[1] or None,
            uid=before.uid or self._ids.uid(),
            creation_timestamp=before.creation_timestamp or _rfc3339(self._clock.now()),
            generation=(before.generation or 0) + 1,
            resource_version=str(self._version),
            managed_fields=(),
        )
        return replace(_sealed_form(value), metadata=metadata, kind=key[0])

    async def _alone(self, key: Key, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do a write after those of the same object that were asked for before it.

        It goes on if who asked for it is cancelled: what may be durable by then is seen by `find` too.
        """
        task = asyncio.get_running_loop().create_task(_after(self._last.get(key), write), name=f"write {'/'.join(key)}")
        self._last[key] = task
        task.add_done_callback(lambda done: self._written(key, done))
        return await asyncio.shield(task)

    def _written(self, key: Key, task: asyncio.Task[Any]) -> None:
        if self._last.get(key) is task:
            del self._last[key]
        if not task.cancelled():
            task.exception()  # who asked for it is told, unless nobody waits any more

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)


async def _after(before: "asyncio.Task[Any] | None", write: Callable[[], Coroutine[Any, Any, T]]) -> T:
    if before is not None:
        await asyncio.wait({before})
    return await write()


def resource(kind: str) -> str:
    """Return how Kubernetes calls objects of a kind in its messages."""
    plural = f"{kind.lower()}s"
    return plural if kind in {"ConfigMap", "Secret", "PersistentVolumeClaim"} else f"{plural}.argoproj.io"


def secret_values(secret: Secret) -> dict[str, bytes]:
    """Return the plain values of a Secret.

    Raises:
        Refused: a value is not base64.
    """
    return {key: _decoded(secret, key, value) for key, value in secret.data.items()}


def without_values(secret: Secret) -> Secret:
    """Return a Secret as it may be shown: which keys it has."""
    return replace(secret, data=dict.fromkeys(secret.data, ""), string_data={})


def _decoded(secret: Secret, key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        name = _metadata(secret).name
        place = Place(path=f"$.data.{key}")
        remedy = "write plain text under `stringData:` instead"
        raise Refused(
            Problem(message=f"secret {name!r}: the value of {key!r} is not base64", place=place, remedy=remedy)
        ) from None


def _sealed_form(value: Any) -> Any:
    """Return a Secret with all its values in `data`; other objects as they are."""
    if not isinstance(value, Secret):
        return value
    data = dict(value.data)
    data.update({key: base64.b64encode(text.encode()).decode() for key, text in value.string_data.items()})
    _check_keys(data)
    secret = replace(value, data=data, string_data={})
    secret_values(secret)
    return secret


def _check_keys(keys: Iterable[str]) -> None:
    for key in keys:
        if not _KEY.fullmatch(key) or key in {".", ".."}:
            message = f"the key {key[:80]!r} is not valid"
            raise Refused(Problem(message=message, place=Place(path="$.data"), remedy="use letters, digits, -, _ and ."))


def _check_name(kind: str, name: str) -> None:
    place = Place(path="$.metadata.name")
    if kind == SyncLimit.__name__ and _KEY.fullmatch(name):
        return  # not a name of Kubernetes, but a key
    if not name:
        raise Refused(Problem(message=f"the {kind} has no name", place=place, remedy="set metadata.name"))
    if len(name) > MAX_NAME_CHARS or not _NAME.fullmatch(name):
        message = f"the name {name[:80]!r} is not valid for a {kind}"
        remedy = f"use at most {MAX_NAME_CHARS} lower-case letters, digits, - and ., beginning and ending with a letter or digit"
        raise Refused(Problem(message=message, place=place, remedy=remedy))


def _key(kind: str, namespace: str, name: str) -> Key:
    return (kind, "" if kind in CLUSTER_KINDS else namespace, name)


def _split(key: str) -> Key:
    kind, namespace, name = key.split("/", 2)
    return (kind, namespace, name)


def _metadata(value: Any) -> argo.ObjectMeta:
    return value.metadata or argo.ObjectMeta()


def _version_of(value: Any) -> int:
    text = _metadata(value).resource_version or ""
    return int(text) if text.isdigit() else 0


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
