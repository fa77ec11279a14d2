"""Fuzz the reading of manifests and expressions for some time.

    python -m benchmark.fuzz --seconds 600

Half of the time hypothesis chooses the inputs, half of it atheris does, guided by the branches that they reach; each target
runs in a process of its own whose memory is bounded. Ends with 1 when an input made a traceback, hung, or took too much memory;
the input is then in build/fuzz.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FOLDER = Path("build/fuzz")
MEMORY_MB = 1024
EXAMPLES = 200


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long in all")
    parser.add_argument("--parallel", type=int, default=2, help="processes at once")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), help="only this engine")
    parser.add_argument("--target", help="only this target")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return _hypothesis(arguments.target, arguments.seconds) if arguments.engine == "hypothesis" else _atheris(arguments)
    return _all(arguments)


def _all(arguments: argparse.Namespace) -> int:
    from benchmark.fuzz.targets import TARGETS  # noqa: PLC0415 - atheris must come first in the processes that use it

    FOLDER.mkdir(parents=True, exist_ok=True)
    engines = [arguments.engine] if arguments.engine else ["hypothesis", *(["atheris"] if _has_atheris() else [])]
    if "atheris" not in engines and not arguments.engine:
        print("atheris has no build for this machine: hypothesis alone")
    jobs = [(engine, target) for engine in engines for target in ([arguments.target] if arguments.target else TARGETS)]
    share = arguments.seconds * arguments.parallel / len(jobs)
    failed, running, began = [], {}, time.monotonic()
    while jobs or running:
        while jobs and len(running) < arguments.parallel:
            engine, target = jobs.pop(0)
            command = [sys.executable, "-m", "benchmark.fuzz", "--run", "--engine", engine, "--target", target,
                       "--seconds", str(share)]  # fmt: skip
            log = (FOLDER / f"{engine}-{target}.log").open("w+b")
            running[subprocess.Popen(command, stdout=log, stderr=log)] = (engine, target, log)
        time.sleep(0.2)
        for process in [process for process in running if process.poll() is not None]:
            engine, target, log = running.pop(process)
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").splitlines()
            print(f"{engine:10} {target:12} {'ok' if process.returncode == 0 else 'FAILED'}  {_last(lines)}", flush=True)
            if process.returncode:
                failed.append(f"{engine} {target}")
                print("\n".join(lines[-40:]))
    print(f"{len(failed)} failed; {time.monotonic() - began:.0f} s; logs and inputs: {FOLDER}")
    return 1 if failed else 0


def _last(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if "runs" in line or "examples" in line), "")


def _has_atheris() -> bool:
    return subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False).returncode == 0


def _bound_memory() -> None:
    limit = MEMORY_MB * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _hypothesis(target: str, seconds: float) -> int:
    """Let hypothesis choose inputs until the time is over; a failing one is made small and printed."""
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415
    from hypothesis import strategies as st  # noqa: PLC0415

    from benchmark.fuzz.targets import TARGETS  # noqa: PLC0415

    _bound_memory()
    run: Callable[[bytes], None] = TARGETS[target]
    count = 0

    def count_and_run(data: bytes) -> None:
        nonlocal count
        count += 1
        run(data)

    until = time.monotonic() + seconds
    seed = int.from_bytes(os.urandom(4), "big")
    while time.monotonic() < until:
        seed += 1
        test = given(st.binary(max_size=400))(count_and_run)
        test = settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=tuple(HealthCheck),  # pyright: ignore[reportArgumentType]
            phases=(Phase.generate, Phase.shrink), print_blob=False,
        )(test)  # fmt: skip
        _with_seed(test, seed)()
    print(f"{count} examples, {_peak_mb()} MB at most")
    return 0


def _with_seed(test: Callable[[], None], seed: int) -> Callable[[], None]:
    from hypothesis import seed as seeded  # noqa: PLC0415

    return seeded(seed)(test)


def _atheris(arguments: argparse.Namespace) -> int:
    """Let libFuzzer choose inputs, guided by the branches that they reach."""
    import atheris  # noqa: PLC0415

    instrument = atheris.instrument_imports  # pyright: ignore[reportAttributeAccessIssue]
    with instrument(include=["jitflow.spec", "jitflow.expr", "jitflow.machine"]):
        from benchmark.fuzz.targets import TARGETS  # noqa: PLC0415

    corpus = FOLDER / f"corpus-{arguments.target}"
    corpus.mkdir(parents=True, exist_ok=True)
    if arguments.target == "texts":
        for number, path in enumerate(sorted(Path("examples").glob("*.yaml"))):
            (corpus / f"seed-{number}").write_bytes(path.read_bytes())
    options = [
        f"-max_total_time={int(arguments.seconds)}", "-timeout=10", f"-rss_limit_mb={MEMORY_MB}", "-max_len=4096",
        f"-artifact_prefix={FOLDER}/{arguments.target}-", "-print_final_stats=1", str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], TARGETS[arguments.target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
