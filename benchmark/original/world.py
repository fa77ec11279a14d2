"""Two S3 servers behind simulated links, a jitflow server, and what is on the primary before each run."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmark.original import manifests, sets
from benchmark.original.cells import BY_JITFLOW, EMPTY, FULL, HALF, JITFLOW, JITFLOW_NEAR, Cell
from benchmark.original.sets import File, FileSet
from benchmark.service import MeasurementError, Server, background, checked, free_port, shown_in_pods
from jitflow.storage.binary import clean_environment, find_rclone
from jitflow.testing.s3_server import S3Server

CAPACITY = "4GiB"


@dataclass(frozen=True, kw_only=True)
class Links:
    """The links to both stores. `connection_mbit`: what one connection gets."""

    far_rtt_ms: float = 40.0
    far_mbit: float = 800.0
    far_connection_mbit: float = 200.0
    near_rtt_ms: float = 1.0


@dataclass(kw_only=True)
class World:
    """What runs, and where the files are."""

    root: Path
    sets: Mapping[str, FileSet]
    servers: Mapping[str, Server]
    """By way: the one whose primary is the near store serves its own way, the other one all others."""
    rclone: str
    environment: dict[str, str]
    """What the rclone of steps and of the replicator sees: both stores behind their links."""
    probe: "Probe"

    def server(self, way: str) -> Server:
        """Return the server that runs a way's workflows."""
        return self.servers.get(way, self.servers[JITFLOW])

    def prepare(self, cell: Cell) -> None:
        """Bring the near store, or jitflow's primary, into the state that a run begins with."""
        files = self.sets[cell.set].files
        present = {EMPTY: (), HALF: self.sets[cell.set].half(), FULL: files}[cell.fill]
        if cell.way in BY_JITFLOW:
            self._hold(self.server(cell.way), cell.set, present)
        else:
            sets.put(present, self.root / "contents" / cell.set, self.root / "near" / manifests.NEAR_BUCKET)
            # The server sees what came behind its back after a while.
            time.sleep(2 * S3Server.DIRECTORY_CACHE_S)

    def _hold(self, server: Server, name: str, files: tuple[File, ...]) -> None:
        """Let a server's primary hold these files of a set and no others of it."""
        begin = f"far:{manifests.BUCKET}/{name}/"
        replicas = [_name(one["ref"]) for one in server.get("/data/v1/primary")["replicas"]]
        have = {ref for ref in replicas if ref.startswith(begin)}
        wanted = {begin + file.name for file in files}
        for ref in have - wanted:
            _post(server, "evict", ref)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda ref: _post(server, "stage", ref), wanted - have))


def _post(server: Server, action: str, ref: str) -> None:
    checked(server.call("POST", f"/data/v1/primary/{action}", {"ref": ref}))


def _name(ref: Any) -> str:
    return ref if isinstance(ref, str) else f"{ref['remote']}:{ref['path']}"


class Probe:
    """An rclone of its own that only tells how long one file takes over the far link, connection and process being there."""

    def __init__(self, http: httpx.Client, target: Path) -> None:
        """Ask the rclone behind `http`; files come to `target`."""
        self._http = http
        self._target = target

    def seconds(self, path: str) -> float:
        """Copy one object of the far store (`bucket/key`) and return how long it took: big ones in parallel ranges.

        Raises:
            MeasurementError: it cannot be copied.
        """
        target = self._target / "file"
        target.unlink(missing_ok=True)
        chunk = 4 * 2**20
        body = {
            "srcFs": "far:", "srcRemote": path, "dstFs": str(self._target), "dstRemote": target.name,
            "_config": {"MultiThreadCutoff": chunk, "MultiThreadChunkSize": chunk, "MultiThreadStreams": 4},
        }  # fmt: skip
        began = time.perf_counter()
        checked(self._http.post("/operations/copyfile", json=body))
        taken = time.perf_counter() - began
        if not target.exists():
            raise MeasurementError(f"far:{path} was not copied")
        return taken


@contextmanager
def world(root: Path, chosen: Mapping[str, FileSet], links: Links, *, places: int) -> Iterator[World]:
    """Make the files and start everything.

    Raises:
        MeasurementError: something does not come up.
    """
    for folder in ("far", "near", "home", "home-near", "probe"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for bucket in (manifests.NEAR_BUCKET, manifests.JITFLOW_BUCKET):
        (root / "near" / bucket).mkdir(parents=True)
    (root / "probe").mkdir()
    for file_set in chosen.values():
        contents = root / "contents" / file_set.name
        sets.generate(file_set, contents)
        sets.put(file_set.files, contents, root / "far" / manifests.BUCKET / file_set.name)
    rclone = str(find_rclone())
    with (
        S3Server(root / "far", hash_cache=root / "far-hashes") as far,
        S3Server(root / "near", hash_cache=root / "near-hashes") as near,
        _link(root / "far-link.log", far, links.far_rtt_ms, links.far_mbit, links.far_connection_mbit) as far_url,
        _link(root / "near-link.log", near, links.near_rtt_ms) as near_url,
    ):
        far_options, near_options = far.options(endpoint=far_url), near.options(endpoint=near_url)
        pods = manifests.pod_environment(str(Path(rclone).parent), near_options, far_options)
        environment = clean_environment(pods)
        settings = _settings(root, places, far_options, pods)
        near_primary = {"capacity": CAPACITY, "remote": "near", "prefix": f"{manifests.JITFLOW_BUCKET}/"}
        remotes = settings["remotes"] | {"near": {"type": "s3", "options": near_options}}
        with (
            _rcd(rclone, root, environment) as probe,
            Server(root / "home", settings) as server,
            Server(root / "home-near", settings | {"primary": near_primary, "remotes": remotes}) as near_server,
        ):
            servers = {JITFLOW: server, JITFLOW_NEAR: near_server}
            yield World(root=root, sets=chosen, servers=servers, rclone=rclone, environment=environment, probe=probe)


def _settings(root: Path, places: int, far: dict[str, str], pods: dict[str, str]) -> dict[str, Any]:
    files = shown_in_pods(Path(sys.prefix), Path(sys.base_prefix))
    files[manifests.HERE_IN_POD] = str(root / "contents")
    return {
        "executor": "sandbox",
        "max_pods": places,
        "log_level": "warning",
        "primary": {"capacity": CAPACITY},
        "remotes": {"far": {"type": "s3", "endpoints": [manifests.ENDPOINT], "options": far}},
        "images": {manifests.IMAGE: {"root": "", "env": pods, "files": files}},
    }


@contextmanager
def _link(
    log: Path, server: S3Server, rtt_ms: float, mbit: float | None = None, connection_mbit: float | None = None
) -> Iterator[str]:
    log.unlink(missing_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "jitflow.testing.slow_link", "--rtt-ms", str(rtt_ms)]
    command += ["--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{server.port}"]
    for option, value in (("--mbit", mbit), ("--connection-mbit", connection_mbit)):
        command += [option, str(value)] if value else []
    with background(command, log, port=port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _rcd(rclone: str, root: Path, environment: dict[str, str]) -> Iterator[Probe]:
    port = free_port()
    command = [rclone, "rcd", "--config", "", "--rc-no-auth", "--rc-addr", f"127.0.0.1:{port}"]
    log = root / "probe.log"
    log.unlink(missing_ok=True)
    with (
        background(command, log, port=port, environment=environment),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as http,
    ):
        yield Probe(http, root / "probe")
