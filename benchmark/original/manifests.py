"""The workflows: one step for each file, which reads its first line and then sleeps, as the original's did."""

import json
from typing import Any

from benchmark.original.cells import BY_JITFLOW, DIRECT, HERE, ORIGINAL, SERIAL, Cell
from benchmark.original.sets import FileSet

IMAGE = "original:1"
ENDPOINT = "far.example:9000"
BUCKET = "data"
NEAR_BUCKET = "primary"
JITFLOW_BUCKET = "jitflow"
"""Where jitflow has its primary in the near store."""
HERE_IN_POD = "/data"
_COPY = (
    "rclone copyto --config '' --retries 1 --error-on-no-transfer "
    "--multi-thread-cutoff 8M --multi-thread-chunk-size 8M --multi-thread-streams 4"
)
"""Big files in parallel ranges, as the original's `aws s3 cp`; a file that is not there is a failure at once."""
_GET = {
    DIRECT: f'file=/tmp/file; {_COPY} "near:{NEAR_BUCKET}/$FILE" $file || {_COPY} "far:{BUCKET}/$SET/$FILE" $file',
    HERE: f'file="{HERE_IN_POD}/$SET/$FILE"',
    **dict.fromkeys(BY_JITFLOW, "file=/tmp/file"),
}
_GET[ORIGINAL] = _GET[DIRECT]


def manifest(cell: Cell, file_set: FileSet, *, work_s: float) -> dict[str, Any]:
    """Return the workflow of a cell over a set."""
    lines = [
        "set -eu",
        "echo began",
        _GET[cell.way],
        "echo here",
        'head -n 1 "$file" > /dev/null',
        f"sleep {work_s:g}",
        "echo done",
    ]
    step: dict[str, Any] = {
        "name": "read",
        "inputs": {"parameters": [{"name": "file"}]},
        "container": {
            "image": IMAGE,
            "command": ["sh", "-c", "\n".join(lines)],
            "env": [
                {"name": "FILE", "value": "{{inputs.parameters.file}}"},
                {"name": "SET", "value": cell.set},
            ],
        },
    }
    if cell.way in BY_JITFLOW:
        key = f"{cell.set}/{{{{inputs.parameters.file}}}}"
        step["inputs"]["artifacts"] = [
            {"name": "file", "path": "/tmp/file", "s3": {"endpoint": ENDPOINT, "bucket": BUCKET, "key": key}}
        ]
    call = {
        "name": "read",
        "template": "read",
        "arguments": {"parameters": [{"name": "file", "value": "{{item}}"}]},
        "withParam": "{{workflow.parameters.files}}",
    }
    files = json.dumps([file.name for file in file_set.files])
    spec: dict[str, Any] = {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "files", "value": files}]},
        "templates": [{"name": "main", "steps": [[call]]}, step],
    }
    if cell.mode == SERIAL:
        spec["parallelism"] = 1
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{cell.set}-{cell.way}-"},
        "spec": spec,
    }


def pod_environment(programs: str, near: dict[str, str], far: dict[str, str]) -> dict[str, str]:
    """Return what a step's rclone needs to know both stores, which a step of the original got as parameters of its workflow."""
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    for name, options in (("NEAR", near), ("FAR", far)):
        environment[f"RCLONE_CONFIG_{name}_TYPE"] = "s3"
        environment |= {f"RCLONE_CONFIG_{name}_{key.upper()}": value for key, value in options.items()}
    return environment
