"""`jitflow context`."""

import sys
from typing import Annotated

import typer
from msgspec.structs import replace

from jitflow.cli import contexts
from jitflow.cli.choice import context_names
from jitflow.cli.commands import new_app
from jitflow.cli.contexts import Context, Contexts
from jitflow.cli.errors import InputRefused
from jitflow.cli.options import ListFormat, TableFormat, TableOption
from jitflow.cli.output import print_data, print_json, print_table, say
from jitflow.settings import SettingsError, seal

app = new_app(help="Servers by name: list, show, set, use, delete.", no_args_is_help=True)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="The context's name.", show_default=False, autocompletion=context_names),
]


@app.command("list", epilog="Example: jitflow context list")
def list_(output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.TABLE) -> None:
    """List the contexts; the one in use is marked."""
    known = contexts.read()
    rows = [(name, known.contexts[name]) for name in sorted(known.contexts)]
    if output is ListFormat.NAME:
        typer.echo("".join(f"{name}\n" for name, _ in rows), nl=False)
    elif output in {ListFormat.JSON, ListFormat.YAML}:
        print_data([_shown(name, context, known) for name, context in rows], output)
    elif not rows:
        say("no contexts; make one with `jitflow context set NAME --server URL`")
    else:
        header = ["", "NAME", "SERVER", "NAMESPACE", "TOKEN"]
        cells = [
            ["*" if name == known.current else "", name, one.server, one.namespace or "default", next(iter(one.token), "-")]
            for name, one in rows
        ]
        if output is ListFormat.WIDE:
            header.append("CA")
            cells = [[*row, one.ca or "-"] for row, (_, one) in zip(cells, rows, strict=True)]
        print_table(header, cells)


@app.command("show", epilog="Example: jitflow context show lab -o json")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The one in use if not given.", show_default=False)] = "",
    output: TableOption = TableFormat.TABLE,
) -> None:
    """Show a context: its server, its namespace, and where its token is."""
    known = contexts.read()
    wanted = name or known.current
    if not wanted:
        say("no context is in use: commands talk to the server of this machine")
        return
    found = _shown(wanted, known.named(wanted), known)
    if output is TableFormat.JSON:
        print_json(found)
        return
    for key, value in found.items():
        typer.echo(f"{key + ':':11} {value}")


@app.command("set", epilog="Example: jitflow context set lab --server https://lab.example.org --token-file ~/lab.token --use")
def set_(
    name: Name,
    *,
    server: Annotated[str, typer.Option("--server", metavar="URL", help="Its server.", show_default=False)] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace that is meant there.", show_default=False)
    ] = "",
    ca: Annotated[
        str, typer.Option("--ca", metavar="FILE", help="PEM certificates that it is checked with.", show_default=False)
    ] = "",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="Its token is in this file.", show_default=False)
    ] = "",
    token_env: Annotated[
        str, typer.Option("--token-env", metavar="NAME", help="Its token is in this variable.", show_default=False)
    ] = "",
    token_keyring: Annotated[
        bool, typer.Option("--token-keyring", help="Put the token from standard input into the keyring of this machine.")
    ] = False,
    token_sealed: Annotated[
        bool, typer.Option("--token-sealed", help="Keep the token from standard input sealed, with the key of the settings.")
    ] = False,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
) -> None:
    """Make a context, or change what is given of one. The token itself never stands in the file in clear."""
    if sum(map(bool, (token_file, token_env, token_keyring, token_sealed))) > 1:
        raise InputRefused("--token-file, --token-env, --token-keyring and --token-sealed exclude each other")
    known = contexts.read()
    before = known.contexts.get(name)
    if before is None and not server:
        raise InputRefused(f"there is no context {name} yet: give its server with --server URL")
    if server:
        contexts.checked(server, "--server")
    context = before or Context(server)
    given = {"server": server, "namespace": namespace, "ca": ca}
    context = replace(context, **{key: value for key, value in given.items() if value})
    if token_file or token_env:
        context = replace(context, token={"file": token_file} if token_file else {"env": token_env})
    elif token_keyring:
        contexts.keyring().set_password(contexts.SERVICE, name, _typed())
        context = replace(context, token={"keyring": name})
    elif token_sealed:
        context = replace(context, token={"sealed": _sealed(_typed())})
    current = name if use else known.current
    contexts.write(Contexts(current, known.contexts | {name: context}))
    say(f"context {name} {'changed' if before else 'made'}" + (" and in use" if use else ""))


@app.command("use", epilog="Example: jitflow context use lab")
def use(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Without a name: the server of this machine again.",
            show_default=False,
            autocompletion=context_names,
        ),
    ] = "",
) -> None:
    """Use a context from now on."""
    known = contexts.read()
    if name:
        known.named(name)
    contexts.write(replace(known, current=name))
    say(f"context {name} is in use" if name else "commands talk to the server of this machine")


@app.command("delete", epilog="Example: jitflow context delete lab")
def delete(name: Name) -> None:
    """Forget a context, and its token if that is in the keyring."""
    known = contexts.read()
    found = known.named(name)
    if "keyring" in found.token:
        ring = contexts.keyring()
        if ring.get_password(contexts.SERVICE, found.token["keyring"]) is not None:
            ring.delete_password(contexts.SERVICE, found.token["keyring"])
    left = {key: value for key, value in known.contexts.items() if key != name}
    contexts.write(Contexts("" if known.current == name else known.current, left))
    say(f"context {name} deleted")


def _shown(name: str, context: Context, known: Contexts) -> dict[str, str]:
    token = " ".join(kind if kind == "sealed" else f"{kind} {value}" for kind, value in context.token.items())
    return {
        "name": name,
        "server": context.server,
        "namespace": context.namespace or "default",
        "ca": context.ca or "-",
        "token": token or "-",
        "in use": "yes" if name == known.current else "no",
    }


def _typed() -> str:
    """Return the token that is typed or piped in."""
    text = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    if not text.strip():
        raise InputRefused("there is no token on standard input")
    return str(text).strip()


def _sealed(token: str) -> str:
    try:
        return seal(token)
    except SettingsError as error:
        raise InputRefused(str(error)) from error
