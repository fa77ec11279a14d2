"""Settings: one typed tree from a file and the environment, each error with its setting."""

from pathlib import Path

import pytest

from jitflow.settings import SettingsError, load, parse_bytes, parse_span_s, resolve_secret

pytestmark = pytest.mark.pure


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_without_a_file_everything_has_a_default(tmp_path: Path) -> None:
    settings = load(environment={"XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")})
    assert settings.home == str(tmp_path / "data" / "jitflow")
    assert settings.server.host == "127.0.0.1"
    assert settings.executor == "sandbox"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'home = "/from/file"\nmax_pods = 3\n[server]\nport = 1\n')
    settings = load(path, {"JITFLOW_HOME": str(tmp_path), "JITFLOW_PORT": "4000"})
    assert (settings.home, settings.max_pods, settings.server.port) == (str(tmp_path), 3, 4000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_pod = 2", ["there is no setting `max_pod`"]),
        ("[server]\nport = 'x'", ["server.port"]),
        ("[server]\nport = 70000", ["server.port", "65535"]),
        ("[primary]\ncapacity = 'lots'", ["primary.capacity", "10GiB"]),
        ("[primary]\ncapacity = 0", ["primary.capacity", "more than 0"]),
        ("[primary]\ntransfers = 0", ["primary.transfers"]),
        ("[primary]\nranges = 0", ["primary.ranges"]),
        ("executor = 'docker'", ["executor"]),
        ("max_pods = -1", ["max_pods"]),
        ("grace_s = -1", ["grace_s"]),
        ("archive_ttl = 'soon'", ["archive_ttl", "30d"]),
        ("[remotes.far]\noptions = {}", ["remotes", "type"]),
        ("[images.x]\nroot = '/no/such/root'", ['images."x".root', "/no/such/root"]),
        ("[oidc]\naudience = 'x'", ["oidc.issuer"]),
        ("[oidc]\nissuer = 'http://login.example.org'\naudience = 'x'", ["oidc.issuer", "https"]),
        ("[oidc]\nissuer = 'https://login.example.org'", ["oidc.audience"]),
        ("[oidc]\nissuer = 'https://login.example.org'\naudience = 'x'", ["oidc.roles"]),
        (
            "[oidc]\nissuer = 'https://a'\naudience = 'x'\nalgorithms = ['HS256']\nroles = [{claim='a',value='b',role='viewer'}]",
            ["RS256"],
        ),
        ("a = \n", ["not TOML", "line 1"]),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load(environment={"JITFLOW_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "size"),
    [("10", 10), (7, 7), ("1k", 1000), ("1KiB", 1024), ("64Mi", 64 * 2**20), ("1.5 GB", 1_500_000_000), ("2TiB", 2 * 2**40)],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "ten", "-1", "1 parsec", "1.2.3M"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(SettingsError, match="is no size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("1h30m", 5400), ("90s", 90), ("0", 0), (0, 0), (1.5, 1.5), ("12", 12)]
)
def test_spans_of_time(text: str | float, seconds: float) -> None:
    assert parse_span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1y", "1h 30m", "d", -5])
def test_no_spans_of_time(text: str | float) -> None:
    with pytest.raises(SettingsError, match="is no span of time"):
        parse_span_s(text)


def test_secrets_come_from_text_environment_or_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from file\n")
    assert resolve_secret("plain", "here") == "plain"
    assert resolve_secret(True, "here") == "true"
    assert resolve_secret(5, "here") == "5"
    assert resolve_secret({"env": "KEY"}, "here", {"KEY": "from env"}) == "from env"
    assert resolve_secret({"file": str(tmp_path / "key")}, "here") == "from file"


@pytest.mark.parametrize("value", [{"env": "NONE"}, {"file": "/no/such/file"}, {"vault": "x"}, {}])
def test_a_secret_that_is_not_there_names_the_option(value: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"remotes\.far\.options\.key"):
        resolve_secret(value, "remotes.far.options.key", {})
