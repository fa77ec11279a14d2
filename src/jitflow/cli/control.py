"""What stop, terminate, suspend, resume, retry, resubmit and delete share: one or many workflows, each with its own outcome."""

from collections.abc import Callable, Sequence
from typing import Any

import typer
from msgspec import Struct
from msgspec.structs import replace

from jitflow.cli.choosing import Among
from jitflow.cli.chosen import Chosen
from jitflow.cli.connect import connect, resolve
from jitflow.cli.errors import CliError
from jitflow.cli.formats import plural
from jitflow.cli.options import TableFormat
from jitflow.cli.output import Json, print_json, say
from jitflow.client import ApiError, Client
from jitflow.client.workflows import Head, Metadata
from jitflow.model.bulk import BulkItem, BulkWish, Operation

_AT_ONCE = 200
"""Workflows of one request: what was done is told as it goes on."""


class Deed(Struct, frozen=True, kw_only=True):
    """What is done to workflows: `past` says it of one, `one` sends it for one, `wish` is how it is meant for many."""

    operation: Operation
    past: str
    one: Callable[[Client, str], Json]
    wish: BulkWish = BulkWish()
    asks: bool = False
    """Whether many are asked about before."""


class _Outcome:
    """What came of it: what was answered, who was refused and why, and the workflows that it made or let go on."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.refused: list[str] = []
        self.then: list[Json] = []


def control(
    deed: Deed,
    chosen: Chosen,
    among: Among,
    *,
    sure: bool = False,
    afterwards: Callable[[Client, list[Json]], None] | None = None,
) -> None:
    """Do it to the workflows that are meant, say of each what was done; `afterwards` is given those that go on.

    `sure`: do not ask. Those that are named are sent one by one, those that are selected in bulk: exactly the ones that were
    there when it was asked about, whatever comes meanwhile.

    Raises:
        CliError: the server refused it for some; the others were done.
    """
    outcome = _Outcome()
    with connect(chosen.server) as client:
        if among.names:
            _named(client, deed, among, outcome, dry_run=chosen.dry_run)
        else:
            _selected(client, deed, among, outcome, dry_run=chosen.dry_run, sure=sure)
        if chosen.output is TableFormat.JSON:
            print_json(outcome.answers)
        if outcome.refused:
            raise CliError("\n".join(outcome.refused))
        if afterwards is not None and not chosen.dry_run:
            afterwards(client, outcome.then)


def confirm(question: str) -> None:
    """Ask, and leave unless the answer is yes.

    Raises:
        CliError: nobody can answer.
    """
    try:
        sure = typer.confirm(question, err=True)
    except typer.Abort:
        say("")  # the question's line has no end yet
        sure = False
    if not sure:
        raise CliError("nothing was done (--yes answers for you)")


def _named(client: Client, deed: Deed, among: Among, outcome: _Outcome, *, dry_run: bool) -> None:
    for name in among.names:
        try:
            found = resolve(client, among.namespace, name)
            if dry_run:
                _would(client, deed, among.namespace, found, outcome)
                continue
            answer = deed.one(client, found)
        except (ApiError, CliError) as error:
            outcome.refused.append(f"{name}: {error}")
        else:
            outcome.answers.append(answer)
            outcome.then.append(answer)
            made = answer["metadata"]["name"] if deed.operation is Operation.RESUBMIT else ""
            _tell(found, deed.past, made)


def _would(client: Client, deed: Deed, namespace: str, name: str, outcome: _Outcome) -> None:
    head = client.workflows.get.into(Head)(name, namespace=namespace, only="metadata.name,metadata.uid,status.phase")
    phase = head.status.phase or "Pending"
    outcome.answers.append(BulkItem(namespace=namespace, name=name, uid=head.metadata.uid, phase=phase, outcome="would"))
    say(f"workflow {name} ({phase}) would be {deed.past}")


def _selected(client: Client, deed: Deed, among: Among, outcome: _Outcome, *, dry_run: bool, sure: bool) -> None:
    chosen = among.heads(client)
    if not chosen:
        say("no workflows")
        return
    if deed.asks and not (dry_run or sure):
        confirm(f"{deed.operation.capitalize()} {plural(len(chosen), 'workflow')} of {among.place}?")
    for namespace, heads in _by_namespace(among, chosen).items():
        for start in range(0, len(heads), _AT_ONCE):
            part = heads[start : start + _AT_ONCE]
            wish = replace(deed.wish, uids=tuple(head.uid for head in part), limit=len(part), dry_run=dry_run)
            result = client.workflows.many(deed.operation, wish, namespace=namespace)
            _record(deed, among, part, result.items, outcome)
    if len(chosen) > 1:
        done = f"would be {deed.past}" if dry_run else deed.past
        of = f", {len(outcome.refused):,} refused" if outcome.refused else ""
        say(f"{plural(len(outcome.answers) - len(outcome.refused), 'workflow')} {done}{of}")


def _by_namespace(among: Among, heads: Sequence[Metadata]) -> dict[str, list[Metadata]]:
    found: dict[str, list[Metadata]] = {}
    for head in heads:
        found.setdefault(head.namespace if among.everywhere else among.namespace, []).append(head)
    return found


def _record(deed: Deed, among: Among, asked: Sequence[Metadata], items: Sequence[BulkItem], outcome: _Outcome) -> None:
    outcome.answers += items
    for item in items:
        name = among.shown(item.namespace, item.name)
        if item.outcome == "refused":
            outcome.refused.append(f"{name}: {item.message}")
        elif item.outcome == "would":
            say(f"workflow {name} ({item.phase}) would be {deed.past}")
        else:
            outcome.then.append({"metadata": {"namespace": item.namespace, "name": item.made or item.name}})
            _tell(name, deed.past, item.made)
    there = {item.uid for item in items}
    for head in asked:
        if head.uid not in there:
            say(f"workflow {among.shown(head.namespace, head.name)} is gone")


def _tell(name: str, past: str, made: str) -> None:
    say(f"workflow {name} {past}" + (f" as {made}" if made else ""))
