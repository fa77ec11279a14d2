"""The data side in another process, put together for a control service: the link to it in all its uses."""

import platform
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jitflow.bootstrap.dataparts import DataSide
from jitflow.bootstrap.home import Home
from jitflow.bootstrap.places import Places
from jitflow.bootstrap.system import SystemClock
from jitflow.bootstrap.tracing import Tracing
from jitflow.control_api.handing import DataService
from jitflow.datalink import Channel, LinkedDataPlane, LinkedFar, LinkedView, LinkedWitness
from jitflow.engine import Locator, RemoteName
from jitflow.model.origins import Origin
from jitflow.model.problems import Problem, Refused
from jitflow.objects import ObjectStore
from jitflow.ports.datalink import Known
from jitflow.ports.errors import AccessRefused, Unreachable
from jitflow.ports.store import StateStore
from jitflow.settings import DataSettings, Settings, SettingsError, resolve_secret
from jitflow.storage.credentials import Credentials
from jitflow.telemetry import logger
from jitflow.telemetry.metrics import Figures, one

_log = logger("server")


async def open_link(
    settings: Settings,
    home: Home,
    stack: AsyncExitStack,
    *,
    store: StateStore,
    objects: ObjectStore,
    control: str,
    tracing: Tracing,
) -> tuple[DataSide, LinkedDataPlane]:
    """Return the data side behind the link that the settings name; `stack` ends it. It may be away.

    `control`: who this control side is, the same for all servers of its state.

    Raises:
        SettingsError: the settings cannot be used.
    """
    chosen = settings.data
    if idle := without_effect(settings):
        _log.warning("settings without effect: they belong into those of the data service", settings=", ".join(idle))
    if not chosen.url:
        raise SettingsError("data.url: a control service needs the address of its data service (`jitflow server --only data`)")
    verify = verifying(chosen)

    def token() -> str:
        return token_of(chosen)

    try:
        channel = Channel(chosen.url, token, verify=verify, marks=tracing.headers)
    except ValueError as error:
        raise SettingsError(f"data.url: {error}") from error
    credentials = Credentials(objects)
    plane = LinkedDataPlane(
        channel,
        store,
        SystemClock(),
        control=control,
        host=platform.node(),
        pods=home.pods.absolute(),
        resolve=lambda origin: resolved(credentials, origin),
        patience_s=chosen.patience_s,
    )
    places = LinkedPlaces(settings, plane)
    client = httpx.AsyncClient(verify=verify, trust_env=False, limits=httpx.Limits(keepalive_expiry=3.0))
    stack.push_async_callback(client.aclose)

    def changed() -> None:
        plane.secrets_changed()

    async def ready() -> Mapping[str, str]:
        await plane.ready()
        return await unready(client, channel.url)

    stack.callback(objects.subscribe(lambda _: changed()))
    side = DataSide(
        plane=plane,
        view=LinkedView(plane),
        witness=LinkedWitness(plane),
        far=LinkedFar(channel, plane),
        locator=places.locator,
        figures=lambda: figures(plane),
        checks={"data": ready},
        rotate_key=plane.rotate_key,
        routes=DataService(client, channel.url, token, plane.refresh, tracing.headers).routes(),
    )
    return side, plane


async def unready(client: httpx.AsyncClient, url: str) -> Mapping[str, str]:
    """Return which parts of a data service cannot be used, as it says itself.

    Raises:
        Unreachable: it does not say.
    """
    try:
        answer = await client.get(f"{url}/readyz")
        return msgspec.json.decode(answer.content, type=_Readiness).parts if answer.is_error else {}
    except (httpx.HTTPError, msgspec.MsgspecError) as error:
        raise Unreachable(f"the data service at {url} does not say whether it is ready: {type(error).__name__}") from error


class _Readiness(Struct, frozen=True):
    parts: dict[str, str] = {}


def without_effect(settings: Settings) -> list[str]:
    """Return what of a control service's settings only its data service looks at."""
    plain = Settings()
    names = ["remotes", "namespaces", "transfers", "inventory", "rclone"]
    found = [name for name in names if getattr(settings, name) != getattr(plain, name)]
    if replace(settings.primary, lookahead=plain.primary.lookahead) != plain.primary:
        found.append("primary (but for lookahead)")
    return found


class LinkedPlaces:
    """Where manifests' locations lie, by the remotes that the data service has, or had when it was last heard of."""

    def __init__(self, settings: Settings, plane: LinkedDataPlane) -> None:
        """Follow the remotes of `plane`."""
        self._places = Places(settings, plane.notice)
        self._plane = plane
        self._locator: Locator | None = None
        plane.on_remotes = self._changed

    def _changed(self) -> None:
        self._locator = None

    def locator(self) -> Locator:
        """Return how locations are found.

        Raises:
            Refused: the data service was never reached (`unavailable`), or has no remote that the settings name.
        """
        if self._locator is None:
            names = self._names()
            if not names:
                remedy = "start it, and look at `jitflow doctor` or /readyz here"
                raise Refused(Problem(message=self._plane.session.away or "no remotes", remedy=remedy, code="unavailable"))
            try:
                self._places.check(names)
            except SettingsError as error:
                raise Refused(f"{error} on the data service", code="conflict") from error
            self._locator = self._places.locator(names)
        return self._locator

    def _names(self) -> Mapping[str, RemoteName]:
        known = self._plane.remotes
        return {name: RemoteName(type=found.type, endpoints=found.endpoints) for name, found in known.items()}


def resolved(credentials: Credentials, origin: Origin) -> Known:
    """Return a store that only a manifest names with its secrets, or why they cannot be had."""
    try:
        return Known(origin=origin, options=credentials.options(origin))
    except AccessRefused as error:
        return Known(origin=origin, error=str(error))


def token_of(data: DataSettings) -> str:
    """Return the token of the link, as it is now.

    Raises:
        AccessRefused: there is none, yet.
    """
    try:
        found = resolve_secret(data.token, "data.token")
    except SettingsError as error:
        raise AccessRefused(f"{error}; the data service writes link.token into its home when it starts") from error
    if not found:
        raise AccessRefused('data.token is empty: write { file = "…/link.token" }, the file in the data service\'s home')
    return found


def verifying(data: DataSettings) -> ssl.SSLContext | bool:
    """Return how the data service's certificate is checked.

    Raises:
        SettingsError: the authorities cannot be read.
    """
    if not data.ca:
        return True
    try:
        return ssl.create_default_context(cafile=str(Path(data.ca).expanduser()))
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"data.ca: {data.ca}: no certificates can be read from it: {reason}") from error


def figures(plane: LinkedDataPlane) -> Figures:
    """Return whether the data service can be used, for metrics; it tells its own figures itself."""
    return {"jitflow_data_service_up": one(not plane.session.away)}
