"""A campaign: workflows are submitted, somebody is killed again and again, and in the end everything is looked at."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from benchmark.chaos import shapes
from benchmark.chaos.checks import WORKFLOWS, all_wrong, attempts_of, leftovers
from benchmark.chaos.faults import START_S, Faults
from benchmark.chaos.world import CAPACITY_BYTES, World, world
from benchmark.service import MeasurementError, checked
from benchmark.standstill import RunClock, Standstill
from jitflow.bootstrap import moving
from jitflow.stores import url_of

_ACTIVE = 6
"""So many workflows run at once."""
_STANDSTILL_S = 120.0
_FINAL = {"Succeeded", "Failed", "Error"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much goes wrong: kills, over at least so many workflows, but for at most so many `seconds`.

    `pause_s`: the longest time between two kills.
    """

    store: str
    kills: int
    workflows: int
    seed: int
    pause_s: float = 1.5
    seconds: float = float("inf")
    faults: bool = True


@dataclass(kw_only=True)
class Outcome:
    """What was done, and what is wrong after it."""

    plan: Plan
    kills: dict[str, int]
    faults: dict[str, int]
    workflows: int
    steps: int
    attempts: int
    repeated: int
    """Attempts beyond the first of each step: their pods' parents were killed, or they were to fail."""
    start_s: float
    """The longest start after a kill."""
    seconds: float
    wrong: list[str] = field(default_factory=list[str])


class Campaign:
    """Submits, kills and waits; a request that gets no answer is made again, as a client would."""

    def __init__(self, plan: Plan, place: World, random: Random) -> None:
        """Begin in a world whose server runs."""
        self._plan = plan
        self._world = place
        self._random = random
        self.faults = Faults(place, random)
        self.cases: dict[str, shapes.Case] = {}
        self._open: set[str] = set()
        self.wrong: list[str] = []

    def run(self) -> None:
        """Kill until it is enough, then wait until all workflows have ended."""
        until = time.monotonic() + self._plan.seconds
        while (self.faults.count < self._plan.kills or len(self.cases) < self._plan.workflows) and time.monotonic() < until:
            self._submit()
            time.sleep(self._random.uniform(0.02, self._plan.pause_s))
            if self.faults.count < self._plan.kills:
                self.faults.kill_one()
            if self._plan.faults:
                self.faults.disturb()
            self._look()
        self.faults.calm()
        self._wait()

    def prepare(self) -> None:
        """Make the claim in which steps leave marks."""
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": shapes.MARKS},
            "spec": {"accessModes": ["ReadWriteOnce"]},
        }
        checked(self._world.server.call("POST", "/api/jit/v1/objects/default/PersistentVolumeClaim", claim))

    def _submit(self) -> None:
        while len(self._open) < _ACTIVE:
            case = shapes.make(len(self.cases), self._random, self._world.inputs)
            if not self._has(case):
                return
            self.cases[case.name] = case
            self._open.add(case.name)

    def _has(self, case: shapes.Case) -> bool:
        """Return whether the server has taken a workflow; what it has taken before an answer was lost counts."""
        answer = self._call("POST", WORKFLOWS, {"workflow": case.manifest})
        if answer is None or answer.status_code == 503:
            return False
        if answer.status_code not in {200, 409}:
            raise MeasurementError(f"{case.name} was refused: {answer.status_code} {answer.text[:500]}")
        return True

    def _call(self, method: str, path: str, body: Any = None, **params: Any) -> httpx.Response | None:
        try:
            return self._world.server.call(method, path, body, **params)
        except (httpx.HTTPError, MeasurementError):
            return None

    def _look(self) -> None:
        """Take note of what has ended, and of the primary's fill."""
        used = self._world.used_bytes()
        if used > CAPACITY_BYTES:
            self.wrong.append(f"the primary holds {used} bytes, it may hold {CAPACITY_BYTES}")
        answer = self._call("GET", WORKFLOWS, fields="items.metadata.name,items.status.phase")
        if answer is None or answer.status_code != 200:
            return
        items = answer.json()["items"] or []
        self._open -= {one["metadata"]["name"] for one in items if (one.get("status") or {}).get("phase") in _FINAL}

    def _wait(self) -> None:
        if not self._world.server.answers_within(START_S):
            raise MeasurementError(f"the server is not there in the end; see {self._world.server.log}")
        with RunClock() as clock:
            standstill = Standstill(clock, _STANDSTILL_S)
            while self._open and not standstill.lasts(len(self._open)):
                self._look()
                time.sleep(0.2)
        for name in sorted(self._open):
            answer = self._call("GET", f"{WORKFLOWS}/{name}")
            self.wrong.append(f"{name} does not end: {answer.text[:3000] if answer is not None else 'no answer'}")


def run(plan: Plan, root: Path) -> Outcome:
    """Run a campaign in an empty directory.

    Raises:
        MeasurementError: it cannot be run here, or the server does not come up any more.
    """
    random = Random(plan.seed)
    began = time.monotonic()
    with world(root, plan.store, random, faults=plan.faults) as place:
        place.server.start(timeout_s=START_S)
        campaign = Campaign(plan, place, random)
        campaign.prepare()
        campaign.run()
        cases = list(campaign.cases.values())
        wrong = [*campaign.wrong, *all_wrong(place, cases)]
        place.server.stop()
        url = place.state_url or url_of(place.home / "state.db")
        wrong += [*leftovers(place), *(f"the state: {problem}" for problem in moving.verify(url).problems)]
        found = [one for case in cases for one in attempts_of(place.marks / case.name).values()]
        return Outcome(
            plan=plan,
            kills=dict(campaign.faults.kills.most_common()),
            faults=dict(campaign.faults.others.most_common()),
            workflows=len(cases),
            steps=len(found),
            attempts=sum(len(one.begun) for one in found),
            repeated=sum(len(one.begun) - 1 for one in found),
            start_s=max(campaign.faults.starts_s, default=0.0),
            seconds=time.monotonic() - began,
            wrong=wrong,
        )
