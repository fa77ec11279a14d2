"""Every route without, with a wrong, an expired, a viewer's and another namespace's token; and what namespaces hide."""

import asyncio
import re
from typing import Any

import msgspec
import pytest
from tests.security.access_kit import ALL, HERE, MANIFEST, THERE, House, Role

from jitflow.access import LOWEST, NEEDS, OPEN, Need, Permission, Where, need_of
from jitflow.access.audit import AuditQuery
from jitflow.model.objects import Secret

pytestmark = pytest.mark.pure

_HTTP_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"}


def filled(path: str, namespace: str, kind: str = "ConfigMap") -> str:
    """Return a path of the router with values for its parameters."""
    if path.startswith("/artifact-files"):
        kind = "workflows"
    values = {"namespace": namespace, "kind": kind, "rest:path": "x", "path:path": "x", "side": "outputs"}
    return re.sub(r"\{([\w:]+)\}", lambda found: values.get(found[1], "x"), path)


def allowed(need: Need, key: str) -> bool:
    """Return by hand whether a caller may call a route in the namespace `team-a`."""
    role = key.removesuffix("-of-all")
    if role == "elsewhere":
        return need.where is Where.SOMEWHERE
    ranks = ["viewer", "operator", "admin"]
    enough = ranks.index(role) >= ranks.index(LOWEST[need.permission])
    return enough and (key.endswith("-of-all") or need.where is not Where.EVERYWHERE)


def test_every_route_is_in_the_table_and_the_table_names_no_other():
    house = House()
    house.close()
    served = {("GET" if method == "HEAD" else method, path) for method, path in house.routes() if path not in OPEN}
    assert {need_of(*route) for route in served} <= set(NEEDS.values())
    assert served == set(NEEDS), "a route that is gone must leave the table too"


@pytest.mark.parametrize("key", ["", "wrong", "expired", "own "])
def test_no_route_answers_nobody(key: str):
    async def scenario(house: House) -> None:
        await house.world.clock.sleep(2.0)
        count = 0
        for method, path in house.routes():
            if path in OPEN:
                continue
            answer = await house.ask(key, method, filled(path, HERE))
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            count += 1
        assert count > 90

    House().play(scenario)


@pytest.mark.parametrize("key", ["viewer", "operator", "admin", "elsewhere", "viewer-of-all", "operator-of-all", "admin-of-all"])
def test_every_route_asks_for_what_the_table_says(key: str):
    async def scenario(house: House) -> None:
        for method, path in house.routes():
            if path in OPEN:
                continue
            # A watch ends by itself only where it is told when.
            answer = await house.ask(key, method, filled(path, HERE), params={"listOptions.timeoutSeconds": "0"})
            may = allowed(need_of(method, path), key)
            if may and need_of(method, path).where is not Where.SOMEWHERE:
                assert answer.status_code not in {401, 403}, (method, path, answer.text)
            elif not may:
                assert answer.status_code == 403, (method, path, answer.text)
                if method != "HEAD":
                    assert answer.json()["code"] == 7

    House().play(scenario)


def test_events_are_taken_of_workflows_in_namespaces_where_their_sender_may_send_them():
    def event(namespace: str) -> dict[str, Any]:
        return {"type": "DELETE", "body": {"metadata": {"name": "w", "namespace": namespace, "uid": "u"}, "spec": {}}}

    async def scenario(house: House) -> None:
        for path in ("/events/argo", "/workflow/event"):
            assert (await house.ask("operator", "POST", path, json=event(HERE))).status_code == 200
            for key, namespace in (("operator", THERE), ("elsewhere", HERE), ("viewer", HERE), ("operator", "")):
                answer = await house.ask(key, "POST", path, json=event(namespace))
                assert answer.status_code == (403 if namespace else 400), (key, namespace, answer.text)
        noted = [one for one in house.audit.read(AuditQuery()) if one.path == "/events/argo"]
        assert {(one.namespace, one.name, one.status) for one in noted} >= {(HERE, "w", 200), (THERE, "w", 403)}
        listed = await house.ask("operator", "GET", "/api/jit/v1/foreign-workflows/")
        assert [one["namespace"] for one in listed.json()["items"]] == [HERE]
        assert (await house.ask("elsewhere", "GET", "/api/jit/v1/foreign-workflows/")).json()["items"] == []

    House().play(scenario)


def test_a_secret_needs_more_than_other_objects():
    async def scenario(house: House) -> None:
        secret = Secret(metadata=None, string_data={"password": "x"})
        body = {**msgspec.to_builtins(secret), "metadata": {"name": "s"}, "kind": "Secret"}
        path = f"/api/jit/v1/objects/{HERE}/Secret"
        assert (await house.ask("viewer", "GET", path)).status_code == 403
        assert (await house.ask("viewer", "GET", path + "/s")).status_code == 403
        assert (await house.ask("viewer", "POST", path, json=body)).status_code == 403
        assert (await house.ask("operator", "POST", path, json=body)).status_code == 200
        assert (await house.ask("operator", "GET", path + "/s")).json()["data"] == {"password": ""}

    House().play(scenario)


def test_cluster_templates_are_for_all_to_read_and_for_operators_of_all_to_write():
    async def scenario(house: House) -> None:
        body = {"kind": "ClusterWorkflowTemplate", "metadata": {"name": "t"}, "spec": MANIFEST["spec"]}
        for path in (f"/api/jit/v1/objects/{HERE}/ClusterWorkflowTemplate", "/api/v1/cluster-workflow-templates"):
            sent: Any = body if "objects" in path else {"template": body}
            assert (await house.ask("admin", "POST", path, json=sent)).status_code == 403
        assert (
            await house.ask("operator-of-all", "POST", "/api/v1/cluster-workflow-templates", json={"template": body})
        ).is_success
        assert (await house.ask("viewer", "GET", "/api/v1/cluster-workflow-templates/t")).status_code == 200

    House().play(scenario)


def test_lists_over_all_namespaces_show_what_may_be_seen():
    async def scenario(house: House) -> None:
        for namespace in (HERE, THERE):
            for path, body in (
                (f"/api/v1/workflows/{namespace}", {"workflow": MANIFEST}),
                (f"/api/v1/workflow-templates/{namespace}", {"template": {"metadata": {"name": "t"}, "spec": MANIFEST["spec"]}}),
            ):
                assert (await house.ask("own", "POST", path, json=body)).status_code == 200
        for path in ("/api/v1/workflows/", "/api/v1/workflow-templates/"):
            for key, seen in (("viewer", {HERE}), ("elsewhere", {THERE}), ("viewer-of-all", {HERE, THERE})):
                items = (await house.ask(key, "GET", path)).json()["items"]
                assert {item["metadata"]["namespace"] for item in items} == seen, (path, key)

    House().play(scenario)


@pytest.mark.parametrize("path", ["/api/v1/workflow-events/", "/api/jit/v1/workflow-deltas/"])
def test_watches_over_all_namespaces_tell_what_may_be_seen(path: str):
    async def scenario(house: House) -> None:
        params = {"listOptions.timeoutSeconds": "1"}
        watching = [
            asyncio.get_running_loop().create_task(house.ask(key, "GET", path, params=params)) for key in ("viewer", "own")
        ]
        await asyncio.sleep(0.05)
        for namespace in (HERE, THERE):
            workflow = {**MANIFEST, "metadata": {"name": f"in-{namespace}"}}
            await house.ask("own", "POST", f"/api/v1/workflows/{namespace}", json={"workflow": workflow})
        one, all_of_them = [(await watch).text for watch in watching]
        assert (f"in-{HERE}" in one, f"in-{THERE}" in one) == (True, False)
        assert (f"in-{HERE}" in all_of_them, f"in-{THERE}" in all_of_them) == (True, True)

    House().play(scenario)


def test_the_archive_shows_and_gives_what_may_be_seen():
    async def scenario(house: House) -> None:
        house.world.engine.keeps_archive = True
        uids: dict[str, str] = {}
        for namespace in (HERE, THERE):
            body = {"workflow": {**MANIFEST, "metadata": {"name": "one", "labels": {namespace: namespace}}}}
            made = await house.ask("own", "POST", f"/api/v1/workflows/{namespace}", json=body)
            uids[namespace] = made.json()["metadata"]["uid"]
            await house.world.engine.move(uids[namespace], "Failed")
            await house.ask("own", "DELETE", f"/api/v1/workflows/{namespace}/one")
        base = "/api/v1/archived-workflows"
        listed = (await house.ask("viewer", "GET", base)).json()["items"]
        assert [one["metadata"]["namespace"] for one in listed] == [HERE]
        keys = (await house.ask("viewer", "GET", f"{base}-label-keys")).json()["items"]
        assert (HERE in keys, THERE in keys) == (True, False)
        assert (await house.ask("viewer", "GET", f"{base}-label-values?listOptions.labelSelector={THERE}")).json() == {}
        for path in (f"{base}?namespace={THERE}", f"{base}/?namespace={THERE}&name=one", f"{base}/{uids[THERE]}"):
            assert (await house.ask("admin", "GET", path)).status_code == 403
        for method, path in (("PUT", "/retry"), ("PUT", "/resubmit"), ("DELETE", "")):
            assert (await house.ask("admin", method, f"{base}/{uids[THERE]}{path}", json={})).status_code == 403
            assert (await house.ask("viewer", method, f"{base}/{uids[HERE]}{path}", json={})).status_code == 403
        assert (await house.ask("viewer", "GET", f"{base}/{uids[HERE]}")).status_code == 200
        assert (await house.ask("operator", "PUT", f"{base}/{uids[HERE]}/retry", json={})).status_code == 200

    House().play(scenario)


def test_a_manifest_cannot_look_into_another_namespace():
    async def scenario(house: House) -> None:
        template = {"metadata": {"name": "hidden"}, "spec": MANIFEST["spec"]}
        await house.ask("own", "POST", f"/api/v1/workflow-templates/{THERE}", json={"template": template})
        spying = {"metadata": {"name": "spy", "namespace": THERE}, "spec": {"workflowTemplateRef": {"name": "hidden"}}}
        lint = await house.ask("operator", "POST", f"/api/v1/workflows/{HERE}/lint", json={"workflow": spying})
        assert (lint.status_code, "not found" in lint.text) == (400, True), lint.text
        explain = await house.ask("operator", "POST", "/api/jit/v1/explain", json={"workflow": spying})
        assert explain.status_code == 403, explain.text
        wrong = await house.ask("operator", "POST", f"/api/jit/v1/explain?namespace={HERE}", json={"workflow": spying})
        assert wrong.status_code == 400, wrong.text

    House().play(scenario)


def test_scopes_narrow_a_token():
    async def scenario(house: House) -> None:
        await house.key("events", {HERE: Role.OPERATOR}, scopes=("events",))
        house.keys["events"] = await house.key("sender", {HERE: Role.OPERATOR}, scopes=("events.send", "workflows.read"))
        assert (await house.ask("events", "POST", f"/api/v1/events/{HERE}/d", json={})).status_code == 200
        assert (await house.ask("events", "GET", f"/api/v1/workflows/{HERE}")).status_code == 200
        assert (await house.ask("events", "POST", f"/api/v1/workflows/{HERE}", json={"workflow": MANIFEST})).status_code == 403
        assert (await house.ask("events", "GET", "/api/jit/v1/whoami")).json()["scopes"] == ["events.send", "workflows.read"]

    House().play(scenario)


def test_userinfo_tells_who_one_is():
    async def scenario(house: House) -> None:
        found = (await house.ask("operator", "GET", "/api/v1/userinfo")).json()
        assert (found["subject"], found["groups"]) == ("operator", [f"operator@{HERE}"])
        assert (await house.ask("own", "GET", "/api/v1/userinfo")).json()["groups"] == [f"admin@{ALL}"]

    House().play(scenario)


def test_permissions_all_have_a_lowest_role_and_are_used():
    assert set(LOWEST) == set(Permission)


def test_methods_of_the_table_are_those_of_http():
    assert {method for method, _ in NEEDS} <= _HTTP_METHODS
