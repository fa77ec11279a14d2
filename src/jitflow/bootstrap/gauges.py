"""Everything that a server tells of itself as metrics, gathered when somebody looks."""

from collections import Counter
from collections.abc import Callable
from importlib.metadata import version

from jitflow.app import Service
from jitflow.app.ports import Change
from jitflow.control_api import Health
from jitflow.engine import Engine
from jitflow.stores import PatientStore
from jitflow.telemetry.metrics import Figures, by, one


class Gauges:
    """Asks each part for its figures."""

    def __init__(
        self, service: Service, engine: Engine, data: Callable[[], Figures], store: PatientStore, health: Health
    ) -> None:
        """Ask these, and count the workflows that end from now on."""
        self._service = service
        self._engine = engine
        self._data = data
        self._store = store
        self._health = health
        self._ended: Counter[str] = Counter()
        engine.subscribe(self._hear)

    def _hear(self, change: Change) -> None:
        if change.ends:
            self._ended[change.row.phase] += 1

    def figures(self) -> Figures:
        """Return all of them; each is in the table of `jitflow.telemetry.known`."""
        return {
            "argo_workflows_gauge": by("phase", dict(sorted(self._service.phases().items()))),
            **self._engine.figures(),
            "jitflow_workflows_ended_total": by("phase", self._ended),
            **self._data(),
            **self._store.figures(),
            "jitflow_api_streams": one(self._service.watchers),
            "jitflow_draining": one(self._health.draining),
            "jitflow_info": by("version", {version("jitflow"): 1}),
        }
