"""Each command against a server of canned answers: what it sends, prints and returns."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_samples import node, workflow
from cli_stub import Stub, stub
from typer.testing import CliRunner, Result

from jitflow.cli.app import COMMANDS, app, load_command

Jitflow = Callable[..., Result]
NS = "/api/v1/workflows/default"


@pytest.fixture
def server() -> Iterator[Stub]:
    with stub() as found:
        yield found


@pytest.fixture
def jitflow(server: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jitflow:
    """Run a command at the stub; outside of it no server is known."""
    monkeypatch.setenv("JITFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JITFLOW_SERVER", server.url)
    monkeypatch.setenv("JITFLOW_TOKEN", server.token)
    for name in ("JITFLOW_CONFIG", "JITFLOW_NAMESPACE", "JITFLOW_DEBUG", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), prog_name="jitflow", **more)

    return run


def answer(server: Stub, route: str, body: Any, status: int = 200) -> None:
    server.routes[route] = lambda _query, _body: (status, body)


def sent(server: Stub, route: str) -> Any:
    return [body for found, _, body in server.requests if found == route][-1]


def query(server: Stub, route: str) -> dict[str, str]:
    return [found for name, found, _ in server.requests if name == route][-1]


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        inner = getattr(load_command(name), "commands", {})
        found += [(name,), *((name, sub) for sub in inner)]
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_with_an_example(jitflow: Jitflow, path: tuple[str, ...]) -> None:
    found = jitflow(*path, "--help")
    assert found.exit_code == 0
    assert found.stdout.startswith(f"Usage: jitflow {' '.join(path)}".rstrip())
    is_group = bool(path) and "COMMAND [ARGS]" in found.stdout.splitlines()[0]
    example = next((line for line in found.stdout.splitlines() if line.startswith("  Example: ")), "")
    assert is_group or f"jitflow {' '.join(path)}".rstrip() in example
    assert jitflow(*path, "-h").stdout == found.stdout


def test_unknown_commands_and_options_are_usage_errors(jitflow: Jitflow) -> None:
    assert jitflow("lst").exit_code == 2
    assert "No such command 'lst'" in jitflow("lst").stderr
    assert jitflow("list", "--nope").exit_code == 2
    assert jitflow("list", "-o", "xml").exit_code == 2
    assert jitflow().exit_code == 2


def test_no_server_is_one_clear_line(jitflow: Jitflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JITFLOW_SERVER")
    found = jitflow("list")
    assert found.exit_code == 1
    assert found.stderr.startswith("error: no server is running here; start one with `jitflow server`")
    assert "jitflow run" in found.stderr
    assert found.stdout == ""


def test_a_record_of_a_dead_server_is_no_server(jitflow: Jitflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JITFLOW_SERVER")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "server.json").write_text('{"url": "http://127.0.0.1:9", "pid": 999999999}')
    assert "no server is running here" in jitflow("list").stderr


def test_the_local_server_is_found_and_its_token_goes_nowhere_else(
    jitflow: Jitflow, server: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    home = tmp_path / "home"
    home.mkdir()
    (home / "server.json").write_text(json.dumps({"url": server.url, "pid": os.getpid()}))
    (home / "token").write_text("secret\n")
    monkeypatch.delenv("JITFLOW_TOKEN")
    answer(server, f"GET {NS}", {"items": None, "metadata": {}})
    monkeypatch.delenv("JITFLOW_SERVER")
    assert jitflow("list").exit_code == 0
    assert jitflow("list", "--server", server.url).exit_code == 0
    with stub() as other:
        found = jitflow("list", "--server", other.url)
    assert (found.exit_code, "token" in found.stderr) == (1, True)


def test_errors_never_are_tracebacks(jitflow: Jitflow, server: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    found = jitflow("get", "wf")
    assert (found.exit_code, found.stderr) == (1, f"error: no route GET {NS}/wf\n")
    answer(server, f"GET {NS}/wf", {"metadata": 5})
    found = jitflow("get", "wf")
    assert found.exit_code == 1
    assert found.stderr.startswith("error: ")
    assert "Traceback" not in found.output
    monkeypatch.setenv("JITFLOW_DEBUG", "1")
    assert jitflow("get", "wf").exception is not None


def test_list(jitflow: Jitflow, server: Stub) -> None:
    items = [workflow(name="b"), workflow(name="a", phase="Failed", message="child 'x'\nfailed")]
    answer(server, f"GET {NS}", {"items": items, "metadata": {}})
    table = jitflow("list")
    assert [line.split()[:2] for line in table.stdout.splitlines()] == [["NAME", "STATUS"], ["b", "Running"], ["a", "Failed"]]
    assert "child 'x' failed" in table.stdout
    assert "year=2024" in jitflow("list", "-o", "wide").stdout
    assert jitflow("list", "-o", "name").stdout == "b\na\n"
    assert json.loads(jitflow("list", "-o", "json").stdout) == items
    assert yaml.safe_load(jitflow("list", "-o", "yaml").stdout) == items


def test_list_sends_its_selectors(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {NS}", {"items": None})
    found = jitflow("list", "--running", "-l", "a=b", "--status", "Running,Pending", "--limit", "7", "--prefix", "x-")
    assert (found.exit_code, found.stderr) == (0, "no workflows\n")
    assert query(server, f"GET {NS}") | {"fields": ""} == {
        "listOptions.labelSelector": "a=b,workflows.argoproj.io/completed!=true,workflows.argoproj.io/phase in (Running,Pending),"
        "workflows.argoproj.io/workflow-archiving-status!=Persisted",
        "listOptions.fieldSelector": "metadata.name=x-",
        "nameFilter": "Prefix",
        "listOptions.limit": "7",
        "fields": "",
    }
    answer(server, "GET /api/v1/workflows/", {"items": [workflow()]})
    assert jitflow("list", "-A").stdout.splitlines()[1].split()[:2] == ["default", "wf"]


def test_get(jitflow: Jitflow, server: Stub) -> None:
    body = workflow(node("wf", "wf", kind="DAG", display="wf"), node("wf-1", "wf.a", "Pending", above="wf", startedAt=None))
    answer(server, f"GET {NS}/wf", body)
    answer(
        server,
        f"GET /api/jit{NS.removeprefix('/api')}/wf/data",
        {"items": [{"step": "uid-wf/wf-1", "phase": "fetching", "bytes_total": 2000, "bytes_done": 1000}]},
    )
    shown = jitflow("get", "wf").stdout
    assert "Name:        wf" in shown
    assert "year: 2024" in shown
    assert "└─ ◷ a  fetching 1.0 kB of 2.0 kB" in shown
    assert json.loads(jitflow("get", "wf", "-o", "json").stdout) == body
    assert yaml.safe_load(jitflow("get", "wf", "-o", "yaml").stdout) == body


def test_get_works_at_a_server_without_data(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {NS}/wf", workflow(node("wf-1", "wf.a")))
    assert "● a" in jitflow("get", "wf").stdout


def test_latest_is_the_newest(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {NS}", {"items": [workflow(name="new")]})
    answer(server, f"GET {NS}/new", workflow(name="new"))
    assert "new" in jitflow("get", "@latest").stdout
    assert query(server, f"GET {NS}")["listOptions.limit"] == "1"
    answer(server, f"GET {NS}", {"items": None})
    assert "there is no workflow in namespace default yet" in jitflow("get", "@latest").stderr


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", 0), ("Failed", 1), ("Error", 1)])
def test_watch_ends_with_the_workflow(jitflow: Jitflow, server: Stub, phase: str, code: int) -> None:
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: [
        {"result": {"type": "MODIFIED", "object": workflow(node("wf-1", "wf.a", "Succeeded", finishedAt=None), phase=phase)}}
    ]
    answer(server, f"GET {NS}/wf", workflow(node("wf-1", "wf.a")))
    found = jitflow("watch", "wf")
    assert found.exit_code == code
    assert "✔ a succeeded" in found.stdout
    lines = [json.loads(line) for line in jitflow("watch", "wf", "-o", "json").stdout.splitlines()]
    assert [(line["type"], line["object"]["status"]["phase"]) for line in lines] == [("ADDED", "Running"), ("MODIFIED", phase)]


def test_logs(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {NS}/wf", workflow(node("wf", "wf", kind="DAG"), node("wf-1", "wf.a"), node("wf-2", "wf.b")))
    server.routes[f"GET {NS}/wf/log"] = lambda _q, _b: [{"result": {"content": "hello", "podName": "wf-work-1"}}]
    assert jitflow("logs", "wf").stdout == "wf-work-1: hello\n"
    assert jitflow("logs", "wf", "a", "--tail", "3", "--grep", "h.*o", "--timestamps").stdout == "hello\n"
    assert query(server, f"GET {NS}/wf/log") == {
        "podName": "wf-work-1",
        "grep": "h.*o",
        "logOptions.container": "main",
        "logOptions.tailLines": "3",
        "logOptions.timestamps": "true",
    }
    assert json.loads(jitflow("logs", "wf", "-o", "json").stdout) == {"content": "hello", "podName": "wf-work-1"}
    for name in ("wf-work-2", "wf-2", "wf.b", "b"):
        jitflow("logs", "wf", name)
        assert query(server, f"GET {NS}/wf/log")["podName"] == "wf-work-2"
    assert "workflow wf has no step c" in jitflow("logs", "wf", "c").stderr
    jitflow("logs", "wf", "--since", "10m", "-l", "a=b")
    asked = query(server, f"GET {NS}/wf/log")
    assert (asked["logOptions.sinceSeconds"], asked["selector"]) == ("600", "a=b")
    assert jitflow("logs", "wf", "--since", "soon").exit_code == 2


def test_logs_follow(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {NS}/wf", workflow(phase="Succeeded"))
    server.routes[f"GET {NS}/wf/log"] = lambda _q, _b: [{"result": {"content": "2026-01-01T00:00:00Z hi", "podName": "p"}}]
    assert jitflow("logs", "wf", "-f").stdout == "p: hi\n"


@pytest.mark.parametrize(
    ("arguments", "body", "said"),
    [
        (["stop", "wf"], {}, "stopped"),
        (["terminate", "wf"], {}, "terminated"),
        (["suspend", "wf"], {}, "suspended"),
        (["resume", "wf", "--node-field-selector", "displayName=a"], {"nodeFieldSelector": "displayName=a"}, "resumed"),
        (
            ["retry", "wf", "-p", "a=b=c", "--restart-successful"],
            {"parameters": ["a=b=c"], "restartSuccessful": True},
            "retried",
        ),
    ],
)
def test_control(jitflow: Jitflow, server: Stub, arguments: list[str], body: dict[str, Any], said: str) -> None:
    route = arguments[0]
    answer(server, f"PUT {NS}/wf/{route}", workflow())
    found = jitflow(*arguments)
    assert (found.exit_code, found.stdout, found.stderr) == (0, "", f"workflow wf {said}\n")
    assert sent(server, f"PUT {NS}/wf/{route}") == {"namespace": "default", "name": "wf"} | body
    assert json.loads(jitflow(*arguments, "-o", "json").stdout) == [workflow()]


def test_control_of_several_does_what_it_can(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"PUT {NS}/a/stop", workflow(name="a"))
    answer(server, f"PUT {NS}/b/stop", {"code": 3, "message": "cannot shut down a completed workflow"}, 400)
    found = jitflow("stop", "b", "a")
    assert found.exit_code == 1
    assert found.stderr == "workflow a stopped\nerror: b: cannot shut down a completed workflow\n"


BULK = "/api/jit/v1/bulk/default"


def many(server: Stub, operation: str, *phases: tuple[str, str], refused: str = "") -> None:
    """Let the server have workflows of these names and phases, and answer a bulk operation; those named `refused…` say that."""
    there = {f"uid-{name}": (name, phase) for name, phase in phases}
    items = [workflow(name=name, phase=phase) for name, phase in there.values()]
    answer(server, f"GET {NS}", {"items": items})

    def act(_query: dict[str, str], body: Any) -> Any:
        found: list[dict[str, Any]] = []
        for uid in body["uids"]:
            if uid not in there:
                continue
            name, phase = there[uid]
            item = {"namespace": "default", "name": name, "uid": uid, "phase": phase, "outcome": "done"}
            if body["dry_run"]:
                item["outcome"] = "would"
            elif name.startswith("refused"):
                item |= {"outcome": "refused", "message": refused}
            elif operation == "resubmit":
                item["made"] = f"{name}-2"
            found.append(item)
        done = sum(item["outcome"] == "done" for item in found)
        told = {"operation": operation, "dry_run": body["dry_run"], "matched": len(found), "done": done, "remaining": 0}
        return 200, told | {"refused": len(found) - done, "items": found}

    server.routes[f"POST {BULK}/{operation}"] = act


def test_delete(jitflow: Jitflow, server: Stub) -> None:
    for name in ("a", "b"):
        answer(server, f"DELETE {NS}/{name}", {})
    assert jitflow("delete", "a", "b").stderr == "workflow a deleted\nworkflow b deleted\n"
    assert json.loads(jitflow("delete", "a", "-o", "json").stdout) == [{"name": "a", "deleted": True}]
    assert jitflow("delete", "c").exit_code == 1
    many(server, "delete", ("a", "Failed"), ("b", "Succeeded"))
    for said in ("n\n", ""):
        found = jitflow("delete", "--all", input=said)
        assert (found.exit_code, "nothing was done" in found.stderr) == (1, True)
    assert f"POST {BULK}/delete" not in [route for route, _, _ in server.requests]
    found = jitflow("delete", "--all", input="y\n")
    assert found.exit_code == 0
    assert "Delete 2 workflows of namespace default?" in found.stderr
    assert found.stderr.endswith("workflow a deleted\nworkflow b deleted\n2 workflows deleted\n")
    items = json.loads(jitflow("delete", "--all", "--yes", "--force", "-o", "json").stdout)
    assert [(item["name"], item["outcome"]) for item in items] == [("a", "done"), ("b", "done")]
    assert sent(server, f"POST {BULK}/delete")["force"] is True
    answer(server, f"GET {NS}", {"items": None})
    assert jitflow("delete", "--all").stderr == "no workflows\n"


def test_delete_in_all_namespaces(jitflow: Jitflow, server: Stub) -> None:
    there = [workflow(name=name, phase="Failed") for name in ("a", "b", "a")]
    for number, (item, namespace) in enumerate(zip(there, ("lab", "lab", "sea"), strict=True)):
        item["metadata"] |= {"namespace": namespace, "uid": f"uid-{number}"}
    answer(server, "GET /api/v1/workflows/", {"items": there})
    for namespace in ("lab", "sea"):

        def act(_query: dict[str, str], body: Any, namespace: str = namespace) -> Any:
            own = [item["metadata"] for item in there if item["metadata"]["namespace"] == namespace]
            assert body["uids"] == [one["uid"] for one in own]
            found = [{"namespace": namespace, "name": one["name"], "uid": one["uid"], "phase": "Failed"} for one in own]
            outcome = {"outcome": "refused", "message": "its artifacts stay"} if namespace == "sea" else {"outcome": "done"}
            told = {"operation": "delete", "dry_run": False, "matched": len(own), "done": 0, "refused": 0, "remaining": 0}
            return 200, told | {"items": [item | outcome for item in found]}

        server.routes[f"POST /api/jit/v1/bulk/{namespace}/delete"] = act
    found = jitflow("delete", "--completed", "-A", input="y\n")
    assert "Delete 3 workflows of all namespaces?" in found.stderr
    assert found.stderr.endswith(
        "workflow lab/a deleted\nworkflow lab/b deleted\n2 workflows deleted, 1 refused\nerror: sea/a: its artifacts stay\n"
    )
    assert found.exit_code == 1
    for wrong in (("a", "-A"), ("-A",)):
        refused = jitflow("delete", *wrong)
        assert (refused.exit_code, "select" in refused.stderr) == (2, True)


VERBS = ("stop", "terminate", "suspend", "resume", "retry", "resubmit", "delete")


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_selected_by_mistake(jitflow: Jitflow, server: Stub, verb: str) -> None:
    for arguments in ((), ("-l", ""), ("--field-selector", "", "--prefix", ""), ("a", "--all"), ("a", "-l", "b=c")):
        found = jitflow(verb, *arguments)
        assert (found.exit_code, "name the workflows, or select them" in found.stderr) == (2, True), found.output
    assert not server.requests


@pytest.mark.parametrize("verb", VERBS)
def test_selected_workflows_have_an_outcome_each(jitflow: Jitflow, server: Stub, verb: str) -> None:
    many(server, verb, ("a", "Failed"), ("b", "Failed"), ("refused-c", "Failed"), refused="it may not be")
    yes = ("--yes",) if verb == "delete" else ()
    found = jitflow(verb, "-l", "team=ocean", "--prefix", "train-", *yes, "-o", "json")
    assert found.exit_code == 1
    lines = found.stderr.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["a", "b"]
    assert lines[2].startswith("2 workflows ")
    assert lines[2].endswith("ed, 1 refused")
    assert lines[3:] == ["error: refused-c: it may not be"]
    assert [item["outcome"] for item in json.loads(found.stdout)] == ["done", "done", "refused"]
    asked = query(server, f"GET {NS}")
    assert (asked["listOptions.fieldSelector"], asked["nameFilter"]) == ("metadata.name=train-", "Prefix")
    labels = asked["listOptions.labelSelector"]
    assert labels.startswith("team=ocean,")
    assert ("completed!=true" in labels) == (verb in {"stop", "terminate", "suspend", "resume"})
    assert ("phase in (Failed,Error)" in labels) == (verb == "retry")
    body = sent(server, f"POST {BULK}/{verb}")
    assert (body["uids"], body["dry_run"]) == (["uid-a", "uid-b", "uid-refused-c"], False)


def test_a_dry_run_only_says_which(jitflow: Jitflow, server: Stub) -> None:
    many(server, "delete", ("a", "Failed"), ("b", ""))
    answer(server, f"GET {NS}/a", workflow(name="a", phase="Failed"))
    found = jitflow("delete", "--completed", "--older", "30d", "--dry-run", "-o", "json")
    assert found.exit_code == 0, found.output
    assert found.stderr.splitlines()[0] == "workflow a (Failed) would be deleted"
    assert {item["outcome"] for item in json.loads(found.stdout)} == {"would"}
    assert query(server, f"GET {NS}")["finishedBefore"].endswith("Z")
    assert sent(server, f"POST {BULK}/delete")["dry_run"] is True
    named = jitflow("delete", "a", "--dry-run", "-o", "json")
    assert named.stderr == "workflow a (Failed) would be deleted\n"
    assert json.loads(named.stdout)[0]["uid"] == "uid-a"
    assert not [route for route, _, _ in server.requests if route.startswith("DELETE")]
    assert jitflow("delete", "nobody", "--dry-run").exit_code == 1


def test_what_a_selection_needs_is_sent_in_parts(jitflow: Jitflow, server: Stub) -> None:
    items = [workflow(name=f"w{index}") for index in range(450)]
    many(server, "stop", *[(f"w{index}", "Running") for index in range(449)])
    server.routes[f"GET {NS}"] = lambda asked, _: (
        (200, {"items": items[:300], "metadata": {"continue": "300"}})
        if not asked.get("listOptions.continue")
        else (200, {"items": items[300:], "metadata": {}})
    )
    found = jitflow("stop", "--all", "--message", "enough", "--node-field-selector", "displayName=a")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr.splitlines()[-2:] == ["workflow w449 is gone", "449 workflows stopped"]
    bodies = [body for route, _, body in server.requests if route == f"POST {BULK}/stop"]
    assert [len(body["uids"]) for body in bodies] == [200, 200, 50]
    assert {(body["message"], body["selector"], body["limit"] >= len(body["uids"])) for body in bodies} == {
        ("enough", "displayName=a", True)
    }


def test_selected_workflows_are_waited_for(jitflow: Jitflow, server: Stub) -> None:
    many(server, "resubmit", ("a", "Failed"))
    answer(server, f"GET {NS}/a-2", workflow(name="a-2", phase="Succeeded"))
    found = jitflow("resubmit", "-l", "x=y", "--memoized", "-p", "n=1", "--wait")
    assert (found.exit_code, found.stderr) == (0, "workflow a resubmitted as a-2\n")
    assert "a-2 Succeeded" in found.stdout
    body = sent(server, f"POST {BULK}/resubmit")
    assert (body["memoized"], body["parameters"]) == (True, ["n=1"])


def test_servers(jitflow: Jitflow, server: Stub) -> None:
    one = {"host": "atlas", "pid": 7, "version": "1.0", "share": "home", "epoch": 0, "drives": 0, "age_s": 0.5, "began_at": 1.0}
    found = [one | {"url": "http://a:1", "leads": True, "drives": 3, "epoch": 4}, one | {"url": "http://b:2", "leads": False}]
    answer(server, "GET /api/jit/v1/servers", {"servers": found})
    said = jitflow("servers", "-o", "wide")
    assert said.exit_code == 0, said.output
    lines = [line.split() for line in said.stdout.splitlines()]
    assert lines[1][:4] == ["http://a:1", "yes,", "3", "workflows"]
    assert lines[2][:3] == ["http://b:2", "stands", "by"]
    assert json.loads(jitflow("servers", "-o", "json").stdout) == found


def test_usage(jitflow: Jitflow, server: Stub) -> None:
    found = {
        "namespace": "ocean", "since": 1767225600.0, "until": 1767312000.0, "workflows": {"Succeeded": 1200, "Failed": 1},
        "pods": {}, "resources_duration": {"cpu": 7200, "memory": 30}, "near_bytes": 5, "fetched_bytes": 2_000_000,
        "sent_bytes": 0, "spent": [], "spent_unknown": "the data service does not answer",
    }  # fmt: skip
    answer(server, "GET /api/jit/v1/usage/ocean", found)
    said = jitflow("usage", "-n", "ocean", "--since", "7d")
    assert said.exit_code == 0, said.output
    assert "workflows:     1 Failed, 1,200 Succeeded\n" in said.stdout
    assert "1 CPU:         2h\n" in said.stdout
    assert "fetched:       2.0 MB\n" in said.stdout
    assert "spent:         not known now: the data service does not answer\n" in said.stdout
    assert time.time() - float(query(server, "GET /api/jit/v1/usage/ocean")["since"]) == pytest.approx(7 * 86_400, abs=60)
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        assert read(jitflow("usage", "-n", "ocean", "-o", form).stdout) == found
    assert jitflow("usage", "--since", "yesterday").exit_code == 2


def test_remotes(jitflow: Jitflow, server: Stub, tmp_path: Path) -> None:
    answer(server, "GET /data/v1/remotes", {"items": [{"name": "far", "type": "s3", "options": {"provider": "Minio"}}]})
    assert jitflow("remote", "list").stdout.splitlines()[1].split() == ["far", "s3", "provider=Minio"]
    assert json.loads(jitflow("remote", "list", "-o", "json").stdout)[0]["name"] == "far"
    (tmp_path / "key").write_text("hidden\n")
    answer(server, "POST /data/v1/remotes", {"name": "new", "type": "s3"}, 201)
    assert jitflow("remote", "add", "new", "s3", "endpoint=http://x?a=b", f"secret_access_key=@{tmp_path}/key").exit_code == 0
    assert sent(server, "POST /data/v1/remotes") == {
        "name": "new",
        "type": "s3",
        "options": {"endpoint": "http://x?a=b", "secret_access_key": "hidden"},
    }
    assert jitflow("remote", "add", "new", "s3", "nonsense").exit_code == 2
    missing = jitflow("remote", "add", "new", "s3", "secret_access_key=@/no/such/file")
    assert (missing.exit_code, missing.stderr) == (1, "error: /no/such/file: No such file or directory\n")
    answer(server, "DELETE /data/v1/remotes/new", {})
    assert jitflow("remote", "remove", "new").exit_code == 0
    answer(server, "POST /data/v1/remotes/far/test", {"code": 14, "message": "connection refused"}, 503)
    found = jitflow("remote", "test", "far", "-o", "json")
    assert found.exit_code == 1
    assert json.loads(found.stdout) == {"name": "far", "ok": False, "error": "connection refused"}
    answer(server, "POST /data/v1/remotes/far/test", {})
    assert jitflow("remote", "test", "far").exit_code == 0
    answer(server, "PATCH /data/v1/remotes/far", {"name": "far", "type": "s3"})
    assert jitflow("remote", "set", "far", "region=", "endpoint=http://y").exit_code == 0
    assert sent(server, "PATCH /data/v1/remotes/far") == {"options": {"region": None, "endpoint": "http://y"}}


def test_types_of_remotes(jitflow: Jitflow, server: Stub) -> None:
    answer(
        server, "GET /data/v1/providers", {"items": [{"type": "sftp", "about": "SSH/SFTP"}, {"type": "s3", "about": "Amazon"}]}
    )
    assert [line.split()[0] for line in jitflow("remote", "types").stdout.splitlines()] == ["TYPE", "sftp", "s3"]
    assert jitflow("remote", "types", "-o", "name").stdout == "sftp\ns3\n"
    options = [{"name": "host", "type": "string", "about": "The host.\nMore.", "is_required": True}]
    answer(server, "GET /data/v1/providers/sftp", {"type": "sftp", "about": "SSH/SFTP", "options": options})
    assert jitflow("remote", "types", "sftp").stdout.splitlines()[1].split() == ["host", "string", "yes", "The", "host."]
    answer(server, "GET /data/v1/providers/odd", {"code": 5, "message": "no type odd"}, 404)
    assert jitflow("remote", "types", "odd").exit_code == 1


FILL = {
    "capacity_bytes": 1000, "used_bytes": 500, "resident_bytes": 400, "pinned_bytes": 1, "dirty_bytes": 2, "peak_bytes": 900,
    "fetched_bytes": 5000, "fetched_twice_bytes": 0, "stored_bytes": 7,
}  # fmt: skip
REPLICA = {"ref": {"remote": "far", "path": "a"}, "size_bytes": 400, "state": "resident", "location": "x", "kept": True}


PIN = {"ref": {"remote": "far", "path": "d/"}, "namespace": "lab", "kept": True, "objects": 2, "size_bytes": 400}


def test_pins_and_quotas(jitflow: Jitflow, server: Stub) -> None:
    for action in ("pin", "unpin"):
        answer(server, f"POST /data/v1/primary/{action}", PIN)
        assert json.loads(jitflow("data", action, "far:d/", "-n", "lab", "-o", "json").stdout)["size_bytes"] == 400
        assert sent(server, f"POST /data/v1/primary/{action}") == {"ref": "far:d/", "namespace": "lab"}
    answer(server, "POST /data/v1/primary/pin", {**PIN, "message": "far:d/b: the quota of namespace lab has no room for it"})
    assert "not kept: far:d/b: the quota" in jitflow("data", "pin", "far:d/", "-n", "lab").stderr
    answer(server, "GET /data/v1/pins", {"items": [PIN]})
    assert jitflow("data", "pins").stdout.splitlines()[1].split() == ["lab", "2", "400", "B", "far:d/"]
    answer(server, "GET /data/v1/pins", {"items": []})
    assert "nothing is pinned" in jitflow("data", "pins").stderr
    one = {
        "namespace": "lab", "quota_bytes": 1000, "quota_objects": 9, "used_bytes": 700, "held_bytes": 500, "idle_bytes": 200,
        "pinned_bytes": 400, "objects": 4, "waiting_steps": 2,
    }  # fmt: skip
    answer(server, "GET /data/v1/quotas", {"items": [one, {**one, "namespace": "free", "quota_bytes": None, "quota_objects": 0}]})
    lines = [line.split() for line in jitflow("data", "quotas").stdout.splitlines()[1:]]
    assert lines[0] == ["lab", "1.0", "kB", "700", "B", "500", "B", "400", "B", "4", "of", "9", "2"]
    assert lines[1][:2] == ["free", "-"]


def test_data(jitflow: Jitflow, server: Stub) -> None:
    answer(
        server,
        "GET /data/v1/objects",
        {"items": [{"ref": {"remote": "far", "path": "d/a"}, "size_bytes": 2000, "modified": "M"}]},
    )
    assert jitflow("data", "ls", "far:d/").stdout.splitlines()[1].split() == ["2.0", "kB", "M", "far:d/a"]
    assert query(server, "GET /data/v1/objects") == {"ref": "far:d/"}
    answer(server, "GET /data/v1/primary", {"fill": FILL, "replicas": [REPLICA]})
    assert jitflow("data", "ls").stdout.splitlines()[1].split() == ["400", "B", "resident,", "kept", "far:a"]
    assert "500 B (50 %)" in jitflow("data", "fill").stdout
    assert FILL.items() <= json.loads(jitflow("data", "fill", "-o", "json").stdout).items()
    answer(
        server, "GET /data/v1/stat", {"object": {"ref": {"remote": "far", "path": "a"}, "size_bytes": 5, "hashes": {"md5": "0"}}}
    )
    assert "object.hashes.md5: 0" in jitflow("data", "stat", "far:a").stdout
    answer(server, "POST /data/v1/primary/stage", REPLICA)
    assert json.loads(jitflow("data", "stage", "far:a", "-o", "json").stdout)["size_bytes"] == 400
    assert sent(server, "POST /data/v1/primary/stage") == {"ref": "far:a"}
    estimate = {
        "objects": 2, "distinct_bytes": 5_000_000, "resident_bytes": 1_000_000, "to_move_bytes": 4_000_000,
        "free_bytes": 1_000_000, "evict_bytes": 3_000_000,
        "evictable_bytes": 3_500_000, "capacity_bytes": 9_000_000, "fits": True, "message": "",
        "link_Bps": 1e6, "transfer_s": 4.0, "money": {"EUR": 0.25}, "rows": [["far:a", 1_000_000, "resident"]],
    }  # fmt: skip
    answer(server, "POST /data/v1/primary/explain", estimate)
    told = jitflow("data", "explain", "far:a", "far:b/")
    assert (told.exit_code, sent(server, "POST /data/v1/primary/explain")) == (0, {"refs": ["far:a", "far:b/"]})
    for line in ("bytes to move:       4.0 MB", "time to move them:   4s at 1.0 MB/s", "fits now:            yes", "0.25 EUR"):
        assert line in told.stdout, told.stdout
    answer(
        server,
        "POST /data/v1/primary/explain",
        estimate | {"fits": False, "message": "too large", "link_Bps": None, "transfer_s": None},
    )
    told = jitflow("data", "explain", "far:a")
    assert (told.exit_code, "no: too large" in told.stdout, "nothing was measured" in told.stdout) == (1, True, True)
    assert json.loads(jitflow("data", "explain", "far:a", "-o", "json").stdout)["fits"] is False
    answer(server, "POST /data/v1/primary/evict", {})
    assert jitflow("data", "evict", "far:a").stderr == "far:a is removed from the primary\n"
    answer(server, "POST /data/v1/primary/evict", {"code": 9, "message": "far:a is read by a step"}, 409)
    assert jitflow("data", "evict", "far:a").stderr == "error: far:a is read by a step\n"


def test_links_and_bandwidth(jitflow: Jitflow, server: Stub) -> None:
    answer(server, "GET /data/v1/links", {"items": []})
    assert jitflow("data", "links").stderr == "no link was used yet\n"
    link = {"remote": "far", "rate_Bps": 2e6, "latency_s": 0.04, "streams": 6, "most_streams": 64, "active": 2, "stalls": 1}
    answer(server, "GET /data/v1/links", {"items": [link | {"up_Bps": None, "down_Bps": 2000}]})
    row = jitflow("data", "links").stdout.splitlines()[1]
    assert " ".join(row.split()) == "far 2.0 MB/s 40 ms 2 of 6 (at most 64) 2.0 kB/s down 1"
    answer(server, "GET /data/v1/bandwidth", {"time_zone": "UTC", "limits": []})
    assert jitflow("data", "bandwidth").stderr == "there is no limit\n"
    limit = {
        "remote": "*",
        "limit": "08:00,1M 19:00,off",
        "source": "api",
        "up_Bps": 10**6,
        "down_Bps": 10**6,
        "changes_at": 68400,
    }
    answer(server, "PUT /data/v1/bandwidth", {"time_zone": "UTC", "limits": [limit]})
    row = jitflow("data", "bandwidth", "08:00,1M 19:00,off", "far=").stdout.splitlines()[1]
    assert " ".join(row.split()) == "all together 1.0 MB/s Thu 19:00 UTC 08:00,1M 19:00,off api"
    assert sent(server, "PUT /data/v1/bandwidth") == {"limits": {"*": "08:00,1M 19:00,off", "far": None}}
    jitflow("data", "bandwidth", "--time-zone", "Europe/Berlin")
    assert sent(server, "PUT /data/v1/bandwidth") == {"limits": {}, "time_zone": "Europe/Berlin"}


def test_uploads(jitflow: Jitflow, server: Stub) -> None:
    answer(server, "GET /data/v1/uploads", {"items": []})
    assert jitflow("data", "uploads").stderr == "every output is at its far store\n"
    one = {"ref": {"remote": "far", "path": "a"}, "step": "u/n", "size_bytes": 4000}
    rows = [
        one | {"state": "sending", "done_bytes": 1000, "rate_Bps": 500.0},
        one | {"state": "queued", "place": 2, "message": "M"},
    ]
    answer(server, "GET /data/v1/uploads", {"items": rows})
    lines = jitflow("data", "uploads").stdout.splitlines()
    assert lines[1].split() == ["4.0", "kB", "sending", "far:a", "1.0", "kB", "sent", "at", "500", "B/s"]
    assert lines[2].split() == ["4.0", "kB", "queued", "2", "far:a", "M"]
    assert json.loads(jitflow("data", "uploads", "-o", "json").stdout)[1]["place"] == 2
    answer(server, "POST /data/v1/uploads/retry", {"items": [one["ref"]]})
    assert jitflow("data", "retry-uploads").stderr == "far:a is sent again\n"
    assert sent(server, "POST /data/v1/uploads/retry") == {"ref": ""}
    answer(server, "POST /data/v1/uploads/retry", {"items": []})
    assert jitflow("data", "retry-uploads").stderr == "there is no output that could not be sent\n"
    answer(server, "POST /data/v1/uploads/drop", {})
    assert jitflow("data", "drop-upload", "far:a").stderr == "far:a is deleted\n"


def test_version(jitflow: Jitflow, server: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    from jitflow import __version__

    answer(server, "GET /api/v1/version", {"version": "v9"})
    assert jitflow("version").stdout == f"jitflow {__version__}\nserver v9\n"
    assert json.loads(jitflow("version", "-o", "json").stdout) == {"client": __version__, "server": {"version": "v9"}}
    monkeypatch.delenv("JITFLOW_SERVER")
    assert jitflow("version").stdout == f"jitflow {__version__}\n"
    assert jitflow("--version").stdout == f"{__version__}\n"


ARCHIVE = "/api/v1/archived-workflows"
UID = "3c1c6a1c-4a0c-4a5a-9a53-0d6d0a6e3d0e"


def archived(name: str, phase: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "uid": UID}, "status": {"phase": phase}}


def test_archive_list(jitflow: Jitflow, server: Stub) -> None:
    past = archived("old", "Failed")
    answer(server, f"GET {ARCHIVE}", {"metadata": {"continue": "1"}, "items": [past]})
    found = jitflow("archive", "list", "-l", "a=b", "--prefix", "o", "--limit", 1)
    assert (found.exit_code, "old" in found.stdout, UID in found.stdout) == (0, True, True)
    assert "more with --limit" in found.stderr
    assert query(server, f"GET {ARCHIVE}") == {
        "namespace": "default",
        "namePrefix": "o",
        "listOptions.labelSelector": "a=b",
        "listOptions.limit": "1",
    }
    assert jitflow("archive", "list", "-A", "-o", "name").stdout == f"{UID}\n"
    assert "namespace" not in query(server, f"GET {ARCHIVE}")


def test_archive_takes_uids_and_names(jitflow: Jitflow, server: Stub) -> None:
    past = archived("old", "Failed")
    answer(server, f"GET {ARCHIVE}/", past)
    answer(server, f"GET {ARCHIVE}/{UID}", past)
    answer(server, f"DELETE {ARCHIVE}/{UID}", {})
    answer(server, f"PUT {ARCHIVE}/{UID}/retry", past)
    answer(server, f"PUT {ARCHIVE}/{UID}/resubmit", archived("old-2", "Pending"))
    assert yaml.safe_load(jitflow("archive", "get", UID).stdout)["metadata"]["name"] == "old"
    assert "Failed" in jitflow("archive", "get", "old", "-o", "table").stdout
    assert query(server, f"GET {ARCHIVE}/") == {"namespace": "default", "name": "old"}
    assert jitflow("archive", "delete", "old").stderr == "workflow old removed from the archive\n"
    assert jitflow("archive", "retry", UID, "-p", "a=1").stderr == f"workflow {UID} retried as old\n"
    assert sent(server, f"PUT {ARCHIVE}/{UID}/retry") == {"uid": UID, "parameters": ["a=1"]}
    assert jitflow("archive", "resubmit", UID, "--memoized").stderr == f"workflow {UID} resubmitted as old-2\n"
    assert sent(server, f"PUT {ARCHIVE}/{UID}/resubmit") == {"uid": UID, "memoized": True}
    gone = UID.replace("3", "4")
    refused = jitflow("archive", "delete", UID, gone)
    assert (refused.exit_code, gone in refused.stderr) == (1, True)


def test_archive_labels(jitflow: Jitflow, server: Stub) -> None:
    answer(server, f"GET {ARCHIVE}-label-keys", {})
    answer(server, f"GET {ARCHIVE}-label-values", {"items": ["a", "b"]})
    assert jitflow("archive", "list-label-keys").stdout == ""
    assert jitflow("archive", "list-label-values", "team").stdout == "a\nb\n"
    assert query(server, f"GET {ARCHIVE}-label-values") == {"namespace": "default", "listOptions.labelSelector": "team"}


# -- workflows of another Argo, and backfills --------------------------------------------------------------------------

FOREIGN = {
    "namespace": "argo", "name": "align-1", "uid": "u", "phase": "Running", "ended": "", "first_heard_at": 1.0, "heard_at": 2.0,
    "objects": 3, "near": 2, "held_steps": 1, "open_steps": 2, "problems": ["artifact x: it is not known yet where it lies"],
}  # fmt: skip


def test_foreign_lists_and_shows_workflows_of_another_argo(server: Stub, jitflow: Jitflow) -> None:
    answer(server, "GET /api/jit/v1/foreign-workflows/argo", {"items": [FOREIGN]})
    listed = jitflow("foreign", "list", "-n", "argo")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.splitlines()[1].split()[:6] == ["argo", "align-1", "Running", "2", "1", "2/3"]
    one = {"object": "far:data/a", "state": "resident", "size_bytes": 1000, "near": "near:data/a"}
    step = {"name": "align-1.a", "template": "a", "state": "active", "held": True, "objects": [one], "message": ""}
    answer(server, "GET /api/jit/v1/foreign-workflows/argo/align-1", {**FOREIGN, "steps": [step, {**step, "objects": []}]})
    shown = jitflow("foreign", "get", "align-1", "-n", "argo")
    assert shown.exit_code == 0, shown.output
    assert "active (held)" in shown.stdout
    assert "near:data/a" in shown.stdout
    assert "not known yet" in shown.stdout
    assert json.loads(jitflow("foreign", "get", "align-1", "-n", "argo", "-o", "json").stdout)["near"] == 2
    assert jitflow("foreign", "list", "-n", "argo", "-o", "name").stdout == "align-1\n"
    assert "not known yet" in jitflow("foreign", "list", "-n", "argo", "-o", "wide").stdout
    assert yaml.safe_load(jitflow("foreign", "list", "-n", "argo", "-o", "yaml").stdout)[0]["name"] == "align-1"
    answer(server, "GET /api/jit/v1/foreign-workflows/", {"items": []})
    assert "no workflows" in jitflow("foreign", "list", "-A").output


def test_events_of_another_argo_are_sent(server: Stub, jitflow: Jitflow) -> None:
    outcome = {"outcome": "taken", "message": "2 objects", "namespace": "argo", "name": "w", "uid": "u", "phase": "Running"}
    answer(server, "POST /events/argo", outcome)
    assert jitflow("foreign", "send", input='{"type": "ADD"}').stderr == "argo/w: taken; 2 objects\n"
    assert sent(server, "POST /events/argo") == {"type": "ADD"}
    assert json.loads(jitflow("foreign", "send", "-", "-o", "json", input="{}").stdout) == outcome
    assert jitflow("foreign", "send", input="{").exit_code == 2


def test_cron_backfill_asks_for_what_its_options_say(server: Stub, jitflow: Jitflow) -> None:
    base = "/api/jit/v1/cron-workflows/default/daily/backfills"
    made = {
        "namespace": "default", "cron": "daily", "name": "b", "phase": "Running", "start": "2024-01-01", "end": "",
        "parallelism": 1, "order": "newest", "argname": "date", "created_at": 1.0, "counts": {"Waiting": 3}, "runs": None,
    }  # fmt: skip
    answer(server, f"POST {base}", made)
    done = jitflow(
        "cron", "backfill", "daily", "--start", "2024-01-01", "--argname", "date", "--format", "%Y", "--order", "newest"
    )
    assert done.exit_code == 0, done.output
    assert "backfill b of daily: 3 Waiting" in done.output
    assert sent(server, f"POST {base}") == {
        "start": "2024-01-01", "end": "", "name": "", "parallelism": 1, "order": "newest", "argname": "date", "format": "%Y",
        "max_count": 1000,
    }  # fmt: skip
    answer(server, f"GET {base}", {"items": [made]})
    assert jitflow("cron", "backfills", "daily").stdout.splitlines()[1].split()[:4] == ["b", "Running", "2024-01-01", "now"]
    assert jitflow("cron", "backfills", "daily", "-o", "name").stdout == "b\n"
    assert "newest" in jitflow("cron", "backfills", "daily", "-o", "wide").stdout
    run = {"scheduled": "2024-01-01T02:00:00Z", "workflow": "daily-b-1", "state": "Error", "message": "no"}
    answer(server, f"GET {base}/b", {**made, "runs": [run]})
    assert jitflow("cron", "backfills", "daily", "b").stdout.splitlines()[1].split() == [*list(run.values())]
    assert yaml.safe_load(jitflow("cron", "backfills", "daily", "b", "-o", "yaml").stdout)["runs"] == [run]
    answer(server, f"PUT {base}/b/cancel", {**made, "counts": {"Cancelled": 3}})
    assert "3 Cancelled" in jitflow("cron", "cancel-backfill", "daily", "b", "--terminate").output
    assert sent(server, f"PUT {base}/b/cancel") == {"terminate": True}
    answer(server, f"DELETE {base}/b", {})
    assert jitflow("cron", "forget-backfill", "daily", "b").exit_code == 0


def test_templates_and_other_objects_are_listed_shown_and_deleted(server: Stub, jitflow: Jitflow) -> None:
    template = {"metadata": {"name": "greeter", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}}
    for words, path in (
        (("template",), "/api/v1/workflow-templates/default"),
        (("template", "--cluster"), "/api/v1/cluster-workflow-templates"),
        (("cron",), "/api/v1/cron-workflows/default"),
        (("object", "configmap"), "/api/jit/v1/objects/default/ConfigMap"),
    ):
        group, *rest = words
        answer(server, f"GET {path}", {"items": [template], "metadata": {}})
        answer(server, f"GET {path}/greeter", template)
        answer(server, f"DELETE {path}/greeter", {})
        assert jitflow(group, "list", *rest).stdout.splitlines()[1].split()[0] == "greeter"
        assert jitflow(group, "list", *rest, "-o", "name").stdout == "greeter\n"
        assert json.loads(jitflow(group, "list", *rest, "-o", "json").stdout) == [template]
        assert yaml.safe_load(jitflow(group, "get", *rest, "greeter").stdout) == template
        assert jitflow(group, "get", *rest, "greeter", "-o", "name").stdout == "greeter\n"
        assert "greeter deleted" in jitflow(group, "delete", *rest, "greeter").stderr
    found = jitflow("object", "list", "pod")
    assert (found.exit_code, "ConfigMap" in found.stderr) == (2, True)


def test_schedules_are_suspended_and_resumed(server: Stub, jitflow: Jitflow) -> None:
    cron = {"metadata": {"name": "nightly"}, "spec": {"schedules": ["0 2 * * *"], "suspend": True}}
    answer(server, "GET /api/v1/cron-workflows/", {"items": [cron], "metadata": {}})
    assert jitflow("cron", "list", "-A").stdout.splitlines()[1].split()[-1] == "-"
    for verb in ("suspend", "resume"):
        answer(server, f"PUT /api/v1/cron-workflows/default/nightly/{verb}", cron)
        assert jitflow("cron", verb, "nightly").exit_code == 0


def test_suspended_nodes_are_set(server: Stub, jitflow: Jitflow) -> None:
    answer(server, f"PUT {NS}/wf/set", workflow())
    selector = "displayName=ask"
    done = jitflow("set", "wf", "--node-field-selector", selector, "--output-parameter", "a=1", "--phase", "Succeeded")
    assert done.exit_code == 0, done.output
    body = sent(server, f"PUT {NS}/wf/set")
    assert (body["nodeFieldSelector"], json.loads(body["outputParameters"]), body["phase"]) == (selector, {"a": "1"}, "Succeeded")
    assert jitflow("set", "wf", "--node-field-selector", selector).exit_code == 2
    assert "--output-parameter a" in jitflow("set", "wf", "--node-field-selector", selector, "--output-parameter", "a").stderr


def test_events_are_sent_and_limits_kept(server: Stub, jitflow: Jitflow) -> None:
    answer(server, "POST /api/v1/events/default/push", {})
    assert jitflow("event", "send", "push", input='{"a": 1}').exit_code == 0
    assert sent(server, "POST /api/v1/events/default/push") == {"a": 1}
    assert jitflow("event", "send", "push", input="{").exit_code == 2
    changed = {"type": "MODIFIED", "sequence": 7, "workflow": {"metadata": {"name": "wf"}}}
    server.routes["GET /api/jit/v1/workflow-deltas/"] = lambda _q, _b: (
        (403, {}) if _q.get("listOptions.resourceVersion") else [{"result": changed}]
    )
    told = jitflow("event", "changes", "-A", "-l", "a=b").stdout.splitlines()
    assert json.loads(told[0])["sequence"] == 7
    assert query(server, "GET /api/jit/v1/workflow-deltas/")["listOptions.labelSelector"] == "a=b"
    limit = {"key": "gate", "namespace": "default", "limit": 3}
    answer(server, "PUT /api/v1/sync/default/gate", {"code": 5, "message": "not found"}, 404)
    answer(server, "POST /api/v1/sync/default", limit)
    answer(server, "GET /api/v1/sync/default/gate", limit)
    answer(server, "DELETE /api/v1/sync/default/gate", {})
    assert jitflow("sync", "set", "gate", "3").exit_code == 0
    assert sent(server, "POST /api/v1/sync/default") == {"key": "gate", "limit": 3, "namespace": "default", "type": "DATABASE"}
    assert jitflow("sync", "get", "gate").stdout == "3\n"
    assert jitflow("sync", "delete", "gate").exit_code == 0


def test_waiting_ends_as_the_workflows_did(server: Stub, jitflow: Jitflow) -> None:
    for phase, code in (("Succeeded", 0), ("Failed", 1)):
        answer(server, f"GET {NS}/wf", workflow(phase=phase))
        found = jitflow("wait", "wf", "-o", "json")
        assert (found.exit_code, json.loads(found.stdout)[0]["phase"]) == (code, phase)
    answer(server, f"GET {NS}/wf", workflow())
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: []
    found = jitflow("wait", "wf", "--timeout", "1s")
    assert (found.exit_code, "goes on" in found.stderr) == (4, True)
    server.stop()
    assert jitflow("wait", "wf").exit_code == 3
    server.start()


@pytest.mark.parametrize("how", ["--wait", "--watch", "--log"])
def test_the_time_of_waiting_ends(server: Stub, jitflow: Jitflow, how: str) -> None:
    answer(server, f"GET {NS}/wf", workflow())
    event = {"result": {"type": "MODIFIED", "object": workflow()}}
    server.routes["GET /api/v1/workflow-events/default"] = lambda _q, _b: (event for _ in iter(lambda: time.sleep(0.1), 0))
    for verb in ("retry", "resubmit"):
        answer(server, f"PUT {NS}/wf/{verb}", workflow())
        began = time.monotonic()
        found = jitflow(verb, "wf", how, "--timeout", "1s")
        assert (found.exit_code, "error: workflow wf has not ended within 1 s; it goes on\n" in found.stderr) == (4, True)
        assert 1 <= time.monotonic() - began < 8
    answer(server, f"GET {NS}/wf", workflow(phase="Succeeded"))
    assert jitflow("retry", "wf", how, "--timeout", "1m").exit_code == 0


def test_whose_refusal_it_is_says_the_exit_code(server: Stub, jitflow: Jitflow) -> None:
    for wrong in (
        ("retry", "wf", "--timeout", "1m"),
        ("wait", "wf", "--timeout", "soon"),
        ("retry", "wf", "--wait", "--timeout", "0s"),
    ):
        assert jitflow(*wrong).exit_code == 2, wrong
    assert server.requests == []
    answer(server, "PATCH /data/v1/remotes/far", {"code": 3, "message": "no option of that name"}, 400)
    found = jitflow("remote", "set", "far", "wrong=1")
    assert (found.exit_code, found.stderr) == (1, "error: no option of that name\n")


def test_get_wide_names_the_pods(server: Stub, jitflow: Jitflow) -> None:
    answer(server, f"GET {NS}/wf", workflow(node("wf-1", "wf.a"), phase="Succeeded"))
    answer(server, "GET /api/jit/v1/workflows/default/wf/notes", {"items": []})
    assert "POD" in jitflow("get", "wf", "-o", "wide").stdout
    assert jitflow("get", "wf", "-o", "name").stdout == "wf\n"


def test_retried_and_resubmitted_workflows_are_waited_for(server: Stub, jitflow: Jitflow) -> None:
    for verb, phase, code in (("retry", "Succeeded", 0), ("resubmit", "Failed", 1)):
        answer(server, f"PUT {NS}/wf/{verb}", workflow())
        answer(server, f"GET {NS}/wf", workflow(phase=phase))
        found = jitflow(verb, "wf", "--wait")
        assert (found.exit_code, f"wf {phase}" in found.stdout) == (code, True), found.output


def test_stopping_says_why_and_of_which_steps(server: Stub, jitflow: Jitflow) -> None:
    answer(server, f"PUT {NS}/wf/stop", workflow())
    assert jitflow("stop", "wf", "--message", "enough", "--node-field-selector", "displayName=a").exit_code == 0
    body = sent(server, f"PUT {NS}/wf/stop")
    assert (body["message"], body["nodeFieldSelector"]) == ("enough", "displayName=a")


def test_lists_of_a_time(server: Stub, jitflow: Jitflow) -> None:
    answer(server, f"GET {NS}", {"items": None, "metadata": {}})
    assert jitflow("list", "--since", "1h", "--older", "10m").exit_code == 0
    asked = query(server, f"GET {NS}")
    assert asked["createdAfter"] < asked["finishedBefore"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 599))
    assert jitflow("list", "--since", "yesterday").exit_code == 2


def test_timeline_of_a_workflow_and_of_everything(server: Stub, jitflow: Jitflow) -> None:
    ref = {"remote": "far", "path": "a.csv"}
    step = {"id": "a", "name": "wf.a", "type": "Pod", "template": "t", "phase": "Succeeded", "started_at": 10, "finished_at": 20}
    move = {
        "ref": ref,
        "direction": "in",
        "size_bytes": 2_000_000,
        "started_at": 0,
        "finished_at": 10,
        "outcome": "ok",
        "error": "",
    }
    whole = {"namespace": "default", "name": "wf", "uid": "u", "phase": "Succeeded", "steps": [step]}
    answer(server, "GET /api/jit/v1/workflows/default/wf/timeline", {**whole, "transfers": [{**move, "steps": ["a"]}]})
    lines = jitflow("timeline", "wf").stdout.splitlines()
    assert lines[1].split() == ["⇣", "far:a.csv", "2.0", "MB", "0s", "10s", "█" * 20]
    assert lines[2].split() == ["wf.a", "Succeeded", "10s", "10s", "·" * 20 + "█" * 20]
    assert json.loads(jitflow("timeline", "wf", "-o", "json").stdout)["steps"][0]["id"] == "a"
    answer(server, "GET /api/jit/v1/workflows/default/wf/timeline", {**whole, "steps": [], "transfers": []})
    assert "nothing of workflow wf has begun yet" in jitflow("timeline", "wf").stderr
    answer(server, "GET /api/jit/v1/timeline", {"transfers": [move], "fill": [[1.0, 5], [2.0, 3]]})
    everything = jitflow("timeline", "--since", "2h")
    assert everything.stdout.splitlines()[1].split()[:4] == ["1970-01-01", "00:00:00Z", "⇣", "far:a.csv"]
    assert "held 3 B at last, 5 B at most" in everything.stderr
    assert float(query(server, "GET /api/jit/v1/timeline")["since"]) < time.time() - 7_000
    assert jitflow("timeline", "--since", "x").exit_code == 2
