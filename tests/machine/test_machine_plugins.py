"""Executor plugins that a workflow brings along, in the machine: asked for once, given up at its end."""

import pytest
from machine_driver import Run, workflow

from jitflow.model.problems import Refused
from jitflow.model.runs import RetryRequested, RunTask, ServePlugins, TaskEnded
from jitflow.spec import validate

pytestmark = pytest.mark.pure

OWN = """
entrypoint: main
executorPlugins:
- metadata: {name: mine}
  spec: {sidecar: {container: {name: mine, image: i, command: [serve], ports: [{containerPort: 4356}]}}}
templates:
- {name: main, dag: {tasks: [{name: a, template: own}, {name: b, template: own}]}}
- {name: own, plugin: {mine: {}}}
"""


def end(run: Run, name: str, phase: str = "Succeeded") -> None:
    run.send(TaskEnded(node_id=run.node(name).id, phase=phase))


def test_plugins_run_from_the_first_template_that_asks_for_them_until_the_workflow_ends() -> None:
    run = Run(workflow(OWN))
    decision = run.begin()
    assert sum(isinstance(effect, ServePlugins) for effect in decision.effects) == 1
    assert all(effect.own_plugins for effect in decision.effects if isinstance(effect, RunTask))
    end(run, "wf.a", "Failed")
    assert "plugins" in run.effects
    end(run, "wf.b")
    assert "plugins" not in run.effects
    run.send(RetryRequested())
    assert "plugins" in run.effects
    end(run, "wf.a")
    assert run.state.run.phase == "Succeeded"
    assert "plugins" not in run.effects


def test_plugins_that_nobody_asks_for_do_not_run() -> None:
    run = Run(workflow(OWN.replace("plugin: {mine: {}}", "suspend: {}")))
    run.begin()
    assert "plugins" not in run.effects


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("ports: [{containerPort: 4356}]", "env: []", "at least one port is mandatory"),
        ("{name: mine}", "{name: My_Plugin}", "must be a lowercase RFC 1123 label"),
        ("templates:", "- metadata: {name: mine}\n  spec: {sidecar: {container: {ports: [{containerPort: 1}]}}}\ntemplates:",
         "'mine' is not unique"),
    ],
)  # fmt: skip
def test_plugins_need_a_name_and_a_port(before: str, after: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        validate(workflow(OWN.replace(before, after, 1)))
