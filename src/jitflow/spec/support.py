"""What this version does with each field of a manifest: one table.

A field is supported, refused (never ignored in silence), or ignored because it means something to Kubernetes only.
A field that no row names is refused too. To support a feature, move its name to a `_supported` row of its type.
"""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from jitflow.model import argo
from jitflow.spec._walk import fields_of, texts
from jitflow.spec.places import Path


class Status(StrEnum):
    """What becomes of a field."""

    SUPPORTED = "supported"
    REFUSED = "refused"
    IGNORED = "ignored"


class Feature(Struct, frozen=True):
    """A row: `where` is `Type.field` of the generated types; `note` says what people are told.

    `applies` narrows a row to some values of the field.
    """

    where: str
    status: Status
    note: str = ""
    applies: Callable[[Any], bool] | None = None


def _rows(kind: str, names: str, status: Status, note: str, applies: Callable[[Any], bool] | None = None) -> tuple[Feature, ...]:
    return tuple(Feature(f"{kind}.{name}", status, note, applies) for name in names.split())


def _supported(kind: str, names: str) -> tuple[Feature, ...]:
    return _rows(kind, names, Status.SUPPORTED, "")


def _refused(kind: str, names: str, note: str, applies: Callable[[Any], bool] | None = None) -> tuple[Feature, ...]:
    return _rows(kind, names, Status.REFUSED, note, applies)


def _ignored(kind: str, names: str, note: str) -> tuple[Feature, ...]:
    return _rows(kind, names, Status.IGNORED, note)


_PLACEMENT = "there are no Kubernetes nodes to place pods on"
_IDENTITY = "pods run as the service's own user; there are no service accounts"
_ISOLATION = "the executor decides how a pod is isolated"
_POD_OBJECT = "there is no Pod object in Kubernetes that it would apply to"
_SIZES = "requests and limits of Kubernetes are not enforced here"
_REMOTE = "how a store is reached is said by rclone's options of the remote"
_NOT_LISTED = "what lies there cannot be listed; use s3, gcs, azure, oss, hdfs or plugin"
_NOT_WRITTEN = "outputs cannot be stored there; use another location"
_KERBEROS = "rclone uses the Kerberos tickets of the service's user; get them with kinit"
_NO_CLUSTER = "there is no Kubernetes that would give it out"
_CLAIMS = "a claim is a directory of this machine"
_KEPT = "the server keeps it"
_NO_POD_GC = "what a pod leaves is removed when its outputs are far away; its log stays as long as the workflow"
_NO_GC_POD = "the server deletes artifacts itself, with the credentials of their remote; no pod does it"
_IMAGES = "images are not pulled; their names are mapped by the settings"


def _of_container(kind: str) -> tuple[Feature, ...]:
    """Return the rows that containers and scripts share."""
    return (
        *_supported(kind, "args command env envFrom image volumeMounts workingDir"),
        *_supported(kind, "lifecycle"),
        *_ignored(kind, "livenessProbe startupProbe", "no kubelet probes containers; use timeout and retryStrategy"),
        *_refused(kind, "restartPolicy restartPolicyRules", "containers are not restarted in place; use retryStrategy"),
        *_supported(kind, "tty"),
        *_ignored(kind, "stdin stdinOnce", "nobody is attached to a pod: its standard input is empty"),
        *_refused(kind, "volumeDevices", "a claim is a directory, never a block device; use volumeMounts"),
        *_ignored(kind, "imagePullPolicy", _IMAGES),
        *_supported(kind, "ports"),
        *_supported(kind, "readinessProbe"),
        *_ignored(kind, "resizePolicy resources", _SIZES),
        *_ignored(kind, "securityContext", _ISOLATION),
        *_supported(kind, "terminationMessagePath terminationMessagePolicy"),
    )


def _of_step(kind: str) -> tuple[Feature, ...]:
    """Return the rows that steps and tasks share."""
    return (
        *_supported(
            kind, "arguments continueOn hooks inline name onExit template templateRef when withItems withParam withSequence"
        ),
    )


FEATURES: Final[tuple[Feature, ...]] = (
    # The workflow
    *_supported(
        "WorkflowSpec",
        "activeDeadlineSeconds arguments entrypoint hooks onExit parallelism retryStrategy suspend templateDefaults templates "
        "volumes workflowMetadata workflowTemplateRef",
    ),
    *_supported("WorkflowSpec", "archiveLogs"),
    *_supported("WorkflowSpec", "artifactGC"),
    *_supported("WorkflowLevelArtifactGC", "forceFinalizerRemoval strategy"),
    *_ignored("WorkflowLevelArtifactGC", "podMetadata podSpecPatch serviceAccountName", _NO_GC_POD),
    *_supported("ArtifactGC", "strategy"),
    *_ignored("ArtifactGC", "podMetadata serviceAccountName", _NO_GC_POD),
    *_supported("WorkflowSpec", "artifactRepositoryRef"),
    *_supported("ArtifactRepositoryRef", "configMap key"),
    *_ignored("WorkflowSpec", "dnsConfig hostAliases", "pods resolve names as the machine does; change it there"),
    *_supported("WorkflowSpec", "executorPlugins"),
    *_supported("ExecutorPlugin", "metadata spec"),
    *_supported("ExecutorPluginSpec", "sidecar"),
    *_supported("ExecutorPluginSidecar", "container"),
    *_ignored("ExecutorPluginSidecar", "automountServiceAccountToken", _IDENTITY),
    *_supported("WorkflowSpec", "metrics priority"),
    *_supported("Metrics", "prometheus"),
    *_supported("Prometheus", "counter gauge help histogram labels name when"),
    *_supported("MetricLabel", "key value"),
    *_supported("Counter", "value"),
    *_supported("Gauge", "operation realtime value"),
    *_supported("Histogram", "buckets value"),
    *_refused("WorkflowSpec", "resourceClaims", "there is no Kubernetes that would give out devices"),
    *_ignored("WorkflowSpec", "shutdown", "the API sets it: stop or terminate the workflow"),
    *_supported("WorkflowSpec", "synchronization"),
    *_supported("Synchronization", "mutexes semaphores"),
    *_supported("Mutex", "database name namespace"),
    *_supported("SemaphoreRef", "configMapKeyRef database namespace"),
    *_supported("SyncDatabaseRef", "key"),
    *_supported("WorkflowSpec", "ttlStrategy"),
    *_supported("TTLStrategy", "secondsAfterCompletion secondsAfterFailure secondsAfterSuccess"),
    *_ignored("WorkflowSpec", "affinity podPriorityClassName schedulerName tolerations", _PLACEMENT),
    *_ignored("WorkflowSpec", "automountServiceAccountToken serviceAccountName executor", _IDENTITY),
    *_ignored("WorkflowSpec", "dnsPolicy hostNetwork", "pods use the network of the machine"),
    *_ignored("WorkflowSpec", "imagePullSecrets", _IMAGES),
    *_ignored("WorkflowSpec", "podDisruptionBudget", _POD_OBJECT),
    *_ignored("WorkflowSpec", "podGC", _NO_POD_GC),
    *_supported("WorkflowSpec", "podMetadata"),
    *_supported("Metadata", "annotations labels"),
    *_ignored("WorkflowSpec", "podResources", _SIZES),
    *_ignored("WorkflowSpec", "securityContext", _ISOLATION),
    *_supported("WorkflowMetadata", "annotations labels labelsFrom"),
    *_supported("LabelValueFrom", "expression"),
    *_supported("TemplateRef", "clusterScope name template"),
    *_supported("WorkflowTemplateRef", "clusterScope name"),
    # Templates
    *_supported(
        "Template",
        "activeDeadlineSeconds container dag failFast inputs name outputs parallelism retryStrategy script steps suspend timeout "
        "volumes",
    ),
    *_supported("Template", "archiveLocation"),
    *_supported("ArtifactLocation", "archiveLogs artifactory azure gcs hdfs http oss plugin s3"),
    *_refused("ArtifactLocation", "raw git", _NOT_WRITTEN),
    *_supported("Template", "daemon"),
    *_supported("Probe", "exec httpGet initialDelaySeconds periodSeconds successThreshold tcpSocket timeoutSeconds"),
    *_supported("ExecAction", "command"),
    *_refused("Probe", "grpc", "use exec, httpGet or tcpSocket"),
    *_ignored("Probe", "failureThreshold terminationGracePeriodSeconds", "a daemon that was ready once stays so until it ends"),
    *_supported("HTTPGetAction", "host httpHeaders path port scheme"),
    *_supported("TCPSocketAction", "host port"),
    *_supported("ContainerPort", "containerPort name"),
    *_ignored("ContainerPort", "hostIP hostPort protocol", "pods use the network of the machine"),
    *_ignored("Template", "hostAliases", "pods resolve names as the machine does; change it there"),
    *_supported("Template", "metrics"),
    *_supported("Template", "pendingTimeout"),
    *_supported("Template", "data http plugin resource"),
    *_supported("Data", "source transformation"),
    *_supported("DataSource", "artifactPaths"),
    *_supported("TransformationStep", "expression"),
    *_supported("ArtifactPaths", "azure gcs hdfs name oss plugin s3"),
    *_refused("ArtifactPaths", "artifactory git http raw", _NOT_LISTED),
    *_refused(
        "ArtifactPaths",
        "archive archiveLogs artifactGC deleted from fromExpression globalName mode optional path recurseMode subPath",
        "a listing takes a name and a location only",
    ),
    *_supported("HTTP", "body bodyFrom headers insecureSkipVerify method successCondition timeoutSeconds url"),
    *_supported("HTTPBodySource", "bytes"),
    *_supported(
        "ResourceTemplate",
        "action failureCondition flags manifest manifestFrom mergeStrategy setOwnerReference successCondition",
    ),
    *_supported("ManifestFrom", "artifact"),
    *_supported("HTTPHeader", "name value valueFrom"),
    *_supported("HTTPHeaderSource", "secretKeyRef"),
    *_refused("Template", "resourceClaims", "there is no Kubernetes that would give out devices"),
    *_supported("Template", "containerSet initContainers sidecars"),
    *_supported("ContainerSetTemplate", "containers retryStrategy volumeMounts"),
    *_supported("ContainerSetRetryStrategy", "duration retries"),
    *_supported("ContainerNode", "dependencies name"),
    *_supported("UserContainer", "mirrorVolumeMounts name"),
    *_supported("Template", "memoize synchronization"),
    *_supported("Memoize", "cache key maxAge"),
    *_supported("Cache", "configMap"),
    *_supported("LocalObjectReference", "name"),
    *_ignored("Template", "affinity priorityClassName schedulerName tolerations", _PLACEMENT),
    *_supported("Template", "annotations metadata"),
    *_ignored("Template", "automountServiceAccountToken executor serviceAccountName", _IDENTITY),
    *_ignored("Template", "podResources", _SIZES),
    *_ignored("Template", "securityContext", _ISOLATION),
    # Containers and scripts
    *_supported("ScriptTemplate", "source"),
    *(row for kind in ("Container", "ScriptTemplate", "ContainerNode", "UserContainer") for row in _of_container(kind)),
    *_refused(
        "Lifecycle", "postStart", "no kubelet runs it; do the work in the command, or in hooks of the template"
    ),
    *_ignored("Lifecycle", "preStop stopSignal", "a container that is ended gets SIGTERM, and SIGKILL after the time of grace"),
    *_ignored("Container", "name", "the container of a template is always called main"),
    *_ignored("ScriptTemplate", "name", "the container of a template is always called main"),
    *_supported("EnvVar", "name value"),
    *_supported("EnvVar", "valueFrom"),
    *_supported("EnvVarSource", "configMapKeyRef fieldRef resourceFieldRef secretKeyRef"),
    *_refused("EnvVarSource", "fileKeyRef", "variables from files are not supported by this version; read the file"),
    *_supported("SecretKeySelector", "key name optional"),
    *_supported("ObjectFieldSelector", "fieldPath"),
    *_ignored("ObjectFieldSelector", "apiVersion", "there is one version of the fields"),
    *_supported("ResourceFieldSelector", "divisor resource"),
    *_ignored("ResourceFieldSelector", "containerName", "the container itself is meant"),
    *_supported("EnvFromSource", "configMapRef prefix secretRef"),
    *_supported("ConfigMapEnvSource", "name optional"),
    *_supported("SecretEnvSource", "name optional"),
    *_supported("VolumeMount", "mountPath name readOnly subPath subPathExpr"),
    *_ignored("VolumeMount", "mountPropagation recursiveReadOnly", _ISOLATION),
    *_supported("Volume", "configMap downwardAPI emptyDir name persistentVolumeClaim projected secret"),
    *_ignored("Volume", "ephemeral", "each pod gets an empty directory"),
    *_supported("ConfigMapVolumeSource", "defaultMode items name optional"),
    *_supported("SecretVolumeSource", "defaultMode items optional secretName"),
    *_supported("KeyToPath", "key mode path"),
    *_supported("DownwardAPIVolumeSource", "items"),
    *_ignored("DownwardAPIVolumeSource", "defaultMode", "files are readable by all"),
    *_supported("DownwardAPIVolumeFile", "fieldRef mode path"),
    *_refused("DownwardAPIVolumeFile", "resourceFieldRef", "only fields of the pod can be shown as files; use env"),
    *_supported("ProjectedVolumeSource", "defaultMode sources"),
    *_supported("VolumeProjection", "configMap downwardAPI secret"),
    *_refused("VolumeProjection", "clusterTrustBundle podCertificate serviceAccountToken", _NO_CLUSTER),
    *_supported("ConfigMapProjection", "items name optional"),
    *_supported("SecretProjection", "items name optional"),
    *_supported("DownwardAPIProjection", "items"),
    *_supported("PersistentVolumeClaimVolumeSource", "claimName readOnly"),
    *_supported("WorkflowSpec", "volumeClaimTemplates volumeClaimGC nodeSelector podSpecPatch"),
    *_supported("VolumeClaimGC", "strategy"),
    *_supported("Template", "nodeSelector podSpecPatch"),
    *_supported("PersistentVolumeClaim", "metadata spec"),
    *_ignored("PersistentVolumeClaim", "apiVersion kind status", "the engine knows what it is"),
    *_ignored("PersistentVolumeClaimSpec", "accessModes dataSource dataSourceRef resources selector storageClassName", _CLAIMS),
    *_ignored("PersistentVolumeClaimSpec", "volumeAttributesClassName volumeMode volumeName", _CLAIMS),
    *_supported("ObjectMeta", "annotations creationTimestamp generateName labels name namespace uid resourceVersion"),
    *_ignored("ObjectMeta", "deletionGracePeriodSeconds deletionTimestamp finalizers generation managedFields", _KEPT),
    *_supported("ObjectMeta", "ownerReferences"),
    *_supported("OwnerReference", "apiVersion kind name uid"),
    *_ignored("OwnerReference", "blockOwnerDeletion controller", "owners are deleted first, what they own after them"),
    *_ignored("ObjectMeta", "selfLink", _KEPT),
    *_supported("EmptyDirVolumeSource", "medium sizeLimit"),
    # Steps and tasks
    *(row for kind in ("WorkflowStep", "DAGTask") for row in _of_step(kind)),
    *_supported("DAGTask", "dependencies depends"),
    *_supported("DAGTemplate", "failFast target tasks"),
    *_supported("ContinueOn", "error failed"),
    *_supported("Sequence", "count end format start"),
    *_supported("SuspendTemplate", "duration"),
    *_supported("LifecycleHook", "arguments expression template templateRef"),
    *_supported("RetryStrategy", "backoff expression limit retryPolicy"),
    *_ignored("RetryStrategy", "affinity", "there are no Kubernetes nodes to place a retry on"),
    *_supported("Backoff", "cap duration factor maxDuration"),
    # Parameters
    *_supported("Arguments", "artifacts parameters"),
    *_supported("Inputs", "artifacts parameters"),
    *_supported("Outputs", "artifacts parameters"),
    *_ignored("Outputs", "exitCode result", "the engine sets it"),
    *_supported("Parameter", "default enum globalName name value valueFrom"),
    *_ignored("Parameter", "description", "it is for people"),
    *_supported("ValueFrom", "configMapKeyRef default expression parameter path supplied"),
    *_supported("ConfigMapKeySelector", "key name optional"),
    *_supported("ValueFrom", "event"),
    *_supported("ValueFrom", "jqFilter jsonPath"),
    *_supported("Tag", "expression"),
    # Artifacts
    *_supported("Artifact", "archive from fromExpression globalName mode name optional path plugin raw s3 subPath"),
    *_ignored("Artifact", "archiveLogs", "it means something in an archiveLocation only"),
    *_supported("Artifact", "artifactGC"),
    *_supported("Artifact", "artifactory azure gcs git hdfs http oss"),
    *_refused("Artifact", "deleted", "an artifact that was deleted cannot be used"),
    *_supported("Artifact", "recurseMode"),
    *_supported("ArchiveStrategy", "none tar zip"),
    *_supported("TarStrategy", "compressionLevel"),
    *_supported("RawArtifact", "data"),
    *_supported("S3Artifact", "bucket endpoint key"),
    *_supported("S3Artifact", "createBucketIfNotPresent"),
    *_ignored("CreateS3BucketOptions", "objectLocking", "set it on the bucket"),
    *_supported("S3Artifact", "accessKeySecret addressingStyle encryptionOptions insecure region roleARN secretKeySecret"),
    *_supported("S3Artifact", "sessionTokenSecret useSDKCreds"),
    *_ignored("S3Artifact", "caSecret", "certificates are checked with those that this machine trusts; add it there"),
    *_supported("S3EncryptionOptions", "enableEncryption kmsKeyId serverSideCustomerKeySecret"),
    *_refused("S3EncryptionOptions", "kmsEncryptionContext", "rclone cannot send it; set the encryption on the bucket"),
    *_supported("GCSArtifact", "bucket key serviceAccountKeySecret"),
    *_supported("AzureArtifact", "accountKeySecret blob container endpoint useSDKCreds"),
    *_supported("OSSArtifact", "accessKeySecret bucket endpoint key secretKeySecret securityToken useSDKCreds"),
    *_ignored("OSSArtifact", "createBucketIfNotPresent", "rclone makes a bucket that is not there"),
    *_ignored("OSSArtifact", "lifecycleRule", "set it on the bucket"),
    *_supported("HDFSArtifact", "addresses dataTransferProtection hdfsUser krbServicePrincipalName krbUsername path"),
    *_refused("HDFSArtifact", "krbCCacheSecret krbConfigConfigMap krbKeytabSecret krbRealm", _KERBEROS),
    *_ignored("HDFSArtifact", "force", "what is there is always replaced"),
    *_supported("HTTPArtifact", "auth headers url"),
    *_ignored("HTTPArtifact", "saveStreamViaFile", "outputs are always sent from a file"),
    *_supported("HTTPAuth", "basicAuth clientCert oauth2"),
    *_supported("BasicAuth", "passwordSecret usernameSecret"),
    *_supported("ClientCertAuth", "clientCertSecret clientKeySecret"),
    *_supported("OAuth2Auth", "clientIDSecret clientSecretSecret endpointParams scopes tokenURLSecret"),
    *_supported("OAuth2EndpointParam", "key value"),
    *_supported("Header", "name value"),
    *_supported("ArtifactoryArtifact", "passwordSecret url usernameSecret"),
    *_supported("GitArtifact", "branch depth disableSubmodules fetch insecureIgnoreHostKey insecureSkipTLS passwordSecret repo"),
    *_supported("GitArtifact", "revision singleBranch sshPrivateKeySecret usernameSecret"),
    *_supported("PluginArtifact", "key"),
    *_supported("PluginArtifact", "name"),
    *_ignored("PluginArtifact", "configuration", "the settings say where a plugin's artifacts lie, under artifact_plugins"),
    *_ignored("PluginArtifact", "connectionTimeoutSeconds", _REMOTE),
)  # fmt: skip

_VOLUMES: Final = "volumes of this kind do not exist here; use emptyDir, a claim, a ConfigMap, a Secret, or artifacts"
_EXPRESSION = re.compile(r"\{\{\s*=")
_EXPRESSION_BYTES = re.compile(rb"\{\{\s*=")


def of(where: str, value: Any = None) -> Feature:
    """Return the row for `Type.field`; a field without one is refused."""
    chosen = Feature(where, Status.REFUSED, _VOLUMES if where.startswith("Volume.") else "")
    for feature in _by_name().get(where, ()):
        if feature.applies is None or feature.applies(value):
            chosen = feature
    if chosen.status is Status.REFUSED and not chosen.note:
        return msgspec.structs.replace(chosen, note=f"{where.partition('.')[2]} is not supported by this version")
    return chosen


@lru_cache(maxsize=1)
def _by_name() -> dict[str, tuple[Feature, ...]]:
    table: dict[str, tuple[Feature, ...]] = {}
    for feature in FEATURES:
        table[feature.where] = (*table.get(feature.where, ()), feature)
    return table


def uses(spec: argo.WorkflowSpec, path: Path = ("spec",)) -> Iterator[tuple[Path, Feature]]:
    """Yield every use of a field that is not supported (or is ignored), with its path.

    False, empty text, empty lists and empty mappings are no use; an empty object is.
    """
    yield from _walk(spec, path)
    if _EXPRESSION_BYTES.search(msgspec.json.encode(spec)):
        row = of("Tag.expression")
        if row.status is not Status.SUPPORTED:
            yield from ((here, row) for here, text in texts(spec, path) if _EXPRESSION.search(text))


@lru_cache(maxsize=256)
def _plan(kind: type[Struct]) -> tuple[tuple[str, str, str, bool], ...]:
    """Return, for each field of a type: attribute, JSON name, `Type.field`, whether all its values are supported."""
    rows: list[tuple[str, str, str, bool]] = []
    for attribute, name in fields_of(kind):
        where = f"{kind.__name__}.{name}"
        known = _by_name().get(where, ())
        rows.append((attribute, name, where, bool(known) and all(row.status is Status.SUPPORTED for row in known)))
    return tuple(rows)


def _walk(value: Struct, path: Path) -> Iterator[tuple[Path, Feature]]:
    for attribute, name, where, supported in _plan(type(value)):
        inner = getattr(value, attribute)
        if inner is None or inner is False or inner in ("", (), {}):
            continue
        if not supported:
            row = of(where, inner)
            if row.status is not Status.SUPPORTED:
                yield (*path, name), row
                continue
        if name not in {"withItems", "value", "enum"}:
            yield from _descend(inner, (*path, name))


def _descend(inner: Any, path: Path) -> Iterator[tuple[Path, Feature]]:
    if isinstance(inner, Struct):
        yield from _walk(inner, path)
    elif isinstance(inner, tuple):
        for index, item in enumerate(inner):  # type: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            if not isinstance(item, Struct | tuple):
                return
            yield from _descend(item, (*path, index))
