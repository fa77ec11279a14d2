"""The fuzzer of the APIs sends requests to every operation whose answer ends, those of the older service among them."""

import json

from benchmark.fuzz_api.__main__ import DOCUMENTS, REFERENCE, finite


def test_the_fuzzer_leaves_out_nothing_but_streams() -> None:
    chosen, paths = set[str](), set[str]()
    for name in DOCUMENTS:
        document = json.loads((REFERENCE / name).read_text())
        wanted = set(finite(document))
        for path, methods in document["paths"].items():
            for operation in methods.values():
                streams = any("text/event-stream" in one.get("content", {}) for one in operation["responses"].values())
                assert (operation["operationId"] in wanted) is not streams, operation["operationId"]
                paths |= {path} if operation["operationId"] in wanted else set()
        chosen |= wanted
    assert {"/health", "/workflow/event", "/events/argo", "/rclone/copy", "/rclone/upload", "/rclone/files"} <= paths
    assert len([path for path in paths if path.startswith("/rclone/")]) >= 12
    assert len(chosen) > 150
