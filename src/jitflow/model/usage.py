"""What a namespace has used in some time."""

from msgspec import Struct

from jitflow.model.spending import Spent


class Usage(Struct, frozen=True, kw_only=True):
    """What ended in whole hours from `since` to `until` (seconds since the epoch), and what has not ended yet.

    `workflows` and `pods` by phase; `resources_duration` as Argo counts it: seconds of a processor and of 100 MiB.
    `near_bytes` were read by steps in the primary; `fetched_bytes` came from far stores for steps of this namespace, `sent_bytes`
    went there. What several namespaces read is fetched for the one that asked first.
    """

    namespace: str
    since: float
    until: float
    workflows: dict[str, int]
    pods: dict[str, int]
    resources_duration: dict[str, int]
    near_bytes: int
    fetched_bytes: int
    sent_bytes: int
    spent: tuple[Spent, ...] = ()
    """What was moved, of transfers that failed too, and what that has cost: by whole days of UTC, and remote."""
    spent_unknown: str = ""
    """Why `spent` cannot be told now, for the data side is away; empty: it is told."""
