"""Memoized templates: outputs taken from a cache, a ConfigMap, instead of running again."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from jitflow.expr import durations, tags
from jitflow.machine.problems import Problem
from jitflow.machine.scope import Scope
from jitflow.machine.times import rfc3339
from jitflow.model import argo
from jitflow.model.objects import CACHE_TYPE, TYPE_LABEL, ConfigMap, Objects

_KEY = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")


class Entry(
    Struct, frozen=True, kw_only=True, rename={"node_id": "nodeID", "created": "creationTimestamp", "hit": "lastHitTimestamp"}
):
    """A cache entry, as Argo writes it into the ConfigMap."""

    node_id: str = ""
    outputs: argo.Outputs | None = None
    created: str = ""
    hit: str = ""


class Memo(Struct, frozen=True, kw_only=True):
    """Where a node's outputs are kept, and the entry if there is one that is fresh."""

    cache: str
    key: str
    entry: Entry | None = None


def look_up(
    source: "tags.Compiled[argo.Memoize]",
    scope: Scope,
    namespace: str,
    objects: Objects,
    now: float,
    *,
    kept: Mapping[tuple[str, str], str],
) -> Memo:
    """Return a template's place in the cache for its inputs. `kept`: entries by cache and key that are being written now.

    Raises:
        Problem: the key cannot be one, the ConfigMap is none of a cache, or an entry cannot be read.
    """
    memoize = source.render(scope)
    name, key = memoize.cache.config_map.name or "", memoize.key
    if not _KEY.fullmatch(key):
        raise Problem(f"cache key {key!r} is invalid: it must begin with a letter or digit and have only letters, digits and -")
    text = kept.get((name, key)) or _stored(name, key, namespace, objects)
    if text is None:
        return Memo(cache=name, key=key)
    try:
        entry = msgspec.json.decode(text, type=Entry)
    except msgspec.DecodeError as error:
        raise Problem(f"the entry {key!r} of the cache {name!r} cannot be read: {error}") from error
    return Memo(cache=name, key=key, entry=entry if _is_fresh(entry, memoize.max_age or "", now) else None)


def _stored(name: str, key: str, namespace: str, objects: Objects) -> str | None:
    found = objects.find(ConfigMap, namespace, name)
    if found is None:
        return None
    labels = found.metadata.labels if found.metadata is not None else {}
    if labels.get(TYPE_LABEL) != CACHE_TYPE:
        raise Problem(f"ConfigMap {name!r} is no cache: it needs the label {TYPE_LABEL}={CACHE_TYPE}")
    return found.data.get(key)


def _is_fresh(entry: Entry, max_age: str, now: float) -> bool:
    if not max_age:
        return True
    try:
        age_s = float(durations.parse_duration(max_age))
    except durations.DurationError as error:
        raise Problem(f"memoize.maxAge: {error}") from error
    try:
        created = datetime.fromisoformat(entry.created).astimezone(UTC).timestamp()
    except ValueError:
        return False
    return now - created <= age_s


def entry_text(node_id: str, outputs: argo.Outputs | None, now: float, created: str = "") -> str:
    """Return the entry of a node that has succeeded, or was taken from the cache again."""
    stamp = rfc3339(now)
    return msgspec.json.encode(Entry(node_id=node_id, outputs=outputs, created=created or stamp, hit=stamp)).decode()
