"""Custom metrics in the engine: taken once, over a restart, and gone with their workflow."""

import asyncio
from pathlib import Path

import pytest
from test_engine_runs import World, phase, pods, workflow

from jitflow.telemetry.metrics import CustomMetrics
from jitflow.testing.fake_executor import ScriptedEnd

pytestmark = pytest.mark.pure

MEASURED = """
entrypoint: t
metrics: {prometheus: [{name: ends, help: h, counter: {value: "1"}, labels: [{key: s, value: "{{workflow.status}}"}]}]}
templates:
- name: t
  container: {image: busybox, command: [work]}
  metrics:
    prometheus:
    - {name: lasts, help: h, gauge: {value: "{{duration}}", realtime: true}}
    - {name: runs, help: h, counter: {value: "1"}}
"""


def test_metrics_are_taken_once_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, None)
        world.meters = CustomMetrics(lambda: 2e9)
        async with world.engine() as engine:
            row = await engine.create(workflow(MEASURED))
            (key,) = await pods(world, 1)
            assert "argo_workflows_lasts " in world.meters.text()
        world.meters = CustomMetrics(lambda: 2e9)
        async with world.engine() as engine:
            await asyncio.sleep(0.02)
            assert "argo_workflows_lasts " in world.meters.text(), "the gauge goes on after a restart"
            assert engine.figures()["argo_workflows_pods_gauge"][0] == ((("phase", "Running"),), 1.0)
            world.executor.finish(key)
            await phase(engine, row.uid, "Succeeded")
            await asyncio.sleep(0.02)
            text = world.meters.text()
            assert "argo_workflows_runs 1\n" in text
            assert 'argo_workflows_ends{s="Succeeded"} 1\n' in text
            assert "argo_workflows_lasts " not in text, "it goes with the workflow"
        world.meters = CustomMetrics(lambda: 2e9)
        async with world.engine():
            await asyncio.sleep(0.02)
            assert world.meters.text() == ""

    asyncio.run(scenario())


def test_a_value_that_cannot_be_taken_is_told_in_the_history(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, lambda _: ScriptedEnd())
        async with world.engine() as engine:
            text = MEASURED.replace("name: runs, help: h, counter: {value:", "name: gauge, help: h, counter: {value:")
            row = await engine.create(
                workflow(f"{text}\nonExit: u".replace("templates:", "templates:\n- {name: u, suspend: {}}"))
            )
            for _ in range(200):
                notes = await engine.notes(row.uid)
                if any(note.reason == "MetricsError" for note in notes):
                    break
                await asyncio.sleep(0.005)
            assert "taken by the server itself" in next(note.message for note in notes if note.reason == "MetricsError")

    asyncio.run(scenario())
