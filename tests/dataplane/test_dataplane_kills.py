"""What must be known for ever before something follows from it: found by the simulation, each a kill at one moment."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
import pytest
from far_store import Kit, a_step, ref
from test_dataplane_transients import passing

from jitflow.dataplane import records
from jitflow.model.problems import Refused
from jitflow.testing.memory_store import MemoryStore


class GatedStore(MemoryStore):
    """Makes nothing durable while its gate is closed, and closes it before what is `last`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.last: Callable[[str, bytes | None], bool] = lambda _, __: False

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        rows = tuple(documents)
        if any(self.last(kind, body) for _, body in rows):
            self.gate.clear()
        await self.gate.wait()
        await super().put(kind, rows)


def going(tmp_path: Path, capacity: int, story: Callable[[Kit, GatedStore], Awaitable[None]]) -> None:
    async def run() -> None:
        kit = Kit(tmp_path, capacity)
        kit.store = store = GatedStore()
        kit.plane = kit.make()
        await kit.start()
        await story(kit, store)
        kit.watch()
        await kit.plane.close()

    asyncio.run(run())


def test_a_lease_is_given_when_it_is_known_for_ever(tmp_path: Path) -> None:
    async def story(kit: Kit, store: GatedStore) -> None:
        a = kit.far.put("a", 100)
        await kit.plane.stage(a)
        store.gate.clear()
        kit.plane.acquire("w", a_step("s", a))
        await asyncio.sleep(0.02)
        assert not kit.lease("s")
        store.gate.set()
        await kit.until(lambda: kit.lease("s"))
        assert await store.get(records.LEASE, "w/s")

    going(tmp_path, 400, story)


def test_an_output_may_go_when_its_proof_is_known_for_ever(tmp_path: Path) -> None:
    async def story(kit: Kit, store: GatedStore) -> None:
        out = ref("out")
        sending = kit.far.gates["store", out] = asyncio.Event()
        kit.plane.acquire("w", a_step("s", outputs=[(out, 100)]))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.release("w/s", [kit.output(out, 100)])
        await kit.until(lambda: kit.far.count("store", out))
        store.gate.clear()
        sending.set()
        await kit.until(lambda: out in kit.far.objects)
        await asyncio.sleep(0.02)
        assert not kit.staged("s")
        with pytest.raises(Refused, match="not been proven"):
            await kit.plane.evict(out)
        store.gate.set()
        await kit.until(lambda: kit.staged("s"))
        body = await store.get(records.STAGEOUT, "w/s")
        assert body is not None
        assert msgspec.json.decode(body, type=records.Obligation).closed

    going(tmp_path, 400, story)


def test_what_a_pod_of_an_earlier_life_reads_stays_though_nobody_promises_to_send_it(tmp_path: Path) -> None:
    async def story(kit: Kit, store: GatedStore) -> None:
        out = ref("out")
        kit.far.gates["store", out] = asyncio.Event()
        kit.plane.acquire("w", a_step("s", outputs=[(out, 100)]))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.release("w/s", [kit.output(out, 100)])
        kit.plane.acquire("w", a_step("reader", out))
        await kit.until(lambda: kit.lease("reader"))
        lease = kit.lease("reader")
        assert lease is not None
        await store.put(records.STAGEOUT, [("w/s", None)])
        await kit.kill()
        kit.plane.acquire("w", a_step("reader", out))
        await asyncio.sleep(0.02)
        assert Path(lease.paths[out]).read_bytes() == b"o" * 100
        kit.plane.release("w/reader", ())
        await kit.until(lambda: not Path(lease.paths[out]).exists())

    going(tmp_path, 400, story)


def test_an_output_whose_room_is_needed_while_it_is_taken_in_is_sent(tmp_path: Path) -> None:
    async def story(kit: Kit, store: GatedStore) -> None:
        x, big = ref("x"), kit.far.put("big", 250)
        maker, reader = passing(a_step("m", outputs=[(x, 200)])), a_step("r", x)
        kit.plane.announce("w", [maker, a_step("b", big), reader])
        kit.plane.acquire("w", maker)
        await kit.until(lambda: kit.lease("m"))
        kit.plane.acquire("w", a_step("b", big))
        kit.plane.release("w/m", [kit.output(x, 200)])
        await kit.until(lambda: kit.lease("b"))
        assert x in kit.far.objects

    going(tmp_path, 300, story)


@pytest.mark.parametrize("unknown", [records.REPLICA, records.STAGEOUT])
def test_an_output_that_went_when_it_came_is_known_to_have_gone_after_a_kill(tmp_path: Path, unknown: str) -> None:
    """The step that was to read it is left out, for another one has failed."""

    def is_gone(kind: str, body: bytes | None) -> bool:
        if unknown == records.REPLICA:
            return kind == unknown and body is None
        return kind == unknown and body is not None and msgspec.json.decode(body, type=records.Obligation).outputs[0].freed

    async def story(kit: Kit, store: GatedStore) -> None:
        x = ref("x")
        maker = passing(a_step("m", outputs=[(x, 100)]))
        kit.plane.announce("w", [maker, a_step("r", x)])
        kit.plane.acquire("w", maker)
        await kit.until(lambda: kit.lease("m"))
        store.last = is_gone
        made = kit.output(x, 100)
        kit.plane.release("w/m", [made])
        kit.plane.announce("w", [])
        await kit.until(lambda: not store.gate.is_set())
        assert kit.disk() == 0
        assert not kit.staged("m")
        store.last = lambda _, __: False
        await kit.kill()
        store.gate.set()
        kit.plane.release("w/m", [made])
        await kit.until(lambda: kit.staged("m"))
        staged = kit.staged("m")
        assert staged is not None
        assert staged.error == ""
        kit.plane.withdraw("w")
        await kit.plane._core.journal.durable()
        assert not await store.items(records.STAGEOUT)

    going(tmp_path, 300, story)


def test_workflows_that_were_not_withdrawn_are_known_after_a_kill(tmp_path: Path) -> None:
    async def story(kit: Kit, store: GatedStore) -> None:
        out = ref("out")
        for uid in ("u", "v"):
            kit.plane.belongs(uid, "default")
        kit.plane.announce("v", [])
        kit.plane.acquire("w", a_step("s", outputs=[(out, 100)]))
        await kit.until(lambda: kit.lease("s"))
        kit.plane.release("w/s", [kit.output(out, 100)])
        await kit.until(lambda: kit.staged("s"))
        await kit.kill()
        assert sorted(kit.plane.workflows()) == ["v", "w"], "of u there was nothing to remember"
        for uid in kit.plane.workflows():
            kit.plane.withdraw(uid)
        await kit.plane._core.journal.durable()
        assert not kit.plane.workflows()
        assert not await store.items(records.STAGEOUT)
        assert not await store.items(records.OWNER)

    going(tmp_path, 300, story)
