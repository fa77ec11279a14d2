"""The Dockerfile without an engine: what it says, and images that are built step by step, started and asked."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deploy.image.dockerfile import Instruction, Wrong, let_through, parse

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "deploy" / "image" / "check.py"
SERVER = """\
import http.server, os, signal, sys
assert open("/data/told").read() == "by the first stage\\n" and not os.path.exists("/srv/app/secret.txt")
open("/data/mine", "w").close()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
DOCKERFILE = """\
# Two stages, as of a program that is built and then installed.
FROM python:3 AS build
ENV TOLD="by the first stage"
RUN mkdir /made \\
    && echo "$TOLD" > /made/told

FROM python:3
RUN useradd --create-home --uid 1000 app
COPY --from=build --chown=app /made /data
WORKDIR /srv/app
COPY . .
USER app
ENV PORT=8137
HEALTHCHECK --interval=1s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$PORT')" 2>/dev/null
ENTRYPOINT ["python", "server.py"]
CMD ["8137"]
"""


def test_instructions_go_over_lines_and_know_where_they_stand():
    first, last = parse(DOCKERFILE)
    assert (first.base, first.name, last.name) == ("python:3", "build", "1")
    assert first.instructions[0].pairs == {"TOLD": "by the first stage"}
    made = first.instructions[1]
    assert (made.line, made.command) == (4, ["/bin/sh", "-c", 'mkdir /made && echo "$TOLD" > /made/told'])
    assert last.instructions[1] == Instruction(9, "COPY", {"from": "build", "chown": "app"}, "/made /data")
    assert last.instructions[-2].command == ["python", "server.py"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RUN true", "line 1: RUN stands before FROM"),
        ("FROM a\nADD http://x /y", "line 2: ADD is not known"),
        ("FROM a AS", "`FROM image` or"),
        ("FROM a\nRUN true \\", "the last line goes on"),
        ("# nothing", "there is no FROM"),
    ],
)
def test_what_is_not_known_is_refused(text: str, told: str):
    with pytest.raises(Wrong, match=told):
        parse(text)


def test_the_last_pattern_that_fits_decides_what_is_let_through(tmp_path: Path):
    for name in ("LICENSE", "src/a.py", "src/__pycache__/a.pyc", "src/deep/__pycache__/b.pyc", "tests/t.py", ".git/HEAD"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text("*\n!LICENSE\n!src\n**/__pycache__\n")
    assert let_through(tmp_path) == [Path("LICENSE"), Path("src/a.py")]


def test_the_image_of_this_tree_is_understood():
    stages = parse((ROOT / "Dockerfile").read_text())
    assert [one.rest for one in stages[-1].instructions if one.word == "USER"] == ["1000"]
    through = {str(path) for path in let_through(ROOT)}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/jitflow/__init__.py", "web/docs/index.html"} <= through
    assert not [path for path in through if path.startswith(("tests/", "build/", "docs/"))]


def built(folder: Path, dockerfile: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "server.py").write_text(SERVER)
    (folder / "secret.txt").write_text("hidden")
    (folder / ".dockerignore").write_text("secret.txt\n")
    (folder / "Dockerfile").write_text(dockerfile)
    done = subprocess.run(
        [sys.executable, str(CHECK), str(folder / "Dockerfile"), *more],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr)
    return done


def test_an_image_is_built_started_and_asked(tmp_path: Path):
    done = built(tmp_path, DOCKERFILE, "--exec", "python -c 'import os; print(os.getuid(), sorted(os.listdir()))'")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as user 1000: python server.py 8137" in done.stdout
    assert "1000 ['.dockerignore', 'Dockerfile', 'server.py']" in done.stdout
    assert not [
        path for path in tmp_path.iterdir() if path.name not in {"server.py", "secret.txt", ".dockerignore", "Dockerfile"}
    ]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (("COPY . .", "COPY none.txt ."), "line 11: COPY: there is no none.txt"),
        (("/made /data", "/mad /data"), "line 9: COPY: there is no /mad"),
        (("USER app\n", ""), "its process would run as root"),
    ],
    ids=["no such file", "not made before", "root"],
)
def test_a_broken_image_is_told(tmp_path: Path, broken: tuple[str, str], told: str):
    done = built(tmp_path, DOCKERFILE.replace(*broken))
    assert (done.returncode, told in done.stderr) == (1, True), done.stdout + done.stderr


def test_a_health_check_that_is_always_content_is_none(tmp_path: Path):
    lines = ["HEALTHCHECK CMD true" if line.startswith("HEALTHCHECK") else line for line in DOCKERFILE.splitlines()]
    done = built(tmp_path, "\n".join(lines))
    assert "HEALTHCHECK is content though nothing runs" in done.stderr, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_the_check_of_what_is_deployed_builds_the_image():
    assert "deploy/image/check.py" in (ROOT / "deploy" / "check").read_text()
