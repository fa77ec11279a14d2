"""Keys of stored secrets and of settings files: where they come from, their rotation, and what is encrypted with them."""

import asyncio
import stat
from pathlib import Path
from typing import Any

import keyring
import pytest
from benchmark.service import Server
from cryptography.fernet import Fernet
from keyring.backend import KeyringBackend
from typer.testing import CliRunner

from jitflow.bootstrap.keys import EnvironmentKey, KeyringKey, source_of
from jitflow.bootstrap.vault import Vault
from jitflow.cli.app import app
from jitflow.settings import SettingsError, SettingsFile, load

PLANTED = "planted-secret-value"


def new_key() -> str:
    return Fernet.generate_key().decode()


def test_a_rotation_keeps_everything_readable_until_it_is_done(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "key")
    sealed, name = vault.seal(b"hush"), vault.token_of("plugin")
    old = (tmp_path / "key").read_bytes()
    vault.begin_rotation()
    assert (vault.open(sealed), vault.is_current(sealed)) == (b"hush", False)
    again = vault.seal(b"hush")
    # A kill here: the next start reads both.
    restarted = Vault(tmp_path / "key")
    assert (restarted.open(sealed), restarted.open(again), restarted.is_current(again)) == (b"hush", b"hush", True)
    restarted.begin_rotation()
    assert restarted.is_current(again), "a rotation that was cut off goes on with its own new key"
    assert restarted.end_rotation()
    assert restarted.open(again) == b"hush"
    with pytest.raises(SettingsError, match="another key"):
        restarted.open(sealed)
    assert restarted.token_of("plugin") == name
    assert old.splitlines()[0] not in (tmp_path / "key").read_bytes()
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_file_of_an_older_version_goes_on(tmp_path: Path) -> None:
    key = Fernet.generate_key()
    (tmp_path / "key").write_bytes(key)
    vault = Vault(tmp_path / "key")
    assert vault.open(Fernet(key).encrypt(b"hush")) == b"hush"
    name = vault.token_of("plugin")
    vault.begin_rotation()
    vault.end_rotation()
    assert Vault(tmp_path / "key").token_of("plugin") == name


def test_a_key_of_the_environment_is_changed_by_who_sets_it(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    sealed = Vault(EnvironmentKey("K", {"K": old})).seal(b"hush")
    with pytest.raises(SettingsError, match="NEW,OLD"):
        Vault(EnvironmentKey("K", {"K": old})).begin_rotation()
    both = Vault(EnvironmentKey("K", {"K": f"{new},{old}"}))
    both.begin_rotation()
    again = both.seal(both.open(sealed))
    assert not both.end_rotation()
    assert Vault(EnvironmentKey("K", {"K": new})).open(again) == b"hush"
    with pytest.raises(SettingsError, match="K is not set"):
        Vault(EnvironmentKey("K", {}))
    with pytest.raises(SettingsError, match="environment variable K"):
        Vault(EnvironmentKey("K", {"K": "no key"}))


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1.0  # pyright: ignore[reportAssignmentType]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.entries[service, username]


def test_a_key_in_the_keyring(tmp_path: Path) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        source = source_of("keyring", tmp_path / "secret.key")
        assert isinstance(source, KeyringKey)
        sealed = Vault(source).seal(b"hush")
        vault = Vault(source)
        vault.begin_rotation()
        again = vault.seal(vault.open(sealed))
        assert vault.end_rotation()
        assert Vault(source).open(again) == b"hush"
        assert not list(tmp_path.iterdir())
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize("setting", ["the-key-itself", {"path": "x"}, {"file": "a", "env": "b"}])
def test_the_key_itself_is_no_setting(tmp_path: Path, setting: Any) -> None:
    with pytest.raises(SettingsError, match=r"secrets\.key"):
        source_of(setting, tmp_path / "secret.key")


def test_a_real_server_gets_a_new_key(tmp_path: Path) -> None:
    server = Server(tmp_path / "home", {"executor": "process", "secrets": {"key": {"file": str(tmp_path / "key")}}})
    with server:
        secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": PLANTED}}
        assert server.post_text("/api/jit/v1/objects/default/Secret", _yaml(secret)).status_code == 200
        remote = {"name": "far", "type": "webdav", "options": {"url": "http://127.0.0.1:1", "pass": PLANTED}}
        answer = server.call("POST", "/data/v1/remotes", remote)
        assert answer.status_code == 200, answer.text
        old = (tmp_path / "key").read_bytes().splitlines()[0]
        done = server.call("POST", "/api/jit/v1/secrets/rotate-key").json()
        assert done == {"resealed": 2, "old_key_removed": True}
        new = (tmp_path / "key").read_bytes()
        assert old not in new
        server.kill()
        server.start()
        shown = server.get("/api/jit/v1/objects/default/Secret/s")
        assert shown["data"] == {"password": ""}
        assert server.get("/data/v1/remotes/far")["name"] == "far"
        stored = b"".join(path.read_bytes() for path in (tmp_path / "home").glob("state.db*"))
        assert PLANTED.encode() not in stored


def _yaml(value: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(value)


SETTINGS = f'max_pods = 3\n[remotes.far]\ntype = "webdav"\noptions = {{ pass = "{PLANTED}" }}\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "JITFLOW_CONFIG",
        "JITFLOW_HOME",
        "JITFLOW_SETTINGS_KEY",
        "JITFLOW_SETTINGS_KEY_FILE",
        "VISUAL",
        "JITFLOW_MAX_PODS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    monkeypatch.setenv("JITFLOW_CONFIG", str(path))
    return path


def jitflow(*arguments: str, **more: Any) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="jitflow", **more)


def test_settings_are_encrypted_and_read(file: Path, tmp_path: Path) -> None:
    done = jitflow("settings", "encrypt")
    assert done.exit_code == 0, done.stderr
    assert PLANTED not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = tmp_path / "config" / "jitflow" / "settings.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert load().max_pods == 3
    assert jitflow("settings", "encrypt").exit_code == 2
    assert jitflow("settings", "decrypt").stdout == SETTINGS
    assert jitflow("settings", "decrypt", "--in-place").exit_code == 0
    assert file.read_text() == SETTINGS


def test_settings_with_a_key_of_the_environment(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JITFLOW_SETTINGS_KEY", new_key())
    assert jitflow("settings", "encrypt").exit_code == 0
    assert load().max_pods == 3
    assert not (tmp_path / "config").exists()
    monkeypatch.setenv("JITFLOW_SETTINGS_KEY", new_key())
    with pytest.raises(SettingsError, match="another key"):
        load()
    monkeypatch.setenv("JITFLOW_SETTINGS_KEY", "no key")
    with pytest.raises(SettingsError, match="cannot be used"):
        load()
    monkeypatch.delenv("JITFLOW_SETTINGS_KEY")
    with pytest.raises(SettingsError, match="JITFLOW_SETTINGS_KEY"):
        load()


@pytest.mark.parametrize("encrypted", [True, False])
def test_settings_are_edited(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool) -> None:
    if encrypted:
        assert jitflow("settings", "encrypt").exit_code == 0
    monkeypatch.setenv("EDITOR", "sed -i s/max_pods.=.3/max_pods=4/")
    assert jitflow("settings", "edit").exit_code == 0
    assert load().max_pods == 4
    assert SettingsFile.find().read().startswith("max_pods=4")
    assert (PLANTED in file.read_text()) is not encrypted
    before = file.read_text()
    monkeypatch.setenv("EDITOR", "sed -i s/max_pods/max_pots/")
    refused = jitflow("settings", "edit", input="n\n")
    assert (refused.exit_code, "max_pots" in refused.stderr, file.read_text() == before) == (1, True, True)
    monkeypatch.setenv("EDITOR", "false")
    assert jitflow("settings", "edit").exit_code == 1
    assert file.read_text() == before


def test_nothing_is_lost_when_secrets_are_written_while_the_key_is_rotated(tmp_path: Path) -> None:
    from jitflow.bootstrap.rotation import Rotation
    from jitflow.model.argo import ObjectMeta
    from jitflow.model.objects import Secret
    from jitflow.objects import ObjectStore
    from jitflow.testing.fake_engine import World

    async def scenario() -> None:
        world, vault = World(), Vault(tmp_path / "key")
        objects = ObjectStore(world.store, vault, world.clock, world.ids)
        secrets = [Secret(metadata=ObjectMeta(name=f"s{number}"), string_data={"a": "1"}) for number in range(20)]
        for secret in secrets:
            await objects.apply(secret, "default")
        rotation = Rotation(vault, world.store, world.store, objects)
        changed = [Secret(metadata=secret.metadata, string_data={"a": "2"}) for secret in secrets]
        await asyncio.gather(rotation.rotate(), *(objects.apply(secret, "default") for secret in changed), rotation.rotate())
        again = ObjectStore(world.store, Vault(tmp_path / "key"), world.clock, world.ids)
        await again.open()
        assert {secret.data["a"] for secret in again.list(Secret)} == {"Mg=="}

    asyncio.run(scenario())
