"""How much space a step needs: declared, learned from the steps of its template, or assumed."""

from collections.abc import Iterable, Sequence

from jitflow.model.data import FutureStep, ObjectRef

DEFAULT_OUTPUT_BYTES = 1 << 20
_MARGIN = 1.1
_FORGET = 0.9
_KINDS = 64


class OutputSizes:
    """What the outputs of a template's steps were: a maximum that fades, with a margin."""

    def __init__(self, default_bytes: int) -> None:
        """Know nothing; `default_bytes` is assumed of an output of which nothing is known."""
        self._default = default_bytes
        self._largest: dict[str, float] = {}
        self._kinds: dict[str, FutureStep] = {}
        self._most: int | None = 0

    def foresee(self, step: FutureStep) -> None:
        """Note that a step of its template will come."""
        if step.outputs and len(self._kinds) < _KINDS and step.template not in self._kinds:
            self._kinds[step.template] = step
            self._most = None

    def largest(self) -> int:
        """Return what the most demanding of the foreseen templates will reserve for the outputs of one step."""
        if self._most is None:
            self._most = max((declared(step) + self.assumed(step) for step in self._kinds.values()), default=0)
        return self._most

    def learn(self, template: str, sizes: Sequence[int]) -> None:
        """Note the sizes of the outputs of one step."""
        if template and sizes:
            self._most = None
            self._largest[template] = max(*sizes, self._largest.get(template, 0.0) * _FORGET)

    def assumed(self, step: FutureStep) -> int:
        """Return what to reserve for those outputs of a step that declare no size."""
        count = sum(1 for output in step.outputs if output.size_bytes is None)
        if not count:
            return 0
        largest = self._largest.get(step.template)
        return count * (self._default if largest is None else int(largest * _MARGIN))


def declared(step: FutureStep) -> int:
    """Return the bytes that a step's outputs declare."""
    return sum(output.size_bytes or 0 for output in step.outputs)


def footprint(step: FutureStep) -> int:
    """Return the bytes that must be in the primary while a step runs: inputs of known size and declared outputs."""
    sizes: dict[ObjectRef, int] = {one.ref: one.size_bytes or 0 for one in step.inputs}
    return sum(sizes.values()) + declared(step)


def smallest_capacity(steps: Iterable[FutureStep]) -> int:
    """Return the smallest capacity with which every step can run: the largest footprint of a single one."""
    return max((footprint(step) for step in steps), default=0)
