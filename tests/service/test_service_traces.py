"""Traces of a real server as a real OTLP receiver gets them: from the request over the workflow to the pod and its transfers."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.service.service_kit import WORKFLOWS, ended, until

from jitflow.telemetry.traces import ANNOTATION

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MANIFEST = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: traced-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: read, template: read}
    - - {name: wait, template: wait}
  - name: read
    inputs:
      artifacts: [{name: far, path: /tmp/far, plugin: {name: rclone, key: "far:bucket/object"}}]
    outputs: {parameters: [{name: parent, valueFrom: {path: /tmp/parent}}]}
    container: {image: busybox, command: [sh, -c], args: ['cat /tmp/far; printf %s "$TRACEPARENT" > /tmp/parent']}
  - name: wait
    container: {image: busybox, command: [sh, -c], args: ['sleep 1']}
"""


class Collector:
    """Takes what OTLP/HTTP senders send, and keeps the spans."""

    def __init__(self) -> None:
        spans: list[dict[str, Any]] = []
        self.spans = spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = ExportTraceServiceRequest()
                sent.ParseFromString(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
                for resource in sent.resource_spans:
                    about = {one.key: one.value.string_value for one in resource.resource.attributes}
                    spans.extend(shown(span) | {"of": about} for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def find(self, holds: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        return [span for span in self.spans if holds(span)]

    def one(self, begins: str) -> dict[str, Any]:
        """Return the only span whose name begins so, when it has come."""
        limit = time.monotonic() + 15
        while not (found := self.find(lambda span: span["name"].startswith(begins))) and time.monotonic() < limit:
            time.sleep(0.05)
        assert len(found) == 1, (begins, [span["name"] for span in self.spans])
        return found[0]


SLEEPS = MANIFEST[: MANIFEST.index("  - name: main")] + "  - {name: main, suspend: {duration: 0s}}"


def shown(span: Any) -> dict[str, Any]:
    values = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
    return {
        "name": span.name,
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "began": span.start_time_unix_nano / 1e9,
        "ended": span.end_time_unix_nano / 1e9,
        "failed": span.status.code == 2,
        **values,
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def server(collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    (tmp_path / "far/bucket").mkdir(parents=True)
    (tmp_path / "far/bucket/object").write_bytes(b"x" * 1000)
    remotes = {"far": {"type": "local", "options": {"root": str(tmp_path / "far")}}}
    with Server(tmp_path / "home", {"telemetry": {"otlp": collector.url}, "remotes": remotes, "archive": False}) as found:
        yield found


def submit(server: Server, text: str, **headers: str) -> str:
    authorized = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/yaml", **headers}
    url = f"http://127.0.0.1:{server.port}{WORKFLOWS}"
    answer = httpx.post(url, content=text, headers=authorized, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["metadata"]["name"])


def test_a_trace_goes_from_the_request_to_the_pod_over_a_kill(server: Server, collector: Collector) -> None:
    name = submit(server, MANIFEST, traceparent=f"00-{TRACE}-{CALLER}-01")
    until(server, name, lambda one: any(node["displayName"] == "wait" for node in one["status"].get("nodes", {}).values()))
    read = collector.one("Pod read")
    server.kill()
    server.start()
    workflow = ended(server, name)
    assert workflow["status"]["phase"] == "Succeeded"
    whole = collector.one("workflow default/traced-")
    request = collector.one("POST /api/v1/workflows/{namespace}")
    assert (request["trace"], request["parent"], request["http.response.status_code"]) == (TRACE, CALLER, 200)
    assert (whole["trace"], whole["parent"]) == (TRACE, request["id"])
    assert workflow["metadata"]["annotations"][ANNOTATION] == f"00-{TRACE}-{request['id']}-01"
    assert (whole["jitflow.phase"], whole["of"]["service.name"]) == ("Succeeded", "jitflow")
    assert whole["of"]["deployment.environment.name"] == "test"
    main, group = collector.one("Steps "), collector.one("StepGroup [0]")
    assert (main["parent"], group["parent"], read["parent"]) == (whole["id"], main["id"], main["id"])
    fetch = collector.one("fetch far")
    assert (fetch["trace"], fetch["parent"]) == (TRACE, read["id"])
    assert (fetch["jitflow.bytes"], fetch["jitflow.attempt"], fetch["jitflow.outcome"]) == (1000, 1, "ok")
    told = next(node for node in workflow["status"]["nodes"].values() if node["displayName"] == "read")
    assert told["outputs"]["parameters"][0]["value"] == f"00-{TRACE}-{read['id']}-01"
    waited = collector.one("Pod wait")
    assert waited["trace"] == TRACE
    assert whole["began"] <= read["began"] <= read["ended"] <= waited["began"]
    assert 0.9 < waited["ended"] - waited["began"] < 30
    assert not collector.find(lambda span: span["failed"] or "healthz" in span["name"])


def test_what_fails_says_so_and_a_trace_that_is_not_told_stays_so(server: Server, collector: Collector) -> None:
    missing = MANIFEST.replace("cat /tmp/far", "exit 3")
    quiet = submit(server, MANIFEST, traceparent=f"00-{'1' * 32}-{CALLER}-00")
    loud = submit(server, missing)
    assert ended(server, loud)["status"]["phase"] == "Failed"
    assert collector.one("Pod read")["failed"]
    whole = collector.one("workflow default/traced-")
    assert (whole["jitflow.workflow.name"], whole["failed"]) == (loud, True)
    assert ended(server, quiet)["status"]["phase"] == "Succeeded"
    server.stop()  # what is left leaves
    assert not collector.find(lambda span: span["trace"] == "1" * 32)


def test_an_absent_collector_stops_nobody(tmp_path: Path) -> None:
    with Server(tmp_path / "home", {"telemetry": {"otlp": "http://127.0.0.1:9"}}) as server:
        name = submit(server, SLEEPS)
        workflow = ended(server, name)
        assert workflow["status"]["phase"] == "Succeeded"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 6
