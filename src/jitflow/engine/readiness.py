"""When a daemon is ready: its readiness probes, tried until they succeed, and the loopback address at which it is reached."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from jitflow.engine.containers import MAIN, AnyContainer
from jitflow.model import argo
from jitflow.model.pods import PodProbe
from jitflow.model.problems import Refused
from jitflow.ports.clock import Clock

_FIRST_TRIES_S = 0.1
"""At first a probe is tried sooner than its period says: who waits for the daemon is not kept longer than need be."""


class Probe(Struct, frozen=True, kw_only=True):
    """How to see whether a container is ready: a TCP connection or, with a path, a request whose answer is 200 to 399.

    Times in seconds.
    """

    host: str
    port: int
    path: str = ""
    https: bool = False
    """The certificate is not verified, as Kubernetes does not."""
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    successes: int = 1


def probes_of(template: argo.Template, address: str) -> tuple[Probe, ...]:
    """Return the readiness probes of a template's containers that are tried over the network.

    Raises:
        Refused: a probe is of a kind that cannot be tried here, or names a port that is none.
    """
    probes = [(one, one.readiness_probe) for _, one in _containers(template)]
    return tuple(_probe(one, probe, address) for one, probe in probes if probe is not None and probe.exec is None)


def commands_of(template: argo.Template) -> frozenset[str]:
    """Return the names of the containers whose readiness is told by a command, which runs in them."""
    return frozenset(name for name, one in _containers(template) if one.readiness_probe and one.readiness_probe.exec)


def command_of_probe(probe: argo.Probe | None) -> PodProbe | None:
    """Return the command of a readiness probe, with its times, None if it is none.

    Raises:
        Refused: it is empty.
    """
    if probe is None or probe.exec is None:
        return None
    if not probe.exec.command:
        raise Refused("readinessProbe: exec names no command; write `command:`")
    return PodProbe(command=probe.exec.command, **_times(probe))


def _containers(template: argo.Template) -> list[tuple[str, AnyContainer]]:
    """Return a template's containers that run side by side, each with its name in the pod."""
    mains = [one for one in (template.container, template.script) if one is not None]
    group = template.container_set.containers if template.container_set is not None else ()
    return [*((MAIN, one) for one in mains), *((one.name, one) for one in (*group, *template.sidecars))]


def _times(probe: argo.Probe) -> dict[str, Any]:
    return {
        "initial_delay_s": float(probe.initial_delay_seconds or 0),
        "period_s": float(probe.period_seconds or 10),
        "timeout_s": float(probe.timeout_seconds or 1),
        "successes": max(1, probe.success_threshold or 1),
    }


def _probe(container: AnyContainer, probe: argo.Probe, address: str) -> Probe:
    times = _times(probe)
    if probe.http_get is not None:
        get = probe.http_get
        return Probe(
            host=_host(get.host, address),
            port=_port(container, get.port),
            path=get.path or "/",
            https=(get.scheme or "HTTP").upper() == "HTTPS",
            headers=tuple((header.name, header.value or "") for header in get.http_headers),
            **times,
        )
    if probe.tcp_socket is not None:
        return Probe(host=_host(probe.tcp_socket.host, address), port=_port(container, probe.tcp_socket.port), **times)
    raise Refused("a readiness probe of a daemon is an exec, an httpGet or a tcpSocket here; change it")


def _host(host: str | None, address: str) -> str:
    if host and host not in {address, "localhost", "127.0.0.1"}:
        raise Refused(f"readinessProbe: the host {host!r} is not the pod's own; leave it out")
    return address


def _port(container: AnyContainer, port: int | str | None) -> int:
    for one in container.ports:
        if one.name == port:
            return one.container_port
    try:
        number = int(port or 0)
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise Refused(f"readinessProbe: {port!r} is no port of the container; name one of its `ports`, or a number")
    return number


async def until_ready(probes: Sequence[Probe], clock: Clock, wanted: Callable[[], bool]) -> None:
    """Return when every probe has succeeded as often in a row as it must, or when it is `wanted` no more."""
    await asyncio.gather(*(_one(probe, clock, wanted) for probe in probes))


async def _one(probe: Probe, clock: Clock, wanted: Callable[[], bool]) -> None:
    await clock.sleep(probe.initial_delay_s)
    successes, wait_s = 0, min(_FIRST_TRIES_S, probe.period_s)
    while wanted():
        successes = successes + 1 if await _succeeds(probe) else 0
        if successes >= probe.successes:
            return
        await clock.sleep(probe.period_s if successes else wait_s)
        wait_s = min(wait_s * 2, probe.period_s)


async def _succeeds(probe: Probe) -> bool:
    with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(probe.timeout_s):
            return await _try(probe)
    return False


async def _try(probe: Probe) -> bool:
    context = None
    if probe.https:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(probe.host, probe.port, ssl=context)
    try:
        if not probe.path:
            return True
        path = probe.path if probe.path.startswith("/") else f"/{probe.path}"
        headers = {"Host": f"{probe.host}:{probe.port}", "User-Agent": "jitflow-probe", "Accept": "*/*", "Connection": "close"}
        headers |= dict(probe.headers)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            return False
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        words = (await reader.readline()).split()
        return len(words) > 1 and words[0].startswith(b"HTTP/") and 200 <= int(words[1]) < 400
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
