"""A plan: when each step of a workflow would start if it were alone."""

from msgspec import Struct

from jitflow.model.data import StepId

PLAIN_EAGER = 4
"""`Plan.eager` of workflows without a plan: room is made for the next steps while others run, as long as places are empty."""


class Plan(Struct, frozen=True, kw_only=True):
    """`starts`: seconds after the workflow's arrival, all different, none before those of the steps it waits for.

    `envelope`: what runs ahead of this order may never force a result out of the primary. `eager`: results leave the primary for
    so many of the ready steps without room at once, as soon as places would stand empty, not only when nothing else helps.
    `patience`: how often the first ready step without room is passed over before what becomes free is kept for it (None: as the
    options say). `keeps`: room that results leave for the first ready step is for that step alone.

    `stretch`: beside other workflows its steps are placed as if they took so many times as long: with more it lets others go
    first, with less it goes before them. `pace_s`: from one step to the next, for steps that become known later. `reason`: why
    this plan, for people.
    """

    starts: dict[StepId, float]
    envelope: bool = True
    eager: int = 0
    patience: int | None = None
    keeps: bool = False
    stretch: float = 1.0
    pace_s: float = 1.0
    name: str = ""
    makespan_s: float | None = None
    reason: str = ""
