"""Watches and logs over a real socket: framing, order, slow readers, clients that leave."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn

from jitflow.app.service import Selection
from jitflow.control_api import make_app
from jitflow.control_api.streams import Stream
from jitflow.data_api import routes as data_routes
from jitflow.model import argo
from jitflow.model.following import Delta
from jitflow.testing.fake_engine import World

TOKEN = "a-token-for-tests"
HEADERS = {"authorization": f"Bearer {TOKEN}"}
EVENTS = {**HEADERS, "accept": "text/event-stream"}
LIMIT_S = 30.0


class Server:
    """A world behind a real socket."""

    def __init__(self, world: World, url: str, client: httpx.AsyncClient) -> None:
        self.world = world
        self.url = url
        self.client = client

    async def make(self, name: str, **metadata: Any) -> str:
        manifest = {
            "metadata": {"name": name, **metadata},
            "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "a", "command": ["true"]}}]},
        }
        made = await self.world.service.create(manifest, "argo")
        return (made.metadata and made.metadata.uid) or ""

    async def quiet(self) -> None:
        """Return when nobody follows the runs or a log any more."""
        async with asyncio.timeout(LIMIT_S):
            while self.world.service.watchers or self.world.executor.following:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving() -> AsyncGenerator[Server]:
    world = World()
    await world.service.open()
    app = make_app(world.service, TOKEN, extra=data_routes(world.data, world.jobs, world.files))
    config = uvicorn.Config(app, log_level="warning", loop="asyncio", lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listener]))
            async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=LIMIT_S) as client:
                try:
                    while not server.started:
                        await asyncio.sleep(0.01)
                    yield Server(world, url, client)
                finally:
                    await world.service.close()
                    server.should_exit = True


def play(scenario: Callable[[Server], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), serving() as server:
            await scenario(server)

    asyncio.run(run())


class Lines:
    """The JSON results of a stream, one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines: AsyncIterator[str] = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                text = line.removeprefix("data: ")
                if text and not text.startswith(":"):
                    return json.loads(text)
        raise EOFError

    async def event(self) -> tuple[str, str, str]:
        result = (await self.next())["result"]
        return result["type"], result["object"]["metadata"]["name"], result["object"]["status"]["phase"]


WATCH = "/api/v1/workflow-events/argo"


def test_a_watch_tells_of_the_present_then_of_changes() -> None:
    async def scenario(server: Server) -> None:
        await server.make("old")
        async with server.client.stream("GET", WATCH) as response:
            assert response.headers["content-type"] == "application/json"
            lines = Lines(response)
            assert await lines.event() == ("ADDED", "old", "Running")
            uid = await server.make("new")
            assert await lines.event() == ("ADDED", "new", "Running")
            await server.world.engine.move(uid, "Succeeded")
            assert await lines.event() == ("MODIFIED", "new", "Succeeded")
            await server.world.service.delete("argo", "new")
            assert await lines.event() == ("DELETED", "new", "Succeeded")
        await server.quiet()

    play(scenario)


def test_events_are_framed_as_browsers_expect() -> None:
    async def scenario(server: Server) -> None:
        await server.make("one")
        async with server.client.stream("GET", WATCH, headers=EVENTS) as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["x-content-type-options"] == "nosniff"
            raw = b""
            async for chunk in response.aiter_raw():
                raw += chunk
                if raw.endswith(b"}\n\n"):
                    break
        frames = raw.decode().split("\n\n")
        assert frames[0] == ":", "headers and a first comment come before there is anything to say"
        assert frames[1].startswith('data: {"result":{"type":"ADDED"')
        assert json.loads(frames[1].removeprefix("data: "))["result"]["object"]["kind"] == "Workflow"

    play(scenario)


def test_a_watch_goes_on_where_a_list_ended() -> None:
    async def scenario(server: Server) -> None:
        await server.make("before")
        version = (await server.client.get("/api/v1/workflows/argo")).json()["metadata"]["resourceVersion"]
        await server.make("between")
        async with server.client.stream("GET", f"{WATCH}?listOptions.resourceVersion={version}") as response:
            lines = Lines(response)
            assert await lines.event() == ("ADDED", "between", "Running")
            await server.world.service.stop("argo", "before")
            assert await lines.event() == ("MODIFIED", "before", "Failed")

    play(scenario)


def test_a_watch_with_a_selector_takes_back_what_no_longer_fits() -> None:
    async def scenario(server: Server) -> None:
        await server.make("other", labels={"team": "b"})
        uid = await server.make("one", labels={"team": "a"})
        selector = "team%3Da,workflows.argoproj.io/phase%3DRunning"
        async with server.client.stream("GET", f"{WATCH}?listOptions.labelSelector={selector}") as response:
            lines = Lines(response)
            assert await lines.event() == ("ADDED", "one", "Running")
            await server.world.service.stop("argo", "other")
            await server.world.engine.move(uid, "Failed")
            assert await lines.event() == ("DELETED", "one", "Failed")
            await server.world.service.retry("argo", "one")
            assert await lines.event() == ("ADDED", "one", "Running")

    play(scenario)


def test_a_watch_may_want_few_fields_and_a_short_time() -> None:
    async def scenario(server: Server) -> None:
        await server.make("one")
        query = "fields=result.object.metadata.name,result.object.status.phase&listOptions.timeoutSeconds=1"
        answer = await server.client.get(f"{WATCH}?{query}")
        (line,) = answer.text.splitlines()
        wanted = {"metadata": {"name": "one"}, "status": {"phase": "Running"}}
        assert json.loads(line) == {"result": {"type": "ADDED", "object": wanted}}

    play(scenario)


DELTAS = "/api/jit/v1/workflow-deltas/argo"


def step(name: str, phase: str, message: str = "") -> argo.NodeStatus:
    return argo.NodeStatus(id=name, name=name, display_name=name, type="Pod", phase=phase, message=message or None)


def test_deltas_tell_only_what_has_changed() -> None:
    async def scenario(server: Server) -> None:
        uid = await server.make("old")
        await server.world.engine.move(uid, "Running", nodes=[step("a", "Running"), step("b", "Running")])
        async with server.client.stream("GET", DELTAS) as response:
            lines = Lines(response)
            whole = (await lines.next())["result"]
            assert (whole["type"], whole["complete"], set(whole["nodes"])) == ("ADDED", True, {"a", "b"})
            await server.world.engine.move(uid, "Running", nodes=[step("b", "Succeeded")])
            change = (await lines.next())["result"]
            assert change["type"] == "MODIFIED"
            assert {name: node["phase"] for name, node in change["nodes"].items()} == {"b": "Succeeded"}
            assert change["workflow"]["metadata"]["name"] == "old"
            assert "complete" not in change
            assert change["sequence"] > whole["sequence"]
            await server.make("new")
            added = (await lines.next())["result"]
            assert (added["type"], added["workflow"]["metadata"]["name"], added["complete"]) == ("ADDED", "new", True)
            await server.world.service.delete("argo", "new")
            gone = (await lines.next())["result"]
            assert (gone["type"], gone["workflow"]["metadata"]["name"]) == ("DELETED", "new")
        await server.quiet()

    play(scenario)


@pytest.mark.parametrize("path", [WATCH, DELTAS])
def test_a_stream_that_begins_again_misses_nothing(path: str) -> None:
    async def scenario(server: Server) -> None:
        kept, changed, dropped = [await server.make(name) for name in ("kept", "changed", "dropped")]
        version = (await server.client.get("/api/v1/workflows/argo")).json()["metadata"]["resourceVersion"]
        await server.world.engine.move(changed, "Succeeded")
        await server.world.service.delete("argo", "dropped")
        async with server.client.stream("GET", f"{path}?listOptions.resourceVersion={version}") as response:
            lines = Lines(response)
            told = [(await lines.next())["result"] for _ in range(2)]
        names = {one["type"]: (one.get("object") or one["workflow"])["metadata"]["uid"] for one in told}
        assert names in ({"ADDED": changed, "DELETED": dropped}, {"MODIFIED": changed, "DELETED": dropped})
        assert kept not in names.values()

    play(scenario)


def test_a_stream_tells_in_the_order_of_its_sequence() -> None:
    async def scenario(server: Server) -> None:
        first, second = await server.make("first"), await server.make("second")
        await server.world.engine.move(first, "Running", message="later than the second")
        async with server.client.stream("GET", WATCH) as response:
            lines = Lines(response)
            told = [(await lines.next())["result"]["object"]["metadata"] for _ in range(2)]
        assert [one["uid"] for one in told] == [second, first]
        assert int(told[0]["resourceVersion"]) < int(told[1]["resourceVersion"])

    play(scenario)


@pytest.mark.parametrize("kind", ["watch", "deltas"])
@pytest.mark.parametrize("known", [False, True])
def test_what_ends_before_a_stream_has_begun_is_told(kind: str, known: bool) -> None:
    """A workflow ends between the request and the moment in which its answer begins; another one is deleted then."""

    async def scenario(server: Server) -> None:
        engine, service = server.world.engine, server.world.service
        ending, gone = await server.make("ending"), await server.make("gone")
        after = service.sequence if known else None
        wanted, told = Selection(namespace="argo"), asyncio.Queue[tuple[str, str, str]]()

        async def see(what: str, value: Any) -> None:
            found = msgspec.to_builtins(value)
            told.put_nowait((what, found["metadata"]["name"], found["status"]["phase"]))

        async def see_delta(delta: Delta) -> None:
            await see(delta.type, delta.workflow)

        stream = (
            service.watch(wanted, after=after).run(see) if kind == "watch" else service.deltas(wanted, after=after).run(see_delta)
        )
        await engine.move(ending, "Succeeded")
        await engine.delete(gone)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(stream)
            seen = {await told.get() for _ in range(2 if known else 1)}
            following.cancel()
        assert ("ADDED", "ending", "Succeeded") in seen
        assert {name for what, name, _ in seen if what == "DELETED"} == ({"gone"} if known else set())

    play(scenario)


def test_a_reader_too_slow_for_what_changed_is_told_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jitflow.app.deltas._HELD_RUNS", 1)

    async def scenario(server: Server) -> None:
        uids = [await server.make(f"wf-{number}", annotations={"a": "x"}) for number in range(4)]
        for uid in uids:
            await server.world.engine.move(uid, "Running", nodes=[step("a", "Running"), step("b", "Running")])
        changes = server.world.service.deltas(Selection(namespace="argo"), after=server.world.service.sequence)
        told: list[Delta] = []
        ready = asyncio.Event()

        async def sink(delta: Delta) -> None:
            await ready.wait()
            told.append(delta)

        async with asyncio.TaskGroup() as group:
            following = group.create_task(changes.run(sink))
            await asyncio.sleep(0)
            for uid in uids:
                await server.world.engine.move(uid, "Running", nodes=[step("b", "Succeeded")])
            for uid in uids:
                await server.world.engine.move(uid, "Running", nodes=[step("a", "Succeeded")])
            ready.set()
            while {one.workflow["metadata"]["uid"]: one for one in told}.keys() != set(uids) or len(told) < 4:
                await asyncio.sleep(0.01)
            following.cancel()
        assert any(one.complete for one in told)
        for uid in uids:
            nodes: dict[str, str] = {}
            for one in told:
                if one.workflow["metadata"]["uid"] == uid:
                    nodes |= {name: node.phase or "" for name, node in one.nodes.items()}
            assert nodes == {"a": "Succeeded", "b": "Succeeded"}

    play(scenario)


def test_what_happens_is_told_as_kubernetes_events() -> None:
    async def scenario(server: Server) -> None:
        await server.make("before")
        async with server.client.stream("GET", "/api/v1/stream/events/argo") as response:
            lines = Lines(response)
            uid = await server.make("one")
            told = [(await lines.next())["result"]]
            for node in (step("one.a", "Running"), step("one.a", "Failed", "exit code 1")):
                await server.world.engine.move(uid, "Running", nodes=[node])
                told.append((await lines.next())["result"])
            await server.world.engine.move(uid, "Failed", message="child failed")
            told.append((await lines.next())["result"])
        assert [(one["type"], one["reason"], one["message"]) for one in told] == [
            ("Normal", "WorkflowRunning", "Workflow Running"),
            ("Normal", "WorkflowNodeRunning", "Running node one.a"),
            ("Warning", "WorkflowNodeFailed", "Failed node one.a: exit code 1"),
            ("Warning", "WorkflowFailed", "child failed"),
        ]
        assert {one["involvedObject"]["name"] for one in told} == {"one"}

    play(scenario)


def test_a_slow_reader_gets_the_last_state_and_costs_little() -> None:
    async def scenario(server: Server) -> None:
        uids = [await server.make(f"wf-{number}", annotations={"a": "x" * 20_000}) for number in range(20)]
        reader, writer = await open_raw(server.url, WATCH)
        await reader.readuntil(b"\r\n\r\n")
        for turn in range(300):
            for uid in uids:
                await server.world.engine.move(uid, "Running", message=f"turn {turn}")
            await asyncio.sleep(0)
        for uid in uids:
            await server.world.engine.move(uid, "Succeeded", message="the end")
        read = 0
        ended: set[str] = set()
        async with asyncio.timeout(LIMIT_S):
            while len(ended) < len(uids):
                size = int((await reader.readuntil(b"\r\n")).strip(), 16)
                chunk = await reader.readexactly(size + 2)
                read += 1
                result = json.loads(chunk)["result"]
                if result["object"]["status"].get("message") == "the end":
                    ended.add(result["object"]["metadata"]["name"])
        assert read < 300 * len(uids) / 2, "states that nobody read are left out"
        writer.close()
        await server.quiet()

    play(scenario)


async def open_raw(
    url: str, path: str, headers: dict[str, str] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request by hand, so that nothing reads ahead."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", *(f"{key}: {value}" for key, value in (headers or HEADERS).items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()
    return reader, writer


def test_clients_that_leave_free_what_they_held() -> None:
    async def scenario(server: Server) -> None:
        await server.make("one")
        writers = []
        for headers in (HEADERS, EVENTS) * 5:
            reader, writer = await open_raw(server.url, WATCH, headers)
            await reader.readuntil(b"ADDED")
            writers.append(writer)
        assert server.world.service.watchers == 10
        for writer in writers:
            writer.transport.abort()
        await server.quiet()

    play(scenario)


def test_streams_end_when_the_service_closes() -> None:
    async def scenario(server: Server) -> None:
        await server.make("one")
        async with server.client.stream("GET", WATCH) as response:
            lines = Lines(response)
            await lines.event()
            await server.world.service.close()
            with contextlib.suppress(EOFError):
                raise AssertionError(await lines.next())
        await server.quiet()

    play(scenario)


def test_a_silent_event_stream_is_kept_alive() -> None:
    async def run() -> None:
        sent: list[bytes] = []
        gone = asyncio.Event()

        async def pump(_: object) -> None:
            await asyncio.Event().wait()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if len(sent) == 5:
                gone.set()

        stream = Stream(pump, events=True, closing=asyncio.Event(), keep_alive_s=0.01)
        async with asyncio.timeout(LIMIT_S):
            await stream({"type": "http"}, receive, send)
        assert sent[:5] == [b"", b":\n\n", b":\n\n", b":\n\n", b":\n\n"]

    asyncio.run(run())


def test_an_error_in_a_stream_is_told_in_the_stream() -> None:
    async def scenario(server: Server) -> None:
        await server.make("one")
        async with server.client.stream("GET", WATCH) as response:
            lines = Lines(response)
            await lines.event()
            server.world.engine.fail = RuntimeError("secret detail")
            await server.world.engine.move(server.world.service.find("argo", "one").uid, "Running", message="x")
            error = (await lines.next())["error"]
        assert (error["grpc_code"], error["http_code"]) == (13, 500)
        assert "secret" not in error["message"]
        await server.quiet()

    play(scenario)


def a_node(name: str, number: int, phase: str = "Running", **more: Any) -> argo.NodeStatus:
    return argo.NodeStatus(
        id=f"wf-{number}",
        name=f"wf.{name}",
        type="Pod",
        phase=phase,
        template_name="main",
        started_at="2026-01-01T00:00:00Z",
        **more,
    )


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000001Z"


LOG = "/api/v1/workflows/argo/wf/log"


def test_logs_of_all_pods_are_merged_by_time() -> None:
    async def scenario(server: Server) -> None:
        uid = await server.make("wf")
        world = server.world
        group = argo.NodeStatus(id="wf", name="wf", type="DAG", phase="Running", template_name="dag")
        pending = a_node("c", 3, "Pending")
        await world.engine.move(uid, "Running", nodes=[group, a_node("a", 1), a_node("b", 2), pending])
        for second in range(6):
            world.executor.write(f"{uid}.wf-{1 + second % 2}", at(second), f"line {second}")
        found = [json.loads(line)["result"] for line in (await server.client.get(LOG)).text.splitlines()]
        assert [entry["content"] for entry in found] == [f"line {second}" for second in range(6)]
        assert [entry["podName"] for entry in found] == ["wf-main-1", "wf-main-2"] * 3
        for path in ("/api/v1/workflows/argo/wf/wf-main-2/log", "/api/v1/workflows/argo/wf/wf-2/log", f"{LOG}?podName=wf-main-2"):
            one = [json.loads(line)["result"]["content"] for line in (await server.client.get(path)).text.splitlines()]
            assert one == ["line 1", "line 3", "line 5"]
        tail = await server.client.get(f"{LOG}?logOptions.tailLines=1&grep=line&logOptions.timestamps=true")
        contents = [json.loads(line)["result"]["content"] for line in tail.text.splitlines()]
        assert contents == [f"{at(4)} line 4", f"{at(5)} line 5"]
        answer = await server.client.get(f"{LOG}?logOptions.container=wait")
        assert answer.status_code == 400
        assert "the containers of this workflow are main" in answer.json()["message"]
        assert (await server.client.get(f"{LOG}?logOptions.previous=true")).status_code == 400
        chosen = await server.client.get(f"{LOG}?selector=workflows.argoproj.io/completed=true")
        assert chosen.text == ""
        assert (await server.client.get(f"{LOG}?selector=workflows.argoproj.io/workflow=wf,nobody notin (here)")).text
        assert (await server.client.get("/api/v1/workflows/argo/wf/none/log")).text == ""
        for bad in ("grep=(", "logOptions.tailLines=-1", "logOptions.sinceTime=x", "logOptions.follow=maybe"):
            answer = await server.client.get(f"{LOG}?{bad}")
            assert (answer.status_code, answer.json()["code"]) == (400, 3)

    play(scenario)


def test_followed_logs_show_pods_that_start_later_and_end_with_the_workflow() -> None:
    async def scenario(server: Server) -> None:
        uid = await server.make("wf")
        engine, executor = server.world.engine, server.world.executor
        await engine.move(uid, "Running", nodes=[a_node("a", 1)])
        executor.write(f"{uid}.wf-1", at(1), "first")
        async with server.client.stream("GET", f"{LOG}?logOptions.follow=true", headers=EVENTS) as response:
            lines = Lines(response)
            assert (await lines.next())["result"]["content"] == "first"
            executor.write(f"{uid}.wf-1", at(2), "second")
            assert (await lines.next())["result"]["content"] == "second"
            executor.write(f"{uid}.wf-2", at(3), "third")
            await engine.move(uid, "Running", nodes=[a_node("b", 2)])
            assert (await lines.next())["result"] == {"content": "third", "podName": "wf-main-2"}
            executor.end(f"{uid}.wf-1")
            executor.end(f"{uid}.wf-2")
            await engine.move(uid, "Succeeded")
            with contextlib.suppress(EOFError):
                raise AssertionError(await lines.next())
        await server.quiet()

    play(scenario)


def test_a_follower_that_leaves_frees_the_logs() -> None:
    async def scenario(server: Server) -> None:
        uid = await server.make("wf")
        await server.world.engine.move(uid, "Running", nodes=[a_node("a", 1)])
        server.world.executor.write(f"{uid}.wf-1", at(1), "first")
        reader, writer = await open_raw(server.url, f"{LOG}?logOptions.follow=true")
        await reader.readuntil(b"first")
        assert server.world.executor.following == 1
        writer.transport.abort()
        await server.quiet()

    play(scenario)
