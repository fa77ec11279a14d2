"""The fuzz targets, for a moment each: `make fuzz` runs them for long."""

import random

import pytest
from benchmark.fuzz.targets import TARGETS

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_any_bytes(target: str) -> None:
    rng = random.Random(target)
    for _ in range(150):
        TARGETS[target](rng.randbytes(rng.randrange(300)))
