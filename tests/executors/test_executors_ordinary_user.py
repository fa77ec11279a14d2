"""The tests of the sandbox once more as an ordinary user, when the tests run as root."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import jitflow

UID = 64_321
HERE = Path(__file__).parent


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user already")
def test_everything_works_as_an_ordinary_user() -> None:
    with tempfile.TemporaryDirectory(prefix="jitflow-user-", dir="/var/tmp") as folder:
        os.chown(folder, UID, UID)
        needed = (sys.base_prefix, sys.prefix, Path(jitflow.__file__).parents[1], HERE.parents[1])
        become = [sys.executable, str(HERE / "executors_as_user.py"), str(UID), *map(str, needed), "--"]
        environment = {"HOME": folder, "TMPDIR": folder, "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        probe = _run([*become, sys.executable, "-c", "import jitflow.executors, pytest"], environment)
        if probe.returncode != 0:
            pytest.skip(f"the interpreter cannot be shown to another user here: {probe.stderr.strip()[-300:]}")
        test = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/t"]
        test += ["-k", "not Fake and not parts and not Process and not [process]"]  # they do not depend on the user
        done = _run([*become, *test], environment)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert " passed" in done.stdout


def _run(argv: list[str], environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=110, check=False, cwd="/")
