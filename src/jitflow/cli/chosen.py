"""The options of commands that do something to workflows, named or selected: said once, given to each of them."""

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from msgspec import Struct

from jitflow.cli.choosing import Among
from jitflow.cli.options import (
    DEFAULT_NAMESPACE,
    NamespaceOption,
    SelectorOption,
    ServerOption,
    TableFormat,
    TableOption,
    workflow_names,
)

Own = ParamSpec("Own")

OptionalNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Workflows, or @latest.", autocompletion=workflow_names, show_default=False),
]
FieldSelectorOption = Annotated[
    str, typer.Option("--field-selector", metavar="FIELDS", help="Only those with these fields.", show_default=False)
]
PrefixOption = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only names that begin so.", show_default=False)]
EverythingOption = Annotated[bool, typer.Option("--all", help="All of the namespace.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say which workflows are meant.")]


class Chosen(Struct, frozen=True, kw_only=True):
    """What a command was told by the options that all of these commands have."""

    names: tuple[str, ...]
    server: str
    namespace: str
    selector: str
    field_selector: str
    prefix: str
    everything: bool
    dry_run: bool
    output: TableFormat

    def among(
        self, *, only: str = "", phases: str = "", completed: bool = False, older: str = "", everywhere: bool = False
    ) -> Among:
        """Return which workflows are meant (see `Among`).

        Raises:
            InputRefused: it is not clear.
        """
        return Among(
            namespace=self.namespace,
            names=self.names,
            labels=self.selector,
            fields=self.field_selector,
            prefix=self.prefix,
            everything=self.everything,
            only=only,
            phases=phases,
            completed=completed,
            older=older,
            everywhere=everywhere,
        )


def chooses(function: Callable[Concatenate[Chosen, Own], None]) -> Callable[..., None]:
    """Give a command these options beside its own; the function takes what they come to as its first argument."""
    own = list(signature(function, eval_str=True).parameters.values())[1:]

    def command(**given: Any) -> None:
        function(_chosen(**{name: given.pop(name) for name in _SHARED}), **given)  # pyright: ignore[reportCallIssue]

    parameters = [*_SHARED.values()]
    parameters[3:3] = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own]
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    command.__signature__ = signature(function).replace(parameters=parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return command


def _chosen(
    names: OptionalNames = None,
    *,
    server: ServerOption = "",
    namespace: NamespaceOption = DEFAULT_NAMESPACE,
    selector: SelectorOption = "",
    field_selector: FieldSelectorOption = "",
    prefix: PrefixOption = "",
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    output: TableOption = TableFormat.TABLE,
) -> Chosen:
    return Chosen(
        names=tuple(names or ()),
        server=server,
        namespace=namespace,
        selector=selector,
        field_selector=field_selector,
        prefix=prefix,
        everything=everything,
        dry_run=dry_run,
        output=output,
    )


_SHARED = dict(signature(_chosen, eval_str=True).parameters)
