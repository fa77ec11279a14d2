"""From an artifact's location to the store that it describes, and the path of the object there."""

from collections.abc import Callable, Iterable
from urllib.parse import unquote, urlsplit

import msgspec

from jitflow.model import argo
from jitflow.model.origins import GIT, WEB, Origin, SecretRef
from jitflow.model.problems import Refused

Found = tuple[Origin, str]

_AWS = "amazonaws.com"
_AZURE = ".blob.core.windows.net"
_WEB_SCHEMES = ("http", "https")
GIT_SCHEMES = ("https", "http", "ssh", "git")


def origin_of(artifact: argo.Artifact, namespace: str) -> Found | None:
    """Return the store that an artifact's location describes and the object's path there; None if it describes none.

    Raises:
        Refused: the location makes no sense, or cannot be used here.
    """
    for kind, make in _MAKERS.items():
        location = getattr(artifact, kind)
        if location is not None:
            try:
                return make(location, namespace)
            except (Refused, ValueError) as error:
                raise Refused(f"artifact {artifact.name}: {error}") from error
    return None


# -- stores of rclone's ------------------------------------------------------------------------------------------------


def _s3(s3: argo.S3Artifact, namespace: str) -> Found | None:
    if not s3.endpoint or not s3.key:
        return None
    options = {"provider": "Other", "region": s3.region or "", "role_arn": s3.role_arn or ""}
    if s3.endpoint.endswith(_AWS):
        options["provider"] = "AWS"
    if not s3.endpoint.endswith(f"s3.{_AWS}"):
        options["endpoint"] = _url(s3.endpoint, insecure=bool(s3.insecure))
        style = (s3.addressing_style or "").lower()
        options["force_path_style"] = "false" if "virtual" in style else "true"
    if s3.use_sdk_creds or (s3.role_arn and s3.access_key_secret is None):
        options["env_auth"] = "true"
    secrets = _secrets(
        namespace,
        access_key_id=s3.access_key_secret,
        secret_access_key=s3.secret_key_secret,
        session_token=s3.session_token_secret,
    )
    origin = _made("s3", s3.endpoint, options, secrets)
    return encrypted(origin, s3, namespace), _path(s3.bucket, s3.key)


def encrypted(origin: Origin, s3: argo.S3Artifact, namespace: str) -> Origin:
    """Return a store that encrypts what is written to it, as an artifact says.

    Raises:
        Refused: rclone cannot do that.
    """
    wanted = s3.encryption_options
    if wanted is None:
        return origin
    if wanted.kms_encryption_context:
        raise Refused("kmsEncryptionContext cannot be sent by rclone; leave it out, or set the encryption on the bucket")
    options, secrets = dict(origin.options), dict(origin.secrets)
    if wanted.server_side_customer_key_secret is not None:
        options["sse_customer_algorithm"] = "AES256"
        secrets |= _secrets(namespace, sse_customer_key_base64=wanted.server_side_customer_key_secret)
    elif wanted.kms_key_id:
        options |= {"server_side_encryption": "aws:kms", "sse_kms_key_id": wanted.kms_key_id}
    elif wanted.enable_encryption:
        options["server_side_encryption"] = "AES256"
    plain = "server_side_encryption" in options and "sse_kms_key_id" not in options
    return msgspec.structs.replace(origin, options=options, secrets=secrets, check_hashes=plain or options == origin.options)


def _gcs(gcs: argo.GCSArtifact, namespace: str) -> Found | None:
    if not gcs.key:
        return None
    secrets = _secrets(namespace, service_account_credentials=gcs.service_account_key_secret)
    options = {"bucket_policy_only": "true"} | ({} if secrets else {"env_auth": "true"})
    return _made("google cloud storage", "storage.googleapis.com", options, secrets), _path(gcs.bucket, gcs.key)


def _azure(azure: argo.AzureArtifact, namespace: str) -> Found | None:
    if not azure.blob or not azure.endpoint:
        return None
    host = urlsplit(_url(azure.endpoint, insecure=False)).hostname or ""
    options = {"account": host.partition(".")[0]}
    if not host.endswith(_AZURE):
        options["endpoint"] = _url(azure.endpoint, insecure=False)
    secrets = _secrets(namespace, key=azure.account_key_secret)
    if not secrets:
        options["env_auth"] = "true"
    return _made("azureblob", azure.endpoint, options, secrets), _path(azure.container, azure.blob)


def _oss(oss: argo.OSSArtifact, namespace: str) -> Found | None:
    if not oss.key or not oss.endpoint:
        return None
    options = {"provider": "Alibaba", "endpoint": _url(oss.endpoint, insecure=False), "session_token": oss.security_token or ""}
    if oss.use_sdk_creds:
        options["env_auth"] = "true"
    secrets = _secrets(namespace, access_key_id=oss.access_key_secret, secret_access_key=oss.secret_key_secret)
    return _made("s3", oss.endpoint, options, secrets, hidden=("session_token",)), _path(oss.bucket, oss.key)


def _hdfs(hdfs: argo.HDFSArtifact, namespace: str) -> Found | None:
    del namespace
    if not hdfs.path or not hdfs.addresses:
        return None
    options = {
        "namenode": ",".join(hdfs.addresses),
        "username": hdfs.hdfs_user or hdfs.krb_username or "",
        "service_principal_name": hdfs.krb_service_principal_name or "",
        "data_transfer_protection": hdfs.data_transfer_protection or "",
    }
    return _made("hdfs", hdfs.addresses[0], options, {}), hdfs.path.lstrip("/")


# -- the web -----------------------------------------------------------------------------------------------------------


def _http(http: argo.HTTPArtifact, namespace: str) -> Found | None:
    if not http.url:
        return None
    auth = http.auth or argo.HTTPAuth()
    options: dict[str, str] = {}
    secrets: dict[str, SecretRef] = {}
    if auth.basic_auth is not None:
        secrets |= _secrets(namespace, username=auth.basic_auth.username_secret, password=auth.basic_auth.password_secret)
    if auth.client_cert is not None:
        secrets |= _secrets(namespace, cert=auth.client_cert.client_cert_secret, cert_key=auth.client_cert.client_key_secret)
    if auth.oauth2 is not None:
        given = auth.oauth2
        secrets |= _secrets(
            namespace,
            client_id=given.client_id_secret,
            client_secret=given.client_secret_secret,
            token_url=given.token_url_secret,
        )
        options["scopes"] = " ".join(given.scopes)
        options["endpoint_params"] = _lines((param.key, param.value or "") for param in given.endpoint_params)
    options["headers"] = _lines((header.name, header.value) for header in http.headers)
    return _web(http.url, options, secrets)


def _artifactory(artifactory: argo.ArtifactoryArtifact, namespace: str) -> Found | None:
    if not artifactory.url:
        return None
    secrets = _secrets(namespace, username=artifactory.username_secret, password=artifactory.password_secret)
    return _web(artifactory.url, {}, secrets)


def _web(url: str, options: dict[str, str], secrets: dict[str, SecretRef]) -> Found:
    """Return a web server and a path there. What may be secret in a URL, its user and its query, stays out of the path."""
    parts = urlsplit(url)
    host = _host_of(url)
    if parts.scheme.lower() not in _WEB_SCHEMES or not parts.hostname:
        raise Refused(f"{parts.scheme + ':' if parts.scheme else ''} is no web address; write http://HOST/… or https://HOST/…")
    own = {"base": f"{parts.scheme.lower()}://{host}", "query": parts.query}
    if parts.username is not None:
        own |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    path = parts.path.lstrip("/")
    # A path that ends in a slash would be taken for a directory.
    return _made(WEB, host, {**own, **options}, secrets, hidden=("headers", "query", "password")), (
        f"{path}?" if not path or path.endswith("/") else path
    )


# -- git ---------------------------------------------------------------------------------------------------------------


def _git(git: argo.GitArtifact, namespace: str) -> Found:
    repo, host, user, password = _repository(git.repo)
    for what, value in (("revision", git.revision), ("branch", git.branch), *(("fetch", spec) for spec in git.fetch)):
        if value and (value.startswith("-") or any(char.isspace() or ord(char) < 32 for char in value)):
            raise Refused(f"git {what} {value[:80]!r} is no name that git has; it must not begin with - or hold blanks")
    options = {
        "repo": repo,
        "revision": git.revision or "",
        "branch": git.branch or "",
        "depth": str(git.depth or ""),
        "fetch": "\n".join(git.fetch),
        "single_branch": _flag(git.single_branch),
        "no_submodules": _flag(git.disable_submodules),
        "any_certificate": _flag(git.insecure_skip_tls),
        "any_host_key": _flag(git.insecure_ignore_host_key),
        "username": user,
        "password": password,
    }
    secrets = _secrets(namespace, username=git.username_secret, password=git.password_secret, ssh_key=git.ssh_private_key_secret)
    name = repo.rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git") or "repository"
    return _made(GIT, host, options, secrets, hidden=("password",)), f"{name}/"


def _repository(repo: str) -> tuple[str, str, str, str]:
    """Return a repository's address without its user's name and password where they are secret, its host, and these two."""
    if "://" not in repo:
        return _scp_like(repo)
    parts = urlsplit(repo)
    scheme = parts.scheme.lower()
    if scheme not in GIT_SCHEMES or not parts.hostname or parts.hostname.startswith("-"):
        raise Refused(f"a git repository must be at one of {', '.join(f'{name}://' for name in GIT_SCHEMES)} or user@host:path")
    host = _host_of(repo)
    if scheme in _WEB_SCHEMES:
        clean = parts._replace(netloc=host).geturl()
        return clean, host, unquote(parts.username or ""), unquote(parts.password or "")
    if parts.password or (parts.username or "").startswith("-"):
        raise Refused("a git address of this kind holds no password; use sshPrivateKeySecret")
    return repo, host, "", ""


def _scp_like(repo: str) -> tuple[str, str, str, str]:
    """Take `user@host:path` apart, git's short form of an ssh address."""
    at, colon, path = repo.partition(":")
    host = at.rpartition("@")[2]
    plain = all(char.isalnum() or char in "._-@" for char in at) and host and not at.startswith("-") and not host.startswith("-")
    if not colon or not path or path.startswith((":", "-")) or not plain or any(char.isspace() for char in path):
        raise Refused(
            f"{repo[:80]!r} is no git repository that can be reached: write https://HOST/PATH, ssh://USER@HOST/PATH or "
            "USER@HOST:PATH"
        )
    return repo, host, "", ""


# -- small parts -------------------------------------------------------------------------------------------------------


def _made(
    kind: str, label: str, options: dict[str, str], secrets: dict[str, SecretRef], *, hidden: tuple[str, ...] = ()
) -> Origin:
    host = _host_of(label)
    kept = {name: value for name, value in options.items() if value and name not in secrets}
    return Origin(
        kind=kind,
        label=host,
        host=host,
        options=kept,
        secrets=secrets,
        hidden=tuple(name for name in hidden if name in kept),
    )


def _secrets(namespace: str, **selectors: argo.SecretKeySelector | None) -> dict[str, SecretRef]:
    return {
        option: SecretRef(namespace=namespace, name=selector.name or "", key=selector.key or "")
        for option, selector in selectors.items()
        if selector is not None
    }


def _path(bucket: str | None, key: str) -> str:
    return f"{bucket}/{key}" if bucket else key


def _url(endpoint: str, *, insecure: bool) -> str:
    return endpoint if "://" in endpoint else f"{'http' if insecure else 'https'}://{endpoint}"


def _host_of(address: str) -> str:
    """Return `host` or `host:port` of a URL, or of what is that already."""
    return urlsplit(address if "://" in address else f"//{address}").netloc.rpartition("@")[2].lower()


def _flag(value: bool | None) -> str:
    return "true" if value else ""


def _lines(pairs: Iterable[tuple[str, str]]) -> str:
    """Return pairs as text; they hold no line breaks, for headers may not."""
    found = list(pairs)
    for name, value in found:
        if any(char in name + value for char in "\r\n\0"):
            raise Refused(f"{name[:40]!r} holds a line break")
    return "\n".join(f"{name}: {value}" for name, value in found)


_MAKERS: dict[str, Callable[..., Found | None]] = {
    "s3": _s3,
    "gcs": _gcs,
    "azure": _azure,
    "oss": _oss,
    "hdfs": _hdfs,
    "http": _http,
    "artifactory": _artifactory,
    "git": _git,
}
