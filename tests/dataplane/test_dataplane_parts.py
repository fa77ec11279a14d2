"""The small parts: the journal, the owner of tasks, the history, words for sizes."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from jitflow.dataplane import history as history_module
from jitflow.dataplane.core import advice
from jitflow.dataplane.history import History
from jitflow.dataplane.journal import AT_ONCE, Journal
from jitflow.dataplane.progress import human
from jitflow.dataplane.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.reports import TransferRecord
from jitflow.ports.errors import Broken, Unreachable
from jitflow.testing.memory_store import MemoryStore


class SlowStore(MemoryStore):
    """Waits at a gate before it writes; breaks on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.broken = False
        self.batches: list[list[tuple[str, bytes | None]]] = []

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        await self.gate.wait()
        if self.broken:
            raise Broken("the disk is gone")
        self.batches.append(list(documents))
        await super().put(kind, self.batches[-1])


def test_what_was_put_before_is_durable_and_the_rest_shares_a_transaction() -> None:
    async def run() -> None:
        store = SlowStore()
        journal = Journal(store)
        owner = Owner(lambda error: None)
        owner.start(journal.run(), "journal")
        await journal.durable()
        journal.put("k", "a", b"1")
        first = asyncio.create_task(journal.durable())  # noqa: TID251 - awaited below
        await asyncio.sleep(0.01)
        journal.put("k", "b", b"2")
        journal.put("k", "c", b"3")
        journal.put("k", "c", b"4")
        second = asyncio.create_task(journal.durable())  # noqa: TID251 - awaited below
        await asyncio.sleep(0.01)
        assert not first.done()
        store.gate.set()
        await first
        await second
        assert store.batches == [[("a", b"1")], [("b", b"2"), ("c", b"4")]]
        await owner.close()

    asyncio.run(run())


def test_documents_of_several_kinds_share_a_transaction() -> None:
    class CountingStore(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.kinds_put: list[list[str]] = []

        async def put_all(self, documents: Mapping[str, Iterable[tuple[str, bytes | None]]]) -> None:
            self.kinds_put.append(list(documents))
            await super().put_all(documents)

    async def run() -> None:
        store = CountingStore()
        journal = Journal(store)
        owner = Owner(lambda error: None)
        owner.start(journal.run(), "journal")
        journal.put("k", "a", b"1")
        journal.put("l", "a", lambda: b"made when it is written")
        journal.put("k", "b", b"2")
        await journal.durable()
        assert store.kinds_put == [["k", "l"]]
        assert await store.items("k") == [("a", b"1"), ("b", b"2")]
        assert await store.get("l", "a") == b"made when it is written"
        await journal.flush()
        assert len(store.kinds_put) == 1, "nothing is written where nothing was put"
        await owner.close()

    asyncio.run(run())


def test_writes_that_follow_each_other_closely_share_transactions() -> None:
    async def run() -> None:
        store = SlowStore()
        store.gate.set()
        journal = Journal(store)
        owner = Owner(lambda error: None)
        owner.start(journal.run(), "journal")
        for number in range(300):
            journal.put("k", str(number), b"")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await journal.durable()
        assert len(store.batches) < 100, "else each turn of the event loop has one of its own"
        assert sum(len(batch) for batch in store.batches) == 300
        assert [len(batch) for batch in store.batches[:AT_ONCE]] == [1] * AT_ONCE, "few wait for nothing"
        await owner.close()

    asyncio.run(run())


def test_an_interrupted_write_is_written_at_the_end() -> None:
    async def run() -> None:
        store = SlowStore()
        journal = Journal(store)
        owner = Owner(lambda error: None)
        owner.start(journal.run(), "journal")
        journal.put("k", "a", b"old")
        await asyncio.sleep(0.01)
        journal.put("k", "a", b"new")
        await owner.close()
        store.gate.set()
        await journal.flush()
        assert await store.items("k") == [("a", b"new")]

    asyncio.run(run())


def test_a_broken_store_is_told_to_all_who_wait() -> None:
    async def run() -> None:
        store = SlowStore()
        store.broken = True
        journal = Journal(store)
        failures: list[BaseException] = []
        owner = Owner(failures.append)
        owner.start(journal.run(), "journal")
        journal.put("k", "a", b"1")
        waiter = asyncio.create_task(journal.durable())  # noqa: TID251 - awaited below
        await asyncio.sleep(0.01)
        store.gate.set()
        with pytest.raises(Broken):
            await waiter
        with pytest.raises(Broken):
            await journal.durable()
        assert [type(error) for error in failures] == [Broken]
        await owner.close()
        assert owner.start(asyncio.sleep(0), "too late") is None

    asyncio.run(run())


def test_the_history_is_bounded_and_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_KEPT", 5)
    monkeypatch.setattr(history_module, "_FETCHED_KEPT", 3)

    async def run() -> None:
        store = MemoryStore()
        journal = Journal(store)
        now = [0.0]
        history = History(journal, lambda: now[0])
        for n in range(9):
            now[0] = float(n)
            history.rates.began("far")
            history.rates.moved("far", 10)
            now[0] += 0.5
            history.rates.ended("far")
            history.used(n * 10, n * 10)
            history.used(n * 10 + 5, n * 10 + 5)
            one = ObjectRef(remote="far", path=f"f{n % 4}")
            record = TransferRecord(ref=one, direction="in", size_bytes=10, started_at=0.0, finished_at=now[0])
            history.finished(record, "v1")
        await journal.flush()
        again = History(journal, lambda: now[0])
        await again.load(store)
        for seen in (history, again):
            records, samples = seen.since(0.0)
            assert [record.finished_at for record in records] == [4.5, 5.5, 6.5, 7.5, 8.5]
            assert samples == [(n + 0.5, n * 10 + 5) for n in range(4, 9)]
            assert seen.rates.rate("far") == pytest.approx(20.0)
            assert seen.counters.peak_bytes == 85
        assert len(await store.items("transfer")) == 5
        assert len(await store.items("fetched")) == 3
        # Four objects in turn and three remembered: each is forgotten just before it comes again.
        assert again.counters.fetched_twice_bytes == 0
        assert again.counters.fetched_bytes == 90
        assert again.since(8.0)[1] == [(8.5, 85)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (12_345, "12.3 kB"), (4.5e7, "45.0 MB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")]
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert human(size) == text


def test_errors_for_people() -> None:
    assert advice(Unreachable("cut")) == "cut"
    assert advice(OSError(28, "No space left on device", "/secret/path")) == "No space left on device"
    assert advice(ValueError()) == "ValueError"
