"""Memoized outputs on their way: seen at once by whoever asks for them, written into their ConfigMaps meanwhile."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from jitflow.engine.limits import Memos
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap, Objects
from jitflow.model.runs import SaveMemo

O = TypeVar("O")  # noqa: E741 - an object's type


class Remembering:
    """The objects, with the entries of caches that are not written yet: who waited for a lock finds what its holder has kept."""

    def __init__(self, objects: Objects, memos: Memos) -> None:
        """Look at `objects`; write through `memos`."""
        self._objects = objects
        self._memos = memos
        self._pending: dict[tuple[str, str], dict[str, str]] = {}

    def find(self, kind: type[O], namespace: str, name: str) -> O | None:
        """Return an object, see `Objects.find`."""
        found = self._objects.find(kind, namespace, name)
        pending = self._pending.get((namespace, name)) if self._pending and kind is ConfigMap else None
        if not pending:
            return found
        if found is None:
            metadata = argo.ObjectMeta(name=name, namespace=namespace, labels={TYPE_LABEL: CACHE_TYPE})
            return cast(O, ConfigMap(metadata=metadata, data=dict(pending)))
        config = cast(ConfigMap, found)
        return cast(O, replace(config, data={**config.data, **pending}))

    def save(self, effect: SaveMemo) -> Coroutine[Any, Any, None]:
        """Take an entry in, and return the work of writing it."""
        self._pending.setdefault((effect.namespace, effect.cache), {})[effect.memo_key] = effect.entry
        return self._write(effect)

    async def _write(self, effect: SaveMemo) -> None:
        place = (effect.namespace, effect.cache)
        try:
            await self._memos.save(effect)
        finally:
            pending = self._pending.get(place, {})
            if pending.get(effect.memo_key) == effect.entry:
                del pending[effect.memo_key]
            if not pending:
                self._pending.pop(place, None)
