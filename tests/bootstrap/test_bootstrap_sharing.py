"""Servers that share a state: which ones go together, and what a home forgets when another one had the lead."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from jitflow.bootstrap.home import Home
from jitflow.bootstrap.sharing import check_fits, check_sharable
from jitflow.bootstrap.state import start_over
from jitflow.dataplane import records
from jitflow.executors import ProcessExecutor
from jitflow.ports.servers import LEASE_S, Lead, Member, Seen
from jitflow.settings import RepositorySettings, Settings, SettingsError, StateSettings
from jitflow.testing.executor_contract import opened, shell_pod
from jitflow.testing.memory_store import MemoryStore

MINE = Member(id="me", home="here", share="home", key="k")
THEIRS = Lead(id="it", home="here", share="home")


@pytest.mark.parametrize(
    ("lead", "members", "said"),
    [
        (Lead(), [], ""),
        (THEIRS, [Seen(member=Member(id="it", key="k"))], ""),
        (replace(THEIRS, share=""), [], "has it for itself"),
        (replace(THEIRS, share="anywhere"), [], "shares it with 'anywhere'"),
        (replace(THEIRS, home="there"), [], "has another home"),
        (replace(THEIRS, home="there", age_s=LEASE_S + 1), [], ""),
        (replace(THEIRS, share="", is_dead=True), [], ""),
        (Lead(), [Seen(member=Member(id="it", key="other"))], "secret.key"),
        (Lead(), [Seen(member=Member(id="it", key="other"), age_s=LEASE_S + 1)], ""),
    ],
)
def test_servers_that_do_not_go_together_are_told_so(lead: Lead, members: list[Seen], said: str) -> None:
    if not said:
        check_fits(MINE, lead, members)
        return
    with pytest.raises(SettingsError, match=said):
        check_fits(MINE, lead, members)


def test_what_other_machines_could_not_reach_is_refused() -> None:
    anywhere = StateSettings(share="anywhere")
    check_sharable(Settings(state=StateSettings(share="home")))
    check_sharable(Settings(state=anywhere, artifact_repository=RepositorySettings(remote="far")))
    with pytest.raises(SettingsError, match=r"artifact_repository\.remote"):
        check_sharable(Settings(state=anywhere))
    with pytest.raises(SettingsError, match="intermediates"):
        check_sharable(
            Settings(state=anywhere, artifact_repository=RepositorySettings(remote="far", intermediates="when-needed"))
        )


def test_a_home_has_one_name_for_ever(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "a"), Home(tmp_path / "b")
    for home in (first, second):
        home.make()
    assert first.identity() == Home(tmp_path / "a").identity() != second.identity()
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.startswith("id.")]


def test_a_home_forgets_what_it_had_promised(tmp_path: Path) -> None:
    async def scene() -> None:
        home = Home(tmp_path / "home")
        home.make()
        await start_over(home, MemoryStore())  # nothing is there yet
        beats = tmp_path / "beats"
        async with opened(ProcessExecutor(home.pods)) as pods:
            await pods.executor.start(shell_pod("run.ended", "exit 3"))
            assert (await pods.end_of("run.ended")).exit_code == 3
            await pods.executor.start(shell_pod("run.on", f"while sleep 0.05; do echo >> {beats}; done"))
            while not beats.exists():
                await asyncio.sleep(0.02)
        near = MemoryStore()
        for kind in (records.LEASE, records.STAGEOUT, records.REPLICA, records.PIN):
            await near.put(kind, [("a", b"1"), ("b", b"2")])
        await start_over(home, near)
        assert sorted(await near.kinds()) == sorted([records.REPLICA, records.PIN])
        await asyncio.sleep(0.2)
        seen = beats.stat().st_size
        await asyncio.sleep(0.2)
        assert beats.stat().st_size == seen, "its process is gone"
        async with opened(ProcessExecutor(home.pods)) as pods:
            assert not await pods.executor.adopt()

    asyncio.run(scene())
