"""The documents: what they name exists, and their marked commands run.

A line `<!-- run -->` before a `bash` block runs it; `<!-- file: NAME -->` before any block writes it to a file. The blocks of one
document run in order in one shell, in a folder and a data home of their own.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARKED = re.compile(r"^<!-- (run|file: (?P<name>[\w./-]+)) -->\n\n?```\w*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def identity(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> list[str]:
    """Return the lines of shell blocks; a `$ ` prompt is taken off, other lines of such a block are output."""
    lines: list[str] = []
    for language, body in BLOCK.findall(text):
        if language in {"bash", "sh", "console"}:
            prompts = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
            lines += prompts or body.splitlines()
    return lines


@pytest.mark.pure
@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_commands_that_documents_name_exist(document: Path):
    from jitflow.cli.app import COMMANDS

    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(document.read_text()):
        words = line.split()
        if words[:1] == ["jitflow"] and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in COMMANDS, line
        if words[:1] == ["make"] and len(words) > 1:
            assert words[1] in targets, line


@pytest.mark.pure
def test_commands_that_messages_and_texts_name_exist():
    known = set(re.findall(r"^#+ (jitflow[a-z -]*)$", (ROOT / "docs/reference/cli.md").read_text(), re.MULTILINE))
    groups = {path.rpartition(" ")[0] for path in known}
    files = [*DOCUMENTS, *(ROOT / "src").rglob("*.py"), *(ROOT / "deploy").rglob("*.yaml")]
    for file in files:
        for words in re.findall(r"`jitflow((?: [a-z][a-z-]*)+)", file.read_text()):
            path = "jitflow"
            for word in words.split():
                if path not in groups:
                    break  # what follows are arguments
                path = f"{path} {word}"
                assert path in known, f"{identity(file)} names `{path}`"


@pytest.mark.pure
@pytest.mark.parametrize("document", DOCUMENTS, ids=identity)
def test_links_of_documents_lead_somewhere(document: Path):
    missing = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if "<!-- run -->" in path.read_text()], ids=identity)
def test_marked_commands_of_documents_run(document: Path, tmp_path: Path):
    script: list[str] = ["set -euo pipefail"]
    for found in MARKED.finditer(document.read_text()):
        if name := found["name"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(found["body"])
        else:
            script.append(found["body"])
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    home = tmp_path / "home"
    kept = {key: value for key, value in os.environ.items() if not key.startswith("JITFLOW_")}
    environment = kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "JITFLOW_HOME": str(home),
        "JITFLOW_CONFIG": str(tmp_path / "settings.toml"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "NO_COLOR": "1",
    }
    if not (tmp_path / "settings.toml").exists():
        (tmp_path / "settings.toml").write_text("[server]\nport = 0\n")
    process = subprocess.Popen(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=180)
    except subprocess.TimeoutExpired as error:
        logs = "".join(f"\n{path.name}:\n{path.read_text(errors='replace')}" for path in tmp_path.glob("*.log"))
        pytest.fail(f"it does not end: {(error.output or b'').decode(errors='replace')}{logs}")
    finally:
        # A server that a document starts in the background ends with its shell's group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        assert process.stdout is not None
        process.stdout.close()
        process.wait(10)
    assert process.returncode == 0, output


def settings_in(tree: type, prefix: str = "") -> set[str]:
    """Return the names of all settings below a type, with NAME for a key of one's own."""
    from typing import get_args, get_origin

    import msgspec

    found: set[str] = set()
    for one in msgspec.structs.fields(tree):
        kind = one.type
        inner = get_args(kind)[1] if get_origin(kind) is dict else kind
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found |= settings_in(inner, f"{prefix}{one.name}." + ("NAME." if inner is not kind else ""))
        else:
            found.add(prefix + one.name)
    return found


@pytest.mark.pure
def test_the_settings_reference_is_complete():
    from jitflow.settings import Settings

    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    told = set(re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE))
    assert told == settings_in(Settings)


def pages_in(tree: object) -> list[str]:
    """Return the pages that a part of the site's `nav` names."""
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    assert isinstance(parts, Iterable)
    return [page for part in parts for page in pages_in(part)]


@pytest.mark.pure
def test_the_site_holds_every_page_once():
    told = pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(told) == sorted(there), "mkdocs.yml: `nav` names each page of docs/ once"


@pytest.mark.pure
def test_documents_of_the_site_link_to_what_is_in_it():
    away = [
        f"{identity(document)}: {link}"
        for document in DOCUMENTS[1:]
        for link in LINK.findall(document.read_text())
        if not (document.parent / link).resolve().is_relative_to(ROOT / "docs")
    ]
    assert not away
