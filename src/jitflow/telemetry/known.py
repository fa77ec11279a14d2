"""The metrics of the server itself: the one table that names them. `docs/reference/metrics.md` is written from it."""

from typing import Final

from msgspec import Struct


class Known(Struct, frozen=True, kw_only=True):
    """A metric. `kind`: gauge, counter or histogram; `labels`: its labels and what each may be."""

    name: str
    kind: str
    help: str
    room: str
    labels: tuple[tuple[str, str], ...] = ()


def _gauge(room: str, name: str, text: str, **labels: str) -> Known:
    return Known(name=name, kind="gauge", help=text, room=room, labels=tuple(labels.items()))


def _counter(room: str, name: str, text: str, **labels: str) -> Known:
    return Known(name=name, kind="counter", help=text, room=room, labels=tuple(labels.items()))


_REMOTE = "name of the far store"
_ENGINE, _PRIMARY, _LINKS, _API, _STATE = "Engine and queue", "Primary", "Links and transfers", "API", "State and server"

TABLE: Final = (
    _gauge(_ENGINE, "argo_workflows_gauge", "Workflows by phase", phase="as Argo has it"),
    _gauge(_ENGINE, "argo_workflows_pods_gauge", "Pods by phase", phase="Running or Pending"),
    _gauge(_ENGINE, "jitflow_live_workflows", "Workflows that the engine drives"),
    _gauge(_ENGINE, "jitflow_places", "Places for pods", state="held or all"),
    _gauge(
        _ENGINE,
        "jitflow_queue_length",
        "What waits: pods for data or a place, nodes and workflows for locks",
        queue="data, slot, locks or workflows",
    ),
    _counter(_ENGINE, "jitflow_pods_total", "Pods that have ended, since the start", outcome="good, bad or refused"),
    _counter(_ENGINE, "jitflow_workflows_ended_total", "Workflows that have ended, since the start", phase="the last one"),
    _counter(_ENGINE, "jitflow_data_wait_seconds_total", "Seconds that steps have waited for their data, since the start"),
    _gauge(
        _PRIMARY,
        "jitflow_primary_bytes",
        "Bytes of the near store",
        kind="capacity, used, resident, pinned, dirty, kept, peak or strangers",
    ),
    _gauge(_PRIMARY, "jitflow_primary_objects", "Replicas in the near store"),
    _counter(_PRIMARY, "jitflow_fetched_bytes_total", "Bytes fetched from far stores, since ever"),
    _counter(_PRIMARY, "jitflow_fetched_again_bytes_total", "Bytes of these that had been fetched before, since ever"),
    _counter(_PRIMARY, "jitflow_stored_bytes_total", "Bytes sent to far stores, since ever"),
    _counter(_PRIMARY, "jitflow_shared_bytes_total", "Bytes not fetched, for equal content was near, since ever"),
    _gauge(
        _PRIMARY,
        "jitflow_namespace_bytes",
        "Bytes that a namespace pays for in the near store",
        namespace="its name",
        kind="used, held or quota",
    ),
    _gauge(_PRIMARY, "jitflow_namespace_waiting_steps", "Steps that only the quota keeps waiting", namespace="its name"),
    _gauge(_PRIMARY, "jitflow_uploads", "Outputs that are not at their far stores", state="sending, queued, failed or here"),
    _gauge(_LINKS, "jitflow_link_rate_bytes_per_second", "What a busy link gave last", remote=_REMOTE),
    _gauge(_LINKS, "jitflow_link_latency_seconds", "How long a request to a far store takes", remote=_REMOTE),
    _gauge(
        _LINKS,
        "jitflow_link_limit_bytes_per_second",
        "The limit of bandwidth in force",
        remote=_REMOTE,
        direction="up or down",
    ),
    _gauge(_LINKS, "jitflow_link_streams", "Streams of a link", remote=_REMOTE, state="active or most"),
    _counter(_LINKS, "jitflow_link_stalls_total", "Transfers that stood still, since the start", remote=_REMOTE),
    _counter(
        _LINKS,
        "jitflow_transfers_total",
        "Transfers that have ended, since the start",
        remote=_REMOTE,
        direction="in or out",
        outcome="ok, failed or cancelled",
    ),
    _counter(
        _LINKS,
        "jitflow_transferred_bytes_total",
        "Bytes of transfers that ended well, since the start",
        remote=_REMOTE,
        direction="in or out",
    ),
    _counter(
        _LINKS,
        "jitflow_moved_bytes_total",
        "Bytes that went over links, of transfers that failed too, since the start",
        namespace="who pays for them",
        remote=_REMOTE,
        direction="down or up",
    ),
    _counter(
        _LINKS,
        "jitflow_spent_money_total",
        "What that has cost, by the prices of the remotes, since the start",
        namespace="who pays",
        remote=_REMOTE,
        currency="of the remote's prices",
    ),
    _gauge(_LINKS, "jitflow_budget_used_up", "1: the namespace waits, for it has used up its budget", namespace="its name"),
    _counter(_API, "jitflow_api_requests_total", "Requests answered", method="of the request", status="of the answer"),
    Known(
        name="jitflow_api_request_seconds",
        kind="histogram",
        help="Seconds from a request's head to the head of its answer",
        room=_API,
        labels=(("method", "of the request"),),
    ),
    _gauge(_API, "jitflow_api_streams", "Streams that follow workflows"),
    _counter(_STATE, "jitflow_state_calls_total", "Calls of the state store, since the start", operation="commit, load, put …"),
    _counter(_STATE, "jitflow_state_seconds_total", "Seconds that these took, waiting included", operation="commit, load, put …"),
    _counter(_STATE, "jitflow_state_retries_total", "Calls made again because the store was away, since the start"),
    _gauge(_STATE, "jitflow_data_service_up", "1 while a control service can use its data service, else 0"),
    _gauge(_STATE, "jitflow_state_up", "1 while the state store answers, else 0"),
    _gauge(_STATE, "jitflow_draining", "1 once the server was told to stop, else 0"),
    _gauge(_STATE, "jitflow_info", "1; the version is in the label", version="of jitflow"),
)

KNOWN: Final = {one.name: one for one in TABLE}
