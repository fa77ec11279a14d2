"""Memoized outputs in ConfigMaps."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap
from jitflow.model.problems import Refused
from jitflow.model.runs import SaveMemo
from jitflow.objects.store import MAX_BYTES, ObjectStore

O = TypeVar("O")  # noqa: E741 - an object's type


class MemoStore:
    """Writes entries of caches; the oldest go when a ConfigMap is full. A view of the objects, with entries being written."""

    def __init__(self, objects: ObjectStore) -> None:
        """Write into `objects`."""
        self._objects = objects
        self._writing: dict[tuple[str, str], dict[str, str]] = {}

    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        """Return an object, a cache with the entries that are on their way into it; None when there is none."""
        found = self._objects.find(kind, namespace, name)
        entries = self._writing.get((namespace, name)) if self._writing and kind is ConfigMap else None
        if not entries:
            return found
        return cast(Any, _with_entries(found if isinstance(found, ConfigMap) else _new(namespace, name), entries))

    def save(self, effect: SaveMemo) -> Coroutine[Any, Any, None]:
        """Write an entry into the ConfigMap of its cache, which is made if it is not there; `find` sees it from now on."""
        self._writing.setdefault((effect.namespace, effect.cache), {})[effect.memo_key] = effect.entry
        return self._write(effect)

    async def _write(self, effect: SaveMemo) -> None:
        cache = self.find(ConfigMap, effect.namespace, effect.cache) or _new(effect.namespace, effect.cache)
        metadata = replace(cache.metadata or argo.ObjectMeta(), resource_version=None)
        try:
            await self._objects.apply(replace(cache, metadata=metadata), effect.namespace)
        except Refused:
            return  # the cache's name cannot be one, or the entry is too large: nothing is remembered
        finally:
            self._written(effect)

    def _written(self, effect: SaveMemo) -> None:
        place = (effect.namespace, effect.cache)
        entries = self._writing.get(place, {})
        if entries.get(effect.memo_key) == effect.entry:
            del entries[effect.memo_key]
        if not entries:
            self._writing.pop(place, None)


def _new(namespace: str, name: str) -> ConfigMap:
    metadata = argo.ObjectMeta(name=name, namespace=namespace, labels={TYPE_LABEL: CACHE_TYPE})
    return ConfigMap(api_version="v1", metadata=metadata)


def _with_entries(cache: ConfigMap, entries: dict[str, str]) -> ConfigMap:
    """Return a cache with further entries, its youngest; as many of the oldest gone as it has no room for."""
    data = {key: text for key, text in cache.data.items() if key not in entries} | entries
    while len(data) > 1 and sum(len(key) + len(text) for key, text in data.items()) > MAX_BYTES // 2:
        del data[next(iter(data))]
    return replace(cache, data=data)
