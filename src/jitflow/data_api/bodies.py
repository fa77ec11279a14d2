"""What the Data API is sent."""

from typing import Any

from msgspec import Struct

from jitflow.model.spending import Period, Prices


class RemoteBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A remote to add: rclone's type and options."""

    name: str
    type: str
    options: dict[str, str] = {}


class RemoteOptionsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """All options of a remote from now on, and its type if that changes; `***` stands for the secret that there is."""

    options: dict[str, str]
    type: str = ""


class RemoteChangeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a remote to change; null takes one away, those not named stay. `prices`: what it asks from now on."""

    options: dict[str, str | None] = {}
    prices: Prices | None = None


class TestBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a remote is to be tried: a bucket or prefix, empty: the remote itself."""

    path: str = ""


class RefBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An object to act on, `remote:path`."""

    ref: str


class RefsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Objects and prefixes, each `remote:path`."""

    refs: list[str]


class CopyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A file and where to; a destination that ends in `/` keeps its name. `namespace` pays for what moves."""

    source: str
    destination: str
    namespace: str = "default"


class LinkBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A file, and for how many seconds anybody may read it; null: as long as its store says."""

    ref: str
    expires_s: float | None = None


class PinBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An object, or a prefix (`remote:path/`) with everything below it.

    `namespace` pays for it; without one it is kept for all.
    """

    ref: str
    namespace: str = ""


class CheckBody(Struct, frozen=True, forbid_unknown_fields=True):
    """How to compare the catalogue with the primary; see `PrimaryAdmin.compare`."""

    remove: bool = False
    hashes: bool = False


class AdoptBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The files at `place` are the objects below the prefix `ref`; see `PrimaryAdmin.adopt`."""

    place: str
    ref: str
    move: bool = False


class BandwidthBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits to hold from now on: remote, or `*` for all together -> limit or time table; null: as the settings file says.

    What is not named stays as it is. `time_zone`: by whose clocks time tables are meant; empty: as the settings file says.
    """

    limits: dict[str, str | None] = {}
    time_zone: str | None = None


class BudgetBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a namespace may move (bytes, or as 500GB; empty: any amount) and spend (by currency), in each `period` of UTC."""

    moved: str | int = ""
    money: dict[str, float] = {}
    period: Period = "month"


class BudgetsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Budgets of namespaces (`*`: each that is not named); null: as the settings file says. What is not named stays as it is."""

    budgets: dict[str, BudgetBody | None]


class RetryBody(Struct, frozen=True, forbid_unknown_fields=True):
    """An output to send again, `remote:path`; empty: all that could not be sent."""

    ref: str = ""


class OldRemoteBody(Struct, frozen=True):
    """A remote, as clients of the older service write it; what they know beyond that is left out."""

    name: str
    type: str
    access_key: str | None = None
    secret_key: str | None = None
    endpoint: str | None = None
    remote: str | None = None
    additional_options: dict[str, Any] | None = None


class OldCopyBody(Struct, frozen=True):
    """Files to copy, as paths below a source, so many at once."""

    source: str
    destination: str
    parallel_files: int | None = 1
    files: list[str] | None = None


class OldSyncBody(Struct, frozen=True):
    """Folders to sync, as paths below a source; without any, all that is below it."""

    source: str
    destination: str
    parallel_files: int | None = 1
    folders: list[str] | None = None


class OldFolderBody(Struct, frozen=True):
    """A folder of a remote."""

    remote: str
    folder: str
