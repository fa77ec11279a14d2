"""From a location that names no configured remote to a store of its own: what it is called, what it needs, what is refused."""

import pytest

from jitflow.engine.locations import Locator, RemoteName
from jitflow.engine.origins import origin_of
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.origins import Origin, SecretRef, is_made, is_open
from jitflow.model.problems import Refused

pytestmark = pytest.mark.pure

SECRET = argo.SecretKeySelector(name="cred", key="k")
KEPT = SecretRef(namespace="ns", name="cred", key="k")


def made(**fields: object) -> tuple[Origin, str]:
    found = origin_of(argo.Artifact(name="a", **fields), "ns")  # type: ignore[arg-type]
    assert found is not None
    return found


def test_s3_with_its_own_secrets() -> None:
    s3 = argo.S3Artifact(
        endpoint="minio:9000", bucket="b", key="x/y", insecure=True, access_key_secret=SECRET, secret_key_secret=SECRET
    )
    origin, path = made(s3=s3)
    assert path == "b/x/y"
    assert (origin.kind, origin.host) == ("s3", "minio:9000")
    assert origin.options == {"provider": "Other", "endpoint": "http://minio:9000", "force_path_style": "true"}
    assert origin.secrets == {"access_key_id": KEPT, "secret_access_key": KEPT}
    assert origin.name.startswith("s3@minio-9000-")
    assert is_made(origin.name)
    assert not is_open(origin.name)


def test_one_store_has_one_name_whatever_the_object() -> None:
    one, _ = made(s3=argo.S3Artifact(endpoint="e:1", bucket="b", key="x", access_key_secret=SECRET))
    other, _ = made(s3=argo.S3Artifact(endpoint="e:1", bucket="c", key="y/", access_key_secret=SECRET))
    assert one.name == other.name
    elsewhere = origin_of(argo.Artifact(name="a", s3=argo.S3Artifact(endpoint="e:1", key="x", access_key_secret=SECRET)), "other")
    assert elsewhere is not None
    assert elsewhere[0].name != one.name  # the Secret of another namespace is another secret


def test_amazon_needs_no_endpoint() -> None:
    origin, _ = made(s3=argo.S3Artifact(endpoint="s3.amazonaws.com", bucket="b", key="x", region="eu-west-1", use_sdk_creds=True))
    assert origin.options == {"provider": "AWS", "region": "eu-west-1", "env_auth": "true"}


@pytest.mark.parametrize(
    ("wanted", "options", "secrets", "trusted"),
    [
        (argo.S3EncryptionOptions(enable_encryption=True), {"server_side_encryption": "AES256"}, set(), True),
        (
            argo.S3EncryptionOptions(enable_encryption=True, kms_key_id="id"),
            {"server_side_encryption": "aws:kms", "sse_kms_key_id": "id"},
            set(),
            False,
        ),
        (
            argo.S3EncryptionOptions(enable_encryption=True, server_side_customer_key_secret=SECRET),
            {"sse_customer_algorithm": "AES256"},
            {"sse_customer_key_base64"},
            False,
        ),
        (argo.S3EncryptionOptions(), {}, set(), True),
    ],
)
def test_encryption(wanted: argo.S3EncryptionOptions, options: dict[str, str], secrets: set[str], trusted: bool) -> None:
    origin, _ = made(s3=argo.S3Artifact(endpoint="e", key="x", encryption_options=wanted))
    assert options.items() <= origin.options.items()
    assert set(origin.secrets) == secrets
    assert origin.check_hashes is trusted


def test_what_rclone_cannot_encrypt_is_refused() -> None:
    options = argo.S3EncryptionOptions(enable_encryption=True, kms_encryption_context="{}")
    with pytest.raises(Refused, match="artifact a: kmsEncryptionContext"):
        made(s3=argo.S3Artifact(endpoint="e", key="x", encryption_options=options))


@pytest.mark.parametrize(
    ("fields", "kind", "options", "secrets", "path"),
    [
        (
            {"gcs": argo.GCSArtifact(bucket="b", key="k", service_account_key_secret=SECRET)},
            "google cloud storage",
            {"bucket_policy_only": "true"},
            {"service_account_credentials"},
            "b/k",
        ),
        (
            {"gcs": argo.GCSArtifact(bucket="b", key="k")},
            "google cloud storage",
            {"bucket_policy_only": "true", "env_auth": "true"},
            set(),
            "b/k",
        ),
        (
            {
                "azure": argo.AzureArtifact(
                    endpoint="https://acc.blob.core.windows.net", container="c", blob="d/", account_key_secret=SECRET
                )
            },
            "azureblob",
            {"account": "acc"},
            {"key"},
            "c/d/",
        ),
        (
            {"azure": argo.AzureArtifact(endpoint="https://azurite:10000", container="c", blob="d", use_sdk_creds=True)},
            "azureblob",
            {"account": "azurite", "endpoint": "https://azurite:10000", "env_auth": "true"},
            set(),
            "c/d",
        ),
        (
            {
                "oss": argo.OSSArtifact(
                    endpoint="http://oss-x.aliyuncs.com", bucket="b", key="k", access_key_secret=SECRET, security_token="t"
                )
            },
            "s3",
            {"provider": "Alibaba", "endpoint": "http://oss-x.aliyuncs.com", "session_token": "t"},
            {"access_key_id"},
            "b/k",
        ),
        (
            {"hdfs": argo.HDFSArtifact(addresses=("n1:8020", "n2:8020"), path="/data/x", hdfs_user="me")},
            "hdfs",
            {"namenode": "n1:8020,n2:8020", "username": "me"},
            set(),
            "data/x",
        ),
        (
            {"artifactory": argo.ArtifactoryArtifact(url="http://a:81/r/x.tgz", username_secret=SECRET, password_secret=SECRET)},
            "http",
            {"base": "http://a:81"},
            {"username", "password"},
            "r/x.tgz",
        ),
    ],
)
def test_other_stores(fields: dict[str, object], kind: str, options: dict[str, str], secrets: set[str], path: str) -> None:
    origin, found = made(**fields)
    assert (origin.kind, origin.options, set(origin.secrets), found) == (kind, options, secrets, path)


def test_nothing_secret_of_a_url_is_in_the_reference() -> None:
    origin, path = made(http=argo.HTTPArtifact(url="https://me:pa%40ss@host:8443/d/x.csv?signature=abc#frag"))
    assert path == "d/x.csv"
    assert origin.options == {"base": "https://host:8443", "query": "signature=abc", "username": "me", "password": "pa@ss"}
    assert set(origin.hidden) == {"query", "password"}
    assert "abc" not in origin.name
    assert is_open(origin.name)


def test_a_web_page_is_no_directory() -> None:
    assert made(http=argo.HTTPArtifact(url="https://host"))[1] == "?"
    assert made(http=argo.HTTPArtifact(url="https://host/d/"))[1] == "d/?"


def test_other_headers_are_another_store() -> None:
    plain, _ = made(http=argo.HTTPArtifact(url="https://host/x"))
    with_header, _ = made(http=argo.HTTPArtifact(url="https://host/x", headers=(argo.Header(name="A", value="b"),)))
    assert plain.name != with_header.name
    assert with_header.options["headers"] == "A: b"
    with pytest.raises(Refused, match="line break"):
        made(http=argo.HTTPArtifact(url="https://host/x", headers=(argo.Header(name="A", value="b\r\nHost: c"),)))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "//host/x", "https://", "http://[::1"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="artifact a"):
        made(http=argo.HTTPArtifact(url=url))


@pytest.mark.parametrize(
    ("repo", "kept", "host", "path"),
    [
        ("https://github.com/argoproj/argo.git", "https://github.com/argoproj/argo.git", "github.com", "argo/"),
        ("https://me:tok@host:8443/r", "https://host:8443/r", "host:8443", "r/"),
        ("git@github.com:argoproj/argo.git", "git@github.com:argoproj/argo.git", "github.com", "argo/"),
        ("ssh://git@host:22/a/b.git", "ssh://git@host:22/a/b.git", "host:22", "b/"),
        ("git://host/r.git", "git://host/r.git", "host", "r/"),
    ],
)
def test_git_repositories(repo: str, kept: str, host: str, path: str) -> None:
    origin, found = made(git=argo.GitArtifact(repo=repo, ssh_private_key_secret=SECRET))
    assert (origin.options["repo"], origin.host, found) == (kept, host, path)
    assert origin.secrets == {"ssh_key": KEPT}
    assert "tok" not in origin.name + found


@pytest.mark.parametrize(
    "repo",
    [
        "ext::sh -c 'touch /tmp/x'",
        "fd::17",
        "file:///etc",
        "/etc/repo.git",
        "../repo",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x:y",
        "ssh://-oProxyCommand=x/y",
        "ssh://-l@host/y",
        "git@-oProxyCommand=x:y",
        "git@host:-x",
        "https:///nohost",
        "",
    ],
)
def test_hostile_repositories_are_refused(repo: str) -> None:
    with pytest.raises(Refused, match="artifact a"):
        made(git=argo.GitArtifact(repo=repo))


@pytest.mark.parametrize(
    "fields",
    [{"revision": "--upload-pack=x"}, {"branch": "-b"}, {"fetch": ("--upload-pack=x",)}, {"revision": "a b"}, {"branch": "a\nb"}],
)
def test_names_that_git_would_take_for_options_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Refused, match="no name that git has"):
        made(git=argo.GitArtifact(repo="https://h/r", **fields))  # type: ignore[arg-type]


def locator(noticed: list[Origin]) -> Locator:
    remotes = {
        "minio": RemoteName(type="s3", endpoints=("minio:9000",)),
        "google": RemoteName(type="google cloud storage", endpoints=("mine",)),
        "azure": RemoteName(type="azureblob", endpoints=("acc.blob.core.windows.net",)),
        "hadoop": RemoteName(type="hdfs", endpoints=("n2:8020",)),
    }
    return Locator(remotes=remotes, repository=ObjectRef(remote="minio", path="b"), notice=noticed.append).within("ns")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"s3": argo.S3Artifact(endpoint="minio:9000", bucket="b", key="k", access_key_secret=SECRET)}, "minio:b/k"),
        ({"gcs": argo.GCSArtifact(bucket="mine", key="k", service_account_key_secret=SECRET)}, "google:mine/k"),
        ({"gcs": argo.GCSArtifact(bucket="other", key="k")}, "google:other/k"),
        ({"azure": argo.AzureArtifact(endpoint="https://acc.blob.core.windows.net", container="c", blob="k")}, "azure:c/k"),
        ({"hdfs": argo.HDFSArtifact(addresses=("n1:8020", "n2:8020"), path="/x/")}, "hadoop:x/"),
    ],
)
def test_a_configured_remote_goes_before(fields: dict[str, object], expected: str) -> None:
    noticed: list[Origin] = []
    assert str(locator(noticed).find(argo.Artifact(name="a", **fields))) == expected  # type: ignore[arg-type]
    assert not noticed


@pytest.mark.parametrize(
    "fields",
    [
        {"s3": argo.S3Artifact(endpoint="elsewhere:9000", bucket="b", key="k")},
        {"gcs": argo.GCSArtifact(bucket="other", key="k", service_account_key_secret=SECRET)},
        {"azure": argo.AzureArtifact(endpoint="https://other.blob.core.windows.net", container="b", blob="k")},
        {"http": argo.HTTPArtifact(url="http://minio:9000/b/k")},
    ],
)
def test_another_store_is_noticed_before_it_is_named(fields: dict[str, object]) -> None:
    noticed: list[Origin] = []
    found = locator(noticed).find(argo.Artifact(name="a", **fields))  # type: ignore[arg-type]
    assert found is not None
    assert [origin.name for origin in noticed] == [found.remote]
    assert found.path.endswith("/k")


def test_encryption_is_put_on_top_of_a_configured_remote() -> None:
    noticed: list[Origin] = []
    encryption = argo.S3EncryptionOptions(enable_encryption=True)
    s3 = argo.S3Artifact(endpoint="minio:9000", bucket="b", key="k", encryption_options=encryption)
    found = locator(noticed).find(argo.Artifact(name="a", s3=s3))
    assert found is not None
    assert found.remote == noticed[0].name
    assert (noticed[0].base, noticed[0].options) == ("minio", {"server_side_encryption": "AES256"})
