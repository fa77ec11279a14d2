"""Templates made ready to run: split at their tags once, tasks numbered, dependencies turned into indices."""

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import msgspec

from jitflow.expr import depends as depends_language
from jitflow.expr import tags
from jitflow.machine import locations
from jitflow.machine import templates as keys
from jitflow.machine.expressions import reads
from jitflow.machine.problems import Problem
from jitflow.model import argo

_TAG = re.compile(r"\{\{[^{}]*\}\}")
_RESULT_REFERENCE: Final = re.compile(r"(?:steps|tasks)(?:\.([A-Za-z0-9_-]+)|\['([^']+)'\])\.outputs\.result")
_OWN_NAMES: Final = ("retries", "lastRetry", "node.name", "steps.name", "tasks.name")

_MAX_PLANS: Final = 64
"""A template is shared by workflows, which may ask it for ever other targets."""

DISPLAY_NAME: Final = "workflows.argoproj.io/display-name"
"""Annotation of a template: the name under which its nodes are shown."""

CONTAINER, SCRIPT, STEPS, DAG, SUSPEND = "container", "script", "steps", "dag", "suspend"
CONTAINER_SET = "container_set"
KINDS: Final = (
    CONTAINER, SCRIPT, STEPS, DAG, SUSPEND, "http", "data", CONTAINER_SET, "plugin", "resource",
)  # fmt: skip
"""Fields of a template, one of which says of what kind it is."""


class ArgumentText:
    """An argument's or parameter's value, split at its tags. `pure` is the tag's name when it is nothing but one tag."""

    __slots__ = ("pure", "text")

    def __init__(self, value: argo.AnyString) -> None:
        """Split the value."""
        source = value
        self.text = tags.compile_text(source)
        self.pure = tags.is_pure_tag(source)


class ArtifactArgument:
    """An artifact given to a template: taken `from_` somewhere, or at a location of its own."""

    __slots__ = ("from_", "location", "source")

    def __init__(self, source: argo.Artifact) -> None:
        """Split the location at its tags."""
        self.source = source
        self.from_ = tags.compile_text(source.from_) if source.from_ else None
        self.location = tags.compile_struct(msgspec.structs.replace(source, from_=None))


class CompiledArguments:
    """The arguments of a task, or of the workflow."""

    __slots__ = ("artifacts", "configured", "parameters")

    def __init__(self, source: argo.Arguments | None) -> None:
        """Compile each argument."""
        source = source or argo.Arguments()
        self.parameters: dict[str, ArgumentText] = {}
        self.configured: dict[str, argo.ValueFrom] = {}
        """Arguments whose values stand in ConfigMaps."""
        for parameter in source.parameters:
            value = parameter.value
            if value is None and parameter.value_from is not None and parameter.value_from.config_map_key_ref:
                self.configured[parameter.name] = parameter.value_from
                continue
            if value is None and parameter.value_from is not None:
                value = parameter.value_from.parameter or parameter.value_from.default
            if value is None:
                value = parameter.default
            if value is not None:
                self.parameters[parameter.name] = ArgumentText(value)
        self.artifacts = {artifact.name: ArtifactArgument(artifact) for artifact in source.artifacts}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return not self.parameters and not self.artifacts


class CompiledHook:
    """A lifecycle hook: what runs, when, with which arguments. `template` is a name as used where the hook stands, or a key."""

    __slots__ = ("arguments", "expression", "template")

    def __init__(self, source: argo.LifecycleHook) -> None:
        """Compile the hook."""
        self.template = keys.key_of(source.template_ref) if source.template_ref is not None else source.template or ""
        self.expression = source.expression or ""
        self.arguments = CompiledArguments(source.arguments)


def compiled_hooks(hooks: Mapping[str, argo.LifecycleHook], on_exit: str | None) -> dict[str, CompiledHook]:
    """Return hooks by name, in one order for all; `on_exit`, the old form, counts as the hook `exit` and goes before it."""
    found = {name: CompiledHook(hooks[name]) for name in sorted(hooks)}
    if on_exit:
        found["exit"] = CompiledHook(argo.LifecycleHook(template=on_exit))
    return found


class Task:
    """A step of a step group or a task of a DAG."""

    def __init__(self, source: argo.WorkflowStep | argo.DAGTask, index: int, group: int, template: str) -> None:
        """Compile everything of the task but its dependencies, which need the other tasks."""
        self.source = source
        self.index = index
        self.group = group
        self.name = source.name or ""
        self.late_name = tags.compile_text(self.name) if "{{" in self.name else None
        self.template = template
        self.dynamic = tags.compile_text(template) if "{{" in template else None
        self.arguments = CompiledArguments(source.arguments)
        self.when = tags.compile_text(source.when) if source.when else None
        self.loops = bool(source.with_items or source.with_param or source.with_sequence)
        self.when_has_item = self.when is not None and any(uses_item(name) for name in self.when.names)
        self.items = tags.compile_text(msgspec.json.encode(source.with_items).decode()) if source.with_items else None
        self.param = tags.compile_text(source.with_param) if source.with_param else None
        self.sequence = tags.compile_struct(source.with_sequence) if source.with_sequence else None
        goes_on = source.continue_on or argo.ContinueOn()
        self.forgives = frozenset(phase for phase, forgiven in (("Failed", goes_on.failed), ("Error", goes_on.error)) if forgiven)
        self.hooks = compiled_hooks(source.hooks, source.on_exit) if source.hooks or source.on_exit else {}
        self.dependencies: tuple[int, ...] = ()
        self.dependents: tuple[int, ...] = ()
        self.depends: depends_language.Depends | None = None

    def goes_by(self, name: str) -> bool:
        """Whether the task may have a name, whatever the tags of its own are."""
        if self.late_name is None:
            return name == self.name
        return re.fullmatch("[-a-zA-Z0-9]*".join(re.escape(part) for part in _TAG.split(self.name)), name) is not None


class Plan:
    """Which tasks of a DAG are to run, and which of them decide its phase."""

    def __init__(self, tasks: tuple[Task, ...], targets: tuple[int, ...]) -> None:
        """Find what the targets need."""
        needed: set[int] = set()
        todo = list(targets)
        while todo:
            index = todo.pop()
            if index not in needed:
                needed.add(index)
                todo += tasks[index].dependencies
        self.targets = targets
        self.target_set = frozenset(targets)
        self.needed = frozenset(needed)
        self._tasks = tasks
        self.roots = tuple(index for index in sorted(needed) if not tasks[index].dependencies)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The tasks, each after all that it depends on."""
        missing = {index: len(self._tasks[index].dependencies) for index in self.needed}
        order = list(self.roots)
        for index in order:
            for dependent in self._tasks[index].dependents:
                if dependent in missing:
                    missing[dependent] -= 1
                    if not missing[dependent]:
                        order.append(dependent)
        return tuple(order)


class CompiledTemplate:
    """A template, its parts split at their tags."""

    def __init__(self, key: str, source: argo.Template) -> None:
        """Compile the template."""
        self.key = key
        self.source = source
        self.name = source.name or ""
        self.kind = next((kind for kind in KINDS if getattr(source, kind)), "")
        inputs = source.inputs or argo.Inputs()
        self.input_parameters = inputs.parameters
        self.defaults = {p.name: ArgumentText(value) for p in inputs.parameters if (value := _own_value(p)) is not None}
        self.input_artifacts = tuple((artifact, tags.compile_struct(artifact)) for artifact in inputs.artifacts)
        self.outputs = tags.compile_struct(source.outputs) if source.outputs else None
        self.body = tags.compile_struct(
            msgspec.structs.replace(source, inputs=None, outputs=None, retry_strategy=None, steps=(), dag=None, metrics=None)
        )
        self.retry = tags.compile_struct(source.retry_strategy) if source.retry_strategy else None
        self.sync = tags.compile_struct(source.synchronization) if source.synchronization else None
        self.memoize = tags.compile_struct(source.memoize) if source.memoize else None
        self.parallelism = source.parallelism
        self.fail_fast = bool(source.fail_fast)
        self.groups: tuple[tuple[int, ...], ...] = ()
        self.tasks: tuple[Task, ...] = ()
        self.by_name: dict[str, int] = {}
        self._plans: dict[str, Plan] = {}
        shown = source.annotations.get(DISPLAY_NAME)
        self.title = tags.compile_text(shown) if shown else None
        if source.steps:
            self._compile_steps()
        elif source.dag:
            self._compile_dag(source.dag)
        self.paths = _paths(source)
        metadata = source.metadata
        self.annotations = tags.compile_struct(metadata) if metadata and tags.compile_struct(metadata).names else None

    def with_annotations(self, lookup: tags.Lookup) -> argo.Template:
        """Return the template with the tags of its metadata replaced."""
        metadata = self.annotations.render(lookup) if self.annotations is not None else self.source.metadata
        return msgspec.structs.replace(self.source, metadata=metadata)

    @cached_property
    def fingerprint(self) -> str:
        """What run times are learned by: the template's name and what it says, whichever workflow it is in."""
        return f"{self.name}:{hashlib.sha256(msgspec.json.encode(self.source)).hexdigest()[:16]}"

    @cached_property
    def archive_location(self) -> tags.Compiled[argo.ArtifactLocation] | None:
        """Where the template's own outputs go that have no location, None if that is for the repository to say."""
        own = self.source.archive_location
        return tags.compile_struct(own) if own is not None and locations.store_of(own) else None

    @cached_property
    def reads_fields(self) -> bool:
        """Whether a pod of this template asks for its own fields: its name, its labels."""
        return b"fieldRef" in msgspec.json.encode(self.source)

    @cached_property
    def names_itself(self) -> bool:
        """Whether the steps or tasks of this template are told what only its own node knows: its name, its attempts."""
        text = msgspec.json.encode(self.source).decode() if self.tasks else ""
        return any(name in text for name in _OWN_NAMES)

    @cached_property
    def captures(self) -> frozenset[str]:
        """Names of the tasks whose standard output somebody reads."""
        text = msgspec.json.encode(self.source).decode()
        return frozenset(dotted or quoted for dotted, quoted in _RESULT_REFERENCE.findall(text))

    def index_of(self, name: str) -> int | None:
        """Return the index of the task that others call so; a name with tags is called by what they stand for."""
        found = self.by_name.get(name)
        if found is None:
            late = [task.index for task in self.tasks if task.late_name is not None and task.goes_by(name)]
            return late[0] if len(late) == 1 else None
        return found

    def is_captured(self, task: Task) -> bool:
        """Whether somebody reads a task's standard output."""
        return task.name in self.captures or (task.late_name is not None and any(map(task.goes_by, self.captures)))

    @cached_property
    def target(self) -> tags.Text:
        """The DAG's target, split at its tags."""
        return tags.compile_text((self.source.dag.target if self.source.dag else None) or "")

    def plan(self, target: str) -> Plan:
        """Return what a DAG's target asks for; an empty one: all tasks, decided by those that nothing depends on.

        Raises:
            Problem: the target names no task.
        """
        plan = self._plans.get(target)
        if plan is None:
            asked = tuple(self._index(name, "target '{}' is not defined") for name in target.split())
            leaves = tuple(task.index for task in self.tasks if not task.dependents)
            plan = Plan(self.tasks, asked or leaves)
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[target] = plan
        return plan

    def _index(self, name: str, complaint: str) -> int:
        found = self.index_of(name)
        if found is None:
            raise Problem(complaint.format(name))
        return found

    def _template_key(self, task: argo.WorkflowStep | argo.DAGTask, index: int) -> str:
        """Return the key of a task's template, see `templates`."""
        if task.inline is not None:
            return f"{self.key}/{index}"
        if task.template_ref is not None:
            return keys.key_of(task.template_ref)
        return keys.home_of(self.key) + (task.template or "")

    def _compile_steps(self) -> None:
        tasks: list[Task] = []
        groups: list[tuple[int, ...]] = []
        for number, group in enumerate(self.source.steps):
            first = len(tasks)
            for step in group:
                tasks.append(Task(step, len(tasks), number, self._template_key(step, len(tasks))))
            groups.append(tuple(range(first, len(tasks))))
        self.tasks, self.groups = tuple(tasks), tuple(groups)
        self.by_name = {task.name: task.index for task in tasks}

    def _compile_dag(self, dag: argo.DAGTemplate) -> None:
        self.tasks = tuple(Task(task, i, 0, self._template_key(task, i)) for i, task in enumerate(dag.tasks))
        self.by_name = {task.name: task.index for task in self.tasks}
        dependents: list[list[int]] = [[] for _ in self.tasks]
        for task, source in zip(self.tasks, dag.tasks, strict=True):
            if source.depends:
                task.depends = depends_language.parse(source.depends)
            elif source.dependencies:
                task.depends = depends_language.from_dependencies(source.dependencies)
            names = task.depends.names() if task.depends else ()
            task.dependencies = tuple(self._index(name, "dependency '{}' not defined") for name in names)
            for dependency in task.dependencies:
                dependents[dependency].append(task.index)
        for task in self.tasks:
            task.dependents = tuple(dependents[task.index])


def uses_item(tag: str) -> bool:
    """Return whether a tag stands for a loop's item."""
    return tag == "item" or tag.startswith("item.") or (tag.startswith("=") and reads(tag[1:], "item"))


def _own_value(parameter: argo.Parameter) -> argo.AnyString | None:
    """Return what an input parameter is when no argument gives it: its value, else its default."""
    for value in (parameter.value, parameter.default, parameter.value_from.default if parameter.value_from else None):
        if value is not None:
            return value
    return None


def _paths(source: argo.Template) -> dict[str, str]:
    """Return the values of the tags that name files: `inputs.artifacts.x.path`, `outputs.parameters.y.path` and the like."""
    paths: dict[str, str] = {}
    for artifact in (source.inputs or argo.Inputs()).artifacts:
        paths[f"inputs.artifacts.{artifact.name}.path"] = artifact.path or ""
    outputs = source.outputs or argo.Outputs()
    for artifact in outputs.artifacts:
        paths[f"outputs.artifacts.{artifact.name}.path"] = artifact.path or ""
    for parameter in outputs.parameters:
        if parameter.value_from and parameter.value_from.path:
            paths[f"outputs.parameters.{parameter.name}.path"] = parameter.value_from.path
    return {name: path for name, path in paths.items() if path}
