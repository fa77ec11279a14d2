"""Stores that only a manifest names, over a real S3 server: made when they are used, with secrets that nobody sees."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from storage_worlds import ignore, new_bucket, opened, settle
from test_storage_web import secrets, selector

from jitflow.agents import HostRules
from jitflow.engine.origins import origin_of
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.objects import Secret
from jitflow.model.origins import Origin
from jitflow.objects import ObjectStore
from jitflow.ports.errors import AccessRefused, ObjectMissing, RemoteUnknown
from jitflow.storage.credentials import Credentials
from jitflow.storage.made import AllStores
from jitflow.storage.remotes import RemoteConfig
from jitflow.storage.staging import Staging
from jitflow.testing.s3_server import S3Server


def located(s3: S3Server, bucket: str, key: str, **fields: object) -> tuple[Origin, ObjectRef]:
    artifact = argo.S3Artifact(
        endpoint=s3.endpoint,
        bucket=bucket,
        key=key,
        access_key_secret=selector("id"),
        secret_key_secret=selector("secret"),
        **fields,
    )  # type: ignore[arg-type]
    found = origin_of(argo.Artifact(name="a", s3=artifact), "ns")
    assert found is not None
    return found[0], ObjectRef(remote=found[0].name, path=found[1])


@asynccontextmanager
async def stores(s3: S3Server, objects: ObjectStore, folder: Path, allowed: tuple[str, ...] = ()) -> AsyncIterator[AllStores]:
    async with opened(s3.remote("far")) as rclone:
        staging = Staging(folder / "staging", 1 << 20)
        staging.open()
        yield AllStores(rclone, Credentials(objects), HostRules(allowed), staging)


def test_a_store_is_made_of_the_artifacts_own_secrets(s3: S3Server, tmp_path: Path) -> None:
    bucket, root = new_bucket(s3)
    (root / "x").write_bytes(b"content")
    (tmp_path / "out").write_bytes(b"result")

    async def main() -> None:
        await settle(s3)
        async with stores(s3, await secrets(id=s3.key_id, secret=s3.secret), tmp_path) as every:
            origin, ref = located(s3, bucket, "x")
            noticed: list[Origin] = []
            every.on_new = noticed.append
            with pytest.raises(RemoteUnknown):
                await every.stat(ref)
            every.notice(origin)
            every.notice(origin)
            assert noticed == [origin]
            far = ObjectRef(remote="far", path=f"{bucket}/x")
            answers = await every.stat_many([ref, far, ObjectRef(remote=ref.remote, path=f"{bucket}/gone")])
            info = answers[ref]
            assert not isinstance(info, Exception)
            assert info.size_bytes == getattr(answers[far], "size_bytes", None) == 7
            assert isinstance(answers[ObjectRef(remote=ref.remote, path=f"{bucket}/gone")], ObjectMissing)
            await every.fetch(info, tmp_path / "in", ignore)
            await every.store(tmp_path / "out", ObjectRef(remote=ref.remote, path=f"{bucket}/new/y"), ignore)
            assert [one.ref.path async for one in every.list(ObjectRef(remote=ref.remote, path=f"{bucket}/new/"))] == [
                f"{bucket}/new/y"
            ]

    asyncio.run(main())
    assert (tmp_path / "in").read_bytes() == b"content"
    assert (root / "new" / "y").read_bytes() == b"result"


def test_wrong_and_missing_secrets_are_told_without_their_values(
    s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, _ = new_bucket(s3)
    caplog.set_level(logging.DEBUG)

    async def main() -> str:
        objects = await secrets(id=s3.key_id, secret="not-the-right-one")
        async with stores(s3, objects, tmp_path) as every:
            origin, ref = located(s3, bucket, "x")
            every.notice(origin)
            with pytest.raises(AccessRefused) as caught:
                await every.store(Path(__file__), ref, ignore)
            await objects.delete(Secret, "ns", "cred")
            with pytest.raises(AccessRefused, match='secret "cred" in namespace "ns" not found'):
                await every.stat(ref)
            return str(caught.value)

    assert "not-the-right-one" not in asyncio.run(main()) + caplog.text


def test_a_secret_that_has_changed_is_used_anew(s3: S3Server, tmp_path: Path) -> None:
    bucket, root = new_bucket(s3)
    (root / "x").write_bytes(b"content")

    async def main() -> None:
        await settle(s3)
        objects = await secrets(id=s3.key_id, secret="wrong")
        async with stores(s3, objects, tmp_path) as every:
            origin, ref = located(s3, bucket, "x")
            every.notice(origin)
            with pytest.raises(AccessRefused):
                await every.stat(ref)
            values = {"id": s3.key_id, "secret": s3.secret}
            await objects.apply(Secret(metadata=argo.ObjectMeta(name="cred"), string_data=values), "ns")
            assert (await every.stat(ref)).size_bytes == 7

    asyncio.run(main())


def test_encryption_is_asked_of_a_configured_store(s3: S3Server, tmp_path: Path) -> None:
    bucket, root = new_bucket(s3)
    options = {"server_side_encryption": "AES256"}
    origin = Origin(kind="s3", label="far", host=f"127.0.0.1:{s3.port}", base="far", options=options)

    async def main() -> None:
        async with stores(s3, await secrets(), tmp_path) as every:
            every.notice(origin)
            await every.store(Path(__file__), ObjectRef(remote=origin.name, path=f"{bucket}/y"), ignore)

    asyncio.run(main())
    assert (root / "y").read_bytes() == Path(__file__).read_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"gcs": argo.GCSArtifact(bucket="b", key="k", service_account_key_secret=selector("id"))},
        {"gcs": argo.GCSArtifact(bucket="b", key="k")},
        {"azure": argo.AzureArtifact(endpoint="http://127.0.0.1:1", container="c", blob="k", account_key_secret=selector("id"))},
        {"azure": argo.AzureArtifact(endpoint="http://127.0.0.1:1", container="c", blob="k")},
        {"oss": argo.OSSArtifact(endpoint="http://127.0.0.1:1", bucket="b", key="k", secret_key_secret=selector("id"))},
        {"oss": argo.OSSArtifact(endpoint="http://127.0.0.1:1", bucket="b", key="k", security_token="t", use_sdk_creds=True)},
        {"hdfs": argo.HDFSArtifact(addresses=("127.0.0.1:1",), path="/k", hdfs_user="u", krb_service_principal_name="h/n")},
        {
            "s3": argo.S3Artifact(
                endpoint="127.0.0.1:1",
                key="k",
                role_arn="r",
                region="eu",
                session_token_secret=selector("id"),
                encryption_options=argo.S3EncryptionOptions(server_side_customer_key_secret=selector("id")),
            )
        },
        {
            "s3": argo.S3Artifact(
                endpoint="s3.amazonaws.com",
                key="k",
                use_sdk_creds=True,
                encryption_options=argo.S3EncryptionOptions(kms_key_id="i"),
            )
        },
    ],
)
def test_rclone_takes_what_is_made_of_every_kind_of_location(tmp_path: Path, fields: dict[str, object]) -> None:
    """An option that rclone does not know is refused when the remote is made; nobody is asked for it."""
    found = origin_of(argo.Artifact(name="a", **fields), "ns")  # type: ignore[arg-type]
    assert found is not None
    origin = found[0]

    async def main() -> None:
        options = Credentials(await secrets(id="{}")).options(origin)
        async with opened() as rclone:
            await rclone.configure(RemoteConfig(name=origin.name, type=origin.kind, options=options))
            assert rclone.remotes == (origin.name,)

    asyncio.run(main())


def test_hosts_that_may_not_be_asked(s3: S3Server, tmp_path: Path) -> None:
    async def main() -> None:
        async with stores(s3, await secrets(id="i", secret="s"), tmp_path, ("elsewhere",)) as every:
            origin, ref = located(s3, "b", "x")
            every.notice(origin)
            with pytest.raises(AccessRefused, match="allowed_hosts"):
                await every.stat(ref)
            assert isinstance((await every.stat_many([ref]))[ref], AccessRefused)

    asyncio.run(main())
