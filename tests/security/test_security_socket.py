"""The Unix socket of a server: for its owner, with a token, beside a port that speaks TLS."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.security.certificates import Authority

from jitflow.bootstrap.listening import listening
from jitflow.bootstrap.local import serve_in_thread
from jitflow.client import Client, Unauthenticated
from jitflow.settings import ServerSettings, Settings, SettingsError


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("socket")
    certificate, key = Authority(root / "authority").issue("127.0.0.1")
    server = ServerSettings(socket=str(root / "jitflow.sock"), certificate=str(certificate), key=str(key))
    with serve_in_thread(Settings(home=str(root / "home"), executor="process", server=server)):
        yield root


def test_it_answers_who_has_a_token(home: Path) -> None:
    address = f"unix:{home / 'jitflow.sock'}"
    with Client(address, token=(home / "home" / "token").read_text().strip()) as client:
        assert client.workflows.list().items == ()
    with Client(address, token="wrong") as client, pytest.raises(Unauthenticated):
        client.workflows.list()


def test_only_its_owner_can_open_it(home: Path) -> None:
    assert stat.S_IMODE((home / "jitflow.sock").stat().st_mode) == 0o600


def test_web_pages_names_are_refused(home: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(home / "jitflow.sock"))) as client:
        answers = [client.get(f"http://{host}/api/v1/version").status_code for host in ("localhost", "evil.example")]
    assert answers == [401, 403]


def test_a_socket_that_was_left_behind_is_replaced_and_taken_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "s"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    server = ServerSettings(port=0, socket=str(path))
    with listening(server) as (_, local):
        assert local is not None
        with pytest.raises(SettingsError, match="another program listens"), listening(server):
            pass
        assert path.is_socket()
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "problem"), [("file", "is no socket"), ("none/s", "cannot listen"), ("x" * 120, "at most 107 bytes")]
)
def test_other_paths_are_refused_and_left_alone(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match=problem), listening(ServerSettings(port=0, socket=str(tmp_path / name))):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_must_be_whole() -> None:
    with pytest.raises(SettingsError, match="absolute"), listening(ServerSettings(port=0, socket="s")):
        pass
