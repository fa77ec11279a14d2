"""The archive: finished workflows, also those whose objects were deleted, until they are too old or are deleted there."""

import asyncio
import re
from collections.abc import Sequence

from msgspec import Struct

from jitflow.app.index import Page, RunIndex
from jitflow.app.naming import TakenNames
from jitflow.app.ports import Engine
from jitflow.app.present import archived, document, labels_of
from jitflow.app.selectors import FieldSelector, label_selector
from jitflow.model import argo, runs
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock
from jitflow.ports.store import RunRow
from jitflow.telemetry import logger

LOOK_S = 3600.0
"""How often it is looked for workflows that are too old, or too many."""
MOST_PAST = 100_000
"""So many deleted workflows are kept at most, each of which takes about a kilobyte of memory."""
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?")
_log = logger("archive")


class ArchiveQuery(Struct, frozen=True, kw_only=True):
    """Which archived workflows a list is about; texts as in Argo's listOptions. `limit` 0: all.

    `visible`: the namespaces that may be seen at all; None: every one.
    """

    namespace: str = ""
    visible: frozenset[str] | None = None
    labels: str = ""
    fields: str = ""
    name_filter: str = ""
    name_prefix: str = ""
    limit: int = 0
    offset: int = 0


class Archive:
    """The use-cases of archived workflows."""

    def __init__(self, engine: Engine, index: RunIndex, clock: Clock, names: TakenNames) -> None:
        """Hold the parts."""
        self._engine = engine
        self._index = index
        self._clock = clock
        self._names = names

    def list(self, query: ArchiveQuery) -> Page:
        """Return rows of the selected workflows."""
        by_label = label_selector(query.labels) if query.labels else None
        by_field = FieldSelector(query.fields, name_filter=query.name_filter)
        namespace = _one_namespace(query.namespace, by_field.namespace)
        rows = [
            row
            for row in self._rows(namespace, query.visible)
            if row.name.startswith(query.name_prefix) and by_field(row) and (by_label is None or by_label(_labels(row)))
        ]
        rows.sort(key=lambda row: row.started_at or 0.0, reverse=True)
        end = query.offset + query.limit if query.limit else len(rows)
        remaining = max(len(rows) - end, 0)
        return Page(
            rows=tuple(archived(row) for row in rows[query.offset : end]),
            after=end if remaining else 0,
            remaining=remaining if by_field.show_remaining and query.limit else None,
        )

    def _rows(self, namespace: str = "", visible: frozenset[str] | None = None) -> Sequence[RunRow]:
        rows = self._index.all(namespace)
        return [row for row in rows if row.archived and (visible is None or row.namespace in visible)]

    def find(self, uid: str, *, namespace: str = "", name: str = "") -> RunRow:
        """Return the row of an archived workflow, of its uid, else the newest of a namespace and name.

        Raises:
            Refused: there is none (code `not_found`).
        """
        row = self._index.by_uid(uid) if uid else next((row for row in self._rows(namespace) if row.name == name), None)
        if row is None or not row.archived:
            raise Refused(f"there is no archived workflow with uid {uid[:80]!r}" if uid else "not found", code="not_found")
        return archived(row)

    def to_retry(self, uid: str) -> RunRow:
        """Return the row of a workflow that is archived or, as a retry will say, still there.

        Raises:
            Refused: there is none (code `not_found`).
        """
        row = self._index.by_uid(uid)
        return row if row is not None and row.live else self.find(uid)

    async def get(self, row: RunRow) -> argo.Workflow:
        """Return the archived workflow of a row with its status."""
        found = await self.document(row)
        if found is None:
            raise Refused(f"there is no archived workflow with uid {row.uid!r}", code="not_found")
        return found

    async def document(self, row: RunRow) -> argo.Workflow | None:
        """Return the workflow of a row, None if it left the archive meanwhile."""
        workflow = await self._engine.fetch(row.uid)
        return None if workflow is None else document(workflow, row)

    async def delete(self, row: RunRow) -> None:
        """Remove a workflow from the archive; its object stays if there is one."""
        await self._engine.delete(row.uid, from_archive=True)

    async def retry(
        self, row: RunRow, *, restart_successful: bool = False, selector: str = "", parameters: Sequence[str] = ()
    ) -> argo.Workflow:
        """Let an archived workflow, whose object is gone, be there again and go on from where it failed.

        Raises:
            Refused: one of its name is there (`conflict`), or it cannot be retried.
        """
        event = runs.RetryRequested(restart_successful=restart_successful, selector=selector, parameters=tuple(parameters))
        if self._names.has(row.namespace, row.name):
            message = f'workflow "{row.name}" already exists: retry it by its name, or delete it first'
            raise Refused(message, code="conflict")
        with self._names.held(row.namespace, row.name):
            await self._engine.send(row.uid, event)
        workflow = await self._engine.fetch(row.uid)
        now = self._index.by_uid(row.uid)
        if workflow is None or now is None:
            raise Refused(f"there is no workflow with uid {row.uid!r}", code="not_found")
        return document(workflow, now)

    def label_keys(self, namespace: str = "", visible: frozenset[str] | None = None) -> Sequence[str]:
        """Return the keys of the labels that archived workflows have; `visible`: see `ArchiveQuery`."""
        return sorted({key for row in self._rows(namespace, visible) for key in _labels(row)})

    def label_values(self, selector: str, namespace: str = "", visible: frozenset[str] | None = None) -> Sequence[str]:
        """Return the values of one label; the selector is its key.

        Raises:
            Refused: the selector is not just one key.
        """
        key = selector.strip()
        if not _LABEL_KEY.fullmatch(key):
            raise Refused(f"listOptions.labelSelector must be the key of one label, as app; got {selector[:100]!r}")
        found = (_labels(row) for row in self._rows(namespace, visible))
        return sorted({labels[key] for labels in found if key in labels})

    async def expire(self, kept_s: float, most: int = MOST_PAST) -> int:
        """Remove the workflows that have ended longer ago than they are kept, and return their number.

        Of those that only the archive knows no more than `most` stay, the newest.
        """
        limit = self._clock.now() - kept_s
        rows = sorted(self._rows(), key=lambda row: row.finished_at or 0.0, reverse=True)
        too_many = [row for row in rows if not row.live][most:]
        old = [row for row in rows if (row.finished_at or 0.0) < limit]
        gone = {row.uid: row for row in (*old, *too_many)}
        for uid in gone:
            try:
                await self._engine.delete(uid, from_archive=True)
            except Refused:
                continue  # somebody was faster
        return len(gone)

    async def keep_tidy(self, kept_s: float) -> None:
        """Remove what is too old or too much, now and again and again, until cancelled."""
        while True:
            removed = await self.expire(kept_s)
            if removed:
                _log.info("archived workflows removed", count=removed)
            await asyncio.sleep(LOOK_S)


def _labels(row: RunRow) -> dict[str, str]:
    return labels_of(archived(row))


def _one_namespace(asked: str, selected: str) -> str:
    """Return the namespace that a query and its field selector name.

    Raises:
        Refused: they name two.
    """
    if asked and selected and asked != selected:
        raise Refused(
            f"'namespace' query param ({asked[:80]!r}) and fieldselector 'metadata.namespace' ({selected[:80]!r}) are both "
            "specified and contradict each other"
        )
    return asked or selected
