"""Whole manifests, as people have them, on a real server: how they end, their nodes, outputs and what they print.

What must hold stands in comments at the top of each manifest in `manifests/`, one fact a line:

    # ends PHASE [message…]          the workflow's phase, and how its message begins
    # node NAME PHASE [message…]     a node by its name without the workflow's, and how its message begins
    # none NAME                      there is no such node
    # nodes COUNT                    how many nodes there are
    # in NAME PARAMETER=VALUE        an input parameter of a node
    # out NAME PARAMETER=VALUE       an output parameter of a node (`result` and `exitCode` too; NAME `workflow`: a global one)
    # log TEXT                       a line that some pod prints
    # refused TEXT                   creating it answers 400 with these words
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark.conformance.api import Api, Refused
from benchmark.conformance.stand_ins import images
from benchmark.service import Server
from tests.service.service_kit import FINAL

from jitflow.testing.s3_server import S3Server

MANIFESTS = Path(__file__).parent / "manifests"
FILES = sorted(MANIFESTS.glob("*.yaml"))
PATIENCE_S = 100.0


def facts(path: Path) -> list[tuple[str, str]]:
    """Return what must hold of a manifest."""
    lines = re.findall(r"^# (\w+) (.*)$", path.read_text(), re.MULTILINE)
    assert lines, f"{path.name} says nothing of how it must end"
    return lines


class Played:
    """How a manifest ended."""

    def __init__(self, api: Api, path: Path) -> None:
        """Create all that the file holds; its last workflow is the one that is looked at."""
        self._api = api
        self._name = ""
        self.refusal = ""
        try:
            for document in yaml.safe_load_all(path.read_text()):
                made = api.create(document)
                self._name = made["metadata"]["name"]
        except Refused as refused:
            self.refusal = str(refused)
        self.status: dict[str, Any] = {}
        self._nodes: dict[str, dict[str, Any]] = {}

    def await_end(self) -> None:
        """Wait until the workflow has ended."""
        limit = time.monotonic() + PATIENCE_S
        while not self.refusal and self.status.get("phase") not in FINAL:
            assert time.monotonic() < limit, f"{self._name} does not end: {self.status}"
            time.sleep(0.05)
            self.status = self._api.workflow(self._name).get("status") or {}
        for node in (self.status.get("nodes") or {}).values():
            self._nodes[str(node["name"]).removeprefix(self._name) or "root"] = node

    def check(self, fact: str, text: str) -> None:
        """Check that one fact holds."""
        if fact == "refused":
            assert text in self.refusal
            return
        assert not self.refusal, self.refusal
        words = text.split(" ", 2)
        match fact:
            case "ends":
                self._ended(self.status, "the workflow", words[0], " ".join(words[1:]))
            case "node":
                self._ended(self._node(words[0]), words[0], words[1], " ".join(words[2:]))
            case "none":
                assert text not in self._nodes, f"there is a node {text}"
            case "nodes":
                assert len(self._nodes) == int(text), sorted(self._nodes)
            case "in":
                self._value(self._node(words[0]).get("inputs") or {}, text.split(" ", 1)[1])
            case "out":
                holder = self.status if words[0] == "workflow" else self._node(words[0])
                self._value(holder.get("outputs") or {}, text.split(" ", 1)[1])
            case "log":
                assert text in self._api.log(self._name).splitlines()
            case _:
                raise AssertionError(f"no fact: {fact}")

    def _node(self, name: str) -> dict[str, Any]:
        assert name in self._nodes, f"no node {name}: {sorted(self._nodes)}"
        return self._nodes[name]

    def _ended(self, status: dict[str, Any], what: str, phase: str, message: str) -> None:
        told = str(status.get("message") or "").replace(self._name, "WF")
        assert status["phase"] == phase, f"{what}: {told}"
        assert told.startswith(message), f"{what}: {told!r}"

    @staticmethod
    def _value(holder: dict[str, Any], text: str) -> None:
        name, _, value = text.partition("=")
        values = {p["name"]: p.get("value") for p in holder.get("parameters") or []} | {
            key: holder[key] for key in ("result", "exitCode") if key in holder
        }
        assert values.get(name) == value.replace("\\n", "\n"), values


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Played]]:
    """Run all manifests side by side, once."""
    home: Path = tmp_path_factory.mktemp("manifests")
    (home / "s3" / "bucket").mkdir(parents=True)
    with S3Server(home / "s3") as s3:
        settings = {
            "max_pods": 8,
            "grace_s": 1.0,
            "primary": {"capacity": "256MiB"},
            "remotes": {"far": {"type": "s3", "options": dict(s3.remote("far").options)}},
            "artifact_repository": {"remote": "far", "prefix": "bucket"},
            "images": images(MANIFESTS),
        }
        with Server(home / "home", settings) as server:
            api = Api(server)
            found = {path.name: Played(api, path) for path in FILES}
            yield found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_manifest_ends_as_in_argo(played: dict[str, Played], path: Path) -> None:
    """All that the manifest's head says holds."""
    one = played[path.name]
    one.await_end()
    for fact, text in facts(path):
        one.check(fact, text)
