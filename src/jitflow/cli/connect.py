"""Which server a command talks to: the one named, else the local one that runs."""

import os
from pathlib import Path

import msgspec

from jitflow.bootstrap.home import Home, ServerInfo
from jitflow.cli import contexts
from jitflow.cli.choice import CHOICE
from jitflow.cli.contexts import Context
from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.views import WorkflowListView
from jitflow.client import Client, ClientError, Endpoint, endpoint_of
from jitflow.settings import SettingsError, load

_ATTEMPTS = 3
_NOT_DELETED = "workflows.argoproj.io/workflow-archiving-status!=Persisted"
_NO_SERVER = (
    "no server is running here; start one with `jitflow server`, let `jitflow run FILE` start its own, "
    "or name one with --server URL or JITFLOW_SERVER (and its token with JITFLOW_TOKEN), or with `jitflow context`"
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
    return Client(endpoint, attempts=_ATTEMPTS, relocate=lambda: find(server))


def find(server: str = "") -> Endpoint | None:
    """Return the chosen server, else the local one that runs, else None.

    What chooses, the strongest first: the options --server and --context, JITFLOW_SERVER, JITFLOW_CONTEXT, the current context.

    Raises:
        CliError: the context, the file of the token, or the address of the server cannot be used.
    """
    found = _find(server)
    token = _token_file()
    return msgspec.structs.replace(found, token=token) if found and token else found


def _find(server: str) -> Endpoint | None:
    environment = os.environ
    url = server or environment.get("JITFLOW_SERVER", "")
    token = environment.get("JITFLOW_TOKEN", "")
    context = chosen(url)
    if context is not None:
        return contexts.endpoint(*context, with_token=not CHOICE.token_file)
    if url:
        contexts.checked(url, "JITFLOW_SERVER" if url == environment.get("JITFLOW_SERVER") else "--server")
    named = endpoint_of(url, token=token, ca=environment.get("JITFLOW_CA", "")) if url else None
    if named and token:
        return named
    local = find_local()
    if not named:
        return msgspec.structs.replace(local, token=token or local.token) if local else None
    # The local server's token goes to no other server.
    return local if local and not named.socket and local.url.rstrip("/") == named.url.rstrip("/") else named


def chosen(url: str) -> tuple[str, Context] | None:
    """Return the context that is in use, if one is; `url`: the server that is named beside it.

    Raises:
        CliError: there is none of that name, or a server was named too.
    """
    by_option = bool(url) and url != os.environ.get("JITFLOW_SERVER", "")
    if CHOICE.context and by_option:
        raise InputRefused("--server and --context exclude each other")
    if url and not CHOICE.context:
        return None
    wanted = CHOICE.context or os.environ.get("JITFLOW_CONTEXT", "")
    if not wanted and not contexts.place().exists():
        return None
    known = contexts.read()
    name = wanted or known.current
    return (name, known.named(name)) if name else None


def chosen_namespace() -> str:
    """Return the namespace of the context in use, empty if there is none."""
    context = chosen(os.environ.get("JITFLOW_SERVER", ""))
    return context[1].namespace if context else ""


def _token_file() -> str:
    if not CHOICE.token_file:
        return ""
    try:
        token = Path(CHOICE.token_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"--token-file {CHOICE.token_file}: cannot read it: {getattr(error, 'strerror', error)}") from error
    if not token:
        raise CliError(f"--token-file {CHOICE.token_file}: is empty")
    return token


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
    names = names_of(client, namespace, limit=1)
    if not names:
        raise CliError(f"there is no workflow in namespace {namespace} yet; submit one with `jitflow submit FILE`")
    return names[0]


def names_of(client: Client, namespace: str, *, labels: str = "", limit: int = 0) -> list[str]:
    """Return the names of workflows, the newest first."""
    read = client.workflows.list.into(WorkflowListView)
    found = read(namespace=namespace, labels=live(labels), limit=limit, only="items.metadata.name")
    return [item.metadata.name for item in found.items or ()]


def live(*labels: str) -> str:
    """Return a label selector that leaves out those that are deleted: Argo lists archived workflows too."""
    return ",".join(filter(None, (*labels, _NOT_DELETED)))


def names_for_completion(server: str, namespace: str, *, group: str = "workflows", limit: int, timeout_s: float) -> list[str]:
    """Return names of workflows, or of what another group of the client holds; nothing when there is no answer in time.

    A shell must never wait or see an error.
    """
    try:
        found = find(server)
        if found is None:
            return []
        with Client(found, timeout_s=timeout_s, attempts=1) as client:
            where = namespace or chosen_namespace() or "default"
            if group == "workflows":
                return names_of(client, where, limit=limit)
            found_ = getattr(client, group).list.into(WorkflowListView)(namespace=where)
            return [item.metadata.name for item in (found_.items or ())[:limit]]
    except (ClientError, CliError, SettingsError, OSError):
        return []
