"""`jitflow remote`."""

from typing import Annotated

import typer
from msgspec.structs import replace

from jitflow.cli.commands import new_app
from jitflow.cli.connect import connect
from jitflow.cli.errors import CliError, InputRefused
from jitflow.cli.options import ListFormat, ListOption, ServerOption, TableFormat, TableOption
from jitflow.cli.output import Column, print_json, print_listing, say
from jitflow.client import ApiError
from jitflow.model.reports import OptionInfo, ProviderInfo, RemoteInfo
from jitflow.model.spending import Prices

app = new_app(help="Far stores: list, add, set, remove, test, types.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The remote's name, as in name:path.", show_default=False)]


@app.command("list", epilog="Example: jitflow remote list -o json")
def list_(server: ServerOption = "", output: ListOption = ListFormat.TABLE) -> None:
    """List the configured remotes; secrets are never shown."""
    with connect(server) as client:
        found = client.data.remotes.list()
    columns: list[Column[RemoteInfo]] = [
        ("NAME", lambda one: one.name),
        ("TYPE", lambda one: one.type),
        ("OPTIONS", lambda one: " ".join(f"{key}={value}" for key, value in one.options.items())),
    ]
    wide: list[Column[RemoteInfo]] = [("FROM", lambda one: one.source), ("PRICES", _prices)]
    empty = "no remotes; add one with `jitflow remote add NAME TYPE key=value …`"
    print_listing(found, output, columns, wide=wide, name=lambda one: one.name, empty=empty)


@app.command("add", epilog="Example: jitflow remote add archive s3 provider=Minio endpoint=https://s3.example.org")
def add(
    name: Name,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="The rclone backend: s3, webdav, sftp …", show_default=False)],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="The backend's options; @FILE reads a value from a file."),
    ] = None,
    *,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Configure a remote, so that manifests can name its objects as name:path."""
    given = dict(_option(text) for text in options or ())
    with connect(server) as client:
        answer = client.data.remotes.add(name, kind, given)
    if output is TableFormat.JSON:
        print_json(answer)
    say(f"remote {name} added; try it with `jitflow remote test {name}`")


@app.command("set", epilog="Example: jitflow remote set archive endpoint=https://s3b.example.org region=")
def set_(
    name: Name,
    options: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="Options; KEY= takes one away, @FILE reads a value from a file.")
    ],
    *,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Change options of a remote, or price_per_GB_down, price_per_GB_up, price_per_1000_requests, currency; others stay."""
    given = {key: value or None for key, value in map(_option, options)}
    asked = {key: given.pop(key) for key in Prices.__struct_fields__ if key in given}
    with connect(server) as client:
        answer = client.data.remotes.change(name, given) if given else client.data.remotes.get(name)
        if asked:
            answer = client.data.remotes.price(name, _priced(answer.prices or Prices(), asked))
    if output is TableFormat.JSON:
        print_json(answer)
    say(f"remote {name} changed; try it with `jitflow remote test {name}`")


@app.command("types", epilog="Example: jitflow remote types sftp")
def types(
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Show the options of this type.", show_default=False)] = "",
    *,
    server: ServerOption = "",
    output: ListOption = ListFormat.TABLE,
) -> None:
    """List the types of far stores, or the options of one."""
    with connect(server) as client:
        found = client.data.remotes.provider(kind).options if kind else ()
        kinds = () if kind else client.data.remotes.providers()
    if not kind:
        columns: list[Column[ProviderInfo]] = [("TYPE", lambda one: one.type), ("ABOUT", lambda one: one.about)]
        print_listing(kinds, output, columns, name=lambda one: one.type, empty="no types")
        return
    about: list[Column[OptionInfo]] = [
        ("OPTION", lambda one: one.name),
        ("TYPE", lambda one: one.type),
        ("NEEDED", lambda one: "yes" if one.is_required else ""),
        ("DEFAULT", lambda one: one.default),
        ("ABOUT", lambda one: one.about.partition("\n")[0]),
    ]
    print_listing(found, output, about, name=lambda one: one.name, empty=f"storage of type {kind} has no options")


@app.command("remove", epilog="Example: jitflow remote remove archive")
def remove(name: Name, server: ServerOption = "") -> None:
    """Forget a remote; its objects stay."""
    with connect(server) as client:
        client.data.remotes.remove(name)
    say(f"remote {name} removed")


@app.command("test", epilog="Example: jitflow remote test archive")
def try_(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A bucket or prefix of it.", show_default=False)] = "",
    *,
    server: ServerOption = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Try to list a remote; exit code 1 and the reason if that fails."""
    with connect(server) as client:
        try:
            client.data.remotes.test(name, path)
        except ApiError as error:
            if output is TableFormat.JSON:
                print_json({"name": name, "ok": False, "error": error.message})
            raise CliError(f"remote {name}: {error}") from error
    if output is TableFormat.JSON:
        print_json({"name": name, "ok": True})
    else:
        say(f"remote {name} answers")


def _priced(prices: Prices, asked: dict[str, str | None]) -> Prices:
    """Return prices with some changed; None takes one away."""
    values: dict[str, str | float] = {}
    for key, text in asked.items():
        try:
            values[key] = (text or "") if key == "currency" else float(text or 0)
        except ValueError:
            raise InputRefused(f"{key}={text}: write a number") from None
    return replace(prices, **values)


def _prices(remote: RemoteInfo) -> str:
    prices = remote.prices
    if prices is None:
        return ""
    texts = (
        (prices.price_per_GB_down, "per GB down"),
        (prices.price_per_GB_up, "per GB up"),
        (prices.price_per_1000_requests, "per 1,000 requests"),
    )
    return ", ".join(f"{value:g} {prices.currency} {what}" for value, what in texts if value)


def _option(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise InputRefused(f"{text}: write options as key=value")
    if value.startswith("@"):
        # A secret in a file does not show in the process list.
        with open(value[1:], encoding="utf-8") as file:
            value = file.read().rstrip("\n")
    return key, value
