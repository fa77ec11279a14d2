"""`jitflow config`."""

from typing import Annotated, Any

import typer

from jitflow.cli.commands import new_app
from jitflow.cli.options import TableFormat, TableOption
from jitflow.cli.output import print_json, print_table
from jitflow.cli.setting import SetOption, taken
from jitflow.settings import shown

app = new_app(help="The settings that hold, and where each came from.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """The settings that hold, and where each came from."""


@app.command("show", epilog="Example: jitflow config show --changed")
def show(
    *,
    changed: Annotated[bool, typer.Option("--changed", help="Only those that are not the defaults.")] = False,
    settings: SetOption = None,
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Show every setting with its value and its source: the default, the file, the environment, a flag. Secrets are ***."""
    found = [one for one in shown(flags=taken(settings)) if not changed or one.source != "default"]
    if output is TableFormat.JSON:
        print_json({one.name: {"value": one.value, "source": one.source} for one in found})
    else:
        print_table(["SETTING", "VALUE", "SOURCE"], [[one.name, _text(one.value), one.source] for one in found])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)
