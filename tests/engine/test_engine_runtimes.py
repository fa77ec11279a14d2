"""Run times are learned by template, over workflows and restarts."""

import asyncio

import pytest

from jitflow import machine
from jitflow.engine.runtimes import RUN_TIME, RunTimes
from jitflow.engine.tasks import Owner
from jitflow.model import argo
from jitflow.model.pods import CollectedArtifact, PodEnd
from jitflow.model.runs import WorkflowStarted
from jitflow.spec import load_one
from jitflow.testing.memory_store import MemoryStore

pytestmark = pytest.mark.pure

TEXT = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: NAME, namespace: default, uid: u1}
spec:
  entrypoint: work
  templates: [{name: work, container: {image: busybox, command: [sleep, "AMOUNT"]}}]
"""


class Clock:
    def now(self) -> float:
        return 1000.0

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(0)


def state(name: str, amount: int = 1) -> machine.State:
    manifest = load_one(TEXT.replace("NAME", name).replace("AMOUNT", str(amount)), kinds=("Workflow",)).manifest
    assert isinstance(manifest, argo.Workflow)
    return machine.decide(machine.new_state(manifest), WorkflowStarted(), 1.0).state


def end(seconds: float, exit_code: int | None = 0, wrote: int | None = None) -> PodEnd:
    artifacts = () if wrote is None else (CollectedArtifact(name="out", source="/x", size_bytes=wrote),)
    return PodEnd(key="k", exit_code=exit_code, started_at=100.0, finished_at=100.0 + seconds, artifacts=artifacts)


def fingerprint(one: machine.State) -> str:
    (step,) = machine.forecast(one)
    return step.fingerprint


def test_run_times_are_means_that_follow_the_newest_and_outlive_a_restart() -> None:
    async def run() -> None:
        store, owner = MemoryStore(), Owner(lambda error: None)
        times = RunTimes(store, Clock(), owner)
        first, other, changed = state("a"), state("b"), state("c", amount=2)
        assert fingerprint(first) == fingerprint(other) != fingerprint(changed)
        assert times.of(fingerprint(first)) is None
        times.learn(first, "a", end(4.0))
        times.learn(other, "b", end(8.0))
        assert times.of(fingerprint(first)) == pytest.approx(6.0)
        for _ in range(40):
            times.learn(first, "a", end(1.0))
        assert times.of(fingerprint(first)) == pytest.approx(1.0, abs=0.01)
        times.learn(first, "a", end(50.0, exit_code=1))
        times.learn(first, "a", end(50.0, exit_code=None))
        times.learn(first, "nobody", end(50.0))
        assert times.of(fingerprint(first)) == pytest.approx(1.0, abs=0.01)
        assert times.of(fingerprint(changed)) is None
        while not await store.items(RUN_TIME):
            await asyncio.sleep(0.001)
        await times.save()
        again = RunTimes(store, Clock(), owner)
        await again.open()
        assert again.of(fingerprint(first)) == times.of(fingerprint(first))
        await owner.close()

    asyncio.run(run())


def test_what_steps_write_is_learned_too() -> None:
    async def run() -> None:
        store, owner = MemoryStore(), Owner(lambda name, error: None)
        times, one = RunTimes(store, Clock(), owner), state("a")
        key = fingerprint(one)
        assert times.written(key, "out") is None
        for size in (100, 300):
            assert times.learn(one, "a", end(1.0, wrote=size)) == key
        assert times.written(key, "out") == 200
        assert times.learn(one, "a", end(1.0, exit_code=1, wrote=900)) == ""
        await times.save()
        again = RunTimes(store, Clock(), owner)
        await again.open()
        assert (again.written(key, "out"), again.written(key, "other")) == (200, None)
        await owner.close()

    asyncio.run(run())
