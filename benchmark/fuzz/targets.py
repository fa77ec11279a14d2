"""What is fuzzed: each target takes bytes, and fails when people would see a traceback, wait, or be told no place."""

import json
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import yaml

from benchmark.fuzz import texts
from benchmark.fuzz.choices import Choices
from benchmark.fuzz.manifests import manifest
from jitflow import machine, spec
from jitflow.expr import depends, durations, environment, queries, regex, tags, when
from jitflow.expr.depends import DependsError
from jitflow.expr.durations import DurationError, QuantityError
from jitflow.expr.lang import LangError, compile_expression, printed
from jitflow.expr.regex import RegexError
from jitflow.model import argo
from jitflow.model.pods import PodEnd
from jitflow.model.problems import Refused
from jitflow.model.runs import KillPod, LaunchPod, PodEnded, PodStarted, StartTimer, TimerFired, WorkflowStarted

PATIENCE_S = 5.0
"""An input that takes longer hangs the service for others."""

MAX_EVENTS = 60
MAX_RESULT = 10_000_000
"""Characters that the value of an expression may have."""


class Fault(AssertionError):
    """Something that must not happen to people."""


def texts_of_manifests(data: bytes) -> None:
    """Read any text as a manifest."""
    _refusing(lambda: _validate(spec.load(data.decode("utf-8", "replace"), "input")))


def trees(data: bytes) -> None:
    """Read, validate and, if it is valid, play a manifest that is almost one."""
    choices = Choices(data)
    tree = manifest(choices)
    if choices.below(2):
        document = _refusing(lambda: spec.from_json(tree, kind="Workflow"))
    else:
        text = yaml.safe_dump(tree, allow_unicode=True)
        document = _refusing(lambda: spec.load_one(text, "input"))
    if document is None or _refusing(lambda: _validate((document,)) or True) is None:
        return
    if isinstance(document.manifest, argo.Workflow):
        _play(document.manifest, choices)


def languages(data: bytes) -> None:
    """Read texts of the small languages."""
    choices = Choices(data)
    _timed(lambda: tags.substitute(texts.snippet(choices), lambda name: name[::-1] if choices.below(2) else None))
    for read, errors in (
        (when.evaluate, (when.WhenError,)),
        (depends.parse, (DependsError,)),
        (durations.parse_duration, (DurationError,)),
        (durations.parse_quantity, (QuantityError,)),
        (regex.compile_regex, (RegexError,)),
    ):
        _timed(lambda read=read, errors=errors: _quiet(lambda: read(texts.condition(choices)), errors))


ENV: dict[str, Any] = {
    "x": 1, "s": "text", "m": {"a": {"b": 1}, "q": None}, "l": [1, 2.5, "x"], "inputs": {"parameters": {"m": "1"}},
    "workflow": {"name": "wf", "status": "Running"}, "item": {"k": [1]},
}  # fmt: skip


def expressions(data: bytes) -> None:
    """Read and evaluate an expression."""
    choices = Choices(data)
    text = texts.expression(choices) if choices.below(4) else choices.text(60)

    def run() -> None:
        try:
            value = compile_expression(text).evaluate({**environment.at(0.0), **ENV})
        except LangError as error:
            if not error.message or error.line < 1 or error.column < 1:
                raise Fault(f"an error without a place: {error!r}") from error
            return
        if len(printed(value)) > MAX_RESULT:
            raise Fault("the value is too large")

    _timed(run)


def paths(data: bytes) -> None:
    """Ask a document by JSONPath, kubectl's template and gjson; read templates and jq filters, which run elsewhere."""
    choices = Choices(data)
    document = {"a": [{"b": 1, "c": "x"}, {"b": 2}], "length": 3, "d.e": None}
    for ask in (queries.jsonpath, queries.template, queries.gjson):
        _timed(lambda ask=ask: _quiet(lambda: ask(texts.path(choices), document), (queries.QueryError,)))
    for check in (queries.check_template, queries.check_jq):
        _timed(lambda check=check: _quiet(lambda: check(texts.path(choices)), (queries.QueryError,)))


def _quiet(act: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
    try:
        act()
    except errors as error:
        if not str(error):
            raise Fault("an error without a message") from error


def _validate(documents: tuple[spec.Document, ...]) -> None:
    for document in documents:
        spec.validate_document(document)


def _refusing(act: Callable[[], Any]) -> Any:
    """Return what an act gives; None if it refuses, as it may: saying what is wrong, and where."""
    try:
        return _timed(act)
    except Refused as error:
        for problem in error.problems:
            if not problem.message or problem.place is None or not str(problem.place):
                raise Fault(f"a problem without a place: {problem!r}") from error
    return None


def _timed(act: Callable[[], Any]) -> Any:
    began = time.thread_time()  # what the machine does besides is not to be counted
    try:
        return act()
    finally:
        taken = time.thread_time() - began
        if taken > PATIENCE_S:
            raise Fault(f"it took {taken:.1f} s")


def _play(workflow: argo.Workflow, choices: Choices) -> None:
    """Let a workflow live for a while; its pods end as chosen."""
    metadata = workflow.metadata or argo.ObjectMeta()
    named = argo.ObjectMeta(name="wf", namespace="ns", uid="u", labels=metadata.labels, annotations=metadata.annotations)
    workflow = argo.Workflow(metadata=named, spec=workflow.spec)
    now = 1_700_000_000.0
    state = machine.new_state(workflow, now=now)
    decision = _timed(lambda: machine.decide(state, WorkflowStarted(), now))
    todo = list(islice(decision.effects, 200))
    for _ in range(MAX_EVENTS):
        if not todo:
            break
        effect = todo.pop(choices.below(len(todo)))
        now += 1.0
        match effect:
            case LaunchPod():
                decision = machine.decide(decision.state, PodStarted(node_id=effect.node_id), now)
                event: Any = PodEnded(node_id=effect.node_id, end=_end(effect, now, choices))
            case KillPod():
                event = PodEnded(node_id=effect.node_id, end=PodEnd(key="k", exit_code=143, started_at=now, finished_at=now))
            case StartTimer():
                event = TimerFired(key=effect.key)
            case _:
                continue
        before = decision.state
        decision = _timed(lambda before=before, event=event, at=now: machine.decide(before, event, at))
        todo += islice(decision.effects, 200)
    _timed(lambda: machine.forecast(decision.state, limit=1000))
    _timed(lambda: json.dumps(_plain(machine.workflow_document(decision.state, now))))
    nodes = [machine.encode_node(node) for node in decision.state.nodes.values()]
    machine.restore(machine.encode_header(decision.state), nodes)


def _plain(value: Any) -> Any:
    import msgspec  # noqa: PLC0415 - one use

    return msgspec.to_builtins(value)


def _end(effect: LaunchPod, now: float, choices: Choices) -> PodEnd:
    outputs = effect.template.outputs or argo.Outputs()
    given = {p.name: choices.one_of(("", "1", "[1, 2]", '{"a": 1}', "{{item}}", choices.text())) for p in outputs.parameters}
    code = choices.one_of((0, 0, 0, 1, 137, None))
    result = choices.one_of((None, "", "[1]", "x", choices.text()))
    return PodEnd(key="k", exit_code=code, started_at=now, finished_at=now, result=result, parameters=given)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "texts": texts_of_manifests,
    "trees": trees,
    "languages": languages,
    "expressions": expressions,
    "paths": paths,
}
