"""The rclones of a server: a child or the one that the settings name, and children for remotes with limits of their own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jitflow.bootstrap.home import Home
from jitflow.settings import Settings, SettingsError, resolve_secret
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.endpoints import endpoint_of
from jitflow.storage.external import ExternalRclone
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone import Rclone
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.remotes import RemoteConfig


def lanes_of(settings: Settings, home: Home, remotes: Sequence[RemoteConfig]) -> Lanes:
    """Return the storage over the rclones that the settings choose, not opened yet.

    Raises:
        SettingsError: the address or the credentials of the external one cannot be used. OSError: a directory cannot be made.
    """

    def over(rclone: Rclone, configs: Iterable[RemoteConfig]) -> RcloneStorage:
        return RcloneStorage(rclone, configs, stall_s=settings.primary.stall_s, at_once=settings.primary.transfers)

    def child(configs: Iterable[RemoteConfig]) -> RcloneStorage:
        return over(RcloneDaemon(), configs)

    if not settings.rclone.url:
        return Lanes(child, remotes)
    external = external_of(settings, home)
    # A limit of bandwidth is that of a whole process: the external one cannot hold several.
    return Lanes(child, remotes, common=lambda configs: over(external, configs))


def external_of(settings: Settings, home: Home) -> ExternalRclone:
    """Return the rclone that the settings name, not opened yet.

    Raises:
        SettingsError: its address or its credentials cannot be used. OSError: a directory cannot be made.
    """
    chosen = settings.rclone
    try:
        endpoint = endpoint_of(chosen.url, chosen.ca)
    except ValueError as error:
        raise SettingsError(f"rclone.url: {error}") from error
    except OSError as error:
        raise SettingsError(f"rclone.ca: {chosen.ca}: no certificates can be read from it: {error.strerror or error}") from error
    password = resolve_secret(chosen.password, "rclone.password")
    root = home.root.absolute()
    shared = [root]
    if settings.primary.path:
        apart = Path(settings.primary.path).absolute()
        apart.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared.append(apart)
    return ExternalRclone(
        endpoint, chosen.user, password, shared=shared, names_dir=home.staging.absolute(), patience_s=chosen.patience_s
    )
