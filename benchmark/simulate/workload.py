"""Small workflows and what people do with them, drawn from the seed, with what must come out."""

import json
import random
from typing import Any

import msgspec
from msgspec import Struct, field

from benchmark.simulate.far import FarStores
from benchmark.simulate.pods import made
from jitflow.engine.pods import SIZE_ANNOTATION
from jitflow.model import argo
from jitflow.model.data import ObjectRef

RESERVED = 1 << 16
"""Bytes that are reserved for an output of which nothing is said."""


class Command(Struct, frozen=True, kw_only=True):
    """What somebody asks for: `kind` of a workflow at a time."""

    kind: str
    at: float
    workflow: str


class Expected(Struct, kw_only=True):
    """A workflow, when it is submitted, and how it ends if nobody meddles with it.

    `outputs`: what each object holds at its far store in the end. `needs`: bytes that its largest step needs.
    """

    name: str
    at: float
    workflow: argo.Workflow
    phase: str = "Succeeded"
    outputs: dict[ObjectRef, bytes] = field(default_factory=dict)
    needs: int = 0


class Workload(Struct, kw_only=True):
    """All of a run: objects far away, workflows, commands, how much room there is."""

    objects: dict[ObjectRef, tuple[bytes, int]]
    workflows: list[Expected]
    commands: list[Command]
    capacity: int
    """The primary's: what the largest step needs, and a little or a lot more."""
    transfers: int
    places: int
    intermediates: str
    lookahead: bool

    def seed_stores(self, stores: FarStores) -> None:
        """Put the objects where they lie."""
        for ref, (data, size) in self.objects.items():
            stores.put(ref, data, size)


COMMANDS = ("stop", "terminate", "suspend", "retry", "delete", "resubmit")


def draw(seed: int) -> Workload:
    """Return the workload of a seed."""
    rng = random.Random(f"workload {seed}")
    objects = _objects(rng)
    names = [f"wf{number}" for number in range(rng.choice((1, 1, 2, 2, 3)))]
    workflows = [_Maker(rng, name, objects).make() for name in names]
    commands = [
        Command(kind=rng.choice(COMMANDS), at=rng.uniform(1, 120), workflow=rng.choice(names))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3)))
    ]
    return Workload(
        objects=objects,
        workflows=workflows,
        commands=commands,
        capacity=int(max(one.needs for one in workflows) * rng.choice((1.0, 1.05, 1.3, 2.0, 10.0))) or RESERVED,
        transfers=rng.choice((1, 2, 4)),
        places=rng.choice((1, 2, 4)),
        intermediates=rng.choice(("keep", "when-needed")),
        lookahead=rng.random() < 0.85,
    )


def _objects(rng: random.Random) -> dict[ObjectRef, tuple[bytes, int]]:
    found: dict[ObjectRef, tuple[bytes, int]] = {}
    for number in range(6):
        size = rng.choice((100, 5_000, 200_000, 1_500_000, 1_500_000, 3_000_000, 33_600_000))
        content = number if rng.random() < 0.85 else 0
        if content == 0 and number:
            size = found[ObjectRef(remote="far", path="o0")][1]
        found[ObjectRef(remote="far", path=f"o{number}")] = (b"seed %d" % content, size)
    for number in range(rng.choice((1, 2, 3))):
        found[ObjectRef(remote="far", path=f"d/{number}")] = (b"seed d%d" % number, rng.choice((10, 70_000)))
    return found


def _seen(data: bytes, size: int) -> bytes:
    """Return what a pod sees of an object."""
    return data[:size] + f" {size}".encode()


class _Maker:
    """Makes one workflow."""

    def __init__(self, rng: random.Random, name: str, objects: dict[ObjectRef, tuple[bytes, int]]) -> None:
        self.rng = rng
        self.name = name
        self.objects = objects
        self.templates: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []
        self.groups: list[list[dict[str, Any]]] = []
        self.made: dict[str, tuple[bytes, int]] = {}
        """What each task's output holds, of those that others may read."""
        self.expected = Expected(name=name, at=rng.uniform(0, 40), workflow=argo.Workflow(spec=argo.WorkflowSpec()))
        self.uses_steps = rng.random() < 0.4
        self.all_good = True

    def make(self) -> Expected:
        """Return the workflow and what comes of it."""
        rng = self.rng
        for number in range(rng.choice((1, 2, 3, 3, 4, 5, 7))):
            draws = rng.random()
            if draws < 0.08 and number:
                self._suspend(number)
            elif draws < 0.2:
                self._loop(number)
            else:
                self._task(number)
        spec: dict[str, Any] = {"entrypoint": "main", "templates": [self._main(), *self.templates]}
        if rng.random() < 0.2:
            spec["onExit"] = "exit"
            spec["templates"].append(self._template("exit", sizes={}))
        if rng.random() < 0.15:
            spec["parallelism"] = 1
        if rng.random() < 0.2:
            spec["priority"] = rng.choice((1, 5))
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": self.name, "namespace": rng.choice(("default", "default", "other"))},
            "spec": spec,
        }
        self.expected.workflow = msgspec.convert(body, argo.Workflow)
        self.expected.phase = "Succeeded" if self.all_good else "Failed"
        return self.expected

    def _main(self) -> dict[str, Any]:
        if self.uses_steps:
            return {"name": "main", "steps": self.groups}
        return {"name": "main", "dag": {"tasks": self.calls}}

    def _template(
        self, name: str, *, sizes: dict[str, int], label: str = "", fails: int = 0, retried: bool = False
    ) -> dict[str, Any]:
        rng = self.rng
        lasts_s = round(rng.choice((0.1, 1.0, 5.0, 20.0, 20.0, 90.0)) * rng.uniform(0.5, 1.5), 3)
        work = {"label": label, "lasts_s": lasts_s, "fails": fails, "sizes": sizes}
        attempt = "{{retries}}" if retried else "0"
        found: dict[str, Any] = {
            "name": name,
            "container": {"image": "sim", "command": ["sim", json.dumps(work)], "args": [attempt]},
        }
        return found

    def _call(self, name: str, arguments: dict[str, Any], after: list[str], more: dict[str, Any]) -> None:
        call = {"name": name, "template": name, **more}
        if arguments:
            call["arguments"] = arguments
        if not self.uses_steps:
            if after:
                call["dependencies"] = after
            self.calls.append(call)
        elif self.groups and not after and self.rng.random() < 0.5:
            self.groups[-1].append(call)
        else:
            self.groups.append([call])

    def _far(self) -> tuple[str, bytes, int]:
        """Choose an object: its key, what a pod sees of it, and its bytes."""
        if self.rng.random() < 0.12:
            files = {ref: one for ref, one in self.objects.items() if ref.path.startswith("d/")}
            return "far:d/", b"|".join(_seen(*one) for one in files.values()), sum(size for _, size in files.values())
        ref = self.rng.choice([ref for ref in self.objects if ref.path.startswith("o")])
        return str(ref), _seen(*self.objects[ref]), self.objects[ref][1]

    def _task(self, number: int) -> None:
        rng, name = self.rng, f"t{number}"
        inputs: list[dict[str, Any]] = []
        given: list[dict[str, Any]] = []
        reads: dict[str, bytes] = {}
        sizes: dict[str, int] = {}
        after: list[str] = []
        for index in range(rng.choice((0, 1, 1, 2, 3))):
            slot = f"a{index}"
            earlier = [task for task in self.made if task not in after]
            if earlier and rng.random() < 0.5:
                task = rng.choice(earlier)
                kind = "steps" if self.uses_steps else "tasks"
                given.append({"name": slot, "from": f"{{{{{kind}.{task}.outputs.artifacts.out}}}}"})
                inputs.append({"name": slot, "path": f"/in/{slot}"})
                data, size = self.made[task]
                reads[slot], sizes[f"out of {task}"] = _seen(data, size), size
                after.append(task)
            else:
                key, seen, size = self._far()
                inputs.append({"name": slot, "path": f"/in/{slot}", "plugin": {"name": "rclone", "key": key}})
                reads[slot], sizes[key] = seen, size
        if rng.random() < 0.1:
            inputs.append({"name": "maybe", "path": "/in/maybe", "optional": True, "plugin": {"name": "rclone", "key": "far:no"}})
        fails, limit = (0, 0) if rng.random() < 0.75 else rng.choice(((1, 2), (1, 1), (2, 3), (9, 1), (9, 0)))
        writes = rng.random() < 0.8
        size = rng.choice((50, 3_000, 60_000, 400_000, 1_200_000))
        template = self._template(name, sizes={"out": size}, label=f"{self.name} {name}", fails=fails, retried=limit > 0)
        if inputs:
            template["inputs"] = {"artifacts": inputs}
        good = fails <= limit
        self._outputs(name, template, reads, sizes, size=size, writes=writes, good=good)
        if limit:
            backoff = {"backoff": {"duration": "2", "factor": "2"}} if rng.random() < 0.5 else {}
            template["retryStrategy"] = {"limit": str(limit), **backoff}
        goes_on = not good and rng.random() < 0.3
        if not goes_on:
            self.all_good = self.all_good and good
        self.templates.append(template)
        more: dict[str, Any] = {"continueOn": {"failed": True}} if goes_on else {}
        self._call(name, {"artifacts": given} if given else {}, after, more)

    def _outputs(
        self,
        name: str,
        template: dict[str, Any],
        reads: dict[str, bytes],
        sizes: dict[str, int],
        *,
        size: int,
        writes: bool,
        good: bool,
    ) -> None:
        reserved = 0
        if writes:
            artifact: dict[str, Any] = {"name": "out", "path": "/out/out", "archive": {"none": {}}}
            if self.rng.random() < 0.6:
                artifact["plugin"] = {"name": "rclone", "key": f"out:{self.name}/{name}"}
            template["outputs"] = {"artifacts": [artifact]}
            reserved = RESERVED
            if self.rng.random() < 0.5:
                template["metadata"] = {"annotations": {SIZE_ANNOTATION: str(size)}}
                reserved = size
            data = made(f"{self.name} {name}", "out", reads)
            if good:
                self.made[name] = (data, size)
                if "plugin" in artifact:
                    self.expected.outputs[ObjectRef(remote="out", path=f"{self.name}/{name}")] = _seen(data, size)
        self.expected.needs = max(self.expected.needs, sum(sizes.values()) + reserved)

    def _loop(self, number: int) -> None:
        name = f"l{number}"
        items = self.rng.sample(range(6), self.rng.choice((2, 3)))
        size = self.rng.choice((50, 70_000))
        template = self._template(name, sizes={"out": size}, label=f"{self.name} {name} {{{{inputs.parameters.n}}}}")
        template["inputs"] = {
            "parameters": [{"name": "n"}],
            "artifacts": [{"name": "a", "path": "/in/a", "plugin": {"name": "rclone", "key": "far:o{{inputs.parameters.n}}"}}],
        }
        key = f"out:{self.name}/{name}-{{{{inputs.parameters.n}}}}"
        out = {"name": "out", "path": "/out/out", "archive": {"none": {}}, "plugin": {"name": "rclone", "key": key}}
        template["outputs"] = {"artifacts": [out]}
        for item in items:
            data, bytes_in = self.objects[ObjectRef(remote="far", path=f"o{item}")]
            written = made(f"{self.name} {name} {item}", "out", {"a": _seen(data, bytes_in)})
            self.expected.outputs[ObjectRef(remote="out", path=f"{self.name}/{name}-{item}")] = _seen(written, size)
            self.expected.needs = max(self.expected.needs, bytes_in + RESERVED)
        self.templates.append(template)
        arguments = {"parameters": [{"name": "n", "value": "{{item}}"}]}
        self._call(name, arguments, [], {"withItems": items})

    def _suspend(self, number: int) -> None:
        name = f"s{number}"
        self.templates.append({"name": name, "suspend": {"duration": "7"} if self.rng.random() < 0.6 else {}})
        self._call(name, {}, [], {})
