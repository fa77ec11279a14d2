"""Templates and schedules from files: checked, created and updated as Argo's command line does it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jitflow.cli import manifests
from jitflow.cli.choice import default_namespace
from jitflow.cli.connect import connect
from jitflow.cli.errors import InputRefused
from jitflow.cli.options import TableFormat
from jitflow.cli.output import Json, print_json, say
from jitflow.client import ApiError, Client

Groups = Mapping[str, str]
"""Kind -> the client's group of it."""

TEMPLATES: Groups = {"WorkflowTemplate": "templates", "ClusterWorkflowTemplate": "cluster_templates"}
SCHEDULES: Groups = {"CronWorkflow": "cron_workflows"}

Send = Callable[[Any, str, Json, str], Json]
"""What is sent to a group for an object: its name, itself, its namespace."""


def lint(group: Any, _name: str, body: Json, namespace: str) -> Json:
    """Let the server check an object with what it refers to there."""
    return group.lint.into(Json)(body, namespace=namespace)


def create(group: Any, _name: str, body: Json, namespace: str) -> Json:
    """Keep a new object."""
    return group.create.into(Json)(body, namespace=namespace)


def update(group: Any, name: str, body: Json, namespace: str) -> Json:
    """Replace an object that there is."""
    there = group.get.into(Json)(name, namespace=namespace)
    version = there["metadata"].get("resourceVersion")
    return group.update.into(Json)(
        name, {**body, "metadata": {**body["metadata"], "resourceVersion": version}}, namespace=namespace
    )


def write(
    files: Sequence[str], groups: Groups, send: Send, past: str, *, server: str, namespace: str, output: TableFormat
) -> None:
    """Send the objects of files, one after the other, and say what was done.

    Raises:
        InputRefused: a file cannot be read, holds something of another kind, or the server refuses an object.
    """
    asked = [(file, body) for file in files for body in manifests.load_any(file)]
    for file, body in asked:
        if body["kind"] not in groups:
            wanted = " nor ".join(groups)
            raise InputRefused(f"{manifests.shown(file)}: {body['kind']} is no {wanted}; `jitflow apply` keeps every kind")
    answers: list[Json] = []
    with connect(server) as client:
        for file, body in asked:
            where = namespace or (body.get("metadata") or {}).get("namespace") or default_namespace()
            try:
                answers.append(_sent(client, groups, send, body, where))
            except ApiError as error:
                raise manifests.refused_by_server(error, file) from error
            say(f"{body['kind']} {answers[-1]['metadata']['name']} {past}")
    if output is TableFormat.JSON:
        print_json(answers)


def _sent(client: Client, groups: Groups, send: Send, body: Json, namespace: str) -> Json:
    name = str((body.get("metadata") or {}).get("name") or "")
    return send(getattr(client, groups[body["kind"]]), name, body, namespace)
