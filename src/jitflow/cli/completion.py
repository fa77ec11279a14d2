"""What the shell offers for a workflow's name."""

import os

import typer

from jitflow.cli.loading import load

_TIMEOUT_S = 1.0
_MOST = 100


def workflow_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of the server's newest workflows; nothing when the server does not answer in time."""
    parameters = ctx.params
    namespace = parameters.get("namespace") or os.environ.get("JITFLOW_NAMESPACE") or ""
    names = load("jitflow.cli.connect").names_for_completion(
        parameters.get("server") or "", namespace, limit=_MOST, timeout_s=_TIMEOUT_S
    )
    return [name for name in ("@latest", *names) if name.startswith(incomplete)]
