"""`jitflow data`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.formats import duration, plural, rate, size
from jitflow.cli.options import ListFormat, ListOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, Json, print_data, print_json, print_listing, say
from jitflow.model.data import ObjectInfo, Replica
from jitflow.model.inventory import InventoryView
from jitflow.model.reports import ALL_REMOTES, BandwidthLimit, LinkInfo, PinView, QuotaView, Upload
from jitflow.model.spending import BudgetView, Spent
from jitflow.model.staging import StagingEstimate

app = new_app(
    help="Objects, the primary, links, budgets and uploads: list, explain, stage, pin, evict, fill, check, adopt, limit.",
    no_args_is_help=True,
)

Ref = Annotated[str, typer.Argument(metavar="REMOTE:PATH", help="An object; with / at its end a prefix.", show_default=False)]
Unsent = Annotated[
    str, typer.Argument(metavar="REMOTE:PATH", help="An output that could not be sent; without one, all.", show_default=False)
]
PinNamespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace that pays for it; without one it is kept for all.")
]
Prefix = Annotated[
    str, typer.Argument(metavar="REMOTE:PATH", help="A prefix; without one, what is in the primary.", show_default=False)
]


@app.command("ls", epilog="Example: jitflow data ls archive:images/2024/")
def ls(ref: Prefix = "", server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List the objects below a prefix, or the replicas in the primary."""
    with connect(server) as client:
        if ref:
            _print_objects(client.data.list(ref).items, output)
        else:
            _print_replicas(tuple(client.data.primary.replicas()), output)


def _print_objects(found: Sequence[ObjectInfo], output: ListFormat) -> None:
    columns: list[Column[ObjectInfo]] = [
        ("SIZE", lambda one: size(one.size_bytes)),
        ("MODIFIED", lambda one: one.modified),
        ("OBJECT", lambda one: str(one.ref)),
    ]
    hashes: list[Column[ObjectInfo]] = [("HASHES", lambda one: " ".join(f"{kind}:{text}" for kind, text in one.hashes.items()))]
    print_listing(found, output, columns, wide=hashes, name=lambda one: str(one.ref), empty="nothing there")


def _print_replicas(found: Sequence[Replica], output: ListFormat) -> None:
    columns: list[Column[Replica]] = [
        ("SIZE", lambda one: size(one.size_bytes)),
        ("STATE", state_of),
        ("OBJECT", lambda one: str(one.ref)),
    ]
    where: list[Column[Replica]] = [("FILE", lambda one: one.location)]
    print_listing(found, output, columns, wide=where, name=lambda one: str(one.ref), empty="nothing there")


@app.command("stat", epilog="Example: jitflow data stat archive:images/2024/a.tif")
def stat(ref: Ref, server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Say what is known of an object: at its store and in the primary."""
    with connect(server) as client:
        found = client.data.stat.into(Json)(ref)
    if output is TableFormat.JSON:
        print_json(found)
        return
    for key, value in _flat(found):
        typer.echo(f"{key + ':':14} {value}")


@app.command("stage", epilog="Example: jitflow data stage archive:images/2024/a.tif")
def stage(ref: Ref, server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Fetch an object into the primary now, and wait for it."""
    with connect(server) as client:
        replica = client.data.primary.stage(ref)
    if output is TableFormat.JSON:
        print_json(replica)
    say(f"{ref} is in the primary ({size(replica.size_bytes)})")


@app.command("explain", epilog="Example: jitflow data explain archive:images/2024/ archive:masks/2024.tif")
def explain(
    refs: Annotated[
        list[str], typer.Argument(metavar="REMOTE:PATH", help="Objects; with / at the end prefixes.", show_default=False)
    ],
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Say what it would take to stage objects: bytes to move, time, room. Fetches nothing; exit code 1 if they do not fit now."""
    with connect(server) as client:
        found = client.data.primary.explain(refs)
    if output is TableFormat.JSON:
        print_json(found)
    else:
        for label, text in _staging_facts(found):
            typer.echo(f"{label + ':':20} {text}")
    raise typer.Exit(0 if found.fits else 1)


def _staging_facts(found: StagingEstimate) -> Iterator[tuple[str, str]]:
    """Yield what is to be said of staging objects, as label and text."""
    yield "objects", f"{plural(found.objects, 'object')}, {size(found.distinct_bytes)}"
    yield "here already", size(found.resident_bytes)
    yield "bytes to move", size(found.to_move_bytes)
    if found.money:
        yield "expected price", ", ".join(f"{amount:.4g} {currency}" for currency, amount in sorted(found.money.items()))
    unknown = "not known: nothing was measured on this link yet"
    link = f" at {rate(found.link_Bps)}" if found.link_Bps else ""
    yield "time to move them", f"{duration(found.transfer_s)}{link}" if found.transfer_s is not None else unknown
    yield "free", f"{size(found.free_bytes)} of {size(found.capacity_bytes)}"
    yield "would be evicted", f"{size(found.evict_bytes)} of {size(found.evictable_bytes)} that nobody holds"
    yield "fits now", "yes" if found.fits else f"no: {found.message}"


@app.command("pin", epilog="Example: jitflow data pin archive:images/2024/ -n vision")
def pin(ref: Ref, namespace: PinNamespace = "", server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Keep an object, or everything that is or comes below a prefix, in the primary until it is unpinned."""
    with connect(server) as client:
        found = client.data.primary.pin(ref, namespace=namespace)
    if output is TableFormat.JSON:
        print_json(found)
    say(f"{ref} is kept{_for(namespace)} ({plural(found.objects, 'object')}, {size(found.size_bytes)})")
    if found.message:
        say(f"not kept: {found.message}")


@app.command("unpin", epilog="Example: jitflow data unpin archive:images/2024/ -n vision")
def unpin(ref: Ref, namespace: PinNamespace = "", server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Take a pin away."""
    with connect(server) as client:
        found = client.data.primary.unpin(ref, namespace=namespace)
    if output is TableFormat.JSON:
        print_json(found)
    say(f"{ref} is kept no longer{_for(namespace)}")


@app.command("pins", epilog="Example: jitflow data pins")
def pins(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List what is pinned."""
    with connect(server) as client:
        found = client.data.pins()
    columns: list[Column[PinView]] = [
        ("NAMESPACE", lambda one: one.namespace or "*"),
        ("OBJECTS", lambda one: f"{one.objects:,}"),
        ("SIZE", lambda one: size(one.size_bytes)),
        ("PIN", lambda one: str(one.ref)),
    ]
    wide: list[Column[PinView]] = [("MESSAGE", lambda one: one.message or "-")]
    print_listing(found, output, columns, wide=wide, name=lambda one: str(one.ref), empty="nothing is pinned")


@app.command("quotas", epilog="Example: jitflow data quotas")
def quotas(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """Say what each namespace has in the primary, and may have."""
    with connect(server) as client:
        found = client.data.quotas()
    columns: list[Column[QuotaView]] = [
        ("NAMESPACE", lambda one: one.namespace),
        ("QUOTA", lambda one: "-" if one.quota_bytes is None else size(one.quota_bytes)),
        ("USED", lambda one: size(one.used_bytes)),
        ("HELD", lambda one: size(one.held_bytes)),
        ("PINNED", lambda one: size(one.pinned_bytes)),
        ("OBJECTS", lambda one: f"{one.objects:,}" + (f" of {one.quota_objects:,}" if one.quota_objects else "")),
        ("WAITING STEPS", lambda one: f"{one.waiting_steps:,}"),
    ]
    empty = "no namespace has anything in the primary, or a quota"
    print_listing(found, output, columns, name=lambda one: one.namespace, empty=empty)


def _for(namespace: str) -> str:
    return f" for namespace {namespace}" if namespace else ""


@app.command("evict", epilog="Example: jitflow data evict archive:images/2024/a.tif")
def evict(ref: Ref, server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Remove an object from the primary; refused while a step reads it or its far copy is not proven."""
    with connect(server) as client:
        client.data.primary.evict(ref)
    if output is TableFormat.JSON:
        print_json({"ref": ref})
    say(f"{ref} is removed from the primary")


@app.command("fill", epilog="Example: jitflow data fill")
def fill(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Say how full the primary is."""
    with connect(server) as client:
        found = client.data.primary.get(limit=1).fill
    if output is TableFormat.JSON:
        print_json(found)
        return
    share = f" ({100 * found.used_bytes / found.capacity_bytes:.0f} %)" if found.capacity_bytes else ""
    lines = {
        "capacity": size(found.capacity_bytes),
        "used": size(found.used_bytes) + share,
        "resident": size(found.resident_bytes),
        "held by steps": size(found.pinned_bytes),
        "pinned": size(found.kept_bytes),
        "not yet proven": size(found.dirty_bytes),
        "peak": size(found.peak_bytes),
        "fetched": size(found.fetched_bytes),
        "fetched twice": size(found.fetched_twice_bytes),
        "stored": size(found.stored_bytes),
        "shared": size(found.shared_bytes),
        "not jitflow's": size(found.strangers_bytes),
    }
    if found.max_objects:
        lines["objects"] = f"{found.objects} of {found.max_objects}"
    for key, value in lines.items():
        typer.echo(f"{key + ':':16} {value}")


@app.command("check", epilog="Example: jitflow data check --hashes")
def check(
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Remove files of the primary that are not jitflow's.")] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Read every replica and compare it with its far store.")] = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Compare what is known of the primary with what is really there: was anything changed, removed or added?"""
    with connect(server) as client:
        found = client.data.primary.check(remove=remove, hashes=hashes)
    if output is TableFormat.JSON:
        print_json(found)
        return
    for ref in found.changed:
        typer.echo(f"changed or gone: {ref} (fetched anew when it is needed)")
    for ref in found.unproven:
        typer.echo(f"changed or gone: {ref} (an output that has not reached its far store)")
    for name, bytes_ in found.strangers.items():
        typer.echo(f"stranger: {name} ({size(bytes_)}{', removed' if name in found.removed else ''})")
    good = found.replicas - len(found.changed) - len(found.unproven)
    left = f"; {size(found.strangers_bytes)} are not jitflow's and count as used" if found.strangers_bytes else ""
    typer.echo(f"{good} of {found.replicas} replicas are as they were{left}")


@app.command("adopt", epilog="Example: jitflow data adopt /scratch/images --as archive:images/2024/")
def adopt(
    place: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="A directory of the server's machine, or a prefix of the primary's remote.", show_default=False
        ),
    ],
    ref: Annotated[str, typer.Option("--as", metavar="REMOTE:PREFIX/", help="Whose objects they are.", show_default=False)],
    *,
    move: Annotated[bool, typer.Option("--move", help="Move them; else they stay where they are too.")] = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Take files that are near already into the primary, without a transfer, if they are what lies in the far store."""
    with connect(server) as client:
        found = client.data.primary.adopt(place if ":" in place else str(Path(place).absolute()), ref, move=move)
    if output is TableFormat.JSON:
        print_json(found)
        return
    for name, why in found.reasons.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(f"in the primary now: {plural(found.adopted, 'file')} ({size(found.adopted_bytes)}); left alone: {found.skipped}")


@app.command("inventory", epilog="Example: jitflow data inventory archive:images/ --refresh")
def inventory(
    ref: Annotated[
        str, typer.Argument(metavar="REMOTE:PATH", help="A prefix; without one, all listings that are kept.", show_default=False)
    ] = "",
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="List it now, and say what has changed.")] = False,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Show listings of far stores that are kept, or take one and say what has changed."""
    if refresh and not ref:
        raise InputRefused("name the prefix that is to be listed")
    with connect(server) as client:
        if ref and not refresh:
            _print_objects(client.data.inventory(ref, limit=10_000).items, output)
            return
        found = [client.data.refresh_inventory(ref)] if refresh else client.data.inventories()
    columns: list[Column[InventoryView]] = [
        ("PREFIX", lambda one: str(one.prefix)),
        ("OBJECTS", lambda one: f"{one.objects:,}"),
        ("SIZE", lambda one: size(one.size_bytes)),
        ("AGE", lambda one: f"{one.age_s:.0f} s"),
        ("CHANGES", _changes),
    ]
    print_listing(found, output, columns, name=lambda one: str(one.prefix), empty="no listing is kept")


def _changes(one: InventoryView) -> str:
    found = one.changes
    counts = [(one.stale, "near and stale")]
    if found is not None:
        counts = [(found.added, "new"), (found.changed, "changed"), (found.removed, "gone"), *counts]
    return ", ".join(f"{count:,} {what}" for count, what in counts if count) or ("none" if found is not None else "")


@app.command("budgets", epilog="Example: jitflow data budgets ocean --moved 2TiB --money EUR=50 --period month")
def budgets(
    namespace: Annotated[
        str, typer.Argument(metavar="NAMESPACE", help="Give it another budget; *: each that is not named.", show_default=False)
    ] = "",
    *,
    moved: Annotated[str, typer.Option("--moved", metavar="SIZE", help="Bytes that may be moved for it: 500GB, 2TiB.")] = "",
    money: Annotated[
        list[str] | None, typer.Option("--money", metavar="CURRENCY=AMOUNT", help="What may be spent for that; repeatable.")
    ] = None,
    period: Annotated[str, typer.Option("--period", metavar="day|month", help="In each day or month of UTC.")] = "month",
    reset: Annotated[bool, typer.Option("--reset", help="Hold again what the settings file says.")] = False,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Show what namespaces may move and spend in this period, and have moved and spent; or give one another budget."""
    if (moved or money or reset) and not namespace:
        raise InputRefused("name the namespace that is to have another budget")
    with connect(server) as client:
        if moved or money or reset:
            body = None if reset else {"moved": moved, "money": dict(map(_amount, money or ())), "period": period}
            client.data.set_budgets({namespace: body})
        found = [one for one in client.data.budgets() if namespace in {"", "*", one.namespace}]
    columns: list[Column[BudgetView]] = [
        ("NAMESPACE", lambda one: one.namespace),
        ("PERIOD", lambda one: one.period),
        ("MOVED", lambda one: size(one.moved_bytes)),
        ("OF", lambda one: size(one.budget_bytes) if one.budget_bytes is not None else ""),
        ("SPENT", lambda one: _money(one.money)),
        ("OF MONEY", lambda one: _money(one.budget_money)),
        ("UNTIL", lambda one: f"{datetime.fromtimestamp(one.resets_at, UTC):%Y-%m-%d %H:%MZ}"),
        ("STATE", lambda one: "used up" if one.used_up else ""),
    ]
    print_listing(found, output, columns, name=lambda one: one.namespace, empty="nothing was moved, and there is no budget")


def _amount(text: str) -> tuple[str, float]:
    currency, equals, amount = text.partition("=")
    try:
        if equals and currency:
            return currency, float(amount)
    except ValueError:
        pass
    raise InputRefused(f"--money {text}: write it as EUR=50")


def _money(found: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:.4g} {currency}" for currency, amount in sorted(found.items()))


@app.command("spending", epilog="Example: jitflow data spending -n ocean --since 2026-11-01")
def spending(
    *,
    since: Annotated[str, typer.Option("--since", metavar="DAY", help="From this day of UTC on, 2026-11-28.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="DAY", help="Up to this day.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Only what this namespace pays.")] = "",
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Say what namespaces have moved and spent, by day and remote."""
    with connect(server) as client:
        found = client.data.spending(namespace=namespace, since=since, until=until)
    columns: list[Column[Spent]] = [
        ("NAMESPACE", lambda one: one.namespace),
        ("DAY", lambda one: one.day),
        ("REMOTE", lambda one: one.remote),
        ("DOWN", lambda one: size(one.down_bytes)),
        ("UP", lambda one: size(one.up_bytes)),
        ("REQUESTS", lambda one: f"{one.requests:,}"),
        ("PRICE", lambda one: f"{one.money:.4g} {one.currency}" if one.currency else ""),
    ]
    print_listing(found, output, columns, name=lambda one: f"{one.namespace}/{one.day}/{one.remote}", empty="nothing was moved")


@app.command("links", epilog="Example: jitflow data links")
def links(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """Say what is known of the links to the far stores: rate, latency, streams, limits, stalls."""
    with connect(server) as client:
        found = client.data.links()
    columns: list[Column[LinkInfo]] = [
        ("REMOTE", lambda one: one.remote),
        ("RATE", lambda one: f"{size(int(one.rate_Bps))}/s" if one.rate_Bps else ""),
        ("LATENCY", lambda one: f"{one.latency_s * 1000:.0f} ms" if one.latency_s is not None else ""),
        ("STREAMS", lambda one: f"{one.active} of {one.streams} (at most {one.most_streams})"),
        ("LIMIT", lambda one: _limit(one.up_Bps, one.down_Bps)),
        ("STALLS", lambda one: str(one.stalls)),
    ]
    print_listing(found, output, columns, name=lambda one: one.remote, empty="no link was used yet")


@app.command("bandwidth", epilog="Example: jitflow data bandwidth 20M 'archive=08:00,2M 19:00,off' --time-zone Europe/Berlin")
def bandwidth(
    limits: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REMOTE=]LIMIT",
            help="A limit or time table, as rclone writes them, for all remotes together or for one; REMOTE= alone: as the "
            "settings file says (*= for all together).",
            show_default=False,
        ),
    ] = None,
    *,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="By whose clocks time tables are meant, as Europe/Berlin.")
    ] = None,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Show how much may move over the links, or change it."""
    with connect(server) as client:
        if limits or time_zone is not None:
            found = client.data.limit_bandwidth(dict(_set(text) for text in limits or ()), time_zone)
        else:
            found = client.data.bandwidth()
    if output in {ListFormat.JSON, ListFormat.YAML}:
        print_data(found, output)
        return
    columns: list[Column[BandwidthLimit]] = [
        ("REMOTE", lambda one: "all together" if one.remote == ALL_REMOTES else one.remote),
        ("NOW", lambda one: _limit(one.up_Bps, one.down_Bps) or "none"),
        ("UNTIL", lambda one: _clock(one.changes_at, found.time_zone)),
        ("LIMIT", lambda one: one.limit),
        ("SOURCE", lambda one: one.source),
    ]
    print_listing(found.limits, output, columns, name=lambda one: one.remote, empty="there is no limit")


@app.command("uploads", epilog="Example: jitflow data uploads")
def uploads(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List outputs that are not at their far stores: sent now, queued in order, failed and kept, or handed on between steps."""
    with connect(server) as client:
        found = client.data.uploads.list()
    columns: list[Column[Upload]] = [
        ("SIZE", lambda one: size(one.size_bytes)),
        ("STATE", lambda one: f"{one.state} {one.place}" if one.place else one.state),
        ("OBJECT", lambda one: str(one.ref)),
        ("WHY", _progress),
    ]
    step: list[Column[Upload]] = [("STEP", lambda one: one.step)]
    empty = "every output is at its far store"
    print_listing(found, output, columns, wide=step, name=lambda one: str(one.ref), empty=empty)


@app.command("retry-uploads", epilog="Example: jitflow data retry-uploads")
def retry_uploads(ref: Unsent = "", server: ServerOption = "") -> None:
    """Send outputs again that could not be sent: one object, or all."""
    with connect(server) as client:
        started = client.data.uploads.retry(ref)
    for one in started:
        say(f"{one} is sent again")
    if not started:
        say("there is no output that could not be sent")


@app.command("drop-upload", epilog="Example: jitflow data drop-upload archive:results/a.tif")
def drop_upload(ref: Ref, server: ServerOption = "") -> None:
    """Delete an output that could not be sent: it is nowhere else."""
    with connect(server) as client:
        client.data.uploads.drop(ref)
    say(f"{ref} is deleted")


def _set(text: str) -> tuple[str, str | None]:
    """Return which limit to set, and to what: None to what the settings file says."""
    remote, equals, limit = text.partition("=")
    return (remote, limit or None) if equals else (ALL_REMOTES, text)


def _limit(up_Bps: int | None, down_Bps: int | None) -> str:
    if up_Bps == down_Bps:
        return f"{size(up_Bps)}/s" if up_Bps is not None else ""
    ways = (("up", up_Bps), ("down", down_Bps))
    return ", ".join(f"{size(value)}/s {way}" for way, value in ways if value is not None)


def _clock(at: float | None, zone: str) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)):%a %H:%M} {zone}"


def _progress(one: Upload) -> str:
    if one.state != "sending":
        return one.message
    rate = f" at {size(int(one.rate_Bps))}/s" if one.rate_Bps else ""
    return f"{size(one.done_bytes)} sent{rate}"


def name_of(item: dict[str, Any]) -> str:
    """Return an object's reference as rclone writes it."""
    ref = item.get("ref", "")
    return f"{ref.get('remote')}:{ref.get('path')}" if isinstance(ref, dict) else str(ref)


def state_of(item: Replica) -> str:
    """Return a replica's state with what holds it."""
    marks = [word for word, on in (("dirty", item.dirty), ("kept", item.kept)) if on]
    return ", ".join([item.state, *marks])


def _flat(found: dict[str, Any], lead: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in found.items():
        label = f"{lead}{key}".replace("_bytes", "")
        if key == "ref":
            rows.append((label, name_of(found)))
        elif isinstance(value, dict):
            rows += _flat(value, f"{label}.")
        elif value not in (None, ""):
            rows.append((label, size(value) if key.endswith("_bytes") else str(value)))
    return rows
