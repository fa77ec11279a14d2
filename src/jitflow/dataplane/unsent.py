"""Outputs that are not at their secondaries: what is on its way, what could not be sent and is kept, what people do about it."""

import asyncio
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from jitflow.dataplane.core import Core
from jitflow.dataplane.primary import delete
from jitflow.dataplane.records import Obligation, OutputDoc
from jitflow.dataplane.uploads import Uploads
from jitflow.model.data import ObjectRef
from jitflow.model.reports import Upload

_WHY = ("others wait for this", "a result of a workflow that has nothing else to do", "a result", "kept for a retry")
_ORDER = ("sending", "queued", "failed", "here")


class UnsentFolder:
    """Where outputs lie that could not be sent and have no place in the primary: their pods' directories do not stay.

    Names follow from steps and objects, so that a file is found again that was moved a moment before a crash.
    """

    def __init__(self, root: Path | None) -> None:
        """Use a directory on the disk of the pods' directories; None: outputs stay where they are."""
        self._root = root

    def _place(self, obligation: Obligation, output: OutputDoc) -> Path | None:
        if self._root is None:
            return None
        return self._root / hashlib.sha256(f"{obligation.step} {output.ref}".encode()).hexdigest()

    def open(self, obligations: Iterable[Obligation]) -> None:
        """Find what was moved here, and remove what nobody waits for any more. Blocks."""
        if self._root is None or not self._root.is_dir():
            return
        wanted: set[Path] = set()
        for obligation in obligations:
            for output in obligation.outputs:
                place = self._place(obligation, output)
                if place is not None and not output.is_closed and place.exists():
                    output.source = str(place)
                    wanted.add(place)
        for path in self._root.iterdir():
            if path not in wanted:
                delete(path)

    async def keep(self, obligation: Obligation, output: OutputDoc, replica: Path | None = None) -> bool:
        """Move an output here, from its replica or from where its pod left it; return whether it is here now."""
        place = self._place(obligation, output)
        if place is None or output.size_bytes < 0:
            return False
        source = replica or Path(output.source)
        if source != place:
            await asyncio.to_thread(_move, source, place)
            output.source = str(place)
        return True

    async def remove(self, output: OutputDoc) -> None:
        """Delete what lies here of an output."""
        source = Path(output.source)
        if self._root is not None and source.parent == self._root:
            await asyncio.to_thread(delete, source)


def _move(source: Path, place: Path) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    delete(place)
    shutil.move(source, place)


def listed(core: Core, uploads: Uploads, obligations: Iterable[Obligation]) -> Sequence[Upload]:
    """Return what is not at its secondary: what moves, what waits in order, what could not be sent, what stays here."""
    places = uploads.turns.places()
    rows = [
        _row(core, uploads, obligation, output, places.get(output.ref, (0, ())))
        for obligation in obligations
        for output in obligation.outputs
        if not output.is_closed
    ]
    return sorted(rows, key=lambda row: (_ORDER.index(row.state), row.place, row.ref))


def _row(core: Core, uploads: Uploads, obligation: Obligation, output: OutputDoc, place: tuple[int, tuple[int, ...]]) -> Upload:
    flight = uploads.flights.get(output.ref)
    trouble = uploads.errors.get(output.ref, "")
    if flight is not None and flight.step == obligation.step:
        state, text = "sending", ""
    elif output.error:
        state, text = "failed", output.error
    elif output.parked and not place[0] and not trouble:
        state, text = "here", "steps hand it on; it is sent only if its room is needed"
    else:
        state, text = (
            "queued",
            f"tried again: {trouble}" if trouble else _WHY[place[1][0]] if place[1] else "it is being taken in",
        )
    return Upload(
        ref=output.ref,
        step=obligation.step,
        state=state,
        size_bytes=max(0, output.size_bytes),
        done_bytes=flight.done_bytes if flight is not None and state == "sending" else 0,
        rate_Bps=flight.rate(core.clock.now()) if flight is not None and state == "sending" else None,
        place=place[0] if state == "queued" else 0,
        message=text,
    )


def chosen(obligations: Iterable[Obligation], ref: ObjectRef | None) -> list[tuple[Obligation, OutputDoc]]:
    """Return the outputs that could not be sent, those of one object or all."""
    return [
        (obligation, output)
        for obligation in obligations
        for output in obligation.outputs
        if output.error and not output.is_closed and (ref is None or output.ref == ref)
    ]
