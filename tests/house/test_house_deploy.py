"""Files for operators: every metric that they name exists, and the tools that read them take them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from jitflow.settings import Settings, load
from jitflow.telemetry.known import KNOWN

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\b(?:jitflow|argo_workflows)_[a-z_]+\b")
NO_METRICS = {"jitflow_token"}


def named(text: str) -> set[str]:
    return {name.removesuffix("_bucket") for name in NAME.findall(text)} - NO_METRICS


@pytest.mark.pure
def test_alerts_and_dashboard_name_only_metrics_that_exist() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    panels = json.loads((DEPLOY / "grafana" / "jitflow.json").read_text())["panels"]
    expressions += [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(expressions) > 30
    for expression in expressions:
        assert named(expression) <= set(KNOWN), expression


@pytest.mark.pure
def test_the_guide_says_what_to_do_about_each_alert() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    guide = (DEPLOY.parent / "docs" / "how-to" / "operate.md").read_text()
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in guide


@pytest.mark.pure
def test_actions_are_named_by_commit_and_each_by_one() -> None:
    used: dict[str, set[str]] = {}
    for workflow in (DEPLOY.parent / ".github" / "workflows").glob("*.yml"):
        for line in re.findall(r"uses: (.*)", workflow.read_text()):
            if line.startswith("./"):
                continue
            found = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+(?:\.\d+)*)", line)
            assert found, f"{workflow.name}: {line}: name a commit, and its version behind it"
            used.setdefault(found[1], set()).add(found[2])
    assert len(used) > 5
    assert {name: len(commits) for name, commits in used.items() if len(commits) > 1} == {}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (of Prometheus) is not installed")
def test_prometheus_takes_the_rules_and_they_fire() -> None:
    for command in (("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")):
        done = subprocess.run(["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "jitflow.service").read_text().replace("/opt/jitflow/bin/jitflow", "/bin/true")
    (tmp_path / "jitflow.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "jitflow.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "jitflow.service:" not in done.stderr, done.stderr


@pytest.mark.pure
def test_the_parts_of_compose_fit_together() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ours = {name: one for name, one in services.items() if "JITFLOW" in str(one.get("image"))}
    assert set(ours) == {"server", "control", "data"}
    found: dict[str, Settings] = {}
    for name, one in ours.items():
        environment = {key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for key, value in one["environment"].items()}
        found[name] = load(DEPLOY / "settings.toml", environment, {})
        assert found[name].server.names == (name,)
        assert (found[name].telemetry.otlp, one["environment"]["JITFLOW__TELEMETRY__OTLP"]) == ("", "${JITFLOW_OTLP:-}")
    control, data = found["control"], found["data"]
    assert control.data.url == f"http://data:{data.server.port}"
    assert control.data.token == {"file": f"{data.home}/link.token"}
    assert data.rclone.url.removeprefix("unix://") in services["rclone"]["command"][0]
    assert services["jaeger"]["profiles"] == ["trace"]
    wanted = re.search(r"^JITFLOW_OTLP=http://(\w+):4318$", (DEPLOY / "example.env").read_text(), re.MULTILINE)
    assert wanted is not None
    assert services[wanted[1]]["image"].startswith("jaegertracing/jaeger:")
    assert {services[name]["volumes"][0] for name in ("control", "data", "rclone")} == {"apart:/data"}
