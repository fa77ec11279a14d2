"""The Control API's archived workflows, over a fake engine: lists, labels, what is refused."""

from typing import Any

import httpx
import pytest
from test_api_workflows import failure, play, submit

from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure

PATH = "/api/v1/archived-workflows"
ARCHIVING = "workflows.argoproj.io/workflow-archiving-status"


async def finished(client: httpx.AsyncClient, world: World, name: str, phase: str = "Succeeded", **metadata: Any) -> str:
    """Make a workflow that has ended, a minute after the one before, and return its uid."""
    world.engine.keeps_archive = True
    world.clock.at += 60
    uid = str((await submit(client, name, **metadata))["metadata"]["uid"])
    await world.engine.move(uid, phase)
    return uid


async def deleted(client: httpx.AsyncClient, world: World, name: str, phase: str = "Succeeded", **metadata: Any) -> str:
    """Make a workflow that has ended and is deleted, and return its uid."""
    uid = await finished(client, world, name, phase, **metadata)
    assert (await client.delete(f"/api/v1/workflows/argo/{name}")).json() == {}
    return uid


async def names(client: httpx.AsyncClient, path: str = PATH, **query: str) -> list[str]:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["metadata"]["name"] for item in answer.json()["items"] or []]


def test_the_archive_holds_what_has_ended_deleted_or_not() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        assert (await client.get(PATH)).json() == {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowList", "metadata": {}, "items": None,
        }  # fmt: skip
        await finished(client, world, "one")
        await deleted(client, world, "two")
        await submit(client, "running")
        assert await names(client) == ["two", "one"]
        (two, one) = (await client.get(PATH)).json()["items"]
        assert (one["metadata"]["labels"][ARCHIVING], two["metadata"]["labels"][ARCHIVING]) == ("Persisted", "Persisted")
        live = (await client.get("/api/v1/workflows/argo/one")).json()
        assert live["metadata"]["labels"][ARCHIVING] == "Archived"
        assert ARCHIVING not in (await client.get("/api/v1/workflows/argo/running")).json()["metadata"]["labels"]

    play(scenario)


def test_items_of_lists_tell_no_more_than_argo_keeps_as_columns() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await deleted(client, world, "one", annotations={"a": "b"})
        for path in (PATH, "/api/v1/workflows/argo"):
            (item,) = (await client.get(path)).json()["items"]
            assert item["spec"] == {}
            assert set(item["status"]) == {"phase", "startedAt", "finishedAt", "progress"}
            assert item["metadata"]["annotations"] == {"a": "b"}
        (item,) = (await client.get(PATH, params={"fields": "items.metadata.name,items.status.phase"})).json()["items"]
        assert item == {"metadata": {"name": "one"}, "status": {"phase": "Succeeded"}}

    play(scenario)


def test_lists_select_and_page() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for number in range(5):
            await deleted(client, world, f"wf-{number}", labels={"n": str(number)})
        await deleted(client, world, "other", "Failed")
        fields, labels = "listOptions.fieldSelector", "listOptions.labelSelector"
        assert await names(client, namePrefix="wf-") == ["wf-4", "wf-3", "wf-2", "wf-1", "wf-0"]
        assert await names(client, **{fields: "metadata.name=wf-2"}) == ["wf-2"]
        assert await names(client, **{fields: "metadata.name=the", "nameFilter": "Contains"}) == ["other"]
        assert await names(client, **{labels: "n in (1,3)"}) == ["wf-3", "wf-1"]
        assert await names(client, **{labels: "workflows.argoproj.io/phase=Failed"}) == ["other"]
        assert len(await names(client, **{labels: f"{ARCHIVING}=Persisted"})) == 6
        assert len(await names(client, namespace="argo")) == 6
        assert await names(client, namespace="elsewhere") == []
        assert len(await names(client, **{fields: "metadata.namespace=argo"})) == 6
        started = "2023-11-14T22:17:20Z"  # wf-3
        assert await names(client, **{fields: f"spec.startedAt>{started}"}) == ["other", "wf-4", "wf-3"]
        assert await names(client, **{fields: f"spec.startedAt<{started}"}) == ["wf-3", "wf-2", "wf-1", "wf-0"]
        page = {"listOptions.limit": "4", fields: "ext.showRemainingItemCount=true"}
        first = (await client.get(PATH, params=page)).json()
        assert first["metadata"] == {"continue": "4", "remainingItemCount": 2}
        last = (await client.get(PATH, params=page | {"listOptions.continue": "4"})).json()
        assert last["metadata"] == {"remainingItemCount": 0}
        assert [item["metadata"]["name"] for item in last["items"]] == ["wf-1", "wf-0"]
        all_ = (await client.get(PATH, params={fields: "ext.showRemainingItemCount=true"})).json()
        assert (all_["metadata"], len(all_["items"])) == ({}, 6)

    play(scenario)


@pytest.mark.parametrize(
    "query",
    [
        "listOptions.continue=x", "listOptions.continue=-1", "listOptions.limit=-1", "nameFilter=Regex",
        "listOptions.fieldSelector=status.phase%3DFailed", "listOptions.labelSelector=a%20b",
        "namespace=a&listOptions.fieldSelector=metadata.namespace%3Db",
    ],
)  # fmt: skip
def test_list_parameters_that_cannot_be_used(query: str) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await deleted(client, world, "one")
        failure(await client.get(f"{PATH}?{query}"), 400, 3)

    play(scenario)


def test_one_is_found_by_its_uid_or_its_name() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        first = await deleted(client, world, "one")
        second = await deleted(client, world, "one")
        assert first != second
        found = (await client.get(f"{PATH}/{first}")).json()
        assert (found["metadata"]["uid"], found["spec"]["entrypoint"]) == (first, "main")
        assert (await client.get(f"{PATH}/?namespace=argo&name=one")).json()["metadata"]["uid"] == second
        assert (await client.get("/api/v1/workflows/argo/one")).json()["metadata"]["uid"] == second
        assert (await client.get(f"/api/v1/workflows/argo/one?uid={first}")).json()["metadata"]["uid"] == first
        failure(await client.get(f"{PATH}/"), 400, 3)
        failure(await client.get(f"{PATH}/?namespace=argo&name=two"), 404, 5)
        for verb, path in (("GET", ""), ("DELETE", ""), ("PUT", "/retry"), ("PUT", "/resubmit")):
            failure(await client.request(verb, f"{PATH}/nobody{path}"), 404, 5)
        running = (await submit(client, "running"))["metadata"]["uid"]
        failure(await client.get(f"{PATH}/{running}"), 404, 5)

    play(scenario)


def test_what_only_the_archive_knows_cannot_be_controlled_by_its_name() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await deleted(client, world, "one", "Failed")
        for verb in ("suspend", "resume", "stop", "terminate", "set", "retry"):
            failure(await client.put(f"/api/v1/workflows/argo/one/{verb}", json={"nodeFieldSelector": "id=x"}), 404, 5)
        failure(await client.delete("/api/v1/workflows/argo/one"), 404, 5)
        failure(await client.get("/api/v1/workflows/argo/@latest"), 404, 5)
        again = (await client.put("/api/v1/workflows/argo/one/resubmit", json={})).json()
        assert again["metadata"]["labels"]["workflows.argoproj.io/resubmitted-from-workflow"] == "one"
        assert ARCHIVING not in again["metadata"]["labels"]

    play(scenario)


def test_deleting_takes_out_of_the_archive_and_nothing_else() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        one, two = await finished(client, world, "one"), await deleted(client, world, "two")
        for uid in (one, two):
            assert (await client.delete(f"{PATH}/{uid}")).json() == {}
            failure(await client.delete(f"{PATH}/{uid}"), 404, 5)
        assert await names(client) == []
        assert await names(client, "/api/v1/workflows/argo") == ["one"]
        assert (await client.delete("/api/v1/workflows/argo/one")).json() == {}
        assert await names(client, "/api/v1/workflows/argo") == []
        assert await world.store.runs() == []

    play(scenario)


def test_labels_of_the_archive() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        assert (await client.get(f"{PATH}-label-keys")).json() == {}
        await deleted(client, world, "one", labels={"team": "b"})
        await deleted(client, world, "two", labels={"team": "a", "job": "x"})
        await submit(client, "running", labels={"other": "y"})
        keys = (await client.get(f"{PATH}-label-keys")).json()["items"]
        assert [key for key in keys if "/" not in key] == ["job", "team"]
        assert "workflows.argoproj.io/phase" in keys
        assert (await client.get(f"{PATH}-label-keys?namespace=elsewhere")).json() == {}
        values = f"{PATH}-label-values?listOptions.labelSelector="
        assert (await client.get(f"{values}team")).json() == {"items": ["a", "b"]}
        assert (await client.get(f"{values}none")).json() == {}
        for selector in ("", "team%3Da", "team,job", "!team", "team%20in%20(a)"):
            failure(await client.get(f"{values}{selector}"), 400, 3)

    play(scenario)


def test_watches_tell_of_deletion_and_return() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        uid = await finished(client, world, "one", "Failed")
        told: list[str] = []
        stop = world.engine.subscribe(lambda change: told.append(change.kind))
        await client.delete("/api/v1/workflows/argo/one")
        assert (await client.put(f"{PATH}/{uid}/retry", json={})).json()["metadata"]["uid"] == uid
        assert await names(client, "/api/v1/workflows/argo") == ["one"]
        assert await names(client) == [], "it runs"
        failure(await client.put(f"{PATH}/{uid}/retry", json={}), 409, 6)
        stop()
        assert told == ["DELETED", "MODIFIED"]

    play(scenario)


def test_nothing_is_retried_whose_name_is_taken() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        there = await finished(client, world, "there", "Failed")
        assert "already exists" in failure(await client.put(f"{PATH}/{there}/retry", json={}), 409, 6)
        past = await deleted(client, world, "again", "Failed")
        await submit(client, "again")
        assert "already exists" in failure(await client.put(f"{PATH}/{past}/retry", json={}), 409, 6)

    play(scenario)


def test_what_is_too_old_goes() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await deleted(client, world, "old")
        await finished(client, world, "there")
        world.clock.at += 1000
        await deleted(client, world, "new")
        assert await world.service.archive.expire(500.0) == 2
        assert await names(client) == ["new"]
        assert await names(client, "/api/v1/workflows/argo") == ["new", "there"]
        await deleted(client, world, "newer")
        assert await world.service.archive.expire(500.0, most=1) == 1
        assert await names(client) == ["newer"]

    play(scenario)
