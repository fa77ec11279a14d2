"""Reading requests: bodies, query parameters, manifests."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request

from jitflow.access import Permission
from jitflow.app.forms import form_fault
from jitflow.app.logs import LogQuery
from jitflow.app.manifests import Manifest
from jitflow.app.selectors import Selection
from jitflow.app.submit import SubmitOptions
from jitflow.control_api.direct import BODY
from jitflow.control_api.guards import visible
from jitflow.model.problems import Refused

T = TypeVar("T")

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"", "0", "f", "false"})
_MAX_NUMBER_CHARS = 18


class CreateOptions(Struct, frozen=True, rename="camel"):
    """Kubernetes' options for creating, as far as they matter."""

    dry_run: tuple[str, ...] | None = None


class CreateBody(Struct, frozen=True, rename="camel"):
    """Body of create, lint and explain."""

    workflow: msgspec.Raw = msgspec.Raw()
    namespace: str | None = None
    server_dry_run: bool | None = None
    create_options: CreateOptions | None = None

    @property
    def is_dry(self) -> bool:
        """Whether nothing is to be made."""
        return bool(self.server_dry_run or (self.create_options and self.create_options.dry_run))


class SubmitBody(Struct, frozen=True, rename="camel"):
    """Body of submit."""

    namespace: str | None = None
    resource_kind: str | None = None
    resource_name: str | None = None
    submit_options: SubmitOptions | None = None


class Submission(Struct, frozen=True, kw_only=True):
    """A manifest as it was sent, whether only to try, its name in messages, and the length of the body.

    `around`: the namespace that the body names beside the manifest.
    """

    manifest: Manifest
    around: str = ""
    dry_run: bool = False
    source: str = ""
    size_bytes: int = 0

    @property
    def namespace(self) -> str:
        """What the body says of the namespace, empty if that is nothing, or not known before the manifest is read."""
        if self.around or not isinstance(self.manifest, bytes):
            return self.around
        try:
            return msgspec.json.decode(self.manifest, type=_Placed).metadata.namespace or ""
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""  # it is refused when it is read


class _Metadata(Struct, frozen=True):
    namespace: str | None = None


class _Placed(Struct, frozen=True):
    metadata: _Metadata = _Metadata()


class ControlBody(Struct, frozen=True, rename="camel"):
    """Body of suspend, resume, stop, terminate, set, retry and resubmit: each reads what it knows."""

    node_field_selector: str | None = None
    message: str | None = None
    restart_successful: bool | None = None
    parameters: tuple[str, ...] | None = None
    output_parameters: str | None = None
    phase: str | None = None
    memoized: bool | None = None


_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes, kind: type[T]) -> T:
    """Return a JSON body as a value.

    Raises:
        Refused: it is not JSON, or not of that form.
    """
    decoder = _decoders.get(kind) or _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refused(f"the body does not have the expected form: {form_fault(error, kind)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the body is not valid JSON: {error}") from None


async def body_of(request: Request) -> bytes:
    """Return a request's body, of one that came in one piece without further ado.

    Raises:
        ClientDisconnect: the client has gone.
    """
    take: Callable[[], bytes | None] | None = request.scope.get(BODY)
    if take is not None and (body := take()) is not None:
        return body
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_control(request: Request) -> ControlBody:
    """Return the body of a control request; an empty one means defaults."""
    body = await body_of(request)
    return decode(body, ControlBody) if body.strip() else ControlBody()


async def read_manifest(request: Request) -> Submission:
    """Return what was sent: in Argo's JSON body, or YAML as it is."""
    body = await body_of(request)
    if _content_type(request) in YAML_TYPES:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise Refused(f"the manifest is not UTF-8 text: {error.reason} at byte {error.start}") from None
        dry = flag(request, "serverDryRun") or bool(request.query_params.get("createOptions.dryRun"))
        source = request.query_params.get("source", "")[:200]
        return Submission(manifest=text, dry_run=dry, source=source, size_bytes=len(body))
    parsed = decode(body, CreateBody)
    manifest = bytes(parsed.workflow)
    if manifest in {b"", b"null"}:
        raise Refused('the body has no workflow; send {"workflow": {…}}')
    return Submission(manifest=manifest, dry_run=parsed.is_dry, size_bytes=len(body), around=parsed.namespace or "")


def _content_type(request: Request) -> str:
    sent = b""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            sent = value  # of one that came twice the last counts
    return _type_of(sent)


@lru_cache(maxsize=64)
def _type_of(sent: bytes) -> str:
    return sent.decode("latin-1").partition(";")[0].strip().lower()


def flag(request: Request, name: str) -> bool:
    """Return a boolean query parameter.

    Raises:
        Refused: it is neither true nor false.
    """
    text = request.query_params.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise Refused(f"query parameter {name} must be true or false, not {text[:40]!r}")
    return text in _TRUE


def number(request: Request, name: str) -> int | None:
    """Return a query parameter that counts something, None when it is not given.

    Raises:
        Refused: it is no whole number, or negative.
    """
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_NUMBER_CHARS):
        raise Refused(f"query parameter {name} must be a whole number from 0, not {text[:40]!r}")
    return int(text)


def seconds(request: Request, name: str) -> float | None:
    """Return a query parameter in seconds, None when it is not given.

    Raises:
        Refused: it is no time since the epoch.
    """
    text = request.query_params.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise Refused(f"query parameter {name} must be seconds since the epoch, not {text[:40]!r}")
    return value


def sequence(request: Request) -> int | None:
    """Return the resource version after which changes are wanted, None for everything.

    Raises:
        Refused: it is none of this server's.
    """
    text = request.query_params.get("listOptions.resourceVersion", "")
    if text in {"", "0"}:
        return None
    try:
        return number(request, "listOptions.resourceVersion")
    except Refused:
        raise Refused(f"resourceVersion {text[:40]!r} is none of this server's; leave it out to begin anew") from None


def selection(request: Request) -> Selection:
    """Return which runs a list or watch is about."""
    query = request.query_params
    return Selection(
        namespace=request.path_params.get("namespace", ""),
        visible=visible(request, Permission.WORKFLOWS_READ),
        labels=query.get("listOptions.labelSelector", ""),
        fields=query.get("listOptions.fieldSelector", ""),
        name_filter=query.get("nameFilter", ""),
        created_after=query.get("createdAfter", ""),
        finished_before=query.get("finishedBefore", ""),
    )


def log_query(request: Request) -> LogQuery:
    """Return what is wanted of the logs."""
    query = request.query_params
    since = number(request, "logOptions.sinceSeconds")
    return LogQuery(
        pod=request.path_params.get("pod", "") or query.get("podName", ""),
        container=query.get("logOptions.container") or "main",
        follow=flag(request, "logOptions.follow"),
        timestamps=flag(request, "logOptions.timestamps"),
        since_s=float(since) if since is not None else None,
        since_time=query.get("logOptions.sinceTime", ""),
        tail_lines=_bounded(number(request, "logOptions.tailLines")),
        limit_bytes=number(request, "logOptions.limitBytes"),
        grep=query.get("grep", ""),
        selector=query.get("selector", ""),
        previous=flag(request, "logOptions.previous"),
    )


def _bounded(lines: int | None) -> int | None:
    """Return at most so many lines as may be kept in memory."""
    return None if lines is None else min(lines, 100_000)
