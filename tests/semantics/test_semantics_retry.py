# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of `retryStrategy`.

1. Without a policy what Failed is repeated, with nothing but an expression what is in Error too; OnTransientError looks for known
   words in the message. `limit` counts the attempts after the first; none means for ever. Each way to give up has its message.
2. The wait is duration · factor^(n-1), at most `cap`; `maxDuration` counts from the start of the first attempt. First comes the wait,
   then policy, limit, expression: what the policy will not repeat still waits. Without a limit nothing waits.
3. The expression sees `lastRetry.{exitCode,status,duration,message}` and `retries`; the exit code is a text, -1 when there is none.
   In the template the first attempt sees 0, "", 0 and "".
4. The Retry node has the outputs of its last attempt. An attempt of steps or of a DAG runs everything below again. A strategy of
   the workflow is one for all templates.
5. A strategy among the `templateDefaults` or the workflow defaults puts steps and DAGs into Retry nodes too; so does a `timeout` that
   a steps template could not have itself pass there.
"""

import pytest
from semantics_kit import ERRED, FAILED, Ends, arguments, begun, end_of, output, phases, played, received, refused, shown_node

from jitflow.model.runs import ShutdownRequested, StartTimer

from machine_driver import Run  # isort: skip

pytestmark = pytest.mark.pure


def repeated(strategy: str, body: str = "container: {image: busybox}", **more: str) -> Run:
    """Return a run whose root is a template with a retry strategy; it has begun."""
    return begun(f"retryStrategy: {{{strategy}}}\n{body}", **more)


def waits(run: Run) -> list[float]:
    """Return how long the open backoffs last from now on."""
    return [effect.due - run.now for effect in run.effects.values() if isinstance(effect, StartTimer)]


@pytest.mark.parametrize(
    ("strategy", "end", "again"),
    [
        ("limit: 3", FAILED, True),
        ("limit: 3", ERRED, False),
        ("expression: 'true'", ERRED, True),
        ("expression: 'true'", FAILED, True),
        ("limit: 3, expression: 'true', retryPolicy: OnFailure", ERRED, False),
        ("limit: 3, retryPolicy: OnError", ERRED, True),
        ("limit: 3, retryPolicy: OnError", FAILED, False),
        ("limit: 3, retryPolicy: Always", ERRED, True),
        ("limit: 3, retryPolicy: OnTransientError", ERRED, False),
        ("limit: 3, retryPolicy: OnTransientError", {"exit_code": None, "error": "Get x: net/http: TLS handshake timeout"}, True),
        ("limit: 3, retryPolicy: OnTransientError", {"exit_code": None, "error": "read: connection reset by peer"}, True),
        ("limit: 3, retryPolicy: OnTransientError", {"exit_code": None, "error": "etcdserver: leader changed"}, True),
        ("{}", FAILED, True),
    ],
)
def test_retry_1_policies(strategy: str, end: dict[str, object], again: bool) -> None:
    """Retry 1: OnFailure by default, Always with nothing but an expression, OnTransientError by known words."""
    run = repeated(strategy.strip("{}"))
    run.end("wf(0)", **end)
    assert ("wf(1)" in run.names()) is again
    if not again:
        assert end_of(run) == (run.phase("wf(0)"), run.node("wf(0)").message)


@pytest.mark.parametrize("limit", ["2", "'2'", "'{{workflow.parameters.num}}'"])
def test_retry_1_limit(limit: str) -> None:
    """Retry 1: `limit` counts the attempts after the first, and may be a text or a parameter."""
    run = repeated(f"limit: {limit}", spec="arguments: {parameters: [{name: num, value: 2}]}")
    run.play(lambda node, launch: FAILED)
    assert [name for name in run.names() if "(" in name] == ["wf(0)", "wf(1)", "wf(2)"]
    assert end_of(run) == ("Failed", "No more retries left")


def test_retry_1_no_limit() -> None:
    """Retry 1: without a limit there is always another attempt."""
    run = repeated("retryPolicy: Always")
    for attempt in range(30):
        run.end(f"wf({attempt})", 1)
    assert run.phase("wf(30)") == "Pending"


@pytest.mark.parametrize("limit", ["0", "'0'"])
def test_retry_1_limit_of_none(limit: str) -> None:
    """Retry 1: a limit of 0 is one attempt, and the node is a Retry node all the same."""
    run = repeated(f"limit: {limit}")
    run.end("wf(0)", 1)
    assert (end_of(run), run.node("wf").type, "wf(1)" in run.names()) == (("Failed", "No more retries left"), "Retry", False)


@pytest.mark.parametrize(
    ("strategy", "lasts", "message"),
    [
        ("limit: 0", 0, "No more retries left"),
        ("limit: 5, expression: 'lastRetry.exitCode != \"1\"'", 0, "retryStrategy.expression evaluated to false"),
        ("limit: 5, backoff: {duration: '1', maxDuration: '10'}", 11, "Max duration limit exceeded"),
        ("limit: 5, backoff: {duration: 1m, maxDuration: '10'}", 1, "Backoff would exceed max duration limit"),
    ],
)
def test_retry_1_messages(strategy: str, lasts: int, message: str) -> None:
    """Retry 1: each way to give up has its message."""
    run = repeated(strategy)
    run.now += lasts
    run.end("wf(0)", 1)
    assert end_of(run) == ("Failed", message)


@pytest.mark.parametrize(
    ("duration", "message"), [("10", "Backoff for 10 seconds"), ("90s", "Backoff for 1 minute 30 seconds"), ("2m", "Backoff for 2 minutes"), ("1h5m", "Backoff for 1 hour 5 minutes")]
)  # fmt: skip
def test_retry_1_message_of_a_wait(duration: str, message: str) -> None:
    """Retry 1: a node that waits for its next attempt runs, and says for how long; then it says nothing."""
    run = repeated(f"limit: 1, backoff: {{duration: '{duration}'}}")
    run.end("wf(0)", 1)
    assert (run.phase("wf"), run.node("wf").message) == ("Running", message)
    run.fire_next()
    assert (run.phase("wf"), run.node("wf").message, run.phase("wf(1)")) == ("Running", "", "Pending")


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        ("duration: '5'", [5, 5, 5]),
        ("duration: 5s, factor: 2", [5, 10, 20]),
        ("duration: 5s, factor: '3'", [5, 15, 45]),
        ("duration: 5s, factor: 0", [5, 5, 5]),
        ("duration: 1m, factor: 2, cap: 90s", [60, 90, 90]),
        ("duration: 1s, factor: 10, maxDuration: 1m", [1, 10]),
    ],
)
def test_retry_2_waits(backoff: str, expected: list[float]) -> None:
    """Retry 2: duration times factor to the power of n-1, at most cap; a wait beyond maxDuration is none."""
    run = repeated(f"limit: 3, backoff: {{{backoff}}}")
    found: list[float] = []
    while run.live():
        run.end(run.live()[0].name, 1)
        found += waits(run)
        run.fire_next()
    assert found == expected


def test_retry_2_last_attempt_does_not_wait() -> None:
    """Retry 2: when no attempt is left, nothing waits for one."""
    run = repeated("limit: 1, backoff: {duration: 1h}")
    run.end("wf(0)", 1)
    run.fire_next()
    run.end("wf(1)", 1)
    assert end_of(run) == ("Failed", "No more retries left")


def test_retry_2_max_duration_from_the_first_attempt() -> None:
    """Retry 2: maxDuration counts from the start of the first attempt; later attempts are ended when it is over."""
    run = repeated("limit: 9, backoff: {duration: '10', maxDuration: '100'}")
    began = run.now
    assert run.launch("wf(0)").deadline_at is None
    run.now += 60
    run.end("wf(0)", 1)
    run.fire_next()
    assert run.launch("wf(1)").deadline_at == began + 100
    run.now += 25
    run.end("wf(1)", 1)
    assert end_of(run) == ("Failed", "Backoff would exceed max duration limit")


def test_retry_2_order() -> None:
    """Retry 2: what the policy will not repeat sits through the wait first."""
    run = repeated("limit: 3, retryPolicy: OnError, backoff: {duration: 1m}")
    run.end("wf(0)", 1)
    assert (run.phase("wf"), waits(run)) == ("Running", [60])
    run.fire_next()
    assert (end_of(run), run.names()) == (("Failed", "main: Error (exit code 1)"), ["wf", "wf(0)"])


def test_retry_2_no_wait_without_a_limit() -> None:
    """Retry 2: without a limit the next attempt begins at once."""
    run = repeated("backoff: {duration: 1h}")
    run.end("wf(0)", 1)
    assert (waits(run), run.phase("wf(1)")) == ([], "Pending")


@pytest.mark.parametrize("backoff", ["maxDuration: 1m", "duration: soon", "duration: '1', factor: two", "duration: '1', cap: x"])
def test_retry_2_unreadable(backoff: str) -> None:
    """Retry 2: a backoff without a duration, or one that cannot be read, is refused, as far as it is known at the submission."""
    assert "backoff" in refused(f"retryStrategy: {{limit: 3, backoff: {{{backoff}}}}}\ncontainer: {{image: busybox}}")


@pytest.mark.parametrize(
    "backoff", ["duration: '{{workflow.parameters.num}}'", "duration: '1', cap: '{{workflow.parameters.num}}'"]
)
def test_retry_2_unreadable_later(backoff: str) -> None:
    """Retry 2: a backoff that turns out to be unreadable while the workflow runs is an Error of the node."""
    run = repeated(f"limit: 3, backoff: {{{backoff}}}", spec="arguments: {parameters: [{name: num, value: soon}]}")
    run.end("wf(0)", 1)
    assert run.state.run.phase == "Error"


@pytest.mark.parametrize(
    ("expression", "end", "again"),
    [
        ("asInt(lastRetry.exitCode) > 1", {"exit_code": 2}, True),
        ("asInt(lastRetry.exitCode) > 1", {"exit_code": 1}, False),
        ('lastRetry.exitCode == "2"', {"exit_code": 2}, True),
        ("lastRetry.exitCode == 2", {"exit_code": 2}, False),
        ('lastRetry.exitCode == "-1"', ERRED, True),
        ('lastRetry.status == "Error"', ERRED, True),
        ('lastRetry.status == "Failed"', FAILED, True),
        ('lastRetry.message contains "exit code 3"', {"exit_code": 3}, True),
        ("asInt(lastRetry.duration) < 10", FAILED, True),
        ("asInt(retries) < 2", FAILED, True),
        ('lastRetry.message matches ".*lost.*" && lastRetry.status != "Failed"', ERRED, True),
        ("sprig.int(lastRetry.exitCode) in [7, 8]", {"exit_code": 8}, True),
    ],
)
def test_retry_3_expressions(expression: str, end: dict[str, object], again: bool) -> None:
    """Retry 3: exit code, status, duration and message of the last attempt; the exit code is a text, -1 if there is none."""
    run = repeated(f"limit: 4, retryPolicy: Always, expression: '{expression}'")
    run.end("wf(0)", **end)
    assert ("wf(1)" in run.names()) is again
    assert again or run.node("wf").message == "retryStrategy.expression evaluated to false"


def test_retry_3_expression_must_be_a_condition() -> None:
    """Retry 3: an expression whose value is no bool is an Error."""
    run = repeated("limit: 4, expression: lastRetry.exitCode")
    run.end("wf(0)", 1)
    assert (run.state.run.phase, run.names()) == ("Error", ["wf", "wf(0)"])


TOLD = """container: {image: busybox, args: ["{{retries}}", "{{lastRetry.exitCode}}", "{{lastRetry.status}}", "{{lastRetry.duration}}", "{{lastRetry.message}}"]}"""


def test_retry_3_in_the_template() -> None:
    """Retry 3: the first attempt sees 0 and nothing; the next what became of the last, 0 for an exit code that is not there."""
    run = repeated("limit: 4, retryPolicy: Always", TOLD)
    assert arguments(run, "wf(0)") == ["0", "0", "", "0", ""]
    run.now += 7
    run.end("wf(0)", 3)
    assert arguments(run, "wf(1)")[:3] == ["1", "3", "Failed"]
    assert arguments(run, "wf(1)")[4] == "main: Error (exit code 3)"
    run.end("wf(1)", **ERRED)
    assert arguments(run, "wf(2)")[:3] == ["2", "0", "Error"]


def test_retry_3_in_steps() -> None:
    """Retry 3: the steps of a repeated template may refer to the attempt."""
    inner = "steps: [[{name: a, template: echo, arguments: {parameters: [{name: m, value: 'try {{retries}} after {{lastRetry.status}}'}]}}]]"
    run = repeated("limit: 1", inner)
    assert received(run, "wf(0)[0].a") == "try 0 after "
    run.end("wf(0)[0].a", 1)
    assert received(run, "wf(1)[0].a") == "try 1 after Failed"


def test_retry_3_pod_name() -> None:
    """Retry 3: `pod.name` is that of the attempt, `node.name` that of the attempt's node."""
    run = repeated("limit: 1", 'container: {image: busybox, args: ["{{pod.name}}", "{{node.name}}"]}')
    assert arguments(run, "wf(0)") == [run.launch("wf(0)").pod_name, "wf(0)"]


GIVES = "\nscript: {image: busybox, source: x}\noutputs: {parameters: [{name: p, valueFrom: {path: /p}}]}"


def test_retry_4_outputs_of_the_last_attempt() -> None:
    """Retry 4: the Retry node's outputs are those of its last attempt, failed or not."""
    run = repeated("limit: 1", GIVES.strip("\n"))
    run.end("wf(0)", 1, parameters={"p": "first"})
    assert run.node("wf").outputs is None
    run.end("wf(1)", 2, parameters={"p": "second"})
    assert (run.phase("wf"), output(run, "wf")) == ("Failed", "second")
    outputs = shown_node(run, "wf").outputs
    assert outputs is not None
    assert outputs.exit_code == "2"


def test_retry_4_result_is_read_through_the_retry_node() -> None:
    """Retry 4: a later step reads the result of the attempt that succeeded."""
    body = "steps: [[{name: a, template: r}], [{name: b, template: echo, arguments: {parameters: [{name: m, value: '{{steps.a.outputs.result}} {{steps.a.status}}'}]}}]]"
    ends: Ends = {"wf[0].a(0)": FAILED, "wf[0].a(1)": {"result": "42"}}
    run = played(body, extra="- {name: r, retryStrategy: {limit: 2}, script: {image: busybox, source: x}}", ends=ends)
    assert (end_of(run)[0], received(run, "wf[1].b")) == ("Succeeded", "42 Succeeded")


@pytest.mark.parametrize(
    ("body", "first", "second"),
    [
        ("steps: [[{name: a, template: echo}], [{name: b, template: echo}]]", "wf({})[0].a", "wf({})[1].b"),
        ("dag: {tasks: [{name: a, template: echo}, {name: b, template: echo, depends: a}]}", "wf({}).a", "wf({}).b"),
    ],
)
def test_retry_4_everything_below_again(body: str, first: str, second: str) -> None:
    """Retry 4: an attempt of steps or of a DAG runs all below it again, under its own name."""
    run = begun(f"retryStrategy: {{limit: 1}}\n{body}")
    run.end(first.format(0))
    run.end(second.format(0), 1)
    assert phases(run)["wf(0)"] == "Failed"
    run.end(first.format(1))
    run.end(second.format(1))
    assert end_of(run) == ("Succeeded", "")
    assert [shown_node(run, name).type for name in ("wf", "wf(0)", "wf(1)")] == [
        "Retry",
        *["Steps" if "steps" in body else "DAG"] * 2,
    ]


def test_retry_4_of_the_workflow() -> None:
    """Retry 4: a strategy of the workflow is one for each template that has none, steps included."""
    extra = "- {name: own, retryStrategy: {limit: 0}, container: {image: busybox}}"
    body = "steps: [[{name: a, template: echo}, {name: b, template: own}]]"
    run = begun(body, extra=extra, spec="retryStrategy: {limit: 1}")
    assert run.names() == ["wf", "wf(0)", "wf(0)[0]", "wf(0)[0].a", "wf(0)[0].a(0)", "wf(0)[0].b", "wf(0)[0].b(0)"]
    run.end("wf(0)[0].b(0)", 1)
    assert run.phase("wf(0)[0].b") == "Failed"
    run.end("wf(0)[0].a(0)", 1)
    assert run.phase("wf(0)[0].a(1)") == "Pending"


@pytest.mark.parametrize("kind", ["steps: [[{name: a, template: echo}]]", "dag: {tasks: [{name: a, template: echo}]}"])
def test_retry_5_template_defaults(kind: str) -> None:
    """Retry 5: a strategy among the template defaults puts steps and DAGs into Retry nodes too."""
    run = played(kind, spec="templateDefaults: {retryStrategy: {limit: 2}}")
    assert (run.node("wf").type, run.node("wf(0)").type) == ("Retry", "Steps" if "steps" in kind else "DAG")
    assert end_of(run) == ("Succeeded", "")


def test_retry_5_timeout_by_defaults() -> None:
    """Retry 5: a timeout among the template defaults is taken, though steps may have none of their own."""
    run = begun("steps: [[{name: a, template: echo}]]", spec="templateDefaults: {timeout: 30s}")
    assert run.launch("wf[0].a").deadline_at == run.now + 30


def test_retry_5_stop_ends_it() -> None:
    """Retry 5: after a stop there is no other attempt, and the Retry node says so."""
    run = repeated("limit: 5, retryPolicy: Always")
    run.send(ShutdownRequested(strategy="Stop"))
    run.end("wf(0)", 143, terminated=True)
    assert run.names() == ["wf", "wf(0)"]
    assert (run.node("wf").message, end_of(run)) == ("Stopped with strategy 'Stop'", ("Failed", "Stopped with strategy 'Stop'"))
