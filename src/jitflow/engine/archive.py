"""Finished runs whose objects are deleted: what stays of them in the store, and when nothing does."""

from msgspec.structs import replace

from jitflow import machine
from jitflow.ports.store import Commit, RunRow, StateStore, StoredRun


async def without_object(store: StateStore, stored: StoredRun) -> RunRow:
    """Delete a finished run's object; return its last row.

    One that is archived stays in the store, and nothing of it is still to be done; any other is gone.
    """
    row = replace(stored.row, live=False)
    if not row.archived:
        await store.remove(row.uid)
        return row
    state = machine.let_go(machine.restore(stored.header, [body for _, body in stored.nodes]))
    row = replace(row, version=row.version + 1)
    done = tuple(effect.key for effect in stored.effects)
    return await _commit(store, Commit(row=row, header=machine.encode_header(state), effects_done=done))


async def without_record(store: StateStore, stored: StoredRun) -> RunRow:
    """Remove a run from the archive; return its last row. One whose object is there stays in the store."""
    row = replace(stored.row, archived=False)
    if not row.live:
        await store.remove(row.uid)
        return row
    return await _commit(store, Commit(row=replace(row, version=row.version + 1)))


async def _commit(store: StateStore, commit: Commit) -> RunRow:
    return replace(commit.row, sequence=await store.commit(commit))
