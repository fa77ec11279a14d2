"""Reading the settings: the file first, then the environment."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from jitflow.settings._cipher import decrypt, find_key, is_encrypted
from jitflow.settings._tree import (
    AuditSettings,
    DataSettings,
    OidcSettings,
    RcloneSettings,
    ServerSettings,
    Settings,
    SettingsError,
    parse_bytes,
    parse_span_s,
)

# Environment variable -> path in the tree. All others come from the file.
_VARIABLES: dict[str, tuple[str, ...]] = {
    "JITFLOW_HOME": ("home",),
    "JITFLOW_EXECUTOR": ("executor",),
    "JITFLOW_MAX_PODS": ("max_pods",),
    "JITFLOW_LOG_LEVEL": ("log_level",),
    "JITFLOW_LOG_FORMAT": ("log_format",),
    "JITFLOW_HOST": ("server", "host"),
    "JITFLOW_STATE": ("state", "url"),
    "JITFLOW_PORT": ("server", "port"),
    "JITFLOW_PRIMARY": ("primary", "path"),
    "JITFLOW_PRIMARY_CAPACITY": ("primary", "capacity"),
}

_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Signatures by key pairs: with a shared secret, who can verify could forge."""


class Layer(Struct, frozen=True):
    """A setting that was given: its path in the tree, its value, and who says so."""

    path: tuple[str, ...]
    value: Any
    source: str


def load(
    path: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of a file (default `$JITFLOW_CONFIG`, then the user's configuration home), the environment and flags.

    Raises:
        SettingsError: the file is missing although it was named, is not TOML, or holds something that cannot be used.
    """
    environment = os.environ if environment is None else environment
    source, is_named = place(path, environment)
    tree = read_file(source, environment, required=is_named)
    for layer in over(environment, FLAGS if flags is None else flags):
        _put(tree, layer)
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {_explain(str(error))}") from error
    home = settings.home or str(_data_home(environment) / "jitflow")
    settings = msgspec.structs.replace(settings, home=str(Path(home).expanduser().absolute()))
    _check(settings, source)
    return settings


FLAGS: dict[str, str] = {}
"""What this process was started with, `--set NAME=VALUE`: it holds for every `load` that names no other flags."""
_PREFIX = "JITFLOW__"


def over(environment: Mapping[str, str], flags: Mapping[str, str]) -> list[Layer]:
    """Return what goes before the file, the strongest last."""
    found = [
        Layer(keys, environment[variable], f"environment {variable}")
        for variable, keys in _VARIABLES.items()
        if environment.get(variable)
    ]
    for variable in sorted(environment):
        if variable.startswith(_PREFIX):
            keys = tuple(variable.removeprefix(_PREFIX).lower().split("__"))
            found.append(Layer(keys, _value(environment[variable]), f"environment {variable}"))
    return [*found, *(Layer(tuple(name.split(".")), _value(text), f"flag --set {name}") for name, text in flags.items())]


def _value(text: str) -> Any:
    """Return what a text means: TOML where it is a list or a table, else the text."""
    if not text.startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def place(path: Path | None, environment: Mapping[str, str]) -> tuple[Path, bool]:
    """Return the settings file, and whether somebody named it."""
    named = path or (Path(environment["JITFLOW_CONFIG"]) if environment.get("JITFLOW_CONFIG") else None)
    return named or config_home(environment) / "jitflow" / "settings.toml", named is not None


def resolve_secret(value: str | int | bool | dict[str, str], where: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the text of an option: itself, or what `{ env = … }` or `{ file = … }` names.

    Raises:
        SettingsError: what it names is not there. The message never holds the secret.
    """
    environment = os.environ if environment is None else environment
    if not isinstance(value, dict):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if set(value) == {"env"}:
        if value["env"] not in environment:
            raise SettingsError(f"{where}: the environment variable {value['env']} is not set")
        return environment[value["env"]]
    if set(value) == {"file"}:
        try:
            return Path(value["file"]).expanduser().read_text().strip()
        except OSError as error:
            raise SettingsError(f"{where}: cannot read {value['file']}: {error.strerror}") from error
    raise SettingsError(f'{where}: write text, {{ env = "NAME" }} or {{ file = "PATH" }}')


def read_file(source: Path, environment: Mapping[str, str], *, required: bool) -> dict[str, Any]:
    """Return what a settings file says; nothing if it is not there and nobody named it.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        text = source.read_text()
        if is_encrypted(text):
            text = decrypt(text, find_key(config_home(environment), environment), str(source))
        return tomllib.loads(text)
    except FileNotFoundError as error:
        if required:
            raise SettingsError(f"{source}: no such settings file") from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot read the settings: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source}: not TOML: {error}") from error


def _put(tree: dict[str, Any], layer: Layer) -> None:
    *above, last = layer.path
    for key in above:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise SettingsError(f"{layer.source}: {key} is no table of settings")
    tree[last] = layer.value


def _explain(text: str) -> str:
    message, _, place = text.partition(" - at `")
    setting = place.rstrip("`").removeprefix("$.").removeprefix("$")
    return (f"{setting}: " if setting else "") + message.replace("Object contains unknown field", "there is no setting")


def _check(settings: Settings, source: Path) -> None:
    try:
        capacity = parse_bytes(settings.primary.capacity)
    except SettingsError as error:
        raise SettingsError(f"{source}: primary.capacity: {error}") from error
    try:
        parse_span_s(settings.archive_ttl)
    except SettingsError as error:
        raise SettingsError(f"{source}: archive_ttl: {error}") from error
    limits = (
        (capacity > 0, "primary.capacity must be more than 0"),
        (settings.primary.transfers >= 1, "primary.transfers must be at least 1"),
        (settings.primary.ranges >= 1, "primary.ranges must be at least 1"),
        (settings.max_pods >= 0, "max_pods must not be negative"),
        (0 <= settings.server.port <= 65535, "server.port must be between 0 and 65535"),
        (settings.events.attempts >= 1, "events.attempts must be at least 1"),
        (settings.state.patience_s >= 0, "state.patience_s must not be negative"),
        (settings.grace_s >= 0, "grace_s must not be negative"),
        (settings.server.drain_s >= 0, "server.drain_s must not be negative"),
    )
    limits += (*_rclone_limits(settings.rclone), *_data_limits(settings.data))
    limits += _namespace_limits(settings, source, capacity)
    limits += (*_server_limits(settings.server), *_audit_limits(settings.audit), *_oidc_limits(settings.oidc))
    for holds, message in limits:
        if not holds:
            raise SettingsError(f"{source}: {message}")
    for name, image in settings.images.items():
        if image.root and not Path(image.root).is_dir():
            raise SettingsError(f'{source}: images."{name}".root: {image.root} is not a directory')


def _namespace_limits(settings: Settings, source: Path, capacity: int) -> tuple[tuple[bool, str], ...]:
    limits: list[tuple[bool, str]] = []
    for name, namespace in settings.namespaces.items():
        where = f"namespaces.{name}"
        try:
            quota = parse_bytes(namespace.quota) if namespace.quota != "" else None
        except SettingsError as error:
            raise SettingsError(f"{source}: {where}.quota: {error}") from error
        limits.append((quota is None or quota > 0, f"{where}.quota must be more than 0"))
        limits.append((quota is None or quota <= capacity, f"{where}.quota is more than primary.capacity, which is {capacity:,}"))
        limits.append((namespace.quota_objects >= 0, f"{where}.quota_objects must not be negative"))
    return tuple(limits)


def _server_limits(server: ServerSettings) -> tuple[tuple[bool, str], ...]:
    try:
        body = parse_bytes(server.max_body)
    except SettingsError as error:
        return ((False, f"server.max_body: {error}"),)
    return (
        (bool(server.certificate) == bool(server.key), "server.certificate and server.key belong together: set both, or none"),
        (all(_is_origin(origin) for origin in server.cors_origins), "server.cors_origins: write origins as https://host[:port]"),
        (server.requests_per_s >= 0 and server.burst >= 0, "server.requests_per_s and server.burst must not be negative"),
        (1024 <= body <= 2**30, "server.max_body must be between 1KiB and 1GiB"),
        (server.head_timeout_s > 0 and server.body_timeout_s > 0, "server.head_timeout_s and body_timeout_s must be more than 0"),
    )


def _audit_limits(audit: AuditSettings) -> tuple[tuple[bool, str], ...]:
    try:
        size = parse_bytes(audit.file_size)
    except SettingsError as error:
        return ((False, f"audit.file_size: {error}"),)
    return ((size >= 1024, "audit.file_size must be at least 1KiB"), (audit.files >= 0, "audit.files must not be negative"))


def _is_origin(text: str) -> bool:
    found = urlsplit(text)
    return found.scheme in {"http", "https"} and bool(found.hostname) and text == f"{found.scheme}://{found.netloc}"


def _oidc_limits(oidc: OidcSettings) -> tuple[tuple[bool, str], ...]:
    if not oidc.issuer:
        return ((oidc == OidcSettings(), "oidc.issuer is missing: the other settings of oidc mean nothing without it"),)
    return (
        (_is_safe(oidc.issuer), "oidc.issuer must be an https URL (http only at this machine)"),
        (not oidc.jwks_url or _is_safe(oidc.jwks_url), "oidc.jwks_url must be an https URL (http only at this machine)"),
        (bool(oidc.audience), "oidc.audience is missing: tokens that the issuer made for others would open this server"),
        (bool(oidc.roles), "oidc.roles is missing: nobody would get in"),
        (
            bool(oidc.algorithms) and set(oidc.algorithms) <= _ALGORITHMS,
            f"oidc.algorithms may hold {', '.join(sorted(_ALGORITHMS))}",
        ),
        (0 <= oidc.leeway_s <= 600, "oidc.leeway_s must be between 0 and 600"),
    )


def _rclone_limits(rclone: RcloneSettings) -> tuple[tuple[bool, str], ...]:
    clear = rclone.url.startswith("http://") and not _is_safe(rclone.url)
    return (
        (rclone.patience_s >= 0, "rclone.patience_s must not be negative"),
        (bool(rclone.user) == (rclone.password != ""), "rclone.user and rclone.password go together"),
        (not clear, "rclone.url: http:// would send the secrets of remotes in clear to another machine; use https:// or unix://"),
    )


def _data_limits(data: DataSettings) -> tuple[tuple[bool, str], ...]:
    clear = data.url.startswith("http://") and not _is_safe(data.url) and not data.plain
    return (
        (data.patience_s >= 0, "data.patience_s must not be negative"),
        (
            not clear,
            "data.url: http:// would send secrets in clear to another machine; use https://, or set data.plain where nobody can "
            "listen",
        ),
    )


def _is_safe(url: str) -> bool:
    found = urlsplit(url)
    if found.scheme == "http":
        return found.hostname in {"127.0.0.1", "localhost", "::1"}
    return found.scheme == "https" and bool(found.hostname)


def config_home(environment: Mapping[str, str]) -> Path:
    """Return where the user's settings are."""
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _data_home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
