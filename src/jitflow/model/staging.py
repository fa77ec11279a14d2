"""What bringing objects near would take."""

from msgspec import Struct


class StagingEstimate(Struct, frozen=True, kw_only=True):
    """What it would take to have objects near, all at once. Bytes and seconds.

    Of `distinct_bytes` some are here (`resident_bytes`), the others are `to_move_bytes`. For these there are `free_bytes`; to
    make room for what is more `evict_bytes` of replicas would go that nobody holds, of which there are `evictable_bytes`: at
    least so many, for replicas go as a whole, first those that no announced step reads, used longest ago. `fits`: whether that is
    enough now; `message` says why not. `transfer_s`: None where nothing is known of the link. `money`: what moving them costs, by
    currency. `rows`: reference, size and state here of each object.
    """

    objects: int
    distinct_bytes: int
    resident_bytes: int
    to_move_bytes: int
    free_bytes: int
    evict_bytes: int
    evictable_bytes: int
    capacity_bytes: int
    fits: bool
    message: str = ""
    link_Bps: float | None = None
    transfer_s: float | None = None
    money: dict[str, float] = {}
    rows: tuple[tuple[str, int | None, str], ...] = ()
