"""What is sent to lead somewhere else, or to make the server burst: names, keys, headers, bombs of YAML and JSON."""

import time
from urllib.parse import quote

import pytest
from tests.security.access_kit import HERE, MANIFEST, House

pytestmark = pytest.mark.pure

CLIMBING = ["..", "../x", "../../etc/passwd", "a/../../x", "/etc/passwd", "a\0b", "a\nb", "..\\x", "%2e%2e"]
FILES = "/artifact-files/{namespace}/workflows/one/one/outputs/{artifact}"


@pytest.mark.parametrize("name", CLIMBING)
def test_names_lead_nowhere_else(name: str):
    async def scenario(house: House) -> None:
        await house.ask("own", "POST", f"/api/v1/workflows/{HERE}", json={"workflow": MANIFEST})
        coded = quote(name, safe="")
        for path in (
            f"/api/v1/workflows/{HERE}/{coded}",
            f"/api/v1/workflows/{coded}",
            f"/api/jit/v1/objects/{HERE}/ConfigMap/{coded}",
            f"/api/v1/workflow-templates/{HERE}/{coded}",
            FILES.format(namespace=HERE, artifact=coded),
            FILES.format(namespace=HERE, artifact="main") + f"/{coded}",
            f"/artifacts/{HERE}/one/one/{coded}",
        ):
            answer = await house.ask("own", "GET", path)
            assert answer.status_code in {200, 400, 404, 500}, (path, answer.text)
            assert "root:" not in answer.text
            if answer.status_code == 200:
                assert answer.json()["items"] is None, path
        for kind, body in (("ConfigMap", {"data": {"a": "b"}}), ("Secret", {"stringData": {"a": "b"}})):
            sent = {"kind": kind, "metadata": {"name": name}, **body}
            answer = await house.ask("own", "POST", f"/api/jit/v1/objects/{HERE}/{kind}", json=sent)
            assert answer.status_code == 400, answer.text
        sent = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {name: "b"}}
        answer = await house.ask("own", "POST", f"/api/jit/v1/objects/{HERE}/Secret", json=sent)
        assert answer.status_code == 400 or name == "..\\x", answer.text
        workflow = {**MANIFEST, "metadata": {"name": name}}
        assert (await house.ask("own", "POST", f"/api/v1/workflows/{HERE}", json={"workflow": workflow})).status_code == 400

    House().play(scenario)


@pytest.mark.parametrize("ref", ["far:../x", "far:a/../../x", "far:/etc/passwd/../..", "../x:y", "far:a\0b"])
def test_references_lead_out_of_no_store(ref: str):
    async def scenario(house: House) -> None:
        for path in ("/data/v1/stat", "/data/v1/objects"):
            answer = await house.ask("own", "GET", path, params={"ref": ref})
            assert answer.status_code in {400, 404}, answer.text
        for action in ("stage", "pin", "unpin", "evict"):
            answer = await house.ask("own", "POST", f"/data/v1/primary/{action}", json={"ref": ref})
            assert answer.status_code in {400, 404}, answer.text

    House().play(scenario)


LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
BOMBS = {
    "aliases": LAUGHS,
    "deep lists": "[" * 100_000,
    "deep maps": "{a: " * 50_000,
    "deep JSON": '{"a":' * 100_000,
    "loop": "a: &a [*a]\n",
    "python": "!!python/object/apply:os.system ['true']\n",
    "number": "a: " + "9" * 500_000 + "\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_at_once(bomb: str):
    async def scenario(house: House) -> None:
        for path in (f"/api/v1/workflows/{HERE}", f"/api/v1/workflows/{HERE}/lint", f"/api/jit/v1/objects/{HERE}/ConfigMap"):
            for media in ("application/yaml", "application/json"):
                began = time.process_time()
                answer = await house.ask("own", "POST", path, content=BOMBS[bomb], headers={"content-type": media})
                assert answer.status_code == 400, (path, media, answer.text[:300])
                assert len(answer.text) < 50_000
                assert time.process_time() - began < 5

    House().play(scenario)


@pytest.mark.parametrize("name", ["a\r\nset-cookie: x=1", "a\nx-evil: 1", "a%0d%0ax-evil:1"])
def test_no_answer_has_headers_of_others(name: str):
    async def scenario(house: House) -> None:
        for path in (
            f"/api/v1/workflows/{HERE}/{quote(name, safe='')}",
            FILES.format(namespace=HERE, artifact=quote(name, safe="")),
            f"/api/v1/workflows/{HERE}?nameFilter={quote(name, safe='')}",
        ):
            answer = await house.ask("own", "GET", path)
            assert not {"set-cookie", "x-evil"} & set(answer.headers)
            assert all("\n" not in value and "\r" not in value for value in answer.headers.values())

    House().play(scenario)
