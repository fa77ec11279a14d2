"""Requests that schemathesis makes of the descriptions: few of each here, `make fuzz-api` sends thousands."""

import pytest
from benchmark.fuzz_api.__main__ import REFERENCE, fuzz
from benchmark.service import Server


@pytest.mark.slow
def test_made_up_requests_are_answered_as_described(server: Server, tmp_path) -> None:
    wanted = ["listRemotes", "addRemote", "stat", "listObjects", "pin", "evict", "upload", "putPart", "oldUpload"]
    code, sent = fuzz(server, REFERENCE / "openapi-data.json", wanted, each=5, seed=1, folder=tmp_path)
    assert code == 0
    assert sent > 20
    wanted = ["why", "createToken", "getToken", "timeline", "WorkflowService_ListWorkflows", "WorkflowService_SetWorkflow"]
    wanted += ["receiveArgoEvent", "receiveWorkflowEvent", "getForeign", "makeBackfill"]
    code, sent = fuzz(server, REFERENCE / "openapi-control.json", wanted, each=5, seed=1, folder=tmp_path)
    assert code == 0
    assert sent > 20
