"""The two shapes, in each tool's own language. A step is `/bin/sh -c true` everywhere."""

from typing import Any

CHAIN = "chain"
FAN = "fan"
PARALLEL = 2


def argo(shape: str, steps: int) -> dict[str, Any]:
    """Return a manifest."""
    noop = {"name": "noop", "container": {"image": "noop:1", "command": ["/bin/sh", "-c", "true"]}}
    if shape == CHAIN:
        tasks = [{"name": f"t{n}", "template": "noop", **({"depends": f"t{n - 1}"} if n else {})} for n in range(steps)]
        main: dict[str, Any] = {"name": "main", "dag": {"tasks": tasks}}
    else:
        main = {"name": "main", "steps": [[{"name": "t", "template": "noop", "withSequence": {"count": str(steps)}}]]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{shape}-{steps}-"},
        "spec": {"entrypoint": "main", "templates": [main, noop]},
    }


def makefile(shape: str, steps: int) -> str:
    """Return a Makefile whose first target is the whole."""
    names = " ".join(f"t{n}" for n in range(steps))
    before = [f"t{n}: t{n - 1}\n" for n in range(1, steps)] if shape == CHAIN else []
    return f"all: {names}\n.PHONY: all {names}\n" + "".join(before) + f"{names}:\n\t@/bin/sh -c true\n"


def snakefile(shape: str, steps: int) -> str:
    """Return a Snakefile; a step's mark is an empty file, which Snakemake needs to know that it has run."""
    before = """    input: lambda w: [] if w.n == "0" else f"done/{int(w.n) - 1}"\n""" if shape == CHAIN else ""
    target = f'"done/{steps - 1}"' if shape == CHAIN else f'expand("done/{{n}}", n=range({steps}))'
    return f"""
rule all:
    input: {target}

rule step:
{before}    output: touch("done/{{n}}")
    shell: "/bin/sh -c true"
"""


def prefect_flow(shape: str, steps: int) -> str:
    """Return a Python program that runs a flow."""
    if shape == CHAIN:
        body = [
            "    last = None",
            f"    for n in range({steps}):",
            "        last = step.submit(n, wait_for=[last] if last else None)",
            "    last.wait()",
        ]
    else:
        body = [f"    for future in [step.submit(n) for n in range({steps})]:", "        future.wait()"]
    lines = "\n".join(body)
    return f"""
import subprocess
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


@task
def step(n):
    subprocess.run(["/bin/sh", "-c", "true"], check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers={PARALLEL}))
def main():
{lines}

main()
"""
