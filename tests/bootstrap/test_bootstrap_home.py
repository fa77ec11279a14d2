"""The data home: the server's record, secrets at rest."""

import os
import stat
from pathlib import Path

import pytest

from jitflow.bootstrap.home import Home
from jitflow.bootstrap.vault import Vault
from jitflow.settings import SettingsError

pytestmark = pytest.mark.pure


def test_a_server_is_found_while_its_process_lives(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    assert home.find_server() is None
    home.write_server("http://127.0.0.1:1")
    assert home.find_server() is None, "no token yet"
    home.token.write_text("secret\n")
    found = home.find_server()
    assert found is not None
    assert (found.url, found.token, found.pid) == ("http://127.0.0.1:1", "secret", os.getpid())
    home.forget_server()
    assert home.find_server() is None


@pytest.mark.parametrize(
    ("listens_at", "reached_at"),
    [
        ("http://0.0.0.0:2746", "http://127.0.0.1:2746"),
        ("https://[::]:1", "https://[::1]:1"),
        ("http://10.0.0.0:1", "http://10.0.0.0:1"),
    ],
)
def test_a_server_that_listens_everywhere_is_reached_on_this_machine(tmp_path: Path, listens_at: str, reached_at: str) -> None:
    home = Home(tmp_path)
    home.token.write_text("secret")
    home.write_server(listens_at)
    found = home.find_server()
    assert found is not None
    assert found.url == reached_at


def test_the_record_of_a_killed_server_is_no_server(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.token.write_text("secret")
    home.server.write_text('{"url":"http://x","pid":999999999}')
    assert home.find_server() is None
    home.server.write_text("garbage")
    assert home.find_server() is None
    home.forget_server()
    assert home.server.exists(), "it is another process's record"


def test_the_home_is_its_owners_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_secrets_are_sealed_with_a_key_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    sealed = Vault(key).seal(b"hush")
    assert b"hush" not in sealed
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Vault(key).open(sealed) == b"hush"
    with pytest.raises(SettingsError, match="another key"):
        Vault(tmp_path / "other").open(sealed)
    key.write_text("no key")
    with pytest.raises(SettingsError, match="cannot use the key"):
        Vault(key)
