"""Workflows: row, document, nodes, open effects and history must tell the same."""

from collections.abc import Callable, Generator, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from jitflow import machine
from jitflow.bootstrap.soundness.findings import Finding, Mend, Scene, finding
from jitflow.engine.run import Turn, decode_effect, decode_note
from jitflow.model.objects import NO_OBJECTS
from jitflow.model.pods import PodEnd
from jitflow.model.runs import DeleteArtifacts, Effect, LaunchPod, Note, PodEnded
from jitflow.ports.store import Commit, EffectRow, RunRow, StoredRun
from jitflow.stores import BACKUP, REPAIR

_POD = "Pod"
_RUNNING = "Running"
_KEPT_ROWS = ("phase", "message", "started_at", "finished_at", "progress", "labels")


def run_findings(stored: StoredRun, events: Sequence[tuple[int, bytes]]) -> Iterator[Finding]:
    """Return what does not fit together of one workflow."""
    row = stored.row
    where = f"workflow {row.namespace}/{row.name} ({row.uid})"
    yield from _history(where, stored, events)
    effects = yield from _effects(where, stored)
    if not stored.header:
        return  # the store tells of it
    try:
        state = machine.restore(stored.header, [body for _, body in stored.nodes])
    except Exception as error:  # whatever a damaged body does to a decoder
        said = f"its document or nodes cannot be read: {error}"
        yield finding(where, said, f"{BACKUP}, or delete the workflow: it cannot go on")
        return
    yield from _identity(where, stored, state)
    yield from _row(where, row, state)
    yield from _work(where, stored, state, effects)


def _history(where: str, stored: StoredRun, events: Sequence[tuple[int, bytes]]) -> Iterator[Finding]:
    damaged = 0
    for _, body in events:
        try:
            decode_note(body)
        except msgspec.MsgspecError:
            damaged += 1
    if damaged:
        remedy = f"{REPAIR}: notes take their place; a backup may have them"
        yield finding(where, f"{damaged} entries of its history cannot be read", remedy, _rewriting(stored, events))


def _rewriting(stored: StoredRun, events: Sequence[tuple[int, bytes]]) -> Mend:
    """Write the run anew, with a history that can be read; what it was is kept aside until that is done."""

    def sound(body: bytes) -> bytes:
        try:
            decode_note(body)
        except msgspec.MsgspecError:
            return msgspec.json.encode(
                Note(at=stored.row.created_at, reason="HistoryDamaged", message="this entry could not be read")
            )
        return body

    async def mend(scene: Scene) -> None:
        run = await scene.store.load(stored.row.uid) or stored
        await keep_aside(scene, run, [sound(body) for _, body in events])
        await scene.store.remove(run.row.uid)
        await restore_aside(scene, run.row.uid)

    return mend


class _Aside(msgspec.Struct, frozen=True, array_like=True):
    run: StoredRun
    events: tuple[bytes, ...]


REWRITTEN = "set-aside-run"


async def keep_aside(scene: Scene, run: StoredRun, events: Sequence[bytes]) -> None:
    """Keep a whole run as a document: a kill between its removal and its return loses nothing."""
    await scene.store.put(REWRITTEN, [(run.row.uid, msgspec.msgpack.encode(_Aside(run, tuple(events))))])


async def restore_aside(scene: Scene, uid: str) -> None:
    """Write a run that was kept aside, if it is not there."""
    body = await scene.store.get(REWRITTEN, uid)
    if body is not None and await scene.store.load(uid) is None:
        aside = msgspec.msgpack.decode(body, type=_Aside)
        await scene.store.restore(aside.run, aside.events)
    await scene.store.put(REWRITTEN, [(uid, None)])


def _effects(where: str, stored: StoredRun) -> Generator[Finding, None, dict[str, Effect]]:
    good: dict[str, Effect] = {}
    for one in stored.effects:
        try:
            effect = decode_effect(one.body)
        except msgspec.MsgspecError as error:
            remedy = f"{REPAIR}: it is dropped, and a step that waits for it ends as failed"
            yield finding(where, f"open effect {one.key} cannot be read: {error}", remedy, _dropping(stored, [one.key]))
            continue
        if effect.key != one.key:
            moved = EffectRow(key=effect.key, body=one.body)
            said = f"open effect {one.key} calls itself {effect.key}"
            yield finding(where, said, f"{REPAIR}: its own name holds", _dropping(stored, [one.key], moved))
        good[effect.key] = effect
    return good


def _dropping(stored: StoredRun, keys: Sequence[str], *instead: EffectRow) -> Mend:
    return _changing(stored, lambda row: Commit(row=row, effects_done=tuple(keys), effects=instead))


def _changing(stored: StoredRun, change: Callable[[RunRow], Commit]) -> Mend:
    async def mend(scene: Scene) -> None:
        now = await scene.store.load(stored.row.uid)
        if now is not None:
            await scene.store.commit(change(replace(now.row, version=now.row.version + 1)))

    return mend


def _identity(where: str, stored: StoredRun, state: machine.State) -> Iterator[Finding]:
    metadata = state.program.workflow.metadata
    row = stored.row
    own = (metadata.namespace or row.namespace, metadata.name, metadata.uid) if metadata else ("", "", "")
    if own != (row.namespace, row.name, row.uid):
        said = f"its document is of another workflow, {own[0]}/{own[1]} ({own[2]})"
        yield finding(where, said, f"{BACKUP}, or delete the workflow")
    wrong = [name for name, body in stored.nodes if machine.decode_node(body).id != name]
    if wrong:
        yield finding(where, f"node {wrong[0]} calls itself otherwise", f"{BACKUP}, or delete the workflow")
    for node in state.nodes.values():
        if node.owner and node.owner not in state.nodes:
            yield finding(where, f"node {node.id} is below {node.owner}, which is not there", f"{BACKUP}, or delete the workflow")


def _row(where: str, row: RunRow, state: machine.State) -> Iterator[Finding]:
    summary = machine.summary(state)
    differ = [name for name in _KEPT_ROWS if getattr(row, name) != getattr(summary, name)]
    right = replace(row, **{name: getattr(summary, name) for name in _KEPT_ROWS})
    if summary.finished_at is None and (not row.live or row.archived):
        right = replace(right, live=True, archived=False)
        differ += ["live" if not row.live else "archived"]
    if differ:
        said = ", ".join(f"{name} {getattr(row, name)!r}" for name in differ)
        yield finding(
            where, f"lists show it with {said}, its document says otherwise", f"{REPAIR}: the document holds", _as(right)
        )
    elif not row.live and not row.archived:
        yield finding(where, "it was deleted and is in no archive", f"{REPAIR}: it is removed", _removing(row.uid))


def _as(right: RunRow) -> Mend:
    async def mend(scene: Scene) -> None:
        now = await scene.store.load(right.uid)
        if now is not None:
            await scene.store.commit(Commit(row=replace(right, version=now.row.version + 1, sequence=now.row.sequence)))

    return mend


def _removing(uid: str) -> Mend:
    async def mend(scene: Scene) -> None:
        await scene.store.remove(uid)

    return mend


def _work(where: str, stored: StoredRun, state: machine.State, effects: dict[str, Effect]) -> Iterator[Finding]:
    """Compare nodes with the effects that are to bring them on."""
    if stored.row.finished_at is not None and machine.summary(state).finished_at is not None:
        left = [key for key, effect in effects.items() if isinstance(effect, LaunchPod)]
        if left:
            said = f"it has ended, and {', '.join(left)} is still to be started"
            yield finding(where, said, f"{REPAIR}: that is dropped", _dropping(stored, left))
        return
    for key, effect in effects.items():
        node = getattr(effect, "node_id", "")
        if node and not isinstance(effect, DeleteArtifacts) and node not in state.nodes:
            said = f"open effect {key} is of node {node}, which is not there"
            yield finding(where, said, f"{REPAIR}: it is dropped", _dropping(stored, [key]))
    served = {getattr(effect, "node_id", "") for effect in effects.values()}
    for node in state.nodes.values():
        if node.type == _POD and node.phase == _RUNNING and node.id not in served:
            said = f"node {node.id} runs, and nothing waits for its end"
            yield finding(
                where, said, f"{REPAIR}: it ends as lost, and is retried if its template says so", _losing(stored, node.id)
            )


def _losing(stored: StoredRun, node: str) -> Mend:
    """Let a node's pod be lost: what follows from that, the machine decides."""

    async def mend(scene: Scene) -> None:
        now = await scene.store.load(stored.row.uid)
        if now is None:
            return
        turn = Turn(machine.restore(now.header, [body for _, body in now.nodes]))
        at = max((one.started_at or 0.0 for one in turn.state.nodes.values()), default=now.row.created_at)
        end = PodEnd(
            key=node, exit_code=None, started_at=at, finished_at=at, error="the state had lost what was to be done about this pod"
        )
        turn.take(machine.decide(turn.state, PodEnded(node_id=node, end=end), at, NO_OBJECTS))
        summary = machine.summary(turn.state)
        row = replace(now.row, version=now.row.version + 1, **{name: getattr(summary, name) for name in _KEPT_ROWS})
        await scene.store.commit(turn.commit(row, machine.encode_header(turn.state), ()))

    return mend
