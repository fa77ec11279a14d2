"""How manifests' locations are found: with the remotes of the moment, the artifact repository and the artifact plugins."""

from collections.abc import Callable, Mapping

from jitflow.engine import Locator, RemoteName
from jitflow.model.data import ObjectRef
from jitflow.model.origins import Origin
from jitflow.settings import Settings, SettingsError

ARTIFACTS = "artifacts"
"""The remote of artifacts without a location when the settings name no repository: a directory below the home."""


class Places:
    """What the settings say of places; `locator` joins it with remotes."""

    def __init__(self, settings: Settings, notice: Callable[[Origin], None]) -> None:
        """`notice`: told of stores that only a manifest names."""
        repository = settings.artifact_repository
        self._repository = ObjectRef(remote=repository.remote or ARTIFACTS, path=repository.prefix)
        self._plugins = {
            name: ObjectRef(remote=plugin.remote, path=plugin.prefix) for name, plugin in settings.artifact_plugins.items()
        }
        self._notice = notice

    def check(self, known: Mapping[str, object]) -> None:
        """Check that every place is on a remote that is known.

        Raises:
            SettingsError: one is not.
        """
        if self._repository.remote not in known:
            raise SettingsError(f"artifact_repository.remote: the remote {self._repository.remote!r} is not configured")
        for name, place in self._plugins.items():
            if place.remote not in known:
                raise SettingsError(f"artifact_plugins.{name}.remote: the remote {place.remote!r} is not configured")

    def locator(self, remotes: Mapping[str, RemoteName]) -> Locator:
        """Return how locations are found with these remotes."""
        return Locator(remotes=remotes, repository=self._repository, plugins=self._plugins, notice=self._notice)
