"""Tokens: their life, what is kept of them, and that nobody gives more than he has."""

import asyncio

import pytest
from tests.security.access_kit import ALL, HERE, THERE, House, Role

from jitflow.access import Tokens, owner
from jitflow.access.tokens import DOCUMENTS, USES

pytestmark = pytest.mark.pure
PATH = "/api/jit/v1/tokens"


def test_a_token_is_made_used_listed_and_revoked():
    async def scenario(house: House) -> None:
        made = await house.ask("own", "POST", PATH, json={"name": "ci", "grants": {HERE: "operator"}, "expires_in_s": 60})
        assert made.status_code == 200, made.text
        token, token_id = made.json()["token"], made.json()["id"]
        assert token.startswith("jft_")
        assert (await house.ask(token, "GET", f"/api/v1/workflows/{HERE}")).status_code == 200
        listed = await house.ask("own", "GET", PATH)
        (shown,) = [item for item in listed.json()["items"] if item["id"] == token_id]
        assert shown["last_used_at"] == house.world.clock.now()
        assert token not in listed.text
        assert (await house.ask("own", "DELETE", f"{PATH}/ci")).json()["id"] == token_id
        assert (await house.ask(token, "GET", f"/api/v1/workflows/{HERE}")).status_code == 401
        assert (await house.ask("own", "GET", f"{PATH}/{token_id}")).status_code == 404

    House().play(scenario)


def test_only_hashes_are_kept_and_a_restart_knows_them():
    async def scenario(house: House) -> None:
        await asyncio.sleep(0)
        token = house.keys["operator"]
        items = [*await house.world.store.items(DOCUMENTS), *await house.world.store.items(USES)]
        bodies = b"".join(body for _, body in items)
        assert token.encode() not in bodies
        assert token.removeprefix("jft_").encode() not in bodies
        await house.ask("operator", "GET", "/api/v1/version")
        await asyncio.sleep(0)
        again = Tokens(house.world.store, house.world.clock, lambda work, _: work.close())
        await again.open()
        found = again.identify(token.encode())
        assert found is not None
        assert found.grants == {HERE: Role.OPERATOR}
        assert again.get("operator", owner()).last_used_at == house.world.clock.now()

    House().play(scenario)


def test_an_expired_token_says_so():
    async def scenario(house: House) -> None:
        assert (await house.ask("expired", "GET", "/api/v1/version")).status_code == 200
        await house.world.clock.sleep(2.0)
        answer = await house.ask("expired", "GET", "/api/v1/version")
        assert answer.status_code == 401
        assert "has expired" in answer.json()["message"]

    House().play(scenario)


@pytest.mark.parametrize(
    ("key", "grants", "status"),
    [
        ("viewer", {HERE: "viewer"}, 403),
        ("operator", {HERE: "viewer"}, 403),
        ("admin", {HERE: "viewer"}, 200),
        ("admin", {HERE: "admin"}, 200),
        ("admin", {THERE: "viewer"}, 403),
        ("admin", {HERE: "viewer", THERE: "viewer"}, 403),
        ("admin", {ALL: "viewer"}, 403),
        ("admin-of-all", {ALL: "admin"}, 200),
        ("operator-of-all", {HERE: "viewer"}, 403),
    ],
)
def test_nobody_gives_more_than_he_has(key: str, grants: dict[str, str], status: int):
    async def scenario(house: House) -> None:
        answer = await house.ask(key, "POST", PATH, json={"name": "new", "grants": grants})
        assert answer.status_code == status, answer.text

    House().play(scenario)


def test_an_admin_of_a_namespace_manages_only_its_tokens():
    async def scenario(house: House) -> None:
        names = {item["name"] for item in (await house.ask("admin", "GET", PATH)).json()["items"]}
        assert names == {"viewer", "operator", "admin"}
        assert (await house.ask("admin", "DELETE", f"{PATH}/elsewhere")).status_code == 404
        assert (await house.ask("admin", "DELETE", f"{PATH}/viewer")).status_code == 200

    House().play(scenario)


def test_scopes_cannot_be_shed():
    async def scenario(house: House) -> None:
        house.keys["narrow"] = await house.key("narrow", {ALL: Role.ADMIN}, scopes=("tokens", "events"))
        wish = {"name": "new", "grants": {HERE: "admin"}}
        assert (await house.ask("narrow", "POST", PATH, json=wish)).status_code == 403
        assert (await house.ask("narrow", "POST", PATH, json={**wish, "scopes": ["workflows"]})).status_code == 403
        assert (await house.ask("narrow", "POST", PATH, json={**wish, "scopes": ["events.send"]})).status_code == 200

    House().play(scenario)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"name": "", "grants": {HERE: "viewer"}}, "no name for a token"),
        ({"name": "a\nb", "grants": {HERE: "viewer"}}, "no name for a token"),
        ({"name": "viewer", "grants": {HERE: "viewer"}}, "already"),
        ({"name": "x", "grants": {}}, "needs a role"),
        ({"name": "x", "grants": {"../x": "viewer"}}, "no namespace"),
        ({"name": "x", "grants": {HERE: "root"}}, "root"),
        ({"name": "x", "grants": {HERE: "viewer"}, "scopes": ["all"]}, "no scope"),
        ({"name": "x", "grants": {HERE: "viewer"}, "expires_in_s": -1}, "expires"),
        ({"name": "x", "grants": {HERE: "viewer"}, "admin": True}, "admin"),
        ({"grants": {HERE: "viewer"}}, "name"),
    ],
)
def test_wishes_that_cannot_be_granted(wish: dict[str, object], words: str):
    async def scenario(house: House) -> None:
        answer = await house.ask("own", "POST", PATH, json=wish)
        assert answer.status_code in {400, 409}
        assert words in answer.json()["message"]

    House().play(scenario)


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_watch_ends_with_its_token(end: str):
    async def scenario(house: House) -> None:
        house.keys["short"] = await house.key("short", {HERE: Role.VIEWER}, expires_in_s=0.05 if end == "expired" else 0.0)
        watching = asyncio.get_running_loop().create_task(house.ask("short", "GET", f"/api/v1/workflow-events/{HERE}"))
        if end == "revoked":
            await asyncio.sleep(0.02)
            assert not watching.done()
            assert (await house.ask("own", "DELETE", f"{PATH}/short")).status_code == 200
        answer = await asyncio.wait_for(watching, 5)
        assert answer.status_code == 200

    House().play(scenario)
