"""The conformance suite for pods of several containers: inherit it with `make` and `files_below`, as `CommandContract`."""

import asyncio
import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from jitflow.model.pods import (
    ContainerRole,
    Delivery,
    Pod,
    PodContainer,
    PodEnd,
    PodFile,
    PodImage,
    PodInput,
    PodOutput,
    PodVolume,
)
from jitflow.ports.errors import FixRequest
from jitflow.ports.executor import Executor
from jitflow.testing.executor_contract import Harness, opened

KEY = "run.group"


def container(name: str, role: ContainerRole, script: str, **fields: object) -> PodContainer:
    """Return a container that runs a shell script on the host's root."""
    values: dict[str, object] = {"image": PodImage(name="host"), "command": ("/bin/sh", "-c", script), **fields}
    return PodContainer(name=name, role=role, **values)  # type: ignore[arg-type]


def main(script: str, name: str = "main", **fields: object) -> PodContainer:
    """Return a main container."""
    return container(name, ContainerRole.MAIN, script, **fields)


def init(script: str, name: str = "first", **fields: object) -> PodContainer:
    """Return an init container."""
    return container(name, ContainerRole.INIT, script, **fields)


def sidecar(script: str, name: str = "side", **fields: object) -> PodContainer:
    """Return a sidecar."""
    return container(name, ContainerRole.SIDECAR, script, **fields)


def group(*containers: PodContainer, **fields: object) -> Pod:
    """Return a pod of several containers."""
    values: dict[str, object] = {"image": PodImage(name="host"), "command": (), "grace_s": 5.0, **fields}
    return Pod(key=KEY, name="group", containers=containers, **values)  # type: ignore[arg-type]


def codes(end: PodEnd) -> dict[str, int | None]:
    """Return each container's exit code."""
    return {one.name: one.exit_code for one in end.containers}


async def _printed(pods: Harness, name: str) -> list[str]:
    return [line.content async for line in pods.executor.logs(KEY, container=name)]


def _running(mark: str) -> list[str]:
    """Return the processes of this machine that have `mark` among their arguments."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
    return found


class GroupContract(ABC):
    """What holds for every executor that runs commands, for pods of several containers."""

    @abstractmethod
    def make(self, home: Path) -> Executor:
        """Return a closed executor; two with the same home are two lives of one."""

    @abstractmethod
    def files_below(self, tmp_path: Path) -> str:
        """Return a directory below which pods may have files."""

    def ended(self, home: Path, pod: Pod) -> tuple[PodEnd, dict[str, list[str]]]:
        """Run a pod; returns its end and what each container printed."""

        async def scene() -> tuple[PodEnd, dict[str, list[str]]]:
            async with opened(self.make(home)) as pods:
                end = await pods.run(pod)
                await pods.executor.forget(KEY)
                return end, {one.name: await _printed(pods, one.name) for one in pod.containers}

        return asyncio.run(scene())

    def test_init_containers_run_in_order_and_share_volumes_with_main(self, tmp_path: Path) -> None:
        place = f"{self.files_below(tmp_path)}/shared"
        volume = (PodVolume(name="shared", path=place),)
        pod = group(
            init(f"echo one > {place}/text; echo from init", volumes=volume),
            init(f"sleep 0.2; echo two >> {place}/text", name="second", volumes=volume),
            main(f"cat {place}/text", volumes=volume, capture_result=True),
        )
        end, printed = self.ended(tmp_path / "home", pod)
        assert (end.exit_code, end.error, end.result) == (0, "", "one\ntwo")
        assert codes(end) == {"first": 0, "second": 0, "main": 0}
        assert printed == {"first": ["from init"], "second": [], "main": ["one", "two"]}

    def test_a_volume_in_memory_is_one_for_all_containers(self, tmp_path: Path) -> None:
        place = f"{self.files_below(tmp_path)}/memory"
        volume = (PodVolume(name="memory", path=place, memory=True),)
        pod = group(init(f"echo kept > {place}/text", volumes=volume), main(f"cat {place}/text", volumes=volume))
        end, printed = self.ended(tmp_path / "home", pod)
        assert (end.exit_code, end.error, printed["main"]) == (0, "", ["kept"])

    def test_data_placed_in_a_volume_is_there_for_all_containers(self, tmp_path: Path) -> None:
        place = f"{self.files_below(tmp_path)}/shared"
        volume = (PodVolume(name="shared", path=place),)
        source = tmp_path / "source"
        source.write_text("data\n")
        data = (PodInput(name="data", path=f"{place}/data", source=str(source), delivery=Delivery.COPY),)
        placing = PodContainer(
            name="init", role=ContainerRole.INIT, image=PodImage(name="host"), command=(), inputs=data, volumes=volume
        )
        reads = f"cat {place}/data"
        pod = group(placing, main(reads, volumes=volume), main(reads, name="other", volumes=volume))
        end, printed = self.ended(tmp_path / "home", pod)
        assert (end.exit_code, end.error) == (0, "")
        assert printed == {"init": [], "main": ["data"], "other": ["data"]}

    def test_an_init_container_that_fails_is_an_error_with_its_name(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: init container error is an Error."""
        end, printed = self.ended(tmp_path / "home", group(init("exit 3"), main("echo never"), sidecar("echo never")))
        assert (end.exit_code, end.error) == (None, "first: Error (exit code 3)")
        assert codes(end) == {"first": 3, "main": None, "side": None}
        assert printed["main"] == printed["side"] == []

    def test_sidecars_are_told_to_end_when_main_has_ended(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: sidecars are told SIGTERM when main has ended."""
        script = 'trap "echo told; exit 7" TERM; echo up; while :; do sleep 0.05; done'
        end, printed = self.ended(tmp_path / "home", group(sidecar(script), main("sleep 0.5; echo done")))
        assert (end.exit_code, end.error, end.terminated) == (0, "", False)
        assert codes(end) == {"side": 7, "main": 0}
        assert printed == {"side": ["up", "told"], "main": ["done"]}

    def test_a_sidecar_that_ignores_term_is_killed_after_the_grace(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: sidecars are told SIGTERM, later SIGKILL."""
        before = time.monotonic()
        script = 'trap "" TERM; while :; do sleep 0.1; done'
        end, _ = self.ended(tmp_path / "home", group(sidecar(script), main("sleep 0.3"), grace_s=0.5))
        assert codes(end) == {"side": 137, "main": 0}
        assert 0.8 <= time.monotonic() - before < 10

    def test_containers_wait_for_those_they_depend_on(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: waits for containerSet dependencies."""
        place = f"{self.files_below(tmp_path)}/work"
        volume = (PodVolume(name="work", path=place),)
        pod = group(
            main(f"cat {place}/a {place}/b", name="main", dependencies=("a", "b"), volumes=volume, capture_result=True),
            main(f"sleep 0.2; echo a > {place}/a", name="a", volumes=volume),
            main(f"echo b > {place}/b", name="b", volumes=volume),
        )
        end, _ = self.ended(tmp_path / "home", pod)
        assert (end.exit_code, end.result, codes(end)) == (0, "a\nb", {"main": 0, "a": 0, "b": 0})

    def test_a_failed_dependency_gives_its_code_on(self, tmp_path: Path) -> None:
        """SEMANTICS Scripts, containers, exit: non-zero dependency: own exit with that code."""
        pod = group(main("exit 5", name="a"), main("echo never", name="b", dependencies=("a",)), main("true", name="c"))
        end, printed = self.ended(tmp_path / "home", pod)
        assert (end.exit_code, codes(end), printed["b"]) == (5, {"a": 5, "b": 5, "c": 0}, [])

    def test_a_container_is_tried_again_inside_the_pod(self, tmp_path: Path) -> None:
        place = f"{self.files_below(tmp_path)}/tries"
        volume = (PodVolume(name="tries", path=place),)
        count = f'echo x >> {place}/tries; [ "$(wc -l < {place}/tries)" -ge 3 ]'
        pod = group(main(count, volumes=volume, retries=3, retry_delay_s=0.05), main("exit 1", name="b", retries=1))
        end, _ = self.ended(tmp_path / "home", pod)
        assert [(one.exit_code, one.attempts) for one in end.containers] == [(0, 3), (1, 2)]

    def test_outputs_are_collected_from_main(self, tmp_path: Path) -> None:
        path = f"{self.files_below(tmp_path)}/out"
        wanted = (PodOutput(name="text", path=path, kind="parameter"), PodOutput(name="file", path=path))
        pod = group(
            main(f"mkdir -p {self.files_below(tmp_path)}; echo text > {path}", outputs=wanted), main("true", name="other")
        )
        end, _ = self.ended(tmp_path / "home", pod)
        assert (end.error, end.parameters, [one.name for one in end.artifacts]) == ("", {"text": "text"}, ["file"])

    def test_the_deadline_ends_all_containers(self, tmp_path: Path) -> None:
        end, _ = self.ended(tmp_path / "home", group(sidecar("sleep 600"), main("sleep 600"), deadline_s=0.5))
        assert end.timed_out
        assert codes(end) == {"side": 143, "main": 143}

    def test_a_terminated_pod_starts_nothing_more(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.start(group(main("echo up; exec sleep 600", name="a"), main("echo b", dependencies=("a",))))
                async for _ in pods.executor.logs(KEY, container="a", follow=True):
                    break
                await pods.executor.terminate(KEY, 5.0)
                end = await pods.end_of(KEY)
                assert end.terminated
                assert codes(end) == {"a": 143, "main": None}

        asyncio.run(scene())

    def test_the_next_life_adopts_all_containers(self, tmp_path: Path) -> None:
        place = f"{self.files_below(tmp_path)}/shared"
        volume = (PodVolume(name="shared", path=place),)
        waits = f"while [ ! -e {place}/go ]; do sleep 0.05; done; echo went"
        goes = f"sleep 1; touch {place}/go; sleep 600"

        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.start(group(main(waits, volumes=volume), sidecar(goes, volumes=volume)))
            async with opened(self.make(tmp_path / "home")) as pods:
                assert list(await pods.executor.adopt()) == [KEY]
                end = await pods.end_of(KEY)
                assert (end.exit_code, codes(end)) == (0, {"main": 0, "side": 143})
                assert await _printed(pods, "main") == ["went"]
                await pods.executor.delete_logs([KEY])
                assert await _printed(pods, "main") == []

        asyncio.run(scene())

    def test_nothing_outlives_the_pods_parent(self, tmp_path: Path) -> None:
        """A parent that is killed takes all containers with it, and the pod ends as lost."""
        mark = f"{time.time_ns() % 10**9 + 10**9}"

        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                script = f"echo up; sleep {mark}; true"
                await pods.executor.start(group(main(script), sidecar(script)))
                for name in ("main", "side"):
                    async for _ in pods.executor.logs(KEY, container=name, follow=True):
                        break
                os.kill(int(os.readlink(tmp_path / "home" / "pods" / KEY / "parent").split()[0]), signal.SIGKILL)
                end = await pods.end_of(KEY)
                assert end.exit_code is None
                assert "parent" in end.error

        asyncio.run(scene())
        until = time.monotonic() + 10
        while _running(mark) and time.monotonic() < until:
            time.sleep(0.05)
        assert _running(mark) == []

    def test_each_container_has_its_own_files_and_environment(self, tmp_path: Path) -> None:
        path = f"{self.files_below(tmp_path)}/script"
        pod = group(
            main("", command=("/bin/sh", path), files=(PodFile(path=path, content=b"echo $WHO"),), env=(("WHO", "m"),)),
            main('echo "$WHO"', name="other", env=(("WHO", "o"),)),
        )
        _, printed = self.ended(tmp_path / "home", pod)
        assert printed == {"main": ["m"], "other": ["o"]}

    @pytest.mark.parametrize(
        ("containers", "words"),
        [
            ((init("true"),), "none of its containers is a main one"),
            ((main("true"), sidecar("true", name="main")), "same name"),
            ((main("true", dependencies=("b",)),), "depends on b"),
            ((main("true", name="a", dependencies=("b",)), main("true", name="b", dependencies=("a",))), "wait for each other"),
            ((main("", command=()),), "no command for container main"),
        ],
    )
    def test_pods_that_cannot_be_are_refused(self, tmp_path: Path, containers: tuple[PodContainer, ...], words: str) -> None:
        with pytest.raises(FixRequest, match=words):
            self.ended(tmp_path / "home", group(*containers))

    def test_each_main_container_gives_its_log(self, tmp_path: Path) -> None:
        def kept(name: str) -> PodOutput:
            return PodOutput(name=f"{name}-logs", path=name, kind="log")

        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                one = main("echo from a; exit 1", "a", outputs=(kept("a"),), retries=1)
                two = main("echo from b", "b", outputs=(kept("b"),))
                end = await pods.run(group(one, two))
                read = {artifact.name: asyncio.to_thread(Path(artifact.source).read_text) for artifact in end.artifacts}
                logs = {name: await text for name, text in read.items()}
                assert logs == {"a-logs": "from a\nfrom a\n", "b-logs": "from b\n"}

        asyncio.run(scene())
