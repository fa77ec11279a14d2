"""Merging logs: order, filters, bounds."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitflow.app import logs
from jitflow.app.logs import LineFilter, LogQuery, Merge, PodLog
from jitflow.model.pods import LogLine
from jitflow.model.problems import Refused


def at(second: int, nanos: int = 0) -> str:
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.{nanos:09d}Z"


def a_line(second: int, content: str = "x", nanos: int = 0) -> LogLine:
    return LogLine(time=at(second, nanos), stream="stdout", content=content)


def merged(sources: Sequence[tuple[str, list[LogLine]]], *, follow: bool = False) -> tuple[list[tuple[str, LogLine]], int]:
    """Return what a merge sends, and how many logs it had open at most."""
    sent: list[tuple[str, LogLine]] = []
    now_open = most_open = 0

    async def read(lines: list[LogLine]) -> AsyncIterator[LogLine]:
        nonlocal now_open, most_open
        now_open += 1
        most_open = max(most_open, now_open)
        try:
            for line in lines:
                yield line
        finally:
            now_open -= 1

    async def sink(batch: Sequence[tuple[str, LogLine]]) -> None:
        sent.extend(batch)

    async def run() -> None:
        merge = Merge(sink, follow=follow)
        for pod, lines in sources:
            merge.add(PodLog(pod=pod, started_at=lines[0].time if lines else at(0), lines=lambda lines=lines: read(lines)))
        merge.seal()
        await merge.run()

    asyncio.run(run())
    assert now_open == 0
    return sent, most_open


@given(st.lists(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 3)), max_size=80), max_size=8), st.booleans())
def test_lines_come_by_time_and_all_of_them(histories: list[list[tuple[int, int]]], follow: bool) -> None:
    sources = [
        (f"p{number}", [a_line(second, f"{number}-{index}", nanos) for index, (second, nanos) in enumerate(sorted(history))])
        for number, history in enumerate(histories)
    ]
    sent, _ = merged(sources, follow=follow)
    assert sorted(line.content for _, line in sent) == sorted(line.content for _, lines in sources for line in lines)
    for pod, lines in sources:
        assert [line for sender, line in sent if sender == pod] == lines
    if not follow:
        times = [line.time for _, line in sent]
        assert times == sorted(times)


def test_a_thousand_pods_one_after_the_other_are_not_open_at_once() -> None:
    sources = [(f"p{number}", [a_line(number * 3, nanos=1), a_line(number * 3 + 1)]) for number in range(1000)]
    sent, most_open = merged(sources)
    assert len(sent) == 2000
    assert most_open <= 3


def test_a_thousand_pods_at_once_are_read_in_bounds() -> None:
    sources = [(f"p{number}", [a_line(1), a_line(2)]) for number in range(1000)]
    sent, most_open = merged(sources)
    assert len(sent) == 2000
    assert most_open <= logs.MAX_OPEN


def test_a_silent_pod_does_not_hold_back_the_others() -> None:
    sent: list[str] = []

    async def silent() -> AsyncIterator[LogLine]:
        await asyncio.Event().wait()
        yield a_line(1)

    async def talking() -> AsyncIterator[LogLine]:
        for number in range(3):
            yield a_line(number, str(number))

    async def run() -> None:
        enough = asyncio.Event()

        async def sink(batch: Sequence[tuple[str, LogLine]]) -> None:
            sent.extend(line.content for _, line in batch)
            if len(sent) == 3:
                enough.set()

        merge = Merge(sink, follow=True)
        merge.add(PodLog(pod="silent", started_at=at(0), lines=silent))
        merge.add(PodLog(pod="talking", started_at=at(0), lines=talking))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(merge.run())
            async with asyncio.timeout(20):
                await enough.wait()
            task.cancel()

    asyncio.run(run())
    assert sent == ["0", "1", "2"]


def read(query: LogQuery, lines: list[LogLine], later: list[LogLine] | None = None) -> list[str]:
    """Return what a query lets through of a log that has `lines` and, when followed, gets `later`."""

    async def open_log(*, follow: bool) -> AsyncIterator[LogLine]:
        for line in lines + ((later or []) if follow else []):
            yield line

    async def run() -> list[str]:
        wanted = LineFilter(query, now=1767225600.0 + 100)
        return [wanted.entry("p", line).content async for line in wanted.read(open_log)]

    return asyncio.run(run())


LINES = [a_line(second, f"line {second}") for second in range(0, 100, 10)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(), [f"line {second}" for second in range(0, 100, 10)]),
        (LogQuery(tail_lines=2), ["line 80", "line 90"]),
        (LogQuery(tail_lines=0), []),
        (LogQuery(tail_lines=99, grep="8|9"), ["line 80", "line 90"]),
        (LogQuery(since_s=25), ["line 80", "line 90"]),
        (LogQuery(since_time="2026-01-01T00:01:20Z"), ["line 80", "line 90"]),
        (LogQuery(limit_bytes=9), ["line 0", "li"]),
        (LogQuery(limit_bytes=7), ["line 0"]),
        (LogQuery(tail_lines=1, limit_bytes=4), ["line"]),
        (LogQuery(grep="^line 5"), ["line 50"]),
        (LogQuery(tail_lines=1, timestamps=True), [f"{at(90)} line 90"]),
    ],
)
def test_filters(query: LogQuery, expected: list[str]) -> None:
    assert read(query, LINES) == expected


def test_following_the_tail_goes_on_after_it() -> None:
    assert read(LogQuery(tail_lines=1, follow=True), LINES, [a_line(99, "new")]) == ["line 90", "new"]
    assert read(LogQuery(tail_lines=0, follow=True), LINES, [a_line(99, "new")]) == ["new"]


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(Refused):
        LineFilter(LogQuery(since_time="soon"), now=0.0)
