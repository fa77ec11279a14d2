"""Run the manifests of a table and say which end as expected.

python -m benchmark.conformance --manifests FOLDER --expected TABLE.tsv
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from benchmark.conformance.api import Api
from benchmark.conformance.play import SCHEDULE_S, Outcome, Stage, play
from benchmark.conformance.stand_ins import images
from benchmark.conformance.table import Row, read
from benchmark.conformance.world import Library
from benchmark.service import MeasurementError, Server, no_orphans
from jitflow.testing.s3_server import S3Server

BUCKETS = ("my-bucket", "my-bucket-2", "my-bucket-3")
ACCESS_KEY, SECRET_KEY = "conformance", "conformance-secret"
MAX_PODS = 24


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=Path, required=True, help="folder below which the table's paths are")
    parser.add_argument("--expected", type=Path, help="table (default: expected.tsv in that folder)")
    parser.add_argument("--only", default="", help="rows whose path holds one of these texts (comma-separated)")
    parser.add_argument("--parallel", type=int, default=12, help="rows at once")
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds a row may take; three times the noted time if that is more"
    )
    parser.add_argument("--random-runs", type=int, default=20, help="how often rows that end by chance are run")
    parser.add_argument("--executor", choices=("sandbox", "process"), default="sandbox")
    parser.add_argument("--require", type=int, help="exit with 1 when fewer rows end as expected")
    parser.add_argument("--excuse", type=int, default=None, help="exit with 1 when more rows than this end otherwise")
    parser.add_argument(
        "--report", type=Path, default=Path("build/conformance/report.json"), help="where the outcomes are written"
    )
    arguments = parser.parse_args()
    table = arguments.expected or arguments.manifests / "expected.tsv"
    if not table.is_file():
        parser.error(f"{table}: no such table; name one with --expected (make conformance MANIFESTS=DIR EXPECTED=TSV)")
    only = [text for text in arguments.only.split(",") if text]
    try:
        outcomes = list(_run(arguments, table, only))
    except MeasurementError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    good = _summary(outcomes, arguments.report)
    if arguments.excuse is not None and len(outcomes) - good > arguments.excuse:
        return 1
    return 1 if arguments.require is not None and good < arguments.require else 0


def _run(arguments: argparse.Namespace, table: Path, only: list[str]) -> Iterator[Outcome]:
    folder: Path = arguments.manifests
    everything = read(table)
    rows = [row for row in everything if not only or any(text in row.path for text in only)]
    work = Path(tempfile.mkdtemp(prefix="jitflow-conformance-"))
    try:
        with no_orphans(), _server(work, folder, arguments.executor) as server:
            stage = Stage(
                api=Api(server),
                folder=folder,
                library=Library(folder, everything),
                credentials=(ACCESS_KEY, SECRET_KEY),
                random_runs=arguments.random_runs,
            )
            # The longest first: the end then waits for no straggler.
            rows.sort(key=lambda row: -_long_s(row))
            with ThreadPoolExecutor(arguments.parallel) as pool:
                futures = [
                    pool.submit(play, stage, row, number, _patience_s(row, arguments.timeout)) for number, row in enumerate(rows)
                ]
                for number, future in enumerate(as_completed(futures), 1):
                    outcome = future.result()
                    _tell(outcome, f"{number}/{len(futures)}")
                    yield outcome
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _long_s(row: Row) -> float:
    """Return about how long a row takes, to begin with the longest."""
    scheduled = SCHEDULE_S if "cron" in row.features else 0.0
    return max(row.noted_s if not row.is_target_of_stop else 0.0, scheduled, 60.0 if row.is_random else 0.0)


def _patience_s(row: Row, least_s: float) -> float:
    return least_s if row.is_target_of_stop else max(least_s, 3 * row.noted_s)


@contextmanager
def _server(work: Path, folder: Path, executor: str) -> Iterator[Server]:
    for bucket in BUCKETS:
        (work / "s3" / bucket).mkdir(parents=True)
    with S3Server(work / "s3", key_id=ACCESS_KEY, secret=SECRET_KEY) as s3:
        settings = {
            "executor": executor,
            "max_pods": MAX_PODS,
            "grace_s": 2.0,
            "primary": {"capacity": "1GiB"},
            "remotes": {
                "minio": {
                    "type": "s3",
                    "endpoints": ["minio:9000"],
                    "options": {
                        "provider": "Rclone",
                        "endpoint": s3.endpoint,
                        "access_key_id": ACCESS_KEY,
                        "secret_access_key": SECRET_KEY,
                        "force_path_style": "true",
                    },
                }
            },
            "artifact_repository": {"remote": "minio", "prefix": "my-bucket"},
            "artifact_plugins": {"test": {"remote": "minio", "prefix": "my-bucket"}},
            "images": images(folder),
        }
        server = Server(work / "home", settings)
        try:
            with server:
                yield server
        finally:
            if server.log.exists():
                keep = Path("build/conformance/server.log")
                keep.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(server.log, keep)


def _tell(outcome: Outcome, place: str) -> None:
    row = outcome.row
    if outcome.is_expected:
        print(f"ok      {place:>8} {row.path} ({outcome.got}, {outcome.seconds:.1f} s)", flush=True)
        return
    wanted = "|".join(sorted(row.phases))
    print(f"DIFFERS {place:>8} {row.path}: expected {wanted}, got {outcome.got}: {outcome.reason}", flush=True)
    if outcome.message:
        print(f"                 {' '.join(outcome.message.split())[:400]}", flush=True)


def _summary(outcomes: list[Outcome], report: Path) -> int:
    differing = [outcome for outcome in outcomes if not outcome.is_expected]
    print()
    for reason, count in Counter(outcome.reason for outcome in differing).most_common():
        print(f"{count:4}  {reason}")
    for message, count in Counter(f"{o.reason}: {' '.join(o.message.split())[:100]}" for o in differing).most_common(15):
        if count > 1:
            print(f"{count:6}  {message}")
    report.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted((o.row.path, "|".join(sorted(o.row.phases)), o.got, o.reason, o.message, round(o.seconds, 2)) for o in outcomes)
    report.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"all outcomes: {report}; the server's log: build/conformance/server.log")
    good = len(outcomes) - len(differing)
    print(f"{good} of {len(outcomes)} as expected", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
