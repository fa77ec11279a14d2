"""Retry nodes: attempts of a template one after the other."""

from datetime import UTC, datetime

from jitflow.expr import durations
from jitflow.machine import metering, phases
from jitflow.machine import node as types
from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.expressions import truth
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.times import spoken
from jitflow.machine.turn import Turn
from jitflow.machine.values import last_values
from jitflow.model import argo
from jitflow.model.runs import StartTimer

TRANSIENT = (
    "exceeded quota", "connection refused", "connection reset", "connection timed out", "i/o timeout", "TLS handshake timeout",
    "net/http: request canceled", "too many requests", "service unavailable", "unexpected EOF", "no route to host",
    "Connection closed by foreign host", "http2: client connection lost", "http2: server sent GOAWAY", "invalid connection",
    "etcdserver: leader changed", "etcdserver: request timed out", "resource quota evaluation timed out",
)  # fmt: skip
"""Texts in a message that tell a failure that may pass by itself."""

MAX_WAIT_S = 365 * 86400.0


def wrap(turn: Turn, node: Node, template: CompiledTemplate) -> bool:
    """Start a Retry node if the template has a retry strategy."""
    if template.retry is None:
        return False
    _strategy(turn, node, template)
    turn.open_later(turn.add(changed(node, type=types.RETRY, phase=phases.RUNNING, started_at=turn.now)))
    return True


def _strategy(turn: Turn, node: Node, template: CompiledTemplate) -> argo.RetryStrategy:
    if template.retry is None:
        return argo.RetryStrategy()
    return template.retry.render(Scope(turn.values, inputs=node.inputs))


def timer_key(node_id: str) -> str:
    """Return the key of the timer that ends a backoff."""
    return f"backoff/{node_id}"


class Retries:
    """Retry nodes."""

    def open(self, turn: Turn, node: Node) -> None:
        """Start the first attempt, or the next one if the backoff is over."""
        if not turn.frame(node.id).open:
            _attempt(turn, node, _count(turn, node))

    def child_ended(self, turn: Turn, node: Node, child: Node) -> None:
        """End with the attempt, or try again, now or later. With a daemon that is ready, this node is one too."""
        if child.is_daemon:
            turn.ready(node, child.ip)
            return
        if not child.is_unsuccessful:
            turn.finish(node, child.phase, child.message if child.phase != phases.SUCCEEDED else "", child.outputs)
            return
        if turn.halted(exit_handler=node.exit_handler):
            turn.finish(node, child.phase, _halted(turn), child.outputs)
            return
        try:
            self._again(turn, node, child)
        except Problem as problem:
            turn.finish(node, phases.ERROR, str(problem), child.outputs)

    def _again(self, turn: Turn, node: Node, child: Node) -> None:
        strategy = _strategy(turn, node, turn.template_of(node))
        wait, refusal = _backoff(turn, node, strategy, child.index + 1)
        if refusal:
            turn.finish(node, child.phase, refusal, child.outputs)
        elif wait > 0 and strategy.limit is not None and child.index + 1 <= _integer(strategy.limit, "limit"):
            due = turn.now + wait
            turn.put(changed(node, due=due, message=f"Backoff for {spoken(wait)}"))
            turn.emit(StartTimer(key=timer_key(node.id), due=due))
        else:
            self._judge(turn, node, strategy, child)

    def _judge(self, turn: Turn, node: Node, strategy: argo.RetryStrategy, child: Node) -> None:
        if not _policy_allows(strategy, child):
            turn.finish(node, child.phase, child.message, child.outputs)
        elif strategy.limit is not None and child.index + 1 > _integer(strategy.limit, "limit"):
            turn.finish(node, child.phase, "No more retries left", child.outputs)
        elif strategy.expression and not truth(strategy.expression, _last_scope(turn, node, child)):
            turn.finish(node, child.phase, "retryStrategy.expression evaluated to false", child.outputs)
        else:
            metering.tell(turn, child)
            _attempt(turn, turn.put(changed(node, message="")), child.index + 1)

    def backoff_over(self, turn: Turn, node: Node) -> None:
        """The wait is over: try again if policy and limit allow."""
        node = turn.put(changed(node, due=None))
        child = turn.child(node.id, (node.task, _count(turn, node) - 1))
        if child is None:
            return
        try:
            self._judge(turn, node, _strategy(turn, node, turn.template_of(node)), child)
        except Problem as problem:
            turn.finish(node, phases.ERROR, str(problem), child.outputs)

    def give_up(self, turn: Turn, node: Node, message: str) -> None:
        """End a backoff for good."""
        turn.close(timer_key(node.id))
        turn.finish(changed(node, due=None), phases.FAILED, message)

    def settle(self, turn: Turn, node: Node) -> None:
        """End if the attempt that should follow was not started."""
        if node.killed and not node.is_fulfilled and not turn.frame(node.id).open:
            turn.finish(node, phases.FAILED, node.killed)

    def child_failed_late(self, turn: Turn, node: Node, child: Node) -> None:
        """Attempts end their Retry node at once: there is none to be told late."""


def _halted(turn: Turn) -> str:
    """Return why an attempt that a stop or the workflow's deadline has ended is not followed by another."""
    if turn.run.shutdown:
        return f"Stopped with strategy '{turn.run.shutdown}'"
    began = turn.run.started_at if turn.run.started_at is not None else turn.now
    ended = datetime.fromtimestamp(int(began) + (turn.program.spec.active_deadline_seconds or 0), UTC)
    return f"retry exceeded workflow deadline {ended:%Y-%m-%d %H:%M:%S} +0000 UTC"


def _last_scope(turn: Turn, node: Node, child: Node) -> Scope:
    return Scope(turn.values, inputs=node.inputs, local=last_values(child, child.index, no_code="-1"))


def last_moment(turn: Turn, attempt: Node) -> float | None:
    """Return when an attempt must have ended: the first may take as long as it wants, the others share `maxDuration`."""
    node = turn.nodes[attempt.owner] if attempt.retried and attempt.index > 0 else None
    template = turn.template_of(node) if node is not None else None
    if node is None or template is None or template.retry is None or node.started_at is None:
        return None
    backoff = _strategy(turn, node, template).backoff
    return node.started_at + _seconds(backoff.max_duration) if backoff is not None and backoff.max_duration else None


def _count(turn: Turn, node: Node) -> int:
    count = 0
    while turn.child(node.id, (node.task, count)) is not None:
        count += 1
    return count


def _attempt(turn: Turn, node: Node, number: int) -> None:
    name = f"{node.name}({number})"
    turn.start(
        changed(
            node,
            id=turn.new_id(name),
            name=name,
            display_name=f"{node.display_name}({number})",
            type="",
            phase=phases.WAITING,
            message="",
            owner=node.id,
            index=number,
            started_at=None,
            inputs=None,
            due=None,
            locking="",
            locks=(),
            memo=None,
            retried=True,
            daemoned=False,
            ip="",
            depth=node.depth + 1,
        )
    )


def _policy_allows(strategy: argo.RetryStrategy, child: Node) -> bool:
    policy = strategy.retry_policy or ("Always" if strategy.expression else "OnFailure")
    match policy:
        case "Always":
            return True
        case "OnFailure":
            return child.phase == phases.FAILED
        case "OnError":
            return child.phase == phases.ERROR
        case "OnTransientError":
            return any(text in child.message for text in TRANSIENT)
        case _:
            raise Problem(f"{policy} is not a valid RetryPolicy")


def _backoff(turn: Turn, node: Node, strategy: argo.RetryStrategy, failures: int) -> tuple[float, str]:
    """Return how long to wait before the next attempt, or why there is none."""
    backoff = strategy.backoff
    if backoff is None:
        return 0.0, ""
    if not backoff.duration:
        raise Problem("no base duration specified for retryStrategy")
    wait = _seconds(backoff.duration)
    if backoff.factor is not None:
        factor = max(1, _integer(backoff.factor, "factor"))
        wait = min(wait * float(factor) ** min(failures - 1, 64), MAX_WAIT_S)
    if backoff.cap:
        wait = min(wait, _seconds(backoff.cap))
    if backoff.max_duration:
        began = node.started_at if node.started_at is not None else turn.now
        end = began + _seconds(backoff.max_duration)
        if turn.now > end:
            return 0.0, "Max duration limit exceeded"
        if turn.now + wait > end:
            return 0.0, "Backoff would exceed max duration limit"
    return wait, ""


def _seconds(text: str) -> float:
    try:
        return durations.parse_duration(text)
    except durations.DurationError as error:
        raise Problem(str(error)) from error


def _integer(value: int | str, field: str) -> int:
    try:
        return int(value)
    except ValueError as error:
        raise Problem(f"retryStrategy.{field}: '{value}' is no whole number") from error
