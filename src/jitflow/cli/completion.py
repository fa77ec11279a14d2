"""What the shell offers for the name of a workflow, template or schedule."""

import os

import typer

from jitflow.cli.loading import load

_TIMEOUT_S = 1.0
_MOST = 100


def workflow_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of the server's newest workflows; nothing when the server does not answer in time."""
    return [name for name in ("@latest", *_asked(ctx, "workflows")) if name.startswith(incomplete)]


def template_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of templates, of the cluster's if those are meant; nothing when the server does not answer in time."""
    group = "cluster_templates" if ctx.params.get("cluster") else "templates"
    return [name for name in _asked(ctx, group) if name.startswith(incomplete)]


def cron_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of schedules; nothing when the server does not answer in time."""
    return [name for name in _asked(ctx, "cron_workflows") if name.startswith(incomplete)]


def _asked(ctx: typer.Context, group: str) -> list[str]:
    namespace = ctx.params.get("namespace") or os.environ.get("JITFLOW_NAMESPACE") or ""
    connect = load("jitflow.cli.connect")
    server = ctx.params.get("server") or ""
    return connect.names_for_completion(server, namespace, group=group, limit=_MOST, timeout_s=_TIMEOUT_S)
