"""One decision under way: how nodes start, wait, end and tell those above them, whatever their kind."""

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import msgspec

from jitflow.machine import locks, memo, names, phases
from jitflow.machine import node as types
from jitflow.machine import templates as keys
from jitflow.machine.arguments import inputs_of
from jitflow.machine.compiled import CompiledTemplate, Task
from jitflow.machine.graph import counts_as_bad
from jitflow.machine.ledger import Ledger
from jitflow.machine.node import Node, changed
from jitflow.machine.problems import Problem, Unresolved
from jitflow.machine.scope import Scope
from jitflow.machine.state import COMPOSITES, NO_CHILDREN, NO_FRAME, NO_QUEUE, Queue, State
from jitflow.machine.values import LiveTasks, WorkflowValues, own_values
from jitflow.model import argo
from jitflow.model.objects import Objects
from jitflow.model.runs import Lock, SaveMemo, TakeLocks

MAX_DEPTH = 100
TOO_DEEP = (
    "Maximum recursion depth exceeded. See https://argo-workflows.readthedocs.io/en/latest/scaling/#maximum-recursion-depth"
)
BROKEN_ENTRY = "error in entry template execution: "
FAIL_FAST = "template has failed or errored children and failFast enabled"
DEADLINE = "Step exceeded its deadline"
EXIT_ERROR = "error in exit template execution : "

_replace = msgspec.structs.replace


class Kind(Protocol):
    """How templates of one kind run."""

    node_type: str

    def start(self, turn: "Turn", node: Node, template: CompiledTemplate) -> None:
        """Begin: `node` has its inputs and is not in the turn yet; the kind adds it."""
        ...


class Composite(Protocol):
    """How nodes that own others go on."""

    def open(self, turn: "Turn", node: Node) -> None:
        """Start the children that are not there yet."""
        ...

    def child_ended(self, turn: "Turn", node: Node, child: Node) -> None:
        """Take note of a child's end."""
        ...

    def settle(self, turn: "Turn", node: Node) -> None:
        """End the node if nothing is left to wait for."""
        ...

    def child_failed_late(self, turn: "Turn", node: Node, child: Node) -> None:
        """Take note of a child that had succeeded and fails after all, for its outputs cannot be saved."""
        ...


class Rules(Protocol):
    """What the turn must know of the kinds of templates and nodes, and of the workflow as a whole."""

    kinds: Mapping[str, Kind]
    composites: Mapping[str, Composite]

    def wrap(self, turn: "Turn", node: Node, template: CompiledTemplate) -> bool:
        """Start a node that is repeated on failure; False when the template says nothing of that."""
        ...

    def begin(self, turn: "Turn") -> None:
        """Start the workflow's root."""
        ...

    def hold_back(self, turn: "Turn", node: Node) -> bool:
        """Start the hooks of a node that has ended; whether its owner is not to be told, now or at all."""
        ...

    def look(self, turn: "Turn", node: Node) -> None:
        """Start the hooks of a node whose phase has changed."""
        ...

    def begun(self, turn: "Turn", node: Node, template: CompiledTemplate) -> None:
        """Tell the metrics of a node that runs from now on."""
        ...

    def ended(self, turn: "Turn", node: Node) -> None:
        """Tell the metrics of a node that has ended."""
        ...

    def end_daemons(self, turn: "Turn", boundary: Node) -> None:
        """End the daemons of a boundary that ends."""
        ...

    def top_ended(self, turn: "Turn") -> None:
        """Go on after the root or the exit handler has ended, or an output was saved."""
        ...


class Turn(Ledger):
    """The working copy and the rules that all kinds of nodes share."""

    def __init__(self, state: State, now: float, rules: Rules, objects: Objects) -> None:
        """Open the state for change."""
        super().__init__(state, now)
        self.rules = rules
        self.objects = objects
        self.values = WorkflowValues(self)
        self.memos: dict[str, tuple[str, str, bool]] = {}
        self._kept: dict[tuple[str, str], str] = {}
        """Entries of caches that this turn has asked to save."""
        self._jobs: deque[tuple[str, str]] = deque()
        self._freed: dict[str, None] = {}

    def release(self) -> None:
        """Let go of what refers back to the turn: freed at once, it never waits for the cyclic garbage collector."""
        del self.values

    def task_scope(self, boundary: Node, item: str = "", own: Node | None = None) -> Scope:
        """Return what the tasks of a boundary may refer to; `own`: the node that its task's name stands for."""
        template = self.template_of(boundary)
        local = own_values(self, boundary, template) if template.names_itself else None
        return Scope(self.values, inputs=boundary.inputs, tasks=LiveTasks(self, boundary, own), item=item, local=local)

    def halted(self, *, exit_handler: bool) -> str:
        """Return why nothing new may start, empty when it may."""
        if self.run.shutdown and (not exit_handler or self.run.shutdown == "Terminate"):
            return self.run.shutdown_message or f"Stopped with strategy '{self.run.shutdown}'"
        return DEADLINE if self.run.expired and not exit_handler else ""

    def ending(self) -> str:
        """Return what is said of a pod that ends because nothing may run any more."""
        return f"workflow shutdown with strategy:  {self.run.shutdown}" if self.run.shutdown else DEADLINE

    def refuses(self, boundary: Node) -> bool:
        """Return whether a boundary whose template has `failFast` starts nothing new, for a child has failed."""
        return self.frame(boundary.id).failed > 0 and self.template_of(boundary).fail_fast

    def refusal(self, node: Node) -> str:
        """Return why a node's like may not start any more, empty when it may."""
        reason = self.halted(exit_handler=node.exit_handler)
        if not reason and node.boundary and self.refuses(self.nodes[node.boundary]):
            return FAIL_FAST
        return reason

    # -- elementary changes -------------------------------------------------------------------------------------------

    def add(self, node: Node) -> Node:
        """Add a new node below its owner, or put one that has waited in its place."""
        old = self.nodes.get(node.id)
        if old is None and node.owner:
            self.below[node.owner] = self.below.get(node.owner, NO_CHILDREN).set(node.key, node.id)
        if old is None and node.owner and not node.is_hook:
            frame = self.frame(node.owner)
            self.frames[node.owner] = _replace(frame, open=frame.open + 1, left=max(0, frame.left - 1))
        if node.phase != phases.WAITING:
            self._count_start(node)
        return self.put(node)

    def _count_start(self, node: Node) -> None:
        if node.type in types.EXECUTABLE:
            self.active_pods += 1
        if node.type in COMPOSITES:
            self.frames[node.id] = NO_FRAME
        if node.takes_slot:
            frame = self.frame(node.boundary)
            self.frames[node.boundary] = _replace(frame, active=frame.active + 1)

    def finish(self, node: Node, phase: str, message: str = "", outputs: argo.Outputs | None = None) -> None:
        """End a node: Argo's phase and message, its outputs, and everybody who waits for it is told.

        A root whose pods' outputs are not all saved yet is held: it ends when they are.
        """
        phases.check(node.id, node.phase, phase)
        if node.type in {types.STEPS, types.DAG}:
            self.rules.end_daemons(self, node)
        outputs = outputs if outputs is not None else node.outputs
        if outputs is not None:
            self.export(outputs)
        if node.id == self.program.name and self.saving and phase in phases.COMPLETED:
            self.put(changed(node, phase=phases.RUNNING, held=phase, message=message, outputs=outputs))
            return
        ended = changed(
            node,
            phase=phase,
            message=message,
            outputs=outputs,
            held="",
            due=None,
            timeout=None,
            started_at=node.started_at if node.started_at is not None else self.now,
            finished_at=self.now,
        )
        self.put(ended)
        if ended.locking:
            self.close(locks.key_of(ended.id))
        if ended.memo is not None and not ended.memo[2] and phase == phases.SUCCEEDED:
            self._save_memo(ended, memo.entry_text(ended.id, outputs, self.now))
        self.rules.ended(self, ended)
        self._count_end(ended)
        if ended.is_unsuccessful:
            self.note(f"WorkflowNode{phase}", f"{phase} node {node.name}: {message}", kind="Warning", node_id=node.id)
        self._jobs.append(("ended", node.id))

    def _count_end(self, node: Node) -> None:
        if node.type in types.EXECUTABLE:
            self.active_pods -= 1
            self._freed[""] = None
        self.frames.pop(node.id, None)
        if node.daemoned and node.boundary in self.frames:
            self.set_frame(node.boundary, daemons=self.frame(node.boundary).daemons - {node.id})
        if node.takes_slot:
            frame = self.frame(node.boundary)
            self.frames[node.boundary] = _replace(frame, active=frame.active - 1)
            self._freed[node.boundary] = None
        if node.boundary and node.fails_boundary:
            self.count_failure(node)

    def count_failure(self, node: Node) -> None:
        """Count a failed child of a boundary; with `failFast` nothing that waits there starts any more."""
        frame = self.frame(node.boundary)
        self.frames[node.boundary] = _replace(frame, failed=frame.failed + 1)
        if self.refuses(self.nodes[node.boundary]):
            self.drop_waiting(node.boundary)

    def drop_waiting(self, boundary: str) -> None:
        """Forget what waits in a boundary that starts nothing new."""
        for queue in (self.queues.get(boundary, NO_QUEUE), self.queues.get("", NO_QUEUE)):
            for _, (node_id, _) in sorted(queue.items.items()):
                node = self.nodes.get(node_id)
                if node is not None and node.is_waiting and node.boundary == boundary:
                    self.discard(node)

    def cut(self, owner_id: str, reason: str) -> None:
        """Remember that not all children of a composite node were started: it cannot succeed."""
        owner = self.nodes[owner_id]
        if not owner.killed:
            self.put(changed(owner, killed=reason))
        self._jobs.append(("settle", owner_id))

    def discard(self, node: Node) -> None:
        """Forget a node that waits, as if it had never been."""
        self.remove(node)
        if node.locking:
            self.close(locks.key_of(node.id))
        self.cut(node.owner, self.refusal(node) or FAIL_FAST)
        frame = self.frame(node.owner)
        left = frame.left + (self.nodes[node.owner].type == types.DAG)
        self.frames[node.owner] = _replace(frame, open=frame.open - 1, left=left)

    # -- starting -----------------------------------------------------------------------------------------------------

    def draft(self, name: str, *, owner: Node, boundary: Node, task: Task, index: int = -1, item: str = "") -> Node:
        """Return a node to be started or skipped; it is not in the turn yet."""
        return Node(
            id=self.new_id(name),
            name=name,
            display_name=names.display_name(name, boundary.name),
            template=task.template if task.dynamic is None else self._named(task, boundary, item),
            scope=keys.scope_of(boundary.template, self.program.scope_name),
            boundary=boundary.id,
            owner=owner.id,
            task=task.index,
            index=index,
            item=item,
            depth=boundary.depth + 1,
            exit_handler=boundary.exit_handler,
        )

    def task_name(self, boundary: Node, task: Task) -> str:
        """Return a task's name, its tags replaced; as it is written where that makes it the name of another task."""
        if task.late_name is None:
            return task.name
        scope = Scope(self.values, inputs=boundary.inputs)
        others = (other for other in self.template_of(boundary).tasks if other is not task)
        try:
            name = task.late_name.render(scope)
            taken = {other.name if other.late_name is None else other.late_name.render(scope) for other in others}
        except Problem:
            return task.name
        return task.name if name in taken else name

    def _named(self, task: Task, boundary: Node, item: str) -> str:
        """Return the key of a template whose name holds tags, as far as they can be replaced now."""
        assert task.dynamic is not None, "only such tasks are named late"
        try:
            return task.dynamic.render(self.task_scope(boundary, item))
        except Problem:
            return task.template

    def did_not_run(self, draft: Node, phase: str, message: str) -> None:
        """Add a node that ends without having run: Skipped, Omitted, or Error in what it refers to."""
        node = self.add(changed(draft, type=types.SKIPPED, phase=phases.RUNNING, started_at=self.now))
        self.put(changed(node, phase=phase, message=message, finished_at=self.now))
        self._jobs.append(("ended", node.id))

    def start(self, draft: Node) -> None:
        """Start a node now, or let it wait for a slot. Where nothing new may start, nothing happens."""
        reason = self.refusal(draft)
        if reason and draft.owner:
            self.cut(draft.owner, reason)
            return
        limiter = self._limiter(draft)
        if limiter is None:
            self._begin(draft)
        else:
            self._wait(draft, limiter)

    def start_hook(self, draft: Node) -> None:
        """Start a hook's node: no limit holds it back. After a stop those that are no exit handlers fail at once."""
        if self.halted(exit_handler=draft.exit_handler):
            self.fail_unstarted(draft)
        else:
            self._begin(draft)

    def fail_unstarted(self, draft: Node) -> None:
        """Add a node that shows, but fails at once: nothing may start any more."""
        kind = self.rules.kinds.get(self._kind_name(draft))
        node = changed(draft, type=kind.node_type if kind else types.SKIPPED, phase=phases.RUNNING, started_at=self.now)
        reason = f"workflow shutdown with strategy: {self.run.shutdown}" if self.run.shutdown else DEADLINE
        self.finish(self.add(node), phases.FAILED, reason)

    def _wait(self, draft: Node, limiter: str) -> None:
        self.seq += 1
        self.add(changed(draft, phase=phases.WAITING, limiter=limiter, seq=self.seq))
        queue = self.queues.get(limiter, NO_QUEUE)
        items = queue.items.set(queue.tail, (draft.id, self.seq))
        self.queues[limiter] = _replace(queue, tail=queue.tail + 1, items=items)

    def _limiter(self, draft: Node) -> str | None:
        """Return whose slots are all taken: the boundary's (its id), the workflow's (empty), or None: it may start."""
        if draft.boundary and not draft.retried:
            limit = self.template_of(self.nodes[draft.boundary]).parallelism
            if limit is not None and self.frame(draft.boundary).active >= limit:
                return draft.boundary
        if self.run.suspended:
            return ""
        limit = self.program.spec.parallelism
        return "" if limit is not None and self.active_pods >= limit else None

    def _begin(self, draft: Node) -> None:
        try:
            template, kind = self._how_to_run(draft)
            node = changed(draft, type=kind.node_type, inputs=self._inputs(draft, template), limiter="", seq=0)
            if self._waits_for_locks(node, template) or self._remembered(node, template):
                return
            if draft.retried or not self.rules.wrap(self, node, template):
                kind.start(self, node, template)
            started = self.nodes.get(draft.id)
            if started is not None and draft.id in self.memos and started.memo is None:
                started = self.put(changed(started, memo=self.memos[draft.id]))
            if started is not None and not started.is_fulfilled:
                self.rules.begun(self, started, template)
                self.rules.look(self, started)
        except Problem as problem:
            self._refuse(draft, problem)

    def _remembered(self, node: Node, template: CompiledTemplate) -> bool:
        """Take a memoized node's outputs from the cache, if they are there; it does not run then."""
        if template.memoize is None or node.retried:
            return False
        scope = Scope(self.values, inputs=node.inputs)
        namespace = self.program.metadata.namespace or ""
        found = memo.look_up(template.memoize, scope, namespace, self.objects, self.now, kept=self._kept)
        self.memos[node.id] = (found.cache, found.key, found.entry is not None)
        if found.entry is None:
            return False
        kind = node.type if template.retry is None else types.RETRY
        node = self.add(changed(node, type=kind, phase=phases.RUNNING, started_at=self.now, memo=self.memos[node.id]))
        self._save_memo(node, memo.entry_text(found.entry.node_id, found.entry.outputs, self.now, found.entry.created))
        self.finish(node, phases.SUCCEEDED, "", found.entry.outputs)
        return True

    def _save_memo(self, node: Node, entry: str) -> None:
        assert node.memo is not None, "a memoized node"
        effect = SaveMemo(
            key=f"memo/{node.id}",
            namespace=self.program.metadata.namespace or "",
            cache=node.memo[0],
            memo_key=node.memo[1],
            entry=entry,
        )
        self.emit(effect)
        self.close(effect.key)
        self._kept[effect.cache, effect.memo_key] = entry

    def _waits_for_locks(self, node: Node, template: CompiledTemplate) -> bool:
        """Ask for a node's locks before it begins; False when it needs none, or has them."""
        if template.sync is None or node.retried or node.locking == locks.HELD:
            return False
        namespace = self.program.metadata.namespace or ""
        own = Scope(self.values, inputs=node.inputs, local=own_values(self, node, template))
        wanted = locks.wanted(template.sync, own, namespace)
        if not wanted:
            return False
        self.add(locks.waiting(node if template.retry is None else changed(node, type=types.RETRY), wanted))
        self.ask_for_locks(node.id, wanted)
        return True

    def ask_for_locks(self, node_id: str, wanted: tuple[Lock, ...]) -> None:
        """Ask the engine for locks."""
        self.emit(
            TakeLocks(
                key=locks.key_of(node_id),
                node_id=node_id,
                locks=wanted,
                priority=self.program.spec.priority or 0,
                created_at=self.run.created_at,
            )
        )

    def locks_taken(self, node: Node) -> None:
        """A node has its locks: it goes on, if it still may."""
        if self.refusal(node) and node.owner:
            self.discard(node)
            return
        limiter = self._limiter(node)
        if limiter is not None:
            # Who holds the place may need the lock: it goes back, and is asked for again when there is a place.
            self.close(locks.key_of(node.id))
            self._wait(changed(node, locking="", locks=(), message=""), limiter)
            return
        self._begin(self.put(changed(node, locking=locks.HELD, message="", limiter="")))

    def locks_refused(self, node: Node, message: str) -> None:
        """A node can never have its locks."""
        self.close(locks.key_of(node.id))
        self._refuse(changed(node, locking="", limiter=""), Problem(message))

    def locks_given_up(self, node: Node, reason: str) -> None:
        """A node waits for its locks no longer: it shows already, so it fails."""
        self.close(locks.key_of(node.id))
        begun = changed(node, locking="", locks=(), limiter="", seq=0, phase=phases.RUNNING, started_at=self.now)
        self.finish(self.add(begun), phases.FAILED, reason)

    def _how_to_run(self, draft: Node) -> tuple[CompiledTemplate, Kind]:
        if draft.depth > MAX_DEPTH:
            raise Unresolved(TOO_DEEP)
        base = keys.base_of(draft.template)
        if keys.is_of_another(base) and base not in self.run.stored:
            self.run = _replace(self.run, stored={**self.run.stored, base: self.program.fetch(base, self.objects)})
        template = self.program.template(draft.template)
        kind = self.rules.kinds.get(template.kind)
        if kind is None:
            raise Problem(f"template {template.name} is of a kind that cannot run here: {template.kind or 'none'}")
        return template, kind

    def _refuse(self, draft: Node, problem: Problem) -> None:
        message = str(problem)
        if draft.owner:
            in_dag = self.nodes[draft.owner].type in {types.DAG, types.TASK_GROUP}
            if in_dag and not draft.is_hook and not isinstance(problem, Unresolved):
                message = f"task '{draft.name}' errored: {message}"
            self.did_not_run(changed(draft, limiter="", seq=0), phases.ERROR, message)
            return
        kind = self.rules.kinds.get(self._kind_name(draft))
        node = changed(draft, type=kind.node_type if kind else types.SKIPPED, phase=phases.RUNNING, started_at=self.now)
        self.break_off(self.add(node), problem)

    def break_off(self, node: Node, problem: Problem) -> None:
        """End a node in Error; the message of one at the top says that it is the workflow's."""
        prefix = "" if node.owner or node.hook else EXIT_ERROR if node.exit_handler else BROKEN_ENTRY
        self.finish(node, phases.ERROR, f"{prefix}{problem}")

    def _kind_name(self, draft: Node) -> str:
        try:
            return self.program.template(draft.template).kind
        except Problem:
            return ""

    def _inputs(self, draft: Node, template: CompiledTemplate) -> argo.Inputs | None:
        if draft.retried:
            return self.nodes[draft.owner].inputs
        if not draft.boundary:
            hook = self.program.hooks.get(draft.hook or ("exit" if draft.exit_handler else ""))
            # As in Argo: an exit handler that is given nothing gets the workflow's arguments.
            arguments = self.program.arguments if hook is None or (not draft.hook and hook.arguments.is_empty) else hook.arguments
            return inputs_of(template, arguments, Scope(self.values), self.values)
        if draft.is_hook:
            about = self.nodes[draft.owner]
            scope = self.task_scope(self.nodes[draft.boundary], draft.item, own=about)
            arguments = self.task_of(about).hooks[draft.hook].arguments
            if draft.hook == "exit" and arguments.is_empty:
                arguments = self.program.arguments
            return inputs_of(template, arguments, scope, self.values)
        scope = self.task_scope(self.nodes[draft.boundary], draft.item)
        return inputs_of(template, self.task_of(draft).arguments, scope, self.values)

    def free_all(self) -> None:
        """Look again whether what waits may start."""
        queues = self.queues.finish()
        self.queues = queues.mutate()
        for limiter in queues:
            self._freed[limiter] = None

    # -- working through what follows ---------------------------------------------------------------------------------

    def open_later(self, node: Node) -> None:
        """Start a composite node's children when this step is done; recursion in the manifest is none here."""
        self._jobs.append(("open", node.id))

    def ready(self, node: Node, address: str) -> None:
        """A daemon is ready: who waits for its end goes on, once."""
        told = node.daemoned
        node = self.put(changed(node, daemoned=True, ip=address))
        if node.boundary:
            self.set_frame(node.boundary, daemons=self.frame(node.boundary).daemons | {node.id})
        if not told:
            self._jobs.append(("ended", node.id))

    def settle_later(self, node: Node) -> None:
        """See later in this turn whether a composite node has ended."""
        self._jobs.append(("settle", node.id))

    def work(self) -> None:
        """Do all that follows, until nothing does."""
        while self._jobs or self._freed:
            while self._jobs:
                job, node_id = self._jobs.popleft()
                self._do(job, node_id)
            if self._freed:
                limiter = next(iter(self._freed))
                del self._freed[limiter]
                self._pump(limiter)

    def _do(self, job: str, node_id: str) -> None:
        node = self.nodes.get(node_id)
        if node is None:
            return
        if job in {"ended", "complete"}:
            if not node.owner:
                self.rules.top_ended(self)
                return
            owner = self.nodes[node.owner]
            if node.is_hook:
                if owner.is_fulfilled:
                    self._jobs.append(("complete", owner.id))
                return
            if job == "complete" and not node.hooking:
                return
            if self.rules.hold_back(self, node):
                return
            node = self.nodes[node_id]
            self.set_frame(owner.id, open=self.frame(owner.id).open - 1)
            handler = self.rules.composites[owner.type]
            handler.child_ended(self, owner, node)
            handler.settle(self, self.nodes[owner.id])
        elif not node.is_fulfilled and not node.held:
            handler = self.rules.composites[node.type]
            if job == "open":
                handler.open(self, node)
            handler.settle(self, self.nodes[node_id])

    def mark_bad(self, group: Node, child: Node) -> None:
        """Remember the child that decides a group's failure."""
        if counts_as_bad(self.program, self.nodes, group, child):
            bad = self.frame(group.id).bad
            choose = max if group.type == types.TASK_GROUP else min
            self.set_frame(group.id, bad=child.key if bad is None else choose(bad, child.key))

    def _pump(self, limiter: str) -> None:
        """Start what waits in a queue while there are slots."""
        while True:
            queue = self.queues.get(limiter)
            if queue is None:
                return
            if queue.head == queue.tail:
                del self.queues[limiter]
                return
            node_id, seq = queue.items[queue.head]
            node = self.nodes.get(node_id)
            if node is not None and node.is_waiting and node.seq == seq:
                now_limited = self._limiter(node)
                if now_limited == limiter:
                    return
                self._pop(limiter, queue)
                if now_limited is None:
                    self._begin(node)
                else:
                    self._wait(node, now_limited)
            else:
                self._pop(limiter, queue)

    def _pop(self, limiter: str, queue: Queue) -> None:
        self.queues[limiter] = _replace(queue, head=queue.head + 1, items=queue.items.delete(queue.head))

    def begin(self) -> None:
        """Start the workflow's root."""
        self.rules.begin(self)
