"""Artifacts: where they are, how keys and paths may look."""

import re
from typing import Final, Literal

from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._expressions import check_expression
from jitflow.spec.validation._report import PARAMETER, Report, value_name_complaint

LOCATIONS: Final = ("artifactory", "azure", "gcs", "git", "hdfs", "http", "oss", "plugin", "raw", "s3")
_KEYS: Final = {
    "artifactory": "url", "azure": "blob", "gcs": "key", "git": "repo", "hdfs": "path", "http": "url", "oss": "key",
    "plugin": "key", "raw": None, "s3": "key",
}  # fmt: skip
"""What each location calls the object in its store; a raw artifact is its own."""
_EXAMPLE: Final = "{{steps.a.outputs.artifacts.b}}"
_TAG = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WEB = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_KEY_FIELDS: Final = {"gcs": "key", "oss": "key", "azure": "blob", "hdfs": "path"}
_ADDRESS_FIELDS: Final = {"http": "url", "artifactory": "url", "git": "repo"}
_REMOTE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@ -]*:")

GC_STRATEGIES: Final = ("OnWorkflowCompletion", "OnWorkflowDeletion", "Never")
"""When artifacts may be deleted."""

Role = Literal["argument", "input", "output"]


def locations(artifact: argo.Artifact) -> list[str]:
    """Return the names of the locations that an artifact has."""
    return [name for name in LOCATIONS if getattr(artifact, name) is not None]


def is_located(artifact: argo.Artifact) -> bool:
    """Return whether an artifact says what it is: the object in its store, or the content itself."""
    return any(key is None or getattr(getattr(artifact, name), key) for name, key in _KEYS.items() if getattr(artifact, name))


def key_complaint(key: str) -> str:
    """Return what is wrong with a key of a store; empty when nothing is. Tags count as harmless names."""
    text = _TAG.sub("x", key)
    if not text:
        return "is required"
    if _CONTROL.search(text):
        return "must not have control characters"
    if "\\" in text:
        return "must not have a backslash; separate with /"
    if text.startswith("/"):
        return "must not begin with /"
    if ".." in text.split("/"):
        return "must not have a `..` segment"
    return ""


def path_complaint(path: str) -> str:
    """Return what is wrong with a path in a pod; empty when nothing is.

    It may be relative: an output's to the working directory of the container, another one's to the root.
    """
    text = _TAG.sub("/x", path)
    if _CONTROL.search(text):
        return "must not have control characters"
    if ".." in text.split("/"):
        return "must not have a `..` segment: Directory traversal is not permitted"
    if not text.strip("/."):
        return "must not be the root directory"
    return ""


def check_artifact(report: Report, artifact: argo.Artifact, path: Path, prefix: str, role: Role, *, leaf: bool) -> None:
    """Check one artifact; `prefix` names it in messages (`templates.x.inputs.artifacts.y`)."""
    found = locations(artifact)
    if len(found) > 1:
        message = f"{prefix} has several locations: {', '.join(found)}"
        report.add(path, message, "keep one of them")
    if artifact.from_ and found:
        report.add((*path, "from"), f"{prefix} has both from and {found[0]}", "keep one of them")
    if artifact.from_ and artifact.from_expression:
        message = f"{prefix} shouldn't have both `from` and `fromExpression` in Artifact"
        report.add(path, message, "keep one of them")
    if artifact.from_ and role == "input":
        report.add((*path, "from"), f"{prefix}.from not valid in inputs", "give it as an argument of the step")
    if artifact.from_ and role == "output" and leaf:
        report.add((*path, "from"), f"{prefix}.from not valid in outputs of a pod", "give the `path` of the file")
    if artifact.from_ and not PARAMETER.search(artifact.from_):
        report.add(
            (*path, "from"),
            f"{prefix}.from '{artifact.from_}' is no reference",
            'write it like "{{steps.a.outputs.artifacts.b}}"',
        )
    if role == "argument" and not artifact.from_ and not is_located(artifact):
        report.add(path, f"{prefix}.from, artifact location, or key is required", "add `from:`")
    if role != "argument":
        _check_path(report, artifact, path, prefix, leaf=leaf, kind=role)
    _check_keys(report, artifact, path, prefix)
    check_expression(report, artifact.from_expression, (*path, "fromExpression"), f"{prefix}.fromExpression")
    _check_rest(report, artifact, path, prefix)


def _check_path(report: Report, artifact: argo.Artifact, path: Path, prefix: str, *, leaf: bool, kind: str) -> None:
    if not leaf:
        if artifact.path:
            report.add((*path, "path"), f"{prefix}.path only valid in container/script templates", "remove it")
        elif kind == "output" and not artifact.from_ and not artifact.from_expression and not artifact.optional:
            report.add(
                path, f"{prefix}.from is required in steps and dag templates", 'add `from: "{{steps.a.outputs.artifacts.b}}"`'
            )
        return
    if not artifact.path:
        report.add(path, f"error in {prefix}: Artifact '{artifact.name}' did not specify a path", "add `path:`")
        return
    complaint = path_complaint(artifact.path)
    if complaint:
        report.add((*path, "path"), f"error in {prefix}: path '{artifact.path}' {complaint}", "give a path in the pod")


def _check_keys(report: Report, artifact: argo.Artifact, path: Path, prefix: str) -> None:
    """Check keys; an output without one gets a key of its own, an input without one is given its artifact."""
    if artifact.s3 is not None:
        complaint = key_complaint(artifact.s3.key) if artifact.s3.key else ""
        if complaint:
            report.add((*path, "s3", "key"), f"{prefix}.s3.key {complaint}", "name an object, or a directory with a / at its end")
        _check_bucket(report, artifact.s3, path, prefix)
    _check_others(report, artifact, path, prefix)
    if artifact.plugin is not None:
        _check_remote_path(report, artifact.plugin, path, prefix)
    if artifact.sub_path:
        complaint = key_complaint(artifact.sub_path)
        if complaint:
            report.add((*path, "subPath"), f"{prefix}.subPath {complaint}", "name a part of the artifact")


def _check_others(report: Report, artifact: argo.Artifact, path: Path, prefix: str) -> None:
    """Check keys of other stores, which are keys as those of s3, and addresses."""
    for store, field in _KEY_FIELDS.items():
        location = getattr(artifact, store)
        if location is None:
            continue
        key = getattr(location, field) or ""
        complaint = key_complaint(key.lstrip("/") if store == "hdfs" else key) if key else ""
        if complaint:
            report.add((*path, store, field), f"{prefix}.{store}.{field} {complaint}", "say where the object lies in the store")
    for store, field in _ADDRESS_FIELDS.items():
        location = getattr(artifact, store)
        if location is None:
            continue
        address = getattr(location, field) or ""
        if not address:
            report.add((*path, store), f"{prefix}.{store}.{field} is required", f"add `{field}:`")
        elif store != "git" and not _TAG.match(address) and not _WEB.match(address):
            message = f"{prefix}.{store}.{field} '{address[:80]}' is no web address"
            report.add((*path, store, field), message, "write it like https://host/path")


def _check_bucket(report: Report, location: argo.S3Artifact, path: Path, prefix: str) -> None:
    bucket = _TAG.sub("x", location.bucket or "x")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", bucket) or ".." in bucket:
        message = f"{prefix}.s3.bucket '{location.bucket}' is not a bucket's name"
        report.add((*path, "s3", "bucket"), message, "use letters, digits, '.', '-' and '_'")


def _check_remote_path(report: Report, location: argo.PluginArtifact, path: Path, prefix: str) -> None:
    if location.name != "rclone":
        return
    key = _TAG.sub("x", location.key)
    found = _REMOTE_PATH.match(key)
    if found is None:
        if not location.key.startswith("{{"):
            message = f"{prefix}.plugin.key '{location.key}' does not name a remote"
            report.add((*path, "plugin", "key"), message, "write it like remote:path/to/object, with a remote of the settings")
        return
    complaint = key_complaint(key[found.end() :])
    if complaint:
        report.add((*path, "plugin", "key"), f"{prefix}.plugin.key: the path {complaint}", "write it like remote:path/to/object")


def check_gc(report: Report, gc: argo.ArtifactGC | argo.WorkflowLevelArtifactGC | None, path: Path, prefix: str) -> None:
    """Check when artifacts are deleted."""
    if gc is not None and gc.strategy and gc.strategy not in GC_STRATEGIES:
        message = f"{prefix}.artifactGC.strategy unknown strategy '{gc.strategy}'"
        report.add((*path, "artifactGC", "strategy"), message, f"use one of {', '.join(GC_STRATEGIES)}")


def _check_rest(report: Report, artifact: argo.Artifact, path: Path, prefix: str) -> None:
    if artifact.mode is not None and not 0 <= artifact.mode <= 0o777:
        report.add(
            (*path, "mode"), f"{prefix}.mode must be between 0000 and 0777 (octal), got {artifact.mode}", "write it like 0644"
        )
    archive = artifact.archive
    if archive is not None:
        chosen = [name for name in ("none", "tar", "zip") if getattr(archive, name) is not None]
        if len(chosen) > 1:
            report.add((*path, "archive"), f"{prefix}.archive has several strategies: {', '.join(chosen)}", "keep one of them")
        level = archive.tar.compression_level if archive.tar is not None else None
        if level is not None and not -2 <= level <= 9:
            here = (*path, "archive", "tar", "compressionLevel")
            report.add(here, f"{prefix}.archive.tar.compressionLevel must be between -2 and 9, got {level}", "write 0 to 9")
    check_gc(report, artifact.artifact_gc, path, prefix)
    check_global_name(report, artifact.global_name, path, prefix)


def check_global_name(report: Report, name: str | None, path: Path, prefix: str) -> None:
    """Check the name that an output has in the whole workflow."""
    if name and not PARAMETER.search(name):
        complaint = value_name_complaint(name)
        if complaint:
            report.add((*path, "globalName"), f"{prefix}.globalName: {complaint}", "rename it")
