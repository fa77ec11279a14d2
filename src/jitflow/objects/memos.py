"""Memoized outputs in ConfigMaps."""

import asyncio

from msgspec.structs import replace

from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap
from jitflow.model.problems import Refused
from jitflow.model.runs import SaveMemo
from jitflow.objects.store import MAX_BYTES, ObjectStore


class MemoStore:
    """Writes entries of caches; the oldest go when a ConfigMap is full."""

    def __init__(self, objects: ObjectStore) -> None:
        """Write into `objects`."""
        self._objects = objects
        self._one_by_one = asyncio.Lock()

    async def save(self, effect: SaveMemo) -> None:
        """Write an entry into the ConfigMap of its cache, which is made if it is not there."""
        async with self._one_by_one:
            await self._save(effect)

    async def _save(self, effect: SaveMemo) -> None:
        found = self._objects.find(ConfigMap, effect.namespace, effect.cache)
        if found is None:
            metadata = argo.ObjectMeta(name=effect.cache, namespace=effect.namespace, labels={TYPE_LABEL: CACHE_TYPE})
            found = ConfigMap(api_version="v1", metadata=metadata)
        data = {key: text for key, text in found.data.items() if key != effect.memo_key} | {effect.memo_key: effect.entry}
        while len(data) > 1 and sum(len(key) + len(text) for key, text in data.items()) > MAX_BYTES // 2:
            del data[next(iter(data))]
        metadata = replace(found.metadata or argo.ObjectMeta(), resource_version=None)
        try:
            await self._objects.apply(replace(found, data=data, metadata=metadata), effect.namespace)
        except Refused:
            return  # the cache's name cannot be one, or the entry is too large: nothing is remembered
