"""Templates of tasks: dependencies, cycles, targets."""

from __future__ import annotations

from typing import Final

from jitflow.expr import depends, tags
from jitflow.model import argo
from jitflow.spec._walk import tagged_texts
from jitflow.spec.places import Path
from jitflow.spec.validation._report import PARAMETER, Report, check_names, suggest
from jitflow.spec.validation._scope import Scope, add_items, add_outputs, check_tags
from jitflow.spec.validation._steps import Templates, check_call, is_loop

MAX_TASKS: Final = 50_000


class Graph:
    """Who depends on whom, and who comes before whom."""

    def __init__(self, tasks: tuple[argo.DAGTask, ...], prefix: str) -> None:
        """Start without dependencies; `prefix` names the template in messages."""
        self.prefix = prefix
        self.tasks = {task.name: task for task in tasks}
        self.before: dict[str, tuple[str, ...]] = {}
        self._bits: dict[str, int] | None = None

    def cycle(self) -> list[str]:
        """Return the names along a cycle, first and last the same; empty when there is none."""
        done: set[str] = set()
        for start in self.before:
            found = self._cycle_from(start, done)
            if found:
                return found
        return []

    def _cycle_from(self, start: str, done: set[str]) -> list[str]:
        trail: dict[str, None] = {}
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            names = self.before.get(name, ())
            if at == 0:
                if name in done:
                    continue
                trail[name] = None
            if at == len(names):
                del trail[name]
                done.add(name)
                continue
            stack.append((name, at + 1))
            following = names[at]
            if following in trail:
                walked = list(trail)
                return [*walked[walked.index(following) :], following]
            if following not in done:
                stack.append((following, 0))
        return []

    def precedes(self, early: str, late: str) -> bool:
        """Return whether a task must end before another begins; the graph has no cycle."""
        if early in self.before.get(late, ()):
            return True
        if self._bits is None:
            self._bits = self._ancestors()
        mask = self._bits.get(early)
        return mask is not None and bool(self._bits[f"/{late}"] & mask)

    def not_before(self, task: argo.DAGTask, text: str | None) -> list[str]:
        """Return the tasks that a text refers to although they need not end before this one."""
        if not text or "{{" not in text:
            return []
        parts = (tag.name.split(".") for tag in tags.find(text))
        named = [it[1] for it in parts if it[0] == "tasks" and len(it) > 2 and it[1] in self.tasks]
        return [name for name in named if not self.precedes(name, task.name)]

    def _ancestors(self) -> dict[str, int]:
        """Return each task's own bit under its name and its ancestors' bits under `/name`."""
        bits = {name: 1 << index for index, name in enumerate(self.before)}
        stack = list(self.before)
        while stack:
            name = stack[-1]
            if f"/{name}" in bits:
                stack.pop()
                continue
            names = [it for it in self.before[name] if it in self.before]
            missing = [it for it in names if f"/{it}" not in bits]
            if missing:
                stack += missing
                continue
            found = 0
            for it in names:
                found |= bits[it] | bits[f"/{it}"]
            bits[f"/{name}"] = found
            stack.pop()
        return bits


def check_dag(report: Report, scope: Scope, template: argo.Template, path: Path, templates: Templates) -> None:
    """Check the tasks of a template; `scope` gets what they offer."""
    dag = template.dag or argo.DAGTemplate(tasks=())
    here = (*path, "dag", "tasks")
    prefix = f"templates.{template.name}"
    if not dag.tasks:
        report.add((*path, "dag"), f"{prefix} must have at least one task", "add one to `tasks:`")
        return
    if len(dag.tasks) > MAX_TASKS:
        report.add(
            here, f"{prefix} has {len(dag.tasks)} tasks, more than {MAX_TASKS}", "split it, or use a loop", code="too_large"
        )
        return
    check_names(report, dag.tasks, here, f"{prefix}.tasks", tags=True)
    graph = Graph(dag.tasks, prefix)
    called: list[argo.Template | None] = []
    for index, task in enumerate(dag.tasks):
        called.append(check_call(report, task, (*here, index), f"{prefix}.tasks.{task.name}", templates))
        add_outputs(scope, f"tasks.{task.name}", called[-1], aggregate=is_loop(task))
    _check_depends(report, graph, dag.tasks, here, prefix)
    cycle = graph.cycle()
    if cycle:
        index = next(index for index, task in enumerate(dag.tasks) if task.name == cycle[0])
        message = f"{prefix}.tasks dependency cycle detected: {'->'.join(cycle)}"
        report.add((*here, index), message, "remove one of these dependencies")
        return
    _check_targets(report, scope, template, path, graph)
    for index, task in enumerate(dag.tasks):
        _check_references(report, scope, graph, task, (*here, index))


def _check_depends(report: Report, graph: Graph, tasks: tuple[argo.DAGTask, ...], path: Path, prefix: str) -> None:
    using_depends = any(task.depends for task in tasks)
    for index, task in enumerate(tasks):
        here = (*path, index)
        name = f"{prefix}.tasks.{task.name}"
        if (using_depends or task.dependencies) and task.name[:1].isdecimal():
            message = f"{name} name cannot begin with a digit when using either 'depends' or 'dependencies'"
            report.add((*here, "name"), message, "rename it")
        if using_depends and task.dependencies:
            message = f"{prefix} cannot use both 'depends' and 'dependencies' in the same DAG template"
            report.add((*here, "dependencies"), message, f'write `depends: "{" && ".join(task.dependencies)}"`')
        if using_depends and task.continue_on is not None:
            hint = "Instead use 'dep-task.Failed'/'dep-task.Errored'"
            message = f"{prefix} cannot use 'continueOn' when using 'depends'. {hint}"
            report.add((*here, "continueOn"), message, "write what may fail into `depends`")
        field = "depends" if task.depends else "dependencies"
        try:
            logic = depends.parse(task.depends) if task.depends else depends.from_dependencies(task.dependencies)
        except depends.DependsError as error:
            report.add((*here, "depends"), f"{name} {error}", "combine task names and results with &&, || and !")
            logic = depends.Depends()
        _check_results(report, graph, logic, (*here, field), name)
        graph.before[task.name] = tuple(it for it in logic.names() if it in graph.tasks)


def _check_results(report: Report, graph: Graph, logic: depends.Depends, path: Path, name: str) -> None:
    for result in logic.results():
        task = graph.tasks.get(result.task)
        if task is None:
            remedy = suggest(result.task, graph.tasks, "add a task with that name")
            report.add(path, f"{name} dependency '{result.task}' not defined", remedy)
        elif result.result in depends.ITEM_RESULTS and not is_loop(task) and task.with_sequence is None:
            rule = "uses an items-based condition such as .AnySucceeded or .AllFailed but does not contain any items"
            report.add(path, f"{name} dependency '{result.task}' {rule}", "use .Succeeded or .Failed")


def _check_targets(report: Report, scope: Scope, template: argo.Template, path: Path, graph: Graph) -> None:
    target = template.dag.target if template.dag is not None else None
    if not target:
        return
    here = (*path, "dag", "target")
    check_tags(report, scope, target, here, f"templates.{template.name}.targets")
    for name in target.split():
        if name not in graph.tasks and not PARAMETER.search(name):
            remedy = suggest(name, graph.tasks, "name a task of this dag")
            report.add(here, f"templates.{template.name}.targets: target '{name}' is not defined", remedy)


def _check_references(report: Report, scope: Scope, graph: Graph, task: argo.DAGTask, path: Path) -> None:
    """Check a task's tags, and that the tasks whose outputs and status it uses come before it. `path` ends in its index."""
    prefix = f"{graph.prefix}.tasks.{task.name}"
    inner = Scope(scope)
    add_items(inner, task)
    if task.hooks:
        inner.add(f"tasks.{task.name}.status")
    for _, text in tagged_texts(task):
        for tag in tags.find_all(text):
            parts = tag.name.split(".")
            if parts[0] == "tasks" and parts[-1] == "status" and len(parts) == 3 and graph.precedes(parts[1], task.name):
                inner.add(tag.name)
    check_tags(report, inner, task, path, prefix)
    arguments = task.arguments or argo.Arguments()
    for index, parameter in enumerate(arguments.parameters):
        for name in graph.not_before(task, parameter.value):
            message = f"{prefix} missing dependency '{name}' for parameter '{parameter.name}'"
            here = (*path, "arguments", "parameters", index, "value")
            report.add(here, message, f"add '{name}' to what {task.name} depends on")
    for index, artifact in enumerate(arguments.artifacts):
        for name in graph.not_before(task, artifact.from_):
            message = f"{prefix} missing dependency '{name}' for artifact '{artifact.name}'"
            here = (*path, "arguments", "artifacts", index, "from")
            report.add(here, message, f"add '{name}' to what {task.name} depends on")
