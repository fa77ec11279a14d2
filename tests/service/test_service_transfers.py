"""Transfer jobs in a real server, between two S3 stores: over a kill, in a crowd, with rclone gone, and with bad input."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.service.service_kit import files_below

from jitflow.testing.s3_server import S3Server

JOBS = "/data/v1/jobs"
FILES, FILE_BYTES = 40, 200_000


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, S3Server]]:
    root = tmp_path_factory.mktemp("stores")
    for place in ("one/bucket/in/deep", "two/bucket"):
        (root / place).mkdir(parents=True)
    for number in range(FILES):
        folder = root / "one/bucket/in" / ("deep" if number % 2 else "")
        (folder / f"f{number:02}").write_bytes(os.urandom(FILE_BYTES))
    with S3Server(root / "one") as one, S3Server(root / "two") as two:
        yield one, two


@pytest.fixture(scope="module")
def server(stores: tuple[S3Server, S3Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    remotes = {
        name: {"type": "s3", "options": dict(store.remote(name).options)}
        for name, store in zip(("one", "two"), stores, strict=True)
    }
    with Server(tmp_path_factory.mktemp("served") / "home", {"remotes": remotes, "primary": {"stall_s": 5.0}}) as found:
        yield found


def children(pid: int) -> list[int]:
    text = "".join(task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(word) for word in text.split()]


def make(server: Server, **wish: Any) -> str:
    answer = server.call("POST", JOBS, {"kind": "copy", "source": "one:bucket/in/", **wish})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def until(server: Server, job: str, *phases: str, within_s: float = 60.0) -> dict[str, Any]:
    limit = time.monotonic() + within_s
    while time.monotonic() < limit:
        found = server.get(f"{JOBS}/{job}")
        if found["phase"] in (phases or ("Succeeded", "Failed", "Cancelled")):
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not come about in time: {found}")


def copies(stores: tuple[S3Server, S3Server], prefix: str) -> dict[str, bytes]:
    root = stores[1].root / "bucket" / prefix
    return {str(file.relative_to(root)): file.read_bytes() for file in files_below(root)} if root.exists() else {}


def originals(stores: tuple[S3Server, S3Server]) -> dict[str, bytes]:
    root = stores[0].root / "bucket/in"
    return {str(file.relative_to(root)): file.read_bytes() for file in files_below(root)}


def test_a_kill_in_the_middle_moves_no_finished_file_again(server: Server, stores: tuple[S3Server, S3Server]) -> None:
    job = make(server, destination="two:bucket/killed/", bandwidth="2M", transfers=2)
    limit = time.monotonic() + 30
    while len(copies(stores, "killed")) < 5 and time.monotonic() < limit:
        time.sleep(0.05)
    server.kill()
    arrived = {path: (stores[1].root / "bucket/killed" / path).stat() for path in copies(stores, "killed")}
    whole = [path for path, stat in arrived.items() if stat.st_size == FILE_BYTES]
    assert 5 <= len(whole) < FILES
    server.start()
    done = until(server, job)
    assert (done["phase"], done["attempts"], done["counts"]["files_done"]) == ("Succeeded", 2, FILES)
    assert copies(stores, "killed") == originals(stores)
    again = {path for path in whole if (stores[1].root / "bucket/killed" / path).stat().st_mtime_ns != arrived[path].st_mtime_ns}
    assert not again
    files = server.get(f"{JOBS}/{job}/files")["items"]
    assert {(file["action"], file["state"], file["proof"]) for file in files} == {("copy", "done", "md5")}


def test_rclone_that_is_killed_is_started_again_and_the_job_goes_on(server: Server, stores: tuple[S3Server, S3Server]) -> None:
    job = make(server, destination="two:bucket/crashed/", bandwidth="4M", transfers=2)
    limit = time.monotonic() + 30
    while len(copies(stores, "crashed")) < 3 and time.monotonic() < limit:
        time.sleep(0.05)
    killed = [pid for pid in children(server.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == "rclone"]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert len(killed) == 2
    done = until(server, job)
    assert (done["phase"], copies(stores, "crashed") == originals(stores)) == ("Succeeded", True)
    assert done["attempts"] >= 2


def test_a_job_rests_goes_on_and_is_followed(server: Server, stores: tuple[S3Server, S3Server]) -> None:
    job = make(server, destination="two:bucket/rested/", bandwidth="1M", transfers=2)
    until(server, job, "Running")
    assert server.call("POST", f"{JOBS}/{job}/pause").json()["phase"] == "Paused"
    before = copies(stores, "rested")
    assert len(before) < FILES
    assert server.call("DELETE", f"{JOBS}/{job}").status_code == 409
    assert server.call("POST", f"{JOBS}/{job}/resume").json()["phase"] in {"Queued", "Running"}
    with server.events(f"{JOBS}/{job}/events") as events:
        phases = [next(events)["phase"]]
        assert server.call("POST", f"{JOBS}/{job}/cancel").json()["phase"] == "Cancelled"
        phases += [event["phase"] for event in events]
    assert phases[-1] == "Cancelled"
    assert server.call("DELETE", f"{JOBS}/{job}").status_code == 200
    assert server.call("GET", f"{JOBS}/{job}").status_code == 404


def test_many_jobs_at_once_wait_and_none_is_lost(server: Server) -> None:
    jobs = [make(server, source="one:bucket/in/deep/", destination=f"two:bucket/many/{n}/", dry_run=True) for n in range(60)]
    server.kill()
    server.start()
    assert [until(server, job)["phase"] for job in jobs] == ["Succeeded"] * 60
    page = server.get(JOBS, limit=20, phase="Succeeded")
    assert (len(page["items"]), bool(page["next"])) == (20, True)


def test_sync_move_check_and_delete(server: Server, stores: tuple[S3Server, S3Server]) -> None:
    stray = stores[1].root / "bucket/synced/stray"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    time.sleep(0.2)
    wish = {"kind": "sync", "source": "one:bucket/in/deep/", "destination": "two:bucket/synced/"}
    assert until(server, make(server, **wish, max_delete=0))["phase"] == "Failed"
    assert (stray.exists(), len(copies(stores, "synced"))) == (True, 1)
    done = until(server, make(server, **wish, max_delete=1))
    assert (done["phase"], done["counts"]["deletes_done"], done["counts"]["files_done"]) == ("Succeeded", 1, FILES // 2)
    check = until(server, make(server, **{**wish, "kind": "check"}))
    assert (check["counts"]["differences"], check["counts"]["equal"]) == (0, FILES // 2)
    move = until(server, make(server, kind="move", source="two:bucket/synced/", destination="two:bucket/moved/"))
    assert (move["phase"], copies(stores, "synced"), len(copies(stores, "moved"))) == ("Succeeded", {}, FILES // 2)
    gone = until(server, make(server, kind="delete", source="two:bucket/moved/", destination=""))
    assert (gone["phase"], copies(stores, "moved")) == ("Succeeded", {})


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        ({"kind": "shred"}, 400, "$.kind"),
        ({"destination": "none:x"}, 404, "there is no remote 'none'"),
        ({"destination": "two:../x"}, 400, "$.destination"),
        ({"destination": "two:x", "filters": {"exclude": ["[a"]}}, 400, "the filters cannot be read"),
        ({"destination": "two:x", "speed": 1}, 400, "speed"),
        ({"destination": "two:x", "transfers": 100000}, 400, "$.transfers"),
    ],
)
def test_wishes_that_are_refused(server: Server, wish: dict[str, Any], status: int, says: str) -> None:
    answer = server.call("POST", JOBS, {"kind": "copy", "source": "one:bucket/in/", **wish})
    assert answer.status_code == status
    assert says in answer.text


def test_a_job_at_a_store_that_fails_says_so(server: Server) -> None:
    done = until(server, make(server, source="one:bucket/none/", destination="two:bucket/none/"))
    assert (done["phase"], "there is nothing below this prefix" in done["message"]) == ("Failed", True)
    options = {"provider": "Other", "endpoint": "http://127.0.0.1:9", "access_key_id": "a", "secret_access_key": "b"}
    answer = server.call("POST", "/data/v1/remotes", {"name": "gone", "type": "s3", "options": options})
    assert answer.status_code == 200, answer.text
    job = make(server, destination="gone:bucket/")
    limit = time.monotonic() + 30
    while not (message := server.get(f"{JOBS}/{job}")["message"]) and time.monotonic() < limit:
        time.sleep(0.1)
    assert "gone:bucket/" in message, "whether the store refuses or is silent depends on how rclone asks it again"
    assert "again" in message
    assert server.call("POST", f"{JOBS}/{job}/cancel").json()["phase"] == "Cancelled"
