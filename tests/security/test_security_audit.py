"""The audit log: what is written down, who reads it, that it only grows, and that no secret is in it."""

from pathlib import Path

import pytest
from tests.security.access_kit import HERE, MANIFEST, THERE, House

from jitflow.access.audit import AuditLog, AuditQuery
from jitflow.model.access import AuditEntry

PATH = "/api/jit/v1/audit"


def test_who_did_what_is_written_down():
    async def scenario(house: House) -> None:
        await house.ask("operator", "POST", f"/api/v1/workflows/{HERE}", json={"workflow": MANIFEST})
        await house.ask("operator", "PUT", f"/api/v1/workflows/{HERE}/one/stop")
        await house.ask("operator", "GET", f"/api/v1/workflows/{HERE}/one")
        await house.ask("operator", "POST", f"/api/v1/workflows/{HERE}/lint", json={"workflow": MANIFEST})
        await house.ask("viewer", "DELETE", f"/api/v1/workflows/{HERE}/one")
        await house.ask("wrong", "GET", f"/api/v1/workflows/{HERE}/one")
        await house.ask("own", "POST", "/api/jit/v1/tokens", json={"name": "new", "grants": {HERE: "viewer"}})
        await house.ask("own", "DELETE", "/api/jit/v1/tokens/new")
        items = list(reversed((await house.ask("own", "GET", PATH)).json()["items"]))
        told = [(item.get("subject", ""), item.get("action", ""), item.get("name", ""), item["status"]) for item in items]
        assert told == [
            ("operator", "workflows.create", "one", 200),
            ("operator", "workflows.control", "one", 200),
            ("viewer", "workflows.delete", "one", 403),
            ("", "", "", 401),
            ("local", "tokens.manage", "new", 200),
            ("local", "tokens.manage", "new", 200),
        ]
        assert items[0]["token"] == (await house.ask("own", "GET", "/api/jit/v1/tokens/operator")).json()["id"]
        assert items[0]["namespace"] == HERE

    House().play(scenario)


def test_no_secret_is_written_down():
    async def scenario(house: House) -> None:
        secret = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "planted-secret"}}
        assert (await house.ask("operator", "POST", f"/api/jit/v1/objects/{HERE}/Secret", json=secret)).status_code == 200
        path = f"/api/v1/workflows/{HERE}/one/stop?token=planted-secret"
        await house.ask("operator", "PUT", path, headers={"cookie": "authorization=planted-secret"})
        made = await house.ask("own", "POST", "/api/jit/v1/tokens", json={"name": "new", "grants": {HERE: "viewer"}})
        await house.ask("planted-secret", "GET", path)
        written = b"".join(file.read_bytes() for file in house.audit.folder.iterdir())
        assert b"secrets.write" in written
        for hidden in ("planted-secret", made.json()["token"], *house.keys.values()):
            assert hidden.encode() not in written

    House().play(scenario)


def test_an_admin_reads_what_was_done_in_his_namespaces():
    async def scenario(house: House) -> None:
        for namespace in (HERE, THERE):
            await house.ask("own", "POST", f"/api/v1/workflows/{namespace}", json={"workflow": MANIFEST})
        await house.ask("own", "POST", "/data/v1/primary/evict", json={"ref": "far:a"})
        for key, seen in (("admin", {HERE}), ("elsewhere", {THERE}), ("own", {HERE, THERE, None})):
            items = (await house.ask(key, "GET", PATH)).json()["items"]
            assert {item.get("namespace") for item in items} == seen
        assert (await house.ask("viewer-of-all", "GET", PATH)).status_code == 403

    House().play(scenario)


@pytest.mark.parametrize(
    ("query", "count"),
    [("subject=operator", 2), ("action=workflows", 2), ("action=workflows.control", 1), (f"namespace={THERE}", 0),
     ("since=1e11", 0), ("until=1", 0), ("limit=1", 1), ("limit=0", 0)],
)  # fmt: skip
def test_entries_are_chosen(query: str, count: int):
    async def scenario(house: House) -> None:
        await house.ask("operator", "POST", f"/api/v1/workflows/{HERE}", json={"workflow": MANIFEST})
        await house.ask("operator", "PUT", f"/api/v1/workflows/{HERE}/one/stop")
        assert len((await house.ask("own", "GET", f"{PATH}?{query}")).json()["items"]) == count

    House().play(scenario)


def test_nobody_writes_lines_of_his_own(tmp_path: Path):
    async def scenario(house: House) -> None:
        await house.ask("operator", "PUT", f"/api/v1/workflows/{HERE}/a%0a%7b%22at%22:1%7d%0a/stop")
        (entry,) = (await house.ask("own", "GET", PATH)).json()["items"]
        assert entry["name"] == 'a\n{"at":1}\n'

    House().play(scenario)


def entry(number: int, status: int = 200) -> AuditEntry:
    return AuditEntry(at=float(number), subject=f"s{number}", status=status)


def subjects(log: AuditLog, limit: int = 1000) -> list[str]:
    return [one.subject for one in log.read(AuditQuery(limit=limit))]


def test_files_are_rotated_and_the_oldest_go(tmp_path: Path):
    log = AuditLog(tmp_path, file_bytes=2_000, files=3)
    for number in range(400):
        log.write(entry(number))
    log.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    found = subjects(log)
    assert found == [f"s{number}" for number in range(399, 399 - len(found), -1)]
    assert len(found) > 100


def test_a_restart_goes_on_after_a_line_that_was_cut_off(tmp_path: Path):
    log = AuditLog(tmp_path)
    log.write(entry(1))
    log.write(entry(2))
    log.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    log = AuditLog(tmp_path)
    log.write(entry(3))
    log.close()
    assert subjects(log) == ["s3", "s1"]


def test_a_flood_of_refusals_does_not_push_everything_out(tmp_path: Path):
    clock = [0.0]
    log = AuditLog(tmp_path, now=lambda: clock[0])
    for number in range(500):
        log.write(entry(number, 401))
    log.write(entry(1000))
    clock[0] = 10.0
    for number in range(20):
        log.write(entry(2000 + number, 401))
    log.close()
    found = log.read(AuditQuery(limit=1000))
    assert len(found) == 60 + 1 + 10
    assert [one.left_out for one in found if one.left_out] == [440]


def test_a_full_disk_fails_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    log = AuditLog(tmp_path)
    log.close()
    log.write(entry(1))  # the file is closed: the write fails as it would on a broken disk
    assert "audit entry lost" in caplog.text


def test_an_entry_is_written_at_once(tmp_path: Path):
    log = AuditLog(tmp_path)
    for number in range(3):
        log.write(entry(number))
        assert [one.at for one in log.read(AuditQuery())] == list(reversed(range(number + 1)))
    log.close()


def test_no_file_grows_beyond_its_size(tmp_path: Path):
    log = AuditLog(tmp_path, file_bytes=1000, files=50)
    for number in range(40):
        log.write(entry(number))
    log.close()
    assert [one.at for one in log.read(AuditQuery(limit=100))] == list(reversed(range(40)))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) > 1
    assert max(sizes) <= 1001
