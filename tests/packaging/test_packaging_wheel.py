"""The wheel where nothing else is: an empty virtual environment, an empty directory, no tree of sources."""

import json
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
pytestmark = pytest.mark.skipif(not UV.exists(), reason="uv is not installed beside this Python")


def done(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; it must succeed."""
    ended = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=100,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done(UV, "build", "--quiet", "--wheel", "--out-dir", folder, cwd=ROOT)
    (built,) = folder.glob("jitflow-*.whl")
    return built


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """Return the programs of a virtual environment that holds the wheel and what it asks for."""
    done(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / "bin"
    done(UV, "pip", "install", "--quiet", "--python", programs / "python", wheel, cwd=tmp_path)
    return programs


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has just that."""
    return {
        "PATH": f"{installed}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "JITFLOW_HOME": str(tmp_path / "data"),
        "JITFLOW__SERVER__PORT": "0",
        "NO_COLOR": "1",
    }


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Run a server and yield its address."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["jitflow", "server"], cwd=empty, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        address = tmp_path / "data" / "server.json"
        until = time.monotonic() + 30
        while not address.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert address.exists(), (tmp_path / "log").read_text()
        yield json.loads(address.read_text())["url"]
    finally:
        process.terminate()
        assert process.wait(30) == 0, (tmp_path / "log").read_text()


def test_a_workflow_runs_from_the_wheel_alone(server: str, environment: dict[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done("jitflow", "--version", cwd=empty, env=environment).strip() == version
    shutil.copyfile(ROOT / "examples" / "artifacts.yaml", tmp_path / "artifacts.yaml")
    said = done("jitflow", "submit", "--wait", tmp_path / "artifacts.yaml", cwd=empty, env=environment)
    assert "Succeeded" in said
    with urllib.request.urlopen(f"{server}/docs", timeout=10) as page:
        assert b"docs.js" in page.read()
    assert not list(empty.iterdir())


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_demonstration_takes_the_wheel(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    done("make", f"WHEEL={wheel}", f"WHEEL_VENV={folder}", f"{folder}/.ready", cwd=ROOT)
    # As `make demo` starts it, in the tree: what is measured is the wheel, and all that the demonstration imports is there.
    where = "import benchmark.demo.__main__, jitflow; print(jitflow.__file__)"
    assert done(folder / "bin" / "python", "-c", where, cwd=ROOT).startswith(str(folder))


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_a_wheel_that_is_not_there_is_told() -> None:
    ended = subprocess.run(
        ["make", "demo", "WHEEL=dist/none.whl"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode != 0
    assert "there is no file 'dist/none.whl': make one by `make dist`" in ended.stderr
