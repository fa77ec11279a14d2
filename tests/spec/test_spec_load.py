# ruff: noqa: E501 - a case is one manifest, written on one line
"""Texts become manifests, or problems with a place."""

import json
from typing import Any

import pytest
import yaml

from jitflow import spec
from jitflow.model import argo
from jitflow.model.problems import Problem, Refused
from jitflow.spec import _nodes

pytestmark = pytest.mark.pure

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"


def refused(text: str, source: str = "f.yaml") -> tuple[Problem, ...]:
    with pytest.raises(Refused) as caught:
        spec.load(text, source)
    return caught.value.problems


def workflow(text: str) -> argo.Workflow:
    manifest = spec.load_one(HEAD + text).manifest
    assert isinstance(manifest, argo.Workflow)
    return manifest


def parameters(text: str) -> list[str | None]:
    arguments = workflow(f"spec: {{arguments: {{parameters: {text}}}}}").spec.arguments
    assert arguments is not None
    return [parameter.value for parameter in arguments.parameters]


def test_parameter_values_are_text_whatever_they_are_written_as():
    text = "[{name: a, value: 1}, {name: b, value: 1.0}, {name: c, value: yes}, {name: d, value: 1e6}, {name: e, value: ~}, {name: f, value: '1.0'}]"
    assert parameters(text) == ["1", "1", "true", "1000000", None, "1.0"]
    assert parameters("[{name: a, value: 12345678901234567890123}]") == ["12345678901234568000000"]


def test_strings_take_scalars_as_go_writes_them():
    template = workflow(
        "spec:\n  templates:\n  - {name: a, container: {image: b, args: [1, true, 1.50, 2020-01-02, 0x10, '0x10']}}\n"
    )
    container = template.spec.templates[0].container
    assert container is not None
    assert container.args == ("1", "true", "1.5", "2020-01-02", "16", "0x10")


def test_nulls_are_absent_except_in_loop_items():
    manifest = workflow(
        "metadata: {labels: ~, annotations: {a: ~}}\n"
        "spec:\n  entrypoint:\n  templates:\n  - name: a\n    container:\n"
        "    steps: [[{name: s, template: t, withItems: [1.0, 1.5, ~, {k: ~, on: 2}, [~]]}]]\n"
    )
    assert manifest.spec.entrypoint is None
    assert manifest.spec.templates[0].container is None
    assert manifest.metadata == argo.ObjectMeta()
    assert manifest.spec.templates[0].steps[0][0].with_items == (1, 1.5, None, {"k": None, "true": 2}, [None])


def test_several_documents():
    text = (
        "---\n"
        + HEAD
        + "spec: {}\n---\n# nothing\n---\n"
        + HEAD.replace("Workflow", "CronWorkflow")
        + "spec: {schedules: ['* * * * *'], workflowSpec: {}}\n"
    )
    assert [document.kind for document in spec.load(text)] == ["Workflow", "CronWorkflow"]
    with pytest.raises(Refused, match="expected one manifest, found 2"):
        spec.load_one(text)
    with pytest.raises(Refused, match="expected kind WorkflowTemplate, got Workflow"):
        spec.load_one(HEAD + "spec: {}", kinds=["WorkflowTemplate"])
    assert spec.load_one(HEAD + "spec: {}", kinds=["Workflow"]).kind == "Workflow"


def test_fields_that_argo_4_made_lists_are_read_in_their_older_form():
    cron = "kind: CronWorkflow\nmetadata: {name: c}\nspec:\n  schedule: '*/5 * * * *'\n  workflowSpec:\n    synchronization: {mutex: {name: m}, semaphore: {configMapKeyRef: {name: c, key: k}}}\n"
    found = spec.load_one(cron).manifest
    assert isinstance(found, argo.CronWorkflow)
    assert found.spec.schedules == ("*/5 * * * *",)
    locks = found.spec.workflow_spec.synchronization
    assert locks is not None
    assert [mutex.name for mutex in locks.mutexes] == ["m"]
    assert [it.config_map_key_ref.key for it in locks.semaphores if it.config_map_key_ref] == ["k"]
    both = spec.load_one(cron.replace("  schedule:", "  schedules: ['@daily']\n  schedule:")).manifest
    assert isinstance(both, argo.CronWorkflow)
    assert both.spec.schedules == ("@daily", "*/5 * * * *")
    with pytest.raises(Refused, match="expected a string, got an object"):
        spec.load_one(cron.replace("'*/5 * * * *'", "{a: b}"))
    with pytest.raises(Refused, match='unknown field "mutex"'):
        spec.load_one(HEAD + "spec: {mutex: {name: m}}")


def test_identities_and_rights_beside_manifests_are_passed_over():
    role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\nrules: [{verbs: [get]}]\n"
    account = "kind: ServiceAccount\nmetadata: {name: a}\n"
    assert spec.load_one(f"{account}---\n{role}---\n{HEAD}spec: {{}}").kind == "Workflow"
    with pytest.raises(Refused, match="unknown kind 'Role'"):
        spec.load(role)
    with pytest.raises(Refused, match="unknown kind 'Deployment'"):
        spec.load(f"{HEAD}spec: {{}}\n---\nkind: Deployment\n")


def test_anchors_and_merges():
    text = (
        "spec:\n  arguments:\n    parameters:\n    - &one {name: a, value: x}\n    - *one\n"
        "    - {<<: *one, name: b}\n    - {<<: [{value: y}, *one], name: c}\n    - {'<<': 1}\n"
    )
    problems = refused(HEAD + text)
    assert [problem.message for problem in problems] == ['unknown field "<<"']
    assert parameters("[&one {name: a, value: x}, *one, {<<: *one, name: b}, {name: c, <<: [{value: z}, *one]}]") == [
        "x",
        "x",
        "x",
        "z",
    ]


def test_json_and_json_with_tabs():
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {"entrypoint": "a"}}
    for text in (json.dumps(body), json.dumps(body, indent="\t")):
        assert spec.load_one(text).manifest == workflow("spec: {entrypoint: a}")
    assert "twice" in refused('{\n\t"kind": "Workflow",\n\t"kind": "Workflow"}')[0].message
    assert "not YAML" in refused('{\n\t"kind": \n')[0].message


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "remedy"),
    [
        ("a: [", 2, 1, "not YAML", "syntax"),
        ("a: b: c", 1, 5, "not YAML: mapping values are not allowed in this context", "syntax"),
        ("a: \x01", 1, 4, "not YAML", "syntax"),
        ("\ud800", None, None, "the text is not valid Unicode", "UTF-8"),
        ("", 1, 1, "there is no manifest in the text", "kind: Workflow"),
        ("- a", 1, 1, "a manifest must be an object", "apiVersion"),
        ("just text", 1, 1, "a manifest must be an object", "apiVersion"),
        ("spec: {}", 1, 1, "Object 'Kind' is missing", "Workflow"),
        ("kind: [a]\nspec: {}", 1, 1, "Object 'Kind' is missing", "Workflow"),
        ("kind: Workflw\nspec: {}", 1, 7, "unknown kind 'Workflw'", "Workflow"),
        ("kind: Workflow\napiVersion: v1\nspec: {}", 2, 13, "unknown apiVersion 'v1'", "argoproj.io/v1alpha1"),
        ("kind: Workflow\nspecs: {}", 2, 1, 'unknown field "specs"', 'did you mean "spec"?'),
        ("kind: Workflow\nspec:\n  Entrypoint: a", 3, 3, 'unknown field "Entrypoint"', 'did you mean "entrypoint"?'),
        ("kind: Workflow\nspec:\n  suspend: true\n  zzz: 1", 4, 3, 'unknown field "zzz"', "remove it"),
        ("kind: Workflow\nspec:\n  podGC: {zzz: 1}", 3, 11, 'unknown field "zzz"', "known here: deleteDelayDuration"),
        ("kind: Workflow\nspec: []", 2, 1, "expected an object, got a list", ""),
        ("kind: Workflow\nspec: 3", 2, 7, "expected an object, got `3`", ""),
        ("kind: Workflow", 1, 1, "spec is required", "add `spec:`"),
        ("kind: Workflow\nspec:\n  templates: {a: 1}", 3, 3, "expected list, got an object", "`- `"),
        ("kind: Workflow\nspec:\n  templates:\n  -\n", 4, 4, "expected a value, got null", "remove the empty entry"),
        ("kind: Workflow\nspec:\n  entrypoint: {a: 1}", 3, 3, "expected a string, got an object", ""),
        ("kind: Workflow\nspec:\n  parallelism: many", 3, 16, "expected a whole number, got `many`", ""),
        ("kind: Workflow\nspec:\n  parallelism: true", 3, 16, "expected a whole number, got `true`", ""),
        ("kind: Workflow\nspec:\n  parallelism: 99999999999999999999", 3, 16, "expected a whole number", ""),
        ("kind: Workflow\nspec:\n  suspend: 1", 3, 12, "expected true or false, got `1`", ""),
        ("kind: Workflow\nspec:\n  nodeSelector: 1", 3, 17, "expected an object, got `1`", ""),
        ("kind: Workflow\nspec:\n  arguments: {parameters: [{value: 1}]}", 3, 28, "name is required", "add `name:`"),
        (
            "kind: Workflow\nspec:\n  arguments: {parameters: [{name: a, value: [1]}]}",
            3,
            38,
            "expected a string, a number or a truth value",
            "",
        ),
        (
            "kind: Workflow\nspec:\n  arguments: {parameters: [{name: a, value: .nan}]}",
            3,
            45,
            "`nan` is not a number that JSON has",
            "quotes",
        ),
        ("kind: Workflow\nspec:\n  retryStrategy: {limit: [1]}", 3, 19, "expected a number or a string, got a list", ""),
        ("kind: Workflow\nspec:\n  retryStrategy: {limit: 1.5}", 3, 26, "expected a number or a string, got `1.5`", ""),
        ("kind: Workflow\nspec:\n  entrypoint: a\n  entrypoint: b", 4, 3, "the key 'entrypoint' is there twice", "remove one"),
        ("kind: Workflow\nmetadata:\n  labels: {a: b, a: c}\nspec: {}", 3, 18, "the key 'a' is there twice", "remove one"),
        ("kind: Workflow\nspec:\n  ? [a]\n  : b", 2, 1, "a key must be a scalar", "line 3"),
        ("kind: Workflow\nspec: !thing {}", 2, 7, "the tag !thing is not supported", "remove the tag"),
        (
            "kind: Workflow\nspec: {entrypoint: !!binary aGk=}",
            2,
            20,
            "cannot read `aGk=` with the tag !!binary",
            "remove the tag",
        ),
        ("kind: Workflow\nspec: {parallelism: !!int x}", 2, 21, "cannot read `x` with the tag !!int", "remove the tag"),
        ("kind: Workflow\nspec: *a", 2, 7, "unknown anchor 'a'", "define it first"),
        ("kind: Workflow\nspec: &a {templates: *a}", 2, 22, "anchor 'a' contains itself", "remove the alias"),
        ("kind: Workflow\nspec: " + "[" * 150, 2, 106, "nested deeper than 100 levels", "flatter"),
        (
            "kind: Workflow\nspec: {templates: [{name: a, steps: [[{name: b, withItems: [.inf]}]]}]}",
            2,
            61,
            "`inf` is not a number",
            "quotes",
        ),
    ],
)
def test_every_problem_has_a_place_and_a_remedy(text: str, line: int | None, column: int | None, message: str, remedy: str):
    problem, *_ = refused(text)
    assert message in problem.message
    assert remedy in problem.remedy
    assert problem.place is not None
    assert (problem.place.line, problem.place.column, problem.place.source) == (line, column, "f.yaml")


def test_kinds_of_kubernetes_are_not_supported_rather_than_wrong():
    assert refused("apiVersion: v1\nkind: Pod\nspec: {}")[0].code == "unsupported"
    assert refused("kind: Pod\nspec: {}")[0].code == "invalid"
    assert refused("apiVersion: v2\nkind: ConfigMap\ndata: {}")[0].remedy == "use v1"


def test_all_problems_of_all_documents_are_told_at_once():
    text = HEAD + "spec: {a: 1, parallelism: x}\n---\n" + HEAD + "spec: {b: 1}\n"
    assert [str(problem).split(" ", 1)[0] for problem in refused(text)] == ["f.yaml:3:8", "f.yaml:3:27", "f.yaml:7:8"]
    many = HEAD + "spec: {" + ", ".join(f"a{i}: 1" for i in range(500)) + "}"
    assert len(refused(many)) == 50


def test_explicit_tags_that_fit_are_read():
    assert parameters(
        "[{name: !!str 1, value: !!float 3}, {name: b, value: !!str 1.0}, {name: c, value: ! 1.0}, {name: d, value: !!bool yes}]"
    ) == [
        "3",
        "1.0",
        "1.0",
        "true",
    ]
    assert workflow("spec: !!map {parallelism: !!int 3, templates: !!seq []}").spec.parallelism == 3
    assert workflow("spec: {retryStrategy: {limit: 3.0}, parallelism: 3.0}").spec.retry_strategy == argo.RetryStrategy(limit=3)
    assert workflow("spec: {retryStrategy: {limit: ~}}").spec.retry_strategy == argo.RetryStrategy()


def test_api_bodies_are_stricter_about_strings_and_have_paths_only():
    body: dict[str, Any] = {"metadata": {"name": "a"}, "spec": {"entrypoint": 1}}
    with pytest.raises(Refused) as caught:
        spec.from_json(body, kind="Workflow", source="body")
    assert str(caught.value) == "body ($.spec.entrypoint): expected a string, got `1`; put it in quotes"
    body["spec"] = {"arguments": {"parameters": [{"name": "n", "value": 1.0}]}, "nodeSelector": {"a": None}}
    document = spec.from_json(body, kind="Workflow")
    assert isinstance(document.manifest, argo.Workflow)
    assert document.manifest.spec.arguments == argo.Arguments(parameters=(argo.Parameter(name="n", value="1"),))
    for bad in ([], "x", 3, None, {"kind": "Workflow", "spec": object()}):
        with pytest.raises(Refused):
            spec.from_json(bad)


def test_bombs_are_refused():
    levels = "\n".join(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))
    laughs = HEAD + "metadata:\n  annotations: {}\nspec:\n  templates:\n  - name: a\n    plugin:\n"
    bomb = laughs + "\n".join("    " + line for line in ("  a0: &a0 [x]\n" + levels).splitlines())
    problem = refused(bomb)[0]
    assert (problem.code, "aliases" in problem.message) == ("too_large", True)
    assert refused("x" * (_nodes.MAX_TEXT_BYTES + 1))[0].code == "too_large"
    assert refused("- a\n" * (_nodes.MAX_NODES + 1))[0].code == "too_large"
    assert refused("--- a\n" * 101)[0].message == "more than 100 documents in one text"
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(Refused, match="nested deeper"):
        spec.from_json(deep)


def test_a_manifest_of_ten_thousand_steps_loads_fast():
    step = "    - - name: s{0}\n        template: w\n        arguments: {{parameters: [{{name: m, value: 'hello {0}'}}]}}\n"
    text = HEAD + "spec:\n  templates:\n  - name: main\n    steps:\n" + "".join(step.format(i) for i in range(10_000))
    document = spec.load_one(text)
    assert isinstance(document.manifest, argo.Workflow)
    assert len(document.manifest.spec.templates[0].steps) == 10_000
    assert document.places.at(("spec", "templates", 0, "steps", 9_999, 0, "name")).line == 6 + 3 * 9_999 + 1


def test_yaml_without_libyaml_reads_the_same(monkeypatch: pytest.MonkeyPatch):
    text = HEAD + "spec: {entrypoint: a, parallelism: 3, arguments: {parameters: [&a {name: x, value: 1.0}]}}\n"
    expected = spec.load_one(text).manifest
    monkeypatch.delattr(yaml, "cyaml")
    assert spec.load_one(text).manifest == expected
    assert refused("a: [")[0].message.startswith("not YAML")


def test_paths_read_back():
    path = ("spec", "templates", 0, "metadata", "labels", "a.b/it's")
    text = spec.json_path(path)
    assert text == "$.spec.templates[0].metadata.labels['a.b/it\\'s']"
    assert spec.parse_path(text) == path
    assert spec.parse_path("$.a]") == ("a",)


def test_places_of_keys_values_and_what_is_not_there():
    document = spec.load_one(HEAD + "spec:\n  entrypoint: a\n  templates:\n  - name: b\n", "f")
    places = document.places
    assert str(places.at(("spec", "entrypoint"))) == "f:4:15 ($.spec.entrypoint)"
    assert str(places.of_key(("spec", "entrypoint"))) == "f:4:3 ($.spec.entrypoint)"
    assert str(places.at(("spec", "templates"))) == "f:5:3 ($.spec.templates)"
    assert str(places.at(("spec", "templates", 0, "container", "image"))) == "f:6:5 ($.spec.templates[0].container.image)"
    assert str(places.of_key(("spec", "templates", 7))) == "f:5:3 ($.spec.templates[7])"
    assert str(places.of_key(())) == "f:1:1 ($)"
    assert spec.Places().at(("a",)).line is None


def test_keys_beside_those_of_the_kind_are_left_out_of_an_api_body():
    body = {"dbapiVersion": "x", "kind": "Workflow", "metadata": {"name": "a"}, "spec": {"entrypoint": "a"}}
    assert spec.from_json(body).manifest == spec.from_json({key: body[key] for key in ("kind", "metadata", "spec")}).manifest
    with pytest.raises(Refused, match='unknown field "zzz"'):
        spec.from_json({**body, "spec": {"zzz": 1}})


def test_what_is_merged_may_merge_in_turn():
    text = "[&one {name: a, value: x}, &two {<<: *one, name: b}, {<<: *two, name: c}, {<<: *two, <<: *one, name: d}]"
    assert parameters(text) == ["x", "x", "x", "x"]
    assert parameters("[&one {name: a, value: x}, &two {<<: *one, value: w}, {<<: [*two, *one], name: c}]") == ["x", "w", "w"]


def test_merges_in_merges_end():
    shelves = "".join(f"    - &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}], name: n{i}}}\n" for i in range(1, 60))
    found = workflow(f"spec:\n  arguments:\n    parameters:\n    - &m0 {{name: n0, value: x}}\n{shelves}").spec.arguments
    assert found is not None
    assert {parameter.value for parameter in found.parameters} == {"x"}


@pytest.mark.parametrize("merged", ["3", "text", "[*one, 3]", "~"])
def test_only_mappings_can_be_merged(merged: str):
    (problem,) = refused(f"a: &one {{b: 1}}\nc: {{<<: {merged}}}\n")
    assert problem.message == "map merge requires map or sequence of maps as the value"
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (2, 5)


def test_json_may_write_characters_as_pairs_of_surrogates():
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "spec": {"entrypoint": "\U0001f600 \\ud83d\\ude00 \n"}}
    assert spec.load_one(json.dumps(body)).manifest == spec.load_one(json.dumps(body, ensure_ascii=False)).manifest
    with pytest.raises(Refused, match="invalid Unicode character escape code"):
        spec.load_one('{"kind": "Workflow", "spec": {"entrypoint": "\\ud83d"}}')


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("\n", "\r\n"), lambda text: f"\ufeff{text}", lambda text: f"---\n---\n{text}---\n"]
)
def test_line_ends_marks_and_empty_documents_do_not_matter(change: Any):
    text = HEAD + "spec:\n  entrypoint: a\n"
    assert spec.load_one(change(text)).manifest == spec.load_one(text).manifest


def test_characters_that_are_none_have_a_place():
    (problem,) = refused(HEAD + "spec: {entrypoint: a\x07}\n")
    assert problem.place is not None
    assert (problem.place.line, problem.place.column) == (3, 21)
    assert refused("# nothing\n")[0].place is not None


def test_an_empty_entry_of_a_list_of_texts_is_an_empty_text():
    text = "spec: {entrypoint: a, templates: [{name: a, container: {image: i, args: [~, x]}}]}"
    container = workflow(text).spec.templates[0].container
    assert container is not None
    assert container.args == ("", "x")


def test_numbers_that_no_integer_holds():
    found = spec.from_json({"kind": "Workflow", "spec": {"templates": [{"name": "a", "plugin": {"p": {"n": 10**30}}}]}}).manifest
    assert isinstance(found, argo.Workflow)
    assert found.spec.templates[0].plugin == {"p": {"n": 1e30}}
    for large in (10**30, 1e30):
        with pytest.raises(Refused, match="is too large a number"):
            spec.from_json({"kind": "Workflow", "spec": {"retryStrategy": {"limit": large}}})
