"""Why a node does not run yet, as far as the workflow itself knows: for people, at the cost of a walk over the nodes."""

from collections.abc import Iterable, Sequence

from jitflow.machine import locks, names, phases
from jitflow.machine import node as types
from jitflow.machine.forecast import ForecastStep, forecast
from jitflow.machine.node import Node
from jitflow.machine.state import NO_CHILDREN, NO_FRAME, NO_QUEUE, State
from jitflow.machine.titles import title
from jitflow.model.objects import NO_OBJECTS, Objects
from jitflow.model.problems import Problem, Refused
from jitflow.model.reasons import NodeReason, Obstacle

_NAMED = 5
_NO_PODS = (types.PROGRESSING - {types.POD}) | {types.RETRY}


def why(state: State, wanted: str, *, now: float, objects: Objects = NO_OBJECTS) -> NodeReason:
    """Return a node, named by its id, its name or its display name, with what stands in its way.

    One that is not there yet is looked for among the steps to come; a part of the way to one is enough for a task of several.

    Raises:
        Refused: there is no such node (`not_found`), or several have this name.
    """
    node = _found(state, wanted)
    if node is not None:
        return _reason(state, node, _obstacles(state, node, now))
    coming = forecast(state, objects=objects)
    step = _to_come(state, coming, wanted)
    if step is None:
        message = f'workflow "{state.program.name}" has no node "{wanted}", and none of that name is known to come'
        raise Refused(Problem(message=message, remedy="jitflow get shows the names of its nodes", code="not_found"))
    return _future(state, step, {one.node_id: one.name for one in coming})


# -- which node ----------------------------------------------------------------------------------------------------------


def _found(state: State, wanted: str) -> Node | None:
    exact = state.nodes.get(wanted) or next((node for node in state.nodes.values() if node.name == wanted), None)
    if exact is not None:
        return exact
    found = [node for node in state.nodes.values() if node.display_name == wanted or title(state.program, node) == wanted]
    live = [node for node in found if not node.is_fulfilled]
    found = live or found
    if len(found) > 1:
        listed = _listed(node.name for node in found)
        raise Refused(Problem(message=f'{len(found)} nodes are called "{wanted}": {listed}', remedy="give a full name or an id"))
    return found[0] if found else None


def _to_come(state: State, coming: Sequence[ForecastStep], wanted: str) -> ForecastStep | None:
    """Return the step of that id or name, else the first below or of a task of that name."""
    fresh = [step for step in coming if step.node_id not in state.nodes]
    for step in fresh:
        if wanted in {step.node_id, step.name}:
            return step
    ends = (f".{wanted}", f".{wanted}(", f".{wanted}[", f".{wanted}.")
    for step in fresh:
        if step.name.endswith(ends[0]) or any(end in step.name for end in ends[1:]) or step.name.startswith(f"{wanted}."):
            return step
    return None


# -- what stands in the way ----------------------------------------------------------------------------------------------


def _reason(state: State, node: Node, obstacles: tuple[Obstacle, ...]) -> NodeReason:
    return NodeReason(
        node_id=node.id,
        name=node.name,
        display_name=title(state.program, node),
        phase=node.phase or phases.PENDING,
        type=node.type,
        template=node.template,
        message=node.message,
        started_at=node.started_at,
        finished_at=node.finished_at,
        is_pod=node.type == types.POD,
        obstacles=obstacles,
    )


def _obstacles(state: State, node: Node, now: float) -> tuple[Obstacle, ...]:
    """Return what holds a node back that is there: nothing if it works or has ended."""
    if node.saving:
        return (Obstacle(kind="saving", message="its outputs are being sent to their far store"),)
    if node.is_fulfilled:
        return (Obstacle(kind="hooks", message="its hooks run still"),) if node.hooking else ()
    if node.held:
        return (Obstacle(kind="saving", message="outputs of the workflow are being sent to their far store"),)
    if node.locking == locks.WANTED:
        wanted = ", ".join(node.locks)
        return (Obstacle(kind="lock", message=f"waits for {wanted}" + (f" ({node.message})" if node.message else "")),)
    if node.is_waiting:
        return (_limit(state, node),)
    if node.type == types.SUSPEND:
        until = f"for {node.due - now:.0f} s more, or " if node.due is not None else ""
        return (Obstacle(kind="suspended", message=f"is suspended {until}until jitflow resume {state.program.name}"),)
    if node.due is not None and node.type == types.RETRY:
        return (
            Obstacle(kind="backoff", message=f"its last attempt failed; the next begins in {max(0.0, node.due - now):.0f} s"),
        )
    return _below(state, node)


def _limit(state: State, node: Node) -> Obstacle:
    """Return what a node queues for."""
    if not node.limiter and state.run.suspended:
        return _suspended(state)
    queue = state.queues.get(node.limiter, NO_QUEUE)
    before = 0
    for place in sorted(queue.items):
        if queue.items[place][0] == node.id:
            break
        before += 1
    if node.limiter:
        boundary = state.nodes[node.limiter]
        limit = state.program.template(boundary.template).parallelism
        runs = state.frames.get(boundary.id, NO_FRAME).active
        where = f"parallelism {limit} of template {boundary.template}"
    else:
        limit, runs = state.program.spec.parallelism, state.counts.active_pods
        where = f"parallelism {limit} of the workflow"
    return Obstacle(kind="parallelism", message=f"waits for {where}: {runs} run, {before} wait before it")


def _suspended(state: State) -> Obstacle:
    return Obstacle(kind="suspended", message=f"the workflow is suspended; jitflow resume {state.program.name} lets it go on")


def _below(state: State, node: Node) -> tuple[Obstacle, ...]:
    """Return which children a composite node waits for."""
    children = state.children.get(node.id, NO_CHILDREN)
    ids = [children[key] for key in sorted(children)]
    waiting = [state.nodes[one].name for one in ids if not state.nodes[one].is_fulfilled]
    if not waiting:
        return ()
    return (Obstacle(kind="steps", message=f"works: {_listed(waiting)} {_have(waiting)} not ended", nodes=tuple(waiting)),)


def _future(state: State, step: ForecastStep, known: dict[str, str]) -> NodeReason:
    return NodeReason(
        node_id=step.node_id,
        name=step.name,
        display_name=names.display_name(step.name, step.name.rpartition(".")[0]),
        template=step.template,
        type=types.POD,
        is_pod=True,
        obstacles=tuple(_before(state, step, known)),
    )


def _before(state: State, step: ForecastStep, known: dict[str, str]) -> Iterable[Obstacle]:
    """Yield what must be before a step that is to come."""
    run = state.run
    if run.postponed:
        yield Obstacle(kind="postponed", message=run.message or "too many workflows run already")
    elif run.locking == locks.WANTED:
        yield Obstacle(kind="lock", message=f"the workflow waits for {', '.join(run.locks)}")
    if run.suspended:
        yield _suspended(state)
    open_ones = [one for one in step.after if one not in state.nodes or not state.nodes[one].is_complete]
    if open_ones:
        waiting = tuple(state.nodes[one].name if one in state.nodes else known.get(one, one) for one in open_ones)
        yield Obstacle(kind="parents", message=f"waits for {_listed(waiting)}, which {_have(waiting)} not ended", nodes=waiting)
    others = [] if open_ones else _other_work(state, step)
    if others:
        text = f"waits for {_listed(node.name for node in others)}, which {_have(others)} not ended"
        yield Obstacle(kind="parents", message=text, nodes=tuple(node.name for node in others))
    elif not step.certain:
        yield Obstacle(kind="condition", message="may not run at all: what decides that is not known yet")


def _other_work(state: State, step: ForecastStep) -> list[Node]:
    """Return what works around a step and is no pod: steps are foreseen as following pods alone."""
    around = {node.id for node in state.nodes.values() if step.name.startswith((f"{node.name}.", f"{node.name}["))}
    live = (node for node in state.nodes.values() if node.type in _NO_PODS and not node.is_fulfilled)
    return sorted((node for node in live if node.boundary in around), key=lambda node: node.name)


def _have(found: Sequence[object]) -> str:
    return "has" if len(found) == 1 else "have"


def _listed(found: Iterable[str]) -> str:
    """Return some names and how many more there are."""
    everything = list(found)
    more = len(everything) - _NAMED
    return ", ".join(everything[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
