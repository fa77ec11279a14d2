"""A recorded workflow as an Argo manifest whose steps read and write as many bytes, and take as long, as the recorded ones."""

from typing import Any

from benchmark.traces.workloads import Task, Trace

BUCKET = "data"
ENDPOINT = "far.example:9000"

_WORD = 60
"""So much of a step's kind stands in its template's name: recorded kinds are longer than names may be."""


def workflow(trace: Trace, prefix: str, *, declared: bool) -> dict[str, Any]:
    """Return the manifest; results go below `prefix`. `declared`: templates say how long steps run and how much they write.

    Steps of a kind with as many inputs and outputs share a template. What later steps read is given up at the end.
    """
    finals = set(trace.finals)
    external = set(trace.external)
    templates: dict[tuple[str, int, tuple[bool, ...]], dict[str, Any]] = {}
    names = {task.name: f"t{number}" for number, task in enumerate(trace.tasks)}
    tasks: list[dict[str, Any]] = []
    for task in trace.tasks:
        ends = tuple(file in finals for file in task.outputs)
        shape = (task.kind, len(task.inputs), ends)
        if shape not in templates:
            name = f"{_word(task.kind)[:_WORD]}-{len(templates)}"
            templates[shape] = _template(name, len(task.inputs), ends, declared=declared)
        values = _values(task, trace, external, prefix)
        tasks.append(
            {
                "name": names[task.name],
                "template": templates[shape]["name"],
                "dependencies": [names[parent] for parent in task.parents],
                "arguments": {"parameters": [{"name": name, "value": value} for name, value in values.items()]},
            }
        )
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "trace-"},
        "spec": {"entrypoint": "main", "templates": [*templates.values(), {"name": "main", "dag": {"tasks": tasks}}]},
    }


def _word(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in kind.lower()).strip("-") or "step"


def _values(task: Task, trace: Trace, external: set[str], prefix: str) -> dict[str, str]:
    values = {"seconds": f"{task.run_s:.3f}"}
    for number, file in enumerate(task.inputs):
        values[f"in{number}"] = f"in/{file}" if file in external else f"{prefix}/{file}"
    for number, file in enumerate(task.outputs):
        values[f"out{number}"] = f"{prefix}/{file}"
        values[f"size{number}"] = str(trace.sizes[file])
    return values


def _template(name: str, inputs: int, ends: tuple[bool, ...], *, declared: bool) -> dict[str, Any]:
    outputs = range(len(ends))
    names = ["seconds", *(f"in{n}" for n in range(inputs)), *(f"out{n}" for n in outputs), *(f"size{n}" for n in outputs)]
    # The recorded time holds reading and writing too: the step sleeps beside them, and ends with the later.
    work = ["cat /tmp/in/* >/dev/null"] if inputs else []
    work += [f"head -c {_value(f'size{n}')} /dev/urandom >/tmp/out{n}" for n in outputs]
    command = "; ".join([f"sleep {_value('seconds')} & true", *work, "wait"])
    template: dict[str, Any] = {
        "name": name,
        "inputs": {
            "parameters": [{"name": one} for one in names],
            "artifacts": [
                {"name": f"in{n}", "path": f"/tmp/in/{n}", "archive": {"none": {}}, "s3": _s3(f"in{n}")} for n in range(inputs)
            ],
        },
        "outputs": {
            "artifacts": [
                {
                    "name": f"out{n}",
                    "path": f"/tmp/out{n}",
                    "archive": {"none": {}},
                    "s3": _s3(f"out{n}"),
                    "artifactGC": {"strategy": "Never" if ends[n] else "OnWorkflowCompletion"},
                }
                for n in outputs
            ]
        },
        "container": {"image": "trace", "command": ["sh", "-ec", command]},
    }
    if declared:
        template["metadata"] = {
            "annotations": {
                "jitflow.io/expected-duration": f"{_value('seconds')}s",
                **{f"jitflow.io/output-size.out{n}": _value(f"size{n}") for n in outputs},
            }
        }
    return template


def _value(name: str) -> str:
    return f"{{{{inputs.parameters.{name}}}}}"


def _s3(name: str) -> dict[str, Any]:
    return {"endpoint": ENDPOINT, "insecure": True, "bucket": BUCKET, "key": _value(name)}
