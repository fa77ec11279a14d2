"""Manifests as files: read, checked with their places in the text, completed from the command line."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from jitflow import spec
from jitflow.cli.errors import InputRefused
from jitflow.client import ApiError
from jitflow.model import argo
from jitflow.model.problems import Problem, Refused

_MAX_BYTES = 64 * 1024 * 1024


def read(file: str) -> str:
    """Return the text of a file, of standard input for `-`.

    Raises:
        InputRefused: it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read(_MAX_BYTES + 1) if file == "-" else _read_bytes(Path(file))
        if len(data) > _MAX_BYTES:
            raise InputRefused(f"{shown(file)}: larger than {_MAX_BYTES // 2**20} MiB, which no manifest is")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputRefused(f"{shown(file)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputRefused(f"{shown(file)}: not UTF-8 text (byte {error.start})") from error


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES + 1)


def shown(file: str) -> str:
    """Return how messages name a file."""
    return "<stdin>" if file == "-" else file


def problems(file: str) -> tuple[Problem, ...]:
    """Return everything that is wrong with the manifests of a file, which may refer to one another; nothing is sent anywhere.

    Workflow parameters may lack a value: they come at submit.

    Raises:
        InputRefused: the file cannot be read.
    """
    try:
        spec.validate_together(spec.load(read(file), shown(file)), lint=True)
    except Refused as error:
        return error.problems
    return ()


def load_any(file: str) -> list[dict[str, Any]]:
    """Return the manifests of a file, of any kind, as JSON objects; what they refer to is for the server to check.

    Raises:
        InputRefused: with one line `file:line:column: message` for each problem.
    """
    try:
        documents = spec.load(read(file), shown(file))
        spec.validate_together(documents)
    except Refused as error:
        raise InputRefused("\n".join(located(problem, file) for problem in error.problems)) from error
    return [{**msgspec.to_builtins(document.manifest), "kind": document.kind} for document in documents]


def load(file: str) -> list[dict[str, Any]]:
    """Return the workflows of a file as JSON objects, checked.

    Raises:
        InputRefused: with one line `file:line:column: message` for each problem.
    """
    try:
        documents = spec.load(read(file), shown(file))
        for document in documents:
            _check(document)
    except Refused as error:
        raise InputRefused("\n".join(located(problem, file) for problem in error.problems)) from error
    return [msgspec.to_builtins(document.manifest) for document in documents]


def _check(document: spec.Document) -> None:
    if not isinstance(document.manifest, argo.Workflow):
        place = document.places.at(("kind",))
        message = f"a manifest of kind {document.kind} is no workflow"
        raise Refused(Problem(message=message, place=place, remedy="keep it with `jitflow apply`", code="unsupported"))
    spec.validate(document.manifest, document.places)


def located(problem: Problem, file: str) -> str:
    """Return a problem as `file:line:column: message`."""
    place = problem.place
    spots = [shown(file)]
    if place is not None and place.line is not None:
        spots.append(str(place.line))
        if place.column is not None:
            spots.append(str(place.column))
    where = f" (at {place.path})" if place is not None and place.path and place.line is None else ""
    remedy = f"; {problem.remedy}" if problem.remedy else ""
    return f"{':'.join(spots)}: {problem.message}{where}{remedy}"


def assignments(given: Sequence[str] | None) -> list[str]:
    """Return `name=value` texts as the API takes them.

    Raises:
        InputRefused: one has no name or no `=`.
    """
    return [f"{name}={value}" for name, value in checked_parameters(given or [])]


def checked_parameters(given: Sequence[str], option: str = "-p") -> list[tuple[str, str]]:
    """Return `name=value` texts of an option as pairs.

    Raises:
        InputRefused: one has no name or no `=`.
    """
    pairs: list[tuple[str, str]] = []
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise InputRefused(f"{option} {text}: write name=value")
        pairs.append((name, value))
    return pairs


def parameter_file(file: str) -> list[tuple[str, str]]:
    """Return the parameters of a YAML or JSON file that maps names to values; lists and maps become JSON.

    Raises:
        InputRefused: it is no such file.
    """
    try:
        found = yaml.safe_load(read(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        spot = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputRefused(f"{shown(file)}{spot}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(found, dict):
        raise InputRefused(f"{shown(file)}: write a map of parameter names to values")
    return [(str(name), _text(value)) for name, value in found.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def complete(
    body: dict[str, Any],
    *,
    parameters: Sequence[tuple[str, str]] = (),
    name: str = "",
    generate_name: str = "",
    entrypoint: str = "",
    labels: str = "",
    annotations: str = "",
    priority: int | None = None,
) -> dict[str, Any]:
    """Return the manifest with what the command line says: it wins over the file."""
    metadata = dict(body.get("metadata") or {})
    spec_ = dict(body.get("spec") or {})
    if name:
        metadata.pop("generateName", None)
        metadata["name"] = name
    if generate_name:
        metadata.pop("name", None)
        metadata["generateName"] = generate_name
    for key, texts, option in (("labels", labels, "--labels"), ("annotations", annotations, "--annotations")):
        if texts:
            metadata[key] = {**(metadata.get(key) or {}), **dict(checked_parameters(texts.split(","), option))}
    if priority is not None:
        spec_["priority"] = priority
    if entrypoint:
        spec_["entrypoint"] = entrypoint
    if parameters:
        spec_["arguments"] = _with_parameters(spec_.get("arguments") or {}, dict(parameters))
    return {**body, "metadata": metadata, "spec": spec_}


def _with_parameters(arguments: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    declared = list(arguments.get("parameters") or ())
    kept = [item for item in declared if item.get("name") not in given]
    return {**arguments, "parameters": [*({"name": name, "value": value} for name, value in given.items()), *kept]}


def refused_by_server(error: ApiError, file: str) -> Exception:
    """Return what to raise when the server refuses a manifest: whose input it is, and why."""
    if error.status in {400, 409, 413, 422}:
        return InputRefused("\n".join(f"{shown(file)}: {line}" for line in error.message.splitlines() or [""]))
    return error
