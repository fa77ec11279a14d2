"""What the tests of the language's semantics share: a manifest in a few lines, played by a fake executor, seen as Argo shows it.

`played(main)` runs a workflow whose entrypoint is `main` to its end and returns it; `begun(main)` only starts it. `main` is the
body of the entrypoint (`steps:`, `dag:`, …), `STOCK` holds templates that it may call. How pods end is said by node name or by
template: `played(main, ends={"wf[0].a": {"exit_code": 1}, "number": {"result": "7"}})`.
"""

import json
import textwrap
from typing import Any

from machine_driver import Run, workflow

from jitflow import machine
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.runs import LaunchPod
from jitflow.spec import validate

STOCK = """
- {name: echo, inputs: {parameters: [{name: m, default: none}]}, container: {image: busybox, args: ["{{inputs.parameters.m}}"]}}
- {name: strict, inputs: {parameters: [{name: m}]}, container: {image: busybox, args: ["{{inputs.parameters.m}}"]}}
- {name: write, outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}, container: {image: busybox}}
- {name: defaulted, outputs: {parameters: [{name: p, valueFrom: {path: /p, default: own}}]}, container: {image: busybox}}
- {name: number, script: {image: busybox, command: [sh], source: "echo 1"}}
- {name: fail, container: {image: busybox, command: ["false"]}}
"""
"""Templates for all: `echo` takes m (or none), `strict` needs m, `write` gives p, `defaulted` has a default for p, `number`
gives a result, `fail` ends with exit code 1."""

Ends = dict[str, dict[str, Any]]
FAILED = {"exit_code": 1}
ERRED = {"exit_code": None, "error": "lost"}


def manifest(main: str, *, extra: str = "", spec: str = "") -> argo.Workflow:
    """Return a workflow named wf.

    Args:
        main: the body of the entrypoint.
        extra: further templates, as a YAML list.
        spec: further fields of the workflow's spec.
    """
    body = textwrap.indent(textwrap.dedent(main).strip("\n"), "  ")
    parts = (textwrap.dedent(spec).strip("\n"), "entrypoint: main", "templates:", "- name: main", body)
    return workflow("\n".join((*parts, STOCK.strip("\n"), textwrap.dedent(extra).strip("\n"), "")))


def begun(main: str, *, extra: str = "", spec: str = "", **run: Any) -> Run:
    """Return a valid workflow (see `manifest`) that has begun; its pods are Pending."""
    found = manifest(main, extra=extra, spec=spec)
    validate(found)
    started = Run(found, **run)
    started.begin()
    return started


def played(main: str, *, extra: str = "", spec: str = "", ends: Ends | None = None, **run: Any) -> Run:
    """Return a valid workflow (see `manifest`) that has run to its end, or as far as it goes by itself."""
    return begun(main, extra=extra, spec=spec, **run).play(ending(ends or {}))


def ending(ends: Ends) -> Any:
    """Return how pods end, by the node's name, else by its template; `fail` fails, all else succeeds."""
    known = {"fail": FAILED} | ends

    def outcome(node: machine.Node, launch: LaunchPod) -> dict[str, Any]:
        return known.get(node.name, known.get(launch.template.name or "", {}))

    return outcome


def refused(main: str, *, extra: str = "", spec: str = "") -> str:
    """Return why a manifest is refused, all problems in one text."""
    try:
        validate(manifest(main, extra=extra, spec=spec))
    except Refused as error:
        return "; ".join(problem.message for problem in error.problems)
    raise AssertionError("the manifest is not refused")


def arguments(run: Run, name: str) -> list[str]:
    """Return the arguments of a node's pod, which must be live."""
    template = run.launch(name).template
    part = template.container or template.script
    assert part is not None
    return list(part.args)


def given(value: str, **more: str) -> str:
    """Return what a pod gets for an argument `value`, alone in a step."""
    parameters = f"[{{name: m, value: {json.dumps(value)}}}]"
    return arguments(
        begun(f"steps: [[{{name: a, template: echo, arguments: {{parameters: {parameters}}}}}]]", **more), "wf[0].a"
    )[0]


def received(run: Run, name: str, parameter: str = "m") -> str | None:
    """Return an input parameter of a node."""
    inputs = run.node(name).inputs or argo.Inputs()
    return next((p.value for p in inputs.parameters if p.name == parameter), None)


def output(run: Run, name: str, parameter: str = "p") -> str | None:
    """Return an output parameter of a node."""
    outputs = run.node(name).outputs or argo.Outputs()
    return next((p.value for p in outputs.parameters if p.name == parameter), None)


def phases(run: Run) -> dict[str, str]:
    """Return the phase of each node that shows, by name."""
    return {node.name: node.phase for node in run.state.nodes.values() if not node.is_waiting}


def shown(run: Run) -> argo.WorkflowStatus:
    """Return the workflow's status as clients see it."""
    return machine.status(run.state, run.now)


def shown_node(run: Run, name: str) -> argo.NodeStatus:
    """Return a node's status as clients see it, by the node's name."""
    return next(node for node in shown(run).nodes.values() if node.name == name)


def end_of(run: Run) -> tuple[str, str]:
    """Return the workflow's phase and message."""
    return run.state.run.phase, run.state.run.message
