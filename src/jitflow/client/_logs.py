"""Logs: where to go on after a break, so that each line comes once."""

from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from jitflow.client._effects import Pause, Request, Script, ask
from jitflow.client._errors import NotFound, ServerLost, check
from jitflow.client._requests import decode, get, given, tail
from jitflow.client._retry import pause_s
from jitflow.client._streams import messages, reconnected
from jitflow.model.logs import LogEntry

DONE = frozenset({"Succeeded", "Failed", "Error", "Skipped", "Omitted"})
_MAX_POD_PREFIX = 253 - 10 - 1


class _Node(Struct, frozen=True, rename="camel"):
    phase: str = ""
    template_name: str = ""


class _Status(Struct, frozen=True):
    phase: str = ""
    nodes: dict[str, _Node] | None = None


class _Standing(Struct, frozen=True):
    """Of a workflow only whether it and its pods have ended."""

    status: _Status = _Status()


def pod_name(workflow: str, node_id: str, template: str) -> str:
    """Return the name of a node's pod as Argo forms it: `<workflow>-<template>-<hash>`, long prefixes cut."""
    if node_id == workflow or not template:
        return node_id
    return f"{workflow}-{template}"[:_MAX_POD_PREFIX] + "-" + node_id.rsplit("-", 1)[-1]


class LogWish(Struct, frozen=True, kw_only=True):
    """Which lines are wanted."""

    namespace: str
    name: str
    pod: str = ""
    container: str = "main"
    tail: int | None = None
    grep: str = ""
    selector: str = ""
    since_s: int | None = None
    previous: bool = False
    timestamps: bool = False

    def request(self, *, follow: bool) -> Request:
        """Return the request for them."""
        query: dict[str, Any] = {
            "logOptions.container": self.container,
            "logOptions.follow": follow,
            "logOptions.tailLines": self.tail,
            "logOptions.timestamps": self.timestamps,
            "logOptions.sinceSeconds": self.since_s,
            "logOptions.previous": self.previous,
            "podName": self.pod,
            "grep": self.grep,
            "selector": self.selector,
        }
        path = tail("/api/v1/workflows", self.namespace, self.name, "log")
        return Request(method="GET", path=path, query=given(query), repeatable=True)


class Seen:
    """Which log lines were told: per pod the time of the last one and how many carried that time."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._last: dict[str, tuple[str, int]] = {}
        self._again: dict[str, int] = {}

    def restart(self) -> None:
        """From now on lines come from the beginning again."""
        self._again = dict.fromkeys(self._last, 0)

    def admit(self, entry: LogEntry) -> LogEntry | None:
        """Return the entry without its time, or None when it was told before."""
        stamp, _, text = entry.content.partition(" ")
        moment = _sortable(stamp)
        last, count = self._last.get(entry.pod_name, ("", 0))
        again = self._again.get(entry.pod_name, count)
        if moment < last:
            return None
        if moment == last and again < count:
            self._again[entry.pod_name] = again + 1
            return None
        self._last[entry.pod_name] = (moment, count + 1 if moment == last else 1)
        self._again[entry.pod_name] = self._last[entry.pod_name][1]
        return LogEntry(text, entry.pod_name)


def _sortable(stamp: str) -> str:
    """Return an RFC 3339 time so that texts sort as times: servers cut trailing zeros of the fraction."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


def entry(raw: msgspec.Raw) -> LogEntry:
    """Return a line."""
    return decode(raw, LogEntry)


def read(wish: LogWish) -> Script[None]:
    """Emit the lines that are there."""
    return messages(wish.request(follow=False), entry)


def follow(wish: LogWish, patience_s: float) -> Script[None]:
    """Emit lines until the workflow (or the pod) has ended, over restarts of the server, each once."""
    seen, turn = Seen(), 0
    stamped = msgspec.structs.replace(wish, timestamps=True)

    def fresh(raw: msgspec.Raw) -> LogEntry | None:
        nonlocal turn
        found = entry(raw)
        plain = seen.admit(found)
        turn = 0
        return None if plain is None else found if wish.timestamps else plain

    while True:
        try:
            yield from messages(stamped.request(follow=True), fresh)
            if (yield from _has_ended(wish)):
                return
            # A server that goes down ends its streams in order.
            yield Pause(pause_s(turn))
            turn += 1
        except ServerLost as error:
            yield from reconnected(error, patience_s)
        # After a break everything is read again and what was told is left out: `tail` was for the first time only.
        stamped = msgspec.structs.replace(stamped, tail=None)
        seen.restart()


def _has_ended(wish: LogWish) -> Script[bool]:
    found = get(_Standing, "/api/v1/workflows", wish.namespace, wish.name)
    answer = yield from ask(found.request)
    try:
        check(answer.status, answer.body, where=found.request.name)
    except NotFound:
        return True
    status = found.reads(answer.body).status
    name = partial(pod_name, wish.name)
    ended = (wish.pod in {key, name(key, node.template_name)} for key, node in (status.nodes or {}).items() if node.phase in DONE)
    return status.phase in DONE or (bool(wish.pod) and any(ended))
