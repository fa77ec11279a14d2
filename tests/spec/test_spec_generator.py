"""The generated types are those of the description."""

import json

import pytest

from jitflow.spec import _generate_types as generator

pytestmark = pytest.mark.pure


def test_the_generated_file_is_fresh():
    assert generator.render(json.loads(generator.SCHEMA.read_text())) == generator.TARGET.read_text(), "run `make generate`"


def test_the_command_checks_and_writes(tmp_path, monkeypatch, capsys):
    target = tmp_path / "argo.py"
    target.write_text("stale")
    monkeypatch.setattr(generator, "TARGET", target)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generator.main() == 1
    assert "stale" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["generate"])
    assert generator.main() == 0
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generator.main() == 0


def test_a_description_is_reduced_to_names_and_types(tmp_path, monkeypatch):
    prefix = generator.PREFIX
    definitions = {
        prefix + root: {
            "required": ["spec"],
            "properties": {
                "spec": {"$ref": "#/definitions/io.k8s.Spec"},
                "list": {"type": "array", "items": {"$ref": "#/definitions/io.k8s.Spec"}},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                "free": {"type": "object"},
                "odd": {},
            },
        }
        for root in generator.ROOTS
    }
    definitions["io.k8s.Spec"] = {"properties": {"if": {"type": "boolean"}, "podIP": {"type": "string"}, "w": {"type": "number"}}}
    swagger = tmp_path / "swagger.json"
    swagger.write_text(json.dumps({"definitions": definitions}))
    monkeypatch.setattr(generator, "SCHEMA", tmp_path / "schema.json")
    monkeypatch.setattr(generator, "TARGET", tmp_path / "argo.py")
    monkeypatch.setattr("sys.argv", ["generate", "--swagger", str(swagger)])
    assert generator.main() == 0
    reduced = json.loads(generator.SCHEMA.read_text())
    assert reduced["Workflow"]["fields"] == {
        "spec": "Spec", "list": "tuple[Spec, ...]", "map": "dict[str, int]", "free": "dict[str, Any]", "odd": "Any",
    }  # fmt: skip
    text = generator.TARGET.read_text()
    assert 'if_: bool | None = field(default=None, name="if")' in text
    assert 'pod_ip: str | None = field(default=None, name="podIP")' in text
    compile(text, "argo.py", "exec")
