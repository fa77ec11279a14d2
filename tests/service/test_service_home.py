"""The server's own directory, tried through remotes that an administrator has made over it: nobody reads or changes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmark.service import Server
from tests.service.service_kit import WORKFLOWS, ended, reader, submit

CONTENT = "/data/v1/content"


class Place:
    """A server below a directory that remotes show, and clients with tokens of other roles."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server = server
        self.root = root
        self.admin, self.operator, self.viewer = (self._client(role) for role in ("admin", "operator", "viewer"))

    def _client(self, role: str) -> httpx.Client:
        wish = {"name": role, "grants": {"*": role}}
        token = self.server.token if role == "admin" else self.server.call("POST", "/api/jit/v1/tokens", wish).json()["token"]
        headers = {"authorization": f"Bearer {token.removeprefix('Bearer ')}"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", headers=headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("served")
    (root / "beside").mkdir()
    (root / "beside" / "a.txt").write_text("anybody's")
    (root / "beside" / "link").symlink_to(root / "home")
    remotes: dict[str, Any] = {
        "above": {"type": "local", "options": {"root": str(root)}},
        "inside": {"type": "local", "options": {"root": str(root / "home")}},
        "again": {"type": "alias", "options": {"remote": "above:home"}},
        "joined": {"type": "union", "options": {"upstreams": f"{root}/beside {root}/home"}},
    }
    settings = {"remotes": remotes, "executor": "process", "archive": False, "primary": {"free_floor": 0}}
    with Server(root / "home", settings) as server:
        found = Place(server, root)
        yield found
        for client in (found.admin, found.operator, found.viewer):
            client.close()


TOKENS = ("above:home/token", "inside:token", "again:token", "joined:token", "above:beside/link/token")


@pytest.mark.parametrize("ref", TOKENS)
def test_a_viewer_reads_nothing_of_it(place: Place, ref: str) -> None:
    for client in (place.viewer, place.admin):
        for path in ("content", "stat", "exists"):
            answer = client.get(f"/data/v1/{path}", params={"ref": ref})
            assert (answer.status_code, "server's home" in answer.text) == (400, True), (path, answer.text)
            assert place.server.token not in answer.text
    folder = ref.removesuffix("token")
    for path in ("/data/v1/objects", "/data/v1/exists"):
        answer = place.viewer.get(path, params={"ref": folder})
        assert (answer.status_code, "server's home" in answer.text) == (400, True), (path, answer.text)
    remote, _, path = ref.partition(":")
    for older in (
        place.viewer.get("/rclone/check", params={"path": remote, "file": path}),
        place.viewer.get("/rclone/files", params={"remote": remote, "folder": path.removesuffix("token")}),
    ):
        assert (older.status_code, "server's home" in older.text) == (400, True), older.text


@pytest.mark.parametrize("ref", TOKENS)
def test_an_operator_copies_nothing_of_it(place: Place, ref: str) -> None:
    folder = ref.removesuffix("token")
    for answer in (
        place.operator.post("/data/v1/primary/stage", json={"ref": ref}),
        place.operator.post("/data/v1/files/copy", json={"source": ref, "destination": "artifacts:got"}),
        place.operator.post("/data/v1/inventory/refresh", json={"ref": folder}),
    ):
        assert (answer.status_code, "server's home" in answer.text) == (400, True), answer.text
    job = place.operator.post("/data/v1/jobs", json={"kind": "copy", "source": folder, "destination": "artifacts:got/"}).json()
    assert "server's home" in over(place, job)["message"]
    assert not list((place.root / "home/artifacts").rglob("*token*"))


def over(place: Place, job: dict[str, Any]) -> dict[str, Any]:
    with place.operator.stream("GET", f"/data/v1/jobs/{job['id']}/events") as lines:
        list(lines.iter_lines())
    return place.operator.get(f"/data/v1/jobs/{job['id']}").json()


def test_a_copy_of_all_around_it_is_refused_unless_it_is_left_out(place: Place) -> None:
    wish = {"kind": "copy", "source": "above:", "destination": "artifacts:all/"}
    assert "server's home" in over(place, place.operator.post("/data/v1/jobs", json=wish).json())["message"]
    assert not list((place.root / "home/artifacts").rglob("token"))
    rest = over(place, place.operator.post("/data/v1/jobs", json=wish | {"filters": {"include": ["/beside/*.txt"]}}).json())
    assert (rest["phase"], rest["message"]) == ("Succeeded", "")
    assert (place.root / "home/artifacts/all/beside/a.txt").read_text() == "anybody's"


@pytest.mark.parametrize("key", ["home/token", "home/"])
def test_no_step_reads_it(place: Place, key: str) -> None:
    answer = place.server.post_text(WORKFLOWS, reader(key, remote="above"))
    assert (answer.status_code, "server's home" in answer.text) == (400, True), answer.text


def test_no_step_writes_there(place: Place) -> None:
    before = place.server.token
    output = (
        "outputs: {artifacts: [{name: o, path: /tmp/o, archive: {none: {}}, plugin: {name: rclone, key: 'above:home/token'}}]}"
    )
    manifest = reader("beside/a.txt", remote="above", command="echo mine > /tmp/o") + f"    {output}\n"
    status = ended(place.server, submit(place.server, manifest))["status"]
    assert (status["phase"] != "Succeeded", "server's home" in status["message"]) == (True, True), status
    assert place.server.token == before


def test_what_lies_beside_it_and_the_artifacts_in_it_are_read(place: Place) -> None:
    assert place.viewer.get(CONTENT, params={"ref": "above:beside/a.txt"}).text == "anybody's"
    put = place.operator.put(CONTENT, params={"ref": "artifacts:made.txt"}, content=b"made")
    assert put.status_code == 200, put.text
    assert place.viewer.get(CONTENT, params={"ref": "above:home/artifacts/made.txt"}).text == "made"
    name = submit(place.server, reader("beside/a.txt", remote="above"))
    assert ended(place.server, name)["status"]["phase"] == "Succeeded"
