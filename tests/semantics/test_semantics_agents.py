# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of http, plugin and resource templates, as the machine sees them; what is sent and answered: `tests/agents`.

1. An http template sends GET by default; the body of the answer is the result; an answer that is not 2xx fails with `received non-2xx
   response code: N`, unless a successCondition over request and response says other. Its node has the type HTTP.
2. A plugin template is sent to the executor plugins, `POST …/api/v1/template.execute`, which say phase, message and outputs, or when to
   ask again. Its node has the type Plugin.
3. A resource template does what kubectl would, on the objects that are kept here; its conditions are label selectors over paths of the
   object, the failure first; outputs are read by JSONPath or jq. Its node has the type Pod.
"""

import pytest
from machine_driver import Run
from semantics_kit import begun, end_of, received, shown_node

from jitflow.model import argo
from jitflow.model.runs import RunTask, ShutdownRequested, TaskEnded, TaskProgress

pytestmark = pytest.mark.pure

CALL = "- {name: call, http: {url: 'http://example.com/{{inputs.parameters.m}}', headers: [{name: X, value: '{{workflow.name}}'}], body: '{{inputs.parameters.m}}'}, inputs: {parameters: [{name: m, default: d}]}}"
PLUG = "- {name: plug, plugin: {hello: {who: '{{inputs.parameters.m}}'}}, inputs: {parameters: [{name: m, default: d}]}}"
MAKE = "- {name: make, resource: {action: create, manifest: 'kind: ConfigMap', successCondition: status.ok == true}, outputs: {parameters: [{name: p, valueFrom: {jsonPath: '{.x}'}}]}}"
EXTRA = f"{CALL}\n{PLUG}\n{MAKE}"


def asked(run: Run, name: str) -> RunTask:
    """Return the open work of a node."""
    effect = run.effects[run.node(name).id]
    assert isinstance(effect, RunTask)
    return effect


def ends(run: Run, name: str, phase: str = "Succeeded", message: str = "", **outputs: str) -> None:
    """End a node's work."""
    found = argo.Outputs(
        result=outputs.pop("result", None),
        parameters=tuple(argo.Parameter(name=key, value=text) for key, text in outputs.items()),
    )
    run.send(TaskEnded(node_id=run.node(name).id, phase=phase, message=message, outputs=found))


@pytest.mark.parametrize(("number", "template", "kind"), [(1, "call", "HTTP"), (2, "plug", "Plugin"), (3, "make", "Pod")])
def test_agents_types_and_outputs(number: int, template: str, kind: str) -> None:
    """Agents 1, 2, 3: the node's type, its way from Pending over Running to its end, and its outputs for later steps."""
    reference = {"call": "{{steps.a.outputs.result}}", "plug": "{{steps.a.status}}", "make": "{{steps.a.outputs.parameters.p}}"}[
        template
    ]
    run = begun(
        f"steps: [[{{name: a, template: {template}}}], [{{name: b, template: echo, arguments: {{parameters: [{{name: m, value: '{reference}'}}]}}}}]]",
        extra=EXTRA,
    )
    assert (shown_node(run, "wf[0].a").type, run.phase("wf[0].a")) == (kind, "Pending")
    run.send(TaskProgress(node_id=run.node("wf[0].a").id))
    assert run.phase("wf[0].a") == "Running"
    ends(run, "wf[0].a", result="the body", p="the value")
    assert received(run, "wf[1].b") == {1: "the body", 2: "Succeeded", 3: "the value"}[number]


def test_agents_1_request() -> None:
    """Agents 1: the request has its tags replaced; without a method it is GET."""
    run = begun("steps: [[{name: a, template: call, arguments: {parameters: [{name: m, value: path}]}}]]", extra=EXTRA)
    http = asked(run, "wf[0].a").template.http
    assert http is not None
    assert (http.url, http.body, http.headers[0].value, http.method or "GET") == ("http://example.com/path", "path", "wf", "GET")


def test_agents_1_failure() -> None:
    """Agents 1: an answer that is not 2xx fails its node and, if nothing forgives it, the workflow."""
    run = begun("steps: [[{name: a, template: call}]]", extra=EXTRA)
    ends(run, "wf[0].a", "Failed", "received non-2xx response code: 404")
    assert (run.node("wf[0].a").message, end_of(run)[0]) == ("received non-2xx response code: 404", "Failed")


def test_agents_1_retries_loops_and_hooks() -> None:
    """Agents 1: http templates are repeated, looped over and used as exit handlers as any other."""
    body = "steps: [[{name: a, template: call, withItems: [p, q], arguments: {parameters: [{name: m, value: '{{item}}'}]}, onExit: call}]]"
    run = begun(body, extra=EXTRA, spec="onExit: call\nretryStrategy: {limit: 1}")
    for attempt, phase in ((0, "Failed"), (1, "Succeeded")):
        ends(run, f"wf(0)[0].a(0:p)({attempt})", phase)
    ends(run, "wf(0)[0].a(1:q)(0)")
    for name in ("wf(0)[0].a(0:p).onExit(0)", "wf(0)[0].a(1:q).onExit(0)", "wf.onExit(0)"):
        assert run.node(name).type == "HTTP"
        ends(run, name)
    assert end_of(run) == ("Succeeded", "")


@pytest.mark.parametrize("template", ["call", "plug", "make"])
def test_agents_stop(template: str) -> None:
    """Agents 1, 2, 3: a stop ends the work at once."""
    run = begun(f"steps: [[{{name: a, template: {template}}}]]", extra=EXTRA)
    key = run.node("wf[0].a").id
    run.send(ShutdownRequested(strategy="Stop"))
    assert (run.phase("wf[0].a"), key in run.effects) == ("Failed", False)
    assert end_of(run) == ("Failed", "Stopped with strategy 'Stop'")


def test_agents_2_what_is_sent() -> None:
    """Agents 2: the plugin gets its template with its tags replaced."""
    run = begun("steps: [[{name: a, template: plug, arguments: {parameters: [{name: m, value: world}]}}]]", extra=EXTRA)
    assert asked(run, "wf[0].a").template.plugin == {"hello": {"who": "world"}}
    ends(run, "wf[0].a", "Failed", "no")
    assert run.node("wf[0].a").message == "no"


def test_agents_3_timeout() -> None:
    """Agents 3: a resource template that takes too long fails as a pod would."""
    run = begun("timeout: 10s\nresource: {action: get, manifest: 'kind: ConfigMap'}", extra=EXTRA)
    run.fire_next()
    assert end_of(run) == ("Failed", "Pod was active on the node longer than the specified deadline")
