"""Send a server requests that schemathesis makes of the OpenAPI descriptions, good ones and bad ones.

    python -m benchmark.fuzz_api --requests 20000

Ends with 1 when an answer was an internal error or did not have the described form; how to send the request again is printed.
Streams are left out: they do not end.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark.service import Server, venv_program

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENTS = ("openapi-data.json", "openapi-control.json")
CHECKS = "no_internal_error,response_schema_conformance,content_type_conformance"
_SENT = re.compile(r"^\s*([\d,]+) generated", re.MULTILINE)


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="about how many requests")
    parser.add_argument("--seed", type=int, default=0, help="of the choices; 0: another each time")
    arguments = parser.parse_args()
    documents = {name: json.loads((REFERENCE / name).read_text()) for name in DOCUMENTS}
    wanted = {name: finite(made) for name, made in documents.items()}
    each = max(1, arguments.requests // sum(len(names) for names in wanted.values()))
    worst, sent = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        settings = {"max_pods": 2, "grace_s": 1.0, "executor": "process", "log_level": "warning"}
        with Server(Path(folder) / "home", settings) as server:
            for name in DOCUMENTS:
                code, count = fuzz(server, REFERENCE / name, wanted[name], each=each, seed=arguments.seed, folder=Path(folder))
                worst, sent = max(worst, code), sent + count
            alive = server.call("GET", "/healthz").status_code == 200
        failures = [line for line in server.log.read_text(errors="replace").splitlines() if "Traceback" in line]
    print(f"{sent:,} requests; the server {'lives' if alive else 'is gone'}; {len(failures)} tracebacks in its log")
    return 1 if worst or not alive or failures else 0


def finite(document: dict[str, Any]) -> list[str]:
    """Return the ids of the operations whose answers end."""
    found = [one for methods in document["paths"].values() for one in methods.values()]
    return [one["operationId"] for one in found if not any(map(_is_stream, one["responses"].values()))]


def _is_stream(answer: dict[str, Any]) -> bool:
    return "text/event-stream" in answer.get("content", {})


def fuzz(server: Server, document: Path, wanted: list[str], *, each: int, seed: int, folder: Path) -> tuple[int, int]:
    """Send requests made of one description; return schemathesis' exit code and how many were sent."""
    token = (server.home / "token").read_text().strip()
    command = [
        venv_program("schemathesis"), "run", str(document), "--url", f"http://127.0.0.1:{server.port}",
        "--header", f"Authorization: Bearer {token}", "--checks", CHECKS, "--phases", "examples,fuzzing",
        "--max-examples", str(each), "--continue-on-failure", "--request-timeout", "20", "--no-color", "--warnings", "off",
        "--suppress-health-check", "all", "--generation-database", "none",
        *(("--seed", str(seed)) if seed else ()),
    ]  # fmt: skip
    for name in wanted:
        command += ["--include-operation-id", name]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "benchmark.fuzz_api.checks", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    counted = _SENT.search(done.stdout)
    if done.returncode:
        print(done.stdout, done.stderr)
    return done.returncode, int(counted[1].replace(",", "")) if counted else 0


if __name__ == "__main__":
    sys.exit(main())
