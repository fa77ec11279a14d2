"""`jitflow transfer`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import CliError
from jitflow.cli.options import DEFAULT_NAMESPACE, ListFormat, ListOption, NamespaceOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, print_json, print_json_line, print_listing, say
from jitflow.client import Client
from jitflow.model.jobs import TRANSFERS, JobFile, JobFilters, JobKind, JobPhase, JobView, JobWish

app = new_app(help="Copy, sync, move, check and delete between far stores, as durable jobs.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="What lies below this prefix: remote:path/", show_default=False)]
Target = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="The prefix to compare with: remote:path/", show_default=False)
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
Include = Annotated[list[str] | None, typer.Option("--include", metavar="PATTERN", help="Only files like this (repeatable).")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="No files like this (repeatable).")]
MinSize = Annotated[str, typer.Option("--min-size", metavar="SIZE", help="Only files of at least this size: 10MiB.")]
MaxSize = Annotated[str, typer.Option("--max-size", metavar="SIZE", help="Only files of at most this size.")]
MinAge = Annotated[str, typer.Option("--min-age", metavar="TIME", help="Only files changed before that long ago: 36h.")]
MaxAge = Annotated[str, typer.Option("--max-age", metavar="TIME", help="Only files changed since that long ago.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Transfers = Annotated[int, typer.Option("--transfers", metavar="N", help="Files at once.")]
Bandwidth = Annotated[str, typer.Option("--bandwidth", metavar="LIMIT", help="A limit or time table of the job's own: 10M.")]
TimeZone = Annotated[str, typer.Option("--time-zone", metavar="ZONE", help="By whose clocks the time table is meant.")]
Priority = Annotated[int, typer.Option("--priority", metavar="N", help="Jobs with a higher one begin first.")]
MaxDelete = Annotated[int | None, typer.Option("--max-delete", metavar="N", help="Do nothing if more would be deleted.")]
Hashes = Annotated[bool, typer.Option("--hashes", help="Compare by hashes even where files must be read for that.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait until it is over; print the job's id.")]


def _maker(kind: JobKind, example: str, about: str) -> None:
    """Make the command of a kind of job that has a destination."""

    def command(
        source: Source,
        destination: Target,
        *,
        include: Include = None,
        exclude: Exclude = None,
        min_size: MinSize = "",
        max_size: MaxSize = "",
        min_age: MinAge = "",
        max_age: MaxAge = "",
        dry_run: DryRun = False,
        transfers: Transfers = TRANSFERS,
        bandwidth: Bandwidth = "",
        time_zone: TimeZone = "UTC",
        priority: Priority = 0,
        max_delete: MaxDelete = None,
        hashes: Hashes = False,
        detach: Detach = False,
        namespace: NamespaceOption = DEFAULT_NAMESPACE,
        server: ServerOption = "",
        output: TableOption = TableFormat.TABLE,
    ) -> None:
        filters = JobFilters(
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            min_size=min_size,
            max_size=max_size,
            min_age=min_age,
            max_age=max_age,
        )
        wish = JobWish(
            kind=kind,
            source=source,
            destination=destination,
            dry_run=dry_run,
            filters=filters,
            transfers=transfers,
            bandwidth=bandwidth,
            time_zone=time_zone,
            priority=priority,
            max_delete=max_delete,
            hashes=hashes,
            namespace=namespace,
        )
        _made(wish, server, output, detach=detach)

    command.__doc__ = about
    app.command(kind, epilog=f"Example: jitflow transfer {example}")(command)


_maker("copy", "copy archive:raw/ fast:raw/ --include '*.tif'", "Copy what is not at the destination yet.")
_maker(
    "sync",
    "sync archive:raw/ fast:raw/ --dry-run",
    "Make the destination like the source: copy what is not there, delete what is not at the source.",
)
_maker("move", "move fast:results/ archive:results/", "Copy, and delete at the source what is proven at the destination.")
_maker("check", "check archive:raw/ fast:raw/ --hashes", "Say what differs; exit code 1 if anything does.")


@app.command("delete", epilog="Example: jitflow transfer delete fast:tmp/ --min-age 30d --max-delete 1000")
def delete(
    source: Source,
    *,
    include: Include = None,
    exclude: Exclude = None,
    min_size: MinSize = "",
    max_size: MaxSize = "",
    min_age: MinAge = "",
    max_age: MaxAge = "",
    dry_run: DryRun = False,
    transfers: Transfers = TRANSFERS,
    priority: Priority = 0,
    max_delete: MaxDelete = None,
    detach: Detach = False,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Delete what lies below a prefix."""
    filters = JobFilters(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        min_size=min_size,
        max_size=max_size,
        min_age=min_age,
        max_age=max_age,
    )
    wish = JobWish(
        kind="delete",
        source=source,
        dry_run=dry_run,
        filters=filters,
        transfers=transfers,
        priority=priority,
        max_delete=max_delete,
    )
    _made(wish, server, output, detach=detach)


def _made(wish: JobWish, server: str, output: TableFormat, *, detach: bool) -> None:
    """Make a job, and wait for its end unless it is not wanted."""
    with connect(server) as client:
        job = client.data.jobs.create(wish)
        if detach:
            print_json(job) if output is TableFormat.JSON else typer.echo(job.id)
            return
        try:
            job = _followed(client, job.id)
        except KeyboardInterrupt:
            say(f"the job goes on; `jitflow transfer watch {job.id}` shows it, `jitflow transfer cancel {job.id}` ends it")
            raise
        if output is TableFormat.TABLE and (wish.dry_run or wish.kind == "check"):
            for file in client.data.jobs.files(job.id):
                if file.state not in {"equal", "skipped"}:
                    typer.echo(f"{_word(file)} {file.path}" + (f" ({file.message})" if file.message else ""))
    _ended(job, output)


def _word(file: JobFile) -> str:
    return {"planned": f"would {file.action}"}.get(file.state, file.state)


def _followed(client: Client, job_id: str) -> JobView:
    """Return a job when it is over."""
    view = client.data.jobs.get(job_id)
    if not view.phase.is_over:
        for view in client.data.jobs.follow(job_id):  # noqa: B007 - the last one counts
            pass
    return view


def _ended(job: JobView, output: TableFormat) -> None:
    if output is TableFormat.JSON:
        print_json(job)
    else:
        say(_summary(job))
    if job.phase is not JobPhase.SUCCEEDED:
        raise CliError(f"the job {job.id} has {job.phase.lower()}" + (f": {job.message}" if job.message else ""))
    if job.wish.kind == "check" and job.counts.differences:
        raise CliError(f"{job.counts.differences} differences")


def _summary(job: JobView) -> str:
    counts = job.counts
    would = "would be " if job.wish.dry_run else ""
    files, size = (counts.files, counts.bytes) if job.wish.dry_run else (counts.files_done, counts.bytes_done)
    deletes = counts.deletes if job.wish.dry_run else counts.deletes_done
    parts = [f"{files:,} files ({size:,} bytes) {would}copied"] if counts.files else []
    parts += [f"{deletes:,} files {would}deleted"] if counts.deletes and job.wish.kind != "move" else []
    parts += [f"{counts.equal:,} are the same already"] if counts.equal else []
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    return f"job {job.id}: " + (", ".join(parts) or "nothing to do")


@app.command("list", epilog="Example: jitflow transfer list --phase Running")
def list_(
    phase: Annotated[str, typer.Option("--phase", metavar="PHASE", help="Only jobs in it.")] = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="So many at most.")] = 100,
    *,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List jobs, newest first."""
    with connect(server) as client:
        found = client.data.jobs.list(phase=phase, limit=limit).items
    columns: list[Column[JobView]] = [
        ("ID", lambda one: one.id),
        ("KIND", lambda one: one.wish.kind),
        ("PHASE", lambda one: one.phase),
        ("FILES", lambda one: f"{one.counts.files_done}/{one.counts.files}"),
        ("BYTES", lambda one: f"{one.counts.bytes_done:,}/{one.counts.bytes:,}"),
        ("FROM", lambda one: one.wish.source),
        ("TO", lambda one: one.wish.destination),
    ]
    wide: list[Column[JobView]] = [
        ("CREATED", lambda one: datetime.fromtimestamp(one.created_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")),
        ("MESSAGE", lambda one: one.message),
    ]
    print_listing(found, output, columns, wide=wide, name=lambda one: one.id, empty="no transfer jobs")


@app.command("get", epilog="Example: jitflow transfer get t-6f1c…")
def get(job: JobArgument, server: ServerOption = "") -> None:
    """Describe a job, as JSON."""
    with connect(server) as client:
        print_json(client.data.jobs.get(job))


@app.command("files", epilog="Example: jitflow transfer files t-6f1c… --state failed")
def files(
    job: JobArgument,
    state: Annotated[str, typer.Option("--state", metavar="STATE", help="Only files in it: done, failed, waiting …")] = "",
    *,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """Say what a job did with each file."""
    with connect(server) as client:
        found = tuple(client.data.jobs.files(job, state=state))
    columns: list[Column[JobFile]] = [
        ("PATH", lambda one: one.path),
        ("ACTION", lambda one: one.action),
        ("STATE", lambda one: one.state),
        ("BYTES", lambda one: f"{one.size_bytes:,}"),
        ("PROOF", lambda one: one.proof),
        ("MESSAGE", lambda one: one.message),
    ]
    print_listing(found, output, columns, name=lambda one: one.path, empty="no such files")


@app.command("watch", epilog="Example: jitflow transfer watch t-6f1c…")
def watch(job: JobArgument, server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Show how far a job is, until it is over."""
    with connect(server) as client:
        view = client.data.jobs.get(job)
        for view in client.data.jobs.follow(job):
            if output is TableFormat.JSON:
                print_json_line(view)
            else:
                counts = view.counts
                typer.echo(
                    f"{view.phase} {counts.files_done}/{counts.files} files {counts.bytes_done:,}/{counts.bytes:,} bytes "
                    f"{view.speed_Bps / 1e6:.1f} MB/s"
                )
    if view.phase is not JobPhase.SUCCEEDED:
        raise CliError(f"the job {job} has {view.phase.lower()}" + (f": {view.message}" if view.message else ""))


def _changer(name: str, done: str, about: str, change: Callable[[Client, str], object]) -> None:
    """Make a command that changes a job."""

    def command(job: JobArgument, server: ServerOption = "") -> None:
        with connect(server) as client:
            change(client, job)
        say(f"job {job} {done}")

    command.__doc__ = about
    app.command(name, epilog=f"Example: jitflow transfer {name} t-6f1c…")(command)


_changer("pause", "rests", "Let a job rest: what has arrived stays.", lambda client, job: client.data.jobs.pause(job))
_changer("resume", "goes on", "Let a job that rests, or has failed, go on.", lambda client, job: client.data.jobs.resume(job))
_changer("cancel", "has ended", "End a job for good; what has arrived stays.", lambda client, job: client.data.jobs.cancel(job))
_changer("forget", "is forgotten", "Forget a job that is over.", lambda client, job: client.data.jobs.forget(job))
