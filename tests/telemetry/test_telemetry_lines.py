"""Log lines: an event and its fields, as JSON and for people."""

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from jitflow import telemetry

pytestmark = pytest.mark.pure


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(level="info", as_json=True)
    telemetry_log = telemetry.logger("engine")
    telemetry_log.info("run began", run="u", step=3)
    telemetry_log.error("task failed", ValueError("no"), task="t")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["run"], first["step"]) == ("run began", "u", 3)
    assert (first["level"], first["logger"]) == ("info", "jitflow.engine")
    assert first["time"].endswith("+00:00")
    assert "ValueError: no" in second["exception"]


def test_what_is_bound_to_a_task_is_in_its_lines_and_in_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(level="info", as_json=True)

    async def work(run: str) -> None:
        telemetry.bind(run=run, node="n")
        await asyncio.sleep(0)
        telemetry.logger("engine").info("event", step=1)

    async def both() -> None:
        telemetry.bind(request="r")
        await asyncio.gather(work("a"), work("b"))
        logging.getLogger("jitflow.dataplane").warning("another way")

    asyncio.run(both())
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(one.get("request"), one.get("run"), one.get("node")) for one in lines] == [
        ("r", "a", "n"), ("r", "b", "n"), ("r", None, None),
    ]  # fmt: skip


def test_lines_for_people_and_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure(level="warning", as_json=False)
    telemetry.logger("engine").info("not told")
    telemetry.logger("engine").warning("told", run="u")
    shown = capsys.readouterr().err
    assert shown.endswith("WARNING jitflow.engine: told run=u\n")
    assert "not told" not in shown
