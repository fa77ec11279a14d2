# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of templates by reference, of defaults, metadata and metrics.

1. `workflowTemplateRef`: what runs is the template's spec under the workflow's own, arguments merged by name; it stays as it was, whatever
   becomes of the template, and is told in `status.storedWorkflowTemplateSpec`. Templates beside the reference are refused. A workflow that
   is found to be invalid after it was created fails with `invalid spec: …`. Templates by `templateRef` stay as they were too, are told in
   `status.storedTemplates`, and find the names that they use in their own object.
2. `workflowMetadata` puts labels and annotations on the workflow, `labelsFrom` by expressions that must give a text; `podMetadata` puts
   them on pods. Metrics need a help text; a gauge may be of the moment; the `when` of a metric is the same language as that of steps.
"""

from typing import Any

import pytest
from machine_driver import Run, workflow
from semantics_kit import FAILED, STOCK, end_of, received, refused, shown, shown_node

from jitflow import machine
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.runs import EmitMetrics, PodStarted, ResumeRequested, ShowClocks
from jitflow.spec import load_one, validate_document

pytestmark = pytest.mark.pure


class Library:
    """Templates by kind and name, of which a test may change any."""

    def __init__(self, *texts: str) -> None:
        self.known: dict[tuple[str, str], Any] = {}
        for text in texts:
            self.put(text)

    def put(self, text: str) -> None:
        """Add an object, or put it in the place of another."""
        document = load_one(f"apiVersion: argoproj.io/v1alpha1\n{text}")
        assert document.manifest.metadata is not None
        self.known[document.kind, document.manifest.metadata.name or ""] = document.manifest

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        del namespace
        return self.known.get((kind.__name__, name))


BASE = """kind: WorkflowTemplate
metadata: {name: base}
spec:
  entrypoint: main
  onExit: bye
  parallelism: 3
  podMetadata: {labels: {app: base}}
  arguments: {parameters: [{name: p, value: of the template}, {name: q, value: kept}]}
  templates:
  - {name: main, inputs: {parameters: [{name: p}]}, steps: [[{name: a, template: echo, arguments: {parameters: [{name: m, value: "{{inputs.parameters.p}} {{workflow.parameters.q}}"}]}}]]}
  - {name: other, container: {image: busybox}}
  - {name: bye, container: {image: busybox}}
  - {name: echo, inputs: {parameters: [{name: m}]}, container: {image: busybox, args: ["{{inputs.parameters.m}}"]}}
"""
WIDE = """kind: ClusterWorkflowTemplate
metadata: {name: wide}
spec:
  templates:
  - {name: outer, inputs: {parameters: [{name: m, default: of wide}]}, dag: {tasks: [{name: x, template: inner, arguments: {parameters: [{name: m, value: "{{inputs.parameters.m}}"}]}}]}}
  - {name: inner, inputs: {parameters: [{name: m}]}, steps: [[{name: deep, templateRef: {name: base, template: echo}, arguments: {parameters: [{name: m, value: "{{inputs.parameters.m}}!"}]}}]]}
  - {name: echo, container: {image: wide}}
"""


def begun(spec: str, library: Library | None = None) -> Run:
    """Return a workflow of this spec that has begun."""
    run = Run(workflow(spec), objects=library or Library(BASE, WIDE))
    run.begin()
    return run


def test_references_1_effective_spec() -> None:
    """References 1: entrypoint, exit handler, limits and arguments of the template, where the workflow says nothing itself."""
    run = begun("workflowTemplateRef: {name: base}\narguments: {parameters: [{name: p, value: own}]}")
    assert received(run, "wf[0].a") == "own kept"
    spec = shown(run).stored_workflow_template_spec
    assert spec is not None
    assert (spec.entrypoint, spec.on_exit, spec.parallelism) == ("main", "bye", 3)
    assert spec.arguments is not None
    assert {p.name: p.value for p in spec.arguments.parameters} == {"p": "own", "q": "kept"}
    run.play()
    assert run.phase("wf.onExit") == "Succeeded"


@pytest.mark.parametrize(
    ("own", "entrypoint", "on_exit", "parallelism"),
    [("entrypoint: other", "other", "bye", 3), ("onExit: other", "main", "other", 3), ("parallelism: 1", "main", "bye", 1)],
)
def test_references_1_overrides(own: str, entrypoint: str, on_exit: str, parallelism: int) -> None:
    """References 1: the workflow's own word goes before the template's."""
    spec = shown(begun(f"workflowTemplateRef: {{name: base}}\n{own}")).stored_workflow_template_spec
    assert spec is not None
    assert (spec.entrypoint, spec.on_exit, spec.parallelism) == (entrypoint, on_exit, parallelism)


def test_references_1_frozen() -> None:
    """References 1: a template that is changed or deleted after the start changes nothing."""
    library = Library(BASE, WIDE)
    run = begun("workflowTemplateRef: {name: base}", library)
    library.put(BASE.replace("{name: bye, container: {image: busybox}}", "{name: bye, container: {image: changed}}"))
    run.end("wf[0].a")
    container = run.launch("wf.onExit").template.container
    assert container is not None
    assert container.image == "busybox"
    restored = machine.restore(machine.encode_header(run.state), (machine.encode_node(node) for node in run.state.nodes.values()))
    assert restored.program.spec == run.state.program.spec


def test_references_1_of_the_cluster() -> None:
    """References 1: a ClusterWorkflowTemplate runs alike."""
    library = Library(BASE.replace("kind: WorkflowTemplate", "kind: ClusterWorkflowTemplate"))
    run = begun("workflowTemplateRef: {name: base, clusterScope: true}", library)
    assert received(run, "wf[0].a") == "of the template kept"
    assert end_of(begun("workflowTemplateRef: {name: base}", library))[0] == "Error"


def test_references_1_templates_beside_the_reference() -> None:
    """References 1: templates beside the reference are refused."""
    text = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: wf}\nspec: {workflowTemplateRef: {name: base}, templates: [{name: t, container: {image: busybox}}]}"
    with pytest.raises(Refused, match="templates"):
        validate_document(load_one(text), objects=Library(BASE))


def test_references_1_invalid_after_creation() -> None:
    """References 1: what is found to be invalid after it was created fails and says so; a template that is gone is an Error."""
    source = workflow("entrypoint: main\ntemplates: [{name: main, container: {image: busybox}}]")
    run = Run(source)
    run.state = machine.new_state(source, invalid="invalid spec: templates.main: no")
    run.begin()
    assert end_of(run) == ("Failed", "invalid spec: templates.main: no")
    assert end_of(begun("workflowTemplateRef: {name: gone}")) == ("Error", 'workflowtemplates.argoproj.io "gone" not found')


CALLS = """
entrypoint: main
templates:
- name: main
  steps:
  - [{name: a, templateRef: {name: wide, template: outer, clusterScope: true}}, {name: b, template: echo}]
"""


def test_references_1_names_in_their_own_object() -> None:
    """References 1: a template by reference, and those that it calls by reference, find names in the object where they stand."""
    run = begun(CALLS + STOCK)
    assert received(run, "wf[0].a.x[0].deep") == "of wide!"
    shown_nodes = {name: shown_node(run, name) for name in ("wf[0].a", "wf[0].a.x", "wf[0].a.x[0].deep", "wf[0].b")}
    assert {name: node.template_scope for name, node in shown_nodes.items()} == {
        "wf[0].a": "local/wf", "wf[0].a.x": "cluster/wide", "wf[0].a.x[0].deep": "cluster/wide", "wf[0].b": "local/wf",
    }  # fmt: skip
    assert shown_nodes["wf[0].a.x[0].deep"].template_ref == argo.TemplateRef(name="base", template="echo")
    assert (shown_nodes["wf[0].a.x"].template_name, shown_nodes["wf[0].a.x"].template_ref) == ("inner", None)
    assert set(shown(run).stored_templates) == {"cluster/wide/outer", "cluster/wide/inner", "namespaced/base/echo"}


INLINES = """kind: WorkflowTemplate
metadata: {name: lines}
spec:
  templates:
  - {name: outer, steps: [[{name: own, templateRef: {name: lines, template: deep}}, {name: again, template: deep}]]}
  - name: deep
    dag:
      tasks:
      - {name: a, inline: {steps: [[{name: b, inline: {container: {image: busybox}}}]]}}
      - {name: each, withItems: [x, z], inline: {container: {image: busybox}}}
      - {name: not, when: "false", inline: {container: {image: busybox}}}
  - {name: hooked, steps: [[{name: s, template: leaf, hooks: {exit: {templateRef: {name: lines, template: leaf}}}}]]}
  - {name: leaf, container: {image: busybox}}
"""


def test_references_1_inline_templates_are_stored() -> None:
    """References 1: a template inside a step of another object is stored as `SCOPE/RESOURCE/inline/STEP`, once it is called
    or once that object has called the template around it; one inside the workflow's own is not stored.

    `resolveTemplateReference` and `SetStoredInlineTemplate` in `workflow_types.go`.
    """
    own = "{name: mine, inline: {container: {image: busybox}}}"
    main = "entrypoint: main\ntemplates: [{name: main, steps: [[STEPS]]}]"
    run = begun(main.replace("STEPS", f"{own}, {{name: o, templateRef: {{name: lines, template: outer}}}}"), Library(INLINES))
    assert set(shown(run).stored_templates) == {
        "namespaced/lines/outer", "namespaced/lines/deep", "namespaced/lines/inline/a", "namespaced/lines/inline/b",
        "namespaced/lines/inline/each", "namespaced/lines/inline/each(0:x)", "namespaced/lines/inline/each(1:z)",
        "namespaced/lines/inline/not",
    }  # fmt: skip
    assert shown(run).stored_templates["namespaced/lines/inline/b"].container == argo.Container(image="busybox")
    run = begun(main.replace("STEPS", "{name: d, templateRef: {name: lines, template: deep}}"), Library(INLINES))
    assert set(shown(run).stored_templates) == {
        "namespaced/lines/deep", "namespaced/lines/inline/a", "namespaced/lines/inline/b",
        "namespaced/lines/inline/each(0:x)", "namespaced/lines/inline/each(1:z)",
    }  # fmt: skip
    assert begun(main.replace("STEPS", own), Library(INLINES)).state.run.stored == {}


def test_references_1_an_object_that_refers_to_itself() -> None:
    """References 1: `templateRef` shows where the caller has one, be it to its own object; inline templates have no name."""
    steps = "{name: o, templateRef: {name: lines, template: outer}}, {name: h, templateRef: {name: lines, template: hooked}}"
    run = begun(f"entrypoint: main\ntemplates: [{{name: main, steps: [[{steps}]]}}]", Library(INLINES))
    run.play()
    found = {node.name: (node.template_name, node.template_ref) for node in shown(run).nodes.values()}
    deep, leaf = (argo.TemplateRef(name="lines", template=name) for name in ("deep", "leaf"))
    assert (found["wf[0].o[0].own"], found["wf[0].o[0].again"]) == ((None, deep), ("deep", None))
    assert (found["wf[0].h[0].s"], found["wf[0].h[0].s.onExit"]) == (("leaf", None), (None, leaf))
    assert found["wf[0].o[0].own.a"] == found["wf[0].o[0].own.each(0:x)"] == (None, None)


def test_references_1_selectors_ask_what_the_status_tells() -> None:
    """References 1: a selector's `templateRef.name` is that of calls by reference, `templateName` that of all others."""
    lines = INLINES.replace("leaf, container: {image: busybox}", "leaf, suspend: {}")
    steps = "{name: h, templateRef: {name: lines, template: hooked}}, {name: r, templateRef: {name: lines, template: leaf}}"
    main = f"entrypoint: main\ntemplates: [{{name: main, steps: [[{steps}]]}}]"
    for selector, ends in (("templateName=leaf", "wf[0].h[0].s"), ("templateRef.template=leaf", "wf[0].r")):
        run = begun(main, Library(lines))
        run.send(ResumeRequested(selector=selector))
        ended = {name for name in ("wf[0].h[0].s", "wf[0].r") if run.phase(name) == "Succeeded"}
        assert ended == {ends}


def test_references_1_scopes() -> None:
    """References 1: a step group's `templateScope` is that of its own steps; a workflow by `workflowTemplateRef` has no name there.

    `executeSteps` asks the called template's context; `setExecWorkflow` gives the referenced spec no metadata.
    """
    run = begun(CALLS + STOCK)
    assert shown_node(run, "wf[0].a.x[0]").template_scope == "cluster/wide"
    run = begun("workflowTemplateRef: {name: base}")
    scopes = {name: shown_node(run, name).template_scope for name in ("wf", "wf[0]", "wf[0].a")}
    assert scopes == {"wf": "local/", "wf[0]": "local/", "wf[0].a": "local/"}


def test_references_1_stored_templates_stay() -> None:
    """References 1: a template that was used once stays as it was, for later steps of the workflow too."""
    library = Library(BASE, WIDE)
    step = "{templateRef: {name: base, template: other}}"
    run = begun(
        f"entrypoint: main\ntemplates: [{{name: main, steps: [[{{name: a, {step[1:-1]}}}], [{{name: b, {step[1:-1]}}}]]}}]",
        library,
    )
    library.put(BASE.replace("{name: other, container: {image: busybox}}", "{name: other, container: {image: changed}}"))
    run.end("wf[0].a")
    container = run.launch("wf[1].b").template.container
    assert container is not None
    assert container.image == "busybox"


def test_references_1_arguments_of_the_other_object() -> None:
    """References 1: the arguments of an object whose template is called are not the workflow's."""
    library = Library(
        BASE,
        "kind: WorkflowTemplate\nmetadata: {name: asks}\nspec: {arguments: {parameters: [{name: z, value: own}]}, templates: [{name: t, container: {image: busybox, args: ['{{workflow.parameters.z}}']}}]}",
    )
    run = begun(
        "entrypoint: main\narguments: {parameters: [{name: z, value: of the workflow}]}\ntemplates: [{name: main, steps: [[{name: a, templateRef: {name: asks, template: t}}]]}]",
        library,
    )
    container = run.launch("wf[0].a").template.container
    assert container is not None
    assert container.args == ("of the workflow",)


@pytest.mark.parametrize(
    ("reference", "message"),
    [("{name: gone, template: t}", '"gone" not found'), ("{name: base, template: gone}", "base.gone not found")],
)
def test_references_1_not_there(reference: str, message: str) -> None:
    """References 1: a template that is not there when it is needed is an Error of its step."""
    run = begun(f"entrypoint: main\ntemplates: [{{name: main, steps: [[{{name: a, templateRef: {reference}}}]]}}]")
    assert run.phase("wf[0].a") == "Error"
    assert message in run.node("wf[0].a").message


META = """
entrypoint: main
arguments: {parameters: [{name: p, value: v}]}
workflowMetadata: {labels: {fixed: one}, annotations: {note: text}, labelsFrom: {made: {expression: "workflow.parameters.p + '-' + workflow.name"}}}
templates: [{name: main, container: {image: busybox, args: ["{{workflow.labels.fixed}}", "{{workflow.annotations.note}}"]}}]
"""


def test_references_2_workflow_metadata() -> None:
    """References 2: labels and annotations go on the workflow, where pods can refer to them."""
    run = begun(META)
    metadata = machine.workflow_document(run.state, run.now).metadata
    assert metadata is not None
    assert (metadata.labels["fixed"], metadata.labels["made"], metadata.labels["team"]) == ("one", "v-wf", "blue")
    assert metadata.annotations["note"] == "text"
    container = run.launch("wf").template.container
    assert container is not None
    assert container.args == ("one", "text")


@pytest.mark.parametrize("expression", ["1 + 1", "true", "unknown.name", "["])
def test_references_2_labels_from_must_be_texts(expression: str) -> None:
    """References 2: a label that is no text is an Error of the workflow."""
    run = begun(META.replace("workflow.parameters.p + '-' + workflow.name", expression))
    assert end_of(run)[0] == "Error"
    assert "made" in end_of(run)[1]


def test_references_2_pod_metadata() -> None:
    """References 2: a pod that asks for its labels sees those of the workflow's `podMetadata` and of its template, and Argo's."""
    field = "{name: L, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}"
    run = begun(
        f"entrypoint: main\npodMetadata: {{labels: {{app: '{{{{workflow.name}}}}-pods', tier: all}}}}\ntemplates: [{{name: main, metadata: {{labels: {{tier: own}}}}, container: {{image: busybox, env: [{field}]}}}}]"
    )
    metadata = run.launch("wf").template.metadata
    assert metadata is not None
    assert metadata.labels == {
        "app": "wf-pods",
        "tier": "own",
        "workflows.argoproj.io/completed": "false",
        "workflows.argoproj.io/workflow": "wf",
    }
    assert metadata.annotations == {"workflows.argoproj.io/node-id": "wf", "workflows.argoproj.io/node-name": "wf"}


def metered(metric: str) -> str:
    """Return the body of a template with a metric."""
    return f"metrics: {{prometheus: [{{name: m, {metric}}}]}}\ncontainer: {{image: busybox}}"


def test_references_2_metrics_need_help() -> None:
    """References 2: a metric without a help text is refused."""
    assert "help" in refused(metered("counter: {value: '1'}"))


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("'{{status}} == Succeeded'", False),
        ("'{{status}} == Failed'", True),
        ("'{{exitCode}} == 3 && Failed == {{status}}'", True),
    ],
)
def test_references_2_when_of_a_metric(when: str, told: bool) -> None:
    """References 2: the `when` of a metric is that of steps: bare words are texts."""
    run = begun(
        "entrypoint: main\ntemplates:\n- name: main\n  "
        + metered(f"help: h, when: {when}, counter: {{value: '1'}}").replace("\n", "\n  ")
    )
    decision = run.end("wf", 3)
    assert bool([effect for effect in decision.effects if isinstance(effect, EmitMetrics)]) is told


def test_references_2_a_gauge_of_the_moment() -> None:
    """References 2: a gauge of the moment is shown while the node runs."""
    run = begun(
        "entrypoint: main\ntemplates:\n- name: main\n  "
        + metered("help: h, gauge: {realtime: true, value: '{{duration}}'}").replace("\n", "\n  ")
    )
    assert [effect for effect in run.effects.values() if isinstance(effect, ShowClocks)]
    run.send(PodStarted(node_id="wf"))
    run.end("wf", **FAILED)
    assert end_of(run)[0] == "Failed"
