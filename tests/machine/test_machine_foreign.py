"""Workflows that another Argo runs: which objects are to be near at each moment, and that events may come in any way."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from foreign_history import PIPELINE, held, history, ref, validate, view
from hypothesis import given, settings
from hypothesis import strategies as st
from machine_driver import workflow

from jitflow.machine import foreign, foreignlife
from jitflow.model import argo
from jitflow.model.data import FutureInput
from jitflow.model.foreign import ACTIVE, COMING, DONE, ForeignRun, ForeignStep, Version
from jitflow.model.objects import ConfigMap
from jitflow.spec import announcements

pytestmark = pytest.mark.pure

HISTORY = history()
VIEWS = [view(event, float(number)) for number, event in enumerate(HISTORY)]


def states(run: ForeignRun) -> dict[str, str]:
    return {step.name: step.state for step in run.steps}


def after_end_of(name: str) -> ForeignRun:
    """Return the first view in which a pod has ended."""
    return next(run for run in VIEWS if states(run).get(name) == DONE)


def test_what_the_manifest_says_is_near_before_anything_runs() -> None:
    assert held(VIEWS[0]) == {"raw/prepared.bin", "map.bin"}
    assert held(VIEWS[0], ahead=1) == {"raw/prepared.bin"}
    assert held(VIEWS[0], ahead=0) == set()


def test_a_loop_over_a_result_is_known_as_soon_as_its_pods_are() -> None:
    run = next(run for run in VIEWS if "wf.each(0:a)(0)" in states(run))
    assert states(run)["wf.each(0:a)(0)"] == ACTIVE
    assert held(run, ahead=0) >= {"raw/a.bin", "raw/b.bin"}


def test_what_a_step_writes_is_near_for_others_when_it_is_there() -> None:
    assert "made/prepared.bin" not in held(VIEWS[0])
    assert "made/prepared.bin" in held(after_end_of("wf.prepare(0)"))


def test_what_was_read_is_let_go_while_the_rest_goes_on() -> None:
    run = after_end_of("wf.each(0:a)(0)")
    assert "raw/a.bin" not in held(run)
    assert {"raw/b.bin", "map.bin"} <= held(run)


def test_nothing_is_held_at_the_end() -> None:
    ended = [run for run in VIEWS if run.has_ended]
    assert [run.phase for run in ended] == ["Succeeded", "Succeeded"]
    assert all(held(foreignlife.joined(run, run)) == set() for run in ended)
    assert foreignlife.ending(ended[0], 0.0, 10.0) == "Succeeded"
    assert foreignlife.ending(ended[1], 0.0, 10.0) == "Deleted"


def test_a_step_that_is_left_out_is_done() -> None:
    run = after_end_of("wf.prepare(0)")
    assert states(run).get("wf.never(0)", DONE) == DONE
    assert "raw/never.bin" not in held(run)


def test_an_attempt_that_failed_holds_what_the_next_one_reads() -> None:
    events = history(fails=frozenset({"wf.prepare(0)"}))
    views = [view(event) for event in events]
    between = [run for run in views if states(run).get("wf.prepare(0)") == ACTIVE and "raw/prepared.bin" in held(run, ahead=0)]
    again = [run for run in views if states(run).get("wf.prepare(1)") == ACTIVE]
    assert len(between) > len(again) >= 1
    assert all(held(run, ahead=0) >= {"raw/prepared.bin"} for run in again)
    done = [run for run in views if states(run).get("wf.prepare(1)") == DONE]
    assert done
    assert states(done[0])["wf.prepare(0)"] == DONE


DOUBLING = "entrypoint: n0\ntemplates:\n" + "".join(
    f"- name: n{level}\n  steps: [[{{name: a, template: n{level + 1}}}, {{name: b, template: n{level + 1}}}]]\n"
    for level in range(40)
)
LOOPS = "entrypoint: n0\ntemplates:\n" + "".join(
    f"- name: n{level}\n  steps: [[{{name: a, template: n{level + 1}, withSequence: {{count: 1000}}}}]]\n" for level in range(5)
)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (DOUBLING + "- name: n40\n  suspend: {}\n", 0),
        (LOOPS + "- name: n5\n  suspend: {}\n", 0),
        (LOOPS + "- name: n5\n  container: {image: busybox, command: [cat]}\n", foreign.MAX_STEPS),
        ("entrypoint: m\ntemplates:\n- name: m\n  steps: [[{name: a, template: m}, {name: b, template: m}]]\n", 0),
    ],
)
def test_manifests_that_unfold_without_end_are_looked_at_so_far_and_no_further(text: str, steps: int) -> None:
    event = {"type": "ADD", "body": msgspec.to_builtins(workflow(text))}
    seen = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate)
    assert len(seen.steps) == steps


def test_a_manifest_that_cannot_be_read_ahead_is_followed_by_its_nodes() -> None:
    event = msgspec.json.decode(
        msgspec.json.encode(next(e for e in HISTORY if "each(0:a)" in str(e.get("body", {}).get("status"))))
    )
    event["body"]["spec"]["entrypoint"] = "nothing"
    seen = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate)
    assert "its steps are not foreseen" in seen.problems[0]
    assert "wf.each(0:a)(0)" in {step.name for step in seen.steps}


# -- repositories and templates of the other Argo ----------------------------------------------------------------------

KEYED = """
entrypoint: main
templates:
- name: main
  inputs: {artifacts: [{name: in, path: /in, s3: {key: only/a/key}}]}
  container: {image: busybox, command: [cat]}
"""


def test_the_repository_of_the_status_is_taken_and_without_one_nothing_is_made_up() -> None:
    event = history(KEYED)[0]
    plain = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate)
    assert plain.repository is None
    own = {"artifactRepository": {"s3": {"endpoint": "minio:9000", "bucket": "argo"}}, "configMap": "artifact-repositories"}
    event["body"]["status"] = {"phase": "Running", "artifactRepositoryRef": own}
    known = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate)
    assert known.repository is not None
    assert known.repository.s3 is not None
    assert known.repository.s3.bucket == "argo"
    event["body"]["status"] = {"phase": "Running", "artifactRepositoryRef": {"default": True, "artifactRepository": {}}}
    assert foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate).repository is None


class OneConfigMap:
    """A namespace in which nothing is but the ConfigMap of artifact repositories."""

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        if kind is not ConfigMap or name != "artifact-repositories":
            return None
        text = "s3: {endpoint: minio-here:9000, bucket: here}"
        metadata = argo.ObjectMeta(annotations={"workflows.argoproj.io/default-artifact-repository": "main"})
        return ConfigMap(metadata=metadata, data={"main": text})


def test_a_config_map_here_says_where_artifacts_lie_only_as_long_as_the_status_does_not() -> None:
    event = history(KEYED)[0]

    def bucket() -> str:
        seen = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate, OneConfigMap())
        assert seen.problems == ()
        assert seen.repository is not None
        assert seen.repository.s3 is not None
        return seen.repository.s3.bucket or ""

    assert bucket() == "here"
    event["body"]["status"] = {"artifactRepositoryRef": {"artifactRepository": {"s3": {"endpoint": "m:9000", "bucket": "there"}}}}
    assert bucket() == "there"


def test_templates_come_from_the_status_alone() -> None:
    stored = announcements.read(msgspec.json.encode(history(KEYED)[0])).workflow.spec
    body: dict[str, Any] = {
        "metadata": {"name": "wf", "namespace": "argo", "uid": "u"},
        "spec": {"workflowTemplateRef": {"name": "elsewhere"}},
    }
    unknown = announcements.read(msgspec.json.encode({"type": "ADD", "body": body})).workflow
    assert foreign.seen(unknown, validate).steps == ()
    body["status"] = {"storedWorkflowTemplateSpec": msgspec.to_builtins(stored)}
    known = announcements.read(msgspec.json.encode({"type": "UPDATE", "body": body})).workflow
    assert [step.template for step in foreign.seen(known, validate).steps] == ["main"]
    body["spec"] = {
        "entrypoint": "main",
        "templates": [{"name": "main", "steps": [[{"name": "a", "templateRef": {"name": "lib", "template": "main"}}]]}],
    }
    body["status"] = {"storedTemplates": {"namespaced/lib/main": msgspec.to_builtins(stored.templates[0])}}
    referred = announcements.read(msgspec.json.encode({"type": "UPDATE", "body": body})).workflow
    assert [step.inputs[0].name for step in foreign.seen(referred, validate).steps] == ["in"]


# -- files in parameters -----------------------------------------------------------------------------------------------

NAMED = """
entrypoint: main
arguments:
  parameters:
  - {name: files, value: '["/set/one.csv", "/set/two.csv"]'}
  - {name: primary_endpoint, value: "http://near:9000"}
  - {name: secondary_endpoint, value: "http://far:9000"}
  - {name: primary_folder, value: data/user}
  - {name: secondary_folder, value: group}
templates:
- name: main
  steps:
  - - name: read
      template: read
      arguments: {parameters: [{name: file, value: "{{item}}"}]}
      withParam: "{{workflow.parameters.files}}"
- name: read
  inputs: {parameters: [{name: file}]}
  container: {image: busybox, command: [cat]}
"""


def named(event: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    seen = foreign.seen(announcements.read(msgspec.json.encode(event)).workflow, validate)
    return [(step.name, step.state, [file.far.name for file in step.named]) for step in seen.steps]


def test_listed_files_are_read_in_their_order_by_the_steps_that_name_them() -> None:
    events = history(NAMED)
    assert named(events[0]) == [
        ("wf[0].read(0:/set/one.csv)", COMING, ["/set/one.csv"]),
        ("wf[0].read(1:/set/two.csv)", COMING, ["/set/two.csv"]),
    ]


def test_files_that_no_step_is_foreseen_to_read_are_held_until_their_pods_have_ended() -> None:
    # The older service took line breaks that were written as two characters; a loop over such a text cannot be foreseen.
    written = '[\\n "/set/one.csv",\\n "/set/two.csv"\\n]\\n'
    found: list[list[tuple[str, str, list[str]]]] = []
    for event in history(NAMED)[:-2]:
        body = event["body"]
        body["spec"]["arguments"]["parameters"][0]["value"] = written
        listed = [one for one in named(event) if ".files(" in one[0]]
        assert [file for _, _, (file,) in listed] == ["/set/one.csv", "/set/two.csv"]
        found.append(listed)
    assert [state for _, state, _ in found[0]] == [COMING, COMING]
    one, two = ([[state for _, state, _ in listed][place] for listed in found] for place in (0, 1))
    assert one.index(ACTIVE) < one.index(DONE)
    assert two.index(ACTIVE) <= one.index(DONE)


# -- events in any way -------------------------------------------------------------------------------------------------


def end_of(events: list[ForeignRun]) -> ForeignRun:
    run = foreignlife.joined(events[0], events[0])
    for event in events[1:]:
        run = foreignlife.joined(run, event)
    return run


def without_times(run: ForeignRun) -> ForeignRun:
    return msgspec.structs.replace(run, heard_at=0.0, first_heard_at=0.0)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_shuffled_repeated_and_dropped_events_come_to_the_same(data: st.DataObject) -> None:
    last = data.draw(st.integers(0, len(VIEWS) - 1))
    others = data.draw(st.lists(st.sampled_from(VIEWS[: last + 1]), max_size=12))
    order = data.draw(st.permutations([*others, VIEWS[last]]))
    assert without_times(end_of(list(order))) == without_times(end_of([VIEWS[last]]))
    assert held(end_of(list(order))) == held(end_of([VIEWS[last]]))


some_steps = st.builds(ForeignStep, id=st.sampled_from("ab"), name=st.just("s"), state=st.sampled_from([COMING, ACTIVE]))
some_runs = st.builds(
    ForeignRun,
    uid=st.just("u"),
    namespace=st.just("n"),
    name=st.just("w"),
    version=st.builds(
        Version, closing=st.booleans(), resource=st.integers(-1, 3), latest=st.sampled_from(["", "2025"]), done=st.integers(0, 2)
    ),
    phase=st.sampled_from(["", "Running", "Succeeded", "Failed"]),
    deleted=st.booleans(),
    first_heard_at=st.floats(0, 9),
    heard_at=st.floats(0, 9),
    steps=st.lists(some_steps, max_size=2).map(tuple),
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(some_runs, some_runs, some_runs)
def test_joining_is_commutative_associative_and_idempotent(a: ForeignRun, b: ForeignRun, c: ForeignRun) -> None:
    join = foreignlife.joined
    assert join(a, b) == join(b, a)
    assert join(join(a, b), c) == join(a, join(b, c))
    assert join(join(a, b), b) == join(a, b)
    assert join(join(a, a), a) == join(a, a)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(VIEWS) - 1), st.integers(0, 20))
def test_what_has_a_pod_is_always_held_and_what_is_done_never(number: int, ahead: int) -> None:
    run = foreignlife.joined(VIEWS[number], VIEWS[number])
    found = foreignlife.wanted(run, ahead)
    told = {step.id.partition("/")[2].partition("+")[0] for step in found.coming}
    for step in run.steps:
        if step.state == DONE:
            assert step.id not in told
        else:
            assert step.id in told
        if step.state == ACTIVE and step.inputs:
            assert step.id in found.parts
    assert len(found.held) <= ahead + sum(1 for step in run.steps if step.state == ACTIVE)
    assert found.held <= {step.id for step in found.coming}


def test_versions_grow_with_the_history_with_and_without_kubernetes_numbers() -> None:
    assert all(one.version < other.version for one, other in pairwise(VIEWS))
    bare: list[Version] = []
    for event in HISTORY:
        body = msgspec.json.decode(msgspec.json.encode(event["body"]))
        del body["metadata"]["resourceVersion"], body["metadata"]["generation"]
        found = announcements.read(msgspec.json.encode({"type": event["type"], "body": body})).workflow
        bare.append(foreign.version_of(found, deleted=event["type"] == "DELETE"))
    assert bare == sorted(bare)
    assert bare[-2].closing


def test_a_workflow_that_is_retried_is_open_again_and_a_deleted_one_never() -> None:
    failed = ForeignRun(uid="u", namespace="n", name="w", version=Version(resource=5), phase="Failed")
    again = ForeignRun(uid="u", namespace="n", name="w", version=Version(resource=6), phase="Running")
    gone = ForeignRun(uid="u", namespace="n", name="w", version=Version(resource=5), phase="Failed", deleted=True)
    assert foreignlife.ending(foreignlife.joined(failed, again), 0.0, 10.0) == ""
    assert foreignlife.ending(foreignlife.joined(gone, again), 0.0, 10.0) == "Deleted"


def test_silence_ends_what_was_not_heard_of() -> None:
    run = ForeignRun(uid="u", namespace="n", name="w", phase="Running", heard_at=100.0)
    assert foreignlife.ending(run, 109.0, 10.0) == ""
    assert foreignlife.ending(run, 110.0, 10.0) == "Silent"
    assert foreignlife.ending(run, 1e9, 0.0) == ""


def test_what_is_held_stays_until_it_is_done() -> None:
    steps = tuple(ForeignStep(id=name, name=name, inputs=(FutureInput(ref=ref(name)),)) for name in "abc")
    run = ForeignRun(uid="u", namespace="n", name="w", steps=steps)
    assert set(foreignlife.wanted(run, 1).parts) == {"a"}
    assert set(foreignlife.wanted(run, 1, {"c": (steps[2].inputs,)}).parts) == {"a", "c"}


def test_what_becomes_known_later_is_held_beside_what_is_held_already() -> None:
    one, two = FutureInput(ref=ref("one")), FutureInput(ref=ref("two"))
    writer = ForeignStep(id="a", name="a", state=ACTIVE, outputs=(two.ref,))
    reader = ForeignStep(id="b", name="b", inputs=(one, two), after=("a",))
    run = ForeignRun(uid="u", namespace="n", name="w", steps=(writer, reader))
    first = foreignlife.wanted(run, 5)
    assert first.parts == {"b": ((one,),)}
    done = msgspec.structs.replace(run, steps=(msgspec.structs.replace(writer, state=DONE), reader))
    second = foreignlife.wanted(done, 5, first.parts)
    assert second.parts == {"b": ((one,), (two,))}
    assert first.held < second.held
    assert foreignlife.wanted(done, 5).parts == {"b": ((one, two),)}


def test_the_pipeline_of_these_tests_is_valid() -> None:
    found = announcements.read(msgspec.json.encode(history(PIPELINE)[0])).workflow
    validate(found, foreign.StoredTemplates({}, foreign.NO_OBJECTS))
    assert isinstance(found, argo.Workflow)
