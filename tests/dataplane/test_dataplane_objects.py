"""A primary that may hold so many objects only."""

import asyncio
from pathlib import Path

import pytest
from far_store import Kit, a_step, ref

from jitflow.model.problems import Refused


def test_no_more_objects_than_allowed(tmp_path: Path) -> None:
    """Ten steps of two inputs and an output through a primary of four objects, and one step that can never fit."""

    async def run() -> None:
        kit = Kit(tmp_path, 100_000, max_objects=4, workers=2)
        most = 0

        def watch() -> None:
            nonlocal most
            files = sum(path.is_file() for path in (kit.root / "objects").rglob("*"))
            files += sum(path.is_file() for path in (kit.root / "incoming").rglob("*"))
            most = max(most, files)
            kit.watch()

        kit.far.on_progress = watch
        plane = await kit.start()
        inputs = [kit.far.put(f"in{n}", 10 + n) for n in range(11)]
        steps = [a_step(f"s{n}", inputs[n], inputs[n + 1], outputs=[(ref(f"out{n}"), 5)]) for n in range(10)]
        await plane.check("w", steps)
        plane.announce("w", steps)
        for step in steps:
            plane.acquire("w", step)
        left = set(range(10))
        while left:
            await kit.until(lambda: any(kit.lease(f"s{n}") for n in left))
            n = next(n for n in left if kit.lease(f"s{n}"))
            left.remove(n)
            plane.release(f"w/s{n}", [kit.output(ref(f"out{n}"), 5)])
        await kit.until(lambda: all(kit.staged(f"s{n}") for n in range(10)))
        fill = plane.fill()
        assert (fill.max_objects, most) == (4, 4)
        assert fill.objects <= 4
        large = a_step("large", *inputs[:4], outputs=[(ref("out"), 5)])
        with pytest.raises(Refused, match="5 objects"):
            await plane.check("w", [large])
        plane.acquire("w", large)
        await kit.until(lambda: kit.refusal("large"))
        assert "primary.max_objects at least 5" in kit.refusal("large")
        await plane.close()

    asyncio.run(run())
