"""What servers that share a state may rely on. A store proves itself by inheriting `ServersContract`."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from jitflow.ports.errors import Broken
from jitflow.ports.servers import LEASE_S, Member, Servers
from jitflow.ports.store import Commit, StateStore
from jitflow.stores import Lease
from jitflow.testing.store_contract import a_commit, a_row

Scenario = Callable[[str], Coroutine[Any, Any, None]]


class Clock:
    """The clock of one server's lease."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.at = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


class ServersContract:
    """Inherit and say how a state is made and used."""

    fences_by_itself = True
    """Whether the database refuses each write of a server that has lost its place; else the server's own lease has to know."""

    def new_state(self) -> str:
        """Return the name of a new, empty state."""
        raise NotImplementedError

    def servers(self, state: str) -> AbstractAsyncContextManager[Servers]:
        """Return a context with the list of its servers."""
        raise NotImplementedError

    def store(self, state: str, lease: Lease) -> AbstractAsyncContextManager[StateStore]:
        """Return a context in which a server leads."""
        raise NotImplementedError

    async def fall_silent(self, state: str, lease: Lease) -> None:
        """Let it look as if the leader was not heard of for longer than a lease, to the server that takes `lease` next."""
        raise NotImplementedError

    def play(self, scenario: Scenario) -> None:
        """Run a scenario with a new state."""
        asyncio.run(scenario(self.new_state()))

    def test_1_servers_tell_of_themselves_and_leave(self) -> None:
        async def scenario(state: str) -> None:
            async with self.servers(state) as servers, self.servers(state) as others:
                assert not await servers.members()
                await servers.tell(Member(id="a", url="http://a", began_at=1.0))
                await others.tell(Member(id="b", url="http://b", began_at=2.0))
                await servers.tell(Member(id="a", url="http://a2", began_at=1.0))
                found = await others.members()
                assert [one.member.url for one in found] == ["http://a2", "http://b"]
                assert all(0 <= one.age_s < LEASE_S for one in found)
                await others.leave("a")
                assert [one.member.id for one in await servers.members()] == ["b"]

        self.play(scenario)

    def test_2_who_opens_the_store_leads_until_it_closes_it(self) -> None:
        async def scenario(state: str) -> None:
            async with self.servers(state) as servers:
                assert (await servers.lead()).id == ""
                for epoch, home, continues in ((1, "/one", True), (2, "/one", True), (4, "/two", False)):
                    if epoch == 4:  # a command that has no home is no server that had the lead
                        async with self.store(state, Lease()):
                            assert (await servers.lead()).epoch == 3
                    lease = Lease(home=home, share="anywhere")
                    async with self.store(state, lease):
                        lead = await servers.lead()
                        assert (lead.id, lead.epoch, lead.home, lead.share) == (lease.id, epoch, home, "anywhere")
                        assert lease.epoch == epoch
                        assert 0 < lease.left_s <= LEASE_S
                        assert lease.continues is continues
                        lease.keeps = False
                    assert (await servers.lead()).id == ""

        self.play(scenario)

    def test_3_one_leads_at_a_time(self) -> None:
        async def scenario(state: str) -> None:
            async with self.store(state, Lease(home="/one", share="anywhere")) as store:
                with pytest.raises(Broken, match="in use"):
                    async with self.store(state, Lease(home="/two", share="anywhere")):
                        raise AssertionError
                await store.commit(a_commit())

        self.play(scenario)

    def test_4_a_leader_that_was_silent_loses_its_place_and_writes_nothing_more(self) -> None:
        async def scenario(state: str) -> None:
            clock = Clock()
            first = Lease(home="/one", share="anywhere", now=clock)
            second = Lease(home="/two", share="anywhere")
            async with self.servers(state) as servers, self.store(state, first) as old:
                await old.commit(a_commit("u1"))
                await self.fall_silent(state, second)
                if not self.fences_by_itself:
                    clock.at += LEASE_S
                async with self.store(state, second) as new:
                    lead = await servers.lead()
                    assert (lead.id, lead.epoch) == (second.id, 2)
                    assert not second.continues
                    late = (
                        lambda: old.commit(Commit(row=a_row("u1", version=2), header=b"late", nodes=(("n", b"late"),))),
                        lambda: old.commit(a_commit("u2")),
                        lambda: old.put("kind", [("a", b"late"), ("b", b"late")]),
                        lambda: old.remove("u1"),
                    )
                    for write in late:
                        with pytest.raises(Broken, match=r"taken over|not heard of"):
                            await write()
                    assert [row.version for row in await new.runs()] == [1]
                    assert not await new.items("kind")
                    await new.commit(Commit(row=a_row("u1", version=2), header=b"new"))
                    second.keeps = False
                stored = None
                async with self.store(state, Lease()) as later:
                    stored = await later.load("u1")
                assert stored is not None
                assert (stored.header, stored.nodes) == (b"new", ())

        self.play(scenario)

    def test_5_a_place_is_kept_until_it_is_known_that_no_pods_go_on(self) -> None:
        async def scenario(state: str) -> None:
            lease = Lease(home="/one", share="anywhere")
            async with self.servers(state) as servers:
                async with self.store(state, lease):
                    assert lease.keeps
                assert (await servers.lead()).id == lease.id

        self.play(scenario)

    def test_6_a_lease_is_renewed_by_what_is_written_or_by_itself(self) -> None:
        async def scenario(state: str) -> None:
            lease = Lease(home="/one", share="anywhere")
            heard: list[float] = []
            async with self.servers(state) as servers, self.store(state, lease) as store:
                lease.on_renewal(lambda: heard.append(lease.until))
                before = (await servers.lead()).mark
                for number in range(200):
                    await store.put("kind", [("a", b"%d" % number)])
                    if len(heard) > 1 and heard[-1] > heard[0] and (await servers.lead()).mark != before:
                        return
                    await asyncio.sleep(0.05)
                raise AssertionError("the lease was not renewed within ten seconds")

        self.play(scenario)
