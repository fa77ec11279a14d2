"""What every `StateStore` must do. A store proves itself by inheriting `StateStoreContract` and saying how it is opened."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jitflow.ports.errors import Broken, VersionConflict
from jitflow.ports.store import Commit, EffectRow, RunRow, StateStore, StoredRun
from jitflow.testing.memory_store import MemoryStore

T = TypeVar("T")
BIG = bytes(range(256)) * 64
"""Longer than any threshold for small documents."""


def a_row(uid: str = "u1", *, version: int = 1, **fields: object) -> RunRow:
    """Return a row of a live run; `fields` replace its own."""
    row = RunRow(uid=uid, namespace="default", name=f"name-{uid}", phase="Running", created_at=1.0, version=version)
    return msgspec.structs.replace(row, **fields)


def a_commit(uid: str = "u1", *, version: int = 1, header: bytes | None = b"{}", **fields: object) -> Commit:
    """Return a commit of a live run; `fields` are the row's."""
    return Commit(row=a_row(uid, version=version, **fields), header=header)


class StateStoreContract:
    """Inherit and write `open_store`. Scenarios are numbered; each says what a caller may rely on."""

    histories = 40
    """Random histories that are compared with the model; fewer for a store that is slow to open."""

    def open_store(self, directory: Path) -> AbstractAsyncContextManager[StateStore]:
        """Return a context with an empty store that may use the directory."""
        raise NotImplementedError

    def play(self, directory: Path, scenario: Callable[[StateStore], Awaitable[T]]) -> T:
        """Run a scenario against a new store."""

        async def run() -> T:
            async with self.open_store(directory) as store:
                return await scenario(store)

        return asyncio.run(run())

    def test_1_what_was_committed_is_loaded(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            row = a_row(
                labels={"a": "ä"}, message="m", progress="1/2", started_at=2.5, finished_at=3.5, live=False, archived=True
            )
            effects = (EffectRow(key="z", body=b"1"), EffectRow(key="a", body=BIG))
            nodes = (("n1", b""), ("n2", BIG))
            sequence = await store.commit(Commit(row=row, header=BIG, nodes=nodes, effects=effects))
            stored = await store.load("u1")
            assert stored is not None
            assert stored.row == msgspec.structs.replace(row, sequence=sequence)
            assert stored.header == BIG
            assert dict(stored.nodes) == dict(nodes)
            assert stored.effects == effects, "effects come back in the order in which they were added"

        self.play(tmp_path, scenario)

    def test_2_a_commit_changes_only_what_it_names(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            effects = (EffectRow(key="a", body=b"1"), EffectRow(key="b", body=b"2"))
            first = Commit(row=a_row(), header=b"h", nodes=(("n1", b"1"), ("n2", b"2")), effects=effects, events=(b"e1",))
            await store.commit(first)
            await store.commit(
                Commit(
                    row=a_row(version=2, phase="Failed", finished_at=9.0),
                    nodes=(("n2", b"22"), ("n3", b"3")),
                    nodes_removed=("n1", "unknown"),
                    effects=(EffectRow(key="c", body=b"3"),),
                    effects_done=("a", "unknown"),
                    events=(b"e2", b"e3"),
                )
            )
            stored = await store.load("u1")
            assert stored is not None
            assert (stored.row.phase, stored.row.version, stored.header) == ("Failed", 2, b"h")
            assert dict(stored.nodes) == {"n2": b"22", "n3": b"3"}
            assert [effect.key for effect in stored.effects] == ["b", "c"]
            assert list(await store.events("u1")) == [(1, b"e1"), (2, b"e2"), (3, b"e3")]
            assert list(await store.events("u1", after=1, limit=1)) == [(2, b"e2")]

        self.play(tmp_path, scenario)

    @pytest.mark.parametrize("version", [0, 1, 3, -1])
    def test_3_a_version_that_does_not_follow_changes_nothing(self, tmp_path: Path, version: int) -> None:
        async def scenario(store: StateStore) -> None:
            await store.commit(a_commit())
            before = await store.load("u1")
            with pytest.raises(VersionConflict):
                await store.commit(Commit(row=a_row(version=version), header=b"x", nodes=(("n", b""),), events=(b"e",)))
            assert await store.load("u1") == before
            assert not await store.events("u1")

        self.play(tmp_path, scenario)

    def test_4_a_run_begins_with_version_one(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            with pytest.raises(VersionConflict):
                await store.commit(a_commit(version=2))
            assert await store.load("u1") is None
            assert not await store.runs()

        self.play(tmp_path, scenario)

    def test_5_a_name_belongs_to_one_live_run_of_a_namespace(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.commit(a_commit("u1", name="same"))
            with pytest.raises(VersionConflict):
                await store.commit(a_commit("u2", name="same"))
            await store.commit(a_commit("u3", name="same", namespace="other"))
            await store.commit(a_commit("u1", version=2, name="same", finished_at=5.0))
            await store.commit(a_commit("u2", name="same", created_at=2.0))
            assert [row.uid for row in await store.runs(namespace="default", name="same")] == ["u2", "u1"]
            with pytest.raises(VersionConflict):  # a retry would make the first one live again
                await store.commit(a_commit("u1", version=3, name="same"))

        self.play(tmp_path, scenario)

    def test_6_a_conflict_in_a_crowd_harms_nobody_else(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.commit(a_commit("u0"))
            commits = [a_commit(f"u{number}") for number in range(40)]  # u0 exists
            results = await asyncio.gather(*(store.commit(commit) for commit in commits), return_exceptions=True)
            assert isinstance(results[0], VersionConflict)
            sequences = [result for result in results[1:] if isinstance(result, int)]
            assert len(sequences) == 39
            assert sequences == sorted(sequences), "sequence grows in the order of the calls"
            assert len(await store.runs()) == 40

        self.play(tmp_path, scenario)

    def test_7_commits_of_a_run_apply_in_the_order_of_the_calls(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            commits = [
                Commit(row=a_row(version=number, progress=str(number)), events=(str(number).encode(),))
                for number in range(1, 101)
            ]
            sequences = await asyncio.gather(*(store.commit(commit) for commit in commits))
            assert sequences == sorted(set(sequences))
            stored = await store.load("u1")
            assert stored is not None
            assert (stored.row.progress, stored.row.version, stored.row.sequence) == ("100", 100, sequences[-1])
            assert [int(body) for _, body in await store.events("u1")] == list(range(1, 101))

        self.play(tmp_path, scenario)

    def test_8_runs_are_listed_newest_first(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.commit(a_commit("u1", created_at=1.0))
            await store.commit(a_commit("u2", created_at=3.0, finished_at=4.0))
            await store.commit(a_commit("u3", created_at=2.0, namespace="other"))
            await store.commit(a_commit("u4", created_at=2.0))
            assert [row.uid for row in await store.runs()] == ["u2", "u4", "u3", "u1"]
            assert [row.uid for row in await store.runs(namespace="default")] == ["u2", "u4", "u1"]
            assert [row.uid for row in await store.runs(unfinished=True)] == ["u4", "u3", "u1"]
            assert [row.uid for row in await store.runs(name="name-u3")] == ["u3"]
            assert not await store.runs(namespace="default", name="name-u3")
            assert not await store.runs(namespace="default", name="name-u2", unfinished=True)

        self.play(tmp_path, scenario)

    def test_9_a_removed_run_is_gone_and_may_come_again(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            whole = Commit(
                row=a_row(), header=b"h", nodes=(("n", b"1"),), effects=(EffectRow(key="k", body=b""),), events=(b"e",)
            )
            first = await store.commit(whole)
            await store.commit(a_commit("u2"))
            await store.remove("u1")
            await store.remove("u1")
            assert await store.load("u1") is None
            assert not await store.events("u1")
            again = await store.commit(a_commit())
            stored = await store.load("u1")
            assert stored is not None
            assert (stored.nodes, stored.effects, stored.header) == ((), (), b"{}")
            assert not await store.events("u1")
            assert again > first
            assert await store.load("u2") is not None

        self.play(tmp_path, scenario)

    def test_10_documents_are_kept_by_kind_and_key(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.put("remote", [("b", b"1"), ("a", BIG), ("c", b"")])
            await store.put("replica", [("a", b"other")])
            assert await store.get("remote", "a") == BIG
            assert await store.get("remote", "c") == b""
            assert await store.get("remote", "d") is None
            await store.put("remote", [("b", b"2"), ("c", None), ("unknown", None)])
            assert list(await store.items("remote")) == [("a", BIG), ("b", b"2")]
            assert not await store.items("nothing")
            await store.put_all({"remote": [("b", None), ("d", b"4")], "new": [("a", b"5")], "replica": [("a", None)]})
            assert list(await store.items("remote")) == [("a", BIG), ("d", b"4")]
            assert list(await store.items("new")) == [("a", b"5")]
            assert not await store.items("replica")
            await store.put("many", [(f"k{n}", b"%d" % n) for n in range(5)])
            assert [key for key, _ in await store.items("many", limit=2)] == ["k0", "k1"]
            assert [key for key, _ in await store.items("many", after="k1", limit=2)] == ["k2", "k3"]
            assert [key for key, _ in await store.items("many", after="k3")] == ["k4"]

        self.play(tmp_path, scenario)

    def test_11_what_the_caller_changes_later_is_not_stored(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            labels = {"a": "1"}
            await store.commit(Commit(row=a_row(labels=labels)))
            labels["a"] = "2"
            (row,) = await store.runs()
            row.labels["a"] = "3"
            stored = await store.load("u1")
            assert stored is not None
            assert stored.row.labels == {"a": "1"}

        self.play(tmp_path, scenario)

    def test_12_a_closed_store_says_so(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.close()
            await store.close()
            with pytest.raises(Broken, match="closed"):
                await store.commit(a_commit())
            with pytest.raises(Broken, match="closed"):
                await store.runs()

        self.play(tmp_path, scenario)

    def test_13_a_cancelled_caller_does_not_disturb_the_others(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(store.commit(a_commit("u1")))
                second = group.create_task(store.commit(a_commit("u2")))
                await asyncio.sleep(0)
                first.cancel()
            assert second.result() > 0
            assert await store.load("u2") is not None

        self.play(tmp_path, scenario)

    def test_15_a_restored_run_is_what_it_was(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            run = StoredRun(
                row=a_row(version=57, sequence=900, labels={"a": "b"}),
                header=BIG,
                nodes=(("n1", b""), ("n2", BIG)),
                effects=(EffectRow(key="z", body=b"1"), EffectRow(key="a", body=b"2")),
            )
            await store.restore(run, [b"e1", b"e2"])
            assert await store.load("u1") == run
            assert list(await store.events("u1")) == [(1, b"e1"), (2, b"e2")]
            with pytest.raises(VersionConflict):
                await store.restore(run, [])
            same_name = msgspec.structs.replace(run, row=a_row("u2", name="name-u1", sequence=1))
            with pytest.raises(VersionConflict):
                await store.restore(same_name, [])
            assert [row.uid for row in await store.runs()] == ["u1"]
            assert await store.commit(a_commit("u3")) > 900
            await store.commit(Commit(row=a_row(version=58), events=(b"e3",)))
            assert [number for number, _ in await store.events("u1")] == [1, 2, 3]

        self.play(tmp_path, scenario)

    def test_16_kinds_are_those_of_which_there_is_something(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            assert not await store.kinds()
            await store.put("b", [("1", b"")])
            await store.put("a", [("1", b""), ("2", b"")])
            await store.put("c", [("1", b"")])
            await store.put("c", [("1", None)])
            assert list(await store.kinds()) == ["a", "b"]

        self.play(tmp_path, scenario)

    def test_17_bodies_may_be_longer_than_what_a_database_takes_in_one_piece(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            incompressible = random.Random(7).randbytes(17 << 20)
            await store.commit(Commit(row=a_row(), header=b"h", nodes=(("n", incompressible),)))
            await store.put("kind", [("long", incompressible[: 9 << 20]), ("short", b"1")])
            stored = await store.load("u1")
            assert stored is not None
            assert stored.nodes == (("n", incompressible),)
            assert await store.get("kind", "long") == incompressible[: 9 << 20]
            await store.commit(Commit(row=a_row(version=2), nodes=(("n", b"small"),)))
            await store.put("kind", [("long", b"small")])
            stored = await store.load("u1")
            assert stored is not None
            assert stored.nodes == (("n", b"small"),)
            assert list(await store.items("kind")) == [("long", b"small"), ("short", b"1")]

        self.play(tmp_path, scenario)

    def test_18_a_run_is_loaded_as_it_was_at_one_moment(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            async def write() -> None:
                for version in range(1, 30):
                    body = str(version).encode()
                    effect = EffectRow(key=f"e{version}", body=body)
                    nodes = tuple((f"n{number}", body) for number in range(3))
                    done = (f"e{version - 1}",)
                    await store.commit(
                        Commit(row=a_row(version=version), header=body, nodes=nodes, effects=(effect,), effects_done=done)
                    )

            async with asyncio.TaskGroup() as group:
                writing = group.create_task(write())
                while not writing.done():
                    if (stored := await store.load("u1")) is not None:
                        body = str(stored.row.version).encode()
                        assert stored.header == body
                        assert {body for _, body in stored.nodes} == {body}
                        assert [effect.key for effect in stored.effects] == [f"e{stored.row.version}"]
                    await asyncio.sleep(0)

        self.play(tmp_path, scenario)

    def test_19_a_store_that_is_there_is_ready(self, tmp_path: Path) -> None:
        async def scenario(store: StateStore) -> None:
            await store.ready()
            await store.close()
            with pytest.raises(Broken, match="closed"):
                await store.ready()

        self.play(tmp_path, scenario)

    def test_14_random_histories_end_as_in_the_model(self) -> None:
        @settings(
            max_examples=self.histories, report_multiple_bugs=False, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        @given(st.lists(_steps(), max_size=25))
        def compare(history: list[tuple[str, object]]) -> None:
            async def scenario(store: StateStore) -> None:
                model = MemoryStore()
                for step in history:
                    assert await _apply(store, step) == await _apply(model, step)
                assert await _contents(store) == await _contents(model)

            with TemporaryDirectory() as directory:
                self.play(Path(directory), scenario)

        compare()


def _steps() -> st.SearchStrategy[tuple[str, object]]:
    """Return a strategy for one call: kinds and arguments from a world small enough for collisions."""
    uids = st.sampled_from(["u1", "u2", "u3"])
    keys = st.sampled_from(["a", "b", "ü"])
    bodies = st.one_of(st.binary(max_size=8), st.just(BIG))
    rows = st.builds(
        _a_row_of_two_names,
        uids,
        version=st.integers(1, 4),
        finished_at=st.sampled_from([None, 7.0]),
        labels=st.dictionaries(keys, keys, max_size=2),
        message=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=4),
    )
    commits = st.builds(
        Commit,
        row=rows,
        header=st.one_of(st.none(), bodies),
        nodes=st.lists(st.tuples(keys, bodies), max_size=3, unique_by=lambda node: node[0]).map(tuple),
        nodes_removed=st.lists(keys, max_size=1).map(tuple),
        effects=st.lists(st.builds(EffectRow, key=keys, body=bodies), max_size=2, unique_by=lambda e: e.key).map(tuple),
        effects_done=st.lists(keys, max_size=1).map(tuple),
        events=st.lists(bodies, max_size=2).map(tuple),
    )
    documents = st.lists(st.tuples(keys, st.one_of(st.none(), bodies)), max_size=3)
    return st.one_of(
        st.tuples(st.just("commit"), commits),
        st.tuples(st.just("commit"), commits),
        st.tuples(st.just("remove"), uids),
        st.tuples(st.just("put"), documents),
    )


def _a_row_of_two_names(uid: str, **fields: Any) -> RunRow:
    """Return a row whose name two runs share; a run's name and namespace never change."""
    return a_row(uid, name="x" if uid == "u1" else "y", **fields)


async def _apply(store: StateStore, step: tuple[str, object]) -> object:
    kind, value = step
    if isinstance(value, Commit):
        try:
            return await store.commit(value)
        except VersionConflict:
            return "conflict"
    if kind == "remove":
        return await store.remove(str(value))
    return await store.put("kind", value)  # pyright: ignore[reportArgumentType]


async def _contents(store: StateStore) -> object:
    """Return everything that can be read, effects without their order (a replaced one may keep or lose its place)."""
    uids = ("u1", "u2", "u3")
    loaded = [await store.load(uid) for uid in uids]
    return (
        sorted(await store.runs(), key=lambda row: row.uid),
        [run and (run.row, run.header, dict(run.nodes), {effect.key: effect.body for effect in run.effects}) for run in loaded],
        [list(await store.events(uid)) for uid in uids],
        list(await store.items("kind")),
    )
