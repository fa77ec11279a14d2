"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

from jitflow.cli.completion import workflow_names


class Format(StrEnum):
    """How one thing is printed."""

    TABLE = "table"
    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"


class ListFormat(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class SubmitFormat(StrEnum):
    """How a submitted workflow is printed."""

    NAME = "name"
    JSON = "json"
    YAML = "yaml"


class ObjectFormat(StrEnum):
    """How an object is printed that is kept as it was written."""

    YAML = "yaml"
    JSON = "json"
    NAME = "name"


class DataFormat(StrEnum):
    """How one thing is printed that is no list and has no name."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class TableFormat(StrEnum):
    """How a table is printed."""

    TABLE = "table"
    JSON = "json"


ServerOption = Annotated[
    str, typer.Option("--server", envvar="JITFLOW_SERVER", metavar="URL", help="The server; the local one if not given.")
]
NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", envvar="JITFLOW_NAMESPACE", metavar="NAME", help="The workflow's namespace.")
]
SubmitNamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        envvar="JITFLOW_NAMESPACE",
        metavar="NAME",
        help="The namespace; the manifest's if not given.",
        show_default=False,
    ),
]
FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]
ObjectOption = Annotated[ObjectFormat, typer.Option("--output", "-o", help="How to print.")]
EverywhereOption = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
ListOption = Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")]
DataOption = Annotated[DataFormat, typer.Option("--output", "-o", help="How to print.")]
TableOption = Annotated[TableFormat, typer.Option("--output", "-o", help="How to print.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A workflow, or @latest.", autocompletion=workflow_names, show_default=False)
]
NamesArgument = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Workflows, or @latest.", autocompletion=workflow_names, show_default=False),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a workflow parameter (repeatable).", show_default=False),
]
SuccessfulOption = Annotated[
    bool, typer.Option("--restart-successful", help="Run the selected steps again although they succeeded.")
]
SuccessfulSelectorOption = Annotated[
    str, typer.Option("--node-field-selector", metavar="FIELDS", help="Which successful steps.", show_default=False)
]
MemoizedOption = Annotated[
    bool, typer.Option("--memoized", help="Of failed workflows: keep what succeeded, run only what did not.")
]
ParameterFileOption = Annotated[
    str, typer.Option("--parameter-file", "-f", metavar="FILE", help="A YAML or JSON file of parameters.", show_default=False)
]
GenerateNameOption = Annotated[
    str, typer.Option("--generate-name", metavar="PREFIX", help="Let the server complete this name.", show_default=False)
]
SetNameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="Name the workflow.", show_default=False)]
EntrypointOption = Annotated[
    str, typer.Option("--entrypoint", metavar="TEMPLATE", help="Start with this template.", show_default=False)
]
SelectorOption = Annotated[
    str, typer.Option("--selector", "-l", metavar="LABELS", help="Only those with these labels (k=v,k2!=v2).", show_default=False)
]

WaitOption = Annotated[bool, typer.Option("--wait", "-w", help="Wait until it ends; exit code 1 unless it succeeded.")]
WatchOption = Annotated[bool, typer.Option("--watch", help="Show it live until it ends.")]
TimeoutOption = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="Wait at most so long for each, as 90s or 2h.", show_default=False)
]
LogOption = Annotated[bool, typer.Option("--log", help="Print its steps' logs until it ends.")]

DEFAULT_NAMESPACE = "default"
