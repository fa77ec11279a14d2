"""Random names have the form that they should."""

import uuid

import pytest

from jitflow.bootstrap.system import RandomIds

pytestmark = pytest.mark.pure


def test_uids_are_uuids_that_follow_each_other_in_time() -> None:
    ids = RandomIds()
    drawn = [ids.uid() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert [text[:13] for text in drawn] == sorted(text[:13] for text in drawn)
    assert len({text[24:] for text in drawn}) == 1000, "what follows the time cannot be foreseen"
    for text in drawn:
        found = uuid.UUID(text)
        assert (str(found), found.version, found.variant) == (text, 7, uuid.RFC_4122)


def test_suffixes_use_every_letter_about_as_often() -> None:
    ids = RandomIds()
    drawn = [ids.suffix() for _ in range(10_000)]
    assert {len(text) for text in drawn} == {5}
    counts = [sum(text.count(letter) for text in drawn) for letter in "bcdfghjklmnpqrstvwxz2456789"]
    assert sum(counts) == 50_000
    assert all(1_500 < count < 2_250 for count in counts)  # 1852 expected, standard deviation 42
