"""What the data plane tells of itself as metrics."""

from collections import Counter
from collections.abc import Sequence

from jitflow.dataplane.history import History
from jitflow.model.reports import LinkInfo, PrimaryFill, QuotaView
from jitflow.ports.dataplane import PrimaryAdmin
from jitflow.telemetry.metrics import Figures, Labels, by, one

_Values = Sequence[tuple[Labels, float]]


def figures(plane: PrimaryAdmin, history: History) -> Figures:
    """Return the figures of the primary, of namespaces, of links and of transfers."""
    fill = plane.fill()
    quotas = plane.quotas()
    return {
        "jitflow_primary_bytes": by("kind", _bytes(fill)),
        "jitflow_primary_objects": one(fill.objects),
        "jitflow_fetched_bytes_total": one(fill.fetched_bytes),
        "jitflow_fetched_again_bytes_total": one(fill.fetched_twice_bytes),
        "jitflow_stored_bytes_total": one(fill.stored_bytes),
        "jitflow_shared_bytes_total": one(fill.shared_bytes),
        "jitflow_namespace_bytes": [pair for quota in quotas for pair in _namespace(quota)],
        "jitflow_namespace_waiting_steps": by("namespace", {one.namespace: one.waiting_steps for one in quotas}),
        "jitflow_uploads": by("state", Counter(upload.state for upload in plane.uploads())),
        **_links(plane.links()),
        "jitflow_transfers_total": [
            ((("remote", remote), ("direction", direction), ("outcome", outcome)), float(count))
            for (remote, direction, outcome), count in history.ended.items()
        ],
        "jitflow_transferred_bytes_total": [
            ((("remote", remote), ("direction", direction)), float(count))
            for (remote, direction), count in history.ended_bytes.items()
        ],
    }


def _bytes(fill: PrimaryFill) -> dict[str, float]:
    return {
        "capacity": fill.capacity_bytes,
        "used": fill.used_bytes,
        "resident": fill.resident_bytes,
        "pinned": fill.pinned_bytes,
        "dirty": fill.dirty_bytes,
        "kept": fill.kept_bytes,
        "peak": fill.peak_bytes,
        "strangers": fill.strangers_bytes,
    }


def _namespace(quota: QuotaView) -> _Values:
    values = {"used": quota.used_bytes, "held": quota.held_bytes, "quota": quota.quota_bytes}
    return [
        ((("namespace", quota.namespace), ("kind", kind)), float(value)) for kind, value in values.items() if value is not None
    ]


def _links(links: Sequence[LinkInfo]) -> dict[str, _Values]:
    limits = [(link.remote, way, value) for link in links for way, value in (("up", link.up_Bps), ("down", link.down_Bps))]
    streams = [(link.remote, state, n) for link in links for state, n in (("active", link.active), ("most", link.most_streams))]
    return {
        "jitflow_link_rate_bytes_per_second": _known({link.remote: link.rate_Bps for link in links}),
        "jitflow_link_latency_seconds": _known({link.remote: link.latency_s for link in links}),
        "jitflow_link_limit_bytes_per_second": [
            ((("remote", remote), ("direction", way)), float(value)) for remote, way, value in limits if value is not None
        ],
        "jitflow_link_streams": [((("remote", remote), ("state", state)), float(count)) for remote, state, count in streams],
        "jitflow_link_stalls_total": by("remote", {link.remote: link.stalls for link in links}),
    }


def _known(values: dict[str, float | None]) -> _Values:
    return by("remote", {key: value for key, value in values.items() if value is not None})
