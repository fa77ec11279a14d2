"""The conformance suites of the executor port.

`ExecutorContract` holds for every executor, also for one in memory. `CommandContract` adds what real commands do: exit
codes, files, signals. Inherit one, give it `make` (and `files_below` for the second), and run it with pytest.
"""

import asyncio
import tarfile
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jitflow.model.pods import (
    Archive,
    Delivery,
    Pod,
    PodEnd,
    PodFile,
    PodImage,
    PodInput,
    PodKey,
    PodNews,
    PodOutput,
    PodVolume,
)
from jitflow.ports.errors import FixRequest
from jitflow.ports.executor import Executor

PATIENCE_S = 30.0


def shell_pod(key: PodKey, script: str, **fields: object) -> Pod:
    """Return a pod that runs a shell script on the host's root."""
    values: dict[str, object] = {
        "key": key,
        "name": key,
        "image": PodImage(name="host"),
        "command": ("/bin/sh", "-c", script),
        "grace_s": 5.0,
        **fields,
    }
    return Pod(**values)  # type: ignore[arg-type]


class Harness:
    """An open executor and the ends it has delivered."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.ends: dict[PodKey, list[PodEnd]] = {}
        self.news: dict[PodKey, list[PodNews]] = {}
        self._arrived = asyncio.Event()

    def on_end(self, end: PodEnd) -> None:
        """Take an end that the executor delivers."""
        self.ends.setdefault(end.key, []).append(end)
        self._arrived.set()

    def on_news(self, news: PodNews) -> None:
        """Take what the executor tells of a pod that runs."""
        self.news.setdefault(news.key, []).append(news)
        self._arrived.set()

    async def news_of(self, key: PodKey) -> PodNews:
        """Wait for something that is told of a pod; returns the latest."""
        async with asyncio.timeout(PATIENCE_S):
            while key not in self.news:
                self._arrived.clear()
                await self._arrived.wait()
        return self.news[key][-1]

    async def end_of(self, key: PodKey) -> PodEnd:
        """Wait for a pod's end."""
        async with asyncio.timeout(PATIENCE_S):
            while key not in self.ends:
                self._arrived.clear()
                await self._arrived.wait()
        return self.ends[key][0]

    async def run(self, pod: Pod) -> PodEnd:
        """Start a pod and wait for its end."""
        await self.executor.start(pod)
        return await self.end_of(pod.key)

    async def printed(self, key: PodKey, *, follow: bool = False, stream: str = "") -> list[str]:
        """Return the lines of a pod's log."""
        async with asyncio.timeout(PATIENCE_S):
            return [line.content async for line in self.executor.logs(key, follow=follow) if not stream or line.stream == stream]

    async def wait_for_line(self, key: PodKey, text: str) -> None:
        """Wait until a running pod has printed a line."""
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.executor.logs(key, follow=True):
                if line.content == text:
                    return
        raise AssertionError(f"pod {key} ended without printing {text!r}")


@asynccontextmanager
async def opened(executor: Executor) -> AsyncIterator[Harness]:
    """Open an executor, and close it at the end."""
    harness = Harness(executor)
    await executor.open(harness.on_end, harness.on_news)
    try:
        yield harness
    finally:
        await executor.close()


class ExecutorContract(ABC):
    """What holds for every executor."""

    @abstractmethod
    def make(self, home: Path) -> Executor:
        """Return a closed executor; two with the same home are two lives of one."""

    def brief_pod(self, key: PodKey, *lines: str, exit_code: int = 0, capture_result: bool = False) -> Pod:
        """Return a pod that prints lines and ends with the exit code."""
        env = (("CONTRACT_LINES", "\n".join(lines)), ("CONTRACT_EXIT", str(exit_code)))
        script = '[ -z "$CONTRACT_LINES" ] || printf "%s\\n" "$CONTRACT_LINES"; exit "$CONTRACT_EXIT"'
        return shell_pod(key, script, env=env, capture_result=capture_result)

    def long_pod(self, key: PodKey) -> Pod:
        """Return a pod that prints `running` and runs until it is told to end."""
        env = (("CONTRACT_LINES", "running"), ("CONTRACT_LONG", "1"))
        return shell_pod(key, 'echo "$CONTRACT_LINES"; exec sleep 600', env=env)

    def test_a_pod_ends_once_with_its_exit_code(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                before = time.time()
                end = await pods.run(self.brief_pod("run.a", exit_code=3))
                assert (end.key, end.exit_code, end.error) == ("run.a", 3, "")
                assert not end.terminated
                assert not end.timed_out
                assert before - 1 <= end.started_at <= end.finished_at <= time.time() + 1
                await asyncio.sleep(0.1)
                assert len(pods.ends["run.a"]) == 1

        asyncio.run(scene())

    def test_a_key_is_started_once(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                pod = self.brief_pod("run.a", "once")
                await asyncio.gather(*(pods.executor.start(pod) for _ in range(3)))
                await pods.end_of(pod.key)
                await pods.executor.start(pod)
                await asyncio.sleep(0.1)
                assert await pods.printed(pod.key) == ["once"]
                assert len(pods.ends[pod.key]) == 1

        asyncio.run(scene())

    def test_an_ended_key_is_not_started_in_the_next_life(self, tmp_path: Path) -> None:
        async def scene() -> None:
            pod = self.brief_pod("run.a", "once", exit_code=4)
            async with opened(self.make(tmp_path)) as pods:
                await pods.run(pod)
            async with opened(self.make(tmp_path)) as pods:
                end = await pods.run(pod)
                assert end.exit_code == 4
                assert await pods.printed(pod.key) == ["once"]

        asyncio.run(scene())

    def test_a_pod_without_a_command_is_refused(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                pod = Pod(key="run.a", name="a", image=PodImage(name="host"), command=())
                try:
                    await pods.executor.start(pod)
                except FixRequest:
                    assert list(await pods.executor.adopt()) == []
                else:
                    raise AssertionError("not refused")

        asyncio.run(scene())

    def test_the_result_is_stdout_without_one_newline(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                end = await pods.run(self.brief_pod("run.a", "one", "two", capture_result=True))
                assert end.result == "one\ntwo"
                assert (await pods.run(self.brief_pod("run.b", "one"))).result is None

        asyncio.run(scene())

    def test_logs_are_followed_to_the_end_in_order(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                lines = [f"line {number}" for number in range(50)]
                await pods.executor.start(self.brief_pod("run.a", *lines))
                assert await pods.printed("run.a", follow=True) == lines
                await pods.end_of("run.a")
                assert await pods.printed("run.a") == lines
                assert await pods.printed("run.unknown", follow=True) == []

        asyncio.run(scene())

    def test_a_terminated_pod_says_so(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                pod = self.long_pod("run.a")
                await pods.executor.start(pod)
                await pods.wait_for_line(pod.key, "running")
                await pods.executor.terminate(pod.key)
                end = await pods.end_of(pod.key)
                assert end.terminated
                assert end.exit_code == 143
                await pods.executor.terminate(pod.key)
                await pods.executor.terminate("run.unknown")

        asyncio.run(scene())

    def test_a_forgotten_pod_leaves_its_log_only(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                await pods.run(self.brief_pod("run.a", "hello"))
                await pods.executor.forget("run.a")
                await pods.executor.forget("run.a")
                await pods.executor.forget("run.unknown")
                assert await pods.printed("run.a") == ["hello"]
                assert list(await pods.executor.adopt()) == []
                await pods.executor.delete_logs(["run.a", "run.unknown"])
                assert await pods.printed("run.a") == []

        asyncio.run(scene())

    def test_a_running_pod_is_not_forgotten(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                await pods.executor.start(self.long_pod("run.a"))
                await pods.executor.forget("run.a")
                assert list(await pods.executor.adopt()) == ["run.a"]
                await pods.executor.terminate("run.a", grace_s=0.0)
                await pods.end_of("run.a")

        asyncio.run(scene())

    def test_the_next_life_adopts_what_ended_and_what_runs(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                await pods.executor.start(self.brief_pod("run.ended", exit_code=7))
                await pods.end_of("run.ended")
                await pods.executor.start(self.long_pod("run.long"))
            async with opened(self.make(tmp_path)) as pods:
                assert sorted(await pods.executor.adopt()) == ["run.ended", "run.long"]
                assert (await pods.end_of("run.ended")).exit_code == 7
                assert "run.long" not in pods.ends
                await pods.wait_for_line("run.long", "running")
                await pods.executor.terminate("run.long")
                assert (await pods.end_of("run.long")).terminated

        asyncio.run(scene())


class CommandContract(ExecutorContract):
    """What holds for every executor that runs real commands."""

    @abstractmethod
    def files_below(self, tmp_path: Path) -> str:
        """Return a directory in which pods of one test may place files (in the pod's view)."""

    def outputs_of(self, tmp_path: Path, *names: str, **fields: object) -> tuple[PodOutput, ...]:
        """Return outputs at paths named as they are."""
        below = self.files_below(tmp_path)
        return tuple(PodOutput(name=name, path=f"{below}/{name}", **fields) for name in names)  # type: ignore[arg-type]

    def run_one(self, tmp_path: Path, pod: Pod) -> tuple[PodEnd, list[str]]:
        """Run one pod and return its end and what it printed."""

        async def scene() -> tuple[PodEnd, list[str]]:
            async with opened(self.make(tmp_path / "home")) as pods:
                end = await pods.run(pod)
                return end, await pods.printed(pod.key)

        return asyncio.run(scene())

    def test_the_exit_code_of_a_signal_is_128_and_its_number(self, tmp_path: Path) -> None:
        end, _ = self.run_one(tmp_path, shell_pod("run.a", "kill -9 $$"))
        assert end.exit_code == 137
        assert end.error == ""

    def test_a_command_that_is_not_there_ends_with_64_and_says_so(self, tmp_path: Path) -> None:
        pod = Pod(key="run.a", name="a", image=PodImage(name="host"), command=("no-such-command", "x"))
        end, printed = self.run_one(tmp_path, pod)
        assert end.exit_code == 64
        assert "no-such-command" in end.error
        assert "not found" in end.error
        assert any("no-such-command" in line for line in printed)

    def test_a_file_that_is_no_program_ends_with_64(self, tmp_path: Path) -> None:
        path = f"{self.files_below(tmp_path)}/text"
        pod = Pod(
            key="run.a",
            name="a",
            image=PodImage(name="host"),
            command=(path,),
            inputs=(PodInput(name="text", path=path, source=str(_file(tmp_path, "text", "no program"))),),
        )
        end, _ = self.run_one(tmp_path, pod)
        assert end.exit_code == 64
        assert "not executable" in end.error

    def test_both_streams_are_logged_with_their_times(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.run(shell_pod("run.a", "echo out; echo err >&2; printf unfinished"))
                assert await pods.printed("run.a", stream="stdout") == ["out", "unfinished"]
                assert await pods.printed("run.a", stream="stderr") == ["err"]
                times = [line.time async for line in pods.executor.logs("run.a")]
                assert all(len(stamp) == len("2026-01-01T00:00:00.000000000Z") for stamp in times)

        asyncio.run(scene())

    def test_long_lines_and_large_output_come_through_whole(self, tmp_path: Path) -> None:
        script = "head -c 100000 /dev/zero | tr '\\0' x; echo; i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
        end, printed = self.run_one(tmp_path, shell_pod("run.a", script, capture_result=True))
        assert end.exit_code == 0
        assert printed[0] == "x" * 100_000
        assert printed[1:] == [str(number) for number in range(20_000)]
        assert end.result is not None
        assert end.result.endswith("19998\n19999")
        assert len(end.result) <= 256 * 1024

    def test_environment_is_the_pods_own(self, tmp_path: Path) -> None:
        pod = shell_pod(
            "run.a",
            'echo "$A $B"; cd "$PLACE" && pwd',
            env=(("B", "from pod"), ("PLACE", "/usr")),
            image=PodImage(name="host", env={"A": "from image", "B": "from image"}),
        )
        _, printed = self.run_one(tmp_path, pod)
        assert printed == ["from image from pod", "/usr"]

    def test_the_working_directory_is_the_pods(self, tmp_path: Path) -> None:
        _, printed = self.run_one(tmp_path, shell_pod("run.a", "pwd", working_dir="/usr/share"))
        assert printed == ["/usr/share"]

    def test_a_pod_over_its_deadline_is_ended(self, tmp_path: Path) -> None:
        end, _ = self.run_one(tmp_path, shell_pod("run.a", "exec sleep 600", deadline_s=0.5))
        assert end.timed_out
        assert end.exit_code == 143
        assert end.finished_at - end.started_at < PATIENCE_S

    def test_a_command_that_ignores_term_is_killed_after_the_grace(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                script = "trap '' TERM; echo ready; while :; do sleep 0.2; done"
                await pods.executor.start(shell_pod("run.a", script, grace_s=600.0))
                await pods.wait_for_line("run.a", "ready")
                await pods.executor.terminate("run.a", grace_s=0.3)
                end = await pods.end_of("run.a")
                assert end.exit_code == 137
                assert end.terminated

        asyncio.run(scene())

    def test_what_a_command_leaves_running_ends_with_it(self, tmp_path: Path) -> None:
        marker = f"{time.time_ns() % 1_000_000_000}.5"
        script = f"sleep {marker} & (setsid sleep {marker} >/dev/null 2>&1 &) ; sleep 0.2; echo done"
        end, printed = self.run_one(tmp_path, shell_pod("run.a", script))
        assert end.exit_code == 0
        assert printed == ["done"]
        assert not _commands_with(marker)

    def test_parameters_are_read_and_missing_ones_told(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = f"mkdir -p {below}; printf 'two\\n\\n' > {below}/a; exit 1"
        outputs = self.outputs_of(tmp_path, "a", "b", kind="parameter")
        end, _ = self.run_one(tmp_path, shell_pod("run.a", script, outputs=outputs))
        assert end.exit_code == 1
        assert end.parameters == {"a": "two\n"}
        assert end.missing == ("b",)
        assert end.error == ""

    def test_a_parameter_and_an_artifact_may_share_a_name(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        outputs = (*self.outputs_of(tmp_path, "a", kind="parameter"), *self.outputs_of(tmp_path, "a"))
        end, _ = self.run_one(tmp_path, shell_pod("run.a", f"mkdir -p {below}; printf x > {below}/a", outputs=outputs))
        assert end.parameters == {"a": "x"}
        assert [artifact.name for artifact in end.artifacts] == ["a"]

    def test_a_huge_parameter_is_refused(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = f"mkdir -p {below}; head -c 1048577 /dev/zero > {below}/a"
        outputs = self.outputs_of(tmp_path, "a", kind="parameter")
        end, _ = self.run_one(tmp_path, shell_pod("run.a", script, outputs=outputs))
        assert end.exit_code == 0
        assert "1 MiB" in end.error
        assert end.parameters == {}

    def test_artifacts_are_packed_as_asked(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = (
            f"mkdir -p {below}/tree/sub; echo one > {below}/file; echo two > {below}/tree/sub/leaf; ln -s sub {below}/tree/link"
        )
        outputs = (
            PodOutput(name="file-tgz", path=f"{below}/file"),
            PodOutput(name="tree-tgz", path=f"{below}/tree"),
            PodOutput(name="tree-tar", path=f"{below}/tree", compression_level=0),
            PodOutput(name="tree-zip", path=f"{below}/tree", archive=Archive.ZIP),
            PodOutput(name="file-plain", path=f"{below}/file", archive=Archive.NONE),
        )
        end, _ = self.run_one(tmp_path, shell_pod("run.a", script, outputs=outputs))
        assert end.error == ""
        found = {artifact.name: artifact for artifact in end.artifacts}
        assert all(Path(item.source).stat().st_size == item.size_bytes for item in end.artifacts)
        with tarfile.open(found["file-tgz"].source, "r:gz") as archive:
            assert archive.getnames() == ["file"]
        for name, mode in (("tree-tgz", "r:gz"), ("tree-tar", "r:")):
            with tarfile.open(found[name].source, mode) as archive:  # type: ignore[call-overload]
                assert archive.getnames() == ["tree", "tree/link", "tree/sub", "tree/sub/leaf"]
                assert archive.getmember("tree/link").issym()
        with zipfile.ZipFile(found["tree-zip"].source) as zipped:
            assert zipped.read("tree/sub/leaf") == b"two\n"
        assert Path(found["file-plain"].source).read_text(encoding="ascii") == "one\n"

    def test_a_tree_that_is_not_packed_stays_a_tree(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = f"mkdir -p {below}/tree/sub; echo one > {below}/tree/a; echo two > {below}/tree/sub/b; ln -s a {below}/tree/c"
        outputs = self.outputs_of(tmp_path, "tree", "tree/a", archive=Archive.NONE)
        outputs = (outputs[0], PodOutput(name="a", path=outputs[1].path, archive=Archive.NONE))
        end, _ = self.run_one(tmp_path, shell_pod("run.a", script, outputs=outputs))
        assert end.error == ""
        tree, single = end.artifacts
        assert Path(single.source).read_text(encoding="ascii") == "one\n"
        assert tree.is_directory
        assert tree.size_bytes == 12
        files = {path.relative_to(tree.source).as_posix(): path for path in Path(tree.source).rglob("*") if path.is_file()}
        assert {name: path.read_text(encoding="ascii") for name, path in files.items()} == {
            "a": "one\n",
            "c": "one\n",
            "sub/b": "two\n",
        }
        assert not any(path.is_symlink() for path in files.values())

    def test_an_output_that_is_no_file_is_told_and_does_not_hang(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = f"mkdir -p {below}; mkfifo {below}/pipe; ln -s /dev/zero {below}/zero"
        outputs = (*self.outputs_of(tmp_path, "pipe", "zero"),)
        end, _ = self.run_one(tmp_path, shell_pod("run.a", script, outputs=outputs))
        assert end.artifacts == ()
        assert "output pipe" in end.error
        assert "output zero" in end.error

    def test_inputs_are_bound_copied_and_unpacked(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        source = _file(tmp_path, "source", "content")
        packed = tmp_path / "packed.tgz"
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(source, "other-name")
        inputs = (
            PodInput(name="bound", path=f"{below}/in/bound", source=str(source)),
            PodInput(name="copied", path=f"{below}/in/copied", source=str(source), delivery=Delivery.COPY, mode=0o755),
            PodInput(name="unpacked", path=f"{below}/in/unpacked", source=str(packed), delivery=Delivery.UNPACK),
        )
        script = f"cd {below}/in; cat bound copied unpacked; echo more >> copied; tail -n1 copied; stat -c %a copied"
        end, printed = self.run_one(tmp_path, shell_pod("run.a", script, inputs=inputs))
        assert end.error == ""
        assert printed == ["contentcontentcontentcontentmore", "755"]
        assert source.read_text(encoding="ascii") == "content"

    def test_the_mode_of_a_directory_is_its_own_or_that_of_all_it_holds(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        folder = tmp_path / "folder"
        (folder / "sub").mkdir(parents=True)
        for path in (folder / "file", folder / "sub" / "file"):
            path.write_text("x")
            path.chmod(0o640)
        inputs = tuple(
            PodInput(
                name=name,
                path=f"{below}/in/{name}",
                source=str(folder),
                delivery=Delivery.COPY,
                mode=0o755,
                recurse=name == "all",
            )
            for name in ("own", "all")
        )
        script = f"cd {below}/in; stat -c %a own own/file own/sub/file all all/file all/sub all/sub/file"
        _, printed = self.run_one(tmp_path, shell_pod("run.a", script, inputs=inputs))
        assert printed == ["755", "640", "640", "755", "755", "755", "755"]

    def test_an_input_that_is_not_there_is_an_error_before_the_command(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        inputs = (PodInput(name="data", path=f"{below}/data", source=str(tmp_path / "nowhere")),)
        end, printed = self.run_one(tmp_path, shell_pod("run.a", "echo ran", inputs=inputs))
        assert end.exit_code is None
        assert "input data" in end.error
        assert "ran" not in printed

    def test_an_archive_with_members_outside_is_refused(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        packed = tmp_path / "evil.tar"
        with tarfile.open(packed, "w") as archive:
            archive.add(_file(tmp_path, "x", "x"), "../../escaped")
        inputs = (PodInput(name="data", path=f"{below}/data", source=str(packed), delivery=Delivery.UNPACK),)
        end, _ = self.run_one(tmp_path, shell_pod("run.a", "echo ran", inputs=inputs))
        assert end.exit_code is None
        assert "leads out" in end.error
        assert not (tmp_path / "escaped").exists()

    def test_a_small_file_is_made_where_the_command_names_it(self, tmp_path: Path) -> None:
        path = "/argo/staging/script"
        pod = Pod(
            key="run.a",
            name="a",
            image=PodImage(name="host"),
            command=("/bin/sh", path),
            files=(PodFile(path=path, content=b"echo from the script\n"),),
        )
        end, printed = self.run_one(tmp_path, pod)
        assert (end.exit_code, printed) == (0, ["from the script"])
        assert not Path("/argo").exists()

    def test_volumes_hold_what_is_written_and_outputs_are_taken_from_them(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        volumes = (
            PodVolume(name="volume", path=f"{below}/volume"),
            PodVolume(name="volume", path=f"{below}/again", sub_path="part"),
        )
        outputs = (PodOutput(name="out", path=f"{below}/volume/part/file", kind="parameter"),)
        script = f"echo hello > {below}/again/file; ls {below}/volume"
        end, printed = self.run_one(tmp_path, shell_pod("run.a", script, volumes=volumes, outputs=outputs))
        assert end.error == ""
        assert printed == ["part"]
        assert end.parameters == {"out": "hello"}

    def test_many_pods_at_once_end_each_with_its_own(self, tmp_path: Path) -> None:
        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                keys = [f"run.{number}" for number in range(30)]
                chosen = [self.brief_pod(key, key, exit_code=number) for number, key in enumerate(keys)]
                await asyncio.gather(*(pods.executor.start(pod) for pod in chosen))
                ends = [await pods.end_of(key) for key in keys]
                assert [end.exit_code for end in ends] == list(range(30))
                for key in keys:
                    assert await pods.printed(key) == [key]
                    await pods.executor.forget(key)

        asyncio.run(scene())

    def test_a_log_is_an_output_as_it_was_printed(self, tmp_path: Path) -> None:
        script = "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x; exit 3"

        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                output = PodOutput(name="main-logs", path="main", kind="log")
                end = await pods.run(shell_pod("run.a", script, outputs=(output,)))
                assert end.exit_code == 3
                (kept,) = end.artifacts
                text = await asyncio.to_thread(Path(kept.source).read_text)
                assert sorted(text.splitlines()) == ["one", "two", "x" * 40000]
                assert kept.size_bytes == len(text)
                missing = await pods.run(shell_pod("run.b", "x", command=("/nowhere/at/all",), outputs=(output,)))
                assert missing.exit_code == 64
                assert [one.name for one in missing.artifacts] == ["main-logs"]

        asyncio.run(scene())


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="ascii")
    return path


def _commands_with(word: str) -> list[str]:
    """Return the command lines of running processes that hold a word (this process aside)."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if word in line and line.startswith("sleep"):
                found.append(line)
    return found
