"""The tree of settings with its defaults. `docs/reference/settings.md` is kept equal to it by a test."""

import re
from typing import Any, Literal

from msgspec import Struct, field

_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}


class SettingsError(Exception):
    """A setting that cannot be used; the message names the file, the setting and what to write instead."""


def parse_bytes(text: str | int) -> int:
    """Return the bytes of `10GiB`, `500MB`, `64Mi` or a number.

    Raises:
        SettingsError: the text is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(text).lower())
    if not found or found[2] not in _UNITS:
        raise SettingsError(f"{text!r} is no size: write a number of bytes, or for example 500MB or 10GiB")
    return int(float(found[1]) * _UNITS[found[2]])


_SPANS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_span_s(text: str | float) -> float:
    """Return the seconds of `30d`, `36h`, `1h30m`, `90s` or a number.

    Raises:
        SettingsError: the text is no span of time.
    """
    found = re.findall(r"(\d{1,9})([smhd])", str(text))
    if found and "".join(number + unit for number, unit in found) == text:
        return float(sum(int(number) * _SPANS_S[unit] for number, unit in found))
    if re.fullmatch(r"\d{1,12}(?:\.\d+)?", str(text)):
        return float(text)
    raise SettingsError(f"{text!r} is no span of time: write a number of seconds, or for example 90s, 36h or 30d")


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class ServerSettings(_Strict, frozen=True, kw_only=True):
    """Where the server listens. Anything but loopback must be asked for. `names`: further accepted Host names.

    `socket`: the path of a Unix socket on which it listens too, for its owner only, without TLS; empty: none.
    `url`: where other servers of the same state reach it; empty: where it listens.
    `open_metrics`: `/metrics` needs no token. `certificate` and `key`: PEM files; with them the server speaks TLS only.
    `cors_origins`: pages that browsers may let call this server. `requests_per_s` and `burst`: what each token may ask for, 0: no
    limit; `max_body`: the longest body. `head_timeout_s` and `body_timeout_s`: how long a request may take to arrive.
    """

    host: str = "127.0.0.1"
    port: int = 2746
    socket: str = ""
    url: str = ""
    names: tuple[str, ...] = ()
    open_metrics: bool = False
    certificate: str = ""
    key: str = ""
    cors_origins: tuple[str, ...] = ()
    requests_per_s: float = 0.0
    burst: int = 0
    max_body: str | int = "4MiB"
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    drain_s: float = 10.0
    """How long requests under way may take to end when the server is told to stop."""


class OidcRoleSettings(_Strict, frozen=True, kw_only=True):
    """Who gets a role: tokens whose `claim` is `value`, or a list that holds it; `*` stands for any value.

    `claim` may be a path with dots. `namespaces`: where the role holds, `*` for all.
    """

    claim: str
    value: str
    role: Literal["viewer", "operator", "admin"]
    namespaces: tuple[str, ...] = ("*",)


class OidcSettings(_Strict, frozen=True, kw_only=True):
    """An OpenID Connect issuer whose JWTs open this server; no `issuer`: none does.

    `audience`: what their `aud` must name. `jwks_url`: where its keys are; empty: where its discovery document says.
    `algorithms`: signatures that are taken. `leeway_s`: by so much clocks may differ. `subject_claim`: who somebody is.
    `roles`: what claims give; a token that they give nothing is refused.
    """

    issuer: str = ""
    audience: str = ""
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    leeway_s: float = 30.0
    subject_claim: str = "sub"
    roles: tuple[OidcRoleSettings, ...] = ()


class StateSettings(_Strict, frozen=True, kw_only=True):
    """Where the state is: `sqlite:///PATH`, `postgresql://…` or `mongodb://…`; empty: `state.db` below the home.

    A URL with a password may be `{ env = "NAME" }` or `{ file = "PATH" }`. `patience_s`: so long a start waits for a database.

    `share`: other servers may stand by on it and take over: those with the same `home` on this machine, or `anywhere`.

    `transactions`: MongoDB is written to by transactions where the deployment knows them (`auto`), or `never`.
    """

    url: str | dict[str, str] = ""
    patience_s: float = 30.0
    share: Literal["", "home", "anywhere"] = ""
    transactions: Literal["auto", "never"] = "auto"


class SecretSettings(_Strict, frozen=True, kw_only=True):
    """Where the key of the stored secrets is: `{ file = … }`, `{ env = … }`, `"keyring"`; empty: `secret.key` below the home."""

    key: str | dict[str, str] = ""


class AuditSettings(_Strict, frozen=True, kw_only=True):
    """The log of who did what: `files` files of at most `file_size`; the oldest go. `files` 0: none is written."""

    file_size: str | int = "16MiB"
    files: int = 8


class PrimarySettings(_Strict, frozen=True, kw_only=True):
    """The near store: a directory, or `prefix` of a `remote`. `capacity`: the hard limit for everything in it.

    `path` empty: `primary` below the home. With a remote it is the directory from which pods read copies (empty: `scratch` below
    the home), of at most `scratch` (empty: like `capacity`).

    `max_objects`: how many objects it may hold; 0: any number. `free_floor`: what is left free on the disk that it shares.
    `check_s`: how often it is compared with what is really there; 0: never.

    `transfers`: transfers at once over the link of each far store, at most: of larger objects as many as fill it. `ranges`: in
    how many ranges one larger object comes at once, at most; 1: whole. `lookahead`: fetch what coming steps read; without it
    each step fetches its own inputs when it has got its place to run. `stall_s`: a transfer without progress for so long is given
    up and tried again.
    """

    path: str = ""
    remote: str = ""
    prefix: str = ""
    scratch: str | int = ""
    capacity: str | int = "10GiB"
    max_objects: int = 0
    free_floor: str | int = "64MiB"
    check_s: float = 300.0
    transfers: int = 64
    ranges: int = 8
    lookahead: bool = True
    plans: bool = True
    """Choose orders of steps by simulation while workflows run; without, one branch comes after another."""
    stall_s: float = 60.0
    checksums: bool = True
    """Take the SHA-256 of what steps read and write where its store tells no hash, for the provenance."""


class RemoteSettings(_Strict, frozen=True, kw_only=True):
    """A far store: an rclone backend `type` with its `options`.

    A secret option may be `{ env = "NAME" }` or `{ file = "PATH" }` instead of text. `endpoints`: names by which manifests know
    this store (host:port of an `s3` artifact), besides the option `endpoint`. `bandwidth`: a limit or time table for its link.

    `price_per_GB_down` and `_up`: what 10^9 bytes from and to it cost in `currency` (any short name), and 1,000 requests.
    """

    type: str
    options: dict[str, str | int | bool | dict[str, str]] = {}
    endpoints: tuple[str, ...] = ()
    bandwidth: str = ""
    price_per_GB_down: float = 0.0
    price_per_GB_up: float = 0.0
    price_per_1000_requests: float = 0.0
    currency: str = ""
    inventory_age: str | float = ""
    """So long its listings are used again; empty: as `inventory.age` says."""


class TransferSettings(_Strict, frozen=True, kw_only=True):
    """What holds for all links together: `bandwidth`, a limit or time table; `time_zone`: by whose clocks that is meant.

    `jobs`: so many transfer jobs work at the same time; more wait in a queue.
    """

    bandwidth: str = ""
    time_zone: str = "UTC"
    jobs: int = 4


class RcloneServerSettings(_Strict, frozen=True, kw_only=True):
    """One of several rclones that somebody else runs; see `RcloneSettings`.

    `remotes`: the remotes whose objects go through it, with `*` in their names; none: those that no other one names.
    """

    url: str
    user: str = ""
    password: str | dict[str, str] = ""
    ca: str = ""
    remotes: tuple[str, ...] = ()


class InventorySettings(_Strict, frozen=True, kw_only=True):
    """Listings of far stores: used again for `age`, 0: each workflow has its objects looked up anew.

    At most `objects` objects of all listings together are kept.
    """

    age: str | float = 0.0
    objects: int = 1_000_000


class RcloneSettings(_Strict, frozen=True, kw_only=True):
    """An `rclone rcd` that somebody else runs: `url`; empty: the server starts one of its own.

    `servers`: further ones, each with a name. If all of these name remotes, the rest goes through that of `url`, or one of the
    server's own.

    `url`: `https://HOST:PORT`, `unix:///PATH`, or `http://` on this machine. `password` may be `{ env = "NAME" }` or
    `{ file = "PATH" }`. `ca`: a PEM file of the authorities to trust, empty: the system's. `patience_s`: so long a start waits.
    """

    url: str = ""
    user: str = ""
    password: str | dict[str, str] = ""
    ca: str = ""
    patience_s: float = 30.0
    servers: dict[str, RcloneServerSettings] = field(default_factory=dict[str, RcloneServerSettings])


class DataSettings(_Strict, frozen=True, kw_only=True):
    """The link between `jitflow server --only control` and `jitflow server --only data`.

    `url`: where the data service listens, for the control service: `https://HOST:PORT`, or `http://` on this machine. `plain`:
    `http://` to another machine too, whose network nobody else can listen in.

    `token`: what the control service shows and the data service expects, a text, `{ env = "NAME" }` or `{ file = "PATH" }`;
    empty on the data service: the file `link.token` below its home, which it makes. `ca`: a PEM file of the authorities to
    trust, empty: the system's. `patience_s`: so long a request waits for a data service that is away.
    """

    url: str = ""
    plain: bool = False
    token: str | dict[str, str] = ""
    ca: str = ""
    patience_s: float = 10.0


class RepositorySettings(_Strict, frozen=True, kw_only=True):
    """Where artifacts without a location go: `remote:prefix`. Without a remote: `artifacts` below the home.

    `key_format`: what their keys begin with, with tags as in Argo; empty: `{{workflow.name}}/{{pod.name}}`. A ConfigMap
    `artifact-repositories` in a workflow's namespace goes before this.

    `intermediates`: artifacts in it that steps hand on to each other and the workflow does not export are kept (`keep`), or
    live in the primary until they were read, and are sent here only if their room is needed (`when-needed`).
    """

    remote: str = ""
    prefix: str = ""
    key_format: str = ""
    intermediates: Literal["keep", "when-needed"] = "keep"


class ArtifactPluginSettings(_Strict, frozen=True, kw_only=True):
    """What stands for an artifact plugin that manifests name: its keys lie below `remote:prefix`."""

    remote: str
    prefix: str = ""


class ImageSettings(_Strict, frozen=True, kw_only=True):
    """What an image's name means here.

    `root`: a directory that holds a root file system, empty for the host's. `files`: path in the pod -> path on the host.
    """

    root: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    working_dir: str = ""


class HttpSettings(_Strict, frozen=True, kw_only=True):
    """Whom http templates, and stores that only a manifest names, may ask.

    `allowed_hosts`: names, `*` stands for any part; empty: all but link-local addresses. `private_hosts`: where there are no
    `allowed_hosts`, those with private addresses that may be asked; if not set, all while the server serves this machine only.
    """

    allowed_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] | None = None


class WebhookSettings(_Strict, frozen=True, kw_only=True):
    """Who is told of events: `url`, of which `namespace` (`*`: all), of which `events`; `secret` signs what is sent."""

    url: str
    secret: str | dict[str, str]
    namespace: str = "*"
    events: tuple[str, ...] = ()


class EventSettings(_Strict, frozen=True, kw_only=True):
    """Whom webhooks may reach, and webhooks that are always there.

    `allowed_hosts`: names, `*` stands for any part; empty: all but private and link-local addresses. `private_hosts`: those with
    private addresses that may be reached. `attempts`: so often an event is tried before it is given up.
    """

    allowed_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    attempts: int = 12
    webhooks: dict[str, WebhookSettings] = field(default_factory=dict[str, WebhookSettings])


class MirrorSettings(_Strict, frozen=True, kw_only=True):
    """Two prefixes, `remote:path`, of which `near` is where steps look for what lies at `far`."""

    near: str
    far: str


class ForeignSettings(_Strict, frozen=True, kw_only=True):
    """Workflows that another Argo runs, and tells of by events.

    `ahead`: of so many steps that do not run yet the objects are near and held. `silence`: a workflow that was not heard of for
    so long is taken to have ended; 0: never. `kept`: for so long what has ended is remembered, for events that come late.
    `mirrors`: near stores in which its steps look for objects of far ones; each object is there while a step needs it.
    """

    ahead: int = 16
    silence: str | float = "24h"
    kept: str | float = "7d"
    mirrors: dict[str, MirrorSettings] = field(default_factory=dict[str, MirrorSettings])


class TelemetrySettings(_Strict, frozen=True, kw_only=True):
    """Traces. `otlp`: the address of an OpenTelemetry collector (OTLP over HTTP), without `/v1/traces`.

    If it is empty they go where the variables `OTEL_EXPORTER_OTLP_…` say, else nowhere.
    """

    otlp: str = ""


class PluginSettings(_Strict, frozen=True, kw_only=True):
    """An executor plugin: where it listens, and the token that is sent to it (`Authorization: Bearer`)."""

    url: str
    token: str = ""


class NamespaceSettings(_Strict, frozen=True, kw_only=True):
    """What a namespace may have in the primary: `quota` bytes (empty: any amount) and `quota_objects` objects (0: any number).

    `budget_moved`: bytes that may be moved for it, `budget_money`: what may be spent for that, by currency, in each
    `budget_period` of UTC.
    """

    quota: str | int = ""
    quota_objects: int = 0
    budget_moved: str | int = ""
    budget_money: dict[str, float] = {}
    budget_period: Literal["day", "month"] = "month"


class RetentionSettings(_Strict, frozen=True, kw_only=True):
    """How many finished workflows are kept of each kind, the newest; 0: all. `completed` means those that have succeeded."""

    completed: int = 0
    failed: int = 0
    errored: int = 0


class Settings(_Strict, frozen=True, kw_only=True):
    """Everything that can be set. `home`: state, pods, primary, artifacts. `max_pods` 0: one for each processor.

    `parallelism` and `namespace_parallelism`: workflows at once in all and in each namespace; 0: no limit.

    `archive`: keep what has ended after it was deleted, for `archive_ttl` since its end; 0: until it is deleted from the archive.

    `archive_logs`: keep the log of each pod as an artifact, whatever the manifests say.

    `workflow_defaults`: what holds for every workflow where it says nothing itself, a table with `metadata` and `spec` as in a
    manifest, or the path of a YAML file with them.

    `namespaces`: limits of single namespaces; `*` stands for each that is not named.

    `node_labels`: labels of this machine that node selectors of manifests may name, besides its architecture, system and name.
    """

    home: str = ""
    executor: Literal["sandbox", "process"] = "sandbox"
    max_pods: int = 0
    parallelism: int = 0
    namespace_parallelism: int = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    """JSON lines, or lines for people; `auto`: for people if standard error is a terminal."""
    durability: Literal["normal", "full"] = "normal"
    grace_s: float = 30.0
    archive: bool = True
    archive_ttl: str | float = "30d"
    archive_logs: bool = False
    node_labels: dict[str, str] = field(default_factory=dict[str, str])
    server: ServerSettings = ServerSettings()
    oidc: OidcSettings = OidcSettings()
    audit: AuditSettings = AuditSettings()
    state: StateSettings = StateSettings()
    secrets: SecretSettings = SecretSettings()
    primary: PrimarySettings = PrimarySettings()
    transfers: TransferSettings = TransferSettings()
    inventory: InventorySettings = InventorySettings()
    rclone: RcloneSettings = RcloneSettings()
    data: DataSettings = DataSettings()
    remotes: dict[str, RemoteSettings] = field(default_factory=dict[str, RemoteSettings])
    artifact_repository: RepositorySettings = RepositorySettings()
    artifact_plugins: dict[str, ArtifactPluginSettings] = field(default_factory=dict[str, ArtifactPluginSettings])
    http: HttpSettings = HttpSettings()
    events: EventSettings = EventSettings()
    foreign: ForeignSettings = ForeignSettings()
    plugins: dict[str, PluginSettings] = field(default_factory=dict[str, PluginSettings])
    retention: RetentionSettings = RetentionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    namespaces: dict[str, NamespaceSettings] = field(default_factory=dict[str, NamespaceSettings])
    workflow_defaults: str | dict[str, Any] = ""
    images: dict[str, ImageSettings] = field(default_factory=dict[str, ImageSettings])
