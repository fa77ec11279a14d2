"""Webhooks: what is told, signed, tried again, given up and replayed; and what survives a restart."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmark.service import Server
from tests.security.access_kit import HERE, THERE, House
from tests.security.receiver import Receiver, is_signed

from jitflow.app import letters as letters_module
from jitflow.app.outbox import DEAD, DOCUMENTS, Outbox
from jitflow.app.webhooks import Sent, Webhook, Webhooks
from jitflow.engine import Change
from jitflow.model.problems import Refused
from jitflow.model.webhooks import WebhookWish
from jitflow.ports.store import RunRow
from jitflow.testing.fake_engine import World

SECRET = "a-webhooks-secret"


class Post:
    """A sender that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[Sent | Exception] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def check(self, host: str) -> None:
        assert host

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Sent:
        await self.gate.wait()
        assert is_signed(dict(headers), body, SECRET)
        self.sent.append((url, json.loads(body)))
        answer = self.answers.pop(0) if self.answers else Sent(status=200)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("io.jitflow.") for _, event in self.sent]


class Office:
    """An outbox over a store, which can be killed and opened again."""

    def __init__(self) -> None:
        self.world = World()
        self.post = Post()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.outbox = self._made()
        self.sequence = 0

    def _made(self, fixed: tuple[Webhook, ...] = (), attempts: int = 3) -> Outbox:
        hooks = Webhooks(self.world.store, self.world.objects._sealer, fixed)
        return Outbox(hooks, self.world.store, self.post, self.world.clock, self._spawn, attempts=attempts)

    def _spawn(self, work: Any, _name: str) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    async def kill(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def open(self, *rows: RunRow) -> None:
        await self.outbox.webhooks.open()
        await self.outbox.open(rows)

    async def again(self, *rows: RunRow) -> None:
        await self.kill()
        self.outbox = self._made()
        await self.open(*rows)

    async def hook(self, name: str = "hook", **more: Any) -> None:
        await self.outbox.add(WebhookWish(name=name, url="https://receiver.example/", secret=SECRET, **more))

    def row(self, uid: str = "u", phase: str = "Running", *, namespace: str = HERE, **more: Any) -> RunRow:
        self.sequence += 1
        finished = 5.0 if phase in {"Succeeded", "Failed", "Error"} else None
        return RunRow(
            uid=uid, namespace=namespace, name=f"name-{uid}", phase=phase, created_at=1.0, started_at=2.0, finished_at=finished,
            sequence=self.sequence, **more,
        )  # fmt: skip

    def happens(self, row: RunRow) -> None:
        kind = "ADDED" if row.finished_at is None else "MODIFIED"
        self.outbox.hear(Change(kind=kind, row=row, ends=row.finished_at is not None))

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        """Move the clock, and wake who waits for it."""
        await self.world.clock.sleep(seconds)
        for event in self.outbox._woken.values():
            event.set()
        await self.settle()


def play(scenario: Callable[[Office], Awaitable[None]]) -> None:
    async def run() -> None:
        office = Office()
        try:
            await scenario(office)
        finally:
            await office.kill()

    asyncio.run(run())


def test_a_workflow_is_told_of_when_it_starts_and_ends() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.happens(office.row())
        office.happens(office.row(progress="1/2"))
        office.happens(office.row(phase="Failed", message="no", labels={"a": "b"}))
        await office.settle()
        assert office.post.types == ["workflow.started", "workflow.failed"]
        _, event = office.post.sent[1]
        assert event["specversion"] == "1.0"
        assert event["datacontenttype"] == "application/json"
        assert (event["source"], event["subject"]) == (f"/jitflow/namespaces/{HERE}/workflows", "name-u")
        assert event["time"] == "1970-01-01T00:00:05.000Z"
        assert {**event["data"], "message": "no", "phase": "Failed", "labels": {"a": "b"}} == event["data"]
        assert not [key for key, _ in await office.world.store.items(DOCUMENTS) if not key.startswith("@")]

    play(scenario)


def test_each_webhook_hears_what_it_asked_for() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook("all")
        await office.hook("here", namespace=HERE, events=("workflow.finished",))
        await office.hook("there", namespace=THERE)
        office.happens(office.row())
        office.happens(office.row(phase="Succeeded"))
        await office.settle()
        assert sorted(office.post.types) == ["workflow.finished", "workflow.finished", "workflow.started"]

    play(scenario)


def test_what_ran_before_a_webhook_was_made_did_not_start_after_it() -> None:
    async def scenario(office: Office) -> None:
        office.world.store.runs = lambda **_: _rows(office.row())  # pyright: ignore[reportAttributeAccessIssue]
        await office.open()
        await office.hook()
        office.happens(office.row(progress="1/2"))
        office.happens(office.row(phase="Succeeded"))
        await office.settle()
        assert office.post.types == ["workflow.finished"]

    async def _rows(*rows: RunRow) -> tuple[RunRow, ...]:
        return rows

    play(scenario)


def test_what_is_not_taken_is_tried_again_with_growing_pauses() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.answers = [Sent(status=500), OSError("refused")]
        office.happens(office.row())
        await office.settle()
        assert len(office.post.sent) == 1
        await office.later(0.5)
        assert len(office.post.sent) == 1
        await office.later(1.0)
        assert len(office.post.sent) == 2
        await office.later(1.2)
        assert len(office.post.sent) == 2, "the second pause is longer"
        await office.later(2.0)
        assert len(office.post.sent) == 3
        assert len({event["id"] for _, event in office.post.sent}) == 1
        assert office.outbox.failures("hook") == []

    play(scenario)


def test_pauses_have_a_limit() -> None:
    assert 0.75 <= letters_module.pause_after(1) <= 1.25
    assert letters_module.pause_after(1000) <= letters_module.LONGEST_PAUSE_S * 1.25


def test_the_receiver_may_ask_for_a_longer_pause() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.answers = [Sent(status=429, retry_after_s=60.0)]
        office.happens(office.row())
        await office.settle()
        await office.later(50.0)
        assert len(office.post.sent) == 1
        await office.later(11.0)
        assert len(office.post.sent) == 2

    play(scenario)


@pytest.mark.parametrize("answer", [Sent(status=503), Sent(status=302), OSError("refused"), Refused("a private address")])
def test_what_nobody_takes_is_kept_and_can_be_replayed(answer: Sent | Exception) -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.answers = [answer] * 3
        office.happens(office.row())
        await office.settle()
        for _ in range(3):
            await office.later(20.0)
        (letter,) = office.outbox.failures("hook")
        assert letter.attempts == 3
        assert letter.error
        assert len(office.post.sent) == 3
        await office.again(office.row())
        assert [one.id for one in office.outbox.failures("hook")] == [letter.id]
        with pytest.raises(Refused, match="no failed event"):
            await office.outbox.replay("hook", ["other"])
        assert await office.outbox.replay("hook") == 1
        await office.settle()
        assert len(office.post.sent) == 4
        assert not office.outbox.failures("hook")
        assert not await office.world.store.items(DEAD)

    play(scenario)


def test_a_receiver_that_is_gone_is_not_tried_again() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.answers = [Sent(status=410)]
        office.happens(office.row())
        await office.settle()
        assert len(office.outbox.failures("hook")) == 1

    play(scenario)


def test_a_restart_sends_what_was_not_taken() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.gate.clear()
        office.happens(office.row())
        await office.settle()
        assert not office.post.sent
        office.post.gate.set()
        await office.again(office.row())
        await office.settle()
        assert office.post.types == ["workflow.started"]

    play(scenario)


def test_what_was_not_written_down_is_noticed_after_a_restart() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.happens(office.row("a"))
        await office.settle()
        await office.kill()  # in this moment `a` ends and `b` starts: the engine has committed it, nobody was told
        rows = office.row("a", phase="Succeeded"), office.row("b")
        await office.again(*rows)
        await office.settle()
        assert office.post.types == ["workflow.started", "workflow.finished", "workflow.started"]
        await office.again(*rows)
        await office.settle()
        assert len(office.post.sent) == 3, "and told only once"

    play(scenario)


def test_the_engine_never_waits() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.gate.clear()
        for number in range(500):
            office.happens(office.row(f"u{number}"))
        await office.settle()
        assert not office.post.sent
        office.post.gate.set()
        for _ in range(100):
            await office.settle()
        assert len(office.post.sent) == 500

    play(scenario)


def test_a_removed_webhook_is_told_nothing_more() -> None:
    async def scenario(office: Office) -> None:
        await office.open()
        await office.hook()
        office.post.gate.clear()
        office.happens(office.row("a"))
        office.happens(office.row("b"))
        await office.settle()
        await office.outbox.remove("hook")
        office.post.gate.set()
        await office.settle()
        assert len(office.post.sent) <= 1, "one was on its way"
        assert not [key for key, _ in await office.world.store.items(DOCUMENTS) if not key.startswith("@")]

    play(scenario)


WISH = {"name": "hook", "url": "https://receiver.example/x", "namespace": HERE}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "../x"}, "no name"),
        ({"url": "file:///etc/passwd"}, "no URL"),
        ({"url": "gopher://x/"}, "no URL"),
        ({"url": "https://"}, "no URL"),
        ({"url": "https://a b/"}, "no URL"),
        ({"url": "https://host/\r\nx: y"}, "no URL"),
        ({"url": "https://host:99999/"}, "no URL"),
        ({"url": "https://user:password@host/"}, "user or password"),
        ({"url": "http://127.0.0.1:8080/x"}, "private address"),
        ({"url": "http://localhost/x"}, "private address"),
        ({"url": "http://0x7f.1/x"}, "private address"),
        ({"url": "http://[::ffff:10.0.0.1]/x"}, "private_hosts"),
        ({"url": "http://169.254.169.254/x"}, "link-local"),
        ({"namespace": "A/B"}, "namespace"),
        ({"events": ["workflow.born"]}, "no events"),
        ({"source": "settings"}, "source"),
    ],
)
def test_webhooks_that_cannot_be(change: dict[str, Any], words: str) -> None:
    async def scenario(house: House) -> None:
        answer = await house.ask("own", "POST", "/api/jit/v1/webhooks", json={**WISH, **change})
        assert (answer.status_code, words in answer.text) == (400, True), answer.text

    House().play(scenario)


def test_administrators_manage_webhooks_of_their_namespaces() -> None:
    async def scenario(house: House) -> None:
        path = "/api/jit/v1/webhooks"
        assert (await house.ask("operator", "POST", path, json=WISH)).status_code == 403
        assert (await house.ask("elsewhere", "POST", path, json=WISH)).status_code == 403
        assert (await house.ask("admin", "POST", path, json={**WISH, "namespace": "*"})).status_code == 403
        made = await house.ask("admin", "POST", path, json=WISH)
        assert made.status_code == 200, made.text
        secret = made.json()["secret"]
        assert len(secret) >= 32
        for key, count in (("admin", 1), ("elsewhere", 0), ("own", 1)):
            listed = await house.ask(key, "GET", path)
            assert (len(listed.json()["items"]), secret in listed.text) == (count, False)
        for method, below in (("GET", ""), ("DELETE", ""), ("GET", "/failures"), ("POST", "/replay")):
            assert (await house.ask("elsewhere", method, f"{path}/hook{below}")).status_code == 404
        assert (await house.ask("admin", "GET", f"{path}/hook/failures")).json() == {"items": []}
        assert (await house.ask("admin", "POST", f"{path}/hook/replay")).json() == {"replayed": 0}
        assert (await house.ask("own", "POST", path, json=WISH)).status_code == 409
        assert (await house.ask("admin", "DELETE", f"{path}/hook")).status_code == 200
        stored = [body for _, body in await house.world.store.items("webhook")]
        assert not stored

    House().play(scenario)


MANIFEST = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: told-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: one, template: say}]]
  - name: say
    container: {image: busybox, command: [sh, -c, "exit 3"]}
"""


def test_a_real_server_tells_a_real_receiver_even_if_it_is_killed(tmp_path: Path) -> None:
    with Receiver() as receiver:
        hook = {
            "url": receiver.url,
            "secret": SECRET,
            "events": ["workflow.started", "workflow.failed", "node.started", "node.failed"],
        }
        settings = {"executor": "process", "events": {"private_hosts": ["127.0.0.1"], "webhooks": {"test": hook}}}
        server = Server(tmp_path / "home", settings)
        with server:
            receiver.status = 500
            answer = server.post_text("/api/v1/workflows/default", MANIFEST)
            assert answer.status_code == 200, answer.text
            receiver.wait(lambda: "workflow.failed" in receiver.types)
            server.kill()
            receiver.got.clear()
            receiver.status = 204
            server.start()
            receiver.wait(lambda: {"workflow.started", "workflow.failed", "node.started", "node.failed"} <= set(receiver.types))
            assert all(is_signed(headers, body, SECRET) for headers, body in receiver.got)
            assert {headers["content-type"] for headers, _ in receiver.got} == {"application/cloudevents+json; charset=utf-8"}
            ids = [event["id"] for event in receiver.events]
            assert len(ids) == len(set(ids))
            assert SECRET.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "home").glob("state.db*"))
            assert SECRET not in server.log.read_text()
