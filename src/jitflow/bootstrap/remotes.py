"""The registry of remotes: those of the settings file, those added at run time (encrypted in the store), the local artifacts."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from jitflow.app.ours import PRIMARY, REMEDY
from jitflow.bootstrap.places import Places
from jitflow.bootstrap.state import ORIGIN
from jitflow.bootstrap.vault import Vault
from jitflow.dataplane.records import STAGEOUT
from jitflow.engine import Locator, RemoteName, endpoint_names
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.origins import GIT, Origin
from jitflow.model.problems import Problem, Refused
from jitflow.model.reports import OptionInfo, ProviderDetail, ProviderInfo, RemoteInfo
from jitflow.ports.errors import PortError, Unreachable
from jitflow.ports.store import StateStore
from jitflow.settings import RemoteSettings, Settings, resolve_secret
from jitflow.storage.lanes import Lanes
from jitflow.storage.made import AllStores
from jitflow.storage.remotes import RemoteConfig, hidden_options
from jitflow.storage.whereabouts import Known
from jitflow.telemetry import logger

KIND = "remote"
"""Kinds of documents: remotes in the state, origins beside the promises of outputs that are on their way to them."""

_log = logger("remotes")
HIDDEN = "***"
TEST_S = 20.0
"""A test of a remote is answered after so long at the latest."""


class _Value(Struct, frozen=True, rename="pascal"):
    value: str = ""


class _Option(Struct, frozen=True, rename="pascal"):
    """An option as rclone describes it to people."""

    name: str
    help: str = ""
    type: str = "string"
    default_str: str = ""
    required: bool = False
    is_password: bool = False
    advanced: bool = False
    exclusive: bool = False
    provider: str = ""
    examples: list[_Value] | None = None

    def info(self) -> OptionInfo:
        return OptionInfo(
            name=self.name,
            type=self.type,
            about=self.help,
            default=self.default_str,
            is_required=self.required,
            is_password=self.is_password,
            is_advanced=self.advanced,
            is_exclusive=self.exclusive,
            makers=self.provider,
            values=tuple(one.value for one in self.examples or ()),
        )


class _Provider(Struct, frozen=True, rename="pascal"):
    name: str
    description: str = ""
    hide: bool = False
    options: list[_Option] = []


class _Providers(Struct, frozen=True):
    providers: list[_Provider]


class Registry:
    """Implements `jitflow.app.ports.Remotes`, and the engine's view of the same remotes."""

    def __init__(
        self,
        storage: Lanes,
        stores: AllStores,
        store: StateStore,
        vault: Vault,
        settings: Settings,
        *,
        promises: StateStore,
    ) -> None:
        """Hold what remotes are kept in; `load` fills it. `promises`: the data plane's own store."""
        self._promises = promises
        self._stores = stores
        self._owner = Owner(lambda name, error: _log.error("task failed", error, task=name))
        self._storage = storage
        self._store = store
        self._vault = vault
        self._places = Places(settings, stores.notice)
        self._known: dict[str, tuple[RemoteConfig, str, tuple[str, ...]]] = {}
        self._locator: Locator | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Told when there are other remotes."""

    async def load(self, fixed: Sequence[tuple[RemoteConfig, tuple[str, ...]]]) -> None:
        """Take the remotes of the settings, then those of the store.

        Raises:
            SettingsError: a stored remote cannot be decrypted, or the artifact repository or a plugin names no remote.
        """
        for config, endpoints in fixed:
            self._keep(config, "settings", endpoints)
        for name, sealed in await self._store.items(KIND):
            if name not in self._known:
                config = msgspec.json.decode(self._vault.open(sealed), type=RemoteConfig)
                await self._storage.configure(config)
                self._keep(config, "api", ())
        await self._load_origins()
        self._stores.on_new = self._remember
        self._places.check(self._known)

    async def _load_origins(self) -> None:
        """Take the stores to which outputs are still on their way; all others are named again by who needs them."""
        promised = b"".join([body for _, body in await self._promises.items(STAGEOUT)])
        done: list[tuple[str, None]] = []
        for name, sealed in await self._promises.items(ORIGIN):
            if name.encode() in promised:
                self._stores.notice(msgspec.json.decode(self._vault.open(sealed), type=Origin))
            else:
                done.append((name, None))
        await self._promises.put(ORIGIN, done)

    async def close(self) -> None:
        """Write what is not written yet."""
        await self._owner.settle()
        await self._owner.close()

    def _remember(self, origin: Origin) -> None:
        """Keep how to reach a store that only a manifest names: outputs may be on their way to it when the server stops.

        Their promise is written after this, by the same writer.
        """
        if origin.kind != GIT:
            sealed = self._vault.seal(msgspec.json.encode(origin))
            self._owner.spawn(self._promises.put(ORIGIN, [(origin.name, sealed)]), f"remember {origin.name}")

    def locator(self) -> Locator:
        """Return how manifests' locations are found with the remotes of this moment."""
        if self._locator is None:
            self._locator = self._places.locator(self.names())
        return self._locator

    def names(self) -> Mapping[str, RemoteName]:
        """Return the remotes, as far as manifests are matched with them."""
        return {
            name: RemoteName(type=config.type, endpoints=_endpoints(config, endpoints))
            for name, (config, _, endpoints) in self._known.items()
        }

    def list(self) -> Sequence[RemoteInfo]:
        """Return the remotes by name, secrets hidden."""
        return [self.describe(name) for name in sorted(self._known)]

    def describe(self, name: str) -> RemoteInfo:
        """Return one remote, secrets hidden.

        Raises:
            Refused: there is none of that name.
        """
        if name not in self._known:
            if name == PRIMARY:
                message = f"{PRIMARY}: is no remote: the near store keeps copies of far objects, under names of its own"
                raise Refused(Problem(message=message, remedy=REMEDY, code="not_found"))
            raise Refused(f"there is no remote {name!r}; `jitflow remote list` shows what is configured", code="not_found")
        config, source, _ = self._known[name]
        secret = hidden_options(config, self._storage.providers)
        shown = {option: HIDDEN if option in secret else value for option, value in config.options.items()}
        return RemoteInfo(name=name, type=config.type, options=shown, source=source)

    def known(self, name: str) -> Known | None:
        """Return a remote with the endpoints that it answers for, None if there is none."""
        if name not in self._known:
            return None
        config, _, endpoints = self._known[name]
        return Known(config, frozenset(_endpoints(config, endpoints)))

    async def add(self, name: str, kind: str, options: Mapping[str, str]) -> RemoteInfo:
        """Keep a new remote, encrypted, and use it from now on.

        Raises:
            Refused: the name is taken, or rclone cannot make sense of it.
        """
        if name in self._known:
            raise Refused(f"there is a remote {name!r} already; remove it first", code="conflict")
        config = RemoteConfig(name=name, type=kind, options=dict(options))
        try:
            await self._storage.configure(config)
        except PortError as error:
            raise Refused(str(error)) from error
        await self._store.put(KIND, [(name, self._vault.seal(msgspec.json.encode(config)))])
        self._keep(config, "api", ())
        return self.describe(name)

    async def change(self, name: str, kind: str, options: Mapping[str, str | None], *, whole: bool) -> RemoteInfo:
        """See `Remotes.change`: the new options hold at once, also for what is under way later in this process.

        Raises:
            Refused: there is none, it comes from the settings file, or rclone cannot make sense of it; nothing was changed.
        """
        if self.describe(name).source != "api":
            raise Refused(f"the remote {name!r} comes from the settings file; change it there", code="conflict")
        before = self._known[name][0]
        kept = {} if whole else dict(before.options)
        for option, value in options.items():
            if value is None:
                kept.pop(option, None)
            elif value == HIDDEN and option in before.options:
                kept[option] = before.options[option]
            else:
                kept[option] = value
        config = RemoteConfig(name=name, type=kind or before.type, options=kept)
        try:
            await self._storage.configure(config)
            await self._store.put(KIND, [(name, self._vault.seal(msgspec.json.encode(config)))])
        except PortError as error:
            await self._storage.configure(before)
            raise Refused(str(error)) from error
        self._keep(config, "api", ())
        return self.describe(name)

    async def providers(self) -> Sequence[ProviderInfo]:
        """See `Remotes.providers`."""
        return [ProviderInfo(type=one.name, about=one.description) for one in await self._described()]

    async def provider(self, kind: str) -> ProviderDetail:
        """See `Remotes.provider`.

        Raises:
            Refused: there is no such type (`not_found`).
        """
        described = await self._described()
        found = next((one for one in described if one.name == kind), None)
        if found is None:
            close = get_close_matches(kind, [one.name for one in described], n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "; GET /data/v1/providers lists them"
            raise Refused(f"rclone knows no storage of type {kind[:80]!r}{hint}", code="not_found")
        options = tuple(one.info() for one in found.options)
        return ProviderDetail(type=found.name, about=found.description, options=options)

    async def _described(self) -> Sequence["_Provider"]:
        found = msgspec.json.decode(await self._storage.describe_providers(), type=_Providers).providers
        return sorted((one for one in found if not one.hide), key=lambda one: one.name)

    async def remove(self, name: str) -> None:
        """Forget a remote that was added at run time.

        Raises:
            Refused: there is none, or it comes from the settings file.
        """
        if self.describe(name).source != "api":
            raise Refused(f"the remote {name!r} comes from the settings file; remove it there", code="conflict")
        await self._storage.unconfigure(name)
        await self._store.put(KIND, [(name, None)])
        del self._known[name]
        self._locator = None
        self.on_change()

    async def test(self, name: str, path: str = "") -> None:
        """See `Remotes.test`.

        Raises:
            Refused: there is none of that name. Unreachable: it does not answer. AccessRefused: it does not take the credentials.
            ObjectMissing: there is no such bucket or prefix.
        """
        self.describe(name)
        try:
            async with asyncio.timeout(TEST_S):
                if not path.strip("/"):
                    await self._storage.test(name)
                    return
                async for _ in self._storage.list(ObjectRef(remote=name, path=f"{path.strip('/')}/")):
                    return
        except TimeoutError as error:
            raise Unreachable(
                f"remote {name}: no answer within {TEST_S:g} s; check its address, and that it can be reached"
            ) from error

    def _keep(self, config: RemoteConfig, source: str, endpoints: tuple[str, ...]) -> None:
        self._known[config.name] = (config, source, endpoints)
        self._locator = None
        self.on_change()


def configured(name: str, remote: RemoteSettings) -> RemoteConfig:
    """Return a remote of the settings file with its secrets resolved.

    Raises:
        SettingsError: a secret is not where the settings say.
    """
    options = {key: resolve_secret(value, f"remotes.{name}.options.{key}") for key, value in remote.options.items()}
    hidden = frozenset(key for key, value in remote.options.items() if isinstance(value, dict))
    return RemoteConfig(name=name, type=remote.type, options=options, secrets=hidden)


def _endpoints(config: RemoteConfig, more: tuple[str, ...]) -> tuple[str, ...]:
    own = [config.options[name] for name in ("endpoint", "namenode") if config.options.get(name)]
    if config.type == "azureblob" and config.options.get("account") and not own:
        own = [f"{config.options['account']}.blob.core.windows.net"]
    return tuple(endpoint_names(name) for endpoint in (*own, *more) for name in endpoint.split(",") if name)
