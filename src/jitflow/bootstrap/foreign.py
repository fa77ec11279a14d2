"""Workflows that another Argo runs, put together."""

from collections.abc import Callable

from jitflow.app.foreign import ForeignRules, ForeignRuns, Mirror
from jitflow.app.refs import parse_ref
from jitflow.engine.locations import Locator
from jitflow.engine.tasks import Owner
from jitflow.model.data import ObjectRef
from jitflow.model.problems import Refused
from jitflow.objects import ObjectStore
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import DataView, SharedDataPlane
from jitflow.ports.store import StateStore
from jitflow.settings import ForeignSettings, SettingsError, parse_span_s


async def open_foreign(
    settings: ForeignSettings,
    *,
    store: StateStore,
    dataplane: SharedDataPlane,
    view: DataView,
    objects: ObjectStore,
    locator: Callable[[], Locator],
    clock: Clock,
    owner: Owner,
) -> ForeignRuns:
    """Return what takes their events, gone on with what was known.

    Raises:
        SettingsError: one of the settings cannot be used.
    """
    runs = ForeignRuns(
        store=store,
        dataplane=dataplane,
        view=view,
        objects=objects,
        locator=locator,
        clock=clock,
        spawn=owner.spawn,
        rules=rules_of(settings),
    )
    await runs.open()
    return runs


def rules_of(settings: ForeignSettings) -> ForeignRules:
    """Return how such workflows are treated.

    Raises:
        SettingsError: one of the settings cannot be used.
    """
    mirrors = (
        Mirror(near=_prefix(one.near, f"foreign.mirrors.{name}.near"), far=_prefix(one.far, f"foreign.mirrors.{name}.far"))
        for name, one in settings.mirrors.items()
    )
    return ForeignRules(
        ahead=max(0, settings.ahead),
        silence_s=parse_span_s(settings.silence),
        kept_s=parse_span_s(settings.kept),
        mirrors=tuple(mirrors),
    )


def _prefix(text: str, where: str) -> ObjectRef:
    try:
        return parse_ref(text if text.endswith((":", "/")) else f"{text}/")
    except Refused as error:
        raise SettingsError(f"{where}: {error}") from error
