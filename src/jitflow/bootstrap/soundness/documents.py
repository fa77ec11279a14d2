"""Documents: each can be read, what is sealed can be opened, and what is about a workflow is about one that is there."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from jitflow.access import tokens
from jitflow.access.tokens import Record as TokenRecord
from jitflow.app import backfills, foreign, outbox, usage, webhooks
from jitflow.app.letters import Letter
from jitflow.app.transfers import keeping
from jitflow.app.webhooks import Webhook
from jitflow.bootstrap import remotes
from jitflow.bootstrap.soundness.findings import SET_ASIDE, Finding, Mend, Scene, Workflows, finding, removal, setting_aside
from jitflow.bootstrap.state import ORIGIN
from jitflow.dataplane import bandwidth, catalogue, provenance, records, spending
from jitflow.engine.garbage import PENDING
from jitflow.engine.janitor import EXPIRIES
from jitflow.engine.owned import OWNED
from jitflow.engine.runtimes import RUN_TIME, RunTime
from jitflow.model.backfill import Backfill
from jitflow.model.data import ObjectRef
from jitflow.model.foreign import ForeignRun
from jitflow.model.objects import KINDS, Secret
from jitflow.model.provenance import StepSeen
from jitflow.model.reports import TransferRecord
from jitflow.model.spending import Budget, Prices, Spent
from jitflow.objects.store import DOCUMENTS as OBJECTS
from jitflow.ports import datalink
from jitflow.ports.errors import Broken
from jitflow.settings import SettingsError
from jitflow.storage.remotes import RemoteConfig
from jitflow.stores import BACKUP, REPAIR

Read = Callable[[str, bytes], object]


def _json(kind: Any) -> Read:
    decode = msgspec.json.Decoder(kind).decode
    return lambda _, body: decode(body)


def _special(kind: Any) -> Read:
    """Read documents of which some, by their names, are only marks."""
    decode = msgspec.json.Decoder(kind).decode
    return lambda key, body: None if key.startswith("@") or not body else decode(body)


_LINK: Final[dict[str, Read]] = {datalink.JOINED: _json(datalink.Joined), datalink.SERVES: _json(datalink.Served)}


def _of_link(key: str, body: bytes) -> object:
    """Read what an end of the link between control and data side has written down."""
    return _LINK[key](key, body) if key in _LINK else None


READERS: Final[dict[str, Read]] = {
    RUN_TIME: _json(RunTime),
    tokens.DOCUMENTS: _json(TokenRecord),
    tokens.USES: _json(float),
    outbox.DOCUMENTS: _special(Letter),
    outbox.DEAD: _json(Letter),
    usage.DOCUMENTS: _special(usage.Tally),
    backfills.DOCUMENTS: _json(Backfill),
    foreign.DOCUMENTS: _json(ForeignRun),
    bandwidth.KIND: _json(bandwidth.Chosen),
    spending.SPENT: _json(list[Spent]),
    spending.BUDGETS: _json(Budget),
    spending.PRICES: _json(Prices),
    keeping.JOBS: _json(keeping.Job),
    keeping.FILES: lambda _, body: keeping.unpack(body),
    provenance.PROVENANCE: _json(StepSeen),
    datalink.DOCUMENTS: _of_link,
    EXPIRIES: lambda _, body: float(body),
    records.REPLICA: catalogue.unpack,
    records.LEASE: _json(records.LeaseDoc),
    records.STAGEOUT: _json(records.Obligation),
    records.BEGUN: _json(records.BegunDoc),
    records.READ: _json(records.ReadDoc),
    records.PIN: _json(records.PinDoc),
    records.NAMED: _json(ObjectRef),
    records.COUNTERS: _json(records.Counters),
    records.TRANSFER: _json(TransferRecord),
    records.OWNER: lambda _, body: body.decode(),
}
"""How the documents of a kind are read; those of other kinds are not looked into."""
SEALED: Final[dict[str, Any]] = {remotes.KIND: RemoteConfig, ORIGIN: RemoteConfig, webhooks.DOCUMENTS: Webhook}
"""What is sealed as a whole, and what is in it."""
OF_RUNS: Final = frozenset({OWNED, EXPIRIES, PENDING, records.OWNER, records.PLAN})
"""Documents by the uid of a workflow: nothing without it."""


def document_findings(
    kind: str, rows: Sequence[tuple[str, bytes]], opener: Callable[[bytes], bytes] | None, workflows: Workflows, *, near: bool
) -> Iterator[Finding]:
    """Return what is wrong with documents of a kind."""
    if kind == SET_ASIDE:
        return
    for key, body in rows:
        where = f"document {kind} {key}"
        if kind == OBJECTS:
            yield from _object(where, key, body, opener)
            continue
        if kind in SEALED:
            yield from _sealed(where, kind, key, body, opener, near=near)
        elif kind in READERS:
            try:
                READERS[kind](key, body)
            except Exception as error:  # whatever a damaged body does to a decoder
                yield _unreadable(where, kind, key, body, error, near=near)
                continue
        if kind in OF_RUNS and workflows.lack(key):
            said = "it is about a workflow that is not there"
            yield finding(where, said, f"{REPAIR}: it is removed", removal(kind, key, near=near))


def _unreadable(where: str, kind: str, key: str, body: bytes, error: Exception, *, near: bool = False) -> Finding:
    said = f"it cannot be read: {error}"
    if (kind, key) == (datalink.DOCUMENTS, datalink.SERVES):
        return finding(where, said, f"{REPAIR}: it is made anew, without a name", _serving(body))
    remedy = f"{REPAIR}: it is set aside; {BACKUP} if it is missed"
    return finding(where, said, remedy, setting_aside(kind, key, body, near=near))


def _serving(body: bytes) -> Mend:
    """Keep that workflows are elsewhere: without that, what they hold here would be given back."""

    async def mend(scene: Scene) -> None:
        await scene.store.put(SET_ASIDE, [(f"{datalink.DOCUMENTS}/{datalink.SERVES}", body)])
        await scene.store.put(datalink.DOCUMENTS, [(datalink.SERVES, msgspec.json.encode(datalink.Served()))])

    return mend


def job_findings(jobs: Collection[str], files: Sequence[tuple[str, bytes]]) -> Iterator[Finding]:
    """Return what files of transfer jobs are about none of these jobs."""
    for key, _ in files:
        if key.partition("/")[0] not in jobs:
            said = "it is about a transfer job that is not there"
            yield finding(f"document {keeping.FILES} {key}", said, f"{REPAIR}: it is removed", removal(keeping.FILES, key))


def _sealed(
    where: str, kind: str, key: str, body: bytes, opener: Callable[[bytes], bytes] | None, *, near: bool
) -> Iterator[Finding]:
    if opener is None:
        return
    try:
        plain = opener(body)
    except SettingsError as error:
        yield finding(where, f"it cannot be opened: {error}", "put the key back, or make it anew")
        return
    try:
        msgspec.json.decode(plain, type=SEALED[kind])
    except msgspec.MsgspecError as error:
        yield _unreadable(where, kind, key, body, error, near=near)


def _object(where: str, key: str, body: bytes, opener: Callable[[bytes], bytes] | None) -> Iterator[Finding]:
    parts = key.split("/")
    if len(parts) != 3 or parts[0] not in KINDS:
        return
    kind, namespace, name = parts
    plain = body
    if KINDS[kind] is Secret:
        if opener is None:
            return
        try:
            plain = opener(body)
        except SettingsError as error:
            yield finding(where, f"it cannot be opened: {error}", "put the key back, or make it anew")
            return
    try:
        value = msgspec.json.decode(plain, type=KINDS[kind])
    except msgspec.MsgspecError as error:
        yield _unreadable(where, OBJECTS, key, body, error)
        return
    metadata = value.metadata
    if metadata is None or metadata.name != name or (namespace and metadata.namespace != namespace):
        said = f"it calls itself {(metadata.namespace or '') if metadata else ''}/{metadata.name if metadata else ''}"
        yield finding(where, said, f"{REPAIR}: it is set aside; {BACKUP} if it is missed", setting_aside(OBJECTS, key, body))


def unreadable_kind(kind: str, error: Broken) -> Finding:
    """Return that a whole kind of documents cannot be read, for one of them is damaged."""
    return finding(f"documents {kind}", str(error), BACKUP)
