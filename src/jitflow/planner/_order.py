"""The order of a workflow's steps: keys that stay what they are while steps come and go."""

from collections.abc import Mapping, Sequence

_SMALLEST_GAP = 1e-6


def positions(known: Mapping[str, float], ids: Sequence[str]) -> list[float]:
    """Return a growing key for each id in order, keeping the known keys that are in order already.

    A workflow is announced again and again with some steps gone and some new; keys that stay cost nothing later.
    """
    keys: list[float | None] = []
    last = -1.0
    for name in ids:
        key = known.get(name)
        if key is not None and key > last:
            keys.append(key)
            last = key
        else:
            keys.append(None)
    filled = _filled(keys)
    return filled if filled is not None else [float(place) for place in range(len(ids))]


def _filled(keys: Sequence[float | None]) -> list[float] | None:
    """Return the keys with the gaps filled evenly, or None where a gap has become too narrow."""
    result: list[float] = []
    start = 0
    previous = -1.0
    for place, key in enumerate(keys):
        if key is None:
            continue
        gap = (key - previous) / (place - start + 1)
        if gap < _SMALLEST_GAP:
            return None
        result.extend(previous + gap * (n + 1) for n in range(place - start))
        result.append(key)
        previous, start = key, place + 1
    result.extend(previous + n + 1 for n in range(len(keys) - start))
    return result
