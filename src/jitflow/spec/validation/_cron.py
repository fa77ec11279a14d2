"""Schedules of CronWorkflows, and the workflows that they start."""

from typing import Final

from jitflow.expr.schedules import Schedule, ScheduleError, zone
from jitflow.model import argo
from jitflow.spec.validation._expressions import check_condition, check_expression
from jitflow.spec.validation._report import Report

CRON_LABEL: Final = "workflows.argoproj.io/cron-workflow"
SCHEDULED_AT: Final = "workflows.argoproj.io/scheduled-time"
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
    check_condition(report, spec.when, (*at, "when"), "cron workflow when:")
    if spec.stop_strategy is not None:
        here = (*at, "stopStrategy", "expression")
        check_expression(report, spec.stop_strategy.expression, here, "cron workflow stopStrategy.expression")


def started_by(cron: argo.CronWorkflow) -> argo.Workflow:
    """Return the workflow that a CronWorkflow starts, as far as it is known before."""
    own = cron.metadata or argo.ObjectMeta()
    extra = cron.spec.workflow_metadata or argo.ObjectMeta()
    metadata = argo.ObjectMeta(
        name=own.name,
        namespace=own.namespace,
        labels={CRON_LABEL: own.name or "", **extra.labels},
        annotations={SCHEDULED_AT: "", **extra.annotations},
    )
    return argo.Workflow(metadata=metadata, spec=cron.spec.workflow_spec)
