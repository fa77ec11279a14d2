"""`jitflow delete`."""

from typing import Annotated

import typer

from jitflow.cli.chosen import Chosen, chooses
from jitflow.cli.commands import single
from jitflow.cli.control import Deed, control
from jitflow.cli.options import EverywhereOption
from jitflow.cli.output import Json
from jitflow.client import Client
from jitflow.model.bulk import BulkWish, Operation

app, command = single("jitflow delete --completed --older 30d --dry-run")


@command
@chooses
def delete(
    chosen: Chosen,
    *,
    phases: Annotated[str, typer.Option("--status", metavar="PHASES", help="Only these phases (a,b).", show_default=False)] = "",
    completed: Annotated[bool, typer.Option("--completed", help="Only those that have ended.")] = False,
    older: Annotated[
        str, typer.Option("--older", metavar="TIME", help="Only those that ended so long ago, as 12h or 30d.", show_default=False)
    ] = "",
    everywhere: EverywhereOption = False,
    force: Annotated[bool, typer.Option("--force", help="Even if artifacts that are to go with them cannot be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before selected ones are deleted.")] = False,
) -> None:
    """Delete workflows, with their logs and their state; of what they stored far away, what their `artifactGC` gives up."""

    def send(client: Client, found: str) -> Json:
        client.workflows.delete(found, namespace=chosen.namespace, force=force)
        return {"name": found, "deleted": True}

    deed = Deed(operation=Operation.DELETE, past="deleted", one=send, wish=BulkWish(force=force), asks=True)
    control(deed, chosen, chosen.among(phases=phases, completed=completed, older=older, everywhere=everywhere), sure=yes)
