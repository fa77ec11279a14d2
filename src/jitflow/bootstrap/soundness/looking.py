"""Look at everything, and mend what can be mended."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from jitflow.app.transfers.keeping import FILES, JOBS
from jitflow.bootstrap.soundness.documents import document_findings, job_findings, unreadable_kind
from jitflow.bootstrap.soundness.findings import Finding, Mend, Report, Scene, Workflows, finding
from jitflow.bootstrap.soundness.near import Documents, near_findings
from jitflow.bootstrap.soundness.runs import REWRITTEN, restore_aside, run_findings
from jitflow.bootstrap.state import NEAR_KINDS
from jitflow.ports.datalink import DOCUMENTS, SERVES
from jitflow.ports.errors import Broken, VersionConflict
from jitflow.ports.store import Commit, Flaw, RunRow, StateStore
from jitflow.stores import BACKUP, REPAIR

_EVENTS_AT_ONCE = 1000


@runtime_checkable
class _Checks(Protocol):
    async def flaws(self) -> Sequence[Flaw]: ...
    async def mend(self) -> None: ...


async def look(scene: Scene) -> Report:
    """Return what does not fit together in a state."""
    rows = await scene.store.runs()
    report = Report(runs=len(rows))
    for store in _stores(scene):
        if isinstance(store, _Checks):
            flaws = await store.flaws()
            report.findings += [Finding(flaw=flaw, mend=_in_store(store) if flaw.mendable else None) for flaw in flaws]
    report.findings += _numbers(rows)
    for row in rows:
        report.findings += await _run(scene, row)
    uids = {row.uid for row in rows}
    workflows = Workflows(
        going={row.uid for row in rows if row.finished_at is None},
        known=uids,
        elsewhere=await scene.store.get(DOCUMENTS, SERVES) is not None,
    )
    near = await _documents(scene, report, workflows)
    report.findings += [_aside(uid, there=uid in uids) for uid, _ in await scene.store.items(REWRITTEN)]
    if scene.near is not None:
        report.findings += near_findings(scene, near, workflows)
    return report


async def _documents(scene: Scene, report: Report, workflows: Workflows) -> Documents:
    """Look at all documents; return those of what is near."""
    near: dict[str, Sequence[tuple[str, bytes]]] = {}
    of_jobs: dict[str, Sequence[tuple[str, bytes]] | None] = {JOBS: (), FILES: ()}
    for store in _stores(scene):
        for kind in await store.kinds():
            here = kind in NEAR_KINDS
            if here and store is not scene.near:
                continue
            try:
                documents = await store.items(kind)
            except Broken as error:
                report.findings.append(unreadable_kind(kind, error))
                of_jobs[kind] = None
                continue
            report.findings += document_findings(kind, documents, scene.open_sealed, workflows, near=here)
            if kind in of_jobs:
                of_jobs[kind] = documents
            if here:
                near[kind] = documents
            else:
                report.documents += len(documents)
    jobs, files = of_jobs[JOBS], of_jobs[FILES]
    if jobs is not None and files is not None:
        report.findings += job_findings({key for key, _ in jobs}, files)
    return near


def _stores(scene: Scene) -> list[StateStore]:
    return [scene.store] if scene.near is None or scene.near is scene.store else [scene.store, scene.near]


def _in_store(store: _Checks) -> Mend:
    async def mend(_: Scene) -> None:
        await store.mend()

    return mend


def _numbers(rows: Sequence[RunRow]) -> Iterator[Finding]:
    """Return changes that have the same number, and live workflows that have the same name."""
    shared = {number for number, count in Counter(row.sequence for row in rows).items() if count > 1}
    seen: set[int] = set()
    for row in rows:
        if row.sequence in shared and row.sequence in seen:
            said = f"its last change has number {row.sequence}, as another workflow's"
            yield finding(
                f"workflow {row.namespace}/{row.name} ({row.uid})", said, f"{REPAIR}: it gets a new one", _numbered(row)
            )
        seen.add(row.sequence)


def _numbered(row: RunRow) -> Mend:
    async def mend(scene: Scene) -> None:
        now = await scene.store.load(row.uid)
        if now is not None:
            await scene.store.commit(Commit(row=replace(now.row, version=now.row.version + 1)))

    return mend


async def _run(scene: Scene, row: RunRow) -> list[Finding]:
    where = f"workflow {row.namespace}/{row.name} ({row.uid})"
    try:
        stored = await scene.store.load(row.uid)
        events: list[tuple[int, bytes]] = []
        while page := await scene.store.events(row.uid, after=events[-1][0] if events else 0, limit=_EVENTS_AT_ONCE):
            events += page
    except Broken as error:
        return [finding(where, str(error), f"{BACKUP}, or delete the workflow")]
    return [] if stored is None else list(run_findings(stored, events))


def _aside(uid: str, *, there: bool) -> Finding:
    async def mend(scene: Scene) -> None:
        await restore_aside(scene, uid)

    said = "a repair was cut off before it had written it again" if not there else "a repair has left a copy of it"
    return finding(f"workflow ({uid})", said, REPAIR, mend)


async def mend(scene: Scene, report: Report) -> list[str]:
    """Mend what can be mended; return what did not let itself be mended all the same."""
    failed: list[str] = []
    done: set[int] = set()
    for one in report.findings:
        if one.mend is None or id(one.mend) in done:
            continue
        done.add(id(one.mend))
        try:
            await one.mend(scene)
        except (Broken, VersionConflict, msgspec.MsgspecError, OSError) as error:
            failed.append(f"{one.flaw.where}: {error}")
    return failed
