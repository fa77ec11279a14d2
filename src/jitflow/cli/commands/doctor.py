"""`jitflow doctor`."""

import typer

from jitflow.cli.checks import all_checks, can_run
from jitflow.cli.commands import single
from jitflow.cli.options import ServerOption, TableFormat, TableOption
from jitflow.cli.output import colours, print_json, say

app, command = single("jitflow doctor -o json")


@command
def doctor(server: ServerOption = "", output: TableOption = TableFormat.TABLE) -> None:
    """Check what works on this machine: executors, rclone, directories, state, server. Exit code 1 if nothing can run here."""
    checks = list(all_checks(server))
    ready = can_run(checks)
    if output is TableFormat.JSON:
        print_json({"ok": ready, "checks": checks})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "ok" if check.ok else "FAILS" if check.needed else "no"
            shown = (
                typer.style(f"{mark:5}", fg="green" if check.ok else "red" if check.needed else "yellow")
                if colours()
                else f"{mark:5}"
            )
            typer.echo(f"{shown}  {check.name.ljust(width)}  {check.detail}")
            if check.remedy and not check.ok:
                typer.echo(f"{'':5}  {'':{width}}  → {check.remedy}")
    if not ready:
        say("nothing can run here until what FAILS above is put right")
        raise typer.Exit(1)
