"""A new key for everything that is stored sealed, while the server runs."""

from msgspec import Struct

from jitflow.app.webhooks import DOCUMENTS as WEBHOOKS
from jitflow.bootstrap.remotes import KIND as REMOTES
from jitflow.bootstrap.remotes import ORIGIN
from jitflow.bootstrap.vault import Vault
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.store import StateStore
from jitflow.settings import SettingsError

"""Kinds of documents that are sealed as a whole; Secrets are the object store's."""


class Rotated(Struct, frozen=True, kw_only=True):
    """How much was sealed anew, and whether the old key is gone from where keys are kept."""

    resealed: int
    old_key_removed: bool


class Rotation:
    """Implements `jitflow.control_api.secrets.KeyRotation`.

    A kill at any moment leaves everything readable: the old key goes last.
    """

    def __init__(self, vault: Vault, store: StateStore, near: StateStore, objects: ObjectStore) -> None:
        """Hold what is sealed, and with what; `near`: the data plane's own store."""
        self._vault = vault
        self._places = ((store, REMOTES), (near, ORIGIN), (store, WEBHOOKS))
        self._objects = objects

    async def rotate(self) -> Rotated:
        """Seal everything with a new key and forget the old one.

        Raises:
            Refused: no new key can be kept, or something sealed cannot be opened; nothing is lost.
        """
        try:
            self._vault.begin_rotation()
            count = await self._objects.reseal()
            for store, kind in self._places:
                for key, _ in await store.items(kind):
                    count += await self._reseal(store, kind, key)
        except SettingsError as error:
            raise Refused(str(error)) from error
        return Rotated(resealed=count, old_key_removed=self._vault.end_rotation())

    async def _reseal(self, store: StateStore, kind: str, key: str) -> int:
        sealed = await store.get(kind, key)
        if sealed is None or self._vault.is_current(sealed):
            return 0  # it is gone, or was written since
        await store.put(kind, [(key, self._vault.seal(self._vault.open(sealed)))])
        return 1
