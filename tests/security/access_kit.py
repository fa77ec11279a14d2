"""The whole HTTP application over fakes, with real tokens: one for each kind of caller."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import httpx
from starlette.routing import Route

from jitflow.access import ALL, Gate, Limits, Role, Tokens, TokenWish, Verifier, owner
from jitflow.access.audit import AuditLog
from jitflow.agents import HostRules, WebhookSender
from jitflow.app.backfills import Backfills
from jitflow.app.foreign import ForeignRuns
from jitflow.app.outbox import Outbox
from jitflow.app.usage import UsageKeeper
from jitflow.app.webhooks import Webhooks
from jitflow.bootstrap.rotation import Rotation
from jitflow.bootstrap.vault import Vault
from jitflow.control_api import Application, Rules, make_app
from jitflow.data_api import routes as data_routes
from jitflow.dataplane import LocalDataPlane, LocalView, PrimaryDirectory
from jitflow.engine.locations import Locator
from jitflow.model.data import ObjectRef
from jitflow.model.servers import ServerInfo
from jitflow.telemetry.metrics import CustomMetrics, Exposition
from jitflow.testing.fake_engine import PlainSealer, World

T = TypeVar("T")

OWN = "the-servers-own-token"
HERE, THERE = "team-a", "team-b"
MANIFEST: dict[str, Any] = {
    "metadata": {"name": "one"},
    "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "busybox", "command": ["true"]}}]},
}
GRANTS: dict[str, dict[str, Role]] = {
    "viewer": {HERE: Role.VIEWER},
    "operator": {HERE: Role.OPERATOR},
    "admin": {HERE: Role.ADMIN},
    "elsewhere": {THERE: Role.ADMIN},
    "viewer-of-all": {ALL: Role.VIEWER},
    "operator-of-all": {ALL: Role.OPERATOR},
    "admin-of-all": {ALL: Role.ADMIN},
}


class House:
    """An application and tokens to try it with; `main` plays a scenario in its event loop."""

    def __init__(self, *, verifier: Verifier | None = None, rules: Rules | None = None, audit: AuditLog | None = None) -> None:
        self._rules = rules or Rules()
        self.audit = audit or AuditLog(Path(mkdtemp()))
        self.world = World()
        self.tokens = Tokens(self.world.store, self.world.clock, self._spawn)
        self.gate = Gate(OWN, tokens=self.tokens, verifier=verifier, now=self.world.clock.now)
        hooks = Webhooks(self.world.store, PlainSealer())
        sender = WebhookSender(HostRules(private_hosts=()))
        self.outbox = Outbox(hooks, self.world.store, sender, self.world.clock, self._spawn)
        world = self.world
        self.backfills = Backfills(world.objects, world.service, world.store, world.clock, self._spawn)
        near = PrimaryDirectory(self.audit.folder / "near", world.storage)
        self.foreign = ForeignRuns(
            store=world.store,
            dataplane=LocalDataPlane(near, 1000, world.storage, world.store, world.clock),
            view=LocalView(world.primary),
            objects=world.objects,
            locator=lambda: Locator(remotes={}, repository=ObjectRef(remote="own", path="artifacts")),
            clock=world.clock,
            spawn=self._spawn,
        )
        self.usage = UsageKeeper(
            world.service.known_runs, world.engine, world.store, LocalView(world.primary), clock=world.clock, spawn=self._spawn
        )
        self.keys: dict[str, str] = {"own": OWN}
        self._background: list[Awaitable[Any]] = []
        self.app = self._app()

    def _app(self) -> Application:
        return make_app(
            self.world.service,
            self.gate,
            tokens=self.tokens,
            extra=data_routes(self.world.data, self.world.jobs, self.world.files),
            metrics=Exposition(CustomMetrics(self.world.clock.now), dict),
            rules=self._rules,
            audit=self.audit,
            outbox=self.outbox,
            foreign=self.foreign,
            backfills=self.backfills,
            usage=self.usage,
            servers=self._servers,
            rotation=Rotation(Vault(self.audit.folder / "key"), self.world.store, self.world.store, self.world.objects),
        )

    async def _servers(self) -> list[ServerInfo]:
        return []

    def _spawn(self, work: Any, _name: str) -> None:
        self._background.append(asyncio.get_running_loop().create_task(work))

    async def open(self) -> None:
        await self.world.service.open()
        await self.tokens.open()
        await self.outbox.open(())
        for name, grants in GRANTS.items():
            self.keys[name] = await self.key(name, grants)
        self.keys["expired"] = await self.key("expired", {ALL: Role.ADMIN}, expires_in_s=1.0)

    async def key(self, name: str, grants: dict[str, Role], **more: Any) -> str:
        """Return a new token."""
        return (await self.tokens.create(TokenWish(name=name, grants=grants, **more), owner()))[1]

    def client(self, key: str = "") -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.keys.get(key, key)}"} if key else {}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1:2746", headers=headers)

    async def ask(self, key: str, method: str, path: str, **more: Any) -> httpx.Response:
        async with self.client(key) as client:
            return await client.request(method, path, **more)

    def play(self, scenario: Callable[["House"], Awaitable[T]]) -> T:
        async def run() -> T:
            await self.open()
            return await scenario(self)

        try:
            return asyncio.run(run())
        finally:
            self.close()

    def close(self) -> None:
        """Remove the audit log."""
        self.audit.close()
        shutil.rmtree(self.audit.folder)

    def routes(self) -> Iterator[tuple[str, str]]:
        """Yield every route of the application: method and path as the router has it."""
        for route in self.app.routes:
            assert isinstance(route, Route)
            for method in sorted(route.methods or ()):
                yield method, route.path


__all__ = ["ALL", "GRANTS", "HERE", "MANIFEST", "OWN", "THERE", "House", "Limits", "Role"]
