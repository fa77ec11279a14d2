"""Which store holds the state, and which one what lies on this machine's disk."""

from contextlib import AsyncExitStack

from jitflow.bootstrap.home import Home
from jitflow.dataplane import records
from jitflow.dataplane.records import LOCAL_KINDS
from jitflow.executors import discard_pods
from jitflow.ports.store import StateStore
from jitflow.settings import Settings, resolve_secret
from jitflow.stores import Lease, PatientStore, is_file, open_store, url_of
from jitflow.stores.sqlite import SqliteStore

AUTO = "auto"
"""`state.transactions`: MongoDB is written to by transactions where the deployment knows them."""
ORIGIN = "origin"
SETTLED = "settled"
"""With which epoch of the lead the home's disk was last taken into use, where servers with other homes lead too."""

NEAR_KINDS = frozenset({*LOCAL_KINDS, ORIGIN, SETTLED})
"""Documents about what lies on this machine's disk: they stay in the home's own file, whatever holds the state."""


def state_url(settings: Settings, home: Home) -> str:
    """Return the URL of the state.

    Raises:
        SettingsError: it is not where the settings say.
    """
    return resolve_secret(settings.state.url, "state.url") or url_of(home.state)


async def open_stores(
    settings: Settings, home: Home, stack: AsyncExitStack, lease: Lease | None = None
) -> tuple[PatientStore, PatientStore]:
    """Open the state, and the store of what lies on this machine's disk: the same one unless the state is elsewhere.

    `lease`: under which it is held, if other servers may take it over.

    Raises:
        PortError: one cannot be used.
    """
    url = state_url(settings, home)
    synchronous = settings.durability.upper()
    opened = open_store(
        url,
        synchronous=synchronous,
        patience_s=settings.state.patience_s,
        lease=lease,
        transactions=settings.state.transactions == AUTO,
    )
    store = PatientStore(await stack.enter_async_context(opened))
    if is_file(url, home.state):
        return store, store
    return store, PatientStore(await stack.enter_async_context(SqliteStore.open(home.state, synchronous=synchronous)))


_PROMISED = (records.LEASE, records.STAGEOUT, records.FREED, records.BEGUN, records.NAMED, records.OWNER, records.PLAN, ORIGIN)


async def start_over(home: Home, near: StateStore) -> None:
    """Forget what this home had promised to workflows that a server with another home has driven since.

    Their pods here have ended with the lease, their outputs that wait here are an earlier attempt's. Copies of far objects stay;
    whether they are still right is looked at before anybody reads them.
    """
    await forget_promises(near)
    discard_pods(home.pods)


async def forget_promises(near: StateStore) -> None:
    """Forget all that says what is promised to workflows."""
    for kind in _PROMISED:
        if documents := await near.items(kind):
            await near.put(kind, [(key, None) for key, _ in documents])
