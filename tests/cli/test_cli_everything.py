"""The command line does what the client does: each method is used by a command, or it is said here why not."""

import re
from pathlib import Path

import pytest

from jitflow.cli.app import COMMANDS, load_command

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
_OBJECTS = {
    "list": "object list", "get": "object get", "create": "apply", "apply": "apply", "delete": "object delete",
    "list_as_argo": "object list",
}  # fmt: skip
_FILES = {"get": "get", "create": "create", "update": "update", "delete": "delete", "lint": "lint"}
BY_ANOTHER_NAME = {
    "workflows.lint": "submit",  # --dry-run
    "workflows.watch": "watch",
    "workflows.pod_logs": "logs",
    "artifacts.read": "cp",
    "cron_workflows.backfills": "cron backfills",
    "cron_workflows.get_backfill": "cron backfills",
    "data.remotes.replace": "remote set",
    "data.files.parts": "file put",
    "tokens.get": "token list",
    "webhooks.get": "webhook list",
    **{f"cron_workflows.{one}": f"cron {one}" for one in ("create", "update", "lint")},
    **{
        f"{group}.{method}": f"template {name}" for group in ("templates", "cluster_templates") for method, name in _FILES.items()
    },
    **{
        f"{group}.{method}": name
        for group in ("event_bindings", "secrets", "config_maps", "claims")
        for method, name in _OBJECTS.items()
        if method != "list_as_argo" or group == "event_bindings"
    },
}
"""Methods that a command reaches in another way, or whose answer another method of it gives."""
FOR_PROGRAMS = {"info", "userinfo", "healthy", "live", "ready", "metrics", "openapi", "data_openapi"}
"""What monitors, pages and generators ask of a server."""


def test_every_method_of_the_client_has_a_command() -> None:
    reference = (ROOT / "docs" / "reference" / "python-client.md").read_text()
    methods = set(re.findall(r"^### client\.(\S+)", reference, re.MULTILINE))
    sources = "\n".join(path.read_text() for path in (ROOT / "src" / "jitflow" / "cli").rglob("*.py"))
    used = {name for name in methods if re.search(rf"\b{re.escape(name if '.' in name else f'client.{name}')}\b", sources)}
    known = used | BY_ANOTHER_NAME.keys() | FOR_PROGRAMS
    assert methods <= known, "give the command line a way to do this, or say here which command does it"
    assert BY_ANOTHER_NAME.keys() | FOR_PROGRAMS <= methods


def test_the_commands_that_are_named_are_there() -> None:
    for path in set(BY_ANOTHER_NAME.values()):
        name, _, below = path.partition(" ")
        assert name in COMMANDS, path
        assert not below or below in load_command(name).commands, path
