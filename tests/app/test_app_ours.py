"""The near store's own place: no job and no file of people's is written there."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from jitflow.app.ours import NearStore, OwnHome, both
from jitflow.app.transfers import wishes
from jitflow.engine import endpoint_names
from jitflow.model.data import ObjectRef
from jitflow.model.jobs import JobWish
from jitflow.model.problems import Refused
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.whereabouts import Known, Whereabouts

pytestmark = pytest.mark.pure

REMOTES = {
    "near": RemoteConfig(name="near", type="s3", options={"endpoint": "http://minio:9000/"}),
    "twin": RemoteConfig(name="twin", type="s3", options={"endpoint": "http://MINIO:9000"}),
    "elsewhere": RemoteConfig(name="elsewhere", type="s3", options={"endpoint": "http://minio:9001"}),
    "results": RemoteConfig(name="results", type="alias", options={"remote": "twin:bucket"}),
    "loop": RemoteConfig(name="loop", type="alias", options={"remote": "loop:deeper"}),
    "amazon": RemoteConfig(name="amazon", type="s3", options={"provider": "AWS"}),
    "other-keys": RemoteConfig(name="other-keys", type="s3", options={"provider": "AWS", "access_key_id": "B"}),
    "disk": RemoteConfig(name="disk", type="local", options={"root": "/"}),
    "data": RemoteConfig(name="data", type="local", options={"root": "/data/"}),
    "below": RemoteConfig(name="below", type="alias", options={"remote": "disk:data"}),
    "other": RemoteConfig(name="other", type="local", options={"root": "/data2"}),
    "joined": RemoteConfig(name="joined", type="union", options={"upstreams": '/data2 "data:some where:ro" below:near:nc'}),
    "shelf": RemoteConfig(name="shelf", type="combine", options={"upstreams": "a/b=/data c=other:x"}),
    "sealed": RemoteConfig(name="sealed", type="crypt", options={"remote": "disk:data"}),
    "packed": RemoteConfig(name="packed", type="archive", options={"remote": "disk:srv"}),
    "cut": RemoteConfig(name="cut", type="chunker", options={"remote": "results:"}),
    "ring": RemoteConfig(name="ring", type="union", options={"upstreams": "ring: ring:x"}),
}


def known(name: str) -> Known | None:
    """Return one of the remotes above."""
    config = REMOTES.get(name)
    endpoint = config.options.get("endpoint", "") if config else ""
    return Known(config, frozenset({endpoint_names(endpoint)} if endpoint else ())) if config else None


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
        ("copy", "far:a/", "twin:bucket/primary/", "$.destination"),
        ("copy", "far:a/", "results:primary/objects/", "$.destination"),
        ("sync", "far:a/", "results:", "$.destination"),
        ("copy", "far:a/", "results:primary2/", ""),
        (
            "copy",
            "far:a/",
            "loop:primary/",
            "$.destination: loop:primary/ leads over more than 1,000 remotes; let none lead to itself",
        ),
        (
            "copy",
            "far:a/",
            "ring:primary/",
            "$.destination: ring:primary/ leads over more than 1,000 remotes; let none lead to itself",
        ),
        ("copy", "far:a/", "cut:primary/", "$.destination"),
        ("copy", "far:a/", "cut:primary2/", ""),
        ("sync", "far:a/", "data:bucket/primary/", ""),
    ],
)
def test_a_prefix_of_a_remote_is_its_own(kind: str, source: str, destination: str, field: str) -> None:
    near = NearStore(ObjectRef(remote="near", path="bucket/primary"), Whereabouts(known))
    assert told(near.guard, kind, source, destination) == field


@pytest.mark.parametrize(
    ("kind", "destination", "field"),
    [
        ("copy", "disk:data/near/x/", "$.destination"),
        ("copy", "data:near/", "$.destination"),
        ("copy", "data:nearer/", ""),
        ("copy", "data:", ""),
        ("copy", "below:near/", "$.destination"),
        ("sync", "below:", "$.destination"),
        ("sync", "data:", "$.destination"),
        ("sync", "other:near/", ""),
        ("sync", "s3:data/near/", ""),
        ("copy", "joined:x/", "$.destination"),
        ("copy", "shelf:a/b/near/", "$.destination"),
        ("copy", "shelf:a/b/nearer/", ""),
        ("copy", "shelf:c/near/", ""),
        ("sync", "shelf:", "$.destination"),
        ("copy", "sealed:near/", "$.destination"),
        ("sync", "sealed:", "$.destination"),
        ("copy", "sealed:far/", ""),
    ],
)
def test_a_directory_is_its_own_by_whatever_remote_it_is_reached(kind: str, destination: str, field: str) -> None:
    near = NearStore(PurePosixPath("/data/near"), Whereabouts(known))
    assert told(near.guard, kind, "far:a/", destination) == field


@pytest.mark.parametrize(
    ("destination", "field"), [("other-keys:bucket/primary/", "$.destination"), ("near:bucket/primary/", "")]
)
def test_buckets_of_a_store_without_an_endpoint_are_the_same_with_other_keys(destination: str, field: str) -> None:
    near = NearStore(ObjectRef(remote="amazon", path="bucket/primary"), Whereabouts(known))
    assert told(near.guard, "copy", "far:a/", destination) == field


def test_a_prefix_behind_an_alias_may_be_a_directory_of_this_machine() -> None:
    near = NearStore(ObjectRef(remote="below", path="near"), Whereabouts(known))
    assert told(near.guard, "copy", "far:a/", "data:near/") == "$.destination"
    assert told(near.guard, "copy", "far:a/", "data:far/") == ""


def test_a_link_to_the_near_store_is_followed(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "shortcut").symlink_to(tmp_path / "near")
    config = RemoteConfig(name="mine", type="local", options={"root": str(tmp_path)})
    near = NearStore(PurePosixPath(tmp_path / "near"), Whereabouts(lambda _: Known(config, frozenset())))
    assert told(near.guard, "copy", "far:a/", "mine:shortcut/") == "$.destination"
    assert told(near.guard, "copy", "far:a/", "mine:shortcuts/") == ""


@pytest.mark.parametrize(
    ("ref", "deletes", "refused"),
    [
        ("disk:srv/token", False, True),
        ("shelf:a/b/token", False, False),
        ("packed:token", False, True),
        ("disk:srv/artifacts/x", False, False),
        ("disk:srv/artifacts/", True, False),
        ("disk:srv/primary/x", False, False),
        ("disk:srv/", True, True),
        ("disk:", True, True),
        ("disk:", False, False),
        ("disk:srv2/x", True, False),
        ("near:srv/token", True, False),
    ],
)
def test_the_servers_home_is_its_own_but_for_the_artifacts(ref: str, deletes: bool, refused: bool) -> None:
    home = OwnHome(PurePosixPath("/srv"), (PurePosixPath("/srv/artifacts"), PurePosixPath("/srv/primary")), Whereabouts(known))
    remote, _, path = ref.partition(":")
    asked = ObjectRef(remote=remote, path=path)
    if refused:
        with pytest.raises(Refused, match="server's home"):
            home.guard(asked, deletes)
    else:
        home.guard(asked, deletes)


def test_both_guards_are_asked() -> None:
    asked: list[str] = []
    guard = both(lambda ref, _: asked.append(f"first {ref}"), lambda ref, _: asked.append(f"second {ref}"))
    guard(ObjectRef(remote="a", path="b"), False)
    assert asked == ["first a:b", "second a:b"]
