"""The conformance suite for what a pod has of its own: an address, a terminal, its progress, its last words, its secrets.

Inherit it with `make` and `files_below`, as `CommandContract`; the pods run this Python, which they must be able to see.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from jitflow.model.pods import ContainerRole, Pod, PodContainer, PodEnd, PodFile, PodImage, PodProbe
from jitflow.ports.executor import Executor
from jitflow.testing.executor_contract import PATIENCE_S, Harness, opened

PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself, not a link to it: a virtual environment below `/tmp` is not seen in pods."""

_SERVER = """
import socket, sys
listeners = []
for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    one = socket.socket(family)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind((host, int(sys.argv[1])))
    one.listen()
    listeners.append(one)
print("serving", flush=True)
while True:
    connection, _ = listeners[0].accept()
    connection.sendall(sys.argv[2].encode())
    connection.close()
"""

_CLIENT = """
import socket, sys, time
for host, port in zip(sys.argv[1::2], sys.argv[2::2]):
    until = time.monotonic() + 20
    while True:
        try:
            print(socket.create_connection((host, int(port)), timeout=float(10)).recv(100).decode())
            break
        except OSError as error:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
"""

_BLOCKING = """
import socket, sys
one = socket.socket(); one.connect(("127.0.0.1", int(sys.argv[1]))); print(one.recv(100).decode())
two = socket.socket(); two.setblocking(False); print(two.connect_ex(("127.0.0.1", int(sys.argv[1]))) in (0, 115))
three = socket.socket(socket.AF_INET6); three.connect(("::1", int(sys.argv[1]))); print(three.recv(100).decode())
four = socket.socket()
try:
    four.connect(("127.0.0.1", 9))
except ConnectionRefusedError:
    print("refused")
five = socket.socket(); five.bind(("0.0.0.0", 0)); print(five.getsockname()[0])
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _answering(host: str, text: bytes) -> Iterator[int]:
    """Answer one connection from a thread of the test; yields the port."""
    with socket.create_server((host, 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(text)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(PATIENCE_S)


def _ask(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        return connection.recv(100).decode()


def _python(key: str, code: str, *arguments: object, **fields: object) -> Pod:
    command = (PYTHON, "-I", "-c", code, *(str(argument) for argument in arguments))
    return Pod(key=key, name=key, image=PodImage(name="host"), command=command, grace_s=5.0, **fields)  # type: ignore[arg-type]


def _container(name: str, role: ContainerRole, code: str, *arguments: object) -> PodContainer:
    command = (PYTHON, "-I", "-c", code, *(str(argument) for argument in arguments))
    return PodContainer(name=name, role=role, image=PodImage(name="host"), command=command)


def _holders(folder: Path, text: str) -> list[str]:
    """Return the files below a folder that hold a text."""
    found: list[str] = []
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(str(path))
    return found


class PodContract(ABC):
    """What holds for every executor that runs commands on this machine."""

    @abstractmethod
    def make(self, home: Path) -> Executor:
        """Return a closed executor; two with the same home are two lives of one."""

    @abstractmethod
    def files_below(self, tmp_path: Path) -> str:
        """Return a directory in which pods of one test may place files (in the pod's view)."""

    def run_one(self, tmp_path: Path, pod: Pod) -> tuple[PodEnd, list[str]]:
        """Run one pod and return its end and what it printed."""

        async def scene() -> tuple[PodEnd, list[str]]:
            async with opened(self.make(tmp_path / "home")) as pods:
                end = await pods.run(pod)
                return end, await pods.printed(pod.key)

        return asyncio.run(scene())

    def test_pods_with_addresses_of_their_own_listen_on_one_port(self, tmp_path: Path) -> None:
        port = free_port()
        addresses = {"run.a": "127.65.1.1", "run.b": "127.65.1.2"}

        async def scene(pods: Harness) -> None:
            for key, address in addresses.items():
                await pods.executor.start(_python(key, _SERVER, port, f"I am {key}", address=address))
            for key in addresses:
                await pods.wait_for_line(key, "serving")
            for key, address in addresses.items():
                assert await asyncio.to_thread(_ask, address, port) == f"I am {key}"
            with pytest.raises(OSError, match="refused"):
                await asyncio.to_thread(_ask, "127.0.0.1", port)
            for key in addresses:
                await pods.executor.terminate(key)
                assert (await pods.end_of(key)).exit_code == 143

        async def main() -> None:
            async with opened(self.make(tmp_path)) as pods:
                await scene(pods)

        asyncio.run(main())

    def test_containers_of_a_pod_meet_at_localhost(self, tmp_path: Path) -> None:
        port = free_port()
        pod = Pod(
            key="run.group",
            name="group",
            image=PodImage(name="host"),
            command=(),
            grace_s=5.0,
            address="127.65.2.1",
            containers=(
                _container("main", ContainerRole.MAIN, _CLIENT, "localhost", port, "127.65.2.1", port),
                _container("side", ContainerRole.SIDECAR, _SERVER, port, "the sidecar"),
            ),
        )
        end, printed = self.run_one(tmp_path, pod)
        assert (end.exit_code, printed) == (0, ["the sidecar", "the sidecar"])

    def test_every_kind_of_connection_to_localhost_stays_in_the_pod(self, tmp_path: Path) -> None:
        port = free_port()
        code = f"import threading\nthreading.Thread(target=exec, args=({_SERVER!r}, {{}}), daemon=True).start()\n"
        code += f"import time; time.sleep(0.5)\n{_BLOCKING}"
        _, printed = self.run_one(tmp_path, _python("run.a", code, port, "here", address="127.65.3.1"))
        assert printed == ["serving", "here", "True", "here", "refused", "0.0.0.0"]

    def test_a_pod_with_an_address_reaches_others(self, tmp_path: Path) -> None:
        with _answering("127.0.0.77", b"outside") as port:
            pod = _python("run.a", _CLIENT, "127.0.0.77", port, address="127.65.4.1")
            end, printed = self.run_one(tmp_path, pod)
        assert (end.exit_code, printed) == (0, ["outside"])

    def test_a_pod_without_an_address_shares_the_machines(self, tmp_path: Path) -> None:
        with _answering("127.0.0.1", b"the machine") as port:
            end, printed = self.run_one(tmp_path, _python("run.a", _CLIENT, "127.0.0.1", port))
        assert (end.exit_code, printed) == (0, ["the machine"])

    def test_progress_is_told_while_the_pod_runs_and_at_its_end(self, tmp_path: Path) -> None:
        code = "import os, time; path = os.environ['ARGO_PROGRESS_FILE']\n"
        code += "for line in ('1/4', 'nonsense', '2/4'):\n    open(path, 'a').write(line + '\\n'); time.sleep(1.3)\n"
        code += "open(path, 'a').write('3/4'); print('told', flush=True)"

        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                end = await pods.run(_python("run.a", code))
                told = [news.progress for news in pods.news["run.a"]]  # looks come when the machine lets them
                assert told
                assert told == sorted({*told} & {"1/4", "2/4", "3/4"})
                assert (end.exit_code, end.progress) == (0, "3/4")
                assert (await pods.run(_python("run.b", "pass"))).progress == ""

        asyncio.run(scene())

    def test_the_next_life_hears_what_was_known(self, tmp_path: Path) -> None:
        code = "import os, time; open(os.environ['ARGO_PROGRESS_FILE'], 'w').write('5/9'); time.sleep(600)"

        async def scene() -> None:
            async with opened(self.make(tmp_path)) as pods:
                await pods.executor.start(_python("run.a", code))
                await pods.news_of("run.a")
            async with opened(self.make(tmp_path)) as pods:
                await pods.executor.adopt()
                assert (await pods.news_of("run.a")).progress == "5/9"
                await pods.executor.terminate("run.a")
                assert (await pods.end_of("run.a")).progress == "5/9"

        asyncio.run(scene())

    def test_a_probe_is_tried_until_it_succeeds_also_in_the_next_life(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        code = f"import os, time; time.sleep(1); os.makedirs('{below}', exist_ok=True); open('{below}/up', 'w'); time.sleep(600)"
        probe = PodProbe(command=("test", "-e", f"{below}/up"), period_s=0.3, successes=2)

        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.start(_python("run.a", code, probe=probe))
                await pods.executor.start(_python("run.b", code, probe=PodProbe(command=("false",), period_s=0.1)))
                await pods.executor.start(_python("run.c", code, probe=PodProbe(command=("no-such-command",), period_s=0.1)))
                assert (await pods.news_of("run.a")).ready == ("main",)
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.adopt()
                assert (await pods.news_of("run.a")).ready == ("main",)
                assert set(pods.news) == {"run.a"}
                for key in ("run.a", "run.b", "run.c"):
                    await pods.executor.terminate(key)
                    assert (await pods.end_of(key)).exit_code == 143
                assert any("no-such-command" in line for line in await pods.printed("run.c"))

        asyncio.run(scene())

    def test_a_probe_that_hangs_is_ended_and_tried_again(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        script = f"mkdir -p {below}; echo x >> {below}/tries; [ $(wc -l < {below}/tries) -ge 3 ] || sleep 600"
        probe = PodProbe(command=("/bin/sh", "-c", script), period_s=0.1, timeout_s=0.3)

        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.start(_python("run.a", "import time; time.sleep(600)", probe=probe))
                assert (await pods.news_of("run.a")).ready == ("main",)
                await pods.executor.terminate("run.a")
                await pods.end_of("run.a")

        asyncio.run(scene())

    def test_a_probe_sees_what_its_container_serves(self, tmp_path: Path) -> None:
        port = free_port()
        probe = PodProbe(command=(PYTHON, "-I", "-c", _CLIENT, "localhost", str(port)), period_s=0.2, timeout_s=20.0)
        side = structs.replace(_container("side", ContainerRole.SIDECAR, _SERVER, port, "served"), probe=probe)
        main = _container("main", ContainerRole.MAIN, "import time; time.sleep(600)")
        pod = Pod(key="run.a", name="a", image=PodImage(name="host"), command=(), containers=(main, side), address="127.65.8.1")

        async def scene() -> None:
            async with opened(self.make(tmp_path / "home")) as pods:
                await pods.executor.start(pod)
                assert (await pods.news_of("run.a")).ready == ("side",)
                await pods.executor.terminate("run.a", 5.0)
                await pods.end_of("run.a")

        asyncio.run(scene())

    def test_progress_of_main_is_the_pods(self, tmp_path: Path) -> None:
        main = _container("main", ContainerRole.MAIN, "import os; open(os.environ['ARGO_PROGRESS_FILE'], 'w').write('7/8')")
        side = _container("side", ContainerRole.SIDECAR, "import time; time.sleep(600)")
        pod = Pod(key="run.a", name="a", image=PodImage(name="host"), command=(), grace_s=0.2, containers=(side, main))
        end, _ = self.run_one(tmp_path, pod)
        assert (end.exit_code, end.progress) == (0, "7/8")

    def test_secrets_are_nowhere_in_the_executors_directory(self, tmp_path: Path) -> None:
        secret, below = f"S3cr3t-{free_port()}", self.files_below(tmp_path)
        code = f"import os, time; print(os.environ['TOKEN'] == open('{below}/key').read(), flush=True); time.sleep(600)"
        fields: dict[str, object] = {
            "env": (("TOKEN", secret),),
            "files": (PodFile(path=f"{below}/key", content=secret.encode(), mode=0o400, secret=True),),
        }
        alone = _python("run.alone", code, **fields)
        member = PodContainer(
            name="main",
            role=ContainerRole.MAIN,
            image=PodImage(name="host"),
            command=alone.command,
            env=alone.env,
            files=(PodFile(path=f"{below}/key", content=secret.encode(), secret=True),),
        )
        several = Pod(key="run.several", name="s", image=PodImage(name="host"), command=(), grace_s=5.0, containers=(member,))

        async def scene(home: Path) -> None:
            for pod in (alone, several):
                async with opened(self.make(home)) as pods:
                    await pods.executor.start(pod)
                    await pods.wait_for_line(pod.key, "True")
                    assert _holders(home, secret) == []
                async with opened(self.make(home)) as pods:
                    assert list(await pods.executor.adopt()) == [pod.key]
                    await pods.executor.terminate(pod.key)
                    assert (await pods.end_of(pod.key)).exit_code == 143
                    assert _holders(home, secret) == []
                    await pods.executor.forget(pod.key)

        asyncio.run(scene(tmp_path / "home"))

    def test_a_command_that_fails_may_leave_a_message(self, tmp_path: Path) -> None:
        below = self.files_below(tmp_path)
        code = f"import os, sys; os.makedirs('{below}', exist_ok=True); print('printed'); print('last', file=sys.stderr)\n"
        code += f"if sys.argv[1]: open('{below}/why', 'w').write('no disk\\n')\nsys.exit(int(sys.argv[2]))"
        told = {
            ("x", 3, False): "no disk",
            ("x", 0, False): "",
            ("", 3, False): "",
            ("", 3, True): "printed\nlast",
        }
        for number, ((text, exit_code, from_log), message) in enumerate(told.items()):
            fields = {"message_path": f"{below}/why", "message_from_log": from_log}
            with contextlib.suppress(FileNotFoundError):
                Path(f"{below}/why").unlink()
            pod = _python(f"run.{number}", code, text, exit_code, **fields)
            end, _ = self.run_one(tmp_path, pod)
            assert (end.exit_code, sorted(end.message.splitlines())) == (exit_code, sorted(message.splitlines()))

    @pytest.mark.parametrize("address", ["", "127.65.6.1"])
    def test_a_command_that_asks_for_a_terminal_runs_at_one(self, tmp_path: Path, address: str) -> None:
        code = "import os, sys; print([os.isatty(fd) for fd in (0, 1, 2)]); print('more', file=sys.stderr); sys.exit(3)"
        pod = _python("run.a", code, tty=True, address=address, capture_result=True)
        end, printed = self.run_one(tmp_path, pod)
        assert (end.exit_code, end.error, end.result) == (3, "", "[True, True, True]\nmore")
        assert printed == ["[True, True, True]", "more"]

    def test_large_output_at_a_terminal_comes_through_whole(self, tmp_path: Path) -> None:
        code = "for number in range(20000): print(number)"
        _, printed = self.run_one(tmp_path, _python("run.a", code, tty=True))
        assert printed == [str(number) for number in range(20_000)]

    def test_without_a_terminal_standard_input_is_empty(self, tmp_path: Path) -> None:
        code = "import os, sys; print([os.isatty(fd) for fd in (0, 1, 2)]); print(repr(sys.stdin.read()))"
        _, printed = self.run_one(tmp_path, _python("run.a", code))
        assert printed == ["[False, False, False]", "''"]

    def test_a_command_with_an_address_that_cannot_be_started_says_so(self, tmp_path: Path) -> None:
        pod = Pod(key="run.a", name="a", image=PodImage(name="host"), command=("/etc/passwd",), address="127.65.5.1")
        end, _ = self.run_one(tmp_path, pod)
        assert end.exit_code == 64
        assert "not executable" in end.error
