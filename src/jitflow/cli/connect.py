"""Which server a command talks to: the one named, else the local one that runs."""

import os
from pathlib import Path

import msgspec

from jitflow.bootstrap.home import Home, ServerInfo
from jitflow.cli.client import Client, ClientError, Endpoint
from jitflow.cli.errors import CliError
from jitflow.settings import SettingsError, load

_NO_SERVER = (
    "no server is running here; start one with `jitflow server`, let `jitflow run FILE` start its own, "
    "or name one with --server URL or JITFLOW_SERVER (and its token with JITFLOW_TOKEN)"
)


def connect(server: str = "") -> Client:
    """Return a client of the chosen server.

    Raises:
        CliError: no server is named and none runs here.
    """
    found = find(server)
    if found is None:
        raise CliError(_NO_SERVER)
    return client_of(found, server)


def client_of(endpoint: Endpoint, server: str = "") -> Client:
    """Return a client that looks the local server up again when it is lost."""
    return Client(endpoint, relocate=lambda: find(server))


def find(server: str = "") -> Endpoint | None:
    """Return the named server, else the local one that runs, else None."""
    url = server or os.environ.get("JITFLOW_SERVER", "")
    token = os.environ.get("JITFLOW_TOKEN", "")
    if url and "://" not in url:
        url = f"http://{url}"
    ca = os.environ.get("JITFLOW_CA", "")
    if url and token:
        return Endpoint(url, token, ca)
    local = find_local()
    if not url:
        return msgspec.structs.replace(local, token=token or local.token) if local else None
    # The local server's token goes to no other server.
    if local and local.url.rstrip("/") == url.rstrip("/"):
        return local
    return Endpoint(url, "", ca)


def find_local() -> Endpoint | None:
    """Return the server that runs for this data home, or None."""
    info = Home(Path(load().home)).find_server()
    return own(info) if info else None


def own(info: ServerInfo) -> Endpoint:
    """Return a server of these settings: the certificate that they name is the only one that it may show."""
    certificate = load().server.certificate
    return Endpoint(info.url, info.token, certificate, pinned=bool(certificate))


def resolve(client: Client, namespace: str, name: str) -> str:
    """Return the workflow's name; `@latest` is the newest workflow.

    Raises:
        CliError: there is no workflow at all.
    """
    if name != "@latest":
        return name
    params = {"listOptions.limit": 1, "fields": "items.metadata.name,items.metadata.creationTimestamp"}
    items = client.list_workflows(namespace, **params).get("items") or []
    if not items:
        raise CliError(f"there is no workflow in namespace {namespace} yet; submit one with `jitflow submit FILE`")
    return str(items[0]["metadata"]["name"])


def names_for_completion(server: str, namespace: str, *, limit: int, timeout_s: float) -> list[str]:
    """Return workflow names, or nothing when there is no answer in time: a shell must never wait or see an error."""
    try:
        found = find(server)
        if found is None:
            return []
        with Client(found, timeout_s=timeout_s) as client:
            body = client.list_workflows(namespace, **{"listOptions.limit": limit, "fields": "items.metadata.name"})
    except (ClientError, SettingsError, OSError):
        return []
    return [str(item["metadata"]["name"]) for item in body.get("items") or []]
