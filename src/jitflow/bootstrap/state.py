"""Which store holds the state, and which one what lies on this machine's disk."""

from contextlib import AsyncExitStack

from jitflow.bootstrap.home import Home
from jitflow.dataplane.records import LOCAL_KINDS
from jitflow.settings import Settings, resolve_secret
from jitflow.stores import PatientStore, is_file, open_store, url_of
from jitflow.stores.sqlite import SqliteStore

ORIGIN = "origin"
NEAR_KINDS = frozenset({*LOCAL_KINDS, ORIGIN})
"""Documents about what lies on this machine's disk: they stay in the home's own file, whatever holds the state."""


def state_url(settings: Settings, home: Home) -> str:
    """Return the URL of the state.

    Raises:
        SettingsError: it is not where the settings say.
    """
    return resolve_secret(settings.state.url, "state.url") or url_of(home.state)


async def open_stores(settings: Settings, home: Home, stack: AsyncExitStack) -> tuple[PatientStore, PatientStore]:
    """Open the state, and the store of what lies on this machine's disk: the same one unless the state is elsewhere.

    Raises:
        PortError: one cannot be used.
    """
    url = state_url(settings, home)
    synchronous = settings.durability.upper()
    opened = open_store(url, synchronous=synchronous, patience_s=settings.state.patience_s)
    store = PatientStore(await stack.enter_async_context(opened))
    if is_file(url, home.state):
        return store, store
    return store, PatientStore(await stack.enter_async_context(SqliteStore.open(home.state, synchronous=synchronous)))
