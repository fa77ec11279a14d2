"""Remotes, paths, secrets and times: the pure parts."""

import logging

import msgspec
import pytest

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.problems import Refused
from jitflow.ports.errors import FixRequest
from jitflow.storage.binary import parse_version
from jitflow.storage.copies import changed
from jitflow.storage.daemon import log_record
from jitflow.storage.keys import address, below
from jitflow.storage.redact import Redactor
from jitflow.storage.remotes import Provider, ProviderOption, RemoteConfig, pushed, secret_values, validate
from jitflow.storage.wire import Item, modified_ns, object_info, prefix_info

pytestmark = pytest.mark.pure

PROVIDERS = [
    Provider(
        "s3",
        [ProviderOption("endpoint"), ProviderOption("secret_access_key", sensitive=True), ProviderOption("user", sensitive=True)],
    ),
    Provider("sftp", [ProviderOption("host"), ProviderOption("pass", is_password=True)]),
    Provider("alias", [ProviderOption("remote")]),
    Provider("local", [ProviderOption("nounc")]),
]


def remote(type_: str, *, name: str = "far", secrets: frozenset[str] = frozenset(), **options: str) -> RemoteConfig:
    return RemoteConfig(name=name, type=type_, options=options, secrets=secrets)


@pytest.mark.parametrize(
    ("config", "place", "says"),
    [
        (remote("s4"), "remotes.far.type", "did you mean 's3'"),
        (remote("quantum-entanglement"), "remotes.far.type", "lists the types"),
        (remote("s3", end_point="x"), "remotes.far.end_point", "did you mean 'endpoint'"),
        (remote("s3", zzz="x"), "remotes.far.zzz", "rclone help backend s3"),
        (remote("s3", secrets=frozenset({"endpoint"})), "remotes.far.endpoint", "give it a value"),
        (remote("local"), "remotes.far.root", "the directory is not given"),
        (remote("local", root="data"), "remotes.far.root", "begins with /"),
        (remote("local", root="/data/../etc"), "remotes.far.root", "has no .."),
        (remote("local", root="/data", nounc="true"), "remotes.far.nounc", "its only option is `root`"),
        (remote("alias", remote="data"), "remotes.far.remote", "NAME:path"),
        (remote("alias", remote=":s3,secret_access_key=x:bucket"), "remotes.far.remote", "NAME:path"),
        (remote("s3", name="fa r"), "remotes.fa r", "cannot name a remote"),
        (remote("s3", name="-far"), "remotes.-far", "cannot name a remote"),
        (remote("s3", name="far:x"), "remotes.far:x", "cannot name a remote"),
        (remote("s3", name="f" * 64), "remotes.f", "cannot name a remote"),
    ],
)
def test_a_remote_that_makes_no_sense_is_refused_with_its_place(config: RemoteConfig, place: str, says: str) -> None:
    with pytest.raises(Refused) as caught:
        validate(config, PROVIDERS)
    assert str(caught.value).startswith(place)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        remote("s3", endpoint="http://x", secret_access_key="y", secrets=frozenset({"secret_access_key"})),
        remote("local", root="/data"),
        remote("alias", remote="/data"),
        remote("alias", remote="other:bucket/dir"),
    ],
)
def test_a_remote_that_rclone_knows_is_taken(config: RemoteConfig) -> None:
    validate(config, PROVIDERS)


def test_a_local_directory_is_an_alias_of_its_root() -> None:
    assert pushed(remote("local", root="/data")) == ("alias", {"remote": "/data"})
    assert pushed(remote("s3", endpoint="x")) == ("s3", {"endpoint": "x"})


def test_secrets_are_what_people_and_rclone_call_so() -> None:
    assert secret_values(remote("s3", endpoint="e", secret_access_key="k", user="u"), PROVIDERS) == ["k"]
    assert secret_values(remote("s3", endpoint="e", secrets=frozenset({"endpoint"})), PROVIDERS) == ["e"]
    assert secret_values(remote("sftp", host="h", **{"pass": "p"}), PROVIDERS) == ["p"]


def test_secrets_are_hidden_in_every_form() -> None:
    redact = Redactor(['p/ss w"rd+', '{"access_token":"abcdefgh"}', "", "ab"])
    for form in ('p/ss w"rd+', "p%2Fss%20w%22rd%2B", "p/ss%20w%22rd%2B", "p%2Fss+w%22rd%2B", 'p/ss w\\"rd+', "abcdefgh"):
        assert redact(f"before {form} after") == "before [hidden] after"
    assert redact("about") == "about"
    redact.add(["about"])
    assert redact("about") == "[hidden]"


@pytest.mark.parametrize("path", ["..", "a/../b", "a/..", "./a", "a//b", "a/./b", "a\0b", "//a", "a//", "x" * 5000])
def test_a_path_that_is_not_what_it_seems_is_refused(path: str) -> None:
    with pytest.raises(FixRequest):
        address(ObjectRef(remote="far", path=path))


@pytest.mark.parametrize(
    ("path", "fs", "rest"),
    [
        ("b/x", "far:", "b/x"),
        ("b/d/", "far:", "b/d"),
        ("", "far:", ""),
        ("/abs/x", "far:/", "abs/x"),
        ("/", "far:/", ""),
        ("b/..x", "far:", "b/..x"),
        ("b/a:b,c=d", "far:", "b/a:b,c=d"),
    ],
)
def test_a_path_is_told_to_rclone_as_root_and_rest(path: str, fs: str, rest: str) -> None:
    assert address(ObjectRef(remote="far", path=path)) == (fs, rest)


def test_listings_of_absolute_paths_name_absolute_paths() -> None:
    assert below(ObjectRef(remote="r", path="/d/"), "d/x").path == "/d/x"
    assert below(ObjectRef(remote="r", path="d/"), "d/e", is_dir=True).path == "d/e/"


def test_times_of_listing_and_stat_agree() -> None:
    second = modified_ns("2026-11-23T07:37:24Z")
    assert modified_ns("2026-11-23T07:37:24.428985404Z") == second + 428_985_404
    assert modified_ns("2026-11-23T09:37:24.428+02:00") == second + 428_000_000
    assert modified_ns("") == modified_ns("yesterday") == 0
    prefix = ObjectRef(remote="far", path="b/")
    listed = object_info(prefix, Item(path="b/x", size=3, mod_time="2026-11-23T07:37:24.428Z"), exact_times=False)
    looked_up = object_info(prefix, Item(path="b/x", size=3, mod_time="2026-11-23T07:37:24Z"), exact_times=False)
    assert listed == looked_up
    assert object_info(prefix, Item(path="b/d", is_dir=True), exact_times=False).ref.path == "b/d/"


def test_the_version_of_a_prefix_does_not_depend_on_the_order_of_the_listing() -> None:
    ref = ObjectRef(remote="far", path="b/")
    members = [ObjectInfo(ref=ObjectRef(remote="far", path=f"b/{name}"), size_bytes=1, version="1-1") for name in "xyz"]
    assert prefix_info(ref, members) == prefix_info(ref, members[::-1])
    other = msgspec.structs.replace(members[0], version="1-2")
    assert prefix_info(ref, members).version != prefix_info(ref, [other, *members[1:]]).version


@pytest.mark.parametrize(
    ("difference", "is_change"),
    [
        ({}, False),
        ({"size_bytes": 4}, True),
        ({"version": "3-2"}, True),
        ({"version": ""}, False),
        ({"hashes": {"md5": "b"}}, True),
        ({"hashes": {"sha1": "b"}}, False),
        ({"count": 2}, True),
    ],
)
def test_two_looks_at_an_object_are_compared_by_what_both_tell(difference: dict[str, object], is_change: bool) -> None:
    before = ObjectInfo(ref=ObjectRef(remote="far", path="b/x"), size_bytes=3, version="3-1", hashes={"md5": "a"})
    assert changed(before, msgspec.structs.replace(before, **difference)) is is_change


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("rclone v1.75.2\n- os/version: debian", (1, 75, 2)),
        ("rclone v1.76.0-beta.8000.abc\n", (1, 76, 0)),
        ("rclone v1.60.1-DEV", (1, 60, 1)),
        ("bash 5.2", None),
        ("rclone", None),
        ("", None),
    ],
)
def test_the_version_is_read(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        (b'{"level":"error","msg":"it failed","object":"b/x","source":"s.go:1"}', logging.WARNING, "b/x: it failed"),
        (b'{"level":"notice","msg":"hello"}', logging.INFO, "hello"),
        (b'{"level":"error","msg":"rc: \\"operations/stat\\": error: x"}', logging.DEBUG, 'rc: "operations/stat": error: x'),
        (
            b'{"level":"error","msg":"Failed to copy: context canceled","object":"x"}',
            logging.DEBUG,
            "x: Failed to copy: context canceled",
        ),
        (
            b'{"level":"error","msg":"Failed to copy: lstat /p/.jitflow-1.partial/x: no such file or directory","object":"x"}',
            logging.DEBUG,
            "x: Failed to copy: lstat /p/.jitflow-1.partial/x: no such file or directory",
        ),
        (
            b'{"level":"error","msg":"Failed to copy: open /p/x: no such file or directory","object":"x"}',
            logging.WARNING,
            "x: Failed to copy: open /p/x: no such file or directory",
        ),
        (b"panic: runtime error\n", logging.WARNING, "panic: runtime error"),
    ],
)
def test_log_lines_are_read(line: bytes, level: int, text: str) -> None:
    assert log_record(line) == (level, text)
