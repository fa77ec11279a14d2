"""Names of replicas below a primary's root."""

import hashlib
import re

from jitflow.model.data import ObjectRef

_LOCATION = re.compile(r"objects/([0-9a-f]{2})/\1[0-9a-f]{62}")


def location_of(ref: ObjectRef, token: str) -> str:
    """Return the location of a replica: opaque, for names far away may be longer or odder than the near store allows."""
    name = hashlib.sha256(f"{ref}@{token}".encode(errors="surrogatepass")).hexdigest()
    return f"objects/{name[:2]}/{name}"


def is_location(name: str) -> bool:
    """Return whether a name is one that `location_of` gives."""
    return _LOCATION.fullmatch(name) is not None
