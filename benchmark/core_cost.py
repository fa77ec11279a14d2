"""What one step costs in the machine, by the size of the workflow.

Plays workflows of several shapes and sizes through `decide`, as the engine would with a fake executor, and prints microseconds
for each step (one `PodStarted` and one `PodEnded`, with all that follows from them). The cost must not grow with the size.

    python benchmark/core_cost.py [SIZE ...]
"""

import gc
import random
import sys
import time
from collections import deque

from jitflow import machine
from jitflow.bootstrap.system import calm_collector
from jitflow.model import argo
from jitflow.model.pods import PodEnd
from jitflow.model.runs import LaunchPod, PodEnded, PodStarted, WorkflowStarted

SIZES = (100, 10_000, 100_000)
SAMPLE = 20_000
"""Small workflows are played again until so many steps have been measured."""
WIDTH = 10
T0 = 1_700_000_000.0


def pod_template() -> argo.Template:
    """Return a typical step: a parameter in, a command with tags."""
    return argo.Template(
        name="work",
        inputs=argo.Inputs(parameters=(argo.Parameter(name="x"),)),
        container=argo.Container(
            image="busybox", command=("sh", "-c"), args=("echo {{inputs.parameters.x}} > /tmp/{{pod.name}}",)
        ),
    )


def task(number: int, dependencies: tuple[int, ...] = ()) -> argo.DAGTask:
    """Return a task of a DAG."""
    arguments = argo.Arguments(parameters=(argo.Parameter(name="x", value=f"value {number}"),))
    return argo.DAGTask(
        name=f"t{number}", template="work", arguments=arguments, dependencies=tuple(f"t{d}" for d in dependencies)
    )


def workflow(main: argo.Template) -> argo.Workflow:
    """Return a workflow whose entrypoint is `main`."""
    metadata = argo.ObjectMeta(name="bench", namespace="default", uid="u")
    return argo.Workflow(metadata=metadata, spec=argo.WorkflowSpec(entrypoint="main", templates=(main, pod_template())))


def fan_out(size: int) -> argo.Workflow:
    """Return a loop of `size` items, at most four at once."""
    step = argo.WorkflowStep(
        name="s",
        template="work",
        arguments=argo.Arguments(parameters=(argo.Parameter(name="x", value="{{item}}"),)),
        with_sequence=argo.Sequence(count=size),
    )
    return workflow(argo.Template(name="main", parallelism=4, steps=((step,),)))


def chain(size: int) -> argo.Workflow:
    """Return tasks that each wait for the one before."""
    tasks = tuple(task(n, (n - 1,) if n else ()) for n in range(size))
    return workflow(argo.Template(name="main", dag=argo.DAGTemplate(tasks=tasks)))


def layered(size: int) -> argo.Workflow:
    """Return layers of ten tasks, each task after three random ones of the layer before."""
    rng = random.Random(1)
    tasks: list[argo.DAGTask] = []
    for n in range(size):
        first = (n // WIDTH - 1) * WIDTH
        before = tuple(sorted(rng.sample(range(first, first + WIDTH), 3))) if first >= 0 else ()
        tasks.append(task(n, before))
    return workflow(argo.Template(name="main", dag=argo.DAGTemplate(tasks=tuple(tasks))))


def play(manifest: argo.Workflow, size: int) -> tuple[float, float, float]:
    """Run a workflow to its end; return seconds of the first event, microseconds per step, and the median step."""
    state = machine.new_state(manifest, now=T0)
    began = time.thread_time()
    decision = machine.decide(state, WorkflowStarted(), T0)
    first_s = time.thread_time() - began
    ready = deque(effect.node_id for effect in decision.effects if isinstance(effect, LaunchPod))
    state = decision.state
    now, costs = T0, []
    while ready:
        node_id = ready.popleft()
        now += 1.0
        end = PodEnd(key=f"u.{node_id}", exit_code=0, started_at=now, finished_at=now)
        began = time.thread_time()
        state = machine.decide(state, PodStarted(node_id=node_id), now).state
        decision = machine.decide(state, PodEnded(node_id=node_id, end=end), now)
        costs.append(time.thread_time() - began)
        state = decision.state
        ready += (effect.node_id for effect in decision.effects if isinstance(effect, LaunchPod))
    if state.run.phase != "Succeeded" or len(costs) != size:
        raise SystemExit(f"{len(costs)} of {size} steps ran, the workflow is {state.run.phase}")
    costs.sort()
    return first_s, 1e6 * sum(costs) / size, 1e6 * costs[size // 2]


def measure(manifest: argo.Workflow, size: int) -> tuple[float, float, float]:
    """Play a workflow as often as its size asks for; return the means of what `play` gives."""
    runs: list[tuple[float, float, float]] = []
    for _ in range(max(1, SAMPLE // size)):
        gc.collect()
        runs.append(play(manifest, size))
    first_s, mean_us, median_us = (sum(values) / len(runs) for values in zip(*runs, strict=True))
    return first_s, mean_us, median_us


def main() -> None:
    """Print the table."""
    sizes = tuple(int(text) for text in sys.argv[1:]) or SIZES
    calm_collector()
    print("processor time of the machine alone; the ratio is to the smallest size")
    print(f"{'shape':10} {'steps':>8} {'first event ms':>15} {'µs/step':>9} {'median µs':>10} {'ratio':>6}")
    for build in (fan_out, chain, layered):
        smallest_us = 0.0
        for size in sizes:
            first_s, mean_us, median_us = measure(build(size), size)
            smallest_us = smallest_us or mean_us
            cells = f"{1e3 * first_s:15.1f} {mean_us:9.1f} {median_us:10.1f} {mean_us / smallest_us:6.2f}"
            print(f"{build.__name__:10} {size:8} {cells}", flush=True)


if __name__ == "__main__":
    main()
