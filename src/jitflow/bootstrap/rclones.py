"""The rclones of a server: a child or those that the settings name, and children for remotes with limits of their own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from jitflow.bootstrap.home import Home
from jitflow.settings import RcloneServerSettings, RcloneSettings, Settings, SettingsError, resolve_secret
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.endpoints import endpoint_of
from jitflow.storage.external import ExternalRclone
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone import Rclone
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.several import Member, Several

STAND_IN_AFTER_S = 3.0
"""So long a start waits for an rclone that others stand in for."""
Over = Callable[[Rclone, Iterable[RemoteConfig]], RcloneStorage]


def lanes_of(settings: Settings, home: Home, remotes: Sequence[RemoteConfig]) -> Lanes:
    """Return the storage over the rclones that the settings choose, not opened yet.

    Raises:
        SettingsError: the address or the credentials of the external one cannot be used. OSError: a directory cannot be made.
    """

    def over(rclone: Rclone, configs: Iterable[RemoteConfig]) -> RcloneStorage:
        return RcloneStorage(rclone, configs, stall_s=settings.primary.stall_s, at_once=settings.primary.transfers)

    def child(configs: Iterable[RemoteConfig]) -> RcloneStorage:
        return over(RcloneDaemon(), configs)

    chosen = settings.rclone
    if chosen.servers:
        return Lanes(
            child, remotes, common=lambda them: Several([*_members(settings, home, over, them)], patience_s=chosen.patience_s)
        )
    if not chosen.url:
        return Lanes(child, remotes)
    external = external_of(settings, home, _own(chosen), "rclone")
    # A limit of bandwidth is that of a whole process: the external one cannot hold several.
    return Lanes(child, remotes, common=lambda configs: over(external, configs))


def _own(chosen: RcloneSettings) -> RcloneServerSettings:
    return RcloneServerSettings(url=chosen.url, user=chosen.user, password=chosen.password, ca=chosen.ca)


def _members(settings: Settings, home: Home, over: Over, remotes: Iterable[RemoteConfig]) -> Iterator[Member]:
    """Yield the rclones that the settings name, and where all of these name remotes, one for the rest."""
    chosen, configs = settings.rclone, tuple(remotes)
    for name, server in chosen.servers.items():
        rclone = external_of(settings, home, server, f"rclone.servers.{name}", needed=False)
        yield Member(name, over(rclone, configs), server.remotes)
    if chosen.url:
        yield Member("", over(external_of(settings, home, _own(chosen), "rclone", needed=False), configs))
    elif all(server.remotes for server in chosen.servers.values()):
        yield Member("", over(RcloneDaemon(), configs))


def external_of(
    settings: Settings, home: Home, chosen: RcloneServerSettings, where: str, *, needed: bool = True
) -> ExternalRclone:
    """Return an rclone that the settings name at `where`, not opened yet. `needed`: no other one stands in for it.

    Raises:
        SettingsError: its address or its credentials cannot be used. OSError: a directory cannot be made.
    """
    try:
        endpoint = endpoint_of(chosen.url, chosen.ca)
    except ValueError as error:
        raise SettingsError(f"{where}.url: {error}") from error
    except OSError as error:
        raise SettingsError(f"{where}.ca: {chosen.ca}: no certificates can be read from it: {error.strerror or error}") from error
    password = resolve_secret(chosen.password, f"{where}.password")
    root = home.root.absolute()
    shared = [root]
    if settings.primary.path:
        apart = Path(settings.primary.path).absolute()
        apart.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared.append(apart)
    patience_s = settings.rclone.patience_s
    return ExternalRclone(
        endpoint,
        chosen.user,
        password,
        shared=shared,
        names_dir=home.staging.absolute(),
        patience_s=patience_s if needed else min(patience_s, STAND_IN_AFTER_S),
        needed=needed,
    )
