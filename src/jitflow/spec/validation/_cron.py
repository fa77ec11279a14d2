"""Schedules of CronWorkflows."""

from typing import Final

from jitflow.expr.schedules import Schedule, ScheduleError, zone
from jitflow.model import argo
from jitflow.spec.validation._report import Report

POLICIES: Final = ("Allow", "Forbid", "Replace")


def check_cron(report: Report, spec: argo.CronWorkflowSpec) -> None:
    """Check schedules, time zone, policy and limits."""
    at = ("", "spec")
    if not spec.schedules:
        report.add((*at, "schedules"), "cron workflow must have at least one schedule", 'write `schedules: ["0 2 * * *"]`')
    try:
        zone(spec.timezone or "")
    except ScheduleError as error:
        report.add((*at, "timezone"), f"cron workflow: {error}", "use a name such as Europe/Berlin")
    else:
        for index, text in enumerate(spec.schedules):
            try:
                Schedule(text, spec.timezone or "")
            except ScheduleError as error:
                remedy = 'write five fields, "0 2 * * *", or @daily or "@every 1h"'
                report.add((*at, "schedules", index), f"cron schedule {text!r} is malformed: {error}", remedy)
    if spec.concurrency_policy and spec.concurrency_policy not in POLICIES:
        message = f"'{spec.concurrency_policy}' is not a valid concurrencyPolicy"
        report.add((*at, "concurrencyPolicy"), message, f"use one of {', '.join(POLICIES)}")
    if spec.starting_deadline_seconds is not None and spec.starting_deadline_seconds < 0:
        report.add((*at, "startingDeadlineSeconds"), "startingDeadlineSeconds must be positive", "remove it for no deadline")
