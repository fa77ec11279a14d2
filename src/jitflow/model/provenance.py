"""What steps have read and written, as it was then: the facts that provenance is made of."""

from msgspec import Struct

from jitflow.model.data import StepId


class Seen(Struct, frozen=True, kw_only=True):
    """An object as a step read or wrote it.

    `ref`: `remote:path`. `version`: the far store's token for that content (ETag, or time and size); empty where it tells none.
    `checksum`: `sha256:…` or another hash's name and value, empty if none is known; of a directory the SHA-256 of the list that
    `sha256sum` would print of its files, by name. `contents`: of a tar the same over what is in it, whatever times it holds.
    `name`: of the output artifact; inputs have none.
    """

    ref: str
    size_bytes: int = 0
    version: str = ""
    checksum: str = ""
    contents: str = ""
    name: str = ""


class StepSeen(Struct, frozen=True, kw_only=True):
    """What one step has read and written; `absent`: optional inputs that did not exist."""

    step: StepId
    read: tuple[Seen, ...] = ()
    wrote: tuple[Seen, ...] = ()
    absent: tuple[str, ...] = ()
