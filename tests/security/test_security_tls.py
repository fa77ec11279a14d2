"""TLS of a real server, and clients that believe it or do not."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.security.certificates import Authority
from typer.testing import CliRunner

from jitflow.bootstrap.local import serve_in_thread
from jitflow.cli.app import app
from jitflow.settings import ServerSettings, Settings, SettingsError


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def serving(home: Path, **server: str) -> Iterator[str]:
    """Serve with TLS and give the port."""
    text = "".join(f'{key} = "{value}"\n' for key, value in server.items())
    home.mkdir()
    (home.parent / "settings.toml").write_text(f'home = "{home}"\nexecutor = "process"\n[server]\n{text}')
    settings = Settings(home=str(home), executor="process", server=ServerSettings(**server))  # pyright: ignore[reportArgumentType]
    with serve_in_thread(settings) as info:
        assert info.url.startswith("https://")
        yield info.url


def jitflow(monkeypatch: pytest.MonkeyPatch, config: Path, *arguments: str, **environment: str):
    for name in ("JITFLOW_HOME", "JITFLOW_SERVER", "JITFLOW_TOKEN", "JITFLOW_CA", "JITFLOW_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"JITFLOW_CONFIG": str(config), **environment}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(app, list(arguments), prog_name="jitflow")


def test_clients_check_the_certificate(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = authority.issue("127.0.0.1", "localhost")
    with serving(tmp_path / "home", certificate=str(certificate), key=str(key)) as url:
        port = url.rpartition(":")[2]
        token = (tmp_path / "home" / "token").read_text().strip()
        named = {"JITFLOW_SERVER": url, "JITFLOW_TOKEN": token}
        config = tmp_path / "settings.toml"
        # The command line of this machine knows the certificate from the settings; others are told the authority.
        assert jitflow(monkeypatch, config, "list").exit_code == 0
        found = jitflow(monkeypatch, config, "--ca", str(authority.ca), "list", **named)
        assert found.exit_code == 0, found.stderr
        refused = jitflow(monkeypatch, config, "list", **named)
        assert (refused.exit_code, "certificate" in refused.stderr.lower()) == (3, True), refused.stderr
        missing = jitflow(monkeypatch, config, "list", **named, JITFLOW_CA=str(tmp_path / "none.pem"))
        assert (missing.exit_code, "none.pem" in missing.stderr) == (1, True)
        other = Authority(tmp_path / "other")
        assert jitflow(monkeypatch, config, "list", **named, JITFLOW_CA=str(other.ca)).exit_code == 3
        # Plain HTTP and old versions are not answered.
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", int(port))) as plain, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(plain)


def test_a_name_that_is_not_in_the_certificate_is_not_believed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = authority.issue("jitflow.example.org")
    with serving(tmp_path / "home", certificate=str(certificate), key=str(key)) as url:
        config = tmp_path / "settings.toml"
        assert jitflow(monkeypatch, config, "list").exit_code == 0, "the certificate of the settings is pinned"
        refused = jitflow(monkeypatch, config, "--ca", str(authority.ca), "list", JITFLOW_SERVER=url, JITFLOW_TOKEN="x" * 20)
        assert (refused.exit_code, "certificate" in refused.stderr.lower()) == (3, True)


@pytest.mark.parametrize("wrong", ["none", "text", "mixed"])
def test_certificates_that_cannot_be_used(authority: Authority, tmp_path: Path, wrong: str) -> None:
    certificate, key = authority.issue("localhost")
    (tmp_path / "text").write_text("no certificate")
    key = {"none": tmp_path / "none", "text": tmp_path / "text", "mixed": authority.issue("other")[1]}[wrong]
    server = ServerSettings(certificate=str(certificate), key=str(key))
    settings = Settings(home=str(tmp_path / "home"), server=server)
    with pytest.raises(SettingsError, match=r"server\.certificate"), serve_in_thread(settings):
        pass
