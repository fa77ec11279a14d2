"""The settings as people may see them: each value, where it came from, and no secrets."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from jitflow.settings._load import FLAGS, load, over, place, read_file

HIDDEN = "***"
DEFAULT = "default"
_TELLING = re.compile(
    r"secret|token|password|passwd|passphrase|credential|(^|[._])(pass|key|auth|bearer|cookie|headers?|signature|sas)([._0-9]|$)"
    r"|_key|key_|_pass"
)
_HARMLESS = re.compile(
    r"(^|\.)(provider|region|endpoint|root|vendor|type|env_auth|force_path_style|account|project_number|host|port|namenode"
    r"|location_constraint|acl|storage_class|chunk_size|upload_concurrency|no_check_bucket|shared_credentials_file|profile)$"
)
_FILES = frozenset({"server.key", "oidc.jwks_url"})


class Shown(Struct, frozen=True):
    """A setting: its name, its value (secrets are `***`) and its source: `default`, a file, a variable or a flag."""

    name: str
    value: Any
    source: str


def shown(
    path: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> list[Shown]:
    """Return every setting that holds.

    Raises:
        SettingsError: as `load`.
    """
    environment = os.environ if environment is None else environment
    flags = FLAGS if flags is None else flags
    settings = load(path, environment, flags)
    source, is_named = place(path, environment)
    told = {name: f"file {source}" for name, _ in _leaves(read_file(source, environment, required=is_named))}
    for layer in over(environment, flags):
        name = ".".join(layer.path)
        told = {key: value for key, value in told.items() if not key.startswith(f"{name}.")}
        told |= {key: layer.source for key, _ in _leaves(layer.value, name)}
    found = dict(_leaves(msgspec.to_builtins(settings)))
    return [Shown(name, _hidden(name, value), _source(told, name)) for name, value in found.items()]


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is set, by name; a table that names where a secret is counts as one value."""
    if isinstance(value, dict) and value and not (set(value) <= {"env", "file"} and len(value) == 1):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value


def _source(told: Mapping[str, str], name: str) -> str:
    while name:
        if name in told:
            return told[name]
        name = name.rpartition(".")[0]
    return DEFAULT


def _hidden(name: str, value: Any) -> Any:
    """Return a value without what may be secret in it; of remotes' options only known ones are told."""
    if isinstance(value, dict) or value in ("", None, (), [], {}) or isinstance(value, bool) or name in _FILES:
        return value
    if name.startswith("remotes.") and ".options." in name:
        return _bare(value) if _HARMLESS.search(name) else HIDDEN
    return HIDDEN if _TELLING.search(name) else _bare(value)


def _bare(value: Any) -> Any:
    """Return a URL without its password, anything else as it is."""
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        parts = urlsplit(value)
    except ValueError:
        return HIDDEN
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:{HIDDEN}@{host}" if at and ":" in user else parts.netloc
    return parts._replace(netloc=netloc, query=HIDDEN if parts.query else "").geturl()
