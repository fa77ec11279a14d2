"""Every template that a workflow may come to."""

from collections.abc import Iterator

from jitflow.machine.compiled import CompiledTemplate
from jitflow.machine.problems import Problem
from jitflow.machine.program import Program
from jitflow.model.objects import NO_OBJECTS, Objects


def reached(program: Program, objects: Objects = NO_OBJECTS) -> Iterator[CompiledTemplate | None]:
    """Yield each of the workflow's templates, and those of other objects that they call; None for one that is not there."""
    todo = [template.name or "" for template in program.spec.templates]
    seen: set[str] = set()
    while todo:
        key = todo.pop()
        if key in seen:
            continue
        seen.add(key)
        try:
            program.fetch(key, objects)
            template = program.template(key)
        except Problem:
            yield None
            continue
        yield template
        todo += [task.template for task in template.tasks]
