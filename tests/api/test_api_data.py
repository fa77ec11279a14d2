"""The Data API: remotes, objects, the primary."""

import httpx
import pytest
from test_api_workflows import failure, play

from jitflow.model.data import ObjectRef
from jitflow.model.reports import Upload
from jitflow.testing.fake_engine import World

pytestmark = pytest.mark.pure


def test_remotes_come_and_go_without_showing_secrets() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        assert [item["name"] for item in (await client.get("/data/v1/remotes")).json()["items"]] == ["far"]
        body = {"name": "near", "type": "s3", "options": {"endpoint": "http://x", "secret_access_key": "hunter2"}}
        added = await client.post("/data/v1/remotes", json=body)
        assert added.json()["options"] == {"endpoint": "http://x", "secret_access_key": "***"}
        assert "hunter2" not in (await client.get("/data/v1/remotes")).text
        assert (await client.get("/data/v1/remotes/near")).json()["source"] == "api"
        failure(await client.post("/data/v1/remotes", json=body), 409, 6)
        assert (await client.post("/data/v1/remotes/near/test")).json() == {"ok": True}
        assert (await client.delete("/data/v1/remotes/near")).json() == {}
        failure(await client.delete("/data/v1/remotes/near"), 404, 5)
        failure(await client.delete("/data/v1/remotes/far"), 409, 6)
        failure(await client.post("/data/v1/remotes/none/test"), 404, 5)

    play(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"name": 1, "type": "s3"}', b'{"name": "a", "type": "s3", "option": {}}', b'{"name":']
)
def test_remotes_that_cannot_be_read(body: bytes) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        failure(await client.post("/data/v1/remotes", content=body), 400, 3)

    play(scenario)


def test_objects_are_listed_and_described() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for ref in ("far:dir", "far:dir/"):
            listed = (await client.get("/data/v1/objects", params={"ref": ref})).json()
            assert [item["ref"] for item in listed["items"]] == [{"remote": "far", "path": f"dir/{name}"} for name in "bc"]
            assert listed["truncated"] is False
        assert len((await client.get("/data/v1/objects?ref=far:")).json()["items"]) == 3
        stat = (await client.get("/data/v1/stat?ref=far:a")).json()
        assert (stat["size_bytes"], stat["replica"]) == (10, None)
        failure(await client.get("/data/v1/stat?ref=far:none"), 404, 5)
        failure(await client.get("/data/v1/stat"), 400, 3)

    play(scenario)


@pytest.mark.parametrize(
    "ref", ["far:../x", "far:a/../../x", "far:/etc/passwd", "far:a\x01", "nothing", ":s3:x", "far:a//b", "far,a=b:x"]
)
def test_references_that_lead_elsewhere_are_refused(ref: str) -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for path in ("objects", "stat"):
            failure(await client.get(f"/data/v1/{path}", params={"ref": ref}), 400, 3)
        for action in ("stage", "pin", "unpin", "evict"):
            failure(await client.post(f"/data/v1/primary/{action}", json={"ref": ref}), 400, 3)

    play(scenario)


def test_the_primary_is_checked_and_given_what_is_near() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        check = (await client.post("/data/v1/primary/check", json={"remove": True})).json()
        assert (check["replicas"], check["strangers"], check["removed"]) == (0, {"notes.txt": 4}, ["notes.txt"])
        failure(await client.post("/data/v1/primary/check", json={"all": True}), 400, 3)
        adopted = (await client.post("/data/v1/primary/adopt", json={"place": "/old", "ref": "far:dir"})).json()
        assert (adopted["adopted"], adopted["refs"]) == (1, ["far:dir/a"])
        failure(await client.post("/data/v1/primary/adopt", json={"place": "/old", "ref": "far:../x"}), 400, 3)
        failure(await client.post("/data/v1/primary/adopt", json={"place": "old", "ref": "far:dir"}), 400, 3)

    play(scenario)


def test_the_primary_is_filled_and_emptied_by_hand() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        before = (await client.post("/data/v1/primary/explain", json={"refs": ["far:a"]})).json()
        assert (before["to_move_bytes"], before["fits"], before["rows"]) == (10, True, [["far:a", 10, "absent"]])
        staged = await client.post("/data/v1/primary/stage", json={"ref": "far:a"})
        assert staged.json()["state"] == "resident"
        after = (await client.post("/data/v1/primary/explain", json={"refs": ["far:a"]})).json()
        assert (after["to_move_bytes"], after["resident_bytes"]) == (0, 10)
        for wrong, status, code in (([], 400, 3), (["far:../a"], 400, 3), (["far:none"], 404, 5), (["nowhere:a"], 404, 5)):
            failure(await client.post("/data/v1/primary/explain", json={"refs": wrong}), status, code)
        failure(await client.post("/data/v1/primary/explain", json={"refs": ["far:a"] * 10_001}), 400, 3)
        primary = (await client.get("/data/v1/primary")).json()
        assert (primary["fill"]["used_bytes"], len(primary["replicas"])) == (10, 1)
        assert (await client.get("/data/v1/stat?ref=far:a")).json()["replica"]["state"] == "resident"
        assert (await client.post("/data/v1/primary/pin", json={"ref": "far:a"})).json()["kept"] is True
        failure(await client.post("/data/v1/primary/evict", json={"ref": "far:a"}), 409, 6)
        assert (await client.post("/data/v1/primary/unpin", json={"ref": "far:a"})).json()["kept"] is False
        assert (await client.post("/data/v1/primary/evict", json={"ref": "far:a"})).json() == {}
        failure(await client.post("/data/v1/primary/stage", json={"ref": "far:none"}), 404, 5)

    play(scenario)


def test_pins_quotas_and_pages() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await client.post("/data/v1/primary/stage", json={"ref": "far:a"})
        pinned = (await client.post("/data/v1/primary/pin", json={"ref": "far:a", "namespace": "argo"})).json()
        assert (pinned["kept"], pinned["namespace"], pinned["objects"]) == (True, "argo", 1)
        assert (await client.get("/data/v1/pins")).json()["items"] == [pinned]
        failure(await client.post("/data/v1/primary/pin", json={"ref": "far:none"}), 404, 5)
        assert [one["namespace"] for one in (await client.get("/data/v1/quotas")).json()["items"]] == ["argo", "other"]
        page = (await client.get("/data/v1/primary?limit=1")).json()
        assert (len(page["replicas"]), page["next"]) == (1, "")
        assert (await client.get("/data/v1/primary?cursor=far:a")).json()["replicas"] == []
        for wrong in ("0", "-1", "x", "10001", "1" * 50):
            failure(await client.get(f"/data/v1/primary?limit={wrong}"), 400, 3)

    play(scenario)


def test_outputs_that_could_not_be_sent_are_listed_sent_again_and_dropped() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        for name, state in (("a", "failed"), ("b", "failed"), ("c", "sending")):
            ref = ObjectRef(remote="far", path=name)
            world.primary.unsent[ref] = Upload(ref=ref, step="uid/node", state=state, size_bytes=5, message="why")
        items = (await client.get("/data/v1/uploads")).json()["items"]
        assert [(item["ref"]["path"], item["state"]) for item in items] == [("a", "failed"), ("b", "failed"), ("c", "sending")]
        for action in ("retry", "drop"):
            failure(await client.post(f"/data/v1/uploads/{action}", json={"ref": "far:c"}), 404, 5)
            failure(await client.post(f"/data/v1/uploads/{action}", json={"ref": "far:../c"}), 400, 3)
        assert (await client.post("/data/v1/uploads/drop", json={"ref": "far:a"})).json() == {}
        answer = await client.post("/data/v1/uploads/retry", json={})
        assert answer.json() == {"items": [{"remote": "far", "path": "b"}]}
        assert [item["state"] for item in (await client.get("/data/v1/uploads")).json()["items"]] == ["sending"]

    play(scenario)


def test_links_and_limits_of_bandwidth() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        (link,) = (await client.get("/data/v1/links")).json()["items"]
        assert (link["remote"], link["streams"], link["stalls"], link["down_Bps"]) == ("far", 16, 1, 2**20)
        assert (await client.get("/data/v1/bandwidth")).json() == {"time_zone": "UTC", "limits": []}
        answer = await client.put("/data/v1/bandwidth", json={"limits": {"*": "10M", "far": "08:00,1M:off 19:00,off"}})
        assert [(one["remote"], one["limit"]) for one in answer.json()["limits"]] == [
            ("*", "10M"), ("far", "08:00,1M:off 19:00,off"),
        ]  # fmt: skip
        assert world.limiting.held[0].down_Bps == 10 * 2**20
        failure(await client.put("/data/v1/bandwidth", json={"limits": {"none": "10M"}}), 404, 5)
        failure(await client.put("/data/v1/bandwidth", json={"limits": {"far": "quick"}}), 400, 3)
        failure(await client.put("/data/v1/bandwidth", json={"limit": "10M"}), 400, 3)
        answer = await client.put("/data/v1/bandwidth", json={"limits": {"far": None}, "time_zone": "Europe/Berlin"})
        assert answer.json()["time_zone"] == "Europe/Berlin"
        assert [one["remote"] for one in answer.json()["limits"]] == ["*"]

    play(scenario)


def test_a_remote_that_is_removed_leaves_no_limit() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        await client.post("/data/v1/remotes", json={"name": "near", "type": "s3", "options": {}})
        await client.put("/data/v1/bandwidth", json={"limits": {"near": "1M"}})
        assert (await client.delete("/data/v1/remotes/near")).status_code == 200
        assert (await client.get("/data/v1/bandwidth")).json()["limits"] == []
        assert world.limiting.held[1] == {}

    play(scenario)


def test_transfer_jobs_are_made_followed_and_ended() -> None:
    async def scenario(client: httpx.AsyncClient, world: World) -> None:
        world.bulk.stores["far"]["in/a"] = b"12"
        wish = {"kind": "copy", "source": "far:in/", "destination": "far:out/"}
        made = (await client.post("/data/v1/jobs", json=wish)).json()
        assert (made["phase"], made["wish"]["destination"]) == ("Queued", "far:out/")
        path = f"/data/v1/jobs/{made['id']}"
        lines = (await client.get(path + "/events")).text.splitlines()
        assert '"phase":"Succeeded"' in lines[-1]
        events = await client.get(path + "/events", headers={"accept": "text/event-stream"})
        assert (events.headers["content-type"].split(";")[0], events.text[:6]) == ("text/event-stream", "data: ")
        assert (await client.get(path + "/files")).json()["items"] == [
            {"path": "a", "action": "copy", "state": "done", "size_bytes": 2, "proof": "md5"}
        ]
        assert [one["id"] for one in (await client.get("/data/v1/jobs?phase=Succeeded")).json()["items"]] == [made["id"]]
        for bad in ("?phase=Gone", "?limit=0", "?limit=x", "?cursor=none"):
            failure(await client.get(f"/data/v1/jobs{bad}"), 400, 3)
        failure(await client.get(path + "/files?state=lost"), 400, 3)
        failure(await client.post(path + "/cancel"), 409, 6)
        failure(await client.post(path + "/resume"), 409, 6)
        assert (await client.delete(path)).json() == {}
        for method, below in (("GET", ""), ("GET", "/files"), ("GET", "/events"), ("POST", "/pause"), ("DELETE", "")):
            failure(await client.request(method, path + below), 404, 5)

    play(scenario)
