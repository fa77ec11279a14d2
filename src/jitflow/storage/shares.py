"""How a limit is divided among the rclones that move at the same time. Pure."""

from collections.abc import Collection, Iterable, Mapping

from jitflow.model.bandwidth import FREE, Rate

UP, DOWN = "up", "down"
Use = tuple[str, str, str]
"""A lane, a remote, and in which direction it is used."""


def divide(total: int | None, most: Mapping[str, int | None]) -> dict[str, int | None]:
    """Divide a limit evenly, none more than its own limit: what one cannot use is left to the others."""
    if total is None:
        return dict(most)
    shares: dict[str, int | None] = {}
    left = total
    by_limit = sorted(most.items(), key=lambda one: (one[1] is None, one[1] or 0))
    for place, (lane, own) in enumerate(by_limit):
        share = left // (len(by_limit) - place)
        shares[lane] = share if own is None else min(share, own)
        left -= shares[lane] or 0
    return shares


def shares(total: Rate, limits: Mapping[str, Rate], lanes: Iterable[str], uses: Collection[Use]) -> dict[str, Rate]:
    """Return what each lane may move, so that neither all together nor a remote in several lanes exceeds its limit.

    Args:
        total: for all lanes together.
        limits: for each remote that has one; the lane of its name is its own.
        lanes: those there are. One that is not in use gets what it would get if it were.
        uses: what is under way.
    """
    lanes = list(lanes)
    most = {lane: _own(lane, limits, uses) for lane in lanes}
    busy = {lane for lane, _, _ in uses}
    found: dict[str, Rate] = {}
    for lane in lanes:
        beside = {other: most[other] for other in lanes if other in busy or other == lane}
        up = divide(total.up_Bps, {other: rate.up_Bps for other, rate in beside.items()})
        down = divide(total.down_Bps, {other: rate.down_Bps for other, rate in beside.items()})
        found[lane] = Rate(up_Bps=up[lane], down_Bps=down[lane])
    return found


def _own(lane: str, limits: Mapping[str, Rate], uses: Collection[Use]) -> Rate:
    """Return the tightest of the limits of what a lane moves; a remote in several lanes has its limit in equal parts."""
    rate = FREE
    for remote, limit in limits.items():
        for direction in (UP, DOWN):
            users = {used for used, name, way in uses if name == remote and way == direction}
            if lane in users or (lane == remote):
                parts = len(users | {lane})
                rate = rate.and_also(_part(limit, direction, parts))
    return rate


def _part(limit: Rate, direction: str, parts: int) -> Rate:
    if direction == UP:
        return Rate(up_Bps=limit.up_Bps and limit.up_Bps // parts)
    return Rate(down_Bps=limit.down_Bps and limit.down_Bps // parts)
