"""The small languages in a manifest: what cannot be read is told with its line and column inside the text.

Argo finds such mistakes when the text is used; there is no way to run it, so it is told at once. What holds tags is left alone:
it is another text after they are replaced.
"""

import json
from collections.abc import Mapping

from jitflow.expr import queries
from jitflow.expr.lang import LangError, compile_expression
from jitflow.expr.spots import spot
from jitflow.expr.when import WhenError
from jitflow.expr.when import parse as parse_when
from jitflow.model import argo
from jitflow.spec.places import Path
from jitflow.spec.validation._report import Report, has_tag


def check_expression(report: Report, text: str | None, path: Path, prefix: str) -> None:
    """Check an expression of expr-lang."""
    if not text or has_tag(text):
        return
    try:
        compile_expression(text)
    except LangError as error:
        report.add(path, f"{prefix} is no expression: {error}", "mend it at this line and column of the expression")


def check_condition(report: Report, text: str | None, path: Path, prefix: str) -> None:
    """Check a condition in the language of `when`; `prefix` ends in what comes before Argo's own message."""
    if not text or has_tag(text):
        return
    try:
        parse_when(text)
    except WhenError as error:
        report.add(path, f"{prefix} {error} ({spot(text, error.offset)})", "compare two values: a == b")


def check_json_list(report: Report, text: str | None, path: Path, prefix: str) -> None:
    """Check a list that is written out as JSON."""
    if not text or has_tag(text):
        return
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"{error.msg} ({error.lineno}:{error.colno})" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        report.add(path, f"{prefix} value could not be parsed as a JSON list: {where}", 'write it like ["a", "b"]')
        return
    if not isinstance(found, list):
        report.add(path, f"{prefix} value could not be parsed as a JSON list: it is another value", 'write it like ["a", "b"]')


def check_hooks(report: Report, hooks: Mapping[str, argo.LifecycleHook], path: Path, prefix: str) -> None:
    """Check that every hook but `exit` says when, and in a way that can be read. `prefix` ends in a dot."""
    for name, hook in hooks.items():
        here = (*path, "hooks", name)
        if name != "exit" and not hook.expression:
            remedy = "add `expression:`, such as steps['a'].status == \"Running\""
            report.add(here, f"{prefix}{name} Expression required", remedy, key=True)
        check_expression(report, hook.expression, (*here, "expression"), f"{prefix}{name}.expression")


def check_query(report: Report, source: argo.ValueFrom, path: Path, prefix: str) -> None:
    """Check how a value is taken from a resource: `jqFilter` or `jsonPath`."""
    for field, text, check in (
        ("jqFilter", source.jq_filter, queries.check_jq),
        ("jsonPath", source.json_path, queries.check_template),
    ):
        if not text or has_tag(text):
            continue
        try:
            check(text)
        except queries.QueryError as error:
            report.add((*path, field), f"{prefix}.{field} cannot be read: {error}", "mend the path")
