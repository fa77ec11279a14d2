"""The objects beside runs: kept, versioned, sealed; and how patches merge."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from jitflow.bootstrap.claims import ClaimDirectories
from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.bootstrap.vault import Vault
from jitflow.model import argo
from jitflow.model.merge import merge_patch, strategic_merge
from jitflow.model.objects import ConfigMap, Secret, SyncLimit
from jitflow.model.problems import Refused
from jitflow.model.runs import SaveMemo
from jitflow.objects import Change, MemoStore, ObjectStore, secret_values, without_values
from jitflow.ports.errors import Broken
from jitflow.stores.sqlite import SqliteStore
from jitflow.testing.fake_engine import PlainSealer
from jitflow.testing.memory_store import MemoryStore


def meta(name: str, **more: str) -> argo.ObjectMeta:
    return argo.ObjectMeta(name=name, **more)  # pyright: ignore[reportArgumentType]


def with_store(act: Callable[[ObjectStore], Awaitable[None]]) -> None:
    async def run() -> None:
        objects = ObjectStore(MemoryStore(), PlainSealer(), SystemClock(), RandomIds())
        await objects.open()
        await act(objects)

    asyncio.run(run())


def test_objects_are_kept_by_kind_namespace_and_name() -> None:
    async def scenario(objects: ObjectStore) -> None:
        heard: list[Change] = []
        objects.subscribe(heard.append)
        made = await objects.create(ConfigMap(metadata=meta("c"), data={"a": "1"}), "one")
        assert made.metadata is not None
        assert made.metadata.uid
        assert (made.metadata.namespace, made.metadata.generation, made.kind) == ("one", 1, "ConfigMap")
        assert objects.find(ConfigMap, "one", "c") == made
        assert objects.find(ConfigMap, "two", "c") is None
        assert objects.find(Secret, "one", "c") is None
        with pytest.raises(Refused, match="already exists") as caught:
            await objects.create(ConfigMap(metadata=meta("c")), "one")
        assert caught.value.code == "conflict"
        await objects.delete(ConfigMap, "one", "c")
        with pytest.raises(Refused, match="not found"):
            await objects.delete(ConfigMap, "one", "c")
        assert [change.action for change in heard] == ["ADDED", "DELETED"]

    with_store(scenario)


def test_a_stale_version_is_not_written_over() -> None:
    async def scenario(objects: ObjectStore) -> None:
        first = await objects.create(ConfigMap(metadata=meta("c")), "ns")
        second = await objects.replace(ConfigMap(metadata=first.metadata, data={"a": "1"}), "ns")
        with pytest.raises(Refused, match="the object has been modified") as caught:
            await objects.replace(ConfigMap(metadata=first.metadata, data={"a": "2"}), "ns")
        assert caught.value.code == "conflict"
        assert second.metadata is not None
        assert first.metadata is not None
        assert (second.metadata.uid, second.metadata.generation) == (first.metadata.uid, 2)
        assert (await objects.apply(ConfigMap(metadata=meta("c"), data={"a": "3"}), "ns")).data == {"a": "3"}

    with_store(scenario)


def test_of_two_that_make_one_name_at_once_one_is_refused() -> None:
    async def scenario(objects: ObjectStore) -> None:
        both = [objects.create(ConfigMap(metadata=meta("c")), "ns") for _ in range(2)]
        ends = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["ConfigMap", "Refused"]

    with_store(scenario)


class GatedStore(MemoryStore):
    """Writes when it is let; may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.failures = 0

    async def put(self, kind: str, documents: Iterable[tuple[str, bytes | None]]) -> None:
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise Broken("the disk is full")
        await super().put(kind, documents)


def test_nothing_is_seen_before_it_is_durable_and_a_failed_write_undoes_no_other() -> None:
    async def scenario() -> None:
        store = GatedStore()
        objects = ObjectStore(store, PlainSealer(), SystemClock(), RandomIds())
        heard: list[Change] = []
        objects.subscribe(heard.append)

        async def write(value: str) -> ConfigMap:
            return await objects.apply(ConfigMap(metadata=meta("c"), data={"a": value}), "ns")

        async with asyncio.TaskGroup() as group:
            store.failures = 1
            lost = group.create_task(caught(write("lost")))
            kept = group.create_task(write("kept"))
            await asyncio.sleep(0)
            assert objects.find(ConfigMap, "ns", "c") is None
            store.gate.set()
        assert isinstance(lost.result(), Broken)
        assert objects.find(ConfigMap, "ns", "c") == kept.result()
        assert [change.action for change in heard] == ["ADDED"]

    asyncio.run(scenario())


def test_a_write_whose_asker_is_cancelled_is_seen_when_it_is_durable() -> None:
    async def scenario() -> None:
        store = GatedStore()
        objects = ObjectStore(store, PlainSealer(), SystemClock(), RandomIds())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await objects.create(ConfigMap(metadata=meta("c")), "ns")
        assert objects.find(ConfigMap, "ns", "c") is None
        store.gate.set()
        with pytest.raises(Refused, match="already exists"):
            await objects.create(ConfigMap(metadata=meta("c")), "ns")
        assert objects.find(ConfigMap, "ns", "c") is not None
        assert len(await store.items("object")) == 1

    asyncio.run(scenario())


async def caught(work: Awaitable[object]) -> BaseException | None:
    try:
        await work
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", ["", "Up", "../x", "a/b", "-a", "x" * 300, "a b", "a\n"])
def test_names_are_those_of_kubernetes(name: str) -> None:
    async def scenario(objects: ObjectStore) -> None:
        with pytest.raises(Refused):
            await objects.create(ConfigMap(metadata=meta(name)), "ns")
        assert objects.list(ConfigMap) == []

    with_store(scenario)


def test_kinds_of_the_cluster_have_no_namespace() -> None:
    async def scenario(objects: ObjectStore) -> None:
        spec = argo.WorkflowSpec(entrypoint="a")
        await objects.create(argo.ClusterWorkflowTemplate(metadata=meta("t"), spec=spec), "one")
        assert objects.find(argo.ClusterWorkflowTemplate, "two", "t") is not None
        assert len(objects.list(argo.ClusterWorkflowTemplate, "two")) == 1

    with_store(scenario)


def test_secrets_are_sealed_survive_a_restart_and_are_not_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        vault = Vault(tmp_path / "key")
        async with SqliteStore.open(tmp_path / "state.db") as store:
            objects = ObjectStore(store, vault, SystemClock(), RandomIds())
            made = await objects.create(Secret(metadata=meta("s"), string_data={"password": "hunter2-plain"}), "ns")
            assert secret_values(made) == {"password": b"hunter2-plain"}
            assert "hunter2" not in str(without_values(made))
            await objects.create(SyncLimit(metadata=meta("Any_Key.1"), limit=3), "ns")
        files = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
        assert b"hunter2" not in files
        assert b"aHVudGVyMi1wbGFpbg" not in files
        async with SqliteStore.open(tmp_path / "state.db") as store:
            again = ObjectStore(store, vault, SystemClock(), RandomIds())
            await again.open()
            assert again.find(Secret, "ns", "s") == made
            limit = again.find(SyncLimit, "ns", "Any_Key.1")
            assert limit is not None
            assert limit.limit == 3
            version = again.version
            await again.create(ConfigMap(metadata=meta("later")), "ns")
            assert again.version > version

    asyncio.run(scenario())


def test_a_secret_that_is_no_base64_is_refused_without_its_value() -> None:
    async def scenario(objects: ObjectStore) -> None:
        with pytest.raises(Refused, match="is not base64") as caught:
            await objects.create(Secret(metadata=meta("s"), data={"k": "!!plain!!"}), "ns")
        assert "!!plain!!" not in str(caught.value)

    with_store(scenario)


def test_memoized_outputs_go_into_a_labelled_config_map() -> None:
    async def scenario(objects: ObjectStore) -> None:
        memos = MemoStore(objects)
        for number in range(3):
            await memos.save(SaveMemo(key="m", namespace="ns", cache="cache", memo_key=f"k{number}", entry="x" * 300_000))
        found = objects.find(ConfigMap, "ns", "cache")
        assert found is not None
        assert found.metadata is not None
        assert found.metadata.labels == {"workflows.argoproj.io/configmap-type": "Cache"}
        assert list(found.data) == ["k1", "k2"]  # the oldest made room

    with_store(scenario)


def test_entries_of_a_cache_are_seen_while_they_are_written_and_none_gets_lost() -> None:
    async def scenario(objects: ObjectStore) -> None:
        memos = MemoStore(objects)
        writes = [memos.save(SaveMemo(key="m", namespace="ns", cache="c", memo_key=key, entry=key * 3)) for key in "ab"]
        seen = memos.find(ConfigMap, "ns", "c")
        assert seen is not None
        assert seen.data == {"a": "aaa", "b": "bbb"}
        assert objects.find(ConfigMap, "ns", "c") is None
        await asyncio.gather(*writes)
        found = objects.find(ConfigMap, "ns", "c")
        assert found is not None
        assert found.data == {"a": "aaa", "b": "bbb"}
        assert memos.find(ConfigMap, "ns", "c") == found

    with_store(scenario)


def test_claims_may_be_used_while_they_are_written(tmp_path: Path) -> None:
    async def scenario(objects: ObjectStore) -> None:
        claims = ClaimDirectories(tmp_path, objects)
        making = asyncio.get_running_loop().create_task(claims.make("ns", [argo.PersistentVolumeClaim(metadata=meta("c"))]))
        await asyncio.sleep(0)
        assert Path(claims.path("ns", "c")).is_dir()
        await making
        assert Path(claims.path("ns", "c")).is_dir()

    with_store(scenario)


def test_claims_are_directories_that_go_with_their_claim(tmp_path: Path) -> None:
    async def scenario(objects: ObjectStore) -> None:
        claims = ClaimDirectories(tmp_path, objects)
        with pytest.raises(Refused, match='persistentvolumeclaim "c" not found'):
            claims.path("ns", "c")
        await claims.make("ns", [argo.PersistentVolumeClaim(metadata=meta("c"))])
        await claims.make("ns", [argo.PersistentVolumeClaim(metadata=meta("c"))])
        directory = Path(claims.path("ns", "c"))
        (directory / "file").write_text("kept")
        assert Path(claims.path("ns", "c"), "file").read_text() == "kept"
        await claims.drop("ns", ["c", "other"])
        assert not directory.exists()

    with_store(scenario)


def test_patches_merge_as_kubernetes_does() -> None:
    document = {"a": {"b": 1, "c": 2}, "list": [{"name": "x", "v": 1}, {"name": "y", "v": 2}], "plain": [1, 2]}
    patch = {"a": {"b": None, "d": 3}, "list": [{"name": "y", "v": 5}, {"name": "z"}], "plain": [9]}
    merged = strategic_merge(document, patch)
    assert merged == {
        "a": {"c": 2, "d": 3},
        "list": [{"name": "x", "v": 1}, {"name": "y", "v": 5}, {"name": "z"}],
        "plain": [9],
    }
    assert strategic_merge(document, {"list": [{"name": "x", "$patch": "delete"}]})["list"] == [{"name": "y", "v": 2}]
    assert merge_patch(document, patch)["list"] == [{"name": "y", "v": 5}, {"name": "z"}]
    assert document["a"] == {"b": 1, "c": 2}
