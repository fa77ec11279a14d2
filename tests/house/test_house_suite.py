"""The suite of benchmarks: parts run one after the other, and the report tells how each went."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from benchmark.__main__ import PARTS, Part, main


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    (tmp_path / "one_part.py").write_text(
        "import sys, pathlib\n"
        "output = pathlib.Path(sys.argv[sys.argv.index('--output') + 1])\n"
        "(output / 'one.md').write_text('| rounds | ' + sys.argv[1] + ' |')\n"
        "(output / 'one.png').write_bytes(b'')\n"
    )
    (tmp_path / "two_part.py").write_text("print('no such database'); raise SystemExit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return [Part("one", "The first", "one_part", ("short",), ("long",)), Part("two", "The second", "two_part", ())]


def test_a_part_that_fails_is_told_and_the_others_go_on(parts: list[Part], tmp_path: Path):
    output = tmp_path / "bench"
    output.mkdir()
    (output / "two.md").write_text("of an earlier day")
    os.utime(output / "two.md", (1, 1))
    assert main(["--output", str(output)], parts[::-1]) == 1
    report = (output / "report.md").read_text()
    assert re.search(
        r"\| two \| 20..-..-.. ..:.. \| [-0-9a-z]* \| short \| [0-9.]+, [0-9.]+ \| 0 \| ended with exit code 3 \|", report
    )
    assert "no such database" in report
    assert "of an earlier day" not in report
    assert "| rounds | short |" in report
    assert "![The first](one.png)" in report


def test_parts_are_chosen_and_run_in_full(parts: list[Part], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--output", str(tmp_path), "--only", "one", "--full"], parts) == 0
    report = (tmp_path / "report.md").read_text()
    assert "| rounds | long |" in report
    assert "The second" not in report
    assert main(["--output", str(tmp_path), "--only", "two", "--add"], parts) == 1
    report = (tmp_path / "report.md").read_text()
    assert "| rounds | long |" in report, "what an earlier call has run stays"
    assert "no such database" in report
    (tmp_path / "one.json").write_text("[]")
    published = tmp_path / "published"
    assert main(["--output", str(tmp_path), "--publish", str(published)], parts) == 0
    assert sorted(path.name for path in published.iterdir()) == ["index.md", "one.json", "one.png", "report.json"]
    assert (published / "index.md").read_text() == report
    elsewhere = tmp_path / "elsewhere"
    assert main(["--output", str(elsewhere), "--resume", str(published), "--only", "two"], parts) == 1
    assert "## The first" in (elsewhere / "report.md").read_text()
    assert (elsewhere / "one.json").is_file()
    assert main(["--output", str(tmp_path / "none"), "--publish", str(published)], parts) == 2
    with pytest.raises(SystemExit):
        main(["--only", "three"], parts)
    assert "there is no part three; there are one, two" in capsys.readouterr().err


def test_every_part_is_a_program_that_knows_its_options():
    for part in PARTS:
        found = find_spec(part.module)
        package = found is not None and found.submodule_search_locations is not None
        found = find_spec(f"{part.module}.__main__") if package else found
        assert found, part.module
        assert found.origin
        options = {word for word in (*part.short, *part.full) if word.startswith("--")} | ({"--output"} if part.writes else set())
        program = Path(found.origin).read_text()
        assert not [option for option in options if f'"{option}"' not in program], part.name
