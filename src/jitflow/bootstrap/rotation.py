"""A new key for everything that is stored sealed, while the server runs."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from jitflow.app.webhooks import DOCUMENTS as WEBHOOKS
from jitflow.bootstrap.remotes import KIND as REMOTES
from jitflow.bootstrap.remotes import ORIGIN
from jitflow.bootstrap.vault import Vault
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.datalink import Resealed
from jitflow.ports.store import StateStore
from jitflow.settings import SettingsError

"""Kinds of documents that are sealed as a whole; Secrets are the object store's."""


class Rotated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """See `Resealed`; `data`: the same of a data service that is a process of its own, with a key of its own."""

    resealed: int
    old_key_removed: bool
    data: Resealed | None = None


class Rotation:
    """Implements `jitflow.control_api.secrets.KeyRotation`.

    A kill at any moment leaves everything readable: the old key goes last.
    """

    def __init__(
        self,
        vault: Vault,
        store: StateStore,
        near: StateStore,
        objects: ObjectStore | None,
        beyond: Callable[[], Awaitable[Resealed]] | None = None,
    ) -> None:
        """Hold what is sealed, and with what.

        `near`: the data plane's own store. `objects` None: Secrets are kept elsewhere. `beyond`: gives a data service elsewhere a
        new key, too.
        """
        self._vault = vault
        self._places = ((store, REMOTES), (near, ORIGIN), (store, WEBHOOKS))
        self._objects = objects
        self._beyond = beyond

    async def rotate(self) -> Rotated:
        """Seal everything with a new key and forget the old one.

        Raises:
            Refused: no new key can be kept, or something sealed cannot be opened; nothing is lost. The data service is away, or
                cannot: nothing was done.
        """
        there = None if self._beyond is None else await self._beyond()
        here = await self.rotate_here()
        return Rotated(resealed=here.resealed, old_key_removed=here.old_key_removed, data=there)

    async def rotate_here(self) -> Resealed:
        """Rotate the key of this process's home (see `rotate`)."""
        try:
            self._vault.begin_rotation()
            count = 0 if self._objects is None else await self._objects.reseal()
            for store, kind in self._places:
                for key, _ in await store.items(kind):
                    count += await self._reseal(store, kind, key)
        except SettingsError as error:
            raise Refused(str(error)) from error
        return Resealed(resealed=count, old_key_removed=self._vault.end_rotation())

    async def _reseal(self, store: StateStore, kind: str, key: str) -> int:
        sealed = await store.get(kind, key)
        if sealed is None or self._vault.is_current(sealed):
            return 0  # it is gone, or was written since
        await store.put(kind, [(key, self._vault.seal(self._vault.open(sealed)))])
        return 1
