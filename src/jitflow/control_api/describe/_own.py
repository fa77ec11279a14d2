"""What the Control API serves beyond Argo Server, and about itself."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from jitflow.access import TokenInfo, TokenWish
from jitflow.model.access import AuditEntry, NewToken, Whoami
from jitflow.model.backfill import BackfillView, BackfillWish
from jitflow.model.bulk import BulkResult, BulkWish
from jitflow.model.bulk import Operation as BulkOperation
from jitflow.model.following import Delta
from jitflow.model.foreign import ForeignView, Outcome
from jitflow.model.reasons import Why
from jitflow.model.reports import Estimate, RunTimeline, StepData, Timeline
from jitflow.model.runs import Note
from jitflow.model.servers import ServerList
from jitflow.model.usage import Usage
from jitflow.model.webhooks import Failed, NewWebhook, WebhookInfo, WebhookWish
from jitflow.openapi import Operation, Query

_NAMESPACES = "/api/jit/v1/workflows/{namespace}/{name}"
_OBJECTS = "/api/jit/v1/objects/{namespace}/{kind}"
_TOKENS = "/api/jit/v1/tokens"
_MANIFEST: dict[str, Any] = {
    "metadata": {"generateName": "hello-"},
    "spec": {
        "entrypoint": "main",
        "templates": [{"name": "main", "container": {"image": "busybox", "command": ["echo", "hello"]}}],
    },
}
_FOREIGN_METADATA: dict[str, Any] = {
    "name": "hello-x7k2p",
    "namespace": "argo",
    "uid": "2f0b9a5e-7f0e-4d7c-9f55-0d2f6c1b8a11",
    "resourceVersion": "15288",
}
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": {}}
_FOLLOW = (
    Query("listOptions.resourceVersion", about="Go on after this version."),
    Query("listOptions.labelSelector"),
    Query("listOptions.fieldSelector"),
    Query("nameFilter"),
    Query("createdAfter"),
    Query("finishedBefore"),
    Query("listOptions.timeoutSeconds", "integer", "End the stream after so long."),
)


class Sent(Struct, frozen=True):
    """A manifest to explain."""

    workflow: dict[str, Any]


class Status(Struct, frozen=True):
    """The server lives."""

    status: str


class Steps(Struct, frozen=True):
    """Where the data of steps stands."""

    items: Sequence[StepData]


class Notes(Struct, frozen=True):
    """A history, oldest first."""

    items: Sequence[Note]


class TokenList(Struct, frozen=True):
    """Tokens as administrators see them."""

    items: Sequence[TokenInfo]


class AuditList(Struct, frozen=True):
    """What was done, newest first."""

    items: Sequence[AuditEntry]


class WebhookList(Struct, frozen=True):
    """Webhooks as administrators see them."""

    items: Sequence[WebhookInfo]


class Failures(Struct, frozen=True):
    """Events that could not be sent."""

    items: Sequence[Failed]


class Replay(Struct, frozen=True):
    """Which failed events are to be sent again; none: all."""

    ids: tuple[str, ...] = ()


class ForeignList(Struct, frozen=True):
    """Workflows that another Argo runs, newest first."""

    items: Sequence[ForeignView]


class BackfillList(Struct, frozen=True):
    """Backfills of a schedule, newest first."""

    items: Sequence[BackfillView]


class Cancellation(Struct, frozen=True):
    """How a backfill is cancelled. `terminate`: what runs is ended as well."""

    terminate: bool = False


class Replayed(Struct, frozen=True):
    """How many are sent again."""

    replayed: int


def operations() -> list[Operation]:
    """Return the table."""
    return [*_about(), *_everywhere(), *_jit(), *_foreign(), *_backfills(), *_objects(), *_access()]


def _about() -> list[Operation]:
    return [
        Operation(
            id="livez", method="GET", path="/livez", tag="About", answer=Status, open=True, summary="Say that the process lives"
        ),
        Operation(
            id="readyz",
            method="GET",
            path="/readyz",
            tag="About",
            answer=Status,
            open=True,
            summary="Say whether work may be sent here; 503 with the parts that cannot be used, or while the server drains",
        ),
        Operation(
            id="health",
            method="GET",
            path="/health",
            tag="About",
            answer=Status,
            open=True,
            summary="Say `healthy` if work may be sent here, as the older service did; 503 and `unhealthy` if not",
        ),
        Operation(
            id="healthz",
            method="GET",
            path="/healthz",
            summary="Say that the server lives",
            tag="About",
            answer=Status,
            open=True,
        ),
        Operation(
            id="metrics",
            method="GET",
            path="/metrics",
            summary="Measurements, in Prometheus' text form",
            tag="About",
            media="text/plain",
        ),
        Operation(
            id="whoami",
            method="GET",
            path="/api/jit/v1/whoami",
            summary="Say whose the token is and what it may",
            tag="About",
            answer=Whoami,
        ),
        Operation(
            id="servers",
            method="GET",
            path="/api/jit/v1/servers",
            summary="The servers of this state: which one leads, and which ones stand by",
            tag="About",
            answer=ServerList,
        ),
        Operation(
            id="openapi",
            method="GET",
            path="/api/jit/v1/openapi.json",
            summary="This description",
            tag="About",
            answer=_OBJECT,
        ),
    ]


def _everywhere() -> list[Operation]:
    """Argo's paths with an empty namespace, and others that its description leaves out."""
    listed = [
        ("listWorkflowsEverywhere", "/api/v1/workflows/", "WorkflowList"),
        ("listWorkflowTemplatesEverywhere", "/api/v1/workflow-templates/", "WorkflowTemplateList"),
        ("listCronWorkflowsEverywhere", "/api/v1/cron-workflows/", "CronWorkflowList"),
        ("listWorkflowEventBindingsEverywhere", "/api/v1/workflow-event-bindings/", "WorkflowEventBindingList"),
    ]
    streams = [
        ("watchWorkflowsEverywhere", "/api/v1/workflow-events/", "WorkflowWatchEvent"),
        ("watchEventsEverywhere", "/api/v1/stream/events/", "KubeEvent"),
    ]
    query = (*_FOLLOW, Query("fields"), Query("listOptions.limit", "integer"), Query("listOptions.continue"))
    return [
        *(
            Operation(
                id=name, method="GET", path=path, summary="List, of all namespaces", tag="Everywhere",
                query=query, answer={"$ref": f"#/components/schemas/{kind}"},
            )
            for name, path, kind in listed
        ),
        *(
            Operation(
                id=name, method="GET", path=path, summary="Watch, of all namespaces", tag="Everywhere",
                query=(*_FOLLOW, Query("fields")), answer={"$ref": f"#/components/schemas/{kind}"}, stream=True,
            )
            for name, path, kind in streams
        ),
        Operation(
            id="findArchivedWorkflow", method="GET", path="/api/v1/archived-workflows/", tag="ArchivedWorkflow",
            summary="Get the newest archived workflow of a name", answer={"$ref": "#/components/schemas/Workflow"},
            query=(Query("namespace", required=True), Query("name", required=True)),
        ),
        Operation(
            id="receiveEventWithoutDiscriminator", method="POST", path="/api/v1/events/{namespace}/",
            summary="Take an event for the bindings of a namespace", tag="Event", body={}, optional_body=True, answer=_OBJECT,
        ),
        Operation(
            id="getArtifactFileBelow", method="GET",
            path="/artifact-files/{namespace}/{kind}/{id}/{node}/{side}/{artifact}/{path:path}",
            summary="Download a file of an artifact that is a directory", tag="Artifact", media="application/octet-stream",
        ),
    ]  # fmt: skip


def _jit() -> list[Operation]:
    manifest = (Query("namespace"), Query("source", about="What messages call the manifest."))
    return [
        Operation(
            id="explain", method="POST", path="/api/jit/v1/explain", tag="Explain", query=manifest, body=Sent, yaml=True,
            summary="Say what running a manifest would move and take", answer=Estimate, example={"workflow": _MANIFEST},
        ),
        Operation(
            id="outlook", method="GET", path="/api/jit/v1/explain", tag="Explain", answer=Estimate,
            summary="Say what is left of all workflows that run",
        ),
        Operation(
            id="outlookOfOne", method="GET", path=_NAMESPACES + "/explain", tag="Explain", answer=Estimate,
            summary="Say what is left of a workflow that runs",
        ),
        Operation(
            id="why", method="GET", path=_NAMESPACES + "/why", tag="Explain", answer=Why,
            query=(Query("node", about="Its id, name or display name.", required=True),),
            summary="Say why a node does not run yet, and where its data stands",
        ),
        Operation(
            id="data", method="GET", path=_NAMESPACES + "/data", tag="Explain", answer=Steps,
            summary="Say where the data of a workflow's steps stands",
        ),
        Operation(
            id="notes", method="GET", path=_NAMESPACES + "/notes", tag="Follow", answer=Notes, summary="A workflow's history"
        ),
        Operation(
            id="provenance", method="GET", path=_NAMESPACES + "/provenance", tag="Follow", answer=_OBJECT,
            media="application/ld+json", also="application/zip",
            query=(
                Query("format", about="`json`: the JSON-LD document; `zip`: the crate, with the manifest beside it."),
                Query("uid", about="Of an archived workflow whose name another one has now."),
            ),
            summary="A run's provenance, an RO-Crate of the profile Provenance Run Crate",
        ),
        Operation(
            id="timelineOfOne", method="GET", path=_NAMESPACES + "/timeline", tag="Follow", answer=RunTimeline,
            summary="When the steps of a workflow ran, and when their data was moved",
        ),
        Operation(
            id="timeline", method="GET", path="/api/jit/v1/timeline", tag="Follow", answer=Timeline,
            query=(Query("since", "number", "Seconds since the epoch."),),
            summary="Finished transfers, and how full the primary was",
        ),
        *(
            Operation(
                id=f"{operation}Many", method="POST", path=f"/api/jit/v1/bulk/{{namespace}}/{operation}", tag="Many at once",
                body=BulkWish, answer=BulkResult, example={"labels": "project=spring", "dry_run": True},
                summary=f"{operation.capitalize()} all workflows that are selected; each has its own outcome",
            )
            for operation in BulkOperation
        ),
        Operation(
            id="usage", method="GET", path="/api/jit/v1/usage/{namespace}", tag="Follow", answer=Usage,
            query=(
                Query("since", "number", "Seconds since the epoch; a day before `until` if not given."),
                Query("until", "number", "Seconds since the epoch; now if not given."),
            ),
            summary="What a namespace has used, in whole hours",
        ),
        *(
            Operation(
                id=name, method="GET", path=path, tag="Follow", query=_FOLLOW, answer=Delta, stream=True,
                summary="Follow workflows by what changes of them",
            )
            for name, path in (
                ("deltasEverywhere", "/api/jit/v1/workflow-deltas/"),
                ("deltas", "/api/jit/v1/workflow-deltas/{namespace}"),
            )
        ),
    ]  # fmt: skip


def _foreign() -> list[Operation]:
    path = "/api/jit/v1/foreign-workflows/"
    one = path + "{namespace}/{name}"
    event = {"type": "UPDATE", "body": {**_MANIFEST, "metadata": _FOREIGN_METADATA, "status": {"phase": "Running"}}}
    return [
        Operation(
            id="receiveArgoEvent", method="POST", path="/events/argo", tag="Foreign", body=_OBJECT, yaml=True, answer=Outcome,
            summary="Take an event of a workflow that another Argo runs, as Argo Events sends it", example=event,
        ),
        Operation(
            id="receiveWorkflowEvent", method="POST", path="/workflow/event", tag="Foreign", body=_OBJECT, yaml=True,
            answer=Outcome, summary="The same under an older path; what is wrong is said in the field `error`",
            example={"workflow_submission": event},
        ),
        Operation(
            id="listForeignEverywhere", method="GET", path=path, tag="Foreign", answer=ForeignList,
            summary="List the workflows that another Argo runs, of all namespaces",
        ),
        Operation(
            id="listForeign", method="GET", path=path + "{namespace}", tag="Foreign", answer=ForeignList,
            summary="List the workflows that another Argo runs",
        ),
        Operation(
            id="getForeign", method="GET", path=one, tag="Foreign", answer=ForeignView,
            summary="Get a workflow that another Argo runs: its steps, and where their objects are",
        ),
    ]  # fmt: skip


def _backfills() -> list[Operation]:
    path = "/api/jit/v1/cron-workflows/{namespace}/{name}/backfills"
    one = path + "/{backfill}"
    wish = {"start": "2024-01-01", "end": "2024-01-31", "parallelism": 2, "argname": "date", "format": "%Y-%m-%d"}
    return [
        Operation(
            id="listBackfills", method="GET", path=path, tag="Backfills", answer=BackfillList,
            summary="List the backfills of a schedule",
        ),
        Operation(
            id="makeBackfill", method="POST", path=path, tag="Backfills", body=BackfillWish, answer=BackfillView, example=wish,
            summary="Start the runs that a schedule would have had in a time that is over",
        ),
        Operation(
            id="getBackfill", method="GET", path=one, tag="Backfills", answer=BackfillView, summary="Get a backfill with its runs"
        ),
        Operation(
            id="cancelBackfill", method="PUT", path=one + "/cancel", tag="Backfills", body=Cancellation, optional_body=True,
            answer=BackfillView, summary="Start nothing more of a backfill",
        ),
        Operation(
            id="forgetBackfill", method="DELETE", path=one, tag="Backfills", answer=_OBJECT,
            summary="Forget a backfill that is over; its workflows stay",
        ),
    ]  # fmt: skip


def _objects() -> list[Operation]:
    one = _OBJECTS + "/{name}"
    example = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": "value"}}
    return [
        Operation(
            id="listObjects", method="GET", path=_OBJECTS, tag="Objects", summary="List objects of a kind", answer=_OBJECT,
            query=(Query("fields"), Query("listOptions.labelSelector"), Query("namePattern")),
        ),
        Operation(
            id="createObject", method="POST", path=_OBJECTS, tag="Objects", summary="Keep a new object", body=_OBJECT, yaml=True,
            answer=_OBJECT, example=example,
        ),
        Operation(id="getObject", method="GET", path=one, tag="Objects", summary="Get an object", answer=_OBJECT),
        Operation(
            id="applyObject", method="PUT", path=one, tag="Objects", summary="Keep an object, new or in place of another",
            body=_OBJECT, yaml=True, answer=_OBJECT, example=example,
        ),
        Operation(id="deleteObject", method="DELETE", path=one, tag="Objects", summary="Forget an object", answer=_OBJECT),
    ]  # fmt: skip


def _access() -> list[Operation]:
    one = _TOKENS + "/{id}"
    wish = {"name": "ci", "grants": {"team-a": "operator"}, "expires_in_s": 2_592_000}
    return [
        Operation(id="listTokens", method="GET", path=_TOKENS, tag="Tokens", summary="List tokens", answer=TokenList),
        Operation(
            id="createToken", method="POST", path=_TOKENS, tag="Tokens", summary="Make a token; it is shown this once",
            body=TokenWish, answer=NewToken, example=wish,
        ),
        Operation(id="getToken", method="GET", path=one, tag="Tokens", summary="Describe a token", answer=TokenInfo),
        Operation(id="revokeToken", method="DELETE", path=one, tag="Tokens", summary="Revoke a token", answer=TokenInfo),
        Operation(
            id="rotateKey", method="POST", path="/api/jit/v1/secrets/rotate-key", tag="Secrets", answer=_OBJECT,
            summary="Seal all secrets with a new key",
        ),
        *_webhooks(),
        Operation(
            id="audit", method="GET", path="/api/jit/v1/audit", tag="Audit", summary="Who did what", answer=AuditList,
            query=(
                Query("since", "number", "Seconds since the epoch."), Query("until", "number"), Query("subject"),
                Query("namespace"), Query("action"), Query("limit", "integer"),
            ),
        ),
    ]  # fmt: skip


def _webhooks() -> list[Operation]:
    path = "/api/jit/v1/webhooks"
    one = path + "/{name}"
    wish = {"name": "chat", "url": "https://example.org/hook", "namespace": "team-a"}
    return [
        Operation(id="listWebhooks", method="GET", path=path, tag="Webhooks", summary="List webhooks", answer=WebhookList),
        Operation(
            id="addWebhook", method="POST", path=path, tag="Webhooks", summary="Make a webhook; its secret is shown this once",
            body=WebhookWish, answer=NewWebhook, example=wish,
        ),
        Operation(id="getWebhook", method="GET", path=one, tag="Webhooks", summary="Describe a webhook", answer=WebhookInfo),
        Operation(id="removeWebhook", method="DELETE", path=one, tag="Webhooks", summary="Forget a webhook", answer=_OBJECT),
        Operation(
            id="webhookFailures", method="GET", path=one + "/failures", tag="Webhooks", answer=Failures,
            summary="List the events that could not be sent",
        ),
        Operation(
            id="replayWebhook", method="POST", path=one + "/replay", tag="Webhooks", body=Replay, optional_body=True,
            answer=Replayed, summary="Send again what could not be sent",
        ),
    ]  # fmt: skip
