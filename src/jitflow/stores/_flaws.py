"""What may not fit together below the port, in words that are the same for all stores."""

from collections.abc import Iterable, Sequence

from jitflow.ports.store import Flaw

BACKUP = "restore it from a backup"
REPAIR = "`jitflow state repair` mends it"


def run_place(namespace: str, name: str, uid: str) -> str:
    """Return how a workflow is called in a flaw."""
    return f"workflow {namespace}/{name} ({uid})"


def lost_part(part: str, run: object, count: int) -> Flaw:
    """Return that parts are left of a run that is not there."""
    return Flaw(where=part, what=f"{count} of run number {run}, which is not there", remedy=f"{REPAIR}: they are removed")


def no_document(place: str) -> Flaw:
    """Return that a run has lost its document."""
    return Flaw(where=place, what="its document is gone", remedy=f"{BACKUP}, or delete the workflow", mendable=False)


def counter_behind(counter: int | None, newest: int) -> Flaw:
    """Return that numbers would be given twice."""
    what = f"it stands at {counter}, but a workflow has number {newest} already: numbers would be given twice"
    return Flaw(where="the counter of changes", what=what, remedy=REPAIR)


def miscounted(place: str, said: int, count: int) -> Flaw:
    """Return that the history has holes, or another length than its run says."""
    what = f"its history has {count} entries, {said} were written"
    return Flaw(where=place, what=what, remedy=f"{REPAIR}: what is there is numbered anew; a backup may have the rest")


def of_tables(
    lost: Iterable[Sequence[object]],
    headless: Iterable[Sequence[str]],
    sequences: Sequence[int | None],
    events: Iterable[Sequence[object]],
) -> list[Flaw]:
    """Return the flaws that the queries of `queries.sql` have found."""
    found = [lost_part(str(part), run, int(str(count))) for part, run, count in lost]
    found += [no_document(run_place(namespace, name, uid)) for uid, namespace, name in headless]
    counter, newest = sequences
    if counter is None or counter < (newest or 0):
        found.append(counter_behind(counter, newest or 0))
    for _, uid, namespace, name, said, count in events:
        found.append(miscounted(run_place(str(namespace), str(name), str(uid)), int(str(said)), int(str(count))))
    return found
