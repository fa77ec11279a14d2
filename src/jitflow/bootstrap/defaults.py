"""What the settings say for every workflow: read once, as strictly as a manifest."""

from pathlib import Path
from typing import Any

import yaml
from msgspec import to_builtins

from jitflow import spec
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.settings import SettingsError
from jitflow.spec import support

_WHERE = "workflow_defaults"


def workflow_defaults(given: str | dict[str, Any]) -> argo.Workflow | None:
    """Return the defaults of a table, or of the YAML file of that path; None when there are none.

    Raises:
        SettingsError: the file cannot be read, or holds what a manifest may not.
    """
    if not given:
        return None
    tree = _read(Path(given).expanduser()) if isinstance(given, str) else given
    unknown = sorted(set(tree) - {"metadata", "spec"})
    if unknown:
        raise SettingsError(f"{_WHERE}: there is no {unknown[0]!r}; write `metadata` and `spec`")
    try:
        found = spec.from_json({"spec": {}, **tree}, kind="Workflow").manifest
    except Refused as error:
        raise SettingsError(f"{_WHERE}: {error}") from error
    assert isinstance(found, argo.Workflow), "the kind says so"
    for path, feature in support.uses(found.spec):
        if feature.status is support.Status.REFUSED:
            raise SettingsError(f"{_WHERE}.{'.'.join(map(str, path))}: {feature.note}; remove it")
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{_WHERE}: cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{_WHERE}: {path}: {error}") from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{_WHERE}: {path} must hold a mapping with `metadata` and `spec`")
    return to_builtins(tree)
