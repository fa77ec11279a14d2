"""What goes wrong: who is killed, and what becomes of the link, the disk and the replicas."""

import contextlib
import hashlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmark.chaos.world import World
from benchmark.service import MeasurementError
from jitflow.testing.slow_link import SlowLink

START_S = 90.0
"""A server has to answer within so much time after it was started, its database's return included."""


class Faults:
    """Does one thing at a time; all of it is undone by `calm`."""

    def __init__(self, world: World, random: Random) -> None:
        """Act on this world."""
        self._world = world
        self._random = random
        self.kills: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.starts_s: list[float] = []
        """How long servers took to answer that were started after a kill."""
        self._clean = {hashlib.sha256(body).digest() for body in world.inputs.values()}
        self._link_until = 0.0
        self._ballast_until = 0.0

    @property
    def count(self) -> int:
        """How many processes were killed."""
        return sum(self.kills.values())

    # -- kills -------------------------------------------------------------------------------------------------------------

    def kill_one(self) -> None:
        """Kill somebody with SIGKILL, and start again what does not start by itself."""
        chosen = [(self._kill_server, 8), (self._kill_rclone, 3), (self._kill_parent, 5)]
        if self._world.database is not None:
            chosen += [(self._kill_database, 4), (self._kill_both, 1)]
        actions, weights = zip(*chosen, strict=True)
        kill: Callable[[], None] = self._random.choices(actions, weights)[0]
        kill()

    def _kill_server(self) -> None:
        self._world.server.kill()
        self.kills["server"] += 1
        if self._random.random() < 0.2:
            self._spoil()
        elif self._random.random() < 0.5:
            time.sleep(self._random.uniform(0, 1.5))
        self._start()

    def _start(self) -> None:
        """Start the server; sometimes it is killed again while it comes up."""
        server = self._world.server
        while self._random.random() < 0.25:
            server.spawn()
            time.sleep(self._random.uniform(0.0, 1.2))
            server.kill()
            self.kills["server while it started"] += 1
        self.starts_s.append(server.start(timeout_s=START_S))

    def _kill_rclone(self) -> None:
        for pid in self._world.rclones()[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills["rclone"] += 1

    def _kill_parent(self) -> None:
        until = time.monotonic() + 2
        while not (parents := self._world.parents()):
            if time.monotonic() > until:
                return
            time.sleep(0.02)
        key = self._random.choice(sorted(parents))
        self._world.killed_pods.add(key)
        with contextlib.suppress(ProcessLookupError):
            os.kill(parents[key], signal.SIGKILL)
            self.kills["pod's parent"] += 1

    def _kill_database(self) -> None:
        database = self._world.database
        assert database is not None
        database.stop(signal.SIGKILL)
        self.kills["database"] += 1
        time.sleep(self._random.uniform(0, 1.5))
        self._start_database()

    def _start_database(self) -> None:
        """Start the database; one that does not come up the first time is killed once more."""
        database = self._world.database
        assert database is not None
        for _ in range(3):
            try:
                database.start()
            except RuntimeError as error:
                print(f"the database did not come up: {error}", file=sys.stderr, flush=True)
                database.stop(signal.SIGKILL)
                self.others["database did not come up at once"] += 1
            else:
                return
        raise MeasurementError("the database does not come up any more")

    def _kill_both(self) -> None:
        """The machine goes down: server and database at once."""
        database = self._world.database
        assert database is not None
        self._world.server.kill()
        database.stop(signal.SIGKILL)
        self.kills["server"] += 1
        self.kills["database"] += 1
        if self._random.random() < 0.5:
            self._world.server.spawn()  # it waits for its database
            time.sleep(self._random.uniform(0, 1))
            self._start_database()
            self._world.server.kill()
            self.kills["server while it started"] += 1
        else:
            self._start_database()
        self._start()

    # -- other faults ------------------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Let the link or the disk be bad for a while; end what has lasted long enough."""
        now = time.monotonic()
        if now > self._link_until and self._random.random() < 0.25:
            name, act, lasts = self._random.choice(_LINK)
            lasts_s = self._random.uniform(0.5, 4) if lasts else 0.0
            self._world.link.call(act)
            # Not longer than a far store may be away before transfers are given up, whoever is killed meanwhile.
            threading.Timer(lasts_s, self._world.link.call, (_healthy,)).start()
            self.others[name] += 1
            self._link_until = now + lasts_s
        if self._world.disk is None:
            return
        if self._ballast_until and now > self._ballast_until:
            self._ballast.unlink(missing_ok=True)
            self._ballast_until = 0.0
        elif not self._ballast_until and self._random.random() < 0.08:
            self._fill()
            self._ballast_until = now + self._random.uniform(0.5, 3)

    @property
    def _ballast(self) -> Path:
        assert self._world.disk is not None
        return self._world.disk / "ballast"

    def _fill(self) -> None:
        """Leave no byte free on the near disk."""
        self.others["disk full"] += 1
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    def _spoil(self) -> None:
        """Change bytes of a replica of a far object, while nobody reads any."""
        until = time.monotonic() + 4
        while not self._world.at_rest():
            if time.monotonic() > until:
                return
            time.sleep(0.1)
        replicas = sorted(path for path in (self._world.primary / "objects").glob("*/*") if path.is_file())
        self._random.shuffle(replicas)
        for path in replicas:
            body = path.read_bytes()
            if hashlib.sha256(body).digest() in self._clean:  # outputs that are not far away yet may be the only copy
                path.write_bytes(bytes([body[0] ^ 0xFF]) + body[1:])
                self.others["replica spoilt"] += 1
                return

    def calm(self) -> None:
        """End all faults, and see that all servers run."""
        self._world.link.call(_healthy)
        if self._world.disk is not None:
            self._ballast.unlink(missing_ok=True)


def _healthy(link: SlowLink) -> None:
    link.resume()
    link.throttle(8e6)


def _refuse(link: SlowLink) -> None:
    link.cut(refuse=True)


def _slow(link: SlowLink) -> None:
    link.throttle(300e3)


_LINK: tuple[tuple[str, Callable[[SlowLink], None], bool], ...] = (
    ("link cut", SlowLink.cut, False),
    ("link away", _refuse, True),
    ("link stalled", SlowLink.stall, True),
    ("link slow", _slow, True),
)
