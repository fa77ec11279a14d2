"""Crates compared: what a hash, a version or a size tells, and what nothing tells."""

import pytest

from jitflow.cli.crates import Mark, drift_of_inputs, is_same

pytestmark = pytest.mark.pure


def mark(**fields: object) -> Mark:
    return Mark(**({"ref": "far:a", "size_bytes": 3} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (mark(hashes={"md5": "1"}), mark(hashes={"md5": "1", "sha256": "2"}), True),
        (mark(hashes={"md5": "1"}), mark(hashes={"md5": "2"}), False),
        (mark(hashes={"md5": "1"}), mark(hashes={"sha256": "1"}), None),
        (mark(version="e1"), mark(version="e1"), True),
        (mark(version="e1"), mark(version="e2"), None),
        (mark(version="e1"), mark(version="e1", ref="far:b"), None),
        (mark(size_bytes=3), mark(size_bytes=4), False),
        (mark(size_bytes=3, contents="c", hashes={"md5": "1"}), mark(size_bytes=4, contents="c", hashes={"md5": "2"}), True),
        (mark(contents="c"), mark(contents="d"), False),
        (mark(), mark(), None),
    ],
)
def test_two_objects_are_the_same_if_what_is_known_of_both_says_so(before: Mark, after: Mark, same: bool | None) -> None:
    assert is_same(before, after) is same


def test_an_input_with_another_version_has_changed_though_no_hash_tells() -> None:
    before = {"far:a": mark(version="e1"), "far:b": mark(ref="far:b"), "far:c": mark(ref="far:c")}
    found = drift_of_inputs(before, {"far:a": mark(version="e2"), "far:b": mark(ref="far:b"), "far:c": None})
    assert [(one.how, one.name) for one in found.changes] == [("changed", "far:a"), ("gone", "far:c")]
    assert found.unknown == ("far:b",)
