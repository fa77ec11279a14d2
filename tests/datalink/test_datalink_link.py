"""The link under stress: ends that go and come, commands sent twice, strangers, secrets, what waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from link_worlds import LINK, DataHost, LinkServer, hosts, linked_world, plane_to, seed_of

from jitflow.datalink import Channel, LinkedDataPlane, LinkedView
from jitflow.datalink.channel import SessionEnded, checked
from jitflow.datalink.mirror import Mirror
from jitflow.model.data import FutureInput, FutureStep, ObjectRef
from jitflow.model.origins import Origin, SecretRef
from jitflow.model.problems import Refused
from jitflow.ports import datalink as link
from jitflow.ports.dataplane import DataEvent, Lease, StagedOut, Waiting
from jitflow.ports.errors import AccessRefused, Unreachable
from jitflow.storage.credentials import SentCredentials
from jitflow.testing.dataplane_contract import DataPlaneWorld
from jitflow.testing.memory_store import MemoryStore
from jitflow.testing.slow_link import SlowLink


def a_step(name: str, *reads: str) -> FutureStep:
    return FutureStep(
        id=f"w/{name}", inputs=tuple(FutureInput(ref=ObjectRef(remote="far", path=f"data/{one}")) for one in reads), template="t"
    )


@asynccontextmanager
async def servers(tmp: Path) -> AsyncIterator[tuple[DataHost, LinkServer]]:
    async with hosts(tmp) as host:
        server = LinkServer(host)
        await server.start()
        try:
            yield host, server
        finally:
            await server.stop()


def playing(tmp_path: Path, story: Callable[[DataHost, LinkServer], Awaitable[None]]) -> None:
    async def play() -> None:
        async with servers(tmp_path) as (host, server):
            await story(host, server)

    asyncio.run(play())


async def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    loop = asyncio.get_running_loop()
    limit = loop.time() + within_s
    while not holds():
        assert loop.time() < limit, "it never happened"
        await asyncio.sleep(0.005)


def leases(events: list[DataEvent], step: FutureStep) -> list[Lease]:
    return [one for one in events if isinstance(one, Lease) and one.step == step.id]


def test_a_data_side_that_is_started_anew_is_told_everything_again(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        await seed_of(tmp_path, {"a": b"alpha", "b": b"beta"})
        events: list[DataEvent] = []
        plane = plane_to(server, MemoryStore(), tmp_path)
        await plane.open(events.append)
        plane.belongs("w", "team")
        runs, later = a_step("runs", "a"), a_step("later", "b")
        plane.announce("w", [runs, later])
        plane.acquire("w", runs)
        await until(lambda: leases(events, runs))
        await server.kill()
        plane.acquire("w", later)
        await until(lambda: [one for one in events if isinstance(one, Waiting) and one.step == later.id])
        assert (await LinkedView(plane).standing(later.id)).reason.startswith("waiting for data: the data service at")
        with pytest.raises(Refused, match="does not answer") as refusal:
            await plane.admit("v", [later])
        assert refusal.value.code == "unavailable"
        await server.start()
        await until(lambda: leases(events, later))
        assert host.plane is not None
        await until(lambda: len(leases(events, runs)) == 2)
        assert leases(events, runs)[0] == leases(events, runs)[1]
        assert host.plane.fill().pinned_bytes == 9
        assert set(host.plane.workflows()) == {"w"}
        plane.release(runs.id, ())
        plane.release(later.id, ())
        await plane.session.settled()
        assert host.plane.fill().pinned_bytes == 0
        await plane.close()

    playing(tmp_path, story)


def test_outputs_said_while_the_data_side_is_away_are_sent(tmp_path: Path) -> None:
    async def play() -> None:
        async with linked_world(tmp_path) as world:
            await _outputs_while_away(world)

    asyncio.run(play())


async def _outputs_while_away(world: DataPlaneWorld) -> None:
    await world.seed({"a": b"alpha"})
    step = world.step("one", "a", writes=("out",))
    world.plane.belongs("w", "team")
    world.plane.acquire("w", step)
    await world.leased(step)
    plane = world.plane
    assert isinstance(plane, LinkedDataPlane)
    plane.session._id = "gone"  # as if the data side had forgotten the session
    plane.release(step.id, [world.output("out", b"made")])
    told = await world.event(StagedOut, step)
    assert told == StagedOut(step=step.id)
    assert world.held()["out"] == b"made"
    plane.withdraw("w")
    await world.until(lambda: not plane.session.away)
    await plane.session.settled()


def test_a_link_that_is_cut_loses_and_repeats_nothing(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        count = 20  # as many steps are given their leases ahead of those that run
        await seed_of(tmp_path, {f"f{number}": b"x" for number in range(count)})
        events: list[DataEvent] = []
        async with SlowLink("127.0.0.1", server.port, rtt_s=0.002) as slow:
            plane = plane_to(server, MemoryStore(), tmp_path)
            plane.session._channel.url = slow.url.rstrip("/")
            await plane.open(events.append)
            session = plane.session.id
            steps = [a_step(f"s{number}", f"f{number}") for number in range(count)]
            for number, step in enumerate(steps):
                plane.acquire("w", step)
                if number % 5 == 3:
                    slow.cut()
                    await asyncio.sleep(0.05)
            await until(lambda: all(leases(events, step) for step in steps))
            for step in steps:
                plane.release(step.id, ())
            slow.cut()
            await until(lambda: not plane.session.away)
            await plane.session.settled()
            assert plane.session.id == session, "a cut is no reason to begin anew"
            assert host.plane is not None
            assert host.plane.fill().pinned_bytes == 0
            transfers, _ = await host.plane.timeline()
            assert len(transfers) == count
            assert all(len(leases(events, step)) == 1 for step in steps)
            await plane.close()

    playing(tmp_path, story)


def test_commands_take_effect_once_and_in_order(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        (tmp_path / "pods" / "probe").write_text("mark")
        assert server.link is not None
        assert host.plane is not None
        channel = Channel(f"http://127.0.0.1:{server.port}", lambda: LINK)
        wish = link.Join(control="me", host="here", probe=str(tmp_path / "pods" / "probe"), mark="mark")
        joined: link.Joined = await channel.post("/sessions", wish, link.Joined)
        path = f"/sessions/{joined.session}/commands"
        batch = link.Batch(first=1, commands=(link.Belongs(uid="a", namespace="n"), link.Withdraw(uid="a")))
        for _ in range(2):
            assert (await channel.post(path, batch, link.Taken)).last == 2
        more = link.Batch(first=2, commands=(link.Withdraw(uid="a"), link.Belongs(uid="b", namespace="n")))
        assert (await channel.post(path, more, link.Taken)).last == 3
        assert set(host.plane.workflows()) == {"b"}
        with pytest.raises(Refused, match="command 4 is missing"):
            await channel.post(path, link.Batch(first=5, commands=()), link.Taken)
        with pytest.raises(SessionEnded):
            await channel.post("/sessions/another/commands", batch, link.Taken)
        await channel.close()

    playing(tmp_path, story)


def test_strangers_wrong_tokens_and_other_disks_are_refused(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        del host
        wrong = plane_to(server, MemoryStore(), tmp_path, token="wrong" * 8)
        await wrong.open(lambda _: None)
        assert "does not take the token" in wrong.session.away
        with pytest.raises(Unreachable, match="does not take the token"):
            await wrong.ready()
        await wrong.close()
        plane = plane_to(server, MemoryStore(), tmp_path)
        await plane.open(lambda _: None)
        assert not plane.session.away
        other = plane_to(server, MemoryStore(), tmp_path, control="two")
        await other.open(lambda _: None)
        assert "another control service, on here, uses this data service" in other.session.away
        await other.close()
        await plane.close()
        away = Channel(f"http://127.0.0.1:{server.port}", lambda: LINK)
        wish = link.Join(control="one", host="here", probe="/nowhere/probe", mark="mark")
        with pytest.raises(Refused, match="does not see the control service's file /nowhere/probe"):
            await away.post("/sessions", wish, link.Joined)
        await away.close()

    playing(tmp_path, story)


def test_secrets_come_with_their_stores_and_again_when_they_change(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        del host
        secret = ["first"]
        origin = Origin(kind="s3", label="x", secrets={"secret_access_key": SecretRef(namespace="n", name="s", key="k")})
        plane = plane_to(server, MemoryStore(), tmp_path)
        plane._resolve = lambda one: link.Known(origin=one, options={"secret_access_key": secret[0]})
        await plane.open(lambda _: None)
        for _ in range(2):
            plane.notice(origin)
        secret[0] = "second"
        plane.secrets_changed()
        plane.secrets_changed()
        await plane.session.settled()
        assert [one.options["secret_access_key"] for one in server.known] == ["first", "second"]
        await plane.close()

    playing(tmp_path, story)
    credentials = SentCredentials()
    origin = Origin(kind="s3", label="x", secrets={"key": SecretRef(namespace="n", name="s", key="k")})
    with pytest.raises(Unreachable, match="control service"):
        credentials.options(origin)
    credentials.take(origin.name, {}, "secret not found")
    with pytest.raises(AccessRefused, match="secret not found"):
        credentials.options(origin)
    assert SentCredentials().options(Origin(kind="s3", label="x", options={"a": "b"})) == {"a": "b"}


def test_remotes_are_told_and_remembered(tmp_path: Path) -> None:
    async def story(host: DataHost, server: LinkServer) -> None:
        del host
        store = MemoryStore()
        plane = plane_to(server, store, tmp_path)
        await plane.open(lambda _: None)
        assert set(plane.remotes) == {"far"}
        server.remotes.append(link.RemoteSaid(name="new", type="s3", endpoints=("s3:9000",)))
        assert server.link is not None
        server.link.remotes_changed()
        await until(lambda: set(plane.remotes) == {"far", "new"})
        await plane.close()
        later = plane_to(server, store, tmp_path)
        hidden: list[Path] = []
        later.on_hidden = hidden.extend
        await later.load()
        assert set(later.remotes) == {"far"}
        assert hidden == [tmp_path / "hidden"]
        await later.close()

    playing(tmp_path, story)


def test_what_holds_is_what_was_said_and_not_done_with() -> None:
    mirror = Mirror()
    first, second = a_step("one", "a"), a_step("two", "b")
    belongs = link.Belongs(uid="w", namespace="n")
    announced = link.Announce(uid="w", steps=(second,))
    for command in (belongs, link.Announce(uid="w", steps=(first, second)), announced):
        mirror.note(command)
    asked = link.Acquire(uid="w", step=second)
    freed = link.Release(step=first.id)
    for command in (link.Acquire(uid="w", step=first), asked, freed):
        mirror.note(command)
    assert mirror.replay() == [belongs, announced, freed, asked]
    assert mirror.waiting() == [second.id]
    mirror.done([freed])
    assert mirror.replay() == [belongs, announced, asked]
    withdrawn, again = link.Withdraw(uid="w"), link.Belongs(uid="w", namespace="n")
    mirror.note(withdrawn)
    mirror.note(again)
    assert mirror.replay() == [withdrawn, again]
    mirror.done([withdrawn])
    assert mirror.replay() == [again]
    mirror.note(link.Withdraw(uid="w", good=False))
    mirror.done([link.Withdraw(uid="w", good=False)])
    assert mirror.replay() == []


@pytest.mark.parametrize("url", ["", "data:2746", "ftp://host", "https://user:pass@host", "https://host/?a=b"])
def test_addresses_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ValueError, match="no address of a data service"):
        checked(url)


def test_the_data_side_knows_whom_it_serves_and_of_which_traces_its_workflows_are(tmp_path: Path) -> None:
    async def story(_: DataHost, server: LinkServer) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        store = MemoryStore()
        await store.put(link.DOCUMENTS, [(link.JOINED, b"?")])  # what is damaged is told anew
        plane = plane_to(server, store, tmp_path)
        await plane.load()
        await plane.open(lambda _: None)
        plane.belongs("w", "team", trace)
        await plane.session.settled()
        assert server.served == [link.Served(control="one", host="here")]
        assert server.traced == [("w", trace)]
        assert list(plane.remotes) == ["far"]
        await server.kill()
        await server.start()
        await until(lambda: len(server.traced) == 2)
        assert server.traced[1] == ("w", trace), "it is said again with all that holds"
        again = plane_to(server, store, tmp_path)
        await again.load()
        assert list(again.remotes) == ["far"], "known before the data side is there"
        await plane.close()

    playing(tmp_path, story)


def test_the_data_sides_key_is_changed_over_the_link_or_nothing_is(tmp_path: Path) -> None:
    async def story(_: DataHost, server: LinkServer) -> None:
        plane = plane_to(server, MemoryStore(), tmp_path)
        await plane.open(lambda _: None)
        assert await plane.rotate_key() == link.Resealed(resealed=2, old_key_removed=True)
        server.refusal = "the key is in the environment variable K"
        with pytest.raises(Refused, match="the data service keeps its key: the key is in the environment variable K"):
            await plane.rotate_key()
        await server.kill()
        plane._patience_s = 0.1
        with pytest.raises(Refused, match=r"the data service keeps its key: .*does not answer") as refusal:
            await plane.rotate_key()
        assert refusal.value.code == "unavailable"
        await server.start()
        await plane.close()

    playing(tmp_path, story)
