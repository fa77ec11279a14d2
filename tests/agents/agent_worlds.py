"""A real HTTP server on loopback, and an engine with agents, for tests of templates that need no pod."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jitflow.bootstrap.system import RandomIds, SystemClock
from jitflow.dataplane import LocalDataPlane, PrimaryDirectory
from jitflow.engine import Engine, Images, Locator, RemoteName
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.runs import PodDefaults, RunTask
from jitflow.ports.agents import Agent, TaskResult
from jitflow.spec import load_one
from jitflow.testing.fake_executor import FakeExecutor, FakeMachine
from jitflow.testing.fake_storage import FakeStorage
from jitflow.testing.memory_store import MemoryStore

Answer = tuple[int, Mapping[str, str], str]
Asked = tuple[str, str, Mapping[str, str], str]


class WebServer:
    """Answers as `answer(method, path, headers, body)` says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, str, Mapping[str, str], str], Answer]) -> None:
        self.asked: list[Asked] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                headers = dict(self.headers.items())
                outer.asked.append((self.command, self.path, headers, body))
                status, more, text = answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do

            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def task(kind: str, **template: Any) -> RunTask:
    """Return the effect of a template, given as its manifest."""
    return RunTask(
        key="n",
        node_id="n",
        kind=kind,
        template=load_template({"name": "t", **template}),
        workflow_level=PodDefaults(namespace="default", workflow_name="wf", workflow_uid="u1"),
    )


def load_template(template: Mapping[str, Any]) -> argo.Template:
    return workflow({"entrypoint": "t", "templates": [template]}).spec.templates[0]


def workflow(spec: Mapping[str, Any], name: str = "wf") -> argo.Workflow:
    head = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name, "namespace": "default"}}
    manifest = load_one(json.dumps({**head, "spec": spec}), kinds=("Workflow",)).manifest
    assert isinstance(manifest, argo.Workflow)
    return manifest


def run(agent: Agent, wanted: RunTask) -> TaskResult:
    """Let an agent do a task."""
    return asyncio.run(agent.run("u1", wanted, lambda _: None))


@asynccontextmanager
async def engine(folder: Path, store: MemoryStore, agents: Mapping[str, Agent]) -> AsyncIterator[Engine]:
    """An engine over a store that outlives it."""
    clock, far = SystemClock(), FakeStorage(["far"])
    locator = Locator(remotes={"far": RemoteName(type="s3")}, repository=ObjectRef(remote="far", path="artifacts"))
    opened = Engine(
        store=store,
        executor=FakeExecutor(None, FakeMachine()),
        dataplane=LocalDataPlane(PrimaryDirectory(folder / "primary", far), 10_000_000, far, store, clock),
        clock=clock,
        ids=RandomIds(),
        images=Images({}),
        locator=lambda: locator,
        config=PodKeeperConfig(max_pods=1, lookahead=True, environment={}, grace_s=1.0),
        agents=agents,
    )
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def until(opened: Engine, uid: str, holds: Callable[[argo.Workflow], bool]) -> argo.Workflow:
    """Return a workflow when something is true of it."""
    found = None
    for _ in range(1500):
        found = await opened.fetch(uid)
        if found is not None and holds(found):
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {found}")


def is_ended(found: argo.Workflow) -> bool:
    return found.status is not None and found.status.phase in {"Succeeded", "Failed", "Error"}


def node(found: argo.Workflow, name: str = "wf") -> argo.NodeStatus:
    assert found.status is not None
    return next(one for one in found.status.nodes.values() if one.name == name)
