# ruff: noqa: E501 - a manifest on one line reads better than one cut in pieces
"""The semantics of scripts and containers, and of how pods end: with real pods, all of one workflow.

1. A script's source is the file /argo/staging/script, mode 0755; its path is the last argument, after `args`. `command: [sh, -c]` thus
   executes the file.
2. The containers of a set wait for those they depend on; one whose dependency failed ends with that code. What main prints is its result.
3. A pod whose main ends with another code than 0 is Failed, `main: Error (exit code N)`; what goes wrong before or after main (init
   containers, artifacts) makes an Error; a sidecar's code counts but for 137 and 143.
4. Sidecars are told to end when main has ended, and are killed later; how they take it does not matter. A set with outputs needs a
   container named main.
5. A command that a signal ended has the code 128+n; one that could not be started 64.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from semantics_kit import refused
from tests.service.service_kit import PYTHON, ended, submit

TEMPLATES = {
    "by-sh": 'script: {image: i, command: [sh], source: \'echo "$0 $#"; stat -c %a "$0"\'}',
    "by-sh-c": "script: {image: i, command: [sh, -c], source: 'echo \"$0\"'}",
    "with-args": "script: {image: i, command: [sh, -eu], args: [-x], source: 'echo $-'}",
    "by-python": f"script: {{image: i, command: ['{PYTHON}'], source: 'import sys; print(sys.argv)'}}",
    "shebang": f"script: {{image: i, command: [env], source: \"#!{PYTHON}\\nprint('by itself')\"}}",
    "newlines": "script: {image: i, command: [sh], source: 'printf \"a\\n\\n\"'}",
    "stderr": "script: {image: i, command: [sh], source: 'echo out; echo err >&2'}",
    "nothing": "script: {image: i, command: [sh], source: 'true'}",
    "much": f"script: {{image: i, command: ['{PYTHON}'], source: 'print(\"x\" * 300000 + \"end\")'}}",
    "quotes": "container: {image: i, command: [printf, '%s|'], args: ['a \"b\"', \"c'd\", '$HOME', '']}",
    "code-3": "script: {image: i, command: [sh], source: 'echo left > /tmp/p; exit 3'}\noutputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}",
    "signal": "script: {image: i, command: [sh], source: 'kill -9 $$'}",
    "term": "script: {image: i, command: [sh], source: 'kill -15 $$'}",
    "gone": "container: {image: i, command: [/no/such/program]}",
    "no-file": "script: {image: i, command: [sh], source: 'true'}\noutputs: {parameters: [{name: p, valueFrom: {path: /tmp/none}}]}",
    "own-default": "script: {image: i, command: [sh], source: 'true'}\noutputs: {parameters: [{name: p, valueFrom: {path: /tmp/none, default: own}}]}",
    "trimmed": "script: {image: i, command: [sh], source: 'printf \"a\\n\\n\" > /tmp/p'}\noutputs: {parameters: [{name: p, valueFrom: {path: /tmp/p}}]}",
    "no-artifact": "script: {image: i, command: [sh], source: 'true'}\noutputs: {artifacts: [{name: f, path: /tmp/none}]}",
    "init-fails": "initContainers: [{name: prepare, image: i, command: [sh, -c, 'exit 4']}]\ncontainer: {image: i, command: ['true']}",
    "sidecar": "sidecars: [{name: side, image: i, command: [sleep, '600']}]\ncontainer: {image: i, command: ['true']}",
    "side-fails": "sidecars: [{name: side, image: i, command: [sh, -c, 'exit 5']}]\ncontainer: {image: i, command: [sleep, '1']}",
    "set-waits": "containerSet: {containers: [{name: one, image: i, command: [sh, -c, 'exit 6']}, {name: main, image: i, command: [echo, hi], dependencies: [one]}]}",
}


def _workflow() -> str:
    steps = "\n".join(
        f"      {'- -' if not index else '  -'} {{name: {name}, template: {name}, continueOn: {{failed: true, error: true}}}}"
        for index, name in enumerate(TEMPLATES)
    )
    bodies = "\n".join(
        f"  - name: {name}\n" + "\n".join(f"    {line}" for line in body.splitlines()) for name, body in TEMPLATES.items()
    )
    # Whoever names a result has it captured, wherever the name stands.
    readers = " ".join(f"steps.{name}.outputs.result" for name in TEMPLATES)
    return f"""apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: ends-}}
spec:
  entrypoint: main
  templates:
  - name: main
    metadata: {{annotations: {{reads: "{readers}"}}}}
    steps:
{steps}
{bodies}
"""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Run all pods once; give their nodes by name."""
    home: Path = tmp_path_factory.mktemp("semantics")
    with Server(home, {"max_pods": 8, "grace_s": 1.0, "primary": {"capacity": "64MiB"}}) as server:
        workflow = ended(server, submit(server, _workflow()), within_s=90)
        yield {node["displayName"]: node for node in workflow["status"]["nodes"].values()}


def result(node: dict[str, Any]) -> str:
    """Return what a node's main container printed."""
    return str(node["outputs"].get("result"))


def parameter(node: dict[str, Any]) -> str | None:
    """Return a node's output parameter p."""
    return next((str(p["value"]) for p in node["outputs"].get("parameters", []) if p["name"] == "p"), None)


# -- 1 and 2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("by-sh", "/argo/staging/script 0\n755"),
        ("by-sh-c", "/argo/staging/script"),
        ("by-python", "['/argo/staging/script']"),
        ("shebang", "by itself"),
    ],
)
def test_scripts_1_the_source_is_a_program(nodes: dict[str, dict[str, Any]], name: str, printed: str) -> None:
    """Scripts 1: the file has mode 0755 and comes last; `sh -c` and `env` execute it."""
    assert result(nodes[name]) == printed


def test_scripts_1_arguments_come_before_the_file(nodes: dict[str, dict[str, Any]]) -> None:
    """Scripts 1: `args` stand between the command and the file."""
    assert {"e", "u", "x"} <= set(result(nodes["with-args"]))


@pytest.mark.parametrize(
    ("name", "printed"),
    [("newlines", "a\n"), ("stderr", "out"), ("nothing", ""), ("quotes", 'a "b"|c\'d|$HOME||')],
)
def test_scripts_2_the_result_is_what_main_prints(nodes: dict[str, dict[str, Any]], name: str, printed: str) -> None:
    """Scripts 2: standard output only, one line break at the end cut; arguments reach the command as they are."""
    assert result(nodes[name]) == printed


def test_scripts_2_a_large_result_keeps_its_end(nodes: dict[str, dict[str, Any]]) -> None:
    """Scripts 2: of much output the last 256 kB are the result."""
    found = result(nodes["much"])
    assert found.endswith("xend")
    assert 255 * 1024 <= len(found) <= 256 * 1024


def test_scripts_2_a_failed_dependency_gives_its_code_on(nodes: dict[str, dict[str, Any]]) -> None:
    """Scripts 2: a container of a set whose dependency failed does not run and ends with the same code."""
    node = nodes["set-waits"]
    assert (node["phase"], node["outputs"]["exitCode"]) == ("Failed", "6")
    assert "hi" not in result(node)


# -- 3 to 5 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "phase", "code", "message"),
    [
        ("by-sh", "Succeeded", "0", None),
        ("code-3", "Failed", "3", "main: Error (exit code 3)"),
        ("signal", "Failed", "137", "main: Error (exit code 137)"),
        ("term", "Failed", "143", "main: Error (exit code 143)"),
        ("gone", "Failed", "64", "main: Error (exit code 64)"),
        ("side-fails", "Failed", "0", "side: Error (exit code 5)"),
        ("sidecar", "Succeeded", "0", None),
    ],
)
def test_scripts_3_how_pods_end(nodes: dict[str, dict[str, Any]], name: str, phase: str, code: str, message: str | None) -> None:
    """Scripts 3 and 5: phase, code and message of main, of signals, of what cannot start, of sidecars."""
    node = nodes[name]
    assert (node["phase"], node["outputs"]["exitCode"]) == (phase, code)
    assert (node.get("message") or "").startswith(message or "")
    assert bool(node.get("message")) == (message is not None)


@pytest.mark.parametrize(("name", "word"), [("no-file", "/tmp/none"), ("no-artifact", "/tmp/none"), ("init-fails", "prepare")])
def test_scripts_3_errors_around_main(nodes: dict[str, dict[str, Any]], name: str, word: str) -> None:
    """Scripts 3: an output that is not there and an init container that failed make an Error, not a Failed."""
    assert nodes[name]["phase"] == "Error"
    assert word in nodes[name]["message"]


@pytest.mark.parametrize(("name", "value"), [("code-3", "left"), ("own-default", "own"), ("trimmed", "a\n")])
def test_scripts_3_parameters_from_files(nodes: dict[str, dict[str, Any]], name: str, value: str) -> None:
    """Scripts 3: a failed main's outputs are taken too; the default stands in; one line break is cut."""
    assert parameter(nodes[name]) == value


def test_scripts_4_a_set_with_outputs_needs_a_main() -> None:
    """Scripts 4: outputs of a container set come from the container main; without one the manifest is refused."""
    assert "main" in refused(
        "containerSet: {containers: [{name: one, image: i}]}\noutputs: {parameters: [{name: p, valueFrom: {path: /p}}]}"
    )
