"""plugin templates against real plugins on loopback."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.agents.agent_worlds import Answer, WebServer, run, task

from jitflow.agents import Plugin, PluginAgent
from jitflow.model.problems import Refused


def _server(*replies: Any) -> WebServer:
    left = list(replies)

    def answer(method: str, path: str, headers: Mapping[str, str], body: str) -> Answer:
        assert (method, path) == ("POST", "/api/v1/template.execute")
        reply = left.pop(0)
        return (reply, {}, "") if isinstance(reply, int) else (200, {}, json.dumps(reply))

    return WebServer(answer)


def test_a_plugin_is_sent_workflow_and_template_and_says_how_the_node_ends() -> None:
    """SEMANTICS plugin: POST …/api/v1/template.execute {workflow, template} -> {node:{phase,message,outputs}, requeue}."""
    outputs = {"parameters": [{"name": "a", "value": "1"}]}
    with _server(
        {"node": {"phase": "Running", "message": "soon"}, "requeue": "50ms"},
        {"node": {"phase": "Succeeded", "message": "Hello", "outputs": outputs}},
    ) as web:
        agent = PluginAgent({"hello": Plugin(url=web.url, token="t0k")})
        result = run(agent, task("plugin", plugin={"hello": {"x": 1}}))
    assert (result.phase, result.message) == ("Succeeded", "Hello")
    assert result.outputs is not None
    assert result.outputs.parameters[0].value == "1"
    _, _, headers, body = web.asked[0]
    assert headers["Authorization"] == "Bearer t0k"
    sent = json.loads(body)
    assert sent["workflow"]["metadata"] == {"name": "wf", "namespace": "default", "uid": "u1"}
    assert sent["template"]["plugin"] == {"hello": {"x": 1}}
    assert len(web.asked) == 2


def test_a_plugin_that_does_not_know_a_template_leaves_it_to_the_next() -> None:
    with _server(404, {}, {}) as one, _server({"node": {"phase": "Failed", "message": "no"}}) as two:
        agent = PluginAgent({"one": Plugin(url=one.url), "two": Plugin(url=two.url)})
        assert run(agent, task("plugin", plugin={"x": {}})).message == "no"
        with pytest.raises(Refused, match="no executor plugin took the template: asked one for 'x'"):
            run(PluginAgent({"one": Plugin(url=one.url)}), task("plugin", plugin={"x": {}}))


def test_a_plugin_that_is_broken_or_not_there_is_an_error() -> None:
    with _server(500) as web, pytest.raises(Refused, match="answered 500"):
        run(PluginAgent({"one": Plugin(url=web.url)}), task("plugin", plugin={"x": {}}))
    with pytest.raises(OSError, match="does not answer"):
        run(PluginAgent({"one": Plugin(url="http://127.0.0.1:1")}), task("plugin", plugin={"x": {}}))
    with pytest.raises(Refused, match=r"\[plugins.NAME\]"):
        run(PluginAgent({}), task("plugin", plugin={"x": {}}))
