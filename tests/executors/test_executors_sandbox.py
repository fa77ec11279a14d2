"""What a sandbox promises: the host is not written, pods do not meet, nothing leaks out or in."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jitflow.executors import SandboxExecutor
from jitflow.model.pods import Archive, Pod, PodEnd, PodImage, PodInput, PodOutput, PodVolume
from jitflow.ports.errors import FixRequest
from jitflow.testing.executor_contract import Harness, opened, shell_pod

MODES = ("overlay", "binds") if os.geteuid() == 0 else ("binds",)


@pytest.fixture(params=MODES)
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxExecutor:
    return SandboxExecutor(tmp_path / "home", hidden=[Path("/usr/share"), Path("/etc/hostname")], mode=request.param)


def run(executor: SandboxExecutor, pod: Pod) -> tuple[PodEnd, list[str]]:
    async def scene() -> tuple[PodEnd, list[str]]:
        async with opened(executor) as pods:
            return await pods.run(pod), await pods.printed(pod.key)

    return asyncio.run(scene())


def test_the_host_is_never_written(executor: SandboxExecutor) -> None:
    name = f"jitflow-test-{os.getpid()}"
    folders = ("/", "/etc", "/usr", "/usr/bin", "/home", "/root", "/var", "/var/tmp", "/tmp", "/opt", "/mnt", "/run", "/dev/shm")
    script = "; ".join(f"(echo x > {folder}/{name}) 2>/dev/null" for folder in folders)
    end, _ = run(executor, shell_pod("run.a", f"{script}; cat /tmp/{name}"))
    assert end.error == ""
    assert [folder for folder in folders if os.path.exists(f"{folder}/{name}")] == []


def test_parallel_pods_that_write_the_same_path_never_meet(executor: SandboxExecutor) -> None:
    async def scene(pods: Harness) -> None:
        output = PodOutput(name="out", path="/tmp/same", kind="parameter")
        script = "cat /tmp/same /var/tmp/same 2>/dev/null; echo $HOSTNAME | tee /tmp/same > /var/tmp/same"
        keys = [f"run.{number}" for number in range(120)]
        await asyncio.gather(*(pods.executor.start(shell_pod(key, script, outputs=(output,))) for key in keys))
        for key in keys:
            end = await pods.end_of(key)
            assert (end.exit_code, end.error, end.parameters) == (0, "", {"out": key})
            assert await pods.printed(key) == []

    async def main() -> None:
        async with opened(executor) as pods:
            await scene(pods)

    asyncio.run(main())


def test_a_bound_input_cannot_be_written_whatever_is_tried(executor: SandboxExecutor, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    source = tmp_path / "tree" / "file"
    source.write_text("original", encoding="ascii")
    inputs = (
        PodInput(name="tree", path="/data/tree", source=str(source.parent)),
        PodInput(name="file", path="/data/file", source=str(source)),
    )
    attempts = (
        "echo x > /data/file",
        "echo x > /data/tree/file",
        "rm /data/tree/file",
        "touch /data/tree/new",
        "mount -o remount,rw,bind /data/file",
        "mount -o remount,rw /data/tree",
        "umount /data/tree",
        "unshare -Urm sh -c 'mount -o remount,rw,bind /data/file && echo x > /data/file'",
        "mount -t tmpfs none /mnt",
        "mknod /tmp/disk b 8 0",
    )
    script = "\n".join(f"if ({attempt}) 2>/dev/null; then echo 'worked: {attempt.split(' ')[0]}'; fi" for attempt in attempts)
    end, printed = run(executor, shell_pod("run.a", script, inputs=inputs))
    assert end.error == ""
    assert printed == []
    assert source.read_text(encoding="ascii") == "original"
    assert os.listdir(source.parent) == ["file"]


def test_hidden_paths_are_empty(executor: SandboxExecutor) -> None:
    end, printed = run(executor, shell_pod("run.a", "ls -A /usr/share; cat /etc/hostname; echo end"))
    assert end.exit_code == 0
    assert printed == ["end"]


def test_the_hosts_processes_are_not_to_be_seen_or_reached(executor: SandboxExecutor) -> None:
    script = f"ls /proc | grep -c '^[0-9]'; kill -9 {os.getpid()} 2>/dev/null || echo refused; echo $$"
    _, printed = run(executor, shell_pod("run.a", script))
    assert int(printed[0]) < 8
    assert printed[1] == "refused"
    assert int(printed[2]) < 8


def test_capabilities_are_few_and_cannot_grow(executor: SandboxExecutor) -> None:
    grep = "grep -E '^(CapBnd|CapEff|NoNewPrivs)' /proc/self/status"
    script = f"{grep}; (echo 1 > /proc/sys/vm/drop_caches) 2>/dev/null || echo refused"
    _, printed = run(executor, shell_pod("run.a", script))
    fields = dict(re.split(r":\s*", line) for line in printed[:-1])
    allowed = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31))
    assert int(fields["CapEff"], 16) & ~allowed == 0
    assert int(fields["CapBnd"], 16) & ~allowed == 0
    assert fields["NoNewPrivs"] == "1"
    assert printed[-1] == "refused"


def test_links_planted_by_a_pod_lead_nowhere_on_the_host(executor: SandboxExecutor, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host", encoding="ascii")
    up = "../" * 20
    outputs = (
        PodOutput(name="direct", path="/tmp/direct"),
        PodOutput(name="through", path="/tmp/through/secret"),
        PodOutput(name="up", path=f"/tmp/{up}{secret}", kind="parameter"),
        PodOutput(name="relative", path="/tmp/relative", kind="parameter"),
        PodOutput(name="tree", path="/tmp/tree", archive=Archive.NONE),
    )
    script = (
        f"cd /tmp; ln -s {secret} direct; ln -s {tmp_path} through; ln -s {up}{secret} relative;"
        f" mkdir tree; ln -s {secret} tree/link"
    )
    end, _ = run(executor, shell_pod("run.a", script, outputs=outputs))
    assert end.exit_code == 0
    assert end.artifacts == ()
    assert end.parameters == {}
    assert sorted(end.missing) == ["direct", "relative", "through", "up"]
    assert "output tree" in end.error
    for path in (executor.home / "pods" / "run.a" / "outputs").rglob("*"):
        assert not path.is_symlink()


def test_an_output_below_an_input_leaves_the_source_alone(executor: SandboxExecutor, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("original", encoding="ascii")
    pod = shell_pod(
        "run.a",
        "echo changed > /data/tree/file; echo more > /data/tree/new",
        inputs=(PodInput(name="tree", path="/data/tree", source=str(tmp_path / "tree")),),
        outputs=(PodOutput(name="new", path="/data/tree/new", kind="parameter"),),
    )
    end, _ = run(executor, pod)
    assert (end.error, end.parameters) == ("", {"new": "more"})
    assert (tmp_path / "tree" / "file").read_text(encoding="ascii") == "original"
    assert not (tmp_path / "tree" / "new").exists()


def test_inputs_and_outputs_can_lie_anywhere_in_the_hosts_directories(executor: SandboxExecutor, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("#!/bin/sh\necho from the image\n", encoding="ascii")
    source.chmod(0o755)
    pod = Pod(
        key="run.a",
        name="a",
        image=PodImage(name="host", files={"/usr/local/bin/jitflow-test-tool": str(source)}),
        command=("/bin/sh", "-c", "jitflow-test-tool; cat /opt/in/put | wc -l; echo out > /mnt/out; echo deep > /srv/out; pwd"),
        working_dir="/opt/some/dir",
        inputs=(PodInput(name="in", path="/opt/in/put", source=str(source)),),
        outputs=tuple(PodOutput(name=name, path=f"/{name}/out", kind="parameter") for name in ("mnt", "srv")),
    )
    end, printed = run(executor, pod)
    assert end.error == ""
    assert printed == ["from the image", "2", "/opt/some/dir"]
    assert end.parameters == {"mnt": "out", "srv": "deep"}


def test_an_unpacked_file_is_moved_out_and_has_its_content(executor: SandboxExecutor) -> None:
    output = PodOutput(name="big", path="/tmp/big", archive=Archive.NONE)
    end, _ = run(executor, shell_pod("run.a", "head -c 3000000 /dev/urandom > /tmp/big; cksum < /tmp/big", outputs=(output,)))
    (artifact,) = end.artifacts
    assert artifact.size_bytes == 3_000_000 == Path(artifact.source).stat().st_size
    layers = [path for path in (executor.home / "pods" / "run.a").rglob("big") if path != Path(artifact.source)]
    assert layers == []


def test_a_volume_in_memory_holds_its_limit(executor: SandboxExecutor) -> None:
    volume = PodVolume(name="scratch", path="/scratch", memory=True, size_limit_bytes=1 << 20)
    script = "head -c 2000000 /dev/zero > /scratch/a 2>/dev/null || echo full; grep ' /scratch ' /proc/mounts | cut -d' ' -f3"
    _, printed = run(executor, shell_pod("run.a", script, volumes=(volume,)))
    assert printed == ["full", "tmpfs"]


def test_host_volumes_are_written_unless_read_only(executor: SandboxExecutor, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    volumes = (
        PodVolume(name="rw", path="/rw", source=str(shared), sub_path="part"),
        PodVolume(name="ro", path="/ro", source=str(shared), read_only=True),
    )
    end, printed = run(
        executor, shell_pod("run.a", "echo x > /rw/file; (echo y > /ro/z) 2>/dev/null || echo refused", volumes=volumes)
    )
    assert end.error == ""
    assert printed == ["refused"]
    assert (shared / "part" / "file").read_text(encoding="ascii") == "x\n"
    assert os.listdir(shared) == ["part"]


def test_a_small_fork_bomb_ends_with_its_pod(executor: SandboxExecutor) -> None:
    marker = f"{os.getpid()}.25"
    script = f"i=0; while [ $i -lt 150 ]; do sleep {marker} & i=$((i+1)); done; exit 6"
    end, _ = run(executor, shell_pod("run.a", script))
    assert end.exit_code == 6
    found = subprocess.run(["ps", "ax", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert f"sleep {marker}" not in found


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd to find the libraries of a shell")
def test_an_image_can_be_a_root_of_its_own(executor: SandboxExecutor, tmp_path: Path) -> None:
    root = tmp_path / "image"
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout)
    for path in ("/bin/sh", *libraries):
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / "only-here").write_text("image", encoding="ascii")
    pod = Pod(
        key="run.a",
        name="a",
        image=PodImage(name="own", root=str(root)),
        command=("sh", "-c", "read line < /only-here; echo $line; echo * > /tmp/out; echo x > /written"),
        outputs=(PodOutput(name="out", path="/tmp/out", kind="parameter"),),
    )
    end, printed = run(executor, pod)
    assert end.error == ""
    assert printed == ["image"]
    assert {"bin", "only-here", "proc", "dev", "tmp"} <= set(end.parameters["out"].split())
    assert "etc" not in end.parameters["out"].split()
    assert not (root / "written").exists()


def test_paths_of_the_kernel_and_odd_names_are_refused(executor: SandboxExecutor, tmp_path: Path) -> None:
    source = str(tmp_path)
    refused = (
        shell_pod("run.a", "true", inputs=(PodInput(name="a", path="/proc/x", source=source),)),
        shell_pod("run.a", "true", inputs=(PodInput(name="a", path="relative", source=source),)),
        shell_pod("run.a", "true", inputs=(PodInput(name="a", path="/a/../../b", source=source),)),
        shell_pod("../a", "true"),
        shell_pod("run.a", "true", outputs=(PodOutput(name="../x", path="/tmp/x"),)),
        shell_pod("run.a", "true", volumes=(PodVolume(name="..", path="/x"),)),
        shell_pod("run.a", "true", working_dir="relative"),
    )

    async def scene() -> None:
        async with opened(executor) as pods:
            for pod in refused:
                with pytest.raises(FixRequest):
                    await pods.executor.start(pod)
            assert list(await pods.executor.adopt()) == []

    asyncio.run(scene())
