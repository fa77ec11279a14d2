"""What schemathesis checks of every answer; loaded by it through `SCHEMATHESIS_HOOKS`."""

from typing import Any

import schemathesis

_AS_ARGO = ("/artifact-files/", "/artifacts/", "/input-artifacts/", "/artifacts-by-uid/", "/input-artifacts-by-uid/")
"""Argo Server answers 500 for an artifact that is not there."""
_UNFORESEEN = "internal error; the server's log says more"


@schemathesis.check
def no_internal_error(_: Any, response: Any, case: Any) -> None:
    """No answer is an error that nobody foresaw; a far store that cannot be reached (503) is no fault of the server."""
    if response.status_code != 500:
        return
    known = case.operation.path.startswith(_AS_ARGO) and _UNFORESEEN not in response.text
    assert known, f"{case.method} {case.operation.path}: {response.text[:500]}"
