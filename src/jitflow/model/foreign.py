"""Workflows that another Argo runs, as far as their data goes."""

from msgspec import Struct

from jitflow.model.data import FutureInput, ObjectRef
from jitflow.model.origins import Origin

COMING, ACTIVE, DONE = "coming", "active", "done"
"""States of a step: it will run (or may), it has a pod or will have one again, nothing of it is read any more."""

FINAL = frozenset({"Succeeded", "Failed", "Error"})
"""Phases of a workflow that has ended."""


class Version(Struct, frozen=True, kw_only=True, order=True, array_like=True):
    """How new an event's view of a workflow is: the greater, the newer.

    `closing`: it has ended, and its event tells no `resource` version: nothing newer is known to follow. `resource`: Kubernetes'
    resourceVersion, -1 where there is none. `generation`, `latest` (the newest time in it, as it is written) and `done` (how many
    nodes have ended) decide between events without one.
    """

    closing: bool = False
    resource: int = -1
    generation: int = -1
    latest: str = ""
    done: int = 0


class ForeignStep(Struct, frozen=True, kw_only=True):
    """A pod of a workflow that another Argo runs. `id`: its node's; `after`: steps that end before it."""

    id: str
    name: str
    template: str = ""
    state: str = COMING
    inputs: tuple[FutureInput, ...] = ()
    outputs: tuple[ObjectRef, ...] = ()
    after: tuple[str, ...] = ()
    certain: bool = True


class ForeignRun(Struct, frozen=True, kw_only=True):
    """What is known of such a workflow: from one event, or from all so far. Times in seconds since the epoch.

    `steps`: in order of need; none when it has ended. `finished_at`: as Argo says it. `origins`: stores that only its manifest
    names. `problems`: what of it could not be understood, for people.
    """

    uid: str
    namespace: str
    name: str
    version: Version = Version()
    phase: str = ""
    deleted: bool = False
    first_heard_at: float = 0.0
    heard_at: float = 0.0
    finished_at: str = ""
    steps: tuple[ForeignStep, ...] = ()
    origins: tuple[Origin, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether its end is known."""
        return self.deleted or self.phase in FINAL


# -- what the API answers -------------------------------------------------------------------------------------------------


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of an event: `outcome` is `taken`, or `known` if it says nothing newer than what was known."""

    outcome: str
    message: str
    namespace: str
    name: str
    uid: str
    phase: str


class ForeignObject(Struct, frozen=True, kw_only=True):
    """An object that a step reads: where it comes from, its state in the primary, and its name in a near store if it has one."""

    object: str
    state: str
    size_bytes: int | None = None
    near: str = ""


class ForeignStepView(Struct, frozen=True, kw_only=True):
    """A step. `state`: `coming`, `active` or `done`; `held`: its objects are near and stay until it is done."""

    name: str
    template: str
    state: str
    held: bool
    objects: tuple[ForeignObject, ...] = ()
    message: str = ""


class ForeignView(Struct, frozen=True, kw_only=True):
    """A workflow that another Argo runs. `ended`: how it ended, empty while it runs. Times in seconds since the epoch.

    `near` of `objects` different objects are in the primary. `steps` is there when one workflow was asked for.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    ended: str
    first_heard_at: float
    heard_at: float
    objects: int
    near: int
    held_steps: int
    open_steps: int
    problems: tuple[str, ...] = ()
    steps: tuple[ForeignStepView, ...] | None = None
