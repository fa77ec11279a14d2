"""Templates of tasks: dependencies, cycles, targets."""

from __future__ import annotations

from typing import Final

from jitflow.expr import depends, tags
from jitflow.expr.spots import spot
from jitflow.model import argo
from jitflow.spec._walk import tagged_texts
from jitflow.spec.places import Path
from jitflow.spec.validation._arguments import check_arguments, check_supplied
from jitflow.spec.validation._calls import Call, Calls, Found, called_by, check_loop, has_exit_hook, is_loop
from jitflow.spec.validation._expressions import check_condition, check_hooks
from jitflow.spec.validation._graph import Graph
from jitflow.spec.validation._report import PARAMETER, Report, check_names, suggest
from jitflow.spec.validation._scope import Scope, add_inline, add_items, add_outputs, check_tags

MAX_TASKS: Final = 50_000


def check_dag(report: Report, scope: Scope, found: Found) -> Calls:
    """Check the tasks of a template; `scope` gets what they offer."""
    template, path = found.filled, found.path
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
    graph = Graph(prefix, dag.tasks)
    _check_depends(report, graph, dag.tasks, here, prefix)
    cycle = graph.cycle()
    if cycle:
        index = next(index for index, task in enumerate(dag.tasks) if task.name == cycle[0])
        message = f"{prefix}.tasks dependency cycle detected: {'->'.join(cycle)}"
        report.add((*here, index), message, "remove one of these dependencies")
        return
    indexes = {task.name: index for index, task in enumerate(dag.tasks)}
    places = [(*here, indexes[name]) for name in graph.order()]
    called: list[argo.Template | None] = []
    for place in places:
        task = dag.tasks[int(place[-1])]
        target = called_by(report, task, place, f"{prefix}.tasks.{task.name}", found.templates)
        called.append(target.template if target is not None else None)
        if target is not None:
            yield Call(found=target)
        add_outputs(scope, f"tasks.{task.name}", called[-1], aggregate=is_loop(task))
    _check_targets(report, scope, template, path, graph)
    written = found.template.dag.tasks if found.template.dag is not None else ()
    for place, offered in zip(places, called, strict=True):
        _check_written(report, written[int(place[-1])], place, prefix)
        task = dag.tasks[int(place[-1])]
        if task.hooks:
            scope.add(f"tasks.{task.name}.status")
        if has_exit_hook(task):
            add_outputs(scope, f"tasks.{task.name}", offered, aggregate=False)
        _check_references(report, scope, graph, task, place)
        if offered is not None:
            check_supplied(report, offered, task.arguments, place, f"{prefix}.tasks.{task.name} ")


def _check_written(report: Report, task: argo.DAGTask, path: Path, prefix: str) -> None:
    """Check what stands in a task, whatever its tags will be."""
    spot = f"{prefix}.tasks.{task.name}"
    check_loop(report, task, path, spot)
    check_condition(report, task.when, (*path, "when"), spot)
    check_hooks(report, task.hooks, path, f"{spot}.")
    check_arguments(report, task.arguments, (*path, "arguments"), f"{spot}.arguments.")


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
            message = f"{name} {error} ({spot(task.depends or '', error.offset)})"
            report.add((*here, "depends"), message, "combine task names and results with &&, || and !")
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
    """Check a task's tags, and that the tasks whose outputs and status it uses come before it."""
    prefix = f"{graph.prefix}.tasks.{task.name}"
    inner = Scope(scope)
    add_items(inner, task)
    add_inline(inner, task)
    for _, text in tagged_texts(task):
        for tag in tags.find_all(text):
            parts = tag.name.split(".")
            if parts[0] == "tasks" and parts[-1] == "status" and len(parts) == 3 and graph.precedes(parts[1], task.name):
                inner.add(tag.name)
    check_tags(report, inner, task, path, prefix)
    arguments = task.arguments or argo.Arguments()
    texts = [("parameter", "value", item.name, item.value) for item in arguments.parameters]
    texts += [("artifact", "from", item.name, item.from_) for item in arguments.artifacts]
    for index, (kind, field, owner, text) in enumerate(texts):
        name = _leads_to(text)
        if name in graph.tasks and not graph.precedes(name, task.name):
            here = (*path, "arguments", f"{kind}s", index - (len(arguments.parameters) if kind == "artifact" else 0), field)
            message = f"{prefix} missing dependency '{name}' for {kind} '{owner}'"
            report.add(here, message, f"add '{name}' to what {task.name} depends on")


def _leads_to(text: str | None) -> str:
    """Return the task whose tag a text begins with. Argo looks no further: what comes later is resolved when the task runs."""
    return text.split(".")[1] if text and text.startswith("{{tasks.") else ""
