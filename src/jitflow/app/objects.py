"""Use-cases of the objects beside runs: templates, schedules, ConfigMaps, Secrets, claims, limits of semaphores."""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from jitflow import spec
from jitflow.app.names import check_namespace
from jitflow.app.selectors import label_selector
from jitflow.model import argo
from jitflow.model.objects import KINDS, ConfigMap, Secret, SyncLimit
from jitflow.model.problems import Place, Problem, Refused
from jitflow.objects import ObjectStore, without_values
from jitflow.objects.store import CLUSTER_KINDS, resource

DATABASE, CONFIG_MAP = "DATABASE", "CONFIGMAP"


class Limit(Struct, frozen=True, kw_only=True, rename={"config_map": "cmName"}):
    """How many may hold a semaphore, as `/api/v1/sync` speaks of it."""

    namespace: str = ""
    config_map: str = ""
    key: str = ""
    limit: int = 0
    type: str = CONFIG_MAP


class Objects:
    """What can be asked of the objects. Every write is validated; Secrets are never shown."""

    def __init__(self, store: ObjectStore) -> None:
        """Hold the store."""
        self._store = store

    async def read(self, kind: str, body: Any, namespace: str = "") -> Any:
        """Return the valid object of an API body, or of a YAML text; what it refers to is looked for in `namespace`.

        Raises:
            Refused: it cannot be used; with every problem's place.
        """
        return await asyncio.to_thread(self._read, kind, body, namespace)

    def _read(self, kind: str, body: Any, namespace: str) -> Any:
        document = spec.load_one(body, kinds=(kind,)) if isinstance(body, str) else spec.from_json(body, kind=kind)
        if document.kind != kind:
            place = document.places.at(("kind",))
            raise Refused(Problem(message=f"expected kind {kind}, got {document.kind}", place=place, remedy=f"send a {kind}"))
        manifest: Any = document.manifest
        metadata = manifest.metadata or argo.ObjectMeta()
        placed = replace(manifest, metadata=replace(metadata, namespace=metadata.namespace or namespace or None))
        spec.validate_document(replace(document, manifest=placed), lint=True, objects=self._store)
        return manifest

    async def create(self, kind: str, namespace: str, body: Any, *, dry_run: bool = False) -> Any:
        """Keep a new object; with `dry_run` only say what would be kept."""
        value = _placed(await self.read(kind, body, namespace), namespace)
        if dry_run:
            return shown(value)
        return shown(await self._store.create(value, namespace))

    async def update(self, kind: str, namespace: str, name: str, body: Any) -> Any:
        """Keep an object in place of the one of its name."""
        value = _named(_placed(await self.read(kind, body, namespace), namespace), name)
        return shown(await self._store.replace(value, namespace))

    async def apply(self, kind: str, namespace: str, name: str, body: Any) -> Any:
        """Keep an object, new or in place of the one of its name."""
        value = _named(_placed(await self.read(kind, body, namespace), namespace), name)
        return shown(await self._store.apply(replace(value, metadata=replace(value.metadata, resource_version=None)), namespace))

    def get(self, kind: str, namespace: str, name: str) -> Any:
        """Return one object.

        Raises:
            Refused: there is none (`not_found`).
        """
        found = self._store.find(kind_of(kind), namespace, name)
        if found is None:
            raise Refused(f'{resource(kind)} "{name}" not found', code="not_found")
        return shown(found)

    def list(
        self,
        kind: str,
        namespace: str = "",
        *,
        labels: str = "",
        name_pattern: str = "",
        visible: frozenset[str] | None = None,
    ) -> Sequence[Any]:
        """Return the objects of a kind; of all namespaces if none is given, but only of those that are `visible` (None: all)."""
        selects = label_selector(labels)
        found = self._store.list(kind_of(kind), namespace)
        return [
            shown(value)
            for value in found
            if (visible is None or kind in CLUSTER_KINDS or (value.metadata or argo.ObjectMeta()).namespace in visible)
            and selects((value.metadata or argo.ObjectMeta()).labels)
            and name_pattern in ((value.metadata or argo.ObjectMeta()).name or "")
        ]

    @property
    def version(self) -> int:
        """The resource version of the last write of any object."""
        return self._store.version

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Forget one object."""
        await self._store.delete(kind_of(kind), namespace, name)

    async def suspend(self, namespace: str, name: str, *, suspended: bool) -> argo.CronWorkflow:
        """Let a schedule rest, or go on."""
        found = self._store.find(argo.CronWorkflow, namespace, name)
        if found is None:
            raise Refused(f'{resource("CronWorkflow")} "{name}" not found', code="not_found")
        return await self._store.replace(replace(found, spec=replace(found.spec, suspend=suspended)), namespace)

    # -- limits of semaphores -----------------------------------------------------------------------------------------

    async def create_limit(self, limit: Limit) -> Limit:
        """Set how many may hold a semaphore that has no limit yet.

        Raises:
            Refused: it has one (`conflict`), or the limit cannot be.
        """
        _check_limit(limit)
        if limit.type == DATABASE:
            metadata = argo.ObjectMeta(name=limit.key, namespace=limit.namespace)
            await self._store.create(SyncLimit(metadata=metadata, limit=limit.limit), limit.namespace)
            return limit
        found = self._store.find(ConfigMap, limit.namespace, limit.config_map)
        if found is None:
            metadata = argo.ObjectMeta(name=limit.config_map, namespace=limit.namespace)
            await self._store.create(ConfigMap(metadata=metadata, data={limit.key: str(limit.limit)}), limit.namespace)
        elif limit.key in found.data:
            raise Refused(f"ConfigMap {limit.config_map!r} has the key {limit.key!r} already; update it", code="conflict")
        else:
            await self._store.replace(replace(found, data={**found.data, limit.key: str(limit.limit)}), limit.namespace)
        return limit

    def get_limit(self, limit: Limit) -> Limit:
        """Return how many may hold a semaphore.

        Raises:
            Refused: it has no limit (`not_found`), or what stands there is no number.
        """
        _check_place(limit)
        if limit.type == DATABASE:
            found = self._store.find(SyncLimit, limit.namespace, limit.key)
            if found is not None:
                return replace(limit, limit=found.limit)
        else:
            config = self._store.find(ConfigMap, limit.namespace, limit.config_map)
            if config is not None and limit.key in config.data:
                text = config.data[limit.key].strip()
                if not text.isdigit():
                    raise Refused(
                        f"the value of {limit.key!r} in ConfigMap {limit.config_map!r} is no whole number: {text[:40]!r}"
                    )
                return replace(limit, limit=int(text))
        raise _no_limit(limit)

    async def update_limit(self, limit: Limit) -> Limit:
        """Set how many may hold a semaphore that has a limit.

        Raises:
            Refused: it has none (`not_found`), or the limit cannot be.
        """
        _check_limit(limit)
        if limit.type == DATABASE:
            self.get_limit(limit)
            metadata = argo.ObjectMeta(name=limit.key, namespace=limit.namespace)
            await self._store.apply(SyncLimit(metadata=metadata, limit=limit.limit), limit.namespace)
            return limit
        config = self._store.find(ConfigMap, limit.namespace, limit.config_map)
        if config is None or limit.key not in config.data:
            raise _no_limit(limit)
        await self._store.replace(replace(config, data={**config.data, limit.key: str(limit.limit)}), limit.namespace)
        return limit

    async def delete_limit(self, limit: Limit) -> None:
        """Forget how many may hold a semaphore; one without a limit is no error.

        Raises:
            Refused: there is no such ConfigMap (`not_found`).
        """
        _check_place(limit)
        if limit.type == DATABASE:
            if self._store.find(SyncLimit, limit.namespace, limit.key) is not None:
                await self._store.delete(SyncLimit, limit.namespace, limit.key)
            return
        config = self._store.find(ConfigMap, limit.namespace, limit.config_map)
        if config is None:
            raise Refused(f'configmaps "{limit.config_map}" not found', code="not_found")
        if limit.key in config.data:
            data = {key: value for key, value in config.data.items() if key != limit.key}
            await self._store.replace(replace(config, data=data), limit.namespace)


def kind_of(kind: str) -> type[Any]:
    """Return the class of a kind.

    Raises:
        Refused: jitflow keeps no such objects.
    """
    found = KINDS.get(kind)
    if found is None:
        raise Refused(f"objects of kind {kind[:80]!r} are not kept here; the kinds are {', '.join(sorted(KINDS))}")
    return found


def shown(value: Any) -> Any:
    """Return an object as clients may see it."""
    return without_values(value) if isinstance(value, Secret) else value


def _no_limit(limit: Limit) -> Refused:
    return Refused(f"there is no sync limit for the key {limit.key!r}", code="not_found")


def _check_place(limit: Limit) -> None:
    if limit.type not in {DATABASE, CONFIG_MAP}:
        raise Refused(f"the type of a sync limit is {DATABASE} or {CONFIG_MAP}, not {limit.type[:40]!r}")
    if limit.type == CONFIG_MAP and not limit.config_map:
        raise Refused("a sync limit in a ConfigMap needs its name: give `cmName`")
    if not limit.key:
        raise Refused("a sync limit needs a `key`")


def _check_limit(limit: Limit) -> None:
    _check_place(limit)
    if limit.limit <= 0:
        raise Refused("the limit must be greater than zero")


def _placed(value: Any, namespace: str) -> Any:
    metadata = value.metadata or argo.ObjectMeta()
    if type(value).__name__ in CLUSTER_KINDS:
        return replace(value, metadata=replace(metadata, namespace=None))
    check_namespace(namespace)
    if metadata.namespace and metadata.namespace != namespace:
        was = metadata.namespace[:80]
        message = f"the namespace of the object ({was!r}) does not match that of the request ({namespace!r})"
        remedy = "remove metadata.namespace, or send it to that namespace"
        raise Refused(Problem(message=message, place=Place(path="$.metadata.namespace"), remedy=remedy))
    return replace(value, metadata=replace(metadata, namespace=namespace))


def _named(value: Any, name: str) -> Any:
    metadata = value.metadata or argo.ObjectMeta()
    if metadata.name and metadata.name != name:
        message = f"the name of the object ({metadata.name[:80]!r}) does not match the name of the request ({name!r})"
        raise Refused(Problem(message=message, place=Place(path="$.metadata.name"), remedy="use one name"))
    return replace(value, metadata=replace(metadata, name=name))
