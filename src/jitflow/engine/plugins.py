"""Executor plugins that a workflow brings along (`spec.executorPlugins`): a pod each, from the first template that asks for them
until the workflow ends.

Pods share the ports of the machine. So one workflow at a time has the plugin of a port; another waits for it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct
from msgspec.structs import replace

from jitflow.engine.images import Images
from jitflow.engine.locations import Locator
from jitflow.engine.podkeeper import PodKeeperConfig
from jitflow.engine.pods import build_pod, plan_pod
from jitflow.engine.tasks import Owner
from jitflow.model import argo
from jitflow.model.data import ObjectRef
from jitflow.model.pods import Pod, PodEnd, PodFile
from jitflow.model.problems import Refused
from jitflow.model.runs import LaunchPod, ServePlugins
from jitflow.ports.clock import Clock
from jitflow.ports.dataplane import Lease
from jitflow.ports.errors import PortError
from jitflow.ports.executor import Executor

TOKEN_PATH = "/var/run/argo/token"
"""Where a plugin finds the token that it is to be asked with."""

MOST_STARTS = 5
"""A plugin that has ended by itself is started again, with growing pauses, so often."""

_MARK = "_"
"""What plugins' pods are called by: no node's id has it."""

_LOOK_S, _LONGEST_LOOK_S = 0.05, 0.5


class OwnPlugin(Struct, frozen=True, kw_only=True):
    """A plugin that serves: where it listens, and its token."""

    name: str
    url: str
    token: str


class _Plugin:
    """One plugin of one workflow. `failure`: why it will never serve."""

    def __init__(self, uid: str, spec: argo.ExecutorPlugin, effect: ServePlugins) -> None:
        self.uid = uid
        self.container = spec.spec.sidecar.container
        self.name = spec.metadata.name or self.container.name or ""
        self.port = self.container.ports[0].container_port
        self.effect = effect
        self.starts = 0
        self.serves = False
        self.wanted = True
        self.failure = ""
        self.waits = ""
        self.ended = asyncio.Event()
        self.last: PodEnd | None = None

    @property
    def key(self) -> str:
        return _key(self.uid, self.name, self.starts)


class WorkflowPlugins:
    """Starts, watches and ends plugins. Their pods survive the server as all pods do."""

    def __init__(
        self,
        *,
        executor: Executor,
        clock: Clock,
        images: Images,
        config: PodKeeperConfig,
        owner: Owner,
        token_of: Callable[[str], str],
    ) -> None:
        """Hold what pods are made of. `token_of` gives the same secret for the same name, and nobody else can tell it."""
        self._executor = executor
        self._clock = clock
        self._images = images
        self._config = config
        self._grace_s = config.grace_s
        self._owner = owner
        self._token_of = token_of
        self._known: set[str] = set()
        self._ending: set[str] = set()
        self._nothing = Locator(remotes={}, repository=ObjectRef(remote="", path=""))
        """Plugins have no artifacts."""
        self._last_start: dict[tuple[str, str], int] = {}
        self._serving: dict[str, list[_Plugin]] = {}
        self._pods: dict[str, _Plugin] = {}
        self._ports: dict[int, _Plugin] = {}
        self._changed = asyncio.Condition()

    def adopted(self, keys: Collection[str], unfinished: Collection[str]) -> None:
        """Take note of the pods that survived; end those whose workflow has ended."""
        self._known = {key for key in keys if is_plugin(key)}
        for key in sorted(self._known):
            uid, name, start = _parts(key)
            self._last_start[uid, name] = max(start, self._last_start.get((uid, name), 0))
            if key.partition(".")[0] not in unfinished:
                self._end(key)

    async def finish(self) -> None:
        """End what is to end before the server stops: until it starts again, nobody would."""
        for key in sorted(self._ending):
            await self._executor.terminate(key, self._grace_s)

    def _end(self, key: str) -> None:
        self._ending.add(key)
        self._owner.spawn(self._executor.terminate(key, self._grace_s), f"end {key}")

    def serve(self, uid: str, effect: ServePlugins) -> None:
        """Start the plugins of a workflow. Harmless to repeat."""
        if uid not in self._serving:
            self._serving[uid] = [_Plugin(uid, spec, effect) for spec in effect.plugins]
            for plugin in self._serving[uid]:
                self._owner.spawn(self._supervise(plugin), f"plugin {plugin.name} of {uid}")

    def close(self, uid: str) -> None:
        """End the plugins of a workflow."""
        for plugin in self._serving.pop(uid, ()):
            plugin.wanted = False
            plugin.ended.set()
            if plugin.starts:
                self._end(plugin.key)

    def pod_ended(self, end: PodEnd) -> bool:
        """Take note of a pod's end, if it is a plugin's."""
        if not is_plugin(end.key):
            return False
        self._known.discard(end.key)
        self._ending.discard(end.key)
        plugin = self._pods.pop(end.key, None)
        if plugin is not None:
            plugin.last = end
            plugin.ended.set()
            if self._ports.get(plugin.port) is plugin:
                del self._ports[plugin.port]
        self._owner.spawn(self._executor.forget(end.key), f"forget {end.key}")
        return True

    async def ready(self, uid: str, report: Callable[[str], None]) -> Sequence[OwnPlugin]:
        """Return the plugins of a workflow when all of them serve; `report` is told what is waited for.

        Raises:
            Refused: one of them cannot serve.
        """
        told = ""
        while True:
            plugins = self._serving.get(uid, [])
            failure = next((plugin.failure for plugin in plugins if plugin.failure), "")
            if failure:
                raise Refused(f'agent pod failed with reason:"{failure}"')
            if plugins and all(plugin.serves for plugin in plugins):
                return [
                    OwnPlugin(name=plugin.name, url=f"http://127.0.0.1:{plugin.port}", token=self._token(plugin))
                    for plugin in plugins
                ]
            waits = next((plugin.waits for plugin in plugins if plugin.waits), "")
            if waits != told:
                told = waits
                report(told)
            async with self._changed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _LONGEST_LOOK_S)

    def _token(self, plugin: _Plugin) -> str:
        return self._token_of(f"{plugin.uid}/{plugin.name}")

    # -- one plugin ---------------------------------------------------------------------------------------------------

    async def _supervise(self, plugin: _Plugin) -> None:
        """Keep a plugin running until its workflow ends, or it has ended by itself too often."""
        plugin.starts = self._last_start.pop((plugin.uid, plugin.name), 0)
        while plugin.wanted and plugin.starts <= MOST_STARTS:
            try:
                await self._run(plugin)
            except (Refused, PortError, OSError) as error:
                await self._tell(plugin, failure=f"plugin {plugin.name}: {error}")
                return
            if plugin.wanted:
                await self._tell(plugin, serves=False)
                await self._clock.sleep(0.1 * 2**plugin.starts)
        if plugin.wanted:
            code = plugin.last.exit_code if plugin.last is not None else None
            await self._tell(
                plugin, failure=f"plugin {plugin.name} ended {MOST_STARTS} times, the last time with exit code {code}"
            )

    async def _run(self, plugin: _Plugin) -> None:
        """Start a plugin, or take up the one that survived; return when it has ended or is wanted no more."""
        plugin.ended.clear()
        if plugin.starts and plugin.key in self._known:
            self._ports[plugin.port] = plugin
            self._pods[plugin.key] = plugin
        else:
            plugin.starts += 1
            if plugin.starts > MOST_STARTS or not await self._claim(plugin):
                return
            self._pods[plugin.key] = plugin
            try:
                await self._executor.start(self._pod(plugin))
            except BaseException:
                self._pods.pop(plugin.key, None)
                self._ports.pop(plugin.port, None)
                raise
        if not plugin.wanted:
            await self._executor.terminate(plugin.key, self._grace_s)
        while not plugin.ended.is_set() and not await _listens(plugin.port):
            await self._clock.sleep(_LOOK_S)
        if not plugin.ended.is_set():
            await self._tell(plugin, serves=True)
        await plugin.ended.wait()

    async def _claim(self, plugin: _Plugin) -> bool:
        """Wait until nobody uses the plugin's port; False when it is wanted no more."""
        wait_s = _LOOK_S
        while plugin.wanted:
            taken = await _listens(plugin.port)
            if not taken and plugin.port not in self._ports:
                self._ports[plugin.port] = plugin
                await self._tell(plugin, waits="")
                return True
            await self._tell(plugin, waits=f"Waiting for port {plugin.port}, on which another program or workflow listens")
            await self._clock.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_LOOK_S)
        return False

    async def _tell(self, plugin: _Plugin, *, serves: bool = False, failure: str = "", waits: str = "") -> None:
        plugin.serves, plugin.failure, plugin.waits = serves, failure, waits
        async with self._changed:
            self._changed.notify_all()

    def _pod(self, plugin: _Plugin) -> Pod:
        template = argo.Template(name=plugin.name, container=plugin.container)
        level = plugin.effect.workflow_level
        node_id = plugin.key.partition(".")[2]
        launch = LaunchPod(
            key=node_id, node_id=node_id, pod_name=f"{level.workflow_name}-agent", template=template, workflow_level=level
        )
        plan = plan_pod(plugin.uid, launch, self._nothing, self._images)
        lease = Lease(step=plan.step.id)
        now = self._clock.now()
        config = self._config
        pod = build_pod(
            plugin.key, plan, lease, environment=config.environment, grace_s=config.grace_s, now=now, around=config.around
        )
        files = (*pod.files, PodFile(path=TOKEN_PATH, content=self._token(plugin).encode()))
        # The agent looks for plugins at the machine's localhost, whatever the kernel allows: hence no address of its own.
        return replace(pod, files=files, address="")


def _key(uid: str, name: str, start: int) -> str:
    return f"{uid}.{_MARK}{name}{_MARK}{start}"


def _parts(key: str) -> tuple[str, str, int]:
    uid, _, node_id = key.partition(".")
    name, _, start = node_id.removeprefix(_MARK).rpartition(_MARK)
    return uid, name, int(start)


def is_plugin(key: str) -> bool:
    """Return whether a pod's key is a plugin's."""
    return key.partition(".")[2].startswith(_MARK)


def keys_of(uid: str, plugins: Sequence[argo.ExecutorPlugin]) -> list[str]:
    """Return the keys of all pods that a workflow's plugins may have had."""
    names = [plugin.metadata.name or plugin.spec.sidecar.container.name or "" for plugin in plugins]
    return [_key(uid, name, start) for name in names for start in range(1, MOST_STARTS + 1)]


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
    return False
