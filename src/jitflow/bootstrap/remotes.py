"""The registry of remotes: those of the settings file, those added at run time (encrypted in the store), the local artifacts."""

from collections.abc import Mapping, Sequence

import msgspec

from jitflow.bootstrap.state import ORIGIN
from jitflow.bootstrap.vault import Vault
from jitflow.dataplane.records import STAGEOUT
from jitflow.engine import Locator, RemoteName, endpoint_names
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.origins import GIT, Origin
from jitflow.model.problems import Refused
from jitflow.model.reports import RemoteInfo
from jitflow.ports.errors import PortError
from jitflow.ports.store import StateStore
from jitflow.settings import RemoteSettings, Settings, SettingsError, resolve_secret
from jitflow.storage.lanes import Lanes
from jitflow.storage.made import AllStores
from jitflow.storage.remotes import RemoteConfig, looks_secret
from jitflow.telemetry import logger

ARTIFACTS = "artifacts"
"""The remote of artifacts without a location when the settings name no repository: a directory below the home."""

KIND = "remote"
"""Kinds of documents: remotes in the state, origins beside the promises of outputs that are on their way to them."""

_log = logger("remotes")
HIDDEN = "***"


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
        repository = settings.artifact_repository
        self._stores = stores
        self._owner = Owner(lambda name, error: _log.error("task failed", error, task=name))
        self._storage = storage
        self._store = store
        self._vault = vault
        self._repository = ObjectRef(remote=repository.remote or ARTIFACTS, path=repository.prefix)
        self._plugins = {
            name: ObjectRef(remote=plugin.remote, path=plugin.prefix) for name, plugin in settings.artifact_plugins.items()
        }
        self._known: dict[str, tuple[RemoteConfig, str, tuple[str, ...]]] = {}
        self._locator: Locator | None = None

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
        if self._repository.remote not in self._known:
            raise SettingsError(f"artifact_repository.remote: the remote {self._repository.remote!r} is not configured")
        for name, place in self._plugins.items():
            if place.remote not in self._known:
                raise SettingsError(f"artifact_plugins.{name}.remote: the remote {place.remote!r} is not configured")

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
            remotes = {
                name: RemoteName(type=config.type, endpoints=_endpoints(config, endpoints))
                for name, (config, _, endpoints) in self._known.items()
            }
            self._locator = Locator(
                remotes=remotes, repository=self._repository, plugins=self._plugins, notice=self._stores.notice
            )
        return self._locator

    def list(self) -> Sequence[RemoteInfo]:
        """Return the remotes by name, secrets hidden."""
        return [self.describe(name) for name in sorted(self._known)]

    def describe(self, name: str) -> RemoteInfo:
        """Return one remote, secrets hidden.

        Raises:
            Refused: there is none of that name.
        """
        if name not in self._known:
            raise Refused(f"there is no remote {name!r}; `jitflow remote list` shows what is configured", code="not_found")
        config, source, _ = self._known[name]
        secret = {option for option in config.options if option in config.secrets or looks_secret(option)}
        shown = {option: HIDDEN if option in secret else value for option, value in config.options.items()}
        return RemoteInfo(name=name, type=config.type, options=shown, source=source)

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

    async def test(self, name: str) -> None:
        """Return when the remote could be listed.

        Raises:
            Refused: there is none of that name. PortError: it refuses or does not answer.
        """
        self.describe(name)
        await self._storage.test(name)

    def _keep(self, config: RemoteConfig, source: str, endpoints: tuple[str, ...]) -> None:
        self._known[config.name] = (config, source, endpoints)
        self._locator = None


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
