"""`jitflow server`."""

from enum import StrEnum
from typing import Annotated

import typer

from jitflow.cli.commands import single
from jitflow.cli.loading import load
from jitflow.cli.setting import SetOption, taken
from jitflow.settings import FLAGS


class Only(StrEnum):
    """A side of the server."""

    CONTROL = "control"
    DATA = "data"


app, command = single("jitflow server --port 2746")


@command
def server(
    *,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Listen at this address; that of the settings if not given.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Listen at this port, 0 for a free one; that of the settings if not given.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[
        Only | None,
        typer.Option(
            help="Be only the control side, which uses a data service elsewhere (`data.url`), or only that data service.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Serve the Control API and the Data API until stopped; running workflows go on where they were.

    TERM or INT lets requests under way end and leaves pods to their parents; a second signal ends at once.
    """
    FLAGS.update(taken(settings))
    raise typer.Exit(load("jitflow.bootstrap.local").run_server(host, port, only=only.value if only is not None else ""))
