"""Follows one workflow until it ends, and shows it meanwhile: a live tree, plain lines, or its logs."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
from msgspec import Struct

from jitflow.cli import views
from jitflow.cli.errors import CliError
from jitflow.cli.views import FINAL_PHASES, WorkflowView
from jitflow.client import Client, ClientError, WaitTimeout
from jitflow.model.reports import StepData

_TICK_S = 0.2
_DATA_EVERY_S = 1.0
_NEWS_S = 5.0
_JOIN_S = 1.0
_RENDER_SHARE = 4
"""Drawing takes at most a fifth of one core, however large the tree."""


@dataclass(frozen=True)
class Moment:
    """What is known at one moment."""

    view: WorkflowView
    data: tuple[StepData, ...] = ()
    fill: dict[str, int] | None = None


class Display(Protocol):
    """Shows moments."""

    def show(self, moment: Moment, now: float) -> None:
        """Show what is known now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it should be."""
        ...


class _Slot:
    """The newest state of the workflow; states that were never shown are dropped undecoded."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self._lock = threading.Lock()
        self._body: msgspec.Raw | None = None
        self._error: Exception | None = None
        self._deleted = False

    def put(self, body: msgspec.Raw | None = None, *, error: Exception | None = None, deleted: bool = False) -> None:
        with self._lock:
            self._body = body if body is not None else self._body
            self._error, self._deleted = error, deleted
        self.changed.set()

    def take(self, name: str) -> WorkflowView | None:
        """Return the newest state if it was not taken yet."""
        with self._lock:
            body, error, deleted, self._body = self._body, self._error, self._deleted, None
            self.changed.clear()
        if body is not None:
            return views.workflow(body)
        if error is not None:
            raise error
        if deleted:
            raise CliError(f"workflow {name} was deleted")
        return None


def follow(
    client: Client,
    namespace: str,
    name: str,
    display: Display,
    *,
    between: Callable[[], None] = lambda: None,
    limit_s: float | None = None,
) -> WorkflowView:
    """Show the workflow until it has ended and return its last state. `between` is called a few times a second.

    Raises:
        ClientError: it does not exist, the server stayed away, or (`WaitTimeout`) it has not ended within `limit_s`.
        CliError: it was deleted.
    """
    until = math.inf if limit_s is None else time.monotonic() + limit_s
    slot, news, ended = _Slot(), _News(), threading.Event()
    readers = [
        threading.Thread(target=_watch, args=(client.another(), namespace, name, slot, ended), daemon=True),
        threading.Thread(target=news.run, args=(client.another(timeout_s=_NEWS_S), namespace, name, ended), daemon=True),
    ]
    for reader in readers:
        reader.start()
    view: WorkflowView | None = None
    tick = _TICK_S
    try:
        while view is None or not view.is_done:
            slot.changed.wait(max(0.0, min(tick, until - time.monotonic())))
            between()
            view = slot.take(name) or view
            if view is not None:
                began = time.monotonic()
                display.show(Moment(view, news.data, news.fill), time.time())
                took = time.monotonic() - began
                tick = max(_TICK_S, took * _RENDER_SHARE)
                if slot.changed.is_set() and not view.is_done:
                    time.sleep(max(0.0, min(tick, 2.0, until - time.monotonic())))
            if time.monotonic() >= until and (view is None or not view.is_done):
                raise WaitTimeout(f"workflow {name} has not ended within {limit_s:g} s; it goes on")
        return view
    finally:
        ended.set()
        display.close()
        for reader in readers:
            # One that waits for a server that is silent ends with the process.
            reader.join(_JOIN_S)


class _Status(Struct, frozen=True):
    phase: str = ""


class _Phase(Struct, frozen=True):
    """Of a state only what says whether it is the last one."""

    status: _Status = _Status()


def _watch(client: Client, namespace: str, name: str, slot: _Slot, ended: threading.Event) -> None:
    with client:
        try:
            for event in client.workflows.follow(name, namespace=namespace):
                if event.type == "DELETED":
                    slot.put(deleted=True)
                    return
                slot.put(event.object)
                if ended.is_set() or msgspec.json.decode(event.object, type=_Phase).status.phase in FINAL_PHASES:
                    return
        except Exception as error:  # carried to the thread that shows, where it is raised again
            slot.put(error=error)


class _News:
    """Where the data stands, asked for now and then; an answer that does not come is no error: the workflow goes on."""

    def __init__(self) -> None:
        self.data: tuple[StepData, ...] = ()
        self.fill: dict[str, int] | None = None

    def run(self, client: Client, namespace: str, name: str, ended: threading.Event) -> None:
        with client:
            while not ended.is_set():
                began = time.monotonic()
                try:
                    self.data = client.workflows.data(name, namespace=namespace)
                    self.fill = msgspec.to_builtins(client.data.primary.get(limit=1).fill)
                except (ClientError, msgspec.MsgspecError):
                    pass
                ended.wait(max(_DATA_EVERY_S, 5 * (time.monotonic() - began)))
