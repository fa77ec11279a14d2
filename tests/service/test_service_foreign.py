"""Workflows of another Argo, whole: recorded events are played to a live server with a real far S3 store."""

import base64
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark.service import Server
from tests.service.service_kit import files_below, settings_for

from jitflow.testing.s3_server import S3Server

POC = Path(__file__).parents[2] / "poc" / "argo-events"
_specification = importlib.util.spec_from_file_location("replay", POC / "replay.py")
assert _specification is not None
assert _specification.loader is not None
replay = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(replay)

FOREIGN = "/api/jit/v1/foreign-workflows/argo"
OBJECTS = {"reads/s1.bin": 3000, "reads/s2.bin": 4000, "reads/s3.bin": 5000, "genome.bin": 7000, "report.bin": 100}
LENGTHS = {"in-order": 11, "repeated": 20, "out-of-order": 11, "base64": 11, "parameters": 9}


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("far")
    for number, (name, size) in enumerate(OBJECTS.items()):
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * size)
    (root / "data" / "set").mkdir()
    for name in ("one", "two", "three"):
        (root / "data" / "set" / f"{name}.csv").write_text(name * 100)
    with S3Server(root) as server:
        yield server


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("near")
    (root / "user-data" / "me" / "set").mkdir(parents=True)
    with S3Server(root) as server:
        yield server


@pytest.fixture(scope="module")
def server(far: S3Server, near: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = settings_for(far)
    settings["remotes"]["far"]["endpoints"] = ["far.example:9000"]
    settings["remotes"]["near"] = {"type": "s3", "options": near.options(), "endpoints": ["near.example:9000"]}
    settings["foreign"] = {"ahead": 2, "mirrors": {"data": {"near": "near:user-data/mirror", "far": "far:data/reads"}}}
    with Server(tmp_path_factory.mktemp("server") / "home", settings) as server:
        yield server


def play(server: Server, name: str, first: int = 1, last: int | None = None) -> list[dict[str, Any]]:
    token = (server.home / "token").read_text().strip().removeprefix("Bearer ")
    return replay.play(POC / "sequences" / f"{name}.jsonl", f"http://127.0.0.1:{server.port}", token, first=first, last=last)


def until(true: Callable[[], object], within_s: float = 30.0) -> None:
    limit = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < limit, "it did not come about in time"
        time.sleep(0.05)


def held(server: Server, name: str) -> set[str]:
    """Return the objects that are near and held for a workflow, as the API tells it."""
    steps = server.get(f"{FOREIGN}/{name}")["steps"]
    return {
        one["object"].removeprefix("far:data/")
        for step in steps
        if step["held"]
        for one in step["objects"]
        if one["state"] == "resident"
    }


def pinned(server: Server) -> int:
    return server.get("/data/v1/primary")["fill"]["pinned_bytes"]


def ended(server: Server, name: str) -> None:
    until(lambda: server.get(f"{FOREIGN}/{name}")["held_steps"] == 0 and pinned(server) == 0)
    assert server.get(f"{FOREIGN}/{name}")["ended"] == "Deleted"


def test_objects_are_near_while_the_workflow_runs_and_let_go_when_it_has_ended(server: Server, near: S3Server) -> None:
    name = "align-7kq2x"
    assert play(server, "in-order", last=1)[0]["outcome"] == "taken"
    until(lambda: held(server, name) == {"reads/s1.bin", "reads/s2.bin", "genome.bin"})
    play(server, "in-order", first=2, last=3)
    until(lambda: held(server, name) == OBJECTS.keys())
    mirrored = near.root / "user-data" / "mirror"
    until(lambda: {path.name for path in files_below(mirrored)} == {"s1.bin", "s2.bin", "s3.bin"})
    play(server, "in-order", first=4, last=7)
    until(lambda: held(server, name) == {"reads/s3.bin", "genome.bin", "report.bin"})
    assert pinned(server) == OBJECTS["reads/s3.bin"] + OBJECTS["genome.bin"] + OBJECTS["report.bin"]
    # A server that is killed and started again holds the same.
    server.kill()
    server.start()
    until(lambda: held(server, name) == {"reads/s3.bin", "genome.bin", "report.bin"})
    play(server, "in-order", first=8)
    ended(server, name)
    until(lambda: not files_below(mirrored))
    fill = server.get("/data/v1/primary")["fill"]
    assert (fill["fetched_bytes"], fill["fetched_twice_bytes"]) == (sum(OBJECTS.values()), 0)


@pytest.mark.parametrize(("sequence", "name"), [("repeated", "p4c9d"), ("out-of-order", "zt8mh"), ("base64", "w2v6n")])
def test_every_sequence_comes_to_the_same_end(server: Server, sequence: str, name: str) -> None:
    answers = play(server, sequence)
    assert len(answers) == LENGTHS[sequence]
    assert ("known" in {answer["outcome"] for answer in answers}) == (sequence != "base64")
    ended(server, f"align-{name}")


def test_files_of_the_older_convention_are_under_their_names_while_steps_read_them(server: Server, near: S3Server) -> None:
    folder, name = near.root / "user-data" / "me" / "set", "download-multiple-files-sv6mf"
    play(server, "parameters", last=2)
    until(lambda: {path.name for path in files_below(folder)} == {"one.csv", "two.csv", "three.csv"})
    play(server, "parameters", first=3, last=5)
    until(lambda: {path.name for path in files_below(folder)} == {"two.csv", "three.csv"})
    play(server, "parameters", first=6)
    until(lambda: not files_below(folder))
    ended(server, name)


def test_what_cannot_be_understood_is_refused_with_its_place_under_both_paths(server: Server) -> None:
    event = {"type": "ADD", "body": {"kind": "Pod", "metadata": {}}}
    refused = server.call("POST", "/events/argo", event)
    assert refused.status_code == 400
    assert refused.json()["problems"][0]["place"] == {"path": "$.body.kind"}
    before = server.call("POST", "/workflow/event", {"workflow_submission": "{"})
    assert before.status_code == 400
    assert "$.workflow_submission" in before.json()["error"]
    assert (before.json()["code"], before.json()["message"]) == (3, before.json()["error"])
    assert server.call("POST", "/events/argo", None).status_code == 400
    body = (POC / "sequences" / "in-order.jsonl").read_text().splitlines()[-1]
    taken = server.call("POST", "/workflow/event", {"workflow_submission": json.loads(body)})
    assert (taken.status_code, taken.json()["outcome"]) == (200, "known")
    assert server.call("GET", f"{FOREIGN}/nothing").status_code == 404
    assert {one["namespace"] for one in server.get("/api/jit/v1/foreign-workflows/")["items"]} == {"argo"}
    assert server.get("/api/jit/v1/foreign-workflows/other")["items"] == []


def test_what_the_sensor_sends_is_understood(server: Server) -> None:
    """The Sensor's payload, applied to a resource event as Argo Events does it: values by their keys, texts unless raw."""
    (sensor,) = yaml.safe_load_all((POC / "sensor.yaml").read_text())
    (source,) = yaml.safe_load_all((POC / "eventsource.yaml").read_text())
    (dependency,) = sensor["spec"]["dependencies"]
    assert dependency["eventSourceName"] == source["metadata"]["name"]
    assert dependency["eventName"] in source["spec"]["resource"]
    watched = source["spec"]["resource"][dependency["eventName"]]
    assert watched["groupVersionResource"] == {"group": "argoproj.io", "version": "v1alpha1", "resource": "workflows"}
    assert watched["eventTypes"] == ["ADD", "UPDATE", "DELETE"]
    http = sensor["spec"]["triggers"][0]["template"]["http"]
    assert http["url"].endswith("/events/argo")
    assert http["secureHeaders"][0]["valueFrom"]["secretKeyRef"] == {"name": "jitflow", "key": "authorization"}
    event = json.loads((POC / "sequences" / "in-order.jsonl").read_text().splitlines()[1])
    payload: dict[str, Any] = {}
    for field in http["payload"]:
        assert field["src"]["dependencyName"] == dependency["name"]
        value = event[field["src"]["dataKey"]]
        payload[field["dest"]] = value if field["src"].get("useRawData") or isinstance(value, str) else json.dumps(value)
    for sent in (
        payload,
        {"full_event": json.dumps({"context": {}, "data": base64.b64encode(json.dumps(event).encode()).decode()})},
    ):
        answer = server.call("POST", "/events/argo", sent)
        assert (answer.status_code, answer.json()["name"]) == (200, "align-7kq2x")


def test_the_manifests_belong_together() -> None:
    found = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in POC.glob("*.yaml")}
    assert set(found) == {"eventbus", "eventsource", "sensor", "rbac"}
    (bus,) = found["eventbus"]
    account, role, binding = found["rbac"]
    assert {bus["metadata"]["name"]} == {found[name][0]["spec"]["eventBusName"] for name in ("eventsource", "sensor")}
    users = {found[name][0]["spec"]["template"]["serviceAccountName"] for name in ("eventsource", "sensor")}
    assert users == {account["metadata"]["name"]} == {binding["subjects"][0]["name"]}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["rules"] == [{"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]}]
    assert {document["metadata"]["namespace"] for documents in found.values() for document in documents} == {"argo"}


def test_the_replayer_runs_as_a_program(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{server.port}"
    given = [str(POC / "sequences" / "repeated.jsonl"), "--server", url, "--pause", "0", "--last", "2"]
    assert replay.main([*given, "--token-file", str(server.home / "token")]) == 0
    assert "argo/align-p4c9d" in capsys.readouterr().out
    monkeypatch.setenv("JITFLOW_TOKEN", "wrong")
    assert replay.main(given) == 1
    assert "401" in capsys.readouterr().err
