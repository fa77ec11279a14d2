"""One operation on many workflows."""

from typing import Any

import pytest
from tests.security.access_kit import HERE, MANIFEST, THERE, House

from jitflow.app.bulk import MAX_AT_ONCE
from jitflow.model.bulk import Operation
from jitflow.model.runs import ShutdownRequested

pytestmark = pytest.mark.pure


async def filled(house: House) -> dict[str, str]:
    """Make four workflows here, one of them finished, and one of the same label elsewhere; return the uids by name."""
    uids: dict[str, str] = {}
    for namespace, name, project in (
        (HERE, "one", "spring"), (HERE, "two", "spring"), (HERE, "three", "spring"), (HERE, "four", "autumn"),
        (THERE, "five", "spring"),
    ):  # fmt: skip
        manifest = MANIFEST | {"metadata": {"name": name, "labels": {"project": project}}}
        answer = await house.ask("own", "POST", f"/api/v1/workflows/{namespace}", json={"workflow": manifest})
        uids[name] = answer.json()["metadata"]["uid"]
    await house.world.engine.move(uids["three"], "Failed")
    return uids


async def bulk(house: House, operation: str, namespace: str = HERE, *, key: str = "operator", **wish: Any) -> dict[str, Any]:
    answer = await house.ask(key, "POST", f"/api/jit/v1/bulk/{namespace}/{operation}", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["outcome"] for item in result["items"]}


def test_each_selected_workflow_has_its_own_outcome():
    async def scenario(house: House) -> None:
        uids = await filled(house)
        result = await bulk(house, "stop", labels="project=spring", message="enough")
        assert outcomes(result) == {"one": "done", "two": "done", "three": "refused"}
        assert (result["matched"], result["done"], result["refused"], result["remaining"]) == (3, 2, 1, 0)
        refused = next(item for item in result["items"] if item["name"] == "three")
        assert (refused["phase"], refused["message"]) == ("Failed", "cannot change a completed workflow")
        told = [(uid, event.message) for uid, event in house.world.engine.events if isinstance(event, ShutdownRequested)]
        assert sorted(told) == sorted([(uids["one"], "enough"), (uids["two"], "enough")])

    House().play(scenario)


def test_only_those_of_the_given_uids_are_meant():
    async def scenario(house: House) -> None:
        uids = await filled(house)
        several = [uids["one"], uids["four"], uids["five"], "of-nobody"]
        assert outcomes(await bulk(house, "suspend", uids=several)) == {"one": "done", "four": "done"}
        assert outcomes(await bulk(house, "stop", labels="project=spring", uids=several)) == {"one": "done"}
        assert outcomes(await bulk(house, "delete", uids=[])) == {}

    House().play(scenario)


def test_a_dry_run_says_which_and_does_nothing():
    async def scenario(house: House) -> None:
        await filled(house)
        for operation in Operation:
            result = await bulk(house, operation, labels="project=spring", dry_run=True)
            assert outcomes(result) == {"one": "would", "two": "would", "three": "would"}
            assert result["done"] == 0
        assert not house.world.engine.events
        assert house.world.service.phases() == {"Running": 4, "Failed": 1}

    House().play(scenario)


def test_more_than_the_limit_is_told_as_remaining():
    async def scenario(house: House) -> None:
        await filled(house)
        result = await bulk(house, "suspend", everything=True, limit=1)
        assert outcomes(result) == {"four": "done"}, "the newest goes first"
        assert (result["matched"], result["remaining"]) == (4, 3)

    House().play(scenario)


@pytest.mark.parametrize(
    ("operation", "wish", "done"),
    [
        ("delete", {"labels": "project in (spring, autumn)"}, {"one", "two", "three", "four"}),
        ("delete", {"labels": "workflows.argoproj.io/phase=Failed"}, {"three"}),
        ("retry", {"labels": "workflows.argoproj.io/phase=Failed"}, {"three"}),
        ("terminate", {"labels": "project=autumn"}, {"four"}),
        ("resume", {"name_filter": "Prefix", "fields": "metadata.name=t"}, {"two"}),
        ("resubmit", {"labels": "project=autumn"}, {"four"}),
    ],
)
def test_every_operation_reaches_what_its_selector_names(operation: str, wish: dict[str, Any], done: set[str]):
    async def scenario(house: House) -> None:
        await filled(house)
        result = await bulk(house, operation, **wish)
        assert {name for name, outcome in outcomes(result).items() if outcome == "done"} == done
        if operation == "resubmit":
            made = result["items"][0]["made"]
            assert made.startswith("four-")
            found = (await house.ask("viewer", "GET", f"/api/v1/workflows/{HERE}/{made}")).json()
            assert found["metadata"]["labels"]["workflows.argoproj.io/resubmitted-from-workflow"] == "four"
        if operation == "delete":
            assert {row.name for row in house.world.service.known_runs.newest("")} == {
                "one",
                "two",
                "three",
                "four",
                "five",
            } - done

    House().play(scenario)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({}, "say which workflows"),
        ({"everything": True, "limit": 0}, "limit must be from 1"),
        ({"everything": True, "limit": MAX_AT_ONCE + 1}, "limit must be from 1"),
        ({"labels": "a in ("}, "selector"),
        ({"lables": "a=b"}, "lables"),
        ({"labels": 3}, "expected form"),
    ],
)
def test_a_wish_that_cannot_be_understood_is_refused_and_nothing_is_done(wish: dict[str, Any], words: str):
    async def scenario(house: House) -> None:
        await filled(house)
        answer = await house.ask("operator", "POST", f"/api/jit/v1/bulk/{HERE}/delete", json=wish)
        assert answer.status_code == 400
        assert words in answer.json()["message"]
        assert sum(house.world.service.phases().values()) == 5

    House().play(scenario)


def test_viewers_may_not_even_try():
    async def scenario(house: House) -> None:
        await filled(house)
        for operation in Operation:
            answer = await house.ask(
                "viewer", "POST", f"/api/jit/v1/bulk/{HERE}/{operation}", json={"everything": True, "dry_run": True}
            )
            assert answer.status_code == 403
        assert (await house.ask("operator", "POST", f"/api/jit/v1/bulk/{HERE}/fly", json={"everything": True})).status_code == 404

    House().play(scenario)
