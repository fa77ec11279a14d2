"""A workflow's steps as numbers: what they read from far, write, and wait for."""

from collections.abc import Mapping, Sequence

from jitflow.model.data import FutureStep, ObjectRef, StepId


class Graph:
    """Steps by their place in the list; sizes and run times that are not known count as nothing.

    `far[n]`: the external objects that step n reads, as numbers into `far_bytes`. `made[n]`: the transient objects it writes, as
    numbers into `made_bytes`; `reads[n]`: those it reads. `before[n]`, `behind[n]`: steps that must end first, steps that wait.
    """

    def __init__(self, steps: Sequence[FutureStep], sizes: Mapping[ObjectRef, int], run_s: float = 0.0) -> None:
        """Number the steps, which must be listed so that each follows those it waits for."""
        self.ids: list[StepId] = [step.id for step in steps]
        self.run_s = [run_s if step.run_s is None else step.run_s for step in steps]
        place = {step.id: n for n, step in enumerate(steps)}
        self.before = [[place[name] for name in dict.fromkeys(step.after) if name in place] for step in steps]
        self.behind: list[list[int]] = [[] for _ in steps]
        for n, before in enumerate(self.before):
            for other in before:
                self.behind[other].append(n)
        self.made_bytes: list[int] = []
        self.far_bytes: list[int] = []
        self.made: list[list[int]] = []
        self.far: list[list[int]] = []
        self.reads: list[list[int]] = []
        self._number_objects(steps, sizes)
        self.readers = [0] * len(self.made_bytes)
        for reads in self.reads:
            for number in reads:
                self.readers[number] += 1

    def _number_objects(self, steps: Sequence[FutureStep], sizes: Mapping[ObjectRef, int]) -> None:
        made: dict[ObjectRef, int] = {}
        far: dict[ObjectRef, int] = {}
        for step in steps:
            self.made.append([made.setdefault(one.ref, len(made)) for one in step.outputs])
        self.made_bytes += [0] * len(made)
        for step in steps:
            for one in step.outputs:
                self.made_bytes[made[one.ref]] = one.size_bytes or 0
            refs = dict.fromkeys(one.ref for one in step.inputs)
            self.reads.append([made[ref] for ref in refs if ref in made])
            self.far.append([far.setdefault(ref, len(far)) for ref in refs if ref not in made])
        self.far_bytes += (sizes.get(ref, 0) for ref in far)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.ids)


def sizes_of(steps: Sequence[FutureStep]) -> dict[ObjectRef, int]:
    """Return the sizes that steps say of what they read."""
    return {one.ref: one.size_bytes for step in steps for one in step.inputs if one.size_bytes is not None}
