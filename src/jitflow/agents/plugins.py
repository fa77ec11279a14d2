"""plugin templates: executor plugins, asked over HTTP until one of them has an answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx
import msgspec
from msgspec import Struct

from jitflow.engine.plugins import OwnPlugin
from jitflow.expr import durations
from jitflow.model import argo
from jitflow.model.problems import Refused
from jitflow.model.runs import RunTask
from jitflow.ports.agents import Report, TaskResult

TIMEOUT_S = 30.0
DEFAULT_REQUEUE_S = 5.0
ENDED = frozenset({"Succeeded", "Failed", "Error"})


class Plugin(Struct, frozen=True, kw_only=True):
    """Where a plugin listens, as `http://localhost:4355`, and the token it wants to see."""

    url: str
    token: str = ""


class _NodeResult(argo.Base, frozen=True, kw_only=True):
    phase: str = ""
    message: str = ""
    outputs: argo.Outputs | None = None
    progress: str = ""


class _Reply(argo.Base, frozen=True, kw_only=True):
    node: _NodeResult | None = None
    requeue: str | dict[str, Any] | None = None


class OwnPlugins(Protocol):
    """The plugins that workflows bring along."""

    async def ready(self, uid: str, report: Report) -> Sequence[OwnPlugin]:
        """Return the plugins of a workflow when they serve.

        Raises:
            Refused: one of them cannot.
        """
        ...


class PluginAgent:
    """Asks the plugins of the settings, or those that a workflow brings along.

    A plugin that is still at work is asked again, also after a restart.
    """

    def __init__(self, plugins: Mapping[str, Plugin], own: OwnPlugins | None = None) -> None:
        """Hold the plugins, by name; they are asked in this order."""
        self._plugins = dict(plugins)
        self._own = own

    async def run(self, uid: str, task: RunTask, report: Report) -> TaskResult:
        """Ask the plugins; see `Agent.run`."""
        plugins = self._plugins
        if task.own_plugins and self._own is not None:
            plugins = {one.name: Plugin(url=one.url, token=one.token) for one in await self._own.ready(uid, report)}
        if not plugins:
            raise Refused("no executor plugin is configured; name one under [plugins.NAME] in the settings file")
        level = task.workflow_level
        template = msgspec.to_builtins(task.template)
        body = {
            "workflow": {
                "metadata": {"name": level.workflow_name, "namespace": level.namespace, "uid": level.workflow_uid or uid}
            },
            "template": template,
        }
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            for name, plugin in plugins.items():
                result = await self._ask(client, name, plugin, body, report)
                if result is not None:
                    return result
        wanted = ", ".join(task.template.plugin)
        raise Refused(f"no executor plugin took the template: asked {', '.join(plugins)} for {wanted!r}")

    async def _ask(
        self, client: httpx.AsyncClient, name: str, plugin: Plugin, body: Mapping[str, Any], report: Report
    ) -> TaskResult | None:
        """Return how the plugin says the node ended; None when it does not know this template."""
        while True:
            reply = await self._post(client, name, plugin, body)
            if reply is None or reply.node is None:
                return None
            node = reply.node
            if node.phase in ENDED:
                return TaskResult(phase=node.phase, message=node.message, outputs=node.outputs)
            report(node.message)
            await asyncio.sleep(_wait(name, reply.requeue))

    async def _post(self, client: httpx.AsyncClient, name: str, plugin: Plugin, body: Mapping[str, Any]) -> _Reply | None:
        headers = {"Content-Type": "application/json"}
        if plugin.token:
            headers["Authorization"] = f"Bearer {plugin.token}"
        try:
            answer = await client.post(
                f"{plugin.url.rstrip('/')}/api/v1/template.execute", content=msgspec.json.encode(body), headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(f"the executor plugin {name!r} does not answer: {error or type(error).__name__}") from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise Refused(f"the executor plugin {name!r} answered {answer.status_code}: {answer.text[:200]}")
        try:
            return msgspec.json.decode(answer.content or b"{}", type=_Reply)
        except msgspec.DecodeError as error:
            raise Refused(f"the executor plugin {name!r} answered what cannot be read: {error}") from error


def _wait(name: str, requeue: str | dict[str, Any] | None) -> float:
    """Return how long to wait before the plugin is asked again; Go writes a duration as text or as `{duration: …}`."""
    text = requeue.get("duration") if isinstance(requeue, dict) else requeue
    if not text:
        return DEFAULT_REQUEUE_S
    try:
        return max(0.05, float(durations.parse_duration(str(text))))
    except durations.DurationError as error:
        raise Refused(f"the executor plugin {name!r} asks to be asked again after {text!r}: {error}") from error
