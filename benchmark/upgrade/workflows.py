"""What is under way in the state that is left behind."""

from typing import Any

FAR = "bucket"
OBJECTS = {"a.txt": "what lies far away\n" * 50, "b.txt": "something else\n" * 80}
SECRET = "kept under a key"
_SECONDS = 2
"""How long the steps take that are under way; they begin again, for their pods are not kept."""


def _artifact(name: str) -> dict[str, Any]:
    return {"name": name.partition(".")[0], "path": f"/in/{name}", "plugin": {"name": "rclone", "key": f"far:{FAR}/{name}"}}


def _object(kind: str, name: str, **more: Any) -> dict[str, Any]:
    version = "v1" if kind in {"ConfigMap", "Secret"} else "argoproj.io/v1alpha1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **more}


def _step(name: str, script: str, **more: Any) -> dict[str, Any]:
    env = more.pop("env", [])
    return {"name": name, "container": {"image": "busybox", "command": ["sh", "-c"], "args": [script], "env": env}, **more}


def _value() -> dict[str, Any]:
    return {"parameters": [{"name": "value", "valueFrom": {"path": "/tmp/value"}}]}


def _steps(*names: str) -> dict[str, Any]:
    return {"name": "main", "steps": [[{"name": name, "template": name}] for name in names]}


def _workflow(name: str, *templates: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Workflow", name, spec={"entrypoint": "main", "templates": list(templates), **spec})


ConfigMap = _object("ConfigMap", "settings", data={"word": "hello"})
SecretObject = _object("Secret", "login", stringData={"password": SECRET})
TEMPLATE = _object(
    "WorkflowTemplate",
    "kept",
    spec={"entrypoint": "main", "templates": [_step("main", f"sleep {_SECONDS}; echo kept > /tmp/value", outputs=_value())]},
)
Cron = _object(
    "CronWorkflow",
    "nightly",
    spec={"schedule": "0 3 * * *", "suspend": True, "workflowSpec": {"workflowTemplateRef": {"name": "kept"}}},
)
_LOCKED = _step("main", f"sleep {_SECONDS}", synchronization={"mutexes": [{"name": "one"}]})
_OUT = {"artifacts": [{"name": "out", "path": "/tmp/out"}]}

MANIFESTS: dict[str, dict[str, Any]] = {
    "done": _workflow(
        "done",
        _steps("write", "read"),
        _step("write", "cat /in/a.txt > /tmp/out", inputs={"artifacts": [_artifact("a.txt")]}, outputs=_OUT),
        _step("read", "wc -l < /in/a.txt > /tmp/value", inputs={"artifacts": [_artifact("a.txt")]}, outputs=_value()),
    ),
    "broken": _workflow("broken", _step("main", "exit 3")),
    "paused": _workflow("paused", _steps("hold", "last"), {"name": "hold", "suspend": {}}, _step("last", "true")),
    "running": _workflow(
        "running",
        _steps("first", "second", "third"),
        _step("first", "echo first", inputs={"artifacts": [_artifact("a.txt")]}),
        _step("second", f"sleep {_SECONDS}", inputs={"artifacts": [_artifact("b.txt")]}),
        _step(
            "third",
            'printf "%s" "$WORD $PASSWORD" > /tmp/value',
            outputs=_value(),
            env=[
                {"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "word"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
            ],
        ),
    ),
    "fan": _workflow(
        "fan",
        {"name": "main", "steps": [[{"name": "part", "template": "part", "withItems": [1, 2, 3, 4]}]]},
        _step("part", f"sleep {_SECONDS}"),
    ),
    "again": _workflow(
        "again",
        _step(
            "main",
            'test "{{retries}}" -gt 0',
            retryStrategy={"limit": 3, "retryPolicy": "Always", "backoff": {"duration": "3", "factor": 1}},
        ),
    ),
    "holder": _workflow("holder", _LOCKED),
    "waiter": _workflow("waiter", _LOCKED),
    "templated": _object("Workflow", "templated", spec={"workflowTemplateRef": {"name": "kept"}}),
}
