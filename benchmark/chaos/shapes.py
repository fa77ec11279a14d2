"""The workflows of the campaign: what each comes to is known beforehand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

BUCKET = "bucket"
REMOTE = "far"
MARKS = "marks"
"""The claim in which steps leave marks."""
RETRIES = 40
"""More than what kills of pods' parents can use up."""
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A workflow, the phase in which it has to end, and the far objects it has to leave behind.

    `after`: the steps that a step may begin after only. `fails`: steps whose first attempt fails by itself.
    """

    name: str
    manifest: Manifest
    phase: str
    outputs: dict[str, bytes]
    steps: frozenset[str]
    after: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    fails: frozenset[str] = frozenset()


def make(number: int, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """Return the next workflow; `inputs`: what lies in the far store."""
    shape = SHAPES[number % len(SHAPES)]
    return shape(f"c{number:04d}-{shape.__name__.strip('_')}", random, inputs)


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).hexdigest().encode() + b"\n"


def _far(key: str) -> dict[str, Any]:
    return {"plugin": {"name": "rclone", "key": f"{REMOTE}:{BUCKET}/{key}"}}


def _source(name: str) -> dict[str, Any]:
    # No path that others use: pods see the host's root, and a directory there that somebody removes looks empty to them.
    return {"name": name.replace("/", "-"), "path": f"/given/{name.replace('/', '-')}", **_far(name)}


def _step(
    name: str,
    random: Random,
    *,
    artifacts: list[dict[str, Any]],
    parameters: tuple[str, ...] = (),
    outputs: list[dict[str, Any]] | None = None,
    step: str = "",
    command: str = "cat /given/* | sha256sum | cut -c1-64 > /tmp/out",
    before: str = "true",
) -> dict[str, Any]:
    """Return a template that leaves a mark when an attempt begins and one when it has done its work."""
    said, pause_s = step or name, random.choice((0.05, 0.2, 0.5, 0.9))
    marks = "{{pod.name}} >> /marks/{{workflow.name}}"
    script = f"set -e; echo begin {said} {marks}; {before}; sleep {pause_s}; {command}; echo end {said} {marks}"
    return {
        "name": name,
        "inputs": {"artifacts": artifacts, "parameters": [{"name": one} for one in parameters]},
        "outputs": {"artifacts": outputs or []},
        "retryStrategy": {"limit": RETRIES, "retryPolicy": "Always"},
        "container": {
            "image": "busybox",
            "command": ["sh", "-c"],
            "args": [script],
            "volumeMounts": [{"name": MARKS, "mountPath": "/marks"}],
        },
    }


def _workflow(name: str, templates: list[dict[str, Any]], **spec: Any) -> Manifest:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "entrypoint": "main",
            "volumes": [{"name": MARKS, "persistentVolumeClaim": {"claimName": MARKS}}],
            "templates": templates,
            **spec,
        },
    }


def _out(key: str) -> dict[str, Any]:
    return {"name": "out", "path": "/tmp/out", "archive": {"none": {}}, **_far(key)}


_KEPT = {"name": "out", "path": "/tmp/out"}
"""An artifact between steps: in the artifact repository, packed."""


def _of(step: str) -> str:
    return f"{{{{tasks.{step}.outputs.artifacts.out}}}}"


def chain(name: str, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """One step after the other, each with the artifact of the one before."""
    one, two = random.sample(sorted(inputs), 2)
    key = f"out/{name}"
    templates = [
        {
            "name": "main",
            "dag": {
                "tasks": [
                    {"name": "a", "template": "a"},
                    {"name": "b", "template": "b", "dependencies": ["a"], "arguments": {"artifacts": [_from("a")]}},
                    {"name": "c", "template": "c", "dependencies": ["b"], "arguments": {"artifacts": [_from("b")]}},
                ]
            },
        },
        _step("a", random, artifacts=[_source(one)], outputs=[_KEPT]),
        _step("b", random, artifacts=[{"name": "a", "path": "/given/0"}, _source(two)], outputs=[_KEPT]),
        _step("c", random, artifacts=[{"name": "b", "path": "/given/0"}], outputs=[_out(key)]),
    ]
    result = _hash(_hash(_hash(inputs[one]), inputs[two]))
    return Case(
        name=name,
        manifest=_workflow(name, templates),
        phase="Succeeded",
        outputs={key: result},
        steps=frozenset("abc"),
        after={"b": ("a",), "c": ("b",)},
    )


def _from(step: str) -> dict[str, str]:
    return {"name": step, "from": _of(step)}


def fan(name: str, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """Many steps side by side that write into a directory, and one that reads it."""
    chosen = sorted(random.sample(sorted(inputs), 4))
    parts = f"out/{name}/parts"
    part = _step(
        "part",
        random,
        step="part-{{inputs.parameters.item}}",
        parameters=("item",),
        artifacts=[{"name": "in", "path": "/given/0", **_far("{{inputs.parameters.item}}")}],
        outputs=[_out(f"{parts}/{{{{inputs.parameters.item}}}}")],
    )
    join = _step(
        "join",
        random,
        artifacts=[{"name": "parts", "path": "/given/parts", **_far(f"{parts}/")}],
        outputs=[_out(f"out/{name}/whole")],
        command="find /given/parts -type f | sort | xargs cat | sha256sum | cut -c1-64 > /tmp/out",
    )
    main = {
        "name": "main",
        "steps": [
            [
                {
                    "name": "part",
                    "template": "part",
                    "arguments": {"parameters": [{"name": "item", "value": "{{item}}"}]},
                    "withItems": chosen,
                }
            ],
            [{"name": "join", "template": "join"}],
        ],
    }
    outputs = {f"{parts}/{one}": _hash(inputs[one]) for one in chosen}
    steps = frozenset(f"part-{one}" for one in chosen)
    return Case(
        name=name,
        manifest=_workflow(name, [main, part, join]),
        phase="Succeeded",
        outputs={**outputs, f"out/{name}/whole": _hash(*(outputs[f"{parts}/{one}"] for one in chosen))},
        steps=steps | {"join"},
        after={"join": tuple(steps)},
    )


def diamond(name: str, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """Two branches between a first step and a last one; the first attempt of one branch fails; an exit handler follows."""
    one, left, right = random.sample(sorted(inputs), 3)
    key = f"out/{name}"
    tasks = [
        {"name": "top", "template": "top"},
        *(
            {"name": side, "template": side, "dependencies": ["top"], "arguments": {"artifacts": [_from("top")]}}
            for side in ("left", "right")
        ),
        {
            "name": "bottom",
            "template": "bottom",
            "dependencies": ["left", "right"],
            "arguments": {"artifacts": [_from("left"), _from("right")]},
        },
    ]
    fragile = 'test "{{retries}}" -gt 0 || { echo fail right {{pod.name}} >> /marks/{{workflow.name}}; exit 3; }'
    top = {"name": "top", "path": "/given/0"}
    templates = [
        {"name": "main", "dag": {"tasks": tasks}},
        _step("top", random, artifacts=[_source(one)], outputs=[_KEPT]),
        _step("left", random, artifacts=[top, _source(left)], outputs=[_KEPT]),
        _step("right", random, artifacts=[top, _source(right)], outputs=[_KEPT], before=fragile),
        _step(
            "bottom",
            random,
            artifacts=[{"name": "left", "path": "/given/1"}, {"name": "right", "path": "/given/2"}],
            outputs=[_out(key)],
        ),
        _step("leave", random, artifacts=[], command="true"),
    ]
    first = _hash(inputs[one])
    return Case(
        name=name,
        manifest=_workflow(name, templates, onExit="leave"),
        phase="Succeeded",
        outputs={key: _hash(_hash(first, inputs[left]), _hash(first, inputs[right]))},
        steps=frozenset({"top", "left", "right", "bottom", "leave"}),
        after={"left": ("top",), "right": ("top",), "bottom": ("left", "right"), "leave": ("bottom",)},
        fails=frozenset({"right"}),
    )


def locked(name: str, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """A mutex that several workflows want, and a pause between two steps."""
    one = random.choice(sorted(inputs))
    key = f"out/{name}"
    first = _step("first", random, artifacts=[_source(one)], outputs=[_KEPT])
    first["synchronization"] = {"mutexes": [{"name": "chaos"}]}
    templates = [
        {
            "name": "main",
            "dag": {
                "tasks": [
                    {"name": "first", "template": "first"},
                    {"name": "pause", "template": "pause", "dependencies": ["first"]},
                    {
                        "name": "last",
                        "template": "last",
                        "dependencies": ["pause"],
                        "arguments": {"artifacts": [_from("first")]},
                    },
                ]
            },
        },
        first,
        {"name": "pause", "suspend": {"duration": "1s"}},
        _step("last", random, artifacts=[{"name": "first", "path": "/given/0"}], outputs=[_out(key)]),
    ]
    return Case(
        name=name,
        manifest=_workflow(name, templates),
        phase="Succeeded",
        outputs={key: _hash(_hash(inputs[one]))},
        steps=frozenset({"first", "last"}),
        after={"last": ("first",)},
    )


def failing(name: str, random: Random, inputs: Mapping[str, bytes]) -> Case:
    """A step that fails for good: the workflow has to end as failed, and what would follow must not run."""
    one = random.choice(sorted(inputs))
    bad = _step("bad", random, artifacts=[_source(one)], command="echo fail bad {{pod.name}} >> /marks/{{workflow.name}}; exit 3")
    bad["retryStrategy"] = {"limit": RETRIES, "retryPolicy": "OnError"}
    key = f"out/{name}"
    templates = [
        {
            "name": "main",
            "steps": [[{"name": "good", "template": "good"}], [{"name": "bad", "template": "bad"}], [_never()]],
        },
        _step("good", random, artifacts=[_source(one)], outputs=[_out(key)]),
        bad,
        _step("never", random, artifacts=[]),
    ]
    return Case(
        name=name,
        manifest=_workflow(name, templates),
        phase="Failed",
        outputs={key: _hash(inputs[one])},
        steps=frozenset({"good", "bad"}),
        after={"bad": ("good",)},
        fails=frozenset({"bad"}),
    )


def _never() -> dict[str, str]:
    return {"name": "never", "template": "never"}


SHAPES: tuple[Callable[[str, Random, Mapping[str, bytes]], Case], ...] = (chain, fan, diamond, locked, failing)
