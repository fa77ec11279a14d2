"""What a job has to do: two listings compared. Pure: time is an argument."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from jitflow.model.data import ObjectInfo, ObjectRef
from jitflow.model.jobs import FileState, JobCounts, JobFile, JobKind

Tree = Mapping[str, ObjectInfo]
"""Objects by their paths below a prefix."""
SIZE_AND_TIME = "size and time"
_HASHES = ("sha256", "sha1", "md5")
_GONE = "it is gone from the source"


class Limits(Struct, frozen=True, kw_only=True):
    """Which sizes (bytes) and times of change (seconds since the epoch) a job is about."""

    min_bytes: int | None = None
    max_bytes: int | None = None
    changed_before: float | None = None
    changed_after: float | None = None

    def lets_through(self, info: ObjectInfo) -> bool:
        """Return whether an object is within them; one of unknown time is."""
        if self.min_bytes is not None and info.size_bytes < self.min_bytes:
            return False
        if self.max_bytes is not None and info.size_bytes > self.max_bytes:
            return False
        at = _seconds(info.modified)
        if at is None:
            return True
        return (self.changed_before is None or at <= self.changed_before) and (
            self.changed_after is None or at >= self.changed_after
        )


class Plan(Struct, kw_only=True):
    """What is to be done. `files`: what is known of each, by path. `copies`, `removes`: what the listings ask for.

    `whole`: all that the rules let through is to be copied.
    """

    files: dict[str, JobFile] = field(default_factory=dict[str, JobFile])
    copies: list[str] = field(default_factory=list[str])
    removes: list[str] = field(default_factory=list[str])
    whole: bool = False


def below(prefix: ObjectRef, infos: Iterable[ObjectInfo]) -> dict[str, ObjectInfo]:
    """Return objects by their paths below a prefix."""
    return {info.ref.path.removeprefix(prefix.path): info for info in infos}


def same(source: ObjectInfo, target: ObjectInfo) -> str:
    """Return by what two objects are known to be the same, empty if they are not.

    Where they have no hash in common, one of the same size that was not changed before the other is a copy of it.
    """
    if source.size_bytes != target.size_bytes:
        return ""
    for kind in _HASHES:
        if source.hashes.get(kind) and target.hashes.get(kind):
            return kind if source.hashes[kind] == target.hashes[kind] else ""
    older, newer = _seconds(source.modified), _seconds(target.modified)
    return SIZE_AND_TIME if older is not None and newer is not None and newer >= older else ""


def plan(kind: JobKind, source: Tree, target: Tree, limits: Limits, *, chosen: frozenset[str] = frozenset()) -> Plan:
    """Return what a job has to do; `chosen`: only with these paths of the source, all if there are none."""
    found = Plan()
    for path in sorted(source):
        info = source[path]
        if chosen and path not in chosen:
            continue
        if not limits.lets_through(info):
            found.files[path] = JobFile(path=path, action="none", state="skipped", size_bytes=info.size_bytes)
        elif kind == "delete":
            found.removes.append(path)
            found.files[path] = JobFile(path=path, action="delete", state="waiting", size_bytes=info.size_bytes)
        else:
            _compare(kind, path, info, target.get(path), found)
    for path in sorted(chosen - source.keys()):
        found.files[path] = JobFile(path=path, action="none", state="failed", message="there is no such file at the source")
    if kind in {"sync", "check"} and not chosen:
        for path in sorted(target.keys() - source.keys()):
            _only_there(kind, path, target[path], found)
    found.whole = not chosen and len(found.copies) == len(source)
    return found


def _compare(kind: JobKind, path: str, info: ObjectInfo, there: ObjectInfo | None, found: Plan) -> None:
    proof = same(info, there) if there is not None else ""
    size = info.size_bytes
    if kind == "check":
        state = "equal" if proof else "missing" if there is None else "differs"
        message = _difference(info, there) if there is not None and not proof else ""
        found.files[path] = JobFile(path=path, action="check", state=state, size_bytes=size, proof=proof, message=message)
    elif not proof:
        found.copies.append(path)
        found.files[path] = JobFile(path=path, action="copy", state="waiting", size_bytes=size)
    elif kind == "move":
        found.removes.append(path)
        found.files[path] = JobFile(path=path, action="delete", state="waiting", size_bytes=size, proof=proof)
    else:
        found.files[path] = JobFile(path=path, action="none", state="equal", size_bytes=size, proof=proof)


def _only_there(kind: JobKind, path: str, info: ObjectInfo, found: Plan) -> None:
    if kind == "check":
        found.files[path] = JobFile(path=path, action="check", state="extra", size_bytes=info.size_bytes)
    else:
        found.removes.append(path)
        found.files[path] = JobFile(path=path, action="delete", state="waiting", size_bytes=info.size_bytes)


def _difference(source: ObjectInfo, target: ObjectInfo) -> str:
    if source.size_bytes != target.size_bytes:
        return f"{target.size_bytes} bytes instead of {source.size_bytes}"
    kind = next((kind for kind in _HASHES if source.hashes.get(kind) and target.hashes.get(kind)), "")
    return f"another {kind}" if kind else "of the same size, but older, and no hash tells whether it is the same"


def resumed(found: Plan, earlier: Mapping[str, JobFile], target: Tree) -> Plan:
    """Return a plan with what earlier lives of the job have done: what they copied is told as done, not as having been there."""
    files = dict(found.files)
    for path, before in earlier.items():
        now = files.get(path)
        if before.action in {"none", "check"}:
            if now is None:
                files[path] = before
        elif now is None:
            files[path] = _vanished(before, target.get(path))
        elif now.state == "equal" and before.action == "copy":
            files[path] = replace(now, action="copy", state="done")
        elif now.action == "delete" and before.action == "copy":
            files[path] = replace(now, action="copy")
    found.files = files
    return found


def _vanished(before: JobFile, there: ObjectInfo | None) -> JobFile:
    """Return what is known of a file that the source (of a sync's deletion: the destination) has no more."""
    if before.state == "done" or before.action == "delete":
        return replace(before, state="done", message="")
    if there is not None and there.size_bytes == before.size_bytes:
        return replace(before, state="done", message="")
    return replace(before, state="failed", message=_GONE)


def copied(
    found: Plan, source: Tree, target: Tree, failed: Mapping[str, str], reason: str, *, then: FileState = "done"
) -> list[str]:
    """Take in what is at the destination after a copy; return the paths that are proven there.

    `failed`: why single files were not copied, `reason`: why others were not. `then`: what is with a file that was.
    """
    proven: list[str] = []
    for path in found.copies:
        there, file = target.get(path), found.files[path]
        proof = same(source[path], there) if there is not None else ""
        if not proof and there is not None and path not in failed and not reason and not _differ(source[path], there):
            proof = "size"  # its store tells no time, and rclone has no complaint
        if proof:
            proven.append(path)
            found.files[path] = replace(file, state=then, proof=proof, message="")
        else:
            message = failed.get(path) or reason or "it changed while it was copied"
            found.files[path] = replace(file, state="failed", message=message)
    return proven


def mean_bytes(found: Plan) -> float:
    """Return the mean size of what is to be copied, 0 if that is nothing."""
    return sum(found.files[path].size_bytes for path in found.copies) / max(1, len(found.copies))


def waits(found: Plan, paths: Iterable[str]) -> None:
    """Say of what was not copied that it will be later."""
    for path in paths:
        file = found.files[path]
        if file.state == "failed":
            found.files[path] = replace(file, state="waiting", message="")


def _differ(source: ObjectInfo, target: ObjectInfo) -> bool:
    if source.size_bytes != target.size_bytes:
        return True
    return any(source.hashes.get(kind) and target.hashes.get(kind) for kind in _HASHES)


def removed(found: Plan, paths: Iterable[str], left: Tree, failed: Mapping[str, str], reason: str) -> None:
    """Take in what is left after a deletion of `paths`."""
    for path in paths:
        file = found.files[path]
        if path in left:
            found.files[path] = replace(file, state="failed", message=failed.get(path) or reason or "it is still there")
        else:
            found.files[path] = replace(file, state="done", message="")


def planned(found: Plan) -> None:
    """Say of all that waits that it would be done."""
    for path, file in found.files.items():
        if file.state == "waiting":
            found.files[path] = replace(file, state="planned")


def counts(files: Iterable[JobFile], *, moved_bytes: int = 0) -> JobCounts:
    """Return the sums over a job's files."""
    tally = dict.fromkeys(JobCounts.__struct_fields__, 0)
    for file in files:
        if file.action == "copy":
            tally["files"] += 1
            tally["bytes"] += file.size_bytes
            if file.state == "done":
                tally["files_done"] += 1
                tally["bytes_done"] += file.size_bytes
        elif file.action == "delete":
            tally["deletes"] += 1
            tally["deletes_done"] += file.state == "done"
        tally["failed"] += file.state == "failed"
        tally["skipped"] += file.state == "skipped"
        tally["equal"] += file.state == "equal"
        tally["differences"] += file.state in {"differs", "missing", "extra"}
    return JobCounts(**{**tally, "moved_bytes": moved_bytes})


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
