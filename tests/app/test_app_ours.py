"""The near store's own place: no job and no file of people's is written there."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from jitflow.app.ours import NearStore
from jitflow.app.transfers import wishes
from jitflow.model.data import ObjectRef
from jitflow.model.jobs import JobWish
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure

DIRECTORIES = {"disk": "/", "data": "/data/", "other": "/data2"}


def told(guard: Callable[[ObjectRef, bool], None], kind: str, source: str, destination: str = "") -> str:
    """Return in which field a wish is refused, empty if it is taken."""
    wish: Any = msgspec.convert({"kind": kind, "source": source, "destination": destination}, JobWish)
    try:
        wishes.read(wish, lambda _: None, guard)
    except Refused as error:
        (problem,) = error.problems
        return problem.place.path if problem.place is not None and "jitflow data stage" in problem.remedy else str(error)
    return ""


@pytest.mark.parametrize(
    ("kind", "source", "destination", "field"),
    [
        ("copy", "far:a/", "near:bucket/primary/", "$.destination"),
        ("copy", "far:a/", "near:bucket/primary/objects/", "$.destination"),
        ("copy", "far:a/", "near:bucket/primary2/", ""),
        ("copy", "far:a/", "near:bucket/", ""),
        ("sync", "far:a/", "near:bucket/", "$.destination"),
        ("sync", "far:a/", "near:", "$.destination"),
        ("check", "far:a/", "near:bucket/primary/", ""),
        ("copy", "near:bucket/primary/", "far:a/", ""),
        ("move", "near:bucket/primary/", "far:a/", "$.source"),
        ("move", "near:bucket/", "far:a/", "$.source"),
        ("delete", "near:", "", "$.source"),
        ("delete", "near:bucket/results/", "", ""),
        ("sync", "far:a/", "elsewhere:bucket/primary/", ""),
    ],
)
def test_a_prefix_of_a_remote_is_its_own(kind: str, source: str, destination: str, field: str) -> None:
    near = NearStore(ObjectRef(remote="near", path="bucket/primary"), lambda _: "")
    assert told(near.guard, kind, source, destination) == field


@pytest.mark.parametrize(
    ("kind", "destination", "field"),
    [
        ("copy", "disk:data/near/x/", "$.destination"),
        ("copy", "data:near/", "$.destination"),
        ("copy", "data:nearer/", ""),
        ("copy", "data:", ""),
        ("sync", "data:", "$.destination"),
        ("sync", "other:near/", ""),
        ("sync", "s3:data/near/", ""),
    ],
)
def test_a_directory_is_its_own_by_whatever_remote_it_is_reached(kind: str, destination: str, field: str) -> None:
    near = NearStore(PurePosixPath("/data/near"), lambda name: DIRECTORIES.get(name, ""))
    assert told(near.guard, kind, "far:a/", destination) == field
