"""Servers by name: which one is chosen, where their tokens are, and what the file of the contexts holds."""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_stub import Stub, stub
from typer.testing import CliRunner, Result

from jitflow.cli.app import app

Jitflow = Callable[..., Result]
LIST = "GET /api/v1/workflows/{}"
NONE = {"items": None, "metadata": {}}


@pytest.fixture
def server() -> Iterator[Stub]:
    with stub() as found:
        for namespace in ("default", "ocean"):
            found.routes[LIST.format(namespace)] = lambda _q, _b: (200, NONE)
        yield found


@pytest.fixture
def jitflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jitflow:
    for name in ("JITFLOW_SERVER", "JITFLOW_TOKEN", "JITFLOW_CONTEXT", "JITFLOW_NAMESPACE", "JITFLOW_CONFIG", "JITFLOW_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JITFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda *arguments, **more: CliRunner().invoke(app, list(arguments), prog_name="jitflow", **more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "jitflow" / "contexts.toml"


def done(found: Result) -> Result:
    assert found.exit_code == 0, found.output
    return found


def test_a_context_chooses_server_namespace_and_token(
    jitflow: Jitflow, server: Stub, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOKEN", server.token)
    done(jitflow("context", "set", "lab", "--server", server.url, "-n", "ocean", "--token-env", "LAB_TOKEN"))
    assert "no server is running here" in jitflow("list").stderr
    done(jitflow("list", "--context", "lab"))
    done(jitflow("--context", "lab", "list"))
    assert "no server is running here" in jitflow("list").stderr, "what one call chose is not what the next one means"
    done(jitflow("context", "use", "lab"))
    done(jitflow("list"))
    assert [route for route, _, _ in server.requests] == [LIST.format("ocean")] * 3
    done(jitflow("list", "-n", "default"))
    assert server.requests[-1][0] == LIST.format("default")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert server.token not in file.read_text()


def test_what_is_named_wins_over_what_is_in_use(
    jitflow: Jitflow, server: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(server.token + "\n")
    done(jitflow("context", "set", "dead", "--server", "127.0.0.1:9", "--use"))
    done(jitflow("context", "set", "lab", "--server", server.url, "--token-file", str(tmp_path / "token")))
    assert jitflow("list").exit_code == 3
    monkeypatch.setenv("JITFLOW_CONTEXT", "lab")
    done(jitflow("list"))
    monkeypatch.setenv("JITFLOW_SERVER", "http://127.0.0.1:9")
    assert jitflow("list").exit_code == 3
    done(jitflow("list", "--context", "lab"))
    done(jitflow("list", "--server", server.url, "--token-file", str(tmp_path / "token")))
    found = jitflow("list", "--server", server.url, "--context", "lab")
    assert (found.exit_code, "exclude each other" in found.stderr) == (2, True)


def test_the_token_of_a_context_goes_to_no_other_server(jitflow: Jitflow, server: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", server.token)
    done(jitflow("context", "set", "lab", "--server", "127.0.0.1:9", "--token-env", "LAB_TOKEN", "--use"))
    found = jitflow("list", "--server", server.url)
    assert (found.exit_code, "token not valid" in found.stderr) == (1, True)


def test_tokens_are_kept_sealed_or_in_the_keyring(
    jitflow: Jitflow, server: Stub, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Ring(KeyringBackend):
        priority = 1  # pyright: ignore[reportAssignmentType]

        def __init__(self) -> None:
            super().__init__()
            self.held: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.held.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.held[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.held[service, username]

    before, ring = keyring.get_keyring(), Ring()
    keyring.set_keyring(ring)
    try:
        done(jitflow("context", "set", "ring", "--server", server.url, "--token-keyring", input=f"{server.token}\n"))
        done(jitflow("context", "set", "sealed", "--server", server.url, "--token-sealed", input=f"{server.token}\n"))
        assert ring.held == {("jitflow", "ring"): server.token}
        assert server.token not in file.read_text()
        for name in ("ring", "sealed"):
            done(jitflow("list", "--context", name))
        done(jitflow("context", "delete", "ring"))
        assert ring.held == {}
    finally:
        keyring.set_keyring(before)
    file.with_name("settings.key").write_bytes(b"another")
    found = jitflow("list", "--context", "sealed")
    assert (found.exit_code, "context sealed: token" in found.stderr) == (1, True)
    assert jitflow("context", "set", "x", "--server", "y", "--token-sealed", input="").exit_code == 2


def test_contexts_are_listed_shown_changed_and_deleted(jitflow: Jitflow, file: Path) -> None:
    assert "no contexts" in jitflow("context", "list").stderr
    assert "server of this machine" in jitflow("context", "show").stderr
    done(jitflow("context", "set", "b", "--server", "https://b.example.org", "--ca", "b.pem", "--token-file", "b.token"))
    done(jitflow("context", "set", "a \"quoted\" 'name'", "--server", "a:1", "--use"))
    assert done(jitflow("context", "list", "-o", "name")).stdout.splitlines() == ["a \"quoted\" 'name'", "b"]
    assert done(jitflow("context", "list", "-o", "wide")).stdout.splitlines()[2].split() == [
        "b", "https://b.example.org", "default", "file", "b.pem",
    ]  # fmt: skip
    assert json.loads(done(jitflow("context", "list", "-o", "json")).stdout)[1]["token"] == "file b.token"
    assert json.loads(done(jitflow("context", "show", "-o", "json")).stdout)["server"] == "a:1"
    done(jitflow("context", "set", "b", "-n", "ocean"))
    shown = json.loads(done(jitflow("context", "show", "b", "-o", "json")).stdout)
    assert (shown["server"], shown["namespace"], shown["in use"]) == ("https://b.example.org", "ocean", "no")
    done(jitflow("context", "use"))
    done(jitflow("context", "delete", "b"))
    for arguments in (("use", "b"), ("show", "b"), ("delete", "b")):
        found = jitflow("context", *arguments)
        assert (found.exit_code, "there is no context b" in found.stderr) == (1, True)
    assert jitflow("context", "set", "new").exit_code == 2
    assert jitflow("context", "set", "new", "--server", "x", "--token-env", "A", "--token-file", "b").exit_code == 2
    file.write_text("contexts = 5")
    assert "these are no contexts" in jitflow("list").stderr


@pytest.mark.parametrize("arguments", [("--token-file", "nothing"), ("--context", "nobody")])
def test_what_cannot_be_found_is_said(jitflow: Jitflow, arguments: tuple[str, ...]) -> None:
    found = jitflow("list", "--server", "127.0.0.1:9", *arguments) if "nothing" in arguments else jitflow("list", *arguments)
    assert found.exit_code == 1
    assert found.stderr.startswith("error: ")
    assert any(word in found.stderr for word in ("cannot read it", "there is no context nobody"))


def test_the_shell_completes_contexts_and_the_workflows_of_the_one_that_is_chosen(
    jitflow: Jitflow, server: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOKEN", server.token)
    body: Any = {"items": [{"metadata": {"name": "wf-1"}}], "metadata": {}}
    server.routes[LIST.format("ocean")] = lambda _q, _b: (200, body)
    done(jitflow("context", "set", "lab", "--server", server.url, "-n", "ocean", "--token-env", "LAB_TOKEN"))

    def completed(words: str) -> list[str]:
        # What the shell's script asks, in bash's way.
        environment = {"_JITFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return jitflow(env=environment).stdout.split()

    assert completed("jitflow get --context ") == ["lab"]
    assert completed("jitflow get --context lab ") == ["@latest", "wf-1"]
    assert completed("jitflow context use ") == ["lab"]
    assert "wait" in completed("jitflow wa")


@pytest.mark.parametrize("address", ["ftp://x", "http://", "https:///path", "unix:", "file:///x", "//"])
def test_an_address_of_no_server_is_a_usage_error_that_says_what_to_write(
    jitflow: Jitflow, monkeypatch: pytest.MonkeyPatch, file: Path, address: str
) -> None:
    found = jitflow("list", "--server", address)
    assert (found.exit_code, found.stderr.splitlines()[0].startswith(f"error: --server: {address!r} is no address")) == (2, True)
    assert "write http://HOST:PORT" in found.stderr
    assert jitflow("context", "set", "lab", "--server", address).exit_code == 2
    monkeypatch.setenv("JITFLOW_SERVER", address)
    named = jitflow("list")
    assert (named.exit_code, "JITFLOW_SERVER" in named.stderr) == (2, True)
    monkeypatch.delenv("JITFLOW_SERVER")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'current = "lab"\n[contexts.lab]\nserver = "{address}"\n')
    kept = jitflow("list")
    assert (kept.exit_code, "context lab" in kept.stderr) == (2, True)
