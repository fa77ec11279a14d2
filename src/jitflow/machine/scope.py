"""What the tags of one place stand for: the inputs, the loop's item, the outputs of earlier steps, the workflow."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from jitflow.expr import tags
from jitflow.machine import names
from jitflow.machine.expressions import rendered
from jitflow.machine.problems import Absent, Problem
from jitflow.model import argo


class TaskOutputs(Protocol):
    """The steps or tasks of one boundary, as later ones refer to them."""

    def value(self, task: str, field: str) -> str | None:
        """Return `steps.<task>.<field>`; None: there is no such task, so the tag is not ours.

        Raises:
            Absent: the node did not run and has no default.
            Problem: it has no such output.
        """
        ...

    def artifact(self, task: str, name: str) -> argo.Artifact | None:
        """Return an output artifact, None when there is none."""
        ...


class Globals(Protocol):
    """The workflow's own values."""

    @property
    def now(self) -> float:
        """The time of the decision, in seconds since the epoch."""
        ...

    def config(self, reference: argo.ConfigMapKeySelector) -> str | None:
        """Return a value of a ConfigMap, None when it is not there."""
        ...

    def __call__(self, tag: str) -> str | None:
        """Return the value of `workflow.…`, None when there is none."""
        ...

    def artifact(self, name: str) -> argo.Artifact | None:
        """Return a global output artifact or an artifact among the workflow's arguments."""
        ...


class Scope:
    """Looks the tags of one place up; call it with a tag's name."""

    __slots__ = ("_globals", "_inputs", "_item", "_item_fields", "_locals", "_tasks")

    def __init__(
        self,
        global_values: Globals,
        *,
        inputs: argo.Inputs | None = None,
        tasks: TaskOutputs | None = None,
        item: str = "",
        local: Mapping[str, str] | None = None,
    ) -> None:
        """Hold what may be referred to; `item` is the item's JSON text, empty when there is none."""
        self._globals = global_values
        self._inputs = inputs
        self._tasks = tasks
        self._item = item
        self._item_fields: dict[str, Any] | None = None
        self._locals = local

    def __call__(self, tag: str) -> str | None:
        """Return a tag's value, None when it is not known here.

        Raises:
            Problem: the tag belongs to this place, but has no value.
        """
        if tag.startswith("="):
            return rendered(tag[1:], self)
        if self._locals is not None and tag in self._locals:
            value = self._locals[tag]  # the workflow's own values are put into paths before anything else
            return tags.substitute(value, self._globals) if "{{workflow." in value else value
        head, _, rest = tag.partition(".")
        if head == "inputs":
            return self._input(rest)
        if head in {"steps", "tasks"} and self._tasks is not None:
            task, _, field = rest.partition(".")
            return self._tasks.value(task, field)
        if head == "item" and self._item:
            return self._item_value(rest)
        if head == "workflow":
            return self._globals(tag)
        return None

    @property
    def now(self) -> float:
        """The time of the decision, in seconds since the epoch."""
        return self._globals.now

    @property
    def item(self) -> str:
        """The loop's item as JSON, empty when there is none."""
        return self._item

    def artifact(self, reference: str) -> argo.Artifact | None:
        """Return the artifact that a tag such as `{{steps.a.outputs.artifacts.x}}` names, None when it is not there."""
        name = reference.strip().removeprefix("{{").removesuffix("}}").strip()
        head, _, rest = name.partition(".")
        if head == "inputs":
            wanted = rest.removeprefix("artifacts.")
            return next((a for a in (self._inputs or argo.Inputs()).artifacts if a.name == wanted), None)
        if head in {"steps", "tasks"} and self._tasks is not None:
            task, _, field = rest.partition(".")
            return self._tasks.artifact(task, field.removeprefix("outputs.artifacts."))
        if head == "workflow":
            return self._globals.artifact(rest.rpartition("artifacts.")[2])
        return None

    def _input(self, rest: str) -> str | None:
        if self._inputs is None:
            return None
        if rest == "parameters":
            return msgspec.json.encode(self._inputs.parameters).decode()
        kind, _, name = rest.partition(".")
        if kind == "parameters":
            for parameter in self._inputs.parameters:
                if parameter.name == name and parameter.value is not None:
                    return parameter.value
        return None

    def _item_value(self, field: str) -> str | None:
        if not field:
            return names.item_text(self._item)
        if self._item_fields is None:
            if not self._item.startswith("{"):
                raise Problem(f"item is not a map: {{{{item.{field}}}}} of {self._item}")
            fields = msgspec.json.decode(self._item, type=dict[str, msgspec.Raw])
            self._item_fields = {name: names.item_text(bytes(raw).decode()) for name, raw in fields.items()}
        value = self._item_fields.get(field)
        if value is None:
            raise Problem(f"failed to resolve {{{{item.{field}}}}}: {self._item} has no such field")
        return value


def text_or_absent(scope: Scope, tag: str, text: str) -> str | None:
    """Return a pure tag's value, None when its node was skipped; `text`, the tag with its braces, when nobody knows it.

    Raises:
        Problem: the tag has no value for another reason.
    """
    try:
        value = scope(tag)
    except Absent:
        return None
    return text if value is None else value
