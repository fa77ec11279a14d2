"""What holds of all that was said to a data service: it is said again when that has been started anew."""

from collections.abc import Iterable

from msgspec import Struct

from jitflow.model.data import StepId, WorkflowUid
from jitflow.ports import datalink as link


class _Workflow(Struct):
    """What was said of one workflow and holds. `past`: that it was withdrawn, and what came before, until that is certain."""

    belongs: link.Belongs | None = None
    announced: link.Announce | None = None
    asked: dict[StepId, link.Acquire] = {}
    released: dict[StepId, link.Release] = {}
    past: list[link.Command] = []

    def replay(self) -> list[link.Command]:
        own = (self.belongs, self.announced)
        return [*self.past, *(one for one in own if one is not None), *self.asked.values(), *self.released.values()]


class Mirror:
    """Remembers commands as far as they hold. A command counts as performed when `done` was told of it."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._known: dict[str, link.Known] = {}
        self._workflows: dict[WorkflowUid, _Workflow] = {}
        self._forget: dict[WorkflowUid, link.ForgetSeen] = {}
        self.leased: set[StepId] = set()
        """Steps that have their leases."""

    def note(self, command: link.Command) -> None:
        """Remember what is said now."""
        match command:
            case link.Known():
                self._known[command.origin.name] = command
            case link.Belongs(uid=uid):
                self._of(uid).belongs = command
            case link.Announce(uid=uid):
                self._of(uid).announced = command
            case link.Acquire(uid=uid):
                self._of(uid).asked[command.step.id] = command
            case link.Release():
                self._release(command)
            case link.Withdraw(uid=uid):
                found = self._of(uid)
                self.leased.difference_update(found.asked)
                self._workflows[uid] = _Workflow(past=[*found.past, *found.released.values(), command])
            case link.ForgetSeen(uid=uid):
                self._forget[uid] = command

    def _release(self, command: link.Release) -> None:
        found = self._of(command.step.partition("/")[0])
        found.asked.pop(command.step, None)
        found.released[command.step] = command
        self.leased.discard(command.step)

    def _of(self, uid: WorkflowUid) -> _Workflow:
        return self._workflows.setdefault(uid, _Workflow())

    def done(self, commands: Iterable[link.Command]) -> None:
        """These have taken effect for ever; of outputs it is told later that they are out."""
        for command in commands:
            match command:
                case link.Release(outputs=()):
                    self._forget_release(command)
                case link.Withdraw(uid=uid):
                    found = self._of(uid)
                    if command in found.past:
                        # Nobody waits any longer for what came before it.
                        found.past = found.past[found.past.index(command) + 1 :]
                    self._tidy(uid)
                case link.ForgetSeen(uid=uid):
                    self._forget.pop(uid, None)
                case _:
                    pass

    def _forget_release(self, command: link.Release) -> None:
        uid = command.step.partition("/")[0]
        found = self._workflows.get(uid)
        if found is not None and found.released.get(command.step) is command:
            del found.released[command.step]
            self._tidy(uid)

    def _tidy(self, uid: WorkflowUid) -> None:
        found = self._workflows.get(uid)
        if found is not None and not found.replay():
            del self._workflows[uid]

    def sent(self, step: StepId) -> None:
        """A step's outputs are out, or cannot be."""
        found = self._workflows.get(step.partition("/")[0])
        if found is not None:
            found.released.pop(step, None)
            found.past = [one for one in found.past if not (isinstance(one, link.Release) and one.step == step)]
            self._tidy(step.partition("/")[0])

    def unasked(self, step: StepId) -> None:
        """A step will get no lease."""
        found = self._workflows.get(step.partition("/")[0])
        if found is not None:
            found.asked.pop(step, None)

    def waiting(self) -> list[StepId]:
        """Return the steps that have asked and have no lease."""
        return [step for one in self._workflows.values() for step in one.asked if step not in self.leased]

    def knows(self, name: str) -> bool:
        """Return whether a store that only a manifest names was told of."""
        return name in self._known

    def known(self) -> list[link.Known]:
        """Return the stores that only manifests name."""
        return list(self._known.values())

    def waits(self, step: StepId) -> bool:
        """Return whether a step has asked and has no lease."""
        found = self._workflows.get(step.partition("/")[0])
        return found is not None and step in found.asked and step not in self.leased

    def replay(self) -> list[link.Command]:
        """Return everything that holds, the whole future before what steps ask for: as after a restart of the control side."""
        ahead: list[link.Command] = []
        asked: list[link.Command] = []
        for one in self._workflows.values():
            for command in one.replay():
                (asked if isinstance(command, link.Acquire) else ahead).append(command)
        return [*self._known.values(), *ahead, *asked, *self._forget.values()]
