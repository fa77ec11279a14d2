"""The tree: its targets, its files for containers and CI, its layers, and that it speaks of nobody's machine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = {"demo", "test", "check", "bench", "conformance", "fuzz", "generate", "clean", "bench-traces", "fuzz-planner"}
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sql", ".json", ".cfg", ".txt", ".sh", ""}
# Written apart, so that this file does not find itself.
MACHINE_PATHS = re.compile("|".join(re.escape("/" + name + "/") for name in ("work", "root")))


def program(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not installed beside this Python")
    return str(path)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def assert_passes(*command: str) -> None:
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def tracked() -> list[Path]:
    """Return the files of the tree: what git knows, or without git everything that is not made."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard") if shutil.which("git") else None
    if listed and listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        made = {".venv", "build", "dist", ".git", "__pycache__"}
        found = [path for path in ROOT.rglob("*") if not made & set(path.relative_to(ROOT).parts)]
    return [path for path in found if path.is_file() and path.suffix in TEXT]


@pytest.mark.pure
def test_the_makefile_has_the_promised_targets():
    text = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"^([a-z-]+):", text, re.MULTILINE)) >= TARGETS
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) >= TARGETS


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_without_a_target_lists_them():
    done = run("make", "--no-print-directory")
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^ +make ([\w-]+)", done.stdout, re.MULTILINE)) >= TARGETS


def test_the_workflow_of_ci_is_valid():
    checker = program("check-jsonschema")
    for schema in ("vendor.github-workflows", "custom.github-workflows-require-timeout"):
        assert_passes(checker, "--builtin-schema", schema, ".github/workflows/ci.yml")


def test_the_compose_file_is_valid():
    assert_passes(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml")


def test_the_dockerfile_passes_its_linter():
    assert_passes(program("hadolint"), "Dockerfile")


def test_the_layers_hold():
    assert_passes(program("lint-imports"), "--no-cache")


def test_ci_runs_what_the_makefile_has():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make check" in script
    assert "make test" in script
    assert_passes("bash", "-n", ".ci/run")


def test_no_path_of_a_machine_is_in_the_tree():
    found = [str(path.relative_to(ROOT)) for path in tracked() if MACHINE_PATHS.search(path.read_text(errors="replace"))]
    assert not found


@pytest.mark.pure
def test_the_settings_of_the_container_are_understood(tmp_path: Path):
    from jitflow.settings import load

    assert "JITFLOW_HOME=/data" in (ROOT / "Dockerfile").read_text(), "settings.toml says nothing of the home"
    settings = load(ROOT / "deploy" / "settings.toml", {"JITFLOW_HOME": "/data"})
    assert settings.home == "/data"
    assert settings.server.host == "0.0.0.0"


@pytest.mark.pure
def test_the_chart_is_of_this_version_and_its_schema_knows_its_values():
    import json
    import tomllib

    import yaml

    chart = ROOT / "deploy" / "helm" / "jitflow"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (version, version)
    values, schema = yaml.safe_load((chart / "values.yaml").read_text()), json.loads((chart / "values.schema.json").read_text())
    assert set(values) | {"global"} == set(schema["properties"])
