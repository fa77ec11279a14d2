"""What an Argo tells of a workflow while it runs: each of its states as a Kubernetes would show it, with growing versions."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from machine_driver import Run, default_outputs, workflow

from jitflow import machine, spec
from jitflow.machine import foreign, foreignlife
from jitflow.model import argo
from jitflow.model.data import FutureInput, ObjectRef
from jitflow.model.foreign import ForeignRun, ForeignStep
from jitflow.model.objects import Objects
from jitflow.model.runs import PodStarted

FIRST_VERSION = 1000
PIPELINE = """
entrypoint: main
templates:
- name: main
  dag:
    tasks:
    - name: list
      template: list
    - name: prepare
      template: read
      arguments: {parameters: [{name: key, value: prepared}]}
    - name: each
      template: read
      depends: list
      arguments: {parameters: [{name: key, value: "{{item}}"}]}
      withParam: "{{tasks.list.outputs.result}}"
    - name: never
      template: read
      depends: prepare.Failed
      arguments: {parameters: [{name: key, value: never}]}
    - name: join
      template: join
      depends: each && prepare
      arguments:
        artifacts: [{name: made, from: "{{tasks.prepare.outputs.artifacts.made}}"}]
- name: list
  script: {image: busybox, command: [sh], source: "echo '[\\"a\\",\\"b\\"]'"}
- name: read
  retryStrategy: {limit: 2}
  inputs:
    parameters: [{name: key}]
    artifacts:
    - {name: in, path: /in, s3: {endpoint: "far:9000", bucket: data, key: "raw/{{inputs.parameters.key}}.bin"}}
  outputs:
    artifacts:
    - name: made
      path: /out
      archive: {none: {}}
      s3: {endpoint: "far:9000", bucket: data, key: "made/{{inputs.parameters.key}}.bin"}
  container: {image: busybox, command: [cp]}
- name: join
  inputs:
    artifacts:
    - {name: made, path: /made}
    - {name: map, path: /map, s3: {endpoint: "far:9000", bucket: data, key: map.bin}}
  container: {image: busybox, command: [cat]}
"""


def history(
    text: str = PIPELINE, *, name: str = "wf", uid: str = "u1", fails: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Return the events of a workflow's life, from its creation to its deletion. `fails`: pods that fail, by name."""
    return list(_events(Run(workflow(text, name)), uid, fails))


def _events(run: Run, uid: str, fails: frozenset[str]) -> Iterator[dict[str, Any]]:
    version = FIRST_VERSION
    created = msgspec.to_builtins(run.workflow)

    def event(kind: str, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal version
        version += 7
        body["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": version - FIRST_VERSION}
        return {"type": kind, "body": body}

    def now() -> dict[str, Any]:
        return msgspec.to_builtins(machine.workflow_document(run.state, run.now, "node"))

    yield event("ADD", created)
    run.begin()
    yield event("UPDATE", now())
    while run.state.run.finished_at is None:
        live = run.live()
        run.now += 1
        if not live:
            assert run.fire_next()
            continue
        node = live[0]
        launch = run.launch(node.name)
        run.send(PodStarted(node_id=node.id))
        yield event("UPDATE", now())
        run.now += 1
        end: dict[str, Any] = {"exit_code": 0} | default_outputs(launch)
        if node.name in fails:
            end = {"exit_code": 1}
        if "list" in node.name:
            end["result"] = '["a","b"]'
        run.end(node.name, **end)
        if end.get("artifacts"):
            run.save(node.name)
        yield event("UPDATE", now())
    yield event("DELETE", now())


def validate(manifest: argo.Workflow, objects: Objects) -> None:
    """Check a manifest as the service does."""
    spec.validate(manifest, spec.Places(), objects=objects)


def view(event: Mapping[str, Any], heard_at: float = 0.0, read: Callable[[bytes], Any] = spec.announcements.read) -> ForeignRun:
    """Return the workflow as an event shows it, objects named by their keys."""
    found = read(msgspec.json.encode(event))
    manifest: argo.Workflow = found.workflow
    metadata = manifest.metadata or argo.ObjectMeta()
    deleted = found.type == "DELETE"
    run = ForeignRun(
        uid=metadata.uid or "",
        namespace=metadata.namespace or "",
        name=metadata.name or "",
        version=foreign.version_of(manifest, deleted=deleted),
        phase=foreign.phase_of(manifest),
        deleted=deleted,
        first_heard_at=heard_at,
        heard_at=heard_at,
        finished_at=foreign.finished_at(manifest),
    )
    steps = () if run.has_ended else foreign.seen(manifest, validate).steps
    return msgspec.structs.replace(run, steps=tuple(map(_step, steps)))


def _step(step: foreign.SeenStep) -> ForeignStep:
    inputs = (FutureInput(ref=ref(one.s3.key), optional=True) for one in step.inputs if one.s3 and one.s3.endpoint and one.s3.key)
    return ForeignStep(
        id=step.id, name=step.name, template=step.template, state=step.state, inputs=tuple(inputs),
        outputs=tuple(ref(one.s3.key) for one in step.outputs if one.s3 and one.s3.key), after=step.after, certain=step.certain,
    )  # fmt: skip


def ref(key: str) -> ObjectRef:
    return ObjectRef(remote="far", path=f"data/{key}")


def held(run: ForeignRun, ahead: int = 100) -> set[str]:
    """Return the keys of the objects that are to be near."""
    found = foreignlife.wanted(run, ahead)
    return {one.ref.path.removeprefix("data/") for step in found.coming if step.id in found.held for one in step.inputs}
