"""The small world in which plans are tried and workflows foreseen: what is known of steps, links and room now."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from jitflow.dataplane.core import Core
from jitflow.dataplane.keptplans import Basis
from jitflow.dataplane.links import FIRST_LATENCY_S
from jitflow.model.data import FutureInput, FutureOutput, FutureStep, ObjectRef
from jitflow.model.reports import LinkInfo
from jitflow.planner import Link, Setting
from jitflow.ports.dataplane import Quota

_PIECE = 250
"""Steps that are looked at before others have their turn."""
_ENOUGH_TIMED = 0.8
"""Run times count if they are known of so many of the steps; the others are taken for average ones."""
_NOMINAL_BPS = 50e6
"""The link that is assumed where nothing was measured: plans that go by sizes do not look at it."""


class Worlds:
    """Makes worlds from what the data plane knows."""

    def __init__(self, core: Core, links: Callable[[], Sequence[LinkInfo]]) -> None:
        """Look at the catalogue of `core`; `links` says what is known of those that were used."""
        self._core = core
        self._links = links

    def sized(self, step: FutureStep, written: set[ObjectRef]) -> FutureStep:
        """Return a step with the sizes that are known of its objects; `written`: what steps of its workflow write."""
        core = self._core
        inputs: list[FutureInput] = []
        for one in step.inputs:
            size = one.size_bytes
            if size is None and one.ref not in written:
                info, row = core.infos.get(one.ref), core.rows.get(one.ref)
                size = info.size_bytes if info is not None else row.size_bytes if row is not None else None
            inputs.append(one if size == one.size_bytes else replace(one, size_bytes=size))
        outputs: list[FutureOutput] = [
            one if one.size_bytes is not None or one.expected_bytes is None else replace(one, size_bytes=one.expected_bytes)
            for one in step.outputs
        ]
        return replace(step, inputs=tuple(inputs), outputs=tuple(outputs))

    def expecting(self, steps: Sequence[FutureStep]) -> list[FutureStep]:
        """Return steps with outputs of the sizes that are expected of them."""
        written = {one.ref for step in steps for one in step.outputs}
        return [self.sized(step, written) for step in steps]

    def rate(self, remote: str) -> float | None:
        """Return the rate of a remote's link, as well as it is known: while the first transfers move, what they give."""
        return self._core.history.rates.rate(remote) or self._core.moving_Bps(remote) or self._core.limits.rate(remote).down_Bps

    def expected(self, remote: str) -> float | None:
        """Return what a remote's link may be expected to give now: no more than its limit."""
        rate, limit_Bps = self.rate(remote), self._core.limits.rate(remote).down_Bps
        return rate if rate is None or limit_Bps is None else min(rate, limit_Bps)

    def matters(self, steps: Sequence[FutureStep], basis: Basis) -> bool:
        """Return whether the order can make a difference: something has to cross a link, or does not fit beside the rest."""
        rows = self._core.rows
        sizes: dict[ObjectRef, int] = {}
        for step in steps:
            for output in step.outputs:
                if not output.transient or output.size_bytes is None:
                    return True
                sizes[output.ref] = output.size_bytes
        for step in steps:
            for one in step.inputs:
                if one.ref not in sizes:
                    if one.ref not in rows:
                        return True
                    sizes[one.ref] = rows[one.ref].size_bytes
        return sum(sizes.values()) > basis.capacity_bytes

    def is_short(self, steps: Sequence[FutureStep], quota: Quota) -> bool:
        """Return whether not all that steps read and write has room at once."""
        sizes: dict[ObjectRef, int] = {}
        for step in self.expecting(steps):
            for one in (*step.inputs, *step.outputs):
                sizes[one.ref] = max(sizes.get(one.ref, 0), one.size_bytes or 0)
        books = self._core.planner.bytes
        room = books.capacity - books.kept
        return sum(sizes.values()) > (room if quota.bytes is None else min(room, quota.bytes))

    def basis(self, steps: Sequence[FutureStep], quota: Quota | None = None) -> Basis:
        """Return from what a plan for these steps would be chosen now; `quota`: of their namespace."""
        run_s = {step.id: step.run_s for step in steps if step.run_s is not None}
        remotes = {one.ref.remote for step in steps for one in step.inputs if one.size_bytes is not None}
        busy = {link.remote: link.rate_Bps for link in self._links() if link.rate_Bps}
        known = self._core.history.rates
        learned = {remote: known.rate(remote) for remote in remotes if known.is_measured(remote)}
        # A link that is not full gives less than it could.
        rates = {remote: rate for remote in remotes if (rate := max(busy.get(remote, 0.0), learned.get(remote) or 0.0))}
        books = self._core.planner.bytes
        room = books.capacity - books.kept
        return Basis(
            steps=frozenset(step.id for step in steps),
            run_s=run_s,
            rates=rates,
            capacity_bytes=min(room, quota.bytes) if quota is not None and quota.bytes is not None else room,
            blind=len(run_s) < _ENOUGH_TIMED * len(steps) or len(rates) < len(remotes),
        )

    async def setting(self, steps: Sequence[FutureStep], basis: Basis) -> Setting:
        """Return the world in which plans are tried: the workflow alone, with what is here of its objects."""
        core = self._core
        known = {link.remote: link for link in self._links() if link.rate_Bps}
        remotes = {one.ref.remote for step in steps for one in step.inputs}
        # Small transfers tell too little of a link to choose by, but more than nothing.
        weak = {remote: rate for remote in remotes if (rate := self.rate(remote))}
        links = {
            remote: replace(_link(rate, known.get(remote)), limits=core.limits.ahead(remote))
            for remote, rate in sorted((weak | basis.rates).items())
        }
        slowest = min(links.values(), key=lambda link: link.rate_Bps) if links else Link(rate_Bps=_NOMINAL_BPS)
        resident: dict[ObjectRef, int] = {}
        room = basis.capacity_bytes
        written = {one.ref for step in steps for one in step.outputs}
        for place, step in enumerate(steps):
            for one in step.inputs:
                row = core.rows.get(one.ref)
                if row is not None and row.size_bytes <= room and one.ref not in resident and one.ref not in written:
                    resident[one.ref] = row.size_bytes
                    room -= row.size_bytes
            if not place % _PIECE:
                await asyncio.sleep(0)
        return Setting(
            capacity_bytes=basis.capacity_bytes,
            link=slowest,
            links=links,
            options=core.planner.options,
            run_s=sum(basis.run_s.values()) / len(basis.run_s) if basis.run_s else 0.0,
            resident=resident,
        )


def _link(rate_Bps: float, state: LinkInfo | None) -> Link:
    if state is None:
        return Link(rate_Bps=rate_Bps, latency_s=FIRST_LATENCY_S)
    return Link(
        rate_Bps=rate_Bps,
        stream_Bps=rate_Bps / state.streams,
        latency_s=state.latency_s or FIRST_LATENCY_S,
        fill_streams=state.streams,
        fill_bytes=state.fill_bytes,
        part_bytes=state.part_bytes,
    )
