"""Starting a step or a task: its `when`, its loop, its node."""

from collections.abc import Callable
from typing import Any

import msgspec

from jitflow.expr import durations, tags
from jitflow.expr import when as when_language
from jitflow.machine import names, phases
from jitflow.machine import node as types
from jitflow.machine.compiled import Task
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Absent, Problem
from jitflow.machine.scope import Scope
from jitflow.machine.turn import Turn
from jitflow.machine.values import EMPTY_LOOP
from jitflow.model import argo

MAX_SEQUENCE = 1_000_000
"""Longer sequences are refused: they are a mistake more often than a wish."""


def schedule(turn: Turn, owner: Node, boundary: Node, task: Task) -> None:
    """Start a task of a boundary below `owner` (a step group or a DAG), or its loop, or skip it."""
    name = f"{owner.name}.{turn.task_name(boundary, task)}"
    draft = turn.draft(name, owner=owner, boundary=boundary, task=task)
    scope = turn.task_scope(boundary)
    try:
        reason = _reason_to_skip(task, scope)
        if not task.loops:
            _start_or_skip(turn, draft, reason)
            return
        items = _items_or_none(task, scope) if reason else items_of(task, scope)
    except Problem as problem:
        turn.did_not_run(draft, phases.ERROR, str(problem))
        return
    if not items:
        turn.did_not_run(draft, phases.SKIPPED, EMPTY_LOOP)
    else:
        _start_items(turn, owner, draft, items, reason)


def _reason_to_skip(task: Task, scope: Scope) -> str:
    """Return why a task is skipped, empty if it is not, or if its loop's items decide that.

    Raises:
        Problem: its condition cannot be evaluated.
    """
    if task.when is None or (task.loops and task.when_has_item):
        return ""
    text = condition(task.when, scope)
    return "" if holds(text) else f"when '{text}' evaluated false"


def _items_or_none(task: Task, scope: Scope) -> list[str]:
    """Return the items of a loop that is skipped; none if they cannot be told: nobody needs them."""
    try:
        return items_of(task, scope)
    except Problem:
        return []


def _start_or_skip(turn: Turn, draft: Node, reason: str) -> None:
    if reason:
        turn.did_not_run(draft, phases.SKIPPED, reason)
    else:
        turn.start(draft)


def _start_items(turn: Turn, owner: Node, draft: Node, items: list[str], reason: str) -> None:
    """Start those items of a loop that have no node yet, or skip them all for a reason."""
    boundary = turn.nodes[draft.boundary]
    if owner.type == types.DAG:
        group = turn.child(owner.id, draft.key)
        if group is None:
            group = turn.add(changed(draft, type=types.TASK_GROUP, phase=phases.RUNNING, started_at=turn.now))
            turn.rules.look(turn, group)
        owner = turn.nodes[group.id]
        turn.settle_later(owner)
    task = turn.program.template(boundary.template).tasks[draft.task]
    base = owner.name if owner.type == types.TASK_GROUP else f"{owner.name}.{turn.task_name(boundary, task)}"
    for index, item in enumerate(items):
        if turn.child(owner.id, (task.index, index)) is not None:
            continue
        name = names.item_name(base, index, item)
        one = turn.draft(name, owner=owner, boundary=boundary, task=task, index=index, item=item)
        if task.when is None or not task.when_has_item:
            _start_or_skip(turn, one, reason)
            continue
        try:
            text = condition(task.when, turn.task_scope(boundary, item))
            _start_or_skip(turn, one, "" if holds(text) else f"when '{text}' evaluated false")
        except Problem as problem:
            turn.did_not_run(one, phases.ERROR, str(problem))


def condition(when: tags.Text, scope: Callable[[str], str | None]) -> str:
    """Return a `when` with its tags replaced.

    Raises:
        Problem: it refers to an output that is not there.
    """
    return when.render(scope)


def holds(text: str) -> bool:
    """Return whether a `when` lets its step run.

    Raises:
        Problem: the text is no condition.
    """
    try:
        return when_language.evaluate(text)
    except when_language.WhenError as error:
        raise Problem(str(error)) from error


def items_of(task: Task, scope: Scope) -> list[str]:
    """Return the items of a task's loop, as JSON texts.

    Raises:
        Problem: the list cannot be read.
    """
    if task.items is not None:
        return _list(task.items.render(scope, escape=True), "withItems")
    if task.param is not None:
        try:
            text = task.param.render(scope)
        except Absent as absent:
            raise Problem(f"withParam {absent}") from absent
        return _list(text, "withParam")
    if task.sequence is not None:
        return _sequence(task.sequence.render(scope))
    return []


def _list(text: str, field: str) -> list[str]:
    try:
        raw = msgspec.json.decode(text, type=list[msgspec.Raw] | None)  # null is an empty list, as Go reads it
        return [_compact(bytes(item)) for item in raw or ()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(f"{field} value could not be parsed as a JSON list: {text[:200]}: {error}") from error


def _compact(raw: bytes) -> str:
    """Return an item's JSON; numbers keep their text, maps and lists are written without blanks, by key."""
    text = raw.decode().strip()
    if text[:1] in {"{", "["}:
        value: Any = msgspec.json.decode(text)
        return msgspec.json.encode(value, order="sorted").decode()
    return text


def _sequence(sequence: argo.Sequence) -> list[str]:
    start = _integer(sequence.start, "start") if sequence.start is not None else 0
    if sequence.count is not None:
        count = _integer(sequence.count, "count")
        numbers = range(start, start + count)
    elif sequence.end is not None:
        end = _integer(sequence.end, "end")
        numbers = range(start, end + 1) if start <= end else range(start, end - 1, -1)
    else:
        raise Problem("must specify one of the following: withSequence.count, withSequence.end")
    if len(numbers) > MAX_SEQUENCE:
        raise Problem(f"withSequence gives {len(numbers)} items; at most {MAX_SEQUENCE} are possible")
    if sequence.format:
        return [_quoted(durations.go_format(sequence.format, number)) for number in numbers]
    return [f'"{number}"' for number in numbers]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _integer(value: int | str, field: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise Problem(f"withSequence.{field}: '{value}' is no whole number") from error
