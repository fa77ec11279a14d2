"""Limits of bandwidth: how they are divided, and that a real rclone holds them."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from storage_worlds import ignore, new_bucket, settle, write_files

from jitflow.model.bandwidth import FREE, Rate
from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.storage.daemon import RcloneDaemon
from jitflow.storage.lanes import Lanes
from jitflow.storage.rclone_storage import RcloneStorage
from jitflow.storage.shares import DOWN, UP, divide, shares
from jitflow.testing.s3_server import S3Server

MIB = 2**20
SLACK = 1.1
"""A limit holds within ten of a hundred."""
SLOW = 1.5
"""A busy machine moves less."""


def both(value: int) -> Rate:
    return Rate(up_Bps=value, down_Bps=value)


# -- dividing ------------------------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 10**9),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.integers(1, 10**9)), min_size=1, max_size=8),
)
def test_no_share_is_larger_than_its_own_limit_and_all_together_use_what_they_can(
    total: int, most: dict[str, int | None]
) -> None:
    found = divide(total, most)
    assert found.keys() == most.keys()
    given_ = sum(value or 0 for value in found.values())
    assert given_ <= total
    assert all(own is None or (found[lane] or 0) <= own for lane, own in most.items())
    could = None if None in most.values() else sum(own or 0 for own in most.values())
    assert given_ >= (total if could is None else min(total, could)) - len(most)


def test_a_remote_that_still_moves_in_the_common_lane_has_its_limit_once() -> None:
    uses = [("", "far", DOWN), ("far", "far", DOWN)]
    found = shares(FREE, {"far": both(10)}, ["", "far"], uses)
    assert found == {"": Rate(down_Bps=5), "far": Rate(up_Bps=10, down_Bps=5)}


def test_who_moves_nothing_takes_nothing_from_the_others() -> None:
    limits = {"far": both(4)}
    assert shares(both(10), limits, ["", "far"], [("", "other", UP)]) == {"": both(10), "far": both(4)}
    found = shares(both(10), limits, ["", "far"], [("", "other", UP), ("far", "far", DOWN)])
    assert found == {"": both(6), "far": both(4)}


# -- rclone --------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def far(server: S3Server, directory: Path, sizes: dict[str, int]) -> AsyncIterator[tuple[Lanes, dict[str, ObjectInfo]]]:
    """Two remotes of one server, `a` and `b`, with the same objects."""
    bucket, root = new_bucket(server)
    write_files(root, {name: os.urandom(size) for name, size in sizes.items()})
    await settle(server)
    lanes = Lanes(lambda remotes: RcloneStorage(RcloneDaemon(), remotes, stall_s=20), [server.remote("a"), server.remote("b")])
    await lanes.open()
    try:
        infos = await lanes.stat_many([ObjectRef(remote=remote, path=f"{bucket}/{name}") for remote in "ab" for name in sizes])
        yield lanes, {f"{ref.remote}:{ref.path.rpartition('/')[2]}": _known(info) for ref, info in infos.items()}
    finally:
        await lanes.close()


def _known(info: ObjectInfo | Exception) -> ObjectInfo:
    assert isinstance(info, ObjectInfo)
    return info


async def rate_of(work: Sequence[Awaitable[ObjectInfo]]) -> float:
    began = time.monotonic()
    done = await asyncio.gather(*work)
    return sum(info.size_bytes for info in done) / (time.monotonic() - began)


def test_limits_hold_for_one_remote_for_all_together_and_in_each_direction(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, tmp_path, {"small": 200_000, "mid": 3 * MIB, "large": 33 * MIB}) as (lanes, infos):

            def fetch(name: str, as_: str, parts: int = 1) -> Coroutine[Any, Any, ObjectInfo]:
                return lanes.fetch(infos[name], tmp_path / as_, ignore, parts=parts)

            # One remote has a limit; the other one has none and is not slowed down.
            await lanes.limit(FREE, {"a": Rate(down_Bps=2 * MIB)})
            limited, free = await asyncio.gather(
                rate_of([fetch("a:mid", "1"), *(fetch("a:small", f"s{n}") for n in range(5))]),
                rate_of([fetch("b:large", "2", 4)]),
            )
            assert 2 * MIB / SLOW < limited < 2 * MIB * SLACK
            assert free > 2 * limited
            # What is sent is not held back by a limit of what is fetched.
            target = ObjectRef(remote="a", path=infos["a:mid"].ref.path + "-copy")
            await lanes.limit(FREE, {"a": Rate(down_Bps=MIB // 4)})
            assert await rate_of([lanes.store(tmp_path / "1", target, ignore)]) > MIB / 2
            # All together: two lanes share it, also with ranges of a large object; then it is raised while these move.
            await lanes.limit(both(4 * MIB), {"a": both(3 * MIB)})
            held = asyncio.get_running_loop().create_task(fetch("b:large", "3", 4))
            assert 2 * MIB / SLOW < await rate_of([fetch("a:mid", "4")]) < 3 * MIB * SLACK
            began = time.monotonic()
            await lanes.limit(FREE, {})
            await held
            assert time.monotonic() - began < 5.0  # it would have taken more than six

    asyncio.run(story())


def test_what_is_under_way_when_a_limit_comes_keeps_to_it(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, tmp_path, {"mid": 6 * MIB}) as (lanes, infos):
            await lanes.limit(both(MIB), {})
            running = asyncio.get_running_loop().create_task(lanes.fetch(infos["a:mid"], tmp_path / "1", ignore))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await lanes.limit(FREE, {"a": both(2 * MIB)})
            await running
            # Its last five MiB or so came with the limit of its remote, in the common lane.
            assert 5.0 * MIB / (2 * MIB) < time.monotonic() - began < 6.0 * MIB / (2 * MIB) * SLOW

    asyncio.run(story())


def test_a_limit_outlives_the_rclone_that_held_it(s3: S3Server, tmp_path: Path) -> None:
    async def story() -> None:
        async with far(s3, tmp_path, {"mid": 3 * MIB}) as (lanes, infos):
            await lanes.limit(both(2 * MIB), {})
            lanes._common._daemon.kill()
            assert await rate_of([lanes.fetch(infos["a:mid"], tmp_path / "1", ignore)]) < 2 * MIB * SLACK

    asyncio.run(story())
