"""Contexts: servers by name, with the namespace and the token that belong to them, in one file of the user's.

A token is never in the file in clear: the file says where it is, or holds it sealed.
"""

import json
import os
import tomllib
from pathlib import Path
from types import ModuleType

import msgspec
from msgspec import Struct

from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.loading import load
from jitflow.client import Endpoint, endpoint_of
from jitflow.settings import SettingsError, config_home, replace_private, resolve_secret, unseal

SERVICE = "jitflow"
"""What tokens are kept under in the OS keyring; the user is the context's name."""


class Context(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One server. `token`: where it is: `file`, `env`, `keyring` (under this name) or `sealed`; empty: there is none."""

    server: str
    namespace: str = ""
    ca: str = ""
    token: dict[str, str] = {}


class Contexts(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All contexts. `current`: the one in use, empty for the server of this machine."""

    current: str = ""
    contexts: dict[str, Context] = {}

    def named(self, name: str) -> Context:
        """Return a context.

        Raises:
            CliError: there is none of that name.
        """
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "there are none"
            raise CliError(f"there is no context {name} ({known}); make it with `jitflow context set {name} --server URL`")
        return self.contexts[name]


def place() -> Path:
    """Return the file of the contexts."""
    return config_home(os.environ) / "jitflow" / "contexts.toml"


def read() -> Contexts:
    """Return all contexts; none if there is no file.

    Raises:
        CliError: the file cannot be used.
    """
    file = place()
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Contexts)
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file}: cannot read the contexts: {error}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CliError(f"{file}: these are no contexts: {error}") from error


def write(contexts: Contexts) -> None:
    """Keep contexts, in a file that only its owner may read.

    Raises:
        CliError: it cannot be written.
    """
    file = place()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_private(file, _toml(contexts).encode())
    except OSError as error:
        raise CliError(f"{file}: cannot write the contexts: {error.strerror}") from error


def endpoint(name: str, context: Context, *, with_token: bool = True) -> Endpoint:
    """Return where a context's server is, with its token unless another one will be used.

    Raises:
        CliError: the token is not where the context says, or no server can be reached by its address.
    """
    token = token_of(name, context) if with_token else ""
    checked(context.server, f"context {name}")
    return endpoint_of(context.server, token=token, ca=context.ca or os.environ.get("JITFLOW_CA", ""))


def checked(address: str, where: str) -> str:
    """Return the address of a server; `where` says who has named it.

    Raises:
        InputRefused: no server can be reached by it.
    """
    scheme, separator, rest = address.partition("://")
    scheme = scheme.lower() if separator else ""
    if address.startswith("unix:"):
        known = bool(address.removeprefix("unix:").strip("/"))
    else:
        known = scheme in {"", "http", "https"} and bool((rest if separator else address).split("/")[0].strip())
    if not known:
        raise InputRefused(
            f"{where}: {address!r} is no address of a server; write http://HOST:PORT, https://HOST, HOST:PORT, or unix:/PATH "
            "of its socket"
        )
    return address


def token_of(name: str, context: Context) -> str:
    """Return a context's token, that of the environment if it has none.

    Raises:
        CliError: it is not where the context says.
    """
    if not context.token:
        return os.environ.get("JITFLOW_TOKEN", "")
    where = f"context {name}: token"
    kind, value = next(iter(context.token.items()))
    try:
        if kind == "sealed":
            return unseal(value, where)
        if kind != "keyring":
            return resolve_secret({kind: value}, where)
    except SettingsError as error:
        raise CliError(str(error)) from error
    found = keyring().get_password(SERVICE, value)
    if found is None:
        raise CliError(f"{where}: the keyring of this machine holds none for {value}; give it with `jitflow context set {name}`")
    return str(found)


def keyring() -> ModuleType:
    """Return the library of the OS keyring.

    Raises:
        CliError: it is not installed.
    """
    try:
        return load("keyring")
    except ImportError as error:
        raise CliError('the OS keyring needs the package keyring: pip install "jitflow[keyring]"') from error


def _toml(contexts: Contexts) -> str:
    # A JSON string is a TOML string too.
    lines = [f"current = {json.dumps(contexts.current)}"] if contexts.current else []
    for name, context in sorted(contexts.contexts.items()):
        lines += ["", f"[contexts.{json.dumps(name)}]"]
        for key, value in msgspec.to_builtins(context).items():
            if isinstance(value, dict):
                inside = ", ".join(f"{kind} = {json.dumps(text)}" for kind, text in value.items())
                lines.append(f"{key} = {{ {inside} }}")
            else:
                lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"
